/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio console (virtio 1.2, section 5.3): one port, hvc0 in Linux, joined to a
 * character backend. Input waits in the backend while the guest offers no buffer; output
 * stays in the ring while the backend's buffer is full.
 */
#include <string.h>

#include <linux/virtio_console.h>

#include "char.h"
#include "device.h"
#include "virtio-pci.h"

enum {
	QUEUE_SIZE = 64,
	RX = 0,
	TX = 1,
};

struct virtio_console {
	struct virtio_pci_device dev;
	struct chardev *chr;
};

/* Output: stops at the first chain that the backend does not take whole. */
static void tx(struct virtio_console *c, struct virtqueue *vq)
{
	struct virtq_chain *chain;
	unsigned budget = 2 * vq->size;

	do {
		virtq_disable_notify(vq);
		while (budget && chardev_can_write(c->chr) && (chain = virtq_pop(vq))) {
			for (unsigned i = 0; i < chain->n_out; i++)
				chardev_write(c->chr, chain->out[i].iov_base, chain->out[i].iov_len);
			virtq_push(vq, chain, 0);
			budget--;
		}
	} while (budget && chardev_can_write(c->chr) && virtq_enable_notify(vq));
	if (!budget)
		virtio_queue_kick(&c->dev.v, TX);
	virtio_queue_flush(&c->dev.v, vq);
}
