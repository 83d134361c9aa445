/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's isa-debugcon: bytes written to a port go to a character device; firmware finds the port by what a read gives. In the
 * place of the board's own (debugcon.c), whose ports it may have. Made by --device.
 */
#include "char.h"
#include "classes.h"
#include "error.h"

enum { IOBASE = 0xe9 };

struct isa_debugcon {
	struct device dev;
	struct chardev *chr; /* ours; NULL: bytes vanish */
	uint16_t iobase;
	uint8_t readback;
};

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
	return ((struct isa_debugcon *)opaque)->readback;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct isa_debugcon *d = opaque;
	uint8_t byte = (uint8_t)data;

	if (d->chr)
		char_write(d->chr, &byte, 1);
}

static const struct bus_ops port_ops = {port_read, port_write};

static bool create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct isa_debugcon *d = (struct isa_debugcon *)dev;
	guint64 base = IOBASE, readback = IOBASE;
	const char *spec = NULL, *file = NULL;
	g_autofree char *to = NULL;

	if (options) {
		g_variant_lookup(options, "iobase", "t", &base);
		g_variant_lookup(options, "readback", "t", &readback);
		g_variant_lookup(options, "to", "&s", &spec);
		g_variant_lookup(options, "file", "&s", &file);
	}
	if (spec && file)
		return kv_fail(error, KV_ERROR_USAGE, "%s: to and file say the same; give one of them", dev->id);
	if (spec && g_str_has_prefix(spec, "stdio"))
		return kv_fail(error, KV_ERROR_USAGE, "%s: to: stdio is the console's; give file:PATH, unix:PATH or pty",
			       dev->id);
	to = file ? g_strconcat("file:", file, NULL) : g_strdup(spec);
	d->iobase = (uint16_t)base;
	d->readback = (uint8_t)readback;
	d->chr = to ? char_open(to, error) : NULL;
	if (to && !d->chr)
		return false;
	if (bus_register(dev->core->ports, base, 1, "isa-debugcon", &port_ops, d, error))
		return true;
	char_close(d->chr);
	return false;
}

static void reset(struct device *dev)
{
}

static void destroy(struct device *dev)
{
	struct isa_debugcon *d = (struct isa_debugcon *)dev;

	bus_unregister(dev->core->ports, d->iobase);
	char_close(d->chr);
}

static const struct state_field fields[] = {STATE_END};
static const struct state_desc state = {"isa-debugcon", 1, 1, fields, NULL, NULL};
static const struct device_key keys[] = {{"iobase", DEVICE_KEY_COUNT, "the port (0xe9)", 0, 0xffff},
					 {"readback", DEVICE_KEY_COUNT, "what it reads as (0xe9)", 0, 0xff},
					 {"file", DEVICE_KEY_TEXT, "file that the bytes go to", 0, 0},
					 {"to", DEVICE_KEY_TEXT, "file:PATH, unix:PATH or pty", 0, 0},
					 {NULL}};

const struct device_class device_isa_debugcon = {
	.name = "isa-debugcon",
	.description = "a port whose bytes go to a file or socket",
	.size = sizeof(struct isa_debugcon),
	.create = create,
	.reset = reset,
	.destroy = destroy,
	.state = &state,
	.keys = keys,
};
