/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio SCSI controller and its units as their driver sees them, over images in memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_scsi.h>

#include "bytes.h"
#include "devices/scsi.h"
#include "drive-rig.h"
#include "virtio-rig.h"

enum {
	HEAD = RIG_DATA, /* guest addresses of the parts of a command */
	ANSWER = RIG_DATA + 0x100,
	EVENT = RIG_DATA + 0x400,
	TMF = RIG_DATA + 0x500,
	DATA = RIG_DATA + 0x1000,
	HEAD_LEN = sizeof(struct virtio_scsi_cmd_req),
	ANSWER_LEN = sizeof(struct virtio_scsi_cmd_resp),
	NO_STATUS = 0xff,
	GOOD = 0,
	CHECK = 2,
	CD_BLOCKS = RAM_BYTES / 2048,
	UNITS = 5,
	ALL_LUNS = 8 + 8 * UNITS,
};

struct bed {
	struct rig r;
	struct ram_image m[UNITS];
	struct disk *disk[UNITS];
	struct device *lun[UNITS]; /* a disk, a CD-ROM drive */
	unsigned target, address;
};

static void open_lun(struct bed *b, unsigned i, const char *cls, const char *keys)
{
	b->lun[i] = drive_open(&b->r.core, b->r.dev, cls, i, keys, &b->m[i], &b->disk[i]);
}

static uint8_t command(struct bed *b, const uint8_t *cdb, uint32_t out, uint32_t in);
static void start(struct bed *b)
{
	static const uint8_t ready[16] = {0};

	assert_true(rig_negotiate(&b->r, 1ull << VIRTIO_SCSI_F_CHANGE));
	for (unsigned i = 0; i < 3; i++)
		rig_queue(&b->r, i, 16);
	rig_driver_ok(&b->r);
	/* Each says once that it was reset. */
	for (b->target = 2; b->target-- > 0;) {
		assert_int_equal(command(b, ready, 0, 0), CHECK);
		assert_int_equal(b->r.ram[ANSWER + 12 + 12], 0x29);
		assert_int_equal(command(b, ready, 0, 0), GOOD);
	}
	b->target = 0;
}

static void open_bed(struct bed *b, const char *keys)
{
	memset(b, 0, sizeof(*b));
	rig_open(&b->r, "virtio-scsi", NULL, NULL);
	open_lun(b, 0, "scsi-disk", keys);
	open_lun(b, 1, "scsi-cd", NULL);
	start(b);
}

static void close_bed(struct bed *b)
{
	for (unsigned i = UNITS; i-- > 0;)
		device_free(b->lun[i]);
	rig_close(&b->r);
	for (unsigned i = 0; i < UNITS; i++) {
		disk_free(b->disk[i]);
		assert_int_equal(b->m[i].n_queues, 0);
	}
}

static unsigned fill(struct bed *b, const uint8_t *cdb, uint32_t out, uint32_t in, struct ring_buf *bufs)
{
	struct virtio_scsi_cmd_req h = {.lun = {1, b->target, 0x40, 0}};
	unsigned n = 0;

	if (b->address)
		put_be16(h.lun + 2, b->address);

	memcpy(h.cdb, cdb, 16);
	memcpy(b->r.ram + HEAD, &h, sizeof(h));
	memset(b->r.ram + ANSWER, 0xee, ANSWER_LEN);
	bufs[n++] = (struct ring_buf){HEAD, HEAD_LEN, false};
	if (out)
		bufs[n++] = (struct ring_buf){DATA, out, false};
	bufs[n++] = (struct ring_buf){ANSWER, ANSWER_LEN, true};
	if (in)
		bufs[n++] = (struct ring_buf){DATA, in, true};
	return n;
}

/* The status of a command; its data at DATA, its answer at ANSWER. */
static uint8_t command(struct bed *b, const uint8_t *cdb, uint32_t out, uint32_t in)
{
	struct ring_buf bufs[4];
	uint32_t used = rig_request(&b->r, 2, bufs, fill(b, cdb, out, in, bufs));
	const struct virtio_scsi_cmd_resp *a = (const struct virtio_scsi_cmd_resp *)(b->r.ram + ANSWER);

	if (a->response)
		return NO_STATUS;
	assert_true(a->resid <= out + in);
	assert_int_equal(used, ANSWER_LEN + (in ? in - a->resid : 0));
	assert_int_equal(a->sense_len, a->status == CHECK ? 18 : 0);
	return a->status;
}

static uint32_t resid(struct bed *b)
{
	return get_le32(b->r.ram + ANSWER + 4);
}

static void expect_sense(struct bed *b, uint8_t status, uint8_t key, uint8_t asc, uint8_t ascq)
{
	const uint8_t *sense = b->r.ram + ANSWER + 12;

	assert_int_equal(status, CHECK);
	assert_int_equal(sense[0], 0x70);
	assert_int_equal(sense[2], key);
	assert_int_equal(sense[12], asc);
	assert_int_equal(sense[13], ascq);
}

#define CDB(...) ((const uint8_t[16]){__VA_ARGS__})

