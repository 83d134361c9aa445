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
};

struct bed {
	struct rig r;
	struct ram_image m[2];
	struct disk *disk[2];
	struct device *lun[2]; /* a disk, a CD-ROM drive */
	unsigned target;
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
	for (unsigned i = 2; i-- > 0;)
		device_free(b->lun[i]);
	rig_close(&b->r);
	for (unsigned i = 0; i < 2; i++) {
		disk_free(b->disk[i]);
		assert_int_equal(b->m[i].n_queues, 0);
	}
}

static unsigned fill(struct bed *b, const uint8_t *cdb, uint32_t out, uint32_t in, struct ring_buf *bufs)
{
	struct virtio_scsi_cmd_req h = {.lun = {1, b->target, 0x40, 0}};
	unsigned n = 0;

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
	assert_int_equal(rig_read(&b.r, b.r.device + offsetof(struct virtio_scsi_config, max_target), 2), 1);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity), cmocka_unit_test(test_io),   cmocka_unit_test(test_unmap),
		cmocka_unit_test(test_mode),	 cmocka_unit_test(test_cd),   cmocka_unit_test(test_resize),
		cmocka_unit_test(test_tmf),	 cmocka_unit_test(test_kept), cmocka_unit_test(test_layouts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
