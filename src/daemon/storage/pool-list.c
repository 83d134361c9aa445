/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which pools there are: lookups and lists, in libvirt's new way and in the one before; what is known of one at once. */
#include <string.h>

#include "pools.h"
#include "uuid.h"

enum { LIST_TYPES = 6 /* the first bit of those that mean a type */, LIST_ALL = (1 << 20) - 1 };

/* By VIR_CONNECT_LIST_STORAGE_POOLS_…: what is not the same for all kinds of objects. */
static bool fits_type(const struct entry *e, unsigned flags)
{
	static const char *const types[] = {"dir",   "fs",  "netfs",	"logical", "disk", "iscsi",    "scsi",
					    "mpath", "rbd", "sheepdog", "gluster", "zfs",  "vstorage", "iscsi-direct"};
	unsigned wanted = flags >> LIST_TYPES;

	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++)
		if (wanted & 1u << i && xml_is(entry_root(e), "@type", types[i]))
			return true;
	return !wanted;
}

static bool list_all(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list;
	guint32 flags, n;
	gint32 wants;

	g_variant_get(args, "(iu)", &wants, &flags);
	if (!call_check_flags(call, flags, LIST_ALL, error))
		return false;
	g_variant_builder_init(&list, G_VARIANT_TYPE("a(say)"));
	n = registry_list(call->hv->pools, flags, fits_type, wants ? &list : NULL);
	*ret = g_variant_new("(a(say)u)", &list, n);
	return true;
}

static bool number(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	bool active = call->proc->number == RPC_CONNECT_NUM_OF_STORAGE_POOLS;

	*ret = g_variant_new("(i)", registry_names(call->hv->pools, active, 0, NULL));
	return true;
}

static bool names(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("as"));
	gint32 room;

	g_variant_get(args, "(i)", &room);
	registry_names(call->hv->pools, call->proc->number == RPC_CONNECT_LIST_STORAGE_POOLS, room, &list);
	*ret = g_variant_new("(as)", &list);
	return true;
}

/* ---- lookups ---- */

static bool found(const struct entry *e, GVariant **ret)
{
	*ret = g_variant_new("(@(say))", entry_handle(e));
	return true;
}

static bool by_name(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Pool) p = NULL;
	const char *name;

	g_variant_get(args, "(&s)", &name);
	p = pool_named(call->hv, name, error);
	return p && found(p->entry, ret);
}

static bool by_uuid(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) uuid = g_variant_get_child_value(args, 0);
	g_autofree char *text = uuid_format(uuid);
	const struct entry *e = registry_by_uuid(call->hv->pools, uuid);

	return e ? found(e, ret) : rpc_fail(error, VIR_ERR_NO_STORAGE_POOL, "no storage pool with matching uuid '%s'", text);
}

static bool by_volume(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Pool) p = NULL;
	const char *name;

	g_variant_get(args, "((&s&s&s))", &name, NULL, NULL);
	p = pool_named(call->hv, name, error);
	return p && found(p->entry, ret);
}

static bool by_target_path(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *clean = NULL;
	GHashTableIter iter;
	gpointer value;
	const char *path;

	g_variant_get(args, "(&s)", &path);
	clean = *path == '/' ? g_canonicalize_filename(path, "/") : g_strdup(path);
	g_hash_table_iter_init(&iter, call->hv->pools->all);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct entry *e = value;

		if (e->active && xml_is(entry_root(e), "target/path", clean))
			return found(e, ret);
	}
	return rpc_fail(error, VIR_ERR_NO_STORAGE_POOL, "no storage pool with matching target path '%s'", path);
}

/* ---- what is known at once ---- */

static bool get_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	enum { INACTIVE, BUILDING, RUNNING };
	g_autoptr(Pool) p = pool_of_args(call, args, error);

	if (!p)
		return false;
	pool_count(p);
	*ret = g_variant_new("(ittt)", p->entry->active ? RUNNING : INACTIVE, p->facts.capacity, p->facts.allocation,
			     p->facts.available);
	return true;
}

static bool get_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	enum { XML_INACTIVE = 1 };
	g_autoptr(Pool) p = pool_of_args(call, args, error);
	g_autofree char *xml = NULL;
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!p || !call_check_flags(call, flags, XML_INACTIVE, error))
		return false;
	xml = pool_xml(p, flags & XML_INACTIVE);
	*ret = g_variant_new("(s)", xml);
	return true;
}

static bool get_flag(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Pool) p = pool_of_args(call, args, error);

	if (!p)
		return false;
	*ret = g_variant_new("(i)", call->proc->number == RPC_STORAGE_POOL_IS_ACTIVE	   ? p->entry->active
				    : call->proc->number == RPC_STORAGE_POOL_IS_PERSISTENT ? p->entry->persistent
											   : p->entry->autostart);
	return true;
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler pool_list_handlers[] = {
	{RPC_CONNECT_LIST_ALL_STORAGE_POOLS, list_all, LOOK},
	{RPC_CONNECT_NUM_OF_STORAGE_POOLS, number, LOOK},
	{RPC_CONNECT_NUM_OF_DEFINED_STORAGE_POOLS, number, LOOK},
	{RPC_CONNECT_LIST_STORAGE_POOLS, names, LOOK},
	{RPC_CONNECT_LIST_DEFINED_STORAGE_POOLS, names, LOOK},
	{RPC_STORAGE_POOL_LOOKUP_BY_NAME, by_name, LOOK},
	{RPC_STORAGE_POOL_LOOKUP_BY_UUID, by_uuid, LOOK},
	{RPC_STORAGE_POOL_LOOKUP_BY_VOLUME, by_volume, LOOK},
	{RPC_STORAGE_POOL_LOOKUP_BY_TARGET_PATH, by_target_path, LOOK},
	{RPC_STORAGE_POOL_GET_INFO, get_info, LOOK},
	{RPC_STORAGE_POOL_GET_XML_DESC, get_xml, LOOK},
	{RPC_STORAGE_POOL_GET_AUTOSTART, get_flag, LOOK},
	{RPC_STORAGE_POOL_IS_ACTIVE, get_flag, LOOK},
	{RPC_STORAGE_POOL_IS_PERSISTENT, get_flag, LOOK},
	{0},
};
