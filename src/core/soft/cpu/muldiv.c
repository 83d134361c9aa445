/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MUL, IMUL, DIV, IDIV, sign extensions of the accumulator, and the BCD adjustments. */
#include "exec.h"
#include "x86-ops.h"

/* CF and OF: the product does not fit in `size` bytes. The other flags stay. */
static void multiplied(struct cpu *c, bool overflow)
{
	flags_set(c, (flags_get(c) & ~(FL_CF | FL_OF)) | flag_if(overflow, FL_CF | FL_OF));
}

/* Returns the product's low part, of which only `size` bytes count, and its high part. */
static u64 multiply(struct cpu *c, u64 a, u64 b, unsigned size, u64 *ret_high)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	*ret_high = (u64)(p >> 8 * size);
	multiplied(c, *ret_high != 0);
	return (u64)p;
}

static u64 multiply_signed(struct cpu *c, u64 a, u64 b, unsigned size, u64 *ret_high)
{
	__int128 p = (__int128)sign_extend(a, size) * sign_extend(b, size);

	*ret_high = (u64)(p >> 8 * size);
	multiplied(c, p != sign_extend((u64)p, size));
	return (u64)p;
}

void exec_mul(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 s = opnd_get(c, i, 0, size), a = c->gpr[RAX] & size_mask(size), low, high;

	low = i->d->op == INSN_MUL ? multiply(c, a, s, size, &high) : multiply_signed(c, a, s, size, &high);
	if (size == 1) {
		gpr_put(c, i, RAX, 2, low);
	} else {
		gpr_put(c, i, RAX, size, low);
		gpr_put(c, i, RDX, size, high);
	}
}

void exec_imul(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 d = opnd_get(c, i, i->d->nopnd == 3 ? 1 : 0, size), s = opnd_get(c, i, i->d->nopnd == 3 ? 2 : 1, size), high;

	d = multiply_signed(c, d, s, size, &high);
	gpr_put(c, i, i->reg, size, d);
}

/* hi:lo by s, with hi < s, bit by bit. Not C's division of 128 bits: libgcc's may use vector registers, the guest's. */
static void divide_long(u64 *lo, u64 *hi, u64 s)
{
	for (unsigned n = 0; n < 64; n++) {
		bool carry = *hi >> 63;

		*hi = *hi << 1 | *lo >> 63;
		*lo <<= 1;
		if (carry || *hi >= s) {
			*hi -= s;
			*lo |= 1;
		}
	}
}

/* Quotient and remainder of the unsigned hi:lo by s, all of 2 * size and size bytes; false: #DE. */
static bool div_unsigned(u64 *lo, u64 *hi, u64 s, unsigned size)
{
	if (size == 8) {
		if (*hi >= s)
			return false;
		if (*hi) {
			divide_long(lo, hi, s);
			return true;
		}
	} else {
		if (!s)
			return false;
		*lo |= *hi << 8 * size;
	}
	*hi = *lo % s;
	*lo /= s;
	return *lo <= size_mask(size);
}

static bool div_signed(u64 *lo, u64 *hi, u64 s, unsigned size)
{
	bool neg = *hi >> (8 * size - 1) & 1, sneg = s >> (8 * size - 1) & 1;
	u64 mask = size_mask(size), limit = 1ull << (8 * size - 1);

	if (neg) {
		*lo = -*lo & mask;
		*hi = (~*hi + !*lo) & mask;
	}
	if (sneg)
		s = -s & mask;
	if (!div_unsigned(lo, hi, s, size) || *lo > limit - (neg == sneg))
		return false;
	if (neg)
		*hi = -*hi & mask;
	if (neg != sneg)
		*lo = -*lo & mask;
	return true;
}

void exec_div(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 s = opnd_get(c, i, 0, size), lo = c->gpr[RAX] & size_mask(size), hi = c->gpr[RDX] & size_mask(size);

	if (size == 1)
		hi = c->gpr[RAX] >> 8 & 0xff;
	if (!(i->d->op == INSN_DIV ? div_unsigned(&lo, &hi, s, size) : div_signed(&lo, &hi, s, size)))
		cpu_raise(c, EXC_DE);
	if (size == 1) {
		c->gpr[RAX] = (c->gpr[RAX] & ~0xffffull) | hi << 8 | lo;
	} else {
		gpr_put(c, i, RAX, size, lo);
		gpr_put(c, i, RDX, size, hi);
	}
	/* all undefined */
	flags_set(c, (flags_get(c) & (FL_CF | FL_OF)) | FL_AF);
}

void exec_cbw(struct cpu *c, const struct insn *i)
{
	gpr_put(c, i, RAX, i->opsize, (u64)sign_extend(c->gpr[RAX], i->opsize / 2));
}

void exec_cwd(struct cpu *c, const struct insn *i)
{
	gpr_put(c, i, RDX, i->opsize, sign_extend(c->gpr[RAX], i->opsize) < 0 ? ~0ull : 0);
}

/* ---- BCD ---- */

static void decimal_adjust(struct cpu *c, bool subtract)
{
	u8 al = (u8)c->gpr[RAX];
	bool low = (al & 15) > 9 || (c->rflags & FL_AF), high = al > 0x99 || (c->rflags & FL_CF);
	u8 by = (low ? 6 : 0) + (high ? 0x60 : 0), result = subtract ? al - by : al + by;
	u32 f = subtract ? flags_sub(al, by, result, 1) : flags_add(al, by, result, 1);

	c->gpr[RAX] = (c->gpr[RAX] & ~0xffull) | result;
	flags_set(c, (f & ~FL_AF) | flag_if(low, FL_AF) | flag_if(high, FL_CF));
}

static void ascii_adjust(struct cpu *c, bool subtract)
{
	u16 ax = (u16)c->gpr[RAX];
	bool adjust = (ax & 15) > 9 || (c->rflags & FL_AF);
	u16 by = adjust ? 0x106 : 0, result = subtract ? ax - by : ax + by;
	u32 f = subtract ? flags_sub(ax, by, result, 2) : flags_add(ax, by, result, 2);

	c->gpr[RAX] = (c->gpr[RAX] & ~0xffffull) | (result & 0xff0f);
	flags_set(c, (f & ~(FL_CF | FL_AF)) | flag_if(adjust, FL_CF | FL_AF));
}

/* Quotient and remainder of AL by the immediate. */
static void ascii_divide(struct cpu *c, u8 base)
{
	u8 al = (u8)c->gpr[RAX];

	if (!base)
		cpu_raise(c, EXC_DE);
	c->gpr[RAX] = (c->gpr[RAX] & ~0xffffull) | (u64)(al / base) << 8 | al % base;
	flags_set(c, flags_result(al % base, 1));
}

static void ascii_multiply(struct cpu *c, u8 base)
{
	u8 al = (u8)c->gpr[RAX], by = (u8)((c->gpr[RAX] >> 8 & 0xff) * base), sum = al + by;

	c->gpr[RAX] = (c->gpr[RAX] & ~0xffffull) | sum;
	flags_set(c, flags_add(al, by, sum, 1));
}

void exec_bcd(struct cpu *c, const struct insn *i)
{
	switch (i->d->op) {
	case INSN_DAA:
	case INSN_DAS:
		decimal_adjust(c, i->d->op == INSN_DAS);
		return;
	case INSN_AAA:
	case INSN_AAS:
		ascii_adjust(c, i->d->op == INSN_AAS);
		return;
	case INSN_AAM:
		ascii_divide(c, (u8)i->imm);
		return;
	default:
		ascii_multiply(c, (u8)i->imm);
	}
}
