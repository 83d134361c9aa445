/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The AHCI controller, a SATA disk and a SATA CD-ROM drive as their driver sees them, over images in memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <linux/pci_regs.h>

#include "bytes.h"
#include "drive-rig.h"
#include "pci.h"
#include "storage-rig.h"

enum {
	LIST = 0x1000, /* guest addresses, of port 0; port 1's are 0x1000 further */
	RECEIVED = 0x1800,
	PORT_MEMORY = 0x1000,
	TABLES = 0x8000, /* of slots, 0x400 bytes each */
	DATA = 0x40000,
	GHC = 4,
	IS = 8,
	P_IS = 0x10,
	P_IE = 0x14,
	P_CMD = 0x18,
	P_TFD = 0x20,
	P_SIG = 0x24,
	P_SSTS = 0x28,
	P_SCTL = 0x2c,
	P_SERR = 0x30,
	P_SACT = 0x34,
	P_CI = 0x38,
	ST = 1,
	FRE = 0x10,
	CR = 0x8000,
	TFES = 1 << 30,
	HBFS = 1 << 29,
	IFS = 1 << 27,
	OFS = 1 << 24,
	READY = 0x50,
	FAILED = 0x51,
	WRITE = 1 << 6,
	PACKET = 1 << 5,
	CD_BLOCKS = RAM_BYTES / 2048,
};

struct bed {
	struct storage_rig r;
	struct ram_image m[2];
	struct disk *disk[2];
	struct device *drive[2]; /* a disk, a CD-ROM drive */
	unsigned port;
};

static unsigned reg(const struct bed *b, unsigned offset)
{
	return 0x100 + 0x80 * b->port + offset;
}

static uint32_t get(struct bed *b, unsigned offset)
{
	return storage_read(&b->r, reg(b, offset));
}

static void set(struct bed *b, unsigned offset, uint32_t value)
{
	storage_write(&b->r, reg(b, offset), value);
}

static uint8_t *received(struct bed *b, unsigned at)
{
	return b->r.ram + RECEIVED + b->port * PORT_MEMORY + at;
}

static void start_port(struct bed *b)
{
	set(b, 0, LIST + b->port * PORT_MEMORY);
	set(b, 8, RECEIVED + b->port * PORT_MEMORY);
	set(b, P_SERR, ~0u);
	set(b, P_IS, ~0u);
	set(b, P_CMD, FRE);
	set(b, P_IE, ~0u);
	set(b, P_CMD, FRE | ST);
	assert_true(get(b, P_CMD) & CR);
}

/* After an error. */
static void restart_port(struct bed *b)
{
	set(b, P_CMD, FRE);
	storage_run();
	assert_false(get(b, P_CMD) & CR);
	assert_int_equal(get(b, P_CI) | get(b, P_SACT), 0);
	set(b, P_IS, ~0u);
	set(b, P_CMD, FRE | ST);
}

static void open_drive(struct bed *b, unsigned i, const char *cls, const char *keys)
{
	b->drive[i] = drive_open(&b->r.core, b->r.dev, cls, i, keys, &b->m[i], &b->disk[i]);
}

static void open_bed(struct bed *b, const char *keys)
{
	memset(b, 0, sizeof(*b));
	storage_open(&b->r);
	b->r.dev = device_new(&b->r.core, "ahci", "sata", NULL, NULL, NULL);
	assert_non_null(b->r.dev);
	open_drive(b, 0, "sata-disk", keys);
	open_drive(b, 1, "scsi-cd", NULL);
	storage_map(&b->r, 5);
	storage_write(&b->r, GHC, 2);
	for (b->port = 2; b->port-- > 0;)
		start_port(b);
	b->port = 0;
}

static void close_bed(struct bed *b)
{
	for (unsigned i = 2; i-- > 0;)
		device_free(b->drive[i]);
	device_free(b->r.dev);
	storage_close(&b->r);
	for (unsigned i = 0; i < 2; i++) {
		disk_free(b->disk[i]);
		assert_int_equal(b->m[i].n_queues, 0);
	}
}

