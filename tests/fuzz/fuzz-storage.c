/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a disk controller that is not virtio's (FUZZ_DEVICE, given by the build: ahci, nvme) on a PCI bus with memory and
 * no CPU, with drives over images in memory that may be full or broken. The input is a program of a hostile driver: register
 * writes and reads, bytes into memory, commands that are nearly right, resets, save and load. Nothing is read or written outside
 * of the images (disk-rig.c), a pause ends, and at the end a reset is answered and a driver can start anew.
 *
 * Input: operations of one byte and their operands (see step()); it ends with the bytes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "../unit/disk-rig.h"
#include "bytes.h"
#include "disk.h"
#include "fuzz-input.h"
#include "pci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	RAM = 0x10000,
	ECAM = 0xb0000000,
	LIST = 0x1000, /* of AHCI's port n 0x1000 further; and NVMe's queues: commands, and 0x800 behind them completions */
	QUEUE = 0x1000,
	TABLES = 0x8000,
	DATA = 0xa000,
	ENTRIES = 16,
	ROUNDS = 256,
	DRIVES = 2,
};

struct fuzz {
	struct machine_core core;
	struct device *dev, *drive[DRIVES];
	struct disk *disk[DRIVES];
	uint64_t bar;
	uint8_t *ram;
	unsigned tail[4];
	struct fuzz_input in;
};

static struct ram_image image[DRIVES];

static void request(void *machine, enum machine_request what)
{
}

static void write_bar(struct fuzz *f, unsigned offset, unsigned size, uint64_t value)
{
	bus_access(f->core.mmio, f->bar + offset, &value, size, true);
}

static uint64_t read_bar(struct fuzz *f, unsigned offset, unsigned size)
{
	uint64_t v = 0;

	bus_access(f->core.mmio, f->bar + offset, &v, size, false);
	return v;
}

static void run_context(void)
{
	for (unsigned i = 0; i < ROUNDS && g_main_context_iteration(NULL, FALSE); i++)
		;
}

static bool is_ahci(void)
{
	return FUZZ_DEVICE[0] == 'a';
}

static void map_bar(struct fuzz *f)
{
	unsigned at = PCI_BASE_ADDRESS_0 + (is_ahci() ? 20 : 0);
	uint16_t command = PCI_COMMAND_MEMORY;
	uint32_t low = 0xc0000000, high = 0;

	bus_access(f->core.mmio, ECAM + at, &low, 4, true);
	if (!is_ahci())
		bus_access(f->core.mmio, ECAM + at + 4, &high, 4, true);
	f->bar = low;
	bus_access(f->core.mmio, ECAM + PCI_COMMAND, &command, 2, true);
}

/* ---- AHCI ---- */

static void start_ports(struct fuzz *f)
{
	write_bar(f, 4, 4, 2);
	for (unsigned i = 0; i < DRIVES; i++) {
		unsigned port = 0x100 + 0x80 * i;

		write_bar(f, port + 0x18, 4, 0);
		run_context();
		write_bar(f, port, 4, LIST + QUEUE * i);
		write_bar(f, port + 8, 4, LIST + QUEUE * i + 0x800);
		write_bar(f, port + 0x10, 4, ~0u);
		write_bar(f, port + 0x14, 4, ~0u);
		write_bar(f, port + 0x18, 4, 0x11);
	}
}

static void ahci_command(struct fuzz *f, unsigned op)
{
	static const uint8_t opcodes[] = {0x25, 0x35, 0x60, 0x61, 0x06, 0xa0, 0xec, 0xea, 0x2f, 0xb0, 0xef, 0x20, 0xca, 0xa1};
	unsigned port = op >> 7, slot = fuzz_take(&f->in, 1) % 32, kind = fuzz_take(&f->in, 1), pieces = op >> 4 & 3;
	uint8_t *h = f->ram + LIST + QUEUE * port + 32 * slot, *t = f->ram + TABLES + (slot & 7) * 0x100;

	put_le16(h, 5 | (kind & 0x80 ? 0x40 : 0) | (kind & 0x40 ? 0x20 : 0));
	put_le16(h + 2, pieces);
	put_le64(h + 8, TABLES + (slot & 7) * 0x100);
	t[0] = 0x27;
	t[1] = kind == 0xff ? 0 : 0x80;
	t[2] = opcodes[(kind & 15) % G_N_ELEMENTS(opcodes)];
	t[3] = fuzz_take(&f->in, 1);
	t[4] = fuzz_take(&f->in, 1);
	t[5] = fuzz_take(&f->in, 1) & 1;
	memset(t + 6, 0, 14);
	t[7] = 0x40;
	put_le16(t + 12, t[2] == 0x60 || t[2] == 0x61 ? slot << 3 : fuzz_take(&f->in, 1));
	for (unsigned i = 0; i < 12; i++)
		t[0x40 + i] = fuzz_take(&f->in, 1);
	for (unsigned i = 0; i < pieces; i++) {
		put_le64(t + 0x80 + 16 * i, fuzz_take(&f->in, 2));
		put_le32(t + 0x8c + 16 * i, fuzz_take(&f->in, 2));
	}
	if (op & 0x40)
		write_bar(f, 0x134 + 0x80 * port, 4, 1u << slot);
	write_bar(f, 0x138 + 0x80 * port, 4, 1u << slot);
}

