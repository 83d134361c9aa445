/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xHCI's commands (section 4.6), device slots and the contexts in guest memory that belong to them (6.2). Every command ends at
 * once, with an event. See xhci.h.
 */
#include <string.h>

#include "bytes.h"
#include "xhci.h"

enum {
	CMD_ENABLE_SLOT = 9,
	CMD_DISABLE_SLOT,
	CMD_ADDRESS_DEVICE,
	CMD_CONFIGURE_ENDPOINT,
	CMD_EVALUATE_CONTEXT,
	CMD_RESET_ENDPOINT,
	CMD_STOP_ENDPOINT,
	CMD_SET_DEQUEUE,
	CMD_RESET_DEVICE = 17,
	CMD_NO_OP = 23,
};
enum { FLAG_BLOCK_ADDRESS = 1 << 9, FLAG_DECONFIGURE = 1 << 9 }; /* of a command's control word */
enum { COMMANDS_AT_ONCE = 64 };

#define ROUTE(slot0)	 ((slot0) & 0xfffff)
#define ENTRIES_MASK	 0xf8000000u /* of a slot context's first word: the last endpoint's index */
#define SLOT_STATE_SHIFT 27

static struct guest_mem *mem_of(struct xhci *x)
{
	return x->pci.dev.core->mem;
}

/* ---- contexts ---- */

/* Context `index` of an input context (0: its control, 1: the slot's) or a device context (0: the slot's), as words. */
static bool read_context(struct xhci *x, uint64_t base, unsigned index, uint32_t words[8])
{
	uint8_t bytes[XHCI_CONTEXT];

	if (!gpa_read(mem_of(x), base + index * XHCI_CONTEXT, bytes, sizeof(bytes)))
		return false;
	for (unsigned i = 0; i < 8; i++)
		words[i] = get_le32(bytes + 4 * i);
	return true;
}

static bool write_context(struct xhci *x, uint64_t base, unsigned index, const uint32_t words[8])
{
	uint8_t bytes[XHCI_CONTEXT];

	for (unsigned i = 0; i < 8; i++)
		put_le32(bytes + 4 * i, words[i]);
	return gpa_write(mem_of(x), base + index * XHCI_CONTEXT, bytes, sizeof(bytes));
}

void xhci_endpoint_state(struct xhci *x, unsigned slot, unsigned dci, uint8_t state)
{
	struct xhci_slot *s = &x->slot[slot];
	struct xhci_endpoint *ep = &s->ep[dci];
	uint32_t words[8];

	ep->state = state;
	if (!s->context || !read_context(x, s->context, dci, words))
		return;
	words[0] = (words[0] & ~7u) | state;
	words[2] = (uint32_t)ep->ring.dequeue | ep->ring.cycle;
	words[3] = (uint32_t)(ep->ring.dequeue >> 32);
	write_context(x, s->context, dci, words);
}

static void set_slot_state(struct xhci *x, unsigned slot, uint8_t state, bool entries, uint32_t last)
{
	struct xhci_slot *s = &x->slot[slot];
	uint32_t words[8];

	s->state = state;
	if (!s->context || !read_context(x, s->context, 0, words))
		return;
	if (entries)
		words[0] = (words[0] & ~ENTRIES_MASK) | (last & ENTRIES_MASK);
	words[3] = (uint32_t)state << SLOT_STATE_SHIFT | (state >= XHCI_SLOT_ADDRESSED ? slot : 0);
	write_context(x, s->context, 0, words);
}

static void disable_endpoint(struct xhci *x, unsigned slot, unsigned dci)
{
	if (x->slot[slot].ep[dci].state == XHCI_EP_DISABLED)
		return;
	xhci_endpoint_state(x, slot, dci, XHCI_EP_DISABLED);
	x->slot[slot].ep[dci] = (struct xhci_endpoint){0};
	x->slot[slot].doorbells &= ~(1u << dci);
}

