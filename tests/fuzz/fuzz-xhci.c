/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: the USB controller with a keyboard, mouse, tablet and a disk, and memory, without a CPU. The input is a program
 * of a hostile driver: registers, bytes of memory, commands and transfers that are nearly right, events of the user, save and
 * load. Nothing is expected but that the process survives, that work ends, and that a reset makes a controller whose registers
 * are those of power-on.
 *
 * Input: operations of one byte and their operands (see step()); it ends with the bytes.
 */
#include <stdlib.h>
#include <string.h>

#include <linux/input-event-codes.h>
#include <linux/pci_regs.h>

#include "../unit/disk-rig.h"
#include "bytes.h"
#include "devices/xhci.h"
#include "disk.h"
#include "fuzz-input.h"
#include "input.h"
#include "pci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM = 0x10000, ECAM = 0xb0000000, STEPS = 200, ROUNDS = 64 };
enum { COMMANDS = 0x1000, EVENTS = 0x2000, ERST = 0x3000, INPUT = 0x4000, CONTEXTS = 0x5000, RINGS = 0x8000, RING = 0x100 };
enum { OP = 0x40, INTR = 0x1020, DOORBELLS = 0x2000 };

struct fuzz {
	struct machine_core core;
	struct device *hc, *storage, *lun, *usb[3];
	uint64_t bar;
	uint8_t *ram;
	unsigned command; /* the next one's place */
	uint8_t next[128]; /* block of a transfer ring */
	struct fuzz_input in;
};

static void wr(struct fuzz *f, uint64_t at, unsigned size, uint64_t v)
{
	bus_access(f->core.mmio, f->bar + at, &v, size, true);
}

static uint32_t rd(struct fuzz *f, uint64_t at)
{
	uint32_t v = 0;

	bus_access(f->core.mmio, f->bar + at, &v, 4, false);
	return v;
}

/* A few rounds of the main loop: rings without an end would keep it busy for ever. */
static void run(void)
{
	for (unsigned i = 0; i < ROUNDS && g_main_context_iteration(NULL, FALSE); i++)
		;
}

static void bring_up(struct fuzz *f)
{
	f->command = 0;
	memset(f->next, 0, sizeof(f->next));
	memset(f->ram, 0, RAM);
	wr(f, OP, 4, 2);
	wr(f, OP + 0x38, 4, 4);
	wr(f, OP + 0x30, 8, 0);
	wr(f, OP + 0x18, 8, COMMANDS | 1);
	put_le64(f->ram + ERST, EVENTS);
	put_le32(f->ram + ERST + 8, 64);
	for (unsigned i = 1; i <= 4; i++)
		put_le64(f->ram + 8 * i, CONTEXTS + 0x400 * i);
	wr(f, INTR + 8, 4, 1);
	wr(f, INTR + 0x18, 8, EVENTS);
	wr(f, INTR + 0x10, 8, ERST);
	wr(f, INTR, 4, 2);
	wr(f, OP, 4, 5);
}

static void put_trb(struct fuzz *f, uint64_t at, uint64_t parameter, uint32_t status, uint32_t control)
{
	put_le64(f->ram + at, parameter);
	put_le32(f->ram + at + 8, status);
	put_le32(f->ram + at + 12, control);
}

static void command(struct fuzz *f, uint64_t parameter, uint32_t status, uint32_t control)
{
	put_trb(f, COMMANDS + 16 * f->command, parameter, status, control | 1);
	f->command = (f->command + 1) % 200;
	wr(f, DOORBELLS, 4, 0);
	run();
}

static uint64_t ring_at(unsigned slot, unsigned dci)
{
	return RINGS + ((slot & 3) * 32 + dci) * RING;
}

static void add(struct fuzz *f, unsigned slot, unsigned dci, uint64_t parameter, uint32_t status, uint32_t control)
{
	uint8_t *next = &f->next[(slot & 3) * 32 + dci];

	put_trb(f, ring_at(slot, dci) + 16 * (*next)++, parameter, status, control | 1);
	*next %= RING / 16;
}

/* A device context's endpoint, as commands expect it. */
static void put_endpoint(struct fuzz *f, unsigned slot, unsigned dci, unsigned type)
{
	uint8_t *c = f->ram + INPUT + 32 * (dci + 1);

	put_le32(c + 4, 64 << 16 | type << 3);
	put_le64(c + 8, ring_at(slot, dci) | 1);
	f->next[(slot & 3) * 32 + dci] = 0;
}

static void address(struct fuzz *f, unsigned slot, unsigned port)
{
	wr(f, 0x440 + 16 * ((port - 1) & 7), 4, 0x210);
	command(f, 0, 0, 9 << 10);
	memset(f->ram + INPUT, 0, 0x440);
	put_le32(f->ram + INPUT + 4, 3);
	put_le32(f->ram + INPUT + 32, 1 << 27);
	put_le32(f->ram + INPUT + 36, port << 16);
	put_endpoint(f, slot, 1, 4);
	command(f, INPUT, 0, slot << 24 | 11 << 10);
}

