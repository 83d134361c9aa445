/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mem.c: what lies inside guest memory, to the byte, and the log of devices' writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "error.h"
#include "mem-backing.h"
#include "mem.h"

enum { PAGE = 4096, LOW = 16 * PAGE };

#define HIGH 0x100000000ull

static struct guest_mem *two_blocks(void)
{
	struct guest_mem *mem = mem_new(-1);

	assert_true(mem_add_ram(mem, 0, LOW, NULL));
	assert_true(mem_add_ram(mem, HIGH, 2 * PAGE, NULL));
	return mem;
}

static void pointers(void **state)
{
	struct guest_mem *mem = two_blocks();
	uint8_t *base = gpa_ptr(mem, 0, 1), *high = gpa_ptr(mem, HIGH, 1);

	assert_non_null(base);
	assert_ptr_equal(gpa_ptr(mem, 0, LOW), base);
	assert_ptr_equal(gpa_ptr(mem, LOW - 1, 1), base + LOW - 1);
	assert_ptr_equal(gpa_ptr(mem, HIGH + PAGE, PAGE), high + PAGE);
	assert_null(gpa_ptr(mem, 0, LOW + 1));
	assert_null(gpa_ptr(mem, LOW - 1, 2));
	assert_null(gpa_ptr(mem, LOW, 1));
	assert_null(gpa_ptr(mem, 0, 0));
	assert_null(gpa_ptr(mem, HIGH - 1, 1));
	assert_null(gpa_ptr(mem, HIGH - 1, 2));
	assert_null(gpa_ptr(mem, 1, UINT64_MAX));
	assert_null(gpa_ptr(mem, UINT64_MAX, 1));
	assert_null(gpa_ptr(mem, UINT64_MAX, UINT64_MAX));
	assert_int_equal(mem_total(mem), LOW + 2 * PAGE);
	mem_free(mem);
}

static void copies(void **state)
{
	struct guest_mem *mem = mem_new(-1);
	uint8_t data[32], back[32] = { 0 };

	/* Neighbours: an access may go over the border. */
	assert_true(mem_add_ram(mem, 0, PAGE, NULL));
	assert_true(mem_add_ram(mem, PAGE, PAGE, NULL));
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = i + 1;
	assert_true(gpa_write(mem, PAGE - 10, data, sizeof(data)));
	assert_true(gpa_read(mem, PAGE - 10, back, sizeof(back)));
	assert_memory_equal(data, back, sizeof(data));
	memset(back, 0xee, sizeof(back));
	assert_false(gpa_read(mem, 2 * PAGE - 10, back, sizeof(back)));
	assert_int_equal(back[0], 0xee);
	assert_false(gpa_write(mem, 2 * PAGE - 10, data, sizeof(data)));
	assert_false(gpa_read(mem, UINT64_MAX - 3, back, 8));
	assert_true(gpa_read(mem, UINT64_MAX, back, 0));
	mem_free(mem);
}

static void refuses(void **state)
{
	static const uint64_t bad[][2] = {
		{ 0, PAGE }, { LOW - PAGE, 2 * PAGE }, { LOW + 1, PAGE }, { LOW, PAGE + 1 }, { LOW, 0 },
		{ UINT64_MAX - PAGE + 1, 2 * PAGE }, { LOW, HIGH }, { LOW, 1ull << 63 },
	};
	struct guest_mem *mem = two_blocks();

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		assert_false(mem_add_ram(mem, bad[i][0], bad[i][1], &error));
		assert_non_null(error);
	}
	for (unsigned i = 2; i < G_N_ELEMENTS(mem->block); i++)
		assert_true(mem_add_ram(mem, HIGH * (i + 1), PAGE, NULL));
	assert_false(mem_add_ram(mem, HIGH * 100, PAGE, NULL));
	mem_free(mem);
}

static void clears(void **state)
{
	struct guest_mem *mem = two_blocks();
	uint64_t v = 42;

	assert_true(gpa_write(mem, HIGH + 8, &v, sizeof(v)));
	assert_true(mem_clear(mem, NULL));
	assert_true(gpa_read(mem, HIGH + 8, &v, sizeof(v)));
	assert_int_equal(v, 0);
	mem_free(mem);
}

static void logs_writes(void **state)
{
	struct guest_mem *mem = two_blocks();
	uint8_t b[2] = { 1, 2 };

	assert_true(gpa_write(mem, 0, b, 1));
	assert_false(mem_take_written(mem, 0));
	mem_log_writes(mem, true);
	assert_false(mem_take_written(mem, 0));
	assert_true(gpa_write(mem, PAGE - 1, b, 2));
	mem_written(mem, HIGH + PAGE, 1);
	mem_written(mem, HIGH + PAGE, UINT64_MAX); /* a length that is no length */
	mem_written(mem, LOW, 1);
	assert_true(mem_take_written(mem, 5));
	assert_false(mem_take_written(mem, 5));
	assert_true(mem_take_written(mem, PAGE));
	assert_false(mem_take_written(mem, 2 * PAGE));
	assert_false(mem_take_written(mem, HIGH));
	assert_true(mem_take_written(mem, HIGH + PAGE));
	mem_log_writes(mem, false);
	assert_false(mem_take_written(mem, 0));
	mem_free(mem);
}

