/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of images that are in use: drains, other images for a queue, watches, populating, reopening. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bitmap.h"
#include "error.h"
#include "format.h"
#include "image-rig.h"
#include "jobs-rig.h"

enum { MB = 1 << 20, CLUSTER = 64 << 10, SOME = 20, SWITCHES = 12, GRANULE = 4096 };

static const struct chain_spec chain_of_two = {
	.n = 2, .format = { "qcow2", "qcow2" }, .size = { 4 * MB, 4 * MB }, .options = { "", "" },
};

/* ---- drains ---- */

static void turn(unsigned ms)
{
	for (; ms; ms--) {
		while (g_main_context_iteration(NULL, FALSE))
			;
		g_usleep(1000);
	}
}

static void start_write(struct image_queue *q, struct rig_wait *w, uint8_t *buf, uint64_t offset)
{
	w->iov[0] = (struct iovec){ buf, CLUSTER };
	w->req = (struct image_req){ .op = IMAGE_WRITE, .offset = offset, .len = CLUSTER, .iov = w->iov, .n_iov = 1 };
	rig_start(q, w);
}

static void test_drain(void **state)
{
	g_autofree uint8_t *data = g_malloc(CLUSTER);
	g_autoptr(GRand) rand = g_rand_new_with_seed(1);
	struct rig_wait before[SOME], held[SOME];
	struct image_queue *q;
	struct chain c;
	unsigned rounds;
	struct guest *g;

	memset(data, 7, CLUSTER);
	chain_make(&c, &chain_of_two, rand);
	q = image_queue_new(c.layer[1], NULL, 64, NULL);
	g = guest_start(c.layer[1], 2);
	guest_wait(g, 5);
	guest_stop(g);
	for (unsigned i = 0; i < SOME; i++)
		start_write(q, before + i, data, (uint64_t)i * CLUSTER);
	/* Of the lower one, over which the queue is as well. */
	image_drain_begin(c.layer[0]);
	for (unsigned i = 0; i < SOME; i++) {
		assert_true(before[i].over);
		assert_int_equal(before[i].res, 0);
	}
	assert_false(image_queue_enter(q));
	for (unsigned i = 0; i < SOME; i++)
		start_write(q, held + i, data, (uint64_t)i * CLUSTER);
	image_kick(q);
	image_drain_begin(c.layer[1]);
	image_drain_end(c.layer[0]);
	turn(20);
	for (unsigned i = 0; i < SOME; i++)
		assert_false(held[i].over);
	image_drain_end(c.layer[1]);
	for (unsigned i = 0; i < SOME; i++) {
		while (!held[i].over)
			g_main_context_iteration(NULL, TRUE);
		assert_int_equal(held[i].res, 0);
	}
	assert_true(image_queue_enter(q));
	image_queue_leave(q);
	image_queue_free(q);

	/* A queue of another thread. */
	g = guest_start(c.layer[1], 3);
	__atomic_store_n(&g->pause_us, 0, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < SWITCHES; i++) {
		g_autofree uint8_t *a = NULL;

		guest_wait(g, 5);
		image_drain_begin(c.layer[1]);
		rounds = __atomic_load_n(&g->rounds, __ATOMIC_ACQUIRE);
		a = contents(c.layer[1]);
		turn(3);
		/* What it has got its answers for may still be looked at. */
		assert_true(__atomic_load_n(&g->rounds, __ATOMIC_ACQUIRE) - rounds <= 1);
		expect_contents(c.layer[1], a, c.layer[1]->size);
		image_drain_end(c.layer[1]);
	}
	guest_stop(g);
	chain_close(&c);
}

/* ---- another image for a queue ---- */

static void copy_all(struct image *from, struct image *to)
{
	g_autofree uint8_t *buf = contents(from);

	assert_int_equal(image_write(to, 0, buf, from->size), 0);
}

