/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VDI, VHD, VHDX and VMDK from several threads and through queues: writers of neighbouring sectors share blocks that are not
 * there yet, while others flush and read. What QEMU makes of such images is for tests/interop/formats.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "bytes.h"
#include "error.h"
#include "foreign.h"

enum { THREADS = 4, SECTOR = 512, STEP = 40 * 1024 - 512, WRITES = 150, DISK = THREADS * STEP * 40, DEPTH = 16 };

static const struct {
	const char *format, *extra;
} kinds[] = {
	{ "vdi", "" },
	{ "vdi", ", 'static': <'on'>" },
	{ "vpc", ", 'force_size': <'on'>" },
	{ "vpc", ", 'force_size': <'on'>, 'subformat': <'fixed'>" },
	{ "vmdk", "" },
	{ "vhdx", ", 'block_size': <'1M'>" },
};

static char *dir, *path;

static int make_dir(void **state)
{
	dir = g_dir_make_tmp("kv-test-XXXXXX", NULL);
	path = g_build_filename(dir, "image", NULL);
	return dir ? 0 : -1;
}

static int remove_dir(void **state)
{
	g_unlink(path);
	g_rmdir(dir);
	g_free(path);
	g_free(dir);
	return 0;
}

static GVariant *options_of(const char *format, const char *extra)
{
	g_autofree char *text = g_strdup_printf("{'file': <'%s'>, 'format': <'%s'>%s}", path, format, extra);

	return g_variant_ref_sink(g_variant_new_parsed(text));
}

static void make(unsigned kind, uint64_t size)
{
	g_autofree char *extra = g_strdup_printf(", 'size': <uint64 %" PRIu64 ">%s", size, kinds[kind].extra);
	g_autoptr(GVariant) options = options_of(kinds[kind].format, extra);
	g_autoptr(GError) error = NULL;

	image_create(options, &error);
	assert_null(error);
}

static struct image *open_image(unsigned kind)
{
	g_autoptr(GVariant) options = options_of(kinds[kind].format, "");
	g_autoptr(GError) error = NULL;
	struct image *img = image_open(options, &error);

	assert_null(error);
	return img;
}

/* The n-th write of a thread: where, and its bytes. Threads take turns, STEP bytes each, which is no block's size. */
static uint64_t place(unsigned thread, unsigned n)
{
	return ((uint64_t)(n * 7 % 40) * THREADS + thread) * STEP + n % 13 * SECTOR;
}

static void fill(uint8_t *buf, unsigned thread, unsigned n)
{
	memset(buf, thread * 61 + n * 7 + 1, SECTOR);
}

struct worker {
	struct image *img;
	unsigned thread;
	int res;
};

static void *work(void *opaque)
{
	struct worker *w = opaque;
	uint8_t buf[SECTOR], back[SECTOR];

	for (unsigned n = 0; !w->res && n < WRITES; n++) {
		fill(buf, w->thread, n);
		w->res = image_write(w->img, place(w->thread, n), buf, SECTOR);
		if (!w->res)
			w->res = image_read(w->img, place(w->thread, n), back, SECTOR);
		if (!w->res && memcmp(buf, back, SECTOR) != 0)
			w->res = -1000;
		if (!w->res && n % 16 == w->thread)
			w->res = image_flush(w->img);
	}
	return NULL;
}

static uint8_t *model_of(void)
{
	uint8_t *model = g_malloc0(DISK);

	for (unsigned thread = 0; thread < THREADS; thread++)
		for (unsigned n = 0; n < WRITES; n++)
			fill(model + place(thread, n), thread, n);
	return model;
}

static void check_content(struct image *img, const uint8_t *model)
{
	g_autofree uint8_t *content = g_malloc(DISK);

	assert_true(img->size >= DISK);
	assert_int_equal(image_read(img, 0, content, DISK), 0);
	assert_memory_equal(content, model, DISK);
}

static void test_threads(void **state)
{
	g_autofree uint8_t *model = model_of();

	for (unsigned kind = 0; kind < G_N_ELEMENTS(kinds); kind++) {
		struct worker workers[THREADS];
		GThread *threads[THREADS];
		struct image *img;

		make(kind, DISK);
		img = open_image(kind);
		for (unsigned i = 0; i < THREADS; i++) {
			workers[i] = (struct worker){ .img = img, .thread = i };
			threads[i] = g_thread_new("writer", work, &workers[i]);
		}
		for (unsigned i = 0; i < THREADS; i++) {
			g_thread_join(threads[i]);
			assert_int_equal(workers[i].res, 0);
		}
		check_content(img, model);
		image_close(img);
		img = open_image(kind);
		check_content(img, model);
		image_close(img);
	}
}