/* Where what RAM is made of has its bytes, and that they go: all at once, and page by page where the host can. */
static void backing(const struct mem_backing_config *c, bool can_discard)
{
	static const uint8_t zeroes[PAGE];
	g_autoptr(GError) error = NULL;
	struct mem_backing *b = mem_backing_new("m", c, &error);
	struct guest_mem *mem = mem_new(-1);

	if (!b)
		fail_msg("%s", error->message);
	mem_set_backing(mem, b, LOW);
	assert_true(mem_add_ram(mem, 0, LOW - PAGE, NULL));
	assert_true(mem_add_ram(mem, HIGH, 2 * PAGE, NULL));
	assert_false(mem_add_ram(mem, HIGH + 2 * PAGE, PAGE, NULL));
	assert_false(mem_can_map_file(mem));
	assert_ptr_equal(gpa_ptr(mem, 0, 1), b->host);
	assert_ptr_equal(gpa_ptr(mem, HIGH + PAGE, 1), b->host + LOW + PAGE);
	assert_true(gpa_write(mem, PAGE, "hello", 5));
	assert_true(gpa_write(mem, HIGH + PAGE, "hello", 5));
	assert_int_equal(mem_discard(mem, PAGE, PAGE), can_discard);
	assert_int_equal(memcmp(gpa_ptr(mem, PAGE, PAGE), zeroes, PAGE) == 0, can_discard);
	assert_memory_equal(gpa_ptr(mem, HIGH + PAGE, 5), "hello", 5);
	assert_true(mem_clear(mem, NULL));
	assert_memory_equal(gpa_ptr(mem, PAGE, PAGE), zeroes, PAGE);
	assert_memory_equal(gpa_ptr(mem, HIGH + PAGE, PAGE), zeroes, PAGE);
	assert_true(gpa_write(mem, HIGH, "last", 4));
	mem_free(mem);
	mem_backing_free(b);
}

static void backings(void **state)
{
	g_autofree char *path = NULL;
	g_autofree char *text = NULL;
	int fd = g_file_open_tmp("kvasir-XXXXXX", &path, NULL);
	struct mem_backing_config c = { .size = LOW + 2 * PAGE, .prealloc = true }, file;
	gsize len;

	backing(&c, true);
	c.share = true;
	backing(&c, true);
	c.kind = MEM_BACKING_MEMFD;
	c.seal = true;
	backing(&c, true);
	c.share = false;
	backing(&c, true);
	file = (struct mem_backing_config){ .kind = MEM_BACKING_FILE, .size = c.size, .path = path, .share = true };
	backing(&file, true);
	assert_true(g_file_get_contents(path, &text, &len, NULL));
	assert_int_equal(len, c.size);
	assert_memory_equal(text + LOW, "last", 4);
	file.share = false; /* what the file has would be there again */
	backing(&file, false);
	file.share = file.discard_data = true;
	backing(&file, true);
	g_clear_pointer(&text, g_free);
	assert_true(g_file_get_contents(path, &text, &len, NULL));
	assert_int_equal(text[LOW], 0);
	file.path = g_get_tmp_dir();
	backing(&file, true);
	close(fd);
	unlink(path);
}

static void bad_backings(void **state)
{
	static const struct {
		struct mem_backing_config c;
		const char *message;
	} rows[] = {
		{ { .size = 100 }, "m: size is not a multiple of its pages, of 4 KiB" },
		{ { .size = UINT64_MAX }, "m: size is larger than any memory" },
		{ { .size = PAGE, .policy = MEM_POLICY_BIND }, "host-nodes must be set for policy bind" },
		{ { .kind = MEM_BACKING_MEMFD, .size = PAGE, .hugetlb = true, .hugetlb_size = 5 },
		  "m: hugetlbsize is not a power of 2" },
		{ { .kind = MEM_BACKING_FILE, .size = PAGE, .path = "/no/such/file" },
		  "m: cannot open '/no/such/file': No such file or directory" },
	};
	static const char *const nodes[] = { "x", "1-", "3-1", "128", "1,,2", "-1", "0-128" };
	struct mem_backing_config c = { 0 };

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GError) error = NULL;

		assert_null(mem_backing_new("m", &rows[i].c, &error));
		assert_string_equal(error->message, rows[i].message);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(nodes); i++)
		assert_false(mem_backing_nodes(&c, nodes[i], NULL));
	assert_true(mem_backing_nodes(&c, "", NULL) && mem_backing_nodes(&c, "5-7,127", NULL));
	assert_true(!c.nodes[4] && c.nodes[5] && c.nodes[7] && !c.nodes[8] && c.nodes[127]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pointers), cmocka_unit_test(copies),	   cmocka_unit_test(refuses),
		cmocka_unit_test(clears),   cmocka_unit_test(logs_writes), cmocka_unit_test(backings),
		cmocka_unit_test(bad_backings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
