/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sequences of instructions for the differential test: memory operands that share a few base registers, pushes and pops,
 * forward branches and calls within, sometimes a loop around, flags that flow between. What a translator does across
 * instructions (grouped look-ups, flags that are dead, the stack) can only go wrong here. No instruction reads a flag that
 * an earlier one may have left undefined.
 */
#include <string.h>
#include "exec-list.h"
#include "sequence.h"

#define SLOTS 12 /* generated ones; a loop's come behind them */
#define AIMED_SLOTS 20
#define LONG_SLOTS 30 /* more, now and then: a block has up to 64 instructions */

enum pool { POOL_GENERAL, POOL_FLAGS, POOL_STACK, POOL_STRING, POOL_VECTOR, POOLS };

static const struct insn_row *pool[POOLS][4096];
static unsigned pool_size[POOLS];

struct sequence seq;

/* ---- which rows ---- */

/* Not those whose result depends on more than the state that is compared, or of which processors do different things. */
static bool fits(const struct insn_desc *d)
{
	static insn_fn *const out[] = {exec_bt, exec_cmps, exec_enter, exec_int, exec_ud, exec_bound, exec_pusha, exec_popa};

	for (unsigned n = 0; n < ARRAY_SIZE(out); n++)
		if (insn_exec(d) == out[n])
			return false;
	for (unsigned n = 0; n < d->nopnd; n++)
		if (d->opnd[n].size == SZ_VAR || d->opnd[n].kind == OP_VSIB)
			return false;
	switch (d->kind) {
	case KIND_CALL:
	case KIND_RET:
	case KIND_JMP:
	case KIND_JCC:
	case KIND_LOOP:
		return false; /* made by hand */
	default:
		return !(d->attr & (ATTR_MASKED | ATTR_X87));
	}
}

static enum pool pool_of(const struct insn_desc *d)
{
	if (d->attr & ATTR_VEC)
		return POOL_VECTOR;
	if (d->kind == KIND_PUSH || d->kind == KIND_POP || d->kind == KIND_LEAVE)
		return POOL_STACK;
	if (d->attr & ATTR_STRING)
		return POOL_STRING;
	return (d->flags_read | d->flags_written) & FL_ARITH ? POOL_FLAGS : POOL_GENERAL;
}

void seq_init(const struct engine *e)
{
	for (unsigned r = 0; r < insn_row_count; r++) {
		const struct insn_row *row = &insn_rows[r];
		const struct insn_desc *d = &insn_descs[row->desc];
		enum pool p = pool_of(d);

		if (gen_row_usable(row) && fits(d) && engine_has(e, d) && pool_size[p] < ARRAY_SIZE(pool[p]))
			pool[p][pool_size[p]++] = row;
	}
}

static const struct insn_row *random_row(void)
{
	static const u8 weight[POOLS] = {[POOL_GENERAL] = 25, [POOL_FLAGS] = 38, [POOL_STACK] = 18, [POOL_STRING] = 4,
					 [POOL_VECTOR] = 15};
	unsigned r = rng() % 100, p = 0;

	while (r >= weight[p])
		r -= weight[p++];
	return pool[p][rng() % pool_size[p]];
}

/* ---- one instruction ---- */

static u16 written_registers(const struct insn *i)
{
	u16 w = i->d->implicit_written;

	if (i->d->kind == KIND_PUSH || i->d->kind == KIND_POP)
		w &= (u16)~(1u << RSP);
	for (unsigned n = 0; n < i->d->nopnd; n++) {
		const struct opnd *o = &i->d->opnd[n];
		unsigned r = o->kind == OP_G   ? i->reg :
			     o->kind == OP_B   ? i->vvvv :
			     o->kind == OP_REG ? o->reg :
			     o->kind == OP_Z   ? (i->opcode & 7u) | (i->rex & 1u) << 3 :
						 i->rm;

		if (!(o->acc & ACC_W) || (o->kind == OP_E && i->mem))
			continue;
		if (o->kind != OP_G && o->kind != OP_B && o->kind != OP_REG && o->kind != OP_Z && o->kind != OP_E &&
		    o->kind != OP_R)
			continue;
		w |= (u16)(1u << r);
		if (o->size == 1 && !i->has_rex && r >= 4 && r < 8)
			w |= (u16)(1u << (r - 4)); /* AH..BH */
	}
	if (i->d->attr & ATTR_STRING) /* they go on to the next element */
		w &= (u16)~(1u << RSI | 1u << RDI);
	return w;
}