static uint8_t *table(struct bed *b, unsigned slot)
{
	return b->r.ram + TABLES + slot * 0x400;
}

static uint8_t *header(struct bed *b, unsigned slot)
{
	return b->r.ram + LIST + b->port * PORT_MEMORY + slot * 32;
}

/* A command in a slot, its data of len bytes in one piece at DATA, or in none. */
static void fill(struct bed *b, unsigned slot, uint8_t command, uint64_t lba, unsigned count, uint32_t len, unsigned flags)
{
	uint8_t *h = header(b, slot), *t = table(b, slot);

	memset(h, 0, 32);
	memset(t, 0, 0x400);
	put_le16(h, 5 | flags);
	put_le16(h + 2, len ? 1 : 0);
	put_le32(h + 8, TABLES + slot * 0x400);
	t[0] = 0x27;
	t[1] = 0x80;
	t[2] = command;
	t[7] = 0x40;
	for (unsigned i = 0; i < 3; i++) {
		t[4 + i] = lba >> (8 * i);
		t[8 + i] = lba >> (24 + 8 * i);
	}
	put_le16(t + 12, count);
	if (command == 0x60 || command == 0x61) {
		t[3] = count;
		t[11] = count >> 8;
		put_le16(t + 12, slot << 3);
	}
	put_le32(t + 0x80, DATA);
	put_le32(t + 0x8c, len ? len - 1 : 0);
}

/* Its status when it is over. */
static uint8_t issue(struct bed *b, unsigned slot)
{
	set(b, P_CI, 1u << slot);
	storage_run();
	return get(b, P_TFD) & 0xff;
}

static uint8_t command(struct bed *b, uint8_t opcode, uint64_t lba, unsigned count, uint32_t len, unsigned flags)
{
	uint8_t status;

	fill(b, 0, opcode, lba, count, len, flags);
	status = issue(b, 0);
	if (!(status & 1)) {
		assert_int_equal(get(b, P_CI), 0);
		assert_int_equal(get_le32(header(b, 0) + 4), len);
	}
	return status;
}

static void test_registers(void **state)
{
	struct bed b;

	open_bed(&b, NULL);
	assert_int_equal(storage_read(&b.r, 0) & 0x1f, 5);
	assert_int_equal(storage_read(&b.r, 0xc), 0x3f);
	assert_int_equal(get(&b, P_SIG), 0x00000101);
	assert_int_equal(get(&b, P_SSTS), 0x133);
	assert_int_equal(get(&b, P_TFD), 0x150);
	assert_int_equal(received(&b, 0x40)[0], 0x34);
	assert_int_equal(received(&b, 0x40)[12], 1);
	b.port = 1;
	assert_int_equal(get(&b, P_SIG), 0xeb140101);
	assert_int_equal(get(&b, P_TFD), 0x100);
	assert_int_equal(received(&b, 0x40)[5], 0x14);
	b.port = 2;
	assert_int_equal(get(&b, P_SIG), ~0u);
	assert_int_equal(get(&b, P_SSTS), 0);
	b.port = 5;
	set(&b, P_CMD, FRE | ST);
	set(&b, P_CI, ~0u);
	storage_run();
	assert_int_equal(get(&b, P_CI), ~0u);
	close_bed(&b);
}

static void expect_text(const uint8_t *word, const char *text)
{
	for (unsigned i = 0; text[i]; i++)
		assert_int_equal(word[i ^ 1], text[i]);
}

