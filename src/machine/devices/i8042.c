/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keyboard controller (Intel 8042) of a PC/AT with the second port of a PS/2, as IBM's PS/2 Technical Reference, "Keyboard
 * and Auxiliary Device Controller", has it: commands, output port, translation to scan code set 1, one output buffer, interrupts
 * 1 and 12. What is plugged in are ps2-keyboard.c and ps2-mouse.c. On a board without keyboard (ports=false) both ports fail
 * their tests: what is left is the reset command, and quick answers to a driver that probes, which otherwise waits half a second
 * for each. Created by the board.
 */
#include <string.h>

#include "classes.h"
#include "error.h"
#include "input.h"
#include "ps2.h"

#define DATA	0x60
#define COMMAND 0x64

enum { KEYBOARD_GSI = 1, MOUSE_GSI = 12 };
enum { STATUS_OUTPUT = 1, STATUS_SYSTEM = 4, STATUS_COMMAND = 8, STATUS_UNLOCKED = 0x10, STATUS_AUX = 0x20 };
enum {
	CONFIG_IRQ1 = 1,
	CONFIG_IRQ12 = 2,
	CONFIG_KEYBOARD_OFF = 0x10,
	CONFIG_AUX_OFF = 0x20,
	CONFIG_TRANSLATE = 0x40,
};
enum { OUTPUT_NO_RESET = 1, OUTPUT_A20 = 2, OUTPUT_IRQ1 = 0x10, OUTPUT_IRQ12 = 0x20, OUTPUT_IDLE = 0xc0 };
enum {
	CMD_READ_RAM = 0x20, /* to 0x3f; byte 0 is the configuration */
	CMD_WRITE_RAM = 0x60, /* to 0x7f */
	CMD_AUX_OFF = 0xa7,
	CMD_AUX_ON = 0xa8,
	CMD_TEST_AUX = 0xa9,
	CMD_TEST = 0xaa,
	CMD_TEST_KEYBOARD = 0xab,
	CMD_KEYBOARD_OFF = 0xad,
	CMD_KEYBOARD_ON = 0xae,
	CMD_READ_INPUT = 0xc0,
	CMD_READ_OUTPUT = 0xd0,
	CMD_WRITE_OUTPUT = 0xd1,
	CMD_LOOP_KEYBOARD = 0xd2,
	CMD_LOOP_AUX = 0xd3,
	CMD_WRITE_AUX = 0xd4,
	CMD_A20_OFF = 0xdd,
	CMD_A20_ON = 0xdf,
	CMD_READ_TEST = 0xe0,
	CMD_PULSE = 0xf0, /* to 0xff: the output port's bits that are 0 in the low four */
};

#define RAM		0x20
#define PORT_FAILS	0xff
#define NO_DEVICE	0xfe /* "resend" */
#define INPUT_PORT	0x80 /* the keyboard is not locked */
#define BREAK		0xf0
#define TEST_PASSED	0x55

struct i8042 {
	struct device dev;
	bool ports;
	GMutex lock; /* all below */
	uint8_t ram[RAM];
	uint8_t output, command, outport;
	bool full, aux;	       /* the output buffer: has a byte, of the mouse */
	bool last_was_command; /* in the status */
	bool answered, answer_aux;
	uint8_t answer; /* the controller's own, on its way to the buffer */
	bool irq[2];	/* as the lines are; not saved */
	bool broke;	/* translation: the code that comes is a break */
	struct ps2_keyboard keyboard;
	struct ps2_mouse mouse;
};

/* ---- the output buffer ---- */

static void set_irq(struct i8042 *k, unsigned n, unsigned gsi, bool level)
{
	if (k->irq[n] == level)
		return;
	k->irq[n] = level;
	machine_irq(k->dev.core, gsi, level);
}

static void set_irqs(struct i8042 *k)
{
	uint8_t config = k->ram[0];
	bool irq1 = k->full && !k->aux && (config & CONFIG_IRQ1) && !(config & CONFIG_KEYBOARD_OFF);
	bool irq12 = k->full && k->aux && (config & CONFIG_IRQ12);

	if (!k->ports)
		return;
	set_irq(k, 0, KEYBOARD_GSI, irq1);
	set_irq(k, 1, MOUSE_GSI, irq12);
}

/* False: it only says something about the next one. */
static bool translate(struct i8042 *k, uint8_t *v)
{
	bool broke = k->broke;

	if (!(k->ram[0] & CONFIG_TRANSLATE))
		return true;
	k->broke = *v == BREAK;
	if (k->broke)
		return false;
	*v = ps2_set1(*v);
	if (broke)
		*v |= 0x80;
	return true;
}

