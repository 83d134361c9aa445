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

static bool unsupported(struct image *img, const char *what, GError **error)
{
	return kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s': %s cannot be changed in place; convert it to a new image",
		       img->path, what);
}

/* Upwards alone: version 3 has all that version 2 has. */
static bool amend_compat(struct image *img, const char *value, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	bool three = strcmp(value, "1.1") == 0 || strcmp(value, "v3") == 0;

	if (!three && strcmp(value, "0.10") != 0 && strcmp(value, "v2") != 0)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': compat=%s is not known; give 0.10 or 1.1", img->path, value);
	if (three == (s->version == 3))
		return true;
	if (!three)
		return unsupported(img, "compat=1.1 to 0.10", error);
	s->version = 3;
	return true;
}

static bool amend_lazy(struct image *img, const char *value, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	bool on = strcmp(value, "on") == 0 || strcmp(value, "true") == 0 || value[0] == 'y';

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
	bool on = strcmp(value, "on") == 0 || strcmp(value, "true") == 0 || value[0] == 'y';

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
	uint64_t compatible = s->compatible, autoclear = s->autoclear;
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

bool qcow2_amend(struct image *img, GVariant *options, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	const char *bits;
	bool ok;

	g_mutex_lock(&s->lock);
	ok = amend_header(img, options, error);
	if (ok && g_variant_lookup(options, "refcount_bits", "&s", &bits))
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
