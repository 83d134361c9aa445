/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Private to the floating point of SSE, AVX, FMA and F16C: what floats.c has in common for arithmetic (sse-arith.c),
 * comparisons (sse-compare.c) and conversions (sse-convert.c), and their functions, which its table names.
 */
#pragma once
#include "float.h"
#include "vec.h"

/* An instruction's environment, from MXCSR */
struct sse {
	struct float_env env; /* raised: of the element at hand */
	u32 raised;	      /* of those before, in this step */
	u32 settled;	      /* of the steps before */
	bool daz;
};

/* vec_op.arg: the low bits are the family's own. */
#define SSE_ALTERNATE 0x40u /* even elements subtract */
#define SSE_SCALAR    0x80u /* the first element only; the others are those of the first operand */

enum { SSE_ADD, SSE_SUB, SSE_MUL, SSE_DIV };
/* Fused multiply-add: two bits for the form, two for what is negated */
enum { FMA_132, FMA_213, FMA_231 };
#define FMA_NEGATE_PRODUCT 4u
#define FMA_NEGATE_ADDEND  8u
/* Conversions: the size of a result, and flags */
#define CVT_SIZE     0x0fu
#define CVT_TRUNCATE 0x10u
#define CVT_MERGE    0x20u /* the rest of the destination stays */

struct sse sse_begin(const struct vec_insn *v);
/*
 * After a step, of which most instructions have one: if an exception that operands raise is not masked, there are no
 * results that could raise another one. Whether there is an unmasked one.
 */
bool sse_settle(struct sse *s);
void sse_end(struct vec_insn *v, struct sse *s); /* exceptions: to v */
const struct float_format *sse_format(unsigned size);
struct real sse_unpack(const struct sse *s, u64 bits, unsigned size);
/* Whether one of an operation's operands is a NaN; *ret is the result then: the first of them. */
bool sse_nan(struct sse *s, const struct real *x, unsigned count, struct real *ret);
/* Rounds the result of an operation, whose operands are x. */
u64 sse_result(struct sse *s, const struct real *result, const struct real *x, unsigned count, unsigned size);
/* How many elements are worked on; prepares v->r for a scalar form. */
unsigned sse_count(struct vec_insn *v);

vec_fn sse_arith, sse_addsub, sse_horizontal, sse_sqrt, sse_dot, sse_fma;
vec_fn sse_minmax, sse_cmp, sse_comis;
vec_fn sse_from_int, sse_to_int, sse_to_gpr, sse_convert, sse_to_half, sse_round;
vec_fn sse_rcp, sse_rsqrt; /* approx.c */
