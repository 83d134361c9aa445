/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See access-subject.h. A client's handles are believed as to which object they mean, and in nothing else. */
#include "access-subject.h"

#include <libxml/parser.h>
#include <string.h>

#include "dispatch.h"
#include "domain.h"
#include "registry.h"
#include "uuid.h"

static const struct {
	const char *object, *driver; /* NULL: the hypervisor's */
	const char *name, *uuid;     /* details; NULL: it has none */
} kinds[] = {
	{ "connect", NULL, NULL, NULL },
	{ "domain", NULL, "domain_name", "domain_uuid" },
	{ "network", "bridge", "network_name", "network_uuid" },
	{ "network-port", "bridge", "network_name", "network_uuid" },
	{ "storage-pool", "storage", "pool_name", "pool_uuid" },
	{ "storage-vol", "storage", "vol_name", NULL },
	{ "node-device", "udev", "node_device_name", NULL },
	{ "nwfilter", "nwfilter", "nwfilter_name", "nwfilter_uuid" },
	{ "nwfilter-binding", "nwfilter", "nwfilter_binding_portdev", NULL },
	{ "interface", "netcf", "interface_name", NULL },
	{ "secret", "secret", NULL, "secret_uuid" },
};

static unsigned kind_of(const char *object)
{
	unsigned i = 0;

	while (i < G_N_ELEMENTS(kinds) - 1 && strcmp(kinds[i].object, object) != 0)
		i++;
	return i;
}

const char *subject_driver(const struct hv *hv, const char *object)
{
	const char *driver = kinds[kind_of(object)].driver;

	return driver ? driver : hv->driver->type;
}

static void add(GVariantBuilder *details, const char *key, const char *value)
{
	if (key && value)
		g_variant_builder_add(details, "{ss}", key, value);
}

static bool is_text(GVariant *ref)
{
	return g_variant_is_of_type(ref, G_VARIANT_TYPE_STRING);
}

static const struct domain *domain_of(struct hv *hv, GVariant *ref)
{
	g_autoptr(GVariant) uuid = NULL;
	g_autofree char *text = NULL;
	GHashTableIter iter;
	gpointer value;

	if (is_text(ref))
		return g_hash_table_lookup(hv->names, g_variant_get_string(ref, NULL));
	if (!g_variant_is_of_type(ref, G_VARIANT_TYPE_INT32)) {
		uuid = g_variant_get_child_value(ref, 1);
		text = uuid_format(uuid);
		return g_hash_table_lookup(hv->domains, text);
	}
	g_hash_table_iter_init(&iter, hv->domains);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (domain_is_active(value) && ((struct domain *)value)->id == g_variant_get_int32(ref))
			return value;
	return NULL;
}

static bool describe_domain(struct call *call, GVariant *ref, GVariantBuilder *details, GError **error)
{
	const struct domain *d = domain_of(call->hv, ref);

	if (!d)
		return rpc_fail(error, VIR_ERR_NO_DOMAIN, "no such domain");
	add(details, "domain_name", d->name);
	add(details, "domain_uuid", d->uuid_text);
	return true;
}

static bool describe_entry(struct registry *r, unsigned kind, GVariant *ref, GVariantBuilder *details, GError **error)
{
	g_autoptr(GVariant) uuid = is_text(ref) ? NULL : g_variant_get_child_value(ref, 1);
	const struct entry *e = uuid ? registry_by_uuid(r, uuid) : registry_by_name(r, g_variant_get_string(ref, NULL));

	if (!e)
		return rpc_fail(error, r->absent, "no such %s", r->what);
	add(details, kinds[kind].name, e->name);
	add(details, kinds[kind].uuid, e->uuid_text);
	return true;
}

