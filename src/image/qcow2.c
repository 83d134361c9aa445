/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The qcow2 format (QEMU, docs/interop/qcow2.rst): opening, closing, and what is said about an image. What the rest is made of is
 * listed in qcow2.h. A row of image_formats[].
 */
#include "qcow2.h"

#include <errno.h>
#include <string.h>

#include "bitmap.h"
#include "bytes.h"
#include "error.h"
#include "log.h"

static bool qcow2_probe(const uint8_t *head, size_t len)
{
	return len >= 8 && memcmp(head, "QFI\xfb", 4) == 0 && (get_be32(head + 4) == 2 || get_be32(head + 4) == 3);
}

static struct qcow2 *state_new(struct image *img)
{
	struct qcow2 *s = g_new0(struct qcow2, 1);

	s->img = img;
	s->file = img->file;
	s->extensions = g_array_new(FALSE, TRUE, sizeof(struct qcow2_extension));
	s->snapshots = g_array_new(FALSE, TRUE, sizeof(struct qcow2_snapshot));
	s->gone = g_array_new(FALSE, FALSE, sizeof(struct qcow2_gone));
	s->bitmaps = g_array_new(FALSE, FALSE, sizeof(struct qcow2_bitmap));
	g_mutex_init(&s->lock);
	g_cond_init(&s->idle);
	img->state = s;
	return s;
}

static void state_free(struct qcow2 *s)
{
	s->img->state = NULL;
	qcow2_cache_clear(&s->l2_cache);
	qcow2_cache_clear(&s->refcount_cache);
	qcow2_guard_free(s);
	qcow2_snapshots_free(s);
	qcow2_header_free(s);
	g_array_free(s->gone, TRUE);
	g_array_free(s->bitmaps, TRUE);
	g_free(s->l1);
	g_free(s->reftable);
	g_cond_clear(&s->idle);
	g_mutex_clear(&s->lock);
	g_free(s);
}

static bool read_table(struct qcow2 *s, uint64_t offset, uint32_t n, const char *what, uint64_t **ret, GError **error)
{
	uint64_t *table = g_try_new0(uint64_t, MAX(n, 1));
	int res = table ? qcow2_pread(s, offset, table, n * 8ULL) : -ENOMEM;

	*ret = table;
	if (res < 0)
		return kv_fail_errno(error, -res, "disk '%s': cannot read its %s", s->img->path, what);
	for (uint32_t i = 0; i < n; i++)
		table[i] = GUINT64_FROM_BE(table[i]);
	return true;
}

static uint64_t cache_option(GVariant *options, const char *name, guint64 bytes)
{
	g_variant_lookup(options, name, "t", &bytes);
	return MIN(bytes, QCOW2_MAX_L1);
}

static bool open_data_file(struct qcow2 *s, GVariant *options, GError **error)
{
	struct image *img = s->img;
	g_autofree char *path = NULL;
	const char *given;

	if (!qcow2_has_data_file(s))
		return true;
	if (g_variant_lookup(options, "data-file", "&s", &given))
		path = g_strdup(given);
	else if (!s->data_name || !*s->data_name)
		return kv_fail(error, KV_ERROR_USAGE,
			       "disk '%s' has its data in another file and does not say which; give data-file=", img->path);
	else
		path = image_beside(img->path, s->data_name);
	img->data = image_file_open(path, img->readonly, image_file_flags(img), error);
	if (!img->data) {
		img->data = img->file;
		g_prefix_error(error, "disk '%s': its data file: ", img->path);
		return false;
	}
	return true;
}

static bool open_backing(struct qcow2 *s, GVariant *options, GError **error)
{
	if (!s->backing || !*s->backing)
		return true;
	if (qcow2_raw_data_file(s))
		return kv_fail(error, KV_ERROR_INVALID,
			       "disk '%s' has a raw data file and a backing file, which exclude each other", s->img->path);
	return image_open_backing(s->img, s->backing, s->backing_format, options, error);
}

static void report_line(void *opaque, const char *text)
{
	kv_log_debug("disk '%s': %s", ((struct image *)opaque)->path, text);
}

