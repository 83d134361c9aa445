/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Internal snapshots: an L1 table that is kept. What it reaches is counted once more, so writes to it copy; the "copied" flags of
 * the active tables, which say what may be overwritten, change with that. At every step that a crash may come between, flags and
 * counts err on the side of copying too much or leaking. Called by tools, while nobody else is in the image.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "qcow2.h"

enum {
	ENTRY = 40,
	MAX_EXTRA = 1024,
	EXTRA = 24, /* what we write: vm state, size, icount */
	NAME_MAX_BYTES = 255,
};

static void snapshot_clear(struct qcow2_snapshot *sn)
{
	g_free(sn->info.id);
	g_free(sn->info.name);
	g_free(sn->extra);
}

void qcow2_snapshots_free(struct qcow2 *s)
{
	for (unsigned i = 0; i < s->snapshots->len; i++)
		snapshot_clear(&g_array_index(s->snapshots, struct qcow2_snapshot, i));
	g_array_free(s->snapshots, TRUE);
}

/* ---- the table, from bytes ---- */

static void take_extra(struct qcow2 *s, struct qcow2_snapshot *sn)
{
	sn->info.size = s->img->size;
	sn->info.icount = UINT64_MAX;
	if (sn->extra_len >= 8)
		sn->info.vm_state_size = get_be64(sn->extra);
	if (sn->extra_len >= 16)
		sn->info.size = get_be64(sn->extra + 8);
	if (sn->extra_len >= 24)
		sn->info.icount = get_be64(sn->extra + 16);
}

static bool bad_table(struct qcow2 *s, GError **error)
{
	return kv_fail(error, KV_ERROR_INVALID, "disk '%s': its table of snapshots makes no sense; use a copy", s->img->path);
}

static int read_string(struct qcow2 *s, uint64_t *at, uint32_t len, char **ret)
{
	int res;

	*ret = g_malloc0(len + 1ULL);
	res = qcow2_pread(s, *at, *ret, len);
	*at += len;
	return res;
}

static bool read_one(struct qcow2 *s, uint64_t *at, struct qcow2_snapshot *sn, GError **error)
{
	uint8_t h[ENTRY];
	uint32_t id_len, name_len;
	int res = qcow2_pread(s, *at, h, sizeof(h));

	sn->l1_offset = get_be64(h);
	sn->l1_size = get_be32(h + 8);
	id_len = get_be16(h + 12);
	name_len = get_be16(h + 14);
	sn->info.date_sec = get_be32(h + 16);
	sn->info.date_nsec = get_be32(h + 20);
	sn->info.vm_clock_nsec = get_be64(h + 24);
	sn->info.vm_state_size = get_be32(h + 32);
	sn->extra_len = get_be32(h + 36);
	if (res == 0 && (sn->extra_len > MAX_EXTRA || !qcow2_aligned(s, sn->l1_offset) || sn->l1_offset > QCOW2_OFFSET ||
			 sn->l1_size > QCOW2_MAX_L1 / 8))
		return bad_table(s, error);
	*at += ENTRY;
	if (res == 0)
		res = read_string(s, at, sn->extra_len, (char **)&sn->extra);
	if (res == 0)
		res = read_string(s, at, id_len, &sn->info.id);
	if (res == 0)
		res = read_string(s, at, name_len, &sn->info.name);
	if (res < 0)
		return kv_fail_errno(error, -res, "disk '%s': cannot read its snapshots", s->img->path);
	*at = align_up(*at, 8);
	take_extra(s, sn);
	return true;
}

bool qcow2_snapshots_read(struct qcow2 *s, GError **error)
{
	uint64_t at = s->snapshots_offset;

	for (unsigned i = 0; i < s->snapshots->len; i++) {
		if (!read_one(s, &at, &g_array_index(s->snapshots, struct qcow2_snapshot, i), error))
			return false;
		if (at - s->snapshots_offset > QCOW2_MAX_SNAPSHOT_TABLE)
			return bad_table(s, error);
	}
	s->snapshots_len = at - s->snapshots_offset;
	return true;
}

GArray *qcow2_snapshots_list(struct image *img)
{
	struct qcow2 *s = qcow2_state(img);
	GArray *list = g_array_new(FALSE, TRUE, sizeof(struct image_snapshot));

	for (unsigned i = 0; i < s->snapshots->len; i++) {
		struct image_snapshot copy = g_array_index(s->snapshots, struct qcow2_snapshot, i).info;

		copy.id = g_strdup(copy.id);
		copy.name = g_strdup(copy.name);
		g_array_append_val(list, copy);
	}
	return list;
}

