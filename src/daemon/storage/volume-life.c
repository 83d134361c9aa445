/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that make volumes, change and remove them, and those that carry their bytes. */
#include <string.h>
#include <unistd.h>

#include "domain-def.h"
#include "log.h"
#include "objects.h"
#include "pools.h"
#include "stream.h"
#include "workers.h"

enum { CREATE_PREALLOC = 1, CREATE_REFLINK = 2, CREATE_VALIDATE = 4 };
enum { DELETE_ZEROED = 1, DELETE_WITH_SNAPSHOTS = 2 };

/* ---- what is to be made ---- */

struct making {
	struct volume *v; /* in the list as soon as it is being made; its facts are the plan's */
	char *cluster;
	bool nocow, allocates_all; /* nobody gave an allocation: as much as there is capacity */
};

static void making_clear(struct making *m)
{
	g_clear_pointer(&m->v, volume_unref);
	g_free(m->cluster);
}

static gint64 number_or_none(const xmlNode *root, const char *path, unsigned base)
{
	const char *text = xml_text(root, path);
	gint64 n;

	return text && g_ascii_string_to_signed(text, base, 0, G_MAXUINT32 - 1, &n, NULL) ? n : -1;
}

static bool take_facts(const xmlNode *root, struct making *m, GError **error)
{
	struct volume_facts *f = &m->v->facts;
	guint64 cluster;

	f->format = g_strdup(xml_text(root, "target/format/@type"));
	f->type = xml_is(root, "@type", "dir") || strcmp(f->format, "dir") == 0 ? VOLUME_DIR : VOLUME_FILE;
	xml_number(root, "capacity", &f->capacity);
	if (!xml_number(root, "allocation", &f->allocation))
		f->allocation = f->capacity;
	f->stat.mode = number_or_none(root, "target/permissions/mode", 8);
	f->stat.uid = number_or_none(root, "target/permissions/owner", 10);
	f->stat.gid = number_or_none(root, "target/permissions/group", 10);
	f->compat = g_strdup(xml_text(root, "target/compat"));
	f->lazy_refcounts = xml_child(root, "target/features/lazy_refcounts");
	if (xml_number(root, "target/clusterSize", &cluster) && cluster)
		m->cluster = g_strdup_printf("%" G_GUINT64_FORMAT, cluster);
	f->backing = g_strdup(xml_text(root, "backingStore/path"));
	if (f->backing) {
		const char *format = xml_text(root, "backingStore/format/@type");

		f->backing_format = g_strdup(format ? format : "raw");
	}
	m->nocow = xml_child(root, "target/nocow");
	m->allocates_all = f->allocation == f->capacity;
	return true;
}

static bool parse(struct call *call, struct pool *p, const char *xml, guint32 flags, struct making *m, GError **error)
{
	unsigned parse_flags = call->hv->driver->def_flags | (flags & CREATE_VALIDATE ? DEF_VALIDATE : 0);
	g_autoptr(xmlDoc) doc = object_parse(OBJECT_VOLUME, xml, -1, parse_flags, error);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;

	if (!doc)
		return false;
	m->v = volume_new(xml_text(entry_root(p->entry), "target/path"), xml_text(root, "name"));
	return take_facts(root, m, error);
}

static bool check_free(struct pool *p, const struct making *m, bool clone, GError **error)
{
	const struct pool_backend *backend = pool_backend(p);
	const char *name = m->v->name;
	bool there = pool_volume(p, name);

	if (there && backend->memory)
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "storage vol already exists");
	if (there && clone)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "storage volume name '%s' already in use.", name);
	if (there)
		return rpc_fail(error, VIR_ERR_STORAGE_VOL_EXIST, "'%s'", name);
	if (strchr(name, '/'))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "volume name '%s' cannot contain '/'", name);
	for (const char *c = name; *c; c++)
		if (g_ascii_iscntrl(*c))
			return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "a volume's name cannot contain control characters");
	if (backend->is_free && !backend->is_free(m->v->path))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "volume target path '%s' already exists", m->v->path);
	pool_count(p);
	if (backend->memory && m->v->facts.allocation > p->facts.available)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Not enough free space in pool for volume '%s'", name);
	return true;
}

/* ---- making it ---- */

static void take_room(struct pool *p, guint64 bytes)
{
	p->facts.allocation += bytes;
	p->facts.available -= MIN(p->facts.available, bytes);
}

