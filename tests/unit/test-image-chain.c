/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that stand on others, and formats that move their clusters, with a format that is made for it (toy-image.h): data
 * through the queues against a model, discards under transfers that are under way, names of backing files, making images.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "error.h"
#include "gate.h"
#include "image-rig.h"
#include "toy-image.h"

enum {
	REQUESTS = 1500,
	DEPTH = 32,
	BUSY_ROUNDS = 300,
	RAW_SIZE = TOY_SIZE - 100 * 512, /* shorter than what stands on it */
};

static struct image *open_text(const char *name, const char *extra, GError **error)
{
	g_autofree char *path = rig_path(name);
	g_autofree char *text = g_strdup_printf("{'file': <'%s'>%s}", path, extra);
	g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_new_parsed(text));

	return image_open(options, error);
}

static struct image *open_good(const char *name, const char *extra)
{
	g_autoptr(GError) error = NULL;
	struct image *img = open_text(name, extra, &error);

	if (!img)
		fail_msg("%s", error->message);
	return img;
}

static void expect(const char *name, const char *extra, const char *message)
{
	g_autoptr(GError) error = NULL;

	assert_null(open_text(name, extra, &error));
	assert_non_null(error);
	if (!strstr(error->message, message))
		fail_msg("'%s' lacks '%s'", error->message, message);
}

static void make_toy(const char *name, const char *backing, const char *format)
{
	g_autofree char *path = rig_path(name);

	toy_make(path, backing, format);
}

static void make_raw(const char *name, const void *data, size_t len)
{
	g_autofree char *path = rig_path(name);

	assert_true(g_file_set_contents(path, data, len, NULL));
}

/* ---- against a model ---- */

static void requests(struct image *img, GRand *rand, uint8_t *model, unsigned n)
{
	struct image_queue *q = image_queue_new(img, NULL, DEPTH, NULL);

	assert_non_null(q);
	assert_true(rig_random(img, q, rand, model, 0, TOY_SIZE, n));
	image_queue_free(q);
}

static void against_model(const char *extra)
{
	g_autofree uint8_t *model = g_malloc0(TOY_SIZE), *below = g_malloc(TOY_SIZE), *all = g_malloc(TOY_SIZE);
	g_autoptr(GRand) rand = g_rand_new_with_seed(3);
	struct image *img;

	/* top stands on middle, which has some clusters and stands on a raw file, which is shorter. */
	rig_fill(rand, model, RAW_SIZE);
	make_raw("base", model, RAW_SIZE);
	make_toy("middle", "base", "raw");
	img = open_good("middle", ", 'format': <'toy'>");
	requests(img, rand, model, 20);
	image_close(img);
	memcpy(below, model, TOY_SIZE);
	make_toy("top", "middle", "toy");
	img = open_good("top", extra);
	requests(img, rand, model, REQUESTS);
	assert_int_equal(image_read(img, 0, all, TOY_SIZE), 0);
	assert_memory_equal(all, model, TOY_SIZE);
	assert_int_equal(image_read(img->backing, 0, all, TOY_SIZE), 0);
	assert_memory_equal(all, below, TOY_SIZE);
	image_close(img);
	img = open_good("top", extra); /* and what it was is in the file */
	assert_int_equal(image_read(img, 0, all, TOY_SIZE), 0);
	assert_memory_equal(all, model, TOY_SIZE);
	image_close(img);
}

static void test_uring(void **state)
{
	against_model(", 'format': <'toy'>");
}

static void test_threads(void **state)
{
	against_model(", 'format': <'toy'>, 'aio': <'threads'>");
}

