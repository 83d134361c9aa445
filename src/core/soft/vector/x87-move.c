/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87 loads, stores, conversions and exchanges (SDM vol. 1, 8.3.1 to 8.3.4). Called by x87.c through the table at the end.
 */
#include "x87.h"

static bool push(struct x87 *x, struct f80 v)
{
	if (!x87_is_empty(x, 7)) {
		if (x87_overflow(x))
			return false;
		v = f80_indefinite();
	}
	x87_push(x, v);
	return true;
}

/*
 * Floating point in memory becomes 80 bits, which may find a signalling NaN or a denormal: the latter is pushed even when that
 * is not masked. Numbers of 80 bits are not looked at.
 */
static bool fld_mem(struct x87 *x)
{
	struct float_env e = {0};
	struct real a, r;

	if (x->i->mem_size == 10 || !x87_is_empty(x, 7))
		return push(x, x->mem.f);
	a = r = x87_memory_real(x);
	if (!x87_nan(&e, &a, NULL, &r) && a.denormal)
		e.raised = FP_DENORMAL;
	if (x87_raise(x, e.raised) && (e.raised & FP_INVALID))
		return false;
	x87_push(x, f80_pack(&r));
	return true;
}

static bool fld(struct x87 *x)
{
	unsigned sti = x->i->rm & 7u;

	if (x->i->mem)
		return fld_mem(x);
	if (!x87_is_empty(x, sti))
		return push(x, *x87_reg(x, sti));
	if (x87_underflow(x))
		return false;
	x87_push(x, f80_indefinite());
	return true;
}

static bool fild(struct x87 *x)
{
	struct real a = x87_memory_int(x);

	return push(x, f80_pack(&a));
}

/* The last bit is as the rounding control has it. */
static bool fld_constant(struct x87 *x)
{
	static const struct {
		struct f80 down;
		bool up, inexact; /* nearest is the next number */
	} constant[] = {
		{{0x8000000000000000, 0x3fff}, false, false}, /* 1 */
		{{0xd49a784bcd1b8afe, 0x4000}, false, true},  /* log2 10 */
		{{0xb8aa3b295c17f0bb, 0x3fff}, true, true},   /* log2 e */
		{{0xc90fdaa22168c234, 0x4000}, true, true},   /* pi */
		{{0x9a209a84fbcff798, 0x3ffd}, true, true},   /* log10 2 */
		{{0xb17217f7d1cf79ab, 0x3ffe}, true, true},   /* ln 2 */
		{{0, 0}, false, false},
	};
	unsigned rounding = x->fcw >> FCW_ROUND_SHIFT & 3;
	struct f80 v = constant[x->arg].down;

	v.sig += constant[x->arg].inexact && (rounding == ROUND_UP || (rounding == ROUND_NEAREST && constant[x->arg].up));
	return push(x, v);
}

/* ---- stores ---- */

static void store_indefinite(struct x87 *x)
{
	switch (x->i->mem_size) {
	case 4:
		x->mem.d = 0xffc00000;
		break;
	case 8:
		x->mem.q = 0xfff8000000000000;
		break;
	default:
		x->mem.f = f80_indefinite();
	}
}

/* An overflow or underflow that is not masked stores nothing, an inexact result is stored. */
static bool store_float(struct x87 *x, const struct float_format *f, u64 *ret_bits)
{
	struct float_env e = x87_float_env(x);
	struct real a = x87_st(x, 0), r = a;

	if (!x87_nan(&e, &a, NULL, &r) && a.class == REAL_FINITE)
		r = real_round(&e, &a, f);
	if (e.raised & e.unmasked & ~FP_INEXACT) {
		x87_raise(x, e.raised & ~FP_INEXACT);
		return false;
	}
	x87_raise(x, e.raised);
	if (e.rounded_up)
		x->fsw |= FSW_C1;
	*ret_bits = real_pack(&r, f);
	return true;
}

/* D9 /3 with a register: an empty one is popped, and that is all. */
#define FSTP_UNCHECKED 0xd9