static void give_room(struct pool *p, guint64 bytes)
{
	p->facts.allocation -= MIN(p->facts.allocation, bytes);
	p->facts.available += bytes;
}

/* Begun, and free meanwhile: what fills the volume may take its time. */
static bool make(struct pool *p, struct making *m, struct volume *source, guint32 flags, GError **error)
{
	const struct pool_backend *backend = pool_backend(p);
	struct volume *v = m->v;
	const struct volume_plan plan = {.name = v->name,
					 .path = v->path,
					 .facts = &v->facts,
					 .nocow = m->nocow,
					 .preallocate = flags & CREATE_PREALLOC,
					 .reflink = flags & CREATE_REFLINK,
					 .cluster = m->cluster,
					 .source = source};
	struct volume_facts facts = {0};
	bool ok;

	v->building = true;
	p->jobs++;
	g_ptr_array_add(p->volumes, volume_ref(v));
	pool_end(p);
	if (!backend->memory)
		state_release();
	ok = backend->create(&plan, error) && (!backend->look || backend->look(v->path, NULL, &facts, error));
	if (!backend->memory)
		state_acquire();
	p->jobs--;
	v->building = false;
	if (ok && backend->look) {
		volume_facts_clear(&v->facts);
		v->facts = facts;
	}
	if (ok)
		take_room(p, v->facts.allocation);
	else
		g_ptr_array_remove(p->volumes, v);
	return ok;
}

static bool create_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Pool) p = NULL;
	struct making m = {0};
	const char *xml;
	guint32 flags;
	bool ok;

	g_variant_get_child(args, 1, "&s", &xml);
	g_variant_get_child(args, 2, "u", &flags);
	if (!call_check_flags(call, flags, CREATE_PREALLOC | CREATE_VALIDATE, error))
		return false;
	p = pool_of_args(call, args, error);
	if (!p || !pool_begin(p, error))
		return false;
	ok = pool_require_active(p, error) && parse(call, p, xml, flags, &m, error) && check_free(p, &m, false, error);
	if (!ok)
		pool_end(p);
	ok = ok && make(p, &m, NULL, flags, error);
	if (ok)
		*ret = g_variant_new("(@(sss))", volume_handle(p, m.v));
	making_clear(&m);
	return ok;
}

/* Nobody removes or changes it until volume_done(), and its pool stays as it is. A reference of each. */
static void volume_use(struct pool *p, struct volume *v)
{
	pool_ref(p);
	volume_ref(v);
	p->jobs++;
	v->in_use++;
}

static void volume_done(struct pool *p, struct volume *v)
{
	p->jobs--;
	v->in_use--;
	volume_unref(v);
	pool_unref(p);
}

/* In use, with its facts as they are now; not under way itself. */
static struct volume *find_source(struct call *call, GVariant *args, struct pool **ret_pool, GError **error)
{
	g_autoptr(GVariant) handle = g_variant_get_child_value(args, 2);
	g_autoptr(GVariant) alone = g_variant_ref_sink(g_variant_new_tuple(&handle, 1));
	g_autoptr(Volume) v = NULL;
	struct pool *p = volume_of_args(call, alone, &v, error);
	bool ok;

	if (!p)
		return NULL;
	ok = !v->building || rpc_fail(error, VIR_ERR_OPERATION_INVALID, "volume '%s' is still being allocated.", v->name);
	ok = ok && volume_look(p, v, error);
	if (ok)
		volume_use(p, v);
	*ret_pool = p;
	pool_end(p);
	return ok ? v : NULL;
}

static bool copy(struct call *call, GVariant *args, struct volume *source, guint32 flags, GVariant **ret, GError **error)
{
	g_autoptr(Pool) p = pool_of_args(call, args, error);
	struct making m = {0};
	const char *xml;
	bool ok;

	g_variant_get_child(args, 1, "&s", &xml);
	if (!p || !pool_begin(p, error))
		return false;
	ok = pool_require_active(p, error) && parse(call, p, xml, flags, &m, error) && check_free(p, &m, true, error);
	if (ok) {
		struct volume_facts *f = &m.v->facts;

		f->capacity = MAX(f->capacity, source->facts.capacity);
		if (m.allocates_all)
			f->allocation = f->capacity;
		ok = make(p, &m, source, flags, error);
	} else {
		pool_end(p);
	}
	if (ok)
		*ret = g_variant_new("(@(sss))", volume_handle(p, m.v));
	making_clear(&m);
	return ok;
}

