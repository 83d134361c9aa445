/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The micro board, chip by chip, top to bottom. A PC without what a direct-booted guest does not need: no firmware, no
 * graphics, no legacy disk controllers. Interrupt controllers and the 8254 are KVM's (machine.c).
 */
#include "board.h"

static struct device *add(struct machine *m, const char *cls, const char *id, const struct device_backend *backend,
			  GError **error)
{
	return board_add(m, cls, id, NULL, backend, error);
}

static bool add_clock(struct machine *m, const struct machine_config *config, GError **error)
{
	GVariantDict nothing_more;

	g_variant_dict_init(&nothing_more, NULL);
	return board_add_clock(m, config, &nothing_more, error);
}

static bool add_legacy(struct machine *m, const struct machine_config *config, GError **error)
{
	g_autoptr(GVariant) keyboard = NULL;
	GVariantDict no_ports;

	g_variant_dict_init(&no_ports, NULL);
	g_variant_dict_insert(&no_ports, "ports", "b", FALSE);
	keyboard = g_variant_ref_sink(g_variant_dict_end(&no_ports));
	m->pm = add(m, "acpi-pm", "pm", NULL, error);
	return m->pm && board_add_serial(m, config, error) && add_clock(m, config, error) &&
	       board_add(m, "i8042", "kbd", keyboard, NULL, error);
}

bool micro_build(struct machine *m, const struct machine_config *config, GError **error)
{
	uint64_t top = m->memory > LOW_RAM_END ? HIGH_RAM_BASE + m->memory - LOW_RAM_END : HIGH_RAM_BASE;

	m->mmio64_base = (top + PCI_MMIO64_SIZE - 1) & ~(PCI_MMIO64_SIZE - 1);
	if (!add_legacy(m, config, error))
		return false;
	m->core.pci = pci_bus_new(&m->core,
				  &(struct pci_windows){PCI_MMIO_BASE, PCI_MMIO_SIZE, m->mmio64_base, PCI_MMIO64_SIZE,
							PCI_IO_BASE, PCI_IO_SIZE},
				  error);
	if (!m->core.pci || !pci_bus_set_ecam(m->core.pci, ECAM_BASE, 1, error) || !add(m, "pci-host", "pcihost", NULL, error))
		return false;
	return board_add_users(m, config, error) && add(m, "virtio-rng", "rng", NULL, error) &&
	       add(m, "virtio-balloon", "balloon", NULL, error) && add(m, "debugcon", "debug", NULL, error);
}
