/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw images: data against a model by both engines, odd ends, holes, locks and refusals. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "error.h"
#include "image.h"

enum {
	SIZE = 1 << 20,
	REQUESTS = 600,
	DEPTH = 32,
};

static char *dir;

static char *make_file(const char *name, const void *data, size_t len, off_t size)
{
	char *path = g_build_filename(dir, name, NULL);

	assert_true(g_file_set_contents(path, data ? data : "", data ? len : 0, NULL));
	assert_int_equal(truncate(path, size), 0);
	return path;
}

static struct image *open_with(const char *path, const char *extra, GError **error)
{
	g_autofree char *text = g_strdup_printf("{'file': <'%s'>%s}", path, extra);
	g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_new_parsed(text));

	return image_open(options, error);
}

struct wait {
	struct image_req req;
	struct iovec iov[3];
	bool over;
	int res;
};

static void on_complete(struct image_req *req, int res)
{
	struct wait *w = req->opaque;

	w->over = true;
	w->res = res;
}

static void start(struct image_queue *q, struct wait *w)
{
	w->req.complete = on_complete;
	w->req.opaque = w;
	w->over = false;
	image_submit(q, &w->req);
	assert_false(w->over); /* never inside submit */
}

static int finish(struct image_queue *q, struct wait *w)
{
	image_kick(q);
	while (!w->over)
		g_main_context_iteration(NULL, TRUE);
	return w->res;
}

static int run(struct image_queue *q, enum image_op op, uint64_t offset, void *data, uint64_t len,
	       unsigned flags)
{
	struct wait w = { .req = { .op = op, .flags = flags, .offset = offset, .len = len } };

	w.iov[0] = (struct iovec){ data, len };
	w.req.iov = w.iov;
	w.req.n_iov = 1;
	start(q, &w);
	return finish(q, &w);
}

static void fill(GRand *rand, uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = g_rand_int(rand);
}

/* One random request against the model; reads are compared when they come back. */
static void random_request(struct image_queue *q, GRand *rand, uint8_t *model)
{
	static uint8_t data[64 << 10];
	uint64_t len = 512 * g_rand_int_range(rand, 1, 128);
	uint64_t offset = 512 * g_rand_int_range(rand, 0, (SIZE - len) / 512 + 1);

	switch (g_rand_int_range(rand, 0, 8)) {
	case 0:
		assert_int_equal(run(q, IMAGE_WRITE_ZEROES, offset, NULL, len, 0), 0);
		memset(model + offset, 0, len);
		break;
	case 1:
		assert_int_equal(run(q, IMAGE_WRITE_ZEROES, offset, NULL, len, IMAGE_MAY_UNMAP), 0);
		memset(model + offset, 0, len);
		break;
	case 2:
		assert_int_equal(run(q, IMAGE_FLUSH, 0, NULL, 0, 0), 0);
		break;
	case 3:
	case 4:
	case 5:
		fill(rand, data, len);
		assert_int_equal(run(q, IMAGE_WRITE, offset, data, len, 0), 0);
		memcpy(model + offset, data, len);
		break;
	default:
		assert_int_equal(run(q, IMAGE_READ, offset, data, len, 0), 0);
		assert_memory_equal(data, model + offset, len);
	}
}

static void against_model(const char *extra)
{
	g_autofree char *path = make_file("model", NULL, 0, SIZE);
	g_autofree uint8_t *model = g_malloc0(SIZE);
	g_autofree uint8_t *all = g_malloc(SIZE);
	g_autoptr(GRand) rand = g_rand_new_with_seed(1);
	g_autoptr(GError) error = NULL;
	struct image *img = open_with(path, extra, &error);
	struct image_queue *q;

	if (!img)
		fail_msg("%s", error->message);
	q = image_queue_new(img, NULL, DEPTH, &error);
	assert_non_null(q);
	assert_int_equal(img->size, SIZE);
	for (unsigned i = 0; i < REQUESTS; i++)
		random_request(q, rand, model);
	assert_int_equal(run(q, IMAGE_READ, 0, all, SIZE, 0), 0);
	assert_memory_equal(all, model, SIZE);
	image_queue_free(q);
	image_close(img);
}

static void test_threads(void **state)
{
	against_model(", 'aio': <'threads'>");
}

static void test_auto(void **state)
{
	against_model("");
}

