/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PCMPESTRI and its fellows (SDM vol. 2, 4.1): two strings of at most 16 bytes or 8 words are compared, one bit for each
 * element of the second is the outcome. Reached through the table at the end.
 */
#include "vec.h"

/* vec_op.arg */
#define EXPLICIT 1u /* lengths are in RAX and RDX; otherwise a zero ends a string */
#define MASK	 2u /* the result is a mask in XMM0; otherwise an index in RCX */

/* The immediate */
#define IMM_WORDS      1u
#define IMM_SIGNED     2u
#define IMM_HOW(imm)   ((imm) >> 2 & 3u)
#define IMM_NEGATE     0x10u
#define IMM_VALID_ONLY 0x20u /* negates only what is in the second string */
#define IMM_LAST       0x40u
#define IMM_WIDE       0x40u

enum { EQUAL_ANY, RANGES, EQUAL_EACH, EQUAL_ORDERED };

struct strings {
	s32 a[16], b[16];
	unsigned a_len, b_len, max;
};

static void fetch(s32 *to, const union vec *v, unsigned max, bool is_signed)
{
	unsigned size = 16 / max;

	for (unsigned n = 0; n < max; n++)
		to[n] = is_signed ? (s32)signed_element(v, n, size) : (s32)element(v, n, size);
}

static unsigned implicit_length(const s32 *s, unsigned max)
{
	unsigned n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

/* A count below zero means its absolute value. */
static unsigned explicit_length(const struct insn *i, u64 reg, unsigned max)
{
	bool wide = i->mode == MODE_LONG64 && (i->vex ? i->vexw : i->rex & 8);
	s64 count = wide ? (s64)reg : (s64)(s32)reg;
	u64 length = count < 0 ? -(u64)count : (u64)count;

	return length < max ? (unsigned)length : max;
}

static bool is_any(const struct strings *s, unsigned at)
{
	for (unsigned n = 0; n < s->a_len; n++)
		if (s->a[n] == s->b[at])
			return true;
	return false;
}

static bool in_range(const struct strings *s, unsigned at)
{
	for (unsigned n = 0; n + 1 < s->a_len; n += 2)
		if (s->a[n] <= s->b[at] && s->b[at] <= s->a[n + 1])
			return true;
	return false;
}

/* Does the first string, or as much of it as there is room for, begin here? */
static bool begins(const struct strings *s, unsigned at)
{
	for (unsigned n = 0; n < s->a_len && at + n < s->max; n++)
		if (at + n >= s->b_len || s->a[n] != s->b[at + n])
			return false;
	return true;
}

static bool matches(const struct strings *s, unsigned how, unsigned at)
{
	bool valid = at < s->b_len;

	switch (how) {
	case EQUAL_ANY:
		return valid && is_any(s, at);
	case RANGES:
		return valid && in_range(s, at);
	case EQUAL_EACH:
		return valid && at < s->a_len ? s->a[at] == s->b[at] : !valid && at >= s->a_len;
	default:
		return begins(s, at);
	}
}

static u32 compare(const struct strings *s, u8 imm)
{
	u32 bits = 0;

	for (unsigned n = 0; n < s->max; n++)
		bits |= (u32)matches(s, IMM_HOW(imm), n) << n;
	if (imm & IMM_NEGATE)
		bits ^= (1u << (imm & IMM_VALID_ONLY ? s->b_len : s->max)) - 1;
	return bits;
}

static void put_mask(const struct vec_insn *v, u32 bits, unsigned max)
{
	union vec mask = {0};

	if (!(v->imm & IMM_WIDE))
		mask.d[0] = bits;
	else
		for (unsigned n = 0; n < max; n++)
			set_element(&mask, n, 16 / max, bits >> n & 1 ? ~0ull : 0);
	if (v->i->vex)
		vec_set(0, &mask);
	else
		vec_set_low(0, &mask);
}

static unsigned index_of(u32 bits, unsigned max, bool last)
{
	if (!bits)
		return max;
	return (unsigned)(last ? 31 - __builtin_clz(bits) : __builtin_ctz(bits));
}

static void compare_strings(struct vec_insn *v)
{
	struct strings s = {.max = v->imm & IMM_WORDS ? 8 : 16};
	u32 bits;

	fetch(s.a, &v->s[0], s.max, v->imm & IMM_SIGNED);
	fetch(s.b, &v->s[1], s.max, v->imm & IMM_SIGNED);
	if (v->arg & EXPLICIT) {
		s.a_len = explicit_length(v->i, v->rax, s.max);
		s.b_len = explicit_length(v->i, v->rdx, s.max);
	} else {
		s.a_len = implicit_length(s.a, s.max);
		s.b_len = implicit_length(s.b, s.max);
	}
	bits = compare(&s, v->imm);
	v->flags = (bits ? FL_CF : 0) | (s.b_len < s.max ? FL_ZF : 0) | (s.a_len < s.max ? FL_SF : 0) | (bits & 1 ? FL_OF : 0);
	if (v->arg & MASK)
		put_mask(v, bits, s.max);
	else
		v->rcx = index_of(bits, s.max, v->imm & IMM_LAST);
}

const struct vec_op vec_text[] = {
	VEC_BOTH(PCMPESTRM, compare_strings, 0, EXPLICIT | MASK),
	VEC_BOTH(PCMPESTRI, compare_strings, 0, EXPLICIT),
	VEC_BOTH(PCMPISTRM, compare_strings, 0, MASK),
	VEC_BOTH(PCMPISTRI, compare_strings, 0, 0),
	{0},
};
