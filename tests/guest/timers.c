/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timers: LAPIC one-shot, periodic and TSC deadline, the PIT's count, HLT until a timer, the TSC. */
#include "rt.h"

static volatile u64 ticks;

static void on_tick(struct frame *f)
{
	ticks++;
	apic_write(0xb0, 0);
}

static bool wait_for(u64 n)
{
	u64 start = rdtsc();

	while (ticks < n && rdtsc() - start < 20000000000ull)
		__asm__ volatile("sti\n\thlt\n\tcli");
	return ticks >= n;
}

/* The timer is off; a tick that came meanwhile is taken. */
static void settle(void)
{
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
	ticks = 0;
}

static void lapic(void)
{
	u32 a, b;

	apic_write(0x3e0, 0xb);
	apic_write(0x320, 0x10040); /* masked */
	apic_write(0x380, 0xffffffff);
	a = apic_read(0x390);
	for (u64 start = rdtsc(); rdtsc() - start < 1000000;)
		;
	b = apic_read(0x390);
	ok(b < a, "the count goes down");
	apic_write(0x380, 0);
	apic_write(0x320, 0x40);
	ticks = 0;
	apic_write(0x380, 1000000);
	ok(wait_for(1), "one-shot");
	ok(apic_read(0x390) == 0, "it stops at zero");
	apic_write(0x320, 0x20040);
	ticks = 0;
	apic_write(0x380, 1000000);
	ok(wait_for(5), "periodic");
	apic_write(0x380, 0);
	settle();
	apic_write(0x320, 0x10000);
}

static void deadline(void)
{
	u32 out[4];
	u64 when;

	cpuid(1, 0, out);
	if (!(out[2] >> 24 & 1))
		return;
	apic_write(0x320, 0x40040);
	ticks = 0;
	when = rdtsc() + 5000000;
	wrmsr(0x6e0, when);
	ok(wait_for(1), "TSC deadline");
	ok(rdtsc() + 5000000 / 32 >= when, "not early, but for what a host's calibration of its TSC is off");
	ok(rdmsr(0x6e0) == 0, "the deadline reads as zero afterwards");
	ticks = 0;
	wrmsr(0x6e0, 1);
	ok(wait_for(1), "a deadline in the past fires at once");
	ticks = 0;
	wrmsr(0x6e0, rdtsc() + 100000000000ull);
	wrmsr(0x6e0, 0);
	for (u64 start = rdtsc(); rdtsc() - start < 3000000;)
		__asm__ volatile("sti\n\tnop\n\tcli");
	ok(!ticks && rdmsr(0x6e0) == 0, "disarmed");
	apic_write(0x320, 0x10000);
}

static u16 pit_count(void)
{
	u8 lo;

	out8(0x43, 0x00);
	lo = in8(0x40);
	return (u16)(lo | in8(0x40) << 8);
}

static void pit(void)
{
	u16 a, b;

	out8(0x43, 0x34);
	out8(0x40, 0xff);
	out8(0x40, 0xff);
	for (u64 start = rdtsc(); rdtsc() - start < 100000;)
		;
	a = pit_count();
	for (u64 start = rdtsc(); rdtsc() - start < 3000000;)
		;
	b = pit_count();
	ok(a != b, "the PIT counts");
	/* channel 2, one-shot, watched at port 0x61 */
	out8(0x61, (in8(0x61) & ~2) | 1);
	out8(0x43, 0xb0);
	out8(0x42, 0x00);
	out8(0x42, 0x10);
	ok(!(in8(0x61) & 0x20), "channel 2 output is low");
	for (u64 start = rdtsc(); !(in8(0x61) & 0x20) && rdtsc() - start < 20000000000ull;)
		;
	ok(in8(0x61) & 0x20, "channel 2 output goes high");
}

static void tsc(void)
{
	u64 a = rdtsc(), b = rdtsc();
	u32 aux, lo, hi;

	ok(b >= a, "the TSC does not go back");
	wrmsr(0xc0000103, 0x1234);
	__asm__ volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
	ok(aux == 0x1234, "RDTSCP");
	wrmsr(0x10, 1000);
	a = rdtsc();
	ok(a >= 1000 && a < 100000000000ull, "the TSC is written");
}

void guest_main(void)
{
	handlers[0x40] = on_tick;
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	apic_enable();
	tsc();
	lapic();
	deadline();
	pit();
}