static void configure(struct fuzz *f, unsigned slot, unsigned dci, unsigned type)
{
	memset(f->ram + INPUT, 0, 64);
	put_le32(f->ram + INPUT + 4, 1 | 1u << dci);
	put_le32(f->ram + INPUT + 32, 5u << 27);
	put_endpoint(f, slot, dci, type);
	command(f, INPUT, 0, slot << 24 | 12 << 10);
}

static void control(struct fuzz *f, unsigned slot)
{
	uint64_t setup = fuzz_take(&f->in, 4);
	bool in = setup & 0x80;

	setup |= (uint64_t)fuzz_take(&f->in, 4) << 32;
	add(f, slot, 1, setup, 8, 2 << 10 | 1 << 6);
	if (setup >> 48)
		add(f, slot, 1, fuzz_take(&f->in, 2), (uint32_t)(setup >> 48), 3 << 10 | 1 << 2 | (in ? 1 << 16 : 0));
	add(f, slot, 1, 0, 0, 4 << 10 | 1 << 5);
	wr(f, DOORBELLS + 4 * slot, 4, 1);
	run();
}

/* A command block of a disk, in memory and on its way. */
static void wrapper(struct fuzz *f, unsigned slot)
{
	uint8_t *b = f->ram + 0x7000;

	memset(b, 0, 31);
	put_le32(b, 0x43425355);
	put_le32(b + 8, fuzz_take(&f->in, 2));
	b[12] = fuzz_take(&f->in, 1);
	b[14] = 16;
	for (unsigned i = 0; i < 10; i++)
		b[15 + i] = fuzz_take(&f->in, 1);
	add(f, slot, 4, 0x7000, 31, 1 << 10 | 1 << 5);
	wr(f, DOORBELLS + 4 * slot, 4, 4);
	run();
}

static void user(struct fuzz *f)
{
	static const enum input_kind kinds[] = {INPUT_KEY, INPUT_BUTTON, INPUT_RELATIVE, INPUT_ABSOLUTE, INPUT_WHEEL};
	unsigned what = fuzz_take(&f->in, 1);
	struct input_event e = {.kind = kinds[what % G_N_ELEMENTS(kinds)], .down = what & 64};

	e.code = e.kind == INPUT_BUTTON ? BTN_LEFT + (what >> 3 & 7) : fuzz_take(&f->in, 2) & 0x3ff;
	e.x = (int)fuzz_take(&f->in, 4);
	e.y = (int)fuzz_take(&f->in, 4);
	input_send(f->core.input, &e);
	input_sync(f->core.input);
}

static void move_state(struct fuzz *f)
{
	struct device *all[] = {f->hc, f->usb[0], f->usb[1], f->usb[2]};

	for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
		g_autoptr(GByteArray) out = g_byte_array_new();
		g_autoptr(GBytes) bytes = NULL;
		size_t at = 0;

		if (!all[i])
			continue;
		state_save(out, all[i]->cls->state, "x", all[i]);
		bytes = g_bytes_new(out->data, out->len);
		check(state_load(bytes, &at, all[i]->cls->state, "x", all[i], NULL));
	}
}

/* A stream from somewhere else, which says what a driver never wrote. */
static void falsify(struct fuzz *f)
{
	struct xhci *x = (struct xhci *)f->hc;
	unsigned what = fuzz_take(&f->in, 1);
	struct xhci_slot *s = &x->slot[what >> 4 & 3];
	struct xhci_interrupter *i = &x->intr[what >> 4 & 3];
	struct xhci_endpoint *ep = &s->ep[fuzz_take(&f->in, 1) % XHCI_ENDPOINTS];
	uint64_t v = fuzz_take(&f->in, 4);
	GError *error = NULL;

	v |= (uint64_t)fuzz_take(&f->in, 1) << 56;
	switch (what & 7) {
	case 0:
		s->port = (uint8_t)v;
		s->state = v >> 8 & 7;
		s->enabled = v >> 16 & 1;
		break;
	case 1:
		s->context = v;
		s->doorbells = (uint32_t)v;
		break;
	case 2:
		ep->type = v & 15;
		ep->state = v >> 8 & 7;
		break;
	case 3:
		ep->ring.dequeue = v;
		break;
	case 4:
		i->start = v;
		i->size = v & 0x1fff;
		break;
	case 5:
		i->index = v & 0xffff;
		i->erdp = v;
		break;
	case 6:
		x->commands.dequeue = v;
		x->command_doorbell = true;
		break;
	case 7:
		x->port[v & 7].portsc = (uint32_t)(v >> 3);
		break;
	}
	if (f->hc->cls->state->after_load(x, &error))
		return;
	check(error);
	g_clear_error(&error);
	f->hc->cls->reset(f->hc);
}

static void plug_or_unplug(struct fuzz *f, unsigned n)
{
	static const char *const classes[] = {"usb-kbd", "usb-mouse", "usb-tablet"};

	n %= G_N_ELEMENTS(classes);
	if (f->usb[n])
		g_clear_pointer(&f->usb[n], device_free);
	else
		f->usb[n] = device_new(&f->core, classes[n], classes[n], NULL, NULL, NULL);
}

