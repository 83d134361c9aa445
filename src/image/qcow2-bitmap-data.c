/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bits of persistent bitmaps (QEMU, docs/interop/qcow2.rst, "Bitmap table", "Bitmap data"): a table in one piece, with an
 * entry for each cluster of bits, which says that all are clear, that all are set, or where they are. Bits are counted from the
 * least significant one of each byte on, which is what the words in memory are on the disk when they are little-endian.
 */
#include <errno.h>

#include "bitmap.h"
#include "bytes.h"
#include "error.h"
#include "qcow2.h"

enum { ALL_ONES = 1, WRITE_MAX = 1 << 20 };

uint64_t qcow2_bitmap_clusters(const struct qcow2 *s, uint64_t size, uint32_t granularity)
{
	uint64_t bits = size / granularity + !!(size % granularity);

	return qcow2_clusters(s, bits / 8 + !!(bits % 8));
}

/* The bytes of the disk that the bits of one cluster are for. */
static uint64_t span_of(const struct qcow2 *s, const struct image_bitmap *b)
{
	return (uint64_t)s->cluster_size * 8 * b->granularity;
}

/* Words of the bitmap in the cluster of its bits that has this number. */
static uint64_t words_in(const struct qcow2 *s, const struct image_bitmap *b, uint64_t cluster)
{
	uint64_t each = s->cluster_size / sizeof(uint64_t), first = cluster * each;

	return first < b->n_words ? MIN(each, b->n_words - first) : 0;
}

static int read_table(struct qcow2 *s, uint64_t offset, uint64_t n, uint64_t **ret)
{
	uint64_t *table = g_try_new(uint64_t, MAX(n, 1));
	int res = table ? qcow2_pread(s, offset, table, n * 8) : -ENOMEM;

	for (uint64_t i = 0; i < n && res == 0; i++)
		table[i] = GUINT64_FROM_BE(table[i]);
	if (res == 0)
		*ret = table;
	else
		g_free(table);
	return res;
}

/* A cluster of the file, or neither: 0 or 1. */
static bool entry_valid(const struct qcow2 *s, uint64_t entry)
{
	uint64_t at = entry & QCOW2_OFFSET;

	if (!at)
		return entry <= ALL_ONES;
	return entry == at && qcow2_aligned(s, at) && at < image_file_size(s->file);
}

/* ---- reading ---- */

/* Through the marking function, which counts, and knows where the last bit is. */
static void take_words(const struct qcow2 *s, struct image_bitmap *b, uint64_t cluster, const uint64_t *words)
{
	uint64_t start = cluster * span_of(s, b), n = words_in(s, b, cluster);

	for (uint64_t i = 0; i < n; i++) {
		uint64_t word = GUINT64_FROM_LE(words[i]), base = start + i * 64 * b->granularity;

		while (word) {
			unsigned from = __builtin_ctzll(word), len;

			len = ~(word >> from) ? (unsigned)__builtin_ctzll(~(word >> from)) : 64;
			image_bitmap_mark(b, base + (uint64_t)from * b->granularity, (uint64_t)len * b->granularity);
			word = from + len < 64 ? word >> (from + len) << (from + len) : 0;
		}
	}
}

static int read_cluster(struct qcow2 *s, struct image_bitmap *b, uint64_t i, uint64_t entry, uint64_t *buf)
{
	int res;

	if (entry == ALL_ONES)
		image_bitmap_mark(b, i * span_of(s, b), span_of(s, b));
	if (entry <= ALL_ONES)
		return 0;
	res = qcow2_pread(s, entry, buf, words_in(s, b, i) * sizeof(uint64_t));
	if (res == 0)
		take_words(s, b, i, buf);
	return res;
}

bool qcow2_bitmap_read(struct qcow2 *s, uint64_t table_offset, struct image_bitmap *b, GError **error)
{
	uint64_t n = qcow2_bitmap_clusters(s, b->size, b->granularity);
	g_autofree uint64_t *table = NULL, *buf = g_malloc(s->cluster_size);
	int res = read_table(s, table_offset, n, &table);

	for (uint64_t i = 0; i < n && res == 0; i++) {
		if (!entry_valid(s, table[i]))
			return kv_fail(error, KV_ERROR_INVALID,
				       "disk '%s': its bitmap '%s' has the impossible entry %#" PRIx64 " in its table",
				       s->img->path, b->name, table[i]);
		res = read_cluster(s, b, i, table[i], buf);
	}
	return res == 0 || kv_fail_errno(error, -res, "disk '%s': cannot read its bitmap '%s'", s->img->path, b->name);
}

/* ---- writing ---- */

