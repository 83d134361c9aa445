/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The mapping: L1 in memory, L2 through a cache of slices. An entry is looked up, checked and understood here, and changed here:
 * an L2 table that does not exist yet, or that a snapshot has as well, is made first. Callers hold the lock.
 */
#include <errno.h>
#include <string.h>

#include "qcow2.h"

static uint32_t l1_index(const struct qcow2 *s, uint64_t offset)
{
	return offset >> qcow2_l2_span_bits(s);
}

static uint64_t l2_index(const struct qcow2 *s, uint64_t offset)
{
	return qcow2_cluster(s, offset) & ((1ULL << s->l2_bits) - 1);
}

int qcow2_l1_check(struct qcow2 *s, uint64_t entry)
{
	uint64_t table = entry & QCOW2_OFFSET;

	if ((entry & ~(QCOW2_OFFSET | QCOW2_COPIED)) || !qcow2_aligned(s, table))
		return qcow2_corrupt(s, "an L1 entry, %#" PRIx64 ", is not the offset of an L2 table", entry);
	return 0;
}

static unsigned slice_entries(const struct qcow2 *s)
{
	return s->l2_cache.slice_size / s->entry_size;
}

struct qcow2_entry qcow2_l2_entry(const struct qcow2 *s, const uint8_t *p, uint64_t index)
{
	p += index * s->entry_size;
	return (struct qcow2_entry){.word = get_be64(p), .bits = s->extended ? get_be64(p + 8) : 0};
}

int qcow2_l2_look(struct qcow2 *s, uint64_t offset, bool now, const uint8_t **ret, uint64_t *ret_n)
{
	uint32_t i = l1_index(s, offset);
	uint64_t entry = i < s->l1_size ? s->l1[i] : 0, index = l2_index(s, offset), in_slice = index % slice_entries(s), at;
	uint8_t *slice;
	int res;

	*ret = NULL;
	*ret_n = (1ULL << s->l2_bits) - index;
	if (!entry)
		return 0;
	res = qcow2_l1_check(s, entry);
	if (res < 0 || !(entry & QCOW2_OFFSET))
		return res;
	at = (entry & QCOW2_OFFSET) + (index - in_slice) * s->entry_size;
	if (now) {
		slice = qcow2_cache_peek(&s->l2_cache, at);
		res = slice ? 0 : -EAGAIN;
	} else {
		res = qcow2_cache_get(&s->l2_cache, at, &slice);
	}
	if (res < 0)
		return res;
	*ret = slice + in_slice * s->entry_size;
	*ret_n = slice_entries(s) - in_slice;
	return 0;
}

void qcow2_packed_range(const struct qcow2 *s, uint64_t word, uint64_t *ret_offset, uint64_t *ret_len)
{
	unsigned x = 62 - (s->cluster_bits - 8);
	uint64_t sectors = (word >> x & ((1ULL << (s->cluster_bits - 8)) - 1)) + 1;

	*ret_offset = word & ((1ULL << x) - 1);
	*ret_len = sectors * 512 - (*ret_offset & 511);
}

bool qcow2_entry_placed(const struct qcow2 *s, const struct qcow2_entry *e)
{
	if (e->word & QCOW2_COMPRESSED)
		return false;
	return qcow2_entry_offset(e) || (qcow2_has_data_file(s) && e->word & QCOW2_COPIED);
}

enum qcow2_kind qcow2_entry_kind(const struct qcow2 *s, const struct qcow2_entry *e, unsigned sub)
{
	bool placed = qcow2_entry_placed(s, e);

	if (e->word & QCOW2_COMPRESSED)
		return QCOW2_PACKED;
	if (!s->extended) {
		if (e->word & QCOW2_ZERO)
			return placed ? QCOW2_ZEROES_ROOM : QCOW2_ZEROES;
		return placed ? QCOW2_DATA : QCOW2_HOLE;
	}
	switch (e->bits >> sub & 0x100000001ULL) {
	case 0:
		return placed ? QCOW2_ROOM : QCOW2_HOLE;
	case 1:
		return placed ? QCOW2_DATA : QCOW2_INVALID;
	case 0x100000000ULL:
		return placed ? QCOW2_ZEROES_ROOM : QCOW2_ZEROES;
	default:
		return QCOW2_INVALID;
	}
}

