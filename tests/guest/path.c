/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loops through computed jumps, as bytecode interpreters have them: handlers, made here, in one page and in several, each of
 * which jumps to the next by a table. A translator may take the way that such a loop goes for one piece of code: so ways change,
 * code changes, pages are mapped elsewhere, and faults, interrupts and single steps come while they are run. What comes out is
 * compared with what C computes.
 */
#include "path.h"

static unsigned slow = 1; /* a processor for which all of it would take too long does a part */

static void forms(void)
{
	u64 start = rdtsc();

	for (unsigned pages = 1; pages <= 5; pages++) {
		bool good = true;

		for (unsigned how = 0; how <= TAILS; how++) {
			offset_of_memory = rng() & 1 ? 4096 - 8 * (rng() % 250) : 0;
			imm_is[ADD] = rng();
			imm_is[ROLXOR] = rng();
			scatter(pages, how, (how ^ pages ^ user) & 1);
			fill();
			repeat(8000 / slow, ADD, LEA);
			good &= agrees();
		}
		ok(good, (const char *[]){ "handlers in a page", "in two pages", "in three", "in four", "in five" }[pages - 1]);
		if (rdtsc() - start > 5000000000ull)
			slow = 8;
	}
}

static u64 cut(u64 v, unsigned size)
{
	return size == 8 ? v : v & ((1ull << 8 * size) - 1);
}

static u32 result_flags(u64 r, unsigned size)
{
	u32 ones = 0;

	for (unsigned n = 0; n < 8; n++)
		ones += r >> n & 1;
	return (ones & 1 ? 0 : PF) | (cut(r, size) ? 0 : ZF) | (r >> (8 * size - 1) & 1 ? SF : 0);
}

static u32 sub_flags(u64 a, u64 b, unsigned size)
{
	u64 r = cut(a - b, size);

	a = cut(a, size), b = cut(b, size);
	return result_flags(r, size) | (a < b ? CF : 0) | ((a ^ b ^ r) & 16 ? AF : 0) |
	       (((a ^ b) & (a ^ r)) >> (8 * size - 1) & 1 ? OF : 0);
}

static u32 add_flags(u64 a, u64 b, unsigned size)
{
	u64 r = cut(a + b, size);

	a = cut(a, size), b = cut(b, size);
	return result_flags(r, size) | (r < a ? CF : 0) | ((a ^ b ^ r) & 16 ? AF : 0) |
	       (((a ^ r) & (b ^ r)) >> (8 * size - 1) & 1 ? OF : 0);
}

/* Handlers of two or three instructions, which the stream points to: more jumps than a block may have. */
static void threaded(void)
{
	static u64 thread[12000];
	u64 at[16], rax = 0, count = sizeof(thread) / sizeof(*thread);

	for (unsigned n = 0; n < 16; n++) {
		at[n] = here = LIN(HOME + (n & 3)) + 512 + n * 32;
		if (n & 4) /* lea rax, [rax + n] */
			bytes(0x488d4000 | n, 4);
		if ((n & 12) == 12) /* jnz to what is next anyway */
			bytes(0x7500, 2);
		bytes(0x4883c608, 4), bytes(0xff26, 2); /* add rsi, 8; jmp [rsi] */
	}
	for (unsigned k = 0; k < count - 1; k++) {
		unsigned n = k % 5000 < 2500 ? k % 37 % 16 : k % 3 * 4 + 3;

		thread[k] = at[n];
		rax += n & 4 ? n : 0;
	}
	place(END, LIN(HOME + 2) + 2048, 0);
	thread[count - 1] = table[END];
	begin();
	regs.r[RAX] = 0;
	regs.r[RSI] = (u64)thread;
	path_entry = thread[0];
	go();
	ok(regs.r[RAX] == rax, "threaded code");
}

/* ---- flags at a jump that leaves its path ---- */

enum { KIND_ALU_REG, KIND_ALU_IMM, KIND_CMP_MEM, KIND_MEM_CMP, KIND_MEM_IMM, KIND_TEST, KIND_TEST_IMM, KIND_TEST_MEM, KIND_INC,
       KIND_SHIFT, KINDS };
