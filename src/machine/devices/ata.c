/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands of a SATA disk (ATA8-ACS, chapter 7; Serial ATA 3.0, 13.6 for the queued ones): reads, writes, flushes, TRIM and
 * settings. Data goes between guest memory and the drive directly. Called by the controller (ahci-cmd.c).
 */
#include "ata.h"

#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "virtio.h"

enum { EXT = 1, WRITES = 2, FUA = 4, PIO = 8, QUEUED = 16 };

enum {
	DEVICE_LBA = 0x40,
	DEVICE_FUA = 0x80, /* of queued writes */
	TRIM = 1,
	TRIM_RANGE = 8,
	MULTIPLE_MAX = 16,
	ACTIVE = 0xff, /* CHECK POWER MODE */
};

struct command {
	uint8_t opcode, flags;
	bool (*run)(struct sata_disk *d, struct ata_cmd *c, unsigned flags);
};

struct range {
	uint64_t lba, sectors;
};

/* ---- answers ---- */

bool ata_good(struct ata_cmd *c)
{
	c->status = ATA_READY;
	c->error = 0;
	return true;
}

bool ata_fail(struct ata_cmd *c, uint8_t error)
{
	c->status = ATA_FAILED;
	c->error = error;
	c->pio_in = false;
	return true;
}

bool ata_reply(struct ata_cmd *c, const void *data, uint32_t len, bool pio)
{
	if (c->write)
		return ata_fail(c, ATA_ABRT);
	if (!ata_map(c, len, false))
		return true;
	c->transferred = virtq_iov_write(c->data.iov, c->data.n, 0, data, len);
	c->pio_in = pio;
	return ata_good(c);
}

void ata_end(struct ata_cmd *c)
{
	dma_clear(&c->data);
	g_free(c->ranges);
	scsi_end(&c->scsi);
}

/* ---- requests to the drive ---- */

static uint8_t error_of(const struct ata_cmd *c, int res)
{
	switch (-res) {
	case EINVAL: /* it has become smaller */
		return ATA_IDNF;
	case EIO:
		return c->scsi.disk.op == IMAGE_READ ? ATA_UNC : ATA_ABRT;
	default:
		return ATA_ABRT;
	}
}

/* The next range of a TRIM; false: that was the last one. */
static bool trim_next(struct sata_disk *d, struct ata_cmd *c);

static void on_complete(struct disk_req *req, int res)
{
	struct ata_cmd *c = (struct ata_cmd *)req;
	struct sata_disk *d = c->to;

	if (res < 0) {
		c->transferred = 0;
		ata_fail(c, error_of(c, res));
	} else if (trim_next(d, c)) {
		disk_kick(d->io);
		return;
	} else {
		ata_good(c);
	}
	ahci_done(c);
}

static bool submit(struct sata_disk *d, struct ata_cmd *c, enum image_op op, uint64_t at, uint64_t len)
{
	struct disk_req *r = &c->scsi.disk;

	r->io.op = op;
	r->io.offset = at;
	r->io.len = len;
	c->to = d;
	r->complete = on_complete;
	disk_submit(d->io, r);
	return false;
}

static struct range range_of(const struct ata_cmd *c, unsigned flags)
{
	const struct ata_taskfile *tf = &c->tf;
	unsigned count = flags & QUEUED ? tf->features : tf->count;

	if (flags & EXT)
		return (struct range){tf->lba, count ? count : 1 << 16};
	count &= 0xff;
	return (struct range){(tf->lba & 0xffffff) | (tf->device & 0xf) << 24, count ? count : 1 << 8};
}

static bool in_disk(const struct sata_disk *d, const struct range *r)
{
	return range_inside(r->lba, r->sectors, disk_size(d->disk) >> ATA_SECTOR_BITS);
}

/* Is this an address that there is? Cylinders, heads and sectors are of a time before the commands' own. */
static bool check_range(struct sata_disk *d, struct ata_cmd *c, unsigned flags, const struct range *r)
{
	if (!(flags & EXT) && !(c->tf.device & DEVICE_LBA))
		ata_fail(c, ATA_ABRT);
	else if (!in_disk(d, r))
		ata_fail(c, ATA_IDNF);
	else
		return true;
	return false;
}

