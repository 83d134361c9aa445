/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: the registers of processors that come and go, under a hostile guest, with a machine that plugs in, asks for
 * processors and resets, and states from somewhere else. A guest never lets go of the first processor, of one that is not there,
 * or of the same one twice; reads of a processor that is not possible are 0.
 *
 * Input: how many are possible, then operations of one byte and their operands.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/acpi-cpu-hotplug.h"
#include "fuzz-input.h"
#include "internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
	struct machine_core core;
	struct device *dev;
	struct fuzz_input in;
	unsigned count;
	uint64_t present;
};

static void eject(void *machine, unsigned index)
{
	struct fuzz *f = machine;

	if (!index || index >= f->count || !(f->present >> index & 1))
		abort();
	f->present &= ~(1ull << index);
}

static void notice(void *machine, enum machine_notice what, const char *name, uint32_t value)
{
	if (what != NOTICE_CPU_OST || value >= ((struct fuzz *)machine)->count)
		abort();
}

static void look_at(struct fuzz *f, unsigned index)
{
	uint64_t v = index;

	bus_access(f->core.ports, PC_CPU_HOTPLUG_PORT, &v, 4, true);
	v = 0;
	bus_access(f->core.ports, PC_CPU_HOTPLUG_PORT + 4, &v, 1, false);
	if (index < f->count ? (v & 1) != (f->present >> index & 1) : v != 0)
		abort();
}

/* With a bit that is another, and a sum that fits. */
static void load(struct fuzz *f)
{
	GByteArray *stream = g_byte_array_new();
	unsigned bit = (unsigned)fuzz_take(&f->in, 2);
	g_autoptr(GBytes) bytes = NULL;
	uint32_t h = 2166136261u;
	size_t offset = 0;

	state_save(stream, f->dev->cls->state, f->dev->id, f->dev);
	stream->data[12 + (bit >> 3) % (stream->len - 12)] ^= (uint8_t)(1 << (bit & 7));
	for (guint i = 12; i < stream->len; i++)
		h = (h ^ stream->data[i]) * 16777619u;
	memcpy(stream->data + 8, &h, 4);
	bytes = g_byte_array_free_to_bytes(stream);
	if (!state_load(bytes, &offset, f->dev->cls->state, f->dev->id, f->dev, NULL))
		f->dev->cls->reset(f->dev);
}

static void step(struct fuzz *f)
{
	unsigned op = (unsigned)fuzz_take(&f->in, 1), at = (unsigned)fuzz_take(&f->in, 1), index = at % f->count;
	uint64_t v = fuzz_take(&f->in, 4);

	switch (op & 7) {
	case 0:
		cpu_hotplug_set(f->dev, index, true, op & 0x10);
		f->present |= 1ull << index;
		break;
	case 1:
		if (f->present >> index & 1)
			cpu_hotplug_ask(f->dev, index);
		break;
	case 2:
		load(f);
		break;
	case 3:
		f->dev->cls->reset(f->dev);
		break;
	case 4:
		look_at(f, at);
		break;
	default:
		bus_access(f->core.ports, PC_CPU_HOTPLUG_PORT + at % CPU_HOTPLUG_PORTS, &v, 1u << (op >> 5) % 3, op & 0x10);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = {.in = {data, MIN(size, 4096)}, .present = 1};
	GVariantBuilder ids;
	GVariant *options;

	f.count = 1 + (unsigned)fuzz_take(&f.in, 1) % CPU_HOTPLUG_MAX;
	g_variant_builder_init(&ids, G_VARIANT_TYPE("au"));
	for (unsigned i = 0; i < f.count; i++)
		g_variant_builder_add(&ids, "u", i);
	options = g_variant_ref_sink(g_variant_new_parsed("{'ids': <%@au>}", g_variant_builder_end(&ids)));
	f.core = (struct machine_core){.vm_fd = -1, .machine = &f, .ports = bus_new("port"), .notice = notice,
				       .cpu_eject = eject};
	f.dev = device_new(&f.core, "acpi-cpu-hotplug", "cpus", options, NULL, NULL);
	if (!f.dev)
		abort();
	while (f.in.left)
		step(&f);
	for (unsigned i = 0; i <= CPU_HOTPLUG_MAX; i++)
		look_at(&f, i);
	device_free(f.dev);
	bus_free(f.core.ports);
	g_variant_unref(options);
	return 0;
}
