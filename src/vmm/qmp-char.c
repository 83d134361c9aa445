/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP commands about character devices (QEMU's qapi/char.json): what there is, what comes and goes, another one in the place of
 * one that is in use, and buffers. See qmp.h; chardevs.c has them by name.
 */
#include <string.h>
#include <unistd.h>

#include "char.h"
#include "error.h"
#include "machine.h"
#include "qmp.h"
#include "server.h"
#include "vmm.h"

enum { READ_MAX = 1 << 20 };

static const char *const backends[] = { "file", "null", "pty", "ringbuf", "socket", NULL };
static const struct qmp_type backend_type = { .kind = QMP_ENUM, .values = backends };

static const char *const address_types[] = { "inet", "unix", NULL };
static const struct qmp_type address_type = { .kind = QMP_ENUM, .values = address_types };
static const struct qmp_member inet_members[] = { { "host", &qmp_string }, { "port", &qmp_string }, {} };
static const struct qmp_member unix_members[] = { { "path", &qmp_string }, {} };
static const struct qmp_type inet_address = { .kind = QMP_OBJECT, .members = inet_members };
static const struct qmp_type unix_address = { .kind = QMP_OBJECT, .members = unix_members };
static const struct qmp_member address_members[] = {
	{ "type", &address_type },
	{ "data", &inet_address, .tag = "type", .value = "inet" },
	{ "data", &unix_address, .tag = "type", .value = "unix" },
	{},
};
const struct qmp_type qmp_socket_address = { .kind = QMP_OBJECT, .members = address_members };
static const struct qmp_member socket_members[] = {
	{ "addr", &qmp_socket_address },
	{ "server", &qmp_boolean, .optional = true },
	{ "wait", &qmp_boolean, .optional = true },
	{ "nodelay", &qmp_boolean, .optional = true },
	{ "reconnect", &qmp_integer, .optional = true },
	{},
};
static const struct qmp_member file_members[] = { { "out", &qmp_string }, {} };
static const struct qmp_member ringbuf_members[] = { { "size", &qmp_integer, .optional = true }, {} };
static const struct qmp_member no_members[] = { {} };
static const struct qmp_type socket_data = { .kind = QMP_OBJECT, .members = socket_members };
static const struct qmp_type file_data = { .kind = QMP_OBJECT, .members = file_members };
static const struct qmp_type ringbuf_data = { .kind = QMP_OBJECT, .members = ringbuf_members };
static const struct qmp_type no_data = { .kind = QMP_OBJECT, .members = no_members };
static const struct qmp_member backend_members[] = {
	{ "type", &backend_type },
	{ "data", &file_data, .tag = "type", .value = "file" },
	{ "data", &no_data, .tag = "type", .value = "null" },
	{ "data", &no_data, .tag = "type", .value = "pty" },
	{ "data", &ringbuf_data, .tag = "type", .value = "ringbuf" },
	{ "data", &socket_data, .tag = "type", .value = "socket" },
	{},
};
static const struct qmp_type backend = { .kind = QMP_OBJECT, .members = backend_members };
const struct qmp_member qmp_chardev_add_args[] = { { "id", &qmp_string }, { "backend", &backend }, {} };
const struct qmp_member qmp_chardev_remove_args[] = { { "id", &qmp_string }, {} };

static const char *const formats[] = { "utf8", "base64", NULL };
static const struct qmp_type format = { .kind = QMP_ENUM, .values = formats };
const struct qmp_member qmp_ringbuf_read_args[] = {
	{ "device", &qmp_string },
	{ "size", &qmp_integer },
	{ "format", &format, .optional = true },
	{},
};
const struct qmp_member qmp_ringbuf_write_args[] = {
	{ "device", &qmp_string },
	{ "data", &qmp_string },
	{ "format", &format, .optional = true },
	{},
};

/* ---- what there is ---- */

static void put(JsonArray *list, const char *label, bool open, const char *filename)
{
	JsonObject *o = json_object_new();

	json_object_set_string_member(o, "label", label);
	qmp_put_text(o, "filename", filename);
	json_object_set_boolean_member(o, "frontend-open", open);
	json_array_add_object_element(list, o);
}

static void put_chardev(void *opaque, const char *label, struct chardev *c)
{
	g_autofree char *text = char_describe(c);

	put(opaque, label, char_is_open(c), text);
}

JsonNode *qmp_query_chardev(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	g_autofree char *monitor = g_strdup_printf("unix:%s,server=on", qmp_server_path(vmm->qmp));
	JsonArray *list = json_array_new();

	vmm_each_chardev(vmm, put_chardev, list);
	put(list, "qmp", true, monitor);
	return qmp_array(list);
}

JsonNode *qmp_query_chardev_backends(void *opaque, JsonObject *args, GError **error)
{
	JsonArray *list = json_array_new();

	for (unsigned i = 0; backends[i]; i++) {
		JsonObject *o = json_object_new();

		json_object_set_string_member(o, "name", backends[i]);
		json_array_add_object_element(list, o);
	}
	return qmp_array(list);
}

/* ---- opening ---- */

static bool flag(JsonObject *o, const char *name, bool otherwise)
{
	return json_object_get_boolean_member_with_default(o, name, otherwise);
}

static struct chardev *open_socket(JsonObject *data, GError **error)
{
	JsonObject *where = json_object_get_object_member(json_object_get_object_member(data, "addr"), "data");
	gint64 reconnect = json_object_get_int_member_with_default(data, "reconnect", 0);
	struct char_socket s = {
		.path = qmp_text(where, "path"),
		.host = qmp_text(where, "host"),
		.port = qmp_text(where, "port"),
		.server = flag(data, "server", true),
		.reconnect = (unsigned)reconnect,
	};

	if (s.server && json_object_has_member(data, "reconnect"))
		qmp_fail(error, QMP_ERROR_GENERIC, "'reconnect' option is incompatible with socket in server listen mode");
	else if (!s.server && json_object_has_member(data, "wait"))
		qmp_fail(error, QMP_ERROR_GENERIC, "'wait' option is incompatible with socket in client connect mode");
	else if (flag(data, "wait", false))
		qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'wait' does not accept value 'true'");
	else if (!flag(data, "nodelay", true))
		qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'nodelay' does not accept value 'false'");
	else if (reconnect < 0 || reconnect > G_MAXINT32 / 1000)
		qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'reconnect' is out of range");
	else
		return char_open_socket(&s, error);
	return NULL;
}

/* What the sandbox closes: the terminals of others are where ours would be. */
static struct chardev *open_pty(GError **error)
{
	struct chardev *c = char_open("pty", error);

	if (!c && access("/dev/ptmx", R_OK | W_OK) == 0)
		g_prefix_error(error, "with --sandbox off, or on the command line, there may be one: ");
	return c;
}

static struct chardev *open_backend(JsonObject *backend_object, GError **error)
{
	const char *type = json_object_get_string_member(backend_object, "type");
	JsonObject *data = json_object_get_object_member(backend_object, "data");
	g_autofree char *spec = NULL;
	gint64 size;

	if (g_str_equal(type, "socket"))
		return open_socket(data, error);
	if (g_str_equal(type, "null"))
		return char_open_null();
	if (g_str_equal(type, "pty"))
		return open_pty(error);
	if (g_str_equal(type, "file")) {
		spec = g_strconcat("file:", json_object_get_string_member(data, "out"), NULL);
		return char_open(spec, error);
	}
	size = json_object_get_int_member_with_default(data, "size", 0);
	return char_open_ringbuf((uint64_t)size, error);
}

/* Where the other side is to be found, if that is not known yet. */
static JsonNode *opened(JsonObject *args, struct chardev *c)
{
	const char *type = json_object_get_string_member(json_object_get_object_member(args, "backend"), "type");
	JsonObject *o = json_object_new();

	if (g_str_equal(type, "pty"))
		qmp_put_text(o, "pty", c->where);
	return qmp_object(o);
}

JsonNode *qmp_chardev_add(void *opaque, JsonObject *args, GError **error)
{
	const char *id = json_object_get_string_member(args, "id");
	struct vmm *vmm = opaque;
	struct chardev *c;
	bool in_use;

	if (vmm_find_chardev(vmm, id, &in_use))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Chardev with id '%s' already exists", id);
	c = open_backend(json_object_get_object_member(args, "backend"), error);
	if (c && vmm_add_chardev(vmm, id, c, error))
		return opened(args, c);
	char_close(c);
	g_prefix_error(error, "Failed to add chardev '%s': ", id);
	return NULL;
}

/* The device that has it goes on with the other one; of the terminal there is one alone. */
JsonNode *qmp_chardev_change(void *opaque, JsonObject *args, GError **error)
{
	const char *id = json_object_get_string_member(args, "id");
	struct vmm *vmm = opaque;
	bool in_use;
	struct chardev *c = vmm_find_chardev(vmm, id, &in_use), *other;

	if (!c)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Chardev '%s' does not exist", id);
	if (g_str_equal(c->kind->name, "stdio"))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Chardev '%s' is the terminal and cannot be changed", id);
	other = open_backend(json_object_get_object_member(args, "backend"), error);
	if (!other)
		return NULL;
	char_change(c, other);
	return opened(args, c);
}

JsonNode *qmp_chardev_remove(void *opaque, JsonObject *args, GError **error)
{
	const char *id = json_object_get_string_member(args, "id");
	struct vmm *vmm = opaque;
	bool in_use;

	if (!vmm_find_chardev(vmm, id, &in_use))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Chardev '%s' not found", id);
	if (in_use)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Chardev '%s' is busy", id);
	vmm_remove_chardev(vmm, id);
	return qmp_nothing();
}

/* ---- buffers ---- */

static struct chardev *find_ringbuf(struct vmm *vmm, const char *id, GError **error)
{
	bool in_use;
	struct chardev *c = vmm_find_chardev(vmm, id, &in_use);

	if (c && char_is_ringbuf(c))
		return c;
	if (c)
		qmp_fail(error, QMP_ERROR_GENERIC, "%s is not a ringbuf device", id);
	else
		qmp_fail(error, QMP_ERROR_GENERIC, "Device '%s' not found", id);
	return NULL;
}

static bool is_base64(JsonObject *args)
{
	return !g_strcmp0(qmp_text(args, "format"), "base64");
}

JsonNode *qmp_ringbuf_read(void *opaque, JsonObject *args, GError **error)
{
	struct chardev *c = find_ringbuf(opaque, json_object_get_string_member(args, "device"), error);
	gint64 size = json_object_get_int_member(args, "size");
	g_autofree uint8_t *data = NULL;
	g_autofree char *text = NULL;
	size_t n;

	if (!c)
		return NULL;
	if (size <= 0)
		return qmp_fail(error, QMP_ERROR_GENERIC, "size must be greater than zero");
	size = MIN(size, READ_MAX);
	data = g_malloc((gsize)size);
	n = char_ringbuf_read(c, data, (size_t)size);
	text = is_base64(args) ? g_base64_encode(data, n) : g_utf8_make_valid((const char *)data, (gssize)n);
	return json_node_init_string(json_node_alloc(), text);
}

JsonNode *qmp_ringbuf_write(void *opaque, JsonObject *args, GError **error)
{
	struct chardev *c = find_ringbuf(opaque, json_object_get_string_member(args, "device"), error);
	const char *text = json_object_get_string_member(args, "data");
	g_autoptr(GBytes) given = g_bytes_new_static(text, strlen(text)), bytes = NULL;

	if (!c)
		return NULL;
	bytes = is_base64(args) ? qmp_base64(given, error) : g_bytes_ref(given);
	if (!bytes)
		return NULL;
	char_ringbuf_write(c, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	return qmp_nothing();
}
