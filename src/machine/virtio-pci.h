/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PCI transport of virtio (virtio 1.2, section 4.1), modern only: one 32-bit BAR with the
 * common, notify, ISR and device structures and the MSI-X tables; queue notifications through
 * ioeventfds. A virtio device's struct starts with a struct virtio_pci_device.
 *
 * A function that is another card as well (virtio-vga.c) sets `bar`, `front`, `prepare` before create:
 * the BAR's first page is the other card's, and common and ISR structures share the second one,
 * as in QEMU's.
 */
#pragma once

#include "pci.h"
#include "virtio.h"

struct virtio_pci_device {
	struct pci_device pci; /* first */
	struct virtio_device v;
	uint8_t isr; /* under isr_lock, with the INTx level */
	GMutex isr_lock;
	uint64_t ioevents_at; /* BAR address they are registered for, 0: none */
	unsigned window;      /* config offset of the BAR access capability */
	GMainContext *context; /* of its queues, set before create; NULL: the main one */
	uint8_t bar;
	const struct bus_ops *front; /* of the first page; NULL: it is virtio's */
	void *front_opaque;
	/* More BARs, before the function is on the bus; NULL: none. */
	bool (*prepare)(struct virtio_pci_device *p, GError **error);
};

/*
 * In a class's create(): everything of the transport and the common part, @dev being the
 * device's struct. The function appears on the bus: set v.config before or right after, the
 * vCPUs do not run yet.
 */
bool virtio_pci_create(struct device *dev, const struct virtio_class *cls, uint64_t features,
		       unsigned config_size, unsigned n_queues, uint16_t queue_size,
		       GError **error);

/* Its pci_device.config_written, for who has one as well. */
void virtio_pci_config_written(struct pci_device *pci, unsigned offset, unsigned len);

/* For the class table of every virtio device. */
void virtio_pci_reset(struct device *dev);
void virtio_pci_destroy(struct device *dev);
void virtio_pci_pause(struct device *dev);
void virtio_pci_resume(struct device *dev);
bool virtio_pci_after_load(void *dev, GError **error);

extern const struct state_field virtio_pci_state_fields[]; /* of struct virtio_pci_device */

/* First row of a device's state fields; @s starts with struct virtio_pci_device @member. */
#define VIRTIO_PCI_STATE(s, member) STATE_ONE(s, member, virtio_pci_state_fields)
