/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A QMP session without a socket: negotiation, requests, and arguments against shapes of every kind, with QEMU's texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "session.h"

static const char *const drivers[] = { "file", "null", NULL };
static const struct qmp_type driver = { .kind = QMP_ENUM, .values = drivers };
static const struct qmp_type numbers = { .kind = QMP_LIST, .item = &qmp_number };
static const struct qmp_member inner_members[] = { { "n", &qmp_integer }, { "on", &qmp_boolean, .optional = true }, {} };
static const struct qmp_type inner = { .kind = QMP_OBJECT, .members = inner_members };
static const struct qmp_member echo_args[] = {
	{ "driver", &driver },
	{ "filename", &qmp_string, .tag = "driver", .value = "file" },
	{ "size", &qmp_integer, .optional = true, .tag = "driver", .value = "null" },
	{ "numbers", &numbers, .optional = true },
	{ "inner", &inner, .optional = true },
	{ "any", &qmp_any, .optional = true },
	{},
};

static JsonNode *run_echo(void *opaque, JsonObject *args, GError **error)
{
	return qmp_object(json_object_ref(args));
}

static JsonNode *run_fail(void *opaque, JsonObject *args, GError **error)
{
	return qmp_fail(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", (const char *)opaque);
}

static const struct qmp_command commands[] = { { "echo", run_echo, echo_args }, { "fail", run_fail }, {} };

static void expect(struct qmp_session *s, const char *request, const char *wanted)
{
	g_autofree char *got = qmp_session_answer(s, json_from_string(request, NULL), NULL);

	assert_true(g_str_has_suffix(got, "\r\n"));
	assert_string_equal(g_strchomp(got), wanted);
}

static void expect_error(struct qmp_session *s, const char *args, const char *text)
{
	g_autofree char *request = g_strdup_printf("{\"execute\":\"echo\",\"arguments\":%s}", args);
	g_autofree char *wanted = g_strdup_printf("{\"error\":{\"class\":\"GenericError\",\"desc\":\"%s\"}}", text);

	expect(s, request, wanted);
}

static void test_negotiation(void **state)
{
	struct qmp_session s = { .commands = commands, .opaque = (void *)"x" };

	expect(&s, "{\"execute\":\"fail\",\"id\":[1]}",
	       "{\"id\":[1],\"error\":{\"class\":\"CommandNotFound\","
	       "\"desc\":\"Expecting capabilities negotiation with 'qmp_capabilities'\"}}");
	assert_false(s.negotiated);
	expect(&s, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}",
	       "{\"error\":{\"class\":\"GenericError\",\"desc\":\"Capability oob not available\"}}");
	expect(&s, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[]}}", "{\"return\":{}}");
	assert_true(s.negotiated);
	expect(&s, "{\"execute\":\"qmp_capabilities\"}",
	       "{\"error\":{\"class\":\"CommandNotFound\","
	       "\"desc\":\"Capabilities negotiation is already complete, command ignored\"}}");
	expect(&s, "{\"execute\":\"query-commands\",\"id\":\"q\"}",
	       "{\"return\":[{\"name\":\"qmp_capabilities\"},{\"name\":\"query-commands\"},{\"name\":\"query-qmp-schema\"},"
	       "{\"name\":\"echo\"},"
	       "{\"name\":\"fail\"}],\"id\":\"q\"}");
	expect(&s, "{\"execute\":\"fail\"}", "{\"error\":{\"class\":\"DeviceNotFound\",\"desc\":\"Device 'x' not found\"}}");
	expect(&s, "{\"execute\":\"none\"}",
	       "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"The command none has not been found\"}}");
}

static void test_arguments(void **state)
{
	struct qmp_session s = { .commands = commands, .negotiated = true };

	expect(&s, "{\"execute\":\"echo\",\"arguments\":{\"driver\":\"file\",\"filename\":\"f\",\"numbers\":[1,2.5],"
		   "\"inner\":{\"n\":1,\"on\":true},\"any\":[null]}}",
	       "{\"return\":{\"driver\":\"file\",\"filename\":\"f\",\"numbers\":[1,2.5],\"inner\":{\"n\":1,\"on\":true},"
	       "\"any\":[null]}}");
	expect_error(&s, "{}", "Parameter 'driver' is missing");
	expect_error(&s, "{\"driver\":null}", "Invalid parameter type for 'driver', expected: string");
	expect_error(&s, "{\"driver\":\"x\"}", "Parameter 'driver' does not accept value 'x'");
	expect_error(&s, "{\"driver\":\"file\"}", "Parameter 'filename' is missing");
	expect_error(&s, "{\"driver\":\"file\",\"filename\":\"f\",\"size\":1}", "Parameter 'size' is unexpected");
	expect_error(&s, "{\"driver\":\"null\",\"filename\":\"f\"}", "Parameter 'filename' is unexpected");
	expect_error(&s, "{\"driver\":\"null\",\"size\":1.5}", "Invalid parameter type for 'size', expected: integer");
	expect_error(&s, "{\"driver\":\"null\",\"numbers\":{}}", "Invalid parameter type for 'numbers', expected: array");
	expect_error(&s, "{\"driver\":\"null\",\"numbers\":[0,true]}",
		     "Invalid parameter type for 'numbers[1]', expected: number");
	expect_error(&s, "{\"driver\":\"null\",\"inner\":{}}", "Parameter 'inner.n' is missing");
	expect_error(&s, "{\"driver\":\"null\",\"inner\":{\"n\":1,\"on\":1}}",
		     "Invalid parameter type for 'inner.on', expected: boolean");
	expect_error(&s, "{\"driver\":\"null\",\"inner\":{\"n\":1,\"m\":1}}", "Parameter 'inner.m' is unexpected");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_negotiation),
		cmocka_unit_test(test_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
