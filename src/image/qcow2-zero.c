/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Zeroes and discards: entries change, guest data is not touched but at the edges of a range. image.c calls these while nobody
 * else is in the image, so what they free is nobody's.
 */
#include <errno.h>

#include "bytes.h"
#include "qcow2.h"

enum { ALL_ZERO_SHIFT = 32 };

enum what { ZEROES, ZEROES_UNMAP, DISCARD, DROP };

#define ALL_ZEROES (0xffffffffULL << ALL_ZERO_SHIFT)

static struct qcow2_entry zero_entry(const struct qcow2 *s, uint64_t place)
{
	if (s->extended)
		return (struct qcow2_entry){place, ALL_ZEROES};
	return (struct qcow2_entry){place | QCOW2_ZERO, 0};
}

/* What becomes of an entry. Version 2 has no zeroes, but where nothing is behind, nothing is zero. */
static struct qcow2_entry new_entry(const struct qcow2 *s, const struct qcow2_entry *old, enum what what)
{
	static const struct qcow2_entry none;
	uint64_t place = old->word & QCOW2_COMPRESSED ? 0 : old->word & (QCOW2_OFFSET | QCOW2_COPIED);
	bool empty = !old->word && !old->bits;

	if (qcow2_has_data_file(s) && what != DROP && (what == ZEROES || qcow2_raw_data_file(s)))
		return qcow2_entry_placed(s, old) ? zero_entry(s, place) : zero_entry(s, 0);
	if (what == DROP || s->version < 3 || (what == DISCARD && !s->img->backing && empty))
		return none;
	return zero_entry(s, what == ZEROES ? place : 0);
}

static int change_cluster(struct qcow2 *s, uint64_t offset, enum what what)
{
	struct qcow2_entry old, e;
	int res = qcow2_l2_get(s, offset, &old);

	if (res < 0)
		return res;
	e = new_entry(s, &old, what);
	if (e.word == old.word && e.bits == old.bits)
		return 0;
	res = qcow2_l2_prepare(s, offset);
	if (res == 0)
		res = qcow2_l2_set(s, offset, &e);
	if (res == 0 && (old.word & QCOW2_COMPRESSED || qcow2_entry_offset(&old) != qcow2_entry_offset(&e)))
		qcow2_entry_gone(s, &old, what != ZEROES);
	return res < 0 ? res : qcow2_settle(s);
}

/* Nothing is described by a table that is not there: can it stay like that? */
static bool may_stay(const struct qcow2 *s, enum what what)
{
	return what == DROP || s->version < 3 || !s->img->backing;
}

static int change_clusters(struct qcow2 *s, uint64_t offset, uint64_t len, enum what what)
{
	uint64_t end = offset + len;
	int res = qcow2_will_write(s);

	while (offset < end && res == 0) {
		uint64_t n, next = offset + s->cluster_size;
		const uint8_t *p;

		qcow2_busy_wait(s, qcow2_cluster(s, offset), qcow2_cluster(s, offset));
		res = qcow2_l2_look(s, offset, false, &p, &n);
		if (res < 0)
			break;
		if (!p && may_stay(s, what))
			next = offset + (n << s->cluster_bits);
		else
			res = change_cluster(s, offset, what);
		offset = next;
	}
	return res;
}

static int change(struct qcow2 *s, uint64_t offset, uint64_t len, enum what what)
{
	int res;

	if (!len)
		return 0;
	g_mutex_lock(&s->lock);
	res = change_clusters(s, offset, len, what);
	g_mutex_unlock(&s->lock);
	return res;
}

int qcow2_drop(struct qcow2 *s, uint64_t offset, uint64_t len)
{
	return change_clusters(s, offset, len, DROP);
}

/* The range's part of whole clusters; the last one of the image may be short. */
static void whole_clusters(const struct image *img, uint64_t *offset, uint64_t *end)
{
	const struct qcow2 *s = qcow2_state(img);
	uint64_t last = *end == img->size ? align_up(*end, s->cluster_size) : align_down(*end, s->cluster_size);

	*offset = align_up(*offset, s->cluster_size);
	*end = MAX(last, *offset);
}

static int write_zero_bytes(struct image *img, uint64_t offset, uint64_t len)
{
	g_autofree uint8_t *zeroes = NULL;

	if (!len || qcow2_reads_zero(img, offset, len))
		return 0;
	zeroes = g_malloc0(len);
	return qcow2_write(img, offset, zeroes, len);
}

