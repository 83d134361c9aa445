/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port of a virtio serial bus as a device of its own, so that it can be plugged in and taken out while the guest runs, which
 * is told of both (virtio 1.2, 5.3.6.2). Made by device_add, with its bus as the controller and a character device.
 */
#include "classes.h"
#include "error.h"
#include "virtio-console.h"

struct port {
	struct device dev; /* first */
	struct console_port *port; /* NULL: its bus is gone */
};

static bool create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct port *p = (struct port *)dev;
	const char *name = dev->id;

	if (!backend->controller || !backend->chardev)
		return kv_fail(error, KV_ERROR_USAGE, "%s: a port needs a bus and a character device", dev->id);
	if (options)
		g_variant_lookup(options, "name", "&s", &name);
	dev->holder = backend->controller;
	p->port = console_add_port((struct virtio_console *)backend->controller, dev, backend->chardev, name, error);
	return p->port;
}

static void destroy(struct device *dev)
{
	struct port *p = (struct port *)dev;

	if (p->port)
		console_remove_port(p->port);
}

void virtserialport_orphan(struct device *port)
{
	((struct port *)port)->port = NULL;
}

/* What the guest did with it is the bus's, as is what is saved of it. */
static void reset(struct device *dev)
{
}

/* Whoever gets the machine would have no way to say that it is there. */
static bool can_save(struct device *dev, GError **error)
{
	return kv_fail(error, KV_ERROR_UNSUPPORTED, "port '%s' was plugged in, and cannot be saved; take it out", dev->id);
}

static const struct state_field fields[] = {STATE_END};
static const struct state_desc state = {.name = "virtserialport", .version = 1, .oldest = 1, .fields = fields};

static const struct device_key keys[] = {{"name", DEVICE_KEY_TEXT, "how the guest finds it (its id)"},
					 {"chardev", DEVICE_KEY_BACKEND, "a character device of chardev-add"},
					 {}};

const struct device_class device_virtserialport = {
	.name = "virtserialport",
	.description = "port of a virtio serial bus",
	.size = sizeof(struct port),
	.create = create,
	.reset = reset,
	.destroy = destroy,
	.state = &state,
	.can_save = can_save,
	.keys = keys,
	.parent = "virtio-serial",
};
