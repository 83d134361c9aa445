/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bit scans and counts, BMI1, BMI2, ADX, CRC32, BSWAP, MOVBE; and RDRAND, which only the host can answer. */
#include "exec.h"
#include "x86-ops.h"

/* The index of a bit of s, which is not zero: the first or the last that is set. */
static u64 scan(u64 s, bool last)
{
	return last ? 63 - (u64)__builtin_clzll(s) : (u64)__builtin_ctzll(s);
}

/* Zero leaves the whole register alone, its upper half included. */
static void bit_scan(struct cpu *c, const struct insn *i, unsigned size, u64 s)
{
	u64 index = s ? scan(s, i->d->op == INSN_BSR) : 0;

	flags_set(c, flag_if(!s, FL_ZF) | flags_parity(index));
	if (s)
		gpr_put(c, i, i->reg, size, index);
}

/* TZCNT, LZCNT: CF for none, ZF for a count of zero. */
static void count_zeros(struct cpu *c, const struct insn *i, unsigned size, u64 s)
{
	u64 count = 8 * size;

	if (s)
		count = i->d->op == INSN_TZCNT ? scan(s, false) : 8 * size - 1 - scan(s, true);
	flags_set(c, (flags_get(c) & FL_OF) | flag_if(!s, FL_CF) | flag_if(!count, FL_ZF));
	gpr_put(c, i, i->reg, size, count);
}

void exec_bsf(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0), ones = 0;
	u64 s = opnd_get(c, i, 1, size);

	if (i->d->op == INSN_BSF || i->d->op == INSN_BSR) {
		bit_scan(c, i, size, s);
	} else if (i->d->op != INSN_POPCNT) {
		count_zeros(c, i, size, s);
	} else {
		flags_set(c, flag_if(!s, FL_ZF));
		for (; s; s &= s - 1)
			ones++;
		gpr_put(c, i, i->reg, size, ones);
	}
}

void exec_bswap(struct cpu *c, const struct insn *i)
{
	unsigned r = opnd_reg(i, 0);
	u64 v = c->gpr[r];

	if (i->opsize == 8)
		c->gpr[r] = __builtin_bswap64(v);
	else if (i->opsize == 4)
		c->gpr[r] = __builtin_bswap32((u32)v);
	else
		gpr_put(c, i, r, 2, 0); /* undefined; the common hardware clears it */
}

void exec_movbe(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 v = opnd_get(c, i, 1, size);

	opnd_put(c, i, 0, size, __builtin_bswap64(v) >> (64 - 8 * size));
}

/* Bit-reflected, polynomial 11EDC6F41 (SDM vol. 2, CRC32). */
void exec_crc32(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 1);
	u64 s = opnd_get(c, i, 1, size);
	u32 crc = (u32)c->gpr[i->reg];

	for (unsigned bit = 0; bit < 8 * size; bit++) {
		bool odd = (crc ^ s >> bit) & 1;

		crc = crc >> 1 ^ (odd ? 0x82f63b78 : 0);
	}
	c->gpr[i->reg] = crc;
}

/* ---- BMI ---- */

/* In order, the low bits of s to where `mask` has ones. */
static u64 deposit(u64 s, u64 mask)
{
	u64 v = 0;

	for (; mask; mask &= mask - 1, s >>= 1)
		v |= s & 1 ? mask & -mask : 0;
	return v;
}

static u64 extract(u64 s, u64 mask)
{
	u64 v = 0;

	for (unsigned n = 0; mask; mask &= mask - 1, n++)
		v |= (u64)!!(s & mask & -mask) << n;
	return v;
}

/* `n` bits of s, all from 64 on. */
static u64 low_bits(u64 s, unsigned n)
{
	return n < 64 ? s & ((1ull << n) - 1) : s;
}

static u32 op_andn(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	*d = ~s & t;
	return flags_result(*d, size);
}

/* Of the lowest one: cleared; a mask up to it; it alone. CF: s is zero, with BLSI that it is not. */
static u32 op_blsr(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	*d = s & (s - 1);
	return flags_result(*d, size) | flag_if(!s, FL_CF);
}

static u32 op_blsmsk(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	*d = s ^ (s - 1);
	return flags_result(*d, size) | flag_if(!s, FL_CF);
}

static u32 op_blsi(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	*d = s & -s;
	return flags_result(*d, size) | flag_if(s, FL_CF);
}

