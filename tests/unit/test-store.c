/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Definitions as files: what is trusted without reading it, names, links, what a crash or a person leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "log.h"
#include "store.h"

#define UUID "1b5a0f6e-0000-4000-8000-0000000000"

enum { MANY = 200, OLDER_US = 60000 };

static char *dir;

static int setup(void **state)
{
	dir = g_dir_make_tmp("kv-test-XXXXXX", NULL);
	return 0;
}

static void remove_all(const char *path)
{
	GDir *d = g_dir_open(path, 0, NULL);
	const char *name;

	while (d && (name = g_dir_read_name(d))) {
		g_autofree char *below = g_build_filename(path, name, NULL);

		if (g_file_test(below, G_FILE_TEST_IS_DIR) && !g_file_test(below, G_FILE_TEST_IS_SYMLINK))
			remove_all(below);
		else
			g_unlink(below);
	}
	if (d)
		g_dir_close(d);
	g_rmdir(path);
}

static int teardown(void **state)
{
	remove_all(dir);
	g_clear_pointer(&dir, g_free);
	return 0;
}

static char *xml_of(const char *name, unsigned n)
{
	g_autofree char *escaped = g_markup_escape_text(name, -1);

	return g_strdup_printf("<domain type='kvm'>\n  <name>%s</name>\n  <uuid>" UUID "%02x</uuid>\n</domain>\n", escaped,
			       n % 256);
}

static struct store *reopen(struct store *s)
{
	g_autoptr(GError) error = NULL;

	store_free(s);
	s = store_open(dir, "domain", 0, &error);
	assert_non_null(s);
	return s;
}

static void put(struct store *s, const char *name, unsigned n)
{
	g_autofree char *xml = xml_of(name, n), *uuid = g_strdup_printf(UUID "%02x", n % 256);
	g_autoptr(GError) error = NULL;

	assert_true(store_write(s, name, uuid, xml, &error));
}

static void list(void *opaque, const struct store_entry *e)
{
	g_string_append_printf(opaque, "%s %s%s;", e->name, *e->uuid ? e->uuid + strlen(UUID) : "none",
			       e->autostart ? " auto" : "");
}

static void assert_list(struct store *s, const char *wanted)
{
	GString *text = g_string_new(NULL);

	store_each(s, list, text);
	assert_string_equal(text->str, wanted);
	g_string_free(text, TRUE);
}

static void names(void **state)
{
	static const char *const all[] = { "a",	  "..",		  ".hidden",   "x/../../etc/passwd",
					   "50%", "caf\xc3\xa9", "two words", "new\nline" };
	g_autofree char *large = g_strnfill(300, 'n'), *text = NULL;
	g_autoptr(GError) error = NULL;
	struct store *s = reopen(NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(all); i++)
		put(s, all[i], i);
	assert_false(store_write(s, large, NULL, "<domain/>", &error));
	g_clear_error(&error);
	assert_false(store_write(s, "", NULL, "<domain/>", &error));
	s = reopen(s);
	assert_list(s, ".. 01;.hidden 02;50% 04;a 00;caf\xc3\xa9 05;new\nline 07;two words 06;x/../../etc/passwd 03;");
	text = store_read(s, "x/../../etc/passwd", NULL);
	assert_non_null(strstr(text, "passwd</name>"));
	store_free(s);
}

static void links(void **state)
{
	g_autoptr(GError) error = NULL;
	struct store *s = reopen(NULL);

	put(s, "a", 1);
	put(s, "b", 2);
	assert_true(store_set_autostart(s, "b", true, &error));
	assert_true(store_set_autostart(s, "b", true, &error));
	put(s, "b", 3); /* redefined */
	s = reopen(s);
	assert_list(s, "a 01;b 03 auto;");
	assert_true(store_set_autostart(s, "b", false, &error));
	assert_true(store_set_autostart(s, "b", false, &error));
	assert_true(store_set_autostart(s, "a", true, &error));
	s = reopen(s);
	assert_list(s, "a 01 auto;b 03;");
	assert_true(store_remove(s, "a", &error));
	assert_true(store_remove(s, "a", &error));
	put(s, "a", 4); /* another one: it does not start by itself */
	s = reopen(s);
	assert_list(s, "a 04;b 03;");
	assert_null(store_read(s, "none", &error));
	assert_non_null(error);
	store_free(s);
}

