/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block jobs beside a guest that writes all the time: what it sees is what it wrote, and the job's promise about contents holds
 * at the moment that it is for. Also states, verbs, errors and groups in QEMU's words.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bitmap.h"
#include "format.h"
#include "image-rig.h"
#include "jobs-rig.h"

enum { MB = 1 << 20, ROUNDS = 30 };

static const struct chain_spec specs[] = {
	{ .n = 4, .format = { "raw", "qcow2", "qcow2", "qcow2" }, .size = { 3 * MB, 2 * MB, 4 * MB, 4 * MB },
	  .options = { "", "", "", "" } },
	{ .n = 4, .format = { "qcow2", "qcow2", "qcow2", "qcow2" }, .size = { 4 * MB, 4 * MB, 5 * MB / 2, 4 * MB },
	  .options = { "'cluster_size': <'4k'>", "'cluster_size': <'512'>", "'cluster_size': <'16k'>, 'extended_l2': <'on'>",
		       "'cluster_size': <'32k'>, 'extended_l2': <'on'>" } },
	{ .n = 4, .format = { "qcow2", "qcow2", "qcow2", "qcow2" }, .size = { 7 * MB / 2, 4 * MB, 4 * MB, 4 * MB },
	  .options = { "'compat': <'0.10'>", "", "'compat': <'0.10'>", "'cluster_size': <'4k'>" } },
};

static struct job_options options(const char *id)
{
	return (struct job_options){ .id = id, .owner = &rig_owner };
}

static struct job *ok(struct job *job, GError *error)
{
	if (!job)
		fail_msg("%s", error->message);
	return job;
}

static struct job *stream(struct job_options o, struct image *top, struct image *base)
{
	const struct job_stream what = { .top = top, .base = base };
	GError *error = NULL;
	struct job *job = job_stream_new(&o, &what, &error);

	return ok(job, error);
}

static struct job *commit(struct job_options o, struct image *active, struct image *top, struct image *base)
{
	const struct job_commit what = { .active = active, .top = top, .base = base };
	GError *error = NULL;
	struct job *job = job_commit_new(&o, &what, &error);

	return ok(job, error);
}

static struct job *mirror(struct job_options o, struct image *source, struct image *target, enum job_sync sync)
{
	const struct job_mirror what = { .source = source, .target = target, .sync = sync };
	GError *error = NULL;
	struct job *job = job_mirror_new(&o, &what, &error);

	return ok(job, error);
}

static struct job *backup(struct job_options o, const struct job_backup *what)
{
	GError *error = NULL;
	struct job *job = job_backup_new(&o, what, &error);

	return ok(job, error);
}

static void expect_fails(bool succeeded, GError **error, const char *text)
{
	assert_false(succeeded);
	assert_string_equal((*error)->message, text);
	g_clear_error(error);
}

static void expect_events(const char *text)
{
	g_autofree char *got = events_take();

	assert_string_equal(got, text);
}

/* The chain as the files have it, opened anew, has this. */
static void expect_file(const char *path, const char *format, const uint8_t *bytes, uint64_t len, const char *backing)
{
	struct image *img = open_image(path, format, true);

	expect_contents(img, bytes, len);
	expect_clean(img, false);
	if (backing)
		assert_string_equal(img->backing_name, backing);
	else
		assert_null(img->backing_name);
	image_close(img);
}

/* ---- stream ---- */

static void one_stream(const struct chain_spec *spec, int base, unsigned seed)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
	g_autofree uint8_t *model = NULL;
	g_autofree char *top_path = NULL, *name = base < 0 ? NULL : g_strdup_printf("layer%d", base);
	struct image *top;
	struct chain c;
	struct guest *g;

	chain_make(&c, spec, rand);
	top = c.layer[c.n - 1];
	g = guest_start(top, seed);
	events_begin();
	stream(options("s"), top, base < 0 ? NULL : c.layer[base]);
	job_wait("s", JOB_NULL);
	expect_events("created running waiting pending COMPLETED concluded null");
	assert_ptr_equal(top->backing, base < 0 ? NULL : c.layer[base]);
	guest_wait(g, ROUNDS);
	guest_stop(g);
	model = contents(top);
	top_path = g_strdup(c.path[c.n - 1]);
	chain_close(&c);
	expect_file(top_path, "qcow2", model, spec->size[spec->n - 1], name);
}

