/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * object-add and object-del (QEMU's qapi/qom.json): secrets and TLS credentials, which others take by name, and what they are
 * then is theirs: an object may go at any time. See qmp-object.h.
 */
#include "qmp-object.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "qmp.h"
#include "vmm.h"

enum { OBJECTS_MAX = 256, SECRET_MAX = 1 << 20 };

struct vmm_object {
	char *id;
	const char *type;	 /* one of types[] */
	GBytes *secret;		 /* of a secret */
	char *dir, *password_id; /* of credentials */
	bool server, verify_peer;
};

static const char *const types[] = { "secret", "tls-creds-x509", NULL };
static const char *const formats[] = { "raw", "base64", NULL };
static const char *const endpoints[] = { "client", "server", NULL };
static const struct qmp_type object_type = { .kind = QMP_ENUM, .values = types };
static const struct qmp_type format_type = { .kind = QMP_ENUM, .values = formats };
static const struct qmp_type endpoint_type = { .kind = QMP_ENUM, .values = endpoints };
const struct qmp_member qmp_object_add_args[] = {
	{ "qom-type", &object_type },
	{ "id", &qmp_string },
	{ "data", &qmp_string, .optional = true, .tag = "qom-type", .value = "secret" },
	{ "file", &qmp_string, .optional = true, .tag = "qom-type", .value = "secret" },
	{ "format", &format_type, .optional = true, .tag = "qom-type", .value = "secret" },
	{ "dir", &qmp_string, .optional = true, .tag = "qom-type", .value = "tls-creds-x509" },
	{ "endpoint", &endpoint_type, .optional = true, .tag = "qom-type", .value = "tls-creds-x509" },
	{ "verify-peer", &qmp_boolean, .optional = true, .tag = "qom-type", .value = "tls-creds-x509" },
	{ "passwordid", &qmp_string, .optional = true, .tag = "qom-type", .value = "tls-creds-x509" },
	{},
};
const struct qmp_member qmp_object_del_args[] = { { "id", &qmp_string }, {} };

static void object_free(void *opaque)
{
	struct vmm_object *o = opaque;

	g_clear_pointer(&o->secret, g_bytes_unref);
	g_free(o->id);
	g_free(o->dir);
	g_free(o->password_id);
	g_free(o);
}

void qmp_open_objects(struct vmm *vmm)
{
	vmm->objects = g_ptr_array_new_with_free_func(object_free);
}

void qmp_close_objects(struct vmm *vmm)
{
	g_clear_pointer(&vmm->objects, g_ptr_array_unref);
}

static struct vmm_object *find(const struct vmm *vmm, const char *id)
{
	for (unsigned i = 0; i < vmm->objects->len; i++) {
		struct vmm_object *o = vmm->objects->pdata[i];

		if (g_str_equal(o->id, id))
			return o;
	}
	return NULL;
}

/* ---- what others take ---- */

GBytes *qmp_secret(const struct vmm *vmm, const char *id, GError **error)
{
	const struct vmm_object *o = find(vmm, id);

	if (o && o->secret)
		return g_bytes_ref(o->secret);
	if (o)
		kv_fail(error, KV_ERROR_USAGE, "Object with id '%s' is not a secret", id);
	else
		kv_fail(error, KV_ERROR_USAGE, "No secret with id '%s'", id);
	return NULL;
}

bool qmp_tls_creds(const struct vmm *vmm, const char *id, bool server, struct qmp_tls_creds *ret, GError **error)
{
	const struct vmm_object *o = find(vmm, id);
	g_autoptr(GBytes) password = NULL;
	gsize len = 0;

	if (!o)
		return kv_fail(error, KV_ERROR_USAGE, "No TLS credentials with id '%s'", id);
	if (!o->dir)
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

static bool fill_secret(struct vmm_object *o, JsonObject *args, GError **error)
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
		return qmp_fail(error, QMP_ERROR_GENERIC, "%s: a secret has at most %d bytes", o->id, SECRET_MAX);
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
static bool fill_creds(struct vmm_object *o, JsonObject *args, GError **error)
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

static const char *static_type(const char *type)
{
	for (unsigned i = 0; types[i]; i++)
		if (g_str_equal(types[i], type))
			return types[i];
	return NULL;
}

JsonNode *qmp_object_add(void *opaque, JsonObject *args, GError **error)
{
	const char *id = json_object_get_string_member(args, "id");
	struct vmm *vmm = opaque;
	struct vmm_object *o;

	if (!qmp_check_id(id, error))
		return NULL;
	if (find(vmm, id))
		return qmp_fail(error, QMP_ERROR_GENERIC, "attempt to add duplicate property '%s' to object (type 'container')",
				id);
	if (vmm->objects->len == OBJECTS_MAX)
		return qmp_fail(error, QMP_ERROR_GENERIC, "more than %d objects", OBJECTS_MAX);
	o = g_new0(struct vmm_object, 1);
	o->id = g_strdup(id);
	o->type = static_type(json_object_get_string_member(args, "qom-type"));
	if (g_str_equal(o->type, "secret") ? fill_secret(o, args, error) : fill_creds(o, args, error)) {
		g_ptr_array_add(vmm->objects, o);
		return qmp_nothing();
	}
	object_free(o);
	return NULL;
}

JsonNode *qmp_object_del(void *opaque, JsonObject *args, GError **error)
{
	const char *id = json_object_get_string_member(args, "id");
	struct vmm *vmm = opaque;
	struct vmm_object *o = find(vmm, id);

	if (!o)
		return qmp_fail(error, QMP_ERROR_GENERIC, "object '%s' not found", id);
	g_ptr_array_remove(vmm->objects, o);
	return qmp_nothing();
}

const char *qmp_object_type(const struct vmm *vmm, const char *id)
{
	const struct vmm_object *o = find(vmm, id);

	return o ? o->type : NULL;
}

void qmp_each_object(const struct vmm *vmm, void (*f)(void *opaque, const char *id, const char *type), void *opaque)
{
	for (unsigned i = 0; i < vmm->objects->len; i++) {
		const struct vmm_object *o = vmm->objects->pdata[i];

		f(opaque, o->id, o->type);
	}
}
