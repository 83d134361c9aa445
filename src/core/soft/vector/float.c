/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The arithmetic of float.h: operations give a significand of 128 bits whose last one is sticky, and one function rounds.
 * That is enough everywhere: what an operation loses is always far below the bit that rounding looks at, because numbers
 * that cancel have exponents so close that nothing is lost. Bit by bit where division is needed: it has to be right, and
 * the compiler's 128-bit division may use vector registers. Called by the instructions of SSE (sse*.c) and of the x87.
 */
#include "float.h"
#include "vec.h"

typedef unsigned __int128 u128;

#define TOP	  ((u128)1 << 127)
#define ROOT_BITS 67 /* of quotients and roots: more than any format's, and two for rounding */

const struct float_format float16 = {11, 5, 15}, float32 = {24, 8, 127}, float64 = {53, 11, 1023}, float80 = {64, 15, 16383};
const struct float_format float80_single = {24, 15, 16383}, float80_double = {53, 15, 16383};

static unsigned leading_zeros(u128 v)
{
	u64 high = (u64)(v >> 64);

	return high ? (unsigned)__builtin_clzll(high) : 64u + (unsigned)__builtin_clzll((u64)v);
}

static u128 shift_right_sticky(u128 v, unsigned n)
{
	if (n >= 128)
		return v != 0;
	return v >> n | ((v & (((u128)1 << n) - 1)) != 0);
}

static void normalize(struct real *x)
{
	unsigned n = leading_zeros(x->sig);

	x->sig <<= n;
	x->exp -= (s32)n;
}

/* ---- formats ---- */

struct real real_quiet(const struct real *x)
{
	struct real r = *x;

	r.class = REAL_QUIET;
	r.sig |= TOP >> 1;
	return r;
}

struct real real_default(void)
{
	return (struct real){.class = REAL_QUIET, .sign = true, .sig = TOP | TOP >> 1};
}

/* From the biased exponent, and the significand at the top with its first bit. */
static struct real unpack(bool sign, unsigned biased, u128 sig, const struct float_format *f)
{
	struct real x = {.class = REAL_FINITE, .sign = sign, .exp = (biased ? (s32)biased : 1) - f->max, .sig = sig};

	if (biased == (1u << f->exponent) - 1) {
		if (!(sig & ~TOP))
			x.class = REAL_INFINITE;
		else
			x.class = sig & TOP >> 1 ? REAL_QUIET : REAL_SIGNALLING;
	} else if (!sig) {
		x.class = REAL_ZERO;
	} else if (!biased) {
		x.denormal = true;
		normalize(&x);
	}
	return x;
}

struct real real_unpack(u64 bits, const struct float_format *f)
{
	unsigned fraction = f->precision - 1u, biased = (unsigned)(bits >> fraction) & ((1u << f->exponent) - 1);
	u128 sig = (u128)(bits & ((1ull << fraction) - 1)) << (128 - f->precision);

	return unpack(bits >> fraction >> f->exponent & 1, biased, biased ? sig | TOP : sig, f);
}

struct real real_unpack80(u64 sig, u16 sign_exp)
{
	unsigned biased = sign_exp & 0x7fff;
	struct real x = unpack(sign_exp >> 15, biased, (u128)sig << 64, &float80);

	if (biased && !(sig >> 63))
		x.class = REAL_UNSUPPORTED;
	return x;
}

/* The biased exponent, and the significand at the top, which a denormal has without its first bit. */
static unsigned pack(const struct real *x, const struct float_format *f, u128 *ret_sig)
{
	s32 below = 1 - f->max - x->exp;

	*ret_sig = x->sig;
	switch (x->class) {
	case REAL_ZERO:
		*ret_sig = 0;
		return 0;
	case REAL_FINITE:
		if (below <= 0)
			return (unsigned)(x->exp + f->max);
		*ret_sig = x->sig >> below;
		return 0;
	case REAL_INFINITE:
		*ret_sig = TOP;
		break;
	default:
		break;
	}
	return (1u << f->exponent) - 1;
}

u64 real_pack(const struct real *x, const struct float_format *f)
{
	unsigned fraction = f->precision - 1u;
	u128 sig;
	u64 biased = pack(x, f, &sig);

	return ((u64)x->sign << f->exponent | biased) << fraction | (u64)((sig & ~TOP) >> (128 - f->precision));
}

void real_pack80(const struct real *x, u64 *ret_sig, u16 *ret_sign_exp)
{
	u128 sig;
	unsigned biased = pack(x, &float80, &sig);

	*ret_sig = (u64)(sig >> 64);
	*ret_sign_exp = (u16)((unsigned)x->sign << 15 | biased);
}

