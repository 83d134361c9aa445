/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * BT, BTS, BTR, BTC on memory with the bit number in a register: the number reaches beyond the operand, so the word that
 * holds the bit is addressed and checked, and the instruction itself runs with the rest of the number. translate.c calls it.
 */
#include "tx.h"

/* scratch += bytes from the operand to the word of bit `reg`; uses scratch2. */
static void add_word_offset(struct tx *t, const struct insn *i)
{
	u8 shift = i->opsize == 8 ? 6 : 5, number = use_reg(t, i->reg, HOST_SCRATCH2);
	struct host_op movsxd = { .w = 1, .opcode = 0x63 }, sar = { .w = 1, .opcode = 0xc1, .imm_size = 1, .imm = shift };
	struct host_mem word = { HOST_SCRATCH, HOST_SCRATCH2, (u8)(shift - 3), false, false, 0 };

	if (i->opsize == 4)
		emit_op_reg(&t->e, &movsxd, HOST_SCRATCH2, number);
	else if (number != HOST_SCRATCH2)
		emit_mov(&t->e, HOST_SCRATCH2, number);
	emit_op_reg(&t->e, &sar, 7, HOST_SCRATCH2);
	emit_lea(&t->e, HOST_SCRATCH, word);
}

bool bits_insn(struct tx *t, const struct insn *i)
{
	struct host_op op = { .map = 1, .opcode = i->opcode, .w = i->opsize == 8, .lock = i->lock };
	struct host_mem word = mem_base(HOST_SCRATCH, 0);
	struct emit *e = &t->e;
	const u8 *retry = access_begin(t);
	u8 number;

	if (!access_address(t, i, HOST_SCRATCH))
		return false;
	add_word_offset(t, i);
	access_check(t, retry, i->opsize, i->opcode != 0xa3);
	number = use_reg(t, i->reg, HOST_SCRATCH2);
	if (number != HOST_SCRATCH2)
		emit_mov32(e, HOST_SCRATCH2, number);
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH2, i->opsize * 8 - 1);
	if (flags_must_restore(t)) {
		emit_store(e, TX_FRAME(scratch[0]), HOST_SCRATCH2);
		flags_before(t, HOST_SCRATCH2);
		emit_load(e, HOST_SCRATCH2, TX_FRAME(scratch[0]));
	}
	emit_op_mem(e, &op, HOST_SCRATCH2, &word);
	flags_after(t);
	return true;
}