static void test_identify(void **state)
{
	struct bed b;
	uint8_t *data, sum = 0;

	open_bed(&b, "{'serial': <'S-77'>, 'wwn': <uint64 0x5000c50015ea71ac>}");
	data = b.r.ram + DATA;
	assert_int_equal(command(&b, 0xec, 0, 0, 512, 0), READY);
	assert_int_equal(received(&b, 0x20)[0], 0x5f); /* a PIO setup FIS */
	assert_int_equal(received(&b, 0x20)[15], READY);
	assert_true(get(&b, P_IS) & 2);
	expect_text(data + 20, "S-77    ");
	expect_text(data + 54, "KVASIR DISK ");
	assert_int_equal(get_le32(data + 120), RAM_SECTORS);
	assert_int_equal(get_le64(data + 200), RAM_SECTORS);
	assert_int_equal(get_le16(data + 150), 31);
	assert_int_equal(get_le16(data + 216), 0x5000);
	assert_int_equal(get_le16(data + 222), 0x71ac);
	assert_int_equal(get_le16(data + 338), 1);
	assert_int_equal(data[510], 0xa5);
	for (unsigned i = 0; i < 512; i++)
		sum += data[i];
	assert_int_equal(sum, 0);
	assert_int_equal(command(&b, 0xef, 0, 0, 0, 0), FAILED); /* SET FEATURES of nothing */
	restart_port(&b);
	assert_int_equal(command(&b, 0xb0, 0xc24f00, 0, 512, 0), FAILED);
	restart_port(&b);
	fill(&b, 0, 0xb0, 0xc24f00, 0, 512, 0);
	table(&b, 0)[3] = 0xd0;
	assert_int_equal(issue(&b, 0), READY);
	assert_int_equal(data[2], 1);
	b.port = 1;
	assert_int_equal(command(&b, 0xec, 0, 0, 512, 0), FAILED);
	assert_int_equal(received(&b, 0x40)[5], 0x14);
	restart_port(&b);
	assert_int_equal(command(&b, 0xa1, 0, 0, 512, 0), READY);
	assert_int_equal(get_le16(data), 0x85c0);
	close_bed(&b);
}

static void test_io(void **state)
{
	struct bed b;
	uint8_t *data, *prd;

	open_bed(&b, NULL);
	data = b.r.ram + DATA;
	assert_int_equal(command(&b, 0x25, 3, 2, 1024, 0), READY);
	assert_memory_equal(data, b.m[0].bytes + 3 * 512, 1024);
	assert_true(get(&b, P_IS) & 1);
	assert_int_equal(command(&b, 0xc8, 4, 1, 512, 0), READY);
	assert_int_equal(command(&b, 0x20, 5, 1, 512, 0), READY);
	assert_memory_equal(data, b.m[0].bytes + 5 * 512, 512);
	memset(data, 0x66, 1024);
	assert_int_equal(command(&b, 0x35, 9, 2, 1024, WRITE), READY);
	assert_int_equal(b.m[0].bytes[11 * 512 - 1], 0x66);
	assert_int_equal(b.m[0].flushes, 0);
	assert_int_equal(command(&b, 0x3d, 9, 1, 512, WRITE), READY);
	assert_int_equal(b.m[0].flushes, 1);
	assert_int_equal(command(&b, 0xea, 0, 0, 0, 0), READY);
	assert_int_equal(b.m[0].flushes, 2);
	/* Without its cache. */
	fill(&b, 0, 0xef, 0, 0, 0, 0);
	table(&b, 0)[3] = 0x82;
	assert_int_equal(issue(&b, 0), READY);
	assert_int_equal(command(&b, 0x30, 9, 1, 512, WRITE), READY);
	assert_int_equal(b.m[0].flushes, 4);
	/* In pieces, of which the last is larger than what is left. */
	memset(data, 0, 2048);
	fill(&b, 0, 0x25, 7, 2, 1024, 0);
	put_le16(header(&b, 0) + 2, 3);
	prd = table(&b, 0) + 0x80;
	put_le32(prd + 12, 5);
	put_le32(prd + 16, DATA + 100);
	put_le32(prd + 28, 517);
	put_le32(prd + 32, DATA + 1000);
	put_le32(prd + 44, 4095);
	assert_int_equal(issue(&b, 0), READY);
	assert_memory_equal(data, b.m[0].bytes + 7 * 512, 6);
	assert_memory_equal(data + 100, b.m[0].bytes + 7 * 512 + 6, 518);
	assert_memory_equal(data + 1000, b.m[0].bytes + 7 * 512 + 524, 500);
	assert_int_equal(data[1500], 0);
	close_bed(&b);
}

