/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block jobs over files in memory: whatever part of the writes since each file's last flush a crash keeps, the chain that is in
 * use then opens, its images have leaks at most, and what the guest has flushed is there. Also reads and writes that fail.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format.h"
#include "image-rig.h"
#include "jobs-rig.h"
#include "mem-file.h"

enum { SECTOR = 512, LAYERS = 4, TARGET = LAYERS, FILES, CRASHES = 80, AROUND = 20, FIRST = 40, MIDDLE = 30, LAST = 60 };

/* ---- a chain in memory ---- */

struct setup {
	const char *format[FILES], *options[FILES]; /* [TARGET] is no layer */
	uint64_t size[FILES];
	int target_on; /* the layer that the target stands on; -1: none */
};

static const struct setup setups[] = {
	{ .format = { "qcow2", "qcow2", "qcow2", "qcow2", "qcow2" }, .target_on = -1,
	  .options = { "'cluster_size': <'4k'>", "'cluster_size': <'512'>", "'cluster_size': <'4k'>", "'cluster_size': <'4k'>",
		       "'cluster_size': <'4k'>" },
	  .size = { 1 << 20, 1 << 20, 700 << 10, 1 << 20, 1 << 20 } },
	{ .format = { "raw", "qcow2", "qcow2", "qcow2", "raw" }, .target_on = -1,
	  .options = { "", "'cluster_size': <'64k'>", "'cluster_size': <'2k'>", "'cluster_size': <'16k'>, 'extended_l2': <'on'>",
		       "" },
	  .size = { 600 << 10, 1 << 20, 1 << 20, 1 << 20, 1 << 20 } },
	{ .format = { "raw", "qcow2", "qcow2", "qcow2", "qcow2" }, .target_on = 2,
	  .options = { "", "", "'cluster_size': <'2k'>", "'cluster_size': <'1k'>", "'cluster_size': <'8k'>" },
	  .size = { 1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20 } },
};

/* So long that a header of 512 bytes ends within. */
#define NAME(x) "a-name-that-does-not-fit-in-the-first-sector-of-the-header-" x
static const char *const names[FILES] = { NAME("0"), NAME("one"), NAME("2-which-is-longer"), NAME("three"), "target" };

static GVariant *parse(const char *a, const char *b)
{
	g_autofree char *text = g_strdup_printf("@a{sv} {%s%s%s}", a, *a && *b ? ", " : "", b);

	return g_variant_ref_sink(g_variant_new_parsed(text));
}

static const char *backing_of(const struct setup *s, unsigned i)
{
	if (i == TARGET)
		return s->target_on < 0 ? NULL : names[s->target_on];
	return i ? names[i - 1] : NULL;
}

