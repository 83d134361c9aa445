/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The register block of processor hotplug (QEMU's docs/specs/acpi_cpu_hotplug.rst, in the modern form that QEMU starts with: the
 * older bitmap is for tables that are not ours). The DSDT's methods select a processor, read what happened to it, and let go of
 * it; GPE 2 has them look. Created by the pc board where processors may come; the machine (cpu-plug.c) says which are there.
 */
#include "acpi-cpu-hotplug.h"

#include <string.h>

#include "../internal.h"
#include "classes.h"
#include "error.h"

/* Offsets, of reads and of writes, and what is written to COMMAND. */
enum { DATA_2 = 0, SELECTOR = 0, STATUS = 4, COMMAND = 5, DATA = 8 };
enum { GET_PENDING = 0, OST_EVENT = 1, OST_STATUS = 2, GET_ARCH_ID = 3 };
enum { ENABLED = 1, INSERTING = 2, REMOVING = 4, EJECT = 8, FIRMWARE_EJECT = 16 };

struct cpu_hotplug {
	struct device dev;
	GMutex lock; /* below; taken before the chipset's */
	unsigned count;
	uint32_t id[CPU_HOTPLUG_MAX]; /* APIC ids */
	uint64_t present, inserting, removing, firmware; /* a bit each */
	uint32_t selector;
	uint8_t command;
	struct cpu_ost ost[CPU_HOTPLUG_MAX];
};

static struct cpu_hotplug *device(void *dev)
{
	return dev;
}

static uint64_t bit(unsigned index)
{
	return 1ull << index;
}

/* ---- registers; lock held ---- */

static uint32_t status(const struct cpu_hotplug *h)
{
	uint64_t b = bit(h->selector);

	return (h->present & b ? ENABLED : 0) | (h->inserting & b ? INSERTING : 0) | (h->removing & b ? REMOVING : 0) |
	       (h->firmware & b ? FIRMWARE_EJECT : 0);
}

static uint32_t read_dword(const struct cpu_hotplug *h, uint64_t offset)
{
	if (h->selector >= h->count)
		return 0;
	switch (offset) {
	case STATUS:
		return status(h);
	case DATA:
		return h->command == GET_PENDING ? h->selector : h->command == GET_ARCH_ID ? h->id[h->selector] : 0;
	default:
		return 0; /* DATA_2: ids have 32 bits */
	}
}

/* The next one that something happened to, from the selected one on. */
static void select_pending(struct cpu_hotplug *h)
{
	for (unsigned i = 0; i < h->count; i++) {
		unsigned next = (h->selector + i) % h->count;

		if ((h->inserting | h->removing) & bit(next)) {
			h->selector = next;
			return;
		}
	}
}

/* The first processor stays, and one that is not there cannot go. */
static bool can_go(const struct cpu_hotplug *h)
{
	return h->selector && h->present & bit(h->selector);
}

/* One thing at a time, the lowest bit first. True: the selected one is let go of. */
static bool control(struct cpu_hotplug *h, uint8_t v)
{
	uint64_t b = bit(h->selector);

	if (v & INSERTING) {
		h->inserting &= ~b;
	} else if (v & REMOVING) {
		h->removing &= ~b;
	} else if (v & EJECT && can_go(h)) {
		h->present &= ~b;
		h->inserting &= ~b;
		h->removing &= ~b;
		h->firmware &= ~b;
		return true;
	} else if (v & FIRMWARE_EJECT && can_go(h)) {
		h->firmware ^= b;
	}
	return false;
}

/* True: the guest has said how it went. */
static bool write_data(struct cpu_hotplug *h, uint32_t v)
{
	struct cpu_ost *ost = &h->ost[h->selector];

	if (h->command == OST_EVENT)
		ost->event = v;
	if (h->command == OST_STATUS)
		ost->status = v;
	return h->command == OST_STATUS;
}

static uint64_t hotplug_read(void *opaque, uint64_t offset, unsigned size)
{
	struct cpu_hotplug *h = opaque;
	uint32_t v;

	g_mutex_lock(&h->lock);
	v = read_dword(h, offset & ~3u);
	g_mutex_unlock(&h->lock);
	return v >> 8 * (offset & 3);
}

static void hotplug_write(void *opaque, uint64_t offset, unsigned size, uint64_t data)
{
	struct cpu_hotplug *h = opaque;
	struct machine_core *core = h->dev.core;
	bool gone = false, said = false;
	unsigned index;

	g_mutex_lock(&h->lock);
	if (offset == SELECTOR)
		h->selector = (uint32_t)data;
	index = h->selector;
	if (index < h->count && offset == STATUS) {
		gone = control(h, (uint8_t)data);
	} else if (index < h->count && offset == COMMAND) {
		h->command = (uint8_t)data;
		if (h->command == GET_PENDING)
			select_pending(h);
	} else if (index < h->count && offset == DATA) {
		said = write_data(h, (uint32_t)data);
	}
	g_mutex_unlock(&h->lock);
	if (gone && core->cpu_eject)
		core->cpu_eject(core->machine, index);
	if (said && core->notice)
		core->notice(core->machine, NOTICE_CPU_OST, NULL, index);
}

