/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MUL, IMUL, DIV, IDIV, sign extensions of the accumulator, and the BCD adjustments. */
#include "exec.h"
#include "x86-ops.h"

#define FLAGS_IN "addb $127, %%al\n\tsahf\n\t"
#define MUL(name, insn) \
	static u32 name(u64 *lo, u64 *hi, u64 s, u32 f) \
	{ \
		u64 a = *lo, d = *hi; \
\
		__asm__(FLAGS_IN "xchg %%rax, %1\n\t" insn "\n\txchg %%rax, %1\n\tseto %%al\n\tlahf" \
			: "+&a"(f), "+&r"(a), "+&d"(d) \
			: "r"(s) \
			: "cc"); \
		*lo = a; \
		*hi = d; \
		return f; \
	}
MUL(mul1, "mulb %b3")
MUL(mul2, "mulw %w3")
MUL(mul4, "mull %k3")
MUL(mul8, "mulq %3")
MUL(imul1, "imulb %b3")
MUL(imul2, "imulw %w3")
MUL(imul4, "imull %k3")
MUL(imul8, "imulq %3")
static u32 (*const mul_ops[2][4])(u64 *lo, u64 *hi, u64 s, u32 f) = { { mul1, mul2, mul4, mul8 },
								       { imul1, imul2, imul4, imul8 } };

void exec_mul(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 s = opnd_get(c, i, 0, size), lo = c->gpr[RAX], hi = c->gpr[RDX];

	flags_set(c, mul_ops[i->d->op == INSN_IMUL][size_index(size)](&lo, &hi, s, flags_image(c->rflags)));
	c->gpr[RAX] = lo;
	c->gpr[RDX] = hi;
}

#define IMUL2(name, insn) \
	static u32 name(u64 *d, u64 s, u64 t, u32 f) \
	{ \
		u64 v = *d; \
\
		__asm__(FLAGS_IN insn "\n\tseto %%al\n\tlahf" : "+&a"(f), "+&r"(v) : "r"(s) : "cc"); \
		*d = v; \
		return f; \
	}
IMUL2(imul_two2, "imulw %w2, %w1")
IMUL2(imul_two4, "imull %k2, %k1")
IMUL2(imul_two8, "imulq %2, %1")
static alu_fn *const imul_ops[4] = { NULL, imul_two2, imul_two4, imul_two8 };

void exec_imul(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 d = opnd_get(c, i, i->d->nopnd == 3 ? 1 : 0, size), s = opnd_get(c, i, i->d->nopnd == 3 ? 2 : 1, size);

	flags_set(c, imul_ops[size_index(size)](&d, s, 0, flags_image(c->rflags)));
	gpr_put(c, i, i->reg, size, d);
}

/* 128 by 64 bits with hi < s. */
static void div_host(u64 *lo, u64 *hi, u64 s)
{
	__asm__("divq %2" : "+a"(*lo), "+d"(*hi) : "r"(s) : "cc");
}

/* Quotient and remainder of the unsigned hi:lo by s, all of 2 * size and size bytes; false: #DE. */
static bool div_unsigned(u64 *lo, u64 *hi, u64 s, unsigned size)
{
	if (size == 8) {
		if (*hi >= s)
			return false;
		div_host(lo, hi, s);
		return true;
	}
	if (!s)
		return false;
	*lo |= *hi << 8 * size;
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

static void set_szp(struct cpu *c, u8 v)
{
	u64 f = c->rflags & ~(u64)(FL_SF | FL_ZF | FL_PF);

	c->rflags = f | (v & FL_SF) | (v ? 0 : FL_ZF) | (__builtin_parity(v) ? 0 : FL_PF);
}

static void decimal_adjust(struct cpu *c, bool subtract)
{
	u8 al = (u8)c->gpr[RAX], old = al;
	bool cf = c->rflags & FL_CF, af = (al & 15) > 9 || (c->rflags & FL_AF), carry = false;

	if (af) {
		carry = subtract ? cf || al < 6 : cf || al > 0xf9;
		al = subtract ? al - 6 : al + 6;
	}
	if (old > 0x99 || cf) {
		al = subtract ? al - 0x60 : al + 0x60;
		carry = true;
	}
	c->gpr[RAX] = (c->gpr[RAX] & ~0xffull) | al;
	c->rflags = (c->rflags & ~(u64)(FL_CF | FL_AF | FL_OF)) | (carry ? FL_CF : 0) | (af ? FL_AF : 0);
	set_szp(c, al);
}

static void ascii_adjust(struct cpu *c, bool subtract)
{
	u16 ax = (u16)c->gpr[RAX];
	bool adjust = (ax & 15) > 9 || (c->rflags & FL_AF);

	if (adjust)
		ax = (u16)(subtract ? ax - 0x106 : ax + 0x106);
	ax &= 0xff0f;
	c->gpr[RAX] = (c->gpr[RAX] & ~0xffffull) | ax;
	c->rflags = (c->rflags & ~(u64)(FL_CF | FL_AF | FL_OF)) | (adjust ? FL_CF | FL_AF : 0);
	set_szp(c, (u8)ax);
}

void exec_bcd(struct cpu *c, const struct insn *i)
{
	u8 al = (u8)c->gpr[RAX], ah = (u8)(c->gpr[RAX] >> 8), base = (u8)i->imm;

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
		if (!base)
			cpu_raise(c, EXC_DE);
		ah = al / base;
		al %= base;
		break;
	default:
		al = (u8)(al + ah * base);
		ah = 0;
	}
	c->gpr[RAX] = (c->gpr[RAX] & ~0xffffull) | (u64)ah << 8 | al;
	c->rflags &= ~(u64)(FL_CF | FL_AF | FL_OF);
	set_szp(c, al);
}