static void test_errors(void **state)
{
	struct bed b;

	open_bed(&b, NULL);
	assert_int_equal(command(&b, 0x25, RAM_SECTORS - 1, 2, 1024, 0), FAILED);
	assert_int_equal(get(&b, P_TFD) >> 8, 0x10);
	assert_true(get(&b, P_IS) & TFES);
	assert_int_equal(get(&b, P_CI), 1);
	/* Nothing goes on before the list has been stopped. */
	fill(&b, 1, 0xec, 0, 0, 512, 0);
	set(&b, P_CI, 2);
	storage_run();
	assert_int_equal(get(&b, P_CI), 3);
	restart_port(&b);
	assert_int_equal(command(&b, 0x25, 0xffffffffffff, 1, 512, 0), FAILED);
	restart_port(&b);
	assert_int_equal(command(&b, 0x99, 0, 0, 0, 0), FAILED);
	assert_int_equal(get(&b, P_TFD) >> 8, 4);
	restart_port(&b);
	b.m[0].fail = EIO;
	assert_int_equal(command(&b, 0x25, 1, 1, 512, 0), FAILED);
	assert_int_equal(get(&b, P_TFD) >> 8, 0x40);
	b.m[0].fail = 0;
	restart_port(&b);
	/* Less room than data; data and a table outside of memory; no FIS of a command. */
	assert_int_equal(command(&b, 0x25, 1, 2, 1022, 0), FAILED);
	assert_true(get(&b, P_IS) & OFS);
	restart_port(&b);
	fill(&b, 0, 0x25, 0, 1, 512, 0);
	put_le32(table(&b, 0) + 0x80, STORAGE_RAM - 256);
	issue(&b, 0);
	assert_true(get(&b, P_IS) & HBFS);
	restart_port(&b);
	fill(&b, 0, 0x25, 0, 1, 512, 0);
	put_le32(header(&b, 0) + 12, 1);
	issue(&b, 0);
	assert_true(get(&b, P_IS) & HBFS);
	restart_port(&b);
	fill(&b, 0, 0x25, 0, 1, 512, 0);
	table(&b, 0)[0] = 0x34;
	issue(&b, 0);
	assert_true(get(&b, P_IS) & IFS);
	restart_port(&b);
	assert_int_equal(command(&b, 0x25, 1, 1, 512, 0), READY);
	assert_int_equal(b.m[0].reads, 1);
	close_bed(&b);
}

static void test_queued(void **state)
{
	struct bed b;
	uint8_t *data;

	open_bed(&b, NULL);
	data = b.r.ram + DATA;
	b.m[0].hold = true;
	for (unsigned slot = 0; slot < 4; slot++) {
		fill(&b, 7 * slot, 0x60, 10 + slot, 1, 512, 0);
		put_le32(table(&b, 7 * slot) + 0x80, DATA + slot * 512);
	}
	set(&b, P_SACT, 1 | 1 << 7 | 1 << 14 | 1 << 21);
	set(&b, P_CI, 1 | 1 << 7 | 1 << 14 | 1 << 21);
	storage_run();
	assert_int_equal(get(&b, P_CI), 0); /* all are taken, none is over */
	assert_int_equal(get(&b, P_SACT), 1 | 1 << 7 | 1 << 14 | 1 << 21);
	ram_complete(&b.m[0]);
	assert_int_equal(get(&b, P_SACT), 0);
	assert_int_equal(received(&b, 0x58)[0], 0xa1);
	assert_int_equal(get_le32(received(&b, 0x5c)), 1 | 1 << 7 | 1 << 14 | 1 << 21); /* one FIS for all */
	assert_true(get(&b, P_IS) & 8);
	assert_memory_equal(data, b.m[0].bytes + 5120, 2048);
	/* One fails, with which all are lost; the log says which. */
	fill(&b, 3, 0x60, RAM_SECTORS, 1, 512, 0);
	fill(&b, 4, 0x61, 1, 1, 512, WRITE);
	set(&b, P_SACT, 3 << 3);
	set(&b, P_CI, 3 << 3);
	storage_run();
	assert_true(get(&b, P_IS) & TFES);
	assert_int_equal(get(&b, P_SACT), 3 << 3);
	b.m[0].hold = false;
	ram_complete(&b.m[0]);
	assert_int_equal(get(&b, P_SACT), 3 << 3);
	restart_port(&b);
	assert_int_equal(command(&b, 0x2f, 0x10, 1, 512, 0), READY);
	assert_int_equal(data[0], 3);
	assert_int_equal(data[3], 0x10);
	assert_int_equal(command(&b, 0x2f, 0x10, 1, 512, 0), READY);
	assert_int_equal(data[0], 0x80);
	close_bed(&b);
}

