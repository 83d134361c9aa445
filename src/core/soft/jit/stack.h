/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stack accesses of translated code, shared by stack.c and branch.c. */
#pragma once
#include "tx.h"

struct host_mem stack_push_begin(struct tx *t); /* checked: store 8 bytes there, then stack_move(t, -8) */
void stack_pop_begin(struct tx *t, u8 address_reg); /* checked: load 8 bytes from [scratch + scratch2] */
void stack_move(struct tx *t, s32 by);
void stack_push_from(struct tx *t, struct host_mem value);
bool stack_operand_to_slot(struct tx *t, const struct insn *i);