static void test_identity(void **state)
{
	struct bed b;
	uint8_t *data;

	open_bed(&b, "{'serial': <'S-77'>, 'wwn': <uint64 0x5000c50015ea71ac>}");
	data = b.r.ram + DATA;
	assert_int_equal(rig_read(&b.r, b.r.device + offsetof(struct virtio_scsi_config, max_target), 2), 255);
	assert_int_equal(rig_read(&b.r, b.r.device + offsetof(struct virtio_scsi_config, max_lun), 4), 16383);
	assert_int_equal(command(&b, CDB(0x12, 0, 0, 0, 255), 0, 255), GOOD);
	assert_int_equal(resid(&b), 255 - 36);
	assert_int_equal(data[0], 0);
	assert_memory_equal(data + 8, "KVASIR  DISK", 12);
	assert_int_equal(command(&b, CDB(0x12, 1, 0, 0, 255), 0, 255), GOOD);
	assert_memory_equal(data, "\0\0\0\x06\x00\x80\x83\xb0\xb1\xb2", 10);
	assert_int_equal(command(&b, CDB(0x12, 1, 0x80, 0, 255), 0, 255), GOOD);
	assert_memory_equal(data, "\0\x80\0\x04S-77", 8);
	assert_int_equal(command(&b, CDB(0x12, 1, 0x83, 0, 255), 0, 255), GOOD);
	assert_memory_equal(data, "\0\x83\0\x14\x02\0\0\x04S-77\x01\x03\0\x08\x50\0\xc5\0\x15\xea\x71\xac", 24);
	assert_int_equal(command(&b, CDB(0x12, 1, 0xb0, 0, 255), 0, 255), GOOD);
	assert_int_equal(get_be16(data + 2), 0x3c);
	assert_int_equal(get_be32(data + 24), 255);
	assert_int_equal(command(&b, CDB(0x12, 1, 0xb2, 0, 255), 0, 255), GOOD);
	assert_int_equal(data[5], 0xe0);
	expect_sense(&b, command(&b, CDB(0x12, 1, 0xb7, 0, 255), 0, 255), 5, 0x24, 0);
	assert_int_equal(command(&b, CDB(0xa0, [9] = 16), 0, 16), GOOD);
	assert_memory_equal(data, "\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(command(&b, CDB(0x25), 0, 8), GOOD);
	assert_int_equal(get_be32(data), RAM_SECTORS - 1);
	assert_int_equal(get_be32(data + 4), 512);
	assert_int_equal(command(&b, CDB(0x9e, 0x10, [13] = 32), 0, 32), GOOD);
	assert_int_equal(get_be64(data), RAM_SECTORS - 1);
	assert_int_equal(data[14], 0x80);
	expect_sense(&b, command(&b, CDB(0x5e, 0, [8] = 8), 0, 8), 5, 0x20, 0); /* PERSISTENT RESERVE IN */
	/* Nobody there. */
	b.target = 7;
	assert_int_equal(command(&b, CDB(0x12, 0, 0, 0, 36), 0, 36), NO_STATUS);
	assert_int_equal(b.r.ram[ANSWER + 11], VIRTIO_SCSI_S_BAD_TARGET);
	close_bed(&b);
}

static void test_io(void **state)
{
	struct bed b;
	uint8_t *data;

	open_bed(&b, NULL);
	data = b.r.ram + DATA;
	assert_int_equal(command(&b, CDB(0x28, 0, 0, 0, 0, 3, 0, 0, 2), 0, 1024), GOOD);
	assert_memory_equal(data, b.m[0].bytes + 3 * 512, 1024);
	assert_int_equal(command(&b, CDB(0x08, 0, 0, 4, 1), 0, 512), GOOD);
	assert_memory_equal(data, b.m[0].bytes + 4 * 512, 512);
	assert_int_equal(command(&b, CDB(0xa8, 0, 0, 0, 0, 5, 0, 0, 0, 1), 0, 512), GOOD);
	assert_memory_equal(data, b.m[0].bytes + 5 * 512, 512);
	memset(data, 0x66, 512);
	assert_int_equal(command(&b, CDB(0x8a, [9] = 9, [13] = 1), 512, 0), GOOD);
	assert_int_equal(b.m[0].bytes[9 * 512 + 511], 0x66);
	assert_int_equal(b.m[0].flushes, 0);
	assert_int_equal(command(&b, CDB(0x2a, 8, [5] = 9, [8] = 1), 512, 0), GOOD);
	assert_int_equal(b.m[0].flushes, 1);
	assert_int_equal(command(&b, CDB(0x35), 0, 0), GOOD);
	assert_int_equal(b.m[0].flushes, 2);
	/* Less room than blocks, and more. */
	assert_int_equal(command(&b, CDB(0x28, [5] = 3, [8] = 4), 0, 1024), GOOD);
	assert_int_equal(resid(&b), 0);
	assert_int_equal(command(&b, CDB(0x28, [5] = 3, [8] = 1), 0, 1024), GOOD);
	assert_int_equal(resid(&b), 512);
	expect_sense(&b, command(&b, CDB(0x28, [4] = 1, [8] = 1), 0, 512), 5, 0x21, 0);
	expect_sense(&b, command(&b, CDB(0x88, [2] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [13] = 2), 0, 1024), 5, 0x21,
		     0);
	b.m[0].fail = EIO;
	expect_sense(&b, command(&b, CDB(0x28, [8] = 1), 0, 512), 3, 0x11, 0);
	assert_int_equal(resid(&b), 512);
	expect_sense(&b, command(&b, CDB(0x2a, [8] = 1), 512, 0), 3, 0x0c, 0);
	close_bed(&b);
}

static void test_unmap(void **state)
{
	struct bed b;
	uint8_t *data;

	open_bed(&b, NULL);
	data = b.r.ram + DATA;
	memset(data, 0, 64);
	put_be16(data, 38);
	put_be16(data + 2, 32);
	put_be64(data + 8, 8);
	put_be32(data + 16, 8);
	put_be64(data + 24, 100);
	put_be32(data + 32, 3);
	assert_int_equal(command(&b, CDB(0x42, [8] = 40), 40, 0), GOOD);
	assert_int_equal(b.m[0].discards, 2);
	assert_int_equal(b.m[0].bytes[102 * 512 + 511], 0);
	put_be64(data + 24, RAM_SECTORS);
	expect_sense(&b, command(&b, CDB(0x42, [8] = 40), 40, 0), 5, 0x21, 0);
	assert_int_equal(b.m[0].discards, 2);
	put_be16(data + 2, 33);
	expect_sense(&b, command(&b, CDB(0x42, [8] = 40), 40, 0), 5, 0x1a, 0);
	expect_sense(&b, command(&b, CDB(0x42, [8] = 4), 4, 0), 5, 0x1a, 0);
	/* The same block, of zeroes and not. */
	memset(data, 0, 512);
	assert_int_equal(command(&b, CDB(0x93, 8, [9] = 20, [13] = 4), 512, 0), GOOD);
	assert_int_equal(b.m[0].zeroes, 1);
	assert_int_equal(b.m[0].unmaps, 3);
	memset(data, 0x31, 512);
	assert_int_equal(command(&b, CDB(0x41, 0, [5] = 1, [8] = 200), 512, 0), GOOD);
	assert_int_equal(b.m[0].writes, 2);
	for (unsigned i = 512; i < 201 * 512; i++)
		assert_int_equal(b.m[0].bytes[i], 0x31);
	assert_int_equal(b.m[0].bytes[201 * 512], (201 * 512 * 7 + 201) & 0xff);
	assert_int_equal(command(&b, CDB(0x93, 1, [9] = 20, [13] = 4), 0, 0), GOOD);
	assert_int_equal(b.m[0].zeroes, 2);
	expect_sense(&b, command(&b, CDB(0x93, 0, [9] = 20), 512, 0), 5, 0x24, 0);
	close_bed(&b);
	open_bed(&b, "{'discard': <'off'>}");
	expect_sense(&b, command(&b, CDB(0x42, [8] = 40), 40, 0), 5, 0x20, 0);
	close_bed(&b);
}

/* The write cache is a bit of the caching page, and the only one that can be changed. */
static void test_mode(void **state)
{
	struct bed b;
	uint8_t *data;

	open_bed(&b, NULL);
	data = b.r.ram + DATA;
	assert_int_equal(command(&b, CDB(0x1a, 8, 8, 0, 255), 0, 255), GOOD);
	assert_int_equal(data[0], 4 + 20 - 1);
	assert_int_equal(data[4], 8);
	assert_int_equal(data[6], 4);
	assert_int_equal(command(&b, CDB(0x5a, 0, 0x3f, 0, [8] = 255), 0, 255), GOOD);
	assert_int_equal(get_be16(data + 6), 8);
	assert_int_equal(get_be32(data + 8), RAM_SECTORS);
	memset(data, 0, 24);
	data[4] = 8;
	data[5] = 18;
	assert_int_equal(command(&b, CDB(0x15, 0x10, 0, 0, 24), 24, 0), GOOD);
	assert_int_equal(command(&b, CDB(0x2a, [8] = 1), 512, 0), GOOD);
	assert_int_equal(b.m[0].flushes, 1);
	assert_int_equal(command(&b, CDB(0x1a, 8, 0x48, 0, 255), 0, 255), GOOD); /* what can be changed */
	assert_int_equal(data[6], 4);
	assert_int_equal(data[7], 0);
	memset(data, 0, 24);
	data[4] = 8;
	data[5] = 18;
	data[7] = 1;
	expect_sense(&b, command(&b, CDB(0x15, 0x10, 0, 0, 24), 24, 0), 5, 0x26, 0);
	data[5] = 17;
	expect_sense(&b, command(&b, CDB(0x15, 0x10, 0, 0, 24), 24, 0), 5, 0x26, 0);
	expect_sense(&b, command(&b, CDB(0x15, 0x11, 0, 0, 24), 24, 0), 5, 0x24, 0);
	expect_sense(&b, command(&b, CDB(0x15, 0x10, 0, 0, 24), 20, 0), 5, 0x1a, 0);
	expect_sense(&b, command(&b, CDB(0x1a, 0, 0xc8, 0, 255), 0, 255), 5, 0x39, 0);
	expect_sense(&b, command(&b, CDB(0x1a, 0, 0x11, 0, 255), 0, 255), 5, 0x24, 0);
	close_bed(&b);
}

static void on_moved(void *opaque, struct disk *d, bool open)
{
	unsigned *moves = opaque;

	assert_int_equal(open, *moves % 2 == 0);
	++*moves;
}

static void test_cd(void **state)
{
	static struct ram_image other;
	struct disk_tray tray;
	unsigned moves = 0;
	struct bed b;
	uint8_t *data;

	open_bed(&b, NULL);
	data = b.r.ram + DATA;
	b.target = 1;
	disk_set_tray_func(b.disk[1], on_moved, &moves);
	assert_int_equal(command(&b, CDB(0x12, 0, 0, 0, 36), 0, 36), GOOD);
	assert_int_equal(data[0], 5);
	assert_int_equal(data[1], 0x80);
	assert_int_equal(command(&b, CDB(0x25), 0, 8), GOOD);
	assert_int_equal(get_be32(data), CD_BLOCKS - 1);
	assert_int_equal(get_be32(data + 4), 2048);
	assert_int_equal(command(&b, CDB(0x28, [5] = 3, [8] = 1), 0, 2048), GOOD);
	assert_memory_equal(data, b.m[1].bytes + 3 * 2048, 2048);
	expect_sense(&b, command(&b, CDB(0x2a, [5] = 3, [8] = 1), 2048, 0), 5, 0x20, 0);
	assert_int_equal(command(&b, CDB(0x43, 0, [8] = 64), 0, 64), GOOD);
	assert_int_equal(get_be16(data), 18);
	assert_int_equal(data[14], 0xaa);
	assert_int_equal(get_be32(data + 16), CD_BLOCKS);
	assert_int_equal(command(&b, CDB(0x46, [8] = 128), 0, 128), GOOD);
	assert_int_equal(get_be16(data + 6), 8);
	assert_int_equal(command(&b, CDB(0x51, [8] = 34), 0, 34), GOOD);
	assert_int_equal(data[2], 0x0e);
	/* Locked, then not: the tray opens. */
	assert_int_equal(command(&b, CDB(0x1e, [4] = 1), 0, 0), GOOD);
	expect_sense(&b, command(&b, CDB(0x1b, [4] = 2), 0, 0), 5, 0x53, 2);
	assert_int_equal(command(&b, CDB(0x1e), 0, 0), GOOD);
	assert_int_equal(command(&b, CDB(0x1b, [4] = 2), 0, 0), GOOD);
	expect_sense(&b, command(&b, CDB(0x00), 0, 0), 2, 0x3a, 2);
	assert_int_equal(command(&b, CDB(0x4a, 1, [4] = 0x10, [8] = 8), 0, 8), GOOD);
	assert_int_equal(data[5], 3);
	/* Another disc, which the guest is told of when the tray is shut. */
	ram_init(&other);
	other.img.size = 4096;
	assert_true(disk_set_image(b.disk[1], &other.img, NULL));
	expect_sense(&b, command(&b, CDB(0x00), 0, 0), 2, 0x3a, 2);
	assert_true(disk_tray(b.disk[1], &tray) && tray.open && !tray.locked);
	disk_move_tray(b.disk[1], false);
	expect_sense(&b, command(&b, CDB(0x00), 0, 0), 6, 0x28, 0);
	assert_int_equal(command(&b, CDB(0x00), 0, 0), GOOD);
	assert_int_equal(command(&b, CDB(0x4a, 1, [4] = 0x10, [8] = 8), 0, 8), GOOD);
	assert_int_equal(data[4], 2);
	assert_int_equal(data[5], 2);
	assert_int_equal(command(&b, CDB(0x25), 0, 8), GOOD);
	assert_int_equal(get_be32(data), 1);
	assert_int_equal(command(&b, CDB(0x1e, [4] = 1), 0, 0), GOOD);
	assert_true(disk_tray(b.disk[1], &tray) && !tray.open && tray.locked);
	disk_ask_eject(b.disk[1], true);
	assert_int_equal(command(&b, CDB(0x4a, 1, [4] = 0x10, [8] = 8), 0, 8), GOOD);
	assert_int_equal(data[4], 1);
	assert_int_equal(command(&b, CDB(0x1b, [4] = 2), 0, 0), GOOD);
	assert_int_equal(command(&b, CDB(0x1b, [4] = 3), 0, 0), GOOD);
	expect_sense(&b, command(&b, CDB(0x00), 0, 0), 6, 0x28, 0);
	assert_int_equal(moves, 4);
	assert_true(disk_set_image(b.disk[1], NULL, NULL));
	expect_sense(&b, command(&b, CDB(0x28, [8] = 1), 0, 2048), 2, 0x3a, 1);
	assert_false(disk_tray(b.disk[0], &tray));
	close_bed(&b);
}

/* Another size: an event, and a unit attention. */
static void test_resize(void **state)
{
	struct bed b;
	struct ring_buf buf = {EVENT, sizeof(struct virtio_scsi_event), true};
	const uint8_t *e;

	open_bed(&b, NULL);
	e = b.r.ram + EVENT;
	/* Without a buffer it is missed, which is told with the next one. */
	assert_true(disk_resize(b.disk[0], RAM_BYTES + 512, NULL));
	assert_true(ring_add(&b.r.ring[1], &buf, 1, 0, &b));
	rig_kick(&b.r, 1);
	assert_ptr_equal(ring_get(&b.r.ring[1], NULL), &b);
	assert_int_equal(get_le32(e), VIRTIO_SCSI_T_EVENTS_MISSED);
	assert_true(ring_add(&b.r.ring[1], &buf, 1, 0, &b));
	rig_kick(&b.r, 1);
	assert_null(ring_get(&b.r.ring[1], NULL));
	assert_true(disk_resize(b.disk[0], 2 * RAM_BYTES, NULL));
	assert_ptr_equal(ring_get(&b.r.ring[1], NULL), &b);
	assert_int_equal(get_le32(e), VIRTIO_SCSI_T_PARAM_CHANGE);
	assert_int_equal(e[4], 1);
	assert_int_equal(e[5], 0);
	assert_int_equal(get_le32(e + 12), 0x092a);
	expect_sense(&b, command(&b, CDB(0x25), 0, 8), 6, 0x2a, 9);
	assert_int_equal(command(&b, CDB(0x25), 0, 8), GOOD);
	assert_int_equal(get_be32(b.r.ram + DATA), 2 * RAM_SECTORS - 1);
	close_bed(&b);
}

/* Who aborts a command is answered when it is over. */
static void test_tmf(void **state)
{
	struct bed b;
	struct virtio_scsi_ctrl_tmf_req t = {
		.type = VIRTIO_SCSI_T_TMF, .subtype = VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, .lun = {1, 0}};
	struct ring_buf ctrl[] = {{TMF, sizeof(t), false}, {TMF + 64, 1, true}}, bufs[4];
	unsigned n;

	open_bed(&b, NULL);
	memcpy(b.r.ram + TMF, &t, sizeof(t));
	b.r.ram[TMF + 64] = 0xee;
	b.m[0].hold = true;
	n = fill(&b, CDB(0x28, [8] = 1), 0, 512, bufs);
	assert_true(ring_add(&b.r.ring[2], bufs, n, 0, &b));
	rig_kick(&b.r, 2);
	assert_true(ring_add(&b.r.ring[0], ctrl, 2, 0, &b));
	rig_kick(&b.r, 0);
	assert_null(ring_get(&b.r.ring[0], NULL));
	b.m[0].hold = false;
	ram_complete(&b.m[0]);
	assert_ptr_equal(ring_get(&b.r.ring[2], NULL), &b);
	assert_ptr_equal(ring_get(&b.r.ring[0], NULL), &b);
	assert_int_equal(b.r.ram[TMF + 64], 0);
	ring_arm(&b.r.ring[2]);
	ring_arm(&b.r.ring[0]);
	expect_sense(&b, command(&b, CDB(0x00), 0, 0), 6, 0x29, 0);
	assert_int_equal(rig_request(&b.r, 0, ctrl, 2), 1);
	t.lun[1] = 9;
	memcpy(b.r.ram + TMF, &t, sizeof(t));
	rig_request(&b.r, 0, ctrl, 2);
	assert_int_equal(b.r.ram[TMF + 64], VIRTIO_SCSI_S_BAD_TARGET);
	t.subtype = VIRTIO_SCSI_T_TMF_QUERY_TASK;
	memcpy(b.r.ram + TMF, &t, sizeof(t));
	rig_request(&b.r, 0, ctrl, 2);
	assert_int_equal(b.r.ram[TMF + 64], VIRTIO_SCSI_S_FUNCTION_REJECTED);
	close_bed(&b);
}

/* A write that finds the host full is kept and done again; a reset forgets it, and who waited for it. */
static void test_kept(void **state)
{
	struct virtio_scsi_ctrl_tmf_req t = {.type = VIRTIO_SCSI_T_TMF, .subtype = VIRTIO_SCSI_T_TMF_ABORT_TASK, .lun = {1, 0}};
	struct ring_buf ctrl[] = {{TMF, sizeof(t), false}, {TMF + 64, 1, true}}, bufs[4];
	struct bed b;
	unsigned n;

	open_bed(&b, NULL);
	b.m[0].fail = ENOSPC;
	memset(b.r.ram + DATA, 0x5a, 512);
	n = fill(&b, CDB(0x2a, [8] = 1), 512, 0, bufs);
	assert_true(ring_add(&b.r.ring[2], bufs, n, 0, &b));
	rig_kick(&b.r, 2);
	assert_null(ring_get(&b.r.ring[2], NULL));
	b.r.dev->cls->pause(b.r.dev);
	assert_false(b.lun[0]->cls->can_save(b.lun[0], NULL));
	b.m[0].fail = 0;
	b.r.dev->cls->resume(b.r.dev);
	b.lun[0]->cls->resume(b.lun[0]);
	rig_run();
	assert_ptr_equal(ring_get(&b.r.ring[2], NULL), &b);
	assert_int_equal(b.r.ram[ANSWER + 10], GOOD);
	assert_int_equal(b.m[0].bytes[5], 0x5a);
	ring_arm(&b.r.ring[2]);
	b.m[0].fail = ENOSPC;
	assert_true(ring_add(&b.r.ring[2], bufs, n, 0, &b));
	rig_kick(&b.r, 2);
	memcpy(b.r.ram + TMF, &t, sizeof(t));
	assert_true(ring_add(&b.r.ring[0], ctrl, 2, 0, &b));
	rig_kick(&b.r, 0);
	assert_null(ring_get(&b.r.ring[0], NULL));
	b.m[0].fail = 0;
	start(&b);
	assert_false(disk_has_kept(b.disk[0]));
	assert_int_equal(command(&b, CDB(0x28, [8] = 1), 0, 512), GOOD);
	close_bed(&b);
}

/* Chains that have no place for an answer stop the device; short CDB and sense sizes are the driver's to choose. */
static void test_layouts(void **state)
{
	struct bed b;
	struct ring_buf odd[] = {{HEAD, 7, false},
				 {HEAD + 7, HEAD_LEN - 7, false},
				 {ANSWER, 100, true},
				 {ANSWER + 100, 9, true},
				 {DATA, 511, true}};
	struct ring_buf bufs[4];

	open_bed(&b, NULL);
	fill(&b, CDB(0x28, [5] = 2, [8] = 1), 0, 512, bufs);
	assert_int_equal(rig_request(&b.r, 2, odd, 5), ANSWER_LEN + 512);
	assert_int_equal(b.r.ram[ANSWER + 10], GOOD);
	assert_int_equal(b.r.ram[ANSWER + 108], b.m[0].bytes[1024]);
	assert_memory_equal(b.r.ram + DATA, b.m[0].bytes + 1025, 511);
	rig_write(&b.r, b.r.device + offsetof(struct virtio_scsi_config, sense_size), 4, 20);
	rig_write(&b.r, b.r.device + offsetof(struct virtio_scsi_config, cdb_size), 4, 5000);
	assert_int_equal(rig_read(&b.r, b.r.device + offsetof(struct virtio_scsi_config, cdb_size), 4), 32);
	bufs[1].len = 12 + 20;
	assert_int_equal(rig_request(&b.r, 2, bufs, 3), 12 + 20 + 512);
	bufs[1].len = 11;
	assert_true(ring_add(&b.r.ring[2], bufs, 2, 0, &b));
	rig_kick(&b.r, 2);
	assert_true(rig_status(&b.r) & VIRTIO_CONFIG_S_NEEDS_RESET);
	start(&b);
	close_bed(&b);
}

/* ---- several units of a target ---- */

static struct device *try_unit(struct bed *b, unsigned i, const char *cls, const char *id, const char *keys, GError **error)
{
	g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_new_parsed(keys));

	ram_init(&b->m[i]);
	b->m[i].img.discard = true;
	b->m[i].bytes[0] = (uint8_t)(0xa0 + i); /* whose block it is */
	b->disk[i] = disk_new(id, &b->m[i].img, NULL, NULL);
	return device_new(&b->r.core, cls, id, options,
			  &(struct device_backend){.disk = b->disk[i], .controller = b->r.dev}, error);
}

