/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shifts of MMX, SSE and AVX (SDM vol. 2). Unlike those of general registers they do not cut the count: what is too far is
 * all shifted out. Reached through the table at the end.
 */
#include "vec.h"

enum { LEFT, RIGHT, RIGHT_SIGNED };

static void shift_element(struct vec_insn *v, unsigned n, u64 count)
{
	unsigned bits = 8u * v->size;
	bool out = count >= bits;
	u64 e = element(&v->s[0], n, v->size);

	if (v->arg == RIGHT_SIGNED)
		e = (u64)(signed_element(&v->s[0], n, v->size) >> (out ? bits - 1 : count));
	else if (out)
		e = 0;
	else
		e = v->arg == LEFT ? e << count : e >> count;
	set_element(&v->r, n, v->size, e);
}

/* By an immediate, or the low 64 bits of the second source. */
static void shift(struct vec_insn *v)
{
	u64 count = v->i->imm_size ? v->imm : v->s[1].q[0];

	for (unsigned n = 0; n < v->bytes / v->size; n++)
		shift_element(v, n, count);
}

static void shift_each(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / v->size; n++)
		shift_element(v, n, element(&v->s[1], n, v->size));
}

/* By bytes, within each 16. */
static void shift_lane(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes; n++) {
		unsigned from = v->arg == LEFT ? n % 16 - v->imm : n % 16 + v->imm;

		v->r.b[n] = from < 16 ? v->s[0].b[n / 16 * 16 + from] : 0;
	}
}

const struct vec_op vec_shifts[] = {
	VEC_BOTH(PSLLW, shift, 2, LEFT),
	VEC_BOTH(PSLLD, shift, 4, LEFT),
	VEC_BOTH(PSLLQ, shift, 8, LEFT),
	VEC_BOTH(PSRLW, shift, 2, RIGHT),
	VEC_BOTH(PSRLD, shift, 4, RIGHT),
	VEC_BOTH(PSRLQ, shift, 8, RIGHT),
	VEC_BOTH(PSRAW, shift, 2, RIGHT_SIGNED),
	VEC_BOTH(PSRAD, shift, 4, RIGHT_SIGNED),
	VEC_BOTH(PSLLDQ, shift_lane, 1, LEFT),
	VEC_BOTH(PSRLDQ, shift_lane, 1, RIGHT),
	{INSN_VPSLLVD, shift_each, 4, LEFT},
	{INSN_VPSLLVQ, shift_each, 8, LEFT},
	{INSN_VPSRLVD, shift_each, 4, RIGHT},
	{INSN_VPSRLVQ, shift_each, 8, RIGHT},
	{INSN_VPSRAVD, shift_each, 4, RIGHT_SIGNED},
	{0},
};
