/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that change pools: defined, built, started, looked at again, stopped, deleted. */
#include <string.h>

#include "domain-def.h"
#include "objects.h"
#include "pools.h"

enum { CREATE_BUILD = 1, CREATE_OVERWRITE = 2, CREATE_NO_OVERWRITE = 4, CREATE_VALIDATE = 8 };
enum { DEFINE_VALIDATE = 1, DELETE_ZEROED = 1 };

static bool no_pools(struct call *call, GError **error)
{
	return !call->hv->driver->storage && !handler_unsupported(call, NULL, NULL, error);
}

/* Lets go of the lock around what the backend does with the pool's place; begun. */
typedef bool place_func(const struct pool_place *p, GError **error);
static bool at_place(struct pool *p, place_func *func, GError **error)
{
	g_auto(PoolPlace) place = {0};
	bool ok;

	if (!func)
		return true;
	pool_place_of(p, &place);
	state_release();
	ok = func(&place, error);
	state_acquire();
	return ok;
}

static bool build_it(struct pool *p, unsigned flags, GError **error)
{
	const struct pool_backend *backend = pool_backend(p);
	g_auto(PoolPlace) place = {0};
	bool ok;

	if (!backend->build)
		return true;
	pool_place_of(p, &place);
	state_release();
	ok = backend->build(&place, flags, error);
	state_acquire();
	return ok;
}

static unsigned build_flags(unsigned create_flags)
{
	return (create_flags & CREATE_OVERWRITE ? BUILD_OVERWRITE : 0) |
	       (create_flags & CREATE_NO_OVERWRITE ? BUILD_NO_OVERWRITE : 0);
}

static bool check_overwrite(unsigned flags, unsigned no, unsigned yes, const char *prefix, GError **error)
{
	if ((flags & (no | yes)) != (no | yes))
		return true;
	g_set_error(error, RPC_ERRORS, VIR_ERR_INVALID_ARG, "Flags '%s_OVERWRITE' and '%s_NO_OVERWRITE' are mutually exclusive",
		    prefix, prefix);
	return false;
}

static bool start_it(struct pool *p, unsigned flags, GError **error)
{
	const struct pool_backend *backend = pool_backend(p);

	if (flags & (CREATE_BUILD | CREATE_OVERWRITE | CREATE_NO_OVERWRITE) && !build_it(p, build_flags(flags), error))
		return false;
	if (!at_place(p, backend->start, error) || !pool_scan(p, error))
		return false;
	p->entry->active = true;
	pool_store_status(p);
	registry_event(p->entry, POOL_EVENT_LIFE, OBJECT_STARTED);
	return true;
}

static unsigned create_flags(const struct call *call)
{
	return call->hv->driver->storage->memory ? 0 : CREATE_BUILD | CREATE_OVERWRITE | CREATE_NO_OVERWRITE;
}

/* ---- from XML ---- */

static xmlDoc *parse(struct call *call, GVariant *args, guint32 validate, GError **error)
{
	const char *xml;
	guint32 flags;

	g_variant_get(args, "(&su)", &xml, &flags);
	return object_parse(OBJECT_POOL, xml, -1, call->hv->driver->def_flags | (flags & validate ? DEF_VALIDATE : 0), error);
}

/* The turn of the pool that is to have this definition: one that is just being started keeps its own. NULL: there is none yet. */
static bool begin_old(struct call *call, const xmlDoc *doc, struct pool **ret, GError **error)
{
	struct entry *e = registry_of_doc(call->hv->pools, doc);
	g_autoptr(GError) why = NULL;

	*ret = e ? pool_of(e) : NULL;
	if (!e || pool_begin(*ret, &why))
		return true;
	*ret = NULL;
	if (!registry_of_doc(call->hv->pools, doc)) /* it has gone meanwhile */
		return true;
	g_propagate_error(error, g_steal_pointer(&why));
	return false;
}

static struct entry *define(struct call *call, xmlDoc *doc, bool transient, GError **error)
{
	g_autoptr(xmlDoc) own = doc;
	struct entry *e;

	if (!pool_check_source(call->hv, own, error))
		return NULL;
	if (!transient)
		return registry_define_stored(call->hv->pools, &own, error);
	e = registry_define(call->hv->pools, own, true, error);
	if (e)
		own = NULL;
	return e;
}

static bool define_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(xmlDoc) doc = NULL;
	struct pool *old = NULL;
	struct entry *e;
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (no_pools(call, error) || !call_check_flags(call, flags, DEFINE_VALIDATE, error))
		return false;
	doc = parse(call, args, DEFINE_VALIDATE, error);
	if (!doc || !begin_old(call, doc, &old, error))
		return false;
	e = define(call, g_steal_pointer(&doc), false, error);
	if (e) {
		registry_event(e, POOL_EVENT_LIFE, OBJECT_DEFINED);
		*ret = g_variant_new("(@(say))", entry_handle(e));
	}
	if (old)
		pool_end(old);
	return e;
}

static bool create_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(xmlDoc) doc = NULL;
	struct pool *p = NULL;
	struct entry *e;
	guint32 flags;
	bool ok;

	g_variant_get_child(args, 1, "u", &flags);
	if (no_pools(call, error) || !call_check_flags(call, flags, create_flags(call) | CREATE_VALIDATE, error) ||
	    !check_overwrite(flags, CREATE_NO_OVERWRITE, CREATE_OVERWRITE, "VIR_STORAGE_POOL_CREATE_WITH_BUILD", error))
		return false;
	doc = parse(call, args, CREATE_VALIDATE, error);
	if (!doc || !begin_old(call, doc, &p, error))
		return false;
	e = define(call, g_steal_pointer(&doc), true, error);
	if (e && !p && pool_begin(pool_of(e), error)) /* at once: it is new */
		p = pool_of(e);
	ok = e && p && start_it(p, flags, error);
	if (ok)
		*ret = g_variant_new("(@(say))", entry_handle(p->entry));
	else if (e && p)
		pool_stopped(p);
	if (p)
		pool_end(p);
	return ok;
}

