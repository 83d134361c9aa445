/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keyboard controller with its keyboard and mouse, through the ports on one side and input.h on the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <linux/input-event-codes.h>

#include "device.h"
#include "input.h"

enum { DATA = 0x60, COMMAND = 0x64, FULL = 1, AUX = 0x20 };

static struct machine_core core;
static struct device *dev;
static unsigned resets;

static void request(void *machine, enum machine_request what)
{
	resets += what == REQUEST_RESET;
}

static void make(GVariant *options)
{
	core = (struct machine_core){.vm_fd = -1, .request = request, .input = input_new()};
	core.ports = bus_new("port");
	dev = device_new(&core, "i8042", "kbd", options, NULL, NULL);
	assert_non_null(dev);
	resets = 0;
}

static int setup(void **state)
{
	make(NULL);
	return 0;
}

static int teardown(void **state)
{
	device_free(dev);
	bus_free(core.ports);
	input_free(core.input);
	return 0;
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

static void config(uint8_t v)
{
	out(COMMAND, 0x60);
	out(DATA, v);
}

static void aux(uint8_t v)
{
	out(COMMAND, 0xd4);
	out(DATA, v);
}

/* All that is there is exactly these bytes. */
static void comes_bytes(const uint8_t *wanted, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert_true(in(COMMAND) & FULL);
		assert_int_equal(in(DATA), wanted[i]);
	}
	assert_false(in(COMMAND) & FULL);
}

#define comes(...) comes_bytes((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static unsigned drain(uint8_t *to, unsigned max)
{
	unsigned n = 0;

	while (n < max && (in(COMMAND) & FULL))
		to[n++] = in(DATA);
	return n;
}

static void key(unsigned code, bool down)
{
	input_send(core.input, &(struct input_event){.kind = INPUT_KEY, .code = code, .down = down});
	input_sync(core.input);
}

static void move(int x, int y)
{
	input_send(core.input, &(struct input_event){.kind = INPUT_RELATIVE, .x = x, .y = y});
	input_sync(core.input);
}

static void button(unsigned code, bool down)
{
	input_send(core.input, &(struct input_event){.kind = INPUT_BUTTON, .code = code, .down = down});
	input_sync(core.input);
}

static void controller(void **state)
{
	out(COMMAND, 0xaa);
	comes(0x55);
	out(COMMAND, 0xab);
	comes(0);
	out(COMMAND, 0xa9);
	comes(0);
	config(0x47);
	out(COMMAND, 0x20);
	comes(0x47);
	out(COMMAND, 0xa7);
	out(COMMAND, 0xad);
	out(COMMAND, 0x20);
	comes(0x77);
	out(COMMAND, 0xa8);
	out(COMMAND, 0xae);
	out(COMMAND, 0x20);
	comes(0x47);
	out(COMMAND, 0x6f); /* another byte of its memory */
	out(DATA, 0x5a);
	out(COMMAND, 0x2f);
	comes(0x5a);
	out(COMMAND, 0xd3); /* as from the mouse, which is how drivers find the port */
	out(DATA, 0x5a);
	assert_int_equal(in(COMMAND) & (FULL | AUX), FULL | AUX);
	comes(0x5a);
	out(COMMAND, 0xd2);
	out(DATA, 0x11);
	assert_int_equal(in(COMMAND) & (FULL | AUX), FULL);
	comes(0x11);
}

static void output_port(void **state)
{
	out(COMMAND, 0xd0);
	assert_int_equal(in(DATA) & 3, 3);
	out(COMMAND, 0xdd);
	out(COMMAND, 0xd0);
	assert_int_equal(in(DATA) & 3, 1);
	out(COMMAND, 0xd1);
	out(DATA, 3);
	out(COMMAND, 0xd0);
	assert_int_equal(in(DATA) & 3, 3);
	assert_int_equal(resets, 0);
	out(COMMAND, 0xd1);
	out(DATA, 2);
	assert_int_equal(resets, 1);
	out(COMMAND, 0xff); /* pulses nothing */
	assert_int_equal(resets, 1);
	out(COMMAND, 0xfe);
	assert_int_equal(resets, 2);
}

