/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stack accesses of translated code, shared by stack.c, branch.c and system.c. */
#pragma once
#include "tx.h"

struct host_mem stack_push_at(struct tx *t); /* checked: store 8 bytes there, then stack_move(t, -8); scratch is free */
struct host_mem stack_pop_at(struct tx *t, u8 reg); /* checked: 8 bytes at [reg]; scratch is free when reg is mapped */
void stack_move(struct tx *t, s32 by); /* later, and many at once: stack_settle() */
void stack_push_from(struct tx *t, struct host_mem value);
bool stack_operand_to_slot(struct tx *t, const struct insn *i);