static void test_stream(void **state)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(specs); i++)
		for (int base = -1; base < 3; base++)
			if (strstr(specs[i].options[3], "0.10") == NULL)
				one_stream(specs + i, base, 10 * i + base + 1);
}

/* ---- commit ---- */

static void one_commit(const struct chain_spec *spec, int top, int base, unsigned seed)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
	g_autofree uint8_t *model = NULL;
	g_autofree char *top_path = NULL, *name = g_strdup_printf("layer%d", base);
	struct image *active;
	struct chain c;
	struct guest *g;

	chain_make(&c, spec, rand);
	active = c.layer[c.n - 1];
	g = guest_start(active, seed);
	events_begin();
	commit(options("c"), active, c.layer[top], c.layer[base]);
	job_wait("c", JOB_NULL);
	expect_events("created running waiting pending COMPLETED concluded null");
	assert_ptr_equal(c.layer[top + 1]->backing, c.layer[base]);
	assert_true(c.layer[base]->readonly);
	guest_wait(g, ROUNDS);
	guest_stop(g);
	model = contents(active);
	top_path = g_strdup(c.path[c.n - 1]);
	name = top + 1 == (int)c.n - 1 ? name : (g_free(name), g_strdup_printf("layer%d", c.n - 2));
	chain_close(&c);
	expect_file(top_path, "qcow2", model, spec->size[spec->n - 1], name);
}

static void test_commit(void **state)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(specs); i++) {
		one_commit(specs + i, 2, 1, 100 + i);
		one_commit(specs + i, 2, 0, 110 + i);
		one_commit(specs + i, 1, 0, 120 + i);
	}
}

static void one_active_commit(const struct chain_spec *spec, int base, bool pivot, unsigned seed)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
	g_autofree uint8_t *model = NULL;
	g_autofree char *path = NULL;
	GError *error = NULL;
	struct chain c;
	struct guest *g;

	chain_make(&c, spec, rand);
	g = guest_start(c.layer[c.n - 1], seed);
	events_begin();
	commit(options("c"), c.layer[c.n - 1], c.layer[c.n - 1], c.layer[base]);
	job_wait("c", JOB_READY);
	guest_wait(g, ROUNDS);
	assert_true(pivot ? job_complete(job_find("c"), &error) : job_cancel(job_find("c"), false, &error));
	job_wait("c", JOB_NULL);
	expect_events("created running ready READY waiting pending COMPLETED concluded null");
	assert_ptr_equal(g->q->image, pivot ? c.layer[base] : c.layer[c.n - 1]);
	assert_true(c.layer[base]->readonly == !pivot);
	guest_wait(g, ROUNDS);
	guest_stop(g);
	model = contents(c.layer[pivot ? base : (int)c.n - 1]);
	path = g_strdup(c.path[pivot ? base : (int)c.n - 1]);
	chain_close(&c);
	if (pivot && !base)
		expect_file(path, spec->format[0], model, spec->size[spec->n - 1], NULL);
}

static void test_active_commit(void **state)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(specs); i++)
		for (int base = 0; base < 3; base++)
			one_active_commit(specs + i, base, (i + base) % 3 != 2, 200 + 10 * i + base);
}

/* ---- mirror ---- */