/* What an input context wants of an endpoint; isochronous ones and streams are not there (4.6.6). */
static bool endpoint_is_possible(unsigned dci, const uint32_t words[8])
{
	unsigned type = words[1] >> 3 & 7;

	if (dci == 1)
		return type == XHCI_EP_CONTROL;
	if (type == 0 || type == XHCI_EP_CONTROL || type == XHCI_EP_ISOCH_OUT || type == XHCI_EP_ISOCH_IN)
		return false;
	return (type > XHCI_EP_CONTROL) == (dci & 1) && !(words[0] >> 10 & 31);
}

static void enable_endpoint(struct xhci *x, unsigned slot, unsigned dci, uint32_t words[8])
{
	struct xhci_endpoint *ep = &x->slot[slot].ep[dci];

	*ep = (struct xhci_endpoint){.type = words[1] >> 3 & 7, .state = XHCI_EP_RUNNING};
	ep->ring.dequeue = (words[2] & ~15u) | (uint64_t)words[3] << 32;
	ep->ring.cycle = words[2] & 1;
	words[0] = (words[0] & ~7u) | XHCI_EP_RUNNING;
	write_context(x, x->slot[slot].context, dci, words);
}

static void forget_slot(struct xhci_slot *s)
{
	memset(s, 0, sizeof(*s));
}

void xhci_slots_reset(struct xhci *x)
{
	for (unsigned i = 1; i <= XHCI_SLOTS; i++)
		forget_slot(&x->slot[i]);
}

/* ---- commands ---- */

static enum xhci_code enable_slot(struct xhci *x, unsigned *ret_slot)
{
	unsigned n = MIN(x->config & 0xff, (unsigned)XHCI_SLOTS);

	for (unsigned i = 1; i <= n; i++)
		if (!x->slot[i].enabled) {
			x->slot[i].enabled = true;
			*ret_slot = i;
			return XHCI_SUCCESS;
		}
	return XHCI_NO_SLOTS;
}

static enum xhci_code disable_slot(struct xhci *x, unsigned slot)
{
	for (unsigned i = 1; i < XHCI_ENDPOINTS; i++)
		disable_endpoint(x, slot, i);
	set_slot_state(x, slot, 0, false, 0);
	forget_slot(&x->slot[slot]);
	return XHCI_SUCCESS;
}

static bool port_is_taken(const struct xhci *x, unsigned slot, unsigned port)
{
	for (unsigned i = 1; i <= XHCI_SLOTS; i++)
		if (i != slot && x->slot[i].enabled && x->slot[i].port == port)
			return true;
	return false;
}

/* The device context that the driver keeps for the slot. */
static bool find_context(struct xhci *x, unsigned slot, uint64_t *ret)
{
	uint8_t bytes[8];

	if (!gpa_read(mem_of(x), (x->dcbaap & ~63ull) + 8 * slot, bytes, sizeof(bytes)))
		return false;
	*ret = get_le64(bytes) & ~63ull;
	return *ret && gpa_ptr(mem_of(x), *ret, XHCI_ENDPOINTS * XHCI_CONTEXT);
}

static enum xhci_code address_device(struct xhci *x, unsigned slot, const struct xhci_trb *t)
{
	struct xhci_slot *s = &x->slot[slot];
	bool block = t->control & FLAG_BLOCK_ADDRESS;
	uint64_t input = t->parameter & ~15ull, context;
	uint32_t control[8], words[8], ep0[8];
	unsigned port;

	if (s->state > (block ? XHCI_SLOT_ENABLED : XHCI_SLOT_DEFAULT))
		return XHCI_CONTEXT_STATE_ERROR;
	if (!read_context(x, input, 0, control) || !read_context(x, input, 1, words) || !read_context(x, input, 2, ep0) ||
	    control[0] || control[1] != 3 || !endpoint_is_possible(1, ep0))
		return XHCI_PARAMETER_ERROR;
	port = words[1] >> 16 & 0xff;
	if (port < 1 || port > XHCI_PORTS || ROUTE(words[0]) || port_is_taken(x, slot, port) || !find_context(x, slot, &context))
		return XHCI_PARAMETER_ERROR;
	if (!x->port[port - 1].usb)
		return XHCI_TRANSACTION_ERROR;
	s->context = context;
	s->port = (uint8_t)port;
	words[3] = 0;
	write_context(x, context, 0, words);
	set_slot_state(x, slot, block ? XHCI_SLOT_DEFAULT : XHCI_SLOT_ADDRESSED, true, 1u << SLOT_STATE_SHIFT);
	enable_endpoint(x, slot, 1, ep0);
	return XHCI_SUCCESS;
}

