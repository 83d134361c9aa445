/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A drive over an image in memory: what it lets through, changes, keeps, and says about errors. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "disk-rig.h"
#include "disk.h"
#include "throttle-group.h"

struct wait {
	struct disk_req req; /* first */
	struct iovec iov;
	uint8_t data[4096];
	bool over, kept;
	int res;
};

struct bed {
	struct ram_image m;
	struct disk *d;
	struct disk_queue *q;
	struct disk_error last;
	unsigned errors, resized, changed;
};

static void on_kept(struct disk_req *req, bool kept)
{
	((struct wait *)req)->kept = kept;
}

static void on_resized(void *opaque)
{
	((struct bed *)opaque)->resized++;
}

static void on_changed(void *opaque)
{
	((struct bed *)opaque)->changed++;
}

static void on_error(void *opaque, struct disk *d, const struct disk_error *e)
{
	struct bed *b = opaque;

	b->errors++;
	b->last = *e;
}

static const struct disk_client client = {.kept = on_kept, .resized = on_resized, .medium_changed = on_changed};

static void open_bed(struct bed *b, const char *keys)
{
	g_autoptr(GVariant) dict = keys ? g_variant_ref_sink(g_variant_new_parsed(keys)) : NULL;

	memset(b, 0, sizeof(*b));
	ram_init(&b->m);
	b->m.img.discard = true;
	b->d = disk_new("drive", &b->m.img, dict, NULL);
	assert_non_null(b->d);
	disk_set_client(b->d, &client, b);
	disk_set_error_func(b->d, on_error, b);
	b->q = disk_queue_new(b->d, NULL, 16, NULL);
	assert_non_null(b->q);
}

static void close_bed(struct bed *b)
{
	disk_queue_free(b->q);
	assert_int_equal(b->m.n_queues, 0);
	disk_free(b->d);
	assert_int_equal(b->m.closed, 1);
}

static void on_complete(struct disk_req *req, int res)
{
	struct wait *w = (struct wait *)req;

	assert_false(w->over);
	w->over = true;
	w->res = res;
}

static void turn(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		;
}

static void start(struct bed *b, struct wait *w, enum image_op op, uint64_t offset, uint64_t len)
{
	bool data = op == IMAGE_READ || op == IMAGE_WRITE;

	w->iov = (struct iovec){w->data, len};
	w->req.io = (struct image_req){.op = op, .offset = offset, .len = len, .iov = data ? &w->iov : NULL, .n_iov = data};
	w->req.complete = on_complete;
	w->over = false;
	disk_submit(b->q, &w->req);
	assert_false(w->over);
	disk_kick(b->q);
}

static int run(struct bed *b, struct wait *w, enum image_op op, uint64_t offset, uint64_t len)
{
	start(b, w, op, offset, len);
	turn();
	assert_true(w->over);
	return w->res;
}

static void test_plain(void **state)
{
	struct wait w = {0};
	struct bed b;

	open_bed(&b, NULL);
	assert_int_equal(disk_size(b.d), RAM_BYTES);
	assert_true(disk_is_writeback(b.d) && disk_can_discard(b.d) && !disk_is_readonly(b.d) && !disk_is_empty(b.d));
	assert_int_equal(run(&b, &w, IMAGE_READ, 512, 1024), 0);
	assert_memory_equal(w.data, b.m.bytes + 512, 1024);
	memset(w.data, 0, 512);
	assert_int_equal(run(&b, &w, IMAGE_WRITE, 0, 512), 0);
	assert_int_equal(b.m.writes, 1);
	assert_int_equal(b.m.flushes, 0);
	w.req.durable = true;
	assert_int_equal(run(&b, &w, IMAGE_WRITE, 0, 512), 0);
	assert_int_equal(b.m.flushes, 1);
	w.req.durable = false;
	assert_int_equal(run(&b, &w, IMAGE_FLUSH, 0, 0), 0);
	assert_int_equal(b.m.flushes, 2);
	assert_int_equal(run(&b, &w, IMAGE_DISCARD, 0, 512), 0);
	assert_int_equal(b.m.discards, 1);
	close_bed(&b);
}

