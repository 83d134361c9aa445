/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Instructions that only rearrange elements: shuffles, unpacks, packs, blends, permutes (SDM vol. 2). Most of them work on
 * each 16 bytes (a lane; with MMX, 8) alone. Reached through the table at the end.
 */
#include <string.h>
#include "vec.h"

static unsigned lane_bytes(const struct vec_insn *v)
{
	return v->bytes == 8 ? 8 : 16;
}

/* Element n of the result is element `from` of an operand. */
static void take(struct vec_insn *v, unsigned n, const union vec *s, unsigned from)
{
	set_element(&v->r, n, v->size, element(s, from, v->size));
}

/* The low or (arg 1) the high halves of both operands' lanes, by turns. */
static void unpack(struct vec_insn *v)
{
	unsigned lane = lane_bytes(v) / v->size;

	for (unsigned n = 0; n < v->bytes / v->size; n++) {
		unsigned in = n % lane;

		take(v, n, &v->s[in & 1], n - in + v->arg * lane / 2 + in / 2);
	}
}

/* Signed elements of `size` bytes to half of that, with saturation to signed or (arg 1) unsigned ones. */
static void pack(struct vec_insn *v)
{
	unsigned half = v->size / 2, lane = lane_bytes(v) / half, bits = 8 * half;
	s64 max = v->arg ? (1ll << bits) - 1 : (1ll << (bits - 1)) - 1, min = v->arg ? 0 : -max - 1;

	for (unsigned n = 0; n < v->bytes / half; n++) {
		unsigned in = n % lane, from = (n - in) / 2 + in % (lane / 2);
		s64 e = sign_extend(element(&v->s[in >= lane / 2], from, v->size), v->size);

		set_element(&v->r, n, half, (u64)(e > max ? max : e < min ? min : e));
	}
}

static void pshufb(struct vec_insn *v)
{
	unsigned lane = lane_bytes(v);

	for (unsigned n = 0; n < v->bytes; n++) {
		unsigned from = v->s[1].b[n];

		v->r.b[n] = from & 0x80 ? 0 : v->s[0].b[(n & ~(lane - 1)) | (from & (lane - 1))];
	}
}

static void palignr(struct vec_insn *v)
{
	unsigned lane = lane_bytes(v);

	for (unsigned n = 0; n < v->bytes; n++) {
		unsigned in = n % lane + v->imm, base = n - n % lane;

		v->r.b[n] = in < lane ? v->s[1].b[base + in] : in < 2 * lane ? v->s[0].b[base + in - lane] : 0;
	}
}

/* ---- chosen by an immediate ---- */

static unsigned two_bits(const struct vec_insn *v, unsigned n)
{
	return v->imm >> 2 * (n & 3) & 3;
}

/* Of each four elements. */
static void shuffle_4(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / v->size; n++)
		take(v, n, &v->s[0], (n & ~3u) | two_bits(v, n));
}

/* The same in a low or high half of each lane, arg being the other one's first element: that half stays as it is. */
static void shuffle_half(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / v->size; n++)
		take(v, n, &v->s[0], (n & 4) == v->arg ? n : (n & ~3u) | two_bits(v, n));
}

static void shufps(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / 4; n++)
		take(v, n, &v->s[n >> 1 & 1], (n & ~3u) | two_bits(v, n));
}

static void shufpd(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / 8; n++)
		take(v, n, &v->s[n & 1], (n & ~1u) | (v->imm >> n & 1));
}

static void blend(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / v->size; n++)
		take(v, n, &v->s[v->imm >> (n & 7) & 1], n);
}

static void vperm2x128(struct vec_insn *v)
{
	for (unsigned n = 0; n < 2; n++) {
		unsigned from = v->imm >> 4 * n;

		if (!(from & 8))
			memcpy(&v->r.q[2 * n], &v->s[from >> 1 & 1].q[2 * (from & 1)], 16);
	}
}

