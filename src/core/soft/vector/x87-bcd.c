/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * FBLD and FBSTP: 18 decimal digits and a sign (SDM vol. 1, 4.7). Called by x87.c through the table at the end.
 */
#include "x87.h"

#define DIGIT_BYTES 9
#define LIMIT	    1000000000000000000 /* 10^18 */

static bool fbld(struct x87 *x)
{
	struct real a;
	s64 v = 0;

	for (unsigned n = DIGIT_BYTES; n--;)
		v = v * 100 + (x->mem.b[n] >> 4) * 10 + (x->mem.b[n] & 15);
	a = real_from_int(v);
	a.sign = x->mem.b[DIGIT_BYTES] & 0x80;
	if (x87_is_empty(x, 7)) {
		x87_push(x, f80_pack(&a));
		return true;
	}
	if (x87_overflow(x))
		return false;
	x87_push(x, f80_indefinite());
	return true;
}

static bool fbstp(struct x87 *x)
{
	struct float_env e = {0};
	struct real a = x87_st(x, 0);
	u64 v;

	x->mem.f = f80_indefinite();
	if (x87_is_empty(x, 0))
		return !x87_underflow(x);
	v = (u64)real_to_int(&e, &a, x->fcw >> FCW_ROUND_SHIFT & 3u, 64);
	if (a.sign)
		v = -v;
	if ((e.raised & FP_INVALID) || v >= LIMIT)
		return !x87_raise(x, FP_INVALID);
	x87_raise(x, e.raised);
	if (e.rounded_up)
		x->fsw |= FSW_C1;
	for (unsigned n = 0; n < DIGIT_BYTES; n++, v /= 100)
		x->mem.b[n] = (u8)(v / 10 % 10 << 4 | v % 10);
	x->mem.b[DIGIT_BYTES] = a.sign ? 0x80 : 0;
	return true;
}

const struct x87_op x87_bcd[] = {
	{INSN_FBLD, fbld},
	{INSN_FBSTP, fbstp, 0, 1},
	{0},
};
