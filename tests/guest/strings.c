/* SPDX-License-Identifier: GPL-2.0-or-later */
/* String instructions: overlap, direction, page crossings, faults in the middle, 32-bit addresses, REP with zero, ends. */
#include "rt.h"

#define AREA 0x40000000ull
static volatile u64 pd[512] __attribute__((aligned(4096))), pt[512] __attribute__((aligned(4096)));
static u8 a[3 * 4096] __attribute__((aligned(4096))), b[3 * 4096] __attribute__((aligned(4096)));

struct regs {
	u64 rdi, rsi, rcx, rax, flags;
};
#define RUN(r, insn) \
	__asm__ volatile("push %4\n\tpopfq\n\t" insn "\n\tpushfq\n\tpop %4\n\tcld" \
			 : "+D"((r)->rdi), "+S"((r)->rsi), "+c"((r)->rcx), "+a"((r)->rax), "+r"((r)->flags) \
			 : \
			 : "memory", "cc")

static void fill(void)
{
	for (unsigned n = 0; n < sizeof(a); n++) {
		((volatile u8 *)a)[n] = (u8)(n * 7 + (n >> 8));
		((volatile u8 *)b)[n] = 0;
	}
}

static void moves(void)
{
	struct regs r;
	bool good = true;

	fill();
	r = (struct regs){ (u64)b + 100, (u64)a + 50, 9000, 0, 2 };
	RUN(&r, "rep movsb");
	for (unsigned n = 0; n < 9000; n++)
		good &= b[100 + n] == a[50 + n];
	ok(good && r.rcx == 0 && r.rdi == (u64)b + 9100 && r.rsi == (u64)a + 9050, "REP MOVSB over pages");
	fill();
	a[0] = 0x5c;
	r = (struct regs){ (u64)a + 1, (u64)a, 6000, 0, 2 };
	RUN(&r, "rep movsb");
	good = true;
	for (unsigned n = 0; n <= 6000; n++)
		good &= a[n] == 0x5c;
	ok(good, "forward overlap repeats the byte");
	fill();
	for (unsigned n = 0; n < 4200; n++)
		((volatile u8 *)b)[n] = a[4096 + n];
	r = (struct regs){ (u64)a + 4096 + 3, (u64)a + 4096, 512, 0, 2 };
	RUN(&r, "rep movsq");
	for (unsigned q = 0; q < 512; q++) /* what eight bytes at a time give */
		*(volatile u64 *)(b + 3 + 8 * q) = *(volatile u64 *)(q ? b + 8 * q : b);
	for (unsigned n = 0; n < 4099; n++)
		good &= a[4096 + n] == b[n];
	ok(good && r.rcx == 0, "overlapping quads");
	fill();
	r = (struct regs){ (u64)b + 4999, (u64)a + 4999, 5000, 0, 0x402 };
	RUN(&r, "rep movsb");
	good = true;
	for (unsigned n = 0; n < 5000; n++)
		good &= b[n] == a[n];
	ok(good && r.rdi == (u64)b - 1, "backward");
	r = (struct regs){ (u64)b, (u64)a, 0, 0, 2 };
	RUN(&r, "rep movsq");
	ok(r.rdi == (u64)b && r.rsi == (u64)a, "REP with zero");
	fill();
	r = (struct regs){ (u64)b + 3, 0, 1000, 0x1122334455667788, 2 };
	RUN(&r, "rep stosq");
	ok(b[3] == 0x88 && b[10] == 0x11 && b[2] == 0 && b[3 + 7999] == 0x11 && b[3 + 8000] == 0, "REP STOSQ unaligned");
	r = (struct regs){ (u64)b | 1ull << 40, (u64)a | 1ull << 40, 5ull | 1ull << 40, 0, 2 };
	RUN(&r, "addr32 rep movsb");
	ok(r.rcx == 0 && r.rdi == (u64)b + 5 && r.rsi == (u64)a + 5, "32-bit addresses clear the upper halves");
}

