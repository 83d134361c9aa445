/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The USB controller as its driver sees it: registers, rings and contexts in memory, without a CPU; and the USB devices behind
 * it. The driver here is written from the specification's side of the driver.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/input-event-codes.h>
#include <linux/pci_regs.h>

#include "bytes.h"
#include "disk-rig.h"
#include "disk.h"
#include "input.h"
#include "pci.h"
#include "devices/scsi.h"

enum { RAM = 1 << 20, ECAM = 0xb0000000 };
enum { DCBAA = 0x1000, COMMANDS = 0x2000, EVENTS = 0x3000, ERST = 0x4000, INPUT = 0x5000, CONTEXTS = 0x6000, BUFFER = 0x40000 };
enum { RINGS = 0x10000, RING_SIZE = 16, EVENT_RING = 64 };
enum { OP = 0x40, PORTSC = 0x440, RUNTIME = 0x1000, INTR = 0x1020, DOORBELLS = 0x2000, MSIX = 0x3000 };
enum { SUCCESS = 1, TRANSACTION = 4, TRB_ERROR = 5, STALL = 6, NO_SLOT = 11, SHORT = 13 };
enum { PARAMETER = 17, CONTEXT_STATE = 19, STOPPED = 26 };
enum { NORMAL = 1, SETUP, DATA, STATUS, LINK = 6 };
enum { IOC = 1 << 5, ISP = 1 << 2, IDT = 1 << 6, CHAIN = 1 << 4, DIR_IN = 1 << 16 };
enum { CMD_RUN = 1, STS_HALTED = 1, STS_ERROR = 1 << 12 };

struct event {
	uint64_t parameter;
	unsigned type, code, slot, dci, length;
};

static struct machine_core core;
static struct device *hc;
static uint64_t bar;
static uint8_t *ram;
static struct {
	unsigned next;
	uint32_t cycle;
} commands, events, rings[32]; /* by device context index, of slot 1 */

static uint32_t rd(uint64_t at)
{
	uint32_t v = 0;

	bus_access(core.mmio, bar + at, &v, 4, false);
	return v;
}

static void wr(uint64_t at, uint32_t v)
{
	bus_access(core.mmio, bar + at, &v, 4, true);
}

static void wr64(uint64_t at, uint64_t v)
{
	bus_access(core.mmio, bar + at, &v, 8, true);
}

static void run(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		;
}

static void put_trb(uint64_t at, uint64_t parameter, uint32_t status, uint32_t control)
{
	put_le64(ram + at, parameter);
	put_le32(ram + at + 8, status);
	put_le32(ram + at + 12, control);
}

/* The next event, which is taken; type 0: none. */
static struct event next_event(void)
{
	uint8_t *e = ram + EVENTS + 16 * events.next;
	uint32_t control, status;

	run();
	control = get_le32(e + 12);
	status = get_le32(e + 8);
	if ((control & 1) != events.cycle)
		return (struct event){0};
	events.next = (events.next + 1) % EVENT_RING;
	if (!events.next)
		events.cycle ^= 1;
	wr64(INTR + 0x18, (EVENTS + 16 * events.next) | 8);
	return (struct event){get_le64(e), control >> 10 & 63, status >> 24,
			      control >> 24, control >> 16 & 31, status & 0xffffff};
}

static void start(void)
{
	memset(ram + DCBAA, 0, BUFFER - DCBAA);
	commands.next = events.next = 0;
	commands.cycle = events.cycle = 1;
	wr(OP, 2);
	assert_true(rd(OP + 4) & STS_HALTED);
	wr(OP + 0x38, 8);
	wr64(OP + 0x30, DCBAA);
	wr64(OP + 0x18, COMMANDS | 1);
	put_le64(ram + ERST, EVENTS);
	put_le32(ram + ERST + 8, EVENT_RING);
	wr(INTR + 8, 1);
	wr64(INTR + 0x18, EVENTS);
	wr64(INTR + 0x10, ERST);
	wr(INTR, 2);
	wr(OP, CMD_RUN | 4);
	assert_false(rd(OP + 4) & STS_HALTED);
}

