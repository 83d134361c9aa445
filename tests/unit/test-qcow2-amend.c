/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Another width of a qcow2 image's reference counts, another version: the content stays, counts are right, and a crash at any
 * moment leaves an image with the old or the new ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format.h"
#include "mem-file.h"

enum { SIZE = 600 << 10, CRASHES = 40, WRITES = 60 };

static struct image *open_image(struct mem_file *f, const char *options)
{
	GError *error = NULL;
	struct image *img = mem_image_open(f, &image_qcow2, options, &error);

	if (!img)
		fail_msg("%s", error->message);
	return img;
}

static void check(struct image *img, const uint8_t *content, bool leaks)
{
	g_autofree uint8_t *got = g_malloc(SIZE);
	struct image_check r;
	GError *error = NULL;

	assert_true(img->format->check(img, 0, NULL, NULL, &r, &error));
	assert_int_equal(r.corruptions + r.check_errors, 0);
	assert_true(leaks || !r.leaks);
	assert_int_equal(image_read(img, 0, got, SIZE), 0);
	assert_memory_equal(got, content, SIZE);
}

static void write_some(struct image *img, GRand *rand, uint8_t *content)
{
	for (unsigned i = 0; i < WRITES; i++) {
		uint64_t at = g_rand_int_range(rand, 0, SIZE / 512 - 8) * 512, len = g_rand_int_range(rand, 1, 8) * 512;

		memset(content + at, g_rand_int_range(rand, 1, 256), len);
		assert_int_equal(image_write(img, at, content + at, len), 0);
	}
}

static bool amend_as(struct image *img, const char *options)
{
	g_autoptr(GVariant) o = mem_parse(options);
	GError *error = NULL;
	bool ok = img->format->amend(img, o, &error);

	g_clear_error(&error);
	return ok;
}

static bool amend(struct image *img, unsigned bits)
{
	g_autofree char *text = g_strdup_printf("'refcount_bits': <'%u'>", bits);

	return amend_as(img, text);
}

static void replay(const struct mem_file *before, const struct mem_file *f, GRand *rand, const uint8_t *content)
{
	for (unsigned i = 0; i < CRASHES; i++) {
		struct mem_file *crashed = mem_file_crash(before, f->log, g_rand_int_range(rand, 0, f->log->len + 1), rand);
		struct image *img = open_image(crashed, "'check': <true>");

		check(img, content, true);
		mem_image_end(img);
		mem_file_free(crashed);
	}
}

/* A snapshot needs more than one bit. */
static void one(unsigned from, unsigned to, unsigned cluster, bool snapshot)
{
	g_autofree char *text = g_strdup_printf("'cluster_size': <'%u'>, 'refcount_bits': <'%u'>", cluster, from);
	struct mem_file *f = mem_file_new(NULL, 0), *before;
	GRand *rand = g_rand_new_with_seed(from * 100 + to + cluster);
	g_autofree uint8_t *content = g_malloc0(SIZE);
	g_autoptr(GVariant) o = mem_parse(text);
	bool can = !snapshot || to > 1;
	GError *error = NULL;
	struct image *img;

	assert_true(image_qcow2.create(&f->base, SIZE, o, &error));
	img = open_image(f, "");
	write_some(img, rand, content);
	if (snapshot)
		assert_true(img->format->snapshot_create(img, "s", &error));
	write_some(img, rand, content);
	mem_image_end(img);
	before = mem_file_new(f->bytes->data, f->bytes->len);
	mem_file_record(f);
	img = open_image(f, "");
	assert_int_equal(amend(img, to), can);
	check(img, content, false);
	mem_image_end(img);
	replay(before, f, rand, content);
	img = open_image(f, "");
	write_some(img, rand, content);
	if (snapshot)
		assert_true(img->format->snapshot_delete(img, "s", &error));
	check(img, content, false);
	mem_image_end(img);
	mem_file_free(before);
	mem_file_free(f);
	g_rand_free(rand);
}

static void test_width(void **state)
{
	static const unsigned widths[] = {1, 2, 16, 64};

	for (unsigned i = 0; i < 16; i++)
		for (unsigned snapshot = 0; snapshot < 2; snapshot++)
			if (!snapshot || widths[i / 4] > 1)
				one(widths[i / 4], widths[i % 4], i % 3 ? 512 : 4096, snapshot);
}

static void write_zeroes(struct image *img, GRand *rand, uint8_t *content)
{
	for (unsigned i = 0; i < 10; i++) {
		uint64_t at = g_rand_int_range(rand, 0, SIZE / 4096 - 10) * 4096;
		uint64_t len = g_rand_int_range(rand, 1, 10) * 4096;

		memset(content + at, 0, len);
		assert_int_equal(image_write_zeroes(img, at, len, i % 2 ? IMAGE_MAY_UNMAP : 0), 0);
	}
}

/* Version 2 has no zeroes: they become holes, which read the same; in snapshots as well. */
static void test_downgrade(void **state)
{
	for (unsigned seed = 0; seed < 10; seed++) {
		struct mem_file *f = mem_file_new(NULL, 0), *before;
		GRand *rand = g_rand_new_with_seed(seed);
		g_autofree uint8_t *content = g_malloc0(SIZE), *then = NULL;
		const char *options = seed % 2 ? "'cluster_size': <'512'>, 'lazy_refcounts': <'on'>" : "'cluster_size': <'2k'>";
		g_autoptr(GVariant) o = mem_parse(options);
		struct image *img;

		assert_true(image_qcow2.create(&f->base, SIZE, o, NULL));
		img = open_image(f, "");
		write_some(img, rand, content);
		write_zeroes(img, rand, content);
		if (seed % 3) {
			assert_true(img->format->snapshot_create(img, "s", NULL));
			then = g_memdup2(content, SIZE);
			write_some(img, rand, content);
			write_zeroes(img, rand, content);
		}
		mem_image_end(img);
		before = mem_file_new(f->bytes->data, f->bytes->len);
		mem_file_record(f);
		img = open_image(f, "");
		assert_true(amend_as(img, "'compat': <'0.10'>"));
		check(img, content, false);
		mem_image_end(img);
		replay(before, f, rand, content);
		img = open_image(f, "");
		check(img, content, false);
		write_some(img, rand, content);
		check(img, content, false);
		assert_true(amend_as(img, "'compat': <'1.1'>, 'refcount_bits': <'8'>"));
		check(img, content, false);
		if (then) {
			assert_true(img->format->snapshot_apply(img, "s", NULL));
			check(img, then, false);
		}
		mem_image_end(img);
		mem_file_free(before);
		mem_file_free(f);
		g_rand_free(rand);
	}
}

static void test_refused(void **state)
{
	struct mem_file *f = mem_file_new(NULL, 0);
	g_autoptr(GVariant) o = mem_parse("'compat': <'0.10'>");
	struct image *img;

	assert_true(image_qcow2.create(&f->base, SIZE, o, NULL));
	img = open_image(f, "");
	assert_true(amend(img, 16));
	assert_false(amend(img, 8));
	assert_false(amend(img, 3));
	assert_false(amend(img, 0));
	assert_false(amend(img, 128));
	mem_image_end(img);
	mem_file_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_width),
		cmocka_unit_test(test_downgrade),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
