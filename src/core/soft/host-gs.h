/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host's GS base, by which translated code finds its vCPU: by the FSGSBASE instructions, or by a system call where the
 * kernel does not offer them (before Linux 5.9, and in some virtual machines). Of the calling thread. Used by jit/run.c and,
 * when the guest changes its page tables, by mmu-sets.c.
 */
#pragma once
#include <asm/prctl.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include "types.h"

extern bool host_gs_by_kernel;
void host_gs_init(void); /* before the others; any number of times */

/* In place: a call to libc could touch vector registers, which are the guest's. */
static inline void host_gs_call(u64 what, u64 arg)
{
	u64 answer = SYS_arch_prctl;

	__asm__ volatile("syscall" : "+a"(answer) : "D"(what), "S"(arg) : "rcx", "r11", "memory");
}

static inline u64 host_gs_read(void)
{
	u64 base = 0;

	if (host_gs_by_kernel)
		host_gs_call(ARCH_GET_GS, (u64)(uintptr_t)&base);
	else
		__asm__ volatile("rdgsbase %0" : "=r"(base));
	return base;
}

static inline void host_gs_write(u64 base)
{
	if (host_gs_by_kernel)
		host_gs_call(ARCH_SET_GS, base);
	else
		__asm__ volatile("wrgsbase %0" : : "r"(base));
}
