/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * object-add and object-del (QEMU's qapi/qom.json). Secrets and TLS credentials are made here alone: others take them by name,
 * and what they are then is theirs, so they may go at any time. Other types are those of --object. See qmp-object.h, objects.h.
 */
#include "qmp-object.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "iothread.h"
#include "objects.h"
#include "options.h"
#include "qmp.h"
#include "vmm.h"

enum { SECRET_MAX = 1 << 20 };

/* Of both types here. */
struct secret_object {
	struct vmm_object base;
	GBytes *secret;		 /* of a secret */
	char *dir, *password_id; /* of credentials */
	bool server, verify_peer;
};

static const char *const type_names[] = { "iothread", "memory-backend-file", "memory-backend-memfd", "memory-backend-ram",
					  "secret", "throttle-group", "tls-creds-x509", NULL };
static const char *const policies[] = { "default", "preferred", "bind", "interleave", NULL };
static const char *const formats[] = { "raw", "base64", NULL };
static const char *const endpoints[] = { "client", "server", NULL };
static const struct qmp_type object_type = { .kind = QMP_ENUM, .values = type_names };
static const struct qmp_type format_type = { .kind = QMP_ENUM, .values = formats };
static const struct qmp_type endpoint_type = { .kind = QMP_ENUM, .values = endpoints };

#define NUMBER(name) { name, &qmp_integer, .optional = true }
#define LIMIT(name) NUMBER(name), NUMBER(name "-max"), NUMBER(name "-max-length")
static const struct qmp_member limit_members[] = {
	LIMIT("iops-total"), LIMIT("iops-read"), LIMIT("iops-write"), LIMIT("bps-total"), LIMIT("bps-read"), LIMIT("bps-write"),
	NUMBER("iops-size"), {},
};
static const struct qmp_type limits_type = { .kind = QMP_OBJECT, .members = limit_members };

#define OF(object, member, kind) { member, kind, .optional = true, .tag = "qom-type", .value = object }
static const struct qmp_type policy_type = { .kind = QMP_ENUM, .values = policies };
static const struct qmp_type numbers_type = { .kind = QMP_LIST, .item = &qmp_integer };
#define MEMORY(object)                                                                                            \
	{ "size", &qmp_uint64, .tag = "qom-type", .value = object }, OF(object, "share", &qmp_boolean),           \
		OF(object, "prealloc", &qmp_boolean), OF(object, "host-nodes", &numbers_type),                    \
		OF(object, "policy", &policy_type), OF(object, "merge", &qmp_boolean), OF(object, "dump", &qmp_boolean)
#define X_LIMIT(name)                                                                                          \
	OF("throttle-group", "x-" name, &qmp_integer), OF("throttle-group", "x-" name "-max", &qmp_integer), \
		OF("throttle-group", "x-" name "-max-length", &qmp_integer)
const struct qmp_member qmp_object_add_args[] = {
	{ "qom-type", &object_type },
	{ "id", &qmp_string },
	OF("secret", "data", &qmp_string),
	OF("secret", "file", &qmp_string),
	OF("secret", "format", &format_type),
	OF("tls-creds-x509", "dir", &qmp_string),
	OF("tls-creds-x509", "endpoint", &endpoint_type),
	OF("tls-creds-x509", "verify-peer", &qmp_boolean),
	OF("tls-creds-x509", "passwordid", &qmp_string),
	OF("iothread", "poll-max-ns", &qmp_integer),
	OF("iothread", "poll-grow", &qmp_integer),
	OF("iothread", "poll-shrink", &qmp_integer),
	OF("iothread", "aio-max-batch", &qmp_integer),
	MEMORY("memory-backend-ram"),
	MEMORY("memory-backend-memfd"),
	OF("memory-backend-memfd", "hugetlb", &qmp_boolean),
	OF("memory-backend-memfd", "hugetlbsize", &qmp_uint64),
	OF("memory-backend-memfd", "seal", &qmp_boolean),
	MEMORY("memory-backend-file"),
	{ "mem-path", &qmp_string, .tag = "qom-type", .value = "memory-backend-file" },
	OF("memory-backend-file", "discard-data", &qmp_boolean),
	OF("throttle-group", "limits", &limits_type),
	X_LIMIT("iops-total"), X_LIMIT("iops-read"), X_LIMIT("iops-write"),
	X_LIMIT("bps-total"), X_LIMIT("bps-read"), X_LIMIT("bps-write"),
	OF("throttle-group", "x-iops-size", &qmp_integer),
	{},
};
const struct qmp_member qmp_object_del_args[] = { { "id", &qmp_string }, {} };

static void secret_free(struct vmm_object *o)
{
	struct secret_object *s = (struct secret_object *)o;

	g_clear_pointer(&s->secret, g_bytes_unref);
	g_free(s->dir);
	g_free(s->password_id);
}

static const struct object_type secret_types[] = {
	{ .name = "secret", .size = sizeof(struct secret_object), .free = secret_free },
	{ .name = "tls-creds-x509", .size = sizeof(struct secret_object), .free = secret_free },
};

static struct secret_object *find(const struct vmm *vmm, const char *id)
{
	struct vmm_object *o = vmm_find_object(vmm, id);

	return o && o->type->free == secret_free ? (struct secret_object *)o : NULL;
}

/* ---- what others take ---- */

GBytes *qmp_secret(const struct vmm *vmm, const char *id, GError **error)
{
	const struct secret_object *o = find(vmm, id);

	if (o && o->secret)
		return g_bytes_ref(o->secret);
	if (vmm_find_object(vmm, id))
		kv_fail(error, KV_ERROR_USAGE, "Object with id '%s' is not a secret", id);
	else
		kv_fail(error, KV_ERROR_USAGE, "No secret with id '%s'", id);
	return NULL;
}

bool qmp_tls_creds(const struct vmm *vmm, const char *id, bool server, struct qmp_tls_creds *ret, GError **error)
{
	const struct secret_object *o = find(vmm, id);
	g_autoptr(GBytes) password = NULL;
	gsize len = 0;

	if (!vmm_find_object(vmm, id))
		return kv_fail(error, KV_ERROR_USAGE, "No TLS credentials with id '%s'", id);
	if (!o || !o->dir)
		return kv_fail(error, KV_ERROR_USAGE, "Object with id '%s' is not TLS credentials", id);
	if (o->server != server)
		return kv_fail(error, KV_ERROR_USAGE, "Expected TLS credentials for a %s endpoint", server ? "server" : "client");
	password = o->password_id ? qmp_secret(vmm, o->password_id, error) : NULL;
	if (o->password_id && !password)
		return false;
	*ret = (struct qmp_tls_creds){ .dir = o->dir, .verify_peer = o->verify_peer };
	if (password) {
		const char *data = g_bytes_get_data(password, &len);

		ret->password = g_strndup(data, len);
	}
	return true;
}

/* ---- secrets ---- */

static GBytes *read_secret(const char *file, GError **error)
{
	g_autoptr(GError) why = NULL;
	char *text;
	gsize len;

	if (g_file_get_contents(file, &text, &len, &why))
		return g_bytes_new_take(text, len);
	qmp_fail(error, QMP_ERROR_GENERIC, "Unable to read %s: %s", file, why->message);
	return NULL;
}

static bool fill_secret(struct secret_object *o, JsonObject *args, GError **error)
{
	const char *data = qmp_text(args, "data"), *file = qmp_text(args, "file"), *format = qmp_text(args, "format");
	g_autoptr(GBytes) text = NULL;

	if (data && file)
		return qmp_fail(error, QMP_ERROR_GENERIC, "'file' and 'data' are mutually exclusive");
	if (!data && !file)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Either 'file' or 'data' must be provided");
	text = file ? read_secret(file, error) : g_bytes_new(data, strlen(data));
	if (!text)
		return false;
	if (g_bytes_get_size(text) > SECRET_MAX)
		return qmp_fail(error, QMP_ERROR_GENERIC, "%s: a secret has at most %d bytes", o->base.id, SECRET_MAX);
	o->secret = !g_strcmp0(format, "base64") ? qmp_base64(text, error) : g_bytes_ref(text);
	return o->secret;
}

/* ---- credentials ---- */

static bool check_file(const char *dir, const char *name, GError **error)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);

	return access(path, R_OK) == 0 ||
	       qmp_fail(error, QMP_ERROR_GENERIC, "Unable to access credentials %s: %s", path, g_strerror(errno));
}

