/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address spaces with PCIDs (SDM vol. 3, 4.10): what was changed must be seen after each kind of invalidation, whichever
 * address space is current when it happens. Spaces differ in the 512 GiB around AREA, whose page tables are their own.
 */
#include "rt.h"

#define P 1ull
#define W 2ull
#define U 4ull
#define PS 0x80ull
#define G 0x100ull
#define TABLE 300 /* entry of the page directory */
#define AREA ((1ull << 39) + TABLE * 0x200000ull)
#define PAGE(n) (AREA + (n) * 4096ull)
#define KEEP (1ull << 63)
#define CR0_WP 0x10000ull
#define CR4_PGE 0x80ull
#define CR4_PCIDE 0x20000ull
#define CR4_SMAP 0x200000ull
#define SPACES 20 /* more than a processor of ours keeps */

struct space {
	u64 pml4[512], pdpt[512], pd[512], pt[512], pt2[512];
} __attribute__((aligned(4096)));
static volatile struct space space[SPACES];
static volatile u8 frame[SPACES][4096] __attribute__((aligned(4096))), other[4096] __attribute__((aligned(4096)));
static volatile u8 code[2][4096] __attribute__((aligned(4096))), tail[2][4096] __attribute__((aligned(4096)));
typedef u32 fn_t(void);
static bool has_invpcid, has_smap;

static u8 read8(u64 at)
{
	return *(volatile u8 *)at;
}

static void invlpg(u64 at)
{
	__asm__ volatile("invlpg (%0)" : : "r"(at) : "memory");
}

enum { ONE_ADDRESS, ONE_PCID, ALL, ALL_BUT_GLOBAL };
static void invpcid(u64 type, u64 pcid, u64 at)
{
	struct {
		u64 pcid, at;
	} d = { pcid, at };

	__asm__ volatile("invpcid %1, %0" : : "r"(type), "m"(d) : "memory");
}

/* Space n has PCID n + 1. */
static void enter(unsigned n, u64 keep)
{
	WRITE_REG("cr3", (u64)space[n].pml4 | (n + 1) | keep);
}

static void map(unsigned n, unsigned page, volatile void *to, u64 flags)
{
	space[n].pt[page] = (u64)to | P | flags;
}

static void make_spaces(void)
{
	for (unsigned n = 0; n < SPACES; n++) {
		volatile struct space *s = &space[n];

		s->pml4[0] = *(volatile u64 *)0x1000 | U;
		s->pml4[1] = (u64)s->pdpt | P | W | U;
		s->pdpt[0] = (u64)s->pd | P | W | U;
		s->pd[TABLE] = (u64)s->pt | P | W | U;
		for (unsigned i = 0; i < 4096; i++)
			frame[n][i] = (u8)(n + 1);
		map(n, 0, frame[n], W | U);
	}
	for (unsigned i = 0; i < 4096; i++)
		other[i] = 0xee;
}

static void kept_apart(unsigned count, const char *name)
{
	bool good = true;

	for (unsigned round = 0; round < 3; round++)
		for (unsigned n = 0; n < count; n++) {
			enter(n, round ? KEEP : 0);
			good &= read8(AREA) == n + 1 && read8(AREA + 8) == n + 1;
			*(volatile u8 *)(AREA + 64) = (u8)(n + 100);
		}
	for (unsigned n = 0; n < count; n++) {
		good &= frame[n][64] == n + 100;
		frame[n][64] = (u8)(n + 1);
	}
	ok(good, name);
}

/* Space 1 has read its page 0; then, with space 0 current, the page becomes another one and `drop` is done. */
static bool sees_change(void (*drop)(void), u64 keep)
{
	bool good;

	enter(1, 0);
	good = read8(AREA) == 2;
	enter(0, KEEP);
	(void)read8(AREA);
	map(1, 0, other, W | U);
	if (drop)
		drop();
	enter(1, keep);
	good &= read8(AREA) == 0xee;
	map(1, 0, frame[1], W | U);
	invlpg(AREA);
	return good && read8(AREA) == 2;
}

