/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x86-64 encoding for the translator (SDM vol. 2, chapter 2). One function per operand shape; callers are stubs.c and the
 * select files.
 */
#include "emit.h"

void emit_u8(struct emit *e, u8 v)
{
	if (e->p >= e->end) {
		e->full = true;
		return;
	}
	*e->p++ = v;
}

void emit_u32(struct emit *e, u32 v)
{
	if (e->end - e->p < 4) {
		e->full = true;
		return;
	}
	__builtin_memcpy(e->p, &v, 4);
	e->p += 4;
}

void emit_u64(struct emit *e, u64 v)
{
	emit_u32(e, (u32)v);
	emit_u32(e, (u32)(v >> 32));
}

void emit_bytes(struct emit *e, const void *bytes, size_t size)
{
	for (size_t n = 0; n < size; n++)
		emit_u8(e, ((const u8 *)bytes)[n]);
}

static void emit_imm_bytes(struct emit *e, u64 imm, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		emit_u8(e, (u8)(imm >> (8 * i)));
}

static void emit_vex(struct emit *e, const struct host_op *o, u8 r, u8 x, u8 b)
{
	emit_u8(e, 0xc4);
	emit_u8(e, (u8)((!r << 7) | (!x << 6) | (!b << 5) | o->map));
	emit_u8(e, (u8)((o->w << 7) | ((~o->vvvv & 15) << 3) | (o->vl << 2) | o->pp));
}

static void emit_prefixes(struct emit *e, const struct host_op *o, u8 r, u8 x, u8 b, bool need_rex)
{
	if (o->lock)
		emit_u8(e, 0xf0);
	if (o->vex) {
		emit_vex(e, o, r, x, b);
	} else {
		u8 rex = (u8)(0x40 | (o->w << 3) | (r << 2) | (x << 1) | b);

		if (o->p66)
			emit_u8(e, 0x66);
		if (o->prefix)
			emit_u8(e, o->prefix);
		if (rex != 0x40 || need_rex)
			emit_u8(e, rex);
		if (o->map)
			emit_u8(e, 0x0f);
		if (o->map == 2)
			emit_u8(e, 0x38);
		if (o->map == 3)
			emit_u8(e, 0x3a);
	}
	emit_u8(e, o->opcode);
}

void emit_op_reg(struct emit *e, const struct host_op *o, u8 reg, u8 rm)
{
	bool need_rex = o->byte_reg && !o->no_rex && ((reg >= 4 && reg < 8) || (rm >= 4 && rm < 8));

	emit_prefixes(e, o, reg >> 3, 0, rm >> 3, need_rex);
	emit_u8(e, (u8)(0xc0 | ((reg & 7) << 3) | (rm & 7)));
	emit_imm_bytes(e, o->imm, o->imm_size);
}

void emit_op_plain(struct emit *e, const struct host_op *o, u8 reg)
{
	struct host_op z = *o;
	bool need_rex = o->byte_reg && !o->no_rex && reg >= 4 && reg < 8;

	if (reg != BASE_NONE)
		z.opcode = (u8)((o->opcode & 0xf8) | (reg & 7));
	emit_prefixes(e, &z, 0, 0, reg != BASE_NONE && reg >= 8, need_rex);
	emit_imm_bytes(e, o->imm, o->imm_size);
}

static void emit_modrm_mem(struct emit *e, u8 reg, const struct host_mem *m)
{
	u8 r = (u8)((reg & 7) << 3), mod;

	if (m->base == BASE_NONE) {
		emit_u8(e, (u8)(r | 4));
		emit_u8(e, (u8)((m->scale << 6) | ((m->index == BASE_NONE ? 4 : m->index & 7) << 3) | 5));
		emit_u32(e, (u32)m->disp);
		return;
	}
	if (m->disp == 0 && (m->base & 7) != 5)
		mod = 0;
	else if (m->disp >= -128 && m->disp < 128)
		mod = 1;
	else
		mod = 2;
	if (m->index != BASE_NONE || (m->base & 7) == 4) {
		emit_u8(e, (u8)((mod << 6) | r | 4));
		emit_u8(e, (u8)((m->scale << 6) | ((m->index == BASE_NONE ? 4 : m->index & 7) << 3) | (m->base & 7)));
	} else {
		emit_u8(e, (u8)((mod << 6) | r | (m->base & 7)));
	}
	if (mod == 1)
		emit_u8(e, (u8)m->disp);
	else if (mod == 2)
		emit_u32(e, (u32)m->disp);
}

void emit_op_mem(struct emit *e, const struct host_op *o, u8 reg, const struct host_mem *m)
{
	u8 x = m->index == BASE_NONE ? 0 : m->index >> 3;
	u8 b = m->base == BASE_NONE ? 0 : m->base >> 3;

	if (m->gs)
		emit_u8(e, 0x65);
	if (m->addr32)
		emit_u8(e, 0x67);
	emit_prefixes(e, o, reg >> 3, x, b, o->byte_reg && reg >= 4 && reg < 8);
	emit_modrm_mem(e, reg, m);
	emit_imm_bytes(e, o->imm, o->imm_size);
}

static const struct host_op op_mov_load = { .w = 1, .opcode = 0x8b };
static const struct host_op op_mov_store = { .w = 1, .opcode = 0x89 };
static const struct host_op op_lea = { .w = 1, .opcode = 0x8d };
static const struct host_op op_lea32 = { .opcode = 0x8d };
static const struct host_op op_mov32 = { .opcode = 0x8b };

