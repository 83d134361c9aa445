/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2, and raw, in memory: whatever part of the writes since the last flush a crash keeps, the image has at most leaks, and
 * guest data that was flushed is there. Also writers in threads, failing writes, and what map_now() may say.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format.h"
#include "mem-file.h"

enum { SECTOR = 512, STEPS = 60, CRASHES = 60, SEEDS = 2, FAIL_SEEDS = 10, THREADS = 4, ROUNDS = 300 };

/* For each sector of the disk which bytes it may be full of: those that were flushed last, and all that came later. */
struct model {
	uint64_t sectors, cluster;
	uint8_t *now;
	uint8_t (*may)[32]; /* a bit a byte */
};

struct setup {
	const char *options; /* of create() */
	uint64_t size, cluster, cache;
	bool snapshots, lazy;
	const struct image_format *format; /* NULL: qcow2 */
};

static const struct setup setups[] = {
	{"'cluster_size': <'512'>", 200 << 10, 512, 1, true},
	{"'cluster_size': <'512'>, 'refcount_bits': <'64'>", 200 << 10, 512, 1, true},
	{"'cluster_size': <'1k'>, 'refcount_bits': <'1'>", 200 << 10, 1024, 1, false},
	{"'cluster_size': <'4k'>", 512 << 10, 4096, 1, true},
	{"'cluster_size': <'16k'>, 'extended_l2': <'on'>", 600 << 10, 16384, 1, true},
	{"'cluster_size': <'2k'>, 'compat': <'0.10'>", 300 << 10, 2048, 1, true},
	{"'cluster_size': <'2k'>, 'lazy_refcounts': <'on'>", 300 << 10, 2048, 1, false, true},
	{"'cluster_size': <'64k'>, 'compression_type': <'zstd'>", 2 << 20, 65536, 1 << 20, true},
	{"", 200 << 10, 4096, 1, false, .format = &image_raw},
};
static const struct image_format *tested = &image_qcow2;

static struct image *image_of(struct mem_file *f, const char *options)
{
	GError *error = NULL;
	struct image *img = mem_image_open(f, tested, options, &error);

	if (!img)
		fail_msg("%s", error->message);
	return img;
}

static struct mem_file *create(const struct setup *s)
{
	struct mem_file *f = mem_file_new(NULL, 0);
	g_autoptr(GVariant) o = mem_parse(s->options);
	GError *error = NULL;

	assert_true(tested->create(&f->base, s->size, o, &error));
	return f;
}

/* ---- the model ---- */

static void model_init(struct model *m, const struct setup *s)
{
	m->sectors = s->size / SECTOR;
	m->cluster = s->cluster;
	m->now = g_malloc0(m->sectors);
	m->may = g_malloc0(m->sectors * 32);
}

static void model_free(struct model *m)
{
	g_free(m->now);
	g_free(m->may);
}

static void model_copy(struct model *to, const struct model *from)
{
	*to = *from;
	to->now = g_memdup2(from->now, from->sectors);
	to->may = g_memdup2(from->may, from->sectors * 32);
}

static void model_flushed(struct model *m)
{
	memset(m->may, 0, m->sectors * 32);
	for (uint64_t i = 0; i < m->sectors; i++)
		m->may[i][m->now[i] / 8] |= 1 << m->now[i] % 8;
}

static void model_fill(struct model *m, uint64_t offset, uint64_t len, uint8_t byte)
{
	for (uint64_t i = offset / SECTOR; i < (offset + len) / SECTOR; i++) {
		m->now[i] = byte;
		m->may[i][byte / 8] |= 1 << byte % 8;
	}
}

static void read_all(struct image *img, uint8_t *buf)
{
	assert_int_equal(image_read(img, 0, buf, img->size), 0);
}

static void model_compare(const struct model *m, struct image *img, bool exactly)
{
	g_autofree uint8_t *buf = g_malloc(m->sectors * SECTOR);

	read_all(img, buf);
	for (uint64_t i = 0; i < m->sectors; i++) {
		const uint8_t *p = buf + i * SECTOR;

		assert_int_equal(memcmp(p, p + 1, SECTOR - 1), 0);
		if (exactly)
			assert_int_equal(p[0], m->now[i]);
		else if (!(m->may[i][*p / 8] >> *p % 8 & 1))
			fail_msg("sector %u has %#x, which was never there", (unsigned)i, *p);
	}
}