static void test_zeroes(void **state)
{
	struct wait w = {0};
	struct bed b;

	open_bed(&b, "{'detect-zeroes': <'on'>}");
	assert_int_equal(run(&b, &w, IMAGE_WRITE, 512, 4096), 0);
	assert_int_equal(b.m.zeroes, 1);
	assert_int_equal(b.m.unmaps, 0);
	w.data[4095] = 1;
	assert_int_equal(run(&b, &w, IMAGE_WRITE, 512, 4096), 0);
	assert_int_equal(b.m.writes, 1);
	assert_int_equal(b.m.bytes[512 + 4095], 1);
	close_bed(&b);
	open_bed(&b, "{'detect-zeroes': <'unmap'>}");
	w.data[4095] = 0;
	assert_int_equal(run(&b, &w, IMAGE_WRITE, 512, 4096), 0);
	assert_int_equal(b.m.unmaps, 1);
	/* Kept as zeroes, done again as what it was. */
	b.m.fail = ENOSPC;
	start(&b, &w, IMAGE_WRITE, 0, 512);
	turn();
	assert_true(w.kept);
	b.m.fail = 0;
	w.data[0] = 9;
	disk_resume(b.d);
	turn();
	assert_true(w.over && w.res == 0);
	assert_int_equal(b.m.bytes[0], 9);
	close_bed(&b);
}

static void test_caches(void **state)
{
	struct wait w = {.data = {1}};
	struct bed b;

	open_bed(&b, "{'cache': <'unsafe'>, 'discard': <'off'>}");
	w.req.durable = true;
	assert_int_equal(run(&b, &w, IMAGE_WRITE, 0, 512), 0);
	assert_int_equal(run(&b, &w, IMAGE_FLUSH, 0, 0), 0);
	assert_int_equal(b.m.flushes, 0);
	assert_false(disk_can_discard(b.d));
	assert_int_equal(run(&b, &w, IMAGE_DISCARD, 0, 512), 0);
	assert_int_equal(b.m.discards, 0);
	w.req.durable = false;
	start(&b, &w, IMAGE_WRITE_ZEROES, 512, 512);
	turn();
	assert_int_equal(b.m.zeroes, 1);
	close_bed(&b);
	open_bed(&b, "{'cache': <'directsync'>}");
	assert_false(disk_is_writeback(b.d));
	close_bed(&b);
}

static void test_policies(void **state)
{
	static const struct {
		const char *keys;
		enum image_op op;
		int err;
		enum disk_policy action;
	} rows[] = {
		{NULL, IMAGE_WRITE, ENOSPC, DISK_STOP},
		{NULL, IMAGE_WRITE, EIO, DISK_REPORT},
		{NULL, IMAGE_READ, ENOSPC, DISK_REPORT},
		{NULL, IMAGE_FLUSH, ENOSPC, DISK_STOP},
		{"{'werror': <'report'>}", IMAGE_WRITE, ENOSPC, DISK_REPORT},
		{"{'werror': <'ignore'>}", IMAGE_WRITE, EIO, DISK_IGNORE},
		{"{'werror': <'stop'>}", IMAGE_DISCARD, EIO, DISK_STOP},
		{"{'rerror': <'ignore'>}", IMAGE_READ, EIO, DISK_IGNORE},
		{"{'rerror': <'stop'>}", IMAGE_READ, EIO, DISK_STOP},
		{"{'rerror': <'stop'>}", IMAGE_WRITE, EIO, DISK_REPORT},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct wait w = {.data = {1}};
		struct bed b;

		open_bed(&b, rows[i].keys);
		b.m.fail = rows[i].err;
		start(&b, &w, rows[i].op, 0, 512);
		turn();
		assert_int_equal(b.errors, 1);
		assert_int_equal(b.last.action, rows[i].action);
		assert_int_equal(b.last.err, rows[i].err);
		assert_int_equal(b.last.read, rows[i].op == IMAGE_READ);
		assert_int_equal(w.kept, rows[i].action == DISK_STOP);
		assert_int_equal(w.over, rows[i].action != DISK_STOP);
		assert_int_equal(disk_has_kept(b.d), w.kept);
		if (rows[i].action == DISK_STOP) {
			assert_int_equal(disk_status(b.d), rows[i].err == ENOSPC ? DISK_NOSPACE : DISK_FAILED);
			b.m.fail = 0;
			disk_resume(b.d);
			turn();
			assert_int_equal(disk_status(b.d), DISK_OK);
		}
		assert_true(w.over && !w.kept);
		assert_int_equal(w.res, rows[i].action == DISK_REPORT ? -rows[i].err : 0);
		close_bed(&b);
	}
}

