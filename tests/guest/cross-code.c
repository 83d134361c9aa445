/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One processor rewrites functions, in every way that stores can go, while others run them: who has read that a version is
 * there must not run an older one. Each page becomes code and is rewritten again and again, so that a first run meets a write.
 */
#include "rt.h"

#define CPUS 3
#define PAGES 24
#define VERSIONS 50000

static u8 pages[PAGES][4096] __attribute__((aligned(4096)));
static volatile u32 there[PAGES], up, stale, stale_behind, runs, finished;
static bool has_serialize;

/*
 * mov $version, %eax; ret: the version is aligned for a store of 8 bytes, which writes the RET as well. Before it the function
 * that takes its time, reads the version that is there, to EDX, and serializes: one block.
 */
#define SLOW_AT 16
#define FAST_AT 63
static volatile u64 *operand(unsigned k)
{
	return (volatile u64 *)(pages[k] + FAST_AT + 1);
}

static void make_functions(unsigned k)
{
	static const u8 end[] = { 0x8b, 0x17, 0x0f, 0x01, 0xe8, 0xb8 }; /* mov (%rdi), %edx; serialize; mov $, %eax */
	u8 *to = pages[k] + SLOW_AT;

	while (to < pages[k] + FAST_AT + 1 - sizeof(end)) {
		bool room = to + 2 <= pages[k] + FAST_AT + 1 - sizeof(end);

		*to++ = room ? 0xf3 : 0x90; /* pause, or nop */
		if (room)
			*to++ = 0x90;
	}
	for (unsigned n = 0; n < sizeof(end); n++)
		to[n] = end[n];
}

static void by_move(unsigned k, u64 v)
{
	*operand(k) = v;
}

static void by_exchange(unsigned k, u64 v)
{
	__atomic_exchange_n(operand(k), v, __ATOMIC_SEQ_CST);
}

static void by_push(unsigned k, u64 v)
{
	u64 sp;

	__asm__ volatile("mov %%rsp, %0\n\tmov %1, %%rsp\n\tpush %2\n\tmov %0, %%rsp"
			 : "=&r"(sp)
			 : "r"(operand(k) + 1), "r"(v)
			 : "memory");
}

static void by_string(unsigned k, u64 v)
{
	volatile u64 *to = operand(k);
	u64 n = 1;

	__asm__ volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(v) : "memory");
}

static void by_vector(unsigned k, u64 v)
{
	__asm__ volatile("movq %0, %%xmm0\n\tmovq %%xmm0, (%1)" : : "r"(v), "r"(operand(k)) : "memory");
}

static void rewrite(unsigned k, u32 v)
{
	static void (*const ways[])(unsigned, u64) = { by_move, by_exchange, by_push, by_string, by_vector };

	ways[(k + v) % (sizeof(ways) / sizeof(*ways))](k, v | 0xc3ull << 32);
	__asm__ volatile("" : : : "memory");
	there[k] = v;
}

static u32 run_slow(unsigned k, u32 *ret_least)
{
	u32 got;

	__asm__ volatile("call *%2" : "=a"(got), "=d"(*ret_least) : "r"(pages[k] + SLOW_AT), "D"(&there[k]) : "memory", "cc");
	return got;
}

static void run_all(void)
{
	for (unsigned k = 0; k < PAGES; k++) {
		u32 least = there[k], a = 0, c = 0, got;

		__asm__ volatile("cpuid" : "+a"(a), "+c"(c) : : "ebx", "edx", "memory"); /* as other processors' code wants it */
		got = ((u32(*)(void))(u64)(pages[k] + FAST_AT))();
		if (got < least)
			__atomic_fetch_add(&stale, 1, __ATOMIC_SEQ_CST);
		if (has_serialize && run_slow(k, &least) < least)
			__atomic_fetch_add(&stale_behind, 1, __ATOMIC_SEQ_CST);
	}
	__atomic_fetch_add(&runs, 1, __ATOMIC_SEQ_CST);
}

void ap_main(unsigned cpu)
{
	WRITE_REG("cr4", READ_REG("cr4") | 0x600);
	__atomic_fetch_add(&up, 1, __ATOMIC_SEQ_CST);
	while (there[PAGES - 1] < VERSIONS)
		run_all();
	run_all();
	__atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
	for (;;)
		__asm__ volatile("cli\n\thlt");
}

void guest_main(void)
{
	u32 leaf[4];

	WRITE_REG("cr4", READ_REG("cr4") | 0x600);
	apic_enable();
	for (unsigned k = 0; k < PAGES; k++) {
		make_functions(k);
		rewrite(k, 0);
	}
	cpuid(7, 0, leaf);
	has_serialize = leaf[3] >> 14 & 1;
	start_aps(CPUS);
	while (up < CPUS - 1)
		__asm__ volatile("pause");
	for (u32 v = 1; v <= VERSIONS; v++)
		for (unsigned k = 0; k < PAGES; k++)
			rewrite(k, v);
	while (finished < CPUS - 1)
		__asm__ volatile("pause");
	ok(runs > 2 * (CPUS - 1), "the others ran while the code changed");
	ok(!stale, "no old code after the new one was announced");
	ok(!stale_behind, "nor behind a SERIALIZE in the same page");
}
