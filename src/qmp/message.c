/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A server's messages as lines, and errors. See message.h. */
#include "message.h"

#include <stdarg.h>
#include <string.h>

G_DEFINE_QUARK(qmp-error-quark, qmp_error)

static const char *const classes[] = {
	[QMP_ERROR_GENERIC] = "GenericError",
	[QMP_ERROR_COMMAND_NOT_FOUND] = "CommandNotFound",
	[QMP_ERROR_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
	[QMP_ERROR_DEVICE_NOT_FOUND] = "DeviceNotFound",
	[QMP_ERROR_KVM_MISSING_CAP] = "KVMMissingCap",
};

enum qmp_error qmp_error_of_class(const char *name)
{
	for (unsigned i = 0; name && i < G_N_ELEMENTS(classes); i++)
		if (!strcmp(classes[i], name))
			return (enum qmp_error)i;
	return QMP_ERROR_GENERIC;
}

JsonNode *qmp_fail(GError **error, enum qmp_error code, const char *format, ...)
{
	va_list ap;

	if (error) {
		va_start(ap, format);
		*error = g_error_new_valist(QMP_ERROR, (int)code, format, ap);
		va_end(ap);
	}
	return NULL;
}

JsonNode *qmp_object(JsonObject *object)
{
	JsonNode *node = json_node_new(JSON_NODE_OBJECT);

	json_node_take_object(node, object);
	return node;
}

JsonNode *qmp_array(JsonArray *array)
{
	JsonNode *node = json_node_new(JSON_NODE_ARRAY);

	json_node_take_array(node, array);
	return node;
}

void qmp_put_text(JsonObject *o, const char *name, const char *text)
{
	g_autofree char *valid = g_utf8_make_valid(text, -1);

	json_object_set_string_member(o, name, valid);
}

const char *qmp_text(JsonObject *o, const char *name)
{
	JsonNode *node = json_object_get_member(o, name);

	if (!node || !JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING)
		return NULL;
	return json_node_get_string(node);
}

JsonNode *qmp_nothing(void)
{
	return qmp_object(json_object_new());
}

static char *line(JsonObject *object)
{
	g_autoptr(JsonNode) node = qmp_object(object);
	g_autofree char *text = json_to_string(node, FALSE);

	return g_strconcat(text, "\r\n", NULL);
}

static void put_id(JsonObject *o, JsonNode *id)
{
	if (id)
		json_object_set_member(o, "id", json_node_ref(id));
}

char *qmp_line_greeting(JsonNode *version)
{
	JsonObject *o = json_object_new(), *qmp = json_object_new();

	json_object_set_member(qmp, "version", version);
	json_object_set_array_member(qmp, "capabilities", json_array_new());
	json_object_set_object_member(o, "QMP", qmp);
	return line(o);
}

char *qmp_line_return(JsonNode *value, JsonNode *id)
{
	JsonObject *o = json_object_new();

	json_object_set_member(o, "return", value);
	put_id(o, id);
	return line(o);
}

char *qmp_line_error(const GError *error, JsonNode *id)
{
	JsonObject *o = json_object_new(), *e = json_object_new();
	unsigned code = error->domain == QMP_ERROR ? (unsigned)error->code : QMP_ERROR_GENERIC;
	g_autofree char *text = g_utf8_make_valid(error->message, -1);

	json_object_set_string_member(e, "class", classes[code < G_N_ELEMENTS(classes) ? code : QMP_ERROR_GENERIC]);
	json_object_set_string_member(e, "desc", text);
	put_id(o, id);
	json_object_set_object_member(o, "error", e);
	return line(o);
}

char *qmp_line_event(const char *name, JsonObject *data)
{
	JsonObject *o = json_object_new(), *time = json_object_new();
	gint64 now = g_get_real_time();

	json_object_set_int_member(time, "seconds", now / G_USEC_PER_SEC);
	json_object_set_int_member(time, "microseconds", now % G_USEC_PER_SEC);
	json_object_set_object_member(o, "timestamp", time);
	json_object_set_string_member(o, "event", name);
	if (data)
		json_object_set_object_member(o, "data", data);
	return line(o);
}
