/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code that changes: in front of the next instruction, in a loop, through another mapping, by the string unit, across pages; and
 * variables that change beside it.
 */
#include "rt.h"

static u8 code[3 * 4096] __attribute__((aligned(4096)));
typedef u32 fn_t(void);

static void put_return(u8 *p, u32 v)
{
	p[0] = 0xb8; /* mov $v, %eax; ret */
	*(volatile u32 *)(p + 1) = v;
	p[5] = 0xc3;
	__asm__ volatile("" : : : "memory");
}

static void next_instruction(void)
{
	u32 v;

	__asm__ volatile("lea 1f(%%rip), %%rcx\n\tmovl $2, 1(%%rcx)\n1:\tmov $1, %0" : "=a"(v) : : "rcx", "memory");
	ok(v == 2, "store into the next instruction");
}

/* SERIALIZE (SDM vol. 2), where it is: what was written before it is what runs behind it. */
static void serialized(void)
{
	u32 v, out[4];

	cpuid(7, 0, out);
	if (!(out[3] >> 14 & 1))
		return;
	for (u32 n = 0; n < 100; n++) {
		__asm__ volatile("lea 1f(%%rip), %%rcx\n\tmovl %1, 1(%%rcx)\n\t.byte 0x0f, 0x01, 0xe8\n1:\tmov $0x11223344, %0"
				 : "=a"(v) : "d"(n) : "rcx", "memory");
		ok(v == n, "store, SERIALIZE");
	}
}

static void repeated(void)
{
	fn_t *f = (fn_t *)(u64)code;
	bool good = true;

	for (u32 n = 0; n < 2000; n++) {
		put_return(code, n * 7);
		good &= f() == n * 7;
		if (n & 1)
			good &= f() == n * 7;
	}
	ok(good, "rewritten again and again");
}

static void alias(void)
{
	volatile u64 *pd = (volatile u64 *)0x3000;
	fn_t *f = (fn_t *)(u64)code;
	u8 *other = (u8 *)((u64)code ^ 0x8000000); /* mapped to the same memory */

	pd[((u64)other >> 21) & 511] = pd[((u64)code >> 21) & 511];
	pd[((u64)other >> 21 & 511) + 1] = pd[((u64)code >> 21 & 511) + 1];
	WRITE_REG("cr3", READ_REG("cr3"));
	put_return(code, 1);
	ok(f() == 1, "before");
	put_return(other, 2);
	ok(f() == 2, "written through another mapping");
	put_return(code, 3);
	ok(((fn_t *)(u64)other)() == 3, "run through another mapping");
}

static void by_string(void)
{
	static u8 image[6];
	fn_t *f = (fn_t *)(u64)code;
	void *d = code;
	const void *s = image;
	u64 n = 6;

	put_return(code, 1);
	(void)f();
	put_return(image, 77);
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	ok(f() == 77, "written by REP MOVS");
}

static void across_pages(void)
{
	bool good = true;

	for (unsigned k = 1; k < 6; k++) {
		u8 *p = code + 4096 - k;
		fn_t *f = (fn_t *)(u64)p;

		put_return(p, 0x11223344);
		good &= f() == 0x11223344;
		put_return(p, 0x55667788);
		good &= f() == 0x55667788;
		if (k < 5) { /* the second page alone changes */
			((volatile u8 *)p)[4] = 0x99;
			good &= f() == 0x99667788;
		}
	}
	ok(good, "instruction across two pages");
}

static void remapped(void)
{
	volatile u64 *pd = (volatile u64 *)0x3000;
	u8 *at = (u8 *)0x10000000; /* 256 MiB: beyond memory, mapped as we like */
	fn_t *f = (fn_t *)(u64)at;
	volatile u64 *entry = &pd[(u64)at >> 21];
	bool good = true;

	put_return((u8 *)0x2000000, 1);
	put_return((u8 *)0x2200000, 2);
	for (unsigned n = 0; n < 100; n++) {
		*entry = (n & 1 ? 0x2200000 : 0x2000000) | 0x83;
		__asm__ volatile("invlpg (%0)" : : "r"(at) : "memory");
		good &= f() == (n & 1) + 1;
	}
	ok(good, "another page at the same address");
}

/* Variables in the cache line of code, which is compared when it is fetched anew; and stores to both at once. */
static void beside(void)
{
	volatile u64 *before = (volatile u64 *)(code + 64), *behind = (volatile u64 *)(code + 64 + 8 + 6);
	u8 *p = code + 64 + 8;
	fn_t *f = (fn_t *)(u64)p;
	bool good = true;

	put_return(p, 1);
	for (u32 n = 0; n < 200; n++) {
		*before = n;
		*behind = n * 3;
		good &= f() == 1 && *before == n && *behind == n * 3;
		if (n % 8 == 7) {
			__asm__ volatile("outb %%al, $0x80" : : "a"(0)); /* an exit: devices may have written */
			WRITE_REG("cr3", READ_REG("cr3"));
		}
	}
	ok(good, "variables beside code");
	for (u32 n = 0; n < 200; n++) {
		p[1] = (u8)n;
		good &= f() == n;
		*before = ~(u64)n;
		*behind = n;
		good &= f() == n;
		*(volatile u64 *)(p - 4) = 0xb8ull << 32 | (u64)(n + 1) << 40;
		good &= f() == ((n + 1) & 0xffffff) && *before >> 32 == 0;
	}
	ok(good, "code and variables by turns");
}

void guest_main(void)
{
	next_instruction();
	serialized();
	repeated();
	alias();
	by_string();
	across_pages();
	remapped();
	beside();
}
