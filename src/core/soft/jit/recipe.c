/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Flags that are not saved but made again. Often nothing but a fault could read the flags of an instruction, and its operands
 * are still in registers when it would; what a shift shifted, or a comparison found in memory, is kept in the frame. Then
 * cpu.saved_flags gets, in code that runs once in a blue moon, a recipe in the place of an image, and whoever takes the flags
 * into RFLAGS (flags_in()) follows it: by the same operation, on operands that are what they were. flags.c decides where that
 * is so; recipes stay for as long as the VM.
 */
#include "../cpu/interp.h"
#include "tx.h"

#define RECIPE_REST 0x100u /* of those that the image's other byte selects */

_Static_assert(RECIPES <= FLAGS_RECIPE * RECIPE_REST, "the number of a recipe fits beside the mark");

/* Low byte: the mark and the upper bits of the number; high byte: the lower ones. Images have 0 or 1 in the low byte. */
static u16 recipe_code(u32 number)
{
	return (u16)(FLAGS_RECIPE | number / RECIPE_REST | number % RECIPE_REST << 8);
}

static const struct recipe *recipe_at(const struct jit *j, u16 code)
{
	return &j->recipe[(code & (FLAGS_RECIPE - 1)) * RECIPE_REST + (code >> 8)];
}

static u16 recipe_keep(struct jit *j, const struct recipe *r)
{
	u64 image;

	__builtin_memcpy(&image, r, sizeof(image));
	for (u32 tries = 0, at = (u32)(image * 0x9e3779b97f4a7c15ull >> 40); tries < 8; tries++, at++) {
		struct recipe *slot = &j->recipe[at % RECIPES];

		if (!slot->size)
			*slot = *r;
		if (!__builtin_memcmp(slot, r, sizeof(*r)))
			return recipe_code(at % RECIPES);
	}
	return 0;
}

/* -1: none that could be made again. */
static int operation(const struct insn *i)
{
	switch (i->d->op) {
	case INSN_ADD:
	case INSN_SUB:
	case INSN_CMP:
	case INSN_AND:
	case INSN_OR:
	case INSN_XOR:
		return i->d->kind == KIND_COPY ? (int)(i->d->op - INSN_ADD) : -1;
	case INSN_TEST:
		return RECIPE_TEST;
	default:
		return -1;
	}
}

/* Operand n: a register, whose low bits it is, memory, or the immediate. */
static bool operand(const struct insn *i, unsigned n, u8 *ret_reg)
{
	const struct opnd *o = &i->d->opnd[n];

	if (i->mem && o->kind == OP_E) {
		*ret_reg = RECIPE_KEPT;
		return true;
	}
	*ret_reg = insn_operand_gpr(i, o);
	if (*ret_reg == BASE_NONE)
		return n && o->kind == OP_I;
	return o->size != 1 || i->has_rex || *ret_reg < 4;
}

/* What compares memory with an immediate, or a register that the host has in one: copy.c can keep the operand. */
static bool may_keep(const struct recipe *r)
{
	u8 reg = r->a == RECIPE_KEPT ? r->b : r->a;

	return (r->op == ALU_CMP || r->op == RECIPE_TEST) && (reg == BASE_NONE || host_reg(reg) != IN_MEMORY);
}

static u32 bit_of(u8 reg)
{
	return reg < 16 ? 1u << reg : 0;
}

/* By a constant; which leaves the flags alone when it is 0. */
static u32 shift_count(const struct insn *i)
{
	unsigned size = i->opcode & 1 ? i->opsize : 1;

	return i->opcode & 0x10 ? 1 : (u32)i->imm & (size == 8 ? 63 : 31);
}

bool recipe_keeps_shifted(const struct insn *i)
{
	bool constant = !i->map && ((i->opcode & 0xfe) == 0xc0 || (i->opcode & 0xfe) == 0xd0) && (i->modrm & 0x20);
	u8 reg;

	return constant && i->d->kind == KIND_COPY && !i->mem && i->opsize != 2 && i->d->flags_written && shift_count(i) &&
	       operand(i, 0, &reg);
}

/* Its operand is lost: code keeps it. */
static u16 recipe_of_shift(struct jit *j, const struct insn *i, u16 *ret_regs)
{
	struct recipe r = { .op = (RECIPE_SHIFT + (i->modrm >> 3 & 7)) & 15, .size = (i->opcode & 1 ? i->opsize : 1) & 15 };

	r.imm = (s32)shift_count(i);
	*ret_regs = 0;
	return recipe_keep(j, &r);
}

u16 recipe_of(struct jit *j, const struct insn *i, u16 *ret_regs)
{
	unsigned size = i->d->opnd[0].size == 1 ? 1 : i->opsize;
	int op = operation(i);
	struct recipe r = { .op = (u8)op & 15, .size = size & 15 };

	if (recipe_keeps_shifted(i))
		return recipe_of_shift(j, i, ret_regs);
	if (size == 2 || op < 0 || !operand(i, 0, &r.a) || !operand(i, 1, &r.b) || (i->mem && !may_keep(&r)))
		return 0;
	if (op == ALU_ADD && r.a == r.b) /* which of two halves it was is lost */
		return 0;
	r.imm = r.b == BASE_NONE ? (s32)i->imm : 0;
	*ret_regs = (u16)(bit_of(r.a) | bit_of(r.b));
	return recipe_keep(j, &r);
}