static void add_unit(struct bed *b, unsigned i, const char *cls, const char *id, const char *keys)
{
	b->lun[i] = try_unit(b, i, cls, id, keys, NULL);
	assert_non_null(b->lun[i]);
}

static void refuse_unit(struct bed *b, unsigned i, const char *keys, const char *message)
{
	GError *error = NULL;

	assert_null(try_unit(b, i, "scsi-disk", "new", keys, &error));
	assert_string_equal(error->message, message);
	g_clear_error(&error);
	disk_free(b->disk[i]);
}

static void expect_at(const struct bed *b, unsigned i, int scsi_id, int number)
{
	const struct scsi_lun *lun = (const struct scsi_lun *)b->lun[i];

	assert_int_equal(lun->scsi_id, scsi_id);
	assert_int_equal(lun->number, number);
}

/* As QEMU 7.2's `info qtree` has the same devices. */
static void test_addresses(void **state)
{
	struct bed b;

	memset(&b, 0, sizeof(b));
	rig_open(&b.r, "virtio-scsi", NULL, NULL);
	add_unit(&b, 0, "scsi-disk", "a", "{'lun': <uint64 2>}");
	add_unit(&b, 1, "scsi-disk", "b", "{'lun': <uint64 2>}");
	add_unit(&b, 2, "scsi-disk", "c", "{'scsi-id': <uint64 0>}");
	add_unit(&b, 3, "scsi-cd", "d", "{'scsi-id': <uint64 0>}");
	refuse_unit(&b, 4, "{'scsi-id': <uint64 1>, 'lun': <uint64 2>}", "new: scsi-id 1, lun 2: lun already used by 'b'");
	refuse_unit(&b, 4, "{'scsi-id': <uint64 256>}", "new: bad scsi device id: 256; use 0 to 255");
	refuse_unit(&b, 4, "{'lun': <uint64 16384>}", "new: bad scsi device lun: 16384; use 0 to 16383");
	refuse_unit(&b, 4, "{'channel': <uint64 1>}", "new: bad scsi channel id: 1; there is 0 alone");
	add_unit(&b, 4, "scsi-disk", "e", "@a{sv} {}");
	expect_at(&b, 0, 0, 2);
	expect_at(&b, 1, 1, 2);
	expect_at(&b, 2, 0, 0);
	expect_at(&b, 3, 0, 1);
	expect_at(&b, 4, 1, 0);
	/* A place that becomes free is taken again. */
	device_free(b.lun[3]);
	disk_free(b.disk[3]);
	add_unit(&b, 3, "scsi-disk", "f", "{'scsi-id': <uint64 0>, 'lun': <uint64 16383>, 'channel': <uint64 0>}");
	expect_at(&b, 3, 0, 16383);
	close_bed(&b);
}

