/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent bitmaps of qcow2, in memory: whatever a crash or a failing write leaves, a bitmap that says that it can be trusted
 * has every granule in it that differs from what the disk was when it was made. Also what is stored comes back, for odd sizes
 * too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bitmap.h"
#include "format.h"
#include "image-rig.h"
#include "mem-file.h"

enum { SECTOR = 512, STEPS = 80, CRASHES = 150, SEEDS = 3, FAIL_SEEDS = 60, THREADS = 4, ROUNDS = 400, NAMES = 64 };

struct setup {
	const char *options; /* of image_create() */
	uint64_t size;
	uint32_t granularity;
	bool lazy;
};

static const struct setup setups[] = {
	{"'cluster_size': <'512'>", 300 << 10, 512},
	{"'cluster_size': <'512'>, 'refcount_bits': <'64'>", 8 << 20, 512},
	{"'cluster_size': <'4k'>", 1 << 20, 4096},
	{"'cluster_size': <'2k'>, 'lazy_refcounts': <'on'>", 300 << 10, 1024, true},
	{"'cluster_size': <'16k'>, 'extended_l2': <'on'>", (1 << 20) + 512, 65536},
};

static struct image *open_image(struct mem_file *f, const char *options)
{
	GError *error = NULL;
	struct image *img = mem_image_open(f, &image_qcow2, options, &error);

	if (!img)
		fail_msg("%s", error->message);
	return img;
}

static struct mem_file *create(const struct setup *s)
{
	struct mem_file *f = mem_file_new(NULL, 0);
	g_autoptr(GVariant) o = mem_parse(s->options);
	GError *error = NULL;

	assert_true(image_qcow2.create(&f->base, s->size, o, &error));
	return f;
}

static struct image_bitmap *find(struct image *img, const char *name)
{
	GError *error = NULL;
	struct image_bitmap *b = image_bitmap_find(img, name, &error);

	g_clear_error(&error);
	return b;
}

static struct image_bitmap *add(struct image *img, const char *name, uint32_t granularity, bool disabled)
{
	GError *error = NULL;
	struct image_bitmap *b = image_bitmap_add(img, name, granularity, true, disabled, &error);

	if (!b)
		fail_msg("%s", error->message);
	return b;
}

static void print_line(void *opaque, const char *text)
{
	g_string_append_printf(opaque, "%s\n", text);
}

static void check_image(struct image *img, bool leaks)
{
	g_autoptr(GString) text = g_string_new(NULL);
	struct image_check r;
	GError *error = NULL;

	assert_true(img->format->check(img, 0, print_line, text, &r, &error));
	if (r.corruptions || r.check_errors || (r.leaks && !leaks))
		fail_msg("%s", text->str);
}

/* ---- a workload ---- */

/* Sectors are full of one byte. A bitmap's name says which of the disks of the past it was made for. */
struct work {
	const struct setup *setup;
	struct mem_file *file;
	struct image *img;
	uint8_t *was[NAMES];
	unsigned n; /* names */
	GRand *rand;
	uint8_t byte;
};

static uint64_t sectors(const struct work *w)
{
	return w->setup->size / SECTOR;
}

static void name_of(unsigned n, char *ret)
{
	g_snprintf(ret, 16, "b%u", n);
}

static void add_bitmap(struct work *w)
{
	g_autofree uint8_t *disk = g_malloc(w->setup->size);
	char name[16];

	/* Reading may have to write what is in the caches, which may be what fails. */
	if (w->n == NAMES || image_read(w->img, 0, disk, w->setup->size) < 0)
		return;
	name_of(w->n, name);
	w->was[w->n] = g_malloc(sectors(w));
	for (uint64_t i = 0; i < sectors(w); i++)
		w->was[w->n][i] = disk[i * SECTOR];
	w->n++;
	add(w->img, name, w->setup->granularity, false);
}

static void remove_bitmap(struct work *w)
{
	GError *error = NULL;
	char name[16];
	struct image_bitmap *b;

	name_of(g_rand_int_range(w->rand, 0, w->n), name);
	b = find(w->img, name);
	if (b && !image_bitmap_remove(w->img, b, &error))
		g_clear_error(&error);
}

