/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reference counts of the file's clusters, and with them the taking and giving back of clusters. A refcount block that is missing
 * is made in the first of the clusters that it counts, which are all free then. Runs that are long (tables), and a refcount table
 * that is full, go behind everything that is counted so far, together with the blocks that count them. Callers hold the lock.
 */
#include <errno.h>
#include <string.h>

#include "qcow2.h"

uint64_t qcow2_refcount_max(const struct qcow2 *s)
{
	unsigned bits = 1u << s->refcount_order;

	return bits == 64 ? UINT64_MAX : (1ULL << bits) - 1;
}

uint64_t qcow2_refcount_entry(const void *block, uint64_t index, unsigned order)
{
	const uint8_t *p = block;

	switch (order) {
	case 3:
		return p[index];
	case 4:
		return get_be16(p + index * 2);
	case 5:
		return get_be32(p + index * 4);
	case 6:
		return get_be64(p + index * 8);
	default:
		return p[index >> (3 - order)] >> ((index << order) & 7) & ((1u << (1u << order)) - 1);
	}
}

void qcow2_refcount_put(void *block, uint64_t index, unsigned order, uint64_t value)
{
	uint8_t *p = block, *byte;
	unsigned shift, mask;

	switch (order) {
	case 3:
		p[index] = value;
		return;
	case 4:
		put_be16(p + index * 2, value);
		return;
	case 5:
		put_be32(p + index * 4, value);
		return;
	case 6:
		put_be64(p + index * 8, value);
		return;
	}
	byte = p + (index >> (3 - order));
	shift = (index << order) & 7;
	mask = ((1u << (1u << order)) - 1) << shift;
	*byte = (*byte & ~mask) | (value << shift & mask);
}

static unsigned slice_bits(const struct qcow2 *s)
{
	return MIN(s->cluster_bits, 12) + 3 - s->refcount_order;
}

/* The slice with a cluster's count; NULL: no block, all its counts are 0. */
static int find_slice(struct qcow2 *s, uint64_t cluster, uint8_t **ret)
{
	uint64_t index = cluster >> s->refblock_bits, block, in_block = cluster & ((1ULL << s->refblock_bits) - 1);

	*ret = NULL;
	block = index < s->reftable_size ? s->reftable[index] & QCOW2_REFBLOCK : 0;
	if (!block)
		return 0;
	if (!qcow2_aligned(s, block) || block > QCOW2_OFFSET)
		return qcow2_corrupt(s, "refcount block %" PRIu64 " has the impossible offset %#" PRIx64, index, block);
	return qcow2_cache_get(&s->refcount_cache, block + (in_block >> slice_bits(s)) * s->refcount_cache.slice_size, ret);
}

static uint64_t in_slice(const struct qcow2 *s, uint64_t cluster)
{
	return cluster & ((1ULL << slice_bits(s)) - 1);
}

int qcow2_refcount_get(struct qcow2 *s, uint64_t cluster, uint64_t *ret)
{
	uint8_t *slice;
	int res = find_slice(s, cluster, &slice);

	if (res == 0)
		*ret = slice ? qcow2_refcount_entry(slice, in_slice(s, cluster), s->refcount_order) : 0;
	return res;
}

static void put(struct qcow2 *s, uint8_t *slice, uint64_t cluster, uint64_t count)
{
	qcow2_refcount_put(slice, in_slice(s, cluster), s->refcount_order, count);
	qcow2_cache_dirty(&s->refcount_cache, slice);
	if (count)
		return;
	s->free_hint = MIN(s->free_hint, cluster);
	if (s->free_byte && qcow2_cluster(s, s->free_byte) == cluster)
		s->free_byte = 0;
}

static int change_one(struct qcow2 *s, uint64_t cluster, int delta)
{
	uint8_t *slice;
	int res = find_slice(s, cluster, &slice);
	uint64_t count;

	if (res < 0)
		return res;
	count = slice ? qcow2_refcount_entry(slice, in_slice(s, cluster), s->refcount_order) : 0;
	if (!slice || (delta < 0 && !count))
		return qcow2_corrupt(s, "the cluster at %#" PRIx64 " of the file is in use and counted as free",
				     cluster << s->cluster_bits);
	if (delta > 0 && count >= qcow2_refcount_max(s))
		return -EOVERFLOW;
	put(s, slice, cluster, count + delta);
	return 0;
}

int qcow2_refcount_set(struct qcow2 *s, uint64_t cluster, uint64_t count)
{
	uint8_t *slice;
	int res = find_slice(s, cluster, &slice);

	if (res == 0 && count > qcow2_refcount_max(s))
		res = -EOVERFLOW;
	if (res == 0 && !slice)
		res = -EIO;
	if (res == 0)
		put(s, slice, cluster, count);
	return res;
}