#define AT(op) (((op) << 3) | 1)

struct flag_case {
	unsigned kind, op, size, moved;
	u8 a, b; /* registers */
	u64 va, vb;
	int32_t imm;
};

static void modrm(const struct flag_case *f, u8 opcode, bool mem, u8 reg, u8 rm)
{
	u8 rex = (u8)(0x40 | (f->size == 8) << 3 | (reg & 8) >> 1 | rm >> 3);

	if (f->size == 2)
		byte(0x66);
	byte(rex);
	byte(f->size == 1 ? opcode & 0xfe : opcode);
	if (mem) {
		bytes((u64)(0x44 | (reg & 7) << 3) << 16 | 0x2400 | 40, 3); /* [r12 + 40] */
		return;
	}
	byte((u8)(0xc0 | (reg & 7) << 3 | (rm & 7)));
}

/* The instruction, and the flags that are its. */
static u32 put_setter(const struct flag_case *f)
{
	u64 a = f->va, b = f->vb, i = (u64)(int64_t)(int8_t)f->imm;
	bool test = f->kind == KIND_TEST || f->kind == KIND_TEST_MEM;
	u8 op = (u8)f->op;

	switch (f->kind) {
	case KIND_ALU_REG:
		modrm(f, AT(op), false, f->b, f->a);
		break;
	case KIND_ALU_IMM:
		modrm(f, 0x83 - 2 * (f->size == 1), false, op, f->a), byte((u8)f->imm);
		b = i;
		break;
	case KIND_CMP_MEM: /* cmp [r12 + 40], b: memory is va */
		modrm(f, 0x39, true, f->b, R12), op = 7;
		break;
	case KIND_MEM_CMP: /* cmp a, [r12 + 40]: memory is vb */
		modrm(f, 0x3b, true, f->a, R12), op = 7;
		break;
	case KIND_MEM_IMM:
		modrm(f, 0x83 - 2 * (f->size == 1), true, 7, R12), byte((u8)f->imm), op = 7;
		b = i;
		break;
	case KIND_TEST:
		modrm(f, 0x85, false, f->b, f->a), op = 4;
		break;
	case KIND_TEST_IMM:
		modrm(f, 0xf7, false, 0, f->a), imm((u64)(int64_t)f->imm, f->size == 8 ? 4 : f->size), op = 4;
		b = (u64)(int64_t)f->imm;
		break;
	case KIND_TEST_MEM:
		modrm(f, 0x85, true, f->b, R12), op = 4;
		break;
	case KIND_INC: /* CF stays: it was cleared */
		modrm(f, 0xff, false, op & 1, f->a);
		return (op & 1 ? sub_flags(a, 1, f->size) : add_flags(a, 1, f->size)) & ~CF;
	default: /* SHL, SHR, SAR by one */
		modrm(f, 0xd1, false, 4 + op % 2, f->a);
		if (op % 2) {
			u64 r = cut(a, f->size) >> 1;

			return result_flags(r, f->size) | (a & 1) | (a >> (8 * f->size - 1) & 1 ? OF : 0);
		}
		b = a >> (8 * f->size - 1) & 1;
		return result_flags(a << 1, f->size) | (u32)b | ((b ^ a >> (8 * f->size - 2)) & 1 ? OF : 0);
	}
	if (test || op == 1 || op == 4 || op == 6)
		return result_flags(op == 1 ? a | b : op == 6 ? a ^ b : a & b, f->size);
	return op == 0 ? add_flags(a, b, f->size) : sub_flags(a, b, f->size);
}

static void load_reg(u8 reg, u64 v)
{
	byte((u8)(0x48 | reg >> 3));
	byte((u8)(0xb8 | (reg & 7)));
	imm(v, 8);
}

