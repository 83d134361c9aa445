/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Storage pools by libvirt's rules (storage.h). */
#include <string.h>

#include "autostart.h"
#include "hv.h"
#include "log.h"
#include "storage.h"
#include "uuid.h"

enum { XML_INACTIVE = 1, DEFINE_VALIDATE = 1, LIST_BASE = 63, LIST_ALL = (1 << 20) - 1 };
enum { CREATE_WITH_BUILD = 1, CREATE_OVERWRITE = 2, CREATE_NO_OVERWRITE = 4, CREATE_VALIDATE = 8 };
enum { BUILD_REPAIR = 1, BUILD_RESIZE = 2, BUILD_NO_OVERWRITE = 4, BUILD_OVERWRITE = 8 };
enum { STATE_INACTIVE, STATE_BUILDING, STATE_RUNNING };
enum { EVENT_LIFE, EVENT_REFRESH };

static void pool_free(void *own)
{
	struct pool *p = own;

	g_ptr_array_unref(p->volumes);
	g_free(p);
}

struct pool *pool_of(struct entry *e)
{
	struct pool *p = e->own;

	if (p)
		return p;
	p = g_new0(struct pool, 1);
	p->entry = e;
	p->volumes = g_ptr_array_new_with_free_func((GDestroyNotify)volume_free);
	e->own = p;
	e->of->free_own = pool_free;
	return p;
}

struct pool *pool_of_args(struct call *call, GVariant *args, bool active, GError **error)
{
	struct entry *e = registry_of_args(call->hv->pools, args, error);

	if (!e)
		return NULL;
	if (active && !e->active) {
		rpc_fail(error, VIR_ERR_OPERATION_INVALID, "storage pool '%s' is not active", e->name);
		return NULL;
	}
	return pool_of(e);
}

/* ---- lists ---- */

/* By VIR_CONNECT_LIST_STORAGE_POOLS_…: types from bit 6 on. */
static bool fits_type(const struct entry *e, unsigned flags)
{
	static const char *const types[] = { "dir",   "fs",  "netfs",	 "logical", "disk", "iscsi",	"scsi",
					     "mpath", "rbd", "sheepdog", "gluster", "zfs",  "vstorage", "iscsi-direct" };
	unsigned wanted = flags >> 6;

	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++)
		if (wanted & 1u << i && xml_is(xmlDocGetRootElement(e->doc), "@type", types[i]))
			return true;
	return !wanted;
}

static bool list_all(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(say)"));
	guint32 flags, n;
	gint32 wants;

	g_variant_get(args, "(iu)", &wants, &flags);
	if (!call_check_flags(call, flags, LIST_ALL, error)) {
		g_variant_builder_clear(&list);
		return false;
	}
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

static bool answer(const struct entry *e, GVariant **ret)
{
	*ret = g_variant_new("(@(say))", entry_handle(e));
	return true;
}

static bool by_name(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct entry *e;
	const char *name;

	g_variant_get(args, "(&s)", &name);
	e = registry_by_name(call->hv->pools, name);
	return e ? answer(e, ret)
		 : rpc_fail(error, VIR_ERR_NO_STORAGE_POOL, "no storage pool with matching name '%s'", name);
}

static bool by_uuid(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) uuid = g_variant_get_child_value(args, 0);
	g_autofree char *text = NULL;
	const struct entry *e = registry_by_uuid(call->hv->pools, uuid);

	if (e)
		return answer(e, ret);
	text = uuid_format(uuid);
	return rpc_fail(error, VIR_ERR_NO_STORAGE_POOL, "no storage pool with matching uuid %s", text);
}

static bool by_path(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GHashTableIter iter;
	gpointer value;
	const char *path;

	g_variant_get(args, "(&s)", &path);
	g_hash_table_iter_init(&iter, call->hv->pools->all);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct entry *e = value;

		if (e->active && xml_is(entry_root(e), "target/path", path))
			return answer(e, ret);
	}
	return rpc_fail(error, VIR_ERR_NO_STORAGE_POOL, "no storage pool with matching target path '%s'", path);
}

static bool by_volume(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct entry *e;
	const char *name;

	g_variant_get(args, "((&s&s&s))", &name, NULL, NULL);
	e = registry_by_name(call->hv->pools, name);
	return e ? answer(e, ret)
		 : rpc_fail(error, VIR_ERR_NO_STORAGE_POOL, "no storage pool with matching name '%s'", name);
}

/* ---- one ---- */

static bool flag(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct entry *e = registry_of_args(call->hv->pools, args, error);

	if (!e)
		return false;
	*ret = g_variant_new("(i)", call->proc->number == RPC_STORAGE_POOL_IS_ACTIVE	   ? e->active
				    : call->proc->number == RPC_STORAGE_POOL_IS_PERSISTENT ? e->persistent
											   : e->autostart);
	return true;
}

static bool get_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p = pool_of_args(call, args, false, error);

	if (!p)
		return false;
	*ret = g_variant_new("(ittt)", p->entry->active ? STATE_RUNNING : STATE_INACTIVE, p->capacity, p->allocation,
			     p->available);
	return true;
}