static void deconfigure(struct xhci *x, unsigned slot)
{
	for (unsigned i = 2; i < XHCI_ENDPOINTS; i++)
		disable_endpoint(x, slot, i);
}

/* Nothing is changed when one of them is impossible. */
static bool endpoints_are_possible(struct xhci *x, uint64_t input, uint32_t add)
{
	uint32_t words[8];

	for (unsigned i = 2; i < XHCI_ENDPOINTS; i++)
		if ((add & 1u << i) && (!read_context(x, input, i + 1, words) || !endpoint_is_possible(i, words)))
			return false;
	return true;
}

static enum xhci_code configure_endpoint(struct xhci *x, unsigned slot, const struct xhci_trb *t)
{
	struct xhci_slot *s = &x->slot[slot];
	uint64_t input = t->parameter & ~15ull;
	uint32_t control[8], words[8];

	if (s->state < XHCI_SLOT_ADDRESSED)
		return XHCI_CONTEXT_STATE_ERROR;
	if (t->control & FLAG_DECONFIGURE) {
		deconfigure(x, slot);
		set_slot_state(x, slot, XHCI_SLOT_ADDRESSED, true, 1u << SLOT_STATE_SHIFT);
		return XHCI_SUCCESS;
	}
	if (!read_context(x, input, 0, control) || !read_context(x, input, 1, words))
		return XHCI_PARAMETER_ERROR;
	if ((control[0] & 3) || (control[1] & 3) != 1 || !endpoints_are_possible(x, input, control[1]))
		return XHCI_PARAMETER_ERROR;
	for (unsigned i = 2; i < XHCI_ENDPOINTS; i++) {
		uint32_t ep[8];

		if ((control[0] | control[1]) & 1u << i)
			disable_endpoint(x, slot, i);
		/* What was checked may have changed meanwhile. */
		if ((control[1] & 1u << i) && read_context(x, input, i + 1, ep) && endpoint_is_possible(i, ep))
			enable_endpoint(x, slot, i, ep);
	}
	set_slot_state(x, slot, XHCI_SLOT_CONFIGURED, true, words[0]);
	return XHCI_SUCCESS;
}

static enum xhci_code evaluate_context(struct xhci *x, unsigned slot, const struct xhci_trb *t)
{
	struct xhci_slot *s = &x->slot[slot];
	uint64_t input = t->parameter & ~15ull;
	uint32_t control[8], from[8], words[8];

	if (s->state < XHCI_SLOT_DEFAULT)
		return XHCI_CONTEXT_STATE_ERROR;
	if (!read_context(x, input, 0, control) || control[0] || (control[1] & ~3u))
		return XHCI_PARAMETER_ERROR;
	if ((control[1] & 1) && read_context(x, input, 1, from) && read_context(x, s->context, 0, words)) {
		words[1] = (words[1] & ~0xffffu) | (from[1] & 0xffff);
		words[2] = (words[2] & ~0xffc00000u) | (from[2] & 0xffc00000u);
		write_context(x, s->context, 0, words);
	}
	if ((control[1] & 2) && read_context(x, input, 2, from) && read_context(x, s->context, 1, words)) {
		words[1] = (words[1] & ~0xffff0000u) | (from[1] & 0xffff0000u);
		write_context(x, s->context, 1, words);
	}
	return XHCI_SUCCESS;
}

static enum xhci_code reset_device(struct xhci *x, unsigned slot)
{
	if (x->slot[slot].state < XHCI_SLOT_ADDRESSED)
		return XHCI_CONTEXT_STATE_ERROR;
	deconfigure(x, slot);
	set_slot_state(x, slot, XHCI_SLOT_DEFAULT, true, 1u << SLOT_STATE_SHIFT);
	return XHCI_SUCCESS;
}