/* Readers: PUSHFQ; SETcc; Jcc. They store what they see at [rbp]. */
static void put_reader(unsigned how, u8 cc)
{
	if (how == 0) { /* pushfq; pop rdx; mov [rbp], rdx */
		bytes(0x9c5a48895500, 6);
		return;
	}
	if (how == 1) { /* setcc [rbp] */
		bytes(0x0f90 | cc, 2), bytes(0x4500, 2);
		return;
	}
	bytes(0xc6450001, 4), byte(0x70 | cc), byte(4), bytes(0xc6450000, 4); /* mov byte [rbp], 1; jcc +4; mov byte [rbp], 0 */
}

static bool condition(u32 flags, u8 cc)
{
	bool sf = flags & SF, of = flags & OF, v;

	switch (cc >> 1) {
	case 0:
		v = of;
		break;
	case 1:
		v = flags & CF;
		break;
	case 2:
		v = flags & ZF;
		break;
	case 3:
		v = flags & (CF | ZF);
		break;
	case 4:
		v = sf;
		break;
	case 5:
		v = flags & PF;
		break;
	case 6:
		v = sf != of;
		break;
	default:
		v = (flags & ZF) || sf != of;
	}
	return v != (cc & 1);
}

#define ROUNDS 1200 /* a translator may wait for a thousand */
#define CASES 40

/* SET and OTHER by turns, then SET and READ. */
static bool flag_case(struct flag_case *f)
{
	unsigned how = rng() % 3, tail_how = BY_TABLE + rng() % (TAILS - BY_TABLE);
	bool no_af = f->kind == KIND_SHIFT || f->kind == KIND_TEST || f->kind == KIND_TEST_IMM || f->kind == KIND_TEST_MEM ||
		     (f->kind <= KIND_ALU_IMM && (f->op == 1 || f->op == 4 || f->op == 6));
	u32 want, got;
	u64 seen = 0;
	u8 cc = rng() & 15;

	here = table[1] = LIN(HOME) + 64;
	load_reg(f->a, f->va);
	load_reg(f->b, f->vb);
	bytes(0x4539c0, 3); /* cmp r8d, r8d: no carry */
	want = put_setter(f);
	if (f->moved == 1) /* lea a, [a + 7] */
		bytes((u64)(0x48 | f->a >> 3 | (f->a & 8) >> 1) << 24 | 0x8d4007 | (u64)((f->a & 7) * 9) << 8, 4);
	if (f->moved == 2)
		load_reg(f->b, 99);
	if (f->moved == 3) { /* behind all that may fault */
		bytes(0x0fb60e, 3), bytes(0x488d7601, 4), bytes(0x4c8b1ccf, 4);
		load_reg(f->b, 99);
		bytes(0x41ffe3, 3);
	} else {
		tail(tail_how);
	}
	here = table[2] = LIN(HOME + (rng() & 1)) + 512; /* OTHER: writes flags, at once or behind a load */
	if (rng() & 1)
		bytes(0x4d8b4c2408, 5);
	if (rng() & 1)
		bytes(0x4d31c0, 3);
	else
		bytes(0x49837c240805, 6);
	tail(tail_how);
	here = table[3] = LIN(HOME + (rng() & 1)) + 1024;
	put_reader(how, cc);
	tail(tail_how);
	place(END, LIN(HOME + 2), 0);
	for (length = 0; length < 2 * ROUNDS / slow; length += 2)
		stream[length] = 1, stream[length + 1] = 2;
	stream[length++] = 1, stream[length++] = 3;
	stream[length] = END;
	__builtin_memcpy(memory + 40, f->kind == KIND_MEM_CMP ? &f->vb : &f->va, 8);
	offset_of_memory = 0;
	begin();
	regs.r[RBP] = (u64)&seen;
	go();
	got = (u32)seen & FLAGS;
	if (how)
		return (seen & 1) == condition(want, cc);
	return !((got ^ want) & (no_af ? FLAGS & ~AF : FLAGS));
}

