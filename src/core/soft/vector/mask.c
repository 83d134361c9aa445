/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Vector instructions that access parts of their memory operand: MASKMOVQ, MASKMOVDQU, VMASKMOV*, VPMASKMOV*, gathers.
 * Element by element; registers change after the last access, so that a fault or an exit starts the instruction again.
 */
#include <string.h>
#include "../cpu/decode.h"
#include "vec.h"

static bool selected(const u8 *mask, unsigned n, unsigned size)
{
	return mask[n * size + size - 1] & 0x80;
}

static void store_selected(struct cpu *c, enum seg_id seg, u64 ea, u8 adsize, const u8 *data, const u8 *mask,
			   unsigned size, unsigned count)
{
	u64 la[32];

	for (unsigned n = 0; n < count; n++) {
		u64 at = ea + n * size;

		if (!selected(mask, n, size))
			continue;
		at = adsize == 8 ? at : adsize == 4 ? (u32)at : (u16)at;
		la[n] = seg_la(c, seg, at, size, true);
		mmu_check_write(c, la[n], size, c->view);
	}
	for (unsigned n = 0; n < count; n++)
		if (selected(mask, n, size))
			mmu_write(c, la[n], data + n * size, size, c->view);
}

static void maskmov_bytes(struct cpu *c, const struct insn *i)
{
	union vec data = {0}, mask = {0};
	u64 ea = addr_reg(c, RDI, i->adsize);
	unsigned count = 16;

	if (i->d->op == INSN_MASKMOVQ) {
		count = 8;
		data.q[0] = mmx_get(i->reg & 7);
		mask.q[0] = mmx_get(i->rm & 7);
	} else {
		vec_get(i->reg, &data);
		vec_get(i->rm, &mask);
	}
	store_selected(c, i->seg, ea, i->adsize, data.b, mask.b, 1, count);
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
		store_selected(c, i->seg, ea, i->adsize, data.b, mask.b, size, count);
		return;
	}
	for (unsigned n = 0; n < count; n++) {
		u64 at = i->adsize == 8 ? ea + n * size : (u32)(ea + n * size);

		if (selected(mask.b, n, size))
			mmu_read(c, seg_la(c, i->seg, at, size, false), data.b + n * size, size, c->view);
	}
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
		if (i->adsize == 4)
			at = (u32)at;
		mmu_read(c, seg_la(c, i->seg, at, size, false), data.b + n * size, size, c->view);
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
	else
		maskmov_bytes(c, i);
}
