/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which memory accesses of a block share one TLB look-up. Accesses whose addresses differ by a constant form a group: the
 * first, its leader, checks the whole span, the others follow without a check. Addresses are compared as the values that
 * registers had at some point of the block, plus constants, so that a moved stack pointer or an induction variable stays in
 * its group. A group about RSP uses the stack window of struct cpu instead of the TLB. Called by translate.c before it
 * emits; access.c and stack.c act on the result.
 */
#include "tx.h"

#define ROOT_RIP 16
#define ROOT_NONE 17
#define MAX_ROOTS 250
#define SPAN_MAX 512
/* Constants stay so small that sums of them are displacements of host instructions. */
#define SHIFT_MAX (1 << 24)
#define DISP_MAX (1 << 30)
#define KEY_INDEXED (1u << 30)
#define KEY_TABLE (1u << 29)
#define KEY_ARRAY (1u << 28)
#define KEY_GONE 0xffu
#define INDEX_MAX 255

/* Where a register's value comes from: a root, moved by a constant. */
struct origin {
	u8 root;
	s32 shift;
};

struct group {
	u32 key; /* roots of base and index, scale, segment */
	s32 lo, hi; /* bytes, from the roots */
	s32 leader_lo, base_shift;
	struct access *leader;
	u32 leader_k;
	u8 members;
	bool write, stack;
};

struct roots {
	struct tx *t;
	struct origin origin[16];
	u16 bytes; /* bit n: GPR n is a zero-extended byte */
	u32 count;
	struct group group[MAX_GROUPS];
	u32 groups;
	u32 open; /* the first group that may be joined */
	u32 k;	  /* the instruction that is looked at */
	bool arrays;  /* form groups of these */
	u32 straight; /* no branch leaves the block between this one and k */
};

/* At the start, and after an instruction that may do anything: nothing is known. */
static void new_roots(struct roots *r)
{
	for (u8 reg = 0; reg < 16; reg++)
		r->origin[reg] = (struct origin){ reg, 0 };
	r->bytes = 0;
	r->count = ROOT_NONE + 1;
	r->open = r->groups;
}

static void new_root(struct roots *r, u8 reg)
{
	if (r->count == MAX_ROOTS)
		new_roots(r);
	else
		r->origin[reg] = (struct origin){ (u8)r->count++, 0 };
}

static u32 stack_key(const struct roots *r)
{
	return r->origin[RSP].root | ROOT_NONE << 8;
}

static bool fits(const struct group *g, s32 lo, s32 hi)
{
	s32 low = lo < g->lo ? lo : g->lo, high = hi > g->hi ? hi : g->hi;

	if ((g->key & 0xff) == ROOT_RIP || (g->key & KEY_TABLE))
		return low >> 12 == (high - 1) >> 12;
	if (g->key & KEY_ARRAY)
		return lo == g->lo && hi == g->hi;
	return high - low <= SPAN_MAX;
}

static void open_group(struct roots *r, u32 key, s32 shift, s32 lo, s32 hi, bool write, struct access *a)
{
	bool stack = key == stack_key(r);

	if (r->groups == MAX_GROUPS)
		return;
	for (u32 n = r->open; stack && n < r->groups; n++)
		if (r->group[n].stack)
			r->group[n].key = KEY_GONE; /* the window moves on */
	a->how = ACCESS_LEADS;
	a->group = (u8)r->groups;
	r->group[r->groups++] = (struct group){ key, lo, hi, lo, shift, a, r->k, 1, write || stack, stack };
}

/*
 * A read group is good for a write as well if its leader asks for the write tag, which it may when nothing can leave the
 * block before the write; and always in an array, which is more often written than not.
 */
static bool serves(const struct roots *r, struct group *g, bool write)
{
	if (!write || g->write || (g->key & KEY_ARRAY))
		return true;
	return g->leader_k >= r->straight;
}