/* Reads of data that is there, of several layers at once, and overwriting it are the kernel's alone. */
static void test_direct(void **state)
{
	static uint8_t data[8 * TOY_CLUSTER], back[sizeof(data)];
	g_autoptr(GRand) rand = g_rand_new_with_seed(4);
	struct image_queue *q;
	struct image *img;
	unsigned maps, writes;

	rig_fill(rand, data, sizeof(data));
	make_raw("base", data, sizeof(data));
	make_toy("top", "base", "raw");
	img = open_good("top", ", 'format': <'toy'>");
	for (unsigned i = 1; i < 8; i += 2)
		assert_int_equal(image_write(img, i * TOY_CLUSTER, data, TOY_CLUSTER), 0);
	for (unsigned i = 1; i < 8; i += 2)
		memcpy(data + i * TOY_CLUSTER, data, TOY_CLUSTER);
	q = image_queue_new(img, NULL, DEPTH, NULL);
	maps = toy_maps;
	writes = toy_writes;
	assert_int_equal(rig_run(q, rand, IMAGE_READ, 0, back, sizeof(back)), 0);
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(rig_run(q, rand, IMAGE_READ, sizeof(data) + 512, back, sizeof(back)), 0); /* beyond the base */
	for (unsigned i = 0; i < sizeof(back); i++)
		assert_int_equal(back[i], 0);
	rig_fill(rand, data + TOY_CLUSTER, 512);
	assert_int_equal(rig_run(q, rand, IMAGE_WRITE, TOY_CLUSTER, data + TOY_CLUSTER, 512), 0);
	assert_int_equal(toy_maps, maps);
	assert_int_equal(toy_writes, writes);
	assert_int_equal(rig_run(q, rand, IMAGE_READ, TOY_CLUSTER, back, TOY_CLUSTER), 0);
	assert_memory_equal(back, data + TOY_CLUSTER, TOY_CLUSTER);
	assert_int_equal(rig_run(q, rand, IMAGE_WRITE, 0, data, 512), 0); /* allocates */
	assert_true(toy_writes > writes);
	image_queue_free(q);
	image_close(img);
}

/* ---- many at a time ---- */

/* A transfer must never reach a cluster that a discard has given to somebody else. */
static void test_discard_under_transfers(void **state)
{
	struct image *img;

	make_toy("busy", NULL, NULL);
	img = open_good("busy", ", 'format': <'toy'>");
	rig_busy(img, TOY_CLUSTER, BUSY_ROUNDS);
	image_close(img);
}

/* Locking out does not need the queue's thread, nor that it kicks; requests meanwhile wait and are done afterwards. */
static void test_lock_out(void **state)
{
	static uint8_t data[TOY_CLUSTER];
	struct rig_wait before = {}, meanwhile = {};
	struct image_queue *q;
	struct image *img;

	make_toy("out", NULL, NULL);
	img = open_good("out", ", 'format': <'toy'>");
	assert_int_equal(image_write(img, 0, data, sizeof(data)), 0);
	q = image_queue_new(img, NULL, DEPTH, NULL);
	before.iov[0] = meanwhile.iov[0] = (struct iovec){ data, sizeof(data) };
	before.req = (struct image_req){ .op = IMAGE_WRITE, .len = sizeof(data), .iov = before.iov, .n_iov = 1 };
	meanwhile.req = (struct image_req){ .op = IMAGE_READ, .len = sizeof(data), .iov = meanwhile.iov, .n_iov = 1 };
	rig_start(q, &before);
	image_lock_out(img);
	assert_false(gate_try_enter(img->gate));
	assert_false(before.over);
	rig_start(q, &meanwhile);
	image_kick(q);
	while (!before.over)
		g_main_context_iteration(NULL, TRUE);
	g_usleep(5000);
	assert_false(g_main_context_iteration(NULL, FALSE) && meanwhile.over);
	image_let_in(img);
	while (!meanwhile.over)
		g_main_context_iteration(NULL, TRUE);
	assert_int_equal(before.res | meanwhile.res, 0);
	assert_true(gate_try_enter(img->gate));
	gate_leave(img->gate);
	image_queue_free(q);
	image_close(img);
}

/* ---- ranges, maps ---- */

