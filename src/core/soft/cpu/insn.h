/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A decoded x86 instruction, and the row of schema/x86.tab it came from. The decoder fills it; interpreter, translator,
 * disassembler and the test generator read it. Sources: SDM vol. 2 (chapters 2 and A), APM vol. 3.
 */
#pragma once
#include "state.h"
#include "x86-ops.h" /* generated: enum insn_op, enum cpuid_gate, cpuid_gates[] */

#define INSN_MAX 15

/* How the translator may treat an instruction (a column of x86.tab). */
enum insn_kind {
	KIND_INTERP, /* only the interpreter does it (rare or system) */
	KIND_COPY,   /* ordinary: may be copied to the host with its registers renamed. Touches only its explicit operands, the
			implicit registers of the row, and flags; one memory operand at most, of insn.mem_size bytes */
	KIND_LEA,    /* KIND_COPY with an address that is not accessed */
	KIND_PUSH, KIND_POP, KIND_CALL, KIND_RET, KIND_JMP, KIND_JCC, /* near forms; CALL/JMP direct or indirect by operand */
	KIND_LOOP,   /* LOOPcc, JrCXZ */
	KIND_STRING, /* MOVS STOS LODS SCAS CMPS, with or without REP */
	KIND_LEAVE, KIND_NOP,
	KIND_SYSTEM, /* changes mode, privilege or control state: ends a block */
};

/* Operand encodings, as in the SDM's opcode maps */
enum opnd_kind {
	OP_NONE,
	OP_E,	 /* modrm.rm: GPR or memory */
	OP_G,	 /* modrm.reg: GPR */
	OP_R,	 /* modrm.rm, register only */
	OP_M,	 /* modrm.rm, memory only */
	OP_O,	 /* moffs: memory, no modrm (disp holds the offset) */
	OP_Z,	 /* low 3 bits of the opcode (+REX.B): GPR */
	OP_REG,	 /* fixed GPR: .reg */
	OP_I,	 /* immediate */
	OP_J,	 /* relative branch target */
	OP_A,	 /* far pointer: imm = offset, imm2 = selector */
	OP_ONE,	 /* constant 1 */
	OP_B,	 /* VEX.vvvv: GPR */
	OP_S,	 /* modrm.reg: segment register */
	OP_C, OP_D, /* modrm.reg: control, debug register */
	OP_V, OP_H, OP_W, OP_U, OP_L, /* xmm/ymm: modrm.reg, VEX.vvvv, modrm.rm or memory, modrm.rm register only, is4 */
	OP_P, OP_Q, OP_N, /* mmx: modrm.reg, modrm.rm or memory, modrm.rm register only */
	OP_X, OP_Y, /* string source (seg:rSI), destination (ES:rDI) */
	OP_F,	 /* flags register */
	OP_ST, OP_STI, /* x87 ST0, ST(i) by modrm.rm */
	OP_VSIB, /* gather's vector-indexed memory */
};

/* Operand sizes: 1..64 are bytes */
enum opnd_size {
	SZ_0 = 0,
	SZ_V = 128, /* operand size: 2, 4 or 8 */
	SZ_Z,	/* 2 or 4 (immediates: sign-extended to 8) */
	SZ_Y,	/* 4, or 8 with REX.W/VEX.W */
	SZ_X,	/* 16, or 32 with VEX.L */
	SZ_XH,	/* half of SZ_X: 8 or 16 */
	SZ_XQ, /* quarter of SZ_X: 4 or 8 */
	SZ_XE, /* eighth of SZ_X: 2 or 4 */
	SZ_P,	/* far pointer: 4, 6 or 10 */
	SZ_S,	/* descriptor table register: 6 or 10 */
	SZ_64V, /* stack-like: 8 in 64-bit mode (2 with 66), else SZ_V */
	SZ_VAR,	/* set by other means (XSAVE area, x87 environment) */
};

#define ACC_R 1
#define ACC_W 2

struct opnd {
	u8 kind, size; /* enum opnd_kind, enum opnd_size or bytes */
	u8 acc;	       /* ACC_R | ACC_W */
	u8 reg;	       /* OP_REG */
};

struct insn;
typedef void insn_fn(struct cpu *c, const struct insn *i);

/* Without pointers, each of which a start would have to write. */
struct insn_desc {
	u16 op; /* enum insn_op, generated: one value a mnemonic */
	u8 kind; /* enum insn_kind */
	u8 nopnd;
	struct opnd opnd[4];
	u16 flags_read, flags_written, flags_undef; /* FL_ARITH bits (FL_CF...); written includes undef.
		An instruction that writes flags only under a condition (shift by CL) has them in flags_read too */
	u16 implicit_read, implicit_written; /* bit n = GPR n beyond the explicit operands */
	u32 attr; /* ATTR_* */
	u16 cpuid; /* enum cpuid_gate, generated: 0 = always there */
	u16 function; /* of insn_functions[]: see insn_exec() */
};