static void flags_outside(void)
{
	static const u8 regs_a[] = { RAX, RBX, R9, R14, R15, RDX }, regs_b[] = { RDX, R13, R15, R10, RBX, RAX };
	static const u64 values[] = { 0, 1, 5, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fffffff, 0x80000000, 0xffffffff,
				      0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff };
	static const u8 ops[] = { 0, 5, 7, 4, 1, 6 };
	static const char *const name[KINDS] = { "of ALU, registers", "of ALU, immediate", "of CMP m, r", "of CMP r, m",
						 "of CMP m, i", "of TEST", "of TEST r, i", "of TEST m, r", "of INC, DEC",
						 "of shifts" };

	for (unsigned kind = 0; kind < KINDS; kind++) {
		bool good = true;

		for (unsigned n = 0; n < CASES; n++) {
			unsigned pair = rng() % sizeof(regs_a);
			struct flag_case f = { kind, ops[rng() % sizeof(ops)], 1u << rng() % 4, rng() % 4, regs_a[pair],
					       regs_b[pair], values[rng() % 14], values[rng() % 14], (int32_t)(int8_t)rng() };

			if (rng() & 1)
				f.va = (u64)rng() << 32 | rng();
			if (rng() & 1)
				f.vb = (u64)rng() << 32 | rng();
			good &= flag_case(&f);
		}
		ok(good, name[kind]);
	}
}

/* ---- faults, interrupts, single steps ---- */

static u8 walk[WALK_PAGES][4096] __attribute__((aligned(4096)));

static void map_walk(unsigned n, u64 flags)
{
	for (unsigned s = 0; s < 2; s++)
		map_in(s, WALK_PAGE + n, flags & P ? walk[n] : NULL, flags);
	invlpg(LIN(WALK_PAGE + n));
}

struct event {
	u64 vector, error, cr2, rip, rax, rcx, rsi, r9, r13, r14, r15;
	u32 flags;
};
#define EVENTS 64
static struct event seen[EVENTS], expected[EVENTS];
static volatile unsigned seens;
static unsigned expects, steps_wanted, starts; /* runs of single steps, from a fault on */
static volatile unsigned steps, steps_cut;

static void fix(struct frame *f)
{
	u64 cr2 = READ_REG("cr2");

	if (f->rip == 1ull << 55) /* where no jump should arrive */
		f->rip = table[ADD];
	else if (f->vector == EXC_PF && cr2 >= LIN(WALK_PAGE))
		map_walk((unsigned)((cr2 - LIN(WALK_PAGE)) >> 12), P | W | U);
	else if (f->vector == EXC_DE)
		*(volatile u64 *)f->r13 = 7;
	else if (f->vector == EXC_GP && f->rcx == NOWHERE) /* the jump is done again */
		table[NOWHERE] = f->r10 = f->r11 = table[ADD];
	else if (f->vector == EXC_GP || f->vector == EXC_PF)
		f->r15 = (u64)memory;
}

static void on_fault(struct frame *f)
{
	bool pf = f->vector == EXC_PF;

	if (seens == EVENTS || (pf && (f->error & 16)))
		panic_frame(f);
	seen[seens++] = (struct event){ f->vector, f->error, pf ? READ_REG("cr2") : 0, f->rip, f->rax, f->rcx, f->rsi, f->r9,
					f->r13, f->r14, f->r15, (u32)f->rflags & FLAGS };
	fix(f);
	starts += steps_wanted && !(f->rflags & 0x100);
	if (steps_wanted)
		f->rflags |= 0x100;
}

static void on_step(struct frame *f)
{
	bool left = f->rip < AREA || f->rip >= LIN(PAGES); /* the stream is at its end */

	steps_cut += left;
	if (left || ++steps % steps_wanted == 0)
		f->rflags &= ~0x100ull;
}

static void expect(u64 vector, u64 error, u64 cr2, u64 rip, const struct model *s, unsigned n)
{
	expected[expects++] = (struct event){ vector, vector == EXC_PF ? error | (user ? 4 : 0) : error, cr2, rip, s->rax, s->rcx,
					      (u64)stream + n + 1, s->r9, s->r13, s->r14, s->r15, s->flags };
}

