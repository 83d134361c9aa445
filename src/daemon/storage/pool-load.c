/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hypervisor's pools as they are found when it is opened: the stored ones, those that were active when the daemon ended (they
 * are looked at again), and once after each boot those that start by themselves. Called by drivers and hv.c.
 */
#include "autostart.h"
#include "log.h"
#include "objects.h"
#include "pools.h"
#include "store.h"
#include "workers.h"

struct pool_files {
	struct store *store, *status;
};

static void load(struct hv *hv, struct store *s, const struct store_entry *entry, bool active)
{
	struct entry *e = registry_by_name(hv->pools, entry->name);
	g_autoptr(GError) error = NULL;
	g_autofree char *xml = NULL;
	g_autoptr(xmlDoc) doc = NULL;

	if (!e) {
		xml = store_read(s, entry->name, &error);
		doc = xml ? object_parse(OBJECT_POOL, xml, -1, 0, &error) : NULL;
		e = doc ? registry_define(hv->pools, doc, active, &error) : NULL;
	}
	if (!e) {
		kv_log_error("the definition of pool '%s' is left alone: %s", entry->name, error->message);
		return;
	}
	doc = NULL;
	e->active |= active;
	e->autostart |= entry->autostart;
}

static void add_stored(void *opaque, const struct store_entry *entry)
{
	struct hv *hv = opaque;

	load(hv, hv->pool_files->store, entry, false);
}

static void add_active(void *opaque, const struct store_entry *entry)
{
	struct hv *hv = opaque;

	load(hv, hv->pool_files->status, entry, true);
}

/* ---- at once behind that, in a worker ---- */

static bool bring_up(struct pool *p, GError **error)
{
	const struct pool_backend *backend = pool_backend(p);
	g_auto(PoolPlace) place = {0};
	bool was_active = p->entry->active, ok;

	pool_place_of(p, &place);
	state_release();
	ok = was_active ? backend->is_there(&place) : backend->start(&place, error);
	state_acquire();
	if (was_active && !ok)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "'%s' is not there any more", place.path);
	return ok && pool_scan(p, error);
}

static void bring_up_later(void *data)
{
	struct pool *p = data;
	struct hv *hv = p->hv;
	g_autoptr(GError) error = NULL;
	bool was_active = p->entry->active;

	if (!bring_up(p, &error)) {
		kv_log_error("Failed to %s storage pool '%s': %s", was_active ? "restart" : "autostart", p->name, error->message);
		pool_stopped(p);
	} else if (!was_active) {
		p->entry->active = true;
		pool_store_status(p);
		registry_event(p->entry, POOL_EVENT_LIFE, OBJECT_STARTED);
	}
	pool_end(p);
	hv_unref(hv);
}

static void bring_later(struct entry *e)
{
	struct pool *p = pool_of(e);

	if (!pool_begin(p, NULL))
		return;
	hv_ref(p->hv);
	workers_run(bring_up_later, p);
}

static void bring_all(struct hv *hv, bool active)
{
	g_autoptr(GList) list = g_hash_table_get_values(hv->pools->all);

	for (GList *l = list; l; l = l->next) {
		struct entry *e = l->data;

		if (active ? e->active : !e->active && e->autostart)
			bring_later(e);
	}
}

void autostart_pools(struct hv *hv)
{
	if (hv->pool_files && hv_first_since_boot(hv, "pools-started"))
		bring_all(hv, false);
}

bool pools_open(struct hv *hv, GError **error)
{
	g_autofree char *config = g_build_filename(hv->config_dir, "storage", NULL);
	g_autofree char *state = g_build_filename(hv->state_dir, "storage", NULL);
	struct pool_files *files = hv->pool_files = g_new0(struct pool_files, 1);

	files->store = store_open(config, "pool", 0, error);
	files->status = files->store ? store_open(state, "pool", STORE_STATUS, error) : NULL;
	if (!files->status)
		return false;
	store_each(files->store, add_stored, hv);
	store_each(files->status, add_active, hv);
	bring_all(hv, true);
	return true;
}

void pools_leave(struct hv *hv)
{
	store_settle(hv->pool_files->store);
}

void pools_close(struct hv *hv)
{
	if (!hv->pool_files)
		return;
	store_free(hv->pool_files->status);
	store_free(hv->pool_files->store);
	g_clear_pointer(&hv->pool_files, g_free);
}

/* ---- what is written ---- */

bool pools_store(struct hv *hv, const char *name, const char *uuid, const char *xml, bool autostart, GError **error)
{
	struct store *s = hv->pool_files->store;

	if (!xml)
		return store_remove(s, name, error);
	return store_write(s, name, uuid, xml, error) && store_set_autostart(s, name, autostart, error);
}

void pool_store_status(struct pool *p)
{
	const struct entry *e = p->entry;
	struct store *s = p->hv->pool_files ? p->hv->pool_files->status : NULL;
	g_autoptr(GError) error = NULL;
	g_autofree char *xml = NULL;

	if (!s)
		return;
	if (e->active)
		xml = object_format(OBJECT_POOL, e->live ? e->live : e->doc, 0);
	if (e->active ? !store_write(s, e->name, e->uuid_text, xml, &error) : !store_remove(s, e->name, &error))
		kv_log_warn("what is active of pool '%s' is not noted: %s", p->name, error->message);
}
