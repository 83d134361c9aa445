/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fixed pieces of host code: enter (C calls it), the exits back to C, and the call into C on a slow memory access.
 * Generated rather than assembled, so that the offsets into struct cpu are the compiler's. run.c and translate.c use them.
 */
#include "tx.h"

#define GPR(n) mem_gs(offsetof(struct cpu, gpr) + 8 * (n))
#define CPU(field) mem_gs(offsetof(struct cpu, field))

static const u8 callee_saved[] = { RBP, RBX, R12, R13, R14, R15 };

/* RSP is 8 off a multiple of 16 when `enter` has saved registers. */
#define FRAME_SIZE (((sizeof(struct jit_frame) + 15) & ~15ul) + 8)

static const struct copied {
	size_t frame, cpu;
} copied[] = {
	{ offsetof(struct jit_frame, reg[0]), offsetof(struct cpu, gpr[HOME0]) },
	{ offsetof(struct jit_frame, reg[1]), offsetof(struct cpu, gpr[HOME1]) },
	{ offsetof(struct jit_frame, reg[2]), offsetof(struct cpu, gpr[HOME2]) },
	{ offsetof(struct jit_frame, code_base), offsetof(struct cpu, code_base) },
	{ offsetof(struct jit_frame, saved_flags), offsetof(struct cpu, saved_flags) },
	{ offsetof(struct jit_frame, operand), offsetof(struct cpu, operand) },
};

/* `pushed`: bytes that RSP is below the frame. */
static void emit_save_guest(struct emit *e, s32 pushed)
{
	for (u8 r = 0; r < 16; r++)
		if (host_reg(r) != IN_MEMORY)
			emit_store(e, GPR(r), host_reg(r));
	for (size_t i = 0; i < ARRAY_SIZE(copied); i++) {
		emit_load(e, RAX, mem_base(RSP, (s32)copied[i].frame + pushed));
		emit_store(e, mem_gs(copied[i].cpu), RAX);
	}
}

static void emit_load_guest(struct emit *e, s32 pushed)
{
	for (size_t i = 0; i < ARRAY_SIZE(copied); i++) {
		emit_load(e, RAX, mem_gs(copied[i].cpu));
		emit_store(e, mem_base(RSP, (s32)copied[i].frame + pushed), RAX);
	}
	for (u8 r = 0; r < 16; r++)
		if (host_reg(r) != IN_MEMORY)
			emit_load(e, host_reg(r), GPR(r));
}

/* unsigned enter(struct cpu *rdi, const u8 *code rsi): code is entered in FLAGS_SAVED with RSP at a struct jit_frame, aligned. */
static void emit_enter(struct emit *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(callee_saved); i++)
		emit_push(e, callee_saved[i]);
	emit_alu_imm(e, ALU_SUB, true, RSP, FRAME_SIZE);
	emit_store(e, CPU(host_rsp), RSP);
	emit_mov(e, HOST_SCRATCH, RSI);
	emit_load_guest(e, 0);
	emit_jmp_reg(e, HOST_SCRATCH);
}

/* Returns to the dispatcher: the guest's registers are saved, scratch2 holds the exit reason. */
static void emit_return(struct emit *e)
{
	emit_mov32(e, RAX, HOST_SCRATCH2);
	emit_load(e, RSP, CPU(host_rsp));
	emit_alu_imm(e, ALU_ADD, true, RSP, FRAME_SIZE);
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
	emit_load(e, RSP, CPU(host_rsp));
	emit_load_guest(e, 0);
	emit_jmp_reg(e, HOST_SCRATCH);
}

/*
 * Jumped to with flags saved, and scratch what C is told: struct inplace; RIP of an instruction for the interpreter, or one that
 * the jump cache does not have; struct path_check.
 */
static void emit_ask_c(struct emit *e, u64 function)
{
	emit_save_guest(e, 0);
	emit_call_c(e, function);
	emit_go_on(e);
}
#define ASK_C(e, function) emit_ask_c(e, (u64)(uintptr_t)(function))

