/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A sequence of the differential test while it is being made: sequence.c has the plan, steps.c what aims at a part of the
 * translator.
 */
#pragma once
#include "diff.h"

enum { PLAN_RANDOM, PLAN_ARRAYS, PLAN_COMPARE, PLAN_COMPUTED };
#define LOOP_COUNTER (test_mode == MODE_LONG64 ? R11 : RBX) /* never written but by the loop */

extern struct sequence {
	u8 plan;	      /* PLAN_* */
	u16 kept;	      /* registers that memory operands are made of */
	u16 fixed;	      /* others that nothing may write meanwhile */
	u8 index[2];	      /* one below R8, one above; in 32-bit code the same */
	u16 undefined;	      /* flags, before the next instruction */
	u16 joins[SEQ_MAX + 1]; /* undefined flags that branches bring there */
	u8 target[SEQ_MAX];   /* instruction a branch goes to; 0: none */
	u8 way[SEQ_MAX][2];   /* instructions a computed jump goes to */
	u8 loops;	      /* LEA of the address that a computed jump goes back to, which may be instruction 0; 0: none */
	u8 used;	      /* highest of them */
	u8 segment_in;	      /* one memory operand in so many has FS or GS */
	bool calls, spoils;   /* code addresses are about; a base is overwritten: never both, that would address the code */
	u64 targets, inner;   /* instructions that are gone to; that must not be (seq_branch()) */
	bool aimed;	      /* at an array or table */
	u8 array_base;	      /* BASE_NONE: no array */
	u64 array_at;
	u8 byte[2];	      /* the registers whose low bytes index it, AH..BH as 4..7 | HIGH_BYTE */
	s16 byte_is[2];	      /* what is put there */
} seq;
#define HIGH_BYTE 0x20u

static inline bool seq_is_32(void)
{
	return test_mode != MODE_LONG64;
}
static inline u8 seq_any_register(void)
{
	return rng() & (seq_is_32() ? 7 : 15);
}

/* sequence.c; false: no luck */
bool seq_random(struct test_case *t);
bool seq_branch(struct test_case *t, unsigned last);
bool seq_add(struct test_case *t, const u8 *bytes, unsigned n, u8 target); /* 32-bit code: without REX in front */
bool seq_alu(struct test_case *t, u8 opcode, bool wide, u8 reg, u8 other); /* op reg, other */
bool seq_step(struct test_case *t, u8 reg); /* LEA, if it is free */
u8 seq_base(bool high);
u8 seq_free_register(void);

/* steps.c: add a few instructions each, but not beyond `last` */
bool step_arrays(struct test_case *t, unsigned last);
bool step_compare(struct test_case *t, unsigned last);
bool step_computed(struct test_case *t, unsigned last);
bool step_loop(struct test_case *t); /* closes a loop by a computed jump */
void step_aim(struct test_case *t);  /* registers, when the bases are set */
