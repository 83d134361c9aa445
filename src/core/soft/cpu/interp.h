/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The interpreter: the reference for every instruction, and what runs all that the translator leaves alone (16-bit code,
 * segments, system instructions, faults, MMIO, page-crossing accesses, single steps). Called by run.c and by the translator.
 */
#pragma once
#include "insn.h"

enum interp_result {
	INTERP_NEXT,	  /* go on at c->rip (an exception may have been delivered on the way) */
	INTERP_LEAVE,	  /* see ret_reason: KVM_RUN has to act (user-space I/O, HLT, triple fault...) */
};

/*
 * Executes exactly one instruction at c->rip (one iteration of a REP string operation at least; it stops early at
 * c->req/poll), with single-step and debug-register traps, and delivers a fault it raises through the IDT. c->rflags is
 * complete (arithmetic flags included). On INTERP_LEAVE *ret_reason is an enum cpu_leave_reason.
 */
enum interp_result interp_step(struct cpu *c, unsigned *ret_reason);

/* Steps until a request is polled, a LEAVE, or `max` instructions. translate: returns when cpu_translates() (the translator
 * takes over). */
enum interp_result interp_run(struct cpu *c, u64 max, bool translate, unsigned *ret_reason);

/*
 * For translated code; they leave through c->fault_jmp as exec functions do. interp_here(): the instruction at c->rip, as
 * interp_step() does it. interp_decoded(): executes i, decoded before, at c->rip, when nothing is to be looked at but
 * the instruction itself (cpu_translates(), no single step, breakpoint, RF or shadow). interp_page_fault(): the instruction at
 * c->rip met this page fault before it changed anything. interp_recover(): what is to be done with setjmp()'s value; false:
 * leave with *ret_reason.
 */
void interp_here(struct cpu *c);
void interp_decoded(struct cpu *c, const struct insn *i);
bool interp_recover(struct cpu *c, int why, unsigned *ret_reason);
void interp_page_fault(struct cpu *c, u64 la, u32 error);

/* The instruction that left for user space, whose answer is in the replay record, is done. False: execute it again. */
bool interp_finish(struct cpu *c);

/*
 * Delivers an interrupt or exception through the IDT (real, protected, long mode; task gates): pushes, switches stack,
 * loads CS:RIP. Handles double fault escalation. False: triple fault.
 */
enum deliver_kind { DELIVER_EXTERNAL, DELIVER_SOFT, DELIVER_EXCEPTION };
bool cpu_deliver(struct cpu *c, unsigned vector, enum deliver_kind kind, bool has_error, u32 error);

/* What SYSCALL and its relatives load into CS and SS. */
struct segment segment_flat(enum seg_id seg, u16 sel, unsigned dpl, bool long64);

/* Reset and INIT state (SDM vol. 3, table 9-1). */
void cpu_reset(struct cpu *c, bool init_only);

/* The arithmetic flags that ADD to CMP (by opcode digit) leave after a and b of this size, when CF was clear. */
u32 alu_flags(unsigned op, unsigned size, u64 a, u64 b);
/* Likewise of SHL, SHR, SAR (modrm digit) by a constant. */
u32 shift_flags(unsigned digit, unsigned size, u64 v, u64 count);

/* Linear address of seg:offset for an access of len bytes; raises #GP/#SS (limits, type, canonical form). */
u64 seg_linear(struct cpu *c, enum seg_id seg, u64 offset, unsigned len, bool write);
