/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Integer arithmetic, comparisons and logic of MMX, SSE and AVX (SDM vol. 2), element by element; most of them are one
 * loop and an operation on two numbers. Reached through the table at the end.
 */
#include "vec.h"

/* vec_op.arg: the operation, and how it takes and leaves its numbers */
enum { ADD, SUB, MIN, MAX, EQUAL, GREATER, AVERAGE, SIGN, MULTIPLY, MULTIPLY_HIGH, MULTIPLY_ROUND };
#define OPERATION 0x3fu
#define SIGNED	  0x40u
#define SATURATE  0x80u

static s64 combine(unsigned operation, s64 a, s64 b)
{
	switch (operation) {
	case ADD:
		return (s64)((u64)a + (u64)b);
	case SUB:
		return (s64)((u64)a - (u64)b);
	case MIN:
		return a < b ? a : b;
	case MAX:
		return a > b ? a : b;
	case EQUAL:
		return -(s64)(a == b);
	case GREATER:
		return -(s64)(a > b);
	case AVERAGE:
		return (a + b + 1) >> 1;
	case SIGN:
		return b < 0 ? -a : b ? a : 0;
	case MULTIPLY:
		return a * b;
	case MULTIPLY_HIGH:
		return (a * b) >> 16;
	default:
		return (((a * b) >> 14) + 1) >> 1;
	}
}

/* The nearest number that an element of up to four bytes can hold. */
static s64 saturate(s64 x, unsigned size, bool is_signed)
{
	unsigned bits = 8 * size - is_signed;
	s64 max = (s64)(1ull << bits) - 1, min = is_signed ? -max - 1 : 0;

	return x < min ? min : x > max ? max : x;
}

static s64 number(const struct vec_insn *v, const union vec *s, unsigned n)
{
	return v->arg & SIGNED ? signed_element(s, n, v->size) : (s64)element(s, n, v->size);
}

static void put_number(struct vec_insn *v, unsigned n, s64 x)
{
	set_element(&v->r, n, v->size, (u64)(v->arg & SATURATE ? saturate(x, v->size, v->arg & SIGNED) : x));
}

static void pairs(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / v->size; n++)
		put_number(v, n, combine(v->arg & OPERATION, number(v, &v->s[0], n), number(v, &v->s[1], n)));
}

/* Neighbours of the first source give the low half of each 16 bytes, those of the second the high half. */
static void neighbours(struct vec_insn *v)
{
	unsigned lane = (v->bytes < 16 ? 8 : 16) / v->size, half = lane / 2;

	for (unsigned n = 0; n < v->bytes / v->size; n++) {
		const union vec *s = &v->s[n % lane >= half];
		unsigned at = n / lane * lane + n % half * 2;

		put_number(v, n, combine(v->arg & OPERATION, number(v, s, at), number(v, s, at + 1)));
	}
}

static void absolute(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / v->size; n++) {
		s64 x = number(v, &v->s[0], n);

		put_number(v, n, x < 0 ? -x : x);
	}
}

/* ---- products wider than their factors ---- */

/* Of the low halves of elements. */
static void multiply_wide(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / 8; n++) {
		if (v->arg & SIGNED)
			v->r.sq[n] = (s64)v->s[0].sd[2 * n] * v->s[1].sd[2 * n];
		else
			v->r.q[n] = (u64)v->s[0].d[2 * n] * v->s[1].d[2 * n];
	}
}

static void multiply_add_words(struct vec_insn *v)
{
	const union vec *a = &v->s[0], *b = &v->s[1];

	for (unsigned n = 0; n < v->bytes / 4; n++)
		v->r.d[n] = (u32)(a->sw[2 * n] * b->sw[2 * n]) + (u32)(a->sw[2 * n + 1] * b->sw[2 * n + 1]);
}

/* Unsigned by signed. */
static void multiply_add_bytes(struct vec_insn *v)
{
	const union vec *a = &v->s[0], *b = &v->s[1];

	for (unsigned n = 0; n < v->bytes / 2; n++)
		v->r.sw[n] = (s16)saturate(a->b[2 * n] * b->sb[2 * n] + a->b[2 * n + 1] * b->sb[2 * n + 1], 2, true);
}

/* ---- sums of differences, minimum ---- */