static void test_set_image(void **state)
{
	struct image *images[3] = { new_image("a", "raw", "", 4 * MB), new_image("b", "qcow2", "", 4 * MB),
				    new_image("c", "qcow2", "'cluster_size': <'4k'>", 4 * MB) };
	struct guest *g = guest_start(images[0], 11);

	for (unsigned i = 0; i < SWITCHES; i++) {
		struct image *from = images[i % 3], *to = images[(i + 1) % 3];

		guest_wait(g, 8);
		image_drain_begin(from);
		image_drain_begin(to);
		copy_all(from, to);
		image_queue_set_image(g->q, to);
		image_drain_end(to);
		image_drain_end(from);
	}
	guest_stop(g);
	for (unsigned i = 0; i < 3; i++) {
		expect_clean(images[i], false);
		image_close(images[i]);
	}
}

/* ---- watches ---- */

struct spy {
	struct image_watch watch;
	struct image *img;
	uint64_t size;
	unsigned asked, told; /* atomic */
	uint64_t from, to;    /* all that was announced */
	bool deny;
	uint8_t *then; /* what was there when it was announced */
};

static int spy_before(struct image_watch *w, uint64_t offset, uint64_t len)
{
	struct spy *s = (struct spy *)w;

	g_assert(image_read(s->img, offset, s->then + offset, len) == 0);
	__atomic_add_fetch(&s->asked, 1, __ATOMIC_SEQ_CST);
	s->from = MIN(s->from, offset);
	s->to = MAX(s->to, offset + len);
	return s->deny ? -EDOM : 0;
}

static void spy_after(struct image_watch *w, uint64_t offset, uint64_t len)
{
	__atomic_add_fetch(&((struct spy *)w)->told, 1, __ATOMIC_SEQ_CST);
}

static void spy_resized(struct image_watch *w, uint64_t size)
{
	((struct spy *)w)->size = size;
}

enum { SYNC, ZEROES, DISCARD, COMPRESSED, QUEUED, QUEUED_ZEROES, KINDS };

static int change(struct image_queue *q, GRand *rand, unsigned kind, uint64_t offset, uint8_t *data)
{
	struct image *img = q->image;

	switch (kind) {
	case SYNC:
		return image_write(img, offset, data, CLUSTER);
	case ZEROES:
		return image_write_zeroes(img, offset, CLUSTER, IMAGE_MAY_UNMAP);
	case DISCARD:
		return image_discard(img, offset, CLUSTER);
	case COMPRESSED:
		return image_write_compressed(img, offset, data, CLUSTER);
	case QUEUED_ZEROES:
		return rig_run(q, rand, IMAGE_WRITE_ZEROES, offset, NULL, CLUSTER);
	default:
		return rig_run(q, rand, IMAGE_WRITE, offset, data, CLUSTER);
	}
}

/* Each kind of write, to places that are there and that are not, is announced before it is done, and can be refused. */
static void watch_one(const char *format)
{
	struct image *img = new_image("watched", format, "", 4 * MB);
	struct image_queue *q = image_queue_new(img, NULL, 16, NULL);
	g_autofree uint8_t *data = g_malloc(CLUSTER), *then = g_malloc(img->size);
	g_autoptr(GRand) rand = g_rand_new_with_seed(3);
	struct spy s = { .watch = { spy_before, spy_after, spy_resized }, .img = img, .then = then };

	for (unsigned round = 0; round < 4; round++)
		for (unsigned kind = 0; kind < KINDS; kind++) {
			uint64_t offset = (uint64_t)kind * CLUSTER;
			g_autofree uint8_t *old = g_malloc(CLUSTER), *now = g_malloc(CLUSTER);
			int res;

			if (kind == COMPRESSED && !img->format->write_compressed)
				continue;
			memset(data, 1 + round * KINDS + kind, CLUSTER);
			assert_int_equal(image_read(img, offset, old, CLUSTER), 0);
			s.asked = s.told = 0;
			s.from = UINT64_MAX;
			s.to = 0;
			s.deny = round % 2;
			image_drain_begin(img);
			image_watch_add(img, &s.watch);
			image_drain_end(img);
			res = change(q, rand, kind, offset, data);
			image_drain_begin(img);
			image_watch_remove(img, &s.watch);
			image_drain_end(img);
			assert_int_equal(res, s.deny ? -EDOM : 0);
			assert_true(s.asked > 0 && (s.told > 0) == !s.deny);
			assert_true(s.from == offset && s.to == offset + CLUSTER);
			assert_memory_equal(then + offset, old, CLUSTER);
			assert_int_equal(image_read(img, offset, now, CLUSTER), 0);
			if (s.deny)
				assert_memory_equal(now, old, CLUSTER);
			else if (kind != DISCARD && kind != ZEROES && kind != QUEUED_ZEROES)
				assert_memory_equal(now, data, CLUSTER);
		}
	image_watch_add(img, &s.watch);
	assert_true(image_resize(img, 8 * MB, IMAGE_PREALLOC_OFF, NULL));
	assert_int_equal(s.size, 8 * MB);
	image_watch_remove(img, &s.watch);
	image_queue_free(q);
	image_close(img);
}

