/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Host instruction bytes, nothing else: no choices are made here. Writes go to the writable view of the code memory and
 * stop silently at its end (`full`), which the translator checks once a block.
 */
#pragma once
#include "../cpu/insn.h"
#include "x86-regs.h"

struct emit {
	u8 *p, *end; /* writable view; four bytes behind the end may be written, by who patches a jump that had no room */
	s64 exec;    /* executable address - writable address */
	bool full;
};

struct host_mem {
	u8 base, index, scale; /* BASE_NONE when absent; scale as shift */
	bool gs, addr32;
	s32 disp;
};

/* A legacy encoding; rex_w etc. are 0 or 1. byte_reg: the operands are byte registers (forces REX for SPL..DIL). */
struct host_op {
	u8 prefix; /* mandatory or repeat prefix, 0 = none */
	bool p66, lock, w, byte_reg, no_rex;
	u8 map, opcode;
	u8 imm_size;
	u64 imm;
	/* VEX form */
	bool vex;
	u8 vvvv, vl, pp;
};

static inline struct host_mem mem_gs(size_t offset)
{
	return (struct host_mem){ BASE_NONE, BASE_NONE, 0, true, false, (s32)offset };
}
static inline struct host_mem mem_base(u8 base, s32 disp)
{
	return (struct host_mem){ base, BASE_NONE, 0, false, false, disp };
}
static inline struct host_mem mem_pair(u8 base, u8 index)
{
	return (struct host_mem){ base, index, 0, false, false, 0 };
}

void emit_init(bool bmi2); /* does the host have it? Before anything is emitted, any number of times */
void emit_u8(struct emit *e, u8 v);
/* Inlined: a copy of constant size is a few moves. */
static inline void emit_bytes(struct emit *e, const void *bytes, size_t size)
{
	if ((size_t)(e->end - e->p) < size) {
		e->full = true;
		return;
	}
	__builtin_memcpy(e->p, bytes, size);
	e->p += size;
}
static inline u8 *emit_here(const struct emit *e) /* executable address */
{
	return e->p + e->exec;
}

void emit_op_plain(struct emit *e, const struct host_op *o, u8 reg); /* no ModRM; reg in the opcode, or BASE_NONE */
void emit_op_reg(struct emit *e, const struct host_op *o, u8 reg, u8 rm);
void emit_op_mem(struct emit *e, const struct host_op *o, u8 reg, const struct host_mem *m);

void emit_mov(struct emit *e, u8 dst, u8 src);			      /* 64 bit */
void emit_mov32(struct emit *e, u8 dst, u8 src);
void emit_load(struct emit *e, u8 dst, struct host_mem m);	      /* 64 bit */
void emit_store(struct emit *e, struct host_mem m, u8 src);
void emit_load32(struct emit *e, u8 dst, struct host_mem m);
void emit_store32(struct emit *e, struct host_mem m, u8 src);
void emit_store_imm(struct emit *e, struct host_mem m, s32 imm);      /* 64 bit, sign-extended */
void emit_store_imm32(struct emit *e, struct host_mem m, s32 imm);
void emit_imm(struct emit *e, u8 dst, u64 imm);			      /* shortest form, no flags */
void emit_lea(struct emit *e, u8 dst, struct host_mem m);	      /* 64 bit */
void emit_lea32(struct emit *e, u8 dst, struct host_mem m);
enum alu_op { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };
void emit_alu_imm(struct emit *e, enum alu_op op, bool w, u8 reg, s32 imm);
void emit_alu_load(struct emit *e, enum alu_op op, u8 reg, struct host_mem m); /* 64 bit */
void emit_alu_mem_imm32(struct emit *e, enum alu_op op, struct host_mem m, s32 imm); /* 32 bit operand */
enum shift_op { SHIFT_SHL = 4, SHIFT_SHR = 5 };
void emit_shift32(struct emit *e, enum shift_op op, u8 reg, u8 count);
void emit_ror32(struct emit *e, u8 dst, u8 src, u8 count); /* flags may change, on hosts without RORX */
void emit_push(struct emit *e, u8 reg);
void emit_pop(struct emit *e, u8 reg);
void emit_jmp_mem(struct emit *e, struct host_mem m);
void emit_jmp_reg(struct emit *e, u8 reg);
void emit_call(struct emit *e, const u8 *exec_target);
/* Jumps: to an executable address, or (target NULL) to be patched; return the writable address of the rel32. */
u8 *emit_jmp(struct emit *e, const u8 *exec_target);
u8 *emit_jcc(struct emit *e, u8 cond, const u8 *exec_target);
void emit_patch_here(struct emit *e, u8 *rel32);
void emit_patch(u8 *rel32, s64 exec, const u8 *exec_target); /* a single aligned-enough 4-byte store */
/* Pads so that the rel32 of a jmp (skip 1) or jcc (skip 2) emitted next does not straddle a cache line. */
void emit_align_rel32(struct emit *e, unsigned skip);

enum cond { COND_B = 2, COND_AE = 3, COND_E = 4, COND_NE = 5, COND_BE = 6, COND_A = 7 };
