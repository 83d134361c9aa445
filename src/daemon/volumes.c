/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Volumes of storage pools by libvirt's rules (storage.h). */
#include <string.h>

#include "hv.h"
#include "storage.h"
#include "stream.h"

enum { CREATE_PREALLOC = 1, CREATE_REFLINK = 2, CREATE_VALIDATE = 4 };
enum { DELETE_ZEROED = 1, DELETE_WITH_SNAPSHOTS = 2 };
enum { RESIZE_ALLOCATE = 1, RESIZE_DELTA = 2, RESIZE_SHRINK = 4 };
enum { INFO_PHYSICAL = 1, TYPE_FILE = 0, WIPE_ALGORITHMS = 10 };

void volume_free(struct volume *v)
{
	xmlFreeDoc(v->doc);
	g_free(v->name);
	g_free(v->path);
	g_free(v);
}

struct volume *volume_new(const char *name, const char *path, xmlDoc *doc)
{
	struct volume *v = g_new0(struct volume, 1);

	*v = (struct volume){ g_strdup(name), g_strdup(path), doc };
	object_set_text(OBJECT_VOLUME, doc, "key", path);
	object_set_text(OBJECT_VOLUME, doc, "target/path", path);
	return v;
}

static void set_size(xmlDoc *doc, const char *element, guint64 bytes)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, bytes), *unit = g_strconcat(element, "/@unit", NULL);

	object_set_text(OBJECT_VOLUME, doc, element, text);
	object_set_text(OBJECT_VOLUME, doc, unit, "bytes");
}

void volume_set_sizes(struct volume *v, guint64 capacity, guint64 allocation)
{
	v->capacity = capacity;
	v->allocation = v->physical = allocation;
	set_size(v->doc, "capacity", capacity);
	set_size(v->doc, "allocation", allocation);
}

struct volume *pool_find_volume(struct pool *p, const char *name)
{
	for (unsigned i = 0; i < p->volumes->len; i++) {
		struct volume *v = p->volumes->pdata[i];

		if (strcmp(v->name, name) == 0)
			return v;
	}
	return NULL;
}

static GVariant *handle(const struct pool *p, const struct volume *v)
{
	return g_variant_new("(sss)", p->entry->name, v->name, v->path);
}

static bool answer(const struct pool *p, const struct volume *v, GVariant **ret)
{
	*ret = g_variant_new("(@(sss))", handle(p, v));
	return true;
}

/* ---- lists, lookups ---- */

static bool list_all(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p = pool_of_args(call, args, false, error);
	GVariantBuilder list;
	guint32 flags;
	gint32 wants;

	g_variant_get_child(args, 1, "i", &wants);
	g_variant_get_child(args, 2, "u", &flags);
	if (!p || !call_check_flags(call, flags, 0, error))
		return false;
	if (!p->entry->active)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "storage pool is not active");
	g_variant_builder_init(&list, G_VARIANT_TYPE("a(sss)"));
	for (unsigned i = 0; i < p->volumes->len && wants; i++)
		g_variant_builder_add_value(&list, handle(p, p->volumes->pdata[i]));
	*ret = g_variant_new("(a(sss)u)", &list, p->volumes->len);
	return true;
}

static bool number(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct pool *p = pool_of_args(call, args, true, error);

	if (!p)
		return false;
	*ret = g_variant_new("(i)", p->volumes->len);
	return true;
}

static bool names(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct pool *p = pool_of_args(call, args, true, error);
	GVariantBuilder list;
	gint32 room;

	if (!p)
		return false;
	g_variant_get_child(args, 1, "i", &room);
	g_variant_builder_init(&list, G_VARIANT_TYPE("as"));
	for (unsigned i = 0; i < p->volumes->len && (gint32)i < room; i++)
		g_variant_builder_add(&list, "s", ((struct volume *)p->volumes->pdata[i])->name);
	*ret = g_variant_new("(as)", &list);
	return true;
}

static bool by_name(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p = pool_of_args(call, args, true, error);
	const struct volume *v;
	const char *name;

	if (!p)
		return false;
	g_variant_get_child(args, 1, "&s", &name);
	v = pool_find_volume(p, name);
	return v ? answer(p, v, ret)
		 : rpc_fail(error, VIR_ERR_NO_STORAGE_VOL, "no storage vol with matching name '%s'", name);
}

/* By key or path, which are the same here, in any active pool. */
static bool by_path(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	bool key = call->proc->number == RPC_STORAGE_VOL_LOOKUP_BY_KEY;
	GHashTableIter iter;
	gpointer value;
	const char *path;

	g_variant_get(args, "(&s)", &path);
	g_hash_table_iter_init(&iter, call->hv->pools->all);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct pool *p = pool_of(value);

		for (unsigned i = 0; p->entry->active && i < p->volumes->len; i++)
			if (strcmp(((struct volume *)p->volumes->pdata[i])->path, path) == 0)
				return answer(p, p->volumes->pdata[i], ret);
	}
	return rpc_fail(error, VIR_ERR_NO_STORAGE_VOL,
			key ? "no storage vol with matching key %s" : "no storage vol with matching path '%s'", path);
}

