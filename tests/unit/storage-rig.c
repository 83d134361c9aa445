/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See storage-rig.h. */
#include "storage-rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <linux/pci_regs.h>

#include "pci.h"

static void request(void *machine, enum machine_request what)
{
}

static void on_line(void *opaque, unsigned line, bool level)
{
	((struct storage_rig *)opaque)->line = level;
}

void storage_open(struct storage_rig *r)
{
	const struct pci_windows windows = {0xc0000000, 0x10000000, 1ull << 40, 1ull << 30, 0xc000, 0x1000};

	*r = (struct storage_rig){.core = {.vm_fd = -1, .request = request, .pci_intx = on_line, .pci_intx_opaque = r}};
	r->core.mem = mem_new(-1);
	assert_true(mem_add_ram(r->core.mem, 0, STORAGE_RAM, NULL));
	r->ram = gpa_ptr(r->core.mem, 0, STORAGE_RAM);
	r->core.ports = bus_new("port");
	r->core.mmio = bus_new("mmio");
	r->core.pci = pci_bus_new(&r->core, &windows, NULL);
	assert_true(pci_bus_set_ecam(r->core.pci, STORAGE_ECAM, 1, NULL));
}

void storage_map(struct storage_rig *r, unsigned bar)
{
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	uint32_t low = 0, high = 0;

	bus_access(r->core.mmio, STORAGE_ECAM + PCI_BASE_ADDRESS_0 + 4 * bar, &low, 4, false);
	if (low & PCI_BASE_ADDRESS_MEM_TYPE_64)
		bus_access(r->core.mmio, STORAGE_ECAM + PCI_BASE_ADDRESS_0 + 4 * bar + 4, &high, 4, false);
	r->bar = (low & ~15u) | (uint64_t)high << 32;
	bus_access(r->core.mmio, STORAGE_ECAM + PCI_COMMAND, &command, 2, true);
}

void storage_close(struct storage_rig *r)
{
	pci_bus_free(r->core.pci);
	bus_free(r->core.ports);
	bus_free(r->core.mmio);
	mem_free(r->core.mem);
}

uint32_t storage_read(struct storage_rig *r, unsigned offset)
{
	uint32_t v = 0;

	bus_access(r->core.mmio, r->bar + offset, &v, 4, false);
	return v;
}

void storage_write(struct storage_rig *r, unsigned offset, uint32_t value)
{
	bus_access(r->core.mmio, r->bar + offset, &value, 4, true);
}

void storage_run(void)
{
	for (unsigned i = 0; i < 10000 && g_main_context_iteration(NULL, FALSE); i++)
		;
}

void storage_save_and_load(struct storage_rig *r)
{
	GByteArray *out = g_byte_array_new();
	g_autoptr(GBytes) bytes = NULL;
	size_t at = 0;

	state_save(out, r->dev->cls->state, r->dev->id, r->dev);
	r->dev->cls->reset(r->dev);
	bytes = g_byte_array_free_to_bytes(out);
	assert_true(state_load(bytes, &at, r->dev->cls->state, r->dev->id, r->dev, NULL));
	r->dev->cls->resume(r->dev);
	storage_run();
}