/* ---- and to bytes ---- */

static void append_one(GByteArray *out, const struct qcow2_snapshot *sn)
{
	static const uint8_t pad[8];
	uint8_t h[ENTRY];
	size_t id_len = strlen(sn->info.id), name_len = strlen(sn->info.name);

	put_be64(h, sn->l1_offset);
	put_be32(h + 8, sn->l1_size);
	put_be16(h + 12, id_len);
	put_be16(h + 14, name_len);
	put_be32(h + 16, sn->info.date_sec);
	put_be32(h + 20, sn->info.date_nsec);
	put_be64(h + 24, sn->info.vm_clock_nsec);
	put_be32(h + 32, MIN(sn->info.vm_state_size, UINT32_MAX));
	put_be32(h + 36, sn->extra_len);
	g_byte_array_append(out, h, sizeof(h));
	g_byte_array_append(out, sn->extra, sn->extra_len);
	g_byte_array_append(out, (const uint8_t *)sn->info.id, id_len);
	g_byte_array_append(out, (const uint8_t *)sn->info.name, name_len);
	g_byte_array_append(out, pad, align_up(out->len, 8) - out->len);
}

/* What the header says from now on, when everything it points to is on the disk. No table: nothing was written for it. */
static int switch_to(struct qcow2 *s, uint64_t at, uint64_t len)
{
	uint8_t head[12];
	int res = len ? qcow2_flush_all(s) : 0;

	put_be32(head, s->snapshots->len);
	put_be64(head + 4, at);
	if (res == 0)
		res = qcow2_pwrite(s, QCOW2_AT_SNAPSHOTS, head, sizeof(head));
	if (res == 0)
		res = qcow2_sync(s);
	if (res < 0)
		return res;
	if (s->snapshots_len)
		qcow2_gone(s, s->snapshots_offset, s->snapshots_len, false);
	s->snapshots_offset = at;
	s->snapshots_len = len;
	return 0;
}

static int write_table(struct qcow2 *s)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	uint64_t at = 0;
	int res = 0;

	for (unsigned i = 0; i < s->snapshots->len; i++)
		append_one(out, &g_array_index(s->snapshots, struct qcow2_snapshot, i));
	if (out->len > QCOW2_MAX_SNAPSHOT_TABLE)
		return -EFBIG;
	if (out->len)
		res = qcow2_alloc(s, qcow2_clusters(s, out->len), true, &at, NULL);
	if (res == 0 && out->len)
		res = qcow2_pwrite(s, at, out->data, out->len);
	return res < 0 ? res : switch_to(s, at, out->len);
}

/* ---- what an L1 table reaches ---- */

/* Changes counts by delta, for at most *limit clusters or runs of them; counts those down. */
static int count_clusters(struct qcow2 *s, uint64_t at, uint64_t bytes, int delta, uint64_t *limit)
{
	uint64_t first = qcow2_cluster(s, at);

	if (!*limit)
		return 0;
	--*limit;
	return qcow2_refcount_add(s, first, qcow2_clusters(s, at + bytes) - first, delta);
}

static int count_table(struct qcow2 *s, uint64_t table, int delta, uint64_t *limit)
{
	unsigned n = s->l2_cache.slice_size / s->entry_size;
	int res = 0;

	for (uint64_t at = 0; at < s->cluster_size && res == 0 && *limit; at += s->l2_cache.slice_size) {
		uint8_t *slice;

		res = qcow2_cache_get(&s->l2_cache, table + at, &slice);
		for (unsigned i = 0; i < n && res == 0; i++) {
			struct qcow2_entry e = qcow2_l2_entry(s, slice, i);
			uint64_t from = qcow2_entry_offset(&e), len = s->cluster_size;

			if (e.word & QCOW2_COMPRESSED)
				qcow2_packed_range(s, e.word, &from, &len);
			else if (!qcow2_aligned(s, from))
				return qcow2_corrupt(s, "an L2 entry, %#" PRIx64 ", is impossible", e.word);
			if (from || e.word & QCOW2_COMPRESSED)
				res = count_clusters(s, from, len, delta, limit);
		}
	}
	return res;
}

