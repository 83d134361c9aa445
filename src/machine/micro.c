/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The micro board, chip by chip, top to bottom. A PC without what a direct-booted guest does not need: no firmware, no
 * graphics, no legacy disk controllers. Interrupt controllers and the 8254 are KVM's (machine.c).
 */
#include "disk.h"
#include "error.h"
#include "internal.h"

#define QUEUES_MAX 8 /* what virtio-net takes; more vCPUs share them */

static struct device *add_with(struct machine *m, const char *cls, const char *id, GVariant *options,
			       const struct device_backend *backend, GError **error)
{
	struct device *d;

	for (unsigned i = 0; i < m->devices->len; i++)
		if (!g_strcmp0(((struct device *)m->devices->pdata[i])->id, id)) {
			kv_fail(error, KV_ERROR_USAGE, "there are two devices '%s'; give one of them another id", id);
			return NULL;
		}
	d = device_new(&m->core, cls, id, options, backend, error);
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
static bool add_queued(struct machine *m, const char *cls, const char *id, GVariant *given, const struct device_backend *backend,
		       GError **error)
{
	g_autoptr(GVariant) options = NULL;
	GVariantDict dict;

	g_variant_dict_init(&dict, given);
	if (!g_variant_dict_contains(&dict, "queues"))
		g_variant_dict_insert(&dict, "queues", "u", MIN(m->cpus, QUEUES_MAX));
	options = g_variant_ref_sink(g_variant_dict_end(&dict));
	return add_with(m, cls, id, options, backend, error);
}

/* SCSI disks have one controller, in the place of the first of them. */
static bool add_scsi(struct machine *m, const struct machine_disk *disk, struct device **controller, GError **error)
{
	struct device_backend backend = {.disk = disk->disk};

	if (!*controller && !add_queued(m, "virtio-scsi", "scsi", NULL, NULL, error))
		return false;
	if (!*controller)
		*controller = m->devices->pdata[m->devices->len - 1];
	backend.controller = *controller;
	return add_with(m, disk->cdrom ? "scsi-cd" : "scsi-disk", disk_id(disk->disk), disk->options, &backend, error);
}

static bool add_disks(struct machine *m, const struct machine_config *config, GError **error)
{
	struct device *controller = NULL;

	for (unsigned i = 0; i < config->n_disks; i++) {
		const struct machine_disk *d = &config->disks[i];
		bool ok = d->bus == MACHINE_BUS_SCSI ? add_scsi(m, d, &controller, error) :
						       add_queued(m, "virtio-blk", disk_id(d->disk), d->options,
								  &(struct device_backend){.disk = d->disk}, error);

		if (!ok)
			return false;
	}
	return true;
}

static bool add_cards(struct machine *m, struct netdev *const *netdevs, GError **error)
{
	for (unsigned i = 0; netdevs && netdevs[i]; i++) {
		g_autofree char *id = g_strdup_printf("net%u", i);

		if (!add_queued(m, "virtio-net", id, NULL, &(struct device_backend){.netdev = netdevs[i]}, error))
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
	return add_disks(m, config, error) && add_cards(m, config->netdevs, error) &&
	       add(m, "virtio-rng", "rng", NULL, error) && add(m, "virtio-balloon", "balloon", NULL, error);
}