static unsigned index_of(const char *name)
{
	for (unsigned i = 0; i < FILES; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	fail_msg("a header names '%s'", name);
	return 0;
}

/* The image over this file; takes no reference of the file, which is not closed. */
static struct image *open_over(const struct setup *s, struct mem_file *f, unsigned i, bool readonly, struct image *backing)
{
	struct image storage = { .format = &image_raw, .path = (char *)names[i], .file = &f->base, .data = &f->base,
				 .refs = 1 };
	g_autofree char *text = g_strdup_printf("'format': <'%s'>, 'readonly': <%s>, 'aio': <'threads'>%s", s->format[i],
						readonly ? "true" : "false", backing ? "" : ", 'backing': <''>");
	g_autoptr(GVariant) o = parse(text, "");
	GError *error = NULL;
	struct image *img = image_open_on(&storage, backing, o, &error);

	if (!img)
		fail_msg("%s: %s", names[i], error->message);
	img->storage = NULL; /* it is gone when we return */
	return img;
}

/* As the headers say. */
static struct image *open_chain(const struct setup *s, struct mem_file **files, unsigned i, bool readonly)
{
	struct image *img = open_over(s, files[i], i, true, NULL), *backing = NULL, *whole;

	if (img->backing_name)
		backing = open_chain(s, files, index_of(img->backing_name), true);
	image_close(img);
	whole = open_over(s, files[i], i, readonly, backing);
	image_close(backing);
	return whole;
}

/* ---- what the guest did ---- */

struct event {
	uint64_t from, to; /* mem_now() before and after it */
	bool flush;
	uint64_t sector, n, id; /* id: what all words of these sectors are; 0: zeroes */
};

struct world {
	const struct setup *setup;
	struct mem_file *files[FILES], *before[FILES];
	struct image *layer[LAYERS], *target;
	struct image_queue *q;
	GThread *thread;
	GRand *rand, *guest_rand;
	int stop; /* atomic */
	unsigned rounds; /* atomic */
	uint64_t id, sectors;
	uint64_t *first;     /* ids at the beginning */
	GArray *events;	     /* struct event; the guest's thread */
	uint64_t pending;    /* when the job began to change the chain */
	uint64_t pivot;	     /* when the guest went on with `pivoted`; 0: never */
	unsigned pivoted;
	uint64_t *backup;    /* what target has from backed_up on */
	uint64_t backed_up;
};

static struct world *world; /* for the owner's function */

static void fill_sectors(uint8_t *buf, uint64_t n, uint64_t id)
{
	for (uint64_t i = 0; i < n * SECTOR / 8; i++)
		memcpy(buf + i * 8, &id, 8);
}

static int write_ids(struct image *img, uint64_t sector, uint64_t n, uint64_t id)
{
	g_autofree uint8_t *buf = g_malloc(n * SECTOR);

	if (!id)
		return image_write_zeroes(img, sector * SECTOR, n * SECTOR, IMAGE_MAY_UNMAP);
	fill_sectors(buf, n, id);
	return image_write(img, sector * SECTOR, buf, n * SECTOR);
}

/* Each sector's id; they are not mixed. */
static uint64_t *read_ids(struct image *img)
{
	uint64_t n = img->size / SECTOR, *ids = g_new(uint64_t, n);
	static uint64_t words[(1 << 20) / 8];

	assert_true(img->size <= sizeof(words));
	assert_int_equal(image_read(img, 0, words, img->size), 0);
	for (uint64_t i = 0; i < n; i++) {
		const uint64_t *sector = words + i * (SECTOR / 8);

		ids[i] = sector[0];
		assert_int_equal(memcmp(sector, sector + 1, SECTOR - 8), 0);
	}
	return ids;
}

static void guest_step(struct world *w)
{
	struct event e = { .flush = g_rand_int_range(w->guest_rand, 0, 6) == 0 };
	int res;

	e.n = g_rand_int_range(w->guest_rand, 1, 64);
	e.sector = g_rand_int_range(w->guest_rand, 0, w->sectors - e.n);
	e.id = g_rand_int_range(w->guest_rand, 0, 5) ? ++w->id : 0;
	while (!image_queue_enter(w->q))
		g_usleep(50);
	e.from = mem_now();
	res = e.flush ? image_flush(w->q->image) : write_ids(w->q->image, e.sector, e.n, e.id);
	e.to = mem_now();
	image_queue_leave(w->q);
	g_assert(res == 0);
	g_array_append_val(w->events, e);
}

static gpointer guest(gpointer data)
{
	struct world *w = data;

	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		guest_step(w);
		__atomic_add_fetch(&w->rounds, 1, __ATOMIC_RELEASE);
		g_usleep(100);
	}
	return NULL;
}

static void let_guest(struct world *w, unsigned steps)
{
	unsigned until = __atomic_load_n(&w->rounds, __ATOMIC_ACQUIRE) + steps;

	while (__atomic_load_n(&w->rounds, __ATOMIC_ACQUIRE) < until)
		if (!g_main_context_iteration(NULL, FALSE))
			g_usleep(50);
}

/* ---- a world ---- */

static void make_files(struct world *w)
{
	const struct setup *s = w->setup;

	for (unsigned i = 0; i < FILES; i++) {
		const char *backing = backing_of(s, i);
		g_autofree char *on = backing ? g_strdup_printf("'backing': <'%s'>, 'backing-format': <'%s'>", backing,
								s->format[index_of(backing)]) :
						g_strdup("");
		g_autoptr(GVariant) o = parse(s->options[i], on);
		struct image *img;
		GError *error = NULL;

		w->files[i] = mem_file_new(NULL, 0);
		assert_true(image_format_find(s->format[i])->create(&w->files[i]->base, s->size[i], o, &error));
		if (i == TARGET)
			continue;
		img = open_chain(s, w->files, i, false);
		for (unsigned k = 0; k < FIRST; k++) {
			uint64_t n = g_rand_int_range(w->rand, 1, 40);

			assert_int_equal(write_ids(img, g_rand_int_range(w->rand, 0, img->size / SECTOR - n), n,
						   k % 6 ? ++w->id : 0), 0);
		}
		image_close(img);
	}
}