static int count_tree_up_to(struct qcow2 *s, const uint64_t *l1, uint32_t n, int delta, uint64_t *limit)
{
	int res = 0;

	for (uint32_t i = 0; i < n && res == 0 && *limit; i++) {
		res = l1[i] ? qcow2_l1_check(s, l1[i]) : 0;
		if (res < 0 || !(l1[i] & QCOW2_OFFSET))
			continue;
		res = count_table(s, l1[i] & QCOW2_OFFSET, delta, limit);
		if (res == 0)
			res = count_clusters(s, l1[i] & QCOW2_OFFSET, s->cluster_size, delta, limit);
	}
	return res;
}

/* All, or nothing when a count would be too large. */
static int count_tree(struct qcow2 *s, const uint64_t *l1, uint32_t n, int delta)
{
	uint64_t limit = UINT64_MAX, done;
	int res = count_tree_up_to(s, l1, n, delta, &limit);

	done = UINT64_MAX - limit;
	if (res < 0 && done) {
		done--; /* the one that failed */
		count_tree_up_to(s, l1, n, -delta, &done);
	}
	return res;
}

static int flag_for(struct qcow2 *s, uint64_t at, uint64_t *ret)
{
	uint64_t count = 0;
	int res = qcow2_refcount_get(s, qcow2_cluster(s, at), &count);

	*ret = count == 1 ? QCOW2_COPIED : 0;
	return res;
}

static int flag_table(struct qcow2 *s, uint64_t table)
{
	int res = 0;

	for (uint64_t at = 0; at < s->cluster_size && res == 0; at += s->l2_cache.slice_size) {
		uint8_t *slice;

		res = qcow2_cache_get(&s->l2_cache, table + at, &slice);
		for (uint32_t i = 0; i < s->l2_cache.slice_size && res == 0; i += s->entry_size) {
			uint64_t word = get_be64(slice + i), flag;

			if (word & QCOW2_COMPRESSED || !(word & QCOW2_OFFSET))
				continue;
			res = flag_for(s, word & QCOW2_OFFSET, &flag);
			if (res < 0 || flag == (word & QCOW2_COPIED))
				continue;
			put_be64(slice + i, (word & ~QCOW2_COPIED) | flag);
			qcow2_cache_dirty(&s->l2_cache, slice);
		}
	}
	return res;
}

/* The active tables' "copied" flags say what the counts say. */
static int refresh_flags(struct qcow2 *s)
{
	int res = 0;

	for (uint32_t i = 0; i < s->l1_size && res == 0; i++) {
		uint64_t table = s->l1[i] & QCOW2_OFFSET, flag;

		if (!table)
			continue;
		res = flag_table(s, table);
		if (res == 0)
			res = flag_for(s, table, &flag);
		if (res == 0 && flag != (s->l1[i] & QCOW2_COPIED))
			qcow2_l1_set(s, i, table | flag);
	}
	return res;
}

/*
 * The header is on the disk, and counts went down for what nobody else has any more: flags first, so that what is ours alone is
 * not counted too low meanwhile. The counts are written when the image is flushed or closed.
 */
static int flags_then_counts(struct qcow2 *s)
{
	int res = refresh_flags(s);

	if (res == 0)
		res = qcow2_flush_flags(s);
	return res < 0 ? res : qcow2_free_gone(s);
}

static int begin(struct qcow2 *s)
{
	bool changed = s->written;
	int res = qcow2_will_write(s);

	qcow2_wait_all(s);
	return res < 0 || !changed ? res : qcow2_flush_locked(s);
}

/* The end of a change: all of it is on the disk but counts that went down; closing has no more to wait for than at first. */
static int settled(struct qcow2 *s, int res)
{
	if (res == 0 && !s->lazy && !s->n_bitmaps && !s->img->bitmaps)
		s->written = false;
	return res;
}

static bool fail(struct qcow2 *s, int res, const char *what, const char *name, GError **error)
{
	if (res == -EOVERFLOW)
		return kv_fail(
			error, KV_ERROR_UNSUPPORTED,
			"disk '%s': cannot %s snapshot '%s': its reference counts of %u bits are too small; convert it to an "
			"image with refcount_bits=16",
			s->img->path, what, name, 1u << s->refcount_order);
	return res == 0 || kv_fail_errno(error, -res, "disk '%s': cannot %s snapshot '%s'", s->img->path, what, name);
}

