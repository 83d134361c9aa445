/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a SCSI unit says about itself: INQUIRY and its pages of vital product data (SPC-4, 6.4 and 7.8; SBC-3, 6.5). */
#include <string.h>

#include "bytes.h"
#include "scsi.h"
#include "scsi-limits.h"

enum {
	TYPE_DISK = 0x00,
	TYPE_CD = 0x05,
	TYPE_NONE = 0x7f, /* no unit here, and there cannot be one */
	TYPE_WELL_KNOWN = 0x1e,
	REMOVABLE = 0x80,
	SPC_3 = 5,
	STANDARD = 36,
	PAGE_MAX = 256,
	PAGE_HEADER = 4,
	LIMITS_LEN = 0x3c,
};

struct page {
	uint8_t code;
	bool disk_only;
	/* Data behind the header, which is zeroed; its length. */
	unsigned (*fill)(const struct scsi_lun *lun, uint8_t *data);
};

static unsigned supported_pages(const struct scsi_lun *lun, uint8_t *data);

static unsigned serial_number(const struct scsi_lun *lun, uint8_t *data)
{
	memcpy(data, lun->serial, strlen(lun->serial));
	return strlen(lun->serial);
}

/* A designator of the vendor, and the world wide name. */
static unsigned identification(const struct scsi_lun *lun, uint8_t *data)
{
	unsigned len = strlen(lun->serial), n;

	data[0] = 2; /* ASCII */
	data[1] = 0; /* vendor specific, of the unit */
	data[3] = len;
	memcpy(data + 4, lun->serial, len);
	n = 4 + len;
	if (lun->wwn) {
		data[n] = 1;	 /* binary */
		data[n + 1] = 3; /* NAA */
		data[n + 3] = 8;
		put_be64(data + n + 4, lun->wwn);
		n += 12;
	}
	return n;
}

static unsigned block_limits(const struct scsi_lun *lun, uint8_t *data)
{
	uint8_t *page = data - PAGE_HEADER; /* offsets as the standard has them */

	page[4] = 1; /* WSNZ: WRITE SAME names its blocks */
	put_be16(page + 6, SCSI_GRANULARITY);
	if (disk_can_discard(lun->disk)) {
		put_be32(page + 20, SCSI_UNMAP_BLOCKS);
		put_be32(page + 24, SCSI_UNMAP_RANGES);
		put_be32(page + 28, SCSI_GRANULARITY);
		put_be32(page + 32, 1u << 31); /* the alignment, 0, is valid */
	}
	put_be64(page + 36, SCSI_SAME_BLOCKS);
	return LIMITS_LEN;
}

static unsigned characteristics(const struct scsi_lun *lun, uint8_t *data)
{
	put_be16(data, 1); /* does not rotate */
	return LIMITS_LEN;
}

static unsigned provisioning(const struct scsi_lun *lun, uint8_t *data)
{
	if (disk_can_discard(lun->disk)) {
		data[1] = 0xe0; /* UNMAP, WRITE SAME (16) and (10) unmap */
		data[2] = 2;	/* thin */
	}
	return 4;
}

static const struct page pages[] = {
	{0x00, false, supported_pages}, {0x80, false, serial_number},  {0x83, false, identification},
	{0xb0, true, block_limits},	{0xb1, true, characteristics}, {0xb2, true, provisioning},
};

static unsigned supported_pages(const struct scsi_lun *lun, uint8_t *data)
{
	unsigned n = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++)
		if (!pages[i].disk_only || !lun->cdrom)
			data[n++] = pages[i].code;
	return n;
}

static uint8_t type_of(const struct scsi_req *r)
{
	return r->well_known ? TYPE_WELL_KNOWN : r->other_lun ? TYPE_NONE : r->lun->cdrom ? TYPE_CD : TYPE_DISK;
}

static bool vital_data(struct scsi_req *r, uint16_t allocation)
{
	uint8_t data[PAGE_MAX] = {type_of(r), r->cdb[2]};

	for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++) {
		unsigned len;

		if (pages[i].code != r->cdb[2] || (pages[i].disk_only && r->lun->cdrom))
			continue;
		len = pages[i].fill(r->lun, data + PAGE_HEADER);
		put_be16(data + 2, len);
		return scsi_reply(r, data, PAGE_HEADER + len, allocation);
	}
	return scsi_check(r, &scsi_invalid_field);
}

bool scsi_inquiry(struct scsi_req *r)
{
	uint16_t allocation = get_be16(r->cdb + 3);
	uint8_t data[STANDARD] = {
		[0] = type_of(r),   [1] = r->lun->cdrom && !r->other_lun ? REMOVABLE : 0,
		[2] = SPC_3,	    [3] = 0x12 /* hierarchical LUNs, this format */,
		[4] = STANDARD - 5, [7] = 2 /* command queueing */
	};

	if (r->cdb[1] & 1)
		return r->other_lun ? scsi_check(r, &scsi_invalid_field) : vital_data(r, allocation);
	if (r->cdb[2])
		return scsi_check(r, &scsi_invalid_field);
	memcpy(data + 8, "KVASIR  ", 8);
	memcpy(data + 16, r->lun->cdrom ? "CD-ROM          " : "DISK            ", 16);
	memcpy(data + 32, "1.0 ", 4);
	return scsi_reply(r, data, sizeof(data), allocation);
}
