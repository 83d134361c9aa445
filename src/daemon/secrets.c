/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Secrets by libvirt's rules. See secrets.h. */
#include "secrets.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#include "call.h"
#include "domain-def.h"
#include "error.h"
#include "events.h"
#include "log.h"
#include "model-xml.h"
#include "objects.h"
#include "store-file.h"
#include "uuid.h"

enum { SECRETS_MAX = 16384, VALUE_MAX = 65536, VALIDATE = 1 };
enum { EVENT_LIFECYCLE, EVENT_VALUE_CHANGED };
enum { SECRET_DEFINED, SECRET_UNDEFINED };
enum { LIST_EPHEMERAL = 1, LIST_NO_EPHEMERAL = 2, LIST_PRIVATE = 4, LIST_NO_PRIVATE = 8, LIST_ALL = 15 };

struct secrets {
	char *dir;
	GHashTable *all; /* uuid as text -> struct secret */
};

struct secret {
	char uuid_text[UUID_TEXT];
	xmlDoc *doc;
	guint8 *value; /* NULL: none was set */
	gsize len;
};

/* libvirt's VIR_SECRET_USAGE_TYPE_… */
static const struct {
	const char *type, *path;
} usages[] = {
	{ "none", NULL },
	{ "volume", "usage/volume" },
	{ "ceph", "usage/name" },
	{ "iscsi", "usage/target" },
	{ "tls", "usage/name" },
	{ "vtpm", "usage/name" },
};

static void drop_value(struct secret *s)
{
	if (s->value)
		explicit_bzero(s->value, s->len);
	g_clear_pointer(&s->value, g_free);
	s->len = 0;
}

static void secret_free(struct secret *s)
{
	drop_value(s);
	xmlFreeDoc(s->doc);
	g_free(s);
}

static const xmlNode *root_of(const struct secret *s)
{
	return xmlDocGetRootElement(s->doc);
}

static bool is(const struct secret *s, const char *attribute)
{
	return xml_is(root_of(s), attribute, "yes");
}

static unsigned usage_type(const xmlNode *root)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(usages); i++)
		if (xml_is(root, "usage/@type", usages[i].type))
			return i;
	return 0;
}

static const char *usage_id(const xmlNode *root)
{
	const char *path = usages[usage_type(root)].path, *id = path ? xml_text(root, path) : NULL;

	return id ? id : "";
}

static GVariant *handle(const struct secret *s)
{
	guint8 uuid[16] = { 0 };

	uuid_parse(s->uuid_text, uuid);
	return g_variant_new("(@ayis)", uuid_variant(uuid), usage_type(root_of(s)), usage_id(root_of(s)));
}

static void tell(struct hv *hv, const struct secret *s, unsigned id, int event)
{
	events_object(hv, EVENT_SECRET, id, s->uuid_text, handle(s),
		      id == EVENT_LIFECYCLE ? g_variant_new("(ii)", event, 0) : NULL);
}

/* ---- files ---- */

static char *file_of(const struct secrets *all, const struct secret *s, const char *end)
{
	g_autofree char *name = g_strconcat(s->uuid_text, end, NULL);

	return g_build_filename(all->dir, name, NULL);
}

static bool write_file(const struct secrets *all, const struct secret *s, const char *end, const char *text, GError **error)
{
	g_autofree char *name = g_strconcat(s->uuid_text, end, NULL);

	if (g_mkdir_with_parents(all->dir, 0700) < 0)
		return kv_fail_errno(error, errno, "cannot make the folder '%s'", all->dir);
	return store_file_write(all->dir, name, text, true, NULL, error);
}

static bool remove_file(const struct secrets *all, const struct secret *s, const char *end, GError **error)
{
	g_autofree char *path = file_of(all, s, end);

	return g_unlink(path) == 0 || errno == ENOENT || kv_fail_errno(error, errno, "cannot remove '%s'", path);
}

static bool store_definition(const struct secrets *all, const struct secret *s, GError **error)
{
	g_autofree char *xml = NULL;

	if (is(s, "@ephemeral"))
		return remove_file(all, s, ".base64", error) && remove_file(all, s, ".xml", error);
	xml = object_format(OBJECT_SECRET, s->doc, FORMAT_SECURE);
	if (strlen(xml) > MODEL_XML_MAX) /* nobody could read it again */
		return kv_fail(error, KV_ERROR_INVALID, "as it is kept, secret %s has %zu bytes; the most is %d", s->uuid_text,
			       strlen(xml), MODEL_XML_MAX);
	return write_file(all, s, ".xml", xml, error);
}

