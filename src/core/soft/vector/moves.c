/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moves between vector registers, general ones and memory, broadcasts, extensions, and sign masks (SDM vol. 2). An element's
 * size may depend on the instruction (VEX.L, REX.W): the table has it as enum opnd_size. Reached through the table at the end.
 */
#include <string.h>
#include "vec.h"

static bool stores(const struct vec_insn *v)
{
	return v->i->mem_acc & ACC_W;
}

static unsigned element_size(const struct vec_insn *v)
{
	return insn_size(v->i, v->size);
}

/* So many bytes, and zeros above them. */
static void move(struct vec_insn *v)
{
	v->r = (union vec){0};
	memcpy(&v->r, &v->s[0], element_size(v));
}

/* One element replaces that of number arg in 16 bytes of the first operand; a store has only the element. */
static void put_one(struct vec_insn *v, unsigned from)
{
	memcpy(&v->r, &v->s[0], 16);
	set_element(&v->r, v->arg, v->size, element(&v->s[1], from, v->size));
}

static void move_low(struct vec_insn *v)
{
	if (v->i->mem)
		move(v);
	else
		put_one(v, 0);
}

static void move_half(struct vec_insn *v)
{
	if (stores(v))
		v->r.q[0] = v->s[0].q[v->arg];
	else
		put_one(v, 0);
}

static void move_high_to_low(struct vec_insn *v)
{
	put_one(v, 1);
}

/* Which of the elements of this size an immediate means. */
static unsigned chosen(const struct vec_insn *v, unsigned size, unsigned bytes)
{
	return v->imm & (bytes / size - 1);
}

static void insert(struct vec_insn *v)
{
	unsigned size = element_size(v);

	memcpy(&v->r, &v->s[0], v->bytes);
	set_element(&v->r, chosen(v, size, v->bytes), size, v->s[1].q[0]);
}

static void extract(struct vec_insn *v)
{
	unsigned size = element_size(v);

	v->r.q[0] = element(&v->s[0], chosen(v, size, v->bytes), size);
}

static void insertps(struct vec_insn *v)
{
	memcpy(&v->r, &v->s[0], 16);
	v->r.d[v->imm >> 4 & 3] = v->s[1].d[v->i->mem ? 0 : v->imm >> 6];
	for (unsigned n = 0; n < 4; n++)
		if (v->imm >> n & 1)
			v->r.d[n] = 0;
}

static void insert_half(struct vec_insn *v)
{
	v->r = v->s[0];
	memcpy(&v->r.q[2 * (v->imm & 1)], &v->s[1], 16);
}

static void extract_half(struct vec_insn *v)
{
	memcpy(&v->r, &v->s[0].q[2 * (v->imm & 1)], 16);
}

static void broadcast(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes; n++)
		v->r.b[n] = v->s[0].b[n % v->size];
}

/* The even or (arg 1) the odd elements, twice. */
static void duplicate(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / v->size; n++)
		set_element(&v->r, n, v->size, element(&v->s[0], (n & ~1u) | v->arg, v->size));
}

static void sign_mask(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / v->size; n++)
		v->r.q[0] |= (u64)top_bit(element(&v->s[0], n, v->size), v->size) << n;
}

/* From elements of `size` to those of `arg` bytes. */
static void zero_extended(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / v->arg; n++)
		set_element(&v->r, n, v->arg, element(&v->s[0], n, v->size));
}

static void sign_extended(struct vec_insn *v)
{
	for (unsigned n = 0; n < v->bytes / v->arg; n++)
		set_element(&v->r, n, v->arg, (u64)sign_extend(element(&v->s[0], n, v->size), v->size));
}

static void stmxcsr(struct vec_insn *v)
{
	v->r.d[0] = v->mxcsr;
}