/* A base register that this encoding's REX.B or VEX.B selects. */
u8 seq_base(bool high)
{
	u8 r;

	high &= !seq_is_32();
	do
		r = (u8)(rng() & 7) | (u8)(high << 3);
	while (!(seq.kept >> r & 1) || r == seq.index[high]);
	return r;
}

static bool has_segment(const struct insn *i)
{
	return i->seg == SEG_FS || i->seg == SEG_GS;
}

/* FS or GS in front: small bases, so that the other parts of an address may be what they are without. Bytes added. */
static unsigned add_segment(u8 *bytes)
{
	if (!native_has_bases() || !one_in(seq.segment_in))
		return 0;
	memmove(bytes + 1, bytes, 15);
	bytes[0] = one_in(4) ? 0x65 : 0x64;
	return 1;
}

/* Behind prefixes and opcode: ModRM with one of the kept bases, an index at times, a small displacement. */
static void shared_operand(u8 *modrm, const struct insn *i)
{
	u8 base = seq_base(i->rex & 1), reg = *modrm & 0x38, *p = modrm + 1;
	bool wide = one_in(2), index = one_in(4);
	s32 disp = (s32)(rng() % 160) - 64;

	if (one_in(10)) { /* RIP-relative: aim_at_data() knows to where */
		*modrm = (u8)(reg | 5);
		return;
	}
	if (has_segment(i) && !(i->rex & 2) && one_in(3)) { /* no register; likewise */
		*modrm = (u8)(reg | 4);
		*p = 0x25;
		return;
	}
	*modrm = (u8)((wide ? 0x80 : 0x40) | reg | (index || (base & 7) == 4 ? 4 : base & 7));
	if ((*modrm & 7) == 4)
		*p++ = (u8)((index ? (rng() & 3) << 6 | (seq.index[i->rex >> 1 & 1] & 7u) << 3 :
				     i->rex & 2 ? (seq.index[1] & 7u) << 3 : 4u << 3) |
			    (base & 7));
	if (one_in(30))
		disp *= 40;
	memcpy(p, &disp, wide ? 4 : 1);
}

static bool aim_at_data(const struct test_case *t, u8 *p, struct insn *i)
{
	u64 rip = i->base == BASE_RIP ? t->at + t->size + i->len : 0, segment = has_segment(i) ? t->base[i->seg - SEG_FS] : 0;
	u32 d32 = (u32)(gen_data_address(16, false) - rip - segment);

	if (i->base != BASE_RIP && (i->base != BASE_NONE || i->index != BASE_NONE))
		return true;
	memcpy(p + i->len - i->imm_size - 4, &d32, 4);
	return insn_decode(i, p, 15, test_mode) == DECODE_OK;
}

static bool acceptable(const struct insn *i, const struct insn_desc *d)
{
	bool fixed_base = i->d->op == INSN_XLAT || (d->attr & ATTR_STRING); /* where a code address may have got to */
	u16 spoiled = written_registers(i) & (seq.kept | seq.fixed | 1u << LOOP_COUNTER | 1u << RSP);

	if (i->d->kind == KIND_LEAVE && !(seq.kept >> RBP & 1))
		spoiled |= 1u << RSP;
	if ((i->d != d && !((d->attr & D_COUNT) && i->d == d + 1)) || i->rep)
		return false;
	if (i->seg_override != 0xff && has_segment(i) == seq_is_32())
		return false;
	if (i->d->flags_read & FL_ARITH & seq.undefined)
		return false;
	if (fixed_base && seq.calls)
		return false;
	seq.spoils |= fixed_base;
	if (insn_result_varies(i))
		return false;
	if (i->d->opnd[0].kind == OP_O || i->d->opnd[1].kind == OP_O || i->adsize == 2)
		return false;
	if (!spoiled)
		return true;
	if ((spoiled >> LOOP_COUNTER & 1) || seq.calls || !one_in(12))
		return false;
	seq.spoils = true;
	return true;
}

