/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where guest registers live while translated code runs. Twelve are in the host register of the same name, so that
 * implicit operands (mul, shifts by CL, cmpxchg...) need no moves; guest RSP is in host R11, since host RSP stays the C
 * stack; the three least used, R9 to R11, stay in struct cpu. Host R9 and R10 are scratch. gs: addresses struct cpu.
 */
#pragma once
#include "../cpu/state.h"

#define HOST_SCRATCH R9
#define HOST_SCRATCH2 R10
#define HOST_GUEST_RSP R11
#define IN_MEMORY 0xff

static inline u8 host_reg(u8 guest)
{
	if (guest == RSP)
		return HOST_GUEST_RSP;
	if (guest >= R9 && guest <= R11)
		return IN_MEMORY;
	return guest;
}

/* The guest registers that translated code keeps in host registers, in the order the entry and exit stubs move them. */
static const u8 mapped_regs[] = { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R12, R13, R14, R15 };
