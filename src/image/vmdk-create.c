/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * New VMDK images: a descriptor in the header of one sparse extent (monolithicSparse, streamOptimized), or in a file of its own
 * with extents beside it (monolithicFlat: one, twoGbMaxExtent...: as many as it takes). The format's row is in vmdk.c.
 */
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "vmdk.h"

const char *const vmdk_create_options[] = { "subformat",	   "adapter_type", "hwversion", "compat6",
					   "toolsversion", "zeroed_grain", "backing", NULL };

static const char *const subformats[] = { "monolithicSparse",	 "streamOptimized",    "monolithicFlat",
					 "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", NULL };
enum { MONOLITHIC_SPARSE, STREAM_OPTIMIZED, MONOLITHIC_FLAT, TWO_GB_SPARSE, TWO_GB_FLAT };
static const char *const adapters[] = { "ide", "buslogic", "lsilogic", "legacyESX", NULL };
enum { EXTENTS_MAX = 999 };
#define TWO_GB (2ull << 30)

struct wanted {
	unsigned subformat, adapter;
	const char *hw_version, *tools_version, *parent; /* parent: NULL, it stands on none */
	uint32_t parent_cid;
	bool zero_grains;
};

/* Such texts stand in quotes in the descriptor. */
static bool quotable(const char *text)
{
	return strlen(text) <= 512 && !strpbrk(text, "\"\r\n");
}

static bool read_options(struct wanted *w, GVariant *options, GError **error)
{
	bool compat6 = false, has_version = g_variant_lookup(options, "hwversion", "&s", &w->hw_version);

	g_variant_lookup(options, "toolsversion", "&s", &w->tools_version);
	if (!foreign_option_choice(options, "subformat", subformats, &w->subformat, error) ||
	    !foreign_option_choice(options, "adapter_type", adapters, &w->adapter, error) ||
	    !foreign_option_bool(options, "compat6", &compat6, error) ||
	    !foreign_option_bool(options, "zeroed_grain", &w->zero_grains, error))
		return false;
	if (compat6 && has_version)
		return kv_fail(error, KV_ERROR_USAGE, "compat6 is the same as hwversion=6; give one of them");
	if (compat6)
		w->hw_version = "6";
	if (!quotable(w->hw_version) || !quotable(w->tools_version))
		return kv_fail(error, KV_ERROR_USAGE, "hwversion and toolsversion are short texts without quotes");
	return true;
}

/* The parent as it is now; whoever writes to it changes its CID. */
static bool find_parent(struct wanted *w, const char *file, GVariant *options, GError **error)
{
	g_autofree char *path = NULL;
	g_autoptr(GVariant) how = NULL;
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
	const char *format = "vmdk";
	struct image *parent;

	w->parent_cid = UINT32_MAX;
	if (!g_variant_lookup(options, "backing", "&s", &w->parent))
		return true;
	g_variant_lookup(options, "backing-format", "&s", &format);
	if (strcmp(format, "vmdk") != 0)
		return kv_fail(error, KV_ERROR_USAGE, "backing_file must be a vmdk image");
	if (w->subformat == MONOLITHIC_FLAT || w->subformat == TWO_GB_FLAT)
		return kv_fail(error, KV_ERROR_USAGE, "Flat image can't have backing file");
	if (!quotable(w->parent))
		return kv_fail(error, KV_ERROR_USAGE, "'%s': a vmdk descriptor cannot hold this name; choose one without quotes",
			       w->parent);
	path = image_backing_path(file, w->parent, error);
	if (!path)
		return false;
	g_variant_dict_insert(&dict, "file", "s", path);
	g_variant_dict_insert(&dict, "format", "s", "vmdk");
	g_variant_dict_insert(&dict, "readonly", "b", TRUE);
	how = g_variant_ref_sink(g_variant_dict_end(&dict));
	parent = image_open(how, error);
	if (!parent)
		return false;
	w->parent_cid = ((const struct vmdk *)parent->state)->cid;
	image_close(parent);
	return true;
}

