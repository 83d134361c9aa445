/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The legacy devices through their ports: serial port, clock, power block, keyboard controller.
 * The console is this file's: it takes or refuses what the serial port sends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "char.h"
#include "device.h"

/* ---- a console without a host side, in place of libchar's ---- */

static struct chardev console;
static GString *sent;
static bool full;
static unsigned resumed;

void char_attach(struct chardev *c, const struct char_client *client, void *opaque)
{
	c->client = client;
	c->client_opaque = opaque;
}

void char_write(struct chardev *c, const uint8_t *data, size_t len)
{
	g_string_append_len(sent, (const char *)data, len);
}

bool char_writable(struct chardev *c)
{
	return !full;
}

struct chardev *char_open(const char *spec, GError **error)
{
	return NULL;
}

void char_close(struct chardev *c)
{
}

bool char_connected(struct chardev *c)
{
	return true;
}

void char_resume(struct chardev *c)
{
	resumed++;
}

/* ---- */

static struct machine_core core;
static unsigned requests[3];

static void request(void *machine, enum machine_request what)
{
	requests[what]++;
}

static struct device *open_device(const char *cls)
{
	struct device_backend backend = { .chardev = &console };
	struct device *d;

	core = (struct machine_core){ .vm_fd = -1, .request = request };
	core.ports = bus_new("port");
	core.mmio = bus_new("mmio");
	memset(requests, 0, sizeof(requests));
	sent = g_string_new(NULL);
	full = false;
	d = device_new(&core, cls, "dut", NULL, &backend, NULL);
	assert_non_null(d);
	return d;
}

static void close_device(struct device *d)
{
	device_free(d);
	bus_free(core.ports);
	bus_free(core.mmio);
	g_string_free(sent, TRUE);
}

static uint8_t in(uint16_t port)
{
	uint8_t v = 0;

	bus_access(core.ports, port, &v, 1, false);
	return v;
}

static void out(uint16_t port, uint8_t v)
{
	bus_access(core.ports, port, &v, 1, true);
}

/* ---- 16550 ---- */

enum { COM = 0x3f8, IER = COM + 1, IIR = COM + 2, FCR = COM + 2, LCR = COM + 3, MCR = COM + 4, LSR = COM + 5, MSR = COM + 6 };

static void type(const char *text)
{
	console.client->receive(console.client_opaque, (const uint8_t *)text, strlen(text));
}

static void uart_sends(void **state)
{
	struct device *d = open_device("ns16550");

	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(IIR), 1);
	out(COM, 'a');
	out(IER, 2);
	assert_int_equal(in(IIR), 2); /* empty: once */
	assert_int_equal(in(IIR), 1);
	out(COM, 'b');
	assert_int_equal(in(IIR), 2);
	assert_string_equal(sent->str, "ab");
	close_device(d);
}

static void uart_waits_for_the_console(void **state)
{
	struct device *d = open_device("ns16550");

	out(IER, 2);
	in(IIR);
	full = true;
	out(COM, 'x');
	assert_int_equal(in(LSR) & 0x60, 0);
	assert_int_equal(in(IIR), 1);
	full = false;
	while (in(IIR) == 1)
		g_main_context_iteration(NULL, TRUE);
	assert_int_equal(in(LSR) & 0x60, 0x60);
	close_device(d);
}