static void test_trim(void **state)
{
	struct bed b;
	uint8_t *data;

	open_bed(&b, NULL);
	data = b.r.ram + DATA;
	memset(data, 0, 1024);
	put_le64(data, 8 | 8ull << 48);
	put_le64(data + 512, 100 | 3ull << 48);
	fill(&b, 0, 0x06, 0, 2, 1024, WRITE);
	table(&b, 0)[3] = 1;
	assert_int_equal(issue(&b, 0), READY);
	assert_int_equal(b.m[0].discards, 2);
	assert_int_equal(b.m[0].bytes[102 * 512 + 511], 0);
	put_le64(data + 512, (RAM_SECTORS - 2) | 3ull << 48);
	assert_int_equal(issue(&b, 0), FAILED);
	assert_int_equal(b.m[0].discards, 2);
	close_bed(&b);
	open_bed(&b, "{'discard': <'off'>}");
	fill(&b, 0, 0x06, 0, 1, 512, WRITE);
	table(&b, 0)[3] = 1;
	assert_int_equal(issue(&b, 0), FAILED);
	close_bed(&b);
}

/* What is under way ends first, and nobody hears of it. */
static void test_resets(void **state)
{
	struct bed b;

	open_bed(&b, NULL);
	b.m[0].hold = true;
	fill(&b, 0, 0x25, 0, 1, 512, 0);
	set(&b, P_CI, 1);
	storage_run();
	assert_int_equal(get(&b, P_TFD) & 0x80, 0x80);
	set(&b, P_CMD, FRE);
	set(&b, P_IS, ~0u);
	storage_run();
	assert_true(get(&b, P_CMD) & CR);
	ram_complete(&b.m[0]);
	assert_false(get(&b, P_CMD) & CR);
	assert_int_equal(get(&b, P_IS), 0);
	set(&b, P_CMD, FRE | ST);
	/* The link's reset. */
	set(&b, P_CI, 1);
	storage_run();
	set(&b, P_SCTL, 0x301);
	assert_int_equal(get(&b, P_SSTS), 0);
	set(&b, P_SCTL, 0x300);
	storage_run();
	assert_int_equal(get(&b, P_SSTS), 0);
	ram_complete(&b.m[0]);
	storage_run();
	assert_int_equal(get(&b, P_SSTS), 0x133);
	assert_int_equal(get(&b, P_TFD), 0x150);
	assert_true(get(&b, P_IS) & 0x40);
	set(&b, P_CMD, FRE);
	set(&b, P_CMD, FRE | ST);
	/* The controller's. */
	set(&b, P_CI, 1);
	storage_run();
	storage_write(&b.r, GHC, 0x80000003);
	storage_run();
	assert_int_equal(storage_read(&b.r, GHC), 0x80000001);
	ram_complete(&b.m[0]);
	storage_run();
	assert_int_equal(storage_read(&b.r, GHC), 0x80000000);
	assert_int_equal(get(&b, P_CMD), 6);
	start_port(&b);
	b.m[0].hold = false;
	assert_int_equal(command(&b, 0x25, 1, 1, 512, 0), READY);
	/* The device's, by control FIS. */
	fill(&b, 0, 0, 0, 0, 0, 0);
	table(&b, 0)[1] = 0;
	table(&b, 0)[15] = 4;
	issue(&b, 0);
	assert_int_equal(get(&b, P_CI), 0);
	memset(received(&b, 0x40), 0, 20);
	table(&b, 0)[15] = 0;
	issue(&b, 0);
	assert_int_equal(get(&b, P_TFD), 0x150);
	assert_int_equal(received(&b, 0x40)[12], 1);
	/* The machine's. */
	b.r.dev->cls->pause(b.r.dev);
	b.r.dev->cls->reset(b.r.dev);
	b.r.dev->cls->resume(b.r.dev);
	storage_map(&b.r, 5);
	close_bed(&b);
}