static void keyboard_commands(void **state)
{
	config(3);
	out(DATA, 0xff);
	comes(0xfa, 0xaa);
	out(DATA, 0xf2);
	comes(0xfa, 0xab, 0x83);
	config(0x43);
	out(DATA, 0xf2);
	comes(0xfa, 0xab, 0x41); /* translated */
	out(DATA, 0xee);
	comes(0xee);
	out(DATA, 0xfe);
	comes(0xee);
	out(DATA, 0xed);
	comes(0xfa);
	out(DATA, 6); /* num, caps */
	comes(0xfa);
	assert_int_equal(input_get_leds(core.input), INPUT_LED_NUM | INPUT_LED_CAPS);
	out(DATA, 0xf3);
	comes(0xfa);
	out(DATA, 0x20);
	comes(0xfa);
	out(DATA, 0xed); /* a command in the place of the parameter */
	comes(0xfa);
	out(DATA, 0xf2);
	comes(0xfa, 0xab, 0x41);
	out(DATA, 0x10); /* none */
	comes(0xfe);
	out(DATA, 0xfb); /* a list of keys of set 3 */
	out(DATA, 0x1c);
	out(DATA, 0x1d);
	comes(0xfa, 0xfa, 0xfa);
	out(DATA, 0xf5);
	comes(0xfa);
	key(KEY_A, true);
	comes_bytes(NULL, 0);
	out(DATA, 0xf4);
	comes(0xfa);
	key(KEY_A, true);
	comes(0x1e);
}

static void scan_codes(void **state)
{
	config(3); /* as the keyboard sends them: set 2 */
	key(KEY_A, true);
	key(KEY_A, false);
	comes(0x1c, 0xf0, 0x1c);
	key(KEY_UP, true);
	key(KEY_UP, false);
	comes(0xe0, 0x75, 0xe0, 0xf0, 0x75);
	key(KEY_F7, true);
	comes(0x83);
	config(0x43);
	key(KEY_A, true);
	key(KEY_A, false);
	comes(0x1e, 0x9e);
	key(KEY_UP, true);
	key(KEY_UP, false);
	comes(0xe0, 0x48, 0xe0, 0xc8);
	key(KEY_F7, true);
	key(KEY_F7, false);
	comes(0x41, 0xc1);
	key(KEY_PAUSE, true);
	key(KEY_PAUSE, false);
	comes(0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5);
	key(KEY_SYSRQ, true);
	key(KEY_SYSRQ, false);
	comes(0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa);
	key(KEY_LEFTALT, true);
	key(KEY_SYSRQ, true);
	comes(0x38, 0x54);
	out(DATA, 0xf0);
	out(DATA, 3);
	comes(0xfa, 0xfa);
	config(3);
	out(DATA, 0xf0);
	out(DATA, 0);
	comes(0xfa, 0xfa, 3);
	key(KEY_A, true);
	key(KEY_UP, false);
	key(KEY_KPENTER, true);
	comes(0x1c, 0xf0, 0x63, 0x79);
}

static unsigned bytes_of(unsigned code, bool down, uint8_t set, bool translate, uint8_t *to)
{
	uint8_t dropped[16];

	config(translate ? 0x43 : 3);
	out(DATA, 0xf0);
	out(DATA, set);
	drain(dropped, sizeof(dropped));
	key(code, down);
	return drain(to, 16);
}

/* What the controller makes of set 2 is what the keyboard itself says in set 1, for every key that there is. */
static void translation_is_set_1(void **state)
{
	unsigned n_keys = 0;

	for (unsigned code = 1; code < 256; code++) {
		for (unsigned down = 0; down < 2; down++) {
			uint8_t one[16], two[16];
			unsigned n = bytes_of(code, down, 1, false, one), m = bytes_of(code, down, 2, true, two);

			assert_int_equal(n, m);
			assert_memory_equal(one, two, n);
			n_keys += n && down;
		}
	}
	assert_true(n_keys > 110);
	key(0x2ff, true);
	comes_bytes(NULL, 0);
}

/* A guest that does not read loses whole keys. */
static void full_keyboard(void **state)
{
	uint8_t bytes[400];
	unsigned n;

	config(3);
	for (unsigned i = 0; i < 100; i++)
		key(KEY_UP, false);
	n = drain(bytes, sizeof(bytes));
	assert_in_range(n, 100, 129);
	assert_int_equal(n % 3, 0);
	assert_int_equal(bytes[n - 1], 0x75);
}

static void held_bytes(void **state)
{
	config(0x53); /* the keyboard's clock is held */
	key(KEY_A, true);
	comes_bytes(NULL, 0);
	config(0x43);
	comes(0x1e);
}

