/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Counting what refers to each cluster of the file: the header, the tables, and all that they reach. Entries that cannot be are
 * reported, and emptied when errors are to be repaired. The counts are kept for clusters that are referred to, so the memory for
 * them grows with what is in the file, not with what its size pretends.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "qcow2.h"

enum { CHUNK = 64 };

void qcow2_count_init(struct qcow2_count *c, struct qcow2 *s)
{
	c->s = s;
	c->chunks = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	c->end = qcow2_clusters(s, image_file_size(s->file));
}

void qcow2_count_clear(struct qcow2_count *c)
{
	g_clear_pointer(&c->chunks, g_hash_table_unref);
}

struct chunk {
	gint64 index;
	uint32_t counts[CHUNK];
};

static struct chunk *find_chunk(const struct qcow2_count *c, uint64_t cluster)
{
	gint64 index = cluster / CHUNK;

	return g_hash_table_lookup(c->chunks, &index);
}

uint64_t qcow2_count_get(const struct qcow2_count *c, uint64_t cluster)
{
	const struct chunk *chunk = find_chunk(c, cluster);

	return chunk ? chunk->counts[cluster % CHUNK] : 0;
}

void qcow2_count_add(struct qcow2_count *c, uint64_t cluster)
{
	struct chunk *chunk = find_chunk(c, cluster);

	if (!chunk) {
		chunk = g_new0(struct chunk, 1);
		chunk->index = cluster / CHUNK;
		g_hash_table_insert(c->chunks, &chunk->index, chunk);
	}
	chunk->counts[cluster % CHUNK] += chunk->counts[cluster % CHUNK] < UINT32_MAX;
}

bool qcow2_count_any(const struct qcow2_count *c, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i += CHUNK)
		if (find_chunk(c, first + i))
			return true;
	return false;
}

void qcow2_count_each(struct qcow2_count *c, qcow2_count_visit *visit)
{
	struct chunk *chunk;
	GHashTableIter iter;

	g_hash_table_iter_init(&iter, c->chunks);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&chunk))
		for (unsigned i = 0; i < CHUNK; i++)
			if (chunk->counts[i])
				visit(c, (uint64_t)chunk->index * CHUNK + i, chunk->counts[i]);
}

uint64_t qcow2_count_last(const struct qcow2_count *c)
{
	uint64_t last = 0;
	struct chunk *chunk;
	GHashTableIter iter;

	g_hash_table_iter_init(&iter, c->chunks);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&chunk))
		for (unsigned i = 0; i < CHUNK; i++)
			if (chunk->counts[i])
				last = MAX(last, (uint64_t)chunk->index * CHUNK + i);
	return last;
}

void qcow2_count_say(struct qcow2_count *c, uint64_t *counter, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	++*counter;
	if (!c->report)
		return;
	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	c->report(c->opaque, text);
}

bool qcow2_count_range(struct qcow2_count *c, uint64_t offset, uint64_t len, const char *what)
{
	uint64_t first = qcow2_cluster(c->s, offset), n = qcow2_clusters(c->s, offset + len) - first;

	if (!len)
		return true;
	if (offset > INT64_MAX - len || first + n > c->end) {
		qcow2_count_say(c, &c->ret->corruptions, "ERROR %s at %#" PRIx64 " is behind the end of the file", what, offset);
		return false;
	}
	for (uint64_t i = 0; i < n; i++)
		qcow2_count_add(c, first + i);
	return true;
}

/* ---- the mapping ---- */

struct table {
	uint64_t at;	/* in the file */
	uint64_t guest; /* where its first cluster is on the disk */
	bool active;
	uint64_t next; /* where data would go on without a gap */
};