/* ---- life ---- */

typedef bool pool_func(struct call *call, struct pool *p, guint32 flags, GError **error);

/* What they have in common: the pool, its turn. Flags are the second argument of those that have any. */
static bool with_pool(struct call *call, GVariant *args, unsigned flags_known, pool_func *func, GError **error)
{
	g_autoptr(Pool) p = pool_of_args(call, args, error);
	guint32 flags = 0;
	bool ok;

	if (g_variant_n_children(args) > 1)
		g_variant_get_child(args, 1, "u", &flags);
	if (!p || !call_check_flags(call, flags, flags_known, error) || !pool_begin(p, error))
		return false;
	ok = func(call, p, flags, error);
	pool_end(p);
	return ok;
}

static bool do_build(struct call *call, struct pool *p, guint32 flags, GError **error)
{
	if (!pool_require_inactive(p, "already", error) ||
	    !check_overwrite(flags, BUILD_NO_OVERWRITE, BUILD_OVERWRITE, "VIR_STORAGE_POOL_BUILD", error) ||
	    !build_it(p, flags, error))
		return false;
	registry_event(p->entry, POOL_EVENT_LIFE, OBJECT_CREATED);
	return true;
}

static bool build(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_pool(call, args, BUILD_NO_OVERWRITE | BUILD_OVERWRITE, do_build, error);
}

static bool do_create(struct call *call, struct pool *p, guint32 flags, GError **error)
{
	if (!pool_require_inactive(p, "already", error) ||
	    !check_overwrite(flags, CREATE_NO_OVERWRITE, CREATE_OVERWRITE, "VIR_STORAGE_POOL_CREATE_WITH_BUILD", error))
		return false;
	return start_it(p, flags, error);
}

static bool create(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return !no_pools(call, error) && with_pool(call, args, create_flags(call), do_create, error);
}

static bool do_destroy(struct call *call, struct pool *p, guint32 flags, GError **error)
{
	if (!pool_require_active(p, error) || !pool_require_no_jobs(p, error) || !at_place(p, pool_backend(p)->stop, error))
		return false;
	registry_event(p->entry, POOL_EVENT_LIFE, OBJECT_STOPPED);
	pool_stopped(p);
	return true;
}

static bool destroy(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_pool(call, args, 0, do_destroy, error);
}

static bool do_delete(struct call *call, struct pool *p, guint32 flags, GError **error)
{
	if (!pool_require_inactive(p, "still", error) || !pool_require_no_jobs(p, error) ||
	    !at_place(p, pool_backend(p)->remove, error))
		return false;
	registry_event(p->entry, POOL_EVENT_LIFE, OBJECT_DELETED);
	return true;
}

static bool delete (struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_pool(call, args, DELETE_ZEROED, do_delete, error);
}

static bool do_undefine(struct call *call, struct pool *p, guint32 flags, GError **error)
{
	struct entry *e = p->entry;

	if (!pool_require_inactive(p, "still", error) || !pool_require_no_jobs(p, error))
		return false;
	e->persistent = false;
	if (!registry_store(e, error)) {
		e->persistent = true;
		return false;
	}
	registry_event(e, POOL_EVENT_LIFE, OBJECT_UNDEFINED);
	registry_remove(e);
	return true;
}

static bool undefine(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_pool(call, args, 0, do_undefine, error);
}

static bool do_refresh(struct call *call, struct pool *p, guint32 flags, GError **error)
{
	if (!pool_require_active(p, error) || !pool_require_no_jobs(p, error))
		return false;
	if (!pool_scan(p, error)) {
		registry_event(p->entry, POOL_EVENT_LIFE, OBJECT_STOPPED);
		pool_stopped(p);
		return false;
	}
	pool_store_status(p);
	registry_event(p->entry, POOL_EVENT_REFRESH, -1);
	return true;
}

static bool refresh(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return with_pool(call, args, 0, do_refresh, error);
}

static bool set_autostart(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct entry *e = registry_of_args(call->hv->pools, args, error);
	bool before;
	gint32 on;

	g_variant_get_child(args, 1, "i", &on);
	if (!e)
		return false;
	if (!e->persistent)
		return rpc_fail(error, call->hv->driver->storage->memory ? VIR_ERR_INVALID_ARG : VIR_ERR_INTERNAL_ERROR,
				"pool has no config file");
	before = e->autostart;
	e->autostart = on != 0;
	if (registry_store(e, error))
		return true;
	e->autostart = before;
	return false;
}

const struct handler pool_handlers[] = {
	{RPC_STORAGE_POOL_DEFINE_XML, define_xml, 0},
	{RPC_STORAGE_POOL_CREATE_XML, create_xml, 0},
	{RPC_STORAGE_POOL_BUILD, build, 0},
	{RPC_STORAGE_POOL_CREATE, create, 0},
	{RPC_STORAGE_POOL_DESTROY, destroy, 0},
	{RPC_STORAGE_POOL_DELETE, delete, 0},
	{RPC_STORAGE_POOL_UNDEFINE, undefine, 0},
	{RPC_STORAGE_POOL_REFRESH, refresh, 0},
	{RPC_STORAGE_POOL_SET_AUTOSTART, set_autostart, 0},
	{0},
};