/* ---- chosen by a register ---- */

/* The legacy form has XMM0 as its mask. */
static void blendv(struct vec_insn *v)
{
	if (v->i->d->attr & ATTR_SSE)
		vec_get(0, &v->s[2]);
	for (unsigned n = 0; n < v->bytes / v->size; n++)
		take(v, n, &v->s[top_bit(element(&v->s[2], n, v->size), v->size)], n);
}

/* These two have forms with an immediate, too. */
static void vpermilps(struct vec_insn *v)
{
	if (v->i->imm_size) {
		shuffle_4(v);
		return;
	}
	for (unsigned n = 0; n < v->bytes / 4; n++)
		take(v, n, &v->s[0], (n & ~3u) | (v->s[1].d[n] & 3));
}

static void vpermilpd(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / 8; n++)
		take(v, n, &v->s[0], (n & ~1u) | (v->i->imm_size ? v->imm >> n & 1u : v->s[1].b[8 * n] >> 1 & 1u));
}

static void vpermd(struct vec_insn *v)
{
	for (unsigned n = 0; n < 8; n++)
		take(v, n, &v->s[1], v->s[0].d[n] & 7);
}

const struct vec_op vec_shuffles[] = {
	VEC_BOTH(PUNPCKLBW, unpack, 1, 0),
	VEC_BOTH(PUNPCKLWD, unpack, 2, 0),
	VEC_BOTH(PUNPCKLDQ, unpack, 4, 0),
	VEC_BOTH(PUNPCKLQDQ, unpack, 8, 0),
	VEC_BOTH(UNPCKLPS, unpack, 4, 0),
	VEC_BOTH(UNPCKLPD, unpack, 8, 0),
	VEC_BOTH(PUNPCKHBW, unpack, 1, 1),
	VEC_BOTH(PUNPCKHWD, unpack, 2, 1),
	VEC_BOTH(PUNPCKHDQ, unpack, 4, 1),
	VEC_BOTH(PUNPCKHQDQ, unpack, 8, 1),
	VEC_BOTH(UNPCKHPS, unpack, 4, 1),
	VEC_BOTH(UNPCKHPD, unpack, 8, 1),
	VEC_BOTH(PACKSSWB, pack, 2, 0),
	VEC_BOTH(PACKSSDW, pack, 4, 0),
	VEC_BOTH(PACKUSWB, pack, 2, 1),
	VEC_BOTH(PACKUSDW, pack, 4, 1),
	VEC_BOTH(PSHUFB, pshufb),
	VEC_BOTH(PALIGNR, palignr),
	{INSN_PSHUFW, shuffle_4, 2},
	VEC_BOTH(PSHUFD, shuffle_4, 4),
	{INSN_VPERMQ, shuffle_4, 8},
	{INSN_VPERMPD, shuffle_4, 8},
	VEC_BOTH(PSHUFLW, shuffle_half, 2, 4),
	VEC_BOTH(PSHUFHW, shuffle_half, 2, 0),
	VEC_BOTH(SHUFPS, shufps, 4),
	VEC_BOTH(SHUFPD, shufpd, 8),
	VEC_BOTH(BLENDPS, blend, 4),
	VEC_BOTH(BLENDPD, blend, 8),
	VEC_BOTH(PBLENDW, blend, 2),
	{INSN_VPBLENDD, blend, 4},
	VEC_BOTH(PBLENDVB, blendv, 1),
	VEC_BOTH(BLENDVPS, blendv, 4),
	VEC_BOTH(BLENDVPD, blendv, 8),
	{INSN_VPERMILPS, vpermilps, 4},
	{INSN_VPERMILPD, vpermilpd, 8},
	{INSN_VPERMPS, vpermd, 4},
	{INSN_VPERMD, vpermd, 4},
	{INSN_VPERM2F128, vperm2x128},
	{INSN_VPERM2I128, vperm2x128},
	{0},
};
