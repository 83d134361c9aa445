/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the virtio console: virtio-console.c has ports and their bytes, virtio-console-control.c what driver and device
 * tell each other about ports (virtio 1.2, 5.3.6.2). Locks: a queue's, then virtio_console.lock.
 */
#pragma once
#include "char.h"
#include "virtio-pci.h"

enum {
	CONSOLE_INPUT = 4096,
	CONSOLE_PORTS = 31,
	CONSOLE_CONTROL_RX = 2, /* queues, as is the next: of ports but the first two there are more */
	CONSOLE_CONTROL_TX = 3,
};

/* What the driver is still to be told of a port, in this order. */
enum { PENDING_ADD = 1, PENDING_CONSOLE = 2, PENDING_NAME = 4, PENDING_OPEN = 8, PENDING_REMOVE = 16 };

struct virtio_console;

struct console_port {
	struct virtio_console *c;
	unsigned index;
	struct chardev *chr; /* NULL: there is no such port */
	char *name, *id;     /* NULL: the console */
	struct device *owner; /* the device that is the port, which was plugged in (virtserialport.c); NULL: the command line's */
	/* What the backend gave and the guest has no buffer for yet; the rx queue's lock. */
	uint8_t input[CONSOLE_INPUT];
	uint32_t input_len;
	GSource *retry; /* output waits for the backend; the tx queue's lock */
	/* Under virtio_console.lock. */
	bool guest_open, host_open;
	uint8_t pending;
};

struct virtio_console {
	struct virtio_pci_device dev;
	GMutex lock;
	uint32_t n_ports; /* the first one is the console's place */
	struct console_port *ports;
};

/* virtio-console.c for virtserialport.c, main thread: a port comes, and goes. NULL with the error set: no room, or that name. */
struct console_port *console_add_port(struct virtio_console *c, struct device *owner, struct chardev *chr, const char *name,
				      GError **error);
void console_remove_port(struct console_port *p);
void virtserialport_orphan(struct device *port); /* its console goes */

/* virtio-console-control.c; the queue's lock is held. */
void console_control_tx(struct virtio_console *c, struct virtqueue *vq);
void console_control_rx(struct virtio_console *c, struct virtqueue *vq);
/* No lock held: the driver is told as soon as it has room. */
void console_tell(struct console_port *p, uint8_t pending);
/* The guest opened or closed it, or its driver is gone; no lock held. */
void console_guest_open(struct console_port *p, bool open);