static const struct bus_ops hotplug_ops = {hotplug_read, hotplug_write};

/* ---- the machine's side ---- */

static void tell_guest(struct cpu_hotplug *h)
{
	struct machine_core *core = h->dev.core;

	if (core->gpe)
		core->gpe(core->gpe_opaque, CPU_HOTPLUG_GPE);
}

void cpu_hotplug_set(struct device *dev, unsigned index, bool present, bool tell)
{
	struct cpu_hotplug *h = device(dev);
	uint64_t b = bit(index);

	g_mutex_lock(&h->lock);
	h->present = present ? h->present | b : h->present & ~b;
	if (present && tell)
		h->inserting |= b;
	h->removing &= ~b;
	h->firmware &= ~b;
	g_mutex_unlock(&h->lock);
	if (present && tell)
		tell_guest(h);
}

void cpu_hotplug_ask(struct device *dev, unsigned index)
{
	struct cpu_hotplug *h = device(dev);

	g_mutex_lock(&h->lock);
	h->removing |= bit(index);
	g_mutex_unlock(&h->lock);
	tell_guest(h);
}

struct cpu_ost cpu_hotplug_ost(struct device *dev, unsigned index)
{
	struct cpu_hotplug *h = device(dev);
	struct cpu_ost ost;

	g_mutex_lock(&h->lock);
	ost = h->ost[index];
	g_mutex_unlock(&h->lock);
	return ost;
}

/* ---- life ---- */

/* What the guest that starts finds is in its tables; what was under way with the one before is forgotten. */
static void hotplug_reset(struct device *dev)
{
	struct cpu_hotplug *h = device(dev);

	g_mutex_lock(&h->lock);
	if (!dev->core->waking) {
		h->inserting = h->removing = h->firmware = 0;
		h->command = GET_PENDING;
		h->selector = 0;
		memset(h->ost, 0, sizeof(h->ost));
	}
	g_mutex_unlock(&h->lock);
}

static bool hotplug_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct cpu_hotplug *h = device(dev);
	g_autoptr(GVariant) ids = options ? g_variant_lookup_value(options, "ids", G_VARIANT_TYPE("au")) : NULL;

	g_mutex_init(&h->lock);
	h->count = ids ? (unsigned)g_variant_n_children(ids) : 1;
	if (h->count < 1 || h->count > CPU_HOTPLUG_MAX)
		return kv_fail(error, KV_ERROR_INVALID, "acpi-cpu-hotplug: %u processors: 1 to %u are possible", h->count,
			       CPU_HOTPLUG_MAX);
	for (unsigned i = 0; ids && i < h->count; i++)
		g_variant_get_child(ids, i, "u", &h->id[i]);
	h->present = 1;
	return bus_register(dev->core->ports, PC_CPU_HOTPLUG_PORT, CPU_HOTPLUG_PORTS, "acpi-cpu-hotplug", &hotplug_ops, h, error);
}

static void hotplug_destroy(struct device *dev)
{
	bus_unregister(dev->core->ports, PC_CPU_HOTPLUG_PORT);
	g_mutex_clear(&device(dev)->lock);
}

/* Which are there the machine's state says, and has said it. */
static bool hotplug_loaded(void *opaque, GError **error)
{
	struct cpu_hotplug *h = opaque;

	h->inserting &= h->present;
	h->removing &= h->present;
	h->firmware &= h->present;
	return true;
}

static const struct state_field ost_fields[] = {STATE_INT(struct cpu_ost, event, STATE_U32),
						STATE_INT(struct cpu_ost, status, STATE_U32), STATE_END};
static const struct state_field hotplug_fields[] = {
	STATE_INT(struct cpu_hotplug, inserting, STATE_U64),
	STATE_INT(struct cpu_hotplug, removing, STATE_U64),
	STATE_INT(struct cpu_hotplug, firmware, STATE_U64),
	STATE_INT(struct cpu_hotplug, selector, STATE_U32),
	STATE_INT(struct cpu_hotplug, command, STATE_U8),
	STATE_MANY(struct cpu_hotplug, ost, ost_fields),
	STATE_END};
static const struct state_desc hotplug_state = {"acpi-cpu-hotplug", 1, 1, hotplug_fields, NULL, hotplug_loaded};

const struct device_class device_acpi_cpu_hotplug = {
	.name = "acpi-cpu-hotplug",
	.description = "registers of processors that come and go",
	.size = sizeof(struct cpu_hotplug),
	.create = hotplug_create,
	.reset = hotplug_reset,
	.destroy = hotplug_destroy,
	.state = &hotplug_state,
};
