/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a SATA device says about itself: IDENTIFY DEVICE and IDENTIFY PACKET DEVICE (ATA8-ACS, 7.16 and 7.17). */
#include <string.h>

#include "ata.h"
#include "bytes.h"

enum {
	WORDS = 256,
	CHS_MAX = 16383 * 16 * 63,
	LBA28_MAX = 0x0fffffff,
	MULTIPLE_MAX = 16,
	CYCLE = 120, /* ns of a transfer */
	CHECKSUM = 0xa5,
	SATA_SPEEDS = 0xe,   /* 1.5, 3, 6 Gb/s */
	ATA_VERSIONS = 0x1f0, /* ATA/ATAPI-4 to ATA8-ACS */
	TRANSPORT = 0x103f,  /* serial: ATA8-AST to Serial ATA 3.0 */
};

static void put(uint8_t *data, unsigned word, uint16_t value)
{
	put_le16(data + 2 * word, value);
}

/* Two characters a word, the first one in the upper byte. */
static void put_text(uint8_t *data, unsigned word, unsigned len, const char *text)
{
	size_t n = strlen(text);

	for (unsigned i = 0; i < len; i++)
		data[(2 * word + i) ^ 1] = i < n ? text[i] : ' ';
}

static void put_checksum(uint8_t *data)
{
	uint8_t sum = 0;

	data[510] = CHECKSUM;
	for (unsigned i = 0; i < 511; i++)
		sum += data[i];
	data[511] = -sum;
}

static void put_geometry(uint8_t *data, uint64_t sectors)
{
	uint64_t chs = MIN(sectors, CHS_MAX), lba = MIN(sectors, LBA28_MAX);
	uint16_t cylinders = MAX(chs / (16 * 63), 1);
	uint32_t capacity = cylinders * 16u * 63u;

	put(data, 1, cylinders);
	put(data, 3, 16);
	put(data, 6, 63);
	put(data, 54, cylinders);
	put(data, 55, 16);
	put(data, 56, 63);
	put_le32(data + 2 * 57, capacity);
	put_le32(data + 2 * 60, lba);
	put_le64(data + 2 * 100, sectors);
}

static void put_modes(uint8_t *data, unsigned udma)
{
	put(data, 49, 0x0f00); /* IORDY, LBA, DMA */
	put(data, 51, 0x0200);
	put(data, 53, 7); /* words 54 to 58, 64 to 70 and 88 are valid */
	put(data, 63, 0x0007);
	put(data, 64, 3);
	for (unsigned word = 65; word <= 68; word++)
		put(data, word, CYCLE);
	put(data, 88, 0x7f | 0x100 << udma);
	put(data, 80, ATA_VERSIONS);
	put(data, 222, TRANSPORT);
}

/* Words 82 to 84 are what there is, 85 to 87 what is on. */
static void put_command_sets(const struct sata_disk *d, uint8_t *data)
{
	uint16_t basic = 1 << 14 | 1 << 12 | 1 << 13, named = d->wwn ? 1 << 8 : 0;

	put(data, 82, 1 | 1 << 5 | 1 << 6 | 1 << 14); /* SMART, write cache, look-ahead, NOP */
	put(data, 85, (d->smart ? 1 : 0) | (d->write_cache ? 1 << 5 : 0) | (d->look_ahead ? 1 << 6 : 0) | 1 << 14);
	put(data, 83, basic | 1 << 10); /* flushes, 48 bits */
	put(data, 86, 1 << 12 | 1 << 13 | 1 << 10 | 1 << 15);
	put(data, 84, 1 << 14 | 1 << 6 | 1 << 5 | named); /* FUA, logs */
	put(data, 87, 1 << 14 | 1 << 6 | 1 << 5 | named);
	put(data, 119, 1 << 14);
	put(data, 120, 1 << 14);
}

bool ata_identify(struct sata_disk *d, struct ata_cmd *c)
{
	uint8_t data[2 * WORDS] = {0};

	put(data, 0, 0x0040);
	put_text(data, 10, ATA_SERIAL, d->serial);
	put_text(data, 23, 8, "1.0");
	put_text(data, 27, ATA_MODEL, "KVASIR DISK");
	put(data, 47, 0x8000 | MULTIPLE_MAX);
	put(data, 50, 0x4000);
	put(data, 59, d->multiple ? 0x100 | d->multiple : 0);
	put_geometry(data, disk_size(d->disk) >> ATA_SECTOR_BITS);
	put_modes(data, d->udma);
	put(data, 75, ATA_QUEUE_DEPTH - 1);
	put(data, 76, SATA_SPEEDS | 1 << 8);
	put_command_sets(d, data);
	put(data, 106, 0x6000 | 3); /* a physical sector has 8 */
	for (unsigned i = 0; d->wwn && i < 4; i++)
		put(data, 108 + i, d->wwn >> (48 - 16 * i));
	put(data, 209, 0x4000);
	if (disk_can_discard(d->disk)) {
		put(data, 105, ATA_TRIM_SECTORS);
		put(data, 169, 1);
	}
	put(data, 217, 1); /* does not rotate */
	put_checksum(data);
	return ata_reply(c, data, sizeof(data), true);
}

bool atapi_identify(struct scsi_lun *lun, struct ata_cmd *c)
{
	uint8_t data[2 * WORDS] = {0};

	put(data, 0, 0x85c0); /* CD-ROM, removable, DRQ within 50 us, 12 bytes */
	put_text(data, 10, ATA_SERIAL, lun->serial);
	put_text(data, 23, 8, "1.0");
	put_text(data, 27, ATA_MODEL, "KVASIR CD-ROM");
	put_modes(data, 5);
	put(data, 76, SATA_SPEEDS);
	put(data, 82, 1 << 4 | 1 << 9 | 1 << 14); /* PACKET, DEVICE RESET, NOP */
	put(data, 83, 1 << 14);
	put(data, 84, 1 << 14);
	put(data, 85, 1 << 4 | 1 << 9 | 1 << 14);
	put(data, 87, 1 << 14);
	put_checksum(data);
	return ata_reply(c, data, sizeof(data), true);
}
