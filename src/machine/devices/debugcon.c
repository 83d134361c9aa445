/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports for code without drivers: 0xe9, and 0x402 where firmware looks, collect text into the log (KV_DEBUG), 0x80 takes POST
 * codes and the writes that old drivers use as a delay. Without that log the first two are not there, since SeaBIOS finds one and
 * says all that it does: 4,400 bytes to its boot sector. Created by the board, last: an isa-debugcon may have one of the ports.
 */
#include <string.h>

#include "classes.h"
#include "log.h"

#define TEXT 0xe9
#define FIRMWARE_TEXT 0x402
#define POST 0x80

struct debugcon {
	struct device dev;
	GMutex lock;
	uint8_t line[120];
	uint8_t len;
	bool has[2]; /* TEXT, FIRMWARE_TEXT: somebody else may */
};

static uint64_t text_read(void *opaque, uint64_t offset, unsigned size)
{
	return TEXT; /* how a guest finds the port */
}

static void text_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct debugcon *d = opaque;

	g_mutex_lock(&d->lock);
	if (data != '\n' && d->len < sizeof(d->line))
		d->line[d->len++] = (uint8_t)data;
	if (data == '\n' || d->len == sizeof(d->line)) {
		kv_log_debug("guest: %.*s", d->len, (const char *)d->line);
		d->len = 0;
	}
	g_mutex_unlock(&d->lock);
}

static uint64_t post_read(void *opaque, uint64_t offset, unsigned size)
{
	return 0;
}

static void post_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
}

static const struct bus_ops text_ops = {text_read, text_write}, post_ops = {post_read, post_write};

static void debug_reset(struct device *dev)
{
	struct debugcon *d = (struct debugcon *)dev;

	memset(d->line, 0, sizeof(d->line));
	d->len = 0;
}

static const uint16_t text_ports[] = {TEXT, FIRMWARE_TEXT};

static bool debug_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct debugcon *d = (struct debugcon *)dev;

	g_mutex_init(&d->lock);
	for (unsigned i = 0; kv_log_has_debug() && i < G_N_ELEMENTS(text_ports); i++)
		d->has[i] = bus_register(dev->core->ports, text_ports[i], 1, "debugcon", &text_ops, dev, NULL);
	return bus_register(dev->core->ports, POST, 1, "POST codes", &post_ops, dev, error);
}

static void debug_destroy(struct device *dev)
{
	struct debugcon *d = (struct debugcon *)dev;

	for (unsigned i = 0; i < G_N_ELEMENTS(text_ports); i++)
		if (d->has[i])
			bus_unregister(dev->core->ports, text_ports[i]);
	bus_unregister(dev->core->ports, POST);
	g_mutex_clear(&d->lock);
}

static bool debug_loaded(void *opaque, GError **error)
{
	struct debugcon *d = opaque;

	d->len = MIN(d->len, sizeof(d->line));
	return true;
}

static const struct state_field debug_fields[] = {STATE_RAW(struct debugcon, line), STATE_INT(struct debugcon, len, STATE_U8),
						  STATE_END};
static const struct state_desc debug_state = {"debugcon", 1, 1, debug_fields, NULL, debug_loaded};

const struct device_class device_debugcon = {
	.name = "debugcon",
	.description = "debug text at port 0xe9",
	.size = sizeof(struct debugcon),
	.create = debug_create,
	.reset = debug_reset,
	.destroy = debug_destroy,
	.state = &debug_state,
};