/* ---- one ---- */

/* Of the volume's handle at a place of args. */
static struct volume *find(struct call *call, GVariant *args, unsigned at, struct pool **ret, GError **error)
{
	const char *pool, *name;
	struct entry *e;
	struct volume *v;

	g_variant_get_child(args, at, "(&s&s&s)", &pool, &name, NULL);
	e = registry_by_name(call->hv->pools, pool);
	if (!e) {
		rpc_fail(error, VIR_ERR_NO_STORAGE_POOL, "no storage pool with matching name '%s'", pool);
		return NULL;
	}
	if (!e->active) {
		rpc_fail(error, VIR_ERR_OPERATION_INVALID, "storage pool '%s' is not active", pool);
		return NULL;
	}
	*ret = pool_of(e);
	v = pool_find_volume(*ret, name);
	if (!v)
		rpc_fail(error, VIR_ERR_NO_STORAGE_VOL, "no storage vol with matching name '%s'", name);
	return v;
}

static bool get_info(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p;
	const struct volume *v = find(call, args, 0, &p, error);
	guint32 flags = 0;

	if (g_variant_n_children(args) > 1)
		g_variant_get_child(args, 1, "u", &flags);
	if (!v || !call_check_flags(call, flags, INFO_PHYSICAL, error))
		return false;
	*ret = g_variant_new("(itt)", TYPE_FILE, v->capacity, flags & INFO_PHYSICAL ? v->physical : v->allocation);
	return true;
}

static bool get_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p;
	const struct volume *v = find(call, args, 0, &p, error);
	g_autofree char *xml = NULL;

	if (!v)
		return false;
	xml = object_format(OBJECT_VOLUME, v->doc, 0);
	*ret = g_variant_new("(s)", xml);
	return true;
}

static bool get_path(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p;
	const struct volume *v = find(call, args, 0, &p, error);

	if (!v)
		return false;
	*ret = g_variant_new("(s)", v->path);
	return true;
}

/* ---- changes ---- */

/* Its place is in the pool's folder. */
static struct volume *new_volume(struct call *call, struct pool *p, const char *xml, const struct volume *from,
				 GError **error)
{
	g_autoptr(xmlDoc) doc = object_parse(OBJECT_VOLUME, xml, -1, call->hv->driver->def_flags, error);
	const char *name = doc ? xml_text(xmlDocGetRootElement(doc), "name") : NULL,
		   *folder = xml_text(entry_root(p->entry), "target/path");
	g_autofree char *path = NULL;
	struct volume *v;
	guint64 capacity = 0, allocation;

	if (!doc)
		return NULL;
	if (!name || strchr(name, '/')) {
		rpc_fail(error, VIR_ERR_XML_ERROR, "volume name '%s' cannot contain '/'", name ? name : "");
		return NULL;
	}
	if (pool_find_volume(p, name)) {
		if (call->hv->driver->test_rules)
			rpc_fail(error, VIR_ERR_OPERATION_FAILED, "storage vol already exists");
		else
			rpc_fail(error, VIR_ERR_STORAGE_VOL_EXIST, "'%s'", name);
		return NULL;
	}
	xml_number(xmlDocGetRootElement(doc), "capacity", &capacity);
	if (from && capacity < from->capacity)
		capacity = from->capacity;
	allocation = capacity;
	xml_number(xmlDocGetRootElement(doc), "allocation", &allocation);
	path = g_build_filename(folder ? folder : "/", name, NULL);
	v = volume_new(name, path, g_steal_pointer(&doc));
	volume_set_sizes(v, capacity, allocation);
	return v;
}

static bool create(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	bool clone = call->proc->number == RPC_STORAGE_VOL_CREATE_XML_FROM;
	struct pool *p = pool_of_args(call, args, true, error), *other;
	const struct volume *from = NULL;
	struct volume *v;
	const char *xml;
	guint32 flags;
	bool ok;

	g_variant_get_child(args, 1, "&s", &xml);
	g_variant_get_child(args, clone ? 3 : 2, "u", &flags);
	if (!p || !call_check_flags(call, flags, CREATE_PREALLOC | CREATE_REFLINK | CREATE_VALIDATE, error))
		return false;
	if (clone && !(from = find(call, args, 2, &other, error)))
		return false;
	v = new_volume(call, p, xml, from, error);
	if (!v)
		return false;
	p->busy++;
	ok = call->hv->driver->storage->create(p, v, from, flags, error);
	p->busy--;
	if (!ok) {
		volume_free(v);
		return false;
	}
	g_ptr_array_add(p->volumes, v);
	return answer(p, v, ret);
}