/* t: where the field begins, and in the next byte how long it is. */
static u32 op_bextr(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	unsigned start = t & 0xff;

	*d = start < 64 ? low_bits(s >> start, t >> 8 & 0xff) : 0;
	return (flags_result(*d, size) & ~FL_SF) | FL_AF;
}

static u32 op_bzhi(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	unsigned n = t & 0xff;

	*d = low_bits(s, n);
	return flags_result(*d, size) | flag_if(n >= 8 * size, FL_CF);
}

static u32 op_pdep(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	*d = deposit(s, t);
	return f;
}

static u32 op_pext(u64 *d, u64 s, u64 t, unsigned size, u32 f)
{
	*d = extract(s, t);
	return f;
}

static const struct {
	u16 op;
	alu_fn *fn;
} bmi[] = {
	{ INSN_ANDN, op_andn },	  { INSN_BLSR, op_blsr }, { INSN_BLSMSK, op_blsmsk }, { INSN_BLSI, op_blsi },
	{ INSN_BEXTR, op_bextr }, { INSN_BZHI, op_bzhi }, { INSN_PDEP, op_pdep },     { INSN_PEXT, op_pext },
};

static void mulx(struct cpu *c, const struct insn *i, unsigned size)
{
	u64 s = opnd_get(c, i, 2, size), lo, hi;

	if (size == 8) {
		unsigned __int128 p = (unsigned __int128)s * c->gpr[RDX];

		lo = (u64)p;
		hi = (u64)(p >> 64);
	} else {
		lo = s * (u32)c->gpr[RDX];
		hi = lo >> 32;
	}
	gpr_put(c, i, i->vvvv, size, lo);
	gpr_put(c, i, i->reg, size, hi);
}

/* SARX, SHLX, SHRX, RORX: flags stay. */
static u64 shift_x(unsigned op, u64 v, unsigned n, unsigned size)
{
	n &= size == 8 ? 63 : 31;
	switch (op) {
	case INSN_SARX:
		return (u64)(sign_extend(v, size) >> n);
	case INSN_SHLX:
		return v << n;
	case INSN_SHRX:
		return v >> n;
	default:
		return n ? v >> n | v << (8 * size - n) : v;
	}
}

void exec_bmi(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0), op = i->d->op;
	u64 d = 0;

	if (op == INSN_MULX) {
		mulx(c, i, size);
		return;
	}
	for (size_t n = 0; n < ARRAY_SIZE(bmi); n++) {
		u64 s, t;
		u32 f;

		if (bmi[n].op != op)
			continue;
		s = opnd_get(c, i, 1, size);
		t = i->d->nopnd > 2 ? opnd_get(c, i, 2, size) : 0;
		f = bmi[n].fn(&d, s, t, size, flags_get(c));
		gpr_put(c, i, opnd_reg(i, 0), size, d);
		flags_set(c, f);
		return;
	}
	d = shift_x(op, opnd_get(c, i, 1, size), (unsigned)opnd_get(c, i, 2, op == INSN_RORX ? 1 : size), size);
	gpr_put(c, i, i->reg, size, d);
}

void exec_adx(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 flag = i->d->op == INSN_ADCX ? FL_CF : FL_OF, s = opnd_get(c, i, 1, size), d = opnd_get(c, i, 0, size);
	u64 in = !!(c->rflags & flag), sum = (d + s + in) & size_mask(size);
	bool carry = sum < d || (in && sum == d);

	gpr_put(c, i, i->reg, size, sum);
	c->rflags = (c->rflags & ~flag) | (carry ? flag : 0);
}

static bool host_random(bool seed, u64 *v)
{
	bool ok;

	if (seed)
		__asm__ volatile("rdseed %0\n\tsetc %1" : "=r"(*v), "=qm"(ok) : : "cc");
	else
		__asm__ volatile("rdrand %0\n\tsetc %1" : "=r"(*v), "=qm"(ok) : : "cc");
	return ok;
}

void exec_rdrand(struct cpu *c, const struct insn *i)
{
	u64 v;
	bool ok = host_random(i->d->op == INSN_RDSEED, &v);

	gpr_put(c, i, i->rm, i->opsize, ok ? v : 0);
	c->rflags = (c->rflags & ~(u64)FL_ARITH) | (ok ? FL_CF : 0);
}
