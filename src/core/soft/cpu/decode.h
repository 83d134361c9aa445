/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The decoder's tables, generated from schema/x86.tab: an opcode's root says which other fields choose the row (shape)
 * and where its leaf table starts. Used by decode.c, and by tests that generate instructions.
 */
#pragma once
#include "insn.h"

struct insn_root {
	u16 first; /* index in insn_leaves */
	u8 shape;  /* bit n: dimension n of SHAPE_* is part of the index, first dimension outermost */
	u8 flags;  /* ROOT_* */
};
#define SHAPE_PFX  1u	/* 0 none, 1 66, 2 F3, 3 F2 */
#define SHAPE_REG  2u	/* modrm.reg */
#define SHAPE_MOD  4u	/* modrm.mod is 3 */
#define SHAPE_RM   8u	/* modrm.rm */
#define SHAPE_W	   16u	/* REX.W, VEX.W */
#define SHAPE_L	   32u	/* VEX.L */
#define SHAPE_M64  64u	/* 64-bit mode */
#define SHAPE_B	   128u /* REX.B */
#define ROOT_MODRM 1u
#define ROOT_NOMOD 2u /* modrm.mod is ignored: registers */

/* Private bits of insn_desc.attr */
#define D_CHECK	    (1u << 18) /* register numbers that do not exist are #UD */
#define D_IMM_SHIFT 24	       /* enum imm_code */
#define D_VVVV	    (1u << 28) /* VEX.vvvv is an operand */
#define D_COUNT (1u << 29) /* shift by immediate: a zero count selects the next row, which writes no flags */
#define D_MAND (1u << 30)      /* the prefix belongs to the opcode */
#define D_VSIB (1u << 31)

enum imm_code { IMM_NONE, IMM_IB, IMM_IS, IMM_IW, IMM_IZ, IMM_IV, IMM_IWB, IMM_AP, IMM_JB, IMM_JZ, IMM_MOFFS };

extern const struct insn_desc insn_descs[]; /* 0 is "no such instruction" */
extern const unsigned insn_desc_count;
extern const u16 insn_leaves[];
extern const struct insn_root insn_roots[7][256]; /* maps 0 to 3, then VEX maps 1 to 3 */