/* WALK and its like, with the faults that they meet. */
static void compute_walk(struct model *s, unsigned op, unsigned n, bool *absent)
{
	unsigned page = (unsigned)((s->r13 - LIN(WALK_PAGE)) >> 12);
	u64 *at = (u64 *)(walk[page % WALK_PAGES] + (s->r13 & 4095)), old = s->rax;

	s->rcx = op;
	if (op == WALKW) {
		s->flags = add_flags(s->rax, 77, 8);
		s->rax += 77;
	} else if (op == WALK) {
		s->flags = sub_flags(get(s, 8), 5, 8);
	} else if (op == DIVIDE) {
		s->flags = sub_flags(get(s, 8), s->rax, 4);
		s->r9 = s->rax;
		s->rax = 1000;
	}
	if (absent[page])
		expect(EXC_PF, op == WALKW ? 2 : 0, s->r13, fault_at[op], s, n);
	absent[page] = false;
	if (op == WALKW)
		*at = s->rax;
	if (op == WALK || op == FIRST)
		s->r9 = *at;
	if (op == FIRST) {
		s->flags = add_flags(s->rax, 77, 8);
		s->rax += 77;
	}
	if (op == DIVIDE && !*at)
		expect(EXC_DE, 0, 0, fault_at[op], s, n);
	if (op == DIVIDE)
		s->rax = old;
	s->r13 += 8;
}

static void compute_indirect(struct model *s, unsigned n)
{
	s->rcx = INDIRECT;
	s->r15 = *(u64 *)s->r14;
	s->r14 += 8;
	s->flags = sub_flags(s->rax, 9, 8);
	s->rax -= 9;
	if (s->r15 == 1ull << 62)
		expect(EXC_GP, 0, 0, fault_at[INDIRECT], s, n);
	else if (s->r15 == LIN(WALK_PAGE - 1))
		expect(EXC_PF, 0, s->r15, fault_at[INDIRECT], s, n);
	if (s->r15 != (u64)memory)
		s->r15 = (u64)memory;
	s->r9 = *(u64 *)memory;
}

static u64 pointers[4000];

static bool same_events(void)
{
	for (unsigned n = 0; n < expects || n < seens; n++)
		if (n >= seens || n >= expects || __builtin_memcmp(&seen[n], &expected[n], sizeof(seen[n])))
			return false;
	return true;
}

/* The walk's quadwords are small; a few are zero, for DIVIDE. */
static void prepare_walk(unsigned op, bool *absent, unsigned pages)
{
	for (unsigned p = 0; p < pages; p++) {
		absent[p] = p % 2;
		map_walk(p, absent[p] ? 0 : P | W | U);
		for (unsigned n = 0; n < 4096; n += 8)
			*(u64 *)(walk[p] + n) = op == DIVIDE && rng() % 700 == 0 ? 0 : 1 + rng() % 100;
	}
	for (unsigned n = 0; n < sizeof(pointers) / 8; n++)
		pointers[n] = rng() % 900 ? (u64)memory : rng() & 1 ? 1ull << 62 : LIN(WALK_PAGE - 1);
	pointers[100 + rng() % 300] = 1ull << 62;
}

static bool faults_of(unsigned op, unsigned how, unsigned count, bool soon)
{
	bool absent[WALK_PAGES + 1] = { 0 }, good;
	struct model s = { .rax = 0x123456789abcdefull, .m = memory };
	unsigned others = 1 + rng() % 3, phase = rng() % others;

	offset_of_memory = 0;
	scatter(2 + rng() % 2, how, false);
	prepare_walk(op, absent, soon ? 2 : WALK_PAGES);
	seens = expects = steps = starts = steps_cut = 0;
	for (length = 0; length < count * others; length++)
		stream[length] = (u8)(length % others != phase ? LEA : op);
	stream[length] = END;
	begin();
	s.r13 = regs.r[R13] = LIN(WALK_PAGE) + (soon ? 4096 - 8 * (rng() % 7) : slow > 1 ? 4000 : 8 * (rng() % 100));
	s.r14 = regs.r[R14] = (u64)pointers;
	for (unsigned n = 0; n < length; n++)
		if (stream[n] == INDIRECT)
			compute_indirect(&s, n);
		else if (stream[n] == LEA)
			compute(&s, LEA);
		else
			compute_walk(&s, stream[n], n, absent);
	for (unsigned p = 0; p < WALK_PAGES; p++) /* compute_walk() has stored what the walk will */
		for (unsigned n = 0; op == WALKW && n < 4096; n += 8)
			*(u64 *)(walk[p] + n) = 0;
	if (expects) /* the first one finds the registers that the loop began with */
		expected[0].rcx = expected[0].rsi == (u64)stream + 1 ? 0 : expected[0].rcx;
	go();
	good = same_events() && regs.r[RAX] == s.rax && regs.r[R13] == s.r13 && (expects || slow > 1) && steps_cut <= 1;
	return good && (!steps_wanted || steps_cut || steps == steps_wanted * starts);
}