/* Down over a page's end, the two ends this far from each other: as element after element, whatever they overwrite. */
static bool moves_down(unsigned size, int apart)
{
	struct regs r = { (u64)a + 5000 + (u64)apart, (u64)a + 5000, 300, 0, 0x402 };
	bool good = true;

	fill();
	for (unsigned n = 0; n < sizeof(a); n++)
		((volatile u8 *)b)[n] = a[n];
	for (unsigned n = 0; n < 300; n++)
		for (unsigned k = 0, at = 5000 - n * size; k < size; k++) {
			static volatile u8 element[8];

			if (!k)
				for (unsigned q = 0; q < size; q++)
					element[q] = b[at + q];
			((volatile u8 *)b)[(int)(at + k) + apart] = element[k];
		}
	switch (size) {
	case 1:
		RUN(&r, "rep movsb");
		break;
	case 2:
		RUN(&r, "rep movsw");
		break;
	case 4:
		RUN(&r, "rep movsl");
		break;
	default:
		RUN(&r, "rep movsq");
	}
	for (unsigned n = 0; n < sizeof(a); n++)
		good &= a[n] == b[n];
	return good && !r.rcx && r.rsi == (u64)a + 5000 - 300 * size && r.rdi == r.rsi + (u64)apart;
}

static void overlaps_down(void)
{
	bool good = true;

	for (unsigned size = 1; size <= 8; size *= 2)
		for (int apart = -17; apart <= 17; apart++)
			good &= moves_down(size, apart);
	ok(good, "REP MOVS down, overlapping");
}

static void compares(void)
{
	struct regs r;

	fill();
	for (unsigned n = 0; n < 5000; n++)
		((volatile u8 *)b)[n] = a[n];
	b[4500] ^= 1;
	r = (struct regs){ (u64)b, (u64)a, 5000, 0, 2 };
	RUN(&r, "repe cmpsb");
	ok(r.rcx == 5000 - 4501 && !(r.flags & 0x40), "REPE CMPSB ends behind the difference");
	r = (struct regs){ (u64)b, (u64)a, 4500, 0, 2 };
	RUN(&r, "repe cmpsb");
	ok(r.rcx == 0 && (r.flags & 0x40), "REPE CMPSB to the end");
	for (unsigned n = 0; n < 5000; n++)
		((volatile u8 *)b)[n] = 1;
	b[4200] = 9;
	r = (struct regs){ (u64)b, 0, 8000, 9, 2 };
	RUN(&r, "repne scasb");
	ok(r.rdi == (u64)b + 4201 && (r.flags & 0x40), "REPNE SCASB");
	r = (struct regs){ 0, (u64)b + 4200, 1, 0xffff, 2 };
	RUN(&r, "lodsb");
	ok(r.rax == 0xff09 && r.rcx == 1, "LODSB");
}

/* Every size, unaligned, with the end before, at and behind the page boundaries of either side; the flags of the last. */
#define WIDE_COMPARES(suffix, size) \
	do { \
		for (u64 at = 4 * (size); at < 2200 * (size) && at < 7000; at += at < 40 * (size) ? (size) : 41 * (size)) { \
			u64 n = at / (size), count = 8000 / (size); \
			((volatile u8 *)b)[101 + at + (size) - 1] ^= 0x80; \
			r = (struct regs){ (u64)b + 101, (u64)a + 50, count, 0, 2 }; \
			RUN(&r, "repe cmps" suffix); \
			good &= r.rcx == count - n - 1 && r.rdi == (u64)b + 101 + at + (size) && \
				r.rsi == (u64)a + 50 + at + (size) && !(r.flags & 0x40) && \
				!(r.flags & 1) == (a[50 + at + (size) - 1] >= 0x80); \
			r = (struct regs){ (u64)b + 101 + (size), (u64)b + 102 + (size), n, ~0ull, 2 }; \
			RUN(&r, "repne cmps" suffix); \
			good &= r.rcx == 0 && r.rdi == (u64)b + 101 + (size) + at && !(r.flags & 0x40); \
			((volatile u8 *)b)[101 + at + (size) - 1] ^= 0x80; \
			for (unsigned k = 0; k < (size); k++) \
				((volatile u8 *)c)[55 + at + k] = 0xff; \
			r = (struct regs){ (u64)c + 55, 0, count, ~0ull, 2 }; \
			RUN(&r, "repne scas" suffix); \
			good &= r.rcx == count - n - 1 && r.rdi == (u64)c + 55 + at + (size) && (r.flags & 0x41) == 0x40; \
			r = (struct regs){ (u64)c + 55, 0, count, 0, 2 }; \
			RUN(&r, "repe scas" suffix); \
			good &= r.rcx == count - n - 1 && !(r.flags & 0x40) && (r.flags & 1); \
			for (unsigned k = 0; k < (size); k++) \
				((volatile u8 *)c)[55 + at + k] = 0; \
		} \
	} while (0)

