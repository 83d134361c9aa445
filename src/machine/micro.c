/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The micro board, chip by chip, top to bottom. A PC without what a direct-booted guest does not need: no firmware, no
 * graphics, no legacy disk controllers. Interrupt controllers and the 8254 are KVM's (machine.c).
 */
#include "error.h"
#include "internal.h"

#define QUEUES_MAX 8 /* what virtio-net takes; more vCPUs share them */

static struct device *add_with(struct machine *m, const char *cls, const char *id, GVariant *options,
			       const struct device_backend *backend, GError **error)
{
	struct device *d = device_new(&m->core, cls, id, options, backend, error);

	if (d)
		g_ptr_array_add(m->devices, d);
	return d;
}

static struct device *add(struct machine *m, const char *cls, const char *id, const struct device_backend *backend,
			  GError **error)
{
	return add_with(m, cls, id, NULL, backend, error);
}

/* A disk or card: a queue, or a pair, for each vCPU. */
static bool add_queued(struct machine *m, const char *cls, const char *id, const struct device_backend *backend, GError **error)
{
	g_autoptr(GVariant) options = NULL;
	GVariantDict dict;

	g_variant_dict_init(&dict, NULL);
	g_variant_dict_insert(&dict, "queues", "u", MIN(m->cpus, QUEUES_MAX));
	options = g_variant_ref_sink(g_variant_dict_end(&dict));
	return add_with(m, cls, id, options, backend, error);
}

static bool add_disks(struct machine *m, struct image *const *images, GError **error)
{
	for (unsigned i = 0; images && images[i]; i++) {
		g_autofree char *id = g_strdup_printf("disk%u", i);

		if (!add_queued(m, "virtio-blk", id, &(struct device_backend){.image = images[i]}, error))
			return false;
	}
	return true;
}

static bool add_cards(struct machine *m, struct netdev *const *netdevs, GError **error)
{
	for (unsigned i = 0; netdevs && netdevs[i]; i++) {
		g_autofree char *id = g_strdup_printf("net%u", i);

		if (!add_queued(m, "virtio-net", id, &(struct device_backend){.netdev = netdevs[i]}, error))
			return false;
	}
	return true;
}

static bool add_legacy(struct machine *m, const struct machine_config *config, GError **error)
{
	m->pm = add(m, "acpi-pm", "pm", NULL, error);
	return m->pm && add(m, "ns16550", "com1", &(struct device_backend){.chardev = config->console}, error) &&
	       add(m, "mc146818", "rtc", NULL, error) && add(m, "i8042", "kbd", NULL, error) &&
	       add(m, "debugcon", "debug", NULL, error);
}

bool micro_build(struct machine *m, const struct machine_config *config, GError **error)
{
	uint64_t top = m->memory > LOW_RAM_END ? HIGH_RAM_BASE + m->memory - LOW_RAM_END : HIGH_RAM_BASE;

	m->mmio64_base = (top + PCI_MMIO64_SIZE - 1) & ~(PCI_MMIO64_SIZE - 1);
	if (!add_legacy(m, config, error))
		return false;
	m->core.pci = pci_bus_new(&m->core, ECAM_BASE, PCI_MMIO_BASE, PCI_MMIO_SIZE, m->mmio64_base, PCI_MMIO64_SIZE, error);
	if (!m->core.pci || !add(m, "pci-host", "pcihost", NULL, error))
		return false;
	if (config->virtio_console &&
	    !add(m, "virtio-console", "console", &(struct device_backend){.chardev = config->virtio_console}, error))
		return false;
	return add_disks(m, config->images, error) && add_cards(m, config->netdevs, error) &&
	       add(m, "virtio-rng", "rng", NULL, error) && add(m, "virtio-balloon", "balloon", NULL, error);
}