struct real real_from_int(s64 v)
{
	struct real x = {.class = v ? REAL_FINITE : REAL_ZERO, .sign = v < 0, .exp = 127, .sig = v < 0 ? -(u64)v : (u64)v};

	if (v)
		normalize(&x);
	return x;
}

/* ---- operations ---- */

static struct real invalid(struct float_env *e)
{
	e->raised |= FP_INVALID;
	return real_default();
}

static struct real special(unsigned class, bool sign)
{
	return (struct real){.class = (u8) class, .sign = sign};
}

static int compare_magnitude(const struct real *a, const struct real *b)
{
	if (a->class != b->class)
		return a->class < b->class ? -1 : 1;
	if (a->class != REAL_FINITE)
		return 0;
	if (a->exp != b->exp)
		return a->exp < b->exp ? -1 : 1;
	return a->sig == b->sig ? 0 : a->sig < b->sig ? -1 : 1;
}

int real_compare(const struct real *a, const struct real *b)
{
	int c = compare_magnitude(a, b);

	if (a->class == REAL_ZERO && b->class == REAL_ZERO)
		return 0;
	if (a->sign != b->sign)
		return a->sign ? -1 : 1;
	return a->sign ? -c : c;
}

/* Of two finite numbers; the first is not the smaller one. */
static struct real add_finite(const struct float_env *e, const struct real *a, const struct real *b)
{
	u128 small = shift_right_sticky(b->sig, (unsigned)(a->exp - b->exp));
	struct real r = {.class = REAL_FINITE, .sign = a->sign, .exp = a->exp};

	if (a->sign != b->sign) {
		r.sig = a->sig - small;
		if (!r.sig)
			return special(REAL_ZERO, e->rounding == ROUND_DOWN);
		normalize(&r);
		return r;
	}
	r.sig = a->sig + small;
	if (r.sig < small) {
		r.sig = shift_right_sticky(r.sig, 1) | TOP;
		r.exp++;
	}
	return r;
}

struct real real_add(struct float_env *e, const struct real *a, const struct real *b)
{
	struct real r;

	if (compare_magnitude(a, b) < 0) {
		const struct real *other = a;

		a = b;
		b = other;
	}
	if (a->class == REAL_INFINITE && b->class == REAL_INFINITE && a->sign != b->sign)
		return invalid(e);
	if (a->class == REAL_ZERO)
		return special(REAL_ZERO, a->sign == b->sign ? a->sign : e->rounding == ROUND_DOWN);
	if (a->class == REAL_FINITE && b->class == REAL_FINITE)
		return add_finite(e, a, b);
	r = *a;
	r.denormal = false;
	return r;
}

struct real real_mul(struct float_env *e, const struct real *a, const struct real *b)
{
	bool sign = a->sign != b->sign, zero = a->class == REAL_ZERO || b->class == REAL_ZERO;
	struct real r = {.class = REAL_FINITE, .sign = sign, .exp = a->exp + b->exp + 1};

	if (a->class == REAL_INFINITE || b->class == REAL_INFINITE)
		return zero ? invalid(e) : special(REAL_INFINITE, sign);
	if (zero)
		return special(REAL_ZERO, sign);
	r.sig = (u128)(u64)(a->sig >> 64) * (u64)(b->sig >> 64);
	normalize(&r);
	return r;
}

static struct real div_finite(const struct real *a, const struct real *b)
{
	struct real r = {.class = REAL_FINITE, .sign = a->sign != b->sign, .exp = a->exp - b->exp};
	u128 rest = a->sig >> 64, divisor = b->sig >> 64;

	if (rest < divisor) {
		rest <<= 1;
		r.exp--;
	}
	for (unsigned n = 0; n < ROOT_BITS; n++) {
		r.sig <<= 1;
		if (rest >= divisor) {
			rest -= divisor;
			r.sig |= 1;
		}
		rest <<= 1;
	}
	r.sig = r.sig << (128 - ROOT_BITS) | (rest != 0);
	return r;
}

struct real real_div(struct float_env *e, const struct real *a, const struct real *b)
{
	bool sign = a->sign != b->sign;

	if (a->class == b->class && a->class != REAL_FINITE)
		return invalid(e);
	if (a->class == REAL_INFINITE)
		return special(REAL_INFINITE, sign);
	if (a->class == REAL_ZERO || b->class == REAL_INFINITE)
		return special(REAL_ZERO, sign);
	if (b->class == REAL_ZERO) {
		e->raised |= FP_ZERO;
		return special(REAL_INFINITE, sign);
	}
	return div_finite(a, b);
}