static void drop_address(void)
{
	invpcid(ONE_ADDRESS, 2, AREA);
}
static void drop_pcid(void)
{
	invpcid(ONE_PCID, 2, 0);
}
static void drop_all(void)
{
	invpcid(ALL, 0, 0);
}
static void drop_all_but_global(void)
{
	invpcid(ALL_BUT_GLOBAL, 0, 0);
}
static void drop_by_pge(void)
{
	WRITE_REG("cr4", READ_REG("cr4") ^ CR4_PGE);
	WRITE_REG("cr4", READ_REG("cr4") ^ CR4_PGE);
}
static void drop_by_pcide(void)
{
	WRITE_REG("cr3", READ_REG("cr3") & ~0xfffull);
	WRITE_REG("cr4", READ_REG("cr4") & ~CR4_PCIDE);
	WRITE_REG("cr4", READ_REG("cr4") | CR4_PCIDE);
}

static void not_current(void)
{
	ok(sees_change(NULL, 0), "MOV CR3 flushes its PCID");
	ok(sees_change(drop_by_pge, KEEP), "CR4.PGE flushes all PCIDs");
	ok(sees_change(drop_by_pcide, KEEP), "CR4.PCIDE flushes all PCIDs");
	if (!has_invpcid)
		return;
	ok(sees_change(drop_address, KEEP), "INVPCID of an address of another PCID");
	ok(sees_change(drop_pcid, KEEP), "INVPCID of another PCID");
	ok(sees_change(drop_all, KEEP), "INVPCID of all");
	ok(sees_change(drop_all_but_global, KEEP), "INVPCID of all but global");
}

static void current(void)
{
	bool good = true;

	enter(2, 0);
	for (unsigned kind = 0; kind < (has_invpcid ? 5 : 1); kind++) {
		map(2, 0, frame[2], W);
		invlpg(AREA);
		good &= read8(AREA) == 3;
		map(2, 0, other, W);
		if (kind)
			invpcid(kind - 1, 3, AREA);
		else
			invlpg(AREA);
		good &= read8(AREA) == 0xee;
	}
	map(2, 0, frame[2], W | U);
	invlpg(AREA);
	ok(good, "INVLPG and INVPCID of the current PCID");
}

/* Pages 1.. of spaces 0 and 1 are global and the same; space 0 changes and invalidates them. */
static bool global_change(unsigned count, void (*drop)(void))
{
	bool good = true;

	for (unsigned n = 0; n < 2; n++)
		for (unsigned i = 1; i <= count; i++)
			map(n, i, frame[i % SPACES], W | G);
	for (unsigned n = 0; n < 2; n++) {
		enter(n, 0);
		for (unsigned i = 1; i <= count; i++)
			invlpg(PAGE(i));
		for (unsigned i = 1; i <= count; i++)
			good &= read8(PAGE(i)) == i % SPACES + 1;
	}
	enter(0, KEEP);
	for (unsigned n = 0; n < 2; n++)
		for (unsigned i = 1; i <= count; i++)
			map(n, i, other, W | G);
	for (unsigned i = 1; !drop && i <= count; i++)
		invlpg(PAGE(i));
	if (drop)
		drop();
	for (unsigned n = 0; n < 2; n++) {
		enter(n, KEEP);
		for (unsigned i = 1; i <= count; i++)
			good &= read8(PAGE(i)) == 0xee;
	}
	return good;
}

static void globals(void)
{
	volatile u64 *large = &space[1].pd[TABLE + 1];
	u64 at = AREA + 0x200000, inside = (u64)other & 0x1fffff;
	bool good;

	ok(global_change(1, NULL), "INVLPG drops a global page of all PCIDs");
	ok(global_change(200, NULL), "INVLPG of many global pages");
	ok(global_change(3, drop_by_pge), "CR4.PGE drops global pages of all PCIDs");
	ok(!has_invpcid || global_change(3, drop_all), "INVPCID of all drops global pages of all PCIDs");
	space[0].pd[TABLE + 1] = *large = ((u64)other & ~0x1fffffull) | P | W | PS | G;
	enter(0, KEEP);
	invlpg(at);
	enter(1, KEEP);
	good = read8(at + inside) == 0xee && read8(at + inside + 5) == 0xee;
	enter(0, KEEP);
	good &= read8(at + inside) == 0xee;
	space[0].pd[TABLE + 1] = *large = (u64)space[1].pt2 | P | W;
	space[1].pt2[(u64)other >> 12 & 511] = (u64)frame[7] | P | W;
	invlpg(at);
	enter(1, KEEP);
	ok(good && read8(at + inside) == 8, "INVLPG anywhere in a large global page");
}

