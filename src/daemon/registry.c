/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See registry.h. Called by networks.c and storage. */
#include "registry.h"

#include <string.h>

#include "hv.h"
#include "uuid.h"

static void entry_free(struct entry *e)
{
	if (e->of->free_own && e->own)
		e->of->free_own(e->own);
	xmlFreeDoc(e->doc);
	xmlFreeDoc(e->live);
	g_free(e->name);
	g_free(e);
}

struct registry *registry_new(struct hv *hv, enum object_kind kind)
{
	struct registry *r = g_new0(struct registry, 1);

	*r = (struct registry){ hv, kind, EVENT_NETWORK, "network", VIR_ERR_NO_NETWORK };
	if (kind == OBJECT_POOL)
		*r = (struct registry){ hv, kind, EVENT_POOL, "pool", VIR_ERR_NO_STORAGE_POOL };
	r->all = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)entry_free);
	return r;
}

void registry_free(struct registry *r)
{
	if (r)
		g_hash_table_unref(r->all);
	g_free(r);
}

struct entry *registry_by_name(struct registry *r, const char *name)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, r->all);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (strcmp(((struct entry *)value)->name, name) == 0)
			return value;
	return NULL;
}

struct entry *registry_by_uuid(struct registry *r, GVariant *uuid)
{
	g_autofree char *text = uuid_format(uuid);

	return g_hash_table_lookup(r->all, text);
}

struct entry *registry_of_args(struct registry *r, GVariant *args, GError **error)
{
	g_autoptr(GVariant) handle = g_variant_get_child_value(args, 0), uuid = g_variant_get_child_value(handle, 1);
	g_autofree char *text = uuid_format(uuid);
	struct entry *e = g_hash_table_lookup(r->all, text);
	const char *name;

	if (e)
		return e;
	g_variant_get_child(handle, 0, "&s", &name);
	rpc_fail(error, r->absent, "no %s%s with matching uuid '%s' (%s)", r->kind == OBJECT_POOL ? "storage " : "",
		 r->what, text, name);
	return NULL;
}

struct entry *registry_of_doc(struct registry *r, const xmlDoc *doc)
{
	const char *text = xml_text(xmlDocGetRootElement((xmlDoc *)doc), "uuid");
	char clean[UUID_TEXT];
	guint8 uuid[16];

	if (!text || !uuid_parse(text, uuid))
		return NULL;
	uuid_write(uuid, clean);
	return g_hash_table_lookup(r->all, clean);
}

static struct entry *add(struct registry *r, xmlDoc *doc, const char *name, const guint8 uuid[16])
{
	struct entry *e = g_new0(struct entry, 1);

	e->of = r;
	e->name = g_strdup(name);
	memcpy(e->uuid, uuid, sizeof(e->uuid));
	uuid_write(uuid, e->uuid_text);
	g_hash_table_insert(r->all, e->uuid_text, e);
	return e;
}

struct entry *registry_define(struct registry *r, xmlDoc *doc, bool transient, GError **error)
{
	xmlNode *root = xmlDocGetRootElement(doc);
	const char *name = xml_text(root, "name"), *text = xml_text(root, "uuid");
	guint8 uuid[16];
	char clean[UUID_TEXT];
	struct entry *e;

	if (!text || !uuid_parse(text, uuid)) {
		rpc_fail(error, VIR_ERR_XML_ERROR, "malformed uuid element");
		return NULL;
	}
	uuid_write(uuid, clean);
	e = g_hash_table_lookup(r->all, clean);
	if (e && strcmp(e->name, name) != 0)
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "%s '%s' is already defined with uuid %s", r->what, e->name,
			 clean);
	else if (e && transient && e->active)
		rpc_fail(error, VIR_ERR_OPERATION_INVALID, "%s is already active as '%s'", r->what, e->name);
	else if (!e && (e = registry_by_name(r, name)))
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "%s '%s' already exists with uuid %s", r->what, name,
			 e->uuid_text);
	else {
		if (!e)
			e = add(r, doc, name, uuid);
		/* What is active stays as it is until it is started anew. */
		if (transient ? e->persistent : e->active) {
			xmlDoc **keep = &e->live;

			if (transient) {
				xmlFreeDoc(*keep);
				*keep = doc;
			} else {
				if (!*keep)
					*keep = g_steal_pointer(&e->doc);
				xmlFreeDoc(e->doc);
				e->doc = doc;
			}
		} else {
			xmlFreeDoc(e->doc);
			e->doc = doc;
		}
		e->persistent |= !transient;
		return e;
	}
	return NULL;
}