/* `shift` is the constant part of the base register's value. */
static void add_access(struct roots *r, struct access *a, u32 key, s32 shift, s64 first, unsigned size, bool write)
{
	s32 lo = (s32)first, hi = lo + (s32)size;
	struct group *found = NULL;

	if (first != lo || lo > DISP_MAX || lo < -DISP_MAX)
		return;
	if (((key & 0xff) == ROOT_RIP || (key & KEY_TABLE)) && lo >> 12 != (hi - 1) >> 12)
		return;
	for (u32 n = r->open; n < r->groups; n++) {
		struct group *g = &r->group[n];

		if (g->key == key && serves(r, g, write) && fits(g, lo, hi))
			found = g;
	}
	if (!found) {
		open_group(r, key, shift, lo, hi, write, a);
		return;
	}
	a->how = ACCESS_FOLLOWS;
	a->group = (u8)(found - r->group);
	a->base_by = shift - found->base_shift;
	found->write |= write;
	found->members++;
	found->lo = lo < found->lo ? lo : found->lo;
	found->hi = hi > found->hi ? hi : found->hi;
}

static void add_stack(struct roots *r, struct access *a, u8 reg, s32 disp, bool write)
{
	u32 key = r->origin[reg].root | ROOT_NONE << 8;
	s32 shift = r->origin[reg].shift;

	add_access(r, a, key, shift, (s64)shift + disp, insn_word(&r->t->insn[r->k]), write);
}

/* An index that is a byte: false if it is an access like others. */
static bool add_indexed(struct roots *r, struct access *a, const struct insn *i)
{
	u32 key = KEY_TABLE | ROOT_NONE | (u32)i->scale << 16, reach = INDEX_MAX << i->scale;
	s32 shift = 0;

	if (i->adsize != 8 || i->index == BASE_NONE || !(r->bytes >> i->index & 1) || access_has_segment(i) ||
	    host_reg(i->index) == IN_MEMORY)
		return false;
	if (i->base == BASE_NONE) {
		if ((i->disp & ~PAGE_MASK) + reach + i->mem_size > PAGE_SIZE)
			return false;
		a->form = ACCESS_TABLE;
	} else {
		if (!r->arrays || !access_indexed(i))
			return false;
		a->form = ACCESS_ARRAY;
		shift = r->origin[i->base].shift;
		key = KEY_ARRAY | r->origin[i->base].root | (u32)i->scale << 16;
		reach = 0;
	}
	add_access(r, a, key, shift, (s64)shift + i->disp, reach + i->mem_size, i->mem_acc & ACC_W);
	return true;
}

static void add_operand(struct roots *r, struct access *a, u32 k)
{
	const struct insn *i = &r->t->insn[k];
	u32 base = ROOT_NONE, index = ROOT_NONE, seg = i->seg == SEG_FS || i->seg == SEG_GS ? i->seg : 0;
	s64 first = i->disp;
	s32 shift = 0;

	if (!access_may_group(i) || i->disp > DISP_MAX || i->disp < -DISP_MAX || add_indexed(r, a, i))
		return;
	if (i->base == BASE_RIP) {
		base = ROOT_RIP;
		first += tx_at(r->t, k) + i->len;
	} else if (i->base != BASE_NONE) {
		base = r->origin[i->base].root;
		shift = r->origin[i->base].shift;
		first += shift;
	}
	if (i->index != BASE_NONE) {
		index = r->origin[i->index].root;
		first += (s64)r->origin[i->index].shift * (1 << i->scale);
	}
	if (access_indexed(i))
		index |= KEY_INDEXED >> 8;
	add_access(r, a, base | index << 8 | (i->index != BASE_NONE ? (u32)i->scale << 16 : 0) | seg << 24, shift, first,
		   i->mem_size, i->mem_acc & ACC_W);
}

static u8 byte_reg(const struct insn *i, u8 n)
{
	return !i->has_rex && !i->vex && n >= 4 && n < 8 ? n - 4 : n;
}

u8 insn_operand_gpr(const struct insn *i, const struct opnd *o)
{
	switch (o->kind) {
	case OP_G:
		return i->reg;
	case OP_E:
	case OP_R:
		return i->mem ? BASE_NONE : i->rm;
	case OP_Z:
		return (u8)((i->opcode & 7) | (i->rex & 1) << 3);
	case OP_B:
		return i->vvvv;
	case OP_REG:
		return o->reg;
	default:
		return BASE_NONE;
	}
}