static void one_mirror(const struct chain_spec *spec, const char *format, const char *target_options, enum job_sync sync,
		       unsigned seed)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
	struct image *source, *target;
	GError *error = NULL;
	struct chain c;
	struct guest *g;

	chain_make(&c, spec, rand);
	source = c.layer[c.n - 1];
	target = new_image("target", format, target_options, source->size);
	/* A target that stands on what the source stands on. */
	if (sync == JOB_SYNC_TOP)
		image_set_backing_image(target, source->backing);
	g = guest_start(source, seed);
	events_begin();
	rig_pivots = 0;
	mirror(options("m"), source, target, sync);
	job_wait("m", JOB_READY);
	guest_wait(g, ROUNDS);
	assert_true(job_complete(job_find("m"), &error));
	job_wait("m", JOB_NULL);
	expect_events("created running ready READY waiting pending COMPLETED concluded null");
	assert_int_equal(rig_pivots, 1);
	assert_ptr_equal(g->q->image, target);
	chain_close(&c);
	guest_wait(g, ROUNDS);
	guest_stop(g);
	expect_clean(target, false);
	image_close(target);
}

static void test_mirror(void **state)
{
	one_mirror(specs, "raw", "", JOB_SYNC_FULL, 300);
	one_mirror(specs + 1, "qcow2", "", JOB_SYNC_FULL, 301);
	one_mirror(specs + 2, "qcow2", "'cluster_size': <'512'>", JOB_SYNC_FULL, 302);
	one_mirror(specs + 2, "qcow2", "'cluster_size': <'2M'>", JOB_SYNC_FULL, 303);
	one_mirror(specs, "qcow2", "", JOB_SYNC_TOP, 304);
	one_mirror(specs + 1, "qcow2", "'cluster_size': <'16k'>, 'extended_l2': <'on'>", JOB_SYNC_TOP, 305);
}

/* A ready mirror that is cancelled in order is a copy of that moment; zeroes stay holes, and a speed does not hold them up. */
static void test_mirror_cancel(void **state)
{
	struct job_options slow = options("m");
	g_autoptr(GRand) rand = g_rand_new_with_seed(9);
	g_autofree uint8_t *then = NULL;
	struct image *source = new_image("source", "qcow2", "", 64 * MB), *target = new_image("target", "raw", "", 64 * MB);
	struct image_extent e;
	GError *error = NULL;
	struct guest *g;

	scribble(source, rand, 3);
	assert_int_equal(image_write_zeroes(source, 0, 32 * MB, IMAGE_MAY_UNMAP), 0);
	g = guest_start(source, 1);
	__atomic_store_n(&g->pause_us, 2000, __ATOMIC_RELAXED);
	mirror(options("m"), source, target, JOB_SYNC_FULL);
	job_wait("m", JOB_READY);
	guest_wait(g, 3);
	image_drain_begin(source);
	then = contents(source);
	assert_true(job_cancel(job_find("m"), false, &error));
	job_wait("m", JOB_NULL);
	expect_contents(target, then, source->size);
	image_drain_end(source);
	guest_stop(g);
	image_close(target);

	image_close(source);
	source = new_image("source", "qcow2", "", 64 * MB);
	target = new_image("target", "raw", "", 64 * MB);
	slow.speed = 1;
	mirror(slow, source, target, JOB_SYNC_FULL);
	job_wait("m", JOB_READY);
	assert_true(job_cancel(job_find("m"), true, &error));
	job_wait("m", JOB_NULL);
	assert_int_equal(image_map(target, 0, 64 * MB, &e), 0);
	assert_int_equal(e.kind, IMAGE_ZERO);
	assert_int_equal(e.len, 64 * MB);
	image_close(target);
	image_close(source);
}

/* A write that has ended is on both disks. */
static void test_write_blocking(void **state)
{
	static const char *const formats[] = { "raw", "qcow2" };

	for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
		struct image *source = new_image("source", formats[i], "", 8 * MB);
		struct image *target = new_image("target", "qcow2", "", 8 * MB);
		const struct job_mirror what = { .source = source, .target = target, .write_blocking = true };
		uint64_t offset, len;
		struct job_options o = options("m");
		g_autoptr(GRand) rand = g_rand_new_with_seed(5);
		GError *error = NULL;
		struct guest *g;
		struct job *job;

		scribble(source, rand, 60);
		g = guest_start(source, 50 + i);
		job = ok(job_mirror_new(&o, &what, &error), error);
		job_wait("m", JOB_READY);
		do {
			g_main_context_iteration(NULL, FALSE);
			job_progress(job, &offset, &len);
		} while (offset != len);
		/* From now on nobody copies but writers. */
		assert_true(job_pause(job, NULL));
		job_wait("m", JOB_STANDBY);
		for (unsigned k = 0; k < 5; k++) {
			g_autofree uint8_t *now = NULL;

			guest_wait(g, 4);
			image_drain_begin(source);
			now = contents(source);
			expect_contents(target, now, source->size);
			image_drain_end(source);
		}
		assert_true(job_resume(job, NULL));
		assert_true(job_complete(job, NULL));
		job_wait("m", JOB_NULL);
		assert_ptr_equal(g->q->image, target);
		guest_wait(g, 4);
		guest_stop(g);
		expect_clean(target, false);
		image_close(target);
		image_close(source);
	}
}

