/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pc board, chip by chip, top to bottom: what QEMU's q35 is to firmware and drivers. The processor starts in the firmware's
 * last bytes below 4 GiB; PCI's BARs, the memory map and all else is the firmware's to arrange.
 */
#include "board.h"
#include "error.h"
#include "pc-firmware.h"

#define VGA_WINDOW     0xa0000ull
#define SHADOW_RAM     0xc0000ull /* ROMs of cards and the firmware's end, as RAM */
#define LOW_RAM_MAX    0xb0000000ull /* below where firmware has PCI's configuration space */
#define LOW_RAM_SPLIT  0x80000000ull

/* A large memory leaves more below 4 GiB to PCI, in a round place. */
uint64_t pc_low_ram(uint64_t memory)
{
	return memory < LOW_RAM_MAX ? memory : LOW_RAM_SPLIT;
}

bool pc_add_ram(struct machine *m, GError **error)
{
	uint64_t low = pc_low_ram(m->memory);

	return mem_add_ram(m->core.mem, 0, VGA_WINDOW, error) && mem_add_ram(m->core.mem, SHADOW_RAM, low - SHADOW_RAM, error) &&
	       (m->memory == low || mem_add_ram(m->core.mem, HIGH_RAM_BASE, m->memory - low, error));
}

static bool add(struct machine *m, const char *cls, const char *id, const struct device_backend *backend, GError **error)
{
	return board_add(m, cls, id, NULL, backend, error);
}

static bool add_legacy(struct machine *m, const struct machine_config *config, GError **error)
{
	m->pm = board_add(m, "acpi-pm", "pm", NULL, NULL, error);
	return m->pm && add(m, "ns16550", "com1", &(struct device_backend){.chardev = config->console}, error) &&
	       add(m, "mc146818", "rtc", NULL, error) && add(m, "i8042", "kbd", NULL, error) &&
	       add(m, "debugcon", "debug", NULL, error);
}

bool pc_build(struct machine *m, const struct machine_config *config, GError **error)
{
	if (!pc_firmware_new(m, config->firmware, error) || !add_legacy(m, config, error))
		return false;
	m->core.pci = pci_bus_new(&m->core, &(struct pci_windows){0}, error);
	return m->core.pci && add(m, "pci-host", "pcihost", NULL, error) && board_add_disks(m, config, error) &&
	       board_add_cards(m, config, error) && board_add_devices(m, config, error) &&
	       pc_firmware_tell(m, config->firmware, error);
}
