/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every format of image_formats[] that can be made: data against a model, by both engines and from many threads at once whose
 * parts of the disk share clusters; requests under way while others discard; and no fault in the file at the end.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "format.h"
#include "image-rig.h"

enum {
	SIZE = 6 << 20,
	BASE_SIZE = SIZE / 2 + 512,
	REQUESTS = 300,
	THREADS = 4,
	BUSY_ROUNDS = 40,
	DEPTH = 32,
};

static struct image *open_it(const struct image_format *f, const char *aio)
{
	g_autofree char *path = rig_path(f->name), *text = NULL;
	g_autoptr(GVariant) options = NULL;
	g_autoptr(GError) error = NULL;
	struct image *img;

	text = g_strdup_printf("{'file': <'%s'>, 'format': <'%s'>, 'aio': <'%s'>}", path, f->name, aio);
	options = g_variant_ref_sink(g_variant_new_parsed(text));
	img = image_open(options, &error);
	if (!img)
		fail_msg("%s", error->message);
	return img;
}

/* What an overlay of the format can be over: VMDK wants its own. */
static const char *base_format(const struct image_format *f)
{
	return !strcmp(f->name, "vmdk") ? "vmdk" : "raw";
}

static void make_it(const struct image_format *f, uint64_t size, const char *base)
{
	g_autofree char *path = rig_path(f->name), *text = NULL, *backing = NULL;
	g_autoptr(GVariant) options = NULL;
	g_autoptr(GError) error = NULL;

	backing = base ? g_strdup_printf(", 'backing': <'%s'>, 'backing-format': <'%s'>", base, base_format(f)) : g_strdup("");
	text = g_strdup_printf("{'file': <'%s'>, 'format': <'%s'>, 'size': <uint64 %" G_GUINT64_FORMAT ">%s}",
			       path, f->name, size, backing);
	options = g_variant_ref_sink(g_variant_new_parsed(text));
	if (!image_create(options, &error))
		fail_msg("%s: %s", f->name, error->message);
}

static void print_fault(void *opaque, const char *text)
{
	print_error("%s: %s\n", (const char *)opaque, text);
}

static void expect_sound(struct image *img)
{
	const struct image_format *f = img->format;
	struct image_check check = {};
	g_autoptr(GError) error = NULL;

	assert_int_equal(image_flush(img), 0);
	if (!f->check)
		return;
	if (!f->check(img, 0, print_fault, (void *)f->name, &check, &error))
		fail_msg("%s: %s", f->name, error->message);
	assert_int_equal(check.corruptions, 0);
	assert_int_equal(check.leaks, 0);
	assert_int_equal(check.check_errors, 0);
}

static void expect_all(struct image *img, const uint8_t *model)
{
	g_autofree uint8_t *all = g_malloc(img->size);

	assert_int_equal(image_read(img, 0, all, img->size), 0);
	assert_memory_equal(all, model, img->size);
}

static void by_queue(const struct image_format *f, const char *aio, GRand *rand, uint8_t *model)
{
	struct image *img = open_it(f, aio);
	struct image_queue *q = image_queue_new(img, NULL, DEPTH, NULL);

	assert_non_null(q);
	assert_true(rig_random(img, q, rand, model, 0, img->size, REQUESTS));
	expect_all(img, model);
	image_queue_free(q);
	expect_sound(img);
	image_close(img);
}

struct part {
	struct image *img;
	uint8_t *model;
	uint64_t from, len;
	uint32_t seed;
};

static void *run_part(void *opaque)
{
	struct part *p = opaque;
	g_autoptr(GRand) rand = g_rand_new_with_seed(p->seed);

	return rig_random(p->img, NULL, rand, p->model, p->from, p->len, REQUESTS) ? p : NULL;
}