#define ATTR_LOCK (1u << 0)	 /* LOCK allowed (with a memory destination) */
#define ATTR_NO64 (1u << 1)	 /* #UD in 64-bit mode */
#define ATTR_ONLY64 (1u << 2)
#define ATTR_CPL0 (1u << 3)	 /* #GP(0) unless CPL 0 */
#define ATTR_VEC (1u << 4)	 /* x87, MMX, SSE or AVX: CR0.TS/EM, CR4 and XCR0 decide #NM/#UD first */
#define ATTR_X87 (1u << 5)
#define ATTR_MMX (1u << 6)
#define ATTR_SSE (1u << 7)	 /* legacy SSE encoding */
#define ATTR_VEX (1u << 8)	 /* VEX encoding (AVX rules; also BMI, which lacks ATTR_VEC) */
#define ATTR_ALIGN (1u << 9)	 /* memory operand must be aligned to its size (#GP): legacy SSE 16-byte, VMOVAPS... */
#define ATTR_NOPROT (1u << 10)	 /* #UD in real and virtual-8086 mode */
#define ATTR_DEF64 (1u << 11)	 /* operand size defaults to 64 in 64-bit mode (and cannot be 32) */
#define ATTR_STRING (1u << 12)
#define ATTR_END (1u << 13)	 /* ends a block (branch, mode change) */
#define ATTR_MASKED (1u << 14)	 /* accesses only parts of its memory operand (VMASKMOV, gathers, MASKMOV) */
#define ATTR_FIXED_ST (1u << 15) /* x87 stack effect etc.: nothing for the translator, may be copied */
#define ATTR_NOMEMCHECK (1u << 16) /* has a memory operand but does not access it (LEA, NOP Ev, prefetch, INVLPG) */
#define ATTR_FORCE64 (1u << 17)	 /* near branches: operand size is 64 in 64-bit mode, 66 is ignored */
/* bits 18 and up belong to the decoder (decode.h) */

#define BASE_NONE 0xff
#define BASE_RIP 16

struct insn {
	const struct insn_desc *d;
	u8 len;
	u8 mode;	   /* enum cpu_mode it was decoded for */
	u8 opsize, adsize; /* 2, 4, 8: effective operand size (8-bit forms say so in their operands), address size */
	u8 stack_size;	   /* unused by the decoder: see interp */
	u8 rex;		   /* 0 when absent; VEX.RXBW are folded in as 0x40 | ... */
	bool has_rex;	   /* a real REX byte (makes SPL..DIL of AH..BH) */
	bool lock, p66, vex;
	u8 rep; /* 0, 0xf2, 0xf3: as a prefix that is not part of the opcode */
	u8 mandatory; /* 0, 0x66, 0xf2, 0xf3: prefix that selects the row */
	u8 map;	      /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
	u8 opcode;
	u8 modrm;
	bool has_modrm, mem; /* mem: there is a memory operand (base/index/disp valid) */
	u8 reg, rm;	     /* with REX.R, REX.B; rm only when it is a register */
	u8 vvvv, vl, vexw;   /* vl: 0 = 128, 1 = 256 */
	u8 seg;		     /* enum seg_id of the memory operand (default or override) */
	u8 seg_override;     /* 0xff or enum seg_id */
	u8 base, index, scale; /* GPR number, BASE_RIP, BASE_NONE; scale as shift 0..3. RIP is the next instruction's */
	s64 disp;
	u8 mem_size; /* bytes accessed; 0 when none or SZ_VAR */
	u8 mem_acc;  /* ACC_R | ACC_W */
	u64 imm;     /* sign-extended as the instruction defines; branch: displacement */
	u64 imm2;
	u8 imm_size; /* bytes of imm in the encoding */
	u8 bytes[INSN_MAX];
};

enum decode_result {
	DECODE_OK,
	DECODE_MORE,	/* the bytes end inside the instruction: come back with more */
	DECODE_UD,	/* #UD */
	DECODE_TOO_LONG, /* more than 15 bytes: #GP(0) */
};

/*
 * Decodes one instruction of at most `avail` bytes at p for `mode`. Never reads beyond p + avail. CPUID gates and CPL are
 * not checked here (interp.c does). Thread safe.
 */
enum decode_result insn_decode(struct insn *i, const u8 *p, size_t avail, enum cpu_mode mode);

/* SDM syntax, for logs and tests; always terminated. */
void insn_print(const struct insn *i, u64 rip, char *buf, size_t size);

enum { INSN_NAME_SIZE = 20 };
extern const char insn_op_names[][INSN_NAME_SIZE];
extern insn_fn *const insn_functions[];

/* The interpreter's function; never NULL: unimplemented rows do not exist. */
static inline insn_fn *insn_exec(const struct insn_desc *d)
{
	return insn_functions[d->function];
}

static inline const char *insn_name(const struct insn_desc *d)
{
	return insn_op_names[d->op];
}

/* Bytes of an operand of enum opnd_size `size` in this instruction; 0 for SZ_0 and SZ_VAR. */
static inline unsigned insn_size(const struct insn *i, u8 size)
{
	if (size < SZ_V)
		return size;
	switch ((enum opnd_size)size) {
	case SZ_V:
	case SZ_64V:
		return i->opsize;
	case SZ_Z:
		return i->opsize == 2 ? 2 : 4;
	case SZ_Y:
		return i->rex & 8 ? 8 : 4;
	case SZ_X:
		return 16u << i->vl;
	case SZ_XH:
		return 8u << i->vl;
	case SZ_XQ:
		return 4u << i->vl;
	case SZ_XE:
		return 2u << i->vl;
	case SZ_P:
		return 2u + i->opsize;
	case SZ_S:
		return i->mode == MODE_LONG64 ? 10 : 6;
	default:
		return 0;
	}
}
