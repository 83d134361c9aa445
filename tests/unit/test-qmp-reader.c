/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP's messages from bytes: where they end, what json-glib is kept from, faults and what follows them, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reader.h"

/* Everything that a text gives, one message a line: JSON, or "! " and the error, json-glib's left out. step: bytes at once. */
static char *read_all(const char *text, size_t len, size_t step)
{
	struct qmp_reader *r = qmp_reader_new();
	GString *s = g_string_new(NULL);

	for (size_t at = 0; at < len;) {
		g_autoptr(JsonNode) message = NULL;
		g_autoptr(GError) error = NULL;
		size_t n = qmp_reader_feed(r, (const uint8_t *)text + at, MIN(step, len - at), &message, &error);

		assert_in_range(n, 0, MIN(step, len - at));
		assert_false(message && error);
		if (!n) /* a word that ended before this byte */
			assert_true(message || error);
		at += n;
		if (message) {
			g_autofree char *json = json_to_string(message, FALSE);

			g_string_append_printf(s, "%s\n", json);
		}
		if (error)
			g_string_append_printf(s, "! %s\n", error->domain == JSON_PARSER_ERROR ? "json-glib" : error->message);
	}
	qmp_reader_free(r);
	return g_string_free(s, FALSE);
}

#define FAULT "! JSON parse error, "
#define ESCAPE FAULT "invalid escape sequence in string\n"
#define RANGE FAULT "a number is out of range\n"
#define JSON_GLIB "! json-glib\n"

static const struct {
	const char *text, *wanted;
} texts[] = {
	{ "", "" },
	{ " \t\r\n", "" },
	{ "{}", "{}\n" },
	{ "{}[]", "{}\n[]\n" },
	{ "{\"a\":[1,-2,0.5,true,false,null,\"x\",{}]}", "{\"a\":[1,-2,0.5,true,false,null,\"x\",{}]}\n" },
	{ " { \"a\" : [\r\n 1 ] } \t7\n", "{\"a\":[1]}\n7\n" },
	{ "1 2 -0 1e2 \"x\" true ", "1\n2\n0\n100.0\n\"x\"\ntrue\n" },
	{ "1[]true\"x\"2{}", "1\n[]\ntrue\n\"x\"\n2\n{}\n" },
	{ "9223372036854775807 -9223372036854775808 ", "9223372036854775807\n-9223372036854775808\n" },
	{ "[1e400]{\"a\":-1e400}[1e22][1.5e22]", RANGE RANGE RANGE "[1.5e+22]\n" },
	{ "{'a\"':'}'}", "{\"a\\\"\":\"}\"}\n" },
	{ "'\\'\n", FAULT "stray '\\'\n" },
	{ "\"]\\\"}\\\\\"[\"[\\\\\"]", "\"]\\\"}\\\\\"\n[\"[\\\\\"]\n" },
	{ "\"\\u00e9\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\\\\\\'\"", "\"é😀/\\b\\f\\n\\r\\t\\\\'\"\n" },
	{ "\"\\\\u12\\uD83D\\uDE00\\uffff\"", "\"\\\\u12😀\xef\xbf\xbf\"\n" },
	{ "\"\\u0000\"", ESCAPE },
	{ "\"\\ude00\"", ESCAPE },
	{ "\"\\ud83d\\u0041\"", ESCAPE },
	{ "\"\\ud83d\\ud83d\"", ESCAPE },
	{ "[\"\\ud83d\",\"[\"]", ESCAPE },
	{ "\"\\ud83d\\\"", "" },
	{ "[\"\\u12\",\"] {} [\"]", ESCAPE },
	{ "\"\\377\"", ESCAPE },
	{ "\"\\q\"", ESCAPE },
	{ "\"\xc0\x80\"", JSON_GLIB },
	{ "\"a\nb\"\n1 ", FAULT "stray '\n'\n1\n" },
	{ "@@@ junk {}", FAULT "stray '@'\n{}\n" },
	{ "\xff{}", FAULT "stray '\xef\xbf\xbd'\n{}\n" },
	{ "{\"a\":\xff{}", FAULT "stray '\xef\xbf\xbd'\n{}\n" },
	{ "[1]/* */\n[1/", "[1]\n" FAULT "stray '/'\n" FAULT "stray '/'\n" },
	{ "{\"a\":{\"b\":}} 1 ", JSON_GLIB "1\n" },
	{ "[[{]}] 1 ", JSON_GLIB "1\n" },
	{ "}{} ", JSON_GLIB "{}\n" },
	{ "[1,]{\"a\":1,}{\"a\" 1}{a:1}[1 2]", JSON_GLIB JSON_GLIB JSON_GLIB JSON_GLIB JSON_GLIB },
	{ ":,nul - 1.e ", JSON_GLIB JSON_GLIB JSON_GLIB JSON_GLIB JSON_GLIB },
};

static void test_texts(void **state)
{
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		for (size_t step = 1; step <= 64; step *= 4) {
			g_autofree char *got = read_all(texts[i].text, strlen(texts[i].text), step);

			assert_string_equal(got, texts[i].wanted);
		}
	}
}

static char *repeated(const char *head, const char *piece, size_t count)
{
	GString *s = g_string_new(head);

	while (count--)
		g_string_append(s, piece);
	return g_string_free(s, FALSE);
}

static void expect_first(const char *text, const char *wanted)
{
	g_autofree char *got = read_all(text, strlen(text), 4096);

	if (!g_str_has_prefix(got, wanted))
		fail_msg("'%.100s' does not start with '%s'", got, wanted);
}

static void test_limits(void **state)
{
	g_autofree char *open = repeated("", "[", QMP_NESTING_MAX), *close = repeated("", "]", QMP_NESTING_MAX);
	g_autofree char *deep = g_strconcat(open, close, NULL), *deeper = g_strconcat(open, "{", NULL);
	g_autofree char *most = repeated("[0", ",0", QMP_MESSAGE_MAX / 2 - 2), *large = repeated("\"", "x", QMP_MESSAGE_MAX);
	g_autofree char *most_end = g_strconcat(most, " ]", NULL), *more_end = g_strconcat(most, "  ]", NULL);
	g_autofree char *blank = repeated("", " ", QMP_MESSAGE_MAX), *blank_end = g_strconcat(blank, "[]", NULL);
	g_autofree char *got = read_all(deep, strlen(deep), 1000);

	assert_int_equal(strlen(most_end), QMP_MESSAGE_MAX);
	assert_string_equal(g_strchomp(got), deep);
	expect_first(deeper, "! JSON nesting depth limit exceeded\n");
	expect_first(most_end, "[0,0");
	expect_first(more_end, "! JSON token size limit exceeded\n");
	expect_first(large, "! JSON token size limit exceeded\n");
	expect_first(blank_end, "[]\n");
}

/* A message is counted by itself. */
static void test_many_messages(void **state)
{
	g_autofree char *text = repeated("", "{\"execute\":\"query-status\"}", 20000);
	g_autofree char *got = read_all(text, strlen(text), 4096);

	assert_null(strchr(got, '!'));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_many_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
