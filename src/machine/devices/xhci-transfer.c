/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xHCI's transfers (sections 4.10 and 4.11): a whole one is gathered from the ring, given to the device in one call, and told of
 * by events. One that the device has nothing to say to stays in the ring, and is read again when it has. See xhci.h.
 */
#include <string.h>

#include "bytes.h"
#include "virtio.h"
#include "xhci.h"

enum {
	TRANSFERS_AT_ONCE = 256,
	EVENTS_MAX = 4, /* of a transfer */
	BLOCK_MAX = 65536,
	SETUP_BYTES = 8,
};
/* Of a block's control word. */
enum {
	SHORT_EVENT = 1 << 2,
	ON_COMPLETION = 1 << 5,
	IMMEDIATE = 1 << 6,
	EVENT_HAS_DATA = 1 << 2, /* of an event */
};

#define LENGTH(t) ((t)->status & 0x1ffff)

static unsigned interrupter_of(const struct xhci_trb *t)
{
	unsigned n = t->status >> 22;

	return n < XHCI_INTERRUPTERS ? n : 0;
}

static bool has_data(const struct xhci_trb *t)
{
	return xhci_trb_type(t) == XHCI_NORMAL || xhci_trb_type(t) == XHCI_DATA;
}

/* ---- data ---- */

/* The transfer's memory in x->iov; *ret_n pieces, *ret_len bytes. */
static enum xhci_code map(struct xhci *x, unsigned n, bool in, unsigned *ret_n, uint32_t *ret_len)
{
	uint32_t len = 0;
	unsigned pieces = 0;

	for (unsigned i = 0; i < n; i++) {
		struct xhci_trb *t = &x->td[i];
		bool immediate = t->control & IMMEDIATE;
		void *p;

		if (xhci_trb_type(t) == XHCI_ISOCH)
			return XHCI_TRB_ERROR;
		if (!has_data(t) || !LENGTH(t))
			continue;
		if (LENGTH(t) > BLOCK_MAX || (immediate && (in || LENGTH(t) > sizeof(t->parameter))))
			return XHCI_TRB_ERROR;
		p = immediate ? &t->parameter : gpa_ptr(x->pci.dev.core->mem, t->parameter, LENGTH(t));
		if (!p)
			return XHCI_TRB_ERROR;
		x->iov[pieces++] = (struct iovec){p, LENGTH(t)};
		len += LENGTH(t);
	}
	*ret_n = pieces;
	*ret_len = len;
	return XHCI_SUCCESS;
}

static void mark_written(struct xhci *x, unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n && len; i++) {
		uint32_t part = has_data(&x->td[i]) ? MIN(LENGTH(&x->td[i]), len) : 0;

		if (part)
			mem_written(x->pci.dev.core->mem, x->td[i].parameter, part);
		len -= part;
	}
}

static enum xhci_code code_of(int res)
{
	return res >= 0 ? XHCI_SUCCESS : res == USB_BABBLE ? XHCI_BABBLE : XHCI_STALL;
}

/* Bytes moved, or one of usb.h's; *ret_code when it is an error of ours. */
static int run_control(struct xhci *x, struct usb_device *usb, unsigned n, enum xhci_code *ret_code)
{
	uint8_t bytes[SETUP_BYTES], data[USB_CONTROL_MAX];
	struct usb_setup s;
	unsigned pieces;
	uint32_t len;
	bool in;
	int res;

	if (xhci_trb_type(&x->td[0]) != XHCI_SETUP || xhci_trb_type(&x->td[n - 1]) == XHCI_SETUP ||
	    LENGTH(&x->td[0]) != SETUP_BYTES || !(x->td[0].control & IMMEDIATE)) {
		*ret_code = XHCI_TRB_ERROR;
		return 0;
	}
	put_le64(bytes, x->td[0].parameter);
	s = (struct usb_setup){bytes[0], bytes[1], get_le16(bytes + 2), get_le16(bytes + 4), get_le16(bytes + 6)};
	in = s.type & 0x80;
	*ret_code = map(x, n, in, &pieces, &len);
	if (*ret_code != XHCI_SUCCESS)
		return 0;
	s.length = (uint16_t)MIN(s.length, len);
	memset(data, 0, sizeof(data));
	if (!in && s.length <= USB_CONTROL_MAX)
		virtq_iov_read(x->iov, pieces, 0, data, s.length);
	res = usb_control(usb, &s, data);
	if (res <= 0 || !in)
		return res < 0 ? res : s.length;
	res = (int)virtq_iov_write(x->iov, pieces, 0, data, (size_t)res);
	mark_written(x, n, (uint32_t)res);
	return res;
}

static int run_data(struct xhci *x, struct usb_device *usb, unsigned dci, unsigned n, enum xhci_code *ret_code)
{
	bool in = dci & 1;
	unsigned pieces;
	uint32_t len;
	int res;

	*ret_code = map(x, n, in, &pieces, &len);
	if (*ret_code != XHCI_SUCCESS)
		return 0;
	res = usb_transfer(usb, dci / 2, in, x->iov, pieces, len);
	if (res > 0 && in)
		mark_written(x, n, (uint32_t)res);
	return res;
}

/* ---- events ---- */

