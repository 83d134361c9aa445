/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keyboard controller (Intel 8042) as far as a machine without keyboard needs it: the reset command, and quick answers
 * to a driver that probes, which otherwise waits half a second for each. Created by the board.
 */
#include "classes.h"

#define DATA	0x60
#define COMMAND 0x64

enum { STATUS_OUTPUT = 1, STATUS_SYSTEM = 4 };
enum {
	CMD_READ_CONFIG = 0x20,
	CMD_WRITE_CONFIG = 0x60,
	CMD_TEST = 0xaa,
	CMD_TEST_PORT1 = 0xab,
	CMD_TEST_PORT2 = 0xa9,
	CMD_RESET = 0xfe
};

struct i8042 {
	struct device dev;
	GMutex lock;
	uint8_t config, output, command;
	bool full;
};

static void answer(struct i8042 *k, uint8_t v)
{
	k->output = v;
	k->full = true;
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i8042 *k = opaque;
	uint8_t v;

	g_mutex_lock(&k->lock);
	k->full = false;
	v = k->output;
	g_mutex_unlock(&k->lock);
	return v;
}

static void data_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct i8042 *k = opaque;

	g_mutex_lock(&k->lock);
	if (k->command == CMD_WRITE_CONFIG)
		k->config = (uint8_t)data;
	else
		answer(k, 0xfe); /* no keyboard: "resend" */
	k->command = 0;
	g_mutex_unlock(&k->lock);
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i8042 *k = opaque;

	return STATUS_SYSTEM | (__atomic_load_n(&k->full, __ATOMIC_RELAXED) ? STATUS_OUTPUT : 0);
}

static void command_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct i8042 *k = opaque;

	g_mutex_lock(&k->lock);
	k->command = (uint8_t)data;
	if (data == CMD_READ_CONFIG)
		answer(k, k->config);
	else if (data == CMD_TEST)
		answer(k, 0x55);
	else if (data == CMD_TEST_PORT1 || data == CMD_TEST_PORT2)
		answer(k, 0xff); /* the port does not work */
	g_mutex_unlock(&k->lock);
	if (data == CMD_RESET)
		k->dev.core->request(k->dev.core->machine, REQUEST_RESET);
}

static const struct bus_ops data_ops = {data_read, data_write}, command_ops = {status_read, command_write};

static void kbd_reset(struct device *dev)
{
	struct i8042 *k = (struct i8042 *)dev;

	g_mutex_lock(&k->lock);
	k->config = k->output = k->command = 0;
	k->full = false;
	g_mutex_unlock(&k->lock);
}

static bool kbd_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct i8042 *k = (struct i8042 *)dev;

	g_mutex_init(&k->lock);
	return bus_register(dev->core->ports, DATA, 1, "i8042", &data_ops, k, error) &&
	       bus_register(dev->core->ports, COMMAND, 1, "i8042", &command_ops, k, error);
}

static void kbd_destroy(struct device *dev)
{
	bus_unregister(dev->core->ports, DATA);
	bus_unregister(dev->core->ports, COMMAND);
	g_mutex_clear(&((struct i8042 *)dev)->lock);
}

static const struct state_field kbd_fields[] = {
	STATE_INT(struct i8042, config, STATE_U8), STATE_INT(struct i8042, output, STATE_U8),
	STATE_INT(struct i8042, command, STATE_U8), STATE_INT(struct i8042, full, STATE_BOOL), STATE_END};
static const struct state_desc kbd_state = {"i8042", 1, 1, kbd_fields, NULL, NULL};

const struct device_class device_i8042 = {
	.name = "i8042",
	.description = "keyboard controller without keyboard: reset",
	.size = sizeof(struct i8042),
	.create = kbd_create,
	.reset = kbd_reset,
	.destroy = kbd_destroy,
	.state = &kbd_state,
};
