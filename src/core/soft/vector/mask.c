/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Vector instructions that access parts of their memory operand: MASKMOVQ, MASKMOVDQU, VMASKMOV*, VPMASKMOV*, gathers.
 * Element by element; registers change after the last access, so that a fault or an exit starts the instruction again.
 */
#include <string.h>
#include "../cpu/decode.h"
#include "x87.h"

static bool selected(const u8 *mask, unsigned n, unsigned size)
{
	return mask[n * size + size - 1] & 0x80;
}

/* No alignment check of elements. `wrap`: of the offset of each, the bits that count. */
static u64 element_la(struct cpu *c, enum seg_id seg, u64 ea, u64 wrap, unsigned size, bool write)
{
	u64 la = seg_la(c, seg, ea & wrap, size, write);

	access_note_aligned(c, la, size, 1, write);
	return la;
}

static void store_selected(struct cpu *c, enum seg_id seg, u64 ea, u64 wrap, const u8 *data, const u8 *mask, unsigned size,
			   unsigned count)
{
	u64 la[32];

	for (unsigned n = 0; n < count; n++) {
		if (!selected(mask, n, size))
			continue;
		la[n] = element_la(c, seg, ea + n * size, wrap, size, true);
		mmu_check_write(c, la[n], size, c->view);
	}
	for (unsigned n = 0; n < count; n++)
		if (selected(mask, n, size))
			mmu_write(c, la[n], data + n * size, size, c->view);
}

static void store_bytes(struct cpu *c, const struct insn *i, const union vec *data, const union vec *mask, unsigned count)
{
	u64 wrap = ~0ull >> (64 - 8 * i->adsize);

	store_selected(c, i->seg, addr_reg(c, RDI, i->adsize), wrap, data->b, mask->b, 1, count);
}

static void maskmovdqu(struct cpu *c, const struct insn *i)
{
	union vec data, mask;

	vec_get(i->reg, &data);
	vec_get(i->rm, &mask);
	store_bytes(c, i, &data, &mask, 16);
}

/* The x87 goes over to MMX when nothing can fault any more, so not by mmx_get(). */
static void maskmovq(struct cpu *c, const struct insn *i)
{
	union vec data = {0}, mask = {0};
	struct x87 x;

	x87_get(&x);
	data.q[0] = x.reg[i->reg & 7].sig;
	mask.q[0] = x.reg[i->rm & 7].sig;
	store_bytes(c, i, &data, &mask, 8);
	mmx_get(0);
}

static void maskmov(struct cpu *c, const struct insn *i)
{
	bool store = i->mem_acc & ACC_W;
	/* VMASKMOVPS 2C, 2E; VMASKMOVPD 2D, 2F; VPMASKMOVD/Q by W */
	unsigned size = i->opcode >= 0x80 ? (i->vexw ? 8 : 4) : (i->opcode & 1 ? 8 : 4);
	unsigned count = (16u << i->vl) / size;
	union vec data = {0}, mask;
	u64 ea = insn_ea(c, i);

	vec_get(i->vvvv, &mask);
	if (store) {
		vec_get(i->reg, &data);
		store_selected(c, i->seg, ea, ~0ull, data.b, mask.b, size, count);
		return;
	}
	for (unsigned n = 0; n < count; n++)
		if (selected(mask.b, n, size))
			mmu_read(c, element_la(c, i->seg, ea + n * size, ~0ull, size, false), data.b + n * size, size, c->view);
	vec_set(i->reg, &data);
}

static void gather(struct cpu *c, const struct insn *i)
{
	unsigned size = i->vexw ? 8 : 4, isize = i->opcode & 1 ? 8 : 4, bytes = 16u << i->vl;
	unsigned count = bytes / (size > isize ? size : isize);
	u64 base = (u64)i->disp + (i->base == BASE_NONE ? 0 : c->gpr[i->base]);
	union vec data, mask, index;
	const union vec zero = {0};

	vec_get(i->reg, &data);
	vec_get(i->vvvv, &mask);
	vec_get(i->index, &index);
	memset(data.b + count * size, 0, sizeof(data) - count * size);
	for (unsigned n = 0; n < count; n++) {
		u64 at = element(&index, n, isize);

		if (!selected(mask.b, n, size))
			continue;
		if (isize == 4)
			at = (u64)(s64)(s32)at;
		at = base + (at << i->scale);
		mmu_read(c, element_la(c, i->seg, at, i->adsize == 4 ? UINT32_MAX : ~0ull, size, false), data.b + n * size,
			 size, c->view);
	}
	vec_set(i->reg, &data);
	vec_set(i->vvvv, &zero);
}

void vector_masked(struct cpu *c, const struct insn *i)
{
	if (i->d->attr & D_VSIB)
		gather(c, i);
	else if (i->mem)
		maskmov(c, i);
	else if (i->d->op == INSN_MASKMOVQ)
		maskmovq(c, i);
	else
		maskmovdqu(c, i);
}