/* Errors, where there are any, leave what was or what was to be. */
static int change(struct work *w)
{
	uint64_t first = g_rand_int_range(w->rand, 0, sectors(w));
	uint64_t n = g_rand_int_range(w->rand, 1, MIN(40, sectors(w) - first) + 1);
	g_autofree uint8_t *buf = g_malloc(n * SECTOR);
	bool zero = g_rand_int_range(w->rand, 0, 4) == 0;

	w->byte = w->byte % 250 + 1;
	memset(buf, w->byte, n * SECTOR);
	return zero ? image_write_zeroes(w->img, first * SECTOR, n * SECTOR, IMAGE_MAY_UNMAP) :
		      image_write(w->img, first * SECTOR, buf, n * SECTOR);
}

static void close_and_open(struct work *w)
{
	mem_image_end(w->img);
	w->img = open_image(w->file, "'l2-cache-size': <uint64 1>, 'refcount-cache-size': <uint64 1>");
}

/* As image_reopen() does it, whose files are real ones. */
static void reopen(struct work *w)
{
	GError *error = NULL;

	if (!w->img->format->reopen(w->img, true, &error)) {
		g_clear_error(&error);
		return;
	}
	w->img->readonly = false;
	if (!w->img->format->reopen(w->img, false, &error))
		fail_msg("%s", error->message);
}

static void step(struct work *w)
{
	switch (g_rand_int_range(w->rand, 0, 16)) {
	case 0:
		add_bitmap(w);
		break;
	case 1:
		remove_bitmap(w);
		break;
	case 2:
		reopen(w);
		break;
	case 3:
		if (!w->file->fail_in)
			close_and_open(w);
		break;
	case 4:
		image_flush(w->img);
		break;
	default:
		change(w);
	}
}

static void begin(struct work *w, const struct setup *s, unsigned seed)
{
	*w = (struct work){.setup = s, .rand = g_rand_new_with_seed(seed), .file = create(s)};
}

static void end(struct work *w)
{
	for (unsigned i = 0; i < w->n; i++)
		g_free(w->was[i]);
	mem_file_free(w->file);
	g_rand_free(w->rand);
}

/* What can be trusted has all that differs; how many such there are. */
static unsigned check_bitmaps(const struct work *w, struct image *img)
{
	static uint8_t disk[8 << 20];
	unsigned trusted = 0;
	GError *error = NULL;

	assert_true(img->size <= sizeof(disk));
	assert_int_equal(image_read(img, 0, disk, img->size), 0);
	if (!image_bitmaps_load(img, &error))
		fail_msg("%s", error->message);
	for (const struct image_bitmap *b = img->bitmaps; b; b = b->next) {
		unsigned n = g_ascii_strtoull(b->name + 1, NULL, 10);

		if (b->inconsistent)
			continue;
		trusted++;
		assert_true(n < w->n);
		for (uint64_t i = 0; i < sectors(w); i++)
			if (disk[i * SECTOR] != w->was[n][i] && !image_bitmap_get(b, i * SECTOR))
				fail_msg("%s does not have sector %u", b->name, (unsigned)i);
	}
	return trusted;
}

/* ---- crashes ---- */

static unsigned crash(struct work *w, const struct mem_file *before, unsigned records)
{
	struct mem_file *f = mem_file_crash(before, w->file->log, records, w->rand);
	struct image *img;
	unsigned trusted;

	if (!w->setup->lazy) {
		img = open_image(f, "'check': <true>");
		check_image(img, true);
		mem_image_end(img);
	}
	img = open_image(f, "");
	trusted = check_bitmaps(w, img);
	check_image(img, true);
	/* What is in use can be removed, and is then nowhere any more. */
	while (img->bitmaps)
		assert_true(image_bitmap_remove(img, img->bitmaps, NULL));
	mem_image_end(img);
	img = open_image(f, "");
	check_image(img, true);
	assert_null(img->bitmaps);
	mem_image_end(img);
	mem_file_free(f);
	return trusted;
}

static void test_crash(void **state)
{
	unsigned trusted = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(setups) * SEEDS; i++) {
		struct mem_file *before;
		struct work w;

		begin(&w, setups + i / SEEDS, 300 + i);
		before = mem_file_new(w.file->bytes->data, w.file->bytes->len);
		mem_file_record(w.file);
		w.img = open_image(w.file, "'l2-cache-size': <uint64 1>, 'refcount-cache-size': <uint64 1>");
		add_bitmap(&w);
		for (unsigned k = 0; k < STEPS; k++)
			step(&w);
		mem_image_end(w.img);
		for (unsigned k = 0; k < CRASHES; k++)
			trusted += crash(&w, before, g_rand_int_range(w.rand, 0, w.file->log->len + 1));
		/* Without a crash all can be trusted. */
		w.img = open_image(w.file, "");
		check_image(w.img, false);
		for (const struct image_bitmap *b = w.img->bitmaps; b; b = b->next)
			assert_false(b->inconsistent);
		check_bitmaps(&w, w.img);
		mem_image_end(w.img);
		mem_file_free(before);
		end(&w);
	}
	/* Crashes between sessions find some. */
	assert_true(trusted > 100);
}

