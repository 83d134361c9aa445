/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev-create: a file, or a format's image in the file of a node (QEMU's BlockdevCreateOptions, qapi/block-core.json), as a
 * job that stays until it is dismissed. The names of QMP's members become those of qemu-img's -o, which image_create() knows.
 * What QEMU has and we have not is left out of the tables. See qmp-block.h.
 */
#include <string.h>

#include "error.h"
#include "graph.h"
#include "job.h"
#include "qmp-block.h"
#include "vmm.h"

static const char *const driver_names[] = { "file", "qcow2", "vdi", "vhdx", "vmdk", "vpc", NULL };
static const char *const versions[] = { "v2", "v3", NULL };
static const char *const file_preallocs[] = { "off", "falloc", "full", NULL };
static const char *const preallocs[] = { "off", "metadata", "falloc", "full", NULL };
static const char *const compressions[] = { "zlib", "zstd", NULL };
static const char *const formats[] = { "qcow2", "raw", "vdi", "vhdx", "vmdk", "vpc", NULL };
static const char *const vhdx_kinds[] = { "dynamic", "fixed", NULL };
static const char *const vmdk_kinds[] = { "monolithicSparse", "streamOptimized", NULL };
static const char *const vmdk_adapters[] = { "ide", "buslogic", "lsilogic", "legacyESX", NULL };

static const struct qmp_type driver = { .kind = QMP_ENUM, .values = driver_names };
static const struct qmp_type version = { .kind = QMP_ENUM, .values = versions };
static const struct qmp_type file_prealloc = { .kind = QMP_ENUM, .values = file_preallocs };
static const struct qmp_type prealloc = { .kind = QMP_ENUM, .values = preallocs };
static const struct qmp_type compression = { .kind = QMP_ENUM, .values = compressions };
static const struct qmp_type format = { .kind = QMP_ENUM, .values = formats };
static const struct qmp_type fixed_or_not = { .kind = QMP_ENUM, .values = vhdx_kinds };
static const struct qmp_type vmdk_kind = { .kind = QMP_ENUM, .values = vmdk_kinds };
static const struct qmp_type vmdk_adapter = { .kind = QMP_ENUM, .values = vmdk_adapters };

#define OF(name) .tag = "driver", .value = name
#define IMAGE(name) { "file", &qmp_any, OF(name) }, { "size", &qmp_uint64, OF(name) }
#define MAY(member, type, name) { member, type, .optional = true, OF(name) }

static const struct qmp_member members[] = {
	{ "driver", &driver },
	{ "filename", &qmp_string, OF("file") },
	{ "size", &qmp_uint64, OF("file") },
	MAY("preallocation", &file_prealloc, "file"),
	IMAGE("qcow2"),
	MAY("extended-l2", &qmp_boolean, "qcow2"),
	MAY("version", &version, "qcow2"),
	MAY("backing-file", &qmp_string, "qcow2"),
	MAY("backing-fmt", &format, "qcow2"),
	MAY("cluster-size", &qmp_uint64, "qcow2"),
	MAY("preallocation", &prealloc, "qcow2"),
	MAY("lazy-refcounts", &qmp_boolean, "qcow2"),
	MAY("refcount-bits", &qmp_integer, "qcow2"),
	MAY("compression-type", &compression, "qcow2"),
	IMAGE("vdi"),
	IMAGE("vhdx"),
	MAY("log-size", &qmp_uint64, "vhdx"),
	MAY("block-size", &qmp_uint64, "vhdx"),
	MAY("subformat", &fixed_or_not, "vhdx"),
	MAY("block-state-zero", &qmp_boolean, "vhdx"),
	IMAGE("vmdk"),
	MAY("subformat", &vmdk_kind, "vmdk"),
	MAY("adapter-type", &vmdk_adapter, "vmdk"),
	MAY("hwversion", &qmp_string, "vmdk"),
	MAY("toolsversion", &qmp_string, "vmdk"),
	MAY("zeroed-grain", &qmp_boolean, "vmdk"),
	IMAGE("vpc"),
	MAY("subformat", &fixed_or_not, "vpc"),
	MAY("force-size", &qmp_boolean, "vpc"),
	{},
};

static const struct qmp_type options = { .kind = QMP_OBJECT, .members = members };
const struct qmp_member qmp_blockdev_create_args[] = { { "job-id", &qmp_string }, { "options", &options }, {} };

static char *option_name(const char *name)
{
	if (strcmp(name, "version") == 0)
		return g_strdup("compat");
	if (strcmp(name, "backing-file") == 0)
		return g_strdup("backing");
	if (strcmp(name, "backing-fmt") == 0)
		return g_strdup("backing-format");
	return g_strdelimit(g_strdup(name), "-", '_');
}

/* As -o has it. */
static char *option_text(JsonNode *v)
{
	switch (json_node_get_value_type(v)) {
	case G_TYPE_BOOLEAN:
		return g_strdup(json_node_get_boolean(v) ? "on" : "off");
	case G_TYPE_INT64:
		return g_strdup_printf("%" G_GINT64_FORMAT, json_node_get_int(v));
	default:
		return g_strdup(json_node_get_string(v));
	}
}

static GVariant *make_options(JsonObject *o)
{
	static const char *const apart[] = { "driver", "file", "filename", "size", NULL };
	const char *driver_name = json_object_get_string_member(o, "driver"), *name;
	bool is_file = strcmp(driver_name, "file") == 0;
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
	JsonObjectIter iter;
	JsonNode *value;

	json_object_iter_init_ordered(&iter, o);
	while (json_object_iter_next_ordered(&iter, &name, &value)) {
		g_autofree char *option = option_name(name), *text = NULL;

		if (g_strv_contains(apart, name))
			continue;
		text = option_text(value);
		g_variant_dict_insert(&dict, option, "s", text);
	}
	g_variant_dict_insert(&dict, "format", "s", is_file ? "raw" : driver_name);
	g_variant_dict_insert(&dict, "size", "t", (guint64)json_object_get_int_member(o, "size"));
	if (is_file)
		g_variant_dict_insert(&dict, "file", "s", json_object_get_string_member(o, "filename"));
	if (json_object_has_member(o, "backing-file"))
		g_variant_dict_insert(&dict, "backing-unchecked", "b", TRUE);
	return g_variant_dict_end(&dict);
}

/* Whose file is written: nobody else may have it. */
static struct image *find_storage(struct vmm *vmm, JsonObject *o, GError **error)
{
	struct image *img = qmp_open_reference(vmm, o, "file", error);

	if (!img)
		return NULL;
	if (graph_is_free(vmm->graph, img, error)) {
		if (!graph_in_use(vmm->graph, img))
			return img;
		kv_fail(error, KV_ERROR_BUSY, "Node %s is in use", graph_name(vmm->graph, img));
	}
	image_close(img);
	return NULL;
}

JsonNode *qmp_blockdev_create(void *opaque, JsonObject *args, GError **error)
{
	JsonObject *o = json_object_get_object_member(args, "options");
	struct vmm *vmm = opaque;
	const struct job_options job_options = {
		.id = json_object_get_string_member(args, "job-id"),
		.manual_dismiss = true,
		.owner = vmm->job_owner,
	};
	struct image *storage = NULL;
	struct job *job = NULL;

	if (!json_object_has_member(o, "file") || (storage = find_storage(vmm, o, error)))
		job = job_create_new(&job_options, storage, make_options(o), error);
	image_close(storage);
	graph_sweep(vmm->graph);
	return job ? qmp_nothing() : NULL;
}
