/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which memory accesses of a block share one TLB look-up. Accesses off one unmodified base (the stack pointer moved by
 * constants counts as unmodified) form a group: the first, its leader, checks the whole span, the others follow without a
 * check. A group about RSP uses the stack window of struct cpu instead of the TLB. Called by translate.c before it emits;
 * access.c and stack.c act on the result.
 */
#include "tx.h"

#define ROOT_RIP 16
#define MAX_ROOTS 250
#define NO_GROUP 0xff
#define SPAN_MAX 512

/* Where a register's value comes from: a root, moved by a constant. */
struct origin {
	u8 root;
	s32 shift;
};

struct group {
	s32 lo, hi; /* bytes, from the root */
	struct access *leader;
	s32 leader_shift, leader_lo;
	u8 members;
	bool stack;
};

struct roots {
	struct tx *t;
	struct origin origin[16];
	u8 read[MAX_ROOTS], write[MAX_ROOTS]; /* the group that is open for reads only, for both */
	u32 count;
	struct group group[MAX_GROUPS];
	u32 groups;
	u8 stack; /* the group that the stack window serves now */
};

static u8 add_root(struct roots *r)
{
	r->read[r->count] = r->write[r->count] = NO_GROUP;
	return (u8)r->count++;
}

/* At the start, and after an instruction that may do anything: nothing is known. */
static void new_roots(struct roots *r)
{
	r->count = 0;
	for (u8 reg = 0; reg < 16; reg++)
		r->origin[reg] = (struct origin){ add_root(r), 0 };
	add_root(r); /* ROOT_RIP */
	r->stack = NO_GROUP;
}

static void new_root(struct roots *r, u8 reg)
{
	if (r->count == MAX_ROOTS)
		new_roots(r);
	else
		r->origin[reg] = (struct origin){ add_root(r), 0 };
}

static bool fits(const struct group *g, bool rip, s32 lo, s32 hi)
{
	s32 low = lo < g->lo ? lo : g->lo, high = hi > g->hi ? hi : g->hi;

	if (rip)
		return low >> 12 == (high - 1) >> 12;
	return high - low <= SPAN_MAX;
}

static void open_group(struct roots *r, u8 root, s32 shift, s32 lo, s32 hi, bool write, struct access *a)
{
	bool stack = root == r->origin[RSP].root;

	if (r->groups == MAX_GROUPS)
		return;
	if (stack) {
		for (u32 n = 0; n < r->count; n++)
			if (r->write[n] == r->stack)
				r->write[n] = NO_GROUP;
		r->stack = (u8)r->groups;
	}
	if (write || stack)
		r->write[root] = (u8)r->groups;
	else
		r->read[root] = (u8)r->groups;
	a->how = ACCESS_LEADS;
	a->group = (u8)r->groups;
	r->group[r->groups++] = (struct group){ lo, hi, a, shift, lo, 1, stack };
}

/* An access at [reg + disp], reg as it is now. */
static void add_access(struct roots *r, struct access *a, u8 root, s32 shift, s64 disp, unsigned size, bool write)
{
	s64 first = shift + disp;
	s32 lo = (s32)first, hi = lo + (s32)size;
	struct group *g;
	u8 n = r->write[root];

	if (first != lo || lo > INT32_MAX / 2 || lo < INT32_MIN / 2 || (root == ROOT_RIP && lo >> 12 != (hi - 1) >> 12))
		return;
	if (!write && (n == NO_GROUP || !fits(&r->group[n], root == ROOT_RIP, lo, hi)))
		n = r->read[root];
	g = n == NO_GROUP ? NULL : &r->group[n];
	if (!g || !fits(g, root == ROOT_RIP, lo, hi)) {
		open_group(r, root, shift, lo, hi, write, a);
		return;
	}
	a->how = ACCESS_FOLLOWS;
	a->group = n;
	g->members++;
	g->lo = lo < g->lo ? lo : g->lo;
	g->hi = hi > g->hi ? hi : g->hi;
}

static void add_stack(struct roots *r, struct access *a, u8 reg, s32 disp, bool write)
{
	add_access(r, a, r->origin[reg].root, r->origin[reg].shift, disp, 8, write);
}

static void add_operand(struct roots *r, struct access *a, u32 k)
{
	const struct insn *i = &r->t->insn[k];
	bool write = i->mem_acc & ACC_W;

	if (!access_is_plain(i))
		return;
	if (i->base == BASE_RIP)
		add_access(r, a, ROOT_RIP, 0, r->t->off[k] + i->len + i->disp, i->mem_size, write);
	else
		add_access(r, a, r->origin[i->base].root, r->origin[i->base].shift, i->disp, i->mem_size, write);
}

static u8 byte_reg(const struct insn *i, u8 n)
{
	return !i->has_rex && !i->vex && n >= 4 && n < 8 ? n - 4 : n;
}

