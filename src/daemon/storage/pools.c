/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See pools.h: the objects, their rules, and where they are stored. Calls come from the pool-*.c and volume-*.c. */
#include "pools.h"

#include <string.h>
#include <unistd.h>

#include "objects.h"
#include "uuid.h"

enum { BUSY_SECONDS = 30 };
static const guint64 memory_capacity = 100ull << 30;

/* ---- objects ---- */

void volume_facts_clear(struct volume_facts *f)
{
	g_free(f->format);
	g_free(f->compat);
	g_free(f->backing);
	g_free(f->backing_format);
	*f = (struct volume_facts){0};
}

struct volume *volume_new(const char *folder, const char *name)
{
	struct volume *v = g_new0(struct volume, 1);

	v->refs = 1;
	v->name = g_strdup(name);
	v->path = g_build_filename(folder, name, NULL);
	return v;
}

struct volume *volume_ref(struct volume *v)
{
	v->refs++;
	return v;
}

void volume_unref(struct volume *v)
{
	if (--v->refs)
		return;
	volume_facts_clear(&v->facts);
	g_free(v->name);
	g_free(v->path);
	g_free(v);
}

struct pool *pool_ref(struct pool *p)
{
	p->refs++;
	return p;
}

void pool_unref(struct pool *p)
{
	if (--p->refs)
		return;
	g_ptr_array_unref(p->volumes);
	g_cond_clear(&p->idle);
	g_free(p->name);
	g_free(p);
}

static void pool_gone(void *own)
{
	struct pool *p = own;

	p->entry = NULL;
	g_cond_broadcast(&p->idle);
	pool_unref(p);
}

struct pool *pool_of(struct entry *e)
{
	struct pool *p = e->own;

	if (p)
		return p;
	p = g_new0(struct pool, 1);
	p->refs = 1;
	p->hv = e->of->hv;
	p->entry = e;
	p->name = g_strdup(e->name);
	p->volumes = g_ptr_array_new_with_free_func((GDestroyNotify)volume_unref);
	g_cond_init(&p->idle);
	e->own = p;
	e->of->free_own = pool_gone;
	return p;
}

struct volume *pool_volume(const struct pool *p, const char *name)
{
	for (unsigned i = 0; i < p->volumes->len; i++) {
		struct volume *v = p->volumes->pdata[i];

		if (strcmp(v->name, name) == 0)
			return v;
	}
	return NULL;
}

struct pool *pool_of_args(struct call *call, GVariant *args, GError **error)
{
	struct entry *e = registry_of_args(call->hv->pools, args, error);

	return e ? pool_ref(pool_of(e)) : NULL;
}

struct pool *pool_named(struct hv *hv, const char *name, GError **error)
{
	struct entry *e = registry_by_name(hv->pools, name);

	if (e)
		return pool_ref(pool_of(e));
	rpc_fail(error, VIR_ERR_NO_STORAGE_POOL, "no storage pool with matching name '%s'", name);
	return NULL;
}

bool pool_begin(struct pool *p, GError **error)
{
	gint64 until = g_get_monotonic_time() + BUSY_SECONDS * G_USEC_PER_SEC;

	pool_ref(p);
	while (p->entry && p->busy) {
		if (state_wait(&p->idle, until))
			continue;
		rpc_fail(error, VIR_ERR_OPERATION_TIMEOUT, "storage pool '%s' is busy", p->name);
		pool_unref(p);
		return false;
	}
	if (!p->entry) {
		rpc_fail(error, VIR_ERR_NO_STORAGE_POOL, "no storage pool with matching name '%s'", p->name);
		pool_unref(p);
		return false;
	}
	p->busy = true;
	return true;
}

void pool_end(struct pool *p)
{
	p->busy = false;
	g_cond_broadcast(&p->idle);
	pool_unref(p);
}

bool pool_require_active(const struct pool *p, GError **error)
{
	return p->entry->active || rpc_fail(error, VIR_ERR_OPERATION_INVALID, "storage pool '%s' is not active", p->name);
}

bool pool_require_inactive(const struct pool *p, const char *how, GError **error)
{
	if (!p->entry->active)
		return true;
	if (pool_backend(p)->memory)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "storage pool '%s' is active", p->name);
	return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "storage pool '%s' is %s active", p->name, how);
}

bool pool_require_no_jobs(const struct pool *p, GError **error)
{
	return !p->jobs || rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "pool '%s' has asynchronous jobs running.", p->name);
}

/* ---- definitions ---- */

static bool number_of(const xmlNode *root, const char *path, int base, gint64 *ret)
{
	const char *text = xml_text(root, path);
	char *end;

	*ret = -1;
	if (!text)
		return false;
	*ret = g_ascii_strtoll(text, &end, base);
	if (*end)
		*ret = -1;
	return true;
}