static void test_watch(void **state)
{
	watch_one("raw");
	watch_one("qcow2");
}

/* Whatever a guest changes is in the bitmap. */
static void test_bitmap(void **state)
{
	static const char *const formats[] = { "raw", "qcow2" };

	for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
		struct image *img = new_image("noted", formats[i], "", 4 * MB);
		struct guest *g = guest_start(img, 20 + i);
		g_autofree uint8_t *then = NULL, *now = NULL;
		struct image_bitmap *b;
		uint64_t dirty = 0;
		int err;

		guest_wait(g, 10);
		b = image_bitmap_new(NULL, img->size, GRANULE, &err);
		b->recording = true;
		image_drain_begin(img);
		then = contents(img);
		image_bitmap_attach(b, img);
		image_drain_end(img);
		guest_wait(g, 10);
		image_drain_begin(img);
		now = contents(img);
		image_bitmap_detach(b);
		image_drain_end(img);
		for (uint64_t at = 0; at < img->size; at += GRANULE) {
			if (memcmp(then + at, now + at, GRANULE))
				assert_true(image_bitmap_get(b, at));
			dirty += image_bitmap_get(b, at) * GRANULE;
		}
		assert_true(dirty > 0 && dirty == image_bitmap_count(b));
		guest_stop(g);
		image_bitmap_free(b);
		image_close(img);
	}
}

/* ---- populate ---- */

static gpointer populate_all(gpointer data)
{
	struct image *img = data;

	for (uint64_t at = 0; at < img->size; at += 48 << 10)
		g_assert(image_populate(img, at, MIN(48 << 10, img->size - at)) == 0);
	return NULL;
}

static void test_populate(void **state)
{
	static const char *const tops[] = {
		"", "'cluster_size': <'512'>", "'cluster_size': <'4k'>", "'compat': <'0.10'>", "'cluster_size': <'2M'>",
		"'cluster_size': <'16k'>, 'extended_l2': <'on'>", "'cluster_size': <'64k'>, 'extended_l2': <'on'>",
		"'lazy_refcounts': <'on'>",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(tops); i++) {
		struct chain_spec spec = { .n = 2, .format = { "qcow2", "qcow2" }, .size = { 5 * MB, 6 * MB },
					   .options = { "'cluster_size': <'4k'>", tops[i] } };
		g_autoptr(GRand) rand = g_rand_new_with_seed(40 + i);
		GThread *threads[2];
		struct chain c;
		struct guest *g;

		chain_make(&c, &spec, rand);
		g = guest_start(c.layer[1], i);
		guest_wait(g, 3);
		threads[0] = g_thread_new("populate", populate_all, c.layer[1]);
		threads[1] = g_thread_new("populate", populate_all, c.layer[1]);
		guest_wait(g, 20);
		g_thread_join(threads[0]);
		g_thread_join(threads[1]);
		/* Nothing comes from below any more. */
		image_drain_begin(c.layer[1]);
		image_set_backing_image(c.layer[1], NULL);
		image_drain_end(c.layer[1]);
		guest_wait(g, 3);
		guest_stop(g);
		expect_clean(c.layer[1], false);
		chain_close(&c);
	}
}