static void set_size(xmlDoc *doc, const char *element, guint64 bytes)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, bytes), *unit = g_strconcat(element, "/@unit", NULL);

	object_set_text(OBJECT_POOL, doc, element, text);
	object_set_text(OBJECT_POOL, doc, unit, "bytes");
}

static bool get_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p = pool_of_args(call, args, false, error);
	g_autoptr(xmlDoc) doc = NULL;
	g_autofree char *xml = NULL;
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!p || !call_check_flags(call, flags, XML_INACTIVE, error))
		return false;
	doc = xmlCopyDoc(!(flags & XML_INACTIVE) && p->entry->live ? p->entry->live : p->entry->doc, 1);
	set_size(doc, "capacity", p->capacity);
	set_size(doc, "allocation", p->allocation);
	set_size(doc, "available", p->available);
	xml = object_format(OBJECT_POOL, doc, 0);
	*ret = g_variant_new("(s)", xml);
	return true;
}

static bool set_autostart(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct entry *e = registry_of_args(call->hv->pools, args, error);
	gint32 on;

	g_variant_get_child(args, 1, "i", &on);
	if (!e)
		return false;
	if (!e->persistent)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "pool has no config file");
	e->autostart = on != 0;
	return registry_store(e, error);
}

/* ---- life ---- */

static const struct storage *storage_of(struct call *call, GError **error)
{
	if (!call->hv->driver->storage)
		handler_unsupported(call, NULL, NULL, error);
	return call->hv->driver->storage;
}

static xmlDoc *parse(struct call *call, const char *xml, GError **error)
{
	const struct storage *storage = storage_of(call, error);
	g_autoptr(xmlDoc) doc = storage ? object_parse(OBJECT_POOL, xml, -1, call->hv->driver->def_flags, error) : NULL;

	if (!doc || (storage->check && !storage->check(call->hv, doc, error)))
		return NULL;
	return g_steal_pointer(&doc);
}

static bool define(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(xmlDoc) doc = NULL;
	struct entry *e;
	const char *xml;
	guint32 flags;

	g_variant_get(args, "(&su)", &xml, &flags);
	if (!call_check_flags(call, flags, DEFINE_VALIDATE, error))
		return false;
	doc = parse(call, xml, error);
	e = doc ? registry_define(call->hv->pools, doc, false, error) : NULL;
	if (!e)
		return false;
	doc = NULL;
	if (!registry_store(e, error)) {
		if (!e->active)
			registry_remove(e);
		return false;
	}
	if (call->hv->driver->test_rules)
		call->hv->driver->storage->refresh(pool_of(e), NULL);
	registry_event(e, EVENT_LIFE, OBJECT_DEFINED);
	return answer(e, ret);
}

static bool start(struct entry *e, guint32 flags, GError **error)
{
	const struct storage *storage = e->of->hv->driver->storage;
	unsigned build = (flags & CREATE_OVERWRITE ? BUILD_OVERWRITE : 0) |
			 (flags & CREATE_NO_OVERWRITE ? BUILD_NO_OVERWRITE : 0);

	if (!storage)
		return rpc_fail(error, VIR_ERR_NO_SUPPORT, "virStoragePoolCreate");
	if (flags & (CREATE_WITH_BUILD | CREATE_OVERWRITE | CREATE_NO_OVERWRITE) && storage->build &&
	    !storage->build(pool_of(e), build, error))
		return false;
	if (!storage->start(pool_of(e), error))
		return false;
	e->active = true;
	registry_event(e, EVENT_LIFE, OBJECT_STARTED);
	return true;
}

void autostart_pools(struct hv *hv)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, hv->pools->all);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		g_autoptr(GError) error = NULL;
		struct entry *e = value;

		if (e->autostart && !e->active && !start(e, 0, &error))
			kv_log_warn("pool '%s' does not start with the daemon: %s", e->name, error->message);
	}
}

enum { CREATE_FLAGS = CREATE_WITH_BUILD | CREATE_OVERWRITE | CREATE_NO_OVERWRITE };

static bool create_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(xmlDoc) doc = NULL;
	struct entry *e;
	const char *xml;
	guint32 flags;

	g_variant_get(args, "(&su)", &xml, &flags);
	if (!call_check_flags(call, flags, CREATE_FLAGS | CREATE_VALIDATE, error))
		return false;
	doc = parse(call, xml, error);
	e = doc ? registry_define(call->hv->pools, doc, true, error) : NULL;
	if (!e)
		return false;
	doc = NULL;
	if (start(e, flags, error))
		return answer(e, ret);
	if (!e->persistent)
		registry_remove(e);
	return false;
}

static bool create(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct entry *e = registry_of_args(call->hv->pools, args, error);
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!e || !call_check_flags(call, flags, CREATE_FLAGS, error))
		return false;
	if (e->active && call->hv->driver->test_rules)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "storage pool '%s' is active", e->name);
	if (e->active)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "storage pool '%s' is already active", e->name);
	return start(e, flags, error);
}

