/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The size of an image, and clusters that are taken before anybody writes to them. What becomes part of the disk reads as zeroes,
 * whatever the backing image has there and whatever was in the last cluster. Called while nobody else is in the image.
 */
#include <errno.h>

#include "bytes.h"
#include "error.h"
#include "qcow2.h"

enum { CHUNK = 1 << 20 };

int qcow2_write_l1_copy(struct qcow2 *s, const uint64_t *l1, uint32_t n, uint64_t at)
{
	uint64_t bytes = align_up(n * 8ULL, s->cluster_size);
	g_autofree uint8_t *copy = g_malloc0(bytes);

	for (uint32_t i = 0; i < n; i++)
		put_be64(copy + i * 8ULL, l1[i]);
	return qcow2_pwrite(s, at, copy, bytes);
}

/* A longer L1 table, elsewhere; the header says where, at once. */
int qcow2_grow_l1(struct qcow2 *s, uint64_t size)
{
	uint64_t span = 1ULL << qcow2_l2_span_bits(s), n = size / span + !!(size % span), at, old = s->l1_size;
	uint8_t head[12];
	int res;

	if (n <= s->l1_size)
		return 0;
	if (n * 8 > QCOW2_MAX_L1)
		return -EFBIG;
	res = qcow2_flush_locked(s);
	if (res == 0)
		res = qcow2_alloc(s, qcow2_clusters(s, n * 8), true, &at, NULL);
	if (res < 0)
		return res;
	s->l1 = g_renew(uint64_t, s->l1, n);
	for (uint64_t i = old; i < n; i++)
		s->l1[i] = 0;
	res = qcow2_write_l1_copy(s, s->l1, n, at);
	if (res == 0)
		res = qcow2_write_refcounts(s);
	if (res == 0)
		res = qcow2_sync(s);
	put_be32(head, n);
	put_be64(head + 4, at);
	if (res == 0)
		res = qcow2_pwrite(s, QCOW2_AT_L1, head, sizeof(head));
	if (res < 0)
		return res;
	if (old)
		qcow2_gone(s, s->l1_offset, old * 8, false);
	s->l1_offset = at;
	s->l1_size = n;
	return qcow2_flush_locked(s);
}

static int write_size(struct qcow2 *s, uint64_t size)
{
	uint8_t bytes[8];
	int res;

	put_be64(bytes, size);
	res = qcow2_flush_locked(s);
	if (res == 0)
		res = qcow2_pwrite(s, QCOW2_AT_SIZE, bytes, sizeof(bytes));
	return res < 0 ? res : qcow2_sync(s);
}

/* ---- preallocation ---- */

/* Room for data that reads as zeroes. */
static int clear_room(struct qcow2 *s, uint64_t at, uint64_t len, enum image_prealloc prealloc)
{
	struct image_file *f = s->img->data;
	g_autofree uint8_t *zeroes = NULL;
	int res = 0;

	if (prealloc == IMAGE_PREALLOC_METADATA)
		return at < image_file_size(f) || f->device ? f->type->write_zeroes(f, at, len, IMAGE_MAY_UNMAP) :
							      image_file_grow(f, at + len, IMAGE_PREALLOC_OFF);
	if (prealloc == IMAGE_PREALLOC_FALLOC)
		return f->type->write_zeroes(f, at, len, 0);
	zeroes = g_malloc0(CHUNK);
	for (; len && res == 0; at += MIN(len, CHUNK), len -= MIN(len, CHUNK))
		res = f->type->write(f, at, zeroes, MIN(len, CHUNK));
	return res;
}