static bool create_from(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct volume *source;
	struct pool *from;
	guint32 flags;
	bool ok;

	g_variant_get_child(args, 3, "u", &flags);
	if (!call_check_flags(call, flags, CREATE_PREALLOC | CREATE_REFLINK | CREATE_VALIDATE, error))
		return false;
	source = find_source(call, args, &from, error);
	if (!source)
		return false;
	ok = copy(call, args, source, flags, ret, error);
	volume_done(from, source);
	return ok;
}

/* ---- changing it ---- */

static bool require_idle(const struct volume *v, GError **error)
{
	if (v->in_use)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "volume '%s' is still in use.", v->name);
	return !v->building || rpc_fail(error, VIR_ERR_OPERATION_INVALID, "volume '%s' is still being allocated.", v->name);
}

/* The volume of args, begun and idle: *ret_pool is the caller's to end. */
static struct volume *idle_of_args(struct call *call, GVariant *args, struct pool **ret_pool, GError **error)
{
	struct volume *v = NULL;
	struct pool *p = volume_of_args(call, args, &v, error);

	if (!p)
		return NULL;
	if (require_idle(v, error)) {
		*ret_pool = p;
		return v;
	}
	pool_end(p);
	volume_unref(v);
	return NULL;
}

static bool unsupported(struct call *call, bool there, GError **error)
{
	return !there && !handler_unsupported(call, NULL, NULL, error);
}

static bool delete (struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct pool_backend *backend = call->hv->driver->storage;
	g_autoptr(Volume) v = NULL;
	struct pool *p;
	guint32 flags;
	bool ok;

	g_variant_get_child(args, 1, "u", &flags);
	if (unsupported(call, backend, error) || !call_check_flags(call, flags, DELETE_ZEROED | DELETE_WITH_SNAPSHOTS, error))
		return false;
	v = idle_of_args(call, args, &p, error);
	if (!v)
		return false;
	state_release();
	ok = (!(flags & DELETE_ZEROED) || !backend->wipe || backend->wipe(v, WIPE_ZERO, error)) && backend->erase(v, error);
	state_acquire();
	if (ok) {
		give_room(p, v->facts.allocation);
		g_ptr_array_remove(p->volumes, v);
	}
	pool_end(p);
	return ok;
}

static bool check_size(const struct pool *p, const struct volume *v, guint64 *bytes, guint32 flags, GError **error)
{
	const struct volume_facts *f = &v->facts;
	guint64 more;

	if (flags & RESIZE_DELTA && flags & RESIZE_SHRINK)
		*bytes = f->capacity - MIN(f->capacity, *bytes);
	else if (flags & RESIZE_DELTA)
		*bytes = *bytes > G_MAXUINT64 - f->capacity ? G_MAXUINT64 : *bytes + f->capacity;
	if (*bytes < f->allocation && !(flags & RESIZE_SHRINK) && *bytes >= f->capacity)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "can't shrink capacity below existing allocation");
	if (*bytes < f->capacity && !(flags & RESIZE_SHRINK))
		return rpc_fail(error, VIR_ERR_INVALID_ARG,
				"Can't shrink capacity below current capacity unless shrink flag explicitly specified");
	more = flags & RESIZE_ALLOCATE && *bytes > f->allocation ? *bytes - f->allocation : 0;
	return more <= p->facts.available || rpc_fail(error, VIR_ERR_OPERATION_FAILED, "Not enough space left in storage pool");
}

static bool resize(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct pool_backend *backend = call->hv->driver->storage;
	g_autoptr(Volume) v = NULL;
	struct pool *p;
	guint64 bytes;
	guint32 flags;
	bool ok;

	g_variant_get_child(args, 1, "t", &bytes);
	g_variant_get_child(args, 2, "u", &flags);
	if (unsupported(call, backend && backend->resize, error) ||
	    !call_check_flags(call, flags, RESIZE_ALLOCATE | RESIZE_DELTA | RESIZE_SHRINK, error))
		return false;
	v = idle_of_args(call, args, &p, error);
	if (!v)
		return false;
	ok = volume_look(p, v, error) && check_size(p, v, &bytes, flags, error);
	if (ok) {
		guint64 before = v->facts.allocation;

		state_release();
		ok = backend->resize(v, bytes, flags, error);
		state_acquire();
		volume_look(p, v, NULL);
		if (v->facts.allocation > before)
			take_room(p, v->facts.allocation - before);
		else
			give_room(p, before - v->facts.allocation);
	}
	pool_end(p);
	return ok;
}