static bool build_or_erase(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	bool builds = call->proc->number == RPC_STORAGE_POOL_BUILD;
	struct pool *p = pool_of_args(call, args, false, error);
	const struct storage *storage = p ? storage_of(call, error) : NULL;
	bool (*func)(struct pool *, unsigned, GError **);
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!storage)
		return false;
	if (p->entry->active)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "storage pool '%s' is already active", p->entry->name);
	func = builds ? storage->build : storage->erase;
	if (!func)
		return handler_unsupported(call, args, ret, error);
	if (!func(p, flags, error))
		return false;
	registry_event(p->entry, EVENT_LIFE, builds ? OBJECT_CREATED : OBJECT_DELETED);
	return true;
}

static bool not_busy(const struct pool *p, GError **error)
{
	return !p->busy ||
	       rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "pool '%s' has asynchronous jobs running.", p->entry->name);
}

static bool destroy(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p = pool_of_args(call, args, true, error);
	struct entry *e;

	if (!p || !not_busy(p, error) || (call->hv->driver->storage->stop && !call->hv->driver->storage->stop(p, error)))
		return false;
	e = p->entry;
	e->active = false;
	g_clear_pointer(&e->live, xmlFreeDoc);
	g_ptr_array_set_size(p->volumes, 0);
	registry_event(e, EVENT_LIFE, OBJECT_STOPPED);
	if (!e->persistent)
		registry_remove(e);
	return true;
}

static bool refresh(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p = pool_of_args(call, args, true, error);
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!p || !call_check_flags(call, flags, 0, error) || !not_busy(p, error) ||
	    !call->hv->driver->storage->refresh(p, error))
		return false;
	registry_event(p->entry, EVENT_REFRESH, -1);
	return true;
}

static bool undefine(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p = pool_of_args(call, args, false, error);
	struct entry *e = p ? p->entry : NULL;

	if (!e)
		return false;
	if (e->active && call->hv->driver->test_rules)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "storage pool '%s' is active", e->name);
	if (e->active)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "storage pool '%s' is still active", e->name);
	e->persistent = false;
	if (!registry_store(e, error)) {
		e->persistent = true;
		return false;
	}
	registry_event(e, EVENT_LIFE, OBJECT_UNDEFINED);
	registry_remove(e);
	return true;
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler pool_handlers[] = {
	{ RPC_CONNECT_LIST_ALL_STORAGE_POOLS, list_all, LOOK, "connect:search-storage-pools" },
	{ RPC_CONNECT_NUM_OF_STORAGE_POOLS, number, LOOK, "connect:search-storage-pools" },
	{ RPC_CONNECT_NUM_OF_DEFINED_STORAGE_POOLS, number, LOOK, "connect:search-storage-pools" },
	{ RPC_CONNECT_LIST_STORAGE_POOLS, names, LOOK, "connect:search-storage-pools" },
	{ RPC_CONNECT_LIST_DEFINED_STORAGE_POOLS, names, LOOK, "connect:search-storage-pools" },
	{ RPC_STORAGE_POOL_LOOKUP_BY_NAME, by_name, LOOK, "storage-pool:getattr" },
	{ RPC_STORAGE_POOL_LOOKUP_BY_UUID, by_uuid, LOOK, "storage-pool:getattr" },
	{ RPC_STORAGE_POOL_LOOKUP_BY_VOLUME, by_volume, LOOK, "storage-pool:getattr" },
	{ RPC_STORAGE_POOL_LOOKUP_BY_TARGET_PATH, by_path, LOOK, "storage-pool:getattr" },
	{ RPC_STORAGE_POOL_IS_ACTIVE, flag, LOOK, "storage-pool:read" },
	{ RPC_STORAGE_POOL_IS_PERSISTENT, flag, LOOK, "storage-pool:read" },
	{ RPC_STORAGE_POOL_GET_AUTOSTART, flag, LOOK, "storage-pool:read" },
	{ RPC_STORAGE_POOL_GET_INFO, get_info, LOOK, "storage-pool:read" },
	{ RPC_STORAGE_POOL_GET_XML_DESC, get_xml, LOOK, "storage-pool:read" },
	{ RPC_STORAGE_POOL_SET_AUTOSTART, set_autostart, 0, "storage-pool:write" },
	{ RPC_STORAGE_POOL_DEFINE_XML, define, 0, "storage-pool:write" },
	{ RPC_STORAGE_POOL_CREATE_XML, create_xml, 0, "storage-pool:start" },
	{ RPC_STORAGE_POOL_CREATE, create, 0, "storage-pool:start" },
	{ RPC_STORAGE_POOL_BUILD, build_or_erase, 0, "storage-pool:format" },
	{ RPC_STORAGE_POOL_DELETE, build_or_erase, 0, "storage-pool:format" },
	{ RPC_STORAGE_POOL_DESTROY, destroy, 0, "storage-pool:stop" },
	{ RPC_STORAGE_POOL_REFRESH, refresh, 0, "storage-pool:refresh" },
	{ RPC_STORAGE_POOL_UNDEFINE, undefine, 0, "storage-pool:delete" },
	{ 0 },
};