static bool allowed(struct qcow2 *s, GError **error)
{
	if (qcow2_has_data_file(s))
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s' has a data file, and no snapshots therefore",
			       s->img->path);
	return true;
}

/* ---- create ---- */

static char *free_id(const struct qcow2 *s)
{
	guint64 max = 0;

	for (unsigned i = 0; i < s->snapshots->len; i++)
		max = MAX(max, g_ascii_strtoull(g_array_index(s->snapshots, struct qcow2_snapshot, i).info.id, NULL, 10));
	return g_strdup_printf("%" G_GUINT64_FORMAT, max + 1);
}

static void fill_new(struct qcow2 *s, struct qcow2_snapshot *sn, const char *name, uint64_t l1_offset)
{
	gint64 now = g_get_real_time();

	*sn = (struct qcow2_snapshot){.l1_offset = l1_offset, .l1_size = s->l1_size, .extra_len = EXTRA};
	sn->info = (struct image_snapshot){.id = free_id(s),
					   .name = g_strdup(name),
					   .size = s->img->size,
					   .icount = 0,
					   .date_sec = now / G_USEC_PER_SEC,
					   .date_nsec = now % G_USEC_PER_SEC * 1000};
	sn->extra = g_malloc0(EXTRA);
	put_be64(sn->extra + 8, s->img->size);
}

/* Counts up, then flags down, then the snapshot. */
static int create(struct qcow2 *s, const char *name)
{
	struct qcow2_snapshot sn;
	uint64_t at = 0;
	int res = begin(s);

	if (res == 0 && s->l1_size)
		res = qcow2_alloc(s, qcow2_clusters(s, s->l1_size * 8ULL), true, &at, NULL);
	if (res < 0)
		return res;
	res = count_tree(s, s->l1, s->l1_size, 1);
	if (res < 0) {
		qcow2_release(s, at, s->l1_size * 8ULL);
		return res;
	}
	res = refresh_flags(s);
	if (res == 0 && s->l1_size)
		res = qcow2_write_l1_copy(s, s->l1, s->l1_size, at);
	if (res < 0)
		return res;
	fill_new(s, &sn, name, at);
	g_array_append_val(s->snapshots, sn);
	res = write_table(s);
	return res < 0 ? res : qcow2_free_gone(s);
}

bool qcow2_snapshot_create(struct image *img, const char *name, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	int res;

	if (!allowed(s, error))
		return false;
	/* QEMU makes longer ones shorter, and does not find what has one. */
	if (strlen(name) > NAME_MAX_BYTES)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': a snapshot's name has at most %d bytes", img->path,
			       NAME_MAX_BYTES);
	if (s->snapshots->len >= QCOW2_MAX_SNAPSHOTS)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': there are too many snapshots", img->path);
	g_mutex_lock(&s->lock);
	res = settled(s, create(s, name));
	g_mutex_unlock(&s->lock);
	return fail(s, res, "make", name, error);
}

/* ---- find, apply, delete ---- */

/* By id or else by name. */
static bool find(struct qcow2 *s, const char *text, unsigned *ret, GError **error)
{
	for (unsigned by_name = 0; by_name < 2; by_name++) {
		for (*ret = 0; *ret < s->snapshots->len; ++*ret) {
			const struct image_snapshot *info = &g_array_index(s->snapshots, struct qcow2_snapshot, *ret).info;

			if (strcmp(by_name ? info->name : info->id, text) == 0)
				return true;
		}
	}
	return kv_fail(error, KV_ERROR_USAGE, "disk '%s' has no snapshot '%s'; list them", s->img->path, text);
}

static int read_l1(struct qcow2 *s, const struct qcow2_snapshot *sn, uint32_t room, uint64_t **ret)
{
	uint64_t *l1 = g_new0(uint64_t, MAX(MAX(sn->l1_size, room), 1));
	int res = qcow2_pread(s, sn->l1_offset, l1, sn->l1_size * 8ULL);

	for (uint32_t i = 0; i < sn->l1_size; i++)
		l1[i] = GUINT64_FROM_BE(l1[i]) & QCOW2_OFFSET;
	*ret = l1;
	return res;
}