static int check_packed(struct qcow2 *s, uint64_t offset, const struct qcow2_entry *e)
{
	uint64_t at, len;

	qcow2_packed_range(s, e->word, &at, &len);
	if (qcow2_has_data_file(s) || e->word & QCOW2_COPIED || at > QCOW2_OFFSET)
		return qcow2_corrupt(s, "the compressed cluster at %#" PRIx64 " has the impossible entry %#" PRIx64, offset,
				     e->word);
	return 0;
}

int qcow2_entry_check(struct qcow2 *s, uint64_t offset, const struct qcow2_entry *e)
{
	uint64_t at = qcow2_entry_offset(e);
	bool good;

	if (e->word & QCOW2_COMPRESSED)
		return check_packed(s, offset, e);
	good = qcow2_aligned(s, at) && !((e->bits & UINT32_MAX) & e->bits >> 32);
	if (s->version < 3 && e->word & QCOW2_ZERO)
		good = false;
	if (s->extended && !qcow2_entry_placed(s, e) && e->bits & UINT32_MAX)
		good = false;
	if (qcow2_has_data_file(s) && qcow2_entry_placed(s, e) && at != (offset & ~(uint64_t)(s->cluster_size - 1)))
		good = false;
	return good ? 0
		    : qcow2_corrupt(s, "the entry of the cluster at %#" PRIx64 ", %#" PRIx64 ", is impossible", offset, e->word);
}

int qcow2_l2_get(struct qcow2 *s, uint64_t offset, struct qcow2_entry *ret)
{
	const uint8_t *p;
	uint64_t n;
	int res = qcow2_l2_look(s, offset, false, &p, &n);

	*ret = (struct qcow2_entry){0};
	if (res < 0 || !p)
		return res;
	*ret = qcow2_l2_entry(s, p, 0);
	return qcow2_entry_check(s, offset, ret);
}

/* A new table in the file, with what `from` has (0: nothing). Written at once: nothing points to it yet. */
static int fill_table(struct qcow2 *s, uint64_t at, uint64_t from)
{
	g_autofree uint8_t *copy = from ? g_malloc(s->cluster_size) : NULL;

	qcow2_cache_forget(&s->l2_cache, at, s->cluster_size);
	if (!from)
		return s->file->type->write_zeroes(s->file, at, s->cluster_size, 0);
	for (uint64_t i = 0; i < s->cluster_size; i += s->l2_cache.slice_size) {
		uint8_t *slice;
		int res = qcow2_cache_get(&s->l2_cache, from + i, &slice);

		if (res < 0)
			return res;
		memcpy(copy + i, slice, s->l2_cache.slice_size);
	}
	return qcow2_pwrite(s, at, copy, s->cluster_size);
}

int qcow2_l2_prepare(struct qcow2 *s, uint64_t offset)
{
	uint32_t i = l1_index(s, offset);
	uint64_t old, at;
	int res;

	if (i >= s->l1_size)
		return -EINVAL;
	res = qcow2_l1_check(s, s->l1[i]);
	old = s->l1[i] & QCOW2_OFFSET;
	if (res < 0 || (old && s->l1[i] & QCOW2_COPIED))
		return res;
	res = qcow2_alloc(s, 1, true, &at, NULL);
	if (res < 0)
		return res;
	res = fill_table(s, at, old);
	if (res < 0) {
		qcow2_release(s, at, s->cluster_size);
		return res;
	}
	if (old) {
		qcow2_guard_remove(s, old);
		qcow2_gone(s, old, s->cluster_size, false);
	}
	qcow2_guard_add(s, at);
	qcow2_l1_set(s, i, at | QCOW2_COPIED);
	return 0;
}

int qcow2_l2_set(struct qcow2 *s, uint64_t offset, const struct qcow2_entry *e)
{
	const uint8_t *p;
	uint64_t n;
	int res = qcow2_l2_look(s, offset, false, &p, &n);

	if (res < 0)
		return res;
	if (!p)
		return -EIO;
	put_be64((uint8_t *)p, e->word);
	if (s->extended)
		put_be64((uint8_t *)p + 8, e->bits);
	qcow2_cache_dirty(&s->l2_cache, p);
	return 0;
}

void qcow2_entry_gone(struct qcow2 *s, const struct qcow2_entry *e, bool hole)
{
	uint64_t at, len;

	if (e->word & QCOW2_COMPRESSED) {
		qcow2_packed_range(s, e->word, &at, &len);
		qcow2_gone(s, at, len, hole);
	} else if (qcow2_entry_offset(e) && !qcow2_has_data_file(s)) {
		qcow2_gone(s, qcow2_entry_offset(e), s->cluster_size, hole);
	}
}
