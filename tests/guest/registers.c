/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads of segment and control registers in every size, FSGSBASE with its checks, CLD and STD, bit strings with live flags, an
 * undefined flag that is read.
 */
#include "rt.h"

static void selectors(void)
{
	u64 ax = 0x1122334455667788, r10 = 0x1122334455667788, r11 = ax, rbx = ~0ull;

	__asm__ volatile("mov %0, %%r10\n\tmovw %%cs, %w0\n\tmovw %%ss, %%r10w\n\tmov %%r10, %1\n\tmov $-1, %%r11\n\t"
			 "movl %%cs, %%r11d\n\tmov %%r11, %2\n\tmov %%ss, %3"
			 : "+a"(ax), "=r"(r10), "=r"(r11), "+b"(rbx)
			 :
			 : "r10", "r11");
	ok(ax == (0x1122334455660000 | SEL_CODE64), "16 bits of CS keep the rest");
	ok(r10 == (0x1122334455660000 | SEL_DATA) || r10 == 0x1122334455660000, "16 bits of SS to R10");
	ok(r11 == SEL_CODE64, "32 bits of CS to R11");
	ok(rbx == SEL_DATA || rbx == 0, "64 bits of SS");
}

static void control(void)
{
	u64 cr0, cr2, cr3, cr4, again, sp, saved;

	__asm__ volatile("mov %%cr0, %0\n\tmov %%cr3, %1\n\tmov %%cr4, %2" : "=r"(cr0), "=r"(cr3), "=r"(cr4));
	ok((cr0 & 0x80000001) == 0x80000001 && cr3 && (cr4 & 0x20), "CR0, CR3, CR4");
	__asm__ volatile("mov %1, %%cr2\n\tmov %%cr2, %%r9\n\tmov %%r9, %0" : "=r"(cr2) : "r"(0x123456789abcull) : "r9");
	ok(cr2 == 0x123456789abc, "CR2 to R9");
	__asm__ volatile("mov %%rsp, %1\n\tmov %%cr2, %%rsp\n\tmov %%rsp, %0\n\tmov %1, %%rsp" : "=&r"(sp), "=&r"(saved));
	ok(sp == 0x123456789abc, "CR2 to RSP");
	__asm__ volatile("mov %%cr4, %0" : "=r"(again));
	ok(again == cr4, "CR4 again");
}

static void user_control(void)
{
	u64 v;

	__asm__ volatile("mov %%cr2, %0" : "=r"(v));
}

static u64 fs_value, gs_value;

static void user_bases(void)
{
	__asm__ volatile("wrfsbase %2\n\trdfsbase %0\n\twrgsbase %3\n\trdgsbase %%r10\n\tmov %%r10, %1"
			 : "=r"(fs_value), "=r"(gs_value)
			 : "r"(0x7fff12345678ull), "r"(0xffff800000001000ull)
			 : "r10");
}

static void bases(void)
{
	u64 cr4, a, b;

	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 & ~0x10000ull));
	for (unsigned n = 0; n < 3; n++)
		ok(TRAP("rdfsbase %%rcx", "m"(cr4)) == EXC_UD, "RDFSBASE without CR4.FSGSBASE");
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | 0x10000));
	for (unsigned n = 0; n < 3; n++) {
		__asm__ volatile("wrfsbase %2\n\trdfsbase %0\n\trdfsbase %k1" : "=&r"(a), "=&r"(b) : "r"(0xffff8000deadbee0 + n));
		ok(a == 0xffff8000deadbee0 + n && b == 0xdeadbee0 + n, "FS base, wide and narrow");
		ok(rdmsr(0xc0000100) == a, "the MSR is the same");
		__asm__ volatile("wrfsbase %k1\n\trdfsbase %0" : "=&r"(a) : "r"(0xffff8000deadbee0 + n));
		ok(a == 0xdeadbee0 + n, "narrow write");
		ok(TRAP("wrfsbase %0", "b"(1ull << 47)) == EXC_GP && trap.error == 0, "WRFSBASE not canonical");
		ok(TRAP("wrgsbase %0", "b"(0xff00000000000000)) == EXC_GP, "WRGSBASE not canonical");
	}
	ok(run_user(user_bases) == NO_EXC && fs_value == 0x7fff12345678 && gs_value == 0xffff800000001000, "user's bases");
	ok(run_user(user_control) == EXC_GP, "user reads CR2");
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4));
}

static void direction(void)
{
	u64 up, down, carry;

	__asm__ volatile("stc\n\tstd\n\tpushfq\n\tpop %0\n\tcld\n\tpushfq\n\tpop %1\n\tsbb %2, %2"
			 : "=r"(down), "=r"(up), "=r"(carry)
			 :
			 : "cc");
	ok((down & 0x401) == 0x401 && (up & 0x401) == 1 && carry == ~0ull, "STD, CLD and nothing else");
}

static void bits(void)
{
	static u64 map[8192] __attribute__((aligned(4096)));
	u64 zero, set, *middle = map + 4096;

	for (u64 n = 0; n < 200; n++) {
		u64 bit = (n * 2654435761u) % (4096 * 64) * (n & 1 ? 1 : (u64)-1), was;

		__asm__ volatile("xor %%eax, %%eax\n\tlock btsq %3, (%4)\n\tsete %b0\n\tsbb %1, %1\n\tbtq %3, (%4)\n\tsbb %2, %2"
				 : "=&a"(zero), "=&r"(was), "=&r"(set)
				 : "r"(bit), "r"(middle)
				 : "memory", "cc");
		if (was || set != ~0ull || zero != 1 || !(middle[(long)bit >> 6] >> (bit & 63) & 1))
			ok(false, "LOCK BTS of a far bit");
		__asm__ volatile("btrq %1, (%2)\n\tsbb %0, %0" : "=r"(was) : "r"(bit), "r"(middle) : "memory", "cc");
		if (was != ~0ull)
			ok(false, "BTR of a far bit");
	}
	for (unsigned n = 0; n < 8192; n++)
		if (map[n])
			ok(false, "all bits are clear again");
	ok(true, "bit strings");
}

/* OF behind BT is anything, and translated code need not keep what it was: for lock-step no difference. */
static void undefined(void)
{
	static volatile u64 word = 1;
	u64 carries = 0;

	for (unsigned n = 0; n < 20; n++) {
		u8 carry, overflow;

		__asm__ volatile("mov $0x7fffffff, %%eax\n\tadd $1, %%eax\n\tmov %2, %%rcx\n\tbt $0, %%ecx\n\tseto %1\n\tsetc %0"
				 : "=q"(carry), "=q"(overflow)
				 : "m"(word)
				 : "rax", "rcx", "cc");
		carries += carry;
	}
	ok(carries == 20, "BT with OF read behind it");
}

void guest_main(void)
{
	*(volatile u64 *)0x1000 |= 4; /* user access to the first 2 MiB */
	*(volatile u64 *)0x2000 |= 4;
	*(volatile u64 *)0x3000 |= 4;
	WRITE_REG("cr3", READ_REG("cr3"));
	selectors();
	control();
	bases();
	direction();
	bits();
	undefined();
}