u16 insn_writes_gprs(const struct insn *i)
{
	u16 mask = i->d->implicit_written;

	for (unsigned n = 0; n < i->d->nopnd; n++) {
		const struct opnd *o = &i->d->opnd[n];
		u8 reg;

		if (!(o->acc & ACC_W))
			continue;
		switch (o->kind) {
		case OP_G:
			reg = i->reg;
			break;
		case OP_E:
		case OP_R:
			if (i->mem)
				continue;
			reg = i->rm;
			break;
		case OP_Z:
			reg = (u8)((i->opcode & 7) | (i->rex & 1) << 3);
			break;
		case OP_B:
			reg = i->vvvv;
			break;
		case OP_REG:
			reg = o->reg;
			break;
		default:
			continue;
		}
		mask |= (u16)(1u << (o->size == 1 ? byte_reg(i, reg) : reg));
	}
	return mask;
}

/* ADD, SUB with an immediate, INC, DEC, LEA and MOV of 64 bits leave a value of known origin. */
static bool moves_by_constant(const struct insn *i, u8 *ret_to, u8 *ret_from, s64 *ret_by)
{
	bool group1 = i->opcode == 0x81 || i->opcode == 0x83, g;
	u8 op = i->modrm >> 3 & 7;

	if (i->opsize != 8 || i->map || i->vex)
		return false;
	*ret_by = 0;
	if (i->d->kind == KIND_LEA) {
		if (i->index != BASE_NONE || i->base == BASE_NONE || i->base == BASE_RIP || i->adsize != 8)
			return false;
		*ret_to = i->reg, *ret_from = i->base, *ret_by = i->disp;
		return true;
	}
	if (i->mem || !i->has_modrm)
		return false;
	g = i->opcode == 0x8b;
	*ret_to = g ? i->reg : i->rm;
	*ret_from = g ? i->rm : i->reg;
	if (i->opcode == 0x89 || g)
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

static void shift_reg(struct roots *r, u8 to, u8 from, s64 by)
{
	s64 shift = r->origin[from].shift + by;

	if (shift > INT32_MAX / 4 || shift < INT32_MIN / 4) {
		new_root(r, to);
		return;
	}
	r->origin[to] = (struct origin){ r->origin[from].root, (s32)shift };
}

static void after_writes(struct roots *r, const struct insn *i)
{
	u16 written = insn_writes_gprs(i);
	u8 to, from;
	s64 by;

	if (moves_by_constant(i, &to, &from, &by)) {
		shift_reg(r, to, from, by);
		return;
	}
	for (u8 reg = 0; reg < 16; reg++)
		if (written >> reg & 1)
			new_root(r, reg);
}

static u8 popped_reg(const struct insn *i)
{
	return i->d->opnd[0].kind == OP_Z ? (u8)((i->opcode & 7) | (i->rex & 1) << 3) : i->rm;
}

static void analyse(struct roots *r, u32 k)
{
	const struct insn *i = &r->t->insn[k];
	struct access *operand = &r->t->operand[k], *stack = &r->t->stack[k];

	if (r->t->inplace >> k & 1) {
		new_roots(r);
		return;
	}
	switch (i->d->kind) {
	case KIND_COPY:
	case KIND_JMP:
		if (i->mem)
			add_operand(r, operand, k);
		after_writes(r, i);
		break;
	case KIND_LEA:
		after_writes(r, i);
		break;
	case KIND_PUSH:
	case KIND_CALL:
		if (i->mem)
			add_operand(r, operand, k);
		add_stack(r, stack, RSP, -8, true);
		shift_reg(r, RSP, RSP, -8);
		break;
	case KIND_POP:
	case KIND_RET:
		add_stack(r, stack, RSP, 0, false);
		shift_reg(r, RSP, RSP, 8);
		if (i->d->kind == KIND_POP)
			new_root(r, popped_reg(i));
		break;
	case KIND_LEAVE:
		add_stack(r, stack, RBP, 0, false);
		shift_reg(r, RSP, RBP, 8);
		new_root(r, RBP);
		break;
	case KIND_JCC:
	case KIND_NOP:
		break;
	default:
		new_roots(r);
	}
}

void group_analyse(struct tx *t)
{
	struct roots r;

	__builtin_memset(t->operand, 0, t->n * sizeof(t->operand[0]));
	__builtin_memset(t->stack, 0, t->n * sizeof(t->stack[0]));
	if (t->key & KEY_ALONE)
		return;
	r.t = t;
	r.groups = 0;
	new_roots(&r);
	for (u32 k = 0; k < t->n; k++)
		analyse(&r, k);
	for (u32 n = 0; n < r.groups; n++) {
		struct group *g = &r.group[n];

		t->group_is_stack[n] = g->stack;
		g->leader->lo = g->lo - g->leader_shift;
		g->leader->span = (u16)(g->hi - g->lo);
		g->leader->own = (u16)(g->leader_lo - g->lo);
		if (g->members == 1 && !g->stack)
			g->leader->how = ACCESS_ALONE;
	}
}
