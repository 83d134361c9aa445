/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio disk as its driver sees it, over an image in memory whose speed the test sets. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "disk-rig.h"
#include "disk.h"
#include "virtio-rig.h"

enum {
	SECTORS = RAM_SECTORS,
	HEADER = RIG_DATA, /* guest addresses of the parts of a request */
	STATUS = RIG_DATA + 0x20,
	DATA = RIG_DATA + 0x1000,
};

struct blk_test {
	struct rig r;
	struct ram_image m;
	struct device_backend backend;
};

/* keys: of the drive, in GVariant's text */
static void open_drive(struct blk_test *t, const char *keys, GVariant *options)
{
	g_autoptr(GVariant) dict = keys ? g_variant_ref_sink(g_variant_new_parsed(keys)) : NULL;

	t->backend = (struct device_backend){ .disk = disk_new("drive", &t->m.img, dict, NULL) };
	assert_non_null(t->backend.disk);
	rig_open(&t->r, "virtio-blk", options, &t->backend);
}

static void open_disk(struct blk_test *t, GVariant *options)
{
	open_drive(t, NULL, options);
}

static void close_disk(struct blk_test *t)
{
	rig_close(&t->r);
	assert_int_equal(t->m.n_queues, 0);
	disk_free(t->backend.disk);
	assert_int_equal(t->m.closed, 1);
}

static void start(struct blk_test *t, uint64_t features)
{
	assert_true(rig_negotiate(&t->r, features));
	rig_queue(&t->r, 0, 16);
	rig_driver_ok(&t->r);
}

static void header(struct blk_test *t, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr h = { .type = type, .sector = sector };

	memcpy(t->r.ram + HEADER, &h, sizeof(h));
	t->r.ram[STATUS] = 0xee;
}

/* One request with @len bytes at DATA; answers the status byte. */
static uint8_t request(struct blk_test *t, uint32_t type, uint64_t sector, uint32_t len)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct ring_buf b[] = { { HEADER, 16, false }, { DATA, len, in }, { STATUS, 1, true } };
	uint32_t used;

	header(t, type, sector);
	if (!len)
		b[1] = b[2];
	used = rig_request(&t->r, 0, b, len ? 3 : 2);
	assert_int_equal(used, (in ? len : 0) + 1);
	return t->r.ram[STATUS];
}

