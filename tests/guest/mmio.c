/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory-mapped devices: every size, unaligned, read-modify-write, strings, and that each access happens exactly once. */
#include "rt.h"

#define REG(off, type) (*(volatile type *)(MMIO_BASE + (off)))

static u64 reads(void)
{
	return *(volatile u64 *)MMIO_READS;
}
static u64 writes(void)
{
	return *(volatile u64 *)MMIO_WRITES;
}

static void sizes(void)
{
	u64 r, w;

	REG(0, u64) = 0x1122334455667788;
	ok(REG(0, u64) == 0x1122334455667788, "64 bits");
	ok(REG(0, u8) == 0x88 && REG(1, u8) == 0x77 && REG(2, u16) == 0x5566 && REG(4, u32) == 0x11223344, "parts");
	REG(3, u8) = 0xee;
	ok(REG(0, u32) == 0xee667788, "one byte");
	r = reads();
	w = writes();
	(void)REG(8, u32);
	(void)REG(8, u32);
	REG(8, u32) = 1;
	ok(reads() == r + 4 && writes() == w + 1, "each access once");
}

static void modify(void)
{
	u64 r, w, from, to;
	u32 old;

	REG(16, u32) = 100;
	r = reads();
	w = writes();
	__asm__ volatile("addl $5, %0" : "+m"(REG(16, u32)));
	ok(REG(16, u32) == 105, "ADD to a register");
	ok(reads() == r + 4 && writes() == w + 1, "one read, one write");
	__asm__ volatile("lock addl $5, %0" : "+m"(REG(16, u32)));
	__asm__ volatile("xchgl %0, %1" : "=r"(old), "+m"(REG(16, u32)) : "0"(7));
	ok(old == 110 && REG(16, u32) == 7, "XCHG");
	__asm__ volatile("pushq %0\n\tpopq %1" : : "m"(REG(16, u64)), "m"(REG(24, u64)) : "memory");
	ok(REG(24, u32) == 7, "PUSH and POP");
	from = MMIO_BASE + 16;
	to = MMIO_BASE + 32;
	__asm__ volatile("movsq" : "+S"(from), "+D"(to) : : "memory");
	ok(REG(32, u32) == 7, "MOVS from device to device");
}

static void strings(void)
{
	static u8 buf[64];
	void *d = (void *)MMIO_BASE;
	const void *s = buf;
	u64 n = 64, w = writes();
	bool good = true;

	for (unsigned k = 0; k < 64; k++)
		buf[k] = (u8)(k * 3);
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	for (unsigned k = 0; k < 64; k++)
		good &= REG(k, u8) == (u8)(k * 3);
	ok(good && writes() == w + 64, "REP MOVSB to a device");
	d = buf;
	s = (const void *)(MMIO_BASE + 1);
	n = 8;
	__asm__ volatile("rep movsl" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	for (unsigned k = 0; k < 32; k++)
		good &= ((volatile u8 *)buf)[k] == (u8)((k + 1) * 3);
	ok(good, "REP MOVSL from a device, unaligned");
	d = (void *)MMIO_BASE;
	n = 4;
	__asm__ volatile("rep stosq" : "+D"(d), "+c"(n) : "a"(0x0101010101010101) : "memory");
	ok(REG(31, u8) == 1 && REG(32, u8) == 32 * 3, "REP STOSQ");
}

static void atomic(void)
{
	u64 v = 0x55;
	u8 equal;

	REG(64, u64) = 0x55;
	__asm__ volatile("lock cmpxchgq %3, %1\n\tsete %2" : "+a"(v), "+m"(REG(64, u64)), "=q"(equal) : "r"(0x66ull));
	ok(equal && REG(64, u64) == 0x66, "CMPXCHG");
	__asm__ volatile("btsl $3, %0" : "+m"(REG(64, u32)));
	ok(REG(64, u64) == 0x6e, "BTS");
	ok(REG(0x900, u32) == 0 && *(volatile u32 *)(MMIO_BASE - 8) == 0xffffffff, "nothing there reads as ones");
}

void guest_main(void)
{
	sizes();
	modify();
	strings();
	atomic();
}