/* The header says in one sector which L1 table holds and how large the disk is. */
static int switch_l1(struct qcow2 *s, uint64_t at, uint32_t n, uint64_t size)
{
	uint8_t head[24];
	int res = qcow2_sync(s);

	put_be64(head, size);
	put_be32(head + 8, s->crypt);
	put_be32(head + 12, n);
	put_be64(head + 16, at);
	if (res == 0)
		res = qcow2_pwrite(s, QCOW2_AT_SIZE, head, sizeof(head));
	return res < 0 ? res : qcow2_sync(s);
}

static void guard_tables(struct qcow2 *s, void (*what)(struct qcow2 *, uint64_t))
{
	for (uint32_t i = 0; i < s->l1_size; i++)
		if (s->l1[i] & QCOW2_OFFSET)
			what(s, s->l1[i] & QCOW2_OFFSET);
}

/* The new table is in place: the old one's clusters are counted down, and it is gone. */
static int leave_old(struct qcow2 *s, uint64_t *l1, uint32_t n, uint64_t at, uint64_t size)
{
	g_autofree uint64_t *old = s->l1;
	uint32_t old_n = s->l1_size;

	guard_tables(s, qcow2_guard_remove);
	if (old_n)
		qcow2_gone(s, s->l1_offset, old_n * 8ULL, false);
	s->l1 = l1;
	s->l1_size = n;
	s->l1_offset = at;
	s->l1_from = s->l1_to = 0;
	guard_tables(s, qcow2_guard_add);
	__atomic_store_n(&s->img->size, size, __ATOMIC_RELAXED);
	return count_tree(s, old, old_n, -1);
}

static int apply(struct qcow2 *s, const struct qcow2_snapshot *sn)
{
	uint32_t n = MAX(s->l1_size, sn->l1_size);
	uint64_t at = 0, size = align_up(sn->info.size, 512), *l1 = NULL;
	int res = begin(s);

	if (res == 0)
		res = read_l1(s, sn, n, &l1);
	if (res == 0 && n)
		res = qcow2_alloc(s, qcow2_clusters(s, n * 8ULL), true, &at, NULL);
	if (res == 0)
		res = count_tree(s, l1, n, 1);
	if (res == 0)
		res = qcow2_write_refcounts(s);
	if (res == 0 && n)
		res = qcow2_write_l1_copy(s, l1, n, at);
	if (res == 0)
		res = switch_l1(s, at, n, size);
	if (res < 0) {
		g_free(l1);
		return res;
	}
	res = leave_old(s, l1, n, at, size);
	return res < 0 ? res : flags_then_counts(s);
}

bool qcow2_snapshot_apply(struct image *img, const char *id_or_name, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	const struct qcow2_snapshot *sn;
	uint64_t span = 1ULL << qcow2_l2_span_bits(s);
	unsigned i;
	int res;

	if (!allowed(s, error) || !find(s, id_or_name, &i, error))
		return false;
	sn = &g_array_index(s->snapshots, struct qcow2_snapshot, i);
	if (sn->info.size > INT64_MAX - 511 || sn->info.size / span + !!(sn->info.size % span) > MAX(sn->l1_size, s->l1_size))
		return bad_table(s, error);
	if (img->bitmaps || s->n_bitmaps)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "disk '%s' has dirty bitmaps, which would not know what changes; remove them first", img->path);
	g_mutex_lock(&s->lock);
	res = settled(s, apply(s, sn));
	g_mutex_unlock(&s->lock);
	return fail(s, res, "apply", id_or_name, error);
}

static int delete (struct qcow2 *s, unsigned i)
{
	struct qcow2_snapshot sn = g_array_index(s->snapshots, struct qcow2_snapshot, i);
	g_autofree uint64_t *l1 = NULL;
	int res = begin(s);

	if (res == 0)
		res = read_l1(s, &sn, 0, &l1);
	if (res < 0)
		return res;
	g_array_remove_index(s->snapshots, i);
	res = write_table(s);
	if (res < 0) {
		g_array_insert_val(s->snapshots, i, sn);
		return res;
	}
	res = count_tree(s, l1, sn.l1_size, -1);
	if (res == 0 && sn.l1_size)
		qcow2_gone(s, sn.l1_offset, sn.l1_size * 8ULL, true);
	snapshot_clear(&sn);
	return res < 0 ? res : flags_then_counts(s);
}

bool qcow2_snapshot_delete(struct image *img, const char *id_or_name, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	unsigned i;
	int res;

	if (!allowed(s, error) || !find(s, id_or_name, &i, error))
		return false;
	g_mutex_lock(&s->lock);
	res = settled(s, delete (s, i));
	g_mutex_unlock(&s->lock);
	return fail(s, res, "delete", id_or_name, error);
}