/* ---- writes that fail ---- */

static void test_failures(void **state)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(setups) * FAIL_SEEDS; i++) {
		struct image *img;
		struct work w;

		begin(&w, setups + i / FAIL_SEEDS, 300 + i);
		w.img = open_image(w.file, "'l2-cache-size': <uint64 1>, 'refcount-cache-size': <uint64 1>");
		add_bitmap(&w);
		for (unsigned k = 0; k < STEPS / 2; k++) {
			if (k % 4 == 3)
				w.file->fail_in = g_rand_int_range(w.rand, 1, 12);
			step(&w);
			w.file->fail_in = 0;
		}
		w.file->fail_in = i % 2 ? g_rand_int_range(w.rand, 1, 12) : 0;
		mem_image_end(w.img);
		w.file->fail_in = 0;
		if (!w.setup->lazy) {
			img = open_image(w.file, "'check': <true>");
			check_image(img, true);
			mem_image_end(img);
		}
		w.file->base.readonly = true;
		img = open_image(w.file, "");
		check_bitmaps(&w, img);
		mem_image_end(img);
		end(&w);
	}
}

/* ---- what is stored comes back ---- */

static void fill_randomly(struct image_bitmap *b, GRand *rand)
{
	unsigned n = g_rand_int_range(rand, 0, 6);

	for (unsigned i = 0; i < n; i++) {
		uint64_t at = g_rand_double(rand) * b->size, len = g_rand_double(rand) * (i % 2 ? b->size : 5000);

		image_bitmap_mark(b, at, len + 1);
	}
}

static void same_bits(const struct image_bitmap *a, const struct image_bitmap *b)
{
	assert_int_equal(a->size, b->size);
	assert_int_equal(a->granularity, b->granularity);
	assert_int_equal(image_bitmap_count(a), image_bitmap_count(b));
	for (uint64_t at = 0; at < a->size; at += a->granularity)
		if (image_bitmap_get(a, at) != image_bitmap_get(b, at))
			fail_msg("the bit of %u differs", (unsigned)at);
}

static void one_round(struct mem_file *f, GRand *rand, uint64_t size)
{
	uint32_t granularity = 512u << g_rand_int_range(rand, 0, 9);
	struct image *img = open_image(f, "");
	struct image_bitmap *b = find(img, "b"), *copy;
	int err;

	if (!b)
		b = add(img, "b", granularity, g_rand_boolean(rand));
	assert_true(image_bitmap_will_change(img, b, NULL));
	if (g_rand_boolean(rand))
		image_bitmap_clear(b, 0, size);
	fill_randomly(b, rand);
	copy = image_bitmap_new("copy", size, b->granularity, &err);
	image_bitmap_merge(copy, b);
	mem_image_end(img);
	img = open_image(f, "");
	check_image(img, false);
	same_bits(copy, find(img, "b"));
	image_bitmap_free(copy);
	if (g_rand_int_range(rand, 0, 4) == 0)
		assert_true(image_bitmap_remove(img, find(img, "b"), NULL));
	mem_image_end(img);
}

static void test_stored(void **state)
{
	static const uint64_t sizes[] = {512, 4096, 2 << 20, (2 << 20) + 512, 5 << 20, (33 << 20) - 512};
	static const char *const options[] = {"'cluster_size': <'512'>", "'cluster_size': <'1k'>, 'refcount_bits': <'1'>",
					      "'cluster_size': <'64k'>"};
	GRand *rand = g_rand_new_with_seed(5);

	for (unsigned i = 0; i < G_N_ELEMENTS(sizes) * G_N_ELEMENTS(options); i++) {
		struct setup s = {options[i % G_N_ELEMENTS(options)], sizes[i / G_N_ELEMENTS(options)]};
		struct mem_file *f = create(&s);

		for (unsigned k = 0; k < 20; k++)
			one_round(f, rand, s.size);
		mem_file_free(f);
	}
	g_rand_free(rand);
}

/* ---- sizes ---- */