static unsigned differences(const u8 *a, const u8 *b, unsigned count)
{
	unsigned sum = 0;

	for (unsigned n = 0; n < count; n++)
		sum += a[n] < b[n] ? b[n] - a[n] : a[n] - b[n];
	return sum;
}

static void psadbw(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / 8; n++)
		v->r.q[n] = differences(v->s[0].b + 8 * n, v->s[1].b + 8 * n, 8);
}

/* Four bytes of the second source against those at eight places of the first; three bits of the immediate a lane. */
static void mpsadbw(struct vec_insn *v)
{
	for (unsigned lane = 0; lane < v->bytes / 16; lane++) {
		unsigned choice = v->imm >> (3 * lane);
		const u8 *a = v->s[0].b + 16 * lane + (choice & 4), *b = v->s[1].b + 16 * lane + (choice & 3) * 4;

		for (unsigned n = 0; n < 8; n++)
			v->r.w[8 * lane + n] = (u16)differences(a + n, b, 4);
	}
}

static void phminposuw(struct vec_insn *v)
{
	const u16 *w = v->s[0].w;
	unsigned at = 0;

	for (unsigned n = 1; n < 8; n++)
		if (w[n] < w[at])
			at = n;
	v->r = (union vec){.w = {w[at], (u16)at}};
}

/* ---- logic ---- */

enum { AND, AND_NOT, OR, XOR };

static void logic(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / 8; n++) {
		u64 a = v->s[0].q[n], b = v->s[1].q[n];

		v->r.q[n] = v->arg == AND ? a & b : v->arg == AND_NOT ? ~a & b : v->arg == OR ? a | b : a ^ b;
	}
}

/* PTEST all bits, VTESTPS and VTESTPD those of the sign. */
static void test(struct vec_insn *v)
{
	u64 mask = v->size == 4 ? 0x8000000080000000 : v->size == 8 ? 1ull << 63 : ~0ull, both = 0, second = 0;

	for (unsigned n = 0; n < v->bytes / 8; n++) {
		both |= v->s[0].q[n] & v->s[1].q[n] & mask;
		second |= ~v->s[0].q[n] & v->s[1].q[n] & mask;
	}
	v->flags = (both ? 0 : FL_ZF) | (second ? 0 : FL_CF);
}