/* Somebody with lazy refcounts did not come to an end: they are counted anew. */
static bool recover(struct qcow2 *s, GError **error)
{
	struct image_check result;

	kv_log_warn("disk '%s' was not closed; its reference counts are made anew", s->img->path);
	if (!qcow2_check(s->img, IMAGE_FIX_LEAKS | IMAGE_FIX_ERRORS, report_line, s->img, &result, error))
		return false;
	if (result.corruptions || result.check_errors)
		return kv_fail(error, KV_ERROR_INVALID,
			       "disk '%s' was not closed and could not be repaired; check and repair a copy of it", s->img->path);
	return true;
}

/* A writer who does not know a feature that others may ignore has to say that he wrote. */
static bool clear_unknown(struct qcow2 *s, GError **error)
{
	int res;

	if (!(s->autoclear & ~(uint64_t)QCOW2_AUTOCLEAR_KNOWN))
		return true;
	s->autoclear &= QCOW2_AUTOCLEAR_KNOWN;
	res = qcow2_header_features(s);
	return res == 0 || kv_fail_errno(error, -res, "disk '%s': cannot write its header", s->img->path);
}

static bool prepare_writing(struct qcow2 *s, GError **error)
{
	if (s->incompatible & QCOW2_CORRUPT)
		return kv_fail(
			error, KV_ERROR_INVALID,
			"disk '%s' is marked as corrupt and can only be read; repair it (a copy at first), or give readonly=on",
			s->img->path);
	if (!qcow2_guard_build(s, error) || !clear_unknown(s, error))
		return false;
	if (s->incompatible & QCOW2_DIRTY && !recover(s, error))
		return false;
	return image_bitmaps_load(s->img, error);
}

static bool open_snapshot(struct qcow2 *s, GVariant *options, GError **error)
{
	const char *id;

	return !g_variant_lookup(options, "snapshot", "&s", &id) || qcow2_snapshot_open(s, id, error);
}

static bool open_tables(struct qcow2 *s, GVariant *options, GError **error)
{
	if (!qcow2_header_read(s, &s->img->size, error))
		return false;
	s->img->size = align_up(s->img->size, 512);
	qcow2_cache_init(&s->l2_cache, s, cache_option(options, "l2-cache-size", QCOW2_L2_CACHE), qcow2_clean_l2);
	qcow2_cache_init(&s->refcount_cache, s, cache_option(options, "refcount-cache-size", QCOW2_REFCOUNT_CACHE),
			 qcow2_clean_refcounts);
	return read_table(s, s->l1_offset, s->l1_size, "L1 table", &s->l1, error) &&
	       read_table(s, s->reftable_offset, s->reftable_size, "refcount table", &s->reftable, error) &&
	       qcow2_snapshots_read(s, error) && open_snapshot(s, options, error);
}

static bool qcow2_open(struct image *img, GVariant *options, GError **error)
{
	struct qcow2 *s = state_new(img);
	gboolean checking = FALSE;

	g_variant_lookup(options, "check", "b", &checking);
	s->checking = checking;
	if (open_tables(s, options, error) && open_data_file(s, options, error) && open_backing(s, options, error) &&
	    (img->readonly || checking || prepare_writing(s, error))) {
		img->discard = !img->readonly;
		return true;
	}
	state_free(s);
	return false;
}

static bool has_counts(const struct qcow2 *s)
{
	return s->refcount_cache.n_dirty || s->reftable_from < s->reftable_to;
}

/* Counts that went down need not reach the disk now: what a power cut undoes of them is a leak. */
static int finish_counts(struct qcow2 *s, bool stored)
{
	int res = stored ? qcow2_flush_locked(s) : 0;
	bool counts = has_counts(s);

	if (res == 0)
		res = qcow2_write_refcounts(s);
	if (res < 0 || !s->lazy)
		return res;
	if (counts)
		res = qcow2_sync(s);
	if (res < 0)
		return res;
	s->incompatible &= ~(uint64_t)QCOW2_DIRTY;
	res = qcow2_header_features(s);
	return res < 0 ? res : qcow2_sync(s);
}

