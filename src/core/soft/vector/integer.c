/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Integer arithmetic of MMX, SSE and AVX, element by element (SDM vol. 2). Reached through the table at the end.
 */
#include "vec.h"

static void padd(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / v->size; n++)
		set_element(&v->r, n, v->size, element(&v->s[0], n, v->size) + element(&v->s[1], n, v->size));
}

static void psub(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / v->size; n++)
		set_element(&v->r, n, v->size, element(&v->s[0], n, v->size) - element(&v->s[1], n, v->size));
}

const struct vec_op vec_integer[INSN_COUNT] = {
	VEC_BOTH(PADDB, padd, 1), VEC_BOTH(PADDW, padd, 2), VEC_BOTH(PADDD, padd, 4), VEC_BOTH(PADDQ, padd, 8),
	VEC_BOTH(PSUBB, psub, 1), VEC_BOTH(PSUBW, psub, 2), VEC_BOTH(PSUBD, psub, 4), VEC_BOTH(PSUBQ, psub, 8),
};
