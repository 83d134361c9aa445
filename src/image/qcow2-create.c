/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * New images: a header, a refcount table and a block of it are written here; the rest is what growing from no size at all does
 * (qcow2-resize.c). Options are spelled as qemu-img's -o.
 */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "qcow2.h"

const char *const qcow2_create_options[] = {
	"backing",     "cluster_size",	 "compat",	  "compression_type", "data_file", "data_file_raw",
	"extended_l2", "lazy_refcounts", "preallocation", "refcount_bits",    NULL,
};

struct choice {
	const char *text;
	unsigned value;
};

static const struct choice switches[] = {{"on", 1}, {"off", 0}, {"true", 1}, {"false", 0}, {NULL, 0}};
static const struct choice compats[] = {{"1.1", 3}, {"v3", 3}, {"0.10", 2}, {"v2", 2}, {NULL, 0}};
static const struct choice compressions[] = {{"zlib", 0}, {"zstd", 1}, {NULL, 0}};
static const struct choice widths[] = {{"1", 0}, {"2", 1}, {"4", 2}, {"8", 3}, {"16", 4}, {"32", 5}, {"64", 6}, {NULL, 0}};

static bool take_choice(GVariant *options, const char *name, const struct choice *list, unsigned *value, GError **error)
{
	g_autoptr(GString) known = g_string_new(NULL);
	const char *text;

	if (!g_variant_lookup(options, name, "&s", &text))
		return true;
	for (const struct choice *c = list; c->text; c++) {
		if (strcmp(c->text, text) == 0) {
			*value = c->value;
			return true;
		}
		g_string_append_printf(known, "%s%s", known->len ? ", " : "", c->text);
	}
	return kv_fail(error, KV_ERROR_USAGE, "%s=%s is not known; there are: %s", name, text, known->str);
}

/* A power of two from 512 to 2M, with k or M. */
static bool take_cluster_size(GVariant *options, unsigned *bits, GError **error)
{
	static const char units[] = "bkm";
	const char *text, *unit = NULL;
	char *end;
	guint64 n;

	if (!g_variant_lookup(options, "cluster_size", "&s", &text))
		return true;
	n = g_ascii_isdigit(*text) ? g_ascii_strtoull(text, &end, 10) : 0;
	if (n && *end)
		unit = strchr(units, g_ascii_tolower(*end));
	if (n && n <= 2 << 20 && (!*end || (unit && !end[1])))
		n <<= unit ? 10 * (unit - units) : 0;
	else
		n = 0;
	for (*bits = 9; *bits <= 21; ++*bits)
		if (n == 1ULL << *bits)
			return true;
	return kv_fail(error, KV_ERROR_USAGE, "cluster_size=%s is not possible; give a power of two from 512 to 2M", text);
}

struct wish {
	unsigned version, bits, order, lazy, extended, zstd, raw;
	enum image_prealloc prealloc;
	const char *backing, *backing_format, *data_file;
};

static bool take_options(GVariant *options, struct wish *w, GError **error)
{
	*w = (struct wish){.version = 3, .bits = 16, .order = 4};
	g_variant_lookup(options, "backing", "&s", &w->backing);
	g_variant_lookup(options, "backing-format", "&s", &w->backing_format);
	g_variant_lookup(options, "data_file", "&s", &w->data_file);
	return take_choice(options, "compat", compats, &w->version, error) && take_cluster_size(options, &w->bits, error) &&
	       take_choice(options, "refcount_bits", widths, &w->order, error) &&
	       take_choice(options, "lazy_refcounts", switches, &w->lazy, error) &&
	       take_choice(options, "extended_l2", switches, &w->extended, error) &&
	       take_choice(options, "compression_type", compressions, &w->zstd, error) &&
	       take_choice(options, "data_file_raw", switches, &w->raw, error) &&
	       image_prealloc_option(options, &w->prealloc, error);
}

static bool check_wish(struct wish *w, GError **error)
{
	const struct {
		bool wrong;
		const char *why;
	} rules[] = {
		{w->version < 3 && w->order != 4, "refcount_bits other than 16 need compat=1.1"},
		{w->version < 3 && w->lazy, "lazy_refcounts need compat=1.1"},
		{w->version < 3 && w->extended, "extended_l2 needs compat=1.1"},
		{w->version < 3 && w->zstd, "compression_type other than zlib needs compat=1.1"},
		{w->version < 3 && w->data_file, "data_file needs compat=1.1"},
		{w->extended && w->bits < 14, "extended_l2 needs a cluster_size of 16k at least"},
		{w->raw && !w->data_file, "data_file_raw needs data_file"},
		{w->raw && w->backing, "data_file_raw and a backing file exclude each other"},
		{w->backing && w->prealloc != IMAGE_PREALLOC_OFF && !w->extended,
		 "preallocation with a backing file needs extended_l2"},
		{w->backing && (!*w->backing || strlen(w->backing) > QCOW2_MAX_NAME),
		 "the name of the backing file has 1 to 1023 bytes"},
		{w->backing_format && strlen(w->backing_format) > 15, "the name of the backing format is too long"},
		{w->data_file && (!*w->data_file || strlen(w->data_file) > QCOW2_MAX_NAME),
		 "the name of the data file has 1 to 1023 bytes"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rules); i++)
		if (rules[i].wrong)
			return kv_fail(error, KV_ERROR_USAGE, "%s", rules[i].why);
	/* Who reads a raw data file without the metadata has to find what the metadata say. */
	if (w->raw && w->prealloc == IMAGE_PREALLOC_OFF)
		w->prealloc = IMAGE_PREALLOC_METADATA;
	return true;
}

