/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Integer arithmetic and logic, compare and exchange: each operation's result and flags (flags.h), then where its operands
 * are. Memory operands are modified in place, under LOCK by compare and exchange.
 */
#include "exec.h"
#include "x86-ops.h"

static u32 op_add(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	u64 a = *d;

	*d = a + s;
	return flags_add(a, s, *d, size);
}

static u32 op_adc(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	u64 a = *d;

	*d = a + s + !!(f & FL_CF);
	return flags_add(a, s, *d, size);
}

static u32 op_sub(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	u64 a = *d;

	*d = a - s;
	return flags_sub(a, s, *d, size);
}

static u32 op_sbb(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	u64 a = *d;

	*d = a - s - !!(f & FL_CF);
	return flags_sub(a, s, *d, size);
}

static u32 op_cmp(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	return flags_sub(*d, s, *d - s, size);
}

static u32 op_and(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	*d &= s;
	return flags_result(*d, size);
}

static u32 op_or(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	*d |= s;
	return flags_result(*d, size);
}

static u32 op_xor(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	*d ^= s;
	return flags_result(*d, size);
}

static u32 op_not(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	*d = ~*d;
	return f;
}

static u32 op_neg(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	u64 a = *d;

	*d = -a;
	return flags_sub(0, a, *d, size);
}

/* INC and DEC leave CF alone. */
static u32 op_inc(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	return (op_add(d, 1, 0, size, f) & ~FL_CF) | (f & FL_CF);
}

static u32 op_dec(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	return (op_sub(d, 1, 0, size, f) & ~FL_CF) | (f & FL_CF);
}

/* By opcode digit. */
static alu_fn *const alu_ops[8] = { op_add, op_or, op_adc, op_sbb, op_and, op_sub, op_xor, op_cmp };

u32 alu_flags(unsigned op, unsigned size, u64 a, u64 b)
{
	return alu_ops[op](&a, b, 0, size, 0);
}

/* ---- memory operands ---- */

bool host_cas(void *p, unsigned size, u64 *old, u64 v)
{
	u64 expected = *old & size_mask(size);

	switch (size) {
	case 1:
		*old = __sync_val_compare_and_swap((u8 *)p, (u8)expected, (u8)v);
		break;
	case 2:
		*old = __sync_val_compare_and_swap((u16 *)p, (u16)expected, (u16)v);
		break;
	case 4:
		*old = __sync_val_compare_and_swap((u32 *)p, (u32)expected, (u32)v);
		break;
	default:
		*old = __sync_val_compare_and_swap((u64 *)p, expected, v);
	}
	return *old == expected;
}

/* In two pages, with the other vCPUs stopped. False: not memory, or it faults. */
static bool split_modify(struct cpu *c, u64 la, unsigned size, alu_fn *fn, u64 s, u64 t, u32 *flags, u64 *ret_old)
{
	struct mmu_split split;
	u64 old = 0, v;

	if (!mmu_split_begin(c, la, size, c->view, &split))
		return false;
	mmu_split_read(&split, &old);
	v = old;
	*flags = fn(&v, s, t, size, *flags);
	mmu_split_write(c, &split, &v);
	mmu_split_end(c);
	*ret_old = old;
	return true;
}

u64 mem_modify(struct cpu *c, u64 la, unsigned size, bool lock, alu_fn *fn, u64 s, u64 t, u32 *flags)
{
	u8 *p = mem_ptr(c, la, size);
	u32 f = *flags;
	u64 old = 0, v;

	if (likely(p)) {
		old = host_load(p, size);
		do {
			v = old;
			f = fn(&v, s, t, size, *flags);
			if (!lock) {
				host_store(p, v, size);
				break;
			}
		} while (!host_cas(p, size, &old, v));
		mmu_wrote(c);
	} else {
		if (lock && split_modify(c, la, size, fn, s, t, flags, &old))
			return old;
		mmu_check_write(c, la, size, c->view);
		mmu_read(c, la, &old, size, c->view);
		v = old;
		f = fn(&v, s, t, size, f);
		mmu_write(c, la, &v, size, c->view);
	}
	*flags = f;
	return old;
}

u64 opnd_modify(struct cpu *c, const struct insn *i, unsigned size, alu_fn *fn, u64 s, u64 t)
{
	u32 f = flags_get(c);
	u64 old, v;

	if (opnd_is_mem(i, 0)) {
		old = mem_modify(c, insn_la(c, i, size, true), size, i->lock, fn, s, t, &f);
	} else {
		unsigned r = opnd_reg(i, 0);

		v = old = gpr_get(c, i, r, size);
		f = fn(&v, s, t, size, f);
		gpr_put(c, i, r, size, v);
	}
	flags_set(c, f);
	return old;
}

void exec_alu(struct cpu *c, const struct insn *i)
{
	alu_fn *fn = alu_ops[i->d->op - INSN_ADD];
	unsigned size = opnd_size(i, 0);
	u64 s, d;

	if (i->d->op != INSN_CMP) {
		s = opnd_get(c, i, 1, size);
		opnd_modify(c, i, size, fn, s, 0);
		return;
	}
	d = opnd_get(c, i, 0, size);
	s = opnd_get(c, i, 1, size);
	flags_set(c, flags_sub(d, s, d - s, size));
}

void exec_test(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 d = opnd_get(c, i, 0, size), s = opnd_get(c, i, 1, size);

	flags_set(c, flags_result(d & s, size));
}