/* Target 0 has LUNs 0, 1 (a CD-ROM drive), 2 and 300, target 9 has LUN 5 alone. */
static void open_many(struct bed *b)
{
	static const uint8_t ready[16] = {0};
	static const unsigned at[UNITS][2] = {{0, 300}, {0, 1}, {0, 0}, {9, 5}, {0, 2}};

	memset(b, 0, sizeof(*b));
	rig_open(&b->r, "virtio-scsi", NULL, NULL);
	add_unit(b, 0, "scsi-disk", "far", "{'scsi-id': <uint64 0>, 'lun': <uint64 300>}");
	add_unit(b, 1, "scsi-cd", "disc", "{'scsi-id': <uint64 0>, 'lun': <uint64 1>}");
	add_unit(b, 2, "scsi-disk", "zero", "{'scsi-id': <uint64 0>}");
	add_unit(b, 3, "scsi-disk", "other", "{'scsi-id': <uint64 9>, 'lun': <uint64 5>}");
	add_unit(b, 4, "scsi-disk", "two", "{'scsi-id': <uint64 0>}");
	assert_true(rig_negotiate(&b->r, 1ull << VIRTIO_SCSI_F_HOTPLUG));
	for (unsigned i = 0; i < 3; i++)
		rig_queue(&b->r, i, 16);
	rig_driver_ok(&b->r);
	for (unsigned i = 0; i < UNITS; i++) {
		b->target = at[i][0];
		b->address = 0x4000 | at[i][1];
		expect_sense(b, command(b, ready, 0, 0), 6, 0x29, 0);
		assert_int_equal(command(b, ready, 0, 0), GOOD);
	}
}

