/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Comparisons of SSE and AVX: MIN, MAX, CMP, COMIS (SDM vol. 2). Called through the table in floats.c.
 */
#include "sse.h"

/* How two numbers compare */
#define LESS	  1u
#define EQUAL	  2u
#define GREATER	  4u
#define UNORDERED 8u
#define SIGNALS	  16u /* of a predicate: a quiet NaN is invalid, too */

static unsigned relation(struct sse *s, const struct real *x, bool signals)
{
	int c;

	if (real_is_nan(&x[0]) || real_is_nan(&x[1])) {
		if (signals || x[0].class == REAL_SIGNALLING || x[1].class == REAL_SIGNALLING)
			s->env.raised |= FP_INVALID;
		return UNORDERED;
	}
	if (x[0].denormal || x[1].denormal)
		s->env.raised |= FP_DENORMAL;
	c = real_compare(&x[0], &x[1]);
	return c < 0 ? LESS : c > 0 ? GREATER : EQUAL;
}

/* The second operand unless the first is smaller (larger): so with two zeros and with a NaN, which stays as it is. */
void sse_minmax(struct vec_insn *v)
{
	unsigned count = sse_count(v), first = v->arg & 1 ? GREATER : LESS;
	struct sse s = sse_begin(v);

	for (unsigned n = 0; n < count; n++) {
		struct real x[2] = {sse_unpack(&s, element(&v->s[0], n, v->size), v->size),
				    sse_unpack(&s, element(&v->s[1], n, v->size), v->size)};
		unsigned k = relation(&s, x, true) == first ? 0 : 1;

		set_element(&v->r, n, v->size, real_pack(&x[k], sse_format(v->size)));
	}
	sse_end(v, &s);
}

/* The next 16 are the same with SIGNALS the other way. */
static const u8 predicates[16] = {
	EQUAL,
	LESS | SIGNALS,
	LESS | EQUAL | SIGNALS,
	UNORDERED,
	LESS | GREATER | UNORDERED,
	EQUAL | GREATER | UNORDERED | SIGNALS,
	GREATER | UNORDERED | SIGNALS,
	LESS | EQUAL | GREATER,
	EQUAL | UNORDERED,
	LESS | UNORDERED | SIGNALS,
	LESS | EQUAL | UNORDERED | SIGNALS,
	0,
	LESS | GREATER,
	EQUAL | GREATER | SIGNALS,
	GREATER | SIGNALS,
	LESS | EQUAL | GREATER | UNORDERED,
};

void sse_cmp(struct vec_insn *v)
{
	unsigned count = sse_count(v), imm = v->imm & (v->i->d->attr & ATTR_VEX ? 31 : 7);
	unsigned predicate = predicates[imm & 15] ^ (imm & 16 ? SIGNALS : 0);
	struct sse s = sse_begin(v);

	for (unsigned n = 0; n < count; n++) {
		struct real x[2] = {sse_unpack(&s, element(&v->s[0], n, v->size), v->size),
				    sse_unpack(&s, element(&v->s[1], n, v->size), v->size)};

		set_element(&v->r, n, v->size, relation(&s, x, predicate & SIGNALS) & predicate ? ~0ull : 0);
	}
	sse_end(v, &s);
}

void sse_comis(struct vec_insn *v)
{
	static const u8 flags[] = {[LESS] = FL_CF, [EQUAL] = FL_ZF, [GREATER] = 0, [UNORDERED] = FL_ZF | FL_PF | FL_CF};
	struct sse s = sse_begin(v);
	struct real x[2] = {sse_unpack(&s, element(&v->s[0], 0, v->size), v->size),
			    sse_unpack(&s, element(&v->s[1], 0, v->size), v->size)};

	v->flags = flags[relation(&s, x, v->arg)];
	sse_end(v, &s);
}
