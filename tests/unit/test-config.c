/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kv-vmm's options: what is accepted, and the exact message for what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "options.h"

static GVariant *parse(const char *line, GError **error)
{
	g_auto(GStrv) argv = NULL;
	int argc;

	assert_true(g_shell_parse_argv(line, &argc, &argv, NULL));
	return options_parse(argc, argv, error);
}

static const struct {
	const char *line;
	const char *message;
} rejected[] = {
	{ "kv-vmm --kernal x", "unknown option '--kernal'; did you mean --kernel?" },
	{ "kv-vmm -kernel x", "unknown option '-kernel'; did you mean --kernel?" },
	{ "kv-vmm --frobnicate", "unknown option '--frobnicate'; kv-vmm --help lists the known ones" },
	{ "kv-vmm disk.img", "unknown option 'disk.img'; kv-vmm --help lists the known ones" },
	{ "kv-vmm --kernel", "--kernel: needs a value; give --kernel FILE" },
	{ "kv-vmm --kernel=", "--kernel: '' is not valid; give a path" },
	{ "kv-vmm --kernel a --kernel b", "--kernel: given twice; give it once" },
	{ "kv-vmm --no-reboot=on", "--no-reboot: takes no value" },
	{ "kv-vmm --accel tcg", "--accel: 'tcg' is not valid; give auto|kvm|soft" },
	{ "kv-vmm --cpus 0", "--cpus: '0' is not valid; give a number from 1 to 255" },
	{ "kv-vmm --cpus 256", "--cpus: '256' is not valid; give a number from 1 to 255" },
	{ "kv-vmm --cpus two", "--cpus: 'two' is not valid; give a number from 1 to 255" },
	{ "kv-vmm --cpus -1", "--cpus: '-1' is not valid; give a number from 1 to 255" },
	{ "kv-vmm --memory 12Q",
	  "--memory: '12Q' is not valid; give a size from 16M to 1T, as in 512M or 2G" },
	{ "kv-vmm --memory 1M",
	  "--memory: '1M' is not valid; give a size from 16M to 1T, as in 512M or 2G" },
	{ "kv-vmm --memory 99999999999G",
	  "--memory: '99999999999G' is not valid; give a size from 16M to 1T, as in 512M or 2G" },
	{ "kv-vmm --disk ''", "--disk: file: '' is not valid; give a path" },
	{ "kv-vmm --disk file=a,readonyl=on",
	  "--disk: unknown key 'readonyl'; did you mean 'readonly'?" },
	{ "kv-vmm --disk file=a,speed=on",
	  "--disk: unknown key 'speed'; known are file, format, bus and those in man kv-vmm" },
	{ "kv-vmm --disk file=a,readonly", "--disk: readonly: needs a value; give readonly=on|off" },
	{ "kv-vmm --disk file=a,readonly=yes", "--disk: readonly: 'yes' is not valid; give on or off" },
	{ "kv-vmm --disk file=a,file=b", "--disk: file: given twice; give it once" },
	{ "kv-vmm --disk file=a,format=qed",
	  "--disk: format: 'qed' is not valid; give raw|qcow2|vmdk|vpc|vhdx|vdi|auto" },
	{ "kv-vmm --net bridge", "--net: kind: 'bridge' is not valid; give none|user" },
	{ "kv-vmm --net hostfwd=x", "--net: kind is missing; give kind=none|user" },
	{ "kv-vmm --console tty", "--console: 'tty' is not valid; give stdio|pty|file:PATH|unix:PATH" },
	{ "kv-vmm --qmp server=on", "--qmp: socket is missing; give socket=unix:PATH" },
	{ "kv-vmm --qmp tcp:/q", "--qmp: socket: 'tcp:/q' is not valid; give unix:PATH" },
	{ "kv-vmm --qmp unix:/q,server=off", "--qmp: server: 'off' is not valid; give on" },
	{ "kv-vmm --qmp unix:/q,wait=on", "--qmp: wait: 'on' is not valid; give off" },
	{ "kv-vmm --qmp unix:/q --qmp unix:/r", "--qmp: given twice; give it once" },
	{ "kv-vmm --name '\377'", "--name: '?' is not valid; give text in UTF-8" },
};

static void test_rejected(void **state)
{
	for (size_t i = 0; i < G_N_ELEMENTS(rejected); i++) {
		g_autoptr(GError) error = NULL;

		assert_null(parse(rejected[i].line, &error));
		assert_non_null(error);
		assert_string_equal(error->message, rejected[i].message);
	}
}

