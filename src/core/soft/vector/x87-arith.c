/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87 arithmetic and comparisons (SDM vol. 1, 8.3.5 and 8.3.6). Precision control is for the five operations of arithmetic
 * alone. Called by x87.c through the table at the end.
 */
#include "x87.h"

enum arith { ADD, SUB, SUBR, MUL, DIV, DIVR, OPERATION = 7, INTEGER = 8 };
enum compare { ORDERED = 0, UNORDERED = 1, TO_FLAGS = 2, WITH_NEXT = 4 }; /* and INTEGER */

static const struct float_format *precision(const struct x87 *x)
{
	static const struct float_format *const format[4] = {&float80_single, &float80, &float80_double, &float80};

	return format[x->fcw >> FCW_PC_SHIFT & 3];
}

static struct real compute(struct float_env *e, unsigned operation, struct real a, struct real b)
{
	switch (operation) {
	case ADD:
		return real_add(e, &a, &b);
	case MUL:
		return real_mul(e, &a, &b);
	case DIV:
		return real_div(e, &a, &b);
	case DIVR:
		return real_div(e, &b, &a);
	case SUB:
		b.sign = !b.sign;
		break;
	default:
		a.sign = !a.sign;
	}
	return real_add(e, &a, &b);
}

/* ST(0) with memory, or with ST(i), either of which may be the destination. */
static bool arith(struct x87 *x)
{
	struct float_env e = x87_float_env(x);
	bool mem = x->i->mem, to_sti = !mem && x->i->d->opnd[0].kind == OP_STI;
	unsigned sti = x->i->rm & 7u, dst = to_sti ? sti : 0;
	struct real a, b, r;

	if (x87_is_empty(x, 0) || (!mem && x87_is_empty(x, sti)))
		return x87_underflow_to(x, dst);
	a = x87_st(x, dst);
	b = !mem ? x87_st(x, to_sti ? 0 : sti) : x->arg & INTEGER ? x87_memory_int(x) : x87_memory_real(x);
	if (!x87_nan(&e, &a, &b, &r)) {
		r = compute(&e, x->arg & OPERATION, a, b);
		if (!e.raised && (a.denormal || b.denormal))
			e.raised = FP_DENORMAL;
	}
	if (x87_raise(x, e.raised))
		return false;
	x87_set(x, dst, x87_round(x, &r, precision(x)));
	return true;
}

static bool fsqrt(struct x87 *x)
{
	struct float_env e = x87_float_env(x);
	struct real a = x87_st(x, 0), r;

	if (x87_is_empty(x, 0))
		return x87_underflow_to(x, 0);
	if (!x87_nan(&e, &a, NULL, &r)) {
		r = real_sqrt(&e, &a);
		if (!e.raised && a.denormal)
			e.raised = FP_DENORMAL;
	}
	if (x87_raise(x, e.raised))
		return false;
	x87_set(x, 0, x87_round(x, &r, precision(x)));
	return true;
}

/* ---- comparisons ---- */

static void set_order(struct x87 *x, unsigned codes)
{
	if (x->arg & TO_FLAGS)
		x->flags = (codes & FSW_C0 ? FL_CF : 0) | (codes & FSW_C2 ? FL_PF : 0) | (codes & FSW_C3 ? FL_ZF : 0);
	else
		x87_set_codes(x, codes);
}

static bool compare(struct x87 *x, const struct real *a, const struct real *b)
{
	static const unsigned codes[3] = {FSW_C0, FSW_C3, 0}; /* below, equal, above */
	struct float_env e = {0};
	unsigned order = FSW_CODES;
	struct real nan;

	if (x87_nan(&e, a, b, &nan)) {
		if (!(x->arg & UNORDERED))
			e.raised = FP_INVALID;
	} else {
		order = codes[real_compare(a, b) + 1];
		if (a->denormal || b->denormal)
			e.raised = FP_DENORMAL;
	}
	set_order(x, order);
	return !x87_raise(x, e.raised);
}

static bool fcom(struct x87 *x)
{
	unsigned sti = x->arg & WITH_NEXT ? 1 : x->i->rm & 7u;
	struct real a, b;

	if (x87_is_empty(x, 0) || (!x->i->mem && x87_is_empty(x, sti))) {
		set_order(x, FSW_CODES);
		return !x87_underflow(x);
	}
	a = x87_st(x, 0);
	b = !x->i->mem ? x87_st(x, sti) : x->arg & INTEGER ? x87_memory_int(x) : x87_memory_real(x);
	return compare(x, &a, &b);
}

static bool ftst(struct x87 *x)
{
	struct real a = x87_st(x, 0), zero = real_from_int(0);

	if (x87_is_empty(x, 0)) {
		set_order(x, FSW_CODES);
		return !x87_underflow(x);
	}
	return compare(x, &a, &zero);
}

const struct x87_op x87_arith[] = {
	{INSN_FADD, arith, ADD},
	{INSN_FADDP, arith, ADD, 1},
	{INSN_FIADD, arith, ADD | INTEGER},
	{INSN_FSUB, arith, SUB},
	{INSN_FSUBP, arith, SUB, 1},
	{INSN_FISUB, arith, SUB | INTEGER},
	{INSN_FSUBR, arith, SUBR},
	{INSN_FSUBRP, arith, SUBR, 1},
	{INSN_FISUBR, arith, SUBR | INTEGER},
	{INSN_FMUL, arith, MUL},
	{INSN_FMULP, arith, MUL, 1},
	{INSN_FIMUL, arith, MUL | INTEGER},
	{INSN_FDIV, arith, DIV},
	{INSN_FDIVP, arith, DIV, 1},
	{INSN_FIDIV, arith, DIV | INTEGER},
	{INSN_FDIVR, arith, DIVR},
	{INSN_FDIVRP, arith, DIVR, 1},
	{INSN_FIDIVR, arith, DIVR | INTEGER},
	{INSN_FSQRT, fsqrt},
	{INSN_FCOM, fcom},
	{INSN_FCOMP, fcom, 0, 1},
	{INSN_FCOMPP, fcom, WITH_NEXT, 2},
	{INSN_FICOM, fcom, INTEGER},
	{INSN_FICOMP, fcom, INTEGER, 1},
	{INSN_FUCOM, fcom, UNORDERED},
	{INSN_FUCOMP, fcom, UNORDERED, 1},
	{INSN_FUCOMPP, fcom, UNORDERED | WITH_NEXT, 2},
	{INSN_FCOMI, fcom, TO_FLAGS, 0, true},
	{INSN_FCOMIP, fcom, TO_FLAGS, 1, true},
	{INSN_FUCOMI, fcom, UNORDERED | TO_FLAGS, 0, true},
	{INSN_FUCOMIP, fcom, UNORDERED | TO_FLAGS, 1, true},
	{INSN_FTST, ftst},
	{0},
};