static int setup(void **state)
{
	const struct pci_windows windows = {0xc0000000, 0x10000000, 1ull << 40, 1ull << 30, 0xc000, 0x1000};
	uint32_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	core = (struct machine_core){.vm_fd = -1, .mem = mem_new(-1), .input = input_new()};
	assert_true(mem_add_ram(core.mem, 0, RAM, NULL));
	ram = gpa_ptr(core.mem, 0, RAM);
	core.ports = bus_new("port");
	core.mmio = bus_new("mmio");
	core.pci = pci_bus_new(&core, &windows, NULL);
	pci_bus_set_ecam(core.pci, ECAM, 1, NULL);
	hc = device_new(&core, "xhci", "usb", NULL, NULL, NULL);
	assert_non_null(hc);
	bus_access(core.mmio, ECAM + PCI_COMMAND, &command, 2, true);
	bar = ((struct pci_device *)hc)->bar[0].mapped;
	return 0;
}

static int teardown(void **state)
{
	device_free(hc);
	run();
	pci_bus_free(core.pci);
	bus_free(core.ports);
	bus_free(core.mmio);
	mem_free(core.mem);
	input_free(core.input);
	return 0;
}

static struct device *plug(const char *cls)
{
	struct device *d = device_new(&core, cls, "dut", NULL, NULL, NULL);

	assert_non_null(d);
	return d;
}

static struct event command(unsigned type, uint64_t parameter, uint32_t status, uint32_t control)
{
	uint64_t at = COMMANDS + 16 * commands.next;
	struct event e;

	put_trb(at, parameter, status, control | type << 10 | commands.cycle);
	if (++commands.next == RING_SIZE - 1) {
		put_trb(COMMANDS + 16 * commands.next, COMMANDS, 0, LINK << 10 | 2 | commands.cycle);
		commands.next = 0;
		commands.cycle ^= 1;
	}
	wr(DOORBELLS, 0);
	for (e = next_event(); e.type == 34; e = next_event())
		;
	assert_int_equal(e.type, 33);
	assert_int_equal(e.parameter, at);
	return e;
}

static uint64_t ring_at(unsigned dci)
{
	return RINGS + 0x400 * dci;
}

static void add(unsigned dci, uint64_t parameter, uint32_t status, uint32_t control)
{
	put_trb(ring_at(dci) + 16 * rings[dci].next, parameter, status, control | rings[dci].cycle);
	if (++rings[dci].next == RING_SIZE - 1) {
		put_trb(ring_at(dci) + 16 * rings[dci].next, ring_at(dci), 0,
			LINK << 10 | 2 | (control & CHAIN) | rings[dci].cycle);
		rings[dci].next = 0;
		rings[dci].cycle ^= 1;
	}
}

static void put_endpoint(unsigned dci, unsigned type, unsigned packet)
{
	uint8_t *c = ram + INPUT + 32 * (dci + 1);

	put_le32(c + 4, packet << 16 | type << 3 | 3 << 1);
	put_le64(c + 8, ring_at(dci) | 1);
	rings[dci].next = 0;
	rings[dci].cycle = 1;
}

static unsigned reset_port(void)
{
	for (unsigned n = 0; n < 8; n++)
		if (rd(PORTSC + 16 * n) & 1) {
			wr(PORTSC + 16 * n, 1 << 4 | 1 << 9);
			assert_int_equal(rd(PORTSC + 16 * n) & 0x200003, 0x200003);
			wr(PORTSC + 16 * n, 0xfe << 16 | 1 << 9);
			assert_int_equal(rd(PORTSC + 16 * n) >> 16 & 0xfe, 0);
			return n + 1;
		}
	fail_msg("nothing is plugged in");
	return 0;
}

/* Slot 1 is the device's; its default endpoint works. */
static void address(void)
{
	unsigned port = reset_port();
	struct event e = command(9, 0, 0, 0);

	assert_int_equal(e.code, SUCCESS);
	assert_int_equal(e.slot, 1);
	memset(ram + INPUT, 0, 0x440);
	put_le32(ram + INPUT + 4, 3);
	put_le32(ram + INPUT + 32, 1 << 27);
	put_le32(ram + INPUT + 36, port << 16);
	put_endpoint(1, 4, 64);
	put_le64(ram + DCBAA + 8, CONTEXTS);
	assert_int_equal(command(11, INPUT, 0, 1 << 24).code, SUCCESS);
	assert_int_equal(get_le32(ram + CONTEXTS + 12) >> 27, 2);
	assert_int_equal(get_le32(ram + CONTEXTS + 32) & 7, 1);
}

/* A control transfer; the events of its data (if it was short) and status stages. */
static struct event control(uint8_t type, uint8_t request, uint16_t value, uint16_t index, uint16_t length,
			    struct event *ret_data)
{
	bool in = type & 0x80;
	struct event e;

