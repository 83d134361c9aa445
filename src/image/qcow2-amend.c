/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tools change about an image as a whole: its options, as far as the header alone says them, and that all of it is what it
 * stands on. Called by tools, while nobody else is in the image.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "qcow2.h"

enum { CHUNK = 1 << 20 };

static bool is_on(const char *value)
{
	return strcmp(value, "on") == 0 || strcmp(value, "true") == 0 || value[0] == 'y';
}

static bool is_version(const char *value, unsigned version)
{
	static const char *const names[][2] = {{"0.10", "v2"}, {"1.1", "v3"}};

	return strcmp(value, names[version - 2][0]) == 0 || strcmp(value, names[version - 2][1]) == 0;
}

/* Version 3 has all that version 2 has; for the other way see downgrade(). */
static bool amend_compat(struct image *img, const char *value, GError **error)
{
	struct qcow2 *s = qcow2_state(img);

	if (is_version(value, 3)) {
		s->version = 3;
		return true;
	}
	if (!is_version(value, 2))
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': compat=%s is not known; give 0.10 or 1.1", img->path, value);
	if (s->version == 2)
		return true;
	s->version = 2;
	s->incompatible = s->compatible = s->autoclear = 0;
	s->header_len = QCOW2_HEADER_V2;
	g_clear_pointer(&s->header_rest, g_free);
	return true;
}

static bool amend_lazy(struct image *img, const char *value, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	bool on = is_on(value);

	if (on && s->version < 3)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': lazy_refcounts need compat=1.1", img->path);
	s->compatible = on ? s->compatible | QCOW2_LAZY_REFCOUNTS : s->compatible & ~(uint64_t)QCOW2_LAZY_REFCOUNTS;
	return true;
}

static bool amend_data_file(struct image *img, const char *value, GError **error)
{
	struct qcow2 *s = qcow2_state(img);

	if (!qcow2_has_data_file(s))
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s' has no data file: data_file can only name another one",
			       img->path);
	if (strlen(value) > QCOW2_MAX_NAME)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': a data file's name has at most %d bytes", img->path,
			       QCOW2_MAX_NAME);
	s->data_name = *value ? g_strdup(value) : NULL;
	return true;
}

static bool amend_data_file_raw(struct image *img, const char *value, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	bool on = is_on(value);

	if (on && !qcow2_raw_data_file(s))
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': data_file_raw cannot be set on existing images", img->path);
	if (!on)
		s->autoclear &= ~(uint64_t)QCOW2_RAW_DATA_FILE;
	return true;
}

/* What the header alone says. In this order: a later one may need an earlier one. */
static const struct {
	const char *name;
	bool (*change)(struct image *img, const char *value, GError **error);
} options_that_change[] = {
	{"compat", amend_compat},
	{"lazy_refcounts", amend_lazy},
	{"data_file", amend_data_file},
	{"data_file_raw", amend_data_file_raw},
};

/* All of them or none. */
static bool amend_header(struct image *img, GVariant *options, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	unsigned version = s->version;
	uint64_t compatible = s->compatible, autoclear = s->autoclear, incompatible = s->incompatible;
	char *data_name = s->data_name;
	const char *value;
	bool ok = true;

	for (size_t i = 0; i < G_N_ELEMENTS(options_that_change) && ok; i++)
		if (g_variant_lookup(options, options_that_change[i].name, "&s", &value))
			ok = options_that_change[i].change(img, value, error);
	ok = ok && qcow2_header_write(s, img->size, error);
	if (ok && qcow2_sync(s) < 0)
		ok = kv_fail(error, KV_ERROR_SYSTEM, "disk '%s': cannot write its header", img->path);
	if (ok) {
		if (s->data_name != data_name)
			g_free(data_name);
		return true;
	}
	if (s->data_name != data_name)
		g_free(s->data_name);
	s->data_name = data_name;
	s->version = version;
	s->incompatible = incompatible;
	s->compatible = compatible;
	s->autoclear = autoclear;
	return false;
}

/* ---- the width of reference counts ---- */

/* New structures behind everything, as for a repair; the header's first sector changes to them and to their width at once. */
static int change_width(struct qcow2 *s, unsigned order)
{
	struct image_check found = {0};
	struct qcow2_count c = {.ret = &found};
	unsigned old = s->refcount_order;
	int res = qcow2_flush_locked(s);

	if (res == 0)
		res = qcow2_write_refcounts(s);
	if (res == 0)
		res = qcow2_sync(s);
	if (res < 0)
		return res;
	qcow2_count_init(&c, s);
	res = qcow2_count_all(&c);
	if (res == 0 && (found.corruptions || found.check_errors))
		res = -EILSEQ;
	s->refcount_order = order;
	qcow2_set_geometry(s);
	if (res == 0)
		res = qcow2_rebuild(&c);
	qcow2_count_clear(&c);
	if (res < 0) {
		s->refcount_order = old;
		qcow2_set_geometry(s);
	}
	return res;
}