const struct vec_op vec_moves[] = {
	VEC_BOTH(MOVUPS, move, SZ_X),
	VEC_BOTH(MOVUPD, move, SZ_X),
	VEC_BOTH(MOVAPS, move, SZ_X),
	VEC_BOTH(MOVAPD, move, SZ_X),
	VEC_BOTH(MOVDQA, move, SZ_X),
	VEC_BOTH(MOVDQU, move, SZ_X),
	VEC_BOTH(LDDQU, move, SZ_X),
	VEC_BOTH(MOVNTDQA, move, SZ_X),
	VEC_BOTH(MOVNTPS, move, SZ_X),
	VEC_BOTH(MOVNTPD, move, SZ_X),
	VEC_BOTH(MOVNTDQ, move, SZ_X),
	VEC_BOTH(MOVD, move, SZ_Y),
	VEC_BOTH(MOVQ, move, 8),
	{INSN_MOVNTQ, move, 8},
	{INSN_MOVQ2DQ, move, 8},
	{INSN_MOVDQ2Q, move, 8},
	VEC_BOTH(MOVSS, move_low, 4),
	VEC_BOTH(MOVSD, move_low, 8),
	VEC_BOTH(MOVLPS, move_half, 8, 0),
	VEC_BOTH(MOVLPD, move_half, 8, 0),
	VEC_BOTH(MOVHPS, move_half, 8, 1),
	VEC_BOTH(MOVHPD, move_half, 8, 1),
	VEC_BOTH(MOVLHPS, move_half, 8, 1),
	VEC_BOTH(MOVHLPS, move_high_to_low, 8, 0),
	VEC_BOTH(MOVSLDUP, duplicate, 4, 0),
	VEC_BOTH(MOVSHDUP, duplicate, 4, 1),
	VEC_BOTH(MOVDDUP, duplicate, 8, 0),
	VEC_BOTH(MOVMSKPS, sign_mask, 4),
	VEC_BOTH(MOVMSKPD, sign_mask, 8),
	VEC_BOTH(PMOVMSKB, sign_mask, 1),
	VEC_BOTH(PMOVSXBW, sign_extended, 1, 2),
	VEC_BOTH(PMOVSXBD, sign_extended, 1, 4),
	VEC_BOTH(PMOVSXBQ, sign_extended, 1, 8),
	VEC_BOTH(PMOVSXWD, sign_extended, 2, 4),
	VEC_BOTH(PMOVSXWQ, sign_extended, 2, 8),
	VEC_BOTH(PMOVSXDQ, sign_extended, 4, 8),
	VEC_BOTH(PMOVZXBW, zero_extended, 1, 2),
	VEC_BOTH(PMOVZXBD, zero_extended, 1, 4),
	VEC_BOTH(PMOVZXBQ, zero_extended, 1, 8),
	VEC_BOTH(PMOVZXWD, zero_extended, 2, 4),
	VEC_BOTH(PMOVZXWQ, zero_extended, 2, 8),
	VEC_BOTH(PMOVZXDQ, zero_extended, 4, 8),
	VEC_BOTH(PEXTRB, extract, 1),
	VEC_BOTH(PEXTRW, extract, 2),
	VEC_BOTH(PEXTRD, extract, SZ_Y),
	VEC_BOTH(EXTRACTPS, extract, 4),
	VEC_BOTH(PINSRB, insert, 1),
	VEC_BOTH(PINSRW, insert, 2),
	VEC_BOTH(PINSRD, insert, SZ_Y),
	VEC_BOTH(INSERTPS, insertps),
	{INSN_VINSERTF128, insert_half},
	{INSN_VINSERTI128, insert_half},
	{INSN_VEXTRACTF128, extract_half},
	{INSN_VEXTRACTI128, extract_half},
	{INSN_VBROADCASTSS, broadcast, 4},
	{INSN_VBROADCASTSD, broadcast, 8},
	{INSN_VBROADCASTF128, broadcast, 16},
	{INSN_VBROADCASTI128, broadcast, 16},
	{INSN_VPBROADCASTB, broadcast, 1},
	{INSN_VPBROADCASTW, broadcast, 2},
	{INSN_VPBROADCASTD, broadcast, 4},
	{INSN_VPBROADCASTQ, broadcast, 8},
	VEC_BOTH(STMXCSR, stmxcsr),
	{0},
};
