/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where guest data is, and reading what is not just there. map_now() is for queues: it neither waits nor reads.
 */
#include <errno.h>
#include <string.h>

#include "qcow2.h"

/* One unit (a cluster, or a subcluster): an extent that ends with the unit. */
static int unit_extent(struct qcow2 *s, uint64_t offset, const struct qcow2_entry *e, struct image_extent *ret)
{
	uint64_t in_cluster = offset & (s->cluster_size - 1), unit = e->word & QCOW2_COMPRESSED ? s->cluster_size : s->sub_size;

	*ret = (struct image_extent){.len = unit - (offset & (unit - 1))};
	switch (qcow2_entry_kind(s, e, in_cluster >> s->sub_bits)) {
	case QCOW2_HOLE:
	case QCOW2_ROOM:
		ret->kind = IMAGE_HOLE;
		return 0;
	case QCOW2_ZEROES_ROOM:
		ret->allocated = true;
		/* fall through */
	case QCOW2_ZEROES:
		ret->kind = IMAGE_ZERO;
		return 0;
	case QCOW2_DATA:
		ret->kind = IMAGE_DATA;
		ret->has_at = true;
		ret->at = qcow2_entry_offset(e) + in_cluster;
		ret->in_place = s->written && e->word & QCOW2_COPIED && !s->broken;
		return 0;
	case QCOW2_PACKED:
		ret->kind = IMAGE_COMPRESSED;
		return 0;
	default:
		return -EIO;
	}
}

static bool goes_on(const struct image_extent *a, const struct image_extent *b)
{
	if (a->kind != b->kind || a->allocated != b->allocated || a->in_place != b->in_place || a->kind == IMAGE_COMPRESSED)
		return false;
	return !a->has_at || a->at + a->len == b->at;
}

/* Data that may be overwritten must not be metadata. */
static int check_place(struct qcow2 *s, const struct image_extent *e)
{
	if (!e->in_place || s->img->data != s->file || !qcow2_is_metadata(s, e->at, e->len))
		return 0;
	return qcow2_corrupt(s, "guest data is mapped to metadata at %#" PRIx64 " of the file", e->at);
}

static int map_slice(struct qcow2 *s, uint64_t offset, uint64_t len, const uint8_t *p, uint64_t n, struct image_extent *ret)
{
	uint64_t done = 0, first = qcow2_cluster(s, offset);

	while (done < len && qcow2_cluster(s, offset + done) - first < n) {
		struct qcow2_entry e = qcow2_l2_entry(s, p, qcow2_cluster(s, offset + done) - first);
		struct image_extent next;
		int res = qcow2_entry_check(s, offset + done, &e);

		if (res == 0)
			res = unit_extent(s, offset + done, &e, &next);
		if (res < 0)
			return done ? 0 : res;
		if (!done)
			*ret = next;
		else if (goes_on(ret, &next))
			ret->len += next.len;
		else
			break;
		done += next.len;
	}
	ret->len = MIN(ret->len, len);
	return check_place(s, ret);
}

static int map_locked(struct qcow2 *s, uint64_t offset, uint64_t len, bool now, struct image_extent *ret)
{
	uint64_t done = 0, n;
	const uint8_t *p;
	int res;

	while (done < len) {
		uint64_t at = offset + done;

		res = qcow2_l2_look(s, at, now, &p, &n);
		if (res < 0)
			return done ? 0 : res;
		if (p)
			return done ? 0 : map_slice(s, at, len, p, n, ret);
		done += (n << s->cluster_bits) - (at & (s->cluster_size - 1));
		*ret = (struct image_extent){.kind = IMAGE_HOLE, .len = MIN(done, len)};
	}
	return 0;
}

int qcow2_map(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	struct qcow2 *s = qcow2_state(img);
	int res;

	g_mutex_lock(&s->lock);
	res = map_locked(s, offset, len, false, ret);
	g_mutex_unlock(&s->lock);
	return res;
}

bool qcow2_map_now(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	struct qcow2 *s = qcow2_state(img);
	int res;

	if (!g_mutex_trylock(&s->lock))
		return false;
	res = map_locked(s, offset, len, true, ret);
	g_mutex_unlock(&s->lock);
	return res == 0;
}