static void fill(struct i8042 *k, uint8_t v, bool aux)
{
	k->output = v;
	k->full = true;
	k->aux = aux;
}

/* The buffer is empty: what comes next? The controller's own answer, then the keyboard, then the mouse. */
static void refill(struct i8042 *k)
{
	uint8_t v;

	if (k->full)
		return;
	if (k->answered) {
		k->answered = false;
		fill(k, k->answer, k->answer_aux);
		return;
	}
	while (!k->full && !(k->ram[0] & CONFIG_KEYBOARD_OFF) && ps2_take(&k->keyboard.port, &v))
		if (translate(k, &v))
			fill(k, v, false);
	if (!k->full && !(k->ram[0] & CONFIG_AUX_OFF) && ps2_take(&k->mouse.port, &v)) {
		fill(k, v, true);
		ps2_mouse_report(&k->mouse);
	}
}

static void update(struct i8042 *k)
{
	refill(k);
	set_irqs(k);
}

static void answer(struct i8042 *k, uint8_t v, bool aux)
{
	k->answer = v;
	k->answer_aux = aux;
	k->answered = true;
}

/* ---- ports ---- */

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i8042 *k = opaque;
	uint8_t v;

	g_mutex_lock(&k->lock);
	v = k->output;
	if (k->full) {
		/* The lines go down in between: each byte is an edge. */
		k->full = false;
		set_irqs(k);
		update(k);
	}
	g_mutex_unlock(&k->lock);
	return v;
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i8042 *k = opaque;
	unsigned v = STATUS_SYSTEM | STATUS_UNLOCKED;

	g_mutex_lock(&k->lock);
	if (k->full)
		v |= STATUS_OUTPUT | (k->aux ? STATUS_AUX : 0);
	if (k->last_was_command)
		v |= STATUS_COMMAND;
	g_mutex_unlock(&k->lock);
	return v;
}

static uint8_t read_outport(const struct i8042 *k)
{
	return (uint8_t)(k->outport | (k->full && !k->aux ? OUTPUT_IRQ1 : 0) | (k->full && k->aux ? OUTPUT_IRQ12 : 0));
}

static void write_keyboard(struct i8042 *k, uint8_t v)
{
	if (!k->ports) {
		answer(k, NO_DEVICE, false);
		return;
	}
	k->ram[0] &= (uint8_t)~CONFIG_KEYBOARD_OFF; /* a byte for it switches it on */
	ps2_keyboard_write(&k->keyboard, v);
}

static void write_aux(struct i8042 *k, uint8_t v)
{
	if (!k->ports) {
		answer(k, NO_DEVICE, true);
		return;
	}
	k->ram[0] &= (uint8_t)~CONFIG_AUX_OFF;
	ps2_mouse_write(&k->mouse, v);
}

/* The byte behind a command; true: the machine is to be reset. */
static bool parameter(struct i8042 *k, uint8_t v)
{
	switch (k->command) {
	case CMD_WRITE_RAM ... CMD_WRITE_RAM + RAM - 1:
		k->ram[k->command - CMD_WRITE_RAM] = v;
		break;
	case CMD_WRITE_OUTPUT:
		k->outport = (uint8_t)(v & ~(OUTPUT_IRQ1 | OUTPUT_IRQ12)) | OUTPUT_NO_RESET;
		return !(v & OUTPUT_NO_RESET);
	case CMD_LOOP_KEYBOARD:
	case CMD_LOOP_AUX:
		answer(k, v, k->command == CMD_LOOP_AUX);
		break;
	case CMD_WRITE_AUX:
		write_aux(k, v);
		break;
	default:
		write_keyboard(k, v);
	}
	return false;
}

static void tell_input(struct i8042 *k, unsigned leds, bool activate)
{
	struct input *in = k->dev.core->input;

	if (!in || !k->ports)
		return;
	input_leds(in, &k->keyboard, leds);
	if (activate)
		input_activate(in, &k->keyboard);
}

static void data_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct i8042 *k = opaque;
	bool reset, enabled;
	unsigned leds;

	g_mutex_lock(&k->lock);
	enabled = k->keyboard.port.enabled;
	reset = parameter(k, (uint8_t)data);
	k->command = 0;
	k->last_was_command = false;
	update(k);
	leds = k->keyboard.leds;
	enabled = !enabled && k->keyboard.port.enabled;
	g_mutex_unlock(&k->lock);
	tell_input(k, leds, enabled);
	if (reset)
		k->dev.core->request(k->dev.core->machine, REQUEST_RESET);
}

