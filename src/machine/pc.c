/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pc board, chip by chip, top to bottom: what QEMU's q35 is to firmware and drivers. The processor starts in the firmware's
 * last bytes below 4 GiB; PCI's BARs, the memory map and all else is the firmware's to arrange.
 */
#include <errno.h>

#include "board.h"
#include "error.h"
#include "pc-firmware.h"

#define ISA_IRQS       16
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

/* As Linux has them but for the 8254, which is pin 2 of the I/O APIC: ISA's IRQ 2 is none (KVM_SET_GSI_ROUTING). */
static bool route_interrupts(struct machine *m, GError **error)
{
	g_autofree struct kvm_irq_routing *r =
		g_malloc0(sizeof(*r) + 2 * KVM_IOAPIC_NUM_PINS * sizeof(struct kvm_irq_routing_entry));

	for (unsigned gsi = 0; gsi < KVM_IOAPIC_NUM_PINS; gsi++) {
		if (gsi == 2)
			continue;
		r->entries[r->nr].gsi = gsi;
		r->entries[r->nr].type = KVM_IRQ_ROUTING_IRQCHIP;
		r->entries[r->nr].u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
		r->entries[r->nr++].u.irqchip.pin = gsi ? gsi : 2;
		if (gsi >= ISA_IRQS)
			continue;
		r->entries[r->nr].gsi = gsi;
		r->entries[r->nr].type = KVM_IRQ_ROUTING_IRQCHIP;
		r->entries[r->nr].u.irqchip.irqchip = gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
		r->entries[r->nr++].u.irqchip.pin = gsi % 8;
	}
	if (kvcore_ioctl(m->core.vm_fd, KVM_SET_GSI_ROUTING, r) < 0)
		return kv_fail_errno(error, errno, "KVM_SET_GSI_ROUTING");
	return true;
}

/* The clock chip's memory says how much memory and how many processors there are. */
static bool add_clock(struct machine *m, const struct machine_config *config, GError **error)
{
	uint64_t low = pc_low_ram(m->memory);
	GVariantDict options;

	g_variant_dict_init(&options, NULL);
	g_variant_dict_insert(&options, "low", "t", low);
	g_variant_dict_insert(&options, "high", "t", m->memory - low);
	g_variant_dict_insert(&options, "cpus", "u", cpus_present(m));
	return board_add_clock(m, config, &options, error);
}

static bool add_legacy(struct machine *m, const struct machine_config *config, GError **error)
{
	return board_add_serial(m, config, error) && add_clock(m, config, error) &&
	       add(m, "hpet", "hpet", NULL, error) && add(m, "i8042", "kbd", NULL, error);
}

/* The bridges, before anything that interrupts. */
static bool add_chipset(struct machine *m, GError **error)
{
	m->core.pci = pci_bus_new(&m->core, &(struct pci_windows){0}, error);
	if (!m->core.pci || !add(m, "q35-mch", "mch", NULL, error))
		return false;
	m->pm = board_add(m, "ich9-lpc", "lpc", NULL, NULL, error);
	return m->pm && cpus_add_hotplug(m, error);
}

bool pc_build(struct machine *m, const struct machine_config *config, GError **error)
{
	return route_interrupts(m, error) && pc_firmware_new(m, config->firmware, error) && add_chipset(m, error) &&
	       add_legacy(m, config, error) &&
	       (!config->vga || board_add(m, config->vga, "vga", config->vga_options, NULL, error)) &&
	       board_add_users(m, config, error) && (!config->tablet || board_add_tablet(m, error)) &&
	       add(m, "debugcon", "debug", NULL, error) && pc_firmware_tell(m, config->firmware, error);
}