/* The compressed bytes of one cluster, as the file has them while the entry is the cluster's. */
static int fetch_packed(struct qcow2 *s, uint64_t offset, uint8_t **ret, uint64_t *ret_len)
{
	for (int tries = 0;; tries++) {
		bool last = tries == 3;
		struct qcow2_entry e;
		uint64_t at, reused;
		int res;

		g_mutex_lock(&s->lock);
		res = qcow2_l2_get(s, offset, &e);
		reused = s->reused;
		if (res == 0 && !(e.word & QCOW2_COMPRESSED))
			res = -EAGAIN;
		if (!last || res < 0)
			g_mutex_unlock(&s->lock);
		if (res < 0)
			return res;
		qcow2_packed_range(s, e.word, &at, ret_len);
		*ret = g_malloc(*ret_len);
		res = qcow2_pread(s, at, *ret, *ret_len);
		if (!last)
			g_mutex_lock(&s->lock);
		last |= reused == s->reused; /* no cluster has become free meanwhile: the bytes were ours */
		g_mutex_unlock(&s->lock);
		if (last && res == 0)
			return 0;
		g_clear_pointer(ret, g_free);
		if (res < 0)
			return res;
	}
}

/* Inside of one cluster. -EAGAIN: it is not compressed any more. */
static int read_packed(struct qcow2 *s, uint64_t offset, void *buf, uint64_t len)
{
	uint64_t in_cluster = offset & (s->cluster_size - 1), packed_len;
	g_autofree uint8_t *packed = NULL;
	g_autofree uint8_t *whole = NULL;
	int res = fetch_packed(s, offset, &packed, &packed_len);

	if (res < 0)
		return res;
	whole = g_malloc(s->cluster_size);
	res = qcow2_inflate(s, packed, packed_len, whole, s->cluster_size);
	if (res == 0)
		memcpy(buf, whole + in_cluster, len);
	return res;
}

int qcow2_read_compressed(struct image *img, uint64_t offset, void *buf, uint64_t len)
{
	struct qcow2 *s = qcow2_state(img);
	int res = 0;

	while (len && res == 0) {
		uint64_t n = MIN(len, s->cluster_size - (offset & (s->cluster_size - 1)));

		res = read_packed(s, offset, buf, n);
		if (res == -EAGAIN) /* a write has made it plain data */
			res = qcow2_read_guest(img, offset, buf, n);
		offset += n;
		buf = (uint8_t *)buf + n;
		len -= n;
	}
	return res;
}

static int read_extent(struct image *img, const struct image_extent *e, uint64_t offset, void *buf)
{
	switch (e->kind) {
	case IMAGE_HOLE:
		return image_read_backing(img, offset, buf, e->len);
	case IMAGE_ZERO:
		memset(buf, 0, e->len);
		return 0;
	case IMAGE_DATA:
		return img->data->type->read(img->data, e->at, buf, e->len);
	default:
		return qcow2_read_compressed(img, offset, buf, e->len);
	}
}

int qcow2_read_guest(struct image *img, uint64_t offset, void *buf, uint64_t len)
{
	uint64_t size = __atomic_load_n(&img->size, __ATOMIC_RELAXED), inside = offset < size ? MIN(len, size - offset) : 0;
	int res = 0;

	memset((uint8_t *)buf + inside, 0, len - inside);
	while (inside && res == 0) {
		struct image_extent e;

		res = qcow2_map(img, offset, inside, &e);
		if (res == 0)
			res = read_extent(img, &e, offset, buf);
		if (res < 0)
			break;
		offset += e.len;
		buf = (uint8_t *)buf + e.len;
		inside -= e.len;
	}
	return res;
}

static bool backing_reads_zero(struct image *img, uint64_t offset, uint64_t len)
{
	uint64_t size = img->backing ? __atomic_load_n(&img->backing->size, __ATOMIC_RELAXED) : 0;

	while (len && offset < size) {
		struct image_extent e;

		if (image_status(img->backing, offset, MIN(len, size - offset), &e) < 0 ||
		    (e.kind != IMAGE_HOLE && e.kind != IMAGE_ZERO))
			return false;
		offset += e.len;
		len -= e.len;
	}
	return true;
}

bool qcow2_reads_zero(struct image *img, uint64_t offset, uint64_t len)
{
	uint64_t size = __atomic_load_n(&img->size, __ATOMIC_RELAXED);

	len = offset < size ? MIN(len, size - offset) : 0;
	while (len) {
		struct image_extent e;

		if (qcow2_map(img, offset, len, &e) < 0)
			return false;
		if (e.kind != IMAGE_ZERO && (e.kind != IMAGE_HOLE || !backing_reads_zero(img, offset, e.len)))
			return false;
		offset += e.len;
		len -= e.len;
	}
	return true;
}