/* The page directory's entry changes; the address asked for was never used, so that only upper levels can be stale. */
static void upper_levels(void)
{
	volatile struct space *s = &space[3];
	bool good = true;

	for (unsigned kind = 0; kind < (has_invpcid ? 5 : 2); kind++) {
		s->pd[TABLE] = (u64)s->pt | P | W;
		map(3, 5, frame[5], W);
		map(3, 6, frame[6], W);
		s->pt2[6] = (u64)other | P | W;
		enter(3, 0);
		good &= read8(PAGE(5)) == 6;
		if (kind == 2)
			enter(0, KEEP);
		s->pd[TABLE] = (u64)s->pt2 | P | W;
		if (kind == 0)
			invlpg(0x1000); /* elsewhere: INVLPG drops all upper levels of the PCID */
		else if (kind == 1)
			enter(3, 0);
		else
			invpcid(kind - 1, 4, 0);
		if (kind == 2)
			enter(3, KEEP);
		good &= read8(PAGE(6)) == 0xee;
	}
	s->pd[TABLE] = (u64)s->pt | P | W | U;
	invlpg(AREA);
	ok(good, "changed page directory");
}

static void controls(void)
{
	map(1, 9, frame[9], 0);
	WRITE_REG("cr0", READ_REG("cr0") & ~CR0_WP);
	enter(1, 0);
	ok(TRAP("movb $10, 7(%0)", "r"(PAGE(9))) == NO_EXC, "write to a read-only page without WP");
	enter(0, KEEP);
	WRITE_REG("cr0", READ_REG("cr0") | CR0_WP);
	enter(1, KEEP);
	ok(TRAP("movb $10, 7(%0)", "r"(PAGE(9))) == EXC_PF && trap.error == 3, "WP set in another address space");
	WRITE_REG("cr0", READ_REG("cr0") & ~CR0_WP);
	if (!has_smap)
		return;
	ok(TRAP("mov (%0), %%cl", "r"(AREA)) == NO_EXC, "read of a user page without SMAP");
	enter(0, KEEP);
	WRITE_REG("cr4", READ_REG("cr4") | CR4_SMAP);
	enter(1, KEEP);
	ok(TRAP("mov (%0), %%cl", "r"(AREA)) == EXC_PF && trap.error == 1, "SMAP set in another address space");
	WRITE_REG("cr4", READ_REG("cr4") & ~CR4_SMAP);
}

static volatile u8 seen;

static void user_read(void)
{
	seen = *(volatile u8 *)AREA;
}

static void from_user(void)
{
	bool good = true;

	*(volatile u64 *)0x2000 |= U; /* not before: with SMAP the stack is no user page */
	for (unsigned n = 0; n < 32; n++)
		((volatile u64 *)0x3000)[n] |= U;
	drop_by_pge();
	for (unsigned round = 0; round < 4; round++)
		for (unsigned n = 0; n < 3; n++) {
			enter(n, KEEP);
			good &= run_user(user_read) == NO_EXC && seen == n + 1;
		}
	ok(good, "CPL 3 reads its own space");
}

/* ---- code ---- */

static void put_return(volatile u8 *p, u32 v)
{
	p[0] = 0xb8; /* mov $v, %eax; ret */
	*(volatile u32 *)(p + 1) = v;
	p[5] = 0xc3;
}

static u32 call(unsigned n, u64 at)
{
	enter(n, KEEP);
	return ((fn_t *)at)();
}

