/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Floating point of SSE, AVX, FMA and F16C (SDM vol. 2): what the families have in common, and the table that they are
 * reached through. Exceptions are those of SDM vol. 1, 11.5.
 */
#include "sse.h"

struct sse sse_begin(const struct vec_insn *v)
{
	return (struct sse){
		.env = {.rounding = v->mxcsr >> MXCSR_ROUND_SHIFT & 3,
			.unmasked = ~(v->mxcsr >> MXCSR_MASK_SHIFT) & FP_ALL,
			.flush = v->mxcsr & MXCSR_FLUSH},
		.daz = v->mxcsr & MXCSR_DAZ,
	};
}

bool sse_settle(struct sse *s)
{
	u32 before = s->raised & (FP_INVALID | FP_DENORMAL | FP_ZERO);

	s->settled |= before & s->env.unmasked ? before : s->raised;
	s->raised = 0;
	return s->settled & s->env.unmasked;
}

void sse_end(struct vec_insn *v, struct sse *s)
{
	s->raised |= s->env.raised;
	sse_settle(s);
	v->raised = s->settled;
}

const struct float_format *sse_format(unsigned size)
{
	return size == 2 ? &float16 : size == 4 ? &float32 : &float64;
}

/* Denormal halves are ordinary numbers. */
struct real sse_unpack(const struct sse *s, u64 bits, unsigned size)
{
	struct real x = real_unpack(bits, sse_format(size));

	if (size == 2)
		x.denormal = false;
	if (x.denormal && s->daz)
		x = (struct real){.class = REAL_ZERO, .sign = x.sign};
	return x;
}

bool sse_nan(struct sse *s, const struct real *x, unsigned count, struct real *ret)
{
	const struct real *first = NULL;

	for (unsigned n = 0; n < count; n++) {
		if (x[n].class == REAL_SIGNALLING)
			s->env.raised |= FP_INVALID;
		if (!first && real_is_nan(&x[n]))
			first = &x[n];
	}
	if (first)
		*ret = real_quiet(first);
	return first;
}

/* A division by zero, as a NaN, is all that is said about an element with a denormal. */
u64 sse_result(struct sse *s, const struct real *result, const struct real *x, unsigned count, unsigned size)
{
	bool silent = real_is_nan(result) || s->env.raised & FP_ZERO;
	struct real r = real_round(&s->env, result, sse_format(size));

	for (unsigned n = 0; n < count; n++)
		if (x[n].denormal && !silent)
			s->env.raised |= FP_DENORMAL;
	s->raised |= s->env.raised;
	s->env.raised = 0;
	return real_pack(&r, sse_format(size));
}

unsigned sse_count(struct vec_insn *v)
{
	if (!(v->arg & SSE_SCALAR))
		return v->bytes / v->size;
	v->r.q[0] = v->s[0].q[0];
	v->r.q[1] = v->s[0].q[1];
	return 1;
}

/* ---- the table ---- */