static bool transfer(struct sata_disk *d, struct ata_cmd *c, unsigned flags)
{
	const struct range r = range_of(c, flags);
	uint64_t len = r.sectors << ATA_SECTOR_BITS;
	bool write = flags & WRITES, fua = (flags & FUA) || (flags & QUEUED && (c->tf.device & DEVICE_FUA));

	if (write != c->write || (write && disk_is_readonly(d->disk)) || (flags & QUEUED && c->tf.count >> 3 != c->slot))
		return ata_fail(c, ATA_ABRT);
	if (!check_range(d, c, flags, &r) || !ata_map(c, len, false))
		return true;
	c->scsi.disk.io.iov = c->data.iov;
	c->scsi.disk.io.n_iov = c->data.n;
	c->scsi.disk.durable = write && (fua || !d->write_cache);
	c->transferred = len;
	c->pio_in = !write && (flags & PIO);
	d->requests[write]++;
	return submit(d, c, write ? IMAGE_WRITE : IMAGE_READ, r.lba << ATA_SECTOR_BITS, len);
}

/* There is nothing between the medium and a read that a verification could find. */
static bool verify(struct sata_disk *d, struct ata_cmd *c, unsigned flags)
{
	const struct range r = range_of(c, flags);

	return !check_range(d, c, flags, &r) || ata_good(c);
}

static bool flush(struct sata_disk *d, struct ata_cmd *c, unsigned flags)
{
	return submit(d, c, IMAGE_FLUSH, 0, 0);
}

/* ---- DATA SET MANAGEMENT ---- */

static struct range trim_range(const struct ata_cmd *c, unsigned i)
{
	uint64_t v = get_le64(c->ranges + (size_t)i * TRIM_RANGE);

	return (struct range){v & ((1ull << 48) - 1), v >> 48};
}

static bool trim_next(struct sata_disk *d, struct ata_cmd *c)
{
	while (c->next_range < c->n_ranges) {
		struct range r = trim_range(c, c->next_range++);

		if (!r.sectors)
			continue;
		submit(d, c, IMAGE_DISCARD, r.lba << ATA_SECTOR_BITS, r.sectors << ATA_SECTOR_BITS);
		return true;
	}
	return false;
}

static bool data_set_management(struct sata_disk *d, struct ata_cmd *c, unsigned flags)
{
	unsigned len = c->tf.count << ATA_SECTOR_BITS;

	if (!disk_can_discard(d->disk) || disk_is_readonly(d->disk) || c->tf.features != TRIM || !c->write || !c->tf.count ||
	    c->tf.count > ATA_TRIM_SECTORS)
		return ata_fail(c, ATA_ABRT);
	if (!ata_map(c, len, false))
		return true;
	c->ranges = g_malloc(len);
	c->n_ranges = len / TRIM_RANGE;
	c->transferred = virtq_iov_read(c->data.iov, c->data.n, 0, c->ranges, len);
	for (unsigned i = 0; i < c->n_ranges; i++) {
		struct range r = trim_range(c, i);

		if (r.sectors && !in_disk(d, &r))
			return ata_fail(c, ATA_IDNF);
	}
	return trim_next(d, c) ? false : ata_good(c);
}

/* ---- settings ---- */

static bool set_multiple(struct sata_disk *d, struct ata_cmd *c, unsigned flags)
{
	unsigned n = c->tf.count & 0xff;

	if (n > MULTIPLE_MAX || (n & (n - 1)))
		return ata_fail(c, ATA_ABRT);
	d->multiple = n;
	return ata_good(c);
}

/* The lower bits of a mode are its number, the upper ones its kind (ACS, table 48); speed means nothing here. */
static bool set_mode(struct sata_disk *d, struct ata_cmd *c, uint8_t mode)
{
	enum { PIO_DEFAULT = 0, PIO_FLOW = 1, MULTIWORD = 4, ULTRA = 8 };
	unsigned number = mode & 7;

	switch (mode >> 3) {
	case PIO_DEFAULT:
		return number <= 1 ? ata_good(c) : ata_fail(c, ATA_ABRT);
	case PIO_FLOW:
		return number <= 4 ? ata_good(c) : ata_fail(c, ATA_ABRT);
	case MULTIWORD:
		return number <= 2 ? ata_good(c) : ata_fail(c, ATA_ABRT);
	case ULTRA:
		if (number > 6)
			return ata_fail(c, ATA_ABRT);
		d->udma = number;
		return ata_good(c);
	}
	return ata_fail(c, ATA_ABRT);
}