static void test_interrupts(void **state)
{
	struct pci_device *p;
	uint16_t enable = PCI_MSI_FLAGS_ENABLE;
	struct bed b;

	open_bed(&b, NULL);
	p = (struct pci_device *)b.r.dev;
	assert_false(b.r.line);
	assert_int_equal(command(&b, 0xec, 0, 0, 512, 0), READY);
	assert_true(b.r.line);
	assert_int_equal(storage_read(&b.r, IS), 1);
	set(&b, P_IS, ~0u);
	assert_true(b.r.line);
	storage_write(&b.r, IS, 1);
	assert_false(b.r.line);
	bus_access(b.r.core.mmio, STORAGE_ECAM + p->msi_cap + PCI_MSI_FLAGS, &enable, 2, true);
	assert_int_equal(command(&b, 0xec, 0, 0, 512, 0), READY);
	assert_int_equal(p->msi_sent, 1);
	assert_false(b.r.line);
	set(&b, P_IS, ~0u);
	storage_write(&b.r, IS, 1);
	assert_int_equal(storage_read(&b.r, IS), 0);
	close_bed(&b);
}

/* A request that is kept holds up neither a pause nor a reset, and goes on with the machine. */
static void test_kept(void **state)
{
	g_autoptr(GError) error = NULL;
	struct bed b;

	open_bed(&b, "{'werror': <'stop'>}");
	b.m[0].fail = ENOSPC;
	fill(&b, 0, 0x35, 1, 1, 512, WRITE);
	set(&b, P_CI, 1);
	storage_run();
	assert_int_equal(get(&b, P_CI), 1);
	assert_int_equal(get(&b, P_TFD) & 0x81, 0x80);
	b.r.dev->cls->pause(b.r.dev);
	assert_false(b.drive[0]->cls->can_save(b.drive[0], &error));
	b.m[0].fail = 0;
	b.r.dev->cls->resume(b.r.dev);
	b.drive[0]->cls->resume(b.drive[0]);
	storage_run();
	assert_int_equal(get(&b, P_CI), 0);
	assert_int_equal(b.m[0].writes, 1);
	b.m[0].fail = ENOSPC;
	set(&b, P_CI, 1);
	storage_run();
	set(&b, P_CMD, FRE);
	storage_run();
	assert_false(get(&b, P_CMD) & CR);
	assert_false(disk_has_kept(b.disk[0]));
	close_bed(&b);
}

static uint8_t packet(struct bed *b, const uint8_t *cdb, uint32_t len)
{
	uint8_t status;

	fill(b, 0, 0xa0, 0, 0, len, PACKET);
	table(b, 0)[3] = 1;
	memcpy(table(b, 0) + 0x40, cdb, 12);
	status = issue(b, 0);
	if (status & 1)
		restart_port(b);
	return status;
}

static void expect_sense(struct bed *b, uint8_t key, uint8_t asc)
{
	assert_int_equal(packet(b, (const uint8_t[12]){3, [4] = 18}, 18), READY);
	assert_int_equal(b->r.ram[DATA + 2], key);
	assert_int_equal(b->r.ram[DATA + 12], asc);
}

#define CDB(...) ((const uint8_t[12]){__VA_ARGS__})

