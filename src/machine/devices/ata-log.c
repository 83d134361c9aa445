/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a SATA disk has noted: SMART (ATA8-ACS, 7.52) and the general purpose logs (annex A). SMART's attributes are those that a
 * drive of ours can know: what it has read and written, and what went wrong.
 */
#include <string.h>

#include "ata.h"
#include "bytes.h"

enum {
	READ_DATA = 0xd0,
	READ_THRESHOLDS = 0xd1,
	AUTOSAVE = 0xd2,
	ENABLE = 0xd8,
	DISABLE = 0xd9,
	RETURN_STATUS = 0xda,
	KEY = 0xc24f00, /* in the LBA, without its lowest byte */
	STRUCTURE = 16, /* revision */
	ATTRIBUTE = 12,
	PREFAIL_ONLINE = 3,
	ONLINE = 2,
	BEST = 100,
	LOG_DIRECTORY = 0x00,
	LOG_NCQ_ERROR = 0x10,
	NOT_QUEUED = 0x80,
};

static uint64_t read_errors(const struct disk_stats *s)
{
	return s->by[IMAGE_READ].failed;
}

static uint64_t write_errors(const struct disk_stats *s)
{
	return s->by[IMAGE_WRITE].failed + s->by[IMAGE_WRITE_ZEROES].failed + s->by[IMAGE_FLUSH].failed;
}

static uint64_t sectors_written(const struct disk_stats *s)
{
	return s->by[IMAGE_WRITE].bytes >> ATA_SECTOR_BITS;
}

static uint64_t sectors_read(const struct disk_stats *s)
{
	return s->by[IMAGE_READ].bytes >> ATA_SECTOR_BITS;
}

static const struct {
	uint8_t id, flags, threshold;
	uint64_t (*value)(const struct disk_stats *s);
} attributes[] = {
	{1, PREFAIL_ONLINE, 6, read_errors},
	{187, ONLINE, 0, write_errors}, /* reported uncorrectable errors */
	{241, ONLINE, 0, sectors_written},
	{242, ONLINE, 0, sectors_read},
};

static bool reply(struct ata_cmd *c, uint8_t *data, bool pio)
{
	uint8_t sum = 0;

	for (unsigned i = 0; i < ATA_SECTOR - 1; i++)
		sum += data[i];
	data[ATA_SECTOR - 1] = -sum;
	return ata_reply(c, data, ATA_SECTOR, pio);
}

static bool read_data(struct sata_disk *d, struct ata_cmd *c)
{
	uint8_t data[ATA_SECTOR] = {STRUCTURE};
	struct disk_stats stats;

	disk_stats(d->disk, &stats);
	for (unsigned i = 0; i < G_N_ELEMENTS(attributes); i++) {
		uint8_t *a = data + 2 + i * ATTRIBUTE;
		uint8_t raw[8];

		put_le64(raw, attributes[i].value(&stats));
		a[0] = attributes[i].id;
		put_le16(a + 1, attributes[i].flags);
		a[3] = a[4] = BEST;
		memcpy(a + 5, raw, 6);
	}
	put_le16(data + 368, 3); /* saved when power goes, and by itself */
	return reply(c, data, true);
}

static bool read_thresholds(struct ata_cmd *c)
{
	uint8_t data[ATA_SECTOR] = {STRUCTURE};

	for (unsigned i = 0; i < G_N_ELEMENTS(attributes); i++) {
		data[2 + i * ATTRIBUTE] = attributes[i].id;
		data[3 + i * ATTRIBUTE] = attributes[i].threshold;
	}
	return reply(c, data, true);
}

bool ata_smart(struct sata_disk *d, struct ata_cmd *c)
{
	unsigned what = c->tf.features & 0xff;

	if ((c->tf.lba & 0xffff00) != KEY || (!d->smart && what != ENABLE))
		return ata_fail(c, ATA_ABRT);
	switch (what) {
	case READ_DATA:
		return read_data(d, c);
	case READ_THRESHOLDS:
		return read_thresholds(c);
	case ENABLE:
	case DISABLE:
		d->smart = what == ENABLE;
		return ata_good(c);
	case AUTOSAVE:
	case RETURN_STATUS: /* no threshold is exceeded: the key stays as it is */
		return ata_good(c);
	}
	return ata_fail(c, ATA_ABRT);
}

static void fill_ncq_error(struct sata_disk *d, uint8_t *data)
{
	const struct ata_ncq_error *e = &d->ncq_error;

	data[0] = NOT_QUEUED;
	if (!e->valid)
		return;
	data[0] = e->slot;
	data[2] = e->status;
	data[3] = e->error;
	data[4] = e->lba;
	data[5] = e->lba >> 8;
	data[6] = e->lba >> 16;
	data[7] = e->device;
	data[8] = e->lba >> 24;
	data[9] = e->lba >> 32;
	data[10] = e->lba >> 40;
	put_le16(data + 12, e->count);
	d->ncq_error.valid = false;
}

bool ata_read_log(struct sata_disk *d, struct ata_cmd *c)
{
	uint8_t data[ATA_SECTOR] = {0}, log = c->tf.lba & 0xff;
	unsigned page = (c->tf.lba >> 8 & 0xff) | (c->tf.lba >> 24 & 0xff00);
	bool pio = c->tf.command == 0x2f;

	if (page || c->tf.count != 1)
		return ata_fail(c, ATA_ABRT);
	if (log == LOG_DIRECTORY) {
		put_le16(data, 1);
		put_le16(data + 2 * LOG_NCQ_ERROR, 1);
		return ata_reply(c, data, sizeof(data), pio);
	}
	if (log != LOG_NCQ_ERROR)
		return ata_fail(c, ATA_ABRT);
	fill_ncq_error(d, data);
	return reply(c, data, pio);
}