/* ---- backup ---- */

static void one_backup(const struct chain_spec *spec, const char *format, const char *target_options, struct job_backup what,
		       unsigned seed)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
	g_autofree uint8_t *then = NULL;
	struct chain c;
	struct guest *g;

	chain_make(&c, spec, rand);
	what.source = c.layer[c.n - 1];
	what.target = new_image("target", format, target_options, what.source->size);
	if (what.sync == JOB_SYNC_TOP)
		image_set_backing_image(what.target, what.source->backing);
	g = guest_start(what.source, seed);
	guest_wait(g, 3);
	events_begin();
	image_drain_begin(what.source);
	then = contents(what.source);
	backup(options("b"), &what);
	image_drain_end(what.source);
	job_wait("b", JOB_NULL);
	expect_events("created running waiting pending COMPLETED concluded null");
	guest_wait(g, ROUNDS);
	guest_stop(g);
	expect_contents(what.target, then, what.target->size);
	expect_clean(what.target, false);
	image_close(what.target);
	chain_close(&c);
}

static void test_backup(void **state)
{
	const struct job_backup full = { .sync = JOB_SYNC_FULL }, top = { .sync = JOB_SYNC_TOP };
	const struct job_backup packed = { .sync = JOB_SYNC_FULL, .compress = true };

	one_backup(specs, "raw", "", full, 400);
	one_backup(specs + 1, "qcow2", "", full, 401);
	one_backup(specs + 1, "qcow2", "'cluster_size': <'2M'>", full, 402);
	one_backup(specs + 2, "qcow2", "'cluster_size': <'4k'>", packed, 403);
	one_backup(specs, "qcow2", "", top, 404);
	one_backup(specs + 1, "qcow2", "'cluster_size': <'4k'>", top, 405);
}

/* A full one, then some with a bitmap, one of them in vain; each brings the same target to the disk's state. */
static void test_incremental(void **state)
{
	static const struct {
		enum job_sync sync;
		enum job_bitmap_mode mode;
		bool cancel;
	} steps[] = {
		{ JOB_SYNC_FULL, JOB_BITMAP_ON_SUCCESS, false },	{ JOB_SYNC_INCREMENTAL, JOB_BITMAP_ON_SUCCESS, false },
		{ JOB_SYNC_INCREMENTAL, JOB_BITMAP_ON_SUCCESS, true },	{ JOB_SYNC_INCREMENTAL, JOB_BITMAP_ON_SUCCESS, false },
		{ JOB_SYNC_BITMAP, JOB_BITMAP_NEVER, false },		{ JOB_SYNC_BITMAP, JOB_BITMAP_ALWAYS, false },
		{ JOB_SYNC_BITMAP, JOB_BITMAP_ON_SUCCESS, false },	{ JOB_SYNC_INCREMENTAL, JOB_BITMAP_ON_SUCCESS, false },
	};
	struct image *source = new_image("source", "qcow2", "", 16 * MB), *target = new_image("target", "qcow2", "", 16 * MB);
	struct guest *g = guest_start(source, 77);
	struct image_bitmap *bitmap;
	GError *error = NULL;
	int err;

	bitmap = image_bitmap_new("b", source->size, 32 << 10, &err);
	bitmap->recording = true;
	image_drain_begin(source);
	image_bitmap_attach(bitmap, source);
	image_drain_end(source);
	for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++) {
		const struct job_backup what = { .source = source, .target = target, .sync = steps[i].sync, .bitmap = bitmap,
						 .bitmap_mode = steps[i].mode };
		struct job_options o = options("b");
		g_autofree uint8_t *then = NULL;

		guest_wait(g, 5);
		o.speed = steps[i].cancel ? 2 * MB : 0;
		image_drain_begin(source);
		then = contents(source);
		backup(o, &what);
		image_drain_end(source);
		assert_true(bitmap->busy);
		if (steps[i].cancel) {
			guest_wait(g, 5);
			assert_true(job_cancel(job_find("b"), false, &error));
		}
		job_wait("b", JOB_NULL);
		assert_false(bitmap->busy);
		assert_true(bitmap->recording);
		if (!steps[i].cancel)
			expect_contents(target, then, source->size);
	}
	image_drain_begin(source);
	image_bitmap_detach(bitmap);
	image_drain_end(source);
	image_bitmap_free(bitmap);
	guest_stop(g);
	image_close(target);
	image_close(source);
}