const struct vec_op vec_integer[] = {
	VEC_BOTH(PADDB, pairs, 1, ADD),
	VEC_BOTH(PADDW, pairs, 2, ADD),
	VEC_BOTH(PADDD, pairs, 4, ADD),
	VEC_BOTH(PADDQ, pairs, 8, ADD),
	VEC_BOTH(PADDSB, pairs, 1, ADD | SIGNED | SATURATE),
	VEC_BOTH(PADDSW, pairs, 2, ADD | SIGNED | SATURATE),
	VEC_BOTH(PADDUSB, pairs, 1, ADD | SATURATE),
	VEC_BOTH(PADDUSW, pairs, 2, ADD | SATURATE),
	VEC_BOTH(PSUBB, pairs, 1, SUB),
	VEC_BOTH(PSUBW, pairs, 2, SUB),
	VEC_BOTH(PSUBD, pairs, 4, SUB),
	VEC_BOTH(PSUBQ, pairs, 8, SUB),
	VEC_BOTH(PSUBSB, pairs, 1, SUB | SIGNED | SATURATE),
	VEC_BOTH(PSUBSW, pairs, 2, SUB | SIGNED | SATURATE),
	VEC_BOTH(PSUBUSB, pairs, 1, SUB | SATURATE),
	VEC_BOTH(PSUBUSW, pairs, 2, SUB | SATURATE),
	VEC_BOTH(PCMPEQB, pairs, 1, EQUAL),
	VEC_BOTH(PCMPEQW, pairs, 2, EQUAL),
	VEC_BOTH(PCMPEQD, pairs, 4, EQUAL),
	VEC_BOTH(PCMPEQQ, pairs, 8, EQUAL),
	VEC_BOTH(PCMPGTB, pairs, 1, GREATER | SIGNED),
	VEC_BOTH(PCMPGTW, pairs, 2, GREATER | SIGNED),
	VEC_BOTH(PCMPGTD, pairs, 4, GREATER | SIGNED),
	VEC_BOTH(PCMPGTQ, pairs, 8, GREATER | SIGNED),
	VEC_BOTH(PMINUB, pairs, 1, MIN),
	VEC_BOTH(PMINUW, pairs, 2, MIN),
	VEC_BOTH(PMINUD, pairs, 4, MIN),
	VEC_BOTH(PMINSB, pairs, 1, MIN | SIGNED),
	VEC_BOTH(PMINSW, pairs, 2, MIN | SIGNED),
	VEC_BOTH(PMINSD, pairs, 4, MIN | SIGNED),
	VEC_BOTH(PMAXUB, pairs, 1, MAX),
	VEC_BOTH(PMAXUW, pairs, 2, MAX),
	VEC_BOTH(PMAXUD, pairs, 4, MAX),
	VEC_BOTH(PMAXSB, pairs, 1, MAX | SIGNED),
	VEC_BOTH(PMAXSW, pairs, 2, MAX | SIGNED),
	VEC_BOTH(PMAXSD, pairs, 4, MAX | SIGNED),
	VEC_BOTH(PAVGB, pairs, 1, AVERAGE),
	VEC_BOTH(PAVGW, pairs, 2, AVERAGE),
	VEC_BOTH(PABSB, absolute, 1, SIGNED),
	VEC_BOTH(PABSW, absolute, 2, SIGNED),
	VEC_BOTH(PABSD, absolute, 4, SIGNED),
	VEC_BOTH(PSIGNB, pairs, 1, SIGN | SIGNED),
	VEC_BOTH(PSIGNW, pairs, 2, SIGN | SIGNED),
	VEC_BOTH(PSIGND, pairs, 4, SIGN | SIGNED),
	VEC_BOTH(PHADDW, neighbours, 2, ADD),
	VEC_BOTH(PHADDD, neighbours, 4, ADD),
	VEC_BOTH(PHADDSW, neighbours, 2, ADD | SIGNED | SATURATE),
	VEC_BOTH(PHSUBW, neighbours, 2, SUB),
	VEC_BOTH(PHSUBD, neighbours, 4, SUB),
	VEC_BOTH(PHSUBSW, neighbours, 2, SUB | SIGNED | SATURATE),
	VEC_BOTH(PMULLW, pairs, 2, MULTIPLY | SIGNED),
	VEC_BOTH(PMULLD, pairs, 4, MULTIPLY | SIGNED),
	VEC_BOTH(PMULHW, pairs, 2, MULTIPLY_HIGH | SIGNED),
	VEC_BOTH(PMULHUW, pairs, 2, MULTIPLY_HIGH),
	VEC_BOTH(PMULHRSW, pairs, 2, MULTIPLY_ROUND | SIGNED),
	VEC_BOTH(PMULUDQ, multiply_wide, 8, 0),
	VEC_BOTH(PMULDQ, multiply_wide, 8, SIGNED),
	VEC_BOTH(PMADDWD, multiply_add_words),
	VEC_BOTH(PMADDUBSW, multiply_add_bytes),
	VEC_BOTH(PSADBW, psadbw),
	VEC_BOTH(MPSADBW, mpsadbw),
	VEC_BOTH(PHMINPOSUW, phminposuw),
	VEC_BOTH(PAND, logic, 0, AND),
	VEC_BOTH(PANDN, logic, 0, AND_NOT),
	VEC_BOTH(POR, logic, 0, OR),
	VEC_BOTH(PXOR, logic, 0, XOR),
	VEC_BOTH(ANDPS, logic, 0, AND),
	VEC_BOTH(ANDPD, logic, 0, AND),
	VEC_BOTH(ANDNPS, logic, 0, AND_NOT),
	VEC_BOTH(ANDNPD, logic, 0, AND_NOT),
	VEC_BOTH(ORPS, logic, 0, OR),
	VEC_BOTH(ORPD, logic, 0, OR),
	VEC_BOTH(XORPS, logic, 0, XOR),
	VEC_BOTH(XORPD, logic, 0, XOR),
	VEC_BOTH(PTEST, test),
	{INSN_VTESTPS, test, 4, 0},
	{INSN_VTESTPD, test, 8, 0},
	{0},
};