/* Extended L2: whole subclusters at the range's edges need no data either. */
static int zero_subclusters(struct qcow2 *s, uint64_t offset, uint64_t len)
{
	unsigned first = (offset & (s->cluster_size - 1)) >> s->sub_bits, n = len >> s->sub_bits;
	uint64_t mask = ((1ULL << n) - 1) << first;
	struct qcow2_entry e;
	int res;

	g_mutex_lock(&s->lock);
	res = qcow2_will_write(s);
	qcow2_busy_wait(s, qcow2_cluster(s, offset), qcow2_cluster(s, offset));
	if (res == 0)
		res = qcow2_l2_prepare(s, offset);
	if (res == 0)
		res = qcow2_l2_get(s, offset, &e);
	if (res == 0 && e.word & QCOW2_COMPRESSED)
		res = -ENOTSUP;
	if (res == 0) {
		e.bits = (e.bits & ~mask) | mask << ALL_ZERO_SHIFT;
		res = qcow2_l2_set(s, offset, &e);
	}
	g_mutex_unlock(&s->lock);
	return res;
}

/* A part of one cluster. */
static int zero_edge(struct image *img, uint64_t offset, uint64_t len)
{
	struct qcow2 *s = qcow2_state(img);
	uint64_t from = align_up(offset, s->sub_size), to = align_down(offset + len, s->sub_size);
	int res = -ENOTSUP;

	if (!len)
		return 0;
	if (s->extended && from < to && !qcow2_raw_data_file(s))
		res = zero_subclusters(s, from, to - from);
	if (res < 0)
		return res == -ENOTSUP ? write_zero_bytes(img, offset, len) : res;
	res = write_zero_bytes(img, offset, from - offset);
	return res < 0 ? res : write_zero_bytes(img, to, offset + len - to);
}

static bool edge_is_fast(struct image *img, uint64_t offset, uint64_t end)
{
	struct qcow2 *s = qcow2_state(img);

	return offset >= end || qcow2_reads_zero(img, offset, end - offset) ||
	       (s->extended && !qcow2_raw_data_file(s) && !((offset | end) & (s->sub_size - 1)));
}

/* No bytes have to be written before from and behind to, where whole clusters are; there may be none. */
static bool edges_are_fast(struct image *img, uint64_t offset, uint64_t end, uint64_t from, uint64_t to)
{
	return from >= to ? edge_is_fast(img, offset, end) : edge_is_fast(img, offset, from) && edge_is_fast(img, to, end);
}

/* A data file that is a raw image of its own has the zeroes itself. */
static int zero_data_file(struct image *img, uint64_t offset, uint64_t len, unsigned flags)
{
	struct qcow2 *s = qcow2_state(img);
	int res = 0;

	if (qcow2_raw_data_file(s))
		res = img->data->type->write_zeroes(img->data, offset, len, flags);
	return res;
}

int qcow2_write_zeroes(struct image *img, uint64_t offset, uint64_t len, unsigned flags)
{
	struct qcow2 *s = qcow2_state(img);
	bool unmap = flags & IMAGE_MAY_UNMAP;
	uint64_t from = offset, to = offset + len;
	int res;

	if (s->version < 3 && img->backing)
		return -ENOTSUP;
	whole_clusters(img, &from, &to);
	if (flags & IMAGE_FAST_ZERO && !edges_are_fast(img, offset, offset + len, from, to))
		return -ENOTSUP;
	if (from >= to && from > offset + len)
		return zero_edge(img, offset, len);
	res = zero_data_file(img, offset, len, flags);
	if (res == 0)
		res = zero_edge(img, offset, from - offset);
	if (res == 0)
		res = change(s, from, to - from, unmap || s->version < 3 ? ZEROES_UNMAP : ZEROES);
	if (res == 0 && to < offset + len)
		res = zero_edge(img, to, offset + len - to);
	return res;
}

/* Advice: parts of clusters, and what version 2 cannot say, stay as they are. */
int qcow2_discard(struct image *img, uint64_t offset, uint64_t len)
{
	struct qcow2 *s = qcow2_state(img);
	uint64_t to = offset + len;
	int res;

	if (s->version < 3 && img->backing)
		return 0;
	whole_clusters(img, &offset, &to);
	if (offset >= to)
		return 0;
	res = zero_data_file(img, offset, MIN(to, img->size) - offset, IMAGE_MAY_UNMAP);
	if (res == 0)
		res = change(s, offset, to - offset, DISCARD);
	if (res == 0 && img->data != s->file && !qcow2_raw_data_file(s))
		res = img->data->type->discard(img->data, offset, MIN(to, img->size) - offset);
	return res;
}
