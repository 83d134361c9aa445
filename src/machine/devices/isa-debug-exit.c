/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's isa-debug-exit: a guest that is a test writes its result to a port, and the process ends with the status (result << 1) |
 * 1, of which eight bits arrive. Made by --device.
 */
#include "classes.h"
#include "error.h"

enum { IOBASE = 0x501, IOSIZE = 2, IOSIZE_MAX = 16 };

struct debug_exit {
	struct device dev;
	uint16_t iobase;
};

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
	return 0;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct machine_core *core = ((struct debug_exit *)opaque)->dev.core;

	if (core->notice)
		core->notice(core->machine, NOTICE_EXIT, NULL, (uint32_t)(data << 1) | 1);
}

static const struct bus_ops port_ops = {port_read, port_write};

static bool create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct debug_exit *d = (struct debug_exit *)dev;
	guint64 base = IOBASE, size = IOSIZE;

	if (options) {
		g_variant_lookup(options, "iobase", "t", &base);
		g_variant_lookup(options, "iosize", "t", &size);
	}
	d->iobase = (uint16_t)base;
	return bus_register(dev->core->ports, base, size, "isa-debug-exit", &port_ops, d, error);
}

static void reset(struct device *dev)
{
}

static void destroy(struct device *dev)
{
	bus_unregister(dev->core->ports, ((struct debug_exit *)dev)->iobase);
}

static const struct state_field fields[] = {STATE_END};
static const struct state_desc state = {"isa-debug-exit", 1, 1, fields, NULL, NULL};
static const struct device_key keys[] = {{"iobase", DEVICE_KEY_COUNT, "first port (0x501)", 0, 0xffff - IOSIZE_MAX},
					 {"iosize", DEVICE_KEY_COUNT, "how many ports (2)", 1, IOSIZE_MAX},
					 {NULL}};

const struct device_class device_isa_debug_exit = {
	.name = "isa-debug-exit",
	.description = "a port that ends the process with a status",
	.size = sizeof(struct debug_exit),
	.create = create,
	.reset = reset,
	.destroy = destroy,
	.state = &state,
	.keys = keys,
};
