/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mode pages (SPC-4, 6.11 to 6.14 and 7.5; SBC-3, 6.4; MMC-5, 7): MODE SENSE and MODE SELECT, of 6 and 10 bytes. One bit can
 * be changed: whether the cache is a write cache.
 */
#include <string.h>

#include "bytes.h"
#include "scsi.h"
#include "virtio.h"

enum {
	PAGE_RECOVERY = 0x01,
	PAGE_CACHING = 0x08,
	PAGE_CONTROL = 0x0a,
	PAGE_CD_CAPABILITIES = 0x2a,
	PAGE_ALL = 0x3f,
	WCE = 4, /* in byte 2 of the caching page */
	DATA_MAX = 256,
	BLOCK_DESCRIPTOR = 8,
	WRITE_PROTECTED = 0x80,
	DPO_FUA = 0x10,
};

enum { PC_CURRENT, PC_CHANGEABLE, PC_DEFAULT, PC_SAVED };

struct mode_page {
	uint8_t code, len; /* len: behind the two bytes of the header */
	bool disk, cd;
	uint8_t values[24]; /* of PC_CURRENT and PC_DEFAULT */
};

static const struct mode_page pages[] = {
	{PAGE_RECOVERY, 10, true, true, {0x80 /* AWRE */}},
	{PAGE_CACHING, 18, true, false, {}},
	{PAGE_CONTROL, 10, true, false, {[1] = 0x10 /* commands may change their order */}},
	{PAGE_CD_CAPABILITIES,
	 20,
	 false,
	 true,
	 {[0] = 0x3b /* reads CD-R, CD-RW, DVD */,
	  [4] = 0x29 /* locks, ejects, a tray */,
	  [6] = 0x16 /* speed, 32 x 176 kB/s */,
	  [12] = 0x16}},
};

static bool has_page(const struct scsi_lun *lun, const struct mode_page *p)
{
	return lun->cdrom ? p->cd : p->disk;
}

static bool is_writeback(const struct scsi_lun *lun)
{
	return __atomic_load_n(&lun->writeback, __ATOMIC_RELAXED);
}

static unsigned put_page(const struct scsi_lun *lun, const struct mode_page *p, unsigned pc, uint8_t *dst)
{
	dst[0] = p->code;
	dst[1] = p->len;
	memset(dst + 2, 0, p->len);
	if (pc != PC_CHANGEABLE)
		memcpy(dst + 2, p->values, p->len);
	if (p->code == PAGE_CACHING &&
	    (pc == PC_CHANGEABLE || (pc == PC_DEFAULT ? disk_is_writeback(lun->disk) : is_writeback(lun))))
		dst[2] = WCE;
	return 2 + p->len;
}

/* All pages that were asked for; 0: there is no such page. */
static unsigned put_pages(const struct scsi_lun *lun, uint8_t code, uint8_t subpage, unsigned pc, uint8_t *dst)
{
	unsigned n = 0;

	if (subpage && !(code == PAGE_ALL && subpage == 0xff))
		return 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++)
		if (has_page(lun, &pages[i]) && (code == PAGE_ALL || code == pages[i].code))
			n += put_page(lun, &pages[i], pc, dst + n);
	return n;
}

static unsigned put_descriptor(const struct scsi_lun *lun, uint8_t *dst)
{
	uint64_t blocks = 0;

	if (lun->cdrom)
		return 0;
	scsi_medium(lun, &blocks);
	put_be32(dst, MIN(blocks, UINT32_MAX));
	put_be32(dst + 4, 1u << lun->block_bits);
	return BLOCK_DESCRIPTOR;
}

static bool mode_sense(struct scsi_req *r, bool ten)
{
	const struct scsi_lun *lun = r->lun;
	unsigned header = ten ? 8 : 4, descriptor = 0, n;
	uint8_t data[DATA_MAX] = {0}, pc = r->cdb[2] >> 6;
	uint8_t device = lun->cdrom ? 0 : DPO_FUA | (disk_is_readonly(lun->disk) ? WRITE_PROTECTED : 0);

	if (pc == PC_SAVED)
		return scsi_check(r, &scsi_no_saving);
	if (!(r->cdb[1] & 8))
		descriptor = put_descriptor(lun, data + header);
	n = put_pages(lun, r->cdb[2] & 0x3f, r->cdb[3], pc, data + header + descriptor);
	if (!n)
		return scsi_check(r, &scsi_invalid_field);
	n += header + descriptor;
	if (ten) {
		put_be16(data, n - 2);
		data[3] = device;
		put_be16(data + 6, descriptor);
		return scsi_reply(r, data, n, get_be16(r->cdb + 7));
	}
	data[0] = n - 1;
	data[2] = device;
	data[3] = descriptor;
	return scsi_reply(r, data, n, r->cdb[4]);
}

static bool mode_sense6(struct scsi_req *r)
{
	return mode_sense(r, false);
}

static bool mode_sense10(struct scsi_req *r)
{
	return mode_sense(r, true);
}

/* One page of a MODE SELECT: only what can be changed may be another. Its length, or 0: it is not valid. */
static unsigned check_page(struct scsi_lun *lun, const uint8_t *data, unsigned len, bool *ret_writeback)
{
	uint8_t now[DATA_MAX], mask[DATA_MAX];

	for (unsigned i = 0; len >= 2 && i < G_N_ELEMENTS(pages); i++) {
		const struct mode_page *p = &pages[i];
		unsigned n = 2 + p->len;

		if ((data[0] & 0x7f) != p->code || !has_page(lun, p))
			continue;
		if (data[1] != p->len || len < n)
			return 0;
		put_page(lun, p, PC_CURRENT, now);
		put_page(lun, p, PC_CHANGEABLE, mask);
		for (unsigned k = 2; k < n; k++)
			if ((data[k] ^ now[k]) & ~mask[k])
				return 0;
		if (p->code == PAGE_CACHING)
			*ret_writeback = data[2] & WCE;
		return n;
	}
	return 0;
}

static bool mode_select(struct scsi_req *r, unsigned header, unsigned descriptor_at, unsigned list)
{
	struct scsi_lun *lun = r->lun;
	uint8_t data[DATA_MAX];
	unsigned len = virtq_iov_read(r->out, r->n_out, 0, data, MIN(list, sizeof(data))), at;
	bool writeback = is_writeback(lun);

	if ((r->cdb[1] & 0x11) != 0x10) /* the page format, nothing saved */
		return scsi_check(r, &scsi_invalid_field);
	r->transferred = len;
	if (!list)
		return scsi_good(r);
	if (len < list || len < header)
		return scsi_check(r, &scsi_parameter_length);
	at = header + (header == 4 ? data[descriptor_at] : get_be16(data + descriptor_at));
	if (at > len)
		return scsi_check(r, &scsi_parameter_length);
	while (at < len) {
		unsigned n = check_page(lun, data + at, len - at, &writeback);

		if (!n)
			return scsi_check(r, &scsi_invalid_parameter);
		at += n;
	}
	__atomic_store_n(&lun->writeback, writeback, __ATOMIC_RELAXED);
	return scsi_good(r);
}

static bool mode_select6(struct scsi_req *r)
{
	return mode_select(r, 4, 3, r->cdb[4]);
}

static bool mode_select10(struct scsi_req *r)
{
	return mode_select(r, 8, 6, get_be16(r->cdb + 7));
}

const struct scsi_command scsi_mode_commands[] = {
	{0x15, 0, mode_select6}, {0x1a, 0, mode_sense6}, {0x55, 0, mode_select10}, {0x5a, 0, mode_sense10}, {},
};
