/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Steps of sequences that random rows would not take: arrays and tables indexed by bytes, about the ends of pages; comparisons
 * of memory whose flags only a fault reads; computed jumps that go one way or the other, for loops that become paths.
 */
#include <string.h>
#include "sequence.h"

/* ---- encoding ---- */

struct memory {
	u8 base, index, scale; /* BASE_NONE: none */
	s32 disp;
};

struct operation {
	u8 prefix, lock, map; /* 0: none; map 1: 0f */
	u8 opcode, reg;
	bool wide, byte, imm8; /* byte: reg is one, as its number says */
	u8 imm;
};

static unsigned put_memory(u8 *p, u8 reg, const struct memory *m)
{
	bool small = m->base != BASE_NONE && m->disp == (s8)m->disp;
	unsigned n = 0;

	p[n++] = (u8)((m->base == BASE_NONE ? 0 : small ? 0x40 : 0x80) | (reg & 7) << 3 | 4);
	p[n++] = (u8)(m->scale << 6 | (m->index == BASE_NONE ? 4 : m->index & 7) << 3 | (m->base == BASE_NONE ? 5 : m->base & 7));
	memcpy(p + n, &m->disp, small ? 1 : 4);
	return n + (small ? 1 : 4);
}

static u8 rex_of(const struct operation *o, const struct memory *m)
{
	u8 rex = (u8)(o->wide << 3 | (o->reg & 8) >> 1);

	if (m->index != BASE_NONE)
		rex |= (m->index & 8) >> 2;
	if (m->base != BASE_NONE)
		rex |= (m->base & 8) >> 3;
	return !seq_is_32() && (rex || (o->byte && one_in(2))) ? 0x40 | rex : 0;
}

/* False: it would read flags that are not defined. */
static bool put(struct test_case *t, const struct operation *o, const struct memory *m)
{
	u8 bytes[16] = {0}, rex = rex_of(o, m);
	unsigned n = 0;

	if (o->lock)
		bytes[n++] = 0xf0;
	if (o->prefix)
		bytes[n++] = o->prefix;
	if (rex)
		bytes[n++] = rex;
	if (o->map)
		bytes[n++] = 0x0f;
	bytes[n++] = o->opcode;
	n += put_memory(bytes + n, o->reg, m);
	if (o->imm8)
		bytes[n++] = o->imm;
	if (insn_decode(&t->insn, bytes, 15, test_mode) == DECODE_OK && (t->insn.d->flags_read & FL_ARITH & seq.undefined))
		return false;
	return seq_add(t, bytes, n, 0);
}

/* ---- arrays ---- */

static u8 any_written(void)
{
	return seq_free_register();
}

/* Reads, writes and both of `size` bytes in general registers. */
enum { OP_LOAD, LOAD = 6, KINDS_OF_ACCESS = 18 };
static bool plain_access(struct test_case *t, unsigned size, const struct memory *m, unsigned kind)
{
	struct operation o = {.prefix = size == 2 ? 0x66 : 0, .wide = size == 8, .byte = size == 1};
	u8 w = size != 1, alu = rng() & 7;

	o.reg = seq_any_register();
	switch (kind) {
	case OP_LOAD:
	case 1:
	case 2:
	case 3: /* op r, m */
		o.opcode = (u8)(alu << 3 | 2 | w);
		o.reg = any_written();
		break;
	case 4:
	case 5: /* op m, r */
		o.opcode = (u8)(alu << 3 | w);
		o.lock = alu != 7 && one_in(6);
		break;
	case LOAD:
		o.opcode = 0x8a | w;
		o.reg = any_written();
		break;
	case 7:
		o.opcode = 0x88 | w;
		break;
	case 8:
	case 9: /* op m, imm8 */
		o.opcode = w ? 0x83 : 0x80;
		o.reg = one_in(2) ? 7 : alu;
		o.imm8 = true;
		break;
	case 10:
		o.opcode = 0x84 | w;
		break;
	case 11:
		o = (struct operation){.map = 1, .opcode = size == 2 ? 0xb7 : 0xb6, .reg = any_written(), .wide = one_in(2)};
		if (size > 2)
			o = (struct operation){.opcode = 0x3b, .reg = seq_any_register(), .wide = size == 8};
		break;
	case 12:
		o.opcode = 0xfe | w;
		o.reg = rng() & 1;
		break;
	case 13:
		o.opcode = 0x86 | w;
		o.reg = any_written();
		break;
	case 14:
		o.map = 1;
		o.opcode = 0xc0 | w;
		o.reg = any_written();
		break;
	case 15:
		o.opcode = 0xd0 | w;
		o.reg = 4 + rng() % 2;
		break;
	case 16: /* CMOVcc, SETcc */
		o.map = 1;
		o.opcode = (u8)((w ? 0x40 : 0x90) | (rng() & 15));
		o.reg = any_written();
		break;
	default:
		if (size == 8 && one_in(2)) {
			o = (struct operation){.opcode = 0xff, .reg = 6}; /* PUSH */
			break;
		}
		o.opcode = 0xf6 | w;
		o.reg = 2 + rng() % 2;
	}
	return put(t, &o, m);
}