static void at(struct bed *b, unsigned target, unsigned address)
{
	b->target = target;
	b->address = address;
}

#define READY CDB(0x00)

static void test_luns(void **state)
{
	static const uint8_t list[] = "\0\0\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0"
				      "\0\x02\0\0\0\0\0\0\x41\x2c\0\0\0\0\0\0";
	static const unsigned from[] = {0, 0x0001, 0x4002, 0x412c, 0x4007, 0xc101}; /* the last but one is not there */
	struct bed b;
	uint8_t *data;

	open_many(&b);
	data = b.r.ram + DATA;
	for (unsigned i = 0; i < G_N_ELEMENTS(from); i++) {
		at(&b, 0, from[i]);
		assert_int_equal(command(&b, CDB(0xa0, [9] = ALL_LUNS), 0, ALL_LUNS), GOOD);
		assert_memory_equal(data, list, 40);
		assert_int_equal(resid(&b), ALL_LUNS - 40);
	}
	at(&b, 9, 0);
	assert_int_equal(command(&b, CDB(0xa0, 0, 2, [9] = ALL_LUNS), 0, ALL_LUNS), GOOD);
	assert_memory_equal(data, "\0\0\0\x10\0\0\0\0\0\x05\0\0\0\0\0\0\xc1\x01\0\0\0\0\0\0", 24);
	assert_int_equal(command(&b, CDB(0xa0, 0, 1, [9] = ALL_LUNS), 0, ALL_LUNS), GOOD);
	assert_memory_equal(data, "\0\0\0\x08\0\0\0\0\xc1\x01\0\0\0\0\0\0", 16);
	assert_int_equal(command(&b, CDB(0xa0, [9] = 16), 0, 16), GOOD);
	assert_memory_equal(data, "\0\0\0\x08\0\0\0\0\0\x05\0\0\0\0\0\0", 16);
	/* No LUN 0 there, and no other than 5. */
	assert_int_equal(command(&b, CDB(0x12, 0, 0, 0, 36), 0, 36), GOOD);
	assert_int_equal(data[0], 0x7f);
	expect_sense(&b, command(&b, READY, 0, 0), 5, 0x25, 0);
	expect_sense(&b, command(&b, CDB(0x28, [8] = 1), 0, 512), 5, 0x25, 0);
	assert_int_equal(command(&b, CDB(0x03, [4] = 18), 0, 18), GOOD);
	assert_int_equal(data[2], 5);
	assert_int_equal(data[12], 0x25);
	/* Peripheral and flat addresses; hierarchical and extended ones are nobody's. */
	at(&b, 9, 0x0005);
	assert_int_equal(command(&b, CDB(0x28, [8] = 1), 0, 512), GOOD);
	assert_int_equal(data[0], 0xa3);
	at(&b, 0, 0x412c);
	assert_int_equal(command(&b, CDB(0x28, [8] = 1), 0, 512), GOOD);
	assert_int_equal(data[0], 0xa0);
	at(&b, 0, 0x4002);
	assert_int_equal(command(&b, CDB(0x28, [8] = 1), 0, 512), GOOD);
	assert_int_equal(data[0], 0xa4);
	at(&b, 0, 0x0001);
	assert_int_equal(command(&b, CDB(0x12, 0, 0, 0, 36), 0, 36), GOOD);
	assert_int_equal(data[0], 5);
	at(&b, 0, 0x8002);
	expect_sense(&b, command(&b, READY, 0, 0), 5, 0x25, 0);
	at(&b, 0, 0xc102);
	expect_sense(&b, command(&b, READY, 0, 0), 5, 0x25, 0);
	/* The well-known one. */
	at(&b, 0, 0xc101);
	assert_int_equal(command(&b, READY, 0, 0), GOOD);
	assert_int_equal(command(&b, CDB(0x12, 0, 0, 0, 36), 0, 36), GOOD);
	assert_int_equal(data[0], 0x1e);
	assert_int_equal(command(&b, CDB(0x03, [4] = 18), 0, 18), GOOD);
	assert_int_equal(data[2], 0);
	expect_sense(&b, command(&b, CDB(0x28, [8] = 1), 0, 512), 5, 0x20, 0);
	close_bed(&b);
}