/* Only what an index knows to be unchanged is not read; a person's edit is seen even with the size and time of before. */
static void index_is_a_hint(void **state)
{
	g_autofree char *path = NULL, *index = NULL, *edited = xml_of("dom7", 0x77);
	struct store *s = reopen(NULL);
	struct utimbuf times;
	struct stat st;

	for (unsigned i = 0; i < MANY; i++) {
		g_autofree char *name = g_strdup_printf("dom%u", i);

		put(s, name, i);
	}
	g_usleep(OLDER_US);
	put(s, "last", 0);
	s = reopen(s);
	assert_true(store_parsed(s) <= 1); /* the youngest: the clock may stand still between it and the index */
	path = store_path(s, "dom7", NULL);
	assert_int_equal(stat(path, &st), 0);
	g_usleep(OLDER_US);
	s = reopen(s);
	s = reopen(s);
	assert_int_equal(store_parsed(s), 0);
	assert_true(g_file_set_contents(path, edited, -1, NULL));
	times = (struct utimbuf){ st.st_atime, st.st_mtime };
	assert_int_equal(utime(path, &times), 0);
	s = reopen(s);
	assert_int_equal(store_parsed(s), 1);
	store_free(s);
	index = g_build_filename(dir, ".index", NULL);
	assert_int_equal(truncate(index, 1000), 0);
	s = reopen(NULL);
	assert_int_equal(store_parsed(s), MANY + 1);
	store_free(s);
}

static void leftovers_and_strangers(void **state)
{
	static const char *const files[][2] = {
		{ ".new-abc123", "<domain><name>cut" }, { "other.txt", "x" },	  { "empty.xml", "" },
		{ "bad.xml", "<domain>" },		{ "net.xml", "<network><name>net</name></network>" },
		{ "a.xml", "<domain><name>b</name></domain>" },
	};
	g_autofree char *cut = g_build_filename(dir, ".new-abc123", NULL), *loop = g_build_filename(dir, "loop.xml", NULL);
	g_autofree char *folder = g_build_filename(dir, "folder.xml", NULL);
	struct store *s;

	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *path = g_build_filename(dir, files[i][0], NULL);

		assert_true(g_file_set_contents(path, files[i][1], -1, NULL));
	}
	assert_int_equal(symlink("loop.xml", loop), 0);
	assert_int_equal(mkdir(folder, 0700), 0);
	s = reopen(NULL);
	assert_list(s, "");
	assert_int_equal(access(cut, F_OK), -1);
	put(s, "good", 9);
	s = reopen(s);
	assert_list(s, "good 09;");
	store_free(s);
}

static void status_files(void **state)
{
	g_autoptr(GError) error = NULL;
	struct store *s = store_open(dir, "domstatus", STORE_STATUS, &error);

	assert_true(store_write(s, "a", NULL, "<domstatus pid='1'/>", &error));
	store_free(s);
	s = store_open(dir, "domstatus", STORE_STATUS, &error);
	assert_list(s, "a none;");
	assert_true(store_remove(s, "a", &error));
	assert_list(s, "");
	store_free(s);
}

/* ---- power cuts ---- */

static char *file_in(const char *name)
{
	return g_build_filename(dir, name, NULL);
}

static void write_file(const char *name, const char *data, gssize len)
{
	g_autofree char *path = file_in(name);

	assert_true(g_file_set_contents(path, data, len, NULL));
}

static char *read_file(const char *name, gsize *ret_len)
{
	g_autofree char *path = file_in(name);
	char *data = NULL;

	g_file_get_contents(path, &data, ret_len, NULL);
	return data;
}

/* A store with changes that only the journal has for certain, as a process leaves it that is gone at once: its journal. */
static char *unsettled(gsize *ret_len)
{
	g_autoptr(GError) error = NULL;
	struct store *s = reopen(NULL);
	char *journal;

	put(s, "old", 1);
	put(s, "removed", 2);
	s = reopen(s); /* these are settled */
	put(s, "old", 3);
	put(s, "new", 4);
	put(s, "new", 5);
	put(s, "brief", 6);
	assert_true(store_remove(s, "removed", &error));
	assert_true(store_remove(s, "brief", &error));
	journal = read_file(".journal", ret_len);
	assert_non_null(journal);
	store_free(s);
	return journal;
}

