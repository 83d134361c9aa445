/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptor rings of the 82574 (datasheet, 7.1.7 and 7.2.11): base, length, head and tail as the guest wrote them, checked in
 * the one place that turns them into addresses. Called by e1000e-tx.c and e1000e-rx.c under the card's lock.
 */
#include "bytes.h"
#include "e1000e.h"

#define LENGTH_MASK 0xfff80u /* a multiple of 128 bytes */

bool e1000e_ring_open(struct e1000e *e, bool receive, unsigned queue, unsigned size, struct e1000e_ring *ret)
{
	unsigned at = (receive ? RDBAL : TDBAL) + queue * QUEUE_STRIDE;

	ret->base = (*e1000e_reg(e, at) & ~15u) | (uint64_t)*e1000e_reg(e, at + 4) << 32;
	ret->entries = (*e1000e_reg(e, at + RDLEN - RDBAL) & LENGTH_MASK) / size;
	ret->head_reg = e1000e_reg(e, at + RDH - RDBAL);
	ret->head = *ret->head_reg;
	ret->tail = *e1000e_reg(e, at + RDT - RDBAL);
	ret->size = size;
	return ret->entries && ret->head < ret->entries && ret->tail < ret->entries && ret->base <= UINT64_MAX - LENGTH_MASK;
}

uint32_t e1000e_ring_filled(const struct e1000e_ring *r)
{
	return r->tail >= r->head ? r->tail - r->head : r->entries - r->head + r->tail;
}

bool e1000e_ring_read(struct e1000e *e, const struct e1000e_ring *r, uint8_t *descriptor)
{
	return gpa_read(e->pci.dev.core->mem, r->base + (uint64_t)r->head * r->size, descriptor, r->size);
}

bool e1000e_ring_write(struct e1000e *e, const struct e1000e_ring *r, unsigned offset, const void *data, unsigned len)
{
	return gpa_write(e->pci.dev.core->mem, r->base + (uint64_t)r->head * r->size + offset, data, len);
}

void e1000e_ring_advance(struct e1000e_ring *r)
{
	r->head = r->head + 1 < r->entries ? r->head + 1 : 0;
	*r->head_reg = r->head;
}