static void test_tree(void **state)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GVariant) v = parse("kv-vmm --cpus=2 --memory 1536M --kernel /k --no-reboot "
				      "--disk file=/a,,b=c,readonly=on --disk /d --append 'x=1,y' "
				      "--net user,hostfwd=tcp::1-:2,hostfwd=udp::3-:4 --net none",
				      &error);
	g_autofree char *text = NULL;
	g_autoptr(GVariant) wanted = NULL;

	assert_non_null(v);
	wanted = g_variant_ref_sink(g_variant_new_parsed(
		"{'cpus': <uint64 2>, 'memory': <uint64 1610612736>, 'kernel': <'/k'>, "
		"'no-reboot': <true>, 'append': <'x=1,y'>, "
		"'disk': <[{'file': <'/a,b=c'>, 'readonly': <true>}, {'file': <'/d'>}]>, "
		"'net': <[{'kind': <'user'>, 'hostfwd': <['tcp::1-:2', 'udp::3-:4']>}, "
		"{'kind': <'none'>}]>}"));
	text = g_variant_print(v, TRUE);
	assert_int_equal(g_variant_n_children(v), g_variant_n_children(wanted));
	for (gsize i = 0; i < g_variant_n_children(wanted); i++) {
		g_autoptr(GVariant) entry = g_variant_get_child_value(wanted, i);
		g_autoptr(GVariant) key = g_variant_get_child_value(entry, 0);
		g_autoptr(GVariant) boxed = g_variant_get_child_value(entry, 1);
		g_autoptr(GVariant) value = g_variant_get_variant(boxed);
		const char *name = g_variant_get_string(key, NULL);
		g_autoptr(GVariant) got = g_variant_lookup_value(v, name, NULL);
		g_autoptr(GVariant) a = got ? g_variant_get_normal_form(got) : NULL;

		assert_non_null(a);
		/* Dictionaries are unordered: compare what lists print sorted by size. */
		assert_string_equal(g_variant_get_type_string(a), g_variant_get_type_string(value));
		if (!g_str_has_prefix(g_variant_get_type_string(a), "aa"))
			assert_true(g_variant_equal(a, value));
	}
	assert_non_null(strstr(text, "'file': <'/a,b=c'>"));
	assert_non_null(strstr(text, "['tcp::1-:2', 'udp::3-:4']"));
}

/* As g_variant_lookup(), of two trees in turn, and with the text where it is. */
static void test_lookup(void **state)
{
	g_autoptr(GVariant) one = parse("kv-vmm --kernel k --cpus 3 --disk file=a --disk file=b", NULL);
	g_autoptr(GVariant) other = parse("kv-vmm --kernel other --no-reboot", NULL);
	g_autoptr(GVariant) disks = options_lookup_value(one, "disk");
	const char *text = "untouched";
	guint64 n = 0;
	gboolean on = FALSE;

	assert_int_equal(g_variant_n_children(disks), 2);
	assert_true(options_lookup(one, "cpus", "t", &n));
	assert_int_equal(n, 3);
	assert_false(options_lookup(one, "memory", "t", &n));
	assert_false(options_lookup(one, "kernel", "t", &n)); /* another type */
	assert_int_equal(n, 3);
	assert_null(options_lookup_value(other, "disk"));
	assert_false(options_lookup(other, "name", "&s", &text));
	assert_string_equal(text, "untouched");
	assert_true(options_lookup(other, "kernel", "&s", &text) && options_lookup(other, "no-reboot", "b", &on) && on);
	assert_string_equal(text, "other");
	assert_true(options_lookup(one, "kernel", "&s", &text));
	assert_string_equal(text, "k");
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },	       { "4096", 4096 },
		{ "1K", 1024 },	       { "512M", 512ull << 20 },
		{ "2g", 2ull << 30 },  { "3T", 3ull << 40 },
		{ "1GiB", 1ull << 30 }, { "18446744073709551615", UINT64_MAX },
	};
	static const char *const bad[] = { "",	 "K",	"1KB", "1.5G", " 1", "-1",
					   "1M ", "0x1", "18446744073709551616", "16777216T" };
	uint64_t n;

	for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
		assert_true(options_parse_size(good[i].text, &n));
		assert_true(n == good[i].bytes);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		assert_false(options_parse_size(bad[i], &n));
}

static unsigned lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* --help names everything and fits a screen of 25 lines and 100 columns. */
static void test_help(void **state)
{
	g_autofree char *help = options_help();
	g_auto(GStrv) each = g_strsplit(help, "\n", -1);

	assert_true(lines(help) <= 25);
	for (char **l = each; *l; l++)
		assert_true(strlen(*l) <= 100);
	for (const struct option *o = option_table; o->name; o++) {
		g_autofree char *name = g_strconcat("--", o->name, " ", NULL);

		assert_true(o->rare == !strstr(help, name));
	}
}