static void test_resize(void **state)
{
	struct mem_file *f = create(&setups[0]);
	GRand *rand = g_rand_new_with_seed(6);
	struct image *img = open_image(f, "");
	uint8_t buf[SECTOR] = {1};
	GError *error = NULL;

	add(img, "b", 512, false);
	add(img, "still", 4096, true);
	for (unsigned i = 0; i < 40; i++) {
		uint64_t size = (uint64_t)g_rand_int_range(rand, 1, 4000) * SECTOR, keep = MIN(size, img->size);

		assert_int_equal(image_write(img, keep - SECTOR, buf, SECTOR), 0);
		if (!image_resize(img, size, IMAGE_PREALLOC_OFF, &error))
			fail_msg("%s", error->message);
		assert_int_equal(find(img, "b")->size, size);
		assert_true(image_bitmap_get(find(img, "b"), keep - SECTOR));
		if (i % 3)
			continue;
		mem_image_end(img);
		img = open_image(f, "");
		check_image(img, false);
		assert_true(image_bitmap_get(find(img, "b"), keep - SECTOR));
		assert_int_equal(find(img, "still")->size, img->size);
		assert_int_equal(image_bitmap_count(find(img, "still")), 0);
	}
	assert_false(image_resize(img, 0, IMAGE_PREALLOC_OFF, &error));
	g_clear_error(&error);
	mem_image_end(img);
	mem_file_free(f);
	g_rand_free(rand);
}

/* ---- rules ---- */

static void test_rules(void **state)
{
	struct mem_file *f = create(&setups[2]);
	struct image *img = open_image(f, "");
	struct image_bitmap *b = add(img, "one", 65536, true);
	uint8_t buf[SECTOR] = {1};
	GError *error = NULL;

	assert_null(image_bitmap_add(img, "one", 0, true, false, &error));
	assert_string_equal(error->message, "Bitmap already exists: one");
	g_clear_error(&error);
	assert_null(image_bitmap_add(img, "", 0, false, false, NULL));
	assert_null(image_bitmap_add(img, "two", 100, false, false, NULL));
	assert_non_null(image_bitmap_add(img, "fleeting", 0, false, false, NULL));
	b->busy = true;
	assert_false(image_bitmap_remove(img, b, &error));
	assert_true(g_str_has_suffix(error->message, "is currently in use by another operation and cannot be used"));
	g_clear_error(&error);
	b->busy = false;
	/* One that does not record stays as it is, and as it is on the disk, until somebody changes it. */
	mem_image_end(img);
	img = open_image(f, "");
	assert_null(find(img, "fleeting"));
	assert_int_equal(image_write(img, 0, buf, SECTOR), 0);
	f->base.readonly = true;
	{
		struct image *other = open_image(f, "");

		assert_false(find(other, "one")->inconsistent);
		assert_false(image_bitmap_reset(other, find(other, "one"), &error));
		assert_string_equal(error->message, "Bitmap 'one' is readonly and cannot be modified");
		g_clear_error(&error);
		mem_image_end(other);
	}
	assert_true(image_bitmap_record(img, find(img, "one"), true, &error));
	{
		struct image *other = open_image(f, "");

		assert_true(find(other, "one")->inconsistent);
		mem_image_end(other);
	}
	f->base.readonly = false;
	assert_int_equal(image_write(img, 128 << 10, buf, SECTOR), 0);
	assert_false(img->format->snapshot_create(img, "s", &error) && img->format->snapshot_apply(img, "s", &error));
	g_clear_error(&error);
	mem_image_end(img);
	img = open_image(f, "");
	b = find(img, "one");
	assert_true(b->recording && image_bitmap_get(b, 128 << 10) && !image_bitmap_get(b, 0));
	mem_image_end(img);
	mem_file_free(f);
}

/* ---- threads ---- */

struct thread {
	const struct setup *setup;
	struct image *img;
	uint8_t *wrote; /* by sector; a thread's own ones */
	unsigned number;
};

static gpointer write_sectors(gpointer data)
{
	struct thread *t = data;
	GRand *rand = g_rand_new_with_seed(t->number);
	uint8_t buf[SECTOR] = {1};

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t sector = g_rand_int_range(rand, 0, t->setup->size / SECTOR / 2 / THREADS) * THREADS + t->number;

		g_assert(image_write(t->img, sector * SECTOR, buf, SECTOR) == 0);
		t->wrote[sector] = 1;
		if (i % 100 == 0)
			g_assert(image_flush(t->img) == 0);
	}
	g_rand_free(rand);
	return NULL;
}