static bool count_data(struct qcow2_count *c, struct table *t, const struct qcow2_entry *e)
{
	struct qcow2 *s = c->s;
	uint64_t at = qcow2_entry_offset(e), len = s->cluster_size;
	bool packed = e->word & QCOW2_COMPRESSED;

	if (packed)
		qcow2_packed_range(s, e->word, &at, &len);
	else if (!qcow2_entry_placed(s, e))
		return true;
	if (t->active) {
		c->ret->allocated_clusters++;
		c->ret->compressed_clusters += packed;
		c->ret->fragmented_clusters += packed || (t->next && at != t->next);
		if (!packed)
			t->next = at + len;
	}
	return qcow2_has_data_file(s) || qcow2_count_range(c, at, len, packed ? "compressed data" : "data");
}

/* What makes an entry impossible, as words; NULL: it is fine. */
static const char *fault_of(struct qcow2 *s, const struct table *t, unsigned i, const struct qcow2_entry *e)
{
	uint64_t at = qcow2_entry_offset(e), len;

	if (e->word & QCOW2_COMPRESSED) {
		qcow2_packed_range(s, e->word, &at, &len);
		return e->word & QCOW2_COPIED || at > QCOW2_OFFSET || qcow2_has_data_file(s) ? "compressed cluster with flags"
											     : NULL;
	}
	if (!qcow2_aligned(s, at))
		return "offset is not a cluster's";
	if (s->version < 3 && e->word & QCOW2_ZERO)
		return "zeroes in an image of version 2";
	if ((e->bits & UINT32_MAX) & e->bits >> 32 || (e->bits & UINT32_MAX && !qcow2_entry_placed(s, e)))
		return "bits of subclusters contradict each other";
	if (qcow2_has_data_file(s) && qcow2_entry_placed(s, e) && at != t->guest + ((uint64_t)i << s->cluster_bits))
		return "offset in the data file is not the guest's";
	return NULL;
}

static int empty_entry(struct qcow2_count *c, const struct table *t, uint64_t at)
{
	struct qcow2 *s = c->s;
	uint64_t in_slice = at % s->l2_cache.slice_size;
	uint8_t *slice;
	int res;

	if (!(c->fix & IMAGE_FIX_ERRORS) || !t->active)
		return 0;
	res = qcow2_cache_get(&s->l2_cache, t->at + at - in_slice, &slice);
	if (res < 0)
		return res;
	memset(slice + in_slice, 0, s->entry_size);
	if (s->version >= 3 && s->extended)
		put_be64(slice + in_slice + 8, 0xffffffffULL << 32);
	else if (s->version >= 3)
		put_be64(slice + in_slice, QCOW2_ZERO);
	qcow2_cache_dirty(&s->l2_cache, slice);
	return 0;
}

static int count_table(struct qcow2_count *c, struct table *t)
{
	struct qcow2 *s = c->s;
	g_autofree uint8_t *bytes = g_malloc(s->cluster_size);
	int res = qcow2_pread(s, t->at, bytes, s->cluster_size);

	for (unsigned i = 0; i < 1u << s->l2_bits && res == 0; i++) {
		struct qcow2_entry e = qcow2_l2_entry(s, bytes, i);
		const char *fault = fault_of(s, t, i, &e);

		if (fault)
			qcow2_count_say(c, &c->ret->corruptions,
					"ERROR L2 entry %u of the table at %#" PRIx64 ", %#" PRIx64 ": %s", i, t->at, e.word,
					fault);
		if (fault || !count_data(c, t, &e))
			res = empty_entry(c, t, (uint64_t)i * s->entry_size);
	}
	return res;
}

