/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NVMe controller as its driver sees it, over an image in memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <linux/pci_regs.h>

#include "bytes.h"
#include "pci.h"
#include "storage-rig.h"

enum {
	SQ = 0x1000, /* guest addresses: of queue n 0x2000 further */
	CQ = 0x2000,
	QUEUE_MEMORY = 0x2000,
	ENTRIES = 8,
	LIST = 0x20000,
	DATA = 0x40000,
	CC = 0x14,
	CSTS = 0x1c,
	AQA = 0x24,
	ASQ = 0x28,
	ACQ = 0x30,
	DOORBELLS = 0x1000,
	MSIX = 0x2000,
	CC_ON = 0x00460001,
	NOTHING = 0xffff,
};

struct bed {
	struct storage_rig r;
	struct ram_image m;
	struct disk *disk;
	unsigned tail[4], head[4];
	bool phase[4];
	uint16_t cid;
	uint32_t result; /* of the last completion */
	uint16_t which;
};

static void enable(struct bed *b)
{
	memset(b->r.ram + SQ, 0, 4 * QUEUE_MEMORY);
	memset(b->tail, 0, sizeof(b->tail));
	memset(b->head, 0, sizeof(b->head));
	memset(b->phase, 1, sizeof(b->phase));
	storage_write(&b->r, AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	storage_write(&b->r, ASQ, SQ);
	storage_write(&b->r, ACQ, CQ);
	storage_write(&b->r, CC, CC_ON);
	assert_int_equal(storage_read(&b->r, CSTS), 1);
}

static void open_bed(struct bed *b, const char *keys)
{
	g_autoptr(GVariant) dict = keys ? g_variant_ref_sink(g_variant_new_parsed(keys)) : NULL;
	struct device_backend backend = {0};

	memset(b, 0, sizeof(*b));
	storage_open(&b->r);
	ram_init(&b->m);
	b->m.img.discard = true;
	backend.disk = b->disk = disk_new("disk", &b->m.img, dict, NULL);
	b->r.dev = device_new(&b->r.core, "nvme", "disk", dict, &backend, NULL);
	assert_non_null(b->r.dev);
	storage_map(&b->r, 0);
	enable(b);
}

static void close_bed(struct bed *b)
{
	device_free(b->r.dev);
	storage_close(&b->r);
	disk_free(b->disk);
	assert_int_equal(b->m.n_queues, 0);
}

/* A command's 64 bytes, which is given by its doorbell afterwards. */
static uint8_t *put(struct bed *b, unsigned q, uint8_t opcode, uint32_t nsid)
{
	uint8_t *c = b->r.ram + SQ + q * QUEUE_MEMORY + b->tail[q] * 64;

	memset(c, 0, 64);
	c[0] = opcode;
	put_le16(c + 2, ++b->cid);
	put_le32(c + 4, nsid);
	put_le64(c + 24, DATA);
	b->tail[q] = (b->tail[q] + 1) % ENTRIES;
	return c;
}

static void ring(struct bed *b, unsigned q)
{
	storage_write(&b->r, DOORBELLS + 8 * q, b->tail[q]);
	storage_run();
}

/* The status of the next completion, without DNR; NOTHING: there is none. */
static uint16_t reap(struct bed *b, unsigned q)
{
	const uint8_t *e = b->r.ram + CQ + q * QUEUE_MEMORY + b->head[q] * 16;
	uint32_t last = get_le32(e + 12);

	if ((last >> 16 & 1) != b->phase[q])
		return NOTHING;
	b->result = get_le32(e);
	b->which = last & 0xffff;
	assert_int_equal(get_le16(e + 10), q);
	if (++b->head[q] == ENTRIES) {
		b->head[q] = 0;
		b->phase[q] = !b->phase[q];
	}
	storage_write(&b->r, DOORBELLS + 8 * q + 4, b->head[q]);
	return last >> 17 & 0x7ff;
}

static uint16_t finish(struct bed *b, unsigned q)
{
	ring(b, q);
	return reap(b, q);
}

static uint16_t admin(struct bed *b, uint8_t opcode, uint32_t nsid, uint32_t dw10, uint32_t dw11)
{
	uint8_t *c = put(b, 0, opcode, nsid);

	put_le32(c + 40, dw10);
	put_le32(c + 44, dw11);
	return finish(b, 0);
}

static uint16_t create_cq(struct bed *b, unsigned q, unsigned entries, uint64_t at, uint32_t dw11)
{
	uint8_t *c = put(b, 0, 0x05, 0);

	put_le64(c + 24, at);
	put_le32(c + 40, q | (entries - 1) << 16);
	put_le32(c + 44, dw11);
	return finish(b, 0);
}

static uint16_t create_sq(struct bed *b, unsigned q, unsigned entries, uint64_t at, uint32_t dw11)
{
	uint8_t *c = put(b, 0, 0x01, 0);

	put_le64(c + 24, at);
	put_le32(c + 40, q | (entries - 1) << 16);
	put_le32(c + 44, dw11);
	return finish(b, 0);
}

static void create_queues(struct bed *b)
{
	assert_int_equal(create_cq(b, 1, ENTRIES, CQ + QUEUE_MEMORY, 1 << 16 | 3), 0);
	assert_int_equal(create_sq(b, 1, ENTRIES, SQ + QUEUE_MEMORY, 1 << 16 | 1), 0);
}

/* Reads, writes and their like. */
static uint8_t *put_io(struct bed *b, uint8_t opcode, uint64_t lba, unsigned blocks)
{
	uint8_t *c = put(b, 1, opcode, 1);

	put_le64(c + 40, lba);
	put_le32(c + 48, blocks - 1);
	return c;
}

static uint16_t io(struct bed *b, uint8_t opcode, uint64_t lba, unsigned blocks)
{
	put_io(b, opcode, lba, blocks);
	return finish(b, 1);
}

static void test_identify(void **state)
{
	struct bed b;
	uint8_t *data;

	open_bed(&b, "{'serial': <'S-77'>}");
	data = b.r.ram + DATA;
	assert_int_equal(storage_read(&b.r, 8), 0x10400);
	assert_int_equal(admin(&b, 0x06, 0, 1, 0), 0);
	assert_memory_equal(data + 4, "S-77                KVASIR NVMe DISK ", 37);
	assert_int_equal(data[77], 7);
	assert_int_equal(get_le16(data + 520), 0xc);
	assert_memory_equal(data + 768, "nqn.2014-08.org.nvmexpress:uuid:", 32);
	assert_int_equal(admin(&b, 0x06, 1, 0, 0), 0);
	assert_int_equal(get_le64(data), RAM_SECTORS);
	assert_int_equal(data[130], 9);
	assert_int_equal(admin(&b, 0x06, 2, 0, 0), 0x00b);
	assert_int_equal(admin(&b, 0x06, 0, 2, 0), 0);
	assert_int_equal(get_le32(data), 1);
	assert_int_equal(get_le32(data + 4), 0);
	assert_int_equal(admin(&b, 0x06, 1, 3, 0), 0);
	assert_memory_equal(data, "\3\x10\0\0", 4);
	assert_int_equal(admin(&b, 0x06, 1, 0x77, 0), 0x002);
	assert_int_equal(admin(&b, 0x7f, 1, 0, 0), 0x001);
	/* Features: the number of queues, the cache, what cannot be. */
	assert_int_equal(admin(&b, 0x09, 0, 7, 0x3f003f), 0);
	assert_int_equal(b.result, 7 | 7 << 16);
	assert_int_equal(admin(&b, 0x0a, 0, 6, 0), 0);
	assert_int_equal(b.result, 1);
	assert_int_equal(admin(&b, 0x09, 0, 6, 2), 0x002);
	assert_int_equal(admin(&b, 0x09, 0, 6 | 1u << 31, 0), 0x10d);
	assert_int_equal(admin(&b, 0x09, 0, 0x55, 0), 0x002);
	/* Logs: the errors before. */
	assert_int_equal(admin(&b, 0x02, 0xffffffff, 1 | 63 << 16, 0), 0);
	assert_int_equal(get_le64(data), 6);
	assert_int_equal(get_le16(data + 12) >> 1 & 0x7ff, 0x002);
	assert_int_equal(admin(&b, 0x02, 0xffffffff, 2 | 127 << 16, 0), 0);
	assert_int_equal(get_le64(data + 176), 6);
	assert_int_equal(admin(&b, 0x02, 0, 9, 0), 0x109);
	close_bed(&b);
}

static void test_io(void **state)
{
	struct bed b;
	uint8_t *data, *c;

	open_bed(&b, NULL);
	create_queues(&b);
	data = b.r.ram + DATA;
	assert_int_equal(io(&b, 2, 3, 2), 0);
	assert_memory_equal(data, b.m.bytes + 3 * 512, 1024);
	memset(data, 0x66, 1024);
	assert_int_equal(io(&b, 1, 9, 2), 0);
	assert_int_equal(b.m.bytes[11 * 512 - 1], 0x66);
	assert_int_equal(b.m.flushes, 0);
	c = put_io(&b, 1, 9, 1);
	put_le32(c + 48, 1u << 30);
	assert_int_equal(finish(&b, 1), 0);
	assert_int_equal(b.m.flushes, 1);
	put(&b, 1, 0, 0xffffffff);
	assert_int_equal(finish(&b, 1), 0);
	assert_int_equal(b.m.flushes, 2);
	assert_int_equal(io(&b, 8, 20, 4), 0);
	assert_int_equal(b.m.zeroes, 1);
	assert_int_equal(b.m.bytes[20 * 512], 0);
	/* Ranges of it. */
	memset(data, 0, 64);
	put_le32(data + 4, 8);
	put_le64(data + 8, 40);
	put_le32(data + 20, 3);
	put_le64(data + 24, 100);
	c = put(&b, 1, 9, 1);
	put_le32(c + 40, 1);
	put_le32(c + 44, 4);
	assert_int_equal(finish(&b, 1), 0);
	assert_int_equal(b.m.discards, 2);
	assert_int_equal(b.m.bytes[102 * 512 + 511], 0);
	put_le64(data + 24, RAM_SECTORS);
	c = put(&b, 1, 9, 1);
	put_le32(c + 40, 1);
	put_le32(c + 44, 4);
	assert_int_equal(finish(&b, 1), 0x080);
	assert_int_equal(b.m.discards, 2);
	/* What is not there. */
	assert_int_equal(io(&b, 2, RAM_SECTORS, 1), 0x080);
	assert_int_equal(io(&b, 2, UINT64_MAX, 2), 0x080);
	assert_int_equal(io(&b, 5, 0, 1), 0x001);
	put(&b, 1, 2, 2);
	assert_int_equal(finish(&b, 1), 0x00b);
	b.m.fail = EIO;
	assert_int_equal(io(&b, 2, 0, 1), 0x281);
	assert_int_equal(io(&b, 1, 0, 1), 0x280);
	close_bed(&b);
}

/* Pages of data: two, a list, a list that goes on; and what must not be in them. */
static void test_prps(void **state)
{
	struct bed b;
	uint8_t *c, *data;

	open_bed(&b, NULL);
	create_queues(&b);
	data = b.r.ram + DATA;
	memset(data + 0x3000, 0x11, 16);
	c = put_io(&b, 2, 0, 16);
	put_le64(c + 24, DATA + 0x804);
	put_le64(c + 32, DATA + 0x3000);
	assert_int_equal(finish(&b, 1), 0x013); /* 8 KiB need three pages: a list, which this is not */
	put_le64(b.r.ram + LIST, DATA + 0x3000);
	put_le64(b.r.ram + LIST + 8, DATA + 0x1000);
	c = put_io(&b, 2, 0, 16);
	put_le64(c + 24, DATA + 0x804);
	put_le64(c + 32, LIST);
	assert_int_equal(finish(&b, 1), 0);
	assert_memory_equal(data + 0x804, b.m.bytes, 0x7fc);
	assert_memory_equal(data + 0x3000, b.m.bytes + 0x7fc, 0x1000);
	assert_memory_equal(data + 0x1000, b.m.bytes + 0x17fc, 0x804);
	c = put_io(&b, 2, 1, 16);
	put_le64(c + 32, DATA + 0x3000);
	assert_int_equal(finish(&b, 1), 0);
	assert_memory_equal(data + 0x3000, b.m.bytes + 512 + 0x1000, 0x1000);
	/* A list whose page ends after two entries goes on elsewhere. */
	put_le64(b.r.ram + LIST + 0xff0, DATA + 0x1000);
	put_le64(b.r.ram + LIST + 0xff8, LIST + 0x2000);
	put_le64(b.r.ram + LIST + 0x2000, DATA + 0x2000);
	put_le64(b.r.ram + LIST + 0x2008, DATA + 0x3000);
	c = put_io(&b, 2, 0, 32);
	put_le64(c + 32, LIST + 0xff0);
	assert_int_equal(finish(&b, 1), 0);
	assert_memory_equal(data, b.m.bytes, 0x4000);
	put_le64(b.r.ram + LIST + 0x2008, DATA + 0x3001);
	c = put_io(&b, 2, 0, 32);
	put_le64(c + 32, LIST + 0xff0);
	assert_int_equal(finish(&b, 1), 0x013);
	put_le64(b.r.ram + LIST + 0x2008, STORAGE_RAM);
	c = put_io(&b, 2, 0, 32);
	put_le64(c + 32, LIST + 0xff0);
	assert_int_equal(finish(&b, 1), 0x004);
	c = put_io(&b, 2, 0, 32);
	put_le64(c + 32, 1ull << 40);
	assert_int_equal(finish(&b, 1), 0x004);
	c = put_io(&b, 2, 0, 1);
	put_le64(c + 24, DATA + 2);
	assert_int_equal(finish(&b, 1), 0x013);
	c = put_io(&b, 2, 0, 1);
	c[1] = 0x40; /* a scatter-gather list */
	assert_int_equal(finish(&b, 1), 0x002);
	close_bed(&b);
}

static void test_queues(void **state)
{
	struct bed b;

	open_bed(&b, NULL);
	assert_int_equal(create_cq(&b, 0, 8, CQ + QUEUE_MEMORY, 1), 0x101);
	assert_int_equal(create_cq(&b, 9, 8, CQ + QUEUE_MEMORY, 1), 0x101);
	assert_int_equal(create_cq(&b, 1, 1, CQ + QUEUE_MEMORY, 1), 0x102);
	assert_int_equal(create_cq(&b, 1, 4096, CQ + QUEUE_MEMORY, 1), 0x102);
	assert_int_equal(create_cq(&b, 1, 8, CQ + QUEUE_MEMORY, 0), 0x002);
	assert_int_equal(create_cq(&b, 1, 8, CQ + QUEUE_MEMORY + 64, 1), 0x013);
	assert_int_equal(create_cq(&b, 1, 8, STORAGE_RAM, 1), 0x002);
	assert_int_equal(create_cq(&b, 1, 8, CQ + QUEUE_MEMORY, 9 << 16 | 1), 0x108);
	assert_int_equal(create_sq(&b, 1, 8, SQ + QUEUE_MEMORY, 1 << 16 | 1), 0x100);
	create_queues(&b);
	assert_int_equal(create_cq(&b, 1, 8, CQ + QUEUE_MEMORY, 1), 0x101);
	assert_int_equal(admin(&b, 0x04, 0, 1, 0), 0x10c);
	/* What is under way ends before the queue does. */
	b.m.hold = true;
	put_io(&b, 2, 0, 1);
	ring(&b, 1);
	assert_int_equal(admin(&b, 0x00, 0, 1, 0), NOTHING);
	ram_complete(&b.m);
	assert_int_equal(reap(&b, 1), 0);
	assert_int_equal(reap(&b, 0), 0);
	assert_int_equal(admin(&b, 0x00, 0, 1, 0), 0x101);
	assert_int_equal(admin(&b, 0x04, 0, 1, 0), 0);
	b.m.hold = false;
	/* No more is taken than there is room for the ends of. */
	memset(b.r.ram + CQ + QUEUE_MEMORY, 0, 4096);
	b.tail[1] = b.head[1] = 0;
	b.phase[1] = true;
	assert_int_equal(create_cq(&b, 1, 3, CQ + QUEUE_MEMORY, 3), 0);
	assert_int_equal(create_sq(&b, 1, ENTRIES, SQ + QUEUE_MEMORY, 1 << 16 | 1), 0);
	for (unsigned i = 0; i < 5; i++)
		put_io(&b, 2, i, 1);
	ring(&b, 1);
	assert_int_equal(b.m.reads, 3);
	storage_write(&b.r, DOORBELLS + 12, 2);
	storage_run();
	assert_int_equal(b.m.reads, 5);
	close_bed(&b);
}

static void test_events(void **state)
{
	struct bed b;
	uint8_t *data;

	open_bed(&b, NULL);
	data = b.r.ram + DATA;
	assert_int_equal(admin(&b, 0x09, 0, 0x0b, 0x100), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(admin(&b, 0x0c, 0, 0, 0), NOTHING);
	assert_int_equal(admin(&b, 0x0c, 0, 0, 0), 0x105);
	assert_true(disk_resize(b.disk, RAM_BYTES + 512, NULL));
	storage_run();
	assert_int_equal(reap(&b, 0), 0);
	assert_int_equal(b.result, 2 | 4 << 16);
	/* Once, until the log was read. */
	assert_true(disk_resize(b.disk, RAM_BYTES, NULL));
	storage_run();
	assert_int_equal(reap(&b, 0), NOTHING);
	put_le32(put(&b, 0, 0x02, 0) + 40, 4 | 1023 << 16);
	ring(&b, 0);
	assert_int_equal(reap(&b, 0), 0);
	assert_int_equal(get_le32(data), 1);
	assert_int_equal(reap(&b, 0), 0);
	assert_int_equal(b.result, 2 | 4 << 16);
	/* Doorbells of queues that are not there, and beyond their ends. */
	storage_write(&b.r, DOORBELLS + 8 * 3, 1);
	storage_run();
	assert_int_equal(reap(&b, 0), 0);
	assert_int_equal(b.result, 1 << 16);
	storage_write(&b.r, DOORBELLS, ENTRIES);
	storage_run();
	assert_int_equal(reap(&b, 0), NOTHING);
	close_bed(&b);
}

static void test_resets(void **state)
{
	struct bed b;

	open_bed(&b, NULL);
	create_queues(&b);
	/* Shutdown flushes. */
	b.m.hold = true;
	storage_write(&b.r, CC, CC_ON | 1 << 14);
	storage_run();
	assert_int_equal(storage_read(&b.r, CSTS), 1 | 1 << 2);
	ram_complete(&b.m);
	assert_int_equal(storage_read(&b.r, CSTS), 1 | 2 << 2);
	assert_int_equal(b.m.flushes, 1);
	storage_write(&b.r, CC, CC_ON);
	/* A reset waits for what is under way, of which nobody hears. */
	put_io(&b, 2, 0, 1);
	ring(&b, 1);
	storage_write(&b.r, CC, CC_ON & ~1);
	storage_run();
	assert_int_equal(storage_read(&b.r, CSTS), 1);
	ram_complete(&b.m);
	storage_run();
	assert_int_equal(storage_read(&b.r, CSTS), 0);
	assert_int_equal(reap(&b, 1), NOTHING);
	b.m.hold = false;
	enable(&b);
	create_queues(&b);
	assert_int_equal(io(&b, 2, 1, 1), 0);
	/* What cannot be enabled is a fatal error. */
	storage_write(&b.r, CC, 0);
	storage_write(&b.r, ASQ, STORAGE_RAM);
	storage_write(&b.r, CC, CC_ON);
	assert_int_equal(storage_read(&b.r, CSTS), 2);
	storage_write(&b.r, CC, 0);
	assert_int_equal(storage_read(&b.r, CSTS), 0);
	storage_write(&b.r, ASQ, SQ);
	storage_write(&b.r, CC, CC_ON | 5 << 7);
	assert_int_equal(storage_read(&b.r, CSTS), 2);
	storage_write(&b.r, CC, 0);
	enable(&b);
	close_bed(&b);
}

static void test_interrupts(void **state)
{
	uint16_t on = PCI_MSIX_FLAGS_ENABLE;
	struct pci_device *p;
	struct bed b;

	open_bed(&b, NULL);
	p = (struct pci_device *)b.r.dev;
	put_le32(put(&b, 0, 0x06, 0) + 40, 1);
	ring(&b, 0);
	assert_true(b.r.line);
	storage_write(&b.r, 0x0c, 1);
	assert_false(b.r.line);
	storage_write(&b.r, 0x10, 1);
	assert_true(b.r.line);
	assert_int_equal(reap(&b, 0), 0);
	assert_false(b.r.line);
	bus_access(b.r.core.mmio, STORAGE_ECAM + p->msix_cap + PCI_MSIX_FLAGS, &on, 2, true);
	for (unsigned i = 0; i < 2; i++)
		storage_write(&b.r, MSIX + 16 * i + 12, 0);
	create_queues(&b);
	assert_int_equal(p->msix_sent, 2);
	b.m.hold = true;
	for (unsigned i = 0; i < 4; i++)
		put_io(&b, 2, i, 1);
	ring(&b, 1);
	assert_int_equal(p->msix_sent, 2);
	ram_complete(&b.m);
	assert_int_equal(p->msix_sent, 3); /* one for all */
	assert_false(b.r.line);
	close_bed(&b);
}

static void test_kept(void **state)
{
	g_autoptr(GError) error = NULL;
	struct bed b;

	open_bed(&b, "{'werror': <'stop'>}");
	create_queues(&b);
	b.m.fail = ENOSPC;
	assert_int_equal(io(&b, 1, 0, 1), NOTHING);
	b.r.dev->cls->pause(b.r.dev);
	assert_false(b.r.dev->cls->can_save(b.r.dev, &error));
	b.m.fail = 0;
	b.r.dev->cls->resume(b.r.dev);
	storage_run();
	assert_int_equal(reap(&b, 1), 0);
	assert_int_equal(b.m.writes, 1);
	/* Who deletes the queue waits for it, which no pause does. */
	b.m.fail = ENOSPC;
	assert_int_equal(io(&b, 1, 0, 1), NOTHING);
	assert_int_equal(admin(&b, 0x00, 0, 1, 0), NOTHING);
	b.r.dev->cls->pause(b.r.dev);
	b.r.dev->cls->resume(b.r.dev);
	storage_run();
	storage_write(&b.r, CC, 0);
	storage_run();
	assert_int_equal(storage_read(&b.r, CSTS), 0);
	assert_false(disk_has_kept(b.disk));
	close_bed(&b);
}

/* What was not taken is after the state is loaded. */
static void test_saved(void **state)
{
	struct bed b;

	open_bed(&b, NULL);
	create_queues(&b);
	assert_int_equal(io(&b, 2, 7, 1), 0);
	b.r.dev->cls->pause(b.r.dev);
	put_io(&b, 2, 9, 1);
	ring(&b, 1);
	assert_int_equal(reap(&b, 1), NOTHING);
	storage_save_and_load(&b.r);
	assert_int_equal(reap(&b, 1), 0);
	assert_memory_equal(b.r.ram + DATA, b.m.bytes + 9 * 512, 512);
	close_bed(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identify), cmocka_unit_test(test_io),	cmocka_unit_test(test_prps),
		cmocka_unit_test(test_queues),	 cmocka_unit_test(test_events), cmocka_unit_test(test_resets),
		cmocka_unit_test(test_interrupts), cmocka_unit_test(test_kept), cmocka_unit_test(test_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