static void faults(void)
{
	static const struct {
		u8 op;
		const char *name;
	} all[] = { { WALK, "page faults of loads, flags of CMP with memory" }, { WALKW, "page faults of stores, flags of ADD" },
		    { FIRST, "page faults of loads, flags from before" },
		    { DIVIDE, "divide errors" }, { INDIRECT, "pointers to nowhere" } };

	handlers[EXC_DE] = handlers[EXC_GP] = handlers[EXC_PF] = on_fault;
	handlers[EXC_DB] = on_step;
	for (unsigned k = 0; k < sizeof(all) / sizeof(*all); k++) {
		bool good = true;

		fill();
		for (unsigned how = BY_TABLE; how < TAILS; how++)
			for (unsigned n = 0; n < 2; n++) {
				steps_wanted = n ? 1 + rng() % 90 : 0;
				good &= faults_of(all[k].op, how, 3900 / slow, false);
			}
		steps_wanted = 0;
		for (unsigned n = 0; n < 100 / slow && all[k].op <= FIRST; n++) /* while a translator is still looking */
			good &= faults_of(all[k].op, BY_TABLE + n % (TAILS - BY_TABLE), 20, true);
		ok(good, all[k].name);
	}
}

/* A jump to an address that is not canonical, and one whose table is not there. */
static void bad_jumps(void)
{
	bool good = true;

	for (unsigned how = 0; how < TAILS; how++) {
		scatter(2, how, false);
		fill();
		for (length = 0; length < 5000; length++)
			stream[length] = (u8)(length % 2501 == 2500 ? NOWHERE : 1 + length % 2);
		table[NOWHERE] = 1ull << 55;
		seens = 0;
		good &= !agrees(); /* C takes NOWHERE for nothing, it became ADD */
		good &= seens == 1 && seen[0].vector == EXC_GP && !seen[0].error && seen[0].rcx == NOWHERE &&
			(seen[0].rip == jumps_at[1] || seen[0].rip == jumps_at[2]);
		if (how == BY_TABLE)
			continue;
		__builtin_memcpy(walk[1] - 1024, table, sizeof(table)); /* entries from 128 on lie in the second page */
		map_walk(0, P | W | U);
		map_walk(1, 0);
		table[NOWHERE] = *(u64 *)(walk[1] - 1024 + NOWHERE * 8) = table[LEA];
		seens = 0;
		begin();
		regs.r[RDI] = LIN(WALK_PAGE + 1) - 1024;
		go();
		good &= seens == 1 && seen[0].vector == EXC_PF && seen[0].error == (user ? 4 : 0) &&
			seen[0].cr2 == regs.r[RDI] + NOWHERE * 8 && seen[0].rcx == NOWHERE;
	}
	ok(good, "jumps to nowhere, by a table that is not there");
}

/* ---- bits of page tables ---- */

#define A 0x20ull
#define D 0x40ull