/* The man page describes every option and every key, and no option that is not there. */
static void test_man_page(void **state)
{
	g_autofree char *page = NULL;
	g_autoptr(GRegex) regex = g_regex_new("\\\\-\\\\-([a-z]+(?:\\\\-[a-z]+)*)", 0, 0, NULL);
	g_autoptr(GMatchInfo) match = NULL;

	assert_true(g_file_get_contents(MAN_PAGE, &page, NULL, NULL));
	for (const struct option *o = option_table; o->name; o++) {
		g_auto(GStrv) parts = g_strsplit(o->name, "-", -1);
		g_autofree char *roff = g_strjoinv("\\-", parts);
		g_autofree char *head = g_strconcat(".BR \\-\\-", roff, NULL);
		g_autofree char *head2 = g_strconcat(".B \\-\\-", roff, NULL);

		if (!strstr(page, head) && !strstr(page, head2))
			fail_msg("--%s is not in the man page", o->name);
		for (const struct option *k = o->keys; k && k->name; k++) {
			g_autofree char *key = g_strconcat(".B ", k->name, NULL);

			if (!strstr(page, key))
				fail_msg("--%s: %s is not in the man page", o->name, k->name);
		}
	}
	g_regex_match(regex, page, 0, &match);
	while (g_match_info_matches(match)) {
		g_autofree char *name = g_match_info_fetch(match, 1);
		g_auto(GStrv) parts = g_strsplit(name, "\\-", -1);
		g_autofree char *plain = g_strjoinv("-", parts);

		if (!options_find(option_table, plain))
			fail_msg("the man page describes --%s, which does not exist", plain);
		g_match_info_next(match, NULL);
	}
}

static const struct {
	const char *text, *message;
} bad_files[] = {
	{ "cpus 2\n\n# more\nmemory 3", "f:4: --memory: '3' is not valid; give a size from 16M to 1T, as in 512M or 2G" },
	{ "kernal x\n", "f:1: unknown option '--kernal'; did you mean --kernel?" },
	{ "\t--disk  file=a,speed=on \r\n",
	  "f:1: --disk: unknown key 'speed'; known are file, format, bus and those in man kv-vmm" },
	{ "cpus 2\ncpus 3\n", "f:2: --cpus: given twice; give it once" },
	{ "kernel\n", "f:1: --kernel: needs a value; give --kernel FILE" },
	{ "kernel=\n", "f:1: --kernel: '' is not valid; give a path" },
	{ "no-reboot on", "f:1: --no-reboot: takes no value" },
	{ "config other", "f:1: --config: a file cannot name another; give both on the command line" },
	{ "name \377", "--config: 'f' is not text in UTF-8" },
	{ "= 5", "f:1: unknown option '--'; kv-vmm --help lists the known ones" },
};

static void test_bad_files(void **state)
{
	g_autoptr(GError) nul = NULL;

	for (size_t i = 0; i < G_N_ELEMENTS(bad_files); i++) {
		g_autoptr(GError) error = NULL;

		assert_null(options_parse_text("f", bad_files[i].text, strlen(bad_files[i].text), &error));
		assert_string_equal(error->message, bad_files[i].message);
	}
	assert_null(options_parse_text("f", "name a\0b", 8, &nul));
	assert_non_null(strstr(nul->message, "not text"));
}

static void test_file(void **state)
{
	static const char text[] = "# a machine\nmemory = no\n"
				   "append console=ttyS0  quiet=\"1\" # not a comment\n"
				   "--disk file=a.raw,id=a\r\ndisk=file=b.raw\n"
				   "no-reboot\n cpus 2 \nsmp cores=2\n";
	g_autofree char *path = NULL, *line = NULL, *size = NULL;
	g_autoptr(GVariant) both = NULL, plain = NULL, missing = NULL;
	g_autoptr(GError) error = NULL;
	int fd = g_file_open_tmp("kv-config-XXXXXX", &path, NULL);

	assert_true(fd >= 0 && g_close(fd, NULL));
	assert_true(g_file_set_contents(path, text, -1, NULL));
	line = g_strdup_printf("kv-vmm --config %s --cpus 4 --disk file=c.raw", path);
	both = parse(line, &error);
	size = g_strdup_printf("%s:2: --memory: 'no' is not valid; give a size from 16M to 1T, as in 512M or 2G",
			       path);
	assert_null(both);
	assert_string_equal(error->message, size);
	g_clear_error(&error);
	assert_true(g_file_set_contents(path, strstr(text, "append"), -1, NULL));
	both = parse(line, &error);
	assert_non_null(both);
	g_free(line);
	line = g_strdup_printf("kv-vmm --config %s --append 'console=ttyS0  quiet=\"1\" # not a comment' "
			       "--disk file=a.raw,id=a --disk file=b.raw --disk file=c.raw --no-reboot --cpus 4 --smp cores=2",
			       path);
	assert_true(g_file_set_contents(path, "", 0, NULL));
	plain = parse(line, &error);
	assert_int_equal(g_variant_n_children(both), g_variant_n_children(plain));
	for (const struct option *o = option_table; o->name; o++) {
		g_autoptr(GVariant) a = g_variant_lookup_value(both, o->name, NULL);
		g_autoptr(GVariant) b = g_variant_lookup_value(plain, o->name, NULL);

		assert_true(a == b || (a && b && g_variant_equal(a, b)));
	}
	assert_int_equal(g_unlink(path), 0);
	missing = parse(line, &error);
	assert_null(missing);
	assert_non_null(strstr(error->message, "--config: cannot read"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rejected), cmocka_unit_test(test_tree),
		cmocka_unit_test(test_sizes),	 cmocka_unit_test(test_help),
		cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_man_page), cmocka_unit_test(test_bad_files), cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