	add(1, type | request << 8 | (uint64_t)value << 16 | (uint64_t)index << 32 | (uint64_t)length << 48, 8,
	    SETUP << 10 | IDT | (length ? 2 + in : 0) << 16);
	if (length)
		add(1, BUFFER, length, DATA << 10 | ISP | (in ? DIR_IN : 0));
	add(1, 0, 0, STATUS << 10 | IOC | (in ? 0 : DIR_IN));
	wr(DOORBELLS + 4, 1);
	e = next_event();
	if (ret_data)
		*ret_data = (struct event){0};
	if (e.code == SHORT) {
		if (ret_data)
			*ret_data = e;
		e = next_event();
	}
	assert_int_equal(e.type, 32);
	assert_int_equal(e.slot, 1);
	assert_int_equal(e.dci, 1);
	return e;
}

/* Endpoints by a mask; slot context entries as the last of them. */
static unsigned configure(uint32_t mask)
{
	memset(ram + INPUT, 0, 64);
	put_le32(ram + INPUT + 4, mask | 1);
	put_le32(ram + INPUT + 32, 5u << 27);
	return command(12, INPUT, 0, 1 << 24).code;
}

static void registers(void **state)
{
	uint8_t length = 0;

	assert_int_equal(rd(0), 0x01000040);
	bus_access(core.mmio, bar, &length, 1, false);
	assert_int_equal(length, OP);
	assert_int_equal(rd(4) >> 24, 8);
	assert_int_equal(rd(0x24), 0x20425355);
	assert_int_equal(rd(0x34), 0x20425355);
	assert_int_equal(rd(OP + 8), 1);
	assert_int_equal(rd(OP + 4), STS_HALTED);
	start();
	for (unsigned i = 0; i < 3 * RING_SIZE; i++)
		assert_int_equal(command(23, 0, 0, 0).code, SUCCESS);
	assert_int_equal(rd(OP + 0x18), 8); /* the command ring runs */
	assert_int_equal(command(30, 0, 0, 0).code, TRB_ERROR);
	wr64(OP + 0x18, 4);
	assert_int_equal(next_event().code, 24);
	assert_int_equal(rd(OP + 0x18), 0);
	wr(OP, 0);
	assert_true(rd(OP + 4) & STS_HALTED);
}

static void descriptors(void **state)
{
	struct device *d = plug("usb-kbd");
	struct event e, data;

	start();
	address();
	assert_int_equal(control(0x80, 6, 0x100, 0, 18, &data).code, SUCCESS);
	assert_int_equal(data.code, 0);
	assert_int_equal(ram[BUFFER], 18);
	assert_int_equal(get_le16(ram + BUFFER + 8), 0x0627);
	assert_int_equal(control(0x80, 6, 0x200, 0, 255, &data).code, SUCCESS);
	assert_int_equal(data.length, 255 - 34);
	assert_int_equal(get_le16(ram + BUFFER + 2), 34);
	assert_int_equal(control(0x80, 6, 0x302, 0x409, 255, &data).code, SUCCESS);
	assert_int_equal(ram[BUFFER + 2], 'U');
	assert_int_equal(control(0x81, 6, 0x2200, 0, 63, &data).code, SUCCESS);
	assert_memory_equal(ram + BUFFER, "\x05\x01\x09\x06", 4);
	/* What it does not have halts the endpoint; then it goes on. */
	e = control(0x80, 6, 0xf00, 0, 5, NULL);
	assert_int_equal(e.code, STALL);
	assert_int_equal(get_le32(ram + CONTEXTS + 32) & 7, 2);
	assert_int_equal(command(14, 0, 0, 1 << 24 | 1 << 16).code, SUCCESS);
	assert_int_equal(command(16, (ring_at(1) + 16 * rings[1].next) | rings[1].cycle, 0, 1 << 24 | 1 << 16).code, SUCCESS);
	assert_int_equal(control(0x80, 8, 0, 0, 1, &data).code, SUCCESS);
	assert_int_equal(ram[BUFFER], 0);
	assert_int_equal(control(0, 9, 1, 0, 0, NULL).code, SUCCESS);
	assert_int_equal(control(0x80, 8, 0, 0, 1, NULL).code, SUCCESS);
	assert_int_equal(ram[BUFFER], 1);
	device_free(d);
}

static void key(unsigned code, bool down)
{
	input_send(core.input, &(struct input_event){.kind = INPUT_KEY, .code = code, .down = down});
	input_sync(core.input);
}