/* A guest cannot flood who listens, but each error that stops it is told. */
static void test_floods(void **state)
{
	struct wait w[2] = {{.data = {1}}, {.data = {1}}};
	gint64 began;
	struct bed b;

	open_bed(&b, NULL);
	b.m.fail = EIO;
	began = g_get_monotonic_time();
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(run(&b, &w[0], IMAGE_WRITE, 0, 512), -EIO);
	/* One a second, however long this machine takes for them. */
	assert_in_range(b.errors, 1, 1 + (g_get_monotonic_time() - began) / G_USEC_PER_SEC);
	b.errors = 0;
	b.m.fail = ENOSPC;
	start(&b, &w[0], IMAGE_WRITE, 0, 512);
	start(&b, &w[1], IMAGE_WRITE, 0, 512);
	turn();
	assert_int_equal(b.errors, 2);
	b.m.fail = 0;
	disk_resume(b.d);
	turn();
	close_bed(&b);
}

/* What the device asks wrongly is its own to know; a write that is durable by a flush is done again as a whole. */
static void test_retry(void **state)
{
	struct wait w = {.data = {1}};
	struct bed b;

	open_bed(&b, "{'werror': <'stop'>}");
	b.m.fail = ENOTSUP;
	assert_int_equal(run(&b, &w, IMAGE_WRITE_ZEROES, 0, 512), -ENOTSUP);
	assert_int_equal(b.errors, 0);
	b.m.fail = EIO;
	b.m.fail_ops = 1u << IMAGE_FLUSH;
	w.req.durable = true;
	start(&b, &w, IMAGE_WRITE, 0, 512);
	turn();
	assert_true(w.kept);
	assert_int_equal(b.m.writes, 1);
	b.m.fail = 0;
	disk_resume(b.d);
	turn();
	assert_true(w.over && w.res == 0);
	assert_int_equal(b.m.writes, 2);
	assert_int_equal(b.m.flushes, 1);
	close_bed(&b);
}

static void test_medium(void **state)
{
	static struct ram_image other;
	struct wait w = {.data = {1}}, flying = {0};
	struct bed b;

	open_bed(&b, NULL);
	ram_init(&other);
	other.img.size = 512;
	b.m.hold = true;
	start(&b, &flying, IMAGE_READ, 0, 512);
	/* What is under way ends in the old image. */
	assert_true(disk_set_image(b.d, &other.img, NULL));
	assert_true(flying.over && flying.res == 0);
	assert_int_equal(b.m.closed, 1);
	assert_int_equal(b.m.n_queues, 0);
	assert_int_equal(b.changed, 1);
	assert_int_equal(disk_size(b.d), 512);
	assert_int_equal(run(&b, &w, IMAGE_WRITE, 0, 512), 0);
	assert_int_equal(other.writes, 1);
	assert_true(disk_set_image(b.d, NULL, NULL));
	assert_int_equal(other.closed, 1);
	assert_true(disk_is_empty(b.d) && disk_size(b.d) == 0);
	assert_int_equal(run(&b, &w, IMAGE_READ, 0, 512), -ENOMEDIUM);
	ram_init(&b.m);
	assert_true(disk_set_image(b.d, &b.m.img, NULL));
	assert_int_equal(run(&b, &w, IMAGE_READ, 0, 512), 0);
	assert_true(disk_resize(b.d, 2 * RAM_BYTES, NULL));
	assert_int_equal(b.resized, 1);
	/* One with the same contents: nobody is told but of its size. */
	ram_init(&other);
	disk_replace_image(b.d, &other.img);
	assert_int_equal(b.changed, 3);
	assert_int_equal(b.resized, 2);
	assert_int_equal(run(&b, &w, IMAGE_READ, 0, 512), 0);
	assert_int_equal(other.reads, 1);
	disk_replace_image(b.d, &b.m.img);
	b.m.closed = 0;
	close_bed(&b);
}

/* Requests wait in order, and none of them longer than the limit says: it is taken away in the end. */
static void test_limit(void **state)
{
	struct wait w[4] = {0};
	struct throttle_config none = {0};
	struct bed b;

	open_bed(&b, "{'iops-write': <uint64 1>, 'iops-size': <uint64 512>}");
	assert_int_equal(disk_throttle(b.d)->limit[THROTTLE_IOPS_WRITE].avg, 1);
	assert_int_equal(run(&b, &w[0], IMAGE_WRITE, 0, 4096), 0); /* worth 8 */
	for (unsigned i = 1; i < 4; i++)
		start(&b, &w[i], IMAGE_WRITE, 0, 4096);
	turn();
	assert_false(w[1].over || w[2].over || w[3].over);
	assert_int_equal(run(&b, &w[0], IMAGE_FLUSH, 0, 0), 0);
	assert_true(disk_set_throttle(b.d, &none, NULL, NULL));
	turn();
	assert_true(w[1].over && w[2].over && w[3].over);
	close_bed(&b);
}