static struct ring_buf ctrl_bufs[2] = {{TMF, sizeof(struct virtio_scsi_ctrl_tmf_req), false}, {TMF + 64, 1, true}};

static void put_tmf(struct bed *b, uint32_t what, unsigned target, unsigned address)
{
	struct virtio_scsi_ctrl_tmf_req t = {.type = VIRTIO_SCSI_T_TMF, .subtype = what, .lun = {1, target}};

	put_be16(t.lun + 2, address);
	memcpy(b->r.ram + TMF, &t, sizeof(t));
	b->r.ram[TMF + 64] = 0xee;
	assert_true(ring_add(&b->r.ring[0], ctrl_bufs, 2, 0, b));
	rig_kick(&b->r, 0);
}

static void expect_tmf(struct bed *b, uint8_t response)
{
	assert_ptr_equal(ring_get(&b->r.ring[0], NULL), b);
	assert_int_equal(b->r.ram[TMF + 64], response);
	ring_arm(&b->r.ring[0]);
}

/* A read of unit i, which is held. */
static void hold(struct bed *b, unsigned i, unsigned address)
{
	struct ring_buf bufs[4];

	b->m[i].hold = true;
	at(b, 0, address);
	assert_true(ring_add(&b->r.ring[2], bufs, fill(b, CDB(0x28, [8] = 1), 0, 512, bufs), 0, b));
	rig_kick(&b->r, 2);
}