static void fill_state(struct qcow2 *s, const struct wish *w)
{
	s->version = w->version;
	s->cluster_bits = w->bits;
	s->refcount_order = w->order;
	s->header_len = w->version < 3 ? QCOW2_HEADER_V2 : QCOW2_HEADER_NEW;
	s->zstd = w->zstd;
	s->extended = w->extended;
	s->compatible = w->lazy ? QCOW2_LAZY_REFCOUNTS : 0;
	s->incompatible =
		(w->data_file ? QCOW2_DATA_FILE : 0) | (w->zstd ? QCOW2_COMPRESSION : 0) | (w->extended ? QCOW2_EXTENDED_L2 : 0);
	s->autoclear = w->raw ? QCOW2_RAW_DATA_FILE : 0;
	s->backing = g_strdup(w->backing);
	s->backing_format = g_strdup(w->backing ? w->backing_format : NULL);
	s->data_name = g_strdup(w->data_file);
	qcow2_set_geometry(s);
}

/* Cluster 0: header, 1: refcount table, 2: its first block. */
static bool write_first(struct image_file *file, const struct wish *w, GError **error)
{
	struct image img = {.path = file->name, .file = file, .data = file};
	struct qcow2 s = {.img = &img, .file = file};
	g_autofree uint8_t *tables = NULL;
	int res;
	bool ok;

	s.extensions = g_array_new(FALSE, TRUE, sizeof(struct qcow2_extension));
	s.snapshots = g_array_new(FALSE, TRUE, sizeof(struct qcow2_snapshot));
	fill_state(&s, w);
	tables = g_malloc0(2ULL * s.cluster_size);
	s.reftable_offset = s.cluster_size;
	s.reftable_size = s.cluster_size / 8;
	put_be64(tables, 2ULL * s.cluster_size);
	for (int i = 0; i < 3; i++)
		qcow2_refcount_put(tables + s.cluster_size, i, s.refcount_order, 1);
	res = qcow2_pwrite(&s, s.cluster_size, tables, 2ULL * s.cluster_size);
	ok = res == 0 ? qcow2_header_write(&s, 0, error)
		      : kv_fail_errno(error, -res, "disk '%s': cannot write its tables", file->name);
	qcow2_header_free(&s);
	g_array_free(s.snapshots, TRUE);
	return ok;
}

static bool make_data_file(const char *path, const char *name, struct image_file **ret, GError **error)
{
	g_autofree char *full = image_beside(path, name);

	*ret = image_file_open(full, false, IMAGE_FILE_CREATE, error);
	image_file_close(*ret);
	return *ret;
}

static bool set_size(struct image *img, uint64_t size, enum image_prealloc prealloc, GError **error)
{
	int res;

	if (size && !image_qcow2.resize(img, size, prealloc, error))
		return false;
	img->size = size;
	res = image_qcow2.flush(img);
	return res == 0 || kv_fail_errno(error, -res, "disk '%s': cannot write it", img->path);
}

static bool create(struct image_file *file, uint64_t size, const struct wish *w, GError **error)
{
	struct image img = {.format = &image_qcow2, .path = file->name, .file = file, .data = file};
	g_autoptr(GVariant) bare = g_variant_ref_sink(g_variant_new_parsed("{'backing': <''>}"));
	bool ok;

	if (!write_first(file, w, error) || !image_qcow2.open(&img, bare, error))
		return false;
	ok = set_size(&img, size, w->prealloc, error);
	image_qcow2.close(&img);
	if (img.data != file)
		image_file_close(img.data);
	g_free(img.backing_name);
	g_free(img.backing_format);
	return ok;
}

static int no_flush(struct image_file *file)
{
	return 0;
}

bool qcow2_check_create(GVariant *options, GError **error)
{
	struct wish w;

	return take_options(options, &w, error) && check_wish(&w, error);
}

/* Half an image is none, so what is written in which order does not matter here: it is all flushed once, at the end. */
bool qcow2_create(struct image_file *file, uint64_t size, GVariant *options, GError **error)
{
	const struct image_file_type *type = file->type;
	struct image_file_type unordered = *type;
	struct image_file *data;
	struct wish w;
	bool ok;
	int res;

	if (!take_options(options, &w, error) || !check_wish(&w, error))
		return false;
	if (w.data_file && !make_data_file(file->name, w.data_file, &data, error))
		return false;
	unordered.flush = no_flush;
	file->type = &unordered;
	ok = create(file, size, &w, error);
	file->type = type;
	res = ok ? type->flush(file) : 0;
	return ok && (res == 0 || kv_fail_errno(error, -res, "disk '%s': cannot write it", file->name));
}
