/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two processors at one place: every kind of LOCKed access across a page boundary, in pages that lie
 * apart, against each other and against accesses to one half; and code that LOCKed writes change under the other's feet.
 */
#include "rt.h"

#define ROUNDS 1000
#define CODE_ROUNDS 5000
#define WINDOW 0x40000000ull /* virtual: four pages */

static volatile u64 pd[512] __attribute__((aligned(4096))), pt[512] __attribute__((aligned(4096)));
static volatile u8 frame[4][4096] __attribute__((aligned(4096)));
static volatile u32 up, phase, done[4];
static volatile u64 step_sum;
static volatile u8 code[64] __attribute__((aligned(64)));
static volatile u32 generation, half_phase, half_count;
static volatile bool stale, half_done;

/* The places: `below` bytes of an operand are in the first page, the rest is in the second. */
static volatile void *at(unsigned below)
{
	return (volatile void *)(WINDOW + 4096 - below);
}

static void alu(void)
{
	__asm__ volatile("lock addw $1, %0" : "+m"(*(volatile u16 *)at(1)));
}

static void inc(void)
{
	__asm__ volatile("lock incl %0" : "+m"(*(volatile u32 *)at(3)));
}

static void xadd(void)
{
	u64 v = 0x100000001;

	__asm__ volatile("lock xaddq %0, %1" : "+r"(v), "+m"(*(volatile u64 *)at(4)));
}

static void cmpxchg(void)
{
	u64 old = *(volatile u64 *)at(5);
	u8 equal;

	do
		__asm__ volatile("lock cmpxchgq %3, %1\n\tsete %2"
				 : "+a"(old), "+m"(*(volatile u64 *)at(5)), "=q"(equal)
				 : "r"(old + 0x10001)
				 : "memory");
	while (!equal);
}

static void cmpxchg8b(void)
{
	u64 old = *(volatile u64 *)at(6), new;
	u32 lo = (u32)old, hi = (u32)(old >> 32);
	u8 equal;

	do {
		new = ((u64)hi << 32 | lo) + 0x1000000001;
		__asm__ volatile("lock cmpxchg8b %0\n\tsete %3"
				 : "+m"(*(volatile u64 *)at(6)), "+a"(lo), "+d"(hi), "=q"(equal)
				 : "b"((u32)new), "c"((u32)(new >> 32))
				 : "memory");
	} while (!equal);
}

/* XCHG has LOCK of its own: a lock over the boundary, and a plain sum under it. */
static void xchg(void)
{
	u32 v;

	do {
		v = 1;
		__asm__ volatile("xchgl %0, %1" : "+r"(v), "+m"(*(volatile u32 *)at(2)) : : "memory");
	} while (v);
	step_sum++;
	v = 0;
	__asm__ volatile("xchgl %0, %1" : "+r"(v), "+m"(*(volatile u32 *)at(2)) : : "memory");
}

