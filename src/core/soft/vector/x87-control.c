/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87 instructions about the unit itself: control and status word, what is in use, and what is in ST(0) (SDM vol. 1, 8.1 and
 * 8.3.8). Called by x87.c through the table at the end.
 */
#include "x87.h"

void x87_init(struct x87 *x)
{
	x->fcw = FCW_INIT;
	x->used = 0;
	x87_set_fsw(x, 0);
}

static bool fninit(struct x87 *x)
{
	x87_init(x);
	return true;
}

static bool fldcw(struct x87 *x)
{
	x->fcw = (x->mem.w & FCW_VALID) | FCW_FIXED;
	return true;
}

static bool fnstcw(struct x87 *x)
{
	x->mem.w = x->fcw;
	return true;
}

static bool fnstsw(struct x87 *x)
{
	x->mem.w = x->ax = x87_fsw(x);
	return true;
}

static bool fnclex(struct x87 *x)
{
	x->fsw &= ~(FP_ALL | FSW_STACK);
	return true;
}

static bool ffree(struct x87 *x)
{
	x87_free(x, x->i->rm & 7u);
	return true;
}

static bool fnop(struct x87 *x)
{
	(void)x;
	return true;
}

static bool emms(struct x87 *x)
{
	x->used = 0;
	x->top = 0;
	return true;
}

/* What ST(0) is, and its sign. */
static bool fxam(struct x87 *x)
{
	static const u16 codes[] = {
		[REAL_ZERO] = FSW_C3,  [REAL_FINITE] = FSW_C2,	   [REAL_INFINITE] = FSW_C2 | FSW_C0,
		[REAL_QUIET] = FSW_C0, [REAL_SIGNALLING] = FSW_C0, [REAL_UNSUPPORTED] = 0,
	};
	struct real a = x87_st(x, 0);

	if (x87_is_empty(x, 0))
		x87_set_codes(x, FSW_C3 | FSW_C0);
	else
		x87_set_codes(x, a.denormal ? FSW_C3 | FSW_C2 : codes[a.class]);
	x->fsw = (u16)((x->fsw & ~FSW_C1) | (x87_reg(x, 0)->sign_exp & 0x8000 ? FSW_C1 : 0));
	return true;
}

const struct x87_op x87_control[] = {
	{INSN_FNINIT, fninit},
	{INSN_FLDCW, fldcw, .keeps_c1 = true},
	{INSN_FNSTCW, fnstcw, .keeps_c1 = true},
	{INSN_FNSTSW, fnstsw, .keeps_c1 = true},
	{INSN_FNCLEX, fnclex, .keeps_c1 = true},
	{INSN_FFREE, ffree},
	{INSN_FFREEP, ffree, 0, 1},
	{INSN_FNOP, fnop, .keeps_c1 = true},
	{INSN_FNENI, fnop, .keeps_c1 = true}, /* meant something to the 8087, the next one to the 80287 */
	{INSN_FNDISI, fnop, .keeps_c1 = true},
	{INSN_FNSETPM, fnop, .keeps_c1 = true},
	{INSN_FWAIT, fnop, .keeps_c1 = true},
	{INSN_EMMS, emms, .keeps_c1 = true},
	{INSN_FXAM, fxam},
	{0},
};
