/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* New VMDK images: monolithicSparse and streamOptimized, whose descriptor is in their header. The format's row is in vmdk.c. */
#include <string.h>

#include "error.h"
#include "vmdk.h"

const char *const vmdk_create_options[] = { "subformat", "adapter_type", "hwversion", NULL };

static const char *const subformats[] = { "monolithicSparse",	 "streamOptimized",    "monolithicFlat",
					 "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", NULL };
enum { MONOLITHIC_SPARSE, STREAM_OPTIMIZED };
static const char *const adapters[] = { "ide", "buslogic", "lsilogic", "legacyESX", NULL };

static char *descriptor_of(const char *name, uint64_t size, const char *subformat, const char *adapter, uint64_t hw_version)
{
	unsigned heads = strcmp(adapter, "ide") == 0 ? 16 : 255;

	return g_strdup_printf("# Disk DescriptorFile\n"
			       "version=1\n"
			       "CID=%08x\n"
			       "parentCID=ffffffff\n"
			       "createType=\"%s\"\n"
			       "\n"
			       "# Extent description\n"
			       "RW %" PRIu64 " SPARSE \"%s\"\n"
			       "\n"
			       "# The Disk Data Base\n"
			       "#DDB\n"
			       "\n"
			       "ddb.virtualHWVersion = \"%" PRIu64 "\"\n"
			       "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
			       "ddb.geometry.heads = \"%u\"\n"
			       "ddb.geometry.sectors = \"63\"\n"
			       "ddb.adapterType = \"%s\"\n"
			       "ddb.toolsVersion = \"2147483647\"\n",
			       g_random_int() >> 1, subformat, size / VMDK_SECTOR, name, hw_version,
			       size / (63 * heads * VMDK_SECTOR), heads, adapter);
}

bool vmdk_create(struct image_file *f, uint64_t size, GVariant *options, GError **error)
{
	unsigned subformat = MONOLITHIC_SPARSE, adapter = 0;
	g_autofree char *name = g_path_get_basename(f->name), *text = NULL;
	uint64_t hw_version = 4;

	if (!foreign_option_choice(options, "subformat", subformats, &subformat, error) ||
	    !foreign_option_choice(options, "adapter_type", adapters, &adapter, error) ||
	    !foreign_option_size(options, "hwversion", &hw_version, error))
		return false;
	if (subformat > STREAM_OPTIMIZED)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "subformat=%s can be read, but not made; choose monolithicSparse or streamOptimized",
			       subformats[subformat]);
	if (strpbrk(name, "\"\r\n"))
		return kv_fail(error, KV_ERROR_USAGE, "'%s': a vmdk descriptor cannot hold this name; choose one without quotes",
			       f->name);
	text = descriptor_of(name, size, subformats[subformat], adapters[adapter], hw_version);
	return vmdk_sparse_create(f, size, subformat == STREAM_OPTIMIZED, text, error);
}