int qcow2_refcount_add(struct qcow2 *s, uint64_t first, uint64_t n, int delta)
{
	for (uint64_t i = 0; i < n; i++) {
		int res = change_one(s, first + i, delta);

		if (res == 0)
			continue;
		while (i--)
			change_one(s, first + i, -delta);
		return res;
	}
	return 0;
}

/* ---- blocks and the table ---- */

static uint64_t first_uncounted(const struct qcow2 *s)
{
	uint32_t i = s->reftable_size;

	while (i && !(s->reftable[i - 1] & QCOW2_REFBLOCK))
		i--;
	return (uint64_t)i << s->refblock_bits;
}

/* How many blocks are needed to count themselves and n clusters behind them. */
static uint64_t blocks_for(const struct qcow2 *s, uint64_t n)
{
	uint64_t blocks = 1;

	while (blocks << s->refblock_bits < n + blocks)
		blocks = ((n + blocks - 1) >> s->refblock_bits) + 1;
	return blocks;
}

static bool beyond_device(const struct qcow2 *s, uint64_t cluster, uint64_t n)
{
	return s->file->device && (cluster + n) << s->cluster_bits > image_file_size(s->file);
}

/* Blocks at cluster `at` on that count themselves and n clusters behind them as used. Written at once; nothing points to them. */
static int write_blocks(struct qcow2 *s, uint64_t at, uint64_t blocks, uint64_t n)
{
	g_autofree uint8_t *bytes = g_try_malloc0(blocks << s->cluster_bits);
	uint64_t offset = at << s->cluster_bits;

	if (!bytes)
		return -ENOMEM;
	if (beyond_device(s, at, blocks + n))
		return -ENOSPC;
	if (offset > QCOW2_OFFSET - ((blocks + n) << s->cluster_bits))
		return -EFBIG;
	if (qcow2_is_metadata(s, offset, (blocks + n) << s->cluster_bits))
		return qcow2_corrupt(s, "metadata at %#" PRIx64 " of the file is not counted", offset);
	for (uint64_t i = 0; i < blocks + n; i++)
		qcow2_refcount_put(bytes, i, s->refcount_order, 1);
	qcow2_cache_forget(&s->refcount_cache, offset, blocks << s->cluster_bits);
	return qcow2_pwrite(s, offset, bytes, blocks << s->cluster_bits);
}

static void use_blocks(struct qcow2 *s, uint64_t at, uint64_t blocks)
{
	for (uint64_t i = 0; i < blocks; i++) {
		uint64_t offset = (at + i) << s->cluster_bits;

		qcow2_reftable_set(s, (at >> s->refblock_bits) + i, offset);
		qcow2_guard_add(s, offset);
	}
}

/* Puts a table of `entries` into place, whose blocks and clusters are on the disk; the header is what changes. */
static int switch_table(struct qcow2 *s, uint64_t *table, uint64_t entries, uint64_t offset)
{
	uint64_t old_offset = s->reftable_offset, old_size = s->reftable_size;
	g_autofree uint8_t *bytes = g_malloc0(entries * 8);
	uint8_t head[12];
	int res;

	for (uint64_t i = 0; i < entries; i++)
		put_be64(bytes + i * 8, table[i]);
	res = qcow2_pwrite(s, offset, bytes, entries * 8);
	if (res == 0)
		res = qcow2_sync(s);
	put_be64(head, offset);
	put_be32(head + 8, entries * 8 >> s->cluster_bits);
	if (res < 0)
		return res;
	res = qcow2_pwrite(s, QCOW2_AT_REFTABLE, head, sizeof(head));
	if (res == 0)
		res = qcow2_sync(s);
	if (res < 0) {
		s->broken = true; /* which table holds now is not known */
		return res;
	}
	g_free(s->reftable);
	s->reftable = table;
	s->reftable_size = entries;
	s->reftable_offset = offset;
	s->reftable_from = s->reftable_to = 0;
	if (old_size)
		qcow2_gone(s, old_offset, old_size * 8, false);
	return 0;
}

