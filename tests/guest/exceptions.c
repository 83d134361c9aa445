/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exceptions: vectors, error codes, what is pushed, priorities, IST, double faults, IRET and INT checks. */
#include "rt.h"

#define NONCANON 0x8000000000000000ull
#define UNMAPPED 0x7fffffffffull

static u8 ist_stack[4096] __attribute__((aligned(16)));
static volatile u64 seen, seen_rsp;

static void simple(void)
{
	u64 bad = NONCANON;

	ok(TRAP("xor %%ecx, %%ecx\n\tdiv %%ecx", "m"(trap)) == EXC_DE, "DE by zero");
	ok(TRAP("mov $1, %%edx\n\tmov $1, %%ecx\n\tdiv %%ecx", "m"(trap)) == EXC_DE, "DE overflow");
	ok(TRAP("mov $-1, %%ecx\n\tmov $0x8000, %%edx\n\tshl $16, %%edx\n\tmov %%edx, %%eax\n\tmov $-1, %%edx\n\tidiv %%ecx",
		"m"(trap)) == EXC_DE, "DE of the most negative number");
	ok(TRAP("int3", "m"(trap)) == EXC_BP, "BP");
	ok(TRAP("ud2", "m"(trap)) == EXC_UD && (trap.rflags & 0x10000), "UD pushes RF");
	ok(TRAP("mov (%0), %%rcx", "r"(bad)) == EXC_GP && trap.error == 0, "GP non-canonical");
	trap.vector = NO_EXC;
	__asm__ volatile("push %%rbp\n\tlea 1f(%%rip), %%rax\n\tmov %%rax, trap_resume\n\tmov %0, %%rbp\n\t"
			 "mov (%%rbp), %%rcx\n1:\n\tpop %%rbp"
			 :
			 : "r"(bad)
			 : "rax", "rcx", "memory");
	ok(trap.vector == EXC_SS && trap.error == 0, "SS non-canonical");
	ok(TRAP("mov (%0), %%rcx", "r"(UNMAPPED)) == EXC_PF && trap.cr2 == UNMAPPED && trap.error == 0,
	   "PF not present");
	ok(TRAP("movb $1, (%0)", "r"(UNMAPPED)) == EXC_PF && trap.error == 2, "PF write");
	ok(TRAP("lock addl $1, (%0)", "r"(UNMAPPED)) == EXC_PF && trap.error == 2, "PF read-modify-write is a write");
	ok(TRAP(".byte 0xf0, 0x90", "m"(trap)) == EXC_UD, "UD of LOCK NOP");
	ok(TRAP(".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90", "m"(trap)) == EXC_GP,
	   "GP of 16 bytes");
	ok(TRAP("mov %0, %%cr0", "r"(0x80000000ull)) == EXC_GP, "GP of CR0.PG without PE");
	ok(TRAP("mov %0, %%cr4", "r"(0ull)) == EXC_GP, "GP of clearing PAE in long mode");
	ok(TRAP("mov %0, %%cr8", "r"(16ull)) == EXC_GP, "GP of CR8 above 15");
	ok(TRAP("mov $0x12345678, %%ecx\n\trdmsr", "m"(trap)) == EXC_GP, "GP of an unknown MSR");
	ok(TRAP("mov %w0, %%ds", "r"(0xfff8)) == EXC_GP && trap.error == 0xfff8, "GP with selector");
	ok(TRAP("mov %w0, %%ss", "r"(0)) == NO_EXC, "null SS at CPL 0");
	ok(TRAP("mov %w0, %%ss", "r"(3)) == EXC_GP, "null SS with RPL 3");
	__asm__ volatile("mov %0, %%ss" : : "r"(SEL_DATA));
	gdt[SEL_FREE / 8] = 0x00cf13000000ffff; /* not present */
	ok(TRAP("mov %w0, %%es", "r"(SEL_FREE)) == EXC_NP && trap.error == SEL_FREE, "NP with selector");
	ok(TRAP("mov %w0, %%ss", "r"(SEL_FREE)) == EXC_SS && trap.error == SEL_FREE, "SS not present");
}

static void on_int(struct frame *f)
{
	seen = f->vector;
	__asm__ volatile("mov %%rsp, %0" : "=m"(seen_rsp));
}