u16 insn_gprs(const struct insn *i, u8 access)
{
	/* By a table, which no branch has to guess: this is asked of every instruction, several times. */
	enum { NONE, REG, RM, Z, B };
	static const u8 field[OP_VSIB + 1] = { [OP_G] = REG, [OP_E] = RM, [OP_R] = RM, [OP_Z] = Z, [OP_B] = B };
	const u8 regs[] = { BASE_NONE, i->reg, i->mem ? BASE_NONE : i->rm, (u8)((i->opcode & 7) | (i->rex & 1) << 3), i->vvvv };
	u16 mask = (access & ACC_W ? i->d->implicit_written : 0) | (access & ACC_R ? i->d->implicit_read : 0);

	for (unsigned n = 0; n < i->d->nopnd; n++) {
		const struct opnd *o = &i->d->opnd[n];
		u8 reg = o->kind == OP_REG ? o->reg : regs[field[o->kind]];

		if (reg != BASE_NONE && (o->acc & access))
			mask |= (u16)(1u << (o->size == 1 ? byte_reg(i, reg) : reg));
	}
	return mask;
}

u16 insn_moves(const struct insn *i)
{
	u16 moved = insn_gprs(i, ACC_W);

	switch (i->d->kind) {
	case KIND_LEAVE:
		moved |= 1u << RBP;
		/* fall through */
	case KIND_PUSH:
	case KIND_POP:
	case KIND_CALL:
	case KIND_RET:
		return moved | 1u << RSP;
	default:
		return moved;
	}
}

/* ADD, SUB with an immediate, INC, DEC, LEA and MOV of a whole register leave a value of known origin. */
static bool moves_by_constant(const struct insn *i, u8 *ret_to, u8 *ret_from, s64 *ret_by)
{
	bool group1 = i->opcode == 0x81 || i->opcode == 0x83, load = i->opcode == 0x8b;
	u8 op = i->modrm >> 3 & 7;

	if (i->opsize != insn_word(i) || i->map || i->vex)
		return false;
	*ret_by = 0;
	if (i->d->kind == KIND_LEA) {
		if (i->index != BASE_NONE || i->base == BASE_NONE || i->base == BASE_RIP || i->adsize != insn_word(i))
			return false;
		*ret_to = i->reg, *ret_from = i->base, *ret_by = i->disp;
		return true;
	}
	if (insn_is_short_inc(i)) {
		*ret_to = *ret_from = i->opcode & 7;
		*ret_by = i->opcode & 8 ? -1 : 1;
		return true;
	}
	if (i->mem || !i->has_modrm)
		return false;
	*ret_to = load ? i->reg : i->rm;
	*ret_from = load ? i->rm : i->reg;
	if (i->opcode == 0x89 || load)
		return true;
	*ret_from = i->rm;
	if (group1 && (op == ALU_ADD || op == ALU_SUB))
		*ret_by = op == ALU_ADD ? (s64)i->imm : -(s64)i->imm;
	else if (i->opcode == 0xff && op <= 1)
		*ret_by = op ? -1 : 1;
	else
		return false;
	return true;
}

static void written(struct roots *r, u8 reg)
{
	r->bytes &= (u16) ~(1u << reg);
	new_root(r, reg);
}

static void shift_reg(struct roots *r, u8 to, u8 from, s64 by)
{
	s64 shift = r->origin[from].shift + by;

	if (shift > SHIFT_MAX || shift < -SHIFT_MAX)
		new_root(r, to);
	else
		r->origin[to] = (struct origin){ r->origin[from].root, (s32)shift };
}

static void after_writes(struct roots *r, const struct insn *i)
{
	u16 written = r->t->moves[r->k];
	u8 to, from;
	s64 by;

	r->bytes &= (u16)~written;
	if (i->d->op == INSN_MOVZX && i->opsize >= 4 && i->d->opnd[1].size == 1)
		r->bytes |= (u16)(1u << i->reg);

	if (moves_by_constant(i, &to, &from, &by)) {
		shift_reg(r, to, from, by);
		return;
	}
	for (; written; written &= (u16)(written - 1))
		new_root(r, (u8)__builtin_ctz(written));
}