/* Takes as long as it takes: the pool is free meanwhile, the volume is not. */
static bool wipe_with(struct call *call, GVariant *args, guint32 algorithm, guint32 flags, GError **error)
{
	const struct pool_backend *backend = call->hv->driver->storage;
	g_autoptr(Volume) v = NULL;
	struct pool *p;
	bool ok;

	if (unsupported(call, backend && backend->wipe, error) || !call_check_flags(call, flags, 0, error))
		return false;
	if (algorithm >= WIPE_ALGORITHMS)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "wiping algorithm %d not supported", algorithm);
	v = idle_of_args(call, args, &p, error);
	if (!v)
		return false;
	volume_use(p, v);
	pool_end(p);
	state_release();
	ok = backend->wipe(v, algorithm, error);
	state_acquire();
	volume_done(p, v);
	return ok;
}

static bool wipe(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	return wipe_with(call, args, WIPE_ZERO, flags, error);
}

static bool wipe_pattern(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	guint32 algorithm, flags;

	g_variant_get_child(args, 1, "u", &algorithm);
	g_variant_get_child(args, 2, "u", &flags);
	return wipe_with(call, args, algorithm, flags, error);
}

/* ---- its bytes ---- */

/* What was uploaded changed sizes: the pool is looked at again, as libvirt does. */
static void refresh_later(void *data)
{
	struct pool *p = data;
	struct hv *hv = p->hv;
	g_autoptr(GError) error = NULL;

	if (pool_begin(p, &error)) {
		if (p->entry->active && !p->jobs && pool_scan(p, &error))
			registry_event(p->entry, POOL_EVENT_REFRESH, -1);
		else if (error)
			registry_event(p->entry, POOL_EVENT_LIFE, OBJECT_STOPPED), pool_stopped(p);
		pool_end(p);
	}
	if (error)
		kv_log_warn("Failed to refresh storage pool '%s': %s", p->name, error->message);
	pool_unref(p);
	hv_unref(hv);
}

static void uploaded(void *data, const GError *error)
{
	workers_run(refresh_later, data);
}

static bool carry(struct call *call, GVariant *args, bool upload, GError **error)
{
	enum { SPARSE_STREAM = 1 };
	const struct pool_backend *backend = call->hv->driver->storage;
	g_autoptr(Volume) v = NULL;
	struct pool *p;
	guint64 offset, length;
	guint32 flags;
	bool ok;
	int fd;

	g_variant_get_child(args, 1, "t", &offset);
	g_variant_get_child(args, 2, "t", &length);
	g_variant_get_child(args, 3, "u", &flags);
	if (unsupported(call, backend && backend->open, error) || !call_check_flags(call, flags, SPARSE_STREAM, error))
		return false;
	if (offset > G_MAXINT64 || length > G_MAXINT64)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "offset and length are below 2^63");
	v = idle_of_args(call, args, &p, error);
	if (!v)
		return false;
	state_release();
	fd = backend->open(v, upload, error);
	state_acquire();
	ok = fd >= 0 && stream_open_file(call, fd, offset, length, upload ? STREAM_FROM_CLIENT : STREAM_TO_CLIENT,
					 flags & SPARSE_STREAM, upload ? uploaded : NULL, upload ? pool_ref(p) : NULL, error);
	if (ok && upload)
		hv_ref(p->hv);
	else if (fd >= 0 && upload)
		pool_unref(p);
	pool_end(p);
	return ok;
}

static bool upload(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return carry(call, args, true, error);
}

static bool download(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return carry(call, args, false, error);
}

const struct handler volume_handlers[] = {
	{RPC_STORAGE_VOL_CREATE_XML, create_xml, 0},
	{RPC_STORAGE_VOL_CREATE_XML_FROM, create_from, 0},
	{RPC_STORAGE_VOL_DELETE, delete, 0},
	{RPC_STORAGE_VOL_RESIZE, resize, 0},
	{RPC_STORAGE_VOL_WIPE, wipe, 0},
	{RPC_STORAGE_VOL_WIPE_PATTERN, wipe_pattern, 0},
	{RPC_STORAGE_VOL_UPLOAD, upload, 0},
	{RPC_STORAGE_VOL_DOWNLOAD, download, 0},
	{0},
};