void emit_mov(struct emit *e, u8 dst, u8 src)
{
	emit_op_reg(e, &op_mov_load, dst, src);
}

void emit_mov32(struct emit *e, u8 dst, u8 src)
{
	emit_op_reg(e, &op_mov32, dst, src);
}

void emit_load(struct emit *e, u8 dst, struct host_mem m)
{
	emit_op_mem(e, &op_mov_load, dst, &m);
}

void emit_store(struct emit *e, struct host_mem m, u8 src)
{
	emit_op_mem(e, &op_mov_store, src, &m);
}

void emit_store_imm(struct emit *e, struct host_mem m, s32 imm)
{
	struct host_op o = { .w = 1, .opcode = 0xc7, .imm_size = 4, .imm = (u32)imm };

	emit_op_mem(e, &o, 0, &m);
}

void emit_imm(struct emit *e, u8 dst, u64 imm)
{
	if (imm <= UINT32_MAX) {
		if (dst >= 8)
			emit_u8(e, 0x41);
		emit_u8(e, (u8)(0xb8 | (dst & 7)));
		emit_u32(e, (u32)imm);
		return;
	}
	emit_u8(e, (u8)(0x48 | (dst >> 3)));
	emit_u8(e, (u8)(0xb8 | (dst & 7)));
	emit_u64(e, imm);
}

/* A move costs the host less. */
void emit_lea(struct emit *e, u8 dst, struct host_mem m)
{
	if (m.index == BASE_NONE && m.base != BASE_NONE && !m.disp)
		emit_mov(e, dst, m.base);
	else
		emit_op_mem(e, &op_lea, dst, &m);
}

void emit_lea32(struct emit *e, u8 dst, struct host_mem m)
{
	emit_op_mem(e, &op_lea32, dst, &m);
}

void emit_alu_imm(struct emit *e, enum alu_op op, bool w, u8 reg, s32 imm)
{
	bool small = imm >= -128 && imm < 128;
	struct host_op o = { .w = w, .opcode = small ? 0x83 : 0x81, .imm_size = small ? 1 : 4, .imm = (u64)(s64)imm };

	emit_op_reg(e, &o, op, reg);
}

void emit_alu_load(struct emit *e, enum alu_op op, u8 reg, struct host_mem m)
{
	struct host_op o = { .w = 1, .opcode = (u8)(op * 8 + 3) };

	emit_op_mem(e, &o, reg, &m);
}

void emit_alu_mem_imm32(struct emit *e, enum alu_op op, struct host_mem m, s32 imm)
{
	bool small = imm >= -128 && imm < 128;
	struct host_op o = { .opcode = small ? 0x83 : 0x81, .imm_size = small ? 1 : 4, .imm = (u64)(s64)imm };

	emit_op_mem(e, &o, op, &m);
}

void emit_shift32(struct emit *e, enum shift_op op, u8 reg, u8 count)
{
	struct host_op o = { .opcode = 0xc1, .imm_size = 1, .imm = count };

	emit_op_reg(e, &o, op, reg);
}

void emit_rorx32(struct emit *e, u8 dst, u8 src, u8 count)
{
	struct host_op o = { .vex = true, .map = 3, .pp = 3, .opcode = 0xf0, .imm_size = 1, .imm = count };

	emit_op_reg(e, &o, dst, src);
}

void emit_push(struct emit *e, u8 reg)
{
	if (reg >= 8)
		emit_u8(e, 0x41);
	emit_u8(e, (u8)(0x50 | (reg & 7)));
}

void emit_pop(struct emit *e, u8 reg)
{
	if (reg >= 8)
		emit_u8(e, 0x41);
	emit_u8(e, (u8)(0x58 | (reg & 7)));
}

void emit_jmp_mem(struct emit *e, struct host_mem m)
{
	static const struct host_op o = { .opcode = 0xff };

	emit_op_mem(e, &o, 4, &m);
}

void emit_jmp_reg(struct emit *e, u8 reg)
{
	static const struct host_op o = { .opcode = 0xff };

	emit_op_reg(e, &o, 4, reg);
}

static u8 *emit_rel32(struct emit *e, const u8 *exec_target)
{
	u8 *at = e->p;

	emit_u32(e, 0);
	if (exec_target && !e->full)
		emit_patch(at, e->exec, exec_target);
	return at;
}

void emit_call(struct emit *e, const u8 *exec_target)
{
	emit_u8(e, 0xe8);
	emit_rel32(e, exec_target);
}

u8 *emit_jmp(struct emit *e, const u8 *exec_target)
{
	emit_u8(e, 0xe9);
	return emit_rel32(e, exec_target);
}

u8 *emit_jcc(struct emit *e, u8 cond, const u8 *exec_target)
{
	emit_u8(e, 0x0f);
	emit_u8(e, (u8)(0x80 | cond));
	return emit_rel32(e, exec_target);
}

void emit_patch(u8 *rel32, s64 exec, const u8 *exec_target)
{
	s32 rel = (s32)(exec_target - (rel32 + exec + 4));

	__atomic_store_n((s32 *)(void *)rel32, rel, __ATOMIC_RELEASE);
}

void emit_patch_here(struct emit *e, u8 *rel32)
{
	if (!e->full)
		emit_patch(rel32, e->exec, emit_here(e));
}

void emit_align_rel32(struct emit *e, unsigned skip)
{
	while (!e->full && ((uintptr_t)(e->p + skip) & 63) > 60)
		emit_u8(e, 0x90);
}