static void set_config(struct i8042 *k, uint8_t bit, bool on)
{
	k->ram[0] = (uint8_t)(on ? k->ram[0] | bit : k->ram[0] & ~bit);
}

static void self_test(struct i8042 *k)
{
	k->outport = OUTPUT_IDLE | OUTPUT_A20 | OUTPUT_NO_RESET;
	answer(k, TEST_PASSED, false);
}

static void command(struct i8042 *k, uint8_t v)
{
	switch (v) {
	case CMD_READ_RAM ... CMD_READ_RAM + RAM - 1:
		answer(k, k->ram[v - CMD_READ_RAM], false);
		break;
	case CMD_WRITE_RAM ... CMD_WRITE_RAM + RAM - 1:
	case CMD_WRITE_OUTPUT:
	case CMD_LOOP_KEYBOARD:
	case CMD_LOOP_AUX:
	case CMD_WRITE_AUX:
		k->command = v;
		break;
	case CMD_AUX_OFF:
	case CMD_AUX_ON:
		set_config(k, CONFIG_AUX_OFF, v == CMD_AUX_OFF);
		break;
	case CMD_KEYBOARD_OFF:
	case CMD_KEYBOARD_ON:
		set_config(k, CONFIG_KEYBOARD_OFF, v == CMD_KEYBOARD_OFF);
		break;
	case CMD_TEST:
		self_test(k);
		break;
	case CMD_TEST_AUX:
	case CMD_TEST_KEYBOARD:
		answer(k, k->ports ? 0 : PORT_FAILS, false);
		break;
	case CMD_READ_INPUT:
		answer(k, INPUT_PORT, false);
		break;
	case CMD_READ_OUTPUT:
		answer(k, read_outport(k), false);
		break;
	case CMD_READ_TEST:
		answer(k, 0, false);
		break;
	case CMD_A20_OFF: /* the line is told back, and that is all: memory is never folded at 1 MiB */
		k->outport &= (uint8_t)~OUTPUT_A20;
		break;
	case CMD_A20_ON:
		k->outport |= OUTPUT_A20;
		break;
	}
}

static void command_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct i8042 *k = opaque;
	uint8_t v = (uint8_t)data;

	g_mutex_lock(&k->lock);
	k->command = 0;
	k->last_was_command = true;
	command(k, v);
	update(k);
	g_mutex_unlock(&k->lock);
	if (v >= CMD_PULSE && !(v & OUTPUT_NO_RESET))
		k->dev.core->request(k->dev.core->machine, REQUEST_RESET);
}

static const struct bus_ops data_ops = {data_read, data_write}, command_ops = {status_read, command_write};

/* ---- keys and moves, in the main thread ---- */

/* As QEMU has it, whatever the guest allows. */
static void wake(struct i8042 *k)
{
	struct machine_core *core = k->dev.core;

	if (core->wake)
		core->wake(core->wake_opaque, WAKE_OTHER);
}

static void keyboard_event(void *opaque, const struct input_event *e)
{
	struct i8042 *k = (struct i8042 *)((char *)opaque - offsetof(struct i8042, keyboard));

	g_mutex_lock(&k->lock);
	ps2_keyboard_key(&k->keyboard, e->code, e->down);
	update(k);
	g_mutex_unlock(&k->lock);
	wake(k);
}

static struct i8042 *of_mouse(void *opaque)
{
	return (struct i8042 *)((char *)opaque - offsetof(struct i8042, mouse));
}

static void mouse_event(void *opaque, const struct input_event *e)
{
	struct i8042 *k = of_mouse(opaque);

	g_mutex_lock(&k->lock);
	if (e->kind == INPUT_BUTTON)
		ps2_mouse_button(&k->mouse, e->code, e->down);
	else if (e->kind == INPUT_WHEEL)
		ps2_mouse_move(&k->mouse, 0, 0, -CLAMP(e->y, -INT8_MAX, INT8_MAX));
	else
		ps2_mouse_move(&k->mouse, e->x, -CLAMP(e->y, -INT16_MAX, INT16_MAX), 0);
	g_mutex_unlock(&k->lock);
}

static void mouse_sync(void *opaque)
{
	struct i8042 *k = of_mouse(opaque);

	g_mutex_lock(&k->lock);
	ps2_mouse_report(&k->mouse);
	update(k);
	g_mutex_unlock(&k->lock);
	wake(k);
}