static void double_fault(void)
{
	struct idt_entry gp = idt[EXC_GP], pf = idt[EXC_PF];
	u64 v;

	tss.ist[0] = (u64)(ist_stack + sizeof(ist_stack));
	idt[EXC_DF].ist = 1;
	idt[EXC_GP].type &= 0x7f; /* not present: #NP while delivering #GP */
	v = TRAP("mov $0x12345678, %%ecx\n\trdmsr", "m"(trap));
	idt[EXC_GP] = gp;
	ok(v == EXC_DF && trap.error == 0, "GP then NP is DF");
	idt[EXC_PF].type &= 0x7f;
	v = TRAP("movb $1, (%0)", "r"(UNMAPPED));
	idt[EXC_PF] = pf;
	ok(v == EXC_DF, "PF then NP is DF");
	idt[EXC_UD].type &= 0x7f;
	v = TRAP("ud2", "m"(trap));
	idt[EXC_UD].type |= 0x80;
	ok(v == EXC_NP && trap.error == (EXC_UD * 8 + 2 + 1), "UD then NP is NP with EXT");
	idt[0x80].type &= 0x7f;
	v = TRAP("int $0x80", "m"(trap));
	idt[0x80].type |= 0x80;
	ok(v == EXC_NP && trap.error == 0x80 * 8 + 2, "INT n then NP is NP without EXT");
	idt[EXC_DF].ist = 0;
}

static void interrupts(void)
{
	handlers[0x80] = on_int;
	__asm__ volatile("int $0x80" : : : "memory");
	ok(seen == 0x80, "INT n");
	idt[0x80].ist = 2;
	tss.ist[1] = (u64)(ist_stack + sizeof(ist_stack)) - 8;
	seen = 0;
	__asm__ volatile("int $0x80" : : : "memory");
	ok(seen == 0x80 && seen_rsp > (u64)ist_stack && seen_rsp < (u64)(ist_stack + sizeof(ist_stack)), "IST, aligned");
	idt[0x80].ist = 0;
	handlers[0x21] = on_int;
	__asm__ volatile("int $0x21" : : : "memory");
	ok(seen == 0x21, "another vector");
}

static void user_priv(void)
{
	__asm__ volatile("cli");
}
static void user_int(void)
{
	__asm__ volatile("int $0x21");
}
static void user_hlt(void)
{
	__asm__ volatile("hlt");
}
static void user_in(void)
{
	__asm__ volatile("inb $0x60, %%al" : : : "rax");
}
static void user_kernel_page(void)
{
	*(volatile u32 *)0x3fe00000 = 1;
}
static void user_ac(void)
{
	static u64 space[4];

	__asm__ volatile("pushfq\n\torl $0x40000, (%%rsp)\n\tpopfq\n\tmov %0, %%rcx" : : "m"(*(u64 *)((u8 *)space + 1)) : "rcx");
}
static void user_movcr(void)
{
	(void)READ_REG("cr3");
}
static void user_into_null_ss(void)
{
	__asm__ volatile("mov %0, %%ss" : : "r"(0));
}

static void user(void)
{
	static const struct {
		void (*fn)(void);
		u64 vector, error;
		const char *name;
	} cases[] = {
		{ user_int, EXC_GP, 0x21 * 8 + 2, "user INT of a DPL 0 gate" },
		{ user_priv, EXC_GP, 0, "user CLI" },
		{ user_in, EXC_GP, 0, "user IN" },
		{ user_hlt, EXC_GP, 0, "user HLT" },
		{ user_kernel_page, EXC_PF, 7, "user write to a supervisor page" },
		{ user_ac, EXC_AC, 0, "AC" },
		{ user_movcr, EXC_GP, 0, "user MOV CR" },
		{ user_into_null_ss, EXC_GP, 0, "user null SS" },
	};
	volatile u64 *pd = (volatile u64 *)0x3000;

	*(volatile u64 *)0x1000 |= 4;
	*(volatile u64 *)0x2000 |= 4;
	for (unsigned n = 0; n < 4; n++)
		pd[n] |= 4;
	WRITE_REG("cr3", READ_REG("cr3"));
	WRITE_REG("cr0", READ_REG("cr0") | 0x40000);
	for (unsigned n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		u64 v = run_user(cases[n].fn);

		ok(v == cases[n].vector && trap.error == cases[n].error && (trap.cs & 3) == 3, cases[n].name);
	}
}

void guest_main(void)
{
	simple();
	double_fault();
	interrupts();
	user();
}
