/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Values of the x87: memory operands, NaNs, and the rounding of results (SDM vol. 1, 4.8.3, 8.5). Called by the other x87
 * files.
 */
#include "x87.h"

#define WRAP 24576 /* added to an exponent that is out of range when nothing masks that */

struct real x87_memory_real(const struct x87 *x)
{
	switch (x->i->mem_size) {
	case 4:
		return real_unpack(x->mem.d, &float32);
	case 8:
		return real_unpack(x->mem.q, &float64);
	default:
		return f80_unpack(x->mem.f);
	}
}

struct real x87_memory_int(const struct x87 *x)
{
	switch (x->i->mem_size) {
	case 2:
		return real_from_int((s16)x->mem.w);
	case 4:
		return real_from_int((s32)x->mem.d);
	default:
		return real_from_int((s64)x->mem.q);
	}
}

/* Of two NaNs a quiet one, then the one with the larger significand, then the positive one. */
static const struct real *choose_nan(const struct real *a, const struct real *b)
{
	if (!real_is_nan(a) || !real_is_nan(b))
		return real_is_nan(a) ? a : b;
	if (a->class != b->class)
		return a->class == REAL_QUIET ? a : b;
	if (a->sig != b->sig)
		return a->sig > b->sig ? a : b;
	return a->sign ? b : a;
}

bool x87_nan(struct float_env *e, const struct real *a, const struct real *b, struct real *ret_result)
{
	const struct real *other = b ? b : a;

	if (!real_is_nan(a) && !real_is_nan(other))
		return false;
	if (a->class >= REAL_SIGNALLING || other->class >= REAL_SIGNALLING)
		e->raised |= FP_INVALID;
	if (a->class == REAL_UNSUPPORTED || other->class == REAL_UNSUPPORTED) {
		*ret_result = real_default();
		return true;
	}
	*ret_result = real_quiet(choose_nan(a, other));
	return true;
}

/* FSCALE alone can go so far out of range that this does not help. */
static struct real wrap(struct x87 *x, const struct real *r, const struct float_format *f)
{
	bool large = r->exp > f->max;
	struct real w = *r;

	w.exp += large ? -WRAP : WRAP;
	if (large ? w.exp <= f->max : w.exp >= 1 - f->max)
		return w;
	w.class = large ? REAL_INFINITE : REAL_ZERO;
	x->fsw = (u16)((x->fsw & ~FSW_C1) | (large ? FSW_C1 : 0) | FP_INEXACT);
	return w;
}

struct f80 x87_round(struct x87 *x, const struct real *r, const struct float_format *f)
{
	struct float_env e = x87_float_env(x);
	struct real rounded = real_round(&e, r, f);

	x87_raise(x, e.raised);
	if (e.rounded_up)
		x->fsw |= FSW_C1;
	if (e.raised & e.unmasked & (FP_OVERFLOW | FP_UNDERFLOW))
		rounded = wrap(x, &rounded, f);
	return f80_pack(&rounded);
}