struct real real_sqrt(struct float_env *e, const struct real *a)
{
	struct real r = {.class = REAL_FINITE, .exp = a->exp >> 1};
	u128 left = a->exp & 1 ? a->sig : a->sig >> 1, rest = 0;

	if (a->class == REAL_ZERO)
		return special(REAL_ZERO, a->sign);
	if (a->sign)
		return invalid(e);
	if (a->class == REAL_INFINITE)
		return special(REAL_INFINITE, false);
	for (unsigned n = 0; n < ROOT_BITS; n++) {
		u128 next = r.sig << 2 | 1;

		rest = rest << 2 | left >> 126;
		left <<= 2;
		r.sig <<= 1;
		if (rest >= next) {
			rest -= next;
			r.sig |= 1;
		}
	}
	r.sig = r.sig << (128 - ROOT_BITS) | (rest != 0);
	return r;
}

/* ---- rounding ---- */

/*
 * Keeps the first `bits` of a finite number; none, or fewer than none, if the last place is above all of them. Returns
 * whether something was lost.
 */
static bool round_to(struct real *x, s32 bits, unsigned rounding, bool *ret_up)
{
	u128 sig = bits < 0 ? 1 : x->sig, ulp = bits > 0 ? (u128)1 << (128 - bits) : 0, rest = sig & (ulp - 1);
	u128 half = bits > 0 ? ulp >> 1 : TOP;
	bool up = false;

	switch (rounding) {
	case ROUND_NEAREST:
		up = rest > half || (rest == half && (sig & ulp));
		break;
	case ROUND_DOWN:
		up = rest && x->sign;
		break;
	case ROUND_UP:
		up = rest && !x->sign;
		break;
	}
	*ret_up = up;
	x->sig = sig - rest + (up ? ulp : 0);
	if (!x->sig && up) {
		x->sig = TOP;
		x->exp += bits > 0 ? 1 : 1 - bits;
	}
	if (!x->sig)
		x->class = REAL_ZERO;
	return rest;
}

static struct real overflow(struct float_env *e, const struct real *x, const struct float_format *f)
{
	bool away = e->rounding == ROUND_NEAREST || e->rounding == (x->sign ? ROUND_DOWN : ROUND_UP);
	struct real r = {.class = REAL_FINITE, .sign = x->sign, .exp = f->max, .sig = ~(u128)0 << (128 - f->precision)};

	e->raised |= FP_INEXACT;
	e->rounded_up = away;
	return away ? special(REAL_INFINITE, x->sign) : r;
}

struct real real_round(struct float_env *e, const struct real *x, const struct float_format *f)
{
	struct real r = *x;
	s32 below = 1 - f->max - x->exp;
	bool inexact, tiny;

	e->rounded_up = false;
	if (x->class != REAL_FINITE)
		return r;
	inexact = round_to(&r, f->precision, e->rounding, &e->rounded_up);
	tiny = r.exp < 1 - f->max;
	if (tiny && (e->unmasked & FP_UNDERFLOW)) {
		e->raised |= FP_UNDERFLOW;
	} else if (tiny && e->flush) {
		e->rounded_up = false;
		e->raised |= FP_UNDERFLOW | FP_INEXACT;
		return special(REAL_ZERO, x->sign);
	} else if (below > 0) {
		r = *x;
		inexact = round_to(&r, f->precision - below, e->rounding, &e->rounded_up);
		e->raised |= tiny && inexact ? FP_UNDERFLOW : 0;
	}
	e->raised |= inexact ? FP_INEXACT : 0;
	if (r.class != REAL_FINITE || r.exp <= f->max)
		return r;
	e->raised |= FP_OVERFLOW;
	return e->unmasked & FP_OVERFLOW ? r : overflow(e, &r, f);
}

struct real real_round_integral(struct float_env *e, const struct real *x, unsigned rounding)
{
	struct real r = *x;

	e->rounded_up = false;
	if (x->class == REAL_FINITE && x->exp < 127 && round_to(&r, x->exp + 1, rounding, &e->rounded_up))
		e->raised |= FP_INEXACT;
	return r;
}

s64 real_to_int(struct float_env *e, const struct real *x, unsigned rounding, unsigned bits)
{
	u32 before = e->raised;
	struct real r = real_round_integral(e, x, rounding);
	u64 limit = 1ull << (bits - 1), v;

	if (r.class == REAL_ZERO)
		return 0;
	v = r.class == REAL_FINITE && r.exp < 64 ? (u64)(r.sig >> (127 - r.exp)) : ~0ull;
	if (v < limit || (v == limit && r.sign))
		return (s64)(r.sign ? -v : v);
	e->raised = (u8)(before | FP_INVALID);
	e->rounded_up = false;
	return (s64)-limit;
}