static void ahci_register(struct fuzz *f, unsigned op)
{
	unsigned at = fuzz_take(&f->in, 1);

	write_bar(f, at & 0x80 ? (at & 0x1c) : 0x100 + 0x80 * (at & 1) + (at & 0x3e) * 2, 4, fuzz_take(&f->in, 4));
}

static void ahci_end(struct fuzz *f)
{
	write_bar(f, 4, 4, 1);
	run_context();
	check(read_bar(f, 4, 4) == 0x80000000);
	check(read_bar(f, 0x118, 4) == 6);
}

/* ---- NVMe ---- */

static void start_controller(struct fuzz *f)
{
	write_bar(f, 0x14, 4, 0);
	run_context();
	memset(f->tail, 0, sizeof(f->tail));
	write_bar(f, 0x24, 4, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	write_bar(f, 0x28, 8, LIST);
	write_bar(f, 0x30, 8, LIST + 0x4000);
	write_bar(f, 0x14, 4, 0x460001);
}

static void ring(struct fuzz *f, unsigned q)
{
	f->tail[q] = (f->tail[q] + 1) % ENTRIES;
	write_bar(f, 0x1000 + 8 * q, 4, f->tail[q]);
}

static void nvme_command(struct fuzz *f, unsigned op)
{
	unsigned q = op >> 4 & 3, kind = fuzz_take(&f->in, 1);
	uint8_t *c = f->ram + LIST + QUEUE * q + 64 * f->tail[q];

	memset(c, 0, 64);
	c[0] = kind & 15;
	c[1] = kind == 0xff ? 0x40 : 0;
	put_le16(c + 2, fuzz_take(&f->in, 1));
	put_le32(c + 4, op & 0x40 ? 1 : fuzz_take(&f->in, 1) - 1);
	put_le64(c + 24, op & 0x80 && !q ? LIST + QUEUE * (kind >> 6 & 3) + (c[0] == 5 ? 0x4000 : 0) : fuzz_take(&f->in, 2));
	put_le64(c + 32, kind & 0x10 ? fuzz_take(&f->in, 2) : fuzz_take(&f->in, 2) & 0xf000);
	if (!q && (c[0] == 1 || c[0] == 5) && op & 0x80) {
		put_le32(c + 40, (kind >> 6 & 3) | (ENTRIES - 1) << 16);
		put_le32(c + 44, (kind >> 6 & 3) << 16 | 3);
	} else {
		put_le32(c + 40, fuzz_take(&f->in, 4));
		put_le32(c + 44, fuzz_take(&f->in, 2) & (kind & 0x20 ? 0xffff : 4));
	}
	put_le32(c + 48, fuzz_take(&f->in, 2) | (kind & 0x20 ? 0x40000000 : 0));
	ring(f, q);
}

static void nvme_register(struct fuzz *f, unsigned op)
{
	unsigned at = fuzz_take(&f->in, 1);

	write_bar(f, at & 0x80 ? 0x1000 + (at & 0x3f) * 4 : at & 0x3c, op & 0x40 ? 8 : 4, fuzz_take(&f->in, 4));
}

/* The driver has seen all completions that may be there. */
static void nvme_seen(struct fuzz *f)
{
	write_bar(f, 0x1004 + 8 * fuzz_take(&f->in, 1) % 32, 4, fuzz_take(&f->in, 1) % ENTRIES);
}

static void nvme_end(struct fuzz *f)
{
	write_bar(f, 0x14, 4, 0);
	run_context();
	check((read_bar(f, 0x1c, 4) & 1) == 0);
	start_controller(f);
	check((read_bar(f, 0x1c, 4) & 3) == 1);
}

/* ---- both ---- */

static void each_drive(struct fuzz *f, bool resume)
{
	for (unsigned i = 0; i < DRIVES; i++)
		if (f->drive[i] && resume)
			f->drive[i]->cls->resume(f->drive[i]);
		else if (f->drive[i])
			f->drive[i]->cls->reset(f->drive[i]);
}

static void resume(struct fuzz *f)
{
	f->dev->cls->resume(f->dev);
	each_drive(f, true);
}

static void reset(struct fuzz *f)
{
	f->dev->cls->reset(f->dev);
	each_drive(f, false);
	map_bar(f);
}

/* A bit of a number that is saved: what a stream from somewhere else may say. */
static void falsify(const struct state_field *fields, uint8_t *at, unsigned which, unsigned bit)
{
	static const uint8_t size[] = {[STATE_U8] = 1, [STATE_U16] = 2, [STATE_U32] = 4, [STATE_U64] = 8, [STATE_BOOL] = 1};
	const struct state_field *field;
	unsigned n = 0;

	while (fields[n].name[0])
		n++;
	field = &fields[which % n];
	at += field->offset;
	if (field->type == STATE_STRUCT)
		falsify(field->fields, at + which / n % field->count * field->size, which / n / field->count, bit);
	else if (field->type == STATE_BOOL)
		*at ^= 1;
	else if (field->type <= STATE_U64)
		at[bit / 8 % size[field->type]] ^= 1 << bit % 8;
}

static void save_and_load(struct fuzz *f)
{
	unsigned which = fuzz_take(&f->in, 2), bit = fuzz_take(&f->in, 1);
	g_autoptr(GByteArray) stream = g_byte_array_new();
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) bytes = NULL;
	size_t offset = 0;

	f->dev->cls->pause(f->dev);
	if (which & 1 && f->dev->cls->can_save && !f->dev->cls->can_save(f->dev, NULL))
		which = 0;
	if (which & 1)
		falsify(f->dev->cls->state->fields, (uint8_t *)f->dev, which >> 1, bit);
	state_save(stream, f->dev->cls->state, f->dev->id, f->dev);
	bytes = g_bytes_new(stream->data, stream->len);
	if (!state_load(bytes, &offset, f->dev->cls->state, f->dev->id, f->dev, &error))
		reset(f);
	resume(f);
}