static char *descriptor_of(const struct wanted *w, uint64_t size, const char *extents)
{
	g_autofree char *hint = w->parent ? g_strdup_printf("parentFileNameHint=\"%s\"\n", w->parent) : g_strdup("");
	const char *adapter = adapters[w->adapter];
	unsigned heads = strcmp(adapter, "ide") == 0 ? 16 : 255;

	return g_strdup_printf("# Disk DescriptorFile\n"
			       "version=1\n"
			       "CID=%08x\n"
			       "parentCID=%08x\n"
			       "createType=\"%s\"\n"
			       "%s\n"
			       "# Extent description\n"
			       "%s"
			       "\n"
			       "# The Disk Data Base\n"
			       "#DDB\n"
			       "\n"
			       "ddb.virtualHWVersion = \"%s\"\n"
			       "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
			       "ddb.geometry.heads = \"%u\"\n"
			       "ddb.geometry.sectors = \"63\"\n"
			       "ddb.adapterType = \"%s\"\n"
			       "ddb.toolsVersion = \"%s\"\n",
			       g_random_int() >> 1, w->parent_cid, subformats[w->subformat], hint, extents, w->hw_version,
			       size / (63 * heads * VMDK_SECTOR), heads, adapter, w->tools_version);
}

static bool create_one_file(struct image_file *f, const struct wanted *w, uint64_t size, const char *name, GError **error)
{
	g_autofree char *extent = g_strdup_printf("RW %" PRIu64 " SPARSE \"%s\"\n", size / VMDK_SECTOR, name);
	g_autofree char *text = descriptor_of(w, size, extent);

	return vmdk_sparse_create(f, size, w->subformat == STREAM_OPTIMIZED, w->zero_grains, text, error);
}

/* The i-th extent's file, from 1 on, and its line. */
static bool create_extent(struct image_file *f, const struct wanted *w, const char *base, unsigned i, uint64_t size,
			  GString *lines, GError **error)
{
	bool sparse = w->subformat == TWO_GB_SPARSE;
	int stem = strrchr(base, '.') ? (int)(strrchr(base, '.') - base) : (int)strlen(base);
	g_autofree char *name = w->subformat == MONOLITHIC_FLAT
					? g_strdup_printf("%.*s-flat%s", stem, base, base + stem)
					: g_strdup_printf("%.*s-%c%03u%s", stem, base, sparse ? 's' : 'f', i, base + stem);
	g_autofree char *path = image_beside(f->name, name);
	struct image_file *extent = image_file_open(path, false, IMAGE_FILE_CREATE, error);
	bool ok;

	if (!extent)
		return false;
	ok = sparse ? vmdk_sparse_create(extent, size, false, w->zero_grains, NULL, error)
		    : foreign_truncate(extent, size, error);
	image_file_close(extent);
	g_string_append_printf(lines, "RW %" PRIu64 " %s \"%s\"%s\n", size / VMDK_SECTOR, sparse ? "SPARSE" : "FLAT", name,
			       sparse ? "" : " 0");
	return ok;
}

static bool create_extents(struct image_file *f, const struct wanted *w, uint64_t size, const char *name, GError **error)
{
	g_autofree char *text = NULL;
	g_autoptr(GString) lines = g_string_new(NULL);
	uint64_t at = 0;

	if (w->subformat != MONOLITHIC_FLAT && size > EXTENTS_MAX * TWO_GB)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "subformat=%s holds at most %d times 2 GiB", subformats[w->subformat],
			       EXTENTS_MAX);
	for (unsigned i = 1; at < size || i == 1; i++) {
		uint64_t part = w->subformat == MONOLITHIC_FLAT ? size : MIN(size - at, TWO_GB);

		if (!create_extent(f, w, name, i, part, lines, error))
			return false;
		at += part;
	}
	text = descriptor_of(w, size, lines->str);
	return foreign_write(f, 0, text, strlen(text), error);
}

bool vmdk_create(struct image_file *f, uint64_t size, GVariant *options, GError **error)
{
	struct wanted w = {.hw_version = "4", .tools_version = "2147483647"};
	g_autofree char *name = g_path_get_basename(f->name);

	if (!read_options(&w, options, error) || !find_parent(&w, f->name, options, error))
		return false;
	if (!quotable(name))
		return kv_fail(error, KV_ERROR_USAGE, "'%s': a vmdk descriptor cannot hold this name; choose one without quotes",
			       f->name);
	return w.subformat <= STREAM_OPTIMIZED ? create_one_file(f, &w, size, name, error)
					       : create_extents(f, &w, size, name, error);
}
