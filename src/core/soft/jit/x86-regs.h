/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where guest registers live while translated code runs. Twelve are in the host register of the same name, so that implicit
 * operands (mul, shifts by CL, cmpxchg...) need no moves. Guest RSP is in host R15, since host RSP stays the C stack. Three,
 * R10, R14 and R15, live in struct jit_frame. R9 to R11 are fewer in compiled code, but much of it in inner loops: functions
 * that call nothing take them before those that they would have to save, R15 last. R10 spares the callee-saved ones, which
 * cost twice when they are pushed and popped. Host R14 and R10 are scratch. gs: addresses struct cpu.
 */
#pragma once
#include "../cpu/state.h"

#define HOME0 R10
#define HOME1 R14
#define HOME2 R15
#define HOMES (1u << HOME0 | 1u << HOME1 | 1u << HOME2)
#define HOST_SCRATCH R14
#define HOST_SCRATCH2 R10
#define HOST_GUEST_RSP R15
#define IN_MEMORY 0xff

static inline u8 host_reg(u8 guest)
{
	if (guest == RSP)
		return HOST_GUEST_RSP;
	return HOMES >> guest & 1 ? IN_MEMORY : guest;
}

/* Where struct jit_frame has one of the three. */
static inline unsigned home_index(u8 guest)
{
	return guest == HOME0 ? 0 : guest == HOME1 ? 1 : 2;
}
