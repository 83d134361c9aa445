/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kv-img's own arithmetic: sizes as QEMU reads and prints them, lists of options, QEMU's order of JSON members, what is zero. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "img.h"

static void test_parse_size(void **state)
{
	static const struct {
		const char *text;
		int res;
		uint64_t size;
	} cases[] = {
		{"0", 0, 0},
		{"1", 0, 1},
		{"512b", 0, 512},
		{"64k", 0, 65536},
		{"64K", 0, 65536},
		{"1.5k", 0, 1536},
		{"0.5M", 0, 524288},
		{"1G", 0, 1ull << 30},
		{"2T", 0, 2ull << 40},
		{"3P", 0, 3ull << 50},
		{"15E", 0, 15ull << 60},
		{"0x1000", 0, 4096},
		{"18446744073709551615", 0, UINT64_MAX},
		{"16E", -ERANGE, 0},
		{"18446744073709551616", -ERANGE, 0},
		{"17179869184G", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"k", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"+1", 0, 1},
		{" 1k", 0, 1024},
		{"1.k", 0, 1024},
		{"++1", -EINVAL, 0},
		{"+ 1", -EINVAL, 0},
		{"1.5", -EINVAL, 0},
		{"1q", -EINVAL, 0},
		{"1kk", -EINVAL, 0},
		{"1.5e3k", -EINVAL, 0},
		{"1e3", -EINVAL, 0},
		{"inf", -EINVAL, 0},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		uint64_t size = 0;
		int res = img_parse_size(cases[i].text, &size);

		if (res != cases[i].res || size != cases[i].size)
			fail_msg("'%s' is %d, %" G_GUINT64_FORMAT, cases[i].text, res, size);
	}
}

static void test_human_size(void **state)
{
	static const struct {
		uint64_t size;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{1, "1 B"},
		{999, "999 B"},
		{1000, "0.977 KiB"},
		{1024, "1 KiB"},
		{200704, "196 KiB"},
		{1023 << 10, "0.999 MiB"},
		{3ull << 29, "1.5 GiB"},
		{1ull << 40, "1 TiB"},
		{UINT64_MAX, "16 EiB"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *text = img_human_size(cases[i].size);

		assert_string_equal(text, cases[i].text);
	}
}

static void check_split(const char *text, const char *expected)
{
	g_auto(GStrv) words = img_split_options(text);
	g_autofree char *joined = g_strjoinv("|", words);

	assert_string_equal(joined, expected);
}

static void test_split_options(void **state)
{
	check_split("", "");
	check_split("a=1", "a|1");
	check_split("a=1,b=2", "a|1|b|2");
	check_split("a=1,,2,b=", "a|1,2|b|");
	check_split("a=b=c", "a|b=c");
	check_split("lazy", "lazy|on");
	check_split("nolazy,nocow=on", "lazy|off|nocow|on");
}

/* The order is what qemu-img info prints. */
static void test_json_order(void **state)
{
	json_t *value = json_pack("{s:b,s:i,s:s,s:{s:s,s:s},s:i}", "dirty-flag", 0, "actual-size", 1, "format", "raw",
				  "format-specific", "data", "d", "type", "t", "virtual-size", 2);
	json_t *ordered = img_json_order(value);
	char *text = json_dumps(ordered, JSON_COMPACT);

	assert_string_equal(
		text,
		"{\"virtual-size\":2,\"format\":\"raw\",\"actual-size\":1,\"format-specific\":{\"type\":\"t\",\"data\":\"d\"},"
		"\"dirty-flag\":false}");
	free(text);
	json_decref(ordered);
	json_decref(value);
}

static void test_is_zero(void **state)
{
	uint8_t buf[300] = {0};

	for (size_t len = 0; len <= sizeof(buf); len++)
		assert_true(img_is_zero(buf, len));
	for (size_t at = 0; at < sizeof(buf); at++) {
		buf[at] = 1;
		for (size_t len = 0; len <= sizeof(buf); len++)
			if (img_is_zero(buf, len) != (len <= at))
				fail_msg("%zu bytes with a one at %zu", len, at);
		buf[at] = 0;
	}
}

static void test_resolve(void **state)
{
	static const char *const cases[][3] = {
		{"a.qcow2", "b", "b"},	   {"dir/a.qcow2", "b", "dir/b"}, {"/x/y/a", "z/b", "/x/y/z/b"},
		{"dir/a", "/abs", "/abs"}, {"dir/a", "../b", "dir/../b"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *path = img_resolve(cases[i][0], cases[i][1]);

		assert_string_equal(path, cases[i][2]);
	}
}

static void test_parts(void **state)
{
	static const struct {
		bool json;
		const char *text, *path, *format; /* path NULL: wrong, and format is what the message has */
	} cases[] = {
		{false, "driver=qcow2,file.filename=a", "a", "qcow2"},
		{false, "file.driver=file,file.filename=nbd:x", "./nbd:x", NULL},
		{false, "driver=file,filename=a", "a", "raw"},
		{false, "driver=nbd,path=/s,export=a b", "nbd+unix:///a%20b?socket=/s", "raw"},
		{false, "driver=nbd,server.type=unix,server.path=/s", "nbd+unix:///?socket=/s", "raw"},
		{false, "driver=vdi,file.driver=nbd,file.host=h,file.port=1", "nbd://h:1/", "vdi"},
		{false, "file.driver=nbd,file.host=::1", "nbd://[::1]:10809/", NULL},
		{false, "driver=raw", NULL, "has no file.filename"},
		{false, "driver=raw,file.driver=http,file.filename=x", NULL, "driver 'http'"},
		{false, "driver=raw,offset=1,file.filename=x", NULL, "offset=1 is not supported"},
		{false, "file.driver=nbd", NULL, "either server.host or server.path"},
		{false, "file.driver=nbd,file.server.type=vsock", NULL, "not 'vsock'"},
		{true, "{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"a\"}}", "a", "qcow2"},
		{true, "{\"driver\":\"qcow2\",\"file.filename\":\"a\",\"read-only\":true}", "a", "qcow2"},
		{true, "{\"driver\":\"nbd\",\"server\":{\"type\":\"inet\",\"host\":\"h\",\"port\":10}}", "nbd://h:10/",
		 "raw"},
		{true, "{\"file\":{\"driver\":\"nbd\",\"server.path\":\"/s\",\"export\":\"e\"}}",
		 "nbd+unix:///e?socket=/s", NULL},
		{true, "{\"file\":[]}", NULL, "member 'file'"},
		{true, "[]", NULL, "is no JSON object"},
		{true, "{", NULL, "is no JSON object"},
		{true, "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}}", NULL, "objects in each other"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *path = NULL, *format = NULL;
		g_autoptr(GError) error = NULL;
		bool ok = (cases[i].json ? img_read_json : img_read_image_opts)(cases[i].text, &path, &format, &error);

		if (ok != (cases[i].path != NULL) || (!ok && !strstr(error->message, cases[i].format)) ||
		    (ok && (strcmp(path, cases[i].path) || g_strcmp0(format, cases[i].format))))
			fail_msg("'%s' is %s, %s, %s", cases[i].text, path, format, error ? error->message : "no error");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_size), cmocka_unit_test(test_human_size), cmocka_unit_test(test_split_options),
		cmocka_unit_test(test_json_order), cmocka_unit_test(test_is_zero),
		cmocka_unit_test(test_parts),	   cmocka_unit_test(test_resolve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
