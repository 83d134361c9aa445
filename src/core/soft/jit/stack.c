/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PUSH, POP, LEAVE of words, and the stack halves of CALL and RET (branch.c). The store comes after its check
 * and before RSP moves, so that a fault finds nothing changed.
 */
#include "stack.h"
#include "tx.h"

struct host_mem stack_push_at(struct tx *t)
{
	return access_stack(t, RSP, t->rsp_lag - insn_word(&t->insn[t->k]), true);
}

struct host_mem stack_pop_at(struct tx *t, u8 reg)
{
	return access_stack(t, reg, reg == RSP ? t->rsp_lag : 0, false);
}

void stack_move(struct tx *t, s32 by)
{
	t->rsp_lag += by;
}

void stack_settle(struct tx *t)
{
	if (t->rsp_lag)
		tx_lea(t, HOST_GUEST_RSP, mem_base(HOST_GUEST_RSP, t->rsp_lag));
	t->rsp_lag = 0;
}

/* Operand value to scratch slot 0, before the stack is checked. */
bool stack_operand_to_slot(struct tx *t, const struct insn *i)
{
	struct host_mem m;

	if (!access_operand(t, i, insn_word(i), false, &m))
		return false;
	tx_window_site(t);
	tx_load(t, HOST_SCRATCH, m);
	scratch_lost(t);
	emit_store(&t->e, TX_FRAME(scratch[0]), HOST_SCRATCH);
	return true;
}

/* Stores a value that is not in a mapped register: from a 64-bit location in struct cpu. */
void stack_push_from(struct tx *t, struct host_mem value)
{
	struct host_mem at = stack_push_at(t);

	access_free_scratch(t, &at);
	emit_load(&t->e, HOST_SCRATCH, value);
	scratch_lost(t);
	tx_window_site(t);
	tx_store(t, at, HOST_SCRATCH);
	stack_move(t, -insn_word(&t->insn[t->k]));
}

static u8 operand_reg(const struct insn *i)
{
	if (i->d->opnd[0].kind == OP_Z)
		return (u8)((i->opcode & 7) | (i->rex & 1) << 3);
	return i->rm;
}

/* RSP may lag behind where the instruction neither looks at it nor can leave the block. */
bool stack_may_lag(const struct tx *t, const struct insn *i)
{
	bool follows = t->stack[t->k].how == ACCESS_FOLLOWS;

	if (t->inplace >> t->k & 1)
		return false;
	switch (i->d->kind) {
	case KIND_PUSH:
		return follows && !i->mem && (i->d->opnd[0].kind == OP_I || operand_reg(i) != RSP);
	case KIND_POP:
		return follows && operand_reg(i) != RSP;
	case KIND_CALL:
		return follows && i->d->opnd[0].kind == OP_J;
	case KIND_COPY:
		return !i->mem && !copy_may_fault(i) && !(insn_gprs(i, ACC_R | ACC_W) >> RSP & 1);
	case KIND_LEA:
		return i->base != RSP && i->index != RSP && i->reg != RSP;
	default:
		return i->d->kind == KIND_NOP;
	}
}

bool stack_possible(const struct insn *i)
{
	u8 kind = i->d->opnd[0].kind;

	if (i->opsize != insn_word(i) || i->adsize == 2)
		return false;
	switch (i->d->kind) {
	case KIND_PUSH:
		return kind == OP_I || kind == OP_Z || kind == OP_E;
	case KIND_POP:
		return !i->mem && (kind == OP_Z || kind == OP_E);
	default:
		return i->d->kind == KIND_LEAVE;
	}
}

bool push_insn(struct tx *t, const struct insn *i)
{
	struct host_mem at;
	u8 r;

	if (i->d->opnd[0].kind == OP_I) {
		at = stack_push_at(t);
		tx_window_site(t);
		if (tx_is_32(t))
			emit_store_imm32(&t->e, at, (s32)i->imm);
		else
			emit_store_imm(&t->e, at, (s32)i->imm);
		stack_move(t, -insn_word(i));
		return true;
	}
	if (i->mem) {
		if (!stack_operand_to_slot(t, i))
			return false;
		stack_push_from(t, TX_FRAME(scratch[0]));
		return true;
	}
	r = operand_reg(i);
	if (host_reg(r) == IN_MEMORY) {
		stack_push_from(t, TX_GPR(r));
		return true;
	}
	at = stack_push_at(t);
	tx_window_site(t);
	tx_store(t, at, host_reg(r));
	stack_move(t, -insn_word(i));
	return true;
}

bool pop_insn(struct tx *t, const struct insn *i)
{
	struct host_mem at = stack_pop_at(t, RSP);
	u8 r = operand_reg(i);

	tx_window_site(t);
	if (r == RSP) {
		tx_load(t, HOST_GUEST_RSP, at);
		return true;
	}
	if (host_reg(r) == IN_MEMORY) {
		emit_load(&t->e, HOST_SCRATCH, at);
		emit_store(&t->e, TX_GPR(r), HOST_SCRATCH);
		scratch_has_reg(t, r);
	} else {
		tx_load(t, host_reg(r), at);
	}
	stack_move(t, insn_word(i));
	return true;
}

bool leave_insn(struct tx *t, const struct insn *i)
{
	struct host_mem at = stack_pop_at(t, RBP);

	tx_window_site(t);
	tx_load(t, HOST_SCRATCH, at);
	tx_lea(t, HOST_GUEST_RSP, mem_base(RBP, insn_word(i)));
	emit_mov(&t->e, RBP, HOST_SCRATCH);
	return true;
}