static bool vector_access(struct test_case *t, unsigned size, const struct memory *m)
{
	static const u8 opcode[] = {0x10, 0x11, 0x28, 0x29, 0x54, 0x57};
	struct operation o = {.map = 1, .opcode = opcode[rng() % sizeof(opcode)], .reg = seq_any_register()};
	u8 bytes[16], base = m->base == BASE_NONE ? 0 : m->base;
	unsigned n = 0;

	if (size == 16)
		return put(t, &o, m);
	bytes[n++] = 0xc4;
	bytes[n++] = (u8)(1 | (~o.reg & 8) << 4 | (~m->index & 8) << 3 | (~base & 8) << 2);
	bytes[n++] = 0x7c; /* 32 bytes, no second source */
	bytes[n++] = o.opcode & 1 || o.opcode == 0x28 ? 0x11 : 0x10;
	n += put_memory(bytes + n, o.reg, m);
	return seq_add(t, bytes, n, 0);
}

/* `mixed`: loads and arithmetic by turns. */
static bool array_access(struct test_case *t, unsigned size, const struct memory *m, bool mixed, unsigned n)
{
	if (size >= 16)
		return vector_access(t, size, m);
	for (unsigned tries = 0; tries < 8; tries++)
		if (plain_access(t, size, m, !mixed ? rng() % KINDS_OF_ACCESS : n & 1 ? OP_LOAD : LOAD))
			return true;
	return false;
}

static u8 pick_index(void)
{
	u8 r;

	do
		r = seq_free_register();
	while ((r == R10 || r >= R14) && !one_in(16));
	return r;
}

/* MOVZX index, byte: of a register, now and then of memory. */
static bool load_index(struct test_case *t, u8 index, unsigned n)
{
	struct operation o = {.map = 1, .opcode = 0xb6, .reg = index, .wide = one_in(2)};
	struct memory m = {seq_base(one_in(2)), BASE_NONE, 0, (s8)rng()};
	u8 from = rng() & 15, rex = (u8)(0x40 | o.wide << 3 | (index & 8) >> 1);

	if (one_in(6))
		return put(t, &o, &m);
	if (index < 8 && one_in(4)) { /* AH..BH */
		from = 4 + rng() % 4;
		seq.byte[n] = from | HIGH_BYTE;
		return seq_add(t, (u8[]){0x0f, 0xb6, (u8)(0xc0 | index << 3 | from)}, 3, 0);
	}
	if ((seq.kept | 1u << LOOP_COUNTER) >> from & 1)
		from = index;
	seq.byte[n] = from;
	rex |= from >> 3;
	return seq_add(t, /* MOVZX, or of a word */
		       (u8[]){rex, 0x0f, one_in(12) ? 0xb7 : 0xb6, (u8)(0xc0 | (index & 7) << 3 | (from & 7))}, 4, 0);
}

/* The base moves, and the displacements with it. */
static bool move_base(struct test_case *t, struct memory m[2])
{
	s8 by = (s8)(rng() % 100) - 50;
	u8 base = m[0].base, b = base & 7, rex = (u8)(0x48 | base >> 3 | (base >> 3) << 2);

	if (base == BASE_NONE || b == 4)
		return true;
	for (unsigned n = 0; n < 2; n++)
		if (m[n].base == base)
			m[n].disp -= one_in(8) ? 0 : by;
	return seq_add(t, (u8[]){rex, 0x8d, (u8)(0x40 | b << 3 | b), (u8)by}, 4, 0);
}

