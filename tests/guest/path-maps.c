/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loops through computed jumps (path.h) whose code is overwritten, or whose pages are mapped elsewhere, while they run. */
#include "path.h"

/* ---- code that changes ---- */

static void poke(u64 at, u32 v)
{
	for (unsigned n = 0; n < 4; n++)
		((volatile u8 *)code[phys[((at + n) >> 12) % PAGES]])[(at + n) & 4095] = (u8)(v >> 8 * n);
}

static unsigned slow = 1; /* a processor for which all of it would take too long does a part */
#define ROUNDS(n) (slow > 1 ? (n) / 4 : (n))

/* Some of the handlers, and what is overwritten of them, lie across the end of a page if `over`. */
static bool changed_by(unsigned op, bool over)
{
	bool good = true;

	for (unsigned n = 0; n < 4; n++) {
		scatter(1 + n % 4, rng() % TAILS, over);
		fill();
		repeat((n == 3 ? 2500 : 6000) / slow, ADD, n & 1 ? LEA : ROLXOR);
		for (unsigned k = 1500 / slow; k < length; k += n == 3 ? 7 : 1100 + rng() % 100)
			stream[k] = (u8)op;
		good &= agrees();
	}
	return good;
}

static void changed_inside(void)
{
	static const char *const name[] = { "a handler overwrites another", "one at home", "what comes next" };
	u64 start = rdtsc();

	for (unsigned k = 0; k < 3; k++) {
		ok(changed_by(PATCH + k, false), name[k]);
		if (rdtsc() - start > 5000000000ull)
			slow = 8;
	}
	ok(changed_by(PATCH, true) & changed_by(PATCH_HOME, true) & changed_by(PATCH_NEXT, true), "the same across pages");
}

static void changed_outside(void)
{
	bool good = true;

	for (unsigned n = 0; n < 2; n++) {
		scatter(1 + n % 4, n % TAILS, n & 1);
		fill();
		for (unsigned k = 0; k < ROUNDS(40); k++) {
			unsigned op = rng() & 1 ? ADD : ROLXOR;

			repeat(k % 8 ? 100 : 4000 / slow, ADD, LEA);
			good &= agrees();
			imm_is[op] = rng();
			poke(imm_at[op], imm_is[op]);
			good &= agrees();
		}
	}
	ok(good, "handlers overwritten by others");
}

/* ---- pages mapped elsewhere ---- */

static u32 imm_of[PAGES]; /* of ADD, in physical pages that have it */
static u64 add_offset;

/* LEA and JCC at home, ADD in the next page, of which there are two: code[HOME + 1] and code[HOME + 2]. */
static void make_remapped(unsigned how)
{
	plain_map();
	scatter(1, how, false);
	for (unsigned n = 1; n <= 2; n++) {
		map_code(HOME + 1, HOME + n);
		imm_is[ADD] = imm_of[HOME + n] = rng();
		place(ADD, LIN(HOME + 1) + 1024, how);
	}
	add_offset = imm_at[ADD] & 4095;
}

static bool has_pcid;

static void stream_of_two(unsigned count)
{
	for (length = 0; length < count; length += 2)
		stream[length] = LEA, stream[length + 1] = ADD;
}

enum { BY_INVLPG, BY_CR3, BY_OTHER_SPACE, BY_PCID, BY_PGE, WAYS };

static void toggle_pge(void)
{
	WRITE_REG("cr4", READ_REG("cr4") ^ 0x80);
	WRITE_REG("cr4", READ_REG("cr4") ^ 0x80);
}

static bool remap_round(unsigned way, unsigned which)
{
	unsigned s = way == BY_OTHER_SPACE || way == BY_PCID ? which & 1 : 0;

	phys[HOME + 1] = (u8)which;
	imm_is[ADD] = imm_of[which];
	map_in(s, HOME + 1, code[which], P | W | U);
	if (way == BY_INVLPG)
		invlpg(LIN(HOME + 1));
	else if (way == BY_CR3)
		WRITE_REG("cr3", (u64)space[0].pml4);
	else if (way == BY_OTHER_SPACE)
		WRITE_REG("cr3", (u64)space[s].pml4);
	else if (way == BY_PCID)
		WRITE_REG("cr3", (u64)space[s].pml4 | (s + 1) | KEEP);
	else
		toggle_pge();
	return agrees();
}

