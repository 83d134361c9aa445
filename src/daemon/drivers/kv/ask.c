/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands to a machine's monitor, and reading what it answers, which is not trusted to be of any shape. See kv.h. */
#include <stdarg.h>

#include "kv.h"

enum { ANSWER_SECONDS = 60 };

JsonNode *kv_ask_until(struct kv_machine *m, const char *command, JsonObject *args, int fd, gint64 until, GError **error)
{
	g_autoptr(GError) why = NULL;
	JsonNode *answer;

	if (!m->qmp || m->gone) {
		if (args)
			json_object_unref(args);
		rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is not running");
		return NULL;
	}
	kv_machine_ref(m);
	answer = qmp_client_call(m->qmp, command, args, fd, until, &why);
	if (!answer && why->domain == QMP_ERROR)
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "unable to execute QEMU command '%s': %s", command, why->message);
	else if (!answer && g_error_matches(why, KV_ERROR, KV_ERROR_BUSY))
		rpc_fail(error, VIR_ERR_OPERATION_TIMEOUT, "'%s': %s", command, why->message);
	else if (!answer)
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "'%s': %s", command, why->message);
	kv_machine_unref(m);
	return answer;
}

JsonNode *kv_ask_fd(struct kv_machine *m, const char *command, JsonObject *args, int fd, GError **error)
{
	return kv_ask_until(m, command, args, fd, g_get_monotonic_time() + ANSWER_SECONDS * G_USEC_PER_SEC, error);
}

JsonNode *kv_ask(struct kv_machine *m, const char *command, JsonObject *args, GError **error)
{
	return kv_ask_fd(m, command, args, -1, error);
}

bool kv_do(struct kv_machine *m, const char *command, JsonObject *args, GError **error)
{
	g_autoptr(JsonNode) answer = kv_ask(m, command, args, error);

	return answer;
}

JsonObject *kv_args(const char *name, ...)
{
	JsonObject *o = json_object_new();
	va_list ap;

	va_start(ap, name);
	for (; name; name = va_arg(ap, const char *)) {
		const char *value = va_arg(ap, const char *);

		if (value)
			qmp_put_text(o, name, value);
	}
	va_end(ap);
	return o;
}

JsonObject *kv_object(JsonNode *node)
{
	return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

JsonArray *kv_array(JsonNode *node)
{
	return node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

static JsonNode *member(JsonObject *o, const char *name)
{
	return o ? json_object_get_member(o, name) : NULL;
}

JsonObject *kv_object_in(JsonObject *o, const char *name)
{
	return kv_object(member(o, name));
}

const char *kv_text_in(JsonObject *o, const char *name)
{
	JsonNode *node = member(o, name);

	return node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
}

gint64 kv_number_in(JsonObject *o, const char *name)
{
	JsonNode *node = member(o, name);

	return node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_int(node) : 0;
}

bool kv_flag_in(JsonObject *o, const char *name)
{
	JsonNode *node = member(o, name);

	return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_boolean(node);
}