static const struct input_device keyboard_input = {.name = "PS/2 keyboard", .kinds = INPUT_KEY, .event = keyboard_event};
static const struct input_device mouse_input = {.name = "PS/2 mouse",
						.kinds = INPUT_BUTTON | INPUT_RELATIVE | INPUT_WHEEL,
						.event = mouse_event,
						.sync = mouse_sync};

/* ---- the device ---- */

static void clear(struct i8042 *k)
{
	memset(k->ram, 0, sizeof(k->ram));
	k->ram[0] = k->ports ? CONFIG_IRQ1 | CONFIG_IRQ12 : 0;
	k->output = k->command = k->answer = 0;
	k->outport = OUTPUT_IDLE | OUTPUT_A20 | OUTPUT_NO_RESET;
	k->full = k->aux = k->last_was_command = k->answered = k->answer_aux = k->broke = false;
	ps2_keyboard_reset(&k->keyboard);
	k->mouse.buttons = 0;
	ps2_mouse_reset(&k->mouse);
}

static void kbd_reset(struct device *dev)
{
	struct i8042 *k = (struct i8042 *)dev;

	g_mutex_lock(&k->lock);
	clear(k);
	set_irqs(k);
	g_mutex_unlock(&k->lock);
	tell_input(k, 0, false);
}

static bool kbd_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct i8042 *k = (struct i8042 *)dev;
	gboolean ports = TRUE;

	if (options)
		g_variant_lookup(options, "ports", "b", &ports);
	k->ports = ports;
	g_mutex_init(&k->lock);
	clear(k);
	if (!bus_register(dev->core->ports, DATA, 1, "i8042", &data_ops, k, error))
		return false;
	if (!bus_register(dev->core->ports, COMMAND, 1, "i8042", &command_ops, k, error)) {
		bus_unregister(dev->core->ports, DATA);
		return false;
	}
	if (dev->core->input && k->ports) {
		input_plug(dev->core->input, &mouse_input, &k->mouse);
		input_plug(dev->core->input, &keyboard_input, &k->keyboard);
	}
	return true;
}

static void kbd_destroy(struct device *dev)
{
	struct i8042 *k = (struct i8042 *)dev;

	if (dev->core->input && k->ports) {
		input_unplug(dev->core->input, &k->mouse);
		input_unplug(dev->core->input, &k->keyboard);
	}
	bus_unregister(dev->core->ports, DATA);
	bus_unregister(dev->core->ports, COMMAND);
	g_mutex_clear(&k->lock);
}

static bool kbd_loaded(void *opaque, GError **error)
{
	struct i8042 *k = opaque;

	if (!ps2_loaded(&k->keyboard.port) || !ps2_loaded(&k->mouse.port) || k->keyboard.set < 1 || k->keyboard.set > 3)
		return kv_fail(error, KV_ERROR_INVALID, "%s: the saved state of keyboard and mouse makes no sense", k->dev.id);
	k->irq[0] = k->irq[1] = true; /* whatever the lines were: a change to low or none */
	set_irqs(k);
	tell_input(k, k->keyboard.leds, false);
	return true;
}

static const struct state_field kbd_fields[] = {STATE_RAW(struct i8042, ram),
						STATE_INT(struct i8042, output, STATE_U8),
						STATE_INT(struct i8042, command, STATE_U8),
						STATE_INT(struct i8042, outport, STATE_U8),
						STATE_INT(struct i8042, full, STATE_BOOL),
						STATE_INT(struct i8042, aux, STATE_BOOL),
						STATE_INT(struct i8042, last_was_command, STATE_BOOL),
						STATE_INT(struct i8042, answered, STATE_BOOL),
						STATE_INT(struct i8042, answer_aux, STATE_BOOL),
						STATE_INT(struct i8042, answer, STATE_U8),
						STATE_INT(struct i8042, broke, STATE_BOOL),
						STATE_ONE(struct i8042, keyboard, ps2_keyboard_fields),
						STATE_ONE(struct i8042, mouse, ps2_mouse_fields),
						STATE_END};
static const struct state_desc kbd_state = {"i8042", 1, 1, kbd_fields, NULL, kbd_loaded};

const struct device_class device_i8042 = {
	.name = "i8042",
	.description = "keyboard controller with a PS/2 keyboard and mouse",
	.size = sizeof(struct i8042),
	.create = kbd_create,
	.reset = kbd_reset,
	.destroy = kbd_destroy,
	.state = &kbd_state,
};