static enum xhci_code endpoint_command(struct xhci *x, unsigned slot, const struct xhci_trb *t)
{
	unsigned dci = t->control >> 16 & 31;
	struct xhci_endpoint *ep = &x->slot[slot].ep[dci];

	if (!dci)
		return XHCI_TRB_ERROR;
	if (ep->state == XHCI_EP_DISABLED)
		return XHCI_ENDPOINT_NOT_ENABLED;
	switch (xhci_trb_type(t)) {
	case CMD_RESET_ENDPOINT:
		if (ep->state != XHCI_EP_HALTED)
			return XHCI_CONTEXT_STATE_ERROR;
		xhci_endpoint_state(x, slot, dci, XHCI_EP_STOPPED);
		return XHCI_SUCCESS;
	case CMD_STOP_ENDPOINT:
		if (ep->state != XHCI_EP_RUNNING)
			return XHCI_CONTEXT_STATE_ERROR;
		xhci_stopped_event(x, slot, dci);
		xhci_endpoint_state(x, slot, dci, XHCI_EP_STOPPED);
		x->slot[slot].doorbells &= ~(1u << dci);
		return XHCI_SUCCESS;
	}
	if (ep->state != XHCI_EP_STOPPED && ep->state != XHCI_EP_ERROR)
		return XHCI_CONTEXT_STATE_ERROR;
	if (t->status >> 16) /* a stream */
		return XHCI_TRB_ERROR;
	ep->ring = (struct xhci_ring){t->parameter & ~15ull, t->parameter & 1};
	xhci_endpoint_state(x, slot, dci, XHCI_EP_STOPPED);
	return XHCI_SUCCESS;
}

static enum xhci_code slot_command(struct xhci *x, unsigned slot, const struct xhci_trb *t)
{
	if (!slot || slot > XHCI_SLOTS)
		return XHCI_TRB_ERROR;
	if (!x->slot[slot].enabled)
		return XHCI_SLOT_NOT_ENABLED;
	switch (xhci_trb_type(t)) {
	case CMD_DISABLE_SLOT:
		return disable_slot(x, slot);
	case CMD_ADDRESS_DEVICE:
		return address_device(x, slot, t);
	case CMD_CONFIGURE_ENDPOINT:
		return configure_endpoint(x, slot, t);
	case CMD_EVALUATE_CONTEXT:
		return evaluate_context(x, slot, t);
	case CMD_RESET_DEVICE:
		return reset_device(x, slot);
	}
	return endpoint_command(x, slot, t);
}

static enum xhci_code run(struct xhci *x, const struct xhci_trb *t, unsigned *slot)
{
	switch (xhci_trb_type(t)) {
	case CMD_NO_OP:
		return XHCI_SUCCESS;
	case CMD_ENABLE_SLOT:
		return enable_slot(x, slot);
	case CMD_DISABLE_SLOT ... CMD_SET_DEQUEUE:
	case CMD_RESET_DEVICE:
		*slot = t->control >> 24;
		return slot_command(x, *slot, t);
	}
	return XHCI_TRB_ERROR;
}

void xhci_commands(struct xhci *x)
{
	x->commands_run = true;
	for (unsigned n = 0; n < COMMANDS_AT_ONCE; n++) {
		struct xhci_trb t;
		enum xhci_code code;
		unsigned slot = 0;

		/* Its event, and that of a transfer that it stops: without room the doorbell waits for it. */
		if (!xhci_running(x) || !xhci_events_room(x, 0, 2))
			return;
		if (!xhci_ring_next(x, &x->commands, &t)) {
			x->command_doorbell = false;
			return;
		}
		code = run(x, &t, &slot);
		xhci_event(x, 0, t.at, (uint32_t)code << 24, XHCI_COMMAND_EVENT << 10 | slot << 24);
	}
	xhci_kick(x);
}