static void release(struct bed *b, unsigned i)
{
	b->m[i].hold = false;
	ram_complete(&b->m[i]);
	assert_ptr_equal(ring_get(&b->r.ring[2], NULL), b);
	ring_arm(&b->r.ring[2]);
}

/* A unit's reset is its own; that of the nexus is all units', and waits for all of them. */
static void test_target_tmf(void **state)
{
	struct bed b;

	open_many(&b);
	hold(&b, 4, 0x4002);
	put_tmf(&b, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 0);
	expect_tmf(&b, VIRTIO_SCSI_S_OK);
	put_tmf(&b, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 7);
	expect_tmf(&b, VIRTIO_SCSI_S_INCORRECT_LUN);
	put_tmf(&b, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 1, 0);
	expect_tmf(&b, VIRTIO_SCSI_S_BAD_TARGET);
	put_tmf(&b, VIRTIO_SCSI_T_TMF_ABORT_TASK_SET, 0, 0x4002);
	assert_null(ring_get(&b.r.ring[0], NULL));
	release(&b, 4);
	expect_tmf(&b, VIRTIO_SCSI_S_OK);
	assert_int_equal(command(&b, READY, 0, 0), GOOD);
	at(&b, 0, 0);
	expect_sense(&b, command(&b, READY, 0, 0), 6, 0x29, 0);
	hold(&b, 4, 0x4002);
	hold(&b, 0, 0x412c);
	put_tmf(&b, VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 0, 0);
	release(&b, 4);
	assert_null(ring_get(&b.r.ring[0], NULL));
	release(&b, 0);
	expect_tmf(&b, VIRTIO_SCSI_S_OK);
	for (unsigned i = 0; i < 3; i++) {
		at(&b, 0, (const unsigned[]){0x412c, 1, 2}[i]);
		expect_sense(&b, command(&b, READY, 0, 0), 6, 0x29, 0);
	}
	at(&b, 9, 5);
	assert_int_equal(command(&b, READY, 0, 0), GOOD);
	close_bed(&b);
}

static void give_event_buffer(struct bed *b)
{
	struct ring_buf buf = {EVENT, sizeof(struct virtio_scsi_event), true};

	assert_true(ring_add(&b->r.ring[1], &buf, 1, 0, b));
	rig_kick(&b->r, 1);
}

static void expect_event(struct bed *b, const char *address, uint32_t reason)
{
	const uint8_t *e = b->r.ram + EVENT;

	assert_ptr_equal(ring_get(&b->r.ring[1], NULL), b);
	assert_int_equal(get_le32(e), VIRTIO_SCSI_T_TRANSPORT_RESET);
	assert_memory_equal(e + 4, address, 4);
	assert_int_equal(get_le32(e + 12), reason);
	give_event_buffer(b);
}

