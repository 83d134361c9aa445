/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x86-64 encoding for the translator (SDM vol. 2, chapter 2). One function per operand shape; callers are stubs.c and the
 * select files.
 */
#include "emit.h"

#define LONGEST 32 /* no instruction is longer, with what may be written behind it */

static bool has_rorx;

void emit_init(bool bmi2)
{
	__atomic_store_n(&has_rorx, bmi2, __ATOMIC_RELAXED); /* VMs of one process: the same again */
}

/* Where the next instruction goes, or NULL: there is no room. */
static inline u8 *room(struct emit *e)
{
	if (likely(e->end - e->p >= LONGEST))
		return e->p;
	e->full = true;
	return NULL;
}

void emit_u8(struct emit *e, u8 v)
{
	if (e->p >= e->end) {
		e->full = true;
		return;
	}
	*e->p++ = v;
}

static inline u8 *put_u32(u8 *p, u32 v)
{
	__builtin_memcpy(p, &v, 4);
	return p + 4;
}

static inline u8 *put_imm(u8 *p, u64 imm, unsigned size)
{
	__builtin_memcpy(p, &imm, 8);
	return p + size;
}

static inline u8 *put_vex(u8 *p, const struct host_op *o, u8 r, u8 x, u8 b)
{
	*p++ = 0xc4;
	*p++ = (u8)((!r << 7) | (!x << 6) | (!b << 5) | o->map);
	*p++ = (u8)((o->w << 7) | ((~o->vvvv & 15) << 3) | (o->vl << 2) | o->pp);
	return p;
}

static inline u8 *put_prefixes(u8 *p, const struct host_op *o, u8 r, u8 x, u8 b, bool need_rex)
{
	u8 rex = (u8)(0x40 | (o->w << 3) | (r << 2) | (x << 1) | b);

	if (o->lock)
		*p++ = 0xf0;
	if (o->vex)
		return put_vex(p, o, r, x, b);
	if (o->p66)
		*p++ = 0x66;
	if (o->prefix)
		*p++ = o->prefix;
	if (rex != 0x40 || need_rex)
		*p++ = rex;
	if (o->map)
		*p++ = 0x0f;
	if (o->map == 2)
		*p++ = 0x38;
	if (o->map == 3)
		*p++ = 0x3a;
	return p;
}

/* Inlined everywhere, since to most callers the instruction is a constant. */
#define INLINE inline __attribute__((always_inline))

static INLINE void op_reg(struct emit *e, const struct host_op *o, u8 reg, u8 rm)
{
	bool need_rex = o->byte_reg && !o->no_rex && ((reg >= 4 && reg < 8) || (rm >= 4 && rm < 8));
	u8 *p = room(e);

	if (!p)
		return;
	p = put_prefixes(p, o, reg >> 3, 0, rm >> 3, need_rex);
	*p++ = o->opcode;
	*p++ = (u8)(0xc0 | ((reg & 7) << 3) | (rm & 7));
	e->p = put_imm(p, o->imm, o->imm_size);
}

void emit_op_reg(struct emit *e, const struct host_op *o, u8 reg, u8 rm)
{
	op_reg(e, o, reg, rm);
}

void emit_op_plain(struct emit *e, const struct host_op *o, u8 reg)
{
	bool need_rex = o->byte_reg && !o->no_rex && reg >= 4 && reg < 8;
	u8 *p = room(e);

	if (!p)
		return;
	p = put_prefixes(p, o, 0, 0, reg != BASE_NONE && reg >= 8, need_rex);
	*p++ = reg != BASE_NONE ? (u8)((o->opcode & 0xf8) | (reg & 7)) : o->opcode;
	e->p = put_imm(p, o->imm, o->imm_size);
}

static inline u8 *put_modrm_mem(u8 *p, u8 reg, const struct host_mem *m)
{
	u8 r = (u8)((reg & 7) << 3), mod;

	if (m->base == BASE_NONE) {
		*p++ = (u8)(r | 4);
		*p++ = (u8)((m->scale << 6) | ((m->index == BASE_NONE ? 4 : m->index & 7) << 3) | 5);
		return put_u32(p, (u32)m->disp);
	}
	if (m->disp == 0 && (m->base & 7) != 5)
		mod = 0;
	else if (m->disp >= -128 && m->disp < 128)
		mod = 1;
	else
		mod = 2;
	if (m->index != BASE_NONE || (m->base & 7) == 4) {
		*p++ = (u8)((mod << 6) | r | 4);
		*p++ = (u8)((m->scale << 6) | ((m->index == BASE_NONE ? 4 : m->index & 7) << 3) | (m->base & 7));
	} else {
		*p++ = (u8)((mod << 6) | r | (m->base & 7));
	}
	put_u32(p, (u32)m->disp);
	return p + (mod == 1 ? 1 : mod == 2 ? 4 : 0);
}

static INLINE void op_mem(struct emit *e, const struct host_op *o, u8 reg, const struct host_mem *m)
{
	u8 x = m->index == BASE_NONE ? 0 : m->index >> 3;
	u8 b = m->base == BASE_NONE ? 0 : m->base >> 3;
	u8 *p = room(e);

	if (!p)
		return;
	if (m->gs)
		*p++ = 0x65;
	if (m->addr32)
		*p++ = 0x67;
	p = put_prefixes(p, o, reg >> 3, x, b, o->byte_reg && reg >= 4 && reg < 8);
	*p++ = o->opcode;
	p = put_modrm_mem(p, reg, m);
	e->p = put_imm(p, o->imm, o->imm_size);
}

void emit_op_mem(struct emit *e, const struct host_op *o, u8 reg, const struct host_mem *m)
{
	op_mem(e, o, reg, m);
}