/* What is left for the next one to find: bitmaps that can be trusted, no leaks unless the power fails, no dirty bit. */
static bool finish(struct qcow2 *s, GError **error)
{
	int res = s->broken ? -EIO : s->written || s->unfinished ? qcow2_flush_all(s) : 0;
	bool stored = false, ok;

	if (res == 0)
		res = qcow2_free_gone(s);
	if (res < 0)
		return kv_fail_errno(error, -res, "disk '%s': cannot write all of it", s->img->path);
	ok = qcow2_bitmaps_store(s, &stored, error);
	if (s->written || s->unfinished || stored || has_counts(s))
		res = finish_counts(s, stored);
	/* Also after an error: the next change is the first one for bitmaps that can be trusted now. */
	s->unfinished = res < 0;
	s->written &= !ok;
	if (!ok || res == 0)
		return ok;
	return kv_fail_errno(error, -res, "disk '%s': cannot write all of it", s->img->path);
}

static void qcow2_close(struct image *img)
{
	struct qcow2 *s = qcow2_state(img);
	g_autoptr(GError) error = NULL;

	if (!img->readonly && !s->broken) {
		g_mutex_lock(&s->lock);
		if (!finish(s, &error))
			kv_log_warn("disk '%s' could not be closed properly: %s; check it", img->path, error->message);
		g_mutex_unlock(&s->lock);
	}
	state_free(s);
}

/* Somebody else may have written before, but nobody could while it was open: what is in memory is what is there. */
static bool qcow2_reopen(struct image *img, bool readonly, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	bool ok;

	if (!readonly) {
		if (!prepare_writing(s, error))
			return false;
		img->discard = true;
		return true;
	}
	g_mutex_lock(&s->lock);
	ok = finish(s, error);
	if (ok) {
		s->lazy = false;
		img->discard = false;
	}
	g_mutex_unlock(&s->lock);
	return ok;
}

static uint64_t qcow2_cluster_size(struct image *img)
{
	return qcow2_state(img)->cluster_size;
}

static bool add_bitmap(struct qcow2 *s, uint8_t *entry, const char *name, void *opaque)
{
	uint32_t flags = get_be32(entry + 12);
	GVariantBuilder b, words;

	g_variant_builder_init(&words, G_VARIANT_TYPE("as"));
	if (flags & 1)
		g_variant_builder_add(&words, "s", "in-use");
	if (flags & 2)
		g_variant_builder_add(&words, "s", "auto");
	g_variant_builder_init(&b, G_VARIANT_TYPE_VARDICT);
	g_variant_builder_add(&b, "{sv}", "flags", g_variant_builder_end(&words));
	g_variant_builder_add(&b, "{sv}", "name", g_variant_new_string(name));
	g_variant_builder_add(&b, "{sv}", "granularity", g_variant_new_int64(1LL << MIN(entry[17], 62)));
	g_variant_builder_add_value(opaque, g_variant_builder_end(&b));
	return true;
}

static void info_bitmaps(struct qcow2 *s, GVariantBuilder *members)
{
	GVariantBuilder list;

	g_variant_builder_init(&list, G_VARIANT_TYPE("aa{sv}"));
	if (qcow2_bitmaps_each(s, add_bitmap, &list) == 0)
		g_variant_builder_add(members, "{sv}", "bitmaps", g_variant_builder_end(&list));
	else
		g_variant_builder_clear(&list);
}