static bool between(struct test_case *t, unsigned last, struct memory m[2], const u8 index[2])
{
	switch (rng() % 13) {
	case 0:
		return seq_random(t);
	case 12: /* an index that is a byte no more */
		return seq_add(t, (u8[]){0x40, (u8)(0x50 | (rng() & 7))}, 2, 0) &&
		       seq_add(t, (u8[]){(u8)(0x40 | index[0] >> 3), (u8)(0x58 | (index[0] & 7))}, 2, 0);
	case 1:
	case 2: /* an index moves */
		return load_index(t, index[rng() & 1], rng() & 1);
	case 3:
		return move_base(t, m);
	case 4:
		return t->count + 2 < last ? seq_branch(t, last) : true;
	case 5:
		return seq_alu(t, 0x01, one_in(2), any_written(), seq_any_register());
	case 6:
		return seq_step(t, any_written());
	default:
		return true;
	}
}

static struct memory an_array(u8 base, unsigned size, bool table)
{
	unsigned page = DATA + 4096 * (rng() % 5);
	u8 scale = size >= 16 ? 3 : one_in(3) ? rng() & 3 : size == 8 ? 3 : (u8)(size / 2);
	struct memory m = {base, BASE_NONE, scale, (s8)rng() * (one_in(4) ? 16 : 1)};

	if (!table)
		return m;
	m.base = BASE_NONE;
	m.disp = (s32)(page + rng() % (4096 - (one_in(8) ? 0 : 255u << scale)));
	if (one_in(3)) /* the last element about the page's end */
		m.disp = (s32)(page + 4096 - (255u << scale) - size + (one_in(2) ? 0 : rng() % (2 * size)));
	return m;
}

/* Where element 0 lies: before a page's end, or in the page that is missing while others are there. */
static void aim_array(const struct memory *m, unsigned size)
{
	u64 edge = DATA_FIRST + 4096 * (rng() % 4), room = one_in(3) ? 40u << m->scale : 256u << m->scale;
	u64 first = edge - size - rng() % (room + size);
	s64 limit = (s64)(edge - first - size) >> m->scale;

	seq.aimed = true;
	seq.array_base = m->base;
	seq.array_at = (one_in(8) ? DATA_FIRST + rng() % 2048 : first) - (u64)(s64)m->disp;
	for (unsigned n = 0; n < 2; n++) {
		seq.byte_is[n] = one_in(2) ? (s16)(limit + (s64)(rng() % 4) - 1) : (s16)(rng() & 255);
		if (seq.byte_is[n] < 0 || seq.byte_is[n] > 255)
			seq.byte_is[n] = rng() & 255;
	}
}

static void aim_table(void)
{
	seq.aimed = true;
	for (unsigned n = 0; n < 2; n++)
		seq.byte_is[n] = one_in(2) ? rng() & 255 : 255;
}

bool step_arrays(struct test_case *t, unsigned last)
{
	static const u8 sizes[] = {1, 2, 4, 8, 4, 8, 1, 16, 32};
	unsigned size[2], groups = 1 + one_in(3), members = groups == 2 ? 8 : 4 + rng() % 5;
	u8 index[2] = {pick_index(), pick_index()}, base = seq_base(one_in(2));
	bool table = one_in(4), mixed = one_in(5);
	struct memory m[2];

	for (unsigned n = 0; n < 2; n++) {
		do
			size[n] = sizes[rng() % sizeof(sizes)];
		while (size[n] == 32 && !__builtin_cpu_supports("avx"));
		m[n] = an_array(n && one_in(2) ? seq_base(one_in(2)) : base, size[n], table);
		seq.fixed |= (u16)(1u << index[n]);
	}
	if (table)
		aim_table();
	else
		aim_array(&m[0], size[0]);
	if (!load_index(t, index[0], 0) || (index[1] != index[0] && !load_index(t, index[1], 1)))
		return false;
	for (unsigned n = 0; n < members && t->count < last; n++) {
		unsigned g = groups == 2 ? n / 2 & 1 : 0;
		struct memory one = m[g];

		one.index = index[rng() & 1];
		if (one_in(20))
			one.scale = rng() & 3;
		if (!array_access(t, one_in(40) ? 4 : size[g], &one, mixed, n))
			return false;
		if (one_in(3) && t->count < last && !between(t, last, m, index))
			return false;
	}
	seq.fixed = 0;
	return true;
}

/* ---- comparisons with memory ---- */

static struct memory some_memory(void)
{
	struct memory m = {seq_base(one_in(2)), BASE_NONE, 0, (s8)rng()};

	if (one_in(3))
		m = (struct memory){BASE_NONE, BASE_NONE, 0, (s32)(DATA_FIRST + rng() % 8000)};
	return m;
}

