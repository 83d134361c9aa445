/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 4-level paging: every combination of P, W, U, NX at the leaf against reads, writes and fetches from CPL 0 and 3, with WP,
 * SMEP, SMAP and AC; accessed and dirty bits; reserved bits; large pages; global pages, INVLPG, PCID.
 */
#include "rt.h"

#define P 1ull
#define W 2ull
#define U 4ull
#define A 0x20ull
#define D 0x40ull
#define PS 0x80ull
#define G 0x100ull
#define NX (1ull << 63)
#define AREA 0x40000000ull /* 1 GiB: page tables of our own below */
#define CR0_WP 0x10000ull
#define CR4_PGE 0x80ull
#define CR4_PCIDE 0x20000ull
#define CR4_SMEP 0x100000ull
#define CR4_SMAP 0x200000ull

static volatile u64 pd[512] __attribute__((aligned(4096))), pt[512] __attribute__((aligned(4096)));
static volatile u8 frame_a[4096] __attribute__((aligned(4096))), frame_b[4096] __attribute__((aligned(4096)));
static volatile u64 *const pml4 = (volatile u64 *)0x1000, *const pdpt = (volatile u64 *)0x2000;
static bool has_smep, has_smap, has_pcid;

static void map(u64 flags, volatile void *frame)
{
	pt[0] = ((u64)frame & 0xffffffff) | flags;
	__asm__ volatile("invlpg (%0)" : : "r"(AREA) : "memory");
}

static void user_read(void)
{
	(void)*(volatile u8 *)AREA;
}
static void user_write(void)
{
	*(volatile u8 *)(AREA + 8) = 1;
}
static void user_exec(void)
{
	((void (*)(void))AREA)();
}

enum access { READ, WRITE, EXEC };

/* What the architecture says: 0 fault-free, else error code | 1 << 16. */
static u64 expected(u64 pte, enum access acc, bool user, bool wp, bool smep, bool smap, bool ac)
{
	u64 code = (acc == WRITE ? 2 : 0) | (user ? 4 : 0) | (acc == EXEC ? 16 : 0) | 1 << 16;
	bool bad;

	if (!(pte & P))
		return code;
	code |= 1;
	bad = user && !(pte & U);
	if (acc == WRITE && !(pte & W) && (user || wp))
		bad = true;
	if (acc == EXEC && ((pte & NX) || (smep && !user && (pte & U))))
		bad = true;
	if (acc != EXEC && !user && (pte & U) && smap && !ac)
		bad = true;
	return bad ? code : 0;
}

static u64 kernel_access(enum access acc)
{
	u64 v;

	if (acc == READ)
		v = TRAP("mov (%0), %%cl", "r"(AREA));
	else
		v = TRAP("movb $1, 8(%0)", "r"(AREA));
	return v == NO_EXC ? 0 : v == EXC_PF ? trap.error | 1 << 16 : ~0ull;
}

/* The call has pushed its return address when the target faults. */
static __attribute__((noinline)) u64 kernel_exec(void)
{
	trap.vector = NO_EXC;
	__asm__ volatile("mov %%rsp, %%r12\n\tlea 1f(%%rip), %%rax\n\tmov %%rax, trap_resume\n\tcall *%0\n1:\n\t"
			 "movq $0, trap_resume\n\tmov %%r12, %%rsp"
			 :
			 : "r"(AREA)
			 : "rax", "r12", "memory", "cc");
	return trap.vector == NO_EXC ? 0 : trap.vector == EXC_PF ? trap.error | 1 << 16 : ~0ull;
}

static void set_controls(bool wp, bool smep, bool smap, bool ac)
{
	u64 cr4 = READ_REG("cr4") & ~(CR4_SMEP | CR4_SMAP), cr0 = READ_REG("cr0") & ~CR0_WP;

	WRITE_REG("cr0", cr0 | (wp ? CR0_WP : 0));
	WRITE_REG("cr4", cr4 | (smep ? CR4_SMEP : 0) | (smap ? CR4_SMAP : 0));
	if (has_smap) {
		if (ac)
			__asm__ volatile("stac");
		else
			__asm__ volatile("clac");
	}
}