/* A unit leaves when its command is over, whoever waits for that is told, and another one comes. */
static void test_hot(void **state)
{
	struct ring_buf write[] = {{HEAD, HEAD_LEN, false}, {DATA, 512, false}, {ANSWER, ANSWER_LEN, true}}, same[4];
	const struct device_class *cls;
	struct bed b;

	open_many(&b);
	cls = b.lun[0]->cls;
	give_event_buffer(&b);
	hold(&b, 0, 0x412c);
	put_tmf(&b, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 0x412c);
	assert_false(cls->leave(b.lun[0]));
	expect_event(&b, "\x01\0\x41\x2c", VIRTIO_SCSI_EVT_RESET_REMOVED);
	/* It is found no more, and said to be gone once. */
	b.r.ram[ANSWER] = 0xee;
	at(&b, 0, 0);
	expect_sense(&b, command(&b, READY, 0, 0), 6, 0x3f, 0x0e);
	assert_int_equal(command(&b, READY, 0, 0), GOOD);
	at(&b, 0, 1);
	assert_int_equal(command(&b, READY, 0, 0), GOOD);
	at(&b, 0, 0x412c);
	expect_sense(&b, command(&b, READY, 0, 0), 5, 0x25, 0);
	assert_false(cls->leave(b.lun[0]));
	assert_null(ring_get(&b.r.ring[1], NULL));
	assert_null(ring_get(&b.r.ring[0], NULL));
	release(&b, 0);
	expect_tmf(&b, VIRTIO_SCSI_S_OK);
	assert_true(cls->leave(b.lun[0]));
	device_free(b.lun[0]);
	disk_free(b.disk[0]);
	/* One that waits because the host is full is answered. */
	b.m[4].fail = ENOSPC;
	at(&b, 0, 2);
	assert_int_equal(command(&b, READY, 0, 0), CHECK);
	assert_int_equal(fill(&b, CDB(0x2a, [8] = 1), 512, 0, same), 3);
	assert_true(ring_add(&b.r.ring[2], write, 3, 0, &b));
	rig_kick(&b.r, 2);
	assert_null(ring_get(&b.r.ring[2], NULL));
	assert_true(disk_has_kept(b.disk[4]));
	assert_true(cls->leave(b.lun[4]));
	assert_ptr_equal(ring_get(&b.r.ring[2], NULL), &b);
	assert_int_equal(b.r.ram[ANSWER + 11], VIRTIO_SCSI_S_BAD_TARGET);
	ring_arm(&b.r.ring[2]);
	expect_event(&b, "\x01\0\0\x02", VIRTIO_SCSI_EVT_RESET_REMOVED);
	device_free(b.lun[4]);
	disk_free(b.disk[4]);
	/* What comes. */
	add_unit(&b, 4, "scsi-disk", "new", "{'scsi-id': <uint64 9>, 'lun': <uint64 256>}");
	b.r.dev->cls->plugged(b.r.dev, b.lun[4], true);
	expect_event(&b, "\x01\x09\x41\0", VIRTIO_SCSI_EVT_RESET_RESCAN);
	at(&b, 9, 5);
	expect_sense(&b, command(&b, READY, 0, 0), 6, 0x3f, 0x0e);
	at(&b, 9, 0x4100);
	expect_sense(&b, command(&b, READY, 0, 0), 6, 0x29, 0);
	assert_int_equal(command(&b, CDB(0x28, [8] = 1), 0, 512), GOOD);
	assert_int_equal(b.r.ram[DATA], 0xa4);
	assert_false(cls->can_save(b.lun[4], NULL));
	assert_true(cls->can_save(b.lun[3], NULL));
	/* In a paused machine: the driver learns that it has missed something. */
	b.r.dev->cls->pause(b.r.dev);
	assert_true(cls->leave(b.lun[4]));
	assert_null(ring_get(&b.r.ring[1], NULL));
	b.r.dev->cls->resume(b.r.dev);
	rig_run();
	assert_ptr_equal(ring_get(&b.r.ring[1], NULL), &b);
	assert_int_equal(get_le32(b.r.ram + EVENT), VIRTIO_SCSI_T_EVENTS_MISSED);
	b.lun[0] = NULL;
	b.disk[0] = NULL;
	close_bed(&b);
}

/* Saves one unit, and loads what comes of it into another: NULL, or why not. */
static char *save_and_load(struct device *from, const struct state_desc *desc, struct device *to)
{
	GByteArray *stream = g_byte_array_new();
	g_autoptr(GBytes) bytes = NULL;
	g_autoptr(GError) error = NULL;
	size_t at = 0;

	((struct scsi_lun *)from)->writeback = false;
	state_save(stream, desc, to->id, from);
	bytes = g_byte_array_free_to_bytes(stream);
	((struct scsi_lun *)to)->writeback = true;
	if (!state_load(bytes, &at, to->cls->state, to->id, to, &error))
		return g_strdup(error->message);
	assert_false(((struct scsi_lun *)to)->writeback);
	return NULL;
}

#define MOVED(id, a, b, c, d) \
	id ": the saved machine has it at scsi-id " #a ", lun " #b ", and this one at scsi-id " #c ", lun " #d

/* What a unit has in a saved machine is for the one of the same address; in older ones each had a target of its own. */
static void test_saved(void **state)
{
	const struct state_desc *now = device_class_find("scsi-disk")->state;
	struct state_desc old = *now;
	struct state_field fields[6] = {};
	g_autofree char *moved = NULL, *moved_old = NULL;
	struct bed b;

	memcpy(fields, old.fields, 5 * sizeof(fields[0]));
	old.version = 1;
	old.fields = fields;
	open_many(&b);
	for (unsigned i = 0; i < UNITS; i++)
		assert_null(save_and_load(b.lun[i], now, b.lun[i]));
	moved = save_and_load(b.lun[3], now, b.lun[0]);
	assert_string_equal(moved, MOVED("far", 9, 5, 0, 300));
	moved_old = save_and_load(b.lun[3], &old, b.lun[2]);
	assert_string_equal(moved_old, MOVED("zero", 2, 0, 0, 0));
	assert_null(save_and_load(b.lun[0], now, b.lun[0]));
	close_bed(&b);
	open_bed(&b, NULL);
	for (unsigned i = 0; i < 2; i++)
		assert_null(save_and_load(b.lun[1 - i], &old, b.lun[i]));
	close_bed(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity), cmocka_unit_test(test_io),   cmocka_unit_test(test_unmap),
		cmocka_unit_test(test_mode),	 cmocka_unit_test(test_cd),   cmocka_unit_test(test_resize),
		cmocka_unit_test(test_tmf),	 cmocka_unit_test(test_kept), cmocka_unit_test(test_layouts),
		cmocka_unit_test(test_addresses), cmocka_unit_test(test_luns), cmocka_unit_test(test_target_tmf),
		cmocka_unit_test(test_hot),	 cmocka_unit_test(test_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