static void ask(unsigned dci, unsigned bytes)
{
	memset(ram + BUFFER, 0xee, 16);
	add(dci, BUFFER, bytes, NORMAL << 10 | IOC | ISP);
	wr(DOORBELLS + 4, dci);
}

static void begin_hid(void)
{
	start();
	address();
	put_endpoint(3, 7, 8);
	assert_int_equal(configure(1 << 3), SUCCESS);
	assert_int_equal(get_le32(ram + CONTEXTS + 12) >> 27, 3);
	assert_int_equal(control(0, 9, 1, 0, 0, NULL).code, SUCCESS);
}

static void keyboard(void **state)
{
	struct device *d = plug("usb-kbd");
	struct event e;

	key(KEY_A, true); /* nobody uses it yet */
	begin_hid();
	ask(3, 8);
	assert_int_equal(next_event().type, 0);
	key(KEY_LEFTSHIFT, true);
	key(KEY_A, true);
	e = next_event();
	assert_int_equal(e.code, SUCCESS);
	assert_int_equal(e.dci, 3);
	assert_int_equal(e.length, 0);
	assert_memory_equal(ram + BUFFER, "\2\0\0\0\0\0\0\0", 8);
	ask(3, 8);
	assert_int_equal(next_event().code, SUCCESS);
	assert_memory_equal(ram + BUFFER, "\2\0\4\0\0\0\0\0", 8);
	for (unsigned i = 0; i < 7; i++)
		key(KEY_1 + i, true);
	for (unsigned i = 0; i < 7; i++) {
		ask(3, 8);
		assert_int_equal(next_event().code, SUCCESS);
	}
	assert_memory_equal(ram + BUFFER, "\2\0\1\1\1\1\1\1", 8); /* more keys than it can tell */
	key(KEY_A, false);
	key(KEY_1, false);
	ask(3, 64);
	ask(3, 64);
	assert_int_equal(next_event().code, SHORT);
	e = next_event();
	assert_int_equal(e.code, SHORT);
	assert_int_equal(e.length, 56);
	assert_memory_equal(ram + BUFFER, "\2\0\x1f\x20\x21\x22\x23\x24", 8);
	ram[BUFFER] = 2;
	assert_int_equal(control(0x21, 9, 0x200, 0, 1, NULL).code, SUCCESS);
	assert_int_equal(input_get_leds(core.input), INPUT_LED_CAPS);
	device_free(d);
	assert_false(input_takes(core.input, INPUT_KEY));
}

static void tablet(void **state)
{
	struct device *d = plug("usb-tablet");

	begin_hid();
	for (unsigned i = 1; i <= 50; i++) {
		input_send(core.input, &(struct input_event){.kind = INPUT_ABSOLUTE, .x = 0x100 + i, .y = 0x7000});
		input_sync(core.input);
	}
	input_send(core.input, &(struct input_event){.kind = INPUT_BUTTON, .code = BTN_RIGHT, .down = true});
	input_sync(core.input);
	input_send(core.input, &(struct input_event){.kind = INPUT_WHEEL, .y = -1});
	input_sync(core.input);
	ask(3, 8);
	assert_int_equal(next_event().code, SHORT);
	assert_memory_equal(ram + BUFFER, "\0\x32\x01\0\x70\0", 6);
	ask(3, 8);
	assert_int_equal(next_event().code, SHORT);
	assert_memory_equal(ram + BUFFER, "\2\x32\x01\0\x70\xff", 6);
	ask(3, 8);
	assert_int_equal(next_event().type, 0);
	device_free(d);
}

static void mouse(void **state)
{
	struct device *d = plug("usb-mouse");

	begin_hid();
	input_send(core.input, &(struct input_event){.kind = INPUT_RELATIVE, .x = 200, .y = -1});
	input_sync(core.input);
	ask(3, 4);
	assert_int_equal(next_event().code, SUCCESS);
	assert_memory_equal(ram + BUFFER, "\0\x7f\xff\0", 4);
	ask(3, 4);
	assert_int_equal(next_event().code, SUCCESS);
	assert_memory_equal(ram + BUFFER, "\0\x49\0\0", 4);
	ask(3, 2); /* less than a report */
	input_send(core.input, &(struct input_event){.kind = INPUT_RELATIVE, .x = 1});
	input_sync(core.input);
	assert_int_equal(next_event().code, 3);
	device_free(d);
}

