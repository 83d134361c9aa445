/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: the bytes of a QMP client, at once and in single bytes. Whatever they are, each message has one answer, which is
 * a line of JSON, both ways give the same answers, and a command sees only arguments of its shape.
 */
#include <stdlib.h>
#include <string.h>

#include "reader.h"
#include "session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const words[] = { "a", "b", NULL };
static const struct qmp_type word = { .kind = QMP_ENUM, .values = words };
static const struct qmp_member inner_members[] = { { "n", &qmp_integer }, { "on", &qmp_boolean, .optional = true }, {} };
static const struct qmp_type inner = { .kind = QMP_OBJECT, .members = inner_members };
static const struct qmp_type list = { .kind = QMP_LIST, .item = &inner };
static const struct qmp_member args[] = {
	{ "word", &word },
	{ "list", &list, .optional = true },
	{ "names", &qmp_strings, .optional = true, .tag = "word", .value = "b" },
	{ "x", &qmp_any, .optional = true },
	{ "d", &qmp_number, .optional = true },
	{},
};

static JsonNode *run(void *opaque, JsonObject *given, GError **error)
{
	const char *which = json_object_get_string_member(given, "word");

	if (strcmp(which, "a") && strcmp(which, "b"))
		abort();
	if (json_object_has_member(given, "names") && (*which == 'a' || !json_object_get_array_member(given, "names")))
		abort();
	if (json_object_has_member(given, "x"))
		return json_node_ref(json_object_get_member(given, "x"));
	return qmp_nothing();
}

static const struct qmp_command commands[] = { { "run", run, args }, {} };

static void check_line(const char *line)
{
	size_t len = strlen(line);
	g_autoptr(JsonNode) node = NULL;

	if (len < 2 || strcmp(line + len - 2, "\r\n") || memchr(line, '\n', len - 1) || !g_utf8_validate(line, -1, NULL))
		abort();
	node = json_from_string(line, NULL);
	if (!node || !JSON_NODE_HOLDS_OBJECT(node))
		abort();
}

static char *answers(const uint8_t *data, size_t size, size_t step)
{
	struct qmp_session session = { .commands = commands };
	struct qmp_reader *r = qmp_reader_new();
	GString *all = g_string_new(NULL);

	for (size_t at = 0; at < size;) {
		g_autoptr(GError) error = NULL;
		g_autofree char *line = NULL;
		JsonNode *message;
		size_t n = qmp_reader_feed(r, data + at, MIN(step, size - at), &message, &error);

		if (n > MIN(step, size - at) || (!n && !message && !error))
			abort();
		at += n;
		if (!message && !error)
			continue;
		line = qmp_session_answer(&session, message, error);
		check_line(line);
		g_string_append(all, line);
	}
	qmp_reader_free(r);
	return g_string_free(all, FALSE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *whole = answers(data, size, 4096), *single = answers(data, size, 1);

	if (strcmp(whole, single))
		abort();
	return 0;
}