static void uart_receives(void **state)
{
	struct device *d = open_device("ns16550");

	assert_int_equal(console.client->can_receive(console.client_opaque), 1);
	out(FCR, 1); /* FIFO, trigger at one byte */
	assert_int_equal(in(IIR), 0xc1);
	assert_int_equal(console.client->can_receive(console.client_opaque), 16);
	out(IER, 1);
	type("hello");
	assert_int_equal(in(IIR), 0xc4);
	assert_int_equal(console.client->can_receive(console.client_opaque), 11);
	out(FCR, 0x81); /* trigger at eight: what is there is told as a time-out */
	assert_int_equal(in(IIR), 0xcc);
	assert_int_equal(in(LSR), 0x61);
	for (const char *c = "hello"; *c; c++)
		assert_int_equal(in(COM), *c);
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(IIR), 0xc1);
	assert_true(resumed >= 5);
	type("more than sixteen bytes");
	out(IER, 5);
	assert_int_equal(in(IIR), 0xc6);
	assert_int_equal(in(LSR) & 2, 2); /* overrun, told once */
	assert_int_equal(in(LSR) & 2, 0);
	out(FCR, 3);
	assert_int_equal(in(LSR), 0x60);
	close_device(d);
}

static void uart_loops_back(void **state)
{
	struct device *d = open_device("ns16550");

	out(MCR, 0x1f);
	assert_int_equal(in(MSR) & 0xf0, 0xf0);
	out(MCR, 0x1a); /* RTS and OUT2: CTS and DCD */
	assert_int_equal(in(MSR) & 0xf0, 0x90);
	out(COM, 'q');
	assert_int_equal(in(COM), 'q');
	assert_int_equal(sent->len, 0);
	out(MCR, 0);
	assert_int_equal(in(MSR) & 0xb0, 0xb0);
	close_device(d);
}

static void uart_divisor(void **state)
{
	struct device *d = open_device("ns16550");

	out(LCR, 0x83);
	out(COM, 12);
	out(IER, 1);
	assert_int_equal(in(COM), 12);
	assert_int_equal(in(IER), 1);
	out(LCR, 3);
	assert_int_equal(in(IER), 0);
	assert_int_equal(sent->len, 0);
	out(COM + 7, 0xa5);
	assert_int_equal(in(COM + 7), 0xa5);
	close_device(d);
}

/* ---- clock ---- */

static uint8_t cmos(uint8_t reg)
{
	out(0x70, reg);
	return in(0x71);
}

static void set_cmos(uint8_t reg, uint8_t v)
{
	out(0x70, reg);
	out(0x71, v);
}

static void set_time(const uint8_t values[7])
{
	static const uint8_t regs[7] = { 0x32, 9, 8, 7, 4, 2, 0 };

	set_cmos(11, cmos(11) | 0x80);
	for (unsigned i = 0; i < 7; i++)
		set_cmos(regs[i], values[i]);
	set_cmos(11, cmos(11) & ~0x80);
}

static void clock_tells_the_time(void **state)
{
	struct device *d = open_device("mc146818");
	time_t now = time(NULL);
	struct tm tm;
	unsigned year = cmos(9);

	gmtime_r(&now, &tm);
	assert_int_equal((year >> 4) * 10 + (year & 15), tm.tm_year % 100);
	assert_int_equal(cmos(0x32), 0x20);
	assert_int_equal(cmos(10) & 0x80, 0);
	assert_int_equal(cmos(13), 0x80);
	close_device(d);
}

static void clock_is_set(void **state)
{
	static const uint8_t bcd[7] = { 0x19, 0x99, 0x12, 0x31, 0x23, 0x58, 0x30 };
	static const uint8_t binary[7] = { 20, 32, 2, 29, 0x80 | 11, 7, 9 }; /* 11 p.m. in 12 hours */
	struct device *d = open_device("mc146818");

	set_time(bcd);
	assert_int_equal(cmos(0x32), 0x19);
	assert_int_equal(cmos(9), 0x99);
	assert_int_equal(cmos(7), 0x31);
	assert_int_equal(cmos(4), 0x23);
	assert_int_equal(cmos(6), 6); /* a Friday */
	set_cmos(11, 4);
	set_time(binary);
	assert_int_equal(cmos(9), 32);
	assert_int_equal(cmos(8), 2);
	assert_int_equal(cmos(7), 29);
	assert_int_equal(cmos(4), 0x80 | 11);
	set_cmos(11, 4 | 2);
	assert_int_equal(cmos(4), 23);
	close_device(d);
}