static void world_begin(struct world *w, const struct setup *s, unsigned seed)
{
	struct image *img;

	*w = (struct world){ .setup = s, .rand = g_rand_new_with_seed(seed), .guest_rand = g_rand_new_with_seed(seed + 1) };
	world = w;
	make_files(w);
	for (unsigned i = 0; i < FILES; i++) {
		w->before[i] = mem_file_new(w->files[i]->bytes->data, w->files[i]->bytes->len);
		mem_file_record(w->files[i]);
	}
	img = open_chain(s, w->files, LAYERS - 1, false);
	w->sectors = img->size / SECTOR;
	w->first = read_ids(img);
	for (unsigned i = LAYERS; i-- > 0; img = img->backing)
		w->layer[i] = i == LAYERS - 1 ? img : image_ref(img);
	w->target = open_over(s, w->files[TARGET], TARGET, false, s->target_on < 0 ? NULL : w->layer[s->target_on]);
	w->events = g_array_new(FALSE, FALSE, sizeof(struct event));
	w->q = image_queue_new(w->layer[LAYERS - 1], NULL, 8, NULL);
	w->thread = g_thread_new("guest", guest, w);
}

static void world_close(struct world *w)
{
	__atomic_store_n(&w->stop, 1, __ATOMIC_RELEASE);
	g_thread_join(w->thread);
	image_queue_free(w->q);
	image_close(w->target);
	for (unsigned i = LAYERS; i-- > 0;)
		image_close(w->layer[i]);
}

static void world_end(struct world *w)
{
	for (unsigned i = 0; i < FILES; i++) {
		mem_file_free(w->files[i]);
		mem_file_free(w->before[i]);
	}
	g_rand_free(w->rand);
	g_rand_free(w->guest_rand);
	g_array_free(w->events, TRUE);
	g_free(w->first);
	g_free(w->backup);
}

/* ---- crashes ---- */

/* The last flush that was over at `when`; -1: none. */
static int last_flush(const struct world *w, uint64_t when)
{
	int last = -1;

	for (unsigned i = 0; i < w->events->len; i++) {
		const struct event *e = &g_array_index(w->events, struct event, i);

		if (e->flush && e->to <= when)
			last = i;
	}
	return last;
}

/* What the flush has kept of each sector, or anything that was written since. */
static void compare(const struct world *w, struct image *img, uint64_t when)
{
	g_autofree uint64_t *ids = read_ids(img), *kept = g_memdup2(w->first, w->sectors * 8);
	g_autofree bool *fine = g_new0(bool, w->sectors);
	int flushed = last_flush(w, when);

	for (unsigned i = 0; i < w->events->len; i++) {
		const struct event *e = &g_array_index(w->events, struct event, i);

		for (uint64_t k = 0; k < e->n && !e->flush && e->from < when; k++) {
			if ((int)i < flushed)
				kept[e->sector + k] = e->id;
			else
				fine[e->sector + k] |= ids[e->sector + k] == e->id;
		}
	}
	for (uint64_t i = 0; i < w->sectors; i++)
		if (!fine[i] && ids[i] != kept[i])
			fail_msg("%s: sector %u has %u, not %u, at %u of %u (pivot %u)", img->path, (unsigned)i, (unsigned)ids[i],
				 (unsigned)kept[i], (unsigned)when, (unsigned)mem_now(), (unsigned)w->pivot);
}

static void compare_backup(const struct world *w, struct image *img)
{
	g_autofree uint64_t *ids = read_ids(img);

	for (uint64_t i = 0; i < w->sectors; i++)
		if (ids[i] != w->backup[i])
			fail_msg("the backup's sector %u has %u, not %u", (unsigned)i, (unsigned)ids[i], (unsigned)w->backup[i]);
}

static void check_chain(struct image *img)
{
	for (; img; img = img->backing)
		expect_clean(img, true);
}

