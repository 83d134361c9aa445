/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: devices of a few registers, one after the other on buses without a CPU. The first byte chooses the device, then
 * follow accesses of a hostile driver: ports, BARs, configuration space, pause and resume, save and load. Nothing is expected but
 * that the process survives.
 */
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "fuzz-input.h"
#include "pci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BAR = 0xc0000000, ECAM = 0xb0000000 };

static const char *const classes[] = {"pvpanic-pci", "i6300esb", "isa-debug-exit", "isa-debugcon", "pvpanic"};
static const uint16_t ports[] = {0x501, 0x502, 0xe9};

struct fuzz {
	struct machine_core core;
	struct device *dev;
	struct fuzz_input in;
};

static void request(void *machine, enum machine_request what)
{
}

static void notice(void *machine, enum machine_notice what, const char *name, uint32_t value)
{
}

static void save_and_load(struct fuzz *f)
{
	GByteArray *stream = g_byte_array_new();
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) bytes = NULL;
	size_t offset = 0;

	if (f->dev->cls->pause)
		f->dev->cls->pause(f->dev);
	state_save(stream, f->dev->cls->state, f->dev->id, f->dev);
	bytes = g_byte_array_free_to_bytes(stream);
	if (!state_load(bytes, &offset, f->dev->cls->state, f->dev->id, f->dev, &error))
		abort(); /* its own state */
	if (f->dev->cls->resume)
		f->dev->cls->resume(f->dev);
}

static void step(struct fuzz *f)
{
	unsigned op = fuzz_take(&f->in, 1), at = fuzz_take(&f->in, 1);
	uint64_t v = fuzz_take(&f->in, 4);

	switch (op & 3) {
	case 0:
		bus_access(f->core.mmio, BAR + (at & 31), &v, 1u << (op >> 2 & 3), op & 0x10);
		break;
	case 1:
		bus_access(f->core.mmio, ECAM + at, &v, 1u << (op >> 2 & 3) % 3, op & 0x10);
		break;
	case 2:
		bus_access(f->core.ports, ports[at % G_N_ELEMENTS(ports)], &v, 1u << (op >> 2 & 3) % 3, op & 0x10);
		break;
	default:
		if (op & 0x10)
			save_and_load(f);
		for (unsigned i = 0; i < 8 && g_main_context_iteration(NULL, FALSE); i++)
			continue;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = {.in = {data, MIN(size, 4096)}};

	f.core = (struct machine_core){.vm_fd = -1, .mem = mem_new(-1), .ports = bus_new("port"), .mmio = bus_new("mmio"),
				       .context = g_main_context_default(), .request = request, .notice = notice};
	f.core.pci = pci_bus_new(&f.core, &(struct pci_windows){BAR, 0x10000000, 1ull << 40, 1ull << 30, 0xc000, 0x1000}, NULL);
	if (!f.core.pci || !pci_bus_set_ecam(f.core.pci, ECAM, 1, NULL))
		abort();
	f.dev = device_new(&f.core, classes[fuzz_take(&f.in, 1) % G_N_ELEMENTS(classes)], "fuzz", NULL, NULL, NULL);
	if (!f.dev)
		abort();
	while (f.in.left)
		step(&f);
	f.dev->cls->reset(f.dev);
	device_free(f.dev);
	pci_bus_free(f.core.pci);
	bus_free(f.core.mmio);
	bus_free(f.core.ports);
	mem_free(f.core.mem);
	return 0;
}
