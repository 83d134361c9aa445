/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Binary floating point in integers (IEEE 754-2019; SDM vol. 1, 4.8, 8.5, 11.5): a number is taken apart, computed exactly
 * or with a sticky last bit, and rounded once, to any of the processor's formats. What SSE and the x87 do differently
 * (NaNs, denormal operands, what an unmasked exception leaves) is in floats.c, sse*.c and x87*.c, which call this.
 */
#pragma once
#include "../types.h"

enum real_class { REAL_ZERO, REAL_FINITE, REAL_INFINITE, REAL_QUIET, REAL_SIGNALLING, REAL_UNSUPPORTED /* 80 bits only */ };

/*
 * Finite: (-1)^sign * sig * 2^(exp - 127), with the top bit of sig set. An operand has at most 64 bits; a result that has not
 * been rounded may have all of them, the last one standing for any that are lost. NaN: the payload, as a significand.
 */
struct real {
	u8 class; /* enum real_class */
	bool sign;
	bool denormal; /* unpacked from a denormal */
	s32 exp;
	unsigned __int128 sig;
};

struct float_format {
	u8 precision; /* bits of the significand, with the first: 11, 24, 53, 64 */
	u8 exponent;  /* bits of the biased exponent */
	s16 max;      /* largest exponent of a finite number; the smallest of a normal one is 1 - max */
};
extern const struct float_format float16, float32, float64, float80;
/* x87 precision control: fewer bits, with all of float80's range */
extern const struct float_format float80_single, float80_double;

enum { ROUND_NEAREST, ROUND_DOWN, ROUND_UP, ROUND_ZERO }; /* as MXCSR.RC and FCW.RC have them */

struct float_env {
	u8 rounding;
	u8 unmasked;	 /* FP_*: overflow and underflow, when not masked, are found and delivered differently */
	u8 raised;	 /* FP_*: of the operations so far */
	bool flush;	 /* a tiny result, even an exact one, becomes zero: underflow and inexact (masked underflow only) */
	bool rounded_up; /* real_round(): the result's magnitude is above the exact one (x87 C1) */
};

struct real real_unpack(u64 bits, const struct float_format *f); /* 16, 32, 64 bits */
u64 real_pack(const struct real *x, const struct float_format *f);
struct real real_unpack80(u64 sig, u16 sign_exp);
void real_pack80(const struct real *x, u64 *ret_sig, u16 *ret_sign_exp);
struct real real_from_int(s64 v);

static inline bool real_is_nan(const struct real *x)
{
	return x->class >= REAL_QUIET;
}

/* A NaN, made quiet: it keeps its sign and payload. */
struct real real_quiet(const struct real *x);
/* The default NaN ("real indefinite") */
struct real real_default(void);

/*
 * Operands are no NaNs. A result that is not defined (infinity minus infinity, 0/0, root of a negative number...) raises
 * FP_INVALID and is REAL_QUIET, the default NaN; a finite number over zero raises FP_ZERO and is an infinity. Not rounded.
 * A fused multiply-add is real_add(real_mul(a, b), c).
 */
struct real real_add(struct float_env *e, const struct real *a, const struct real *b);
struct real real_mul(struct float_env *e, const struct real *a, const struct real *b);
struct real real_div(struct float_env *e, const struct real *a, const struct real *b);
struct real real_sqrt(struct float_env *e, const struct real *a);

/*
 * Rounds to what the format can hold: raises FP_OVERFLOW, FP_UNDERFLOW, FP_INEXACT. An underflow that is masked is raised only
 * with an inexact result, and one that is not when the result is tiny (after rounding). With overflow or underflow unmasked
 * the result keeps an exponent outside of the format's range.
 */
struct real real_round(struct float_env *e, const struct real *x, const struct float_format *f);

/* To an integral value in floating point; FP_INEXACT if that is another one. */
struct real real_round_integral(struct float_env *e, const struct real *x, unsigned rounding);
/* To a signed integer of `bits` (16, 32, 64); what does not fit, and NaN, raises FP_INVALID and gives the indefinite integer. */
s64 real_to_int(struct float_env *e, const struct real *x, unsigned rounding, unsigned bits);

/* -1, 0, 1; no NaNs. */
int real_compare(const struct real *a, const struct real *b);