static void crash(const struct world *w, uint64_t when)
{
	struct mem_file *files[FILES];
	struct image *img;

	for (unsigned i = 0; i < FILES; i++)
		files[i] = mem_file_crash(w->before[i], w->files[i]->log, mem_file_records(w->files[i], when), w->rand);
	img = open_chain(w->setup, files, w->pivot && when >= w->pivot ? w->pivoted : LAYERS - 1, true);
	check_chain(img);
	compare(w, img, when);
	image_close(img);
	if (w->backed_up && when >= w->backed_up) {
		img = open_chain(w->setup, files, TARGET, true);
		check_chain(img);
		compare_backup(w, img);
		image_close(img);
	}
	for (unsigned i = 0; i < FILES; i++)
		mem_file_free(files[i]);
}

static bool replace(void *opaque, struct image *from, struct image *to, GError **error)
{
	if (world->q->image != from)
		return true;
	image_queue_set_image(world->q, to);
	world->pivot = mem_now();
	world->pivoted = index_of(to->path);
	return true;
}

static void note_pending(void *opaque, const struct job_event *e)
{
	if (e->kind == JOB_EVENT_STATUS && e->job->status == JOB_PENDING)
		world->pending = mem_now();
}

static const struct job_owner owner = { .replace = replace };

/* ---- jobs ---- */

static struct job *begin_stream(struct world *w, const struct job_options *o)
{
	const struct job_stream what = { .top = w->layer[3], .base = w->layer[0] };

	return job_stream_new(o, &what, NULL);
}

static struct job *begin_stream_all(struct world *w, const struct job_options *o)
{
	const struct job_stream what = { .top = w->layer[3] };

	return job_stream_new(o, &what, NULL);
}

static struct job *begin_commit(struct world *w, const struct job_options *o)
{
	const struct job_commit what = { .active = w->layer[3], .top = w->layer[2], .base = w->layer[0] };

	return job_commit_new(o, &what, NULL);
}

static struct job *begin_active_commit(struct world *w, const struct job_options *o)
{
	const struct job_commit what = { .active = w->layer[3], .top = w->layer[3], .base = w->layer[1] };

	return job_commit_new(o, &what, NULL);
}

static struct job *begin_mirror(struct world *w, const struct job_options *o)
{
	const struct job_mirror what = { .source = w->layer[3], .target = w->target,
					 .sync = w->setup->target_on < 0 ? JOB_SYNC_FULL : JOB_SYNC_TOP };

	return job_mirror_new(o, &what, NULL);
}

static struct job *begin_backup(struct world *w, const struct job_options *o)
{
	const struct job_backup what = { .source = w->layer[3], .target = w->target,
					 .sync = w->setup->target_on < 0 ? JOB_SYNC_FULL : JOB_SYNC_TOP };
	struct job *job;

	image_drain_begin(w->layer[3]);
	w->backup = w->backup ? w->backup : read_ids(w->layer[3]);
	job = job_backup_new(o, &what, NULL);
	image_drain_end(w->layer[3]);
	return job;
}

static void one_job(struct job *(*begin)(struct world *w, const struct job_options *o), bool pivots, unsigned seed)
{
	const struct job_options o = { .id = "j", .owner = &owner };

	for (unsigned i = 0; i < G_N_ELEMENTS(setups); i++) {
		struct world w;

		world_begin(&w, setups + i, seed + 10 * i);
		let_guest(&w, MIDDLE);
		job_set_listener(note_pending, NULL);
		assert_non_null(begin(&w, &o));
		if (pivots) {
			job_wait("j", JOB_READY);
			let_guest(&w, MIDDLE);
			assert_true(job_complete(job_find("j"), NULL));
		}
		job_wait("j", JOB_NULL);
		w.backed_up = w.backup ? mem_now() : 0;
		assert_true(pivots == (w.pivot != 0));
		let_guest(&w, LAST);
		world_close(&w);
		for (unsigned k = 0; k < CRASHES; k++) {
			uint64_t now = mem_now(), first = g_array_index(w.events, struct event, 0).from;

			crash(&w, first + g_rand_int_range(w.rand, 0, now - first + 1));
		}
		/* Around the change of the chain. */
		for (unsigned k = 0; k < 8 * AROUND; k++)
			crash(&w, w.pending + k / 8);
		crash(&w, mem_now());
		world_end(&w);
	}
}