static bool compare_memory(struct test_case *t, u8 *ret_reg)
{
	static const u8 sizes[] = {1, 1, 2, 4, 4, 8, 8};
	unsigned size = sizes[rng() % sizeof(sizes)];
	struct operation o = {.prefix = size == 2 ? 0x66 : 0, .wide = size == 8, .byte = size == 1, .reg = seq_any_register()};
	struct memory m = some_memory();
	u8 w = size != 1;

	*ret_reg = o.reg;
	switch (rng() % 5) {
	case 0:
		o.opcode = 0x38 | w;
		break;
	case 1:
		o.opcode = 0x3a | w;
		break;
	case 2:
		o.opcode = 0x84 | w;
		break;
	case 3:
		o.opcode = w ? 0x83 : 0x80;
		o.reg = 7;
		o.imm8 = true;
		o.imm = (u8)rng();
		break;
	default:
		if (w) { /* an immediate of one byte has TEST but of a byte */
			o.opcode = 0x3b;
			break;
		}
		o.opcode = 0xf6;
		o.reg = 0;
		o.imm8 = true;
		o.imm = (u8)rng();
	}
	return put(t, &o, &m);
}

/* What may fault before the flags are written again: absent and read-only pages, a quotient that does not fit. */
static bool may_fault(struct test_case *t)
{
	struct operation o = {.opcode = one_in(2) ? 0x8b : 0x89, .wide = one_in(2), .reg = any_written()};
	struct memory m = some_memory();

	if (one_in(4))
		return seq_add(t, (u8[]){0x40, 0xf6, (u8)(0xf0 | (rng() & 7))}, 3, 0);
	if (one_in(4))
		m = (struct memory){BASE_NONE, BASE_NONE, 0, (s32)(DATA + rng() % 4096 + (one_in(2) ? 0 : 4096 * 3))};
	return put(t, &o, &m);
}

/* By a constant that may leave the flags alone. */
static bool shift(struct test_case *t)
{
	static const u8 counts[] = {0, 32, 64, 1, 4, 31, 33, 63};
	u8 reg = any_written(), rex = (u8)(0x40 | (rng() & 1) << 3 | reg >> 3);

	return seq_add(t, (u8[]){rex, 0xc0 | (rng() & 1), (u8)(0xe0 | (rng() & 3) << 3 | (reg & 7)), counts[rng() & 7]}, 4, 0);
}

bool step_compare(struct test_case *t, unsigned last)
{
	u8 reg;

	if (t->count + 6 > last || !compare_memory(t, &reg))
		return true;
	if (one_in(3) && !shift(t))
		return false;
	if (one_in(4) && !seq_step(t, reg))
		return false;
	if (one_in(3) && !seq_add(t, (u8[]){0x0f, (u8)(0x80 | (rng() & 15)), 0, 0, 0, 0}, 6, (u8)(t->count + 1 + rng() % 3)))
		return false;
	if (!may_fault(t) || (one_in(4) && !may_fault(t)))
		return false;
	return one_in(4) || seq_alu(t, 0x31, one_in(2), any_written(), seq_any_register());
}

/* ---- computed jumps ---- */

static bool lea_code(struct test_case *t, u8 reg, u8 to)
{
	return seq_add(t, (u8[]){(u8)(0x48 | (reg & 8) >> 1), 0x8d, (u8)(5 | (reg & 7) << 3), 0, 0, 0, 0}, 7, to);
}

static bool cmov(struct test_case *t, u8 cc, u8 to, u8 from)
{
	u8 rex = (u8)(0x48 | (to & 8) >> 1 | from >> 3);

	return seq_add(t, (u8[]){rex, 0x0f, (u8)(0x40 | cc), (u8)(0xc0 | (to & 7) << 3 | (from & 7))}, 4, 0);
}

static bool jump_reg(struct test_case *t, u8 reg)
{
	return seq_add(t, (u8[]){(u8)(0x40 | reg >> 3), 0xff, (u8)(0xe0 | (reg & 7))}, 3, 0);
}

/* Through memory, if that can be written. */
static bool jump_memory(struct test_case *t, u8 reg)
{
	struct operation store = {.opcode = 0x89, .wide = true, .reg = reg}, jump = {.opcode = 0xff, .reg = 4};
	struct memory m = some_memory();

	return put(t, &store, &m) && put(t, &jump, &m);
}

