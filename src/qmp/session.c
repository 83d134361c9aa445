/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Negotiation and dispatch. See session.h. */
#include "session.h"

#include <string.h>

#include "introspect.h"

static const char *const capabilities[] = { "oob", NULL };
static const struct qmp_type capability = { .kind = QMP_ENUM, .values = capabilities };
static const struct qmp_type capability_list = { .kind = QMP_LIST, .item = &capability };
static const struct qmp_member capabilities_args[] = { { "enable", &capability_list, .optional = true }, {} };

/* Of the known capabilities none is offered. */
static JsonNode *run_capabilities(void *opaque, JsonObject *args, GError **error)
{
	struct qmp_session *s = opaque;
	JsonNode *enable = json_object_get_member(args, "enable");
	JsonArray *list = enable ? json_node_get_array(enable) : NULL;

	if (list && json_array_get_length(list))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Capability %s not available", json_array_get_string_element(list, 0));
	s->negotiated = true;
	return qmp_nothing();
}

static void put_names(JsonArray *list, const struct qmp_command *commands)
{
	for (const struct qmp_command *c = commands; c->name; c++) {
		JsonObject *o = json_object_new();

		json_object_set_string_member(o, "name", c->name);
		json_array_add_object_element(list, o);
	}
}

static JsonNode *run_commands(void *opaque, JsonObject *args, GError **error);
static JsonNode *run_schema(void *opaque, JsonObject *args, GError **error);

/* The session's own; their opaque is the session. */
static const struct qmp_command own[] = {
	{ "qmp_capabilities", run_capabilities, capabilities_args },
	{ "query-commands", run_commands },
	{ "query-qmp-schema", run_schema },
	{},
};

static JsonNode *run_schema(void *opaque, JsonObject *args, GError **error)
{
	const struct qmp_session *s = opaque;
	const struct qmp_command *const tables[] = { own, s->commands };

	return qmp_introspect(tables, G_N_ELEMENTS(tables), s->events);
}

static JsonNode *run_commands(void *opaque, JsonObject *args, GError **error)
{
	const struct qmp_session *s = opaque;
	JsonArray *list = json_array_new();

	put_names(list, own);
	put_names(list, s->commands);
	return qmp_array(list);
}

static const struct qmp_command *find(const struct qmp_command *table, const char *name)
{
	while (table->name && strcmp(table->name, name))
		table++;
	return table->name ? table : NULL;
}

/* The members of a command message; false with the error set. */
static bool check_request(JsonObject *o, GError **error)
{
	JsonObjectIter iter;
	const char *name;
	JsonNode *node;

	json_object_iter_init_ordered(&iter, o);
	while (json_object_iter_next_ordered(&iter, &name, &node)) {
		if (!strcmp(name, "execute")) {
			if (json_node_get_value_type(node) != G_TYPE_STRING)
				return qmp_fail(error, QMP_ERROR_GENERIC, "QMP input member 'execute' must be a string");
		} else if (!strcmp(name, "arguments")) {
			if (!JSON_NODE_HOLDS_OBJECT(node))
				return qmp_fail(error, QMP_ERROR_GENERIC, "QMP input member 'arguments' must be an object");
		} else if (strcmp(name, "id")) {
			return qmp_fail(error, QMP_ERROR_GENERIC, "QMP input member '%s' is unexpected", name);
		}
	}
	if (!json_object_has_member(o, "execute"))
		return qmp_fail(error, QMP_ERROR_GENERIC, "QMP input lacks member 'execute'");
	return true;
}

static JsonNode *run(const struct qmp_command *c, void *opaque, JsonObject *request, GError **error)
{
	JsonNode *given = json_object_get_member(request, "arguments");
	g_autoptr(JsonObject) args = given ? json_node_dup_object(given) : json_object_new();

	if (!c->checks_args && !qmp_check_members(c->args, args, error))
		return NULL;
	return c->run(opaque, args, error);
}

static JsonNode *execute(struct qmp_session *s, JsonObject *request, GError **error)
{
	const struct qmp_command *c;
	const char *name;

	if (!check_request(request, error))
		return NULL;
	name = json_object_get_string_member(request, "execute");
	c = find(own, name);
	if (!s->negotiated && (!c || c->run != run_capabilities))
		return qmp_fail(error, QMP_ERROR_COMMAND_NOT_FOUND, "Expecting capabilities negotiation with 'qmp_capabilities'");
	if (s->negotiated && c && c->run == run_capabilities)
		return qmp_fail(error, QMP_ERROR_COMMAND_NOT_FOUND,
				"Capabilities negotiation is already complete, command ignored");
	if (c)
		return run(c, s, request, error);
	c = find(s->commands, name);
	if (c)
		return run(c, s->opaque, request, error);
	return qmp_fail(error, QMP_ERROR_COMMAND_NOT_FOUND, "The command %s has not been found", name);
}

char *qmp_session_answer(struct qmp_session *s, JsonNode *message, const GError *fault)
{
	g_autoptr(JsonNode) owned = message;
	g_autoptr(GError) error = NULL;
	JsonObject *request;
	JsonNode *value, *id;

	if (!message)
		return qmp_line_error(fault, NULL);
	if (!JSON_NODE_HOLDS_OBJECT(message)) {
		qmp_fail(&error, QMP_ERROR_GENERIC, "QMP input must be a JSON object");
		return qmp_line_error(error, NULL);
	}
	request = json_node_get_object(message);
	id = json_object_get_member(request, "id");
	value = execute(s, request, &error);
	return value ? qmp_line_return(value, id) : qmp_line_error(error, id);
}