/* ---- a workload ---- */

/* What may be there at each moment: the file's log is that long, and this is the model. */
struct moment {
	unsigned records;
	struct model model;
};

struct work {
	const struct setup *setup;
	struct mem_file *file;
	struct image *img;
	struct model model, kept; /* kept: with the snapshot */
	bool has_snapshot;
	GArray *moments;
	GRand *rand;
	uint8_t byte;
};

static void moment(struct work *w)
{
	struct moment m = {.records = w->file->log->len};

	model_copy(&m.model, &w->model);
	g_array_append_val(w->moments, m);
}

static void pick(struct work *w, uint64_t *offset, uint64_t *len, bool whole)
{
	uint64_t unit = whole ? w->setup->cluster : SECTOR, size = w->setup->size / unit, n;

	*offset = g_rand_int_range(w->rand, 0, size);
	n = g_rand_int_range(w->rand, 1, MIN(whole ? 6 : 40, size - *offset) + 1);
	*offset *= unit;
	*len = n * unit;
}

/* Whatever happens inside of the operation, the model allows what was and what will be. */
static void do_write(struct work *w)
{
	g_autofree uint8_t *buf = NULL;
	uint64_t offset, len;

	pick(w, &offset, &len, false);
	w->byte = w->byte % 250 + 1;
	buf = g_malloc(len);
	memset(buf, w->byte, len);
	model_fill(&w->model, offset, len, w->byte);
	moment(w);
	assert_int_equal(image_write(w->img, offset, buf, len), 0);
}

/* Blocks of another file, or a copy where the image has data already. */
static void do_shared(struct work *w)
{
	g_autofree uint8_t *buf = NULL;
	uint64_t offset, len;
	struct mem_file *from;
	int res;

	pick(w, &offset, &len, true);
	w->byte = w->byte % 250 + 1;
	buf = g_malloc(len);
	memset(buf, w->byte, len);
	model_fill(&w->model, offset, len, w->byte);
	moment(w);
	from = mem_file_new(buf, len);
	res = image_write_shared(w->img, &from->base, &(struct image_piece){offset, len, 0}, 1);
	if (res == -EEXIST)
		res = image_write(w->img, offset, buf, len);
	assert_true(res >= 0);
	mem_file_free(from);
}

static void do_compressed(struct work *w)
{
	g_autofree uint8_t *buf = NULL;
	uint64_t offset, len;

	pick(w, &offset, &len, true);
	len = w->setup->cluster;
	w->byte = w->byte % 250 + 1;
	buf = g_malloc(len);
	memset(buf, w->byte, len);
	model_fill(&w->model, offset, len, w->byte);
	moment(w);
	assert_int_equal(tested->compress ? image_write_compressed(w->img, offset, buf, len) :
					    image_write(w->img, offset, buf, len), 0);
}

static void do_zero(struct work *w)
{
	uint64_t offset, len;

	pick(w, &offset, &len, false);
	model_fill(&w->model, offset, len, 0);
	moment(w);
	assert_int_equal(image_write_zeroes(w->img, offset, len, g_rand_boolean(w->rand) ? IMAGE_MAY_UNMAP : 0), 0);
}

static void do_discard(struct work *w)
{
	uint64_t offset, len;

	if (tested->plain) /* advice to the file, which need not read as zeroes */
		return;
	pick(w, &offset, &len, true);
	model_fill(&w->model, offset, len, 0);
	moment(w);
	assert_int_equal(image_discard(w->img, offset, len), 0);
}

static void do_flush(struct work *w)
{
	moment(w);
	assert_int_equal(image_flush(w->img), 0);
	model_flushed(&w->model);
	moment(w);
}