static void tell(struct xhci *x, unsigned slot, unsigned dci, const struct xhci_trb *t, enum xhci_code code, uint32_t left,
		 uint32_t *sum)
{
	bool data = xhci_trb_type(t) == XHCI_EVENT_DATA;

	xhci_event(x, interrupter_of(t), data ? t->parameter : t->at, (uint32_t)code << 24 | ((data ? *sum : left) & 0xffffff),
		   XHCI_TRANSFER_EVENT << 10 | (data ? EVENT_HAS_DATA : 0) | dci << 16 | slot << 24);
	if (data)
		*sum = 0;
}

/*
 * After `moved` bytes: an event for the block where a packet was short, or the transfer failed, and for those that ask for one;
 * one event a stage, as drivers expect it.
 */
static void report(struct xhci *x, unsigned slot, unsigned dci, unsigned n, uint32_t moved, enum xhci_code code)
{
	uint32_t left = moved, sum = 0;
	bool told = false, is_short = false;

	for (unsigned i = 0; i < n; i++) {
		const struct xhci_trb *t = &x->td[i];
		uint32_t chunk = 0;

		if (has_data(t)) {
			chunk = MIN(LENGTH(t), left);
			is_short = is_short || (chunk < LENGTH(t) && code == XHCI_SUCCESS);
			left -= chunk;
			sum += chunk;
		} else if (xhci_trb_type(t) == XHCI_SETUP) {
			chunk = SETUP_BYTES;
		} else if (xhci_trb_type(t) == XHCI_STATUS) {
			told = is_short = false;
		}
		if (told || !((t->control & ON_COMPLETION) || (is_short && (t->control & SHORT_EVENT)) ||
			      (code != XHCI_SUCCESS && !left)))
			continue;
		tell(x, slot, dci, t, code == XHCI_SUCCESS && is_short ? XHCI_SHORT_PACKET : code, LENGTH(t) - chunk, &sum);
		told = xhci_trb_type(t) != XHCI_SETUP;
		if (code != XHCI_SUCCESS)
			return;
	}
}

void xhci_stopped_event(struct xhci *x, unsigned slot, unsigned dci)
{
	struct xhci_endpoint *ep = &x->slot[slot].ep[dci];
	struct xhci_ring after;
	unsigned n = xhci_ring_transfer(x, &ep->ring, ep->type == XHCI_EP_CONTROL, &after);

	if (n && xhci_events_room(x, interrupter_of(&x->td[0]), 2))
		tell(x, slot, dci, &x->td[0], XHCI_STOPPED, LENGTH(&x->td[0]), &(uint32_t){0});
}

/* ---- endpoints ---- */

static bool room_for_events(const struct xhci *x, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!xhci_events_room(x, interrupter_of(&x->td[i]), EVENTS_MAX))
			return false;
	return true;
}

static int run(struct xhci *x, unsigned slot, unsigned dci, unsigned n, enum xhci_code *ret_code)
{
	struct usb_device *usb = xhci_slot_device(x, slot);

	*ret_code = XHCI_SUCCESS;
	if (n == 1 && xhci_trb_type(&x->td[0]) == XHCI_NO_OP)
		return 0;
	if (!usb)
		*ret_code = XHCI_TRANSACTION_ERROR;
	else if (x->slot[slot].ep[dci].type == XHCI_EP_CONTROL)
		return run_control(x, usb, n, ret_code);
	else
		return run_data(x, usb, dci, n, ret_code);
	return 0;
}

/* True: there may be another one. */
static bool one_transfer(struct xhci *x, unsigned slot, unsigned dci)
{
	struct xhci_endpoint *ep = &x->slot[slot].ep[dci];
	uint32_t bit = 1u << dci;
	struct xhci_ring after;
	enum xhci_code code;
	unsigned n = xhci_ring_transfer(x, &ep->ring, ep->type == XHCI_EP_CONTROL, &after);
	int res;

	if (!n) {
		x->slot[slot].doorbells &= ~bit;
		return false;
	}
	if (!room_for_events(x, n))
		return false; /* the driver makes room, and the doorbell is looked at again */
	res = run(x, slot, dci, n, &code);
	if (res == USB_NAK) {
		x->slot[slot].doorbells &= ~bit;
		return false;
	}
	if (code == XHCI_SUCCESS)
		code = code_of(res);
	report(x, slot, dci, n, (uint32_t)MAX(res, 0), code);
	if (code == XHCI_SUCCESS) {
		ep->ring = after;
		return true;
	}
	xhci_endpoint_state(x, slot, dci, code == XHCI_TRB_ERROR ? XHCI_EP_ERROR : XHCI_EP_HALTED);
	x->slot[slot].doorbells &= ~bit;
	return false;
}

void xhci_endpoint_work(struct xhci *x, unsigned slot, unsigned dci)
{
	struct xhci_slot *s = &x->slot[slot];
	struct xhci_endpoint *ep = &s->ep[dci];

	if (ep->state != XHCI_EP_RUNNING) {
		s->doorbells &= ~(1u << dci);
		return;
	}
	for (unsigned n = 0; n < TRANSFERS_AT_ONCE; n++)
		if (!xhci_running(x) || !one_transfer(x, slot, dci))
			return;
	xhci_kick(x);
}