/* scratch holds the guest RIP to go on at. */
static void emit_exit_rip(struct emit *e, enum exit_reason reason)
{
	emit_store(e, CPU(rip), HOST_SCRATCH);
	emit_imm(e, HOST_SCRATCH2, reason);
	emit_save_guest(e, 0);
	emit_return(e);
}

/* After a call: the page offset of the guest RIP to go on at, and what else the dispatcher may want, lies behind the call. */
static void emit_rip_at(struct emit *e, bool save_flags)
{
	static const struct host_op movzx16 = { .map = 1, .opcode = 0xb7 };
	struct host_mem behind = mem_base(HOST_SCRATCH2, 0);

	emit_pop(e, HOST_SCRATCH2);
	if (save_flags)
		flags_emit_save(e);
	emit_store(e, CPU(cur_block), HOST_SCRATCH2);
	emit_op_mem(e, &movzx16, HOST_SCRATCH, &behind);
	emit_alu_load(e, ALU_ADD, HOST_SCRATCH, TX_FRAME(code_base));
}

static struct host_mem tlb_mem(u32 view, size_t field)
{
	struct host_mem m = { HOST_SCRATCH2, BASE_NONE, 0, true, false, 0 };

	m.disp = (s32)(offsetof(struct cpu, tlb) + view * sizeof(((struct cpu *)0)->tlb[0]) + field);
	return m;
}

/* A memory access has missed: scratch = its linear address, RSP points to the address of its slow_info. */
static void emit_slow_call(struct emit *e)
{
	emit_pop(e, HOST_SCRATCH2);
	emit_save_guest(e, 0);
	emit_call_c(e, (u64)(uintptr_t)jit_slow_access);
	emit_go_on(e);
}

/* The address of a group's slow_info is on the stack, scratch = address: goes on without groups if it is known where. */
static void emit_alone(struct emit *e)
{
	static const struct host_op add16 = { .p66 = true, .opcode = 0x03 }, movsxd = { .w = 1, .opcode = 0x63 };
	struct host_mem size = mem_base(RAX, offsetof(struct slow_info, size));
	struct host_mem alone = mem_base(RAX, offsetof(struct slow_info, alone));
	u8 *other[2];

	emit_store(e, CPU(scratch[0]), RAX);
	emit_load(e, RAX, mem_base(RSP, 0));
	emit_mov32(e, HOST_SCRATCH2, HOST_SCRATCH);
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH2, PAGE_SIZE - 1);
	emit_op_mem(e, &add16, HOST_SCRATCH2, &size);
	emit_alu_imm(e, ALU_CMP, false, HOST_SCRATCH2, PAGE_SIZE);
	other[0] = emit_jcc(e, COND_BE, NULL);
	emit_op_mem(e, &movsxd, HOST_SCRATCH2, &alone);
	emit_alu_imm(e, ALU_CMP, true, HOST_SCRATCH2, 0);
	other[1] = emit_jcc(e, COND_E, NULL);
	emit_lea(e, HOST_SCRATCH2, mem_pair(HOST_SCRATCH2, RAX));
	emit_load(e, RAX, CPU(scratch[0]));
	emit_alu_imm(e, ALU_ADD, true, RSP, 8);
	emit_jmp_reg(e, HOST_SCRATCH2);
	emit_patch_here(e, other[0]);
	emit_patch_here(e, other[1]);
	emit_load(e, RAX, CPU(scratch[0]));
}

/* scratch = address - tag of the entry, scratch2 = offset of the entry. */
static void emit_slow_tlb(struct emit *e, u32 view, bool write, bool group)
{
	size_t tag = write ? offsetof(struct tlb_entry, wtag) : offsetof(struct tlb_entry, rtag);

	emit_alu_load(e, ALU_ADD, HOST_SCRATCH, tlb_mem(view, tag));
	if (group)
		emit_alone(e);
	emit_slow_call(e);
}