static void mouse_commands(void **state)
{
	aux(0xff);
	assert_int_equal(in(COMMAND) & (FULL | AUX), FULL | AUX);
	comes(0xfa, 0xaa, 0);
	aux(0xf2);
	comes(0xfa, 0);
	aux(0xe9);
	comes(0xfa, 0, 2, 100);
	aux(0xe8);
	aux(3);
	aux(0xe7);
	comes(0xfa, 0xfa, 0xfa);
	aux(0xe9);
	comes(0xfa, 0x10, 3, 100);
	aux(0xe8);
	aux(4); /* there is no such resolution */
	comes(0xfa, 0xfe);
	aux(0xee);
	comes(0xfa);
	aux(0x42); /* it says all again */
	comes(0x42);
	aux(0xec);
	comes(0xfa);
	aux(0x42);
	comes(0xfe);
	aux(0xfe);
	comes(0xfe);
}

static void knock(uint8_t a, uint8_t b, uint8_t c)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < 3; i++) {
		aux(0xf3);
		aux(i == 0 ? a : i == 1 ? b : c);
	}
	assert_int_equal(drain(bytes, sizeof(bytes)), 6);
}

static void mouse_moves(void **state)
{
	move(5, 5);
	comes_bytes(NULL, 0); /* not enabled */
	aux(0xf4);
	comes(0xfa);
	move(5, 7);
	comes(0x28, 5, 0xf9); /* up is positive */
	button(BTN_LEFT, true);
	button(BTN_LEFT, false);
	comes(0x09, 0, 0, 0x08, 0, 0);
	move(300, 0);
	comes(0x08, 255, 0, 0x08, 45, 0);
	move(-300, 0);
	comes(0x18, 1, 0, 0x18, 0xd3, 0);
	input_send(core.input, &(struct input_event){.kind = INPUT_WHEEL, .y = 1});
	input_sync(core.input);
	comes(0x08, 0, 0); /* it has no wheel yet */
	knock(200, 100, 80);
	aux(0xf2);
	comes(0xfa, 3);
	input_send(core.input, &(struct input_event){.kind = INPUT_WHEEL, .y = 1});
	input_sync(core.input);
	comes(0x08, 0, 0, 0xff);
	knock(200, 200, 80);
	aux(0xf2);
	comes(0xfa, 4);
	button(BTN_SIDE, true);
	comes(0x08, 0, 0, 0x10);
	button(BTN_SIDE, false);
	comes(0x08, 0, 0, 0);
	aux(0xe7);
	comes(0xfa);
	move(3, 0);
	comes(0x08, 3, 0, 0);
	move(10, 0);
	comes(0x08, 20, 0, 0);
	aux(0xf0); /* asked for alone */
	comes(0xfa);
	move(2, 0);
	comes_bytes(NULL, 0);
	aux(0xeb);
	comes(0xfa, 0x08, 2, 0, 0);
	aux(0xff);
	comes(0xfa, 0xaa, 0);
}

/* Moves that nobody takes are added up, and buttons stay where they were pressed. */
static void full_mouse(void **state)
{
	uint8_t bytes[256];
	unsigned n;
	int sum = 0;

	aux(0xf4);
	comes(0xfa);
	for (unsigned i = 0; i < 500; i++)
		move(3, 0);
	while ((n = drain(bytes, 3)) == 3)
		sum += bytes[1];
	assert_int_equal(n, 0);
	assert_int_equal(sum, 1500);
}

static void no_ports(void **state)
{
	teardown(NULL);
	make(g_variant_new_parsed("{'ports': <false>}"));
	out(COMMAND, 0xab);
	comes(0xff);
	out(COMMAND, 0xa9);
	comes(0xff);
	out(DATA, 0xff);
	comes(0xfe);
	aux(0xff);
	comes(0xfe);
	assert_false(input_takes(core.input, INPUT_KEY));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(controller, setup, teardown),
		cmocka_unit_test_setup_teardown(output_port, setup, teardown),
		cmocka_unit_test_setup_teardown(keyboard_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(scan_codes, setup, teardown),
		cmocka_unit_test_setup_teardown(translation_is_set_1, setup, teardown),
		cmocka_unit_test_setup_teardown(full_keyboard, setup, teardown),
		cmocka_unit_test_setup_teardown(held_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(mouse_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(mouse_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(full_mouse, setup, teardown),
		cmocka_unit_test_setup_teardown(no_ports, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
