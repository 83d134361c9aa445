/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Counting what refers to each cluster of the file: the header, the tables, and all that they reach. Entries that cannot be are
 * reported, and emptied when errors are to be repaired. The counts are kept for clusters that are referred to, so the memory for
 * them grows with what is in the file, not with what its size pretends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#include "qcow2.h"

enum {
	CHUNK = QCOW2_COUNT_CHUNK,
	FIRST_SLOTS = 64,
	TABLES_AHEAD = 16,
	SKIP = 8, /* entries that are looked at together */
};

struct chunk {
	uint64_t index;
	uint32_t words[CHUNK];
};

/* Open addressing. The index is beside the pointer, so that looking for one touches no other. */
struct qcow2_count_slot {
	uint64_t index;
	struct chunk *chunk; /* NULL: free */
};

static struct qcow2_count_slot *find_slot(const struct qcow2_count *c, uint64_t index)
{
	size_t i = index * 0x9e3779b97f4a7c15ULL >> 20 & (c->n_slots - 1);

	while (c->slots[i].chunk && c->slots[i].index != index)
		i = (i + 1) & (c->n_slots - 1);
	return c->slots + i;
}

static void set_slots(struct qcow2_count *c, size_t n)
{
	g_autofree struct qcow2_count_slot *old = c->slots;
	size_t n_old = c->n_slots;

	c->slots = g_new0(struct qcow2_count_slot, n);
	c->n_slots = n;
	for (size_t i = 0; i < n_old; i++)
		if (old[i].chunk)
			*find_slot(c, old[i].index) = old[i];
}

void qcow2_count_init(struct qcow2_count *c, struct qcow2 *s)
{
	c->s = s;
	set_slots(c, FIRST_SLOTS);
	c->end = qcow2_clusters(s, image_file_size(s->file));
}

void qcow2_count_clear(struct qcow2_count *c)
{
	for (size_t i = 0; i < c->n_slots; i++)
		g_free(c->slots[i].chunk);
	g_clear_pointer(&c->slots, g_free);
	c->n_slots = 0;
}

static struct chunk *get_chunk(struct qcow2_count *c, uint64_t index)
{
	struct qcow2_count_slot *slot = find_slot(c, index);

	if (slot->chunk)
		return slot->chunk;
	if (++c->n_chunks * 2 > c->n_slots) {
		set_slots(c, c->n_slots * 2);
		slot = find_slot(c, index);
	}
	slot->index = index;
	slot->chunk = g_new0(struct chunk, 1);
	slot->chunk->index = index;
	return slot->chunk;
}

static void refer(struct qcow2_count *c, uint64_t cluster, uint32_t flag)
{
	uint32_t *word = get_chunk(c, cluster / CHUNK)->words + cluster % CHUNK;

	*word = (*word + ((*word & QCOW2_COUNT_MASK) < QCOW2_COUNT_MASK)) | flag;
}

const uint32_t *qcow2_count_chunk(const struct qcow2_count *c, uint64_t cluster)
{
	const struct chunk *chunk = find_slot(c, cluster / CHUNK)->chunk;

	return chunk ? chunk->words : NULL;
}

uint64_t qcow2_count_get(const struct qcow2_count *c, uint64_t cluster)
{
	const uint32_t *words = qcow2_count_chunk(c, cluster);

	return words ? words[cluster % CHUNK] & QCOW2_COUNT_MASK : 0;
}

void qcow2_count_add(struct qcow2_count *c, uint64_t cluster)
{
	refer(c, cluster, 0);
}

bool qcow2_count_any(const struct qcow2_count *c, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i += CHUNK)
		if (qcow2_count_chunk(c, first + i))
			return true;
	return false;
}

void qcow2_count_each(struct qcow2_count *c, qcow2_count_visit *visit)
{
	for (size_t i = 0; i < c->n_slots; i++) {
		const struct chunk *chunk = c->slots[i].chunk;

		for (unsigned k = 0; chunk && k < CHUNK; k++)
			if (chunk->words[k])
				visit(c, chunk->index * CHUNK + k, chunk->words[k] & QCOW2_COUNT_MASK);
	}
}

