/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SYSCALL and SYSRET, SYSENTER where the vendor has it in long mode, SWAPGS, FSGSBASE, and the flags they mask. */
#include "rt.h"

static volatile u64 k_rcx, k_r11, k_flags, k_cs, k_ss, u_flags, u_cs, u_ss, u_done;

/* Entered by SYSCALL on the user's stack; goes back by SYSRET. */
__asm__("	.globl entry\n"
	"entry:\n"
	"	mov %rcx, k_rcx\n"
	"	mov %r11, k_r11\n"
	"	mov %cs, %rax\n"
	"	mov %rax, k_cs\n"
	"	mov %ss, %rax\n"
	"	mov %rax, k_ss\n"
	"	pushfq\n"
	"	pop k_flags\n"
	"	sysretq\n");
extern u8 entry[];

static void user(void)
{
	u64 where;

	__asm__ volatile("std\n\tlea 1f(%%rip), %0\n\tsyscall\n1:\n\tpushfq\n\tpop %1\n\tcld"
			 : "=&r"(where), "=m"(u_flags)
			 :
			 : "rax", "rcx", "r11", "memory");
	u_cs = READ_REG("cs") & 0xffff;
	u_ss = READ_REG("ss") & 0xffff;
	u_done = k_rcx == where;
}

static void user_swapgs(void)
{
	__asm__ volatile("swapgs");
}

static void bases(void)
{
	u32 out[4];

	wrmsr(0xc0000101, 0x1111);
	wrmsr(0xc0000102, 0x2222);
	__asm__ volatile("swapgs");
	ok(rdmsr(0xc0000101) == 0x2222 && rdmsr(0xc0000102) == 0x1111, "SWAPGS");
	ok(TRAP("mov $0xc0000100, %%ecx\n\txor %%eax, %%eax\n\tmov $0x80000000, %%edx\n\twrmsr", "m"(trap)) == EXC_GP,
	   "FS base is canonical");
	cpuid(7, 0, out);
	if (!(out[1] & 1))
		return;
	ok(TRAP("rdfsbase %%rcx", "m"(trap)) == EXC_UD, "RDFSBASE without CR4.FSGSBASE");
	WRITE_REG("cr4", READ_REG("cr4") | 0x10000);
	__asm__ volatile("wrfsbase %0" : : "r"(0x123456789aull));
	ok(rdmsr(0xc0000100) == 0x123456789aull, "WRFSBASE");
	__asm__ volatile("wrgsbase %k0" : : "r"(0xffffffff87654321ull));
	ok(rdmsr(0xc0000101) == 0x87654321, "WRGSBASE, 32 bits");
	ok(TRAP("wrfsbase %0", "r"(1ull << 63)) == EXC_GP, "WRFSBASE non-canonical");
	wrmsr(0xc0000100, 0);
	wrmsr(0xc0000101, 0);
}

void guest_main(void)
{
	volatile u64 *low = (volatile u64 *)0x3000;

	*(volatile u64 *)0x1000 |= 4;
	*(volatile u64 *)0x2000 |= 4;
	low[0] |= 4;
	WRITE_REG("cr3", READ_REG("cr3"));
	wrmsr(0xc0000080, rdmsr(0xc0000080) & ~1ull);
	ok(run_user(user) == EXC_UD, "SYSCALL without EFER.SCE");
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
	wrmsr(0xc0000081, (u64)(SEL_UDATA - 8 - 3) << 48 | (u64)SEL_CODE64 << 32);
	wrmsr(0xc0000082, (u64)entry);
	wrmsr(0xc0000084, 0x400);
	ok(run_user(user) == NO_EXC && u_done, "SYSCALL and back");
	ok(k_cs == SEL_CODE64 && k_ss == SEL_CODE64 + 8, "kernel selectors");
	ok((k_r11 & 0x400) && !(k_flags & 0x400) && (u_flags & 0x400), "FMASK clears, SYSRET restores");
	ok(u_cs == SEL_UCODE64 && u_ss == SEL_UDATA, "user selectors");
	ok(run_user(user_swapgs) == EXC_GP, "SWAPGS at CPL 3");
	bases();
}
