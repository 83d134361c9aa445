/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug registers and single steps: code and data breakpoints, RF, TF, MOV SS, DR7.GD, DR4 under CR4.DE. */
#include "rt.h"

static volatile u64 hits, last_rip, last_dr6, steps;
static u64 rips[16];
static volatile u64 watched[4];

static void on_db(struct frame *f)
{
	hits++;
	last_rip = f->rip;
	last_dr6 = READ_REG("dr6");
	WRITE_REG("dr6", 0xffff0ff0);
	if (steps < 16)
		rips[steps++] = f->rip;
	if (!(last_dr6 & 0x4000) && (last_dr6 & 15))
		f->rflags |= 0x10000; /* RF: go on past a code breakpoint */
}

static void code_breakpoint(void)
{
	u64 where;

	hits = 0;
	__asm__ volatile("lea 1f(%%rip), %0\n\tmov %0, %%dr0\n\tmov $0x402, %%eax\n\tmov %%rax, %%dr7\n\tnop\n"
			 "1:\tnop\n\tnop\n\tmov $0x400, %%eax\n\tmov %%rax, %%dr7"
			 : "=&r"(where)
			 :
			 : "rax", "memory");
	ok(hits == 1 && last_rip == where && (last_dr6 & 0xf) == 1, "code breakpoint, once with RF");
}

static void data_breakpoint(void)
{
	u64 after;

	hits = 0;
	WRITE_REG("dr1", &watched[1]);
	WRITE_REG("dr7", 0x408 | 0xdull << 20); /* DR1: writes, 4 bytes */
	watched[0] = 1;
	(void)watched[1];
	ok(hits == 0, "reads and neighbours do not hit");
	__asm__ volatile("movl $1, %1\n1:\tlea 1b(%%rip), %0" : "=r"(after), "=m"(watched[1]));
	ok(hits == 1 && last_rip == after && (last_dr6 & 0xf) == 2, "write breakpoint traps behind the instruction");
	WRITE_REG("dr7", 0x408 | 0xfull << 20);
	hits = 0;
	(void)watched[1];
	ok(hits == 1, "access breakpoint on a read");
	*(volatile u8 *)((u64)&watched[1] + 3) = 1;
	ok(hits == 2, "last byte hits");
	*(volatile u8 *)((u64)&watched[1] + 4) = 1;
	ok(hits == 2, "behind it does not");
	WRITE_REG("dr7", 0x400);
}

static void single_step(void)
{
	hits = steps = 0;
	__asm__ volatile("pushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\tnop\n\tnop\n\tpushfq\n\tandl $~0x100, (%%rsp)\n\tpopfq"
			 :
			 :
			 : "memory", "cc");
	ok(hits == 5 && (last_dr6 & 0x4000), "TF traps after each instruction behind POPF");
	hits = steps = 0;
	__asm__ volatile("mov $0x10, %%ecx\n\tpushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\tmov %%ecx, %%ss\n\tnop\n\tpushfq\n\t"
			 "andl $~0x100, (%%rsp)\n\tpopfq"
			 :
			 :
			 : "rcx", "memory", "cc");
	ok(hits == 4, "MOV SS holds the trap back");
	hits = steps = 0;
	__asm__ volatile("mov $3, %%ecx\n\tmov %0, %%rdi\n\tmov %0, %%rsi\n\tpushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\t"
			 "rep movsb\n\tpushfq\n\tandl $~0x100, (%%rsp)\n\tpopfq"
			 :
			 : "r"(watched)
			 : "rcx", "rsi", "rdi", "memory", "cc");
	ok(hits == 6 && rips[0] == rips[1] && rips[2] == rips[0] + 2, "TF traps after each iteration of REP");
}

static void registers(void)
{
	u64 cr4 = READ_REG("cr4");

	WRITE_REG("dr7", 0);
	ok(READ_REG("dr7") == 0x400, "DR7 bit 10 is one");
	WRITE_REG("dr6", 0);
	ok((READ_REG("dr6") & 0xffffeff0) == 0xffff0ff0 || (READ_REG("dr6") & 0xfffe0ff0) == 0xfffe0ff0, "DR6 fixed bits");
	WRITE_REG("dr3", 0x123456789abcull);
	ok(READ_REG("dr3") == 0x123456789abcull, "DR3 keeps 64 bits");
	ok(TRAP("mov %0, %%dr7", "r"(1ull << 32)) == EXC_GP, "DR7 upper half");
	WRITE_REG("cr4", cr4 | 8);
	ok(TRAP(".byte 0x0f, 0x21, 0xe1", "m"(trap)) == EXC_UD, "DR4 under CR4.DE");
	WRITE_REG("cr4", cr4 & ~8ull);
	ok(TRAP(".byte 0x0f, 0x21, 0xe1", "m"(trap)) == NO_EXC, "DR4 is DR6");
	WRITE_REG("dr7", 0x2400);
	ok(TRAP("mov %%dr0, %%rcx", "m"(trap)) == EXC_DB && (trap.dr6 & 0x2000), "DR7.GD");
	ok(!(READ_REG("dr7") & 0x2000), "GD is cleared");
	WRITE_REG("dr6", 0xffff0ff0);
}

static void int1(void)
{
	static volatile u64 where;

	ok(TRAP("lea 1f(%%rip), %%rcx\n\tmov %%rcx, %0\n\t.byte 0xf1\n1:\tnop", "m"(where)) == EXC_DB && trap.rip == where,
	   "INT1");
}

void guest_main(void)
{
	handlers[EXC_DB] = on_db;
	registers();
	code_breakpoint();
	data_breakpoint();
	single_step();
	int1();
}
