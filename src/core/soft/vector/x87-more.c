/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87 instructions that take a number apart or divide exactly: sign, exponent, integral part, remainder (SDM vol. 1, 8.3.5).
 * Called by x87.c through the table at the end.
 */
#include "x87.h"

typedef unsigned __int128 u128;

enum { CHANGE_SIGN, CLEAR_SIGN };

static bool fchs(struct x87 *x)
{
	struct f80 *v = x87_reg(x, 0);

	if (x87_is_empty(x, 0))
		return x87_underflow_to(x, 0);
	v->sign_exp = (u16)(x->arg == CHANGE_SIGN ? v->sign_exp ^ 0x8000 : v->sign_exp & 0x7fff);
	return true;
}

static bool frndint(struct x87 *x)
{
	struct float_env e = x87_float_env(x);
	struct real a = x87_st(x, 0), r = a;

	if (x87_is_empty(x, 0))
		return x87_underflow_to(x, 0);
	if (!x87_nan(&e, &a, NULL, &r)) {
		if (a.denormal && x87_raise(x, FP_DENORMAL))
			return false;
		r = real_round_integral(&e, &a, e.rounding);
	}
	if (x87_raise(x, e.raised) && (e.raised & FP_INVALID))
		return false;
	if (e.rounded_up)
		x->fsw |= FSW_C1;
	x87_set(x, 0, f80_pack(&r));
	return true;
}

/* ---- FSCALE, FXTRACT ---- */

/* Integral part, not more than what takes any number out of range. */
static s32 scale(const struct real *b)
{
	s32 n;

	if (b->class == REAL_ZERO || b->exp < 0)
		return 0;
	n = b->exp > 16 ? 0x1ffff : (s32)(b->sig >> (127 - b->exp));
	return b->sign ? -n : n;
}

static struct real scaled(struct float_env *e, const struct real *a, const struct real *b)
{
	struct real r = *a;

	if (b->class != REAL_INFINITE) {
		if (a->class == REAL_FINITE)
			r.exp += scale(b);
	} else if (a->class == (b->sign ? REAL_INFINITE : REAL_ZERO)) {
		e->raised |= FP_INVALID;
		return real_default();
	} else {
		r.class = b->sign ? REAL_ZERO : REAL_INFINITE;
	}
	if (a->denormal || b->denormal)
		e->raised |= FP_DENORMAL;
	return r;
}

static bool fscale(struct x87 *x)
{
	struct float_env e = x87_float_env(x);
	struct real a = x87_st(x, 0), b = x87_st(x, 1), r;

	if (x87_is_empty(x, 0) || x87_is_empty(x, 1))
		return x87_underflow_to(x, 0);
	if (!x87_nan(&e, &a, &b, &r))
		r = scaled(&e, &a, &b);
	if (x87_raise(x, e.raised))
		return false;
	x87_set(x, 0, x87_round(x, &r, &float80));
	return true;
}

/* ST(0) becomes the exponent, and the significand is pushed. */
static void extract(struct float_env *e, const struct real *a, struct real *ret_exp, struct real *ret_sig)
{
	*ret_exp = *ret_sig = *a;
	switch (a->class) {
	case REAL_ZERO:
		e->raised |= FP_ZERO;
		*ret_exp = (struct real){.class = REAL_INFINITE, .sign = true};
		break;
	case REAL_INFINITE:
		ret_exp->sign = false;
		break;
	default:
		*ret_exp = real_from_int(a->exp);
		ret_sig->exp = 0;
		if (a->denormal)
			e->raised |= FP_DENORMAL;
	}
}

static bool fxtract(struct x87 *x)
{
	struct float_env e = {0};
	struct real a = x87_st(x, 0), exp, sig;
	bool empty = x87_is_empty(x, 0), full = !x87_is_empty(x, 7);

	if (empty || full) {
		if (empty ? x87_underflow(x) : x87_overflow(x))
			return false;
		exp = sig = real_default();
	} else if (x87_nan(&e, &a, NULL, &exp)) {
		sig = exp;
	} else {
		extract(&e, &a, &exp, &sig);
	}
	if (x87_raise(x, e.raised))
		return false;
	x87_set(x, 0, f80_pack(&exp));
	x87_push(x, f80_pack(&sig));
	return true;
}