/* More requests at once than the queue is deep, in parts; the file holds all of them after. */
static void test_many(void **state)
{
	g_autofree char *path = make_file("many", NULL, 0, SIZE);
	g_autofree struct wait *w = g_new0(struct wait, SIZE / 512);
	g_autofree uint8_t *data = g_malloc(SIZE);
	g_autofree char *after = NULL;
	g_autoptr(GRand) rand = g_rand_new_with_seed(2);
	struct image *img = open_with(path, "", NULL);
	struct image_queue *q = image_queue_new(img, NULL, DEPTH, NULL);
	gsize len;

	fill(rand, data, SIZE);
	for (unsigned i = 0; i < SIZE / 512; i++) {
		w[i].iov[0] = (struct iovec){ data + 512 * i, 100 };
		w[i].iov[1] = (struct iovec){ data + 512 * i + 100, 1 };
		w[i].iov[2] = (struct iovec){ data + 512 * i + 101, 411 };
		w[i].req = (struct image_req){ .op = IMAGE_WRITE, .iov = w[i].iov, .n_iov = 3,
					       .offset = 512 * i, .len = 512 };
		start(q, &w[i]);
	}
	for (unsigned i = 0; i < SIZE / 512; i++)
		assert_int_equal(finish(q, &w[i]), 0);
	image_queue_free(q);
	image_close(img);
	assert_true(g_file_get_contents(path, &after, &len, NULL));
	assert_int_equal(len, SIZE);
	assert_memory_equal(after, data, SIZE);
}

/* Freeing a queue runs what is under way to its end, also without the main loop. */
static void test_free_waits(void **state)
{
	for (unsigned threads = 0; threads < 2; threads++) {
		g_autofree char *path = make_file("waits", NULL, 0, SIZE);
		struct image *img = open_with(path, threads ? ", 'aio': <'threads'>" : "", NULL);
		struct image_queue *q = image_queue_new(img, NULL, DEPTH, NULL);
		static uint8_t data[4096];
		struct wait w[50] = {};

		for (unsigned i = 0; i < G_N_ELEMENTS(w); i++) {
			w[i].iov[0] = (struct iovec){ data, sizeof(data) };
			w[i].req = (struct image_req){ .op = IMAGE_WRITE, .iov = w[i].iov, .n_iov = 1,
						       .offset = 4096 * i, .len = 4096 };
			start(q, &w[i]);
		}
		image_queue_free(q);
		for (unsigned i = 0; i < G_N_ELEMENTS(w); i++)
			assert_true(w[i].over && w[i].res == 0);
		image_close(img);
	}
}

/* A file that ends within a sector: the rest of that sector reads as zeroes. */
static void test_odd_end(void **state)
{
	for (unsigned threads = 0; threads < 2; threads++) {
		g_autofree char *path = make_file("odd", "abcdefg", 7, 1000);
		struct image *img = open_with(path, threads ? ", 'aio': <'threads'>" : "", NULL);
		struct image_queue *q = image_queue_new(img, NULL, DEPTH, NULL);
		uint8_t data[1024];

		assert_int_equal(img->size, 1024);
		memset(data, 0xaa, sizeof(data));
		assert_int_equal(run(q, IMAGE_READ, 0, data, 1024, 0), 0);
		assert_memory_equal(data, "abcdefg\0", 8);
		for (unsigned i = 7; i < 1024; i++)
			assert_int_equal(data[i], 0);
		memset(data, 0x55, 512);
		assert_int_equal(run(q, IMAGE_WRITE, 512, data, 512, 0), 0);
		assert_int_equal(run(q, IMAGE_READ, 512, data + 512, 512, 0), 0);
		assert_memory_equal(data, data + 512, 512);
		image_queue_free(q);
		image_close(img);
	}
}

static void test_bad_requests(void **state)
{
	g_autofree char *path = make_file("bad", NULL, 0, SIZE);
	struct image *img = open_with(path, "", NULL);
	struct image_queue *q = image_queue_new(img, NULL, DEPTH, NULL);
	uint8_t data[512];

	assert_int_equal(run(q, IMAGE_READ, UINT64_MAX - 511, data, 512, 0), -EINVAL);
	assert_int_equal(run(q, IMAGE_WRITE_ZEROES, INT64_MAX, NULL, 512, 0), -EINVAL);
	/* Not memory: the kernel says so, and we do not fall over it. */
	assert_int_equal(run(q, IMAGE_WRITE, 0, (void *)8, 512, 0), -EFAULT);
	image_queue_free(q);
	image_close(img);
	img = open_with(path, ", 'readonly': <true>", NULL);
	q = image_queue_new(img, NULL, DEPTH, NULL);
	assert_int_equal(run(q, IMAGE_WRITE, 0, data, 512, 0), -EROFS);
	image_queue_free(q);
	image_close(img);
}