static u16 undefined_after(const struct insn *i, u16 before)
{
	u16 kept = before & (u16)~(i->d->flags_written & (u16)~i->d->flags_read);

	return (kept | i->d->flags_undef) & FL_ARITH;
}

static void seq_append(struct test_case *t, const u8 *bytes, const struct insn *i)
{
	unsigned k = t->count++;

	memcpy(t->code + t->size, bytes, i->len);
	t->seq[k] = *i;
	t->off[k] = (u16)t->size;
	t->size += i->len;
	t->off[k + 1] = (u16)t->size;
	seq.undefined = undefined_after(i, seq.undefined) | seq.joins[t->count];
}

bool seq_random(struct test_case *t)
{
	for (unsigned tries = 0; tries < 40; tries++) {
		const struct insn_row *row = random_row();
		const struct insn_desc *d = &insn_descs[row->desc];
		struct insn *i = &t->insn;
		unsigned n = gen_encoding(t->bytes, row);

		if (insn_decode(i, t->bytes, 15, test_mode) != DECODE_OK || i->d != d)
			continue;
		if (i->mem && i->has_modrm) {
			n += add_segment(t->bytes);
			if (insn_decode(i, t->bytes, 15, test_mode) != DECODE_OK)
				continue;
			shared_operand(t->bytes + n - 1, i);
			if (insn_decode(i, t->bytes, 15, test_mode) != DECODE_OK ||
			    !aim_at_data(t, t->bytes, i))
				continue;
		}
		if (!acceptable(i, d))
			continue;
		seq_append(t, t->bytes, i);
		return true;
	}
	return false;
}

/* ---- branches ---- */

bool seq_add(struct test_case *t, const u8 *bytes, unsigned n, u8 target)
{
	u8 padded[16] = {0};

	if (seq_is_32() && n > 1 && (*bytes & 0xf0) == 0x40)
		bytes++, n--;
	memcpy(padded, bytes, n);
	if (insn_decode(&t->insn, padded, 15, test_mode) != DECODE_OK || t->insn.len != n)
		return false;
	if (target) {
		seq.target[t->count] = target;
		seq.joins[target] |= seq.undefined;
		seq.targets |= 1ull << target;
		if (target > seq.used)
			seq.used = target;
	}
	seq_append(t, padded, &t->insn);
	return true;
}

u8 seq_free_register(void)
{
	u8 r;

	do
		r = seq_any_register();
	while ((seq.kept | seq.fixed | 1u << LOOP_COUNTER | 1u << RSP) >> r & 1);
	return r;
}

/* op reg, other */
bool seq_alu(struct test_case *t, u8 opcode, bool wide, u8 reg, u8 other)
{
	u8 rex = (u8)(0x40 | wide << 3 | (other & 8) >> 1 | reg >> 3);

	return seq_add(t, (u8[]){rex, opcode, (u8)(0xc0 | (other & 7) << 3 | (reg & 7))}, 3, 0);
}

/* lea reg, [reg + d], of those that are free. */
bool seq_step(struct test_case *t, u8 reg)
{
	u8 rex = (u8)(0x40 | one_in(2) << 3 | reg >> 3 | (reg >> 3) << 2);

	if ((reg & 7) == 4 || ((seq.kept | 1u << LOOP_COUNTER) >> reg & 1))
		return true;
	return seq_add(t, (u8[]){rex, 0x8d, (u8)(0x40 | (reg & 7) << 3 | (reg & 7)), (u8)rng()}, 4, 0);
}

/*
 * A comparison or other arithmetic, then a branch on it, behind which one of its operands may change: whose flags a fault
 * that comes then has to find.
 */
