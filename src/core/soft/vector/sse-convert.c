/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Conversions of SSE, AVX and F16C between formats and integers (SDM vol. 2). v->size is the size of a source element,
 * v->arg has the result's. Called through the table in floats.c.
 */
#include "../cpu/decode.h"
#include "sse.h"

/* Elements that are converted: what fits into the registers, of the larger kind. */
static unsigned count_of(const struct vec_insn *v)
{
	unsigned to = v->arg & CVT_SIZE;

	if (v->arg & SSE_SCALAR)
		return 1;
	return v->i->d->attr & ATTR_MMX ? 2 : v->bytes / (to > v->size ? to : v->size);
}

/* The source; without CVT_MERGE the whole destination is written. */
static const union vec *prepare(struct vec_insn *v)
{
	if (v->arg & CVT_MERGE) {
		v->r.q[0] = v->s[0].q[0];
		v->r.q[1] = v->s[0].q[1];
		return &v->s[1];
	}
	v->r.q[0] = v->r.q[1] = 0;
	return &v->s[0];
}

static void from_int(struct vec_insn *v, unsigned size)
{
	unsigned count = count_of(v), to = v->arg & CVT_SIZE;
	const union vec *src = prepare(v);
	struct sse s = sse_begin(v);

	for (unsigned n = 0; n < count; n++) {
		struct real x = real_from_int(size == 4 ? src->sd[n] : src->sq[n]);

		set_element(&v->r, n, to, sse_result(&s, &x, NULL, 0, to));
	}
	sse_end(v, &s);
}

void sse_from_int(struct vec_insn *v)
{
	from_int(v, v->arg & SSE_SCALAR ? opnd_size(v->i, v->i->d->nopnd - 1u) : v->size);
}

/* Denormals are no exception here. */
static u64 to_int(struct sse *s, const struct vec_insn *v, u64 bits, unsigned size)
{
	struct real x = sse_unpack(s, bits, v->size);

	return (u64)real_to_int(&s->env, &x, v->arg & CVT_TRUNCATE ? ROUND_ZERO : s->env.rounding, size * 8);
}

void sse_to_int(struct vec_insn *v)
{
	unsigned count = count_of(v);
	const union vec *src = prepare(v);
	struct sse s = sse_begin(v);

	for (unsigned n = 0; n < count; n++)
		v->r.d[n] = (u32)to_int(&s, v, element(src, n, v->size), 4);
	sse_end(v, &s);
}

void sse_to_gpr(struct vec_insn *v)
{
	struct sse s = sse_begin(v);

	v->r.q[0] = to_int(&s, v, element(&v->s[0], 0, v->size), opnd_size(v->i, 0));
	sse_end(v, &s);
}

static void convert(struct vec_insn *v, struct sse *s)
{
	unsigned count = count_of(v), to = v->arg & CVT_SIZE;
	const union vec *src = prepare(v);

	for (unsigned n = 0; n < count; n++) {
		struct real x = sse_unpack(s, element(src, n, v->size), v->size), r = x;

		sse_nan(s, &x, 1, &r);
		set_element(&v->r, n, to, sse_result(s, &r, &x, 1, to));
	}
	sse_end(v, s);
}

void sse_convert(struct vec_insn *v)
{
	struct sse s = sse_begin(v);

	convert(v, &s);
}

static unsigned rounding(const struct vec_insn *v, const struct sse *s)
{
	return v->imm & 4 ? s->env.rounding : v->imm & 3;
}

/* Denormal halves are results whatever MXCSR says. */
void sse_to_half(struct vec_insn *v)
{
	struct sse s = sse_begin(v);

	s.env.rounding = (u8)rounding(v, &s);
	s.env.flush = false;
	convert(v, &s);
}

void sse_round(struct vec_insn *v)
{
	unsigned count = sse_count(v);
	const union vec *src = &v->s[v->arg & SSE_SCALAR ? 1 : 0];
	struct sse s = sse_begin(v);

	for (unsigned n = 0; n < count; n++) {
		struct real x = sse_unpack(&s, element(src, n, v->size), v->size), r;

		if (!sse_nan(&s, &x, 1, &r))
			r = real_round_integral(&s.env, &x, rounding(v, &s));
		set_element(&v->r, n, v->size, real_pack(&r, sse_format(v->size)));
	}
	if (v->imm & 8)
		s.env.raised &= (u8)~FP_INEXACT;
	sse_end(v, &s);
}