static void do_snapshot(struct work *w)
{
	GError *error = NULL;
	bool apply = w->has_snapshot && g_rand_boolean(w->rand);

	if (!w->setup->snapshots)
		return;
	do_flush(w);
	if (!w->has_snapshot) {
		assert_true(w->img->format->snapshot_create(w->img, "one", &error));
		model_copy(&w->kept, &w->model);
	} else if (apply) {
		for (uint64_t i = 0; i < w->model.sectors; i++)
			model_fill(&w->model, i * SECTOR, SECTOR, w->kept.now[i]);
		moment(w);
		assert_true(w->img->format->snapshot_apply(w->img, "one", &error));
		model_flushed(&w->model);
		moment(w);
		return;
	} else {
		assert_true(w->img->format->snapshot_delete(w->img, "one", &error));
		model_free(&w->kept);
	}
	w->has_snapshot = !w->has_snapshot;
}

static void step(struct work *w)
{
	static void (*const steps[])(struct work *) = {do_write,	do_write, do_write,   do_write,	   do_shared,
						       do_compressed, do_zero,	do_discard, do_snapshot, do_flush};

	steps[g_rand_int_range(w->rand, 0, G_N_ELEMENTS(steps))](w);
	model_compare(&w->model, w->img, true);
}

/* ---- crashes ---- */

static void print_line(void *opaque, const char *text)
{
	g_string_append_printf(opaque, "%s\n", text);
}

static void check_image(struct image *img, bool leaks)
{
	g_autoptr(GString) text = g_string_new(NULL);
	struct image_check r;
	GError *error = NULL;

	if (!img->format->check)
		return;
	assert_true(img->format->check(img, 0, print_line, text, &r, &error));
	if (r.corruptions || r.check_errors || (r.leaks && !leaks))
		fail_msg("%s", text->str);
}

static const struct model *model_at(const struct work *w, unsigned records)
{
	const struct model *best = NULL;

	for (unsigned i = 0; i < w->moments->len; i++) {
		const struct moment *m = &g_array_index(w->moments, struct moment, i);

		if (m->records <= records)
			best = &m->model;
	}
	return best;
}

static void crash(struct work *w, const struct mem_file *before, unsigned records)
{
	struct mem_file *f = mem_file_crash(before, w->file->log, records, w->rand);
	const struct model *m = model_at(w, records);
	struct image *img;

	if (w->setup->lazy) {
		img = image_of(f, "");
		check_image(img, false);
	} else {
		img = image_of(f, "'check': <true>");
		check_image(img, true);
	}
	if (m)
		model_compare(m, img, false);
	mem_image_end(img);
	mem_file_free(f);
}

static void free_moments(GArray *moments)
{
	for (unsigned i = 0; i < moments->len; i++)
		model_free(&g_array_index(moments, struct moment, i).model);
	g_array_free(moments, TRUE);
}

static void one_setup(const struct setup *s, unsigned seed)
{
	struct work w = {.setup = s, .rand = g_rand_new_with_seed(seed)};
	struct mem_file *before;
	g_autofree char *options = g_strdup_printf("'l2-cache-size': <uint64 %u>, 'refcount-cache-size': <uint64 %u>",
						   (unsigned)s->cache, (unsigned)s->cache);

	tested = s->format ? s->format : &image_qcow2;
	w.file = create(s);
	before = mem_file_new(w.file->bytes->data, w.file->bytes->len);
	mem_file_record(w.file);
	w.moments = g_array_new(FALSE, FALSE, sizeof(struct moment));
	model_init(&w.model, s);
	model_flushed(&w.model);
	moment(&w);
	w.img = image_of(w.file, options);
	for (unsigned i = 0; i < STEPS; i++)
		step(&w);
	mem_image_end(w.img);
	for (unsigned i = 0; i < CRASHES; i++)
		crash(&w, before, g_rand_int_range(w.rand, 0, w.file->log->len + 1));

	w.img = image_of(w.file, "");
	check_image(w.img, false);
	model_compare(&w.model, w.img, true);
	mem_image_end(w.img);
	if (w.has_snapshot)
		model_free(&w.kept);
	model_free(&w.model);
	free_moments(w.moments);
	mem_file_free(before);
	mem_file_free(w.file);
	g_rand_free(w.rand);
	tested = &image_qcow2;
}

static void test_crash(void **state)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(setups); i++)
		for (unsigned k = 0; k < SEEDS; k++)
			one_setup(setups + i, 100 + i * 10 + k);
}

/* ---- writes that fail ---- */