static void test_discard(void **state)
{
	g_autofree char *data = g_malloc(SIZE);
	g_autofree char *path = NULL;
	struct stat before, after;
	struct image_queue *q;
	struct image *img;

	memset(data, 'x', SIZE);
	path = make_file("discard", data, SIZE, SIZE);
	assert_int_equal(stat(path, &before), 0);
	img = open_with(path, "", NULL);
	q = image_queue_new(img, NULL, DEPTH, NULL);
	assert_true(img->discard);
	assert_int_equal(run(q, IMAGE_DISCARD, 0, NULL, SIZE / 2, 0), 0);
	assert_int_equal(run(q, IMAGE_READ, SIZE / 2 - 512, data, 1024, 0), 0);
	assert_int_equal(data[512], 'x');
	image_queue_free(q);
	image_close(img);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_size, SIZE);
	/* Where the file system has holes, half of the file is one now. */
	if (data[0] == 0)
		assert_true(after.st_blocks <= before.st_blocks / 2 + 16);
}

static void expect(const char *path, const char *extra, const char *message)
{
	g_autoptr(GError) error = NULL;

	assert_null(open_with(path, extra, &error));
	assert_non_null(error);
	if (!strstr(error->message, message))
		fail_msg("'%s' lacks '%s'", error->message, message);
}

static void test_locks(void **state)
{
	g_autofree char *path = make_file("locks", NULL, 0, SIZE);
	struct image *writer = open_with(path, "", NULL), *a, *b;

	assert_non_null(writer);
	expect(path, "", "is open for writing in another process");
	expect(path, ", 'readonly': <true>", "is open for writing in another process");
	image_close(writer);
	a = open_with(path, ", 'readonly': <true>", NULL);
	b = open_with(path, ", 'readonly': <true>", NULL);
	assert_non_null(a);
	assert_non_null(b);
	expect(path, "", "is in use by another process; stop it, use a copy or give readonly=on");
	image_close(a);
	image_close(b);
	writer = open_with(path, "", NULL);
	assert_non_null(writer);
	image_close(writer);
}

static void test_refused(void **state)
{
	g_autofree char *missing = g_build_filename(dir, "missing", NULL);
	g_autofree char *fifo = g_build_filename(dir, "fifo", NULL);
	g_autofree char *qed = make_file("qed", "QED\0", 4, 4096);
	g_autoptr(GError) error = NULL;
	struct image *img;

	assert_int_equal(mkfifo(fifo, 0600), 0);
	expect(missing, "", "No such file or directory");
	expect(dir, "", "Is a directory");
	expect(dir, ", 'readonly': <true>", "is neither a file nor a block device");
	expect(fifo, "", "is neither a file nor a block device");
	expect(qed, "", "is a qed image, which is not supported");
	expect(qed, ", 'format': <'auto'>", "is a qed image, which is not supported");
	expect(qed, ", 'format': <'qed'>", "format 'qed' is not known; there are: ");
	expect(qed, ", 'format': <'raw'>, 'aio': <'quick'>", "aio=quick is not known");
	img = open_with(qed, ", 'format': <'raw'>", &error);
	assert_non_null(img);
	image_close(img);
}

static int setup(void **state)
{
	dir = g_dir_make_tmp("kv-image-XXXXXX", NULL);
	return dir ? 0 : -1;
}

static int teardown(void **state)
{
	GDir *d = g_dir_open(dir, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(d))) {
		g_autofree char *path = g_build_filename(dir, name, NULL);

		g_unlink(path);
	}
	g_dir_close(d);
	g_rmdir(dir);
	g_free(dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_auto),	   cmocka_unit_test(test_threads),
		cmocka_unit_test(test_many),	   cmocka_unit_test(test_free_waits),
		cmocka_unit_test(test_odd_end),	   cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_discard),	   cmocka_unit_test(test_locks),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