/* ---- zeroes that version 2 cannot say ---- */

/* A cluster of zeroes with as many references as its table has. */
static int take_zeroes(struct qcow2 *s, uint64_t count, uint64_t *ret)
{
	int res = qcow2_alloc(s, 1, true, ret, NULL);

	if (res == 0)
		res = s->file->type->write_zeroes(s->file, *ret, s->cluster_size, 0);
	for (; count > 1 && res == 0; count--)
		res = qcow2_refcount_add(s, qcow2_cluster(s, *ret), 1, 1);
	return res;
}

static int expand_entry(struct qcow2 *s, uint64_t slice_at, unsigned i, uint64_t count)
{
	uint64_t place = 0, old;
	uint8_t *slice;
	int res = s->backing ? take_zeroes(s, count, &place) : 0;

	if (res == 0)
		res = qcow2_cache_get(&s->l2_cache, slice_at, &slice);
	if (res < 0)
		return res;
	old = get_be64(slice + i * sizeof(uint64_t)) & QCOW2_OFFSET;
	if (!qcow2_aligned(s, old))
		return qcow2_corrupt(s, "an L2 entry's offset, %#" PRIx64 ", is impossible", old);
	put_be64(slice + i * sizeof(uint64_t), place);
	qcow2_cache_dirty(&s->l2_cache, slice);
	while (old && count--)
		qcow2_gone(s, old, s->cluster_size, true);
	return qcow2_settle(s);
}

/* In its place: whoever shares the table has the same zeroes. */
static int expand_table(struct qcow2 *s, uint64_t table)
{
	unsigned n = s->l2_cache.slice_size / sizeof(uint64_t);
	uint64_t count = 0;
	int res = qcow2_refcount_get(s, qcow2_cluster(s, table), &count);

	for (uint64_t at = 0; at < s->cluster_size && res == 0; at += s->l2_cache.slice_size)
		for (unsigned i = 0; i < n && res == 0; i++) {
			uint8_t *slice;
			uint64_t word;

			res = qcow2_cache_get(&s->l2_cache, table + at, &slice);
			word = res == 0 ? get_be64(slice + i * sizeof(uint64_t)) : 0;
			if (word & QCOW2_ZERO && !(word & QCOW2_COMPRESSED))
				res = expand_entry(s, table + at, i, count);
		}
	return res;
}

int qcow2_snapshots_expand(struct qcow2 *s)
{
	int res = s->snapshots->len ? begin(s) : 0;

	for (unsigned i = 0; i < s->snapshots->len && res == 0; i++) {
		const struct qcow2_snapshot *sn = &g_array_index(s->snapshots, struct qcow2_snapshot, i);
		g_autofree uint64_t *l1 = NULL;

		res = read_l1(s, sn, 0, &l1);
		for (uint32_t k = 0; k < sn->l1_size && res == 0; k++) {
			if (l1[k])
				res = qcow2_l1_check(s, l1[k]);
			if (res == 0 && l1[k])
				res = expand_table(s, l1[k] & QCOW2_OFFSET);
		}
	}
	return res;
}

/* ---- reading ---- */

/* The disk as it was: the snapshot's L1 table is the active one of an image that is not written. */
bool qcow2_snapshot_open(struct qcow2 *s, const char *id, GError **error)
{
	const struct qcow2_snapshot *sn;
	uint64_t span = 1ULL << qcow2_l2_span_bits(s), *l1 = NULL;
	unsigned i;
	int res;

	if (!s->img->readonly)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': a snapshot is only read; give readonly=on", s->img->path);
	if (!find(s, id, &i, error))
		return false;
	sn = &g_array_index(s->snapshots, struct qcow2_snapshot, i);
	if (sn->info.size > INT64_MAX - 511 || sn->info.size / span + !!(sn->info.size % span) > sn->l1_size)
		return bad_table(s, error);
	res = read_l1(s, sn, 0, &l1);
	g_free(s->l1);
	s->l1 = l1;
	s->l1_size = sn->l1_size;
	s->l1_offset = sn->l1_offset;
	s->img->size = align_up(sn->info.size, 512);
	s->past = true;
	return res == 0 || kv_fail_errno(error, -res, "disk '%s': cannot read snapshot '%s'", s->img->path, id);
}