static void wide_compares(void)
{
	static u8 c[3 * 4096] __attribute__((aligned(4096)));
	struct regs r;
	bool good = true;

	fill();
	for (unsigned n = 0; n < 8100; n++)
		((volatile u8 *)b)[101 + n] = a[50 + n];
	WIDE_COMPARES("b", 1);
	ok(good, "byte compares end where they must");
	WIDE_COMPARES("w", 2);
	ok(good, "16-bit compares");
	WIDE_COMPARES("l", 4);
	ok(good, "32-bit compares");
	WIDE_COMPARES("q", 8);
	ok(good, "64-bit compares");
}

static volatile u64 f_rcx, f_rdi, f_rsi, f_cr2;

static void on_pf(struct frame *f)
{
	f_rcx = f->rcx;
	f_rdi = f->rdi;
	f_rsi = f->rsi;
	f_cr2 = READ_REG("cr2");
	pt[1] |= 1; /* now it is there */
	__asm__ volatile("invlpg (%0)" : : "r"(AREA + 4096) : "memory");
}

static void fault_in_the_middle(void)
{
	struct regs r = { AREA + 4000, (u64)a, 500, 0, 2 };
	bool good = true;

	fill();
	*(volatile u64 *)0x2008 = (u64)pd | 3;
	pd[0] = (u64)pt | 3;
	pt[0] = (u64)b | 3;
	pt[1] = ((u64)b + 4096) | 2;
	WRITE_REG("cr3", READ_REG("cr3"));
	handlers[EXC_PF] = on_pf;
	RUN(&r, "rep movsb");
	ok(f_rcx == 404 && f_rdi == AREA + 4096 && f_rsi == (u64)a + 96 && f_cr2 == AREA + 4096, "fault between elements");
	for (unsigned n = 0; n < 500; n++)
		good &= b[4000 + n] == a[n];
	ok(good && r.rcx == 0, "goes on after the fault");
	pt[1] &= ~1ull;
	__asm__ volatile("invlpg (%0)" : : "r"(AREA + 4096) : "memory");
	r = (struct regs){ AREA + 4093, (u64)a, 3, 0, 2 };
	f_rcx = 0;
	RUN(&r, "rep movsl");
	ok(f_rcx == 3 && f_rdi == AREA + 4093 && f_cr2 == AREA + 4096, "fault in an element across pages");
	pt[1] &= ~1ull;
	__asm__ volatile("invlpg (%0)" : : "r"(AREA + 4096) : "memory");
	for (unsigned n = 0; n < 600; n++)
		((volatile u8 *)b)[3900 + n] = n == 300;
	r = (struct regs){ AREA + 3900, 0, 600, 1, 2 };
	RUN(&r, "repne scasb");
	ok(f_rcx == 404 && f_rdi == AREA + 4096 && r.rcx == 299 && r.rdi == AREA + 4201 && (r.flags & 0x40),
	   "fault in REPNE SCASB");
	handlers[EXC_PF] = NULL;
}

static void ports(void)
{
	struct regs r = { (u64)b, 0, 20, 0, 2 };
	bool good = true;
	u32 sum;
	u8 first;

	__asm__ volatile("mov $0x300, %%edx\n\trep insb" : "+D"(r.rdi), "+c"(r.rcx) : : "rdx", "memory");
	first = b[0];
	for (unsigned n = 0; n < 20; n++)
		good &= b[n] == (u8)(first + n);
	ok(good && r.rcx == 0 && r.rdi == (u64)b + 20, "REP INSB");
	for (unsigned n = 0; n < 10; n++)
		((volatile u16 *)b)[n] = (u16)(n + 1);
	r = (struct regs){ 0, (u64)b, 10, 0, 2 };
	__asm__ volatile("mov $0x300, %%edx\n\trep outsw" : "+S"(r.rsi), "+c"(r.rcx) : : "rdx", "memory");
	__asm__ volatile("inl %w1, %0" : "=a"(sum) : "Nd"(PORT_SUM));
	ok(sum == 55 && r.rcx == 0, "REP OUTSW");
}

void guest_main(void)
{
	moves();
	overlaps_down();
	compares();
	wide_compares();
	fault_in_the_middle();
	ports();
}
