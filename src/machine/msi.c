/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI (PCI 3.0, 6.8.1): one message with a 64-bit address, in configuration space alone; there are no masks, so nothing waits.
 * Called by the functions that have it, in the place of INTx where the driver has switched it on.
 */
#include <linux/pci_regs.h>

#include "bytes.h"
#include "core.h"
#include "log.h"
#include "pci.h"

enum {
	CAPABILITY = 14, /* bytes */
};

void pci_add_msi(struct pci_device *p)
{
	unsigned cap = pci_add_capability(p, PCI_CAP_ID_MSI, CAPABILITY);

	put_le16(p->config + cap + PCI_MSI_FLAGS, PCI_MSI_FLAGS_64BIT);
	put_le16(p->wmask + cap + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE);
	put_le32(p->wmask + cap + PCI_MSI_ADDRESS_LO, ~3u);
	put_le32(p->wmask + cap + PCI_MSI_ADDRESS_HI, ~0u);
	put_le16(p->wmask + cap + PCI_MSI_DATA_64, 0xffff);
	p->msi_cap = (uint16_t)cap;
}

bool pci_msi_enabled(const struct pci_device *p)
{
	return p->msi_cap && (p->config[p->msi_cap + PCI_MSI_FLAGS] & PCI_MSI_FLAGS_ENABLE);
}

void pci_msi_notify(struct pci_device *p)
{
	const uint8_t *cap = p->config + p->msi_cap;
	struct kvm_msi msi = {0};

	if (!pci_msi_enabled(p))
		return;
	msi.address_lo = get_le32(cap + PCI_MSI_ADDRESS_LO);
	msi.address_hi = get_le32(cap + PCI_MSI_ADDRESS_HI);
	msi.data = get_le16(cap + PCI_MSI_DATA_64);
	if (p->dev.core->vm_fd >= 0 && kvcore_ioctl(p->dev.core->vm_fd, KVM_SIGNAL_MSI, &msi) < 0)
		kv_log_debug("%s: an interrupt message to 0x%x was refused", p->dev.id, msi.address_lo);
	__atomic_add_fetch(&p->msi_sent, 1, __ATOMIC_RELAXED);
}
