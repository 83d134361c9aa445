/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the USB controller (eXtensible Host Controller Interface 1.0, Intel 2010; section numbers are its): xhci.c
 * registers, ports and the device; xhci-ring.c all reading and writing of rings in guest memory; xhci-command.c commands, slots
 * and contexts; xhci-transfer.c endpoints and their transfers.
 *
 * Threads: register accesses run in vCPU threads. All work on rings is the main thread's (xhci_work), which a doorbell wakes.
 * Everything is under bus.lock.
 */
#pragma once
#include "pci.h"
#include "usb.h"

enum {
	XHCI_PORTS = 8, /* the first half of them USB 2, the others USB 3 */
	XHCI_SLOTS = 16,
	XHCI_INTERRUPTERS = 4,
	XHCI_ENDPOINTS = 32, /* by device context index; 0 is no endpoint */
	XHCI_TD_MAX = 1024,  /* blocks of a transfer */
	XHCI_CONTEXT = 32,   /* bytes */
};

/* Completion codes (6.4.5). */
enum xhci_code {
	XHCI_SUCCESS = 1,
	XHCI_BABBLE = 3,
	XHCI_TRANSACTION_ERROR = 4,
	XHCI_TRB_ERROR = 5,
	XHCI_STALL = 6,
	XHCI_NO_SLOTS = 9,
	XHCI_SLOT_NOT_ENABLED = 11,
	XHCI_ENDPOINT_NOT_ENABLED = 12,
	XHCI_SHORT_PACKET = 13,
	XHCI_PARAMETER_ERROR = 17,
	XHCI_CONTEXT_STATE_ERROR = 19,
	XHCI_COMMAND_RING_STOPPED = 24,
	XHCI_STOPPED = 26,
};

/* Types of transfer request blocks (6.4.6). */
enum xhci_type {
	XHCI_NORMAL = 1,
	XHCI_SETUP,
	XHCI_DATA,
	XHCI_STATUS,
	XHCI_ISOCH,
	XHCI_LINK,
	XHCI_EVENT_DATA,
	XHCI_NO_OP,
	XHCI_TRANSFER_EVENT = 32,
	XHCI_COMMAND_EVENT = 33,
	XHCI_PORT_EVENT = 34,
};

/* Endpoint states, and types (6.2.3). */
enum { XHCI_EP_DISABLED, XHCI_EP_RUNNING, XHCI_EP_HALTED, XHCI_EP_STOPPED, XHCI_EP_ERROR };
enum { XHCI_EP_ISOCH_OUT = 1, XHCI_EP_BULK_OUT, XHCI_EP_INTERRUPT_OUT, XHCI_EP_CONTROL, XHCI_EP_ISOCH_IN };
/* Slot states (6.2.2). */
enum { XHCI_SLOT_ENABLED, XHCI_SLOT_DEFAULT, XHCI_SLOT_ADDRESSED, XHCI_SLOT_CONFIGURED };

/* A block, copied from the guest's memory. */
struct xhci_trb {
	uint64_t at; /* where it was */
	uint64_t parameter;
	uint32_t status, control;
};

static inline unsigned xhci_trb_type(const struct xhci_trb *t)
{
	return t->control >> 10 & 63;
}

/* A ring that we consume. */
struct xhci_ring {
	uint64_t dequeue;
	bool cycle;
};

struct xhci_endpoint {
	uint8_t type, state;
	struct xhci_ring ring;
};

struct xhci_slot {
	bool enabled;
	uint8_t state, port; /* port: from 1 on; 0: none */
	uint64_t context;    /* the device context, once addressed */
	uint32_t doorbells;  /* endpoints that may have work */
	struct xhci_endpoint ep[XHCI_ENDPOINTS];
};

struct xhci_interrupter {
	uint32_t iman, imod, erstsz;
	uint64_t erstba, erdp;
	/* The event ring: one segment. */
	uint64_t start;
	uint32_t size, index; /* blocks; size 0: no ring */
	bool cycle;
};

struct xhci_port {
	uint32_t portsc;
	bool event;		/* a change that the driver has not been told of */
	struct usb_device *usb; /* not saved */
};

struct xhci {
	struct pci_device pci; /* first */
	struct usb_bus bus;
	GSource *worker; /* xhci_work, when it is ready */
	bool paused;
	gint64 started; /* the frame counter's 0, g_get_monotonic_time() */
	uint32_t usbcmd, usbsts, dnctrl, config;
	uint32_t crcr_low; /* of a write in two halves */
	uint64_t dcbaap;
	struct xhci_ring commands;
	bool commands_run, command_doorbell;
	struct xhci_port port[XHCI_PORTS];
	struct xhci_slot slot[XHCI_SLOTS + 1]; /* from 1 on */
	struct xhci_interrupter intr[XHCI_INTERRUPTERS];
	/* A transfer while it is looked at. */
	struct xhci_trb td[XHCI_TD_MAX];
	struct iovec iov[XHCI_TD_MAX];
};

/* xhci.c */
bool xhci_running(const struct xhci *x);
void xhci_fail(struct xhci *x, const char *why); /* host controller error: it stands still until it is reset */
void xhci_kick(struct xhci *x);			 /* xhci_work() soon; any thread */
void xhci_raise(struct xhci *x, unsigned interrupter);
struct usb_device *xhci_slot_device(struct xhci *x, unsigned slot); /* NULL: unplugged */

/* xhci-ring.c: each takes what it needs from guest memory once, and checks it. */
/* The next block that the driver has given, links followed; false: there is none, or xhci_fail(). */
bool xhci_ring_next(struct xhci *x, struct xhci_ring *r, struct xhci_trb *ret);
/* A whole transfer into x->td, and where the next one begins; 0: there is none (yet). */
unsigned xhci_ring_transfer(struct xhci *x, const struct xhci_ring *r, bool control, struct xhci_ring *ret_after);
bool xhci_events_room(const struct xhci *x, unsigned interrupter, unsigned blocks);
void xhci_event(struct xhci *x, unsigned interrupter, uint64_t parameter, uint32_t status, uint32_t control);
void xhci_events_start(struct xhci *x, unsigned interrupter); /* the driver gave a segment table */
bool xhci_events_waiting(const struct xhci *x, unsigned interrupter);

/* xhci-command.c */
void xhci_commands(struct xhci *x);
void xhci_slots_reset(struct xhci *x);
void xhci_endpoint_state(struct xhci *x, unsigned slot, unsigned dci, uint8_t state); /* and tells the context */

/* xhci-transfer.c */
void xhci_endpoint_work(struct xhci *x, unsigned slot, unsigned dci);
void xhci_stopped_event(struct xhci *x, unsigned slot, unsigned dci); /* for the transfer under way, if there is one */