static bool amend_refcount_bits(struct image *img, const char *value, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	uint64_t bits = g_ascii_strtoull(value, NULL, 10);
	int res;

	if (!bits || bits > 64 || bits & (bits - 1))
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': refcount_bits is a power of two up to 64", img->path);
	if (bits == 1u << s->refcount_order)
		return true;
	if (s->version < 3)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': refcount_bits other than 16 need compat=1.1", img->path);
	res = change_width(s, __builtin_ctzll(bits));
	if (res == -EOVERFLOW)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "disk '%s': a cluster has more references than %u bits can count; delete snapshots", img->path,
			       (unsigned)bits);
	if (res == -EILSEQ)
		return kv_fail(error, KV_ERROR_INVALID, "disk '%s' has faults; check and repair it first", img->path);
	if (res < 0)
		return kv_fail_errno(error, -res, "disk '%s': cannot change its reference counts", img->path);
	return qcow2_guard_build(s, error);
}

/* ---- to version 2 ---- */

/* Why an image cannot be of version 2; NULL: it can. */
static const char *obstacle(const struct qcow2 *s)
{
	if (qcow2_has_data_file(s))
		return "it has a data file";
	if (s->extended)
		return "it has extended L2 entries";
	if (s->zstd)
		return "it is compressed with zstd";
	if (s->refcount_order != 4)
		return "that needs refcount_bits=16";
	for (unsigned i = 0; i < s->snapshots->len; i++) {
		const struct image_snapshot *sn = &g_array_index(s->snapshots, struct qcow2_snapshot, i).info;

		/* Our version 2 has these; others rely on what it was at first. */
		if (sn->vm_state_size > UINT32_MAX || align_up(sn->size, 512) != s->img->size)
			return "a snapshot has another size, or a machine's state of 4 GiB and more; delete it";
	}
	if (s->bitmaps->len)
		return "it has bitmaps, which version 2 cannot have; remove them";
	return NULL;
}

/* Where nothing is behind, nothing is zero; else the zeroes are written. */
static int expand_run(struct image *img, uint64_t at, uint64_t len)
{
	struct qcow2 *s = qcow2_state(img);
	g_autofree uint8_t *zeroes = s->backing ? g_malloc0(MIN(len, CHUNK)) : NULL;
	int res = 0;

	if (!zeroes) {
		g_mutex_lock(&s->lock);
		res = qcow2_drop(s, at, align_up(len, s->cluster_size));
		g_mutex_unlock(&s->lock);
		return res;
	}
	for (uint64_t n; len && res == 0; at += n, len -= n) {
		n = MIN(len, CHUNK);
		res = qcow2_write(img, at, zeroes, n);
	}
	return res;
}

static int expand_zeroes(struct image *img)
{
	struct image_extent e = {0};
	int res = 0;

	for (uint64_t at = 0; at < img->size && res == 0; at += e.len) {
		res = qcow2_map(img, at, img->size - at, &e);
		if (res == 0 && e.kind == IMAGE_ZERO)
			res = expand_run(img, at, e.len);
	}
	return res;
}

/* All that version 2 does not have is gone when the header changes. */
static bool prepare_downgrade(struct image *img, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	const char *why = obstacle(s);
	int res;

	if (why)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s' cannot become compat=0.10: %s", img->path, why);
	if (s->lazy)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s' was written to already; close it first", img->path);
	s->compatible &= ~(uint64_t)QCOW2_LAZY_REFCOUNTS;
	g_mutex_lock(&s->lock);
	res = qcow2_snapshots_expand(s);
	g_mutex_unlock(&s->lock);
	if (res == 0)
		res = expand_zeroes(img);
	g_mutex_lock(&s->lock);
	if (res == 0)
		res = qcow2_flush_locked(s);
	g_mutex_unlock(&s->lock);
	return res == 0 || kv_fail_errno(error, -res, "disk '%s': cannot write its zeroes", img->path);
}

bool qcow2_amend(struct image *img, GVariant *options, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	const char *compat = NULL, *bits = NULL;
	bool ok = true, down;

	g_variant_lookup(options, "compat", "&s", &compat);
	g_variant_lookup(options, "refcount_bits", "&s", &bits);
	down = compat && s->version > 2 && is_version(compat, 2);
	g_mutex_lock(&s->lock);
	/* The width first where version 3 is what can have both. */
	if (down && bits)
		ok = amend_refcount_bits(img, bits, error);
	g_mutex_unlock(&s->lock);
	if (ok && down)
		ok = prepare_downgrade(img, error);
	g_mutex_lock(&s->lock);
	ok = ok && amend_header(img, options, error);
	if (ok && bits)
		ok = amend_refcount_bits(img, bits, error);
	g_mutex_unlock(&s->lock);
	return ok;
}

bool qcow2_empty(struct image *img, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	int res;

	g_mutex_lock(&s->lock);
	qcow2_wait_all(s);
	res = qcow2_drop(s, 0, align_up(img->size, s->cluster_size));
	if (res == 0)
		res = qcow2_flush_locked(s);
	g_mutex_unlock(&s->lock);
	return res == 0 || kv_fail_errno(error, -res, "disk '%s': cannot be emptied", img->path);
}