static const struct {
	void (*once)(void);
	unsigned below;
	u64 want, mask;
	const char *name;
} kinds[] = {
	{ alu, 1, 2 * ROUNDS, 0xffff, "LOCK ADD of a word" },
	{ inc, 3, 2 * ROUNDS, 0xffffffff, "LOCK INC of a doubleword" },
	{ xadd, 4, 2 * ROUNDS * 0x100000001, ~0ull, "LOCK XADD of a quadword" },
	{ cmpxchg, 5, 2 * ROUNDS * 0x10001ull, ~0ull, "LOCK CMPXCHG" },
	{ cmpxchg8b, 6, 2 * ROUNDS * 0x1000000001, ~0ull, "LOCK CMPXCHG8B" },
	{ xchg, 2, 0, 0xffffffff, "XCHG as a lock" },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void meet(volatile u32 *count, u32 want)
{
	__atomic_fetch_add(count, 1, __ATOMIC_SEQ_CST);
	while (*count < want)
		__asm__ volatile("pause");
}

static void work(unsigned kind)
{
	meet(&phase, 2 * kind + 2);
	for (unsigned n = 0; n < ROUNDS; n++)
		kinds[kind].once();
	meet(&done[0], 2 * kind + 2);
}

/*
 * One processor adds to the upper four bytes of eight and writes the lower ones as they were; the other adds to the lower four,
 * which are in one page, as fast as it can. Rounds count only when both ran: one may wait for its turn on the host.
 */
static u32 upper_half(void)
{
	u32 rounds = 0, last = 0, now;

	meet(&half_phase, 2);
	for (unsigned both = 0; both < ROUNDS / 4; rounds++, last = now) {
		__asm__ volatile("lock addq %1, %0" : "+m"(*(volatile u64 *)at(4)) : "r"(1ull << 32));
		now = *(volatile u32 *)at(4);
		both += now != last;
	}
	half_done = true;
	while (!half_count)
		__asm__ volatile("pause");
	return rounds;
}

static void lower_half(void)
{
	u32 count = 0;

	meet(&half_phase, 2);
	do {
		__asm__ volatile("lock incl %0" : "+m"(*(volatile u32 *)at(4)));
		count++;
	} while (!half_done || !count);
	half_count = count;
}

/* mov $generation, %eax; ret. The writer tells a generation after its code is there. */
static void write_code(void)
{
	for (u32 n = 1; n <= CODE_ROUNDS; n++) {
		u32 v = n;

		__asm__ volatile("xchgl %0, %1" : "+r"(v), "+m"(*(volatile u32 *)(code + 1)) : : "memory");
		generation = n;
	}
}

static void run_code(void)
{
	u32 (*f)(void) = (u32(*)(void))(u64)code, told, out[4];

	do {
		told = generation;
		cpuid(0, 0, out); /* serializes, as the rules for cross-modifying code want (SDM vol. 3, 8.1.3) */
		if (f() < told)
			stale = true;
	} while (told < CODE_ROUNDS);
}

void ap_main(unsigned cpu)
{
	apic_enable();
	__atomic_fetch_add(&up, 1, __ATOMIC_SEQ_CST);
	for (unsigned k = 0; k < KINDS; k++)
		work(k);
	lower_half();
	meet(&done[1], 2);
	run_code();
	__atomic_fetch_add(&done[2], 1, __ATOMIC_SEQ_CST);
}

static u64 value(unsigned k)
{
	return *(volatile u64 *)at(kinds[k].below) & kinds[k].mask;
}

void guest_main(void)
{
	u64 rounds;

	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	apic_enable();
	*(volatile u64 *)0x2008 = (u64)pd | 3;
	pd[0] = (u64)pt | 3;
	pt[0] = (u64)frame[2] | 3; /* against the order in memory, with one between them */
	pt[1] = (u64)frame[0] | 3;
	WRITE_REG("cr3", READ_REG("cr3"));
	start_aps(2);
	while (!up)
		__asm__ volatile("pause");
	for (unsigned k = 0; k < KINDS; k++) {
		for (unsigned n = 0; n < 16; n++)
			((volatile u8 *)at(8))[n] = 0;
		work(k);
		ok(value(k) == kinds[k].want, kinds[k].name);
	}
	*(volatile u64 *)at(4) = 0;
	rounds = upper_half();
	ok(*(volatile u64 *)at(4) == (rounds << 32 | half_count), "LOCK ADD against LOCK INC of one half");
	ok(step_sum == 2 * ROUNDS, "what the lock protects");
	ok(!frame[1][0] && !frame[1][4095] && !frame[3][0] && frame[2][0] == 0, "no other page is touched");
	pt[1] = 0;
	__asm__ volatile("invlpg (%0)" : : "r"(WINDOW + 4096) : "memory");
	*(volatile u16 *)at(2) = 0x1234;
	ok(TRAP("lock addl $1, (%0)", "r"(at(2))) == EXC_PF && trap.cr2 == WINDOW + 4096, "PF of the second page");
	ok(*(volatile u16 *)at(2) == 0x1234, "the first page is as it was");
	pt[1] = MMIO_BASE | 3;
	*(volatile u16 *)MMIO_BASE = 7;
	*(volatile u16 *)at(2) = 0xffff;
	__asm__ volatile("lock addl $1, %0" : "+m"(*(volatile u32 *)at(2)));
	ok(*(volatile u16 *)at(2) == 0 && *(volatile u16 *)MMIO_BASE == 8, "into a device's page");
	code[0] = 0xb8;
	*(volatile u32 *)(code + 1) = 0;
	code[5] = 0xc3;
	meet(&done[1], 2);
	write_code();
	while (!done[2])
		__asm__ volatile("pause");
	ok(!stale, "code changed by XCHG, seen by the other processor");
}