static int grow_table(struct qcow2 *s, uint64_t want)
{
	uint64_t at = first_uncounted(s), base = at >> s->refblock_bits, blocks, clusters, entries;
	uint64_t *table;
	int res;

	want = MAX(want, s->reftable_size + s->reftable_size / 2);
	want = MIN(want, QCOW2_MAX_REFTABLE / 8);
	clusters = qcow2_clusters(s, want * 8);
	while (blocks = blocks_for(s, clusters), clusters << s->cluster_bits >> 3 < base + blocks)
		clusters++;
	entries = clusters << s->cluster_bits >> 3;
	if (entries * 8 > QCOW2_MAX_REFTABLE || want <= s->reftable_size)
		return -EFBIG;
	res = write_blocks(s, at, blocks, clusters);
	if (res < 0)
		return res;
	table = g_new0(uint64_t, entries);
	if (s->reftable_size)
		memcpy(table, s->reftable, s->reftable_size * 8ULL);
	for (uint64_t i = 0; i < blocks; i++)
		table[base + i] = (at + i) << s->cluster_bits;
	res = switch_table(s, table, entries, (at + blocks) << s->cluster_bits);
	if (res < 0) {
		g_free(table);
		return res;
	}
	for (uint64_t i = 0; i < blocks; i++)
		qcow2_guard_add(s, (at + i) << s->cluster_bits);
	return 0;
}

/* A run of any length behind all that is counted. */
static int alloc_behind(struct qcow2 *s, uint64_t n, uint64_t *ret)
{
	uint64_t blocks = blocks_for(s, n), at = first_uncounted(s);
	int res = 0;

	if ((at >> s->refblock_bits) + blocks > s->reftable_size) {
		res = grow_table(s, (at >> s->refblock_bits) + blocks + 1);
		at = first_uncounted(s);
	}
	if (res == 0 && (at >> s->refblock_bits) + blocks > s->reftable_size)
		res = -EFBIG;
	if (res == 0)
		res = write_blocks(s, at, blocks, n);
	if (res < 0)
		return res;
	use_blocks(s, at, blocks);
	*ret = at + blocks;
	return 0;
}

/* The block that counts this cluster, if there is none: in the first cluster that it counts. */
static int make_block(struct qcow2 *s, uint64_t cluster)
{
	uint64_t index = cluster >> s->refblock_bits, at = index << s->refblock_bits;
	int res = 0;

	if (index >= s->reftable_size) {
		res = grow_table(s, index + 1);
		if (res < 0)
			return res;
	}
	if (s->reftable[index] & QCOW2_REFBLOCK)
		return 0;
	res = write_blocks(s, at, 1, 0);
	if (res == 0)
		use_blocks(s, at, 1);
	return res;
}

/* ---- taking clusters ---- */

/* The first free cluster from s->free_hint on, in a block that is there. */
static int find_free(struct qcow2 *s)
{
	for (;;) {
		uint64_t cluster = s->free_hint, end;
		uint8_t *slice;
		int res;

		if (cluster >= QCOW2_OFFSET >> s->cluster_bits)
			return -EFBIG;
		res = find_slice(s, cluster, &slice);
		if (res == 0 && !slice)
			res = make_block(s, cluster);
		if (res < 0)
			return res;
		if (!slice)
			continue;
		end = (cluster | ((1ULL << slice_bits(s)) - 1)) + 1;
		while (cluster < end && qcow2_refcount_entry(slice, in_slice(s, cluster), s->refcount_order))
			cluster++;
		s->free_hint = cluster;
		if (cluster < end)
			return 0;
	}
}

static int take_run(struct qcow2 *s, uint64_t n, uint64_t *ret_first, uint64_t *ret_n)
{
	uint64_t first, i, count = 0;
	int res = find_free(s);

	if (res < 0)
		return res;
	first = s->free_hint;
	for (i = 1; i < n; i++) {
		uint8_t *slice;

		res = find_slice(s, first + i, &slice);
		if (res < 0)
			return res;
		if (slice)
			count = qcow2_refcount_entry(slice, in_slice(s, first + i), s->refcount_order);
		if (!slice || count)
			break;
	}
	*ret_first = first;
	*ret_n = i;
	return 0;
}

/* All n in a row: skip runs that are too short. */
static int take_all(struct qcow2 *s, uint64_t n, uint64_t *ret_first)
{
	uint64_t hint = s->free_hint, got = 0;
	int res = 0;
	bool skipped = false;

	if (n > (1ULL << s->refblock_bits) / 2)
		return alloc_behind(s, n, ret_first);
	while (res == 0 && got < n) {
		res = take_run(s, n, ret_first, &got);
		if (res == 0 && got < n) {
			if (!skipped)
				hint = *ret_first;
			skipped = true;
			s->free_hint = *ret_first + got;
		}
	}
	if (res == 0)
		res = qcow2_refcount_add(s, *ret_first, n, 1);
	if (skipped)
		s->free_hint = hint;
	return res;
}