static void other_code(void)
{
	bool good = true;

	put_return(code[0], 70);
	put_return(code[1], 71);
	for (unsigned n = 0; n < 4; n++) {
		map(n, 32, code[n & 1], W);
		enter(n, 0);
	}
	for (unsigned k = 0; k < 200; k++)
		good &= call(k & 3, PAGE(32)) == 70 + (k & 1);
	ok(good, "each space has its own code at an address");
	for (unsigned k = 0; k < 20; k++) {
		enter(0, KEEP);
		map(0, 32, code[k & 1], W);
		invlpg(PAGE(32) + 77);
		good &= call(0, PAGE(32)) == 70 + (k & 1) && call(1, PAGE(32)) == 71;
	}
	ok(good, "INVLPG of a page of code");
}

/* An instruction whose second half lies in a page that is another one in each space, or becomes another one. */
static void crossing_code(void)
{
	u64 at = PAGE(35) - 2;
	bool good = true;

	code[0][4094] = 0xb8;
	code[0][4095] = 0x11;
	for (unsigned n = 0; n < 2; n++) {
		tail[n][0] = (u8)n;
		tail[n][1] = tail[n][2] = 0;
		tail[n][3] = 0xc3;
		map(n, 34, code[0], W);
		map(n, 35, tail[n], W);
		enter(n, 0);
	}
	for (unsigned k = 0; k < 40; k++)
		good &= call(k & 1, at) == 0x11 + ((k & 1) << 8);
	for (unsigned k = 0; k < 20; k++) {
		enter(0, KEEP);
		map(0, 35, tail[k & 1], W);
		invlpg(PAGE(35));
		good &= call(0, at) == 0x11 + ((k & 1) << 8) && call(1, at) == 0x111;
	}
	ok(good, "instruction across two pages of each space");
}

/* Spaces 0 and 1 run it, space 2 writes it: with entries that were made before the page held code. */
static void changed_code(void)
{
	bool good = true;

	for (unsigned n = 0; n < 3; n++) {
		map(n, 33, code[0], W);
		enter(n, 0);
	}
	for (u32 k = 0; k < 300; k++) {
		enter(2, KEEP);
		put_return((u8 *)PAGE(33), k);
		good &= call(0, PAGE(33)) == k && call(1, PAGE(33)) == k;
		if (k % 3 == 0) {
			enter(2, KEEP);
			*(volatile u32 *)(PAGE(33) + 1) = k + 1000;
			good &= call(1, PAGE(33)) == k + 1000 && call(0, PAGE(33)) == k + 1000;
		}
	}
	ok(good, "code written from another address space");
}

/*
 * Two functions so far apart that a jump cache has one place for both. Space 1 has called both by turns; then, with space
 * `from` current, the first becomes another one and `drop` is done.
 */
#define FAR 0x1000000ull
#define FAR_TABLE (TABLE + FAR / 0x200000)
static bool apart_change(unsigned from, u64 flags, void (*drop)(void))
{
	fn_t *near = (fn_t *)PAGE(40), *far = (fn_t *)(PAGE(40) + FAR);
	volatile struct space *s = &space[1];
	bool good = true;

	put_return(code[0], 80);
	put_return(code[1], 81);
	s->pd[FAR_TABLE] = (u64)s->pt2 | P | W;
	s->pt2[40] = (u64)code[1] | P | W | flags;
	map(1, 40, code[0], W | flags);
	enter(1, 0);
	invlpg((u64)near);
	invlpg((u64)far);
	for (unsigned k = 0; k < 3; k++)
		good &= near() == 80 && far() == 81;
	enter(from, KEEP);
	map(1, 40, code[1], W | flags);
	drop();
	if (from != 1)
		enter(1, KEEP);
	return good && near() == 81 && far() == 81;
}

static void drop_by_invlpg(void)
{
	invlpg(PAGE(40) + 3);
}
static void drop_by_invpcid(void)
{
	invpcid(ONE_ADDRESS, 2, PAGE(40));
}
static void drop_by_cr3(void)
{
	enter(1, 0);
}
static void drop_by_writing(void)
{
	map(1, 40, code[0], W);
	invlpg(PAGE(40));
	(void)((fn_t *)PAGE(40))();
	(void)((fn_t *)(PAGE(40) + FAR))();
	put_return((u8 *)PAGE(40), 81);
}