static void plug_and_unplug(void **state)
{
	struct device *d;
	struct event e;

	start();
	assert_int_equal(next_event().type, 0);
	d = plug("usb-kbd");
	e = next_event();
	assert_int_equal(e.type, 34);
	assert_int_equal(e.parameter >> 24, 1);
	assert_true(rd(OP + 4) & 0x10);
	assert_int_equal(rd(PORTSC) & 0x20003, 0x20001);
	begin_hid();
	ask(3, 8);
	assert_int_equal(next_event().type, 0);
	device_free(d);
	do
		e = next_event();
	while (e.type == 34);
	assert_int_equal(e.type, 32);
	assert_int_equal(e.code, TRANSACTION);
	assert_int_equal(rd(PORTSC) & 1, 0);
	/* All ports taken. */
	for (unsigned i = 0; i < 2; i++) {
		struct device *all[4];

		for (unsigned n = 0; n < 4; n++)
			all[n] = plug("usb-tablet");
		assert_null(device_new(&core, "usb-tablet", "x", NULL, NULL, NULL));
		for (unsigned n = 0; n < 4; n++)
			device_free(all[n]);
	}
}

/* What is at its ports would be left without it. */
static void stays_with_its_devices(void **state)
{
	struct device *d = plug("usb-tablet");
	g_autoptr(GError) error = NULL;

	assert_non_null(hc->cls->can_unplug);
	assert_false(hc->cls->can_unplug(hc, &error));
	assert_non_null(strstr(error->message, "'dut'"));
	device_free(d);
	assert_true(hc->cls->can_unplug(hc, NULL));
}

static void refused(void **state)
{
	struct device *d = plug("usb-kbd");

	start();
	assert_int_equal(command(12, INPUT, 0, 1 << 24).code, NO_SLOT);
	assert_int_equal(command(12, INPUT, 0, 99u << 24).code, TRB_ERROR);
	address();
	assert_int_equal(command(11, INPUT, 0, 1 << 24).code, CONTEXT_STATE);
	put_endpoint(3, 5, 8); /* isochronous */
	assert_int_equal(configure(1 << 3), PARAMETER);
	put_endpoint(3, 3, 8); /* out, where in is */
	assert_int_equal(configure(1 << 3), PARAMETER);
	put_endpoint(3, 7, 8);
	assert_int_equal(configure(1 << 3), SUCCESS);
	assert_int_equal(command(14, 0, 0, 1 << 24 | 3 << 16).code, CONTEXT_STATE); /* it is not halted */
	assert_int_equal(command(16, ring_at(3) | 1, 0, 1 << 24 | 3 << 16).code, CONTEXT_STATE); /* nor stopped */
	assert_int_equal(command(15, 0, 0, 1 << 24 | 7 << 16).code, 12);
	/* A transfer that waits is told of when it is stopped. */
	assert_int_equal(control(0, 9, 1, 0, 0, NULL).code, SUCCESS);
	ask(3, 8);
	assert_int_equal(next_event().type, 0);
	put_trb(COMMANDS + 16 * commands.next++, 0, 0, 1 << 24 | 3 << 16 | 15 << 10 | commands.cycle);
	wr(DOORBELLS, 0);
	assert_int_equal(next_event().code, STOPPED);
	assert_int_equal(next_event().code, SUCCESS);
	key(KEY_A, true);
	assert_int_equal(next_event().type, 0);
	wr(DOORBELLS + 4, 3);
	assert_int_equal(next_event().code, SUCCESS);
	/* Memory that is not there. */
	add(3, RAM - 4, 8, NORMAL << 10 | IOC);
	wr(DOORBELLS + 4, 3);
	key(KEY_B, true);
	assert_int_equal(next_event().code, TRB_ERROR);
	assert_int_equal(get_le32(ram + CONTEXTS + 32 * 3) & 7, 4);
	assert_int_equal(command(13, INPUT, 0, 1 << 24).code, PARAMETER); /* its flags are none of that command's */
	assert_int_equal(command(10, 0, 0, 1 << 24).code, SUCCESS);
	assert_int_equal(command(10, 0, 0, 1 << 24).code, NO_SLOT);
	device_free(d);
}

static void stands_still(uint64_t ring)
{
	start();
	wr64(OP + 0x18, ring | 1);
	wr(DOORBELLS, 0);
	run();
	assert_true(rd(OP + 4) & STS_ERROR);
	wr(OP, CMD_RUN);
	assert_true(rd(OP + 4) & STS_HALTED);
}