/* What is in the files is looked at when they are used. */
static bool fill_creds(struct secret_object *o, JsonObject *args, GError **error)
{
	const char *dir = qmp_text(args, "dir");

	o->server = !g_strcmp0(qmp_text(args, "endpoint"), "server");
	o->verify_peer = json_object_get_boolean_member_with_default(args, "verify-peer", TRUE);
	o->password_id = g_strdup(qmp_text(args, "passwordid"));
	if (!dir)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Missing 'dir' property value");
	o->dir = g_strdup(dir);
	return check_file(dir, "ca-cert.pem", error) &&
	       (!o->server || (check_file(dir, "server-cert.pem", error) && check_file(dir, "server-key.pem", error)));
}

/* ---- commands ---- */

static bool add_secret(struct vmm *vmm, const struct object_type *type, JsonObject *args, GError **error)
{
	const char *id = json_object_get_string_member(args, "id");
	struct secret_object *o = (struct secret_object *)vmm_add_object(vmm, type, id, NULL, error);

	if (!o)
		return false;
	if (type == &secret_types[0] ? fill_secret(o, args, error) : fill_creds(o, args, error))
		return true;
	vmm_remove_object(vmm, id, NULL);
	return false;
}

/* N,N,...; g_free. */
static char *numbers_text(JsonArray *list)
{
	GString *s = g_string_new(NULL);

	for (guint i = 0; i < json_array_get_length(list); i++)
		g_string_append_printf(s, "%s%" G_GINT64_FORMAT, i ? "," : "", json_array_get_int_element(list, i));
	return g_string_free(s, FALSE);
}