static bool store_value(const struct secrets *all, const struct secret *s, GError **error)
{
	char *text;
	bool ok;

	if (is(s, "@ephemeral") || !s->value)
		return true;
	text = g_base64_encode(s->value, s->len);
	ok = write_file(all, s, ".base64", text, error);
	explicit_bzero(text, strlen(text));
	g_free(text);
	return ok;
}

static void load_value(const struct secrets *all, struct secret *s)
{
	g_autofree char *path = file_of(all, s, ".base64");
	g_autoptr(GError) error = NULL;
	char *text = g_file_test(path, G_FILE_TEST_EXISTS) ? store_file_read(path, 2 * VALUE_MAX, &error) : NULL;

	if (error)
		kv_log_error("the value of secret %s: %s", s->uuid_text, error->message);
	if (!text)
		return;
	s->value = g_base64_decode(text, &s->len);
	explicit_bzero(text, strlen(text));
	g_free(text);
}

static struct secret *new_secret(xmlDoc *doc)
{
	struct secret *s = g_new0(struct secret, 1);

	g_strlcpy(s->uuid_text, xml_text(xmlDocGetRootElement(doc), "uuid"), sizeof(s->uuid_text));
	s->doc = doc;
	return s;
}

static void load(struct secrets *all, const char *file)
{
	g_autofree char *path = g_build_filename(all->dir, file, NULL), *expected = NULL;
	g_autoptr(GError) error = NULL;
	g_autofree char *xml = store_file_read(path, MODEL_XML_MAX, &error);
	g_autoptr(xmlDoc) doc = xml ? object_parse(OBJECT_SECRET, xml, -1, 0, &error) : NULL;
	struct secret *s;

	expected = doc ? g_strconcat(xml_text(xmlDocGetRootElement(doc), "uuid"), ".xml", NULL) : NULL;
	if (!doc || strcmp(expected, file)) {
		kv_log_error("'%s' is left alone: %s", path, error ? error->message : "its name is another secret's UUID");
		return;
	}
	s = new_secret(g_steal_pointer(&doc));
	load_value(all, s);
	g_hash_table_replace(all->all, s->uuid_text, s);
}

void secrets_open(struct hv *hv, const char *dir)
{
	struct secrets *all = hv->secrets = g_new0(struct secrets, 1);
	g_autoptr(GDir) folder = g_dir_open(dir, 0, NULL);
	const char *name;

	all->dir = g_strdup(dir);
	all->all = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)secret_free);
	while (folder && (name = g_dir_read_name(folder)))
		if (g_str_has_suffix(name, ".xml") && !store_file_is_leftover(name))
			load(all, name);
}

void secrets_close(struct hv *hv)
{
	if (!hv->secrets)
		return;
	g_hash_table_unref(hv->secrets->all);
	g_free(hv->secrets->dir);
	g_clear_pointer(&hv->secrets, g_free);
}

/* ---- which one ---- */

static struct secret *absent(const char *how, const char *what, GError **error)
{
	rpc_fail(error, VIR_ERR_NO_SECRET, "no secret with matching %s '%s'", how, what);
	return NULL;
}

static struct secret *by_uuid(struct hv *hv, GVariant *uuid, GError **error)
{
	g_autofree char *text = uuid_format(uuid);
	struct secret *s = g_hash_table_lookup(hv->secrets->all, text);

	return s ? s : absent("uuid", text, error);
}

static struct secret *of_args(struct call *call, GVariant *args, GError **error)
{
	g_autoptr(GVariant) h = g_variant_get_child_value(args, 0), uuid = NULL;

	if (!call->hv->secrets) {
		handler_unsupported(call, args, NULL, error);
		return NULL;
	}
	uuid = g_variant_get_child_value(h, 0);
	return by_uuid(call->hv, uuid, error);
}

static struct secret *find_usage(struct hv *hv, unsigned type, const char *id)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, hv->secrets->all);
	while (type && g_hash_table_iter_next(&iter, NULL, &value))
		if (usage_type(root_of(value)) == type && !strcmp(usage_id(root_of(value)), id))
			return value;
	return NULL;
}

