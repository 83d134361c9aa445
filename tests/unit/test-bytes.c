/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base: unaligned integers, checked arithmetic and error texts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bytes.h"
#include "error.h"

static void test_integers(void **state)
{
	uint8_t b[] = { 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 0xff };

	assert_int_equal(get_le16(b + 1), 0x0201);
	assert_int_equal(get_le32(b + 1), 0x04030201);
	assert_true(get_le64(b + 1) == 0x0807060504030201);
	put_le16(b + 1, 0xa1b2);
	put_le32(b + 3, 0xc1c2c3c4);
	assert_int_equal(b[0], 0xff);
	assert_int_equal(b[1], 0xb2);
	assert_int_equal(b[2], 0xa1);
	assert_int_equal(b[3], 0xc4);
	assert_int_equal(b[6], 0xc1);
	assert_int_equal(b[7], 7);
	put_le64(b + 1, UINT64_C(0x1122334455667788));
	assert_int_equal(b[1], 0x88);
	assert_int_equal(b[8], 0x11);
	assert_int_equal(b[9], 0xff);
}

static void test_align(void **state)
{
	assert_int_equal(align_down(4097, 4096), 4096);
	assert_int_equal(align_up(4097, 4096), 8192);
	assert_int_equal(align_up(4096, 4096), 4096);
	assert_int_equal(align_up(0, 8), 0);
}

static void test_checked(void **state)
{
	uint64_t r = 5;

	assert_false(checked_add(UINT64_MAX, 1, &r));
	assert_false(checked_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &r));
	assert_int_equal(r, 5);
	assert_true(checked_add(UINT64_MAX - 1, 1, &r));
	assert_true(r == UINT64_MAX);
	assert_true(checked_mul(6, 7, &r));
	assert_int_equal(r, 42);
}

static void test_range(void **state)
{
	assert_true(range_inside(0, 10, 10));
	assert_true(range_inside(10, 0, 10));
	assert_false(range_inside(11, 0, 10));
	assert_false(range_inside(1, 10, 10));
	assert_false(range_inside(UINT64_MAX, 2, 10));
	assert_false(range_inside(2, UINT64_MAX, 10));
}

static void test_errors(void **state)
{
	g_autoptr(GError) error = NULL, system_error = NULL;

	assert_false(kv_fail(&error, KV_ERROR_BUSY, "disk '%s' is in use", "a"));
	assert_true(g_error_matches(error, KV_ERROR, KV_ERROR_BUSY));
	assert_string_equal(error->message, "disk 'a' is in use");
	assert_false(kv_fail_errno(&system_error, ENOENT, "file '%s'", "b"));
	assert_true(g_error_matches(system_error, KV_ERROR, KV_ERROR_SYSTEM));
	assert_string_equal(system_error->message, "file 'b': No such file or directory");
	assert_false(kv_fail(NULL, KV_ERROR_USAGE, "nobody reads this"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_integers), cmocka_unit_test(test_align),
		cmocka_unit_test(test_checked),	 cmocka_unit_test(test_range),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