static bool compare_and_branch(struct test_case *t, unsigned last)
{
	static const u8 compare[] = {0x39, 0x85}, arithmetic[] = {0x01, 0x29, 0x21, 0x09, 0x31};
	bool wide = one_in(2), writes = one_in(3);
	u8 reg = writes ? seq_free_register() : seq_any_register(), other = seq_any_register(), cc = rng() & 15;
	u8 to;

	if (!seq_alu(t, writes ? arithmetic[rng() % 5] : compare[rng() & 1], wide, reg, other))
		return false;
	if (t->count + 2 < last && one_in(3) && !seq_step(t, one_in(2) ? reg : other))
		return false;
	to = (u8)(t->count + 1 + rng() % (last - t->count));
	if (!seq_add(t, (u8[]){0x0f, (u8)(0x80 | cc), 0, 0, 0, 0}, 6, to))
		return false;
	return one_in(2) || seq_alu(t, 0x89, wide, seq_free_register(), other);
}

/* Pushes a code address and returns to it. */
static bool push_and_return(struct test_case *t, unsigned last)
{
	const u8 pushes = seq_is_32() ? 1 : 2; /* instructions before RET, where nobody may come to */
	const u64 inner = (2ull << pushes) - 2;
	u8 to;

	if (t->count + pushes + 2u > last || (seq.targets >> t->count & inner))
		return true;
	seq.inner |= inner << t->count;
	to = (u8)(t->count + pushes + 1 + rng() % (last - t->count - pushes));
	if (seq_is_32())
		return seq_add(t, (u8[]){0x68, 0, 0, 0, 0}, 5, to) && seq_add(t, (u8[]){0xc3}, 1, 0);
	return seq_add(t, (u8[]){0x48, 0x8d, 0x05, 0, 0, 0, 0}, 7, to) && seq_add(t, (u8[]){0x50}, 1, 0) &&
	       seq_add(t, (u8[]){0xc3}, 1, 0);
}

/* Instructions are numbered when a branch to a later one is made: it must come to be one. */
bool seq_branch(struct test_case *t, unsigned last)
{
	u8 to = (u8)(t->count + 1 + rng() % (last - t->count));
	u8 cc = rng() & 15, how = rng() & 7;

	if (t->count + 3 < last && one_in(3))
		return compare_and_branch(t, last);
	if (how == 1 || how == 3) {
		if (seq.spoils)
			return true;
		seq.calls = true;
	}
	switch (how) {
	case 0:
		return seq_add(t, (u8[]){0xe9, 0, 0, 0, 0}, 5, to);
	case 1:
		return seq_add(t, (u8[]){0xe8, 0, 0, 0, 0}, 5, to);
	case 2:
		return seq_add(t, (u8[]){one_in(2) ? 0xe2 : 0xe3, 0}, 2, to);
	case 3:
		return push_and_return(t, last);
	default:
		if (!insn_decode(&t->insn, (u8[16]){(u8)(0x70 | cc)}, 15, test_mode) &&
		    (t->insn.d->flags_read & FL_ARITH & seq.undefined))
			return true;
		if (one_in(2))
			return seq_add(t, (u8[]){0x0f, (u8)(0x80 | cc), 0, 0, 0, 0}, 6, to);
		return seq_add(t, (u8[]){(u8)(0x70 | cc), 0}, 2, to);
	}
}

/* Where the branches go, now that this is known. */
static bool fix_targets(struct test_case *t)
{
	for (unsigned k = 0; k < t->count; k++) {
		struct insn *i = &t->seq[k];
		s32 rel = (s32)t->off[seq.target[k]] - t->off[k + 1];
		unsigned size = i->d->opnd[0].kind == OP_J ? i->imm_size : 4;

		if (!seq.target[k] && !(i->d->kind == KIND_JCC && k + 1 == t->count) &&
		    (!seq.loops || k != seq.loops))
			continue;
		if (i->d->kind == KIND_PUSH)
			rel = (s32)(t->at + t->off[seq.target[k]]);
		if (size == 1 && rel != (s8)rel)
			return false;
		memcpy(t->code + t->off[k + 1] - size, &rel, size);
		if (insn_decode(i, t->code + t->off[k], CODE_BYTES - t->off[k], test_mode) != DECODE_OK)
			return false;
	}
	return true;
}

