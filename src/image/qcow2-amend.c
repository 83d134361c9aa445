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

static bool amend_refcount_bits(struct image *img, const char *value, GError **error)
{
	uint64_t bits = g_ascii_strtoull(value, NULL, 10);

	return bits == 1u << qcow2_state(img)->refcount_order || unsupported(img, "refcount_bits", error);
}

static bool amend_data_file(struct image *img, const char *value, GError **error)
{
	return unsupported(img, "data_file", error);
}

static bool amend_data_file_raw(struct image *img, const char *value, GError **error)
{
	return unsupported(img, "data_file_raw", error);
}

/* In this order: a later one may need an earlier one. */
static const struct {
	const char *name;
	bool (*change)(struct image *img, const char *value, GError **error);
} options_that_change[] = {
	{"compat", amend_compat},	{"lazy_refcounts", amend_lazy},		{"refcount_bits", amend_refcount_bits},
	{"data_file", amend_data_file}, {"data_file_raw", amend_data_file_raw},
};

bool qcow2_amend(struct image *img, GVariant *options, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	unsigned version = s->version;
	uint64_t compatible = s->compatible;
	const char *value;
	bool ok = true;

	g_mutex_lock(&s->lock);
	for (size_t i = 0; i < G_N_ELEMENTS(options_that_change) && ok; i++)
		if (g_variant_lookup(options, options_that_change[i].name, "&s", &value))
			ok = options_that_change[i].change(img, value, error);
	ok = ok && qcow2_header_write(s, img->size, error);
	if (ok && qcow2_sync(s) < 0)
		ok = kv_fail(error, KV_ERROR_SYSTEM, "disk '%s': cannot write its header", img->path);
	if (!ok) {
		s->version = version;
		s->compatible = compatible;
	}
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
