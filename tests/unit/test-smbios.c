/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS structures as an OS walks them: the entry point's sums and counts, what was said on the command line, what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "bytes.h"
#include "pc-rig.h"
#include "smbios.h"

struct tables {
	struct machine *m;
	GBytes *anchor, *structures;
	uint8_t uuid[16];
};

static bool build(struct tables *t, uint64_t memory, unsigned cpus, const char *given, GError **error)
{
	g_autoptr(GVariant) v = given ? g_variant_ref_sink(g_variant_new_parsed(given)) : NULL;

	*t = (struct tables){.m = pc_rig_new(memory, cpus)};
	return smbios_build(t->m, v, &t->anchor, &t->structures, t->uuid, error);
}

static void drop(struct tables *t)
{
	if (t->anchor) {
		g_bytes_unref(t->anchor);
		g_bytes_unref(t->structures);
	}
	pc_rig_free(t->m);
}

/* The end of a structure with its strings; *ret_n strings. */
static const uint8_t *end_of(const uint8_t *s, const uint8_t *end, unsigned *ret_n)
{
	const uint8_t *p = s + s[1];

	*ret_n = 0;
	if (p + 2 <= end && !p[0] && !p[1])
		return p + 2;
	while (p < end && *p) {
		const uint8_t *zero = memchr(p, 0, (size_t)(end - p));

		assert_non_null(zero);
		p = zero + 1;
		(*ret_n)++;
	}
	assert_true(p < end);
	return p + 1;
}

/* The nth structure of a type, or NULL; all are walked to the last byte. */
static const uint8_t *find(const struct tables *t, uint8_t type, unsigned nth)
{
	gsize len;
	const uint8_t *s = g_bytes_get_data(t->structures, &len), *end = s + len, *found = NULL;
	unsigned n;

	for (; s < end; s = end_of(s, end, &n)) {
		assert_true(s + 4 <= end && s[1] >= 4 && s + s[1] <= end);
		if (s[0] == type && nth-- == 0)
			found = s;
		if (s[0] == 127)
			assert_ptr_equal(end_of(s, end, &n), end);
	}
	return found;
}

static const char *string(const uint8_t *s, uint8_t n)
{
	const char *p = (const char *)s + s[1];

	if (!n)
		return "";
	while (--n)
		p += strlen(p) + 1;
	return p;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t v = 0;

	while (n--)
		v = (uint8_t)(v + *p++);
	return v;
}

static void entry_point(void **state)
{
	struct tables t;
	gsize len, size;
	const uint8_t *a, *s, *end;
	unsigned count = 0, n;

	assert_true(build(&t, 512 << 20, 2, NULL, NULL));
	a = g_bytes_get_data(t.anchor, &len);
	s = g_bytes_get_data(t.structures, &size);
	end = s + size;
	assert_int_equal(len, 31);
	assert_memory_equal(a, "_SM_", 4);
	assert_memory_equal(a + 16, "_DMI_", 5);
	assert_int_equal(sum(a, 31), 0);
	assert_int_equal(sum(a + 16, 15), 0);
	assert_int_equal(get_le16(a + 22), size);
	for (; s < end; s = end_of(s, end, &n))
		count++;
	assert_int_equal(get_le16(a + 28), count);
	assert_null(find(&t, 0, 0)); /* firmware's own */
	assert_null(find(&t, 2, 0));
	drop(&t);
}

static void words(void **state)
{
	struct tables t;
	const uint8_t *s;
	static const uint8_t uuid[] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
				       0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
	static const uint8_t stored[] = {0x67, 0x45, 0x23, 0x01, 0xab, 0x89, 0xef, 0xcd,
					 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};

	assert_true(build(&t, 512 << 20, 2,
			  "[{'type': <uint64 1>, 'manufacturer': <'Acme'>, 'product': <''>},"
			  " {'type': <uint64 1>, 'uuid': <'01234567-89ab-cdef-0123-456789abcdef'>, 'serial': <'S1'>},"
			  " {'type': <uint64 0>, 'vendor': <'V'>, 'release': <'1.7'>, 'uefi': <true>},"
			  " {'type': <uint64 2>, 'asset': <'A'>}, {'type': <uint64 17>, 'speed': <uint64 3200>}]",
			  NULL));
	s = find(&t, 1, 0);
	assert_string_equal(string(s, s[4]), "Acme");
	assert_int_equal(s[5], 0); /* no product */
	assert_string_equal(string(s, s[7]), "S1");
	assert_memory_equal(s + 8, stored, 16);
	assert_memory_equal(t.uuid, uuid, 16);
	s = find(&t, 0, 0);
	assert_string_equal(string(s, s[4]), "V");
	assert_int_equal(s[20], 1);
	assert_int_equal(s[21], 7);
	assert_int_equal(s[19] & 8, 8);
	s = find(&t, 2, 0);
	assert_string_equal(string(s, s[8]), "A");
	s = find(&t, 17, 0);
	assert_int_equal(get_le16(s + 21), 3200);
	drop(&t);
}