static unsigned order[8], n_order;

static void note_order(struct disk_req *req, int res)
{
	on_complete(req, res);
	order[n_order++] = ((struct wait *)req)->data[0];
}

/* One image of all of them, whose requests end in the order in which they came. */
static void open_member(struct bed *b, unsigned number, const char *keys)
{
	static struct ram_image m;

	g_autofree char *id = g_strdup_printf("drive%u", number);
	g_autoptr(GVariant) dict = g_variant_ref_sink(g_variant_new_parsed(keys));

	memset(b, 0, sizeof(*b));
	if (!number)
		ram_init(&m);
	b->d = disk_new(id, &m.img, dict, NULL);
	b->q = disk_queue_new(b->d, NULL, 16, NULL);
	assert_non_null(b->q);
}

/* What one drive uses up the others do not have; who waits goes in turns; who leaves does not wait. */
static void test_group(void **state)
{
	static const struct throttle_config fast = {.limit = {[THROTTLE_IOPS] = {.avg = 1000000000}}};
	static struct wait w[3][3];
	static struct bed b[3];
	struct throttle_config none = {0};
	struct throttle_group *g;

	memset(w, 0, sizeof(w));
	open_member(&b[0], 0, "{'iops': <uint64 1>, 'iops-size': <uint64 512>, 'throttle-group': <'g'>}");
	open_member(&b[1], 1, "{'throttle-group': <'g'>}");
	open_member(&b[2], 2, "{'throttle-group': <'g'>}");
	g = throttle_group_find("g");
	assert_non_null(g);
	assert_int_equal(disk_throttle(b[1].d)->limit[THROTTLE_IOPS].avg, 1);
	assert_string_equal(disk_throttle_group(b[2].d), "g");
	assert_int_equal(run(&b[0], &w[0][0], IMAGE_READ, 0, 4096), 0); /* for 8 seconds */
	for (unsigned i = 0; i < 3; i++)
		for (unsigned k = 0; k < 3; k++) {
			start(&b[i], &w[i][k], IMAGE_WRITE, 0, 4096);
			w[i][k].data[0] = i;
			w[i][k].req.complete = note_order;
		}
	turn();
	assert_int_equal(n_order, 0);
	assert_true(disk_set_throttle(b[2].d, &none, NULL, NULL));
	turn();
	assert_true(w[2][0].over && w[2][1].over && w[2][2].over);
	assert_null(disk_throttle_group(b[2].d));
	n_order = 0;
	throttle_group_set(g, &fast);
	while (n_order < 6)
		turn();
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(order[i], i % 2);
	disk_join_throttle_group(b[2].d, "g");
	assert_int_equal(disk_throttle(b[2].d)->limit[THROTTLE_IOPS].avg, 1000000000);
	for (unsigned i = 0; i < 3; i++) {
		disk_queue_free(b[i].q);
		disk_free(b[i].d);
	}
	assert_null(throttle_group_find("g"));
}

static void test_rejected(void **state)
{
	static const struct {
		const char *keys, *message;
	} rows[] = {
		{"{'cache': <'fast'>}",
		 "drive: cache=fast is not known; give one of writeback, none, writethrough, directsync, unsafe"},
		{"{'rerror': <'enospc'>}", "drive: rerror=enospc is not known; give one of report, ignore, stop"},
		{"{'detect-zeroes': <'unmap'>, 'discard': <'off'>}", "drive: detect-zeroes=unmap needs discard=on"},
		{"{'iops': <uint64 9>, 'iops-max': <uint64 8>}", "drive: bps_max/iops_max cannot be lower than bps/iops"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GVariant) dict = g_variant_ref_sink(g_variant_new_parsed(rows[i].keys));
		g_autoptr(GError) error = NULL;
		static struct ram_image m;

		ram_init(&m);
		assert_null(disk_new("drive", &m.img, dict, &error));
		assert_string_equal(error->message, rows[i].message);
		assert_int_equal(m.closed, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),	 cmocka_unit_test(test_zeroes), cmocka_unit_test(test_caches),
		cmocka_unit_test(test_policies), cmocka_unit_test(test_floods), cmocka_unit_test(test_retry),
		cmocka_unit_test(test_medium),	 cmocka_unit_test(test_limit),	cmocka_unit_test(test_group),
		cmocka_unit_test(test_rejected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
