/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mem.c: what lies inside guest memory, to the byte, and the log of devices' writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pointers), cmocka_unit_test(copies),	   cmocka_unit_test(refuses),
		cmocka_unit_test(clears),   cmocka_unit_test(logs_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