/* A volume's key is the pool's to say. */
static bool describe_volume(struct call *call, GVariant *ref, GVariant *pool, GVariantBuilder *details, GError **error)
{
	g_autoptr(GVariant) pool_name = is_text(ref) ? g_variant_get_child_value(pool, 0) : g_variant_get_child_value(ref, 0);
	g_autoptr(GVariant) name = is_text(ref) ? g_variant_ref(ref) : g_variant_get_child_value(ref, 1);
	const struct entry *e = registry_by_name(call->hv->pools, g_variant_get_string(pool_name, NULL));
	g_autoptr(GVariant) found = NULL;
	const char *key;

	if (!e)
		return rpc_fail(error, VIR_ERR_NO_STORAGE_POOL, "no storage pool with matching name '%s'",
				g_variant_get_string(pool_name, NULL));
	found = dispatch_inside(call, RPC_STORAGE_VOL_LOOKUP_BY_NAME, g_variant_new("(@(say)@s)", entry_handle(e), name), error);
	if (!found)
		return false;
	g_variant_get(found, "((ss&s))", NULL, NULL, &key);
	e = registry_by_name(call->hv->pools, g_variant_get_string(pool_name, NULL));
	if (!e)
		return rpc_fail(error, VIR_ERR_NO_STORAGE_POOL, "the pool is gone");
	add(details, "pool_name", e->name);
	add(details, "pool_uuid", e->uuid_text);
	add(details, "vol_name", g_variant_get_string(name, NULL));
	add(details, "vol_key", key);
	return true;
}

/* Objects that are their name, or their UUID. */
static void describe_plain(unsigned kind, GVariant *ref, GVariantBuilder *details)
{
	g_autoptr(GVariant) first = is_text(ref) ? g_variant_ref(ref) : g_variant_get_child_value(ref, 0);
	g_autofree char *uuid = NULL;

	if (is_text(first)) {
		add(details, kinds[kind].name ? kinds[kind].name : kinds[kind].uuid, g_variant_get_string(first, NULL));
		return;
	}
	uuid = uuid_format(first);
	add(details, kinds[kind].uuid, uuid);
}

void subject_describe_handle(const char *object, GVariant *handle, GVariantBuilder *details)
{
	unsigned kind = kind_of(object);
	g_autoptr(GVariant) uuid = NULL;
	g_autofree char *text = NULL;

	describe_plain(kind, handle, details);
	if (!kinds[kind].name || !kinds[kind].uuid)
		return;
	uuid = g_variant_get_child_value(handle, 1);
	text = uuid_format(uuid);
	add(details, kinds[kind].uuid, text);
}

bool subject_describe(struct call *call, const char *object, GVariant *ref, GVariant *pool, GVariantBuilder *details,
		      GError **error)
{
	unsigned kind = kind_of(object);

	if (strcmp(object, "domain") == 0)
		return describe_domain(call, ref, details, error);
	if (strcmp(object, "network") == 0)
		return describe_entry(call->hv->networks, kind, ref, details, error);
	if (strcmp(object, "storage-pool") == 0)
		return describe_entry(call->hv->pools, kind, ref, details, error);
	if (strcmp(object, "storage-vol") == 0)
		return describe_volume(call, ref, pool, details, error);
	describe_plain(kind, ref, details);
	return true;
}

/* As the definition has it when it is read: a name or UUID of another namespace is not its own, an empty one is none. */
static char *text_of(const xmlNode *n, const char *name)
{
	xmlChar *text = n->type == XML_ELEMENT_NODE && n->ns == n->parent->ns && xmlStrEqual(n->name, BAD_CAST name)
				? xmlNodeGetContent(n)
				: NULL;
	char *copy = text && *text ? g_strdup((const char *)text) : NULL;

	xmlFree(text);
	return copy;
}

/* The first counts, so that nobody is asked about another. */
static void add_first(const xmlNode *root, const char *name, const char *key, GVariantBuilder *details)
{
	for (const xmlNode *n = root ? root->children : NULL; n; n = n->next) {
		g_autofree char *text = text_of(n, name);

		if (!text)
			continue;
		add(details, key, text);
		return;
	}
}

void subject_describe_xml(const char *object, const char *xml, GVariantBuilder *details)
{
	unsigned kind = kind_of(object);
	xmlDoc *doc =
		xmlReadMemory(xml, strlen(xml), "definition", NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;

	add_first(root, "name", kinds[kind].name, details);
	add_first(root, "uuid", kinds[kind].uuid, details);
	xmlFreeDoc(doc);
}