static void by_threads(const struct image_format *f, uint8_t *model)
{
	struct image *img = open_it(f, "auto");
	uint64_t each = img->size / 512 / THREADS * 512;
	GThread *threads[THREADS];
	struct part parts[THREADS];
	bool ok = true;

	for (unsigned i = 0; i < THREADS; i++) {
		/* The ends are inside of a cluster. */
		uint64_t from = i * each + (i ? 1536 : 0), end = i == THREADS - 1 ? img->size : (i + 1) * each + 1536;

		parts[i] = (struct part){ img, model, from, end - from, i };
		threads[i] = g_thread_new("part", run_part, &parts[i]);
	}
	for (unsigned i = 0; i < THREADS; i++)
		ok &= g_thread_join(threads[i]) != NULL;
	assert_true(ok);
	expect_all(img, model);
	expect_sound(img);
	image_close(img);
}

static void busy(const struct image_format *f)
{
	uint64_t cluster;
	struct image *img = open_it(f, "auto");

	cluster = f->cluster_size ? f->cluster_size(img) : 0;
	rig_busy(img, MIN(cluster, img->size / 16), BUSY_ROUNDS);
	expect_sound(img);
	image_close(img);
}

static void test_format(void **state)
{
	const struct image_format *f = *state;
	g_autoptr(GRand) rand = g_rand_new_with_seed(7);
	g_autofree uint8_t *model = NULL;
	struct image *img;
	uint64_t size;

	if (!f->create || !f->write)
		return;
	make_it(f, SIZE, NULL);
	img = open_it(f, "auto");
	size = img->size; /* some round it */
	image_close(img);
	model = g_malloc0(size);
	by_queue(f, "auto", rand, model);
	by_queue(f, "threads", rand, model);
	by_threads(f, model);
	img = open_it(f, "auto");
	expect_all(img, model);
	image_close(img);
	busy(f);
}

/* On top of a raw image that is shorter; that one is as before at the end. */
static void make_base(const struct image_format *f, const char *base, const uint8_t *bytes)
{
	g_autofree char *text = g_strdup_printf("{'file': <'%s'>, 'format': <'%s'>, 'size': <uint64 %d>}", base, base_format(f),
						BASE_SIZE);
	g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_new_parsed(text));
	g_autoptr(GError) error = NULL;
	struct image *img = image_create(options, &error) ? image_open(options, &error) : NULL;

	if (!img)
		fail_msg("%s: %s", base, error->message);
	assert_int_equal(image_write(img, 0, bytes, BASE_SIZE), 0);
	image_close(img);
}

static void test_overlay(void **state)
{
	const struct image_format *f = *state;
	g_autoptr(GRand) rand = g_rand_new_with_seed(8);
	g_autofree uint8_t *model = g_malloc0(SIZE);
	g_autofree char *base = rig_path("base"), *before = NULL, *after = NULL;
	gsize len, size;

	if (!f->create_options || !g_strv_contains(f->create_options, "backing"))
		return;
	rig_fill(rand, model, BASE_SIZE);
	make_base(f, base, model);
	assert_true(g_file_get_contents(base, &before, &size, NULL));
	make_it(f, SIZE, "base");
	by_queue(f, "auto", rand, model);
	by_queue(f, "threads", rand, model);
	by_threads(f, model);
	assert_true(g_file_get_contents(base, &after, &len, NULL));
	assert_int_equal(len, size);
	assert_memory_equal(before, after, len);
}

int main(void)
{
	struct CMUnitTest tests[32] = {};
	size_t n = 0;

	for (const struct image_format *const *f = image_formats; *f && n + 2 <= G_N_ELEMENTS(tests); f++) {
		tests[n++] = (struct CMUnitTest){ (*f)->name, test_format, NULL, NULL, (void *)*f };
		tests[n++] = (struct CMUnitTest){ "overlay", test_overlay, NULL, NULL, (void *)*f };
	}
	return _cmocka_run_group_tests("formats", tests, n, rig_setup, rig_teardown);
}
