/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which clusters of the file are metadata: the header, the tables that are in one piece, and the set of L2 tables and refcount
 * blocks. A corrupt image may have data, or new clusters, just there; before anything is written it is asked here, so that such
 * an image gets no worse. Snapshots' L2 tables are not in the set. It is built when an image is opened for writing, from what is
 * in memory anyway.
 */
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "qcow2.h"

enum { FIRST_SIZE = 64 };

/* Open addressing; 0 is free (cluster 0 is the header). */
struct qcow2_guard {
	uint64_t *slots;
	size_t size, used; /* size: a power of two */
};

static size_t slot_of(const struct qcow2_guard *g, uint64_t cluster)
{
	return (cluster * 0x9e3779b97f4a7c15ULL >> 20) & (g->size - 1);
}

static size_t find(const struct qcow2_guard *g, uint64_t cluster)
{
	size_t i = slot_of(g, cluster);

	while (g->slots[i] && g->slots[i] != cluster)
		i = (i + 1) & (g->size - 1);
	return i;
}

static void grow(struct qcow2_guard *g)
{
	struct qcow2_guard old = *g;

	g->size = old.size * 2;
	g->slots = g_new0(uint64_t, g->size);
	for (size_t i = 0; i < old.size; i++)
		if (old.slots[i])
			g->slots[find(g, old.slots[i])] = old.slots[i];
	g_free(old.slots);
}

static bool add(struct qcow2_guard *g, uint64_t cluster)
{
	size_t i;

	if (g->used * 2 >= g->size)
		grow(g);
	i = find(g, cluster);
	if (g->slots[i] || !cluster)
		return false;
	g->slots[i] = cluster;
	g->used++;
	return true;
}

void qcow2_guard_add(struct qcow2 *s, uint64_t offset)
{
	if (s->guard)
		add(s->guard, qcow2_cluster(s, offset));
}

/* What was behind the freed slot in its run moves up where it may. */
void qcow2_guard_remove(struct qcow2 *s, uint64_t offset)
{
	struct qcow2_guard *g = s->guard;
	size_t hole, i;

	if (!g)
		return;
	hole = i = find(g, qcow2_cluster(s, offset));
	if (!g->slots[hole])
		return;
	g->used--;
	for (;;) {
		size_t home;

		g->slots[hole] = 0;
		do {
			i = (i + 1) & (g->size - 1);
			if (!g->slots[i])
				return;
			home = slot_of(g, g->slots[i]);
		} while (((i - home) & (g->size - 1)) < ((i - hole) & (g->size - 1)));
		g->slots[hole] = g->slots[i];
		hole = i;
	}
}

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

static bool in_tables(const struct qcow2 *s, uint64_t at, uint64_t len)
{
	const struct {
		uint64_t offset, len;
	} tables[] = {
		{0, s->cluster_size},
		{s->l1_offset, s->l1_size * 8ULL},
		{s->reftable_offset, s->reftable_size * 8ULL},
		{s->snapshots_offset, s->snapshots_len},
		{s->bitmaps_offset, s->bitmaps_len},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++)
		if (tables[i].len && overlap(at, len, tables[i].offset, align_up(tables[i].len, s->cluster_size)))
			return true;
	for (unsigned i = 0; i < s->snapshots->len; i++) {
		const struct qcow2_snapshot *sn = &g_array_index(s->snapshots, struct qcow2_snapshot, i);

		if (sn->l1_size && overlap(at, len, sn->l1_offset, align_up(sn->l1_size * 8ULL, s->cluster_size)))
			return true;
	}
	return false;
}

bool qcow2_is_metadata(struct qcow2 *s, uint64_t offset, uint64_t len)
{
	uint64_t first = qcow2_cluster(s, offset), n = qcow2_clusters(s, offset + len) - first;

	if (in_tables(s, offset, len))
		return true;
	for (uint64_t i = 0; i < n && s->guard; i++)
		if (s->guard->slots[find(s->guard, first + i)])
			return true;
	return false;
}

static bool add_table(struct qcow2 *s, uint64_t offset, const char *what, GError **error)
{
	if (qcow2_aligned(s, offset) && !in_tables(s, offset, s->cluster_size) && add(s->guard, qcow2_cluster(s, offset)))
		return true;
	return kv_fail(error, KV_ERROR_INVALID,
		       "disk '%s' is corrupt: a%s at %#" PRIx64
		       " of the file overlaps other metadata; it can be read, and a copy be "
		       "checked and repaired",
		       s->img->path, what, offset);
}

bool qcow2_guard_build(struct qcow2 *s, GError **error)
{
	qcow2_guard_free(s);
	s->guard = g_new0(struct qcow2_guard, 1);
	s->guard->size = FIRST_SIZE;
	s->guard->slots = g_new0(uint64_t, FIRST_SIZE);
	for (uint32_t i = 0; i < s->reftable_size; i++)
		if (s->reftable[i] & QCOW2_REFBLOCK && !add_table(s, s->reftable[i] & QCOW2_REFBLOCK, " refcount block", error))
			return false;
	for (uint32_t i = 0; i < s->l1_size; i++)
		if (s->l1[i] & QCOW2_OFFSET && !add_table(s, s->l1[i] & QCOW2_OFFSET, "n L2 table", error))
			return false;
	return true;
}

void qcow2_guard_free(struct qcow2 *s)
{
	if (s->guard)
		g_free(s->guard->slots);
	g_clear_pointer(&s->guard, g_free);
}