static void step(struct fuzz *f)
{
	unsigned op = fuzz_take(&f->in, 1), a, b, c;

	switch (op & 15) {
	case 0:
		bring_up(f);
		break;
	case 1:
		a = fuzz_take(&f->in, 2) & 0x3fff;
		b = fuzz_take(&f->in, 4);
		wr(f, a, 4 << (op >> 4 & 1), b | (uint64_t)fuzz_take(&f->in, 2) << 32);
		break;
	case 2:
		rd(f, fuzz_take(&f->in, 2) & 0x3fff);
		break;
	case 3:
		a = fuzz_take(&f->in, 2) % (RAM - 16);
		for (unsigned i = 0; i <= op >> 4; i++)
			f->ram[a + i] = fuzz_take(&f->in, 1);
		break;
	case 4:
		a = fuzz_take(&f->in, 2);
		b = fuzz_take(&f->in, 4);
		command(f, a, b, fuzz_take(&f->in, 4));
		break;
	case 5:
		address(f, op >> 4 & 7, fuzz_take(&f->in, 1) & 15);
		break;
	case 6:
		a = fuzz_take(&f->in, 1);
		configure(f, op >> 4 & 7, a & 31, a >> 5);
		break;
	case 7:
		control(f, op >> 4 & 7);
		break;
	case 8:
		a = fuzz_take(&f->in, 1) & 31;
		b = fuzz_take(&f->in, 2);
		c = fuzz_take(&f->in, 3);
		add(f, op >> 4 & 7, a, b, c, fuzz_take(&f->in, 3));
		wr(f, DOORBELLS + 4 * (op >> 4 & 7), 4, a);
		run();
		break;
	case 9:
		wr(f, DOORBELLS + 4 * (op >> 4), 4, fuzz_take(&f->in, 1));
		run();
		break;
	case 10:
		user(f);
		run();
		break;
	case 11: /* the driver has seen some events */
		wr(f, INTR + 0x18, 8, (EVENTS + 16 * (fuzz_take(&f->in, 1) & 63)) | 8);
		run();
		break;
	case 12:
		if (op & 0x10)
			falsify(f);
		else
			move_state(f);
		run();
		break;
	case 13:
		f->hc->cls->reset(f->hc);
		break;
	case 14:
		plug_or_unplug(f, op >> 4);
		break;
	case 15:
		wrapper(f, op >> 4 & 7);
		break;
	}
}

static void open_machine(struct fuzz *f, struct device_backend *backend)
{
	const struct pci_windows windows = {0xc0000000, 0x10000000, 1ull << 40, 1ull << 30, 0xc000, 0x1000};

	f->core = (struct machine_core){.vm_fd = -1, .mem = mem_new(-1), .input = input_new()};
	check(mem_add_ram(f->core.mem, 0, RAM, NULL));
	f->ram = gpa_ptr(f->core.mem, 0, RAM);
	f->core.ports = bus_new("port");
	f->core.mmio = bus_new("mmio");
	f->core.pci = pci_bus_new(&f->core, &windows, NULL);
	pci_bus_set_ecam(f->core.pci, ECAM, 1, NULL);
	f->hc = device_new(&f->core, "xhci", "usb", NULL, NULL, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(f->usb); i++)
		plug_or_unplug(f, i);
	f->storage = backend->controller = device_new(&f->core, "usb-storage", "stick", NULL, NULL, NULL);
	f->lun = device_new(&f->core, "scsi-disk", "lun", NULL, backend, NULL);
	check(f->hc && f->lun);
}

static void map_bar(struct fuzz *f)
{
	uint32_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	bus_access(f->core.mmio, ECAM + PCI_COMMAND, &command, 2, true);
	f->bar = ((struct pci_device *)f->hc)->bar[0].mapped;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ram_image image;
	struct fuzz f = {.in = {data, size}};
	struct device_backend backend = {0};

	ram_init(&image);
	backend.disk = disk_new("drive", &image.img, NULL, NULL);
	open_machine(&f, &backend);
	map_bar(&f);
	for (unsigned i = 0; i < STEPS && f.in.left; i++) {
		step(&f);
		map_bar(&f);
	}
	f.hc->cls->pause(f.hc);
	f.storage->cls->pause(f.storage);
	f.hc->cls->reset(f.hc);
	map_bar(&f);
	check(rd(&f, OP) == 0 && rd(&f, OP + 4) == 1);
	device_free(f.lun);
	device_free(f.storage);
	for (unsigned i = 0; i < G_N_ELEMENTS(f.usb); i++)
		device_free(f.usb[i]);
	device_free(f.hc);
	disk_free(backend.disk);
	pci_bus_free(f.core.pci);
	bus_free(f.core.mmio);
	bus_free(f.core.ports);
	mem_free(f.core.mem);
	input_free(f.core.input);
	return 0;
}