void pool_place_of(const struct pool *p, struct pool_place *ret)
{
	xmlNode *root = entry_root(p->entry);

	*ret = (struct pool_place){.name = g_strdup(p->name), .session = p->hv->session};
	ret->type = g_strdup(xml_text(root, "@type"));
	ret->path = g_strdup(xml_text(root, "target/path"));
	ret->device = g_strdup(xml_text(root, "source/device/@path"));
	ret->format = g_strdup(xml_text(root, "source/format/@type"));
	number_of(root, "target/permissions/mode", 8, &ret->mode);
	number_of(root, "target/permissions/owner", 10, &ret->uid);
	number_of(root, "target/permissions/group", 10, &ret->gid);
}

void pool_place_clear(struct pool_place *p)
{
	g_free(p->name);
	g_free(p->type);
	g_free(p->path);
	g_free(p->device);
	g_free(p->format);
}

static void set_printf(xmlDoc *doc, const char *path, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void set_printf(xmlDoc *doc, const char *path, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	object_set_text(OBJECT_POOL, doc, path, text);
}

void pool_count(struct pool *p)
{
	if (!pool_backend(p)->memory)
		return;
	p->facts.capacity = memory_capacity;
	p->facts.allocation = 0;
	for (unsigned i = 0; i < p->volumes->len; i++)
		p->facts.allocation += ((struct volume *)p->volumes->pdata[i])->facts.allocation;
	p->facts.available = memory_capacity - MIN(memory_capacity, p->facts.allocation);
}

char *pool_xml(struct pool *p, bool inactive)
{
	bool stored = inactive && p->entry->live;
	g_autoptr(xmlDoc) doc = xmlCopyDoc(stored || !p->entry->live ? p->entry->doc : p->entry->live, 1);

	if (stored)
		return object_format(OBJECT_POOL, doc, 0);
	pool_count(p);
	set_printf(doc, "capacity", "%" G_GUINT64_FORMAT, p->facts.capacity);
	set_printf(doc, "allocation", "%" G_GUINT64_FORMAT, p->facts.allocation);
	set_printf(doc, "available", "%" G_GUINT64_FORMAT, p->facts.available);
	if (p->facts.stat.known) {
		set_printf(doc, "target/permissions/mode", "%04o", (unsigned)p->facts.stat.mode);
		set_printf(doc, "target/permissions/owner", "%d", (int)p->facts.stat.uid);
		set_printf(doc, "target/permissions/group", "%d", (int)p->facts.stat.gid);
	}
	return object_format(OBJECT_POOL, doc, 0);
}

bool pool_check_source(struct hv *hv, const xmlDoc *doc, GError **error)
{
	const xmlNode *root = xmlDocGetRootElement((xmlDoc *)doc);
	const char *path = xml_is(root, "@type", "dir") ? "target/path" : "source/device/@path", *text = xml_text(root, path);
	guint8 uuid[UUID_BYTES];
	GHashTableIter iter;
	gpointer value;

	if (!text || !uuid_parse(xml_text(root, "uuid"), uuid))
		return true;
	g_hash_table_iter_init(&iter, hv->pools->all);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct entry *e = value;
		const xmlNode *other = xmlDocGetRootElement(e->doc);

		if (memcmp(e->uuid, uuid, sizeof(uuid)) != 0 && strcmp(e->name, xml_text(root, "name")) != 0 &&
		    xml_is(other, "@type", xml_text(root, "@type")) && xml_is(other, path, text))
			return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "Storage source conflict with pool: '%s'", e->name);
	}
	return true;
}

/* ---- states ---- */

bool pool_scan(struct pool *p, GError **error)
{
	const struct pool_backend *backend = pool_backend(p);
	g_autoptr(GPtrArray) volumes = g_ptr_array_new_with_free_func((GDestroyNotify)volume_unref);
	g_auto(PoolPlace) place = {0};
	struct pool_facts facts = {0};
	bool ok;

	if (!backend->scan)
		return true;
	pool_place_of(p, &place);
	state_release();
	ok = backend->scan(&place, &facts, volumes, error);
	if (!ok)
		backend->stop(&place, NULL);
	state_acquire();
	g_ptr_array_set_size(p->volumes, 0);
	if (!ok)
		return false;
	p->facts = facts;
	g_ptr_array_extend_and_steal(p->volumes, g_steal_pointer(&volumes));
	return true;
}

void pool_stopped(struct pool *p)
{
	struct entry *e = p->entry;

	e->active = false;
	g_ptr_array_set_size(p->volumes, 0);
	pool_store_status(p);
	g_clear_pointer(&e->live, xmlFreeDoc);
	if (!e->persistent)
		registry_remove(e);
}