static void functions_apart(void)
{
	static void (*const any[])(void) = { drop_by_cr3, drop_by_pge, drop_by_writing };
	static void (*const inv[])(void) = { drop_by_invpcid, drop_pcid, drop_all, drop_all_but_global };
	bool good = true;

	for (unsigned k = 0; k < 3; k++)
		good &= apart_change(1, 0, any[k]);
	ok(good && apart_change(1, 0, drop_by_invlpg), "functions far apart: MOV CR3, CR4.PGE, a write, INVLPG");
	ok(apart_change(1, G, drop_by_pge) && apart_change(1, G, drop_by_invlpg), "the same, global");
	for (unsigned k = 0; has_invpcid && k < 4; k++)
		good &= apart_change(1, 0, inv[k]) && apart_change(0, 0, inv[k]);
	good &= !has_invpcid || (apart_change(1, G, drop_all) && apart_change(0, G, drop_all));
	good &= apart_change(0, G, drop_by_invlpg);
	ok(good, "the same, INVPCID and from another space");
	map(1, 40, code[0], 0);
	space[1].pd[FAR_TABLE] = 0;
	enter(1, 0);
	drop_by_pge();
}

/* ---- a second processor ---- */

static volatile u32 phase, answer[2], asked, answered;
static volatile bool second_up;

static void on_shootdown(struct frame *f)
{
	if (has_invpcid)
		invpcid(ONE_ADDRESS, 5, AREA);
	else
		drop_by_pge();
	phase = 3;
	apic_write(0xb0, 0);
}

static void wait_phase(u32 value)
{
	while (phase != value)
		__asm__ volatile("pause");
}

/* Answers each question with what the code returns in spaces 4 and 5. */
void ap_main(unsigned cpu)
{
	WRITE_REG("cr4", READ_REG("cr4") | CR4_PCIDE | CR4_PGE);
	apic_enable();
	enter(4, 0);
	(void)read8(AREA);
	enter(5, 0);
	second_up = true;
	while (phase != 1) {
		u32 question = asked;

		if (question == answered)
			continue;
		answer[0] = call(4, PAGE(33));
		answer[1] = call(5, PAGE(33));
		answered = question;
	}
	__asm__ volatile("sti");
	wait_phase(3);
	enter(4, KEEP);
	seen = read8(AREA);
	phase = 4;
}

static void second_processor(void)
{
	bool good = true;

	map(4, 33, code[0], W);
	map(5, 33, code[0], W);
	handlers[0x41] = on_shootdown;
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	apic_enable();
	start_aps(2);
	while (!second_up)
		__asm__ volatile("pause");
	for (u32 k = 1; k <= 100; k++) {
		enter(k & 1 ? 2 : 0, KEEP);
		put_return((u8 *)PAGE(33), k);
		asked = k;
		while (answered != k)
			__asm__ volatile("pause");
		good &= answer[0] == k && answer[1] == k && call(1, PAGE(33)) == k;
	}
	ok(good, "code written by another processor");
	phase = 1;
	map(4, 0, other, W | U);
	apic_write(0x300, 0xc4041);
	wait_phase(4);
	ok(seen == 0xee, "shoot-down of a PCID that is not current");
}

void guest_main(void)
{
	u32 out[4];

	cpuid(7, 0, out);
	has_invpcid = out[1] >> 10 & 1;
	has_smap = out[1] >> 20 & 1;
	cpuid(1, 0, out);
	if (!(out[2] >> 17 & 1)) {
		ok(true, "no PCID here");
		return;
	}
	*(volatile u64 *)0x1000 |= U;
	make_spaces();
	WRITE_REG("cr3", READ_REG("cr3"));
	WRITE_REG("cr4", READ_REG("cr4") | CR4_PCIDE | CR4_PGE);
	kept_apart(3, "three address spaces");
	kept_apart(SPACES, "more address spaces than sets");
	not_current();
	current();
	globals();
	upper_levels();
	controls();
	from_user();
	other_code();
	crossing_code();
	changed_code();
	functions_apart();
	kept_apart(SPACES, "all address spaces once more");
	second_processor();
}
