/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Arithmetic of SSE, AVX and FMA (SDM vol. 1, 11.5 and 14.5): float.c computes, this finds the operands of each element.
 * Called through the table in floats.c.
 */
#include "sse.h"

static struct real real_sub(struct float_env *e, const struct real *a, const struct real *b)
{
	struct real minus = *b;

	minus.sign = !b->sign;
	return real_add(e, a, &minus);
}

static u64 binary(struct sse *s, unsigned op, u64 a, u64 b, unsigned size)
{
	typedef struct real operation(struct float_env *, const struct real *, const struct real *);
	static operation *const operations[] = {
		[SSE_ADD] = real_add, [SSE_SUB] = real_sub, [SSE_MUL] = real_mul, [SSE_DIV] = real_div};
	struct real x[2] = {sse_unpack(s, a, size), sse_unpack(s, b, size)}, r;

	if (!sse_nan(s, x, 2, &r))
		r = operations[op](&s->env, &x[0], &x[1]);
	return sse_result(s, &r, x, 2, size);
}

void sse_arith(struct vec_insn *v)
{
	unsigned count = sse_count(v), op = v->arg & 3;
	struct sse s = sse_begin(v);

	for (unsigned n = 0; n < count; n++)
		set_element(&v->r, n, v->size,
			    binary(&s, op, element(&v->s[0], n, v->size), element(&v->s[1], n, v->size), v->size));
	sse_end(v, &s);
}

void sse_addsub(struct vec_insn *v)
{
	struct sse s = sse_begin(v);

	for (unsigned n = 0; n < v->bytes / v->size; n++)
		set_element(&v->r, n, v->size,
			    binary(&s, n & 1 ? SSE_ADD : SSE_SUB, element(&v->s[0], n, v->size), element(&v->s[1], n, v->size),
				   v->size));
	sse_end(v, &s);
}

/* In each 16 bytes: neighbours of the first operand, then of the second. */
void sse_horizontal(struct vec_insn *v)
{
	unsigned lane = 16u / v->size, half = lane / 2;
	struct sse s = sse_begin(v);

	for (unsigned n = 0; n < v->bytes / v->size; n++) {
		unsigned in_lane = n % lane, from = n - in_lane + in_lane % half * 2;
		const union vec *src = &v->s[in_lane / half];

		set_element(&v->r, n, v->size,
			    binary(&s, v->arg, element(src, from, v->size), element(src, from + 1, v->size), v->size));
	}
	sse_end(v, &s);
}

void sse_sqrt(struct vec_insn *v)
{
	unsigned count = sse_count(v);
	const union vec *src = &v->s[v->arg & SSE_SCALAR ? 1 : 0];
	struct sse s = sse_begin(v);

	for (unsigned n = 0; n < count; n++) {
		struct real x = sse_unpack(&s, element(src, n, v->size), v->size), r;

		if (!sse_nan(&s, &x, 1, &r))
			r = real_sqrt(&s.env, &x);
		set_element(&v->r, n, v->size, sse_result(&s, &r, &x, 1, v->size));
	}
	sse_end(v, &s);
}

/* The products that the immediate selects, for each 16 bytes. */
static void products(struct sse *s, const struct vec_insn *v, union vec *term)
{
	for (unsigned n = 0; n < v->bytes / v->size; n++) {
		u64 a = element(&v->s[0], n, v->size), b = element(&v->s[1], n, v->size);

		if (v->imm >> (4 + n % (16 / v->size)) & 1)
			set_element(term, n, v->size, binary(s, SSE_MUL, a, b, v->size));
	}
}

/* Adds neighbours, then the sums, as instructions of their own would: after an unmasked exception there is no next step. */
void sse_dot(struct vec_insn *v)
{
	unsigned size = v->size, lane = 16u / size;
	struct sse s = sse_begin(v);
	union vec term = {0};

	products(&s, v, &term);
	for (unsigned step = 1; step < lane && !sse_settle(&s); step *= 2)
		for (unsigned n = 0; n < v->bytes / size; n += 2 * step)
			set_element(&term, n, size,
				    binary(&s, SSE_ADD, element(&term, n, size), element(&term, n + step, size), size));
	for (unsigned n = 0; n < v->bytes / size; n++)
		set_element(&v->r, n, size, v->imm >> n % lane & 1 ? element(&term, n - n % lane, size) : 0);
	sse_end(v, &s);
}

/* x[0] * x[1] + x[2] */
static struct real fused(struct sse *s, const struct real *x, bool negate_product, bool negate_addend)
{
	struct real product = real_mul(&s->env, &x[0], &x[1]), addend = x[2];

	if (product.class == REAL_QUIET)
		return product;
	product.sign ^= negate_product;
	addend.sign ^= negate_addend;
	return real_add(&s->env, &product, &addend);
}

void sse_fma(struct vec_insn *v)
{
	static const u8 order[][3] = {[FMA_132] = {0, 2, 1}, [FMA_213] = {1, 0, 2}, [FMA_231] = {1, 2, 0}};
	unsigned count = sse_count(v);
	struct sse s = sse_begin(v);

	for (unsigned n = 0; n < count; n++) {
		bool negate = !(v->arg & FMA_NEGATE_ADDEND) != !(v->arg & SSE_ALTERNATE && !(n & 1));
		struct real x[3], r;

		for (unsigned k = 0; k < 3; k++)
			x[k] = sse_unpack(&s, element(&v->s[order[v->arg & 3][k]], n, v->size), v->size);
		if (!sse_nan(&s, x, 3, &r))
			r = fused(&s, x, v->arg & FMA_NEGATE_PRODUCT, negate);
		set_element(&v->r, n, v->size, sse_result(&s, &r, x, 3, v->size));
	}
	sse_end(v, &s);
}
