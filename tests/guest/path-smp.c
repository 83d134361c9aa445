/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One processor runs a loop through computed jumps (path.h) while another overwrites a handler in its second page, or maps
 * that page elsewhere and says so by an interrupt: who has read that a version is there must not run an older one.
 */
#include "path.h"

#define VERSIONS 1000
#define REMAPS 200
#define LOOPS 40

static volatile u32 there, finished, stale, runs, acks, up, mismatched;
static volatile bool remapping, over;

static void on_shootdown(struct frame *f)
{
	invlpg(LIN(HOME + 1));
	__atomic_fetch_add(&acks, 1, __ATOMIC_SEQ_CST);
	apic_write(0xb0, 0);
}

/* ADD has become mov eax, imm32: what is in RAX at the end says which version ran. */
static void put_version(unsigned which, u32 v)
{
	*(volatile u32 *)(code[which] + (imm_at[ADD] & 4095)) = v;
}

static void run_once(void)
{
	u32 least = there, a = 0, c = 0, got;

	__asm__ volatile("cpuid" : "+a"(a), "+c"(c) : : "ebx", "edx", "memory"); /* as other processors' code wants it */
	begin();
	regs.flags |= 0x200;
	path_go();
	got = (u32)regs.r[RAX];
	stale += got < least;
	mismatched += regs.r[RSI] != (u64)stream + length + 1;
	runs++;
}

void ap_main(unsigned cpu)
{
	apic_enable();
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
	WRITE_REG("cr3", (u64)space[0].pml4);
	up = 1;
	__asm__ volatile("sti");
	while (!over)
		run_once();
	finished = 1;
}

static void pause_for(u64 ticks)
{
	for (u64 start = rdtsc(); rdtsc() - start < ticks;)
		__asm__ volatile("pause");
}

/* As long as the other one needs for some turns. */
static void let_run(u32 turns)
{
	u32 seen = runs;

	while (runs - seen < turns)
		__asm__ volatile("pause");
}

static void rewrite(void)
{
	for (u32 v = 1; v <= VERSIONS; v++) {
		put_version(HOME + 1, v);
		__asm__ volatile("" : : : "memory");
		there = v;
		if (v % 8 == 0)
			let_run(rng() % 60);
		else
			pause_for(rng() % 100000);
	}
	let_run(2);
	ok(!stale && !mismatched, "no old code after the new one was announced");
}

static void remap(void)
{
	for (u32 n = 1; n <= REMAPS; n++) {
		unsigned which = HOME + 1 + n % 2;
		u32 v = VERSIONS + n, acked = acks;

		put_version(which, v);
		map_in(0, HOME + 1, code[which], P | W | U);
		apic_write(0x300, 0xc4041);
		while (acks == acked)
			__asm__ volatile("pause");
		there = v;
		if (n % 8 == 0)
			let_run(rng() % 60);
		else
			pause_for(rng() % 100000);
	}
	let_run(2);
	ok(!stale && !mismatched, "no old page after the new one was announced");
}

static void put_add(unsigned which)
{
	map_code(HOME + 1, which);
	here = table[ADD] = LIN(HOME + 1) + 1024;
	byte(0xb8);
	with_imm(ADD);
	tail(BY_LEA);
}

void guest_main(void)
{
	make_spaces();
	imm_is[ADD] = 0;
	scatter(1, BY_LEA, false);
	put_add(HOME + 2);
	put_add(HOME + 1);
	here = table[LEA];
	bytes(0x4d8d440801, 5); /* lea r8, [r8 + rcx + 1] */
	tail(BY_LEA);
	for (length = 0; length < 2 * LOOPS; length += 2)
		stream[length] = LEA, stream[length + 1] = ADD;
	stream[length] = END;
	handlers[0x41] = on_shootdown;
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	apic_enable();
	start_aps(2);
	while (!up)
		__asm__ volatile("pause");
	rewrite();
	remap();
	over = true;
	while (!finished)
		__asm__ volatile("pause");
	ok(runs > 1000, "the other one ran meanwhile");
}