/* 0 or ALL_ONES when all bits of the cluster are alike; else something else. */
static uint64_t kind_of(const struct qcow2 *s, const struct image_bitmap *b, uint64_t cluster)
{
	uint64_t from = cluster * span_of(s, b), to = MIN(b->size, from + span_of(s, b)), at, len;

	if (!image_bitmap_next(b, true, from, to, &at, &len))
		return 0;
	return at == from && len == to - from ? ALL_ONES : UINT64_MAX;
}

static void give_words(const struct qcow2 *s, const struct image_bitmap *b, uint64_t cluster, uint64_t *buf)
{
	uint64_t each = s->cluster_size / sizeof(uint64_t), n = words_in(s, b, cluster);

	for (uint64_t i = 0; i < n; i++)
		buf[i] = GUINT64_TO_LE(b->words[cluster * each + i]);
	for (uint64_t i = n; i < each; i++)
		buf[i] = 0;
}

/* The next run of clusters that need room, from i on; those before it have their entries. */
static uint64_t next_run(const struct qcow2 *s, const struct image_bitmap *b, uint64_t *table, uint64_t *i, uint64_t n)
{
	uint64_t max = MAX(WRITE_MAX >> s->cluster_bits, 1), run = 0;

	while (*i < n && (table[*i] = kind_of(s, b, *i)) <= ALL_ONES)
		++*i;
	while (*i + run < n && run < max && kind_of(s, b, *i + run) > ALL_ONES)
		run++;
	return run;
}

static int write_run(struct qcow2 *s, const struct image_bitmap *b, uint64_t *table, uint64_t i, uint64_t *run)
{
	g_autofree uint8_t *buf = NULL;
	uint64_t at;
	int res = qcow2_alloc(s, *run, false, &at, run);

	if (res < 0)
		return res;
	buf = g_malloc(*run << s->cluster_bits);
	for (uint64_t k = 0; k < *run; k++) {
		give_words(s, b, i + k, (uint64_t *)(buf + (k << s->cluster_bits)));
		table[i + k] = at + (k << s->cluster_bits);
	}
	res = qcow2_pwrite(s, at, buf, *run << s->cluster_bits);
	if (res < 0)
		qcow2_release(s, at, *run << s->cluster_bits);
	return res;
}

static void release_data(struct qcow2 *s, const uint64_t *table, uint64_t n)
{
	for (uint64_t i = 0; i < n && !s->broken; i++)
		if (table[i] > ALL_ONES)
			qcow2_release(s, table[i], s->cluster_size);
}

static int write_table(struct qcow2 *s, uint64_t *table, uint64_t n, uint64_t *ret_offset)
{
	int res = qcow2_alloc(s, qcow2_clusters(s, n * 8), true, ret_offset, NULL);

	if (res < 0)
		return res;
	for (uint64_t i = 0; i < n; i++)
		table[i] = GUINT64_TO_BE(table[i]);
	res = qcow2_pwrite(s, *ret_offset, table, n * 8);
	for (uint64_t i = 0; i < n; i++)
		table[i] = GUINT64_FROM_BE(table[i]);
	if (res < 0)
		qcow2_release(s, *ret_offset, n * 8);
	return res;
}

int qcow2_bitmap_write(struct qcow2 *s, const struct image_bitmap *b, uint64_t *ret_offset, uint32_t *ret_size)
{
	uint64_t n = qcow2_bitmap_clusters(s, b->size, b->granularity), i = 0, run, at = 0;
	g_autofree uint64_t *table = g_try_new0(uint64_t, MAX(n, 1));
	int res = table ? 0 : -ENOMEM;

	while (res == 0 && (run = next_run(s, b, table, &i, n))) {
		res = write_run(s, b, table, i, &run);
		i += res == 0 ? run : 0;
	}
	if (res == 0)
		res = write_table(s, table, n, &at);
	if (res == 0) {
		*ret_offset = at;
		*ret_size = n;
	} else if (table) {
		release_data(s, table, i);
	}
	return res;
}

/* ---- giving back ---- */

static void give_back(struct qcow2 *s, uint64_t offset, uint64_t len, bool at_once)
{
	if (at_once)
		qcow2_release(s, offset, len);
	else
		qcow2_gone(s, offset, len, true);
}

void qcow2_bitmap_drop(struct qcow2 *s, uint64_t table_offset, uint32_t table_size, bool at_once)
{
	g_autofree uint64_t *table = NULL;

	/* What cannot be read is lost room, for a check to find. */
	if (read_table(s, table_offset, table_size, &table) < 0)
		return;
	for (uint32_t i = 0; i < table_size && !s->broken; i++)
		if (table[i] > ALL_ONES && entry_valid(s, table[i]))
			give_back(s, table[i], s->cluster_size, at_once);
	give_back(s, table_offset, table_size * 8ULL, at_once);
}