/* ---- cancels at any time; jobs one after another ---- */

static void test_cancel(void **state)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(31);
	struct chain c;
	struct image *top, *target;
	struct guest *g;

	chain_make(&c, specs, rand);
	top = c.layer[c.n - 1];
	target = new_image("target", "qcow2", "", top->size);
	g = guest_start(top, 5);
	for (unsigned i = 0; i < 40; i++) {
		const struct job_backup what = { .source = top, .target = target, .sync = JOB_SYNC_FULL };
		struct job_options o = options("j");
		struct job *job;

		o.speed = i % 2 ? 0 : 4 * MB;
		if (i % 5 == 0)
			stream(o, top, c.layer[0]);
		else if (i % 5 == 1)
			commit(o, top, c.layer[2], c.layer[1]);
		else if (i % 5 == 2)
			commit(o, top, top, c.layer[2]);
		else if (i % 5 == 3)
			mirror(o, top, target, JOB_SYNC_FULL);
		else
			backup(o, &what);
		for (unsigned k = g_rand_int_range(rand, 0, 60); k; k--) {
			g_usleep(g_rand_int_range(rand, 0, 200));
			g_main_context_iteration(NULL, FALSE);
		}
		job = job_find("j");
		if (job && job->status < JOB_CONCLUDED)
			assert_true(job_cancel(job, true, NULL));
		job_wait("j", JOB_NULL);
		/* It may have come to its end before. */
		if (top->backing != c.layer[2])
			break;
		assert_null(job_using(top));
	}
	guest_wait(g, ROUNDS);
	guest_stop(g);
	expect_clean(top, false);
	image_close(target);
	chain_close(&c);
}

/* ---- verbs ---- */