static void broken_rings(void **state)
{
	stands_still(RAM);
	stands_still(UINT64_MAX - 63);
	start();
	put_trb(BUFFER, BUFFER, 0, LINK << 10 | 1);
	stands_still(BUFFER);
	start();
	put_le32(ram + ERST + 8, 3);
	wr64(INTR + 0x10, ERST);
	assert_true(rd(OP + 4) & STS_ERROR);
	start();
	assert_int_equal(command(23, 0, 0, 0).code, SUCCESS);
}

/* Nothing is lost when the driver is slow: what has no room for its event waits. */
static void full_event_ring(void **state)
{
	unsigned n = 0;

	start();
	for (unsigned i = 0; i < 100; i++)
		put_trb(BUFFER + 16 * i, 0, 0, 23 << 10 | 1);
	wr(OP, 0);
	wr64(OP + 0x18, BUFFER | 1);
	wr(OP, CMD_RUN);
	wr(DOORBELLS, 0);
	run();
	for (struct event e = next_event(); e.type; e = next_event()) {
		assert_int_equal(e.type, 33);
		assert_int_equal(e.parameter, BUFFER + 16 * n);
		n++;
	}
	assert_int_equal(n, 100);
}

/* A driver switches interrupts off for a while (Linux, as it wakes its root hubs): what came then interrupts it afterwards. */
static void interrupts_wait(void **state)
{
	struct pci_device *p = (struct pci_device *)hc;
	uint32_t flags = PCI_MSIX_FLAGS_ENABLE;

	start();
	bus_access(core.mmio, ECAM + p->msix_cap + PCI_MSIX_FLAGS, &flags, 2, true);
	for (unsigned i = 0; i < 4; i++)
		wr(MSIX + 16 * i + 12, 0);
	command(23, 0, 0, 0);
	assert_int_equal(p->msix_sent, 1);
	for (unsigned by = 0; by < 2; by++) {
		put_trb(COMMANDS + 16 * commands.next, 0, 0, 23 << 10 | commands.cycle);
		commands.next++;
		wr(by ? OP : INTR, by ? CMD_RUN : 0);
		wr(DOORBELLS, 0);
		run();
		assert_int_equal(p->msix_sent, 1 + by);
		wr(by ? OP : INTR, by ? CMD_RUN | 4 : 2);
		assert_int_equal(p->msix_sent, 2 + by);
		/* Once: while the driver is at work nothing more comes. */
		wr(OP, CMD_RUN | 4);
		assert_int_equal(p->msix_sent, 2 + by);
		assert_int_equal(next_event().type, 33);
	}
}

static void goes_round(void **state)
{
	struct device *d = plug("usb-kbd");
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autoptr(GBytes) in = NULL;
	size_t at = 0;

	begin_hid();
	ask(3, 8);
	run();
	hc->cls->pause(hc);
	key(KEY_A, true);
	assert_int_equal(next_event().type, 0);
	state_save(out, hc->cls->state, "usb", hc);
	state_save(out, d->cls->state, "dut", d);
	in = g_bytes_new(out->data, out->len);
	hc->cls->reset(hc);
	d->cls->reset(d);
	assert_false(input_takes(core.input, INPUT_KEY));
	assert_true(state_load(in, &at, hc->cls->state, "usb", hc, NULL));
	assert_true(state_load(in, &at, d->cls->state, "dut", d, NULL));
	assert_true(input_takes(core.input, INPUT_KEY));
	bar = ((struct pci_device *)hc)->bar[0].mapped;
	hc->cls->resume(hc);
	assert_int_equal(next_event().code, SUCCESS);
	assert_memory_equal(ram + BUFFER, "\0\0\4\0\0\0\0\0", 8);
	device_free(d);
}

/* ---- storage ---- */

static bool no_memory;

/* In the place of GLib's. */
gpointer g_try_malloc0(gsize n)
{
	return no_memory ? NULL : calloc(1, n);
}

static void bulk(unsigned dci, uint64_t at, unsigned len)
{
	add(dci, at, len, NORMAL << 10 | IOC | ISP);
	wr(DOORBELLS + 4, dci);
}

static void send_cbw(uint32_t length, bool in, const uint8_t *cdb, unsigned n)
{
	memset(ram + BUFFER, 0, 31);
	put_le32(ram + BUFFER, 0x43425355);
	put_le32(ram + BUFFER + 4, 0x1234);
	put_le32(ram + BUFFER + 8, length);
	ram[BUFFER + 12] = in ? 0x80 : 0;
	ram[BUFFER + 14] = n;
	memcpy(ram + BUFFER + 15, cdb, n);
	bulk(4, BUFFER, 31);
}