/* A data file does not become longer than the disk. */
static int place_run(struct qcow2 *s, uint64_t offset, uint64_t end, enum image_prealloc prealloc, uint64_t *n, uint64_t *top)
{
	uint64_t at = offset, len;
	int res = qcow2_l2_prepare(s, offset);
	bool placed = res == 0 && !qcow2_has_data_file(s);

	if (placed)
		res = qcow2_alloc(s, *n, false, &at, n);
	placed = placed && res == 0;
	len = *n << s->cluster_bits;
	*top = MAX(*top, at + len);
	if (res == 0)
		res = clear_room(s, at, qcow2_has_data_file(s) ? MIN(len, end - at) : len, prealloc);
	if (res < 0 && placed)
		qcow2_gone(s, at, len, false);
	for (uint64_t i = 0; i < *n && res == 0; i++) {
		struct qcow2_entry e = {.word = (at + (i << s->cluster_bits)) | QCOW2_COPIED};

		res = qcow2_l2_set(s, offset + (i << s->cluster_bits), &e);
	}
	return res;
}

/* How many clusters from here on have nothing; in one table. */
static int count_empty(struct qcow2 *s, uint64_t offset, uint64_t end, uint64_t *ret, uint64_t *ret_skip)
{
	uint64_t n, want = qcow2_clusters(s, end - offset), i = 0;
	const uint8_t *p;
	int res = qcow2_l2_look(s, offset, false, &p, &n);

	n = MIN(n, want);
	while (res == 0 && p && i < n && !qcow2_l2_entry(s, p, i).word)
		i++;
	*ret = p ? i : n;
	*ret_skip = p && !i;
	return res;
}

static int preallocate(struct qcow2 *s, uint64_t from, uint64_t end, enum image_prealloc prealloc)
{
	uint64_t offset = align_down(from, s->cluster_size), n = 0, skip, top = 0;
	struct image_file *f = s->img->data;
	int res = 0;

	while (offset < end && res == 0) {
		res = count_empty(s, offset, end, &n, &skip);
		if (res == 0 && n)
			res = place_run(s, offset, end, prealloc, &n, &top);
		offset += (n + skip) << s->cluster_bits;
	}
	/* Readers of the file, and of a data file, find all of it. */
	top = f == s->file ? top : end;
	return res < 0 ? res : image_file_grow(f, top, prealloc == IMAGE_PREALLOC_METADATA ? IMAGE_PREALLOC_OFF : prealloc);
}

/* ---- what is behind an end ---- */

static int cut_file(struct qcow2 *s)
{
	uint64_t end = qcow2_clusters(s, image_file_size(s->file)), count = 0;
	int res = qcow2_write_refcounts(s);

	if (res == 0)
		res = qcow2_sync(s);
	while (res == 0 && end && !count) {
		res = qcow2_refcount_get(s, end - 1, &count);
		end -= !count;
	}
	if (res < 0 || s->file->device || end << s->cluster_bits >= image_file_size(s->file))
		return res;
	return s->file->type->truncate(s->file, end << s->cluster_bits);
}

static void drop_tables(struct qcow2 *s, uint64_t size)
{
	uint64_t span = 1ULL << qcow2_l2_span_bits(s);

	for (uint32_t i = size / span + !!(size % span); i < s->l1_size; i++) {
		uint64_t table = s->l1[i] & QCOW2_OFFSET;

		if (!table || qcow2_l1_check(s, s->l1[i]) < 0)
			continue;
		/* A snapshot's is one still. */
		if (s->l1[i] & QCOW2_COPIED)
			qcow2_guard_remove(s, table);
		qcow2_l1_set(s, i, 0);
		qcow2_gone(s, table, s->cluster_size, false);
	}
}

/* Nothing is mapped from `size` up to `end` any more, and the file is as short as that lets it be. */
static int cut(struct qcow2 *s, uint64_t size, uint64_t end)
{
	uint64_t from = align_up(size, s->cluster_size);
	int res = qcow2_drop(s, from, align_up(end, s->cluster_size) - from);

	if (res == 0)
		drop_tables(s, size);
	if (res == 0)
		res = qcow2_flush_locked(s);
	return res < 0 ? res : cut_file(s);
}

/* ---- larger ---- */