static void test_verbs(void **state)
{
	struct image *source = new_image("source", "qcow2", "", 16 * MB), *target = new_image("target", "raw", "", 16 * MB);
	const struct job_mirror what = { .source = source, .target = target };
	g_autoptr(GRand) rand = g_rand_new_with_seed(1);
	struct job_options o = options("m");
	uint64_t offset, len;
	GError *error = NULL;
	struct job *job;

	scribble(source, rand, 200);
	events_begin();
	o.speed = 64 << 10;
	o.manual_finalize = o.manual_dismiss = true;
	job = mirror(o, source, target, JOB_SYNC_FULL);
	expect_fails(job_mirror_new(&o, &what, &error), &error, "Job ID 'm' already in use");
	o.id = "1";
	expect_fails(job_mirror_new(&o, &what, &error), &error, "Invalid job ID '1'");
	o.id = "n";
	{
		g_autofree char *text =
			g_strdup_printf("Node '%s' is busy: block device is in use by block job: mirror", source->path);

		expect_fails(job_mirror_new(&o, &what, &error), &error, text);
	}
	assert_ptr_equal(job_using(target), job);
	expect_fails(job_complete(job, &error), &error, "Job 'm' in state 'running' cannot accept command verb 'complete'");
	expect_fails(job_resume(job, &error), &error, "Can't resume a job that was not paused");
	assert_true(job_pause(job, &error));
	expect_fails(job_pause(job, &error), &error, "Job is already paused");
	job_wait("m", JOB_PAUSED);
	assert_false(job_is_busy(job));
	assert_true(job_set_speed(job, 0, NULL));
	assert_true(job_resume(job, NULL));
	job_wait("m", JOB_READY);
	job_progress(job, &offset, &len);
	assert_int_equal(offset, len);
	assert_true(len > 0);
	assert_true(job_pause(job, NULL));
	job_wait("m", JOB_STANDBY);
	expect_fails(job_complete(job, &error), &error, "Job 'm' in state 'standby' cannot accept command verb 'complete'");
	assert_true(job_resume(job, NULL));
	assert_true(job_complete(job, NULL));
	job_wait("m", JOB_PENDING);
	expect_fails(job_pause(job, &error), &error, "Job 'm' in state 'pending' cannot accept command verb 'pause'");
	assert_true(job_finalize(job, NULL));
	assert_int_equal(job->status, JOB_CONCLUDED);
	expect_fails(job_cancel(job, false, &error), &error, "Job 'm' in state 'concluded' cannot accept command verb 'cancel'");
	assert_true(job_dismiss(job, NULL));
	assert_null(job_find("m"));
	expect_events("created running paused running ready READY standby ready waiting pending PENDING COMPLETED concluded "
		      "null");
	image_close(target);
	image_close(source);
}

/* All of a group, or none. */
static void test_group(void **state)
{
	struct image *source[2] = { new_image("s0", "qcow2", "", 4 * MB), new_image("s1", "qcow2", "", 4 * MB) };
	struct image *target[2] = { new_image("t0", "raw", "", 4 * MB), new_image("t1", "raw", "", 4 * MB) };
	g_autoptr(GRand) rand = g_rand_new_with_seed(1);

	scribble(source[0], rand, 50);
	scribble(source[1], rand, 50);
	for (unsigned round = 0; round < 3; round++) {
		struct job_group *group = job_group_new();
		struct job *jobs[2];

		for (unsigned i = 0; i < 2; i++) {
			const struct job_backup what = { .source = source[i], .target = target[i], .sync = JOB_SYNC_FULL };
			struct job_options o = options(i ? "b" : "a");

			o.group = group;
			o.speed = i && round == 1 ? 1024 : 0;
			o.manual_dismiss = true;
			jobs[i] = backup(o, &what);
		}
		job_group_unref(group);
		assert_int_equal(jobs[0]->status, JOB_CREATED);
		if (round == 2) {
			assert_true(job_cancel(jobs[1], false, NULL));
			assert_null(job_find("a"));
			assert_null(job_find("b"));
			continue;
		}
		job_start(jobs[0]);
		job_wait("a", JOB_WAITING);
		job_start(jobs[1]);
		if (round == 1)
			assert_true(job_cancel(jobs[1], false, NULL));
		job_wait("a", JOB_CONCLUDED);
		job_wait("b", JOB_CONCLUDED);
		assert_int_equal(jobs[0]->result, round ? -ECANCELED : 0);
		assert_int_equal(jobs[1]->result, round ? -ECANCELED : 0);
		job_dismiss(jobs[0], NULL);
		job_dismiss(jobs[1], NULL);
	}
	for (unsigned i = 0; i < 2; i++) {
		image_close(source[i]);
		image_close(target[i]);
	}
}