struct entry *registry_define_stored(struct registry *r, xmlDoc **doc, GError **error)
{
	g_autoptr(xmlDoc) before = NULL, live = NULL;
	bool persistent = false;
	struct entry *e = registry_of_doc(r, *doc);

	if (e) {
		before = xmlCopyDoc(e->doc, 1);
		live = e->live ? xmlCopyDoc(e->live, 1) : NULL;
		persistent = e->persistent;
	}
	e = registry_define(r, *doc, false, error);
	if (e)
		*doc = NULL;
	if (!e || registry_store(e, error))
		return e;
	if (!before) {
		registry_remove(e);
		return NULL;
	}
	xmlFreeDoc(e->doc);
	xmlFreeDoc(e->live);
	e->doc = g_steal_pointer(&before);
	e->live = g_steal_pointer(&live);
	e->persistent = persistent;
	return NULL;
}

void registry_remove(struct entry *e)
{
	g_hash_table_remove(e->of->all, e->uuid_text);
}

bool registry_store(struct entry *e, GError **error)
{
	struct hv *hv = e->of->hv;
	g_autofree char *xml = NULL;

	if (!hv->driver->store_object)
		return true;
	if (e->persistent)
		xml = object_format(e->of->kind, e->doc, 0);
	return hv->driver->store_object(hv, e->of->kind, e->name, e->uuid_text, xml, e->autostart, error);
}

xmlNode *entry_root(const struct entry *e)
{
	return xmlDocGetRootElement(e->live ? e->live : e->doc);
}

GVariant *entry_handle(const struct entry *e)
{
	return g_variant_new("(s@ay)", e->name, uuid_variant(e->uuid));
}

void registry_event(struct entry *e, unsigned id, int event)
{
	events_object(e->of->hv, e->of->event, id, e->uuid_text, entry_handle(e),
		      event < 0 ? NULL : g_variant_new("(ii)", event, 0));
}

enum {
	LIST_INACTIVE = 1,
	LIST_ACTIVE = 2,
	LIST_PERSISTENT = 4,
	LIST_TRANSIENT = 8,
	LIST_AUTOSTART = 16,
	LIST_NO_AUTOSTART = 32
};

static bool fits(const struct entry *e, unsigned flags)
{
	static const unsigned groups[] = { LIST_INACTIVE | LIST_ACTIVE, LIST_PERSISTENT | LIST_TRANSIENT,
					   LIST_AUTOSTART | LIST_NO_AUTOSTART };
	unsigned t = (e->active ? LIST_ACTIVE : LIST_INACTIVE) | (e->persistent ? LIST_PERSISTENT : LIST_TRANSIENT) |
		     (e->autostart ? LIST_AUTOSTART : LIST_NO_AUTOSTART);

	for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++)
		if (flags & groups[i] && !(flags & groups[i] & t))
			return false;
	return true;
}

unsigned registry_list(struct registry *r, unsigned flags, bool (*more)(const struct entry *e, unsigned flags),
		       GVariantBuilder *out)
{
	GHashTableIter iter;
	gpointer value;
	unsigned n = 0;

	g_hash_table_iter_init(&iter, r->all);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		if (!fits(value, flags) || (more && !more(value, flags)))
			continue;
		n++;
		if (out)
			g_variant_builder_add_value(out, entry_handle(value));
	}
	return n;
}

unsigned registry_names(struct registry *r, bool active, gint32 room, GVariantBuilder *out)
{
	GHashTableIter iter;
	gpointer value;
	unsigned n = 0;

	g_hash_table_iter_init(&iter, r->all);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct entry *e = value;

		if (e->active != active)
			continue;
		if (out && (gint32)n < room)
			g_variant_builder_add(out, "s", e->name);
		n++;
	}
	return n;
}