static void test_stream(void **state)
{
	one_job(begin_stream, false, 100);
	one_job(begin_stream_all, false, 200);
}

static void test_commit(void **state)
{
	one_job(begin_commit, false, 300);
}

static void test_active_commit(void **state)
{
	one_job(begin_active_commit, true, 400);
}

static void test_mirror(void **state)
{
	one_job(begin_mirror, true, 500);
}

static void test_backup(void **state)
{
	one_job(begin_backup, false, 600);
}

/* ---- errors ---- */

static void expect_events(const char *text)
{
	g_autofree char *got = events_take();

	assert_string_equal(got, text);
}

static void fail_later(struct mem_file *f, bool read, int in, int code)
{
	g_mutex_lock(&f->lock);
	*(read ? &f->fail_reads_in : &f->fail_in) = in;
	f->fail_code = code;
	g_mutex_unlock(&f->lock);
}

static const struct {
	enum job_on_error policy;
	bool read;
	int code;
	const char *events;
} failures[] = {
	{ JOB_ON_ERROR_REPORT, false, -EIO, "created running ERROR:write:report aborting COMPLETED concluded" },
	{ JOB_ON_ERROR_REPORT, true, -EIO, "created running ERROR:read:report aborting COMPLETED concluded" },
	{ JOB_ON_ERROR_IGNORE, false, -EIO, "created running ERROR:write:ignore waiting pending COMPLETED concluded" },
	{ JOB_ON_ERROR_STOP, false, -EIO, "created running ERROR:write:stop paused running waiting pending COMPLETED concluded" },
	{ JOB_ON_ERROR_ENOSPC, false, -ENOSPC,
	  "created running ERROR:write:stop paused running waiting pending COMPLETED concluded" },
	{ JOB_ON_ERROR_ENOSPC, false, -EIO, "created running ERROR:write:report aborting COMPLETED concluded" },
};

/* A backup whose source or target fails once. */
static void test_errors(void **state)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(failures); i++) {
		struct job_options o = { .id = "j", .owner = &owner, .on_source_error = failures[i].policy,
					 .on_target_error = failures[i].policy, .manual_dismiss = true };
		struct world w;
		struct job *job;

		world_begin(&w, setups + 1, 700 + i);
		/* The guest is not to meet it. */
		image_drain_begin(w.layer[3]);
		w.backup = read_ids(w.layer[3]);
		fail_later(w.files[failures[i].read ? 0 : TARGET], failures[i].read, 1, failures[i].code);
		events_begin();
		job = begin_backup(&w, &o);
		if (strstr(failures[i].events, "paused")) {
			job_wait("j", JOB_PAUSED);
			assert_true(job_is_paused(job));
			assert_string_equal(job_io_status_name(job->io_status),
					    failures[i].code == -ENOSPC ? "nospace" : "failed");
			assert_true(job_resume(job, NULL));
			assert_int_equal(job->io_status, JOB_IO_OK);
		}
		job_wait("j", JOB_CONCLUDED);
		expect_events(failures[i].events);
		if (strstr(failures[i].events, "aborting")) {
			assert_int_equal(job->result, failures[i].code);
			assert_string_equal(job->error, g_strerror(-failures[i].code));
		} else {
			compare_backup(&w, w.target);
		}
		assert_true(job_dismiss(job, NULL));
		image_drain_end(w.layer[3]);
		let_guest(&w, MIDDLE);
		world_close(&w);
		world_end(&w);
	}
}

static const struct {
	struct job *(*begin)(struct world *w, const struct job_options *o);
	unsigned file; /* that fails once */
	bool ready;
	enum job_on_error policy;
	const char *events;
} others[] = {
	{ begin_mirror, TARGET, false, JOB_ON_ERROR_REPORT, "created running ERROR:write:report aborting COMPLETED concluded" },
	{ begin_mirror, TARGET, true, JOB_ON_ERROR_IGNORE,
	  "created running ERROR:write:ignore ready READY waiting pending COMPLETED concluded" },
	{ begin_mirror, TARGET, true, JOB_ON_ERROR_STOP,
	  "created running ERROR:write:stop paused running ready READY waiting pending COMPLETED concluded" },
	{ begin_active_commit, 1, true, JOB_ON_ERROR_STOP,
	  "created running ERROR:write:stop paused running ready READY waiting pending COMPLETED concluded" },
	{ begin_commit, 0, false, JOB_ON_ERROR_REPORT, "created running ERROR:write:report aborting COMPLETED concluded" },
	{ begin_commit, 0, false, JOB_ON_ERROR_STOP,
	  "created running ERROR:write:stop paused running waiting pending COMPLETED concluded" },
	{ begin_commit, 0, false, JOB_ON_ERROR_IGNORE, "created running ERROR:write:ignore waiting pending COMPLETED concluded" },
	{ begin_stream, 3, false, JOB_ON_ERROR_STOP,
	  "created running ERROR:read:stop paused running waiting pending COMPLETED concluded" },
	/* What a stream left out is an error at its end. */
	{ begin_stream, 3, false, JOB_ON_ERROR_IGNORE, "created running ERROR:read:ignore aborting COMPLETED concluded" },
};