/* The four forms of an operation: PS, PD, SS, SD */
#define FOUR(op, fn, arg)                                                                                                        \
	VEC_BOTH(op##PS, fn, 4, arg), VEC_BOTH(op##PD, fn, 8, arg), VEC_BOTH(op##SS, fn, 4, SSE_SCALAR | (arg)),                 \
		VEC_BOTH(op##SD, fn, 8, SSE_SCALAR | (arg))

#define FMA_PACKED(op, form, arg)                                                                                                \
	{INSN_##op##form##PS, sse_fma, 4, FMA_##form | (arg)}, {INSN_##op##form##PD, sse_fma, 8, FMA_##form | (arg)}
#define FMA_SCALAR(op, form, arg)                                                                                                \
	{INSN_##op##form##SS, sse_fma, 4, FMA_##form | SSE_SCALAR | (arg)},                                                   \
	{INSN_##op##form##SD, sse_fma, 8, FMA_##form | SSE_SCALAR | (arg)}
#define FMA_ALTERNATING(op, arg)                                                                                                 \
	FMA_PACKED(op, 132, SSE_ALTERNATE | (arg)), FMA_PACKED(op, 213, SSE_ALTERNATE | (arg)),                                  \
		FMA_PACKED(op, 231, SSE_ALTERNATE | (arg))
#define FMA(op, arg)                                                                                                             \
	FMA_PACKED(op, 132, arg), FMA_PACKED(op, 213, arg), FMA_PACKED(op, 231, arg), FMA_SCALAR(op, 132, arg),                  \
		FMA_SCALAR(op, 213, arg), FMA_SCALAR(op, 231, arg)

const struct vec_op vec_floats[] = {
	FOUR(ADD, sse_arith, SSE_ADD),
	FOUR(SUB, sse_arith, SSE_SUB),
	FOUR(MUL, sse_arith, SSE_MUL),
	FOUR(DIV, sse_arith, SSE_DIV),
	FOUR(SQRT, sse_sqrt, 0),
	FOUR(MIN, sse_minmax, 0),
	FOUR(MAX, sse_minmax, 1),
	FOUR(CMP, sse_cmp, 0),
	FOUR(ROUND, sse_round, 0),
	VEC_BOTH(COMISS, sse_comis, 4, 1),
	VEC_BOTH(COMISD, sse_comis, 8, 1),
	VEC_BOTH(UCOMISS, sse_comis, 4),
	VEC_BOTH(UCOMISD, sse_comis, 8),
	VEC_BOTH(HADDPS, sse_horizontal, 4, SSE_ADD),
	VEC_BOTH(HADDPD, sse_horizontal, 8, SSE_ADD),
	VEC_BOTH(HSUBPS, sse_horizontal, 4, SSE_SUB),
	VEC_BOTH(HSUBPD, sse_horizontal, 8, SSE_SUB),
	VEC_BOTH(ADDSUBPS, sse_arith, 4, SSE_ADD | SSE_ALTERNATE),
	VEC_BOTH(ADDSUBPD, sse_arith, 8, SSE_ADD | SSE_ALTERNATE),
	VEC_BOTH(DPPS, sse_dot, 4),
	VEC_BOTH(DPPD, sse_dot, 8),
	VEC_BOTH(RCPPS, sse_rcp, 4),
	VEC_BOTH(RCPSS, sse_rcp, 4, SSE_SCALAR),
	VEC_BOTH(RSQRTPS, sse_rsqrt, 4),
	VEC_BOTH(RSQRTSS, sse_rsqrt, 4, SSE_SCALAR),

	{INSN_CVTPI2PS, sse_from_int, 4, 4 | CVT_MERGE},
	{INSN_CVTPI2PD, sse_from_int, 4, 8},
	VEC_BOTH(CVTSI2SS, sse_from_int, 0, 4 | CVT_MERGE | SSE_SCALAR),
	VEC_BOTH(CVTSI2SD, sse_from_int, 0, 8 | CVT_MERGE | SSE_SCALAR),
	VEC_BOTH(CVTDQ2PS, sse_from_int, 4, 4),
	VEC_BOTH(CVTDQ2PD, sse_from_int, 4, 8),

	{INSN_CVTPS2PI, sse_to_int, 4, 4},
	{INSN_CVTPD2PI, sse_to_int, 8, 4},
	{INSN_CVTTPS2PI, sse_to_int, 4, 4 | CVT_TRUNCATE},
	{INSN_CVTTPD2PI, sse_to_int, 8, 4 | CVT_TRUNCATE},
	VEC_BOTH(CVTPS2DQ, sse_to_int, 4, 4),
	VEC_BOTH(CVTPD2DQ, sse_to_int, 8, 4),
	VEC_BOTH(CVTTPS2DQ, sse_to_int, 4, 4 | CVT_TRUNCATE),
	VEC_BOTH(CVTTPD2DQ, sse_to_int, 8, 4 | CVT_TRUNCATE),
	VEC_BOTH(CVTSS2SI, sse_to_gpr, 4),
	VEC_BOTH(CVTSD2SI, sse_to_gpr, 8),
	VEC_BOTH(CVTTSS2SI, sse_to_gpr, 4, CVT_TRUNCATE),
	VEC_BOTH(CVTTSD2SI, sse_to_gpr, 8, CVT_TRUNCATE),

	VEC_BOTH(CVTPS2PD, sse_convert, 4, 8),
	VEC_BOTH(CVTPD2PS, sse_convert, 8, 4),
	VEC_BOTH(CVTSS2SD, sse_convert, 4, 8 | CVT_MERGE | SSE_SCALAR),
	VEC_BOTH(CVTSD2SS, sse_convert, 8, 4 | CVT_MERGE | SSE_SCALAR),
	{INSN_VCVTPH2PS, sse_convert, 2, 4},
	{INSN_VCVTPS2PH, sse_to_half, 4, 2},

	FMA(VFMADD, 0),
	FMA(VFMSUB, FMA_NEGATE_ADDEND),
	FMA(VFNMADD, FMA_NEGATE_PRODUCT),
	FMA(VFNMSUB, FMA_NEGATE_PRODUCT | FMA_NEGATE_ADDEND),
	FMA_ALTERNATING(VFMADDSUB, 0),
	FMA_ALTERNATING(VFMSUBADD, FMA_NEGATE_ADDEND),
	{0},
};