static u64 user_access(enum access acc)
{
	static void (*const fn[3])(void) = { user_read, user_write, user_exec };
	u64 v = run_user(fn[acc]);

	return v == NO_EXC ? 0 : v == EXC_PF ? trap.error | 1 << 16 : ~0ull;
}

static void report(u64 pte, unsigned m, enum access acc, u64 got, u64 want)
{
	print("# pte ");
	print_hex(pte);
	print(" case ");
	print_hex(m | acc << 8);
	print(" got ");
	print_hex(got);
	print(" want ");
	print_hex(want);
	print("\n");
}

/* Bits of a case: P, W, U, NX, CR0.WP, SMEP, SMAP, AC. */
static void permissions(bool user)
{
	static const u64 bits[4] = { P, W, U, NX };
	unsigned bad = 0, count = 0;

	frame_a[0] = 0xc3; /* ret */
	for (unsigned m = 0; m < (user ? 32 : 256); m++) {
		bool wp = m & 16, smep = m & 32, smap = m & 64, ac = m & 128;
		u64 pte = 0, want, got;

		if ((smep && !has_smep) || ((smap || ac) && !has_smap))
			continue;
		for (unsigned b = 0; b < 4; b++)
			pte |= m >> b & 1 ? bits[b] : 0;
		for (enum access acc = READ; acc <= EXEC; acc++) {
			map(pte, frame_a);
			want = expected(pte, acc, user, wp, smep, smap, ac);
			set_controls(wp, smep, smap, ac);
			got = user ? user_access(acc) : acc == EXEC ? kernel_exec() : kernel_access(acc);
			set_controls(false, false, false, false);
			count++;
			if (got != want) {
				report(pte, m, acc, got, want);
				bad++;
			}
		}
	}
	ok(!bad && count >= 96, user ? "permissions of CPL 3" : "permissions of CPL 0");
}

static void accessed_dirty(void)
{
	map(P | W, frame_a);
	pd[0] &= ~A;
	WRITE_REG("cr3", READ_REG("cr3"));
	ok(!(pt[0] & A), "A is clear before");
	(void)*(volatile u8 *)AREA;
	ok((pt[0] & (A | D)) == A && (pd[0] & A), "read sets A at every level");
	*(volatile u8 *)(AREA + 9) = 1;
	ok((pt[0] & (A | D)) == (A | D), "write sets D after a read");
	map(P | W, frame_a);
	*(volatile u8 *)(AREA + 9) = 1;
	ok((pt[0] & (A | D)) == (A | D), "write sets A and D");
	map(P | A, frame_a);
	WRITE_REG("cr0", READ_REG("cr0") | CR0_WP);
	ok(TRAP("movb $1, (%0)", "r"(AREA)) == EXC_PF && trap.error == 3 && !(pt[0] & D), "a write that faults leaves D");
	WRITE_REG("cr0", READ_REG("cr0") & ~CR0_WP);
}

static void reserved(void)
{
	map(P | W | 1ull << 51, frame_a);
	ok(TRAP("mov (%0), %%cl", "r"(AREA)) == EXC_PF && trap.error == 9, "reserved bit above MAXPHYADDR");
	pd[1] = 0x200000 | P | W | PS | 1 << 13;
	ok(TRAP("mov (%0), %%cl", "r"(AREA + 0x200000)) == EXC_PF && trap.error == 9, "reserved bit of a large page");
	wrmsr(0xc0000080, rdmsr(0xc0000080) & ~0x800ull);
	map(P | W | NX, frame_a);
	ok(TRAP("mov (%0), %%cl", "r"(AREA)) == EXC_PF && trap.error == 9, "NX without EFER.NXE");
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
}