/* scratch = address - page of the stack window: moves the window if the TLB has the page and the span fits, and tries again. */
static void emit_slow_stack(struct emit *e, u32 view)
{
	static const struct host_op movzx16 = { .map = 1, .opcode = 0xb7 }, movsxd = { .w = 1, .opcode = 0x63 };
	struct host_mem window = mem_gs(offsetof(struct cpu, stack) + view * sizeof(struct stack_window));
	struct host_mem size = mem_base(RAX, offsetof(struct slow_info, size)), retry = mem_base(HOST_SCRATCH, 0);
	struct host_mem addend = window;
	u8 *miss[2];

	addend.disp += (s32)offsetof(struct stack_window, addend);
	retry.disp = offsetof(struct slow_info, retry);
	emit_alu_load(e, ALU_ADD, HOST_SCRATCH, window);
	emit_ror32(e, HOST_SCRATCH2, HOST_SCRATCH, 12 - 5);
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH2, (TLB_SIZE - 1) << 5);
	emit_alu_load(e, ALU_SUB, HOST_SCRATCH, tlb_mem(view, offsetof(struct tlb_entry, wtag)));
	emit_alu_imm(e, ALU_CMP, true, HOST_SCRATCH, PAGE_SIZE - 1);
	miss[0] = emit_jcc(e, COND_A, NULL);
	emit_store(e, CPU(scratch[0]), RAX);
	emit_load(e, RAX, mem_base(RSP, 0));
	emit_op_mem(e, &movzx16, RAX, &size);
	emit_lea(e, RAX, mem_pair(RAX, HOST_SCRATCH));
	emit_alu_imm(e, ALU_CMP, true, RAX, PAGE_SIZE);
	emit_load(e, RAX, CPU(scratch[0]));
	miss[1] = emit_jcc(e, COND_A, NULL);
	emit_load(e, HOST_SCRATCH, tlb_mem(view, offsetof(struct tlb_entry, wtag)));
	emit_store(e, window, HOST_SCRATCH);
	emit_load(e, HOST_SCRATCH, tlb_mem(view, offsetof(struct tlb_entry, addend)));
	emit_store(e, addend, HOST_SCRATCH);
	emit_pop(e, HOST_SCRATCH);
	emit_op_mem(e, &movsxd, HOST_SCRATCH2, &retry);
	emit_lea(e, HOST_SCRATCH, mem_pair(HOST_SCRATCH, HOST_SCRATCH2));
	emit_jmp_reg(e, HOST_SCRATCH);
	emit_patch_here(e, miss[0]);
	emit_patch_here(e, miss[1]);
	emit_slow_tlb(e, view, true, true);
}

/*
 * Called in place of an instruction with scratch2 = what `work` is told, flags saved or dead. Returns when it is done, else
 * gives the guest instruction at offset scratch2 & SLOW_OFFSET to the interpreter.
 */
static void emit_slow(struct emit *e, unsigned (*work)(struct cpu *c, u64 la, u32 info))
{
	u8 *interpret;

	emit_alu_imm(e, ALU_SUB, true, RSP, 8);
	emit_store(e, CPU(scratch[1]), HOST_SCRATCH2);
	emit_save_guest(e, 16);
	emit_call_c(e, (u64)(uintptr_t)work);
	emit_op_reg(e, &(struct host_op){ .opcode = 0x85 }, RAX, RAX); /* test eax, eax */
	interpret = emit_jcc(e, COND_NE, NULL);
	emit_load_guest(e, 16);
	emit_alu_imm(e, ALU_ADD, true, RSP, 8);
	emit_u8(e, 0xc3);
	emit_patch_here(e, interpret);
	emit_load(e, RSP, CPU(host_rsp));
	emit_load_guest(e, 0);
	emit_load(e, HOST_SCRATCH, CPU(scratch[1]));
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH, SLOW_OFFSET);
	emit_alu_load(e, ALU_ADD, HOST_SCRATCH, TX_FRAME(code_base));
	emit_exit_rip(e, EXIT_INTERP);
}