static bool fst_reg(struct x87 *x)
{
	struct f80 v = *x87_reg(x, 0);

	if (x87_is_empty(x, 0)) {
		if (x->i->opcode == FSTP_UNCHECKED)
			return true;
		if (x87_underflow(x))
			return false;
		v = f80_indefinite();
	}
	x87_set(x, x->i->rm & 7u, v);
	return true;
}

static bool fst(struct x87 *x)
{
	u64 bits;

	if (!x->i->mem)
		return fst_reg(x);
	if (x87_is_empty(x, 0)) {
		if (x87_underflow(x))
			return false;
		store_indefinite(x);
		return true;
	}
	if (x->i->mem_size == 10) {
		x->mem.f = *x87_reg(x, 0);
		return true;
	}
	if (!store_float(x, x->i->mem_size == 4 ? &float32 : &float64, &bits))
		return false;
	x->mem.q = bits;
	return true;
}

enum { TRUNCATE = 1 };

static bool fist(struct x87 *x)
{
	unsigned rounding = x->arg & TRUNCATE ? ROUND_ZERO : x->fcw >> FCW_ROUND_SHIFT & 3u, bits = x->i->mem_size * 8u;
	struct float_env e = {0};
	struct real a;

	x->mem.q = 1ull << (bits - 1);
	if (x87_is_empty(x, 0))
		return !x87_underflow(x);
	a = x87_st(x, 0);
	x->mem.q = (u64)real_to_int(&e, &a, rounding, bits);
	if (e.raised & FP_INVALID)
		return !x87_raise(x, FP_INVALID);
	x87_raise(x, e.raised);
	if (e.rounded_up)
		x->fsw |= FSW_C1;
	return true;
}

/* ---- between registers ---- */

static bool fxch(struct x87 *x)
{
	unsigned sti = x->i->rm & 7u;
	struct f80 a;

	if (x87_is_empty(x, 0) || x87_is_empty(x, sti)) {
		if (x87_underflow(x))
			return false;
		if (x87_is_empty(x, 0))
			x87_set(x, 0, f80_indefinite());
		if (x87_is_empty(x, sti))
			x87_set(x, sti, f80_indefinite());
	}
	a = *x87_reg(x, 0);
	x87_set(x, 0, *x87_reg(x, sti));
	x87_set(x, sti, a);
	return true;
}

/* An empty register is found whether the condition holds or not. */
static bool fcmov(struct x87 *x)
{
	unsigned sti = x->i->rm & 7u;

	if (x87_is_empty(x, 0) || x87_is_empty(x, sti))
		return x87_underflow_to(x, 0);
	if (cond_true(x->flags, x->arg))
		x87_set(x, 0, *x87_reg(x, sti));
	return true;
}

static bool fincstp(struct x87 *x)
{
	x->top = (x->top + x->arg) & 7;
	return true;
}

const struct x87_op x87_moves[] = {
	{INSN_FLD, fld},
	{INSN_FILD, fild},
	{INSN_FST, fst},
	{INSN_FSTP, fst, 0, 1},
	{INSN_FIST, fist},
	{INSN_FISTP, fist, 0, 1},
	{INSN_FISTTP, fist, TRUNCATE, 1},
	{INSN_FLD1, fld_constant, 0},
	{INSN_FLDL2T, fld_constant, 1},
	{INSN_FLDL2E, fld_constant, 2},
	{INSN_FLDPI, fld_constant, 3},
	{INSN_FLDLG2, fld_constant, 4},
	{INSN_FLDLN2, fld_constant, 5},
	{INSN_FLDZ, fld_constant, 6},
	{INSN_FXCH, fxch},
	{INSN_FINCSTP, fincstp, 1},
	{INSN_FDECSTP, fincstp, 7},
	{INSN_FCMOVB, fcmov, 2, 0, true},
	{INSN_FCMOVNB, fcmov, 3, 0, true},
	{INSN_FCMOVE, fcmov, 4, 0, true},
	{INSN_FCMOVNE, fcmov, 5, 0, true},
	{INSN_FCMOVBE, fcmov, 6, 0, true},
	{INSN_FCMOVNBE, fcmov, 7, 0, true},
	{INSN_FCMOVU, fcmov, 10, 0, true},
	{INSN_FCMOVNU, fcmov, 11, 0, true},
	{0},
};