static void analyse(struct roots *r, u32 k)
{
	const struct insn *i = &r->t->insn[k];
	struct access *operand = &r->t->operand[k], *stack = &r->t->stack[k];
	const s32 word = insn_word(i);

	r->k = k;
	if (r->t->inplace >> k & 1) {
		new_roots(r);
		return;
	}
	switch (i->mem ? i->d->kind : KIND_NOP) {
	case KIND_COPY:
	case KIND_PUSH:
	case KIND_CALL:
	case KIND_JMP:
		add_operand(r, operand, k);
		break;
	default:
		break;
	}
	switch (i->d->kind) {
	case KIND_COPY:
	case KIND_LEA:
		after_writes(r, i);
		break;
	case KIND_PUSH:
	case KIND_CALL:
		add_stack(r, stack, RSP, -word, true);
		shift_reg(r, RSP, RSP, -word);
		break;
	case KIND_POP:
	case KIND_RET:
		add_stack(r, stack, RSP, 0, false);
		shift_reg(r, RSP, RSP, word);
		if (i->d->kind == KIND_POP)
			written(r, insn_operand_gpr(i, &i->d->opnd[0]));
		break;
	case KIND_LEAVE:
		add_stack(r, stack, RBP, 0, false);
		shift_reg(r, RSP, RBP, word);
		written(r, RBP);
		break;
	case KIND_JCC:
		r->straight = k;
		break;
	case KIND_JMP:
		if (r->t->expected >> k & 1)
			r->straight = k;
		break;
	case KIND_NOP:
		break;
	default:
		new_roots(r);
	}
}

static void analyse_all(struct roots *r, struct tx *t, bool arrays)
{
	__builtin_memset(t->operand, 0, t->n * sizeof(t->operand[0]));
	__builtin_memset(t->stack, 0, t->n * sizeof(t->stack[0]));
	r->t = t;
	r->arrays = arrays;
	r->groups = r->straight = 0;
	new_roots(r);
	for (u32 k = 0; k < t->n && !(t->key & KEY_ALONE); k++)
		analyse(r, k);
}

/* An array's first access costs twice what one alone does, the others a third. */
#define ARRAY_MEMBERS 4
static bool arrays_pay(const struct roots *r)
{
	for (u32 n = 0; n < r->groups; n++)
		if ((r->group[n].key & KEY_ARRAY) && r->group[n].members < ARRAY_MEMBERS)
			return false;
	return true;
}

/* Another access to an array that instruction n makes, whose index has not moved? */
static bool may_check(const struct tx *t, u32 n, u16 moved)
{
	const struct access *a = &t->operand[n];

	return a->form == ACCESS_ARRAY && a->how == ACCESS_FOLLOWS && !(moved >> t->insn[n].index & 1);
}

/*
 * Instruction k, an access to an array, writes flags: those that come before the next look-up or writer of flags have their
 * indices compared with k's own, or the flags would have to be saved in between.
 */
static void check_early(struct tx *t, u32 k)
{
	const struct access *first = &t->operand[k];
	u16 moved = t->moves[k];

	if (first->form != ACCESS_ARRAY || first->checked || (t->insn[k].d->flags_written & FL_ARITH) != FL_ARITH)
		return;
	for (u32 n = k + 1; n < t->n && (t->insn[n].d->kind == KIND_COPY || t->insn[n].d->kind == KIND_LEA); n++) {
		if (may_check(t, n, moved)) {
			t->operand[n].checked = (u8)(k + 1);
		} else if (t->insn[n].mem && t->insn[n].d->kind == KIND_COPY) {
			break;
		}
		if (t->insn[n].d->flags_written & FL_ARITH)
			break;
		moved |= t->moves[n];
	}
}

void group_analyse(struct tx *t)
{
	struct roots r;

	analyse_all(&r, t, true);
	if (!arrays_pay(&r))
		analyse_all(&r, t, false);
	for (u32 n = 0; n < r.groups; n++) {
		struct group *g = &r.group[n];

		t->group_is_stack[n] = g->stack;
		g->leader->span = (u16)(g->hi - g->lo);
		g->leader->own = (u16)(g->leader_lo - g->lo);
		g->leader->wtag = g->write;
		if (g->members == 1 && !g->stack) {
			g->leader->how = ACCESS_ALONE;
			g->leader->form = ACCESS_PLAIN;
		}
	}
	for (u32 k = 0; k < t->n; k++)
		check_early(t, k);
}
