/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks JSON against shapes. It goes as deep as the tables, not as the JSON. See schema.h. */
#include "schema.h"

#include <string.h>

#include "message.h"

const struct qmp_type qmp_string = { .kind = QMP_STRING };
const struct qmp_type qmp_integer = { .kind = QMP_INTEGER };
const struct qmp_type qmp_uint32 = { .kind = QMP_UINT32 };
const struct qmp_type qmp_uint64 = { .kind = QMP_UINT64 };
const struct qmp_type qmp_number = { .kind = QMP_NUMBER };
const struct qmp_type qmp_boolean = { .kind = QMP_BOOLEAN };
const struct qmp_type qmp_any = { .kind = QMP_ANY };
const struct qmp_type qmp_strings = { .kind = QMP_LIST, .item = &qmp_string };

static const char *const kind_names[] = {
	[QMP_STRING] = "string",   [QMP_INTEGER] = "integer", [QMP_NUMBER] = "number", [QMP_BOOLEAN] = "boolean",
	[QMP_ENUM] = "string",	   [QMP_OBJECT] = "object",   [QMP_LIST] = "array",    [QMP_ANY] = "value",
};

static bool check_object(const struct qmp_member *members, JsonObject *object, const char *path, GError **error);

static bool fails(GError **error, const char *format, const char *a, const char *b)
{
	g_autofree char *text = g_strdup_printf(format, a, b);

	g_set_error_literal(error, QMP_ERROR, QMP_ERROR_GENERIC, text);
	return false;
}

static bool is_kind(enum qmp_kind kind, JsonNode *node)
{
	GType type = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_value_type(node) : G_TYPE_INVALID;

	switch (kind) {
	case QMP_STRING:
	case QMP_ENUM:
		return type == G_TYPE_STRING;
	case QMP_INTEGER:
	case QMP_UINT32:
	case QMP_UINT64:
		return type == G_TYPE_INT64;
	case QMP_NUMBER:
		return type == G_TYPE_INT64 || type == G_TYPE_DOUBLE;
	case QMP_BOOLEAN:
		return type == G_TYPE_BOOLEAN;
	case QMP_OBJECT:
		return JSON_NODE_HOLDS_OBJECT(node);
	case QMP_LIST:
		return JSON_NODE_HOLDS_ARRAY(node);
	case QMP_ANY:
		return true;
	}
	return false;
}

/* QEMU's visitor of small numbers goes through that of large ones, which has words of its own. */
static bool check_unsigned(bool small, JsonNode *node, const char *path, const char *name, GError **error)
{
	if (!is_kind(QMP_UINT64, node))
		return fails(error, "Parameter '%s' expects %s", path, "uint64");
	return !small || (json_node_get_int(node) >= 0 && json_node_get_int(node) <= G_MAXUINT32) ||
	       fails(error, "Parameter '%s' expects %s", name, "uint32_t");
}

/* path is the whole way to the value, name what an unknown word of an enumeration is told with. */
static bool check_value(const struct qmp_type *type, JsonNode *node, const char *path, const char *name, GError **error)
{
	JsonArray *array;

	if (type->kind == QMP_UINT32 || type->kind == QMP_UINT64)
		return check_unsigned(type->kind == QMP_UINT32, node, path, name, error);
	if (!is_kind(type->kind, node))
		return fails(error, "Invalid parameter type for '%s', expected: %s", path, kind_names[type->kind]);
	if (type->kind == QMP_ENUM && !g_strv_contains(type->values, json_node_get_string(node)))
		return fails(error, "Parameter '%s' does not accept value '%s'", name, json_node_get_string(node));
	if (type->kind == QMP_OBJECT)
		return check_object(type->members, json_node_get_object(node), path, error);
	if (type->kind != QMP_LIST)
		return true;
	array = json_node_get_array(node);
	for (guint i = 0; i < json_array_get_length(array); i++) {
		g_autofree char *item = g_strdup_printf("%s[%u]", path, i);

		if (!check_value(type->item, json_array_get_element(array, i), item, item, error))
			return false;
	}
	return true;
}

static bool applies(const struct qmp_member *m, JsonObject *object)
{
	return !m->tag || !g_strcmp0(json_object_get_string_member_with_default(object, m->tag, NULL), m->value);
}

static char *join(const char *path, const char *name)
{
	return *path ? g_strconcat(path, ".", name, NULL) : g_strdup(name);
}

static bool check_known(const struct qmp_member *members, JsonObject *object, const char *path, GError **error)
{
	JsonObjectIter iter;
	const char *name;

	json_object_iter_init_ordered(&iter, object);
	while (json_object_iter_next_ordered(&iter, &name, NULL)) {
		const struct qmp_member *m = members;
		g_autofree char *full = NULL;

		while (m && m->name && (strcmp(m->name, name) || !applies(m, object)))
			m++;
		if (m && m->name)
			continue;
		full = join(path, name);
		return fails(error, "Parameter '%s' is unexpected%s", full, "");
	}
	return true;
}

static bool check_object(const struct qmp_member *members, JsonObject *object, const char *path, GError **error)
{
	for (const struct qmp_member *m = members; m && m->name; m++) {
		JsonNode *node = json_object_get_member(object, m->name);
		g_autofree char *full = join(path, m->name);

		if (!applies(m, object))
			continue;
		if (!node && !m->optional)
			return fails(error, "Parameter '%s' is missing%s", full, "");
		if (node && !check_value(m->type, node, full, m->name, error))
			return false;
	}
	return check_known(members, object, path, error);
}

bool qmp_check_members(const struct qmp_member *members, JsonObject *object, GError **error)
{
	return check_object(members, object, "", error);
}
