/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Refcount structures that cannot be repaired where they are, or are to have another width: new ones are made from what has been
 * counted, behind everything that is in the file. The old ones are free then.
 */
#include <errno.h>

#include "bytes.h"
#include "qcow2.h"

struct plan {
	uint64_t at;	   /* the first cluster of the blocks; the table is behind them */
	uint64_t blocks;   /* in use; */
	uint64_t ranges;   /* of block numbers, used or not */
	uint64_t clusters; /* of the table */
};

static bool range_used(const struct qcow2_count *c, const struct plan *p, uint64_t index)
{
	uint64_t first = index << c->s->refblock_bits, n = 1ULL << c->s->refblock_bits;

	return (first < p->at + p->blocks + p->clusters && p->at < first + n) || qcow2_count_any(c, first, n);
}

/* Blocks count themselves and the table, so what is needed is found by trying. */
static int make_plan(struct qcow2_count *c, struct plan *p)
{
	struct qcow2 *s = c->s;
	uint64_t before;

	p->at = MAX(qcow2_count_last(c) + 1, c->end);
	do {
		before = p->blocks + p->clusters;
		p->ranges = ((p->at + before) >> s->refblock_bits) + 1;
		p->clusters = MAX(qcow2_clusters(s, p->ranges * 8), 1);
		if (p->ranges * 8 > QCOW2_MAX_REFTABLE)
			return -EFBIG;
		p->blocks = 0;
		for (uint64_t i = 0; i < p->ranges; i++)
			p->blocks += range_used(c, p, i);
	} while (p->blocks + p->clusters > before);
	return 0;
}

static int write_block(struct qcow2_count *c, const struct plan *p, uint64_t index, uint64_t at)
{
	struct qcow2 *s = c->s;
	g_autofree uint8_t *block = g_malloc0(s->cluster_size);
	uint64_t first = index << s->refblock_bits;

	for (uint64_t i = 0; i < 1ULL << s->refblock_bits; i++) {
		uint64_t count = qcow2_count_get(c, first + i);

		if (count > qcow2_refcount_max(s))
			return -EOVERFLOW;
		qcow2_refcount_put(block, i, s->refcount_order, count);
	}
	return qcow2_pwrite(s, at << s->cluster_bits, block, s->cluster_size);
}

static int write_all(struct qcow2_count *c, const struct plan *p, uint64_t *table)
{
	uint64_t next = p->at, n = p->clusters << c->s->cluster_bits >> 3;
	g_autofree uint8_t *bytes = g_malloc0(n * 8);
	int res = 0;

	for (uint64_t i = 0; i < p->ranges && res == 0; i++) {
		if (!range_used(c, p, i))
			continue;
		res = write_block(c, p, i, next);
		table[i] = next++ << c->s->cluster_bits;
	}
	for (uint64_t i = 0; i < n; i++)
		put_be64(bytes + i * 8, table[i]);
	if (res == 0)
		res = qcow2_pwrite(c->s, (p->at + p->blocks) << c->s->cluster_bits, bytes, n * 8);
	return res < 0 ? res : qcow2_sync(c->s);
}

static void use(struct qcow2 *s, uint64_t *table, uint64_t n, uint64_t offset)
{
	g_free(s->reftable);
	s->reftable = table;
	s->reftable_size = n;
	s->reftable_offset = offset;
	s->reftable_from = s->reftable_to = 0;
	s->free_hint = s->free_byte = 0;
	qcow2_cache_clear(&s->refcount_cache);
	qcow2_cache_init(&s->refcount_cache, s, QCOW2_REFCOUNT_CACHE, qcow2_clean_refcounts);
}

/* Where they are and how wide the counts are, in one write of the sector that has both. */
static int switch_to(struct qcow2 *s, uint64_t offset, uint32_t clusters)
{
	uint8_t head[QCOW2_HEADER_V3];
	int res = qcow2_pread(s, 0, head, sizeof(head));

	put_be64(head + QCOW2_AT_REFTABLE, offset);
	put_be32(head + QCOW2_AT_REFTABLE + 8, clusters);
	if (s->version >= 3)
		put_be32(head + QCOW2_AT_REFCOUNT_ORDER, s->refcount_order);
	if (res == 0)
		res = qcow2_pwrite(s, 0, head, s->version < 3 ? QCOW2_HEADER_V2 : QCOW2_HEADER_V3);
	return res < 0 ? res : qcow2_sync(s);
}

int qcow2_rebuild(struct qcow2_count *c)
{
	struct plan p = {0};
	struct qcow2_count fresh = {.fix = c->fix, .ret = &(struct image_check){0}};
	uint64_t offset, n, *table;
	int res;

	/* Without the old structures: what refers to clusters otherwise. */
	qcow2_count_init(&fresh, c->s);
	res = qcow2_count_all(&fresh);
	if (res == 0)
		res = make_plan(&fresh, &p);
	if (res < 0) {
		qcow2_count_clear(&fresh);
		return res;
	}
	for (uint64_t i = 0; i < p.blocks + p.clusters; i++)
		qcow2_count_add(&fresh, p.at + i);
	n = p.clusters << c->s->cluster_bits >> 3;
	offset = (p.at + p.blocks) << c->s->cluster_bits;
	table = g_new0(uint64_t, n);
	res = write_all(&fresh, &p, table);
	qcow2_count_clear(&fresh);
	if (res == 0)
		res = switch_to(c->s, offset, p.clusters);
	if (res < 0)
		g_free(table);
	else
		use(c->s, table, n, offset);
	return res;
}