static void test_threads(void **state)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(setups); i++) {
		const struct setup *s = setups + i;
		struct mem_file *f = create(s);
		struct image *img = open_image(f, "");
		g_autofree uint8_t *wrote = g_malloc0(s->size / SECTOR);
		struct thread threads[THREADS];
		GThread *running[THREADS];
		const struct image_bitmap *b;

		add(img, "b", SECTOR, false);
		for (unsigned k = 0; k < THREADS; k++) {
			threads[k] = (struct thread){s, img, wrote, k};
			running[k] = g_thread_new("writer", write_sectors, threads + k);
		}
		for (unsigned k = 0; k < THREADS; k++)
			g_thread_join(running[k]);
		mem_image_end(img);
		img = open_image(f, "");
		check_image(img, false);
		b = find(img, "b");
		for (uint64_t k = 0; k < s->size / SECTOR; k++)
			assert_int_equal(image_bitmap_get(b, k * SECTOR), wrote[k]);
		mem_image_end(img);
		mem_file_free(f);
	}
}

/* ---- a guest's queue, and files ---- */

enum { QUEUE_SIZE = 4 << 20, QUEUE_STEPS = 300, GRANULE = 4096 };

static struct image *open_file(const char *path, bool readonly)
{
	g_autofree char *text = g_strdup_printf("{'file': <'%s'>, 'format': <'qcow2'>, 'readonly': <%s>}", path,
						readonly ? "true" : "false");
	g_autoptr(GVariant) o = g_variant_ref_sink(g_variant_new_parsed(text));
	GError *error = NULL;
	struct image *img = image_open(o, &error);

	if (!img)
		fail_msg("%s", error->message);
	return img;
}

/* Requests of all kinds, of which each marks what it was for. */
static void run_requests(struct image *img, GRand *rand, uint8_t *dirty)
{
	static const enum image_op ops[] = {IMAGE_WRITE, IMAGE_WRITE, IMAGE_WRITE, IMAGE_READ,
					    IMAGE_DISCARD, IMAGE_WRITE_ZEROES, IMAGE_FLUSH};
	struct image_queue *q = image_queue_new(img, NULL, 16, NULL);
	uint8_t *data = g_malloc0(64 << 10);

	assert_non_null(q);
	for (unsigned i = 0; i < QUEUE_STEPS; i++) {
		enum image_op op = ops[g_rand_int_range(rand, 0, G_N_ELEMENTS(ops))];
		uint64_t at = g_rand_int_range(rand, 0, QUEUE_SIZE / SECTOR / 4) * SECTOR;
		uint64_t len = g_rand_int_range(rand, 1, 20) * SECTOR;

		assert_int_equal(rig_run(q, rand, op, at, op == IMAGE_READ || op == IMAGE_WRITE ? data : NULL, len), 0);
		if (op != IMAGE_READ && op != IMAGE_FLUSH)
			memset(dirty + at / GRANULE, 1, (at + len - 1) / GRANULE - at / GRANULE + 1);
	}
	image_queue_free(q);
	g_free(data);
}

static void compare(struct image *img, const uint8_t *dirty)
{
	const struct image_bitmap *b = find(img, "b");

	for (uint64_t i = 0; i < QUEUE_SIZE / GRANULE; i++)
		assert_int_equal(image_bitmap_get(b, i * GRANULE), dirty[i]);
}

static void test_queue(void **state)
{
	g_autofree char *path = rig_path("queue"), *text = NULL;
	g_autofree uint8_t *dirty = g_malloc0(QUEUE_SIZE / GRANULE);
	g_autoptr(GVariant) o = NULL;
	GRand *rand = g_rand_new_with_seed(7);
	struct image *img;
	GError *error = NULL;

	text = g_strdup_printf("{'file': <'%s'>, 'format': <'qcow2'>, 'size': <uint64 %u>}", path, QUEUE_SIZE);
	o = g_variant_ref_sink(g_variant_new_parsed(text));
	assert_true(image_create(o, &error));
	img = open_file(path, false);
	add(img, "b", GRANULE, false);
	for (unsigned i = 0; i < 4; i++) {
		run_requests(img, rand, dirty);
		compare(img, dirty);
		/* Read only and back: stored in between. */
		assert_true(image_reopen(img, true, &error));
		{
			struct image *other = open_file(path, true);

			compare(other, dirty);
			image_close(other);
		}
		assert_true(image_reopen(img, false, &error));
		if (i == 1) {
			image_close(img);
			img = open_file(path, false);
		}
	}
	image_close(img);
	g_rand_free(rand);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stored), cmocka_unit_test(test_resize),	cmocka_unit_test(test_rules),
		cmocka_unit_test(test_crash),  cmocka_unit_test(test_failures), cmocka_unit_test(test_threads),
		cmocka_unit_test(test_queue),
	};

	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