static void large(void)
{
	u64 saved = pdpt[1];

	frame_a[16] = 0x5a;
	pd[1] = ((u64)frame_a & ~0x1fffffull) | P | W | PS;
	__asm__ volatile("invlpg (%0)" : : "r"(AREA + 0x200000));
	ok(*(volatile u8 *)(AREA + 0x200000 + ((u64)frame_a & 0x1fffff) + 16) == 0x5a, "2 MiB page");
	pdpt[1] = P | W | PS;
	WRITE_REG("cr3", READ_REG("cr3"));
	ok(*(volatile u8 *)(AREA + (u64)frame_a + 16) == 0x5a, "1 GiB page");
	pdpt[1] = saved;
	WRITE_REG("cr3", READ_REG("cr3"));
	ok(TRAP("mov (%0), %%cl", "r"(AREA + 0x3000)) == EXC_PF, "1 GiB page is gone");
	map(P | W, frame_a);
	pt[1] = (u64)frame_b | P | W;
	frame_a[4095] = 0x11;
	frame_b[0] = 0x22;
	ok(*(volatile u16 *)(AREA + 4095) == 0x2211, "read across pages");
	*(volatile u32 *)(AREA + 4094) = 0xddccbbaa;
	ok(frame_a[4094] == 0xaa && frame_a[4095] == 0xbb && frame_b[0] == 0xcc && frame_b[1] == 0xdd, "write across pages");
	pt[1] = 0;
	__asm__ volatile("invlpg (%0)" : : "r"(AREA + 4096));
	frame_a[4095] = 0x77;
	ok(TRAP("movl $0, (%0)", "r"(AREA + 4094)) == EXC_PF && trap.cr2 == AREA + 4096 && frame_a[4095] == 0x77,
	   "a write across pages changes nothing when the second faults");
}

static void global(void)
{
	WRITE_REG("cr4", READ_REG("cr4") | CR4_PGE);
	map(P | W | G, frame_a);
	frame_a[32] = 1;
	frame_b[32] = 2;
	(void)*(volatile u8 *)(AREA + 32);
	pt[0] = (u64)frame_b | P | W | G;
	WRITE_REG("cr4", READ_REG("cr4") & ~CR4_PGE);
	ok(*(volatile u8 *)(AREA + 32) == 2, "CR4.PGE flushes global entries");
	map(P | W, frame_a);
	(void)*(volatile u8 *)(AREA + 32);
	pt[0] = (u64)frame_b | P | W;
	WRITE_REG("cr3", READ_REG("cr3"));
	ok(*(volatile u8 *)(AREA + 32) == 2, "CR3 flushes");
	map(P | W, frame_a);
	ok(*(volatile u8 *)(AREA + 32) == 1, "INVLPG flushes");
}

static void pcid(void)
{
	if (!has_pcid)
		return;
	ok(TRAP("mov %0, %%cr4", "r"(READ_REG("cr4") | CR4_PCIDE)) == NO_EXC, "PCIDE with PCID 0");
	ok(TRAP("mov %0, %%cr3", "r"(READ_REG("cr3") | 5 | 1ull << 63)) == NO_EXC && (READ_REG("cr3") & 0xfff) == 5,
	   "CR3 with PCID and no flush; bit 63 reads as zero");
	ok(TRAP("mov %0, %%cr4", "r"(READ_REG("cr4") & ~CR4_PCIDE)) == NO_EXC, "PCIDE off with PCID 5");
	ok(TRAP("mov %0, %%cr4", "r"(READ_REG("cr4") | CR4_PCIDE)) == EXC_GP, "PCIDE needs PCID 0");
	WRITE_REG("cr3", READ_REG("cr3") & ~0xfffull);
}

void guest_main(void)
{
	volatile u64 *low = (volatile u64 *)0x3000;
	u32 out[4];

	cpuid(7, 0, out);
	has_smep = out[1] >> 7 & 1;
	has_smap = out[1] >> 20 & 1;
	cpuid(1, 0, out);
	has_pcid = out[2] >> 17 & 1;
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
	pml4[0] |= U;
	pdpt[1] = (u64)pd | P | W | U;
	pd[0] = (u64)pt | P | W | U;
	WRITE_REG("cr3", READ_REG("cr3"));
	accessed_dirty();
	reserved();
	large();
	global();
	pcid();
	permissions(false);
	pdpt[0] |= U;
	for (unsigned n = 0; n < 4; n++)
		low[n] |= U;
	WRITE_REG("cr3", READ_REG("cr3"));
	permissions(true);
}