static bool answer(const struct secret *s, GVariant **ret)
{
	if (s)
		*ret = g_variant_new("(@(ayis))", handle(s));
	return s;
}

static bool lookup_uuid(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) uuid = g_variant_get_child_value(args, 0);

	return call->hv->secrets ? answer(by_uuid(call->hv, uuid, error), ret) : handler_unsupported(call, args, ret, error);
}

static bool lookup_usage(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct secret *s;
	const char *id;
	gint32 type;

	if (!call->hv->secrets)
		return handler_unsupported(call, args, ret, error);
	g_variant_get(args, "(i&s)", &type, &id);
	s = type > 0 ? find_usage(call->hv, (unsigned)type, id) : NULL;
	return answer(s ? s : absent("usage", id, error), ret);
}

/* ---- lists ---- */

static bool fits(const struct secret *s, guint32 flags)
{
	guint32 t = (is(s, "@ephemeral") ? LIST_EPHEMERAL : LIST_NO_EPHEMERAL) |
		    (is(s, "@private") ? LIST_PRIVATE : LIST_NO_PRIVATE);
	static const guint32 groups[] = { LIST_EPHEMERAL | LIST_NO_EPHEMERAL, LIST_PRIVATE | LIST_NO_PRIVATE };

	for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++)
		if (flags & groups[i] && !(flags & groups[i] & t))
			return false;
	return true;
}

static bool list_all(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list;
	GHashTableIter iter;
	guint32 flags, n = 0;
	gpointer value;
	gint32 wants;

	g_variant_get(args, "(iu)", &wants, &flags);
	if (!call->hv->secrets)
		return handler_unsupported(call, args, ret, error);
	if (!call_check_flags(call, flags, LIST_ALL, error))
		return false;
	g_variant_builder_init(&list, G_VARIANT_TYPE("a(ayis)"));
	g_hash_table_iter_init(&iter, call->hv->secrets->all);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		if (!fits(value, flags))
			continue;
		n++;
		if (wants)
			g_variant_builder_add_value(&list, handle(value));
	}
	*ret = g_variant_new("(a(ayis)u)", &list, n);
	return true;
}

static bool number(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	if (!call->hv->secrets)
		return handler_unsupported(call, args, ret, error);
	*ret = g_variant_new("(i)", g_hash_table_size(call->hv->secrets->all));
	return true;
}

static bool uuids(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	GVariantBuilder list;
	GHashTableIter iter;
	gpointer key;
	gint32 room;

	if (!call->hv->secrets)
		return handler_unsupported(call, args, ret, error);
	g_variant_get(args, "(i)", &room);
	g_variant_builder_init(&list, G_VARIANT_TYPE("as"));
	g_hash_table_iter_init(&iter, call->hv->secrets->all);
	while (room-- > 0 && g_hash_table_iter_next(&iter, &key, NULL))
		g_variant_builder_add(&list, "s", key);
	*ret = g_variant_new("(as)", &list);
	return true;
}

/* ---- definitions ---- */

/* What a secret is for, and whether it is private, stays; its usage is nobody else's. */
static bool check_new(struct hv *hv, const struct secret *old, const xmlNode *root, GError **error)
{
	unsigned type = usage_type(root);
	const char *id = usage_id(root);
	struct secret *other = find_usage(hv, type, id);

	if (old && (usage_type(root_of(old)) != type || strcmp(usage_id(root_of(old)), id)))
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "a secret with UUID %s is already defined for use with %s",
				old->uuid_text, usage_id(root_of(old)));
	if (old && is(old, "@private") && !xml_is(root, "@private", "yes"))
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "cannot change private flag on existing secret");
	if (!old && other)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "a secret with UUID %s already defined for use with %s",
				other->uuid_text, id);
	if (!old && g_hash_table_size(hv->secrets->all) >= SECRETS_MAX)
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "there are %d secrets, and there may not be more", SECRETS_MAX);
	return true;
}

/* s has its new definition already; on failure it has its old one, or is gone. */
static bool keep(struct hv *hv, struct secret *s, xmlDoc *before, GError **error)
{
	if (store_definition(hv->secrets, s, error) && store_value(hv->secrets, s, error)) {
		xmlFreeDoc(before);
		return true;
	}
	if (before) {
		xmlFreeDoc(s->doc);
		s->doc = before;
	} else {
		g_hash_table_remove(hv->secrets->all, s->uuid_text);
	}
	return false;
}

