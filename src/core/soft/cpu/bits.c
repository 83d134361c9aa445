/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bit scans and counts, BMI1, BMI2, ADX, CRC32, BSWAP, MOVBE, RDRAND. As in alu.c, most are the host's own instructions:
 * the guest is never told of one that the host lacks.
 */
#include "exec.h"
#include "x86-ops.h"

#define FLAGS_IN "addb $127, %%al\n\tsahf\n\t"
#define OP2(name, insn) \
	static u32 name(u64 *d, u64 s, u64 t, u32 f) \
	{ \
		u64 v = *d; \
\
		__asm__(FLAGS_IN insn "\n\tseto %%al\n\tlahf" : "+&a"(f), "+&r"(v) : "r"(s), "r"(t) : "cc"); \
		*d = v; \
		return f; \
	}
#define SIZES(name) \
	OP2(name##2, #name "w %w2, %w1") \
	OP2(name##4, #name "l %k2, %k1") \
	OP2(name##8, #name "q %2, %1")
#define ROW(name) { NULL, name##2, name##4, name##8 }

SIZES(bsf)
SIZES(bsr)
SIZES(tzcnt)
SIZES(lzcnt)
SIZES(popcnt)
static const struct {
	u16 op;
	alu_fn *fn[4];
} scans[] = {
	{ INSN_BSF, ROW(bsf) },	    { INSN_BSR, ROW(bsr) },	  { INSN_TZCNT, ROW(tzcnt) },
	{ INSN_LZCNT, ROW(lzcnt) }, { INSN_POPCNT, ROW(popcnt) },
};

void exec_bsf(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0), n = 0;
	u64 s = opnd_get(c, i, 1, size), d = c->gpr[i->reg];

	while (scans[n].op != i->d->op)
		n++;
	flags_set(c, scans[n].fn[size_index(size)](&d, s, 0, flags_image(c->rflags)));
	/* BSF and BSR of zero leave the whole register alone, upper half included */
	if (s || (i->d->op != INSN_BSF && i->d->op != INSN_BSR))
		gpr_put(c, i, i->reg, size, d);
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

void exec_crc32(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 1);
	u64 s = opnd_get(c, i, 1, size), crc = (u32)c->gpr[i->reg];

	switch (size) {
	case 1:
		__asm__("crc32b %b1, %k0" : "+r"(crc) : "r"(s));
		break;
	case 2:
		__asm__("crc32w %w1, %k0" : "+r"(crc) : "r"(s));
		break;
	case 4:
		__asm__("crc32l %k1, %k0" : "+r"(crc) : "r"(s));
		break;
	default:
		__asm__("crc32q %1, %0" : "+r"(crc) : "r"(s));
	}
	c->gpr[i->reg] = (u32)crc;
}

/* ---- BMI ---- */

#define BMI(name) \
	OP2(name##4, #name "l %k3, %k2, %k1") \
	OP2(name##8, #name "q %3, %2, %1")
#define BMI1(name) \
	OP2(name##4, #name "l %k2, %k1") \
	OP2(name##8, #name "q %2, %1")

/* Operands as in AT&T order: destination, then %2 and %3. */
BMI(andn)
BMI1(blsr)
BMI1(blsmsk)
BMI1(blsi)
OP2(bextr4, "bextrl %k3, %k2, %k1")
OP2(bextr8, "bextrq %3, %2, %1")
OP2(bzhi4, "bzhil %k3, %k2, %k1")
OP2(bzhi8, "bzhiq %3, %2, %1")
OP2(pdep4, "pdepl %k3, %k2, %k1")
OP2(pdep8, "pdepq %3, %2, %1")
OP2(pext4, "pextl %k3, %k2, %k1")
OP2(pext8, "pextq %3, %2, %1")

static const struct {
	u16 op;
	alu_fn *fn[2];
} bmi[] = {
	{ INSN_ANDN, { andn4, andn8 } },       { INSN_BLSR, { blsr4, blsr8 } }, { INSN_BLSMSK, { blsmsk4, blsmsk8 } },
	{ INSN_BLSI, { blsi4, blsi8 } },       { INSN_BEXTR, { bextr4, bextr8 } }, { INSN_BZHI, { bzhi4, bzhi8 } },
	{ INSN_PDEP, { pdep4, pdep8 } },       { INSN_PEXT, { pext4, pext8 } },
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
		f = bmi[n].fn[size == 8](&d, s, t, flags_image(c->rflags));
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