/* ---- FPREM, FPREM1 ---- */

/* v * 2^exp, not rounded */
static struct real real_from_u128(bool sign, u128 v, s32 exp)
{
	struct real r = {.class = REAL_FINITE, .sign = sign, .exp = exp + 127, .sig = v};

	if (!v)
		return (struct real){.class = REAL_ZERO, .sign = sign};
	for (; !(r.sig >> 127); r.exp--)
		r.sig <<= 1;
	return r;
}

/*
 * The remainder of two finite numbers, and the quotient. By steps as the processor does: when the exponents differ by 64 and
 * more, only the highest bits of the quotient are subtracted, and *ret_partial says so. FPREM1's quotient is the nearest.
 */
static struct real divide(const struct real *a, const struct real *b, bool nearest, u64 *ret_quotient, bool *ret_partial)
{
	u128 rest = a->sig >> 63, divisor = b->sig >> 63; /* twice the significand: room for half of the divisor */
	s32 diff = a->exp - b->exp, bits = diff < 64 ? diff : 32 + (diff & 31);
	bool sign = a->sign;
	u64 quotient = 0;

	*ret_partial = bits != diff;
	*ret_quotient = 0;
	if (diff < (nearest ? -1 : 0))
		return *a;
	if (diff < 0)
		rest >>= 1;
	for (s32 n = bits; n >= 0; n--) {
		quotient <<= 1;
		if (rest >= divisor) {
			rest -= divisor;
			quotient |= 1;
		}
		if (n)
			rest <<= 1;
	}
	if (nearest && !*ret_partial && (2 * rest > divisor || (2 * rest == divisor && (quotient & 1)))) {
		rest = divisor - rest;
		sign = !sign;
		quotient++;
	}
	*ret_quotient = quotient;
	return real_from_u128(rest ? sign : a->sign, rest, b->exp - 64 + diff - (diff < 0 ? diff : bits));
}

static unsigned quotient_codes(u64 quotient, bool partial)
{
	if (partial)
		return FSW_C2;
	return (quotient & 4 ? FSW_C0 : 0) | (quotient & 2 ? FSW_C3 : 0) | (quotient & 1 ? FSW_C1 : 0);
}

static bool fprem(struct x87 *x)
{
	struct float_env e = x87_float_env(x);
	struct real a = x87_st(x, 0), b = x87_st(x, 1), r = a;
	bool partial = false;
	u64 quotient = 0;

	x->fsw &= (u16)~FSW_C2;
	if (x87_is_empty(x, 0) || x87_is_empty(x, 1))
		return x87_underflow_to(x, 0);
	if (!x87_nan(&e, &a, &b, &r)) {
		if (a.class == REAL_INFINITE || b.class == REAL_ZERO) {
			e.raised = FP_INVALID;
			r = real_default();
		} else {
			e.raised = a.denormal || b.denormal ? FP_DENORMAL : 0;
			if (a.class == REAL_FINITE && b.class == REAL_FINITE)
				r = divide(&a, &b, x->arg, &quotient, &partial);
		}
	}
	if (x87_raise(x, e.raised))
		return false;
	if (r.class < REAL_INFINITE)
		x->fsw = (u16)((x->fsw & ~(FSW_CODES | FSW_C1)) | quotient_codes(quotient, partial));
	x87_set(x, 0, x87_round(x, &r, &float80));
	return true;
}

const struct x87_op x87_more[] = {
	{INSN_FCHS, fchs, CHANGE_SIGN}, {INSN_FABS, fchs, CLEAR_SIGN}, {INSN_FRNDINT, frndint},
	{INSN_FSCALE, fscale},	   {INSN_FXTRACT, fxtract},	     {INSN_FPREM, fprem, false},
	{INSN_FPREM1, fprem, true},
	{0},
};
