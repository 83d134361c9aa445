/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Private to the x87 instructions of the interpreter. x87.c takes the unit's state out of the host's registers and reads the
 * memory operand; the instruction's function works on this copy; then memory is written, and the state goes back. A function
 * is in one of the tables at the end. Sources: SDM vol. 1, chapter 8, and vol. 2; what they leave open, as AMD's processors do.
 */
#pragma once
#include "float.h"
#include "vec.h"

#define FSW_STACK 0x40u /* with FP_INVALID: an empty register was read, or a used one pushed upon */
#define FSW_ES	  0x80u
#define FSW_C0	  0x100u
#define FSW_C1	  0x200u
#define FSW_C2	  0x400u
#define FSW_TOP	  0x3800u
#define FSW_C3	  0x4000u
#define FSW_BUSY  0x8000u
#define FSW_CODES (FSW_C0 | FSW_C2 | FSW_C3)

#define FCW_INIT	0x37fu
#define FCW_FIXED	0x40u
#define FCW_VALID	0x1f3fu
#define FCW_PC_SHIFT	8
#define FCW_ROUND_SHIFT 10

struct f80 {
	u64 sig;
	u16 sign_exp;
};

/* FXSAVE's format */
struct x87_image {
	u8 b[512] __attribute__((aligned(16)));
};

struct x87 {
	const struct insn *i;
	u8 arg;	      /* of the table */
	u16 fcw, fsw; /* FSW without TOP, ES and B */
	u8 top;
	u8 used; /* bit n: reg[n] is not empty */
	struct f80 reg[8];
	/* the memory operand, read or to be written */
	union {
		u8 b[16];
		u16 w;
		u32 d;
		u64 q;
		struct f80 f;
	} mem;
	u32 flags; /* those that the row writes are taken */
	u16 ax;
	struct x87_image image; /* the state came from here, and goes back with all else that is in it */
};

/* False: an exception that is not masked left operands, stack and memory as they were. */
typedef bool x87_fn(struct x87 *x);

struct x87_op {
	u16 op; /* enum insn_op */
	x87_fn *fn;
	u8 arg, pops;
	bool keeps_c1; /* otherwise it starts as 0 */
};

/* Lists; without a function: the end. */
extern const struct x87_op x87_moves[], x87_control[], x87_arith[], x87_more[], x87_bcd[];

void x87_get(struct x87 *x);
void x87_put(struct x87 *x);
u16 x87_fsw(const struct x87 *x); /* with TOP, ES and B */
void x87_set_fsw(struct x87 *x, u16 fsw);
void x87_init(struct x87 *x);			   /* FNINIT */
void x87_env(struct cpu *c, const struct insn *i); /* x87-env.c: FNSTENV, FLDENV, FNSAVE, FRSTOR */
bool x87_host(const struct insn *i);		   /* x87-host.c: false if the instruction is not one of its */

/* ---- registers ---- */

static inline struct f80 f80_indefinite(void)
{
	return (struct f80){0xc000000000000000, 0xffff}; /* real_default() */
}

static inline unsigned x87_index(const struct x87 *x, unsigned st)
{
	return (x->top + st) & 7u;
}

static inline struct f80 *x87_reg(struct x87 *x, unsigned st)
{
	return &x->reg[x87_index(x, st)];
}

static inline bool x87_is_empty(const struct x87 *x, unsigned st)
{
	return !(x->used >> x87_index(x, st) & 1);
}

static inline void x87_set(struct x87 *x, unsigned st, struct f80 v)
{
	*x87_reg(x, st) = v;
	x->used |= (u8)(1u << x87_index(x, st));
}

static inline void x87_free(struct x87 *x, unsigned st)
{
	x->used &= (u8) ~(1u << x87_index(x, st));
}

static inline void x87_pop(struct x87 *x)
{
	x87_free(x, 0);
	x->top = (x->top + 1) & 7;
}

static inline void x87_push(struct x87 *x, struct f80 v)
{
	x->top = (x->top - 1) & 7;
	x87_set(x, 0, v);
}

/* ---- exceptions ---- */

/* Notes exceptions. True if one is not masked. */
static inline bool x87_raise(struct x87 *x, unsigned e)
{
	x->fsw |= (u16)e;
	return e & ~(unsigned)x->fcw & FP_ALL;
}

/* An empty register is read. */
static inline bool x87_underflow(struct x87 *x)
{
	x->fsw &= (u16)~FSW_C1;
	return x87_raise(x, FP_INVALID | FSW_STACK);
}

/* The same, with what becomes of ST(st) if that is masked. */
static inline bool x87_underflow_to(struct x87 *x, unsigned st)
{
	if (x87_underflow(x))
		return false;
	x87_set(x, st, f80_indefinite());
	return true;
}

/* Of a push. */
static inline bool x87_overflow(struct x87 *x)
{
	x->fsw |= FSW_C1;
	return x87_raise(x, FP_INVALID | FSW_STACK);
}

static inline void x87_set_codes(struct x87 *x, unsigned codes)
{
	x->fsw = (u16)((x->fsw & ~FSW_CODES) | codes);
}

/* ---- values ---- */

static inline struct f80 f80_pack(const struct real *r)
{
	struct f80 v;

	real_pack80(r, &v.sig, &v.sign_exp);
	return v;
}

static inline struct real f80_unpack(struct f80 v)
{
	return real_unpack80(v.sig, v.sign_exp);
}

static inline struct real x87_st(struct x87 *x, unsigned st)
{
	return f80_unpack(*x87_reg(x, st));
}

static inline struct float_env x87_float_env(const struct x87 *x)
{
	return (struct float_env){.rounding = x->fcw >> FCW_ROUND_SHIFT & 3, .unmasked = (u8)(~x->fcw & FP_ALL)};
}

/* ---- x87-value.c ---- */

struct real x87_memory_real(const struct x87 *x);
struct real x87_memory_int(const struct x87 *x);
/* True if an operand is a NaN or no number at all: then *ret_result is what the instruction gives. b: NULL if there is one. */
bool x87_nan(struct float_env *e, const struct real *a, const struct real *b, struct real *ret_result);
/* The result for a register; its exceptions go to the status, but do not stop the instruction. */
struct f80 x87_round(struct x87 *x, const struct real *r, const struct float_format *f);
