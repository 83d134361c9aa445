/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvpanic (QEMU's docs/specs/pvpanic.txt): a guest that panics says so before it stands still, or that it has loaded a kernel to
 * take a dump. A byte: read, the events that we know; written, what has happened. Here it is at a port, which ACPI's device
 * QEMU0001 tells (acpi-pc-dsdt.c) and firmware finds in fw_cfg (pc-firmware.c). Made by --device.
 */
#include "pvpanic.h"

#include "../internal.h"
#include "classes.h"

enum { PANICKED = 1, CRASH_LOADED = 2 };

static uint64_t event_read(void *opaque, uint64_t offset, unsigned size)
{
	return offset ? 0 : PANICKED | CRASH_LOADED;
}

static void event_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct machine_core *core = opaque;

	if (offset || !core->notice)
		return;
	if (data & PANICKED)
		core->notice(core->machine, NOTICE_PANICKED, NULL, 0);
	else if (data & CRASH_LOADED)
		core->notice(core->machine, NOTICE_CRASH_LOADED, NULL, 0);
}

const struct bus_ops pvpanic_ops = {event_read, event_write};

static bool create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	return bus_register(dev->core->ports, PC_PVPANIC_PORT, 1, "pvpanic", &pvpanic_ops, dev->core, error);
}

static void reset(struct device *dev)
{
}

static void destroy(struct device *dev)
{
	bus_unregister(dev->core->ports, PC_PVPANIC_PORT);
}

static const struct state_field fields[] = {STATE_END};
static const struct state_desc state = {"pvpanic", 1, 1, fields, NULL, NULL};

const struct device_class device_pvpanic = {
	.name = "pvpanic",
	.description = "lets a guest say that it panicked, at a port",
	.size = sizeof(struct device),
	.create = create,
	.reset = reset,
	.destroy = destroy,
	.state = &state,
	.keys = device_no_keys,
};
