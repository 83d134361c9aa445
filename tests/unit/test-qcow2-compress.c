/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Compressed clusters, as bytes: ours are read by a zlib that is called as QEMU calls it; what QEMU's zlib reads is read here,
 * also streams that do not end with the cluster; other ones are errors. Run by meson test.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "qcow2.h"

enum { CLUSTER = 65536, QEMU_WINDOW = -12, PERIOD = 30000 };

/* Noise of a length, again and again: matches as far back as that. */
static uint8_t *repeated(size_t period, size_t len)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(1);
	uint8_t *p = g_malloc(len);

	for (size_t i = 0; i < len; i++)
		p[i] = i < period ? g_rand_int_range(rand, 0, 256) : p[i - period];
	return p;
}

static size_t qemu_deflate(const uint8_t *src, size_t len, uint8_t *dst, size_t room)
{
	z_stream z = {.next_in = (Bytef *)src, .avail_in = len, .next_out = dst, .avail_out = room};

	assert_int_equal(deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, QEMU_WINDOW, 9, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return room - z.avail_out;
}

static void test_written(void **state)
{
	struct qcow2 s = {.cluster_size = CLUSTER, .cluster_bits = 16};
	struct image img = {.state = &s};
	g_autofree uint8_t *src = repeated(PERIOD, CLUSTER);
	g_autofree uint8_t *packed = g_malloc(CLUSTER), *got = g_malloc(CLUSTER);
	z_stream z = {.next_in = packed, .next_out = got, .avail_out = CLUSTER};
	uint64_t len;

	assert_int_equal(qcow2_compress(&img, src, CLUSTER, packed, &len), 0);
	assert_in_range(len, PERIOD, PERIOD + 1000);
	z.avail_in = len;
	assert_int_equal(inflateInit2(&z, QEMU_WINDOW), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	inflateEnd(&z);
	assert_memory_equal(src, got, CLUSTER);
	assert_int_equal(qcow2_inflate(&s, packed, len, got, CLUSTER), 0);
	assert_memory_equal(src, got, CLUSTER);
	/* A short one ends with zeroes; noise does not become smaller. */
	assert_int_equal(qcow2_compress(&img, src, 512, packed, &len), 0);
	assert_int_equal(qcow2_inflate(&s, packed, len, got, CLUSTER), 0);
	assert_memory_equal(src, got, 512);
	assert_int_equal(got[512] | got[CLUSTER - 1], 0);
	g_free(src);
	src = repeated(CLUSTER, CLUSTER);
	assert_int_equal(qcow2_compress(&img, src, CLUSTER, packed, &len), 0);
	assert_int_equal(len, 0);
}

static void test_read(void **state)
{
	struct qcow2 s = {.cluster_size = CLUSTER, .cluster_bits = 16};
	g_autofree uint8_t *src = repeated(3000, 2 * CLUSTER);
	g_autofree uint8_t *packed = g_malloc0(2 * CLUSTER), *got = g_malloc(CLUSTER);
	size_t len = qemu_deflate(src, CLUSTER, packed, 2 * CLUSTER);

	/* With what is left of the last sector behind it, and without the mark of its end. */
	assert_int_equal(qcow2_inflate(&s, packed, len + 100, got, CLUSTER), 0);
	assert_memory_equal(src, got, CLUSTER);
	memset(got, 0, CLUSTER);
	assert_int_equal(qcow2_inflate(&s, packed, len - 1, got, CLUSTER), 0);
	assert_memory_equal(src, got, CLUSTER);
	/* Too short, no stream, nothing. */
	assert_int_equal(qcow2_inflate(&s, packed, len / 2, got, CLUSTER), -EIO);
	assert_int_equal(qcow2_inflate(&s, packed, 0, got, CLUSTER), -EIO);
	memset(packed + 10, 0xff, 200);
	assert_int_equal(qcow2_inflate(&s, packed, len, got, CLUSTER), -EIO);
	len = qemu_deflate(src, CLUSTER - 1, packed, 2 * CLUSTER);
	assert_int_equal(qcow2_inflate(&s, packed, len, got, CLUSTER), -EIO);
	/* One that goes on behind the cluster. */
	len = qemu_deflate(src, 2 * CLUSTER, packed, 2 * CLUSTER);
	memset(got, 0, CLUSTER);
	assert_int_equal(qcow2_inflate(&s, packed, len, got, CLUSTER), 0);
	assert_memory_equal(src, got, CLUSTER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_written),
		cmocka_unit_test(test_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