struct wait {
	struct image_req req;
	struct iovec iov;
	uint8_t buf[SECTOR];
};

static unsigned under_way;

static void on_complete(struct image_req *req, int res)
{
	assert_int_equal(res, 0);
	under_way--;
	g_free(req->opaque);
}

static void submit(struct image_queue *q, enum image_op op, unsigned thread, unsigned n)
{
	struct wait *w = g_new0(struct wait, 1);

	fill(w->buf, thread, n);
	w->iov = (struct iovec){ w->buf, SECTOR };
	w->req = (struct image_req){ .op = op, .complete = on_complete, .opaque = w };
	if (op == IMAGE_WRITE) {
		w->req.iov = &w->iov;
		w->req.n_iov = 1;
		w->req.offset = place(thread, n);
		w->req.len = SECTOR;
	}
	under_way++;
	image_submit(q, &w->req);
	image_kick(q);
	while (under_way >= DEPTH)
		g_main_context_iteration(NULL, TRUE);
}

static void test_queue(void **state)
{
	g_autofree uint8_t *model = model_of();

	for (unsigned kind = 0; kind < G_N_ELEMENTS(kinds); kind++) {
		g_autoptr(GError) error = NULL;
		struct image_queue *q;
		struct image *img;

		make(kind, DISK);
		img = open_image(kind);
		q = image_queue_new(img, NULL, DEPTH, &error);
		assert_null(error);
		for (unsigned n = 0; n < WRITES; n++) {
			for (unsigned thread = 0; thread < THREADS; thread++)
				submit(q, IMAGE_WRITE, thread, n);
			if (n % 40 == 0)
				submit(q, IMAGE_FLUSH, 0, 0);
			/* the next ones may go to the same places */
			while (under_way)
				g_main_context_iteration(NULL, TRUE);
		}
		image_queue_free(q);
		check_content(img, model);
		image_close(img);
		img = open_image(kind);
		check_content(img, model);
		image_close(img);
	}
}

/* Zeroes in blocks that are there and that are not. */
static void test_zeroes(void **state)
{
	static const struct {
		uint64_t at, len;
	} zeroes[] = { { 0, 512 }, { 1 << 20, 3 << 20 }, { STEP, 2 * STEP }, { DISK - 4096, 4096 } };

	for (unsigned kind = 0; kind < G_N_ELEMENTS(kinds); kind++) {
		g_autofree uint8_t *model = model_of();
		struct worker w = { .thread = 1 };

		make(kind, DISK);
		w.img = open_image(kind);
		work(&w);
		assert_int_equal(w.res, 0);
		for (unsigned i = 0; i < G_N_ELEMENTS(zeroes); i++) {
			assert_int_equal(image_write_zeroes(w.img, zeroes[i].at, zeroes[i].len, i & 1 ? IMAGE_MAY_UNMAP : 0), 0);
			memset(model + zeroes[i].at, 0, zeroes[i].len);
		}
		assert_int_equal(image_discard(w.img, 5 * STEP, STEP), 0);
		memset(model + 5 * STEP, 0, STEP);
		for (unsigned thread = 0; thread < THREADS; thread++)
			for (unsigned n = 0; thread != 1 && n < WRITES; n++)
				memset(model + place(thread, n), 0, SECTOR);
		check_content(w.img, model);
		image_close(w.img);
	}
}