/* Called, with a slow_info behind the call: goes on in a block without groups, which C looks up the first time. */
static void emit_leave_group(struct emit *e)
{
	static const struct host_op movsxd = { .w = 1, .opcode = 0x63 };
	struct host_mem alone = mem_base(HOST_SCRATCH, offsetof(struct slow_info, alone));
	u8 *ask;

	emit_pop(e, HOST_SCRATCH);
	emit_op_mem(e, &movsxd, HOST_SCRATCH2, &alone);
	emit_alu_imm(e, ALU_CMP, true, HOST_SCRATCH2, 0);
	ask = emit_jcc(e, COND_E, NULL);
	emit_lea(e, HOST_SCRATCH2, mem_pair(HOST_SCRATCH2, HOST_SCRATCH));
	emit_jmp_reg(e, HOST_SCRATCH2);
	emit_patch_here(e, ask);
	ASK_C(e, jit_alone);
}

static const u8 *begin(struct emit *e)
{
	while (!e->full && ((uintptr_t)e->p & 15))
		emit_u8(e, 0xcc);
	return emit_here(e);
}

static void emit_slow_stubs(struct jit *j, struct emit *e)
{
	for (u32 view = 0; view < VIEW_COUNT; view++) {
		for (u32 kind = 0; kind < 4; kind++) {
			j->stub_slow[view][kind / 2][kind & 1] = begin(e);
			emit_slow_tlb(e, view, kind / 2, kind & 1);
		}
		j->stub_slow[view][2][1] = begin(e);
		emit_slow_stack(e, view);
	}
}

bool stubs_emit(struct jit *j)
{
	struct emit e = { j->code_w, j->code_w + CODE_SIZE, j->code_x - j->code_w, false };

	j->enter = (unsigned (*)(struct cpu *, const u8 *))(uintptr_t)begin(&e);
	emit_enter(&e);
	j->stub_dispatch = begin(&e);
	ASK_C(&e, jit_next);
	j->stub_interp = begin(&e);
	ASK_C(&e, jit_interpret);
	j->stub_interp_at = begin(&e);
	emit_rip_at(&e, false);
	ASK_C(&e, jit_interpret);
	j->stub_dispatch_at = begin(&e);
	emit_rip_at(&e, false);
	emit_exit_rip(&e, EXIT_DISPATCH);
	j->stub_hot_at = begin(&e);
	emit_rip_at(&e, false);
	emit_exit_rip(&e, EXIT_HOT);
	for (u32 saved = 0; saved < 2; saved++) {
		j->stub_link[saved] = begin(&e);
		emit_rip_at(&e, saved == FLAGS_HOST);
		emit_exit_rip(&e, EXIT_LINK);
	}
	emit_slow_stubs(j, &e);
	j->stub_alone = begin(&e);
	emit_leave_group(&e);
	j->stub_string = begin(&e);
	emit_slow(&e, jit_string);
	j->stub_inplace = begin(&e);
	ASK_C(&e, jit_inplace);
	j->stub_path = begin(&e);
	ASK_C(&e, path_enter);
	j->stub_away = begin(&e); /* cpu.rip is set */
	emit_imm(&e, HOST_SCRATCH2, EXIT_DISPATCH);
	emit_save_guest(&e, 0);
	emit_return(&e);
	j->stub_interp_here = begin(&e);
	emit_imm(&e, HOST_SCRATCH2, EXIT_INTERP);
	emit_save_guest(&e, 0);
	emit_return(&e);
	begin(&e);
	j->code_base = j->code_used = (u32)(e.p - j->code_w);
	return !e.full;
}
