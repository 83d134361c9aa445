/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pvpanic (pvpanic.c) as a PCI function (QEMU's docs/specs/pvpanic.txt), whose memory has the byte. Made by --device. */
#include "pvpanic.h"

#include "classes.h"
#include "pci.h"

enum { BAR_SIZE = 4096 };

struct pvpanic {
	struct pci_device pci; /* first */
};

static bool create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	static const struct pci_ids ids = {0x1b36, 0x0011, 0x1af4, 0x1100, 0x08800001};
	struct pvpanic *p = (struct pvpanic *)dev;

	pci_init(&p->pci, &ids);
	p->pci.config[0x3d] = 0; /* it has no interrupt */
	pci_set_bar(&p->pci, 0, BAR_SIZE, false, false, &pvpanic_ops, dev->core);
	if (pci_add(&p->pci, error))
		return true;
	pci_remove(&p->pci);
	return false;
}

static void reset(struct device *dev)
{
	pci_reset((struct pci_device *)dev);
}

static void destroy(struct device *dev)
{
	pci_remove((struct pci_device *)dev);
}

static bool after_load(void *opaque, GError **error)
{
	pci_loaded(opaque);
	return true;
}

static const struct state_field fields[] = {STATE_ONE(struct pvpanic, pci, pci_state_fields),
					    STATE_END};
static const struct state_desc state = {"pvpanic-pci", 1, 1, fields, NULL, after_load};

const struct device_class device_pvpanic_pci = {
	.name = "pvpanic-pci",
	.description = "lets a guest say that it panicked",
	.size = sizeof(struct pvpanic),
	.create = create,
	.reset = reset,
	.destroy = destroy,
	.state = &state,
	.keys = device_no_keys,
};