static void test_identity(void **state)
{
	struct blk_test t;
	struct rig *r = &t.r;
	uint64_t f;

	ram_init(&t.m);
	open_disk(&t, g_variant_new_parsed("{'serial': <'disk-seven'>, 'queues': <uint32 3>}"));
	assert_int_equal(rig_read(r, r->config + 2, 2), 0x1040 + VIRTIO_ID_BLOCK);
	assert_int_equal(rig_read(r, r->config + 8, 4), 0x01000001);
	f = rig_offered(r);
	assert_true(f >> VIRTIO_F_VERSION_1 & 1);
	assert_true(f >> VIRTIO_BLK_F_FLUSH & 1);
	assert_false(f >> VIRTIO_BLK_F_RO & 1);
	assert_false(f >> VIRTIO_BLK_F_DISCARD & 1);
	assert_int_equal(rig_read(r, r->device, 8), SECTORS);
	assert_int_equal(rig_read(r, r->device + offsetof(struct virtio_blk_config, num_queues), 2), 3);
	assert_int_equal(rig_read(r, r->common + VIRTIO_PCI_COMMON_NUMQ, 2), 3);
	start(&t, 0);
	assert_int_equal(request(&t, VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
	assert_string_equal((char *)r->ram + DATA, "disk-seven");
	close_disk(&t);
}

static void io(struct blk_test *t, uint64_t features)
{
	struct rig *r = &t->r;

	start(t, features | 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_WRITE_ZEROES);
	assert_int_equal(request(t, VIRTIO_BLK_T_IN, 3, 1024), VIRTIO_BLK_S_OK);
	assert_memory_equal(r->ram + DATA, t->m.bytes + 3 * 512, 1024);
	memset(r->ram + DATA, 0x77, 512);
	assert_int_equal(request(t, VIRTIO_BLK_T_OUT, SECTORS - 1, 512), VIRTIO_BLK_S_OK);
	assert_memory_equal(r->ram + DATA, t->m.bytes + (SECTORS - 1) * 512, 512);
	assert_int_equal(t->m.flushes, 0);
	assert_int_equal(request(t, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(t->m.flushes, 1);
	assert_true(rig_isr(r) & 1);
	assert_false(rig_isr(r));
	t->m.flushes = 0;
}

static void test_io(void **state)
{
	struct blk_test t;

	ram_init(&t.m);
	open_disk(&t, NULL);
	io(&t, 0);
	io(&t, 1ull << VIRTIO_RING_F_EVENT_IDX);
	io(&t, 1ull << VIRTIO_F_RING_PACKED);
	io(&t, 1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_RING_F_EVENT_IDX);
	close_disk(&t);
}

static void test_limits(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
		uint8_t status;
	} rows[] = {
		{ SECTORS, 512, VIRTIO_BLK_S_IOERR },
		{ SECTORS - 1, 1024, VIRTIO_BLK_S_IOERR },
		{ UINT64_MAX, 512, VIRTIO_BLK_S_IOERR },
		{ 1ull << 55, 512, VIRTIO_BLK_S_IOERR },
		{ 0, 511, VIRTIO_BLK_S_IOERR },
		{ SECTORS - 1, 512, VIRTIO_BLK_S_OK },
	};
	struct blk_test t;

	ram_init(&t.m);
	open_disk(&t, NULL);
	start(&t, 1ull << VIRTIO_BLK_F_FLUSH);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		assert_int_equal(request(&t, VIRTIO_BLK_T_IN, rows[i].sector, rows[i].len), rows[i].status);
		assert_int_equal(request(&t, VIRTIO_BLK_T_OUT, rows[i].sector, rows[i].len), rows[i].status);
	}
	assert_int_equal(request(&t, 99, 0, 512), VIRTIO_BLK_S_UNSUPP);
	t.m.fail = EIO;
	assert_int_equal(request(&t, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_IOERR);
	t.m.fail = ENOTSUP;
	assert_int_equal(request(&t, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_UNSUPP);
	close_disk(&t);
}

static void test_ranges(void **state)
{
	struct blk_test t;
	struct virtio_blk_discard_write_zeroes z = { .sector = 8, .num_sectors = 8 };

	ram_init(&t.m);
	t.m.img.discard = true;
	open_disk(&t, NULL);
	assert_true(rig_offered(&t.r) >> VIRTIO_BLK_F_DISCARD & 1);
	start(&t, 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_DISCARD |
			  1ull << VIRTIO_BLK_F_WRITE_ZEROES);
	memcpy(t.r.ram + DATA, &z, sizeof(z));
	assert_int_equal(request(&t, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(t.m.unmaps, 0);
	assert_int_equal(t.m.bytes[8 * 512 + 9], 0);
	assert_int_not_equal(t.m.bytes[16 * 512 + 9], 0);
	assert_int_equal(request(&t, VIRTIO_BLK_T_DISCARD, 0, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(t.m.unmaps, 1);
	z.flags = 1;
	memcpy(t.r.ram + DATA, &z, sizeof(z));
	assert_int_equal(request(&t, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16), VIRTIO_BLK_S_OK);
	assert_int_equal(t.m.unmaps, 2);
	assert_int_equal(request(&t, VIRTIO_BLK_T_DISCARD, 0, 16), VIRTIO_BLK_S_UNSUPP);
	z = (struct virtio_blk_discard_write_zeroes){ .sector = 250, .num_sectors = 8 };
	memcpy(t.r.ram + DATA, &z, sizeof(z));
	assert_int_equal(request(&t, VIRTIO_BLK_T_DISCARD, 0, 16), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(&t, VIRTIO_BLK_T_WRITE_ZEROES, 0, 24), VIRTIO_BLK_S_IOERR);
	close_disk(&t);
}

static void test_readonly(void **state)
{
	struct blk_test t;

	ram_init(&t.m);
	t.m.img.readonly = true;
	open_disk(&t, NULL);
	assert_true(rig_offered(&t.r) >> VIRTIO_BLK_F_RO & 1);
	start(&t, 1ull << VIRTIO_BLK_F_RO | 1ull << VIRTIO_BLK_F_FLUSH);
	assert_int_equal(request(&t, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(&t, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	close_disk(&t);
}

/* Writes are stable at once when the driver cannot flush, or set the cache to write-through. */
static void test_writethrough(void **state)
{
	struct blk_test t;
	uint64_t wce;

	ram_init(&t.m);
	open_disk(&t, NULL);
	wce = t.r.device + offsetof(struct virtio_blk_config, wce);
	start(&t, 0);
	assert_int_equal(request(&t, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(t.m.flushes, 1);
	start(&t, 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_CONFIG_WCE);
	assert_int_equal(rig_read(&t.r, wce, 1), 1);
	request(&t, VIRTIO_BLK_T_OUT, 0, 512);
	assert_int_equal(t.m.flushes, 1);
	rig_write(&t.r, wce, 1, 0);
	assert_int_equal(rig_read(&t.r, wce, 1), 0);
	request(&t, VIRTIO_BLK_T_OUT, 0, 512);
	assert_int_equal(t.m.flushes, 2);
	rig_write(&t.r, t.r.device, 4, 1); /* the capacity is not the driver's to change */
	assert_int_equal(rig_read(&t.r, t.r.device, 8), SECTORS);
	close_disk(&t);
}

/* The same read cut in the oddest ways the specification allows. */
static void test_layouts(void **state)
{
	static const struct ring_buf layouts[][6] = {
		{ { HEADER, 16, false }, { DATA, 513, true } },
		{ { HEADER, 1, false }, { HEADER + 1, 15, false }, { DATA, 1, true },
		  { DATA + 1, 511, true }, { DATA + 512, 1, true } },
		{ { HEADER, 16, false }, { DATA, 511, true }, { DATA + 511, 2, true } },
	};
	struct blk_test t;

	ram_init(&t.m);
	open_disk(&t, NULL);
	start(&t, 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(layouts); i++) {
		unsigned n = 0;

		while (layouts[i][n].len)
			n++;
		memset(t.r.ram + DATA, 0xee, 1024);
		header(&t, VIRTIO_BLK_T_IN, 5);
		assert_int_equal(rig_request(&t.r, 0, layouts[i], n), 513);
		assert_memory_equal(t.r.ram + DATA, t.m.bytes + 5 * 512, 512);
		assert_int_equal(t.r.ram[DATA + 512], VIRTIO_BLK_S_OK);
		assert_int_equal(t.r.ram[DATA + 513], 0xee);
	}
	close_disk(&t);
}

/* A reset waits for requests under way: afterwards nothing touches guest memory. */
static void test_reset_in_flight(void **state)
{
	struct blk_test t;
	struct ring_buf b[] = { { HEADER, 16, false }, { DATA, 512, true }, { STATUS, 1, true } };
	struct rig *r = &t.r;

	ram_init(&t.m);
	open_disk(&t, NULL);
	start(&t, 0);
	header(&t, VIRTIO_BLK_T_IN, 0);
	t.m.hold = true;
	assert_true(ring_add(&r->ring[0], b, 3, 0, r));
	rig_kick(r, 0);
	assert_non_null(t.m.waiting);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_STATUS, 1, 0);
	assert_int_not_equal(rig_status(r), 0);
	/* Registers do not move until then. */
	rig_write(r, r->common + VIRTIO_PCI_COMMON_STATUS, 1, 1);
	rig_write(r, r->common + VIRTIO_PCI_COMMON_MSIX, 2, 0);
	assert_int_not_equal(rig_status(r), 1);
	t.m.hold = false;
	ram_complete(&t.m);
	assert_int_equal(rig_status(r), 0);
	assert_int_equal(rig_read(r, r->common + VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
	assert_int_equal(r->ram[STATUS], VIRTIO_BLK_S_OK);
	start(&t, 0);
	assert_int_equal(request(&t, VIRTIO_BLK_T_IN, 1, 512), VIRTIO_BLK_S_OK);
	close_disk(&t);
}

/* A driver error stops this device until it is reset, with a configuration interrupt. */
static void test_needs_reset(void **state)
{
	struct blk_test t;
	struct ring_buf b[] = { { HEADER, 8, false }, { STATUS, 1, true } };
	struct ring_buf ok[] = { { HEADER, 16, false }, { DATA, 512, true }, { STATUS, 1, true } };
	struct rig *r = &t.r;

	ram_init(&t.m);
	open_disk(&t, NULL);
	start(&t, 0);
	assert_true(ring_add(&r->ring[0], b, 2, 0, r));
	rig_kick(r, 0);
	assert_true(rig_status(r) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_true(rig_isr(r) & 2);
	header(&t, VIRTIO_BLK_T_IN, 0);
	assert_true(ring_add(&r->ring[0], ok, 3, 0, r));
	rig_kick(r, 0);
	assert_null(ring_get(&r->ring[0], NULL));
	start(&t, 0);
	assert_false(rig_status(r) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(request(&t, VIRTIO_BLK_T_IN, 1, 512), VIRTIO_BLK_S_OK);
	close_disk(&t);
}

static void test_move(void **state)
{
	struct blk_test t;
	struct ring_buf b[] = { { HEADER, 16, false }, { DATA, 512, true }, { STATUS, 1, true } };
	struct rig *r = &t.r;

	ram_init(&t.m);
	open_disk(&t, NULL);
	for (unsigned packed = 0; packed < 2; packed++) {
		start(&t, (uint64_t)packed << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_RING_F_EVENT_IDX);
		for (unsigned i = 0; i < 21; i++)
			assert_int_equal(request(&t, VIRTIO_BLK_T_IN, i, 512), VIRTIO_BLK_S_OK);
		/* One more made available and not seen yet, then the move. */
		header(&t, VIRTIO_BLK_T_IN, 7);
		assert_true(ring_add(&r->ring[0], b, 3, 0, r));
		rig_move(r, "virtio-blk", NULL, &t.backend);
		assert_ptr_equal(ring_get(&r->ring[0], NULL), r);
		ring_arm(&r->ring[0]);
		assert_memory_equal(r->ram + DATA, t.m.bytes + 7 * 512, 512);
		assert_int_equal(request(&t, VIRTIO_BLK_T_IN, 9, 512), VIRTIO_BLK_S_OK);
	}
	close_disk(&t);
}

static void test_options(void **state)
{
	static const struct {
		const char *options, *message;
	} rows[] = {
		{ "{'queues': <uint32 0>}", "dev1: queues is 0; use 1 to 16" },
		{ "{'queues': <uint32 17>}", "dev1: queues is 17; use 1 to 16" },
		{ "{'serial': <'123456789012345678901'>}",
		  "dev1: serial '123456789012345678901' is longer than 20 characters" },
	};
	struct blk_test t;

	ram_init(&t.m);
	open_disk(&t, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_new_parsed(rows[i].options));

		assert_null(device_new(&t.r.core, "virtio-blk", "dev1", options, &t.backend, &error));
		assert_string_equal(error->message, rows[i].message);
	}
	close_disk(&t);
}

static unsigned errors, stops;

static void on_error(void *opaque, struct disk *d, const struct disk_error *e)
{
	errors++;
	stops += e->action == DISK_STOP;
}

/* A write that finds the host full is kept, a pause does not wait for it, and it is done when the VM goes on. */
static void test_kept(void **state)
{
	struct blk_test t;
	struct ring_buf b[] = { { HEADER, 16, false }, { DATA, 512, false }, { STATUS, 1, true } };
	struct rig *r = &t.r;
	g_autoptr(GError) error = NULL;

	ram_init(&t.m);
	open_disk(&t, NULL);
	disk_set_error_func(t.backend.disk, on_error, NULL);
	errors = stops = 0;
	start(&t, 1ull << VIRTIO_BLK_F_FLUSH);
	t.m.fail = ENOSPC;
	memset(r->ram + DATA, 0x5c, 512);
	header(&t, VIRTIO_BLK_T_OUT, 9);
	assert_true(ring_add(&r->ring[0], b, 3, 0, r));
	rig_kick(r, 0);
	assert_null(ring_get(&r->ring[0], NULL));
	assert_int_equal(stops, 1);
	assert_int_equal(disk_status(t.backend.disk), DISK_NOSPACE);
	r->dev->cls->pause(r->dev);
	assert_false(r->dev->cls->can_save(r->dev, &error));
	assert_non_null(strstr(error->message, "dev0: requests that failed"));
	/* Still full: it is kept once more. */
	r->dev->cls->resume(r->dev);
	rig_run();
	assert_null(ring_get(&r->ring[0], NULL));
	assert_int_equal(stops, 2);
	r->dev->cls->pause(r->dev);
	t.m.fail = 0;
	r->dev->cls->resume(r->dev);
	rig_run();
	assert_ptr_equal(ring_get(&r->ring[0], NULL), r);
	assert_int_equal(r->ram[STATUS], VIRTIO_BLK_S_OK);
	assert_int_equal(t.m.bytes[9 * 512 + 100], 0x5c);
	assert_true(r->dev->cls->can_save(r->dev, NULL));
	/* Another error is the guest's to know. */
	ring_arm(&r->ring[0]);
	t.m.fail = EIO;
	assert_int_equal(request(&t, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(errors, 3);
	assert_int_equal(stops, 2);
	close_disk(&t);
}

/* A reset, by the driver or the machine, forgets kept requests. */
static void test_kept_reset(void **state)
{
	struct blk_test t;
	struct ring_buf b[] = { { HEADER, 16, false }, { DATA, 512, true }, { STATUS, 1, true } };
	struct rig *r = &t.r;

	ram_init(&t.m);
	open_drive(&t, "{'rerror': <'stop'>}", NULL);
	for (unsigned machine = 0; machine < 2; machine++) {
		start(&t, 0);
		t.m.fail = EIO;
		header(&t, VIRTIO_BLK_T_IN, 0);
		assert_true(ring_add(&r->ring[0], b, 3, 0, r));
		rig_kick(r, 0);
		assert_true(disk_has_kept(t.backend.disk));
		if (machine) {
			r->dev->cls->pause(r->dev);
			r->dev->cls->reset(r->dev);
			rig_write(r, r->config + 0x10, 4, RIG_BAR);
			rig_write(r, r->config + 4, 2, 6);
			r->dev->cls->resume(r->dev);
		} else {
			rig_reset(r);
		}
		assert_false(disk_has_kept(t.backend.disk));
		t.m.fail = 0;
		rig_run();
		assert_int_equal(r->ram[STATUS], 0xee);
		start(&t, 0);
		assert_int_equal(request(&t, VIRTIO_BLK_T_IN, 1, 512), VIRTIO_BLK_S_OK);
	}
	/* The device goes away with some. */
	t.m.fail = EIO;
	header(&t, VIRTIO_BLK_T_IN, 0);
	assert_true(ring_add(&r->ring[0], b, 3, 0, r));
	rig_kick(r, 0);
	assert_true(disk_has_kept(t.backend.disk));
	close_disk(&t);
}

/* The driver sees another size in its configuration, with an interrupt. */
static void test_resize(void **state)
{
	struct blk_test t;
	struct rig *r = &t.r;
	uint8_t generation;

	ram_init(&t.m);
	open_disk(&t, NULL);
	start(&t, 0);
	generation = rig_read(r, r->common + VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	rig_isr(r);
	assert_int_equal(request(&t, VIRTIO_BLK_T_IN, SECTORS, 512), VIRTIO_BLK_S_IOERR);
	rig_isr(r);
	assert_true(disk_resize(t.backend.disk, 2 * RAM_BYTES, NULL));
	assert_true(rig_isr(r) & 2);
	assert_int_not_equal(rig_read(r, r->common + VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	assert_int_equal(rig_read(r, r->device, 8), 2 * SECTORS);
	assert_int_equal(request(&t, VIRTIO_BLK_T_IN, SECTORS, 512), VIRTIO_BLK_S_OK);
	close_disk(&t);
}

/* What waits because of a limit does not hold up a pause, nor a reset. */
static void test_hurry(void **state)
{
	struct blk_test t;
	struct ring_buf b[] = { { HEADER, 16, false }, { DATA, 512, true }, { STATUS, 1, true } };
	struct rig *r = &t.r;

	ram_init(&t.m);
	/* One request in seventeen minutes. */
	open_drive(&t, "{'iops': <uint64 1>, 'iops-size': <uint64 1>, 'bps': <uint64 1>}", NULL);
	start(&t, 0);
	assert_int_equal(request(&t, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	header(&t, VIRTIO_BLK_T_IN, 1);
	assert_true(ring_add(&r->ring[0], b, 3, 0, r));
	rig_kick(r, 0);
	assert_null(ring_get(&r->ring[0], NULL));
	r->dev->cls->pause(r->dev);
	assert_ptr_equal(ring_get(&r->ring[0], NULL), r);
	r->dev->cls->resume(r->dev);
	ring_arm(&r->ring[0]);
	assert_true(ring_add(&r->ring[0], b, 3, 0, r));
	rig_kick(r, 0);
	assert_null(ring_get(&r->ring[0], NULL));
	rig_reset(r);
	/* The limit holds as before. */
	start(&t, 0);
	assert_true(ring_add(&r->ring[0], b, 3, 0, r));
	rig_kick(r, 0);
	assert_null(ring_get(&r->ring[0], NULL));
	close_disk(&t);
}

static void test_cache(void **state)
{
	struct blk_test t;
	uint64_t wce;

	ram_init(&t.m);
	t.m.img.discard = true;
	open_drive(&t, "{'cache': <'writethrough'>, 'discard': <'off'>}", NULL);
	wce = t.r.device + offsetof(struct virtio_blk_config, wce);
	assert_false(rig_offered(&t.r) >> VIRTIO_BLK_F_DISCARD & 1);
	start(&t, 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_CONFIG_WCE);
	assert_int_equal(rig_read(&t.r, wce, 1), 0);
	request(&t, VIRTIO_BLK_T_OUT, 0, 512);
	assert_int_equal(t.m.flushes, 1);
	close_disk(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),	cmocka_unit_test(test_io),
		cmocka_unit_test(test_limits),		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_readonly),	cmocka_unit_test(test_writethrough),
		cmocka_unit_test(test_layouts),		cmocka_unit_test(test_reset_in_flight),
		cmocka_unit_test(test_needs_reset),	cmocka_unit_test(test_move),
		cmocka_unit_test(test_options),		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_kept_reset),	cmocka_unit_test(test_resize),
		cmocka_unit_test(test_hurry),		cmocka_unit_test(test_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