/* Reads by an index, and a write that does not come: who looks ahead must not make the page dirty. */
static bool dirty_case(bool by_table)
{
	volatile u64 *entry = &space[0].pt[FIRST_PAGE + WALK_PAGE];
	bool good = true;

	here = path_entry = LIN(HOME) + 32;
	bytes(0x0fb6c8, 3), bytes(0x0fb6d4, 3); /* movzx ecx, al; movzx edx, ah */
	for (unsigned n = 0; n < 5; n++) { /* mov r9, [.]; add r9, [.] and so on; then behind jz the write */
		u8 index = n & 1 ? RDX : RCX, opcode = n == 4 ? 0x89 : n ? 0x03 : 0x8b;

		if (n == 4)
			bytes(0x84db74, 3), byte(by_table ? 8 : 5); /* test bl, bl; jz */
		byte(by_table ? 0x4c : 0x4d), byte(opcode);
		bytes((u64)(by_table ? 0x0c : 0x4c) << 8 | 0xc0 | (u64)index << 3 | 5, 2);
		if (by_table)
			imm(LIN(WALK_PAGE), 4);
		else
			byte(0);
	}
	bytes(0xff2425, 3);
	imm((u64)&table[255], 4);
	for (unsigned n = 0; n < 200; n++) {
		bool writes = n % 7 == 6;

		map_walk(0, P | W | U);
		begin();
		path_entry = LIN(HOME) + 32;
		regs.r[R13] = LIN(WALK_PAGE);
		regs.r[RBX] = writes;
		go();
		good &= (*entry & (A | D)) == (writes ? A | D : A);
	}
	return good;
}

static void dirty(void)
{
	ok(dirty_case(false), "an array is not dirty before it is written");
	ok(dirty_case(true), "nor is a table");
}

static volatile u64 ticks;

static void on_tick(struct frame *f)
{
	ticks++;
	apic_write(0xb0, 0);
}

static void interrupts(void)
{
	bool good = true;

	handlers[0x40] = on_tick;
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	apic_enable();
	apic_write(0x3e0, 0xb);
	apic_write(0x320, 0x20040);
	apic_write(0x380, slow > 1 ? 10000000 : 100000);
	ticks = 0;
	for (unsigned n = 0; n < 600 && (n < 4 || ticks < 10); n++) {
		scatter(1 + n % 4, n % TAILS, n & 1);
		fill();
		repeat(20000 / slow, ADD, LEA);
		__asm__ volatile("sti");
		good &= agrees();
		__asm__ volatile("cli");
	}
	apic_write(0x320, 0x10000);
	apic_write(0x380, 0);
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
	ok(good && ticks >= 10, "interrupts meanwhile");
}

/* Until an interrupt ends it: who does not look for requests never leaves it. */


static void on_end(struct frame *f)
{
	ticks++;
	if (ticks > 3)
		f->r15 = 1;
	apic_write(0xb0, 0);
}

static void endless(unsigned pages)
{
	scatter(pages, BY_TABLE, false);
	here = table[1] = LIN(HOME + pages - 1) + 2048; /* test r15, r15; cmovz rsi, r14; lea rax, [rax + 1] */
	bytes(0x4d85ff, 3), bytes(0x490f44f6, 4), bytes(0x488d4001, 4);
	tail(BY_TABLE);
	stream[0] = 2, stream[1] = 8, stream[2] = 1, stream[3] = END;
	handlers[0x40] = on_end;
	begin();
	regs.flags |= 0x200;
	regs.r[R14] = (u64)stream;
	ticks = 0;
	apic_write(0x320, 0x20040);
	apic_write(0x380, 3000000);
	__asm__ volatile("sti");
	path_go();
	__asm__ volatile("cli");
	apic_write(0x320, 0x10000);
	apic_write(0x380, 0);
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
	ok(regs.r[R15] == 1 && ticks >= 4, "a loop that only an interrupt ends");
}

static void all(void)
{
	shuffled_map();
	forms();
	threaded();
	flags_outside();
	faults();
	bad_jumps();
	dirty();
}

void guest_main(void)
{
	make_spaces();
	all();
	if (slow == 1) {
		print("the same at CPL 3\n");
		user = true;
		all();
		user = false;
	}
	interrupts();
	for (unsigned pages = 1; pages <= 4; pages++)
		endless(pages);
}
