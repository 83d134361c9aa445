/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Private to the vector instructions of the interpreter. exec.c fetches the operands, calls the instruction's function,
 * which is pure C on a copy of them, and writes back what it left: nothing of the guest changes before, so a function
 * cannot leave an instruction half done. The functions are in the tables at the end, one a file and a family.
 */
#pragma once
#include "../cpu/exec.h"
#include "vector.h"

union vec {
	u8 b[32];
	s8 sb[32];
	u16 w[16];
	s16 sw[16];
	u32 d[8];
	s32 sd[8];
	u64 q[4];
	s64 sq[4];
};

static inline u64 element(const union vec *v, unsigned n, unsigned size)
{
	switch (size) {
	case 1:
		return v->b[n];
	case 2:
		return v->w[n];
	case 4:
		return v->d[n];
	default:
		return v->q[n];
	}
}

static inline void set_element(union vec *v, unsigned n, unsigned size, u64 e)
{
	switch (size) {
	case 1:
		v->b[n] = (u8)e;
		break;
	case 2:
		v->w[n] = (u16)e;
		break;
	case 4:
		v->d[n] = (u32)e;
		break;
	default:
		v->q[n] = e;
	}
}

static inline s64 signed_element(const union vec *v, unsigned n, unsigned size)
{
	switch (size) {
	case 1:
		return v->sb[n];
	case 2:
		return v->sw[n];
	case 4:
		return v->sd[n];
	default:
		return v->sq[n];
	}
}

/* Exceptions as MXCSR and the x87 status word have them (SDM vol. 1, 10.2.3) */
#define FP_INVALID   1u
#define FP_DENORMAL  2u
#define FP_ZERO	     4u
#define FP_OVERFLOW  8u
#define FP_UNDERFLOW 16u
#define FP_INEXACT   32u
#define FP_ALL	     63u

#define MXCSR_DAZ	   0x40u
#define MXCSR_MASK_SHIFT   7
#define MXCSR_ROUND_SHIFT  13
#define MXCSR_FLUSH	   0x8000u
#define MXCSR_VALID	   0xffffu

/* An instruction on its way. */
struct vec_insn {
	const struct insn *i;
	unsigned bytes; /* of its registers: 8 (MMX), 16 or 32 */
	u8 size;	/* of an element, and what the table says beside it */
	u8 arg;
	u8 imm;
	/*
	 * The operands that it reads, in the order of the row: so a legacy instruction's destination is s[0] where the VEX form
	 * has VEX.vvvv there. Registers of 32 bytes, or of 8 with MMX; memory and general registers in the low bytes, zeros
	 * above.
	 */
	union vec s[4];
	/*
	 * The result: before, what the destination had if it is a legacy XMM register, and zeros otherwise. Of it go `bytes` to
	 * a vector register (legacy: its upper half stays; VEX: it is cleared), the operand's size to memory or a general one.
	 */
	union vec r;
	u32 flags;  /* arithmetic flags, before and after: those that the row writes are taken */
	u64 rax, rcx, rdx; /* RCX is taken if the row writes it */
	u32 mxcsr;  /* before */
	u32 raised; /* FP_*: floating-point exceptions of all elements. An unmasked one: nothing else is taken */
};

typedef void vec_fn(struct vec_insn *v);

struct vec_op {
	u16 op; /* enum insn_op */
	vec_fn *fn;
	u8 size, arg;
};

/* Lists; without a function: the end. */
extern const struct vec_op vec_moves[], vec_integer[], vec_shifts[], vec_shuffles[], vec_crypto[], vec_text[], vec_floats[];

/* What an ordinary instruction has in one of the tables. NULL: the x87, or one that exec.c, mask.c or state.c does. */
const struct vec_op *vec_find(unsigned op);

/* INSN_x and INSN_Vx do the same. */
#define VEC_BOTH(op, ...) {INSN_##op, __VA_ARGS__}, {INSN_V##op, __VA_ARGS__}

/* ---- the live registers (regs.c) ---- */

NOINLINE void vec_get(unsigned n, union vec *v);	   /* without AVX the upper half is 0 */
NOINLINE void vec_set(unsigned n, const union vec *v);	   /* all 32 bytes */
NOINLINE void vec_set_low(unsigned n, const union vec *v); /* 16 bytes, the others stay */
/* As an MMX instruction does: the x87 stack becomes full, its top 0. */
NOINLINE u64 mmx_get(unsigned n);
NOINLINE void mmx_set(unsigned n, u64 v);
u32 mxcsr_get(void);
void mxcsr_set(u32 v);
u16 x87_status(void);

/* ---- families that access memory themselves ---- */

void vector_state(struct cpu *c, const struct insn *i);	 /* state.c: FXSAVE, XSAVE... */
void vector_masked(struct cpu *c, const struct insn *i); /* mask.c: MASKMOV*, VMASKMOV*, gathers */
void x87_exec(struct cpu *c, const struct insn *i);	 /* x87.c: the x87, and EMMS */
