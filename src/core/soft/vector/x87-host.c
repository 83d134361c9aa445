/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The x87's transcendental instructions. The architecture leaves the last bits of their results to the processor (SDM vol. 1,
 * 8.3.10: less than one unit in the last place), so there is nothing that C could compute exactly: the guest's results are
 * those of the processor it runs on. Its state is in the host's registers already; a pending exception was reported before, and
 * one that these instructions leave is reported by the next, as always. Called by x87.c.
 */
#include "x87.h"

bool x87_host(const struct insn *i)
{
	switch (i->d->op) {
#define CASE(op, name) case INSN_##op: __asm__ volatile(name); return true;
		CASE(F2XM1, "f2xm1")
		CASE(FYL2X, "fyl2x")
		CASE(FYL2XP1, "fyl2xp1")
		CASE(FPTAN, "fptan")
		CASE(FPATAN, "fpatan")
		CASE(FSIN, "fsin")
		CASE(FCOS, "fcos")
		CASE(FSINCOS, "fsincos")
#undef CASE
	default:
		return false;
	}
}