void exec_not(struct cpu *c, const struct insn *i)
{
	opnd_modify(c, i, opnd_size(i, 0), op_not, 0, 0);
}

void exec_neg(struct cpu *c, const struct insn *i)
{
	opnd_modify(c, i, opnd_size(i, 0), op_neg, 0, 0);
}

void exec_inc(struct cpu *c, const struct insn *i)
{
	opnd_modify(c, i, opnd_size(i, 0), i->d->op == INSN_INC ? op_inc : op_dec, 0, 0);
}

/* ---- compare and exchange ---- */

/* t: the accumulator. The flags are those of CMP, accumulator with *d. */
static u32 op_cmpxchg(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	f = op_cmp(&t, *d, 0, size, f);
	if (f & FL_ZF)
		*d = s;
	return f;
}

void exec_cmpxchg(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 acc = c->gpr[RAX] & size_mask(size), s = opnd_get(c, i, 1, size), old;
	u32 f = flags_get(c);

	if (opnd_is_mem(i, 0)) {
		old = mem_modify(c, insn_la(c, i, size, true), size, i->lock, op_cmpxchg, s, acc, &f);
	} else {
		u64 d = old = opnd_get(c, i, 0, size);

		f = op_cmpxchg(&d, s, acc, size, f);
		if (f & FL_ZF) /* otherwise the whole register stays */
			opnd_put(c, i, 0, size, d);
	}
	flags_set(c, f);
	if (c->rflags & FL_ZF)
		return;
	if (size == 1)
		c->gpr[RAX] = (c->gpr[RAX] & ~0xffull) | (u8)old;
	else
		gpr_put(c, i, RAX, size, old);
}

/* The attribute makes it one instruction: without there is a call of libatomic. */
__attribute__((target("cx16"))) static bool host_cas16(void *p, u64 old[2], const u64 v[2])
{
	unsigned __int128 expected = (unsigned __int128)old[1] << 64 | old[0];
	unsigned __int128 was = __sync_val_compare_and_swap((unsigned __int128 *)p, expected,
							    (unsigned __int128)v[1] << 64 | v[0]);

	old[0] = (u64)was;
	old[1] = (u64)(was >> 64);
	return was == expected;
}

static void cmpxchg16b(struct cpu *c, const struct insn *i)
{
	u64 la = seg_la(c, i->seg, insn_ea(c, i), 16, true), old[2] = { c->gpr[RAX], c->gpr[RDX] };
	u64 v[2] = { c->gpr[RBX], c->gpr[RCX] };
	void *p;
	bool ok;

	if (la & 15) /* before #AC */
		cpu_raise_err(c, EXC_GP, 0);
	access_note(c, la, 16, true);
	p = mem_ptr(c, la, 16);
	if (p) {
		ok = host_cas16(p, old, v);
		mmu_wrote(c);
	} else {
		mmu_check_write(c, la, 16, c->view);
		mmu_read(c, la, old, 16, c->view);
		ok = old[0] == c->gpr[RAX] && old[1] == c->gpr[RDX];
		mmu_write(c, la, ok ? v : old, 16, c->view);
	}
	c->rflags = (c->rflags & ~(u64)FL_ZF) | (ok ? FL_ZF : 0);
	if (!ok) {
		c->gpr[RAX] = old[0];
		c->gpr[RDX] = old[1];
	}
}

/* Of the flags only ZF changes. */
static u32 op_cmpxchg8b(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	bool equal = *d == t;

	if (equal)
		*d = s;
	return (f & ~FL_ZF) | flag_if(equal, FL_ZF);
}

void exec_cmpxchg8b(struct cpu *c, const struct insn *i)
{
	u64 expect = (u64)(u32)c->gpr[RDX] << 32 | (u32)c->gpr[RAX];
	u64 v = (u64)(u32)c->gpr[RCX] << 32 | (u32)c->gpr[RBX], old;
	u32 f = flags_get(c);

	if (i->d->op == INSN_CMPXCHG16B) {
		cmpxchg16b(c, i);
		return;
	}
	old = mem_modify(c, insn_la(c, i, 8, true), 8, i->lock, op_cmpxchg8b, v, expect, &f);
	flags_set(c, f);
	if (!(c->rflags & FL_ZF)) {
		c->gpr[RAX] = (u32)old;
		c->gpr[RDX] = old >> 32;
	}
}

void exec_xadd(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 s = opnd_get(c, i, 1, size);

	if (opnd_is_mem(i, 0)) {
		opnd_put(c, i, 1, size, opnd_modify(c, i, size, op_add, s, 0));
	} else {
		u64 d = opnd_get(c, i, 0, size), sum = d;
		u32 f = op_add(&sum, s, 0, size, 0);

		opnd_put(c, i, 1, size, d);
		opnd_put(c, i, 0, size, sum);
		flags_set(c, f);
	}
}

static u32 op_set(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	*d = s;
	return f;
}

void exec_xchg(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0), k = opnd_is_mem(i, 1), o = !k;
	u64 s = opnd_get(c, i, o, size);
	u32 f = 0;

	if (opnd_is_mem(i, k)) {
		opnd_put(c, i, o, size, mem_modify(c, insn_la(c, i, size, true), size, true, op_set, s, 0, &f));
	} else {
		u64 d = opnd_get(c, i, 0, size);

		opnd_put(c, i, 0, size, s);
		opnd_put(c, i, 1, size, d);
	}
}