/* Flags for the target: of a register, of memory, or whatever comes. */
static bool write_flags(struct test_case *t)
{
	static const u8 arithmetic[] = {0x01, 0x29, 0x21, 0x09, 0x31, 0x39, 0x85, 0x00, 0x28, 0x20, 0x38, 0x84};
	u8 reg, opcode = arithmetic[rng() % sizeof(arithmetic)];

	switch (rng() % 4) {
	case 0:
		return compare_memory(t, &reg);
	case 1:
		return seq_random(t);
	case 2:
		return true;
	default:
		return seq_alu(t, opcode, one_in(2), any_written(), seq_any_register());
	}
}

/* Flags of two registers, something that frees them in a translator's eyes, then a register moves. */
static bool flags_then_move(struct test_case *t)
{
	static const u8 arithmetic[] = {0x01, 0x29, 0x21, 0x09, 0x31, 0x39, 0x85, 0x39, 0x29};
	u8 x = any_written(), y = any_written();

	return seq_alu(t, arithmetic[rng() % sizeof(arithmetic)], one_in(2), x, y) && (one_in(6) || may_fault(t)) &&
	       (one_in(2) ? seq_alu(t, 0x89, one_in(2), one_in(2) ? x : y, rng() & 15) : seq_step(t, one_in(2) ? x : y));
}

/* Goes to `usual`, or under condition cc to `other`. */
static bool jump_either(struct test_case *t, u8 cc, u8 usual, u8 other, u8 a, u8 b)
{
	u8 at;
	bool good;

	seq.fixed |= (u16)(1u << a | 1u << b);
	good = cmov(t, cc, a, b) && (one_in(3) ? flags_then_move(t) : write_flags(t));
	good = good && (one_in(3) ? jump_memory(t, a) : jump_reg(t, a));
	seq.fixed = 0;
	at = (u8)(t->count - 1);
	seq.way[at][0] = usual;
	seq.way[at][1] = other;
	seq.joins[usual] |= seq.undefined;
	seq.joins[other] |= seq.undefined;
	return good;
}

static void two_registers(u8 *a, u8 *b)
{
	do
		*a = seq_free_register();
	while (*a == RAX); /* which DIV writes */
	do
		*b = seq_free_register();
	while (*b == *a || *b == RAX);
}

static u64 inside(unsigned first, unsigned end)
{
	return ((1ull << end) - 1) & ~((2ull << first) - 1);
}

bool step_computed(struct test_case *t, unsigned last)
{
	unsigned first = t->count, room = 9;
	u8 a, b, usual, other;

	if (first + room >= last || seq.spoils || (seq.targets & inside(first, first + room)))
		return true;
	seq.calls = true;
	two_registers(&a, &b);
	usual = (u8)(first + room + rng() % (last - first - room));
	other = (u8)(first + room + rng() % (last - first - room));
	seq.inner |= inside(first, first + room);
	if (!lea_code(t, a, usual) || !lea_code(t, b, other) ||
	    !seq_add(t, (u8[]){0x41, 0xf6, 0xc3, (u8)(1u << rng() % 3)}, 4, 0) || /* test r11b, imm */
	    !jump_either(t, 4 + (rng() & 1), usual, other, a, b))
		return false;
	while (t->count < first + room)
		if (!seq_alu(t, 0x89, one_in(2), any_written(), seq_any_register()))
			return false;
	return true;
}

bool step_loop(struct test_case *t)
{
	u8 to = (u8)(rng() % 3), end, a, b, at = (u8)t->count;

	if (seq.spoils || (seq.inner >> to & 1))
		return false;
	seq.calls = true;
	two_registers(&a, &b);
	if (!lea_code(t, a, to) || !lea_code(t, b, 0) || !seq_add(t, (u8[]){0x49, 0x83, 0xeb, 1}, 4, 0) ||
	    !jump_either(t, 4, to, SEQ_MAX, a, b))
		return false;
	end = (u8)t->count;
	seq.target[at] = to;
	seq.loops = at;
	seq.target[at + 1] = end;
	seq.way[end - 1][1] = end;
	return true;
}

/* ---- the state ---- */

void step_aim(struct test_case *t)
{
	if (!seq.aimed)
		return;
	if (seq.array_base != BASE_NONE)
		t->in.gpr[seq.array_base] = seq.array_at;
	for (unsigned n = 0; n < 2; n++) {
		u8 reg = seq.byte[n] & HIGH_BYTE ? seq.byte[n] & 3 : seq.byte[n], at = seq.byte[n] & HIGH_BYTE ? 8 : 0;

		if (!((seq.kept | 1u << LOOP_COUNTER) >> reg & 1))
			t->in.gpr[reg] = (t->in.gpr[reg] & ~(0xffull << at)) | (u64)seq.byte_is[n] << at;
	}
}