static void test_ranges(void **state)
{
	struct image_extent e;
	struct image *img;
	uint8_t data[512];

	make_raw("base", "base", 4);
	make_toy("top", "base", "raw");
	img = open_good("top", ", 'format': <'toy'>, 'readonly': <true>");
	assert_int_equal(image_read(img, TOY_SIZE - 256, data, 512), -EINVAL);
	assert_int_equal(image_read(img, UINT64_MAX, data, 512), -EINVAL);
	assert_int_equal(image_read(img, TOY_SIZE, data, 0), 0);
	assert_int_equal(image_map(img, TOY_SIZE, 0, &e), -EINVAL);
	assert_int_equal(image_write(img, 0, data, 512), -EROFS);
	assert_int_equal(image_write_zeroes(img, 0, 512, 0), -EROFS);
	assert_int_equal(image_discard(img, 0, 512), -EROFS);
	assert_int_equal(image_flush(img), 0);
	assert_int_equal(image_write_compressed(img, 0, data, 512), -EROFS);
	image_close(img);
	img = open_good("top", ", 'format': <'toy'>");
	assert_int_equal(image_write(img, 8, "top", 3), 0);
	assert_int_equal(image_read(img, 0, data, 16), 0);
	assert_memory_equal(data, "base\0\0\0\0top\0", 12);
	assert_int_equal(image_write_compressed(img, 0, data, 512), -ENOTSUP);
	assert_int_equal(image_write_zeroes(img, 9, 1, 0), 0); /* as data */
	assert_int_equal(image_read(img, 8, data, 3), 0);
	assert_memory_equal(data, "t\0p", 3);
	image_close(img);
}

static void test_status(void **state)
{
	static uint8_t data[2 * TOY_CLUSTER] = { 1 };
	struct image_extent e;
	struct image *img;

	make_raw("base", data, sizeof(data));
	make_toy("top", "base", "raw");
	img = open_good("top", ", 'format': <'toy'>");
	assert_int_equal(image_write(img, TOY_CLUSTER, data, 1), 0);
	assert_int_equal(image_map(img, 0, TOY_SIZE, &e), 0);
	assert_int_equal(e.kind, IMAGE_HOLE);
	assert_int_equal(image_status(img, 512, TOY_SIZE - 512, &e), 0);
	assert_int_equal(e.kind, IMAGE_DATA);
	assert_int_equal(e.depth, 1);
	assert_int_equal(e.at, 512);
	assert_int_equal(e.len, TOY_CLUSTER - 512);
	assert_int_equal(image_status(img, TOY_CLUSTER, TOY_CLUSTER, &e), 0);
	assert_int_equal(e.kind, IMAGE_DATA);
	assert_int_equal(e.depth, 0);
	assert_int_equal(image_status(img, 2 * TOY_CLUSTER, TOY_CLUSTER, &e), 0);
	assert_int_equal(e.kind, IMAGE_HOLE);
	image_close(img);
}

/* ---- chains ---- */

static void test_backing_names(void **state)
{
	g_autofree char *base = rig_path("base"), *sub = rig_path("sub"), *inner = rig_path("sub/inner"), *with = NULL;
	struct image *img;
	uint8_t data[4];

	make_raw("base", "base", 4);
	assert_int_equal(g_mkdir(sub, 0700), 0);
	toy_make(inner, "../base", "raw");
	img = open_good("sub/inner", ", 'format': <'toy'>");
	assert_string_equal(img->backing_name, "../base");
	assert_string_equal(img->backing_format, "raw");
	assert_true(img->backing->readonly);
	assert_int_equal(image_read(img, 0, data, 4), 0);
	assert_memory_equal(data, "base", 4);
	image_close(img);
	make_toy("nbd", "nbd:host", "raw");
	expect("nbd", ", 'format': <'toy'>", "'nbd:host' is no NBD export; give nbd://HOST:PORT/NAME");
	make_toy("json", "json:{\"driver\":\"raw\"}", NULL);
	expect("json", ", 'format': <'toy'>", "is neither the name of a file nor an NBD export");
	img = open_good("json", ", 'format': <'toy'>, 'backing': <''>");
	assert_null(img->backing);
	assert_non_null(img->backing_name);
	image_close(img);
	with = g_strdup_printf(", 'format': <'toy'>, 'backing': <'%s'>, 'backing-format': <'raw'>", base);
	img = open_good("json", with);
	assert_int_equal(image_read(img, 0, data, 4), 0);
	assert_memory_equal(data, "base", 4);
	image_close(img);
	expect("base", ", 'format': <'raw'>, 'backing': <'x'>", "raw images stand on no other ones");
	make_toy("odd", "base", "what");
	expect("odd", ", 'format': <'toy'>", "format 'what' is not known; there are: raw, toy");
	make_toy("lost", "nowhere", "raw");
	expect("lost", ", 'format': <'toy'>", "lost': what it stands on: cannot open disk '");
	g_unlink(inner);
	g_rmdir(sub);
}

