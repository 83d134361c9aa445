/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a CD-ROM drive has beside reads (MMC-5): one data track, profiles, the tray and what becomes of it. */
#include <string.h>

#include "bytes.h"
#include "scsi.h"

enum {
	LEADOUT = 0xaa,
	DATA_TRACK = 0x14, /* ADR 1, data, no copies */
	FRAMES = 75,	   /* of a second */
	PREGAP = 150,
	CD_BLOCKS = 80 * 60 * FRAMES, /* more is a DVD */
	PROFILE_CD = 0x08,
	PROFILE_DVD = 0x10,
	MEDIA_CLASS = 4,
	NO_EVENT = 0x80,
	CORE = 0x0001, /* the feature that names the interface */
};

static void put_address(uint8_t *dst, uint64_t lba, bool msf)
{
	if (!msf) {
		put_be32(dst, MIN(lba, UINT32_MAX));
		return;
	}
	lba += PREGAP;
	dst[0] = 0;
	dst[1] = MIN(lba / FRAMES / 60, 255);
	dst[2] = lba / FRAMES % 60;
	dst[3] = lba % FRAMES;
}

static unsigned put_track(uint8_t *dst, uint8_t number, uint64_t lba, bool msf)
{
	memset(dst, 0, 8);
	dst[1] = DATA_TRACK;
	dst[2] = number;
	put_address(dst + 4, lba, msf);
	return 8;
}

/* Format 2: points of the lead-in. */
static unsigned put_point(uint8_t *dst, uint8_t point, uint8_t a, uint8_t b, uint8_t c)
{
	const uint8_t entry[11] = {1, DATA_TRACK, 0, point, 0, 0, 0, 0, a, b, c};

	memcpy(dst, entry, sizeof(entry));
	return sizeof(entry);
}

static bool read_toc(struct scsi_req *r)
{
	uint8_t data[64] = {[2] = 1, [3] = 1}, format = r->cdb[2] & 15, start = r->cdb[6];
	uint8_t end[4];
	bool msf = r->cdb[1] & 2;
	uint64_t blocks = 0;
	unsigned n = 4;

	scsi_medium(r->lun, &blocks);
	if (!format) /* older drivers have it here */
		format = r->cdb[9] >> 6;
	if (format == 0) {
		if (start > 1 && start != LEADOUT)
			return scsi_check(r, &scsi_invalid_field);
		if (start <= 1)
			n += put_track(data + n, 1, 0, msf);
		n += put_track(data + n, LEADOUT, blocks, msf);
	} else if (format == 1) {
		n += put_track(data + n, 1, 0, msf);
	} else if (format == 2) {
		put_address(end, blocks, true);
		n += put_point(data + n, 0xa0, 1, 0, 0);
		n += put_point(data + n, 0xa1, 1, 0, 0);
		n += put_point(data + n, 0xa2, end[1], end[2], end[3]);
		n += put_point(data + n, 1, 0, 2, 0);
	} else {
		return scsi_check(r, &scsi_invalid_field);
	}
	put_be16(data, n - 2);
	return scsi_reply(r, data, n, get_be16(r->cdb + 7));
}

static bool read_disc_information(struct scsi_req *r)
{
	uint8_t data[34] = {[1] = 32, [2] = 0x0e /* complete */, [3] = 1, [4] = 1, [5] = 1, [6] = 1, [7] = 0x20};

	if (r->cdb[1] & 7)
		return scsi_check(r, &scsi_invalid_field);
	return scsi_reply(r, data, sizeof(data), get_be16(r->cdb + 7));
}

struct feature {
	uint16_t code;
	uint8_t version, len;
	uint8_t data[8];
};

/* MMC-5, 5.3; bits 0 and 1 of `version`'s byte (current, persistent) are added below. */
static const struct feature features[] = {
	{0x0000, 0, 8, {0, PROFILE_DVD, 0, 0, 0, PROFILE_CD, 0, 0}},
	{CORE, 2, 8, {[4] = 1}},
	{0x0002, 1, 4, {2}},		       /* morphing: GET EVENT STATUS is polled */
	{0x0003, 0, 4, {0x29}},		       /* removable: a tray that ejects and locks */
	{0x0010, 0, 8, {0, 0, 8, 0, 0, 1, 1}}, /* random readable, 2048 bytes */
	{0x001e, 2, 4, {}},		       /* reads CDs */
	{0x001f, 0, 4, {}},		       /* and DVDs */
	{0x0100, 0, 0, {}},		       /* power management: none to speak of */
};

static bool get_configuration(struct scsi_req *r)
{
	uint8_t data[128] = {0}, type = r->cdb[1] & 3;
	uint16_t first = get_be16(r->cdb + 2), profile = 0;
	uint64_t blocks;
	unsigned n = 8;

	if (type == 3)
		return scsi_check(r, &scsi_invalid_field);
	if (scsi_medium(r->lun, &blocks))
		profile = blocks > CD_BLOCKS ? PROFILE_DVD : PROFILE_CD;
	for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
		const struct feature *f = &features[i];
		bool always = f->code < 0x10, current = always || profile;

		if (type == 2 ? f->code != first : f->code < first || (type == 1 && !current))
			continue;
		put_be16(data + n, f->code);
		data[n + 2] = f->version << 2 | always << 1 | current;
		data[n + 3] = f->len;
		memcpy(data + n + 4, f->data, f->len);
		if (!f->code) { /* which profile is current */
			data[n + 6] = profile == PROFILE_DVD;
			data[n + 10] = profile == PROFILE_CD;
		}
		if (f->code == CORE)
			data[n + 7] = r->lun->host->interface;
		n += 4 + f->len;
	}
	put_be32(data, n - 4);
	put_be16(data + 6, profile);
	return scsi_reply(r, data, n, get_be16(r->cdb + 7));
}

static bool get_event_status(struct scsi_req *r)
{
	struct scsi_lun *lun = r->lun;
	uint8_t data[8] = {[2] = NO_EVENT, [3] = 1 << MEDIA_CLASS};
	unsigned n = 4;

	if (!(r->cdb[1] & 1)) /* we do not hold back an answer */
		return scsi_check(r, &scsi_invalid_field);
	if (r->cdb[4] & 1 << MEDIA_CLASS) {
		data[2] = MEDIA_CLASS;
		data[4] = lun->media_event;
		data[5] = (lun->tray_open ? 1 : 0) | (disk_is_empty(lun->disk) ? 0 : 2);
		lun->media_event = 0;
		n = sizeof(data);
	}
	put_be16(data, n - 2);
	return scsi_reply(r, data, n, get_be16(r->cdb + 7));
}

static bool mechanism_status(struct scsi_req *r)
{
	uint8_t data[8] = {[1] = r->lun->tray_open ? 0x10 : 0, [5] = 1};

	return scsi_reply(r, data, sizeof(data), get_be16(r->cdb + 8));
}

/* Speeds and positions of a drive that has neither. */
static bool nothing_to_do(struct scsi_req *r)
{
	return scsi_good(r);
}

const struct scsi_command scsi_cd_commands[] = {
	{0x2b, SCSI_MEDIUM, nothing_to_do}, /* SEEK (10) */
	{0x43, SCSI_MEDIUM, read_toc},
	{0x46, SCSI_ALWAYS, get_configuration},
	{0x4a, SCSI_ALWAYS, get_event_status},
	{0x51, SCSI_MEDIUM, read_disc_information},
	{0xbb, 0, nothing_to_do}, /* SET CD SPEED */
	{0xbd, 0, mechanism_status},
	{},
};
