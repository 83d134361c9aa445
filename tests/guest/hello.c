/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The smallest guest: reports, ports, an expected exception, user mode. */
#include "rt.h"

static volatile u64 user_ran;

static void user(void)
{
	user_ran = READ_REG("cs") & 0xffff;
	__asm__ volatile("ud2");
}

void guest_main(void)
{
	volatile u32 *pd = (volatile u32 *)0x3000;

	ok(TRAP("ud2", "m"(trap)) == EXC_UD, "ud2");
	ok(TRAP("nop", "m"(trap)) == NO_EXC, "no exception");
	for (unsigned n = 0; n < 4; n++) /* user access to the first 8 MiB */
		pd[2 * n] |= 4;
	*(volatile u32 *)0x2000 |= 4;
	*(volatile u32 *)0x1000 |= 4;
	WRITE_REG("cr3", READ_REG("cr3"));
	ok(run_user(user) == EXC_UD && user_ran == SEL_UCODE64 && trap.ss == SEL_UDATA, "user mode");
}