static const struct host_op op_mov_load = { .w = 1, .opcode = 0x8b };
static const struct host_op op_mov_store = { .w = 1, .opcode = 0x89 };
static const struct host_op op_lea = { .w = 1, .opcode = 0x8d };
static const struct host_op op_lea32 = { .opcode = 0x8d };
static const struct host_op op_mov32 = { .opcode = 0x8b };

void emit_mov(struct emit *e, u8 dst, u8 src)
{
	op_reg(e, &op_mov_load, dst, src);
}

void emit_mov32(struct emit *e, u8 dst, u8 src)
{
	op_reg(e, &op_mov32, dst, src);
}

void emit_load(struct emit *e, u8 dst, struct host_mem m)
{
	op_mem(e, &op_mov_load, dst, &m);
}

void emit_store(struct emit *e, struct host_mem m, u8 src)
{
	op_mem(e, &op_mov_store, src, &m);
}

void emit_load32(struct emit *e, u8 dst, struct host_mem m)
{
	struct host_op o = { .opcode = 0x8b };

	op_mem(e, &o, dst, &m);
}

void emit_store32(struct emit *e, struct host_mem m, u8 src)
{
	struct host_op o = { .opcode = 0x89 };

	op_mem(e, &o, src, &m);
}

void emit_store_imm32(struct emit *e, struct host_mem m, s32 imm)
{
	struct host_op o = { .opcode = 0xc7, .imm_size = 4, .imm = (u32)imm };

	op_mem(e, &o, 0, &m);
}

void emit_store_imm(struct emit *e, struct host_mem m, s32 imm)
{
	struct host_op o = { .w = 1, .opcode = 0xc7, .imm_size = 4, .imm = (u32)imm };

	op_mem(e, &o, 0, &m);
}

void emit_imm(struct emit *e, u8 dst, u64 imm)
{
	u8 *p = room(e);

	if (!p)
		return;
	if (imm > UINT32_MAX)
		*p++ = (u8)(0x48 | (dst >> 3));
	else if (dst >= 8)
		*p++ = 0x41;
	*p++ = (u8)(0xb8 | (dst & 7));
	e->p = put_imm(p, imm, imm > UINT32_MAX ? 8 : 4);
}

/* A move costs the host less. */
void emit_lea(struct emit *e, u8 dst, struct host_mem m)
{
	if (m.index == BASE_NONE && m.base != BASE_NONE && !m.disp)
		emit_mov(e, dst, m.base);
	else
		op_mem(e, &op_lea, dst, &m);
}

void emit_lea32(struct emit *e, u8 dst, struct host_mem m)
{
	op_mem(e, &op_lea32, dst, &m);
}

void emit_alu_imm(struct emit *e, enum alu_op op, bool w, u8 reg, s32 imm)
{
	bool small = imm >= -128 && imm < 128;
	struct host_op o = { .w = w, .opcode = small ? 0x83 : 0x81, .imm_size = small ? 1 : 4, .imm = (u64)(s64)imm };

	op_reg(e, &o, op, reg);
}

void emit_alu_load(struct emit *e, enum alu_op op, u8 reg, struct host_mem m)
{
	struct host_op o = { .w = 1, .opcode = (u8)(op * 8 + 3) };

	op_mem(e, &o, reg, &m);
}

void emit_alu_mem_imm32(struct emit *e, enum alu_op op, struct host_mem m, s32 imm)
{
	bool small = imm >= -128 && imm < 128;
	struct host_op o = { .opcode = small ? 0x83 : 0x81, .imm_size = small ? 1 : 4, .imm = (u64)(s64)imm };

	op_mem(e, &o, op, &m);
}

void emit_shift32(struct emit *e, enum shift_op op, u8 reg, u8 count)
{
	struct host_op o = { .opcode = 0xc1, .imm_size = 1, .imm = count };

	op_reg(e, &o, op, reg);
}

void emit_ror32(struct emit *e, u8 dst, u8 src, u8 count)
{
	struct host_op rorx = { .vex = true, .map = 3, .pp = 3, .opcode = 0xf0, .imm_size = 1, .imm = count };
	struct host_op ror = { .opcode = 0xc1, .imm_size = 1, .imm = count };

	if (likely(__atomic_load_n(&has_rorx, __ATOMIC_RELAXED))) {
		op_reg(e, &rorx, dst, src);
		return;
	}
	emit_mov32(e, dst, src);
	op_reg(e, &ror, 1, dst);
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

	op_mem(e, &o, 4, &m);
}

void emit_jmp_reg(struct emit *e, u8 reg)
{
	static const struct host_op o = { .opcode = 0xff };

	op_reg(e, &o, 4, reg);
}

static u8 *rel32(struct emit *e, u8 *p, const u8 *exec_target)
{
	e->p = put_u32(p, 0);
	if (exec_target)
		emit_patch(p, e->exec, exec_target);
	return p;
}

void emit_call(struct emit *e, const u8 *exec_target)
{
	u8 *p = room(e);

	if (!p)
		return;
	*p++ = 0xe8;
	rel32(e, p, exec_target);
}

u8 *emit_jmp(struct emit *e, const u8 *exec_target)
{
	u8 *p = room(e);

	if (!p)
		return e->p;
	*p++ = 0xe9;
	return rel32(e, p, exec_target);
}

u8 *emit_jcc(struct emit *e, u8 cond, const u8 *exec_target)
{
	u8 *p = room(e);

	if (!p)
		return e->p;
	*p++ = 0x0f;
	*p++ = (u8)(0x80 | cond);
	return rel32(e, p, exec_target);
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