/* ---- flow ---- */

/* The two instructions that may come after k; t->count: the end. */
static void successors(const struct test_case *t, unsigned k, unsigned next[2])
{
	const struct insn *i = &t->seq[k];

	next[0] = next[1] = k + 1;
	if (i->d->opnd[0].kind == OP_J) {
		next[1] = (unsigned)seq_index(t, (unsigned)(t->off[k + 1] + (s64)i->imm));
		if (i->d->kind == KIND_JMP || i->d->kind == KIND_CALL)
			next[0] = next[1];
	} else if (i->d->kind == KIND_JMP) {
		next[0] = seq.way[k][0];
		next[1] = seq.way[k][1];
	} else if (i->d->kind == KIND_RET) { /* of push_and_return() */
		next[0] = next[1] = seq_is_32() ? seq.target[k - 1] :
						  (unsigned)seq_index(t, (unsigned)(t->off[k - 1] + t->seq[k - 2].disp));
	}
}

int seq_index(const struct test_case *t, unsigned off)
{
	for (unsigned k = 0; k <= t->count; k++)
		if (t->off[k] == off)
			return (int)k;
	return -1;
}

static void flow_undefined(const struct test_case *t, u16 before[SEQ_MAX + 1])
{
	unsigned next[2];

	memset(before, 0, (SEQ_MAX + 1) * sizeof(*before));
	for (unsigned round = 0; round < 3; round++)
		for (unsigned k = 0; k < t->count; k++) {
			u16 after = undefined_after(&t->seq[k], before[k]);

			successors(t, k, next);
			before[next[0]] |= after;
			before[next[1]] |= after;
		}
}

u16 seq_undefined(const struct test_case *t, unsigned index)
{
	u16 before[SEQ_MAX + 1];

	flow_undefined(t, before);
	return before[index];
}

u16 seq_dead(const struct test_case *t, unsigned index)
{
	u16 live[SEQ_MAX + 1] = {0};
	unsigned next[2];

	live[t->count] = FL_ARITH;
	for (unsigned round = 0; round < 3; round++)
		for (unsigned k = t->count; k-- > 0;) {
			const struct insn_desc *d = t->seq[k].d;

			successors(t, k, next);
			live[k] = ((live[next[0]] | live[next[1]]) & (u16)~d->flags_written) | (d->flags_read & FL_ARITH);
		}
	return FL_ARITH & (u16)~live[index];
}

/* A loop brings flags to where they were not expected. */
static bool reads_undefined(const struct test_case *t)
{
	u16 before[SEQ_MAX + 1];

	flow_undefined(t, before);
	for (unsigned k = 0; k < t->count; k++)
		if (t->seq[k].d->flags_read & FL_ARITH & before[k])
			return true;
	return false;
}

/* ---- the case ---- */

static void choose_bases(struct test_case *t)
{
	static const u8 low64[] = {RBX, RBP, RSI, RDI}, low32[] = {RAX, RBP, RSI, RDI};
	static const u8 high64[] = {R9, R10, R12, R13, R14, R15}, high32[] = {RBP, RSI, RDI, RBP, RSI, RDI};
	const u8 *low = seq_is_32() ? low32 : low64, *high = seq_is_32() ? high32 : high64;

	memset(&seq, 0, sizeof(seq));
	seq.index[0] = RDX;
	seq.index[1] = seq_is_32() ? RDX : R8;
	seq.kept = (u16)(1u << RDX | 1u << seq.index[1] | 1u << RSP | 1u << low[rng() & 3] | 1u << high[rng() % 6]);
	if (one_in(2))
		seq.kept |= (u16)(1u << low[rng() & 3]);
	if (one_in(2))
		seq.kept |= (u16)(1u << high[rng() % 6]);
	seq.segment_in = one_in(3) ? 2 : 30;
	seq.array_base = BASE_NONE;
	seq.plan = (u8[]){PLAN_RANDOM, PLAN_RANDOM, PLAN_RANDOM, PLAN_ARRAYS, PLAN_ARRAYS, PLAN_COMPARE, PLAN_COMPUTED,
			  PLAN_COMPUTED}[rng() & 7];
	if (seq_is_32() && seq.plan != PLAN_COMPARE) /* the translator does nothing special for the others there */
		seq.plan = PLAN_RANDOM;
	for (unsigned n = 0; n < 2; n++)
		t->base[n] = (u64)((s64)(rng() % 128) - 64) * (one_in(4) ? 1 : 8);
}