static void sizes(void **state)
{
	struct tables t;
	const uint8_t *s;

	assert_true(build(&t, 20ull << 30, 4, NULL, NULL));
	s = find(&t, 16, 0);
	assert_int_equal(get_le32(s + 7), 20u << 20);
	assert_int_equal(get_le16(s + 13), 2);
	assert_int_equal(get_le16(find(&t, 17, 0) + 12), 16384);
	assert_int_equal(get_le16(find(&t, 17, 1) + 12), 4096);
	assert_null(find(&t, 17, 2));
	s = find(&t, 19, 0);
	assert_int_equal(get_le32(s + 8), (0x80000000ull >> 10) - 1);
	s = find(&t, 19, 1);
	assert_int_equal(get_le32(s + 4), 4u << 20);
	assert_int_equal(get_le32(s + 8), ((4ull << 30) + (18ull << 30)) / 1024 - 1);
	s = find(&t, 4, 0);
	assert_int_equal(s[35], 4);
	assert_null(find(&t, 4, 1));
	drop(&t);
}

static void structures_of_files(void **state)
{
	static const char own[] = "\013\007\000\013\001\000\000First\0\0", broken[] = "\013\377\000\013\0\0";
	g_autofree char *dir = g_dir_make_tmp("kv-smbios-XXXXXX", NULL), *path = g_build_filename(dir, "s", NULL);
	g_autofree char *given = g_strdup_printf("[{'file': <'%s'>}]", path);
	g_autoptr(GError) error = NULL;
	struct tables t;
	const uint8_t *s;

	assert_true(g_file_set_contents(path, own, sizeof(own) - 1, NULL));
	assert_true(build(&t, 512 << 20, 1, given, NULL));
	s = find(&t, 11, 0);
	assert_non_null(s);
	assert_string_equal(string(s, 1), "First");
	drop(&t);
	assert_true(g_file_set_contents(path, broken, sizeof(broken) - 1, NULL));
	assert_false(build(&t, 512 << 20, 1, given, &error));
	assert_non_null(strstr(error->message, "is not one structure"));
	drop(&t);
	g_unlink(path);
	g_rmdir(dir);
}

static void wrong(void **state)
{
	static const struct {
		const char *given, *message;
	} cases[] = {
		{"[{'vendor': <'x'>}]", "--smbios: type is missing; give type=N or file=PATH"},
		{"[{'type': <uint64 9>}]", "--smbios: nothing can be said about type 9; give 0, 1, 2, 3, 4 or 17"},
		{"[{'type': <uint64 0>, 'serial': <'x'>}]",
		 "--smbios: type 0 has no 'serial'; it has vendor version date release uefi"},
		{"[{'type': <uint64 1>, 'uuid': <'x'>}]",
		 "--smbios: uuid: 'x' is not valid; give it as 01234567-89ab-cdef-0123-456789abcdef"},
		{"[{'type': <uint64 0>, 'release': <'1'>}]", "--smbios: release: '1' is not valid; give MAJOR.MINOR"},
		{"[{'type': <uint64 1>, 'file': <'x'>}]", "--smbios: file is a whole structure; give no other key with it"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		struct tables t;

		assert_false(build(&t, 512 << 20, 1, cases[i].given, &error));
		assert_string_equal(error->message, cases[i].message);
		drop(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entry_point), cmocka_unit_test(words), cmocka_unit_test(sizes),
		cmocka_unit_test(structures_of_files), cmocka_unit_test(wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