static void remapped_by(unsigned way)
{
	static const char *const name[WAYS] = { "by INVLPG", "by CR3", "by another address space", "by PCID", "by CR4.PGE" };
	bool good = true;

	if (way == BY_PCID && !has_pcid)
		return;
	for (unsigned how = (way + user) % 3; how < TAILS; how += 3) {
		make_remapped(how);
		if (way == BY_PCID) {
			for (unsigned s = 0; s < 2; s++)
				map_in(s, HOME, code[HOME], P | W | U | G);
			WRITE_REG("cr4", READ_REG("cr4") | 0x20080);
			for (unsigned s = 2; s-- > 0;)
				WRITE_REG("cr3", (u64)space[s].pml4 | (s + 1));
		}
		fill();
		for (unsigned n = 0; n < ROUNDS(60); n++) {
			stream_of_two(n % 30 ? 40 : 3000 / slow);
			good &= remap_round(way, HOME + 1 + n % 2);
			if (n % 3 == 0)
				good &= agrees();
		}
		WRITE_REG("cr3", (u64)space[0].pml4);
		WRITE_REG("cr4", READ_REG("cr4") & ~0x20080ull);
		plain_map();
	}
	ok(good, name[way]);
}

/* One home at two addresses; what lies behind differs. */
static void two_places(void)
{
	bool good = true;

	for (unsigned how = user; how < TAILS; how += 2) {
		u64 other_table[256];

		if (how == BY_TABLE)
			continue;
		make_remapped(how);
		map_code(HOME + 1, HOME + 1);
		map_code(HOME + 5, HOME);
		map_code(HOME + 6, HOME + 2);
		for (unsigned n = 0; n < 256; n++)
			other_table[n] = table[n] - LIN(HOME) < 8192 ? table[n] + 5 * 4096 : table[n];
		fill();
		for (unsigned n = 0; n < ROUNDS(60); n++) {
			u64 kept[256];

			stream_of_two(n % 30 < 2 ? 3000 / slow : 40);
			imm_is[ADD] = imm_of[HOME + 1 + n % 2];
			__builtin_memcpy(kept, table, sizeof(table));
			if (n & 1)
				__builtin_memcpy(table, other_table, sizeof(table));
			good &= agrees();
			__builtin_memcpy(table, kept, sizeof(table));
		}
		plain_map();
	}
	ok(good, "one home at two addresses");
}

/* The page behind becomes one that must not be executed, or not by the user, or is not there: found when the jump goes there. */
enum { ABSENT, NOT_EXECUTABLE, NOT_USER, KINDS };
static volatile u64 fetch_error, fetch_rip;

static void on_fetch(struct frame *f)
{
	if (!(f->error & 16) || READ_REG("cr2") != f->rip)
		panic_frame(f);
	fetch_error = f->error;
	fetch_rip = f->rip;
	map_in(0, HOME + 1, code[HOME + 1], P | W | U);
	invlpg(LIN(HOME + 1));
}

/* So that the processor knows the page, if not for the user. */
static void run_as_kernel(void)
{
	user = false;
	(void)agrees();
	user = true;
	fill();
}

static void no_fetch(void)
{
	bool good = true;

	handlers[EXC_PF] = on_fetch;
	for (unsigned how = 0; how < TAILS; how++) {
		make_remapped(how);
		map_code(HOME + 1, HOME + 1);
		imm_is[ADD] = imm_of[HOME + 1];
		fill();
		stream_of_two(4000 / slow);
		good &= agrees();
		for (unsigned n = 0; n < ROUNDS(20); n++) {
			unsigned kind = n % (user ? KINDS : NOT_USER);
			u64 flags = kind == NOT_USER ? P | W : P | W | U | NX;

			stream_of_two(40);
			map_in(0, HOME + 1, kind != ABSENT ? code[HOME + 1] : NULL, flags);
			invlpg(LIN(HOME + 1));
			if (kind == NOT_USER)
				run_as_kernel();
			fetch_rip = 0;
			good &= agrees();
			good &= fetch_rip == table[ADD] && fetch_error == (16u | (kind != ABSENT) | (user ? 4 : 0));
		}
	}
	plain_map();
	ok(good, "not to be executed any more");
}

static void all(void)
{
	shuffled_map();
	changed_inside();
	changed_outside();
	for (unsigned way = 0; way < WAYS; way++)
		remapped_by(way);
	two_places();
	no_fetch();
}

void guest_main(void)
{
	u32 out[4];

	cpuid(1, 0, out);
	has_pcid = out[2] >> 17 & 1;
	make_spaces();
	all();
	if (slow == 1) {
		print("the same at CPL 3\n");
		user = true;
		all();
	}
}
