/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What storage a host could have: which types of pools and formats of volumes there are, and where there might be some. */
#include <string.h>

#include "pools.h"

static const struct {
	const char *name;
	const char *source_format; /* the default one; NULL: there is no choice */
	const char *const *source_formats;
	bool supported;
} types[] = {
	{"dir", NULL, NULL, true},
	{"fs", "auto",
	 (const char *const[]){"auto", "ext2", "ext3", "ext4", "ufs", "iso9660", "udf", "gfs", "gfs2", "vfat", "hfs+", "xfs",
			       "ocfs2", "vmfs", NULL},
	 true},
	{"netfs"},
	{"logical"},
	{"disk"},
	{"iscsi"},
	{"iscsi-direct"},
	{"scsi"},
	{"mpath"},
	{"rbd"},
	{"sheepdog"},
	{"gluster"},
	{"zfs"},
	{"vstorage"},
};
static const char *const volume_formats[] = {"raw", "dir", "iso", "vpc", "vdi", "qcow2", "vmdk", NULL};

static void add_options(GString *out, const char *element, const char *list, const char *first, const char *const *names)
{
	g_string_append_printf(out,
			       "    <%s>\n"
			       "      <defaultFormat type='%s'/>\n"
			       "      <enum name='%s'>\n",
			       element, first, list);
	for (; *names; names++)
		g_string_append_printf(out, "        <value>%s</value>\n", *names);
	g_string_append_printf(out,
			       "      </enum>\n"
			       "    </%s>\n",
			       element);
}

static bool capabilities(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GString) out = NULL;
	guint32 flags;

	g_variant_get(args, "(u)", &flags);
	if (!call->hv->driver->storage || call->hv->driver->storage->memory)
		return handler_unsupported(call, args, ret, error);
	if (!call_check_flags(call, flags, 0, error))
		return false;
	out = g_string_new("<storagepoolCapabilities>\n");
	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
		g_string_append_printf(out, "  <pool type='%s' supported='%s'>\n", types[i].name,
				       types[i].supported ? "yes" : "no");
		if (types[i].source_formats)
			add_options(out, "poolOptions", "sourceFormatType", types[i].source_format, types[i].source_formats);
		if (types[i].supported)
			add_options(out, "volOptions", "targetFormatType", "raw", volume_formats);
		g_string_append(out, "  </pool>\n");
	}
	g_string_append(out, "</storagepoolCapabilities>\n");
	*ret = g_variant_new("(s)", out->str);
	return true;
}

static bool find_sources(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const char *type;

	g_variant_get_child(args, 0, "&s", &type);
	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++)
		if (strcmp(types[i].name, type) == 0)
			return rpc_fail(error, VIR_ERR_NO_SUPPORT, "pool type '%s' does not support source discovery", type);
	return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "unknown storage pool type %s", type);
}

const struct handler storage_host_handlers[] = {
	{RPC_CONNECT_GET_STORAGE_POOL_CAPABILITIES, capabilities, HANDLER_FAST | HANDLER_READ_ONLY},
	{RPC_CONNECT_FIND_STORAGE_POOL_SOURCES, find_sources, HANDLER_FAST},
	{0},
};