static bool set_features(struct sata_disk *d, struct ata_cmd *c, unsigned flags)
{
	switch (c->tf.features & 0xff) {
	case 0x02:
		d->write_cache = true;
		return ata_good(c);
	case 0x82: /* what is in the cache goes to the medium */
		d->write_cache = false;
		return flush(d, c, flags);
	case 0xaa:
		d->look_ahead = true;
		return ata_good(c);
	case 0x55:
		d->look_ahead = false;
		return ata_good(c);
	case 0x03:
		return set_mode(d, c, c->tf.count & 0xff);
	case 0x66: /* settings survive a soft reset, or not: they do not */
	case 0xcc:
		return ata_good(c);
	}
	return ata_fail(c, ATA_ABRT);
}

/* Power conditions are entered at once, and left with the next command. */
static bool nothing_to_do(struct sata_disk *d, struct ata_cmd *c, unsigned flags)
{
	return ata_good(c);
}

static bool power_mode(struct sata_disk *d, struct ata_cmd *c, unsigned flags)
{
	c->tf.count = ACTIVE;
	return ata_good(c);
}

static bool diagnostic(struct sata_disk *d, struct ata_cmd *c, unsigned flags)
{
	c->tf = (struct ata_taskfile){.lba = 1, .count = 1};
	ata_good(c);
	c->error = 1; /* the device has passed */
	return true;
}

static bool identify(struct sata_disk *d, struct ata_cmd *c, unsigned flags)
{
	return ata_identify(d, c);
}

static bool smart(struct sata_disk *d, struct ata_cmd *c, unsigned flags)
{
	return ata_smart(d, c);
}

static bool read_log(struct sata_disk *d, struct ata_cmd *c, unsigned flags)
{
	return ata_read_log(d, c);
}

/* ---- the table ---- */

static const struct command commands[] = {
	{0x06, 0, data_set_management},
	{0x10, 0, nothing_to_do}, /* RECALIBRATE */
	{0x20, PIO, transfer},
	{0x21, PIO, transfer},
	{0x24, PIO | EXT, transfer},
	{0x25, EXT, transfer},
	{0x29, PIO | EXT, transfer},
	{0x2f, 0, read_log},
	{0x30, PIO | WRITES, transfer},
	{0x31, PIO | WRITES, transfer},
	{0x34, PIO | EXT | WRITES, transfer},
	{0x35, EXT | WRITES, transfer},
	{0x39, PIO | EXT | WRITES, transfer},
	{0x3d, EXT | WRITES | FUA, transfer},
	{0x40, 0, verify},
	{0x41, 0, verify},
	{0x42, EXT, verify},
	{0x47, 0, read_log},
	{0x60, EXT | QUEUED, transfer},
	{0x61, EXT | QUEUED | WRITES, transfer},
	{0x70, 0, nothing_to_do}, /* SEEK */
	{0x90, 0, diagnostic},
	{0x91, 0, nothing_to_do}, /* INITIALIZE DEVICE PARAMETERS */
	{0xb0, 0, smart},
	{0xc4, PIO, transfer},
	{0xc5, PIO | WRITES, transfer},
	{0xc6, 0, set_multiple},
	{0xc8, 0, transfer},
	{0xc9, 0, transfer},
	{0xca, WRITES, transfer},
	{0xcb, WRITES, transfer},
	{0xce, PIO | EXT | WRITES | FUA, transfer},
	{0xe0, 0, nothing_to_do}, /* STANDBY IMMEDIATE, IDLE IMMEDIATE, STANDBY, IDLE */
	{0xe1, 0, nothing_to_do},
	{0xe2, 0, nothing_to_do},
	{0xe3, 0, nothing_to_do},
	{0xe5, 0, power_mode},
	{0xe6, 0, nothing_to_do}, /* SLEEP */
	{0xe7, 0, flush},
	{0xea, 0, flush},
	{0xec, 0, identify},
	{0xef, 0, set_features},
};

bool ata_disk_start(struct sata_disk *d, struct ata_cmd *c)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++)
		if (commands[i].opcode == c->tf.command)
			return commands[i].run(d, c, commands[i].flags);
	return ata_fail(c, ATA_ABRT);
}