uint64_t qcow2_count_last(const struct qcow2_count *c)
{
	uint64_t last = 0;

	for (size_t i = 0; i < c->n_slots; i++) {
		const struct chunk *chunk = c->slots[i].chunk;

		for (unsigned k = 0; chunk && k < CHUNK; k++)
			if (chunk->words[k])
				last = MAX(last, chunk->index * CHUNK + k);
	}
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

static bool count_range(struct qcow2_count *c, uint64_t offset, uint64_t len, uint32_t flag, const char *what)
{
	uint64_t first = qcow2_cluster(c->s, offset), n = qcow2_clusters(c->s, offset + len) - first;

	if (!len)
		return true;
	if (offset > INT64_MAX - len || first + n > c->end) {
		qcow2_count_say(c, &c->ret->corruptions, "ERROR %s at %#" PRIx64 " is behind the end of the file", what, offset);
		return false;
	}
	for (uint64_t i = 0; i < n; i++)
		refer(c, first + i, flag);
	return true;
}

bool qcow2_count_range(struct qcow2_count *c, uint64_t offset, uint64_t len, const char *what)
{
	return count_range(c, offset, len, 0, what);
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
	uint32_t flag = e->word & QCOW2_COPIED ? QCOW2_COUNT_COPIED : QCOW2_COUNT_SHARED;

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
	if (packed || !t->active)
		flag = 0;
	return qcow2_has_data_file(s) || count_range(c, at, len, flag, packed ? "compressed data" : "data");
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

/* Most tables are mostly empty: is this and what comes with it? (A table has a multiple of SKIP entries.) */
static bool nothing(const uint8_t *p, size_t len)
{
	uint64_t all = 0, word;

	for (size_t i = 0; i < len; i += sizeof(word)) {
		memcpy(&word, p + i, sizeof(word));
		all |= word;
	}
	return !all;
}

static int count_entry(struct qcow2_count *c, struct table *t, const uint8_t *bytes, unsigned i)
{
	struct qcow2 *s = c->s;
	struct qcow2_entry e = qcow2_l2_entry(s, bytes, i);
	const char *fault = fault_of(s, t, i, &e);

	if (fault)
		qcow2_count_say(c, &c->ret->corruptions, "ERROR L2 entry %u of the table at %#" PRIx64 ", %#" PRIx64 ": %s", i,
				t->at, e.word, fault);
	return fault || !count_data(c, t, &e) ? empty_entry(c, t, (uint64_t)i * s->entry_size) : 0;
}

static int count_table(struct qcow2_count *c, struct table *t, uint8_t *bytes)
{
	struct qcow2 *s = c->s;
	int res = qcow2_pread(s, t->at, bytes, s->cluster_size);

	for (unsigned i = 0; i < 1u << s->l2_bits && res == 0; i += SKIP) {
		if (nothing(bytes + (size_t)i * s->entry_size, (size_t)SKIP * s->entry_size))
			continue;
		for (unsigned k = i; k < i + SKIP && res == 0; k++)
			if (!nothing(bytes + (size_t)k * s->entry_size, s->entry_size))
				res = count_entry(c, t, bytes, k);
	}
	return res;
}

/* So that a disk always has some to read. */
static void read_ahead(struct qcow2 *s, uint64_t entry)
{
	if (entry & QCOW2_OFFSET && s->file->fd >= 0)
		posix_fadvise(s->file->fd, entry & QCOW2_OFFSET, s->cluster_size, POSIX_FADV_WILLNEED);
}

/* An L2 table that is there twice is a loop in what the guest sees; it is walked once. */
static int count_l1(struct qcow2_count *c, const uint64_t *l1, uint32_t n, bool active)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_int64_hash, g_int64_equal);
	struct qcow2 *s = c->s;
	g_autofree uint8_t *bytes = g_malloc(s->cluster_size);
	int res = 0;

	for (uint32_t i = 0; i < MIN(n, TABLES_AHEAD); i++)
		read_ahead(s, l1[i]);
	for (uint32_t i = 0; i < n && res == 0; i++) {
		struct table t = {l1[i] & QCOW2_OFFSET, (uint64_t)i << qcow2_l2_span_bits(s), active, 0};
		bool good = !(l1[i] & ~(QCOW2_OFFSET | QCOW2_COPIED)) && qcow2_aligned(s, t.at);

		if (i + TABLES_AHEAD < n)
			read_ahead(s, l1[i + TABLES_AHEAD]);
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
			res = count_table(c, &t, bytes);
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