/* A running one, one that waits for it, and one that nobody dismisses. */
static void test_cancel_all(void **state)
{
	struct image *source[2] = { new_image("s0", "qcow2", "", 4 * MB), new_image("s1", "qcow2", "", 4 * MB) };
	struct image *target[2] = { new_image("t0", "raw", "", 4 * MB), new_image("t1", "raw", "", 4 * MB) };
	struct job_group *group = job_group_new();
	g_autoptr(GRand) rand = g_rand_new_with_seed(1);

	scribble(source[0], rand, 50);
	for (unsigned i = 0; i < 2; i++) {
		const struct job_backup what = { .source = source[i], .target = target[i], .sync = JOB_SYNC_FULL };
		struct job_options o = options(i ? "b" : "a");

		o.group = group;
		o.speed = i ? 0 : 1024;
		o.manual_dismiss = true;
		job_start(backup(o, &what));
	}
	job_group_unref(group);
	job_wait("b", JOB_WAITING);
	assert_true(job_pause(job_find("a"), NULL));
	job_cancel_all();
	assert_null(job_list());
	assert_null(job_using(source[0]));
	for (unsigned i = 0; i < 2; i++) {
		image_close(source[i]);
		image_close(target[i]);
	}
}

static void test_create(void **state)
{
	g_autofree char *path = rig_path("made");
	g_autofree char *text = g_strdup_printf("{'file': <'%s'>, 'format': <'qcow2'>, 'size': <uint64 1048576>}", path);
	struct job_options o = options("c");
	struct image *img;
	GError *error = NULL;
	struct job *job;

	o.manual_dismiss = true;
	ok(job_create_new(&o, NULL, g_variant_new_parsed(text), &error), error);
	job_wait("c", JOB_CONCLUDED);
	assert_int_equal(job_find("c")->result, 0);
	job_dismiss(job_find("c"), NULL);
	img = open_image(path, "qcow2", true);
	assert_int_equal(img->size, MB);
	image_close(img);
	job = ok(job_create_new(&o, NULL, g_variant_new_parsed("{'file': <'/nowhere/x'>, 'size': <uint64 512>}"), &error), error);
	job_wait("c", JOB_CONCLUDED);
	assert_non_null(strstr(job->error, "/nowhere/x"));
	job_dismiss(job, NULL);
}

/* In the file of a node, which nobody else has meanwhile; what was there is gone. */
static void test_create_on(void **state)
{
	g_autofree uint8_t *zeroes = g_malloc0(MB);
	struct image *storage = new_image("storage", "raw", "", 2 * MB), *img;
	g_autofree char *how = g_strdup_printf("{'file': <'%s'>, 'format': <'qcow2'>}", storage->path);
	g_autoptr(GVariant) open = NULL;
	struct job_options o = options("c");
	GError *error = NULL;

	zeroes[MB / 2] = 1;
	for (int i = 0; i < 2; i++)
		assert_int_equal(image_write(storage, i * MB, zeroes, MB), 0);
	zeroes[MB / 2] = 0;
	o.manual_dismiss = true;
	ok(job_create_new(&o, storage, g_variant_new_parsed("{'format': <'qcow2'>, 'size': <uint64 1048576>}"), &error), error);
	assert_non_null(job_using(storage));
	o.id = "d";
	assert_null(job_create_new(&o, storage, g_variant_new_parsed("{'format': <'raw'>, 'size': <uint64 512>}"), &error));
	assert_non_null(strstr(error->message, "block device is in use by block job: create"));
	g_clear_error(&error);
	job_wait("c", JOB_CONCLUDED);
	assert_int_equal(job_find("c")->result, 0);
	job_dismiss(job_find("c"), NULL);
	open = g_variant_ref_sink(g_variant_new_parsed(how));
	img = image_open_on(storage, NULL, open, &error);
	if (!img)
		fail_msg("%s", error->message);
	expect_contents(img, zeroes, MB);
	expect_clean(img, false);
	image_close(img);
	image_close(storage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stream),	 cmocka_unit_test(test_commit),	       cmocka_unit_test(test_active_commit),
		cmocka_unit_test(test_mirror),	 cmocka_unit_test(test_mirror_cancel), cmocka_unit_test(test_backup),
		cmocka_unit_test(test_write_blocking),
		cmocka_unit_test(test_incremental), cmocka_unit_test(test_cancel),    cmocka_unit_test(test_verbs),
		cmocka_unit_test(test_group),	 cmocka_unit_test(test_cancel_all),    cmocka_unit_test(test_create),
		cmocka_unit_test(test_create_on),
	};

	cmocka_set_test_filter(getenv("JOBS_TEST"));
	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