/* What is zeroes below takes no room. */
static void test_populate_zeroes(void **state)
{
	static const char *const tops[] = { "", "'cluster_size': <'16k'>, 'extended_l2': <'on'>" };

	for (unsigned i = 0; i < G_N_ELEMENTS(tops); i++) {
		struct image *below = new_image("below", "raw", "", 4 * MB), *img = new_image("above", "qcow2", tops[i], 4 * MB);
		g_autofree uint8_t *data = g_malloc0(CLUSTER);
		struct image_extent e;

		/* Half of them are written zeroes. */
		for (uint64_t at = 0; at < 2 * MB; at += CLUSTER)
			assert_int_equal(image_write(below, at, data, CLUSTER), 0);
		data[5] = 1;
		assert_int_equal(image_write(below, 3 * MB, data, CLUSTER), 0);
		image_set_backing_image(img, below);
		assert_int_equal(image_populate(img, 0, 4 * MB), 0);
		image_set_backing_image(img, NULL);
		for (uint64_t at = 0; at < 4 * MB; at += e.len) {
			assert_int_equal(image_map(img, at, 4 * MB - at, &e), 0);
			assert_true(e.kind == IMAGE_ZERO || (e.kind == IMAGE_DATA && at >= 3 * MB && at < 3 * MB + CLUSTER));
		}
		expect_contents(img, (g_free(data), data = contents(below)), 4 * MB);
		expect_clean(img, false);
		image_close(img);
		image_close(below);
	}
}

/* ---- reopen ---- */

static bool can_open(const char *path, const char *format, bool readonly)
{
	g_autofree char *text = g_strdup_printf("{'file': <'%s'>, 'format': <'%s'>, 'readonly': <%s>}", path, format,
						readonly ? "true" : "false");
	g_autoptr(GVariant) o = g_variant_ref_sink(g_variant_new_parsed(text));
	struct image *img = image_open(o, NULL);

	image_close(img);
	return img;
}

static void test_reopen(void **state)
{
	static const char *const formats[] = { "raw", "qcow2" };

	for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
		struct image *img = new_image("again", formats[i], "", MB), *reader;
		g_autofree char *path = rig_path("again");
		g_autofree uint8_t *data = g_malloc(CLUSTER), *back = g_malloc(CLUSTER);
		GError *error = NULL;

		memset(data, 1, CLUSTER);
		assert_int_equal(image_write(img, 0, data, CLUSTER), 0);
		assert_false(can_open(path, formats[i], true));
		for (unsigned round = 0; round < 3; round++) {
			assert_true(image_reopen(img, true, &error));
			assert_int_equal(image_write(img, 0, data, CLUSTER), -EROFS);
			assert_false(img->discard);
			assert_true(can_open(path, formats[i], true));
			assert_false(can_open(path, formats[i], false));
			/* What is written is there for who reads the file. */
			reader = open_image(path, formats[i], true);
			assert_int_equal(image_read(reader, round * CLUSTER, back, CLUSTER), 0);
			assert_memory_equal(back, data, CLUSTER);
			expect_clean(reader, false);
			assert_false(image_reopen(img, false, &error));
			assert_int_equal(error->code, KV_ERROR_BUSY);
			g_clear_error(&error);
			assert_true(img->readonly);
			assert_int_equal(image_read(img, 0, back, CLUSTER), 0);
			image_close(reader);
			assert_false(can_open(path, formats[i], false));
			assert_true(image_reopen(img, false, &error));
			assert_false(can_open(path, formats[i], true));
			assert_true(img->discard);
			memset(data, 2 + round, CLUSTER);
			assert_int_equal(image_write(img, (round + 1) * CLUSTER, data, CLUSTER), 0);
		}
		image_close(img);
		assert_true(can_open(path, formats[i], false));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drain),	 cmocka_unit_test(test_set_image),	 cmocka_unit_test(test_watch),
		cmocka_unit_test(test_bitmap),	 cmocka_unit_test(test_populate),	 cmocka_unit_test(test_populate_zeroes),
		cmocka_unit_test(test_reopen),
	};

	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