static bool define(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct hv *hv = call->hv;
	g_autoptr(xmlDoc) doc = NULL;
	xmlDoc *before = NULL;
	struct secret *s;
	const char *xml;
	guint32 flags;

	if (!hv->secrets)
		return handler_unsupported(call, args, ret, error);
	g_variant_get(args, "(&su)", &xml, &flags);
	if (!call_check_flags(call, flags, VALIDATE, error))
		return false;
	doc = object_parse(OBJECT_SECRET, xml, -1, flags & VALIDATE ? DEF_VALIDATE : 0, error);
	if (!doc)
		return false;
	s = g_hash_table_lookup(hv->secrets->all, xml_text(xmlDocGetRootElement(doc), "uuid"));
	if (!check_new(hv, s, xmlDocGetRootElement(doc), error))
		return false;
	if (s) {
		before = s->doc;
		s->doc = g_steal_pointer(&doc);
	} else {
		s = new_secret(g_steal_pointer(&doc));
		g_hash_table_insert(hv->secrets->all, s->uuid_text, s);
	}
	if (!keep(hv, s, before, error))
		return false;
	tell(hv, s, EVENT_LIFECYCLE, SECRET_DEFINED);
	return answer(s, ret);
}

static bool undefine(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct secret *s = of_args(call, args, error);
	struct secrets *all = call->hv->secrets;

	if (!s || !remove_file(all, s, ".base64", error) || !remove_file(all, s, ".xml", error))
		return false;
	tell(call->hv, s, EVENT_LIFECYCLE, SECRET_UNDEFINED);
	g_hash_table_remove(all->all, s->uuid_text);
	return true;
}

static bool get_xml(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct secret *s = of_args(call, args, error);
	g_autofree char *xml = NULL;
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!s || !call_check_flags(call, flags, 0, error))
		return false;
	xml = object_format(OBJECT_SECRET, s->doc, FORMAT_SECURE);
	*ret = g_variant_new("(s)", xml);
	return true;
}

/* ---- values ---- */

static bool set_value(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	struct secret *s = of_args(call, args, error), before;
	g_autoptr(GVariant) value = g_variant_get_child_value(args, 1);
	const guint8 *bytes;
	guint32 flags;
	gsize len;

	g_variant_get_child(args, 2, "u", &flags);
	if (!s || !call_check_flags(call, flags, 0, error))
		return false;
	bytes = g_variant_get_fixed_array(value, &len, 1);
	if (!len)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "value in virSecretSetValue must not be NULL");
	if (len > VALUE_MAX)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "a secret's value has no more than %d bytes", VALUE_MAX);
	before = *s;
	s->value = g_memdup2(bytes, len);
	s->len = len;
	if (!store_value(call->hv->secrets, s, error)) {
		drop_value(s);
		s->value = before.value;
		s->len = before.len;
		return false;
	}
	drop_value(&before);
	tell(call->hv, s, EVENT_VALUE_CHANGED, 0);
	return true;
}

static bool get_value(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	const struct secret *s = of_args(call, args, error);
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	if (!s || !call_check_flags(call, flags, 0, error))
		return false;
	if (is(s, "@private"))
		return rpc_fail(error, VIR_ERR_INVALID_SECRET, "secret is private");
	if (!s->value)
		return rpc_fail(error, VIR_ERR_NO_SECRET, "secret '%s' does not have a value", s->uuid_text);
	*ret = g_variant_new("(@ay)", g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, s->value, s->len, 1));
	return true;
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler secret_handlers[] = {
	{ RPC_CONNECT_LIST_ALL_SECRETS, list_all, LOOK },
	{ RPC_CONNECT_NUM_OF_SECRETS, number, LOOK },
	{ RPC_CONNECT_LIST_SECRETS, uuids, LOOK },
	{ RPC_SECRET_LOOKUP_BY_UUID, lookup_uuid, LOOK },
	{ RPC_SECRET_LOOKUP_BY_USAGE, lookup_usage, LOOK },
	{ RPC_SECRET_GET_XML_DESC, get_xml, LOOK },
	{ RPC_SECRET_DEFINE_XML, define, 0 },
	{ RPC_SECRET_UNDEFINE, undefine, 0 },
	{ RPC_SECRET_SET_VALUE, set_value, 0 },
	{ RPC_SECRET_GET_VALUE, get_value, 0 },
	{ 0 },
};