static void test_loops(void **state)
{
	make_toy("self", "self", "toy");
	expect("self", ", 'format': <'toy'>", "is an image that stands on it");
	make_toy("a", "b", NULL);
	make_toy("b", "c", "toy");
	make_toy("c", "./b", "toy");
	expect("a", ", 'format': <'toy'>", "is an image that stands on it");
	make_toy("d0", NULL, NULL);
	for (unsigned i = 1; i <= 201; i++) {
		g_autofree char *name = g_strdup_printf("d%u", i), *below = g_strdup_printf("d%u", i - 1);

		make_toy(name, below, "toy");
	}
	image_close(open_good("d200", ", 'format': <'toy'>, 'readonly': <true>"));
	expect("d201", ", 'format': <'toy'>, 'readonly': <true>", "is more than 200 images down");
}

static void test_chain_locks(void **state)
{
	struct image *a, *b;

	make_raw("base", "base", 4);
	make_toy("one", "base", "raw");
	make_toy("two", "base", "raw");
	a = open_good("one", ", 'format': <'toy'>");
	b = open_good("two", ", 'format': <'toy'>");
	expect("base", ", 'format': <'raw'>", "is in use by another process");
	image_close(b);
	expect("two", ", 'format': <'toy'>, 'backing-writable': <true>", "is in use by another process");
	expect("one", ", 'format': <'toy'>, 'force-share': <true>", "without locks it can only be read");
	b = open_good("one", ", 'format': <'toy'>, 'force-share': <true>, 'readonly': <true>");
	image_close(b);
	image_close(a);
	a = open_good("one", ", 'format': <'toy'>, 'backing-writable': <true>");
	assert_int_equal(image_write(a->backing, 0, "BASE", 4), 0);
	expect("two", ", 'format': <'toy'>", "is open for writing in another process");
	image_close(a);
}

static void test_guess(void **state)
{
	struct image *img;

	make_raw("base", "base", 4);
	make_toy("top", "base", NULL);
	expect("top", "", "is a toy image; give format=toy, or format=raw to use it as it is");
	img = open_good("top", ", 'format': <'auto'>");
	assert_ptr_equal(img->format, &image_toy);
	assert_ptr_equal(img->backing->format, &image_raw);
	assert_true(img->backing->guessed);
	image_close(img);
	img = open_good("top", ", 'format': <'raw'>");
	assert_false(img->guessed);
	image_close(img);
}

