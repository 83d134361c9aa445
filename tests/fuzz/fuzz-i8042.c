/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: the keyboard controller with keyboard and mouse. Input: pairs of bytes, what happens (modulo the list in step())
 * and a value. Nothing is expected but that the process survives, that a guest that reads comes to an end, and that a reset
 * makes a controller that passes its self test and keys that arrive.
 */
#include <stdlib.h>
#include <string.h>

#include <linux/input-event-codes.h>

#include "device.h"
#include "fuzz-input.h"
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DATA = 0x60, COMMAND = 0x64, BYTES_MAX = 100000 };

static void request(void *machine, enum machine_request what)
{
}

static uint8_t in(struct machine_core *core, uint16_t port)
{
	uint8_t v = 0;

	bus_access(core->ports, port, &v, 1, false);
	return v;
}

static void out(struct machine_core *core, uint16_t port, uint8_t v)
{
	bus_access(core->ports, port, &v, 1, true);
}

/* There and back, and nothing has changed. */
static void save_and_load(struct device *d)
{
	g_autoptr(GByteArray) first = g_byte_array_new(), second = g_byte_array_new();
	g_autoptr(GBytes) bytes = NULL;
	size_t at = 0;

	state_save(first, d->cls->state, d->id, d);
	bytes = g_bytes_new(first->data, first->len);
	check(state_load(bytes, &at, d->cls->state, d->id, d, NULL));
	state_save(second, d->cls->state, d->id, d);
	check(first->len == second->len && !memcmp(first->data, second->data, first->len));
}

static void step(struct machine_core *core, struct device *d, uint8_t op, uint8_t v)
{
	struct input_event e = {0};

	switch (op % 10) {
	case 0:
		out(core, DATA, v);
		return;
	case 1:
		out(core, COMMAND, v);
		return;
	case 2:
		in(core, v & 1 ? COMMAND : DATA);
		return;
	case 3:
		out(core, COMMAND, 0xd4);
		out(core, DATA, v);
		return;
	case 4:
	case 5:
		e = (struct input_event){.kind = INPUT_KEY, .code = v | (op & 0x80) << 1, .down = op & 0x40};
		break;
	case 6:
		e = (struct input_event){.kind = INPUT_BUTTON, .code = BTN_LEFT + (v & 7), .down = v & 8};
		break;
	case 7:
		e = (struct input_event){.kind = INPUT_RELATIVE, .x = (int8_t)v * op, .y = op & 0x40 ? INT32_MIN : v};
		break;
	case 8:
		e = (struct input_event){.kind = INPUT_WHEEL, .y = (int8_t)v};
		break;
	case 9:
		save_and_load(d);
		return;
	}
	input_send(core->input, &e);
	if (v & 0x20)
		input_sync(core->input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine_core core = {.vm_fd = -1, .request = request, .ports = bus_new("port"), .input = input_new()};
	struct device *d = device_new(&core, "i8042", "kbd", NULL, NULL, NULL);
	unsigned n = 0;

	check(d);
	for (; size >= 2; size -= 2, data += 2)
		step(&core, d, data[0], data[1]);
	while ((in(&core, COMMAND) & 1) && n++ < BYTES_MAX)
		in(&core, DATA);
	check(n < BYTES_MAX);
	d->cls->reset(d);
	out(&core, COMMAND, 0xaa);
	check(in(&core, DATA) == 0x55);
	input_send(core.input, &(struct input_event){.kind = INPUT_KEY, .code = KEY_A, .down = true});
	check(in(&core, DATA) == 0x1c);
	device_free(d);
	bus_free(core.ports);
	input_free(core.input);
	return 0;
}