static void test_options(void **state)
{
	static const struct {
		const char *format, *extra, *words;
	} bad[] = {
		{ "vdi", ", 'static': <'yes'>", "static=yes is not understood; give on or off" },
		{ "vdi", ", 'subformat': <'fixed'>", "option 'subformat' is not one of vdi images" },
		{ "vpc", ", 'subformat': <'sparse'>", "subformat=sparse is not known; give one of dynamic, fixed" },
		{ "vhdx", ", 'block_size': <'3M'>", "block_size=3145728 is not possible" },
		{ "vhdx", ", 'block_size': <'big'>", "block_size=big is not a size" },
		{ "vhdx", ", 'block_size': <'-1'>", "block_size=-1 is not a size" },
		{ "vhdx", ", 'block_size': <'99999999999999T'>", "is not a size" },
		{ "vhdx", ", 'log_size': <'512k'>", "log_size=524288 is not possible" },
		{ "vmdk", ", 'compat6': <'on'>, 'hwversion': <'9'>", "give one of them" },
		{ "vmdk", ", 'adapter_type': <'nvme'>", "adapter_type=nvme is not known" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *extra = g_strdup_printf(", 'size': <uint64 1048576>%s", bad[i].extra);
		g_autoptr(GVariant) options = options_of(bad[i].format, extra);
		g_autoptr(GError) error = NULL;

		assert_false(image_create(options, &error));
		assert_non_null(strstr(error->message, bad[i].words));
	}
}

/* Of a file that is cut off the last block is not all there: a new one would be put where its end is. */
static void cut_off(const char *format, const char *size, off_t bytes)
{
	g_autoptr(GVariant) options = options_of(format, ""), reading = options_of(format, ", 'readonly': <true>"),
			    making = options_of(format, size);
	g_autoptr(GError) error = NULL;
	uint8_t a[SECTOR], b[SECTOR];
	struct image *img;
	GStatBuf st;

	assert_true(image_create(making, &error));
	img = image_open(options, &error);
	assert_null(error);
	fill(a, 1, 1);
	assert_int_equal(image_write(img, 0, a, SECTOR), 0);
	image_close(img);
	assert_int_equal(g_stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size - bytes), 0);
	img = image_open(options, &error);
	assert_null(img);
	assert_non_null(strstr(error->message, "beyond the end of the file"));
	g_clear_error(&error);
	img = image_open(reading, &error);
	assert_null(error);
	assert_int_equal(image_read(img, 0, b, SECTOR), 0);
	assert_memory_equal(a, b, SECTOR);
	image_close(img);
}

static void test_cut_off(void **state)
{
	cut_off("vhdx", ", 'size': <uint64 33554432>, 'block_size': <'4M'>", 3 << 20);
	cut_off("vmdk", ", 'size': <uint64 33554432>", 16 << 10);
}

/* An item twice: each would be looked for in the log again, however long that is. */
static void test_twice(void **state)
{
	enum { METADATA_ENTRIES = 32, ENTRY = 32, MIB = 1 << 20 };
	g_autoptr(GVariant) reading = options_of("vhdx", ", 'readonly': <true>");
	g_autoptr(GVariant) creating = options_of("vhdx", ", 'size': <uint64 33554432>, 'block_size': <'1M'>");
	g_autoptr(GError) error = NULL;
	g_autofree char *bytes = NULL;
	char *table;
	gsize len;

	assert_true(image_create(creating, &error));
	assert_true(g_file_get_contents(path, &bytes, &len, NULL));
	table = memmem(bytes + MIB, len - MIB, "metadata", 8);
	assert_non_null(table);
	memcpy(table + METADATA_ENTRIES + ENTRY, table + METADATA_ENTRIES, ENTRY);
	assert_true(g_file_set_contents(path, bytes, len, NULL));
	assert_null(image_open(reading, &error));
	assert_non_null(strstr(error->message, "there twice"));
}

/* A few bytes that name one extent with large, empty tables again and again: memory does not follow. */
static void test_many_extents(void **state)
{
	enum { TIMES = 40, SECTORS = 0x7ffff0 * 8 };
	g_autofree char *extent = g_build_filename(dir, "extent.vmdk", NULL);
	g_autoptr(GString) text = g_string_new("# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
					       "createType=\"twoGbMaxExtentSparse\"\n");
	g_autoptr(GVariant) reading = options_of("vmdk", ", 'readonly': <true>");
	g_autoptr(GError) error = NULL;
	uint8_t header[SECTOR] = "KDMV";

	put_le32(header + 4, 1);
	put_le64(header + 12, SECTORS);
	put_le64(header + 20, 8);
	put_le32(header + 44, 1); /* entries of a table */
	put_le64(header + 56, 1);
	assert_true(g_file_set_contents(extent, (char *)header, SECTOR, NULL));
	assert_int_equal(truncate(extent, SECTOR + SECTORS / 8 * 4), 0);
	for (unsigned i = 0; i < TIMES; i++)
		g_string_append_printf(text, "RW %d SPARSE \"extent.vmdk\"\n", SECTORS);
	assert_true(g_file_set_contents(path, text->str, -1, NULL));
	assert_null(image_open(reading, &error));
	assert_non_null(strstr(error->message, "of all extents"));
	g_unlink(extent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_queue),
		cmocka_unit_test(test_zeroes),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_twice),
		cmocka_unit_test(test_many_extents),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