static bool remove_volume(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p;
	struct volume *v = find(call, args, 0, &p, error);
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!v || !call_check_flags(call, flags, DELETE_ZEROED | DELETE_WITH_SNAPSHOTS, error) ||
	    !call->hv->driver->storage->remove(p, v, flags, error))
		return false;
	g_ptr_array_remove(p->volumes, v);
	return true;
}

static bool resize(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p;
	struct volume *v = find(call, args, 0, &p, error);
	guint64 bytes;
	guint32 flags;

	g_variant_get_child(args, 1, "t", &bytes);
	g_variant_get_child(args, 2, "u", &flags);
	if (!v || !call_check_flags(call, flags, RESIZE_ALLOCATE | RESIZE_DELTA | RESIZE_SHRINK, error))
		return false;
	if (!call->hv->driver->storage->resize)
		return handler_unsupported(call, args, ret, error);
	if (flags & RESIZE_DELTA)
		bytes = flags & RESIZE_SHRINK ? (v->capacity > bytes ? v->capacity - bytes : 0) : v->capacity + bytes;
	if (bytes < v->capacity && !(flags & RESIZE_SHRINK))
		return rpc_fail(error, VIR_ERR_INVALID_ARG,
				"Can't shrink capacity below current capacity unless shrink flag explicitly "
				"specified");
	return call->hv->driver->storage->resize(p, v, bytes, flags, error);
}

static bool wipe(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct pool *p;
	struct volume *v = find(call, args, 0, &p, error);
	guint32 algorithm = 0;

	if (g_variant_n_children(args) > 2)
		g_variant_get_child(args, 1, "u", &algorithm);
	if (!v)
		return false;
	if (!call->hv->driver->storage->wipe)
		return handler_unsupported(call, args, ret, error);
	if (algorithm >= WIPE_ALGORITHMS)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "wiping algorithm %u not supported", algorithm);
	return call->hv->driver->storage->wipe(p, v, algorithm, error);
}

static bool transfer(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	bool up = call->proc->number == RPC_STORAGE_VOL_UPLOAD;
	struct pool *p;
	struct volume *v = find(call, args, 0, &p, error);
	guint64 offset, length;
	guint32 flags;
	int fd;

	g_variant_get_child(args, 1, "t", &offset);
	g_variant_get_child(args, 2, "t", &length);
	g_variant_get_child(args, 3, "u", &flags);
	if (!v || !call_check_flags(call, flags, 0, error))
		return false;
	if (!call->hv->driver->storage->open)
		return handler_unsupported(call, args, ret, error);
	fd = call->hv->driver->storage->open(p, v, up, error);
	return fd >= 0 &&
	       stream_open_file(call, fd, offset, length, up ? STREAM_FROM_CLIENT : STREAM_TO_CLIENT, NULL, NULL, error);
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler volume_handlers[] = {
	{ RPC_STORAGE_POOL_LIST_ALL_VOLUMES, list_all, LOOK, "storage-pool:search-storage-vols" },
	{ RPC_STORAGE_POOL_NUM_OF_VOLUMES, number, LOOK, "storage-pool:search-storage-vols" },
	{ RPC_STORAGE_POOL_LIST_VOLUMES, names, LOOK, "storage-pool:search-storage-vols" },
	{ RPC_STORAGE_VOL_LOOKUP_BY_NAME, by_name, LOOK, "storage-vol:getattr" },
	{ RPC_STORAGE_VOL_LOOKUP_BY_KEY, by_path, LOOK, "storage-vol:getattr" },
	{ RPC_STORAGE_VOL_LOOKUP_BY_PATH, by_path, LOOK, "storage-vol:getattr" },
	{ RPC_STORAGE_VOL_GET_INFO, get_info, LOOK, "storage-vol:read" },
	{ RPC_STORAGE_VOL_GET_INFO_FLAGS, get_info, LOOK, "storage-vol:read" },
	{ RPC_STORAGE_VOL_GET_XML_DESC, get_xml, LOOK, "storage-vol:read" },
	{ RPC_STORAGE_VOL_GET_PATH, get_path, LOOK, "storage-vol:getattr" },
	{ RPC_STORAGE_VOL_CREATE_XML, create, 0, "storage-vol:create" },
	{ RPC_STORAGE_VOL_CREATE_XML_FROM, create, 0, "storage-vol:create" },
	{ RPC_STORAGE_VOL_DELETE, remove_volume, 0, "storage-vol:delete" },
	{ RPC_STORAGE_VOL_RESIZE, resize, 0, "storage-vol:resize" },
	{ RPC_STORAGE_VOL_WIPE, wipe, 0, "storage-vol:format" },
	{ RPC_STORAGE_VOL_WIPE_PATTERN, wipe, 0, "storage-vol:format" },
	{ RPC_STORAGE_VOL_UPLOAD, transfer, 0, "storage-vol:data-write" },
	{ RPC_STORAGE_VOL_DOWNLOAD, transfer, 0, "storage-vol:data-read" },
	{ 0 },
};