/* The other jobs; the guest sees the same after all of it. */
static void test_other_errors(void **state)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(others); i++) {
		struct job_options o = { .id = "j", .owner = &owner, .on_source_error = others[i].policy,
					 .on_target_error = others[i].policy, .manual_dismiss = true };
		struct image *backing;
		struct world w;
		bool fails;

		world_begin(&w, setups + 1, 900 + i);
		backing = w.layer[3]->backing;
		image_drain_begin(w.layer[3]);
		w.backup = read_ids(w.layer[3]);
		/* The first write of layer 0 makes it longer. */
		fail_later(w.files[others[i].file], false, others[i].file ? 1 : 2, -EIO);
		events_begin();
		assert_non_null(others[i].begin(&w, &o));
		if (strstr(others[i].events, "paused")) {
			job_wait("j", JOB_PAUSED);
			assert_true(job_resume(job_find("j"), NULL));
		}
		if (others[i].ready) {
			job_wait("j", JOB_READY);
			assert_true(job_complete(job_find("j"), NULL));
		}
		job_wait("j", JOB_CONCLUDED);
		expect_events(others[i].events);
		fails = job_find("j")->result < 0;
		assert_true(fails == (strstr(others[i].events, "aborting") != NULL));
		assert_true(!fails || w.layer[3]->backing == backing);
		assert_true(job_dismiss(job_find("j"), NULL));
		compare_backup(&w, w.q->image);
		image_drain_end(w.layer[3]);
		let_guest(&w, MIDDLE);
		world_close(&w);
		crash(&w, mem_now());
		world_end(&w);
	}
}

/* A guest's write whose copy fails: it fails, or the backup does. */
static void test_cbw_errors(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct job_options o = { .id = "j", .owner = &owner, .manual_dismiss = true };
		struct job_backup what = { .sync = JOB_SYNC_NONE, .break_snapshot = i };
		struct world w;
		struct job *job;
		int res;

		world_begin(&w, setups + 1, 800 + i);
		let_guest(&w, 1);
		/* We are the guest. */
		__atomic_store_n(&w.stop, 1, __ATOMIC_RELEASE);
		g_thread_join(w.thread);
		assert_int_equal(write_ids(w.layer[3], 0, 8, 1), 0);
		what.source = w.layer[3];
		what.target = w.target;
		job = job_backup_new(&o, &what, NULL);
		fail_later(w.files[TARGET], false, 1, -ENOSPC);
		res = write_ids(w.layer[3], 0, 8, 2);
		assert_int_equal(res, i ? 0 : -ENOSPC);
		if (!i) {
			assert_int_equal(write_ids(w.layer[3], 0, 8, 2), 0);
			assert_true(job_cancel(job, false, NULL));
		}
		job_wait("j", JOB_CONCLUDED);
		assert_int_equal(job->result, i ? -ENOSPC : -ECANCELED);
		job_dismiss(job, NULL);
		if (!i) {
			g_autofree uint64_t *ids = read_ids(w.target);

			assert_int_equal(ids[0], 1);
		}
		w.thread = g_thread_new("guest", guest, &w);
		world_close(&w);
		world_end(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors), cmocka_unit_test(test_other_errors),  cmocka_unit_test(test_cbw_errors),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_commit), cmocka_unit_test(test_active_commit), cmocka_unit_test(test_mirror),
		cmocka_unit_test(test_backup),
	};

	cmocka_set_test_filter(getenv("JOBS_TEST"));
	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
