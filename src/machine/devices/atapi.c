/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A CD-ROM drive at a SATA port (ATA8-ACS, the PACKET feature set, 4.8): SCSI commands in packets, for a unit that is the same
 * as at other controllers (scsi.h). The sense of a command that failed stays until it is asked for. Called by the controller.
 */
#include <string.h>

#include "ata.h"

enum {
	REQUEST_SENSE = 0x03,
	DATA_MAX = 1 << 30, /* more than any command moves */
	SET_MODE = 0x03,
};

/* The signature in a command's answer (ATA8-ACS, table 60). */
static void put_signature(struct ata_cmd *c)
{
	c->tf.lba = (uint32_t)ATAPI_SIGNATURE >> 8;
	c->tf.count = 1;
}

void atapi_done(struct atapi *a, struct ata_cmd *c)
{
	const struct scsi_req *r = &c->scsi;

	c->transferred = MIN(r->transferred, c->data.len);
	c->tf.count = ATAPI_OVER;
	c->tf.lba = 0;
	if (r->status == SCSI_GOOD) {
		ata_good(c);
		return;
	}
	memcpy(a->sense, r->sense, SCSI_SENSE);
	ata_fail(c, (r->sense[2] & 15) << 4 | ATA_ABRT);
}

/* What went wrong before; the unit has forgotten it. */
static bool last_sense(struct atapi *a, struct scsi_req *r)
{
	uint8_t sense[SCSI_SENSE];

	memcpy(sense, a->sense, sizeof(sense));
	memset(a->sense, 0, sizeof(a->sense));
	return scsi_reply(r, sense, sizeof(sense), r->cdb[4]);
}

static bool packet(struct atapi *a, struct scsi_lun *lun, struct ata_cmd *c)
{
	struct scsi_req *r = &c->scsi;
	bool over;

	if (!ata_map(c, DATA_MAX, true))
		return true;
	r->lun = lun;
	if (c->write) {
		r->out = c->data.iov;
		r->n_out = c->data.n;
		r->out_len = c->data.len;
	} else {
		r->in = c->data.iov;
		r->n_in = c->data.n;
		r->in_len = c->data.len;
	}
	if (r->cdb[0] == REQUEST_SENSE && a->sense[0] && !(r->cdb[1] & 1)) {
		over = last_sense(a, r);
	} else {
		memset(a->sense, 0, sizeof(a->sense));
		over = scsi_start(r);
	}
	if (over)
		atapi_done(a, c);
	return over;
}

/* Who looks for a disk finds that it is none. */
static bool not_a_disk(struct ata_cmd *c)
{
	put_signature(c);
	return ata_fail(c, ATA_ABRT);
}

static bool device_reset(struct atapi *a, struct scsi_lun *lun, struct ata_cmd *c)
{
	atapi_reset(a, lun);
	put_signature(c);
	c->status = 0;
	c->error = 1;
	return true;
}

bool atapi_start(struct atapi *a, struct scsi_lun *lun, struct ata_cmd *c)
{
	switch (c->tf.command) {
	case 0x08:
		return device_reset(a, lun, c);
	case 0x90: /* EXECUTE DEVICE DIAGNOSTIC */
		put_signature(c);
		c->status = 0;
		c->error = 1;
		return true;
	case 0xa0:
		return packet(a, lun, c);
	case 0xa1:
		return atapi_identify(lun, c);
	case 0x20:
	case 0xec:
		return not_a_disk(c);
	case 0xe0: /* STANDBY IMMEDIATE, IDLE IMMEDIATE, SLEEP: left with the next command */
	case 0xe1:
	case 0xe6:
		return ata_good(c);
	case 0xe5:
		c->tf.count = 0xff;
		return ata_good(c);
	case 0xef: /* SET FEATURES: speeds mean nothing */
		return (c->tf.features & 0xff) == SET_MODE ? ata_good(c) : ata_fail(c, ATA_ABRT);
	}
	return ata_fail(c, ATA_ABRT);
}

void atapi_reset(struct atapi *a, struct scsi_lun *lun)
{
	memset(a->sense, 0, sizeof(a->sense));
	scsi_lun_reset(lun);
}