static int zero_range(struct image *img, uint64_t offset, uint64_t len)
{
	int res = len ? qcow2_write_zeroes(img, offset, len, IMAGE_MAY_UNMAP) : 0;
	g_autofree uint8_t *zeroes = NULL;

	if (res != -ENOTSUP)
		return res;
	zeroes = g_malloc0(CHUNK);
	res = 0;
	for (; len && res == 0; offset += MIN(len, CHUNK), len -= MIN(len, CHUNK))
		res = qcow2_write(img, offset, zeroes, MIN(len, CHUNK));
	return res;
}

/* What is new: nothing is mapped there, nothing shows through, and the rest of the last cluster is empty. */
static int clear_new(struct image *img, uint64_t old, uint64_t size)
{
	struct qcow2 *s = qcow2_state(img);
	uint64_t whole = align_up(old, s->cluster_size), below = img->backing ? img->backing->size : 0;
	int res = 0;

	g_mutex_lock(&s->lock);
	if (whole < size)
		res = qcow2_drop(s, whole, align_up(size, s->cluster_size) - whole);
	g_mutex_unlock(&s->lock);
	return res < 0 ? res : zero_range(img, old, MIN(MAX(whole, below), size) - old);
}

static int grow(struct image *img, uint64_t size, enum image_prealloc prealloc)
{
	struct qcow2 *s = qcow2_state(img);
	uint64_t old = img->size;
	bool begun;
	int res;

	g_mutex_lock(&s->lock);
	res = qcow2_will_write(s);
	if (res == 0)
		res = qcow2_grow_l1(s, size);
	g_mutex_unlock(&s->lock);
	begun = res == 0;
	__atomic_store_n(&img->size, size, __ATOMIC_RELAXED);
	if (res == 0)
		res = clear_new(img, old, size);
	g_mutex_lock(&s->lock);
	if (res == 0 && prealloc != IMAGE_PREALLOC_OFF)
		res = preallocate(s, old, size, prealloc);
	else if (res == 0 && qcow2_raw_data_file(s))
		res = preallocate(s, old, size, IMAGE_PREALLOC_METADATA);
	if (res == 0)
		res = write_size(s, size);
	else if (begun)
		cut(s, old, size);
	g_mutex_unlock(&s->lock);
	if (res < 0)
		__atomic_store_n(&img->size, old, __ATOMIC_RELAXED);
	return res;
}

/* ---- smaller ---- */

static int shrink(struct image *img, uint64_t size)
{
	struct qcow2 *s = qcow2_state(img);
	int res;

	g_mutex_lock(&s->lock);
	res = qcow2_will_write(s);
	if (res == 0)
		res = write_size(s, size);
	if (res == 0)
		res = cut(s, size, img->size);
	g_mutex_unlock(&s->lock);
	if (res == 0 && img->data != s->file && !img->data->device)
		res = img->data->type->truncate(img->data, size);
	return res;
}

bool qcow2_resize(struct image *img, uint64_t size, enum image_prealloc prealloc, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	int res;

	if (s->snapshots->len && s->version < 3)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "disk '%s' has snapshots, which do not know their size with compat=0.10; delete them first",
			       img->path);
	if (prealloc != IMAGE_PREALLOC_OFF && img->backing && !s->extended)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "disk '%s': preallocation in an image with a backing file needs extended_l2", img->path);
	if (!qcow2_bitmaps_can_resize(s, size, error))
		return false;
	/* In memory they follow (bitmap.c); those on the disk are for the old size. */
	g_mutex_lock(&s->lock);
	res = qcow2_bitmaps_in_use(s, true);
	g_mutex_unlock(&s->lock);
	if (res == 0)
		res = size > img->size ? grow(img, size, prealloc) : shrink(img, size);
	if (res == -EFBIG)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "disk '%s' cannot have this size with clusters of %u bytes; use larger clusters", img->path,
			       s->cluster_size);
	return res == 0 || kv_fail_errno(error, -res, "disk '%s': cannot change its size", img->path);
}