static void test_cd(void **state)
{
	static struct ram_image other;
	struct disk_tray tray;
	struct bed b;
	uint8_t *data;

	open_bed(&b, NULL);
	data = b.r.ram + DATA;
	b.port = 1;
	assert_int_equal(packet(&b, CDB(0), 0), FAILED);
	assert_int_equal(get(&b, P_TFD) >> 8 & 0xf0, 0x60);
	expect_sense(&b, 6, 0x29);
	expect_sense(&b, 0, 0); /* it was told */
	assert_int_equal(packet(&b, CDB(0), 0), READY);
	assert_int_equal(packet(&b, CDB(0x12, [4] = 36), 36), READY);
	assert_int_equal(data[0], 5);
	assert_int_equal(packet(&b, CDB(0x25), 8), READY);
	assert_int_equal(get_be32(data), CD_BLOCKS - 1);
	assert_int_equal(packet(&b, CDB(0x28, [5] = 3, [8] = 2), 4096), READY);
	assert_memory_equal(data, b.m[1].bytes + 3 * 2048, 4096);
	assert_int_equal(get_le32(header(&b, 0) + 4), 4096);
	assert_int_equal(received(&b, 0x40)[12], 3);
	assert_int_equal(packet(&b, CDB(0x46, [8] = 32), 32), READY);
	assert_int_equal(get_be32(data + 24), 7); /* the interface is SATA's */
	/* Data that is not needed may be anywhere. */
	fill(&b, 0, 0xa0, 0, 0, 4 << 20, PACKET);
	put_le32(table(&b, 0) + 0x80, 0);
	assert_int_equal(issue(&b, 0), READY);
	/* Another disc. */
	assert_int_equal(packet(&b, CDB(0x1b, [4] = 2), 0), READY);
	assert_true(disk_tray(b.disk[1], &tray) && tray.open);
	assert_int_equal(packet(&b, CDB(0x28, [8] = 1), 2048), FAILED);
	expect_sense(&b, 2, 0x3a);
	ram_init(&other);
	other.img.size = 4096;
	assert_true(disk_set_image(b.disk[1], &other.img, NULL));
	disk_move_tray(b.disk[1], false);
	assert_int_equal(packet(&b, CDB(0), 0), FAILED);
	expect_sense(&b, 6, 0x28);
	assert_int_equal(packet(&b, CDB(0x25), 8), READY);
	assert_int_equal(get_be32(data), 1);
	assert_true(disk_set_image(b.disk[1], NULL, NULL));
	close_bed(&b);
}

/* What was not begun goes on after the state is loaded. */
static void test_saved(void **state)
{
	struct bed b;

	open_bed(&b, NULL);
	b.r.dev->cls->pause(b.r.dev);
	fill(&b, 5, 0x25, 9, 1, 512, 0);
	set(&b, P_CI, 1 << 5);
	storage_run();
	assert_int_equal(get(&b, P_CI), 1 << 5);
	storage_save_and_load(&b.r);
	assert_int_equal(get(&b, P_CI), 0);
	assert_memory_equal(b.r.ram + DATA, b.m[0].bytes + 9 * 512, 512);
	close_bed(&b);
}

static void test_full(void **state)
{
	static struct ram_image m[5];
	struct disk *disk[5];
	struct device *drive[4];
	struct bed b;

	open_bed(&b, NULL);
	for (unsigned i = 0; i < 5; i++) {
		struct device_backend backend = {.controller = b.r.dev};
		g_autofree char *id = g_strdup_printf("more%u", i);
		g_autoptr(GError) error = NULL;
		struct device *d;

		ram_init(&m[i]);
		backend.disk = disk[i] = disk_new(id, &m[i].img, NULL, NULL);
		d = device_new(&b.r.core, "sata-disk", id, NULL, &backend, &error);
		if (i < 4)
			drive[i] = d;
		assert_true((d != NULL) == (i < 4));
	}
	for (unsigned i = 0; i < 4; i++)
		device_free(drive[i]);
	for (unsigned i = 0; i < 5; i++)
		disk_free(disk[i]);
	close_bed(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registers), cmocka_unit_test(test_identify),   cmocka_unit_test(test_io),
		cmocka_unit_test(test_errors),	  cmocka_unit_test(test_queued),     cmocka_unit_test(test_trim),
		cmocka_unit_test(test_resets),	  cmocka_unit_test(test_interrupts), cmocka_unit_test(test_kept),
		cmocka_unit_test(test_cd),	  cmocka_unit_test(test_saved),	     cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