/* Part of it may be there, or nothing. */
static void failing_step(struct work *w)
{
	g_autofree uint8_t *buf = NULL;
	uint64_t offset, len;

	pick(w, &offset, &len, g_rand_boolean(w->rand));
	w->byte = w->byte % 250 + 1;
	buf = g_malloc(len);
	memset(buf, w->byte, len);
	switch (g_rand_int_range(w->rand, 0, 4)) {
	case 0:
	case 1:
		model_fill(&w->model, offset, len, w->byte);
		image_write(w->img, offset, buf, len);
		break;
	case 2:
		model_fill(&w->model, offset, len, 0);
		image_write_zeroes(w->img, offset, len, IMAGE_MAY_UNMAP);
		break;
	case 3:
		image_flush(w->img);
		break;
	}
}

static void one_failure(const struct setup *s, unsigned seed)
{
	struct work w = {.setup = s, .rand = g_rand_new_with_seed(seed)};

	w.file = create(s);
	model_init(&w.model, s);
	model_flushed(&w.model);
	w.img = image_of(w.file, "'l2-cache-size': <uint64 1>, 'refcount-cache-size': <uint64 1>");
	for (unsigned i = 0; i < STEPS; i++) {
		if (i % 4 == 3)
			w.file->fail_in = g_rand_int_range(w.rand, 1, 12);
		failing_step(&w);
		w.file->fail_in = 0;
		model_compare(&w.model, w.img, false);
	}
	mem_image_end(w.img);
	w.img = image_of(w.file, "'check': <true>");
	check_image(w.img, true);
	model_compare(&w.model, w.img, false);
	mem_image_end(w.img);
	model_free(&w.model);
	mem_file_free(w.file);
	g_rand_free(w.rand);
}

static void test_failures(void **state)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(setups); i++)
		for (unsigned k = 0; k < FAIL_SEEDS; k++)
			if (!setups[i].format)
				one_failure(setups + i, 1000 + i * 10 + k);
}

/* ---- threads ---- */

struct thread {
	const struct setup *setup;
	struct image *img;
	unsigned number;
};

/* Sectors of each cluster belong to the threads by turns, so all of them work on the same clusters. */
static gpointer write_sectors(gpointer data)
{
	struct thread *t = data;
	GRand *rand = g_rand_new_with_seed(t->number);
	uint8_t buf[SECTOR], got[SECTOR];
	g_autofree uint8_t *now = g_malloc0(t->setup->size / SECTOR);

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t sector = g_rand_int_range(rand, 0, t->setup->size / SECTOR / THREADS) * THREADS + t->number;

		memset(got, 1, sizeof(got));
		g_assert(image_read(t->img, sector * SECTOR, got, SECTOR) == 0 && got[0] == now[sector] &&
			 got[SECTOR - 1] == got[0]);
		now[sector] = i % 255 + 1;
		memset(buf, now[sector], SECTOR);
		g_assert(image_write(t->img, sector * SECTOR, buf, SECTOR) == 0);
		if (i % 50 == 0)
			g_assert(image_flush(t->img) == 0);
	}
	for (uint64_t i = t->number; i < t->setup->size / SECTOR; i += THREADS)
		g_assert(image_read(t->img, i * SECTOR, got, SECTOR) == 0 && got[0] == now[i] && got[SECTOR - 1] == now[i]);
	g_rand_free(rand);
	return NULL;
}

static void compress_all(struct image *img, const struct setup *s)
{
	g_autofree uint8_t *zeroes = g_malloc0(s->cluster);

	for (uint64_t at = 0; at + s->cluster <= s->size; at += s->cluster)
		assert_int_equal(image_write_compressed(img, at, zeroes, s->cluster), 0);
}

static void test_threads(void **state)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(setups) && !setups[i].format; i++) {
		struct mem_file *f = create(setups + i);
		struct image *img = image_of(f, "");
		struct thread threads[THREADS];
		GThread *running[THREADS];

		compress_all(img, setups + i);
		for (unsigned k = 0; k < THREADS; k++) {
			threads[k] = (struct thread){setups + i, img, k};
			running[k] = g_thread_new("writer", write_sectors, threads + k);
		}
		for (unsigned k = 0; k < THREADS; k++)
			g_thread_join(running[k]);
		mem_image_end(img);
		img = image_of(f, "");
		check_image(img, false);
		mem_image_end(img);
		mem_file_free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
