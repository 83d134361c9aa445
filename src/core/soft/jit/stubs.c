/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fixed pieces of host code: enter (C calls it), the exits back to C, and the call into C on a slow memory access.
 * Generated rather than assembled, so that the offsets into struct cpu are the compiler's. run.c and translate.c use them.
 */
#include "internal.h"

#define GPR(n) mem_gs(offsetof(struct cpu, gpr) + 8 * (n))
#define CPU(field) mem_gs(offsetof(struct cpu, field))

static const u8 callee_saved[] = { RBP, RBX, R12, R13, R14, R15 };

static void emit_save_guest(struct emit *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(mapped_regs); i++)
		emit_store(e, GPR(mapped_regs[i]), host_reg(mapped_regs[i]));
}

static void emit_load_guest(struct emit *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(mapped_regs); i++)
		emit_load(e, host_reg(mapped_regs[i]), GPR(mapped_regs[i]));
}

/* unsigned enter(struct cpu *rdi, const u8 *code rsi): code is entered in FLAGS_SAVED with RSP 16-byte aligned. */
static void emit_enter(struct emit *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(callee_saved); i++)
		emit_push(e, callee_saved[i]);
	emit_alu_imm(e, ALU_SUB, true, RSP, 8);
	emit_store(e, CPU(host_rsp), RSP);
	emit_mov(e, HOST_SCRATCH, RSI);
	emit_load_guest(e);
	emit_jmp_reg(e, HOST_SCRATCH);
}

/* Leaves to C: scratch2 holds the exit reason. */
static void emit_leave(struct emit *e)
{
	emit_save_guest(e);
	emit_mov32(e, RAX, HOST_SCRATCH2);
	emit_load(e, RSP, CPU(host_rsp));
	emit_alu_imm(e, ALU_ADD, true, RSP, 8);
	for (size_t i = ARRAY_SIZE(callee_saved); i-- > 0;)
		emit_pop(e, callee_saved[i]);
	emit_u8(e, 0xc3);
}

/* Calls C with cpu, scratch and scratch2, the guest's registers being stored. */
static void emit_call_c(struct emit *e, u64 function)
{
	emit_load(e, RDI, CPU(self));
	emit_mov(e, RSI, HOST_SCRATCH);
	emit_mov(e, RDX, HOST_SCRATCH2);
	emit_imm(e, RAX, function);
	emit_op_reg(e, &(struct host_op){ .opcode = 0xff }, 2, RAX); /* call rax */
}

/* Goes on with the code in rax. */
static void emit_go_on(struct emit *e)
{
	emit_mov(e, HOST_SCRATCH, RAX);
	emit_load_guest(e);
	emit_load(e, RSP, CPU(host_rsp));
	emit_jmp_reg(e, HOST_SCRATCH);
}

/* Jumped to with scratch = struct inplace, flags saved. */
static void emit_inplace(struct emit *e)
{
	emit_save_guest(e);
	emit_call_c(e, (u64)(uintptr_t)jit_inplace);
	emit_go_on(e);
}

/* Jumped to with scratch = RIP of an instruction for the interpreter, flags saved. */
static void emit_interp(struct emit *e)
{
	emit_save_guest(e);
	emit_call_c(e, (u64)(uintptr_t)jit_interpret);
	emit_go_on(e);
}

/* scratch holds the guest RIP to go on at. */
static void emit_exit_rip(struct emit *e, enum exit_reason reason)
{
	emit_store(e, CPU(rip), HOST_SCRATCH);
	emit_imm(e, HOST_SCRATCH2, reason);
	emit_leave(e);
}

/*
 * Called by the out-of-line part of a memory access with scratch = linear address, scratch2 = SLOW_*, flags saved or dead.
 * Returns if the access is to be tried again (or REP has ended), else gives the guest instruction to the interpreter, or
 * goes on elsewhere.
 */
static void emit_slow(struct emit *e, u64 (*work)(struct cpu *c, u64 la, u32 info))
{
	u8 *other, *elsewhere;

	emit_alu_imm(e, ALU_SUB, true, RSP, 8);
	emit_store(e, CPU(scratch[7]), HOST_SCRATCH2);
	emit_save_guest(e);
	emit_call_c(e, (u64)(uintptr_t)work);
	emit_alu_imm(e, ALU_CMP, true, RAX, SLOW_INTERP);
	other = emit_jcc(e, COND_AE, NULL);
	emit_load_guest(e);
	emit_alu_imm(e, ALU_ADD, true, RSP, 8);
	emit_u8(e, 0xc3);
	emit_patch_here(e, other);
	elsewhere = emit_jcc(e, COND_NE, NULL);
	emit_load_guest(e);
	emit_load(e, HOST_SCRATCH, CPU(scratch[7]));
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH, SLOW_OFFSET);
	emit_alu_load(e, ALU_ADD, HOST_SCRATCH, CPU(code_base));
	emit_exit_rip(e, EXIT_INTERP);
	emit_patch_here(e, elsewhere);
	emit_go_on(e);
}

static const u8 *begin(struct emit *e)
{
	while ((uintptr_t)e->p & 15)
		emit_u8(e, 0xcc);
	return emit_here(e);
}

bool stubs_emit(struct jit *j)
{
	struct emit e = { j->code_w, j->code_w + CODE_SIZE, j->code_x - j->code_w, false };

	j->enter = (unsigned (*)(struct cpu *, const u8 *))(uintptr_t)begin(&e);
	emit_enter(&e);
	j->stub_dispatch = begin(&e);
	emit_exit_rip(&e, EXIT_DISPATCH);
	j->stub_interp = begin(&e);
	emit_interp(&e);
	j->stub_link = begin(&e);
	emit_exit_rip(&e, EXIT_LINK);
	j->stub_slow = begin(&e);
	emit_slow(&e, jit_slow_access);
	j->stub_string = begin(&e);
	emit_slow(&e, jit_string);
	j->stub_inplace = begin(&e);
	emit_inplace(&e);
	j->stub_away = begin(&e); /* cpu.rip is set */
	emit_imm(&e, HOST_SCRATCH2, EXIT_DISPATCH);
	emit_leave(&e);
	j->stub_jump_miss = begin(&e); /* only the non-canonical address 1 << 63 can hit an empty entry */
	emit_imm(&e, HOST_SCRATCH, 1ull << 63);
	emit_exit_rip(&e, EXIT_DISPATCH);
	begin(&e);
	j->code_base = j->code_used = (u32)(e.p - j->code_w);
	return !e.full;
}
