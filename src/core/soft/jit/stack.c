/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PUSH, POP, LEAVE with 64-bit operands, and the stack halves of CALL and RET (branch.c). The store comes after its check
 * and before RSP moves, so that a fault finds nothing changed.
 */
#include "tx.h"
#include "stack.h"

struct host_mem stack_push_begin(struct tx *t)
{
	const u8 *retry = access_begin(t);

	emit_lea(&t->e, HOST_SCRATCH, mem_base(HOST_GUEST_RSP, -8));
	access_check(t, retry, 8, true);
	return mem_pair(HOST_SCRATCH, HOST_SCRATCH2);
}

void stack_move(struct tx *t, s32 by)
{
	emit_lea(&t->e, HOST_GUEST_RSP, mem_base(HOST_GUEST_RSP, by));
}

void stack_pop_begin(struct tx *t, u8 address_reg)
{
	const u8 *retry = access_begin(t);

	emit_mov(&t->e, HOST_SCRATCH, address_reg);
	access_check(t, retry, 8, false);
}

/* Operand value to scratch slot 0, before the stack is checked. */
bool stack_operand_to_slot(struct tx *t, const struct insn *i)
{
	const u8 *retry = access_begin(t);

	if (!access_address(t, i, HOST_SCRATCH))
		return false;
	access_check(t, retry, 8, false);
	emit_load(&t->e, HOST_SCRATCH, mem_pair(HOST_SCRATCH, HOST_SCRATCH2));
	emit_store(&t->e, TX_CPU(scratch[0]), HOST_SCRATCH);
	return true;
}

/* Stores a value that is not in a mapped register: from a 64-bit location in struct cpu. */
void stack_push_from(struct tx *t, struct host_mem value)
{
	struct host_mem at = stack_push_begin(t);

	emit_lea(&t->e, HOST_SCRATCH, at);
	emit_load(&t->e, HOST_SCRATCH2, value);
	emit_store(&t->e, mem_base(HOST_SCRATCH, 0), HOST_SCRATCH2);
	stack_move(t, -8);
}

static u8 operand_reg(const struct insn *i)
{
	if (i->d->opnd[0].kind == OP_Z)
		return (u8)((i->opcode & 7) | (i->rex & 1) << 3);
	return i->rm;
}

bool push_insn(struct tx *t, const struct insn *i)
{
	u8 kind = i->d->opnd[0].kind, r;

	if (i->opsize != 8)
		return false;
	if (kind == OP_I) {
		emit_store_imm(&t->e, stack_push_begin(t), (s32)i->imm);
		stack_move(t, -8);
		return true;
	}
	if (kind != OP_Z && kind != OP_E)
		return false;
	if (i->mem) {
		if (!stack_operand_to_slot(t, i))
			return false;
		stack_push_from(t, TX_CPU(scratch[0]));
		return true;
	}
	r = operand_reg(i);
	if (host_reg(r) == IN_MEMORY) {
		stack_push_from(t, TX_GPR(r));
		return true;
	}
	emit_store(&t->e, stack_push_begin(t), host_reg(r));
	stack_move(t, -8);
	return true;
}

bool pop_insn(struct tx *t, const struct insn *i)
{
	u8 kind = i->d->opnd[0].kind, r;

	if (i->opsize != 8 || i->mem || (kind != OP_Z && kind != OP_E))
		return false;
	r = operand_reg(i);
	stack_pop_begin(t, HOST_GUEST_RSP);
	if (r == RSP) {
		emit_load(&t->e, HOST_GUEST_RSP, mem_pair(HOST_SCRATCH, HOST_SCRATCH2));
		return true;
	}
	if (host_reg(r) == IN_MEMORY) {
		emit_load(&t->e, HOST_SCRATCH, mem_pair(HOST_SCRATCH, HOST_SCRATCH2));
		emit_store(&t->e, TX_GPR(r), HOST_SCRATCH);
	} else {
		emit_load(&t->e, host_reg(r), mem_pair(HOST_SCRATCH, HOST_SCRATCH2));
	}
	stack_move(t, 8);
	return true;
}

bool leave_insn(struct tx *t, const struct insn *i)
{
	if (i->opsize != 8)
		return false;
	stack_pop_begin(t, RBP);
	emit_lea(&t->e, HOST_GUEST_RSP, mem_base(RBP, 8));
	emit_load(&t->e, RBP, mem_pair(HOST_SCRATCH, HOST_SCRATCH2));
	return true;
}