static void clock_keeps_memory(void **state)
{
	struct device *d = open_device("mc146818");

	for (unsigned i = 14; i < 128; i++)
		if (i != 0x32)
			set_cmos(i, i ^ 0x5a);
	d->cls->reset(d);
	for (unsigned i = 14; i < 128; i++)
		if (i != 0x32)
			assert_int_equal(cmos(i), i ^ 0x5a);
	/* The index has seven bits: the eighth masks NMIs on a PC. */
	assert_int_equal(cmos(0x80 | 20), 20 ^ 0x5a);
	close_device(d);
}

static void clock_interrupts(void **state)
{
	struct device *d = open_device("mc146818");

	set_cmos(11, 2 | 0x10);
	for (uint8_t c = 0; !(c & 0x10); c = cmos(12)) {
		assert_int_equal(c & 0x80, 0);
		g_main_context_iteration(NULL, TRUE);
	}
	assert_int_equal(cmos(12) & 0x90, 0);
	/* An alarm that matches at any time. */
	set_cmos(1, 0xff);
	set_cmos(3, 0xff);
	set_cmos(5, 0xff);
	set_cmos(11, 2 | 0x20);
	for (uint8_t c = 0; !(c & 0x20); c = cmos(12))
		g_main_context_iteration(NULL, TRUE);
	close_device(d);
}

/* Any values in the time registers, in all modes. */
static void clock_takes_nonsense(void **state)
{
	struct device *d = open_device("mc146818");

	for (unsigned mode = 0; mode < 4; mode++) {
		for (unsigned v = 0; v < 256; v += 5) {
			set_cmos(11, 0x80 | mode << 1);
			for (unsigned i = 0; i < 10; i++)
				set_cmos(i, v + i);
			set_cmos(0x32, v);
			set_cmos(11, mode << 1);
			for (unsigned i = 0; i < 14; i++)
				cmos(i);
		}
	}
	close_device(d);
}

/* ---- power and keyboard controller ---- */

static void power_block(void **state)
{
	struct device *d = open_device("acpi-pm");

	out(0x600, 0x14); /* no SLP_EN */
	out(0x600, 0x20); /* another sleep state */
	assert_int_equal(requests[REQUEST_POWEROFF], 0);
	out(0x600, 0x34);
	assert_int_equal(requests[REQUEST_POWEROFF], 1);
	out(0x602, 2);
	assert_int_equal(requests[REQUEST_RESET], 0);
	out(0x602, 1);
	assert_int_equal(requests[REQUEST_RESET], 1);
	assert_int_equal(in(0x603), 0);
	close_device(d);
}

static void keyboard_controller(void **state)
{
	struct device *d = open_device("i8042");

	assert_int_equal(in(0x64) & 3, 0);
	out(0x64, 0xaa);
	assert_int_equal(in(0x64) & 1, 1);
	assert_int_equal(in(0x60), 0x55);
	assert_int_equal(in(0x64) & 1, 0);
	out(0x64, 0x60);
	out(0x60, 0x47);
	out(0x64, 0x20);
	assert_int_equal(in(0x60), 0x47);
	assert_int_equal(requests[REQUEST_RESET], 0);
	out(0x64, 0xfe);
	assert_int_equal(requests[REQUEST_RESET], 1);
	close_device(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uart_sends), cmocka_unit_test(uart_waits_for_the_console),
		cmocka_unit_test(uart_receives), cmocka_unit_test(uart_loops_back),
		cmocka_unit_test(uart_divisor), cmocka_unit_test(clock_tells_the_time),
		cmocka_unit_test(clock_is_set), cmocka_unit_test(clock_keeps_memory),
		cmocka_unit_test(clock_interrupts), cmocka_unit_test(clock_takes_nonsense),
		cmocka_unit_test(power_block), cmocka_unit_test(keyboard_controller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