static void set_bases(struct test_case *t)
{
	for (unsigned r = 0; r < 16; r++) {
		if (!((seq.kept | 1u << RSI | 1u << RDI) >> r & 1))
			continue;
		t->in.gpr[r] = gen_data_address(8, false);
		if (!one_in(4)) /* most sequences get through */
			t->in.gpr[r] = DATA_FIRST + 1024 + rng() % 6144;
		if (r == RSP || one_in(2))
			t->in.gpr[r] &= ~7ull;
	}
	step_aim(t);
	for (unsigned n = 0; n < 2; n++)
		t->in.gpr[seq.index[n]] = (u64)((s64)(rng() % 17) - 8);
	t->in.gpr[RSP] -= one_in(8) ? 4 : 0;
	t->in.gpr[LOOP_COUNTER] = 1 + rng() % (seq.plan == PLAN_COMPUTED ? 9 : 3);
	if (one_in(2))
		t->in.rflags &= ~(u64)FL_DF;
	for (unsigned r = 0; r < 16 && seq_is_32(); r++)
		t->in.gpr[r] = r < 8 ? (u32)t->in.gpr[r] : 0;
}

/* DEC, which leaves CF, or SUB. */
static bool add_counting(struct test_case *t)
{
	return one_in(2) ? seq_add(t, (u8[]){0x49, 0xff, 0xcb}, 3, 0) : seq_add(t, (u8[]){0x49, 0x83, 0xeb, 1}, 4, 0);
}

static bool add_loop(struct test_case *t)
{
	u8 to = (u8)(rng() % 3);

	if ((seq.inner >> to & 1) || !add_counting(t) || !seq_add(t, (u8[]){0x0f, 0x85, 0, 0, 0, 0}, 6, 0))
		return false;
	seq.target[t->count - 1] = to;
	return true;
}

/* What is aimed at: anything, or what the translator does for these. */
static bool add_planned(struct test_case *t, unsigned last)
{
	switch (one_in(3) ? PLAN_RANDOM : seq.plan) {
	case PLAN_ARRAYS:
		return !seq.aimed && t->count + 6 < last ? step_arrays(t, last) : seq_random(t);
	case PLAN_COMPARE:
		return step_compare(t, last);
	case PLAN_COMPUTED:
		return one_in(3) ? step_compare(t, last) : step_computed(t, last);
	default:
		return t->count + 1 < last && one_in(8) ? seq_branch(t, last) : seq_random(t);
	}
}

static bool close_loop(struct test_case *t)
{
	if (seq.plan == PLAN_COMPUTED)
		return one_in(3) ? add_loop(t) : step_loop(t);
	return !one_in(6) || add_loop(t);
}

bool seq_case(struct test_case *t)
{
	unsigned more = one_in(4) ? LONG_SLOTS : 0, slots = SLOTS + more, last = more + 3 + rng() % (SLOTS - 2);

	t->row = NULL;
	t->count = t->size = 0;
	gen_restore(t);
	choose_bases(t);
	if (seq.plan)
		slots = last = AIMED_SLOTS + more - rng() % 8;
	t->at = CODE + 4096 + 1024 + (rng() & 63);
	if (one_in(seq.plan == PLAN_COMPUTED ? 3 : 16))
		t->at = CODE + 8192 - rng() % (last * 5);
	while (t->count < last || t->count < seq.used) {
		if (t->size > CODE_BYTES - 48 || t->count >= slots + 1 || !add_planned(t, last))
			return false;
	}
	if (!close_loop(t) || !fix_targets(t) || reads_undefined(t))
		return false;
	gen_registers(t);
	gen_vector(t);
	set_bases(t);
	return true;
}