/* As --object has it. The types are what the table of arguments says. A negative size is a large one, which create() finds. */
static bool take_member(GVariantDict *dict, const struct option *key, JsonNode *node, GError **error)
{
	gint64 n;

	switch (key->type) {
	case OPTION_BOOL:
		g_variant_dict_insert(dict, key->name, "b", json_node_get_boolean(node));
		return true;
	case OPTION_SIZE:
		g_variant_dict_insert(dict, key->name, "t", (guint64)json_node_get_int(node));
		return true;
	case OPTION_COUNT:
		n = json_node_get_int(node);
		g_variant_dict_insert(dict, key->name, "t", (guint64)n);
		return (n >= 0 && (guint64)n >= key->min && (guint64)n <= key->max) ||
		       qmp_fail(error, QMP_ERROR_GENERIC,
				"%s value must be in range [%" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT "]", key->name, key->min,
				key->max);
	default:
		if (JSON_NODE_HOLDS_ARRAY(node))
			g_variant_dict_insert_value(dict, key->name,
						    g_variant_new_take_string(numbers_text(json_node_get_array(node))));
		else
			g_variant_dict_insert(dict, key->name, "s", json_node_get_string(node));
		return true;
	}
}

/* ThrottleLimits: the keys' names have x- before. */
static bool take_limits(GVariantDict *dict, const struct object_type *type, JsonObject *limits, GError **error)
{
	for (const struct qmp_member *m = limit_members; m->name; m++) {
		g_autofree char *name = g_strconcat("x-", m->name, NULL);
		JsonNode *node = json_object_get_member(limits, m->name);

		if (node && !take_member(dict, options_find(type->keys, name), node, error))
			return false;
	}
	return true;
}

static GVariant *keys_of(const struct object_type *type, JsonObject *args, GError **error)
{
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

	if (json_object_has_member(args, "limits") &&
	    !take_limits(&dict, type, json_object_get_object_member(args, "limits"), error))
		return NULL;
	for (const struct option *key = type->keys; key->name; key++) {
		JsonNode *node = json_object_get_member(args, key->name);

		if (node && !take_member(&dict, key, node, error))
			return NULL;
	}
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

JsonNode *qmp_object_add(void *opaque, JsonObject *args, GError **error)
{
	const char *id = json_object_get_string_member(args, "id"), *name = json_object_get_string_member(args, "qom-type");
	const struct object_type *type = vmm_object_type(name);
	g_autoptr(GVariant) keys = NULL;

	if (!qmp_check_id(id, error))
		return NULL;
	for (unsigned i = 0; i < G_N_ELEMENTS(secret_types); i++)
		if (g_str_equal(secret_types[i].name, name))
			return add_secret(opaque, &secret_types[i], args, error) ? qmp_nothing() : NULL;
	keys = keys_of(type, args, error);
	return keys && vmm_add_object(opaque, type, id, keys, error) ? qmp_nothing() : NULL;
}

JsonNode *qmp_object_del(void *opaque, JsonObject *args, GError **error)
{
	return vmm_remove_object(opaque, json_object_get_string_member(args, "id"), error) ? qmp_nothing() : NULL;
}

/* ---- iothreads ---- */

static void put_iothread(void *list, struct vmm_object *object)
{
	JsonObject *o;

	if (object->type != &object_iothread)
		return;
	o = json_object_new();
	json_object_set_string_member(o, "id", object->id);
	json_object_set_int_member(o, "thread-id", iothread_tid(vmm_iothread(object)));
	for (const char *const *p = object->type->properties; *p; p++) {
		g_autoptr(GVariant) value = g_variant_ref_sink(object->type->get(object, *p));

		json_object_set_int_member(o, *p, g_variant_get_int64(value));
	}
	json_array_add_object_element(list, o);
}

JsonNode *qmp_query_iothreads(void *opaque, JsonObject *args, GError **error)
{
	JsonArray *list = json_array_new();

	vmm_each_object(opaque, put_iothread, list);
	return qmp_array(list);
}

/* ---- memory backends ---- */

static void put_memory(void *list, struct vmm_object *object)
{
	JsonObject *o;

	if (!vmm_is_memory(object))
		return;
	o = json_object_new();
	json_object_set_string_member(o, "id", object->id);
	for (const char *const *p = object->type->properties; *p; p++) {
		g_autoptr(GVariant) value = g_variant_ref_sink(object->type->get(object, *p));

		json_object_set_member(o, *p, json_gvariant_serialize(value));
	}
	json_array_add_object_element(list, o);
}

JsonNode *qmp_query_memdev(void *opaque, JsonObject *args, GError **error)
{
	JsonArray *list = json_array_new();

	vmm_each_object(opaque, put_memory, list);
	return qmp_array(list);
}