/* A raw disk that was only guessed to be one cannot be made to look like another format, in one write or two. */
static void test_disguise(void **state)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(6);
	struct image_queue *q;
	struct image *img;
	uint8_t data[1024] = "TOYIMAGE";

	make_raw("base", data + 8, sizeof(data) - 8);
	img = open_good("base", ", 'format': <'auto'>");
	assert_int_equal(image_write(img, 0, data, sizeof(data)), -EPERM);
	assert_int_equal(image_write(img, 4, data + 4, 4), 0);
	assert_int_equal(image_write(img, 0, data, 4), -EPERM);
	q = image_queue_new(img, NULL, DEPTH, NULL);
	assert_int_equal(rig_run(q, rand, IMAGE_WRITE, 0, data, sizeof(data)), -EPERM);
	assert_int_equal(rig_run(q, rand, IMAGE_WRITE, 512, data, 512), 0);
	assert_int_equal(rig_run(q, rand, IMAGE_WRITE_ZEROES, 0, NULL, 512), 0);
	assert_int_equal(rig_run(q, rand, IMAGE_READ, 512, data, 512), 0);
	assert_memory_equal(data, "TOYIMAGE", 8);
	image_queue_free(q);
	image_close(img);
	img = open_good("base", ", 'format': <'raw'>");
	assert_int_equal(image_write(img, 0, data, 8), 0);
	image_close(img);
}

/* ---- making and resizing ---- */

static bool create_text(const char *name, const char *extra, GError **error)
{
	g_autofree char *path = rig_path(name), *text = g_strdup_printf("{'file': <'%s'>, %s}", path, extra);
	g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_new_parsed(text));

	return image_create(options, error);
}

static void expect_not_made(const char *name, const char *extra, const char *message)
{
	g_autofree char *path = rig_path(name);
	g_autoptr(GError) error = NULL;
	bool existed = g_access(path, F_OK) == 0;

	assert_false(create_text(name, extra, &error));
	if (!strstr(error->message, message))
		fail_msg("'%s' lacks '%s'", error->message, message);
	assert_int_equal(g_access(path, F_OK) == 0, existed);
}

static void test_create(void **state)
{
	struct image *img;
	GError *error = NULL;

	make_raw("base", "base", 4);
	expect_not_made("new", "'format': <'raw'>", "needs a size");
	expect_not_made("new", "'format': <'raw'>, 'size': <uint64 18446744073709551615>", "are too many");
	expect_not_made("new", "'size': <uint64 512>, 'colour': <'red'>", "option 'colour' is not one of raw images; they have: "
			"preallocation");
	expect_not_made("new", "'size': <uint64 512>, 'backing': <'base'>", "option 'backing' is not one of raw images");
	expect_not_made("new", "'size': <uint64 512>, 'preallocation': <'some'>", "preallocation=some is not known");
	expect_not_made("new", "'size': <uint64 512>, 'preallocation': <'metadata'>", "raw images have no metadata");
	expect_not_made("new", "'format': <'toy'>, 'size': <uint64 512>", "toys have one size");
	expect_not_made("new", "'format': <'toy'>, 'backing': <'base'>", "it seems to be raw");
	expect_not_made("new", "'format': <'toy'>, 'backing': <'none'>, 'backing-format': <'raw'>", "No such file");
	expect_not_made("base", "'format': <'toy'>, 'backing': <'base'>, 'backing-format': <'raw'>", "cannot stand on itself");
	make_toy("below", NULL, NULL);
	assert_true(create_text("new", "'format': <'toy'>, 'backing': <'below'>, 'backing-format': <'toy'>", &error));
	img = open_good("new", ", 'format': <'toy'>");
	assert_ptr_equal(img->backing->format, &image_toy);
	/* Not one that is in use. */
	expect_not_made("new", "'size': <uint64 512>", "is open for writing in another process");
	expect_not_made("newer", "'format': <'toy'>, 'backing': <'new'>, 'backing-format': <'toy'>", "is open for writing");
	image_close(img);
}

static void expect_file(const char *name, off_t size, off_t least_blocks, off_t most_blocks)
{
	g_autofree char *path = rig_path(name);
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, size);
	assert_in_range(st.st_blocks * 512, least_blocks, most_blocks);
}