static int alloc_once(struct qcow2 *s, uint64_t n, bool all, uint64_t *ret_first, uint64_t *ret_n)
{
	int res;

	*ret_n = n;
	if (all)
		return take_all(s, n, ret_first);
	res = take_run(s, n, ret_first, ret_n);
	return res < 0 ? res : qcow2_refcount_add(s, *ret_first, *ret_n, 1);
}

int qcow2_alloc(struct qcow2 *s, uint64_t n, bool all, uint64_t *ret_offset, uint64_t *ret_n)
{
	uint64_t first = 0, got;
	int res = alloc_once(s, n, all, &first, &got);

	if (res == 0 && beyond_device(s, first, got)) {
		qcow2_refcount_add(s, first, got, -1);
		res = -ENOSPC;
	}
	if (res == -ENOSPC && s->gone->len) {
		res = qcow2_flush_locked(s);
		if (res == 0)
			return qcow2_alloc(s, n, all, ret_offset, ret_n);
	}
	if (res < 0)
		return res;
	if (qcow2_is_metadata(s, first << s->cluster_bits, got << s->cluster_bits))
		return qcow2_corrupt(s, "metadata at %#" PRIx64 " of the file is counted as free", first << s->cluster_bits);
	if (ret_n)
		*ret_n = got;
	*ret_offset = first << s->cluster_bits;
	return 0;
}

/*
 * Compressed clusters share clusters of the file: this one goes on behind the last one, and on in the next cluster of the file if
 * that is free.
 */
int qcow2_alloc_bytes(struct qcow2 *s, uint32_t len, uint64_t *ret_offset)
{
	uint32_t room = s->free_byte ? s->cluster_size - (s->free_byte & (s->cluster_size - 1)) : 0;
	uint64_t offset;
	int res;

	if (len <= room && qcow2_refcount_add(s, qcow2_cluster(s, s->free_byte), 1, 1) == 0) {
		*ret_offset = s->free_byte;
	} else {
		res = qcow2_alloc(s, 1, true, &offset, NULL);
		if (res < 0)
			return res;
		*ret_offset = offset;
		if (room && offset == s->free_byte + room && qcow2_refcount_add(s, qcow2_cluster(s, s->free_byte), 1, 1) == 0)
			*ret_offset = s->free_byte;
	}
	s->free_byte = *ret_offset + len;
	if (qcow2_aligned(s, s->free_byte))
		s->free_byte = 0;
	return s->broken ? -EIO : 0;
}

/* ---- giving back ---- */

void qcow2_release(struct qcow2 *s, uint64_t offset, uint64_t bytes)
{
	uint64_t first = qcow2_cluster(s, offset);

	qcow2_refcount_add(s, first, qcow2_clusters(s, offset + bytes) - first, -1);
}

void qcow2_gone(struct qcow2 *s, uint64_t offset, uint64_t bytes, bool hole)
{
	struct qcow2_gone run = {.first = qcow2_cluster(s, offset), .hole = hole}, *last;

	run.n = qcow2_clusters(s, offset + bytes) - run.first;
	last = s->gone->len ? &g_array_index(s->gone, struct qcow2_gone, s->gone->len - 1) : NULL;
	if (last && last->first + last->n == run.first && last->hole == hole)
		last->n += run.n;
	else
		g_array_append_val(s->gone, run);
}

static void punch(struct qcow2 *s, uint64_t first, uint64_t n)
{
	if (n)
		s->file->type->discard(s->file, first << s->cluster_bits, n << s->cluster_bits);
}

static int free_run(struct qcow2 *s, struct qcow2_gone *run)
{
	uint64_t from = run->first, count;
	int res = 0;

	while (res == 0 && run->n) {
		res = qcow2_refcount_add(s, run->first, 1, -1);
		if (res == 0)
			res = qcow2_refcount_get(s, run->first, &count);
		if (res < 0)
			break;
		run->first++;
		run->n--;
		if (count && run->hole) {
			punch(s, from, run->first - 1 - from);
			from = run->first;
		}
	}
	if (run->hole)
		punch(s, from, run->first - from);
	return res;
}

int qcow2_free_gone(struct qcow2 *s)
{
	int res = 0;
	unsigned i = 0;

	while (res == 0 && i < s->gone->len) {
		struct qcow2_gone *run = &g_array_index(s->gone, struct qcow2_gone, i);

		res = free_run(s, run);
		i += res == 0;
	}
	s->reused += i > 0;
	if (i)
		g_array_remove_range(s->gone, 0, i);
	return res;
}