/* The folder as a file system without its last commits may have it, and a journal of another boot. */
static void cut_power(char *journal, gsize len, bool of_this_boot)
{
	g_autofree char *old = xml_of("old", 1), *removed = xml_of("removed", 2), *brief = xml_of("brief", 6);
	static const char *const files[] = { "old.xml", "removed.xml", "brief.xml" };
	const struct utimbuf past = { 1000000000, 1000000000 };
	GChecksum *sum = g_checksum_new(G_CHECKSUM_MD5);
	guint8 digest[16];
	gsize digest_len = sizeof(digest);

	if (!of_this_boot)
		journal[16] ^= 1; /* after magic and round */
	g_checksum_update(sum, (guchar *)journal, 56);
	g_checksum_get_digest(sum, digest, &digest_len);
	memcpy(journal + 56, digest, 8);
	g_checksum_free(sum);
	write_file("old.xml", old, -1);
	write_file("removed.xml", removed, -1);
	write_file("brief.xml", brief, -1);
	write_file("new.xml", "", 0); /* its blocks were never written */
	write_file(".journal", journal, (gssize)len);
	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *path = file_in(files[i]);

		assert_int_equal(utime(path, &past), 0);
	}
}

static void after_a_power_cut(void **state)
{
	gsize len;
	g_autofree char *journal = unsettled(&len);
	struct store *s;

	cut_power(journal, len, false);
	s = reopen(NULL);
	assert_list(s, "new 05;old 03;");
	s = reopen(s);
	assert_list(s, "new 05;old 03;");
	store_free(s);
}

/* Without a power cut a file is what counts, whatever the journal says of it; and one that was edited after it always. */
static void edited_files_stay(void **state)
{
	gsize len;
	g_autofree char *journal = unsettled(&len), *edited = xml_of("old", 7), *path = file_in("old.xml");
	const struct utimbuf later = { 4000000000, 4000000000 };
	struct store *s;

	cut_power(journal, len, true);
	s = reopen(NULL);
	assert_list(s, "brief 06;old 01;removed 02;");
	store_free(s);
	cut_power(journal, len, false);
	write_file("old.xml", edited, -1);
	assert_int_equal(utime(path, &later), 0);
	s = reopen(NULL);
	assert_list(s, "new 05;old 07;");
	store_free(s);
}

/* Each definition is one that was stored once, wherever the journal was cut or damaged. */
static void damaged_journal(void **state)
{
	gsize len;
	g_autofree char *journal = unsettled(&len);

	for (gsize at = 64; at < 8192; at += 61) {
		g_autofree char *damaged = g_memdup2(journal, len);
		gsize kept = at % 2 || at < 4096 ? len : at;
		struct store *s;
		GString *text = g_string_new(NULL);

		damaged[at] ^= 0x55;
		cut_power(damaged, kept, false);
		s = reopen(NULL);
		store_each(s, list, text);
		assert_true(strstr(text->str, "old 01;") || strstr(text->str, "old 03;"));
		assert_null(strstr(text->str, "none"));
		put(s, "after", 8);
		store_free(s);
		s = reopen(NULL);
		g_string_assign(text, "");
		store_each(s, list, text);
		assert_non_null(strstr(text->str, "after 08;"));
		store_free(s);
		g_string_free(text, TRUE);
	}
}

/* More than it has room for, and texts that it never has: all there, and on the way each round begins anew. */
static void full_journal(void **state)
{
	g_autofree char *large = g_strnfill(2 << 20, ' '), *half = g_strnfill(300 << 10, ' ');
	g_autofree char *xml = g_strconcat("<domain><name>large</name>", large, "</domain>", NULL);
	g_autoptr(GError) error = NULL;
	struct store *s = reopen(NULL);
	unsigned n = 0;

	for (unsigned i = 0; i < 36; i++) {
		g_autofree char *name = g_strdup_printf("half%u", i), *text = NULL;

		text = g_strdup_printf("<domain><name>%s</name>%s</domain>", name, half);
		assert_true(store_write(s, name, "", text, &error));
	}
	assert_true(store_write(s, "large", "", xml, &error));
	s = reopen(s);
	for (unsigned i = 0; i < 36; i++) {
		g_autofree char *name = g_strdup_printf("half%u", i), *text = store_read(s, name, NULL);

		n += text && strlen(text) > 300 << 10;
	}
	assert_int_equal(n, 36);
	g_free(store_read(s, "large", &error));
	assert_null(error);
	store_free(s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names, setup, teardown),
		cmocka_unit_test_setup_teardown(links, setup, teardown),
		cmocka_unit_test_setup_teardown(index_is_a_hint, setup, teardown),
		cmocka_unit_test_setup_teardown(leftovers_and_strangers, setup, teardown),
		cmocka_unit_test_setup_teardown(status_files, setup, teardown),
		cmocka_unit_test_setup_teardown(after_a_power_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(edited_files_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_journal, setup, teardown),
		cmocka_unit_test_setup_teardown(full_journal, setup, teardown),
	};

	kv_log_set_program("test-store");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