/* The status of a command, and what of its data was not moved. */
static unsigned csw(uint32_t *ret_residue)
{
	struct event e;

	bulk(3, BUFFER, 13);
	e = next_event();
	assert_int_equal(e.code, SUCCESS);
	assert_int_equal(get_le32(ram + BUFFER), 0x53425355);
	assert_int_equal(get_le32(ram + BUFFER + 4), 0x1234);
	*ret_residue = get_le32(ram + BUFFER + 8);
	return ram[BUFFER + 12];
}

/* Status, after data at BUFFER + 0x1000. */
static unsigned scsi(const uint8_t *cdb, unsigned n, uint32_t length, bool in, uint32_t *ret_residue)
{
	unsigned code;

	send_cbw(length, in, cdb, n);
	assert_int_equal(next_event().code, SUCCESS);
	if (length) {
		bulk(in ? 3 : 4, BUFFER + 0x1000, length);
		code = next_event().code;
		assert_true(code == SUCCESS || code == SHORT);
	}
	return csw(ret_residue);
}

/* After a wrapper that was refused: the other endpoint is halted, too, until a reset; then both go on. */
static void recover(void)
{
	bulk(3, BUFFER, 13);
	assert_int_equal(next_event().code, STALL);
	assert_int_equal(control(0x21, 0xff, 0, 0, 0, NULL).code, SUCCESS);
	for (unsigned dci = 3; dci <= 4; dci++) {
		uint64_t at;

		assert_int_equal(control(2, 1, 0, dci == 3 ? 0x81 : 2, 0, NULL).code, SUCCESS);
		assert_int_equal(command(14, 0, 0, 1 << 24 | dci << 16).code, SUCCESS);
		at = ring_at(dci) + 16 * rings[dci].next;
		assert_int_equal(command(16, at | rings[dci].cycle, 0, 1 << 24 | dci << 16).code, SUCCESS);
	}
}

static void storage(void **state)
{
	static struct ram_image image;
	struct device_backend backend = {.controller = plug("usb-storage")};
	struct device *lun;
	uint32_t residue;

	ram_init(&image);
	backend.disk = disk_new("drive", &image.img, NULL, NULL);
	lun = device_new(&core, "scsi-disk", "lun", NULL, &backend, NULL);
	assert_non_null(lun);
	assert_null(device_new(&core, "scsi-disk", "more", NULL, &backend, NULL));
	start();
	address();
	put_endpoint(3, 6, 1024);
	put_endpoint(4, 2, 1024);
	assert_int_equal(configure(1 << 3 | 1 << 4), SUCCESS);
	assert_int_equal(control(0, 9, 1, 0, 0, NULL).code, SUCCESS);
	assert_int_equal(control(0xa1, 0xfe, 0, 0, 1, NULL).code, SUCCESS);
	assert_int_equal(ram[BUFFER], 0);
	/* The unit attention of power-on, and its sense, once. */
	assert_int_equal(scsi((uint8_t[6]){0}, 6, 0, false, &residue), 1);
	assert_int_equal(scsi((uint8_t[6]){3, 0, 0, 0, 18}, 6, 18, true, &residue), 0);
	assert_int_equal(ram[BUFFER + 0x1000 + 2], 6);
	assert_int_equal(ram[BUFFER + 0x1000 + 12], 0x29);
	assert_int_equal(scsi((uint8_t[6]){0}, 6, 0, false, &residue), 0);
	/* A write, and a read that asks for more than there is. */
	memset(ram + BUFFER + 0x1000, 0x5a, 1024);
	assert_int_equal(scsi((uint8_t[10]){0x2a, 0, 0, 0, 0, 2, 0, 0, 2}, 10, 1024, false, &residue), 0);
	assert_int_equal(residue, 0);
	memset(ram + BUFFER + 0x1000, 0, 4096);
	assert_int_equal(scsi((uint8_t[10]){0x28, 0, 0, 0, 0, 2, 0, 0, 2}, 10, 4096, true, &residue), 0);
	assert_int_equal(residue, 4096 - 1024);
	assert_int_equal(ram[BUFFER + 0x1000], 0x5a);
	assert_int_equal(ram[BUFFER + 0x1000 + 1023], 0x5a);
	assert_int_equal(ram[BUFFER + 0x1000 + 1024], 0);
	assert_int_equal(scsi((uint8_t[6]){0xff}, 6, 512, true, &residue), 1); /* no such command */
	assert_int_equal(residue, 512);
	/* A wrapper that is none: both endpoints are halted until the reset. */
	ram[BUFFER] = 0;
	bulk(4, BUFFER, 31);
	assert_int_equal(next_event().code, STALL);
	recover();
	/* Nor is a command taken that there is no memory for; nothing of it is left. */
	no_memory = true;
	send_cbw(4096, true, (uint8_t[10]){0x28, 0, 0, 0, 0, 2, 0, 0, 8}, 10);
	assert_int_equal(next_event().code, STALL);
	no_memory = false;
	assert_true(backend.controller->cls->can_save(backend.controller, NULL));
	recover();
	/* Commands that a reset left with a disk are not there without end: the next one waits. */
	image.hold = true;
	for (unsigned i = 0; send_cbw(1024, true, (uint8_t[10]){0x28, 0, 0, 0, 0, 2, 0, 0, 2}, 10), next_event().type; i++) {
		assert_in_range(i, 0, 15);
		assert_int_equal(control(0x21, 0xff, 0, 0, 0, NULL).code, SUCCESS);
	}
	image.hold = false;
	ram_complete(&image);
	assert_int_equal(next_event().code, SUCCESS);
	bulk(3, BUFFER + 0x1000, 1024);
	assert_int_equal(next_event().code, SUCCESS);
	assert_int_equal(csw(&residue), 0);
	/* A reset while the disk works on a read. */
	send_cbw(1024, true, (uint8_t[10]){0x28, 0, 0, 0, 0, 2, 0, 0, 2}, 10);
	wr(OP, 2);
	run();
	backend.controller->cls->pause(backend.controller);
	assert_true(backend.controller->cls->can_save(backend.controller, NULL));
	device_free(lun);
	device_free(backend.controller);
	disk_free(backend.disk);
}