/* An L2 table that is there twice is a loop in what the guest sees; it is walked once. */
static int count_l1(struct qcow2_count *c, const uint64_t *l1, uint32_t n, bool active)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_int64_hash, g_int64_equal);
	struct qcow2 *s = c->s;
	int res = 0;

	for (uint32_t i = 0; i < n && res == 0; i++) {
		struct table t = {l1[i] & QCOW2_OFFSET, (uint64_t)i << qcow2_l2_span_bits(s), active, 0};
		bool good = !(l1[i] & ~(QCOW2_OFFSET | QCOW2_COPIED)) && qcow2_aligned(s, t.at);

		if (!l1[i])
			continue;
		if (!good)
			qcow2_count_say(c, &c->ret->corruptions, "ERROR L1 entry %u, %#" PRIx64 ", is impossible", i, l1[i]);
		else if (!(good = !g_hash_table_contains(seen, l1 + i)))
			qcow2_count_say(c, &c->ret->corruptions, "ERROR L1 entry %u, %#" PRIx64 ", is there twice", i, l1[i]);
		else
			good = !t.at || qcow2_count_range(c, t.at, s->cluster_size, "L2 table");
		g_hash_table_add(seen, (gpointer)(l1 + i));
		if (good && t.at)
			res = count_table(c, &t);
		else if (!good && active && c->fix & IMAGE_FIX_ERRORS)
			qcow2_l1_set(s, i, 0);
	}
	return res;
}

static int count_snapshots(struct qcow2_count *c)
{
	struct qcow2 *s = c->s;
	int res = 0;

	qcow2_count_range(c, s->snapshots_offset, s->snapshots_len, "snapshot table");
	for (unsigned i = 0; i < s->snapshots->len && res == 0; i++) {
		const struct qcow2_snapshot *sn = &g_array_index(s->snapshots, struct qcow2_snapshot, i);
		g_autofree uint64_t *l1 = g_try_new0(uint64_t, sn->l1_size + 1ULL);

		if (!l1)
			return -ENOMEM;
		if (!qcow2_count_range(c, sn->l1_offset, sn->l1_size * 8ULL, "a snapshot's L1 table"))
			continue;
		res = qcow2_pread(s, sn->l1_offset, l1, sn->l1_size * 8ULL);
		for (uint32_t k = 0; k < sn->l1_size; k++)
			l1[k] = GUINT64_FROM_BE(l1[k]) & ~QCOW2_COPIED;
		if (res == 0)
			res = count_l1(c, l1, sn->l1_size, false);
	}
	return res;
}

static bool count_bitmap(struct qcow2 *s, uint8_t *entry, const char *name, void *opaque)
{
	struct qcow2_count *c = opaque;
	uint64_t at = get_be64(entry), n = get_be32(entry + 8);
	g_autofree uint64_t *table = NULL;

	if (!qcow2_aligned(s, at) || !qcow2_count_range(c, at, n * 8, "a bitmap's table"))
		return true;
	table = g_try_new0(uint64_t, n + 1);
	if (!table || qcow2_pread(s, at, table, n * 8) < 0) {
		c->ret->check_errors++;
		return true;
	}
	for (uint64_t i = 0; i < n; i++) {
		uint64_t data = GUINT64_FROM_BE(table[i]) & QCOW2_OFFSET;

		if (data && !qcow2_aligned(s, data))
			qcow2_count_say(c, &c->ret->corruptions, "ERROR bitmap '%s': %#" PRIx64 " is not a cluster's offset",
					name, data);
		else if (data)
			qcow2_count_range(c, data, s->cluster_size, "a bitmap");
	}
	return true;
}

static int count_bitmaps(struct qcow2_count *c)
{
	struct qcow2 *s = c->s;

	if (!s->n_bitmaps || !qcow2_count_range(c, s->bitmaps_offset, s->bitmaps_len, "directory of bitmaps"))
		return 0;
	if (qcow2_bitmaps_each(s, count_bitmap, c) < 0)
		qcow2_count_say(c, &c->ret->corruptions, "ERROR the directory of bitmaps makes no sense");
	return 0;
}

int qcow2_count_all(struct qcow2_count *c)
{
	struct qcow2 *s = c->s;
	int res;

	qcow2_count_range(c, 0, s->cluster_size, "header");
	qcow2_count_range(c, s->l1_offset, s->l1_size * 8ULL, "L1 table");
	res = count_l1(c, s->l1, s->l1_size, true);
	if (res == 0)
		res = count_snapshots(c);
	return res < 0 ? res : count_bitmaps(c);
}
