/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One-instruction stubs: a vector instruction re-encoded so that its memory operand is a buffer and its general
 * registers are RAX, RCX, RDX, run by the host on the live vector registers. Private to vector*.c.
 */
#pragma once
#include "../cpu/insn.h"

/* What a stub works on; RDI points to mem. */
struct stub_frame {
	u64 rax, rcx, rdx;
	u64 flags; /* FL_ARITH in and out */
	u64 fault; /* signal that ended it, 0 = none */
	u64 pad[3];
	u8 mem[128];
} __attribute__((aligned(64)));

#define STUB_GPR       1u /* loads and stores RAX, RCX, RDX */
#define STUB_FLAGS_IN  2u /* needs the arithmetic flags */
#define STUB_FLAGS_OUT 4u /* gives them */

struct stub_code {
	u8 byte[15];
	u8 len; /* and STUB_* << 4 once it is a key */
};

/* The instruction's bytes for a stub; memory operand [RDI], general registers RAX. */
void stub_encode(struct stub_code *s, const struct insn *i);
/* Runs it. f->fault says whether a signal ended it; nothing but MXCSR or x87 status has changed then. */
void stub_run(const struct stub_code *s, unsigned how, struct stub_frame *f);
