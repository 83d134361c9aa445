/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI Express host bridge at 00:00.0, with the identity of QEMU's q35 (Intel MCH), so that drivers' quirks fit. */
#include "classes.h"
#include "pci.h"

static bool host_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	static const struct pci_ids ids = {
		.vendor = 0x8086, .device = 0x29c0, .subvendor = 0x1af4, .subdevice = 0x1100, .class_revision = 0x06000000};
	struct pci_device *p = (struct pci_device *)dev;

	pci_init(p, &ids);
	p->config[0x3d] = 0; /* no interrupt pin */
	p->slot = 0;
	return pci_add(p, error);
}

static void host_reset(struct device *dev)
{
	pci_reset((struct pci_device *)dev);
}

static void host_destroy(struct device *dev)
{
	pci_remove((struct pci_device *)dev);
}

static bool host_loaded(void *dev, GError **error)
{
	pci_loaded(dev);
	return true;
}

static const struct state_desc host_state = {"pci-host", 1, 1, pci_state_fields, NULL, host_loaded};

const struct device_class device_pci_host = {
	.name = "pci-host",
	.description = "PCI Express host bridge",
	.size = sizeof(struct pci_device),
	.create = host_create,
	.reset = host_reset,
	.destroy = host_destroy,
	.state = &host_state,
};