static void step(struct fuzz *f)
{
	static const int errors[] = {0, 0, EIO, ENOSPC};
	unsigned op = fuzz_take(&f->in, 1), at, n;

	switch (op & 15) {
	case 0:
		is_ahci() ? start_ports(f) : start_controller(f);
		break;
	case 1:
	case 2:
		is_ahci() ? ahci_register(f, op) : nvme_register(f, op);
		break;
	case 3:
		read_bar(f, fuzz_take(&f->in, 2) & 0x3fff, 1u << (op >> 4 & 3));
		break;
	case 4: /* bytes into memory */
		at = fuzz_take(&f->in, 2);
		for (n = 1 + (op >> 4); n-- && at < RAM;)
			f->ram[at++] = fuzz_take(&f->in, 1);
		break;
	case 5:
		for (unsigned i = 0; i < DRIVES; i++)
			image[i].fail = errors[op >> 4 & 3];
		break;
	case 6:
		run_context();
		break;
	case 7:
		f->dev->cls->pause(f->dev);
		if (op & 0x10)
			reset(f);
		resume(f);
		break;
	case 8:
		save_and_load(f);
		break;
	case 9: /* a write to anywhere, of any size */
		at = fuzz_take(&f->in, 2) & 0x3fff;
		write_bar(f, at, 1u << (op >> 4 & 3), fuzz_take(&f->in, 4));
		break;
	case 10:
		if (!is_ahci())
			nvme_seen(f);
		break;
	default:
		is_ahci() ? ahci_command(f, op) : nvme_command(f, op);
	}
}

static void open_drives(struct fuzz *f)
{
	struct device_backend backend = {0};
	g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_new_parsed("{'werror': <'stop'>}"));

	for (unsigned i = 0; i < DRIVES; i++) {
		ram_init(&image[i]);
		image[i].img.discard = true;
		f->disk[i] = disk_new("drive", &image[i].img, options, NULL);
	}
	if (is_ahci()) {
		f->dev = backend.controller = device_new(&f->core, "ahci", "fuzz", NULL, NULL, NULL);
		backend.disk = f->disk[0];
		f->drive[0] = device_new(&f->core, "sata-disk", "disk", NULL, &backend, NULL);
		backend.disk = f->disk[1];
		f->drive[1] = device_new(&f->core, "scsi-cd", "cd", NULL, &backend, NULL);
	} else {
		backend.disk = f->disk[0];
		f->dev = device_new(&f->core, "nvme", "fuzz", NULL, &backend, NULL);
	}
	check(f->dev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct pci_windows windows = {0xc0000000, 0x10000000, 1ull << 40, 1ull << 30, 0xc000, 0x1000};
	struct fuzz f = {.in = {data, MIN(size, 4096)}, .core = {.vm_fd = -1, .request = request}};

	f.core.mem = mem_new(-1);
	check(mem_add_ram(f.core.mem, 0, RAM, NULL));
	f.ram = gpa_ptr(f.core.mem, 0, RAM);
	f.core.ports = bus_new("port");
	f.core.mmio = bus_new("mmio");
	f.core.pci = pci_bus_new(&f.core, &windows, NULL);
	pci_bus_set_ecam(f.core.pci, ECAM, 1, NULL);
	open_drives(&f);
	map_bar(&f);
	while (f.in.left)
		step(&f);
	for (unsigned i = 0; i < DRIVES; i++)
		image[i].fail = 0;
	run_context();
	map_bar(&f); /* a saved state may have had it elsewhere */
	is_ahci() ? ahci_end(&f) : nvme_end(&f);
	for (unsigned i = DRIVES; i-- > 0;)
		device_free(f.drive[i]);
	device_free(f.dev);
	for (unsigned i = 0; i < DRIVES; i++)
		disk_free(f.disk[i]);
	pci_bus_free(f.core.pci);
	bus_free(f.core.mmio);
	bus_free(f.core.ports);
	mem_free(f.core.mem);
	return 0;
}
