/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Integer arithmetic and logic. Each operation is the host's own instruction between a load and a store of the flags, so
 * results and flags, the undefined ones too, are the hardware's. Memory operands are modified in place, under LOCK by
 * compare and exchange.
 */
#include "exec.h"
#include "x86-ops.h"

/* AX holds the flags image: OF in AL, the others in AH. */
#define FLAGS_IN "addb $127, %%al\n\tsahf\n\t"
#define FLAGS_OUT "\n\tseto %%al\n\tlahf"

#define OP2(name, insn) \
	static u32 name(u64 *d, u64 s, u64 t, u32 f) \
	{ \
		u64 v = *d; \
\
		__asm__(FLAGS_IN insn FLAGS_OUT : "+a"(f), "+&r"(v) : "r"(s) : "cc"); \
		*d = v; \
		return f; \
	}
#define OP2_SIZES(name) \
	OP2(name##1, #name "b %b2, %b1") \
	OP2(name##2, #name "w %w2, %w1") \
	OP2(name##4, #name "l %k2, %k1") \
	OP2(name##8, #name "q %2, %1")
#define OP1_SIZES(name) \
	OP2(name##1, #name "b %b1") \
	OP2(name##2, #name "w %w1") \
	OP2(name##4, #name "l %k1") \
	OP2(name##8, #name "q %1")
#define SHIFT(name, insn) \
	static u32 name(u64 *d, u64 s, u64 t, u32 f) \
	{ \
		u64 v = *d; \
\
		__asm__(FLAGS_IN insn FLAGS_OUT : "+a"(f), "+&r"(v) : "c"(s) : "cc"); \
		*d = v; \
		return f; \
	}
#define SHIFT_SIZES(name) \
	SHIFT(name##1, #name "b %%cl, %b1") \
	SHIFT(name##2, #name "w %%cl, %w1") \
	SHIFT(name##4, #name "l %%cl, %k1") \
	SHIFT(name##8, #name "q %%cl, %1")
#define SHIFT2(name, insn) \
	static u32 name(u64 *d, u64 s, u64 t, u32 f) \
	{ \
		u64 v = *d; \
\
		__asm__(FLAGS_IN insn FLAGS_OUT : "+a"(f), "+&r"(v) : "r"(s), "c"(t) : "cc"); \
		*d = v; \
		return f; \
	}
#define ROW(name) { name##1, name##2, name##4, name##8 }

OP2_SIZES(add)
OP2_SIZES(or)
OP2_SIZES(adc)
OP2_SIZES(sbb)
OP2_SIZES(and)
OP2_SIZES(sub)
OP2_SIZES(xor)
OP2_SIZES(cmp)
OP2_SIZES(test)
OP1_SIZES(not)
OP1_SIZES(neg)
OP1_SIZES(inc)
OP1_SIZES(dec)
SHIFT_SIZES(rol)
SHIFT_SIZES(ror)
SHIFT_SIZES(rcl)
SHIFT_SIZES(rcr)
SHIFT_SIZES(shl)
SHIFT_SIZES(shr)
SHIFT_SIZES(sar)
SHIFT2(shld2, "shldw %%cl, %w2, %w1")
SHIFT2(shld4, "shldl %%cl, %k2, %k1")
SHIFT2(shld8, "shldq %%cl, %2, %1")
SHIFT2(shrd2, "shrdw %%cl, %w2, %w1")
SHIFT2(shrd4, "shrdl %%cl, %k2, %k1")
SHIFT2(shrd8, "shrdq %%cl, %2, %1")
OP2(bt2, "btw %w2, %w1")
OP2(bt4, "btl %k2, %k1")
OP2(bt8, "btq %2, %1")
OP2(bts2, "btsw %w2, %w1")
OP2(bts4, "btsl %k2, %k1")
OP2(bts8, "btsq %2, %1")
OP2(btr2, "btrw %w2, %w1")
OP2(btr4, "btrl %k2, %k1")
OP2(btr8, "btrq %2, %1")
OP2(btc2, "btcw %w2, %w1")
OP2(btc4, "btcl %k2, %k1")
OP2(btc8, "btcq %2, %1")

alu_fn *const alu_ops[8][4] = { ROW(add), ROW(or), ROW(adc), ROW(sbb), ROW(and), ROW(sub), ROW(xor), ROW(cmp) };
static alu_fn *const test_ops[4] = ROW(test);
static alu_fn *const not_ops[4] = ROW(not);
static alu_fn *const neg_ops[4] = ROW(neg);
static alu_fn *const inc_ops[2][4] = { ROW(inc), ROW(dec) };
static alu_fn *const shift_ops[8][4] = { ROW(rol), ROW(ror), ROW(rcl), ROW(rcr), ROW(shl), ROW(shr), ROW(shl), ROW(sar) };
static alu_fn *const shld_ops[2][4] = { { NULL, shld2, shld4, shld8 }, { NULL, shrd2, shrd4, shrd8 } };
static alu_fn *const bt_ops[4][4] = { { NULL, bt2, bt4, bt8 }, { NULL, bts2, bts4, bts8 }, { NULL, btr2, btr4, btr8 },
				      { NULL, btc2, btc4, btc8 } };

#define CAS(suffix, reg) \
	__asm__ volatile("lock cmpxchg" suffix " %" reg "3, %1\n\tsete %b2" \
			 : "+a"(*old), "+m"(*(u8 *)p), "=&q"(ok) \
			 : "r"(v) \
			 : "memory", "cc")

bool host_cas(void *p, unsigned size, u64 *old, u64 v)
{
	u8 ok;

	switch (size) {
	case 1:
		CAS("b", "b");
		break;
	case 2:
		CAS("w", "w");
		break;
	case 4:
		CAS("l", "k");
		break;
	default:
		CAS("q", "q");
	}
	return ok;
}

/* In two pages, with the other vCPUs stopped. False: not memory, or it faults. */
static bool split_modify(struct cpu *c, u64 la, unsigned size, alu_fn *fn, u64 s, u64 t, u32 *image, u64 *ret_old)
{
	struct mmu_split split;
	u64 old = 0, v;

	if (!mmu_split_begin(c, la, size, c->view, &split))
		return false;
	mmu_split_read(&split, &old);
	v = old;
	*image = fn(&v, s, t, *image);
	mmu_split_write(c, &split, &v);
	mmu_split_end(c);
	*ret_old = old;
	return true;
}

u64 mem_modify(struct cpu *c, u64 la, unsigned size, bool lock, alu_fn *fn, u64 s, u64 t, u32 *image)
{
	u8 *p = mem_ptr(c, la, size);
	u32 f = *image;
	u64 old = 0, v;

	if (likely(p)) {
		old = host_load(p, size);
		do {
			v = old;
			f = fn(&v, s, t, *image);
			if (!lock) {
				host_store(p, v, size);
				break;
			}
		} while (!host_cas(p, size, &old, v));
		mmu_wrote(c);
	} else {
		if (lock && split_modify(c, la, size, fn, s, t, image, &old))
			return old;
		mmu_check_write(c, la, size, c->view);
		mmu_read(c, la, &old, size, c->view);
		v = old;
		f = fn(&v, s, t, f);
		mmu_write(c, la, &v, size, c->view);
	}
	*image = f;
	return old;
}

u64 opnd_modify(struct cpu *c, const struct insn *i, unsigned size, alu_fn *fn, u64 s, u64 t)
{
	u32 f = flags_image(c->rflags);
	u64 old, v;

	if (opnd_is_mem(i, 0)) {
		old = mem_modify(c, insn_la(c, i, size, true), size, i->lock, fn, s, t, &f);
	} else {
		unsigned r = opnd_reg(i, 0);

		v = old = gpr_get(c, i, r, size);
		f = fn(&v, s, t, f);
		gpr_put(c, i, r, size, v);
	}
	flags_set(c, f);
	return old;
}

u16 alu_image(unsigned op, unsigned size, u64 a, u64 b)
{
	return (u16)alu_ops[op][size_index(size)](&a, b, 0, 0);
}

u16 shift_image(unsigned digit, unsigned size, u64 v, u64 count)
{
	return (u16)shift_ops[digit][size_index(size)](&v, count, 0, 0);
}

void exec_alu(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0), op = i->d->op - INSN_ADD;
	alu_fn *fn = alu_ops[op][size_index(size)];
	u64 s, d;

	if (i->d->op != INSN_CMP) {
		s = opnd_get(c, i, 1, size);
		opnd_modify(c, i, size, fn, s, 0);
		return;
	}
	d = opnd_get(c, i, 0, size);
	s = opnd_get(c, i, 1, size);
	flags_set(c, fn(&d, s, 0, 0));
}

void exec_test(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 d = opnd_get(c, i, 0, size), s = opnd_get(c, i, 1, size);

	flags_set(c, test_ops[size_index(size)](&d, s, 0, flags_image(c->rflags)));
}

void exec_not(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);

	opnd_modify(c, i, size, not_ops[size_index(size)], 0, 0);
}

void exec_neg(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);

	opnd_modify(c, i, size, neg_ops[size_index(size)], 0, 0);
}

void exec_inc(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);

	opnd_modify(c, i, size, inc_ops[i->d->op != INSN_INC][size_index(size)], 0, 0);
}

void exec_shift(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);

	opnd_modify(c, i, size, shift_ops[i->modrm >> 3 & 7][size_index(size)], opnd_get(c, i, 1, 1), 0);
}

void exec_shld(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);

	opnd_modify(c, i, size, shld_ops[i->d->op != INSN_SHLD][size_index(size)], opnd_get(c, i, 1, size),
		    opnd_get(c, i, 2, 1));
}

/* A register offset selects a bit of a string in memory, up to half the address space away. */
static void bt_string(struct cpu *c, const struct insn *i, unsigned size, alu_fn *fn)
{
	s64 bit = sign_extend(opnd_get(c, i, 1, size), size);
	u64 ea = insn_ea(c, i) + (u64)((bit >> (3 + size_index(size))) * (s64)size), la;
	bool write = i->d->op != INSN_BT;
	u32 f = flags_image(c->rflags);

	ea = i->adsize == 8 ? ea : i->adsize == 4 ? (u32)ea : (u16)ea;
	la = seg_la(c, i->seg, ea, size, write);
	access_note(c, la, size, write);
	if (write) {
		mem_modify(c, la, size, i->lock, fn, (u64)bit, 0, &f);
	} else {
		u64 v = mem_load(c, la, size);

		f = fn(&v, (u64)bit, 0, f);
	}
	flags_set(c, f);
}

void exec_bt(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	alu_fn *fn = bt_ops[i->d->op - INSN_BT][size_index(size)];

	if (i->mem && i->d->opnd[1].kind == OP_G) {
		bt_string(c, i, size, fn);
	} else if (i->d->op != INSN_BT) {
		opnd_modify(c, i, size, fn, opnd_get(c, i, 1, i->d->opnd[1].kind == OP_I ? 1 : size), 0);
	} else {
		u64 v = opnd_get(c, i, 0, size);

		flags_set(c, fn(&v, i->d->opnd[1].kind == OP_I ? i->imm : opnd_get(c, i, 1, size), 0,
				flags_image(c->rflags)));
	}
}

/* ---- compare and exchange ---- */

#define CMPXCHG(size) \
	static u32 cmpxchg##size(u64 *d, u64 s, u64 t, u32 f) \
	{ \
		f = cmp##size(&t, *d, 0, f); \
		if (f & FL_ZF << 8) \
			*d = s; \
		return f; \
	}
CMPXCHG(1)
CMPXCHG(2)
CMPXCHG(4)
CMPXCHG(8)
static alu_fn *const cmpxchg_ops[4] = ROW(cmpxchg);

void exec_cmpxchg(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	alu_fn *fn = cmpxchg_ops[size_index(size)];
	u64 acc = c->gpr[RAX] & size_mask(size), s = opnd_get(c, i, 1, size), old;
	u32 f = flags_image(c->rflags);

	if (opnd_is_mem(i, 0)) {
		old = mem_modify(c, insn_la(c, i, size, true), size, i->lock, fn, s, acc, &f);
	} else {
		u64 d = old = opnd_get(c, i, 0, size);

		f = fn(&d, s, acc, f);
		if (f & FL_ZF << 8) /* otherwise the whole register stays */
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

static bool cmpxchg16_host(void *p, u64 *lo, u64 *hi, u64 new_lo, u64 new_hi)
{
	bool ok;

	__asm__ volatile("lock cmpxchg16b %0\n\tsete %3"
			 : "+m"(*(u8 *)p), "+a"(*lo), "+d"(*hi), "=&q"(ok)
			 : "b"(new_lo), "c"(new_hi)
			 : "memory", "cc");
	return ok;
}

static void cmpxchg16b(struct cpu *c, const struct insn *i)
{
	u64 la = insn_la(c, i, 16, true), old[2] = { c->gpr[RAX], c->gpr[RDX] };
	u64 v[2] = { c->gpr[RBX], c->gpr[RCX] };
	void *p;
	bool ok;

	if (la & 15)
		cpu_raise_err(c, EXC_GP, 0);
	p = mem_ptr(c, la, 16);
	if (p) {
		ok = cmpxchg16_host(p, &old[0], &old[1], v[0], v[1]);
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

static u32 cmpxchg8b_op(u64 *d, u64 s, u64 t, u32 f)
{
	f &= ~(FL_ZF << 8);
	if (*d != t)
		return f;
	*d = s;
	return f | FL_ZF << 8;
}

void exec_cmpxchg8b(struct cpu *c, const struct insn *i)
{
	u64 expect = (u64)(u32)c->gpr[RDX] << 32 | (u32)c->gpr[RAX];
	u64 v = (u64)(u32)c->gpr[RCX] << 32 | (u32)c->gpr[RBX], old;
	u32 f = flags_image(c->rflags);

	if (i->d->op == INSN_CMPXCHG16B) {
		cmpxchg16b(c, i);
		return;
	}
	old = mem_modify(c, insn_la(c, i, 8, true), 8, i->lock, cmpxchg8b_op, v, expect, &f);
	flags_set(c, f);
	if (!(c->rflags & FL_ZF)) {
		c->gpr[RAX] = (u32)old;
		c->gpr[RDX] = old >> 32;
	}
}

void exec_xadd(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	alu_fn *fn = alu_ops[0][size_index(size)];
	u64 s = opnd_get(c, i, 1, size);

	if (opnd_is_mem(i, 0)) {
		opnd_put(c, i, 1, size, opnd_modify(c, i, size, fn, s, 0));
	} else {
		u64 d = opnd_get(c, i, 0, size), sum = d;
		u32 f = fn(&sum, s, 0, flags_image(c->rflags));

		opnd_put(c, i, 1, size, d);
		opnd_put(c, i, 0, size, sum);
		flags_set(c, f);
	}
}

static u32 set_op(u64 *d, u64 s, u64 t, u32 f)
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
		opnd_put(c, i, o, size, mem_modify(c, insn_la(c, i, size, true), size, true, set_op, s, 0, &f));
	} else {
		u64 d = opnd_get(c, i, 0, size);

		opnd_put(c, i, 0, size, s);
		opnd_put(c, i, 1, size, d);
	}
}
