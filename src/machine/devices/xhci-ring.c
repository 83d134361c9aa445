/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xHCI's rings in guest memory (sections 4.9 and 6.4, 6.5): commands and transfers that we read, events that we write. Every
 * block is copied once, every address checked; how many blocks and links one look may cost is limited. See xhci.h.
 */
#include <string.h>

#include "bytes.h"
#include "xhci.h"

enum {
	TRB = 16, /* bytes */
	LINKS_MAX = 32, /* one after the other, without a block between */
	EVENTS_MIN = 16,
	EVENTS_MAX = 4096,
};

#define CYCLE	     1u
#define TOGGLE	     2u /* of a link */
#define CHAIN	     0x10u
#define ERDP_POINTER (~15ull)

bool xhci_ring_next(struct xhci *x, struct xhci_ring *r, struct xhci_trb *ret)
{
	for (unsigned links = 0; links <= LINKS_MAX; links++) {
		uint8_t bytes[TRB];

		if (!gpa_read(x->pci.dev.core->mem, r->dequeue, bytes, sizeof(bytes))) {
			xhci_fail(x, "a ring is not in memory");
			return false;
		}
		*ret = (struct xhci_trb){r->dequeue, get_le64(bytes), get_le32(bytes + 8), get_le32(bytes + 12)};
		if ((ret->control & CYCLE) != r->cycle)
			return false;
		if (xhci_trb_type(ret) != XHCI_LINK) {
			r->dequeue += TRB;
			return true;
		}
		r->dequeue = ret->parameter & ~15ull;
		if (ret->control & TOGGLE)
			r->cycle = !r->cycle;
	}
	xhci_fail(x, "a ring of nothing but links");
	return false;
}

/* A control transfer goes from its setup stage to its status stage, each of which may be chained. */
unsigned xhci_ring_transfer(struct xhci *x, const struct xhci_ring *r, bool control, struct xhci_ring *ret_after)
{
	struct xhci_ring at = *r;
	bool more = control;

	for (unsigned n = 0; n < XHCI_TD_MAX; n++) {
		unsigned type;

		if (!xhci_ring_next(x, &at, &x->td[n]))
			return 0;
		type = xhci_trb_type(&x->td[n]);
		if (type == XHCI_STATUS || (n == 0 && type != XHCI_SETUP))
			more = false;
		if (!more && !(x->td[n].control & CHAIN)) {
			*ret_after = at;
			return n + 1;
		}
	}
	xhci_fail(x, "a transfer of too many blocks");
	return 0;
}

/* ---- events ---- */

/* Where the driver is; -1: nowhere in the ring. */
static int driver_index(const struct xhci_interrupter *i)
{
	uint64_t at = i->erdp & ERDP_POINTER;

	if (!i->size || at < i->start || at >= i->start + (uint64_t)i->size * TRB)
		return -1;
	return (int)((at - i->start) / TRB);
}

bool xhci_events_room(const struct xhci *x, unsigned interrupter, unsigned blocks)
{
	const struct xhci_interrupter *i = &x->intr[interrupter];
	int driver = driver_index(i);

	/* One stays free: a full ring would look like an empty one. */
	return driver >= 0 && ((unsigned)driver + i->size - i->index - 1) % i->size >= blocks;
}

bool xhci_events_waiting(const struct xhci *x, unsigned interrupter)
{
	const struct xhci_interrupter *i = &x->intr[interrupter];
	int driver = driver_index(i);

	return driver >= 0 && (unsigned)driver != i->index;
}

void xhci_event(struct xhci *x, unsigned interrupter, uint64_t parameter, uint32_t status, uint32_t control)
{
	struct xhci_interrupter *i = &x->intr[interrupter];
	struct guest_mem *mem = x->pci.dev.core->mem;
	uint8_t bytes[TRB];
	uint64_t at;

	if (!xhci_events_room(x, interrupter, 1))
		return; /* who has more than one to tell has asked for room before */
	at = i->start + (uint64_t)i->index * TRB;
	put_le64(bytes, parameter);
	put_le32(bytes + 8, status);
	put_le32(bytes + 12, (control & ~CYCLE) | i->cycle);
	/* The cycle bit hands it over, and is in the last four bytes. */
	if (!gpa_write(mem, at, bytes, 12)) {
		xhci_fail(x, "an event ring is not in memory");
		return;
	}
	__atomic_thread_fence(__ATOMIC_RELEASE);
	gpa_write(mem, at + 12, bytes + 12, 4);
	if (++i->index == i->size) {
		i->index = 0;
		i->cycle = !i->cycle;
	}
	xhci_raise(x, interrupter);
}

void xhci_events_start(struct xhci *x, unsigned interrupter)
{
	struct xhci_interrupter *i = &x->intr[interrupter];
	uint8_t entry[TRB];
	uint32_t size;

	i->size = i->index = 0;
	i->cycle = true;
	if (!i->erstsz)
		return;
	if (!gpa_read(x->pci.dev.core->mem, i->erstba & ~63ull, entry, sizeof(entry))) {
		xhci_fail(x, "an event ring's segment table is not in memory");
		return;
	}
	size = get_le32(entry + 8) & 0xffff;
	if (size < EVENTS_MIN || size > EVENTS_MAX) {
		xhci_fail(x, "an event ring has a size that is not allowed");
		return;
	}
	i->start = get_le64(entry) & ~63ull;
	i->size = size;
}