static void qcow2_info(struct image *img, GVariantBuilder *m)
{
	struct qcow2 *s = qcow2_state(img);

	g_variant_builder_add(m, "{sv}", "compat", g_variant_new_string(s->version < 3 ? "0.10" : "1.1"));
	g_variant_builder_add(m, "{sv}", "compression-type", g_variant_new_string(s->zstd ? "zstd" : "zlib"));
	g_variant_builder_add(m, "{sv}", "refcount-bits", g_variant_new_int64(1 << s->refcount_order));
	g_variant_builder_add(m, "{sv}", "dirty-flag", g_variant_new_boolean(s->incompatible & QCOW2_DIRTY));
	if (s->version < 3)
		return;
	g_variant_builder_add(m, "{sv}", "lazy-refcounts", g_variant_new_boolean(s->compatible & QCOW2_LAZY_REFCOUNTS));
	g_variant_builder_add(m, "{sv}", "corrupt", g_variant_new_boolean(!!(s->incompatible & QCOW2_CORRUPT)));
	g_variant_builder_add(m, "{sv}", "extended-l2", g_variant_new_boolean(s->extended));
	if (qcow2_has_data_file(s) && s->data_name)
		g_variant_builder_add(m, "{sv}", "data-file", g_variant_new_string(s->data_name));
	if (qcow2_has_data_file(s))
		g_variant_builder_add(m, "{sv}", "data-file-raw", g_variant_new_boolean(!!qcow2_raw_data_file(s)));
	if (s->n_bitmaps)
		info_bitmaps(s, m);
}

static bool qcow2_set_backing(struct image *img, const char *name, const char *format, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	g_autofree char *old = NULL, *old_format = NULL;
	bool ok = false;

	g_mutex_lock(&s->lock);
	old = s->backing;
	old_format = s->backing_format;
	s->backing = g_strdup(name);
	s->backing_format = name ? g_strdup(format) : NULL;
	if (name && (!*name || strlen(name) > QCOW2_MAX_NAME || (format && strlen(format) > 15)))
		kv_fail(error, KV_ERROR_USAGE, "disk '%s': a backing file's name has 1 to %d bytes, its format's at most 15",
			img->path, QCOW2_MAX_NAME);
	else if (name && qcow2_raw_data_file(s))
		kv_fail(error, KV_ERROR_USAGE, "disk '%s' has a raw data file and can have no backing file", img->path);
	else
		ok = qcow2_header_write(s, img->size, error);
	if (ok && qcow2_sync(s) < 0)
		ok = kv_fail(error, KV_ERROR_SYSTEM, "disk '%s': cannot write its header", img->path);
	if (!ok) {
		g_free(s->backing);
		g_free(s->backing_format);
		s->backing = g_steal_pointer(&old);
		s->backing_format = g_steal_pointer(&old_format);
	}
	g_mutex_unlock(&s->lock);
	return ok;
}

const struct image_format image_qcow2 = {
	.name = "qcow2",
	.probe = qcow2_probe,
	.open = qcow2_open,
	.close = qcow2_close,
	.reopen = qcow2_reopen,
	.map = qcow2_map,
	.map_now = qcow2_map_now,
	.read_compressed = qcow2_read_compressed,
	.write = qcow2_write,
	.write_shared = qcow2_write_shared,
	.write_zeroes = qcow2_write_zeroes,
	.knows_fast_zero = true,
	.discard = qcow2_discard,
	.populate = qcow2_populate,
	.write_compressed = qcow2_write_compressed,
	.compress = qcow2_compress,
	.write_packed = qcow2_write_packed,
	.flush = qcow2_flush,
	.resize = qcow2_resize,
	.create = qcow2_create,
	.check_create = qcow2_check_create,
	.create_options = qcow2_create_options,
	.info = qcow2_info,
	.cluster_size = qcow2_cluster_size,
	.check = qcow2_check,
	.snapshots = qcow2_snapshots_list,
	.snapshot_create = qcow2_snapshot_create,
	.snapshot_apply = qcow2_snapshot_apply,
	.snapshot_delete = qcow2_snapshot_delete,
	.opens_snapshots = true,
	.amend = qcow2_amend,
	.empty = qcow2_empty,
	.set_backing = qcow2_set_backing,
	.bitmaps_load = qcow2_bitmaps_load,
	.bitmaps_supported = qcow2_bitmaps_supported,
	.bitmap_add = qcow2_bitmap_add,
	.bitmap_change = qcow2_bitmap_change,
	.bitmap_remove = qcow2_bitmap_remove,
};