u16 recipe_after_lea(struct jit *j, u16 code, const struct insn *i)
{
	struct recipe r = *recipe_at(j, code);
	s64 by = r.by + (s64)i->disp;

	if (i->reg != r.a || i->base != r.a || r.a == r.b || i->index != BASE_NONE || i->adsize != 8 || i->opsize < r.size)
		return 0;
	if (by != (s8)by)
		return 0;
	r.by = (s8)by;
	return recipe_keep(j, &r);
}

static u64 value(const struct cpu *c, const struct recipe *r, u8 reg)
{
	return reg == BASE_NONE ? (u64)(s64)r->imm : reg == RECIPE_KEPT ? c->operand : c->gpr[reg];
}

u16 recipe_image(const struct cpu *c, u16 code)
{
	const struct recipe *r = recipe_at(c->vcpu->vm->jit, code);
	u64 a = value(c, r, r->a) - (u64)(s64)r->by, b = value(c, r, r->b);
	u8 op = r->op;

	if (op > RECIPE_SHIFT)
		return (u16)flags_image(shift_flags(op - RECIPE_SHIFT, r->size, c->operand, (u64)r->imm));
	switch (op) { /* what the first operand was, from the result that it is now */
	case ALU_ADD:
		a -= b;
		break;
	case ALU_SUB:
		a = r->a == r->b ? b : a + b;
		break;
	case ALU_AND:
	case ALU_OR:
	case ALU_XOR: /* their flags follow from the result */
		op = ALU_AND;
		b = a;
		break;
	case RECIPE_TEST:
		op = ALU_AND;
		break;
	default:
		break;
	}
	return (u16)flags_image(alu_flags(op, r->size, a, b));
}

bool recipe_takes_operand(const struct jit *j, u16 code)
{
	const struct recipe *r = recipe_at(j, code);

	return code && r->op <= RECIPE_TEST && (r->a == RECIPE_KEPT || r->b == RECIPE_KEPT);
}

static void load_value(struct tx *t, const struct recipe *r, u8 reg, u8 dst)
{
	if (reg == BASE_NONE)
		emit_imm(&t->e, dst, (u64)(s64)r->imm);
	else if (reg == RECIPE_KEPT)
		emit_load(&t->e, dst, TX_FRAME(operand));
	else if (host_reg(reg) == IN_MEMORY)
		emit_load(&t->e, dst, TX_GPR(reg));
	else
		emit_mov(&t->e, dst, host_reg(reg));
}

static void emit_alu(struct tx *t, u8 op, u8 size, u8 a, u8 b)
{
	struct host_op o = { .opcode = (u8)(op << 3 | (size != 1)), .w = size == 8, .byte_reg = size == 1 };

	emit_op_reg(&t->e, &o, b, a);
}

static void emit_shift_again(struct tx *t, const struct recipe *r)
{
	struct host_op o = { .opcode = (u8)(0xc0 | (r->size != 1)), .w = r->size == 8, .byte_reg = r->size == 1, .imm_size = 1 };

	o.imm = (u64)r->imm;
	emit_load(&t->e, HOST_SCRATCH, TX_FRAME(operand));
	emit_op_reg(&t->e, &o, r->op - RECIPE_SHIFT, HOST_SCRATCH);
	t->state = FLAGS_HOST;
}

/* As recipe_image(), in the host's code: for where all flags are wanted after all, and no operand has moved (flags.c). */
void recipe_emit(struct tx *t, u16 code)
{
	const struct recipe *r = recipe_at(t->j, code);
	u8 op = r->op;

	scratch_lost(t);
	scratch2_lost(t);
	load_value(t, r, r->a, HOST_SCRATCH);
	load_value(t, r, r->b, HOST_SCRATCH2);
	if (op > RECIPE_SHIFT) {
		emit_shift_again(t, r);
		return;
	}
	switch (op) {
	case ALU_ADD:
		emit_alu(t, ALU_SUB, r->size, HOST_SCRATCH, HOST_SCRATCH2);
		break;
	case ALU_SUB:
		emit_alu(t, ALU_ADD, r->size, HOST_SCRATCH, HOST_SCRATCH2);
		break;
	case ALU_CMP:
		break;
	case RECIPE_TEST:
		op = ALU_AND;
		break;
	default:
		op = ALU_AND;
		emit_mov(&t->e, HOST_SCRATCH2, HOST_SCRATCH);
	}
	emit_alu(t, op, r->size, HOST_SCRATCH, HOST_SCRATCH2);
	t->state = FLAGS_HOST;
}