static const struct scsi_host *storage_host;

/* A processor resets the controller at this very moment. */
static void reset_and_kept(struct scsi_req *r, bool kept)
{
	if (kept)
		wr(OP, 2);
	storage_host->kept(r, kept);
}

/* The disk stops the machine with a command that is its to keep until the machine goes on, or is reset. */
static void reset_as_a_command_fails(void **state)
{
	static struct ram_image image;
	g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_new_parsed("{'rerror': <'stop'>}"));
	struct device_backend backend = {.controller = plug("usb-storage")};
	struct scsi_host hook;
	struct scsi_lun *lun;
	uint32_t residue;

	ram_init(&image);
	backend.disk = disk_new("drive", &image.img, options, NULL);
	lun = (struct scsi_lun *)device_new(&core, "scsi-disk", "lun", NULL, &backend, NULL);
	assert_non_null(lun);
	storage_host = lun->host;
	hook = *storage_host;
	hook.kept = reset_and_kept;
	for (unsigned i = 0; i < 2; i++) {
		start();
		address();
		put_endpoint(3, 6, 1024);
		put_endpoint(4, 2, 1024);
		assert_int_equal(configure(1 << 3 | 1 << 4), SUCCESS);
		assert_int_equal(control(0, 9, 1, 0, 0, NULL).code, SUCCESS);
		scsi((uint8_t[6]){0}, 6, 0, false, &residue);
		image.fail = EIO;
		lun->host = &hook;
		send_cbw(1024, true, (uint8_t[10]){0x28, 0, 0, 0, 0, 2, 0, 0, 2}, 10);
		run();
		lun->host = storage_host;
		image.fail = 0;
		assert_true(disk_has_kept(backend.disk));
		assert_true(backend.controller->cls->can_save(backend.controller, NULL));
		if (i)
			backend.controller->cls->reset(backend.controller);
		else
			disk_resume(backend.disk);
		assert_false(disk_has_kept(backend.disk));
		run();
		backend.controller->cls->pause(backend.controller);
	}
	device_free(&lun->dev);
	device_free(backend.controller);
	disk_free(backend.disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registers, setup, teardown),
		cmocka_unit_test_setup_teardown(descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(keyboard, setup, teardown),
		cmocka_unit_test_setup_teardown(tablet, setup, teardown),
		cmocka_unit_test_setup_teardown(mouse, setup, teardown),
		cmocka_unit_test_setup_teardown(plug_and_unplug, setup, teardown),
		cmocka_unit_test_setup_teardown(stays_with_its_devices, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(broken_rings, setup, teardown),
		cmocka_unit_test_setup_teardown(full_event_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(interrupts_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(goes_round, setup, teardown),
		cmocka_unit_test_setup_teardown(storage, setup, teardown),
		cmocka_unit_test_setup_teardown(reset_as_a_command_fails, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