static void test_raw_create(void **state)
{
	enum { SIZE = 256 << 10 };
	static const char text[] = "'size': <uint64 262100>, 'preallocation': <'%s'>";

	for (unsigned i = 0; i < 3; i++) {
		const char *mode = (const char *[]){ "off", "falloc", "full" }[i];
		g_autofree char *options = g_strdup_printf(text, mode);

		assert_true(create_text("made", options, NULL));
		expect_file("made", SIZE, i ? SIZE : 0, i ? SIZE + 65536 : 0);
	}
}

static void test_raw_resize(void **state)
{
	g_autoptr(GError) error = NULL;
	struct image_extent e;
	struct image *img;

	make_raw("raw", "abc", 3);
	img = open_good("raw", "");
	assert_int_equal(img->size, 512);
	assert_true(image_resize(img, 100000, IMAGE_PREALLOC_OFF, NULL));
	assert_int_equal(img->size, 100352);
	assert_int_equal(image_map(img, 0, 100352, &e), 0);
	assert_int_equal(e.kind, IMAGE_DATA);
	assert_int_equal(image_map(img, 65536, 100352 - 65536, &e), 0);
	assert_int_equal(e.kind, IMAGE_ZERO);
	assert_int_equal(e.len, 100352 - 65536);
	assert_true(image_resize(img, 200704, IMAGE_PREALLOC_FALLOC, NULL));
	assert_true(image_resize(img, 1024, IMAGE_PREALLOC_OFF, NULL));
	expect_file("raw", 1024, 0, 65536);
	assert_false(image_resize(img, 512, IMAGE_PREALLOC_FULL, &error));
	assert_non_null(strstr(error->message, "becomes smaller"));
	image_close(img);
	g_clear_error(&error);
	img = open_good("raw", ", 'readonly': <true>");
	assert_false(image_resize(img, 512, IMAGE_PREALLOC_OFF, &error));
	image_close(img);
	make_toy("toy", NULL, NULL);
	img = open_good("toy", ", 'format': <'toy'>");
	g_clear_error(&error);
	assert_false(image_resize(img, 512, IMAGE_PREALLOC_OFF, &error));
	assert_non_null(strstr(error->message, "toy images keep their size"));
	image_close(img);
}

/* Bytes behind the end of a file: holes there make it longer, and do not lose what is beside. */
static void test_file_end(void **state)
{
	g_autofree char *path = rig_path("file");
	struct image_file *f = image_file_open(path, false, IMAGE_FILE_CREATE, NULL);
	uint64_t run;
	char data[8];

	assert_int_equal(f->type->write_zeroes(f, 65536, 65536, IMAGE_MAY_UNMAP), 0);
	assert_int_equal(image_file_size(f), 131072);
	expect_file("file", 131072, 0, 65536 + 8192);
	assert_int_equal(f->type->write(f, 131072, "abc", 3), 0);
	assert_int_equal(image_file_size(f), 131075);
	assert_int_equal(f->type->read(f, 131070, data, 8), 0);
	assert_memory_equal(data, "\0\0abc\0\0\0", 8);
	assert_false(f->type->has_data(f, 0, 65536, &run));
	assert_int_equal(run, 65536);
	assert_true(f->type->has_data(f, 131072, 65536, &run));
	assert_false(f->type->has_data(f, 1 << 20, 65536, &run));
	assert_int_equal(f->type->read(f, UINT64_MAX - 3, data, 8), -EINVAL);
	assert_int_equal(f->type->write_zeroes(f, INT64_MAX, 8, IMAGE_MAY_UNMAP), -EINVAL);
	image_file_close(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uring),	     cmocka_unit_test(test_threads),
		cmocka_unit_test(test_direct),	     cmocka_unit_test(test_discard_under_transfers),
		cmocka_unit_test(test_lock_out),     cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_status),	     cmocka_unit_test(test_backing_names),
		cmocka_unit_test(test_loops),	     cmocka_unit_test(test_chain_locks),
		cmocka_unit_test(test_guess),	     cmocka_unit_test(test_disguise),
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_raw_create),   cmocka_unit_test(test_raw_resize),
		cmocka_unit_test(test_file_end),
	};

	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
