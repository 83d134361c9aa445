/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The system instructions that a kernel runs all the time, done in place: CLI, STI, PUSHF, POPF, SWAPGS, RDTSC, VERW, reads
 * of control and segment registers, CLD, STD, SERIALIZE, the FSGSBASE instructions, and STAC and CLAC, which go on in the block
 * of the other privilege view. Whatever is not the usual case (an event waits for IF, TF or AC changes) goes to the interpreter
 * before anything has happened.
 */
#include "stack.h"
#include "tx.h"
#include "x86-ops.h"

#define FLAGS_KEPT (FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_AC | FL_ID | FL_VIF | FL_VIP)
#define POPF_MASK (FL_ARITH | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_ID)

static struct host_mem cpu_mem(size_t offset)
{
	return mem_gs(offset);
}

/* A conditional exit to the interpreter for the current instruction; flags are saved. */
void interp_if(struct tx *t, u8 cond)
{
	t->interp[t->interp_count++] = (struct interp_site){ emit_jcc(&t->e, cond, NULL), t->off[t->k] };
}

void interp_if_event_waits(struct tx *t)
{
	struct host_op cmp8 = { .opcode = 0x80, .imm_size = 1 };
	struct host_mem m = cpu_mem(offsetof(struct vcpu, event_blocked));

	emit_op_mem(&t->e, &cmp8, ALU_CMP, &m);
	interp_if(t, COND_NE);
}

static bool set_if(struct tx *t, bool on)
{
	/* No interrupt may come between STI and the next instruction: true inside a block, but the dispatcher polls at edges. */
	if (on && t->k + 1 == t->n && !t->ends_interp)
		return false;
	flags_free(t);
	if (on)
		interp_if_event_waits(t);
	emit_alu_mem_imm32(&t->e, on ? ALU_OR : ALU_AND, TX_CPU(rflags), on ? FL_IF : ~FL_IF);
	return true;
}

static void or_into(struct tx *t, u8 address, u8 value)
{
	struct host_op or_store = { .w = !tx_is_32(t), .opcode = 0x09 };
	struct host_mem m = mem_base(address, 0);

	emit_op_mem(&t->e, &or_store, value, &m);
}

void system_load_u8(struct tx *t, u8 dst, struct host_mem m, s32 byte)
{
	struct host_op movzx8 = { .map = 1, .opcode = 0xb6 };

	m.disp += byte;
	emit_op_mem(&t->e, &movzx8, dst, &m);
}

static bool pushf(struct tx *t, const struct insn *i)
{
	struct emit *e = &t->e;

	if (i->opsize != insn_word(i))
		return false;
	emit_lea(e, HOST_SCRATCH, stack_push_at(t));
	emit_load(e, HOST_SCRATCH2, TX_CPU(rflags));
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH2, FLAGS_KEPT | FL_1);
	tx_store(t, mem_base(HOST_SCRATCH, 0), HOST_SCRATCH2);
	system_load_u8(t, HOST_SCRATCH2, TX_FRAME(saved_flags), 1);
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH2, FL_ARITH & 0xff);
	or_into(t, HOST_SCRATCH, HOST_SCRATCH2);
	system_load_u8(t, HOST_SCRATCH2, TX_FRAME(saved_flags), 0);
	emit_shift32(e, SHIFT_SHL, HOST_SCRATCH2, 11);
	or_into(t, HOST_SCRATCH, HOST_SCRATCH2);
	stack_move(t, -insn_word(i));
	return true;
}

void system_set_flags(struct tx *t, u8 reg, u8 tmp)
{
	struct host_op bt = { .map = 1, .opcode = 0xba, .imm_size = 1, .imm = 11 };
	struct host_op setc = { .map = 1, .opcode = 0x92, .byte_reg = true }, store16 = { .p66 = true, .opcode = 0x89 };
	struct host_mem saved = TX_FRAME(saved_flags);

	emit_mov32(&t->e, tmp, reg);
	emit_shift32(&t->e, SHIFT_SHL, tmp, 8);
	emit_op_reg(&t->e, &bt, 4, reg);
	emit_op_reg(&t->e, &setc, 0, tmp);
	emit_op_mem(&t->e, &store16, tmp, &saved); /* at once: it is loaded so */
	emit_store(&t->e, TX_CPU(rflags), reg);
	t->state = FLAGS_SAVED;
}

static bool popf(struct tx *t, const struct insn *i)
{
	struct host_op test = { .opcode = 0xf7, .imm_size = 4 };
	struct emit *e = &t->e;
	u8 *no_if;

	if (i->opsize != insn_word(i) || (t->key & KEY_VIEW) != VIEW_KERNEL)
		return false;
	tx_load(t, HOST_SCRATCH, stack_pop_at(t, RSP));
	test.imm = FL_TF | FL_AC | FL_VIF | FL_VIP;
	emit_op_reg(e, &test, 0, HOST_SCRATCH);
	interp_if(t, COND_NE);
	test.imm = FL_IF;
	emit_op_reg(e, &test, 0, HOST_SCRATCH);
	no_if = emit_jcc(e, COND_E, NULL);
	interp_if_event_waits(t);
	emit_patch_here(e, no_if);
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH, POPF_MASK);
	emit_alu_imm(e, ALU_OR, false, HOST_SCRATCH, FL_1);
	system_set_flags(t, HOST_SCRATCH, HOST_SCRATCH2);
	stack_move(t, insn_word(i));
	return true;
}

static bool swapgs(struct tx *t)
{
	struct host_mem gs = cpu_mem(offsetof(struct cpu, seg[SEG_GS].base)), other = TX_CPU(kernel_gs_base);

	emit_load(&t->e, HOST_SCRATCH, gs);
	emit_load(&t->e, HOST_SCRATCH2, other);
	emit_store(&t->e, gs, HOST_SCRATCH2);
	emit_store(&t->e, other, HOST_SCRATCH);
	return true;
}

static bool rdtsc(struct tx *t, bool with_aux)
{
	struct host_op test8 = { .opcode = 0xf6, .imm_size = 1, .imm = CR4_TSD };
	struct host_op shift64 = { .w = 1, .opcode = 0xc1, .imm_size = 1, .imm = 32 };
	struct host_op or64 = { .w = 1, .opcode = 0x0b };
	struct host_mem cr4 = TX_CPU(cr4);
	struct emit *e = &t->e;

	flags_free(t);
	if ((t->key & KEY_VIEW) == VIEW_USER) {
		emit_op_mem(e, &test8, 0, &cr4);
		interp_if(t, COND_NE);
	}
	emit_u8(e, 0x0f);
	emit_u8(e, 0x31);
	emit_op_reg(e, &shift64, SHIFT_SHL, RDX);
	emit_op_reg(e, &or64, RAX, RDX);
	emit_alu_load(e, ALU_ADD, RAX, TX_CPU(tsc_offset));
	emit_mov(e, RDX, RAX);
	emit_op_reg(e, &shift64, SHIFT_SHR, RDX);
	emit_mov32(e, RAX, RAX);
	if (with_aux)
		emit_load(e, RCX, TX_CPU(tsc_aux));
	return true;
}

/* The rest of the page runs under the other view: a new block, found through its jump table. */
static bool set_ac(struct tx *t, bool on)
{
	struct host_op store_imm8 = { .opcode = 0xc6, .imm_size = 1, .imm = on ? VIEW_KERNEL_AC : VIEW_KERNEL };
	struct host_mem view = TX_CPU(view);

	if ((t->key & KEY_VIEW) == VIEW_USER || !(t->c->cr4 & CR4_SMAP))
		return false;
	flags_free(t);
	emit_alu_mem_imm32(&t->e, on ? ALU_OR : ALU_AND, TX_CPU(rflags), on ? FL_AC : ~FL_AC);
	emit_op_mem(&t->e, &store_imm8, 0, &view);
	edge_view(t, t->off[t->k] + t->insn[t->k].len, on ? VIEW_KERNEL_AC : VIEW_KERNEL);
	return true;
}

void test_or_interp(struct tx *t, struct host_mem m, u32 bits, u8 cond)
{
	struct host_op test = { .opcode = 0xf7, .imm_size = 4, .imm = bits };

	emit_op_mem(&t->e, &test, 0, &m);
	interp_if(t, cond);
}

/* CLD and STD: the direction is not in the host's flags. */
static bool set_df(struct tx *t, bool on)
{
	flags_free(t);
	emit_alu_mem_imm32(&t->e, on ? ALU_OR : ALU_AND, TX_CPU(rflags), on ? FL_DF : ~FL_DF);
	return true;
}

/*
 * Code that this vCPU wrote is void already. Who wrote it on another one has set the poll word before he could say so; the
 * interpreter then leaves to the dispatcher.
 */
static bool serialize(struct tx *t)
{
	struct host_op or_imm8 = { .lock = true, .opcode = 0x83, .imm_size = 1 };
	struct host_mem frame = mem_base(RSP, 0), poll = cpu_mem(0);

	poll.disp = VCPU_POLL_OFFSET;
	flags_free(t);
	emit_op_mem(&t->e, &or_imm8, ALU_OR, &frame); /* a fence */
	emit_alu_mem_imm32(&t->e, ALU_CMP, poll, 0);
	interp_if(t, COND_NE);
	return true;
}

/* Guest register = scratch, of which the upper half is zero when size is 4. */
static void set_reg(struct tx *t, u8 reg, unsigned size)
{
	struct host_op mov = { .p66 = size == 2, .w = size != 2, .opcode = 0x89 };
	struct host_mem home = TX_GPR(reg);

	if (host_reg(reg) != IN_MEMORY)
		emit_op_reg(&t->e, &mov, HOST_SCRATCH, host_reg(reg));
	else
		emit_op_mem(&t->e, &mov, HOST_SCRATCH, &home);
}

/* A selector or control register to a general register. */
static bool mov_from(struct tx *t, const struct insn *i)
{
	struct host_op movzx16 = { .map = 1, .opcode = 0xb7 };
	const size_t control[] = { [0] = offsetof(struct cpu, cr0), [2] = offsetof(struct cpu, cr2),
				   [3] = offsetof(struct cpu, cr3), [4] = offsetof(struct cpu, cr4) };
	struct host_mem from;

	if (i->d->opnd[1].kind == OP_C) {
		emit_load(&t->e, HOST_SCRATCH, cpu_mem(control[i->reg]));
		set_reg(t, i->rm, 8);
		return true;
	}
	from = cpu_mem(offsetof(struct cpu, seg[i->reg].sel));
	emit_op_mem(&t->e, &movzx16, HOST_SCRATCH, &from);
	set_reg(t, i->rm, i->opsize);
	return true;
}

static bool mov_from_possible(const struct insn *i, bool kernel)
{
	if (i->d->opnd[1].kind == OP_S)
		return !i->mem && i->reg <= SEG_GS;
	return i->d->opnd[1].kind == OP_C && kernel && (i->reg == 0 || (i->reg >= 2 && i->reg <= 4));
}

static bool fsgsbase(struct tx *t, const struct insn *i, enum seg_id seg, bool write)
{
	struct host_mem base = cpu_mem(offsetof(struct cpu, seg[seg].base));
	bool wide = i->rex & 8;
	u8 value;

	flags_free(t);
	test_or_interp(t, TX_CPU(cr4), CR4_FSGSBASE, COND_E);
	if (write) {
		value = use_reg(t, i->rm, HOST_SCRATCH);
		if (!wide)
			emit_mov32(&t->e, HOST_SCRATCH, value);
		else if (value != HOST_SCRATCH)
			emit_mov(&t->e, HOST_SCRATCH, value);
		interp_if_not_canonical(t, t->off[t->k]);
		emit_store(&t->e, base, HOST_SCRATCH);
		return true;
	}
	emit_load(&t->e, HOST_SCRATCH, base);
	if (!wide)
		emit_mov32(&t->e, HOST_SCRATCH, HOST_SCRATCH);
	set_reg(t, i->rm, wide ? 8 : 4);
	return true;
}

/*
 * VERR and VERW where nobody reads ZF, as kernels use VERW before they return to user code: the operand and the descriptor
 * are looked at, what they say is not.
 */
static bool verify(struct tx *t, const struct insn *i)
{
	struct host_op movzx16 = { .map = 1, .opcode = 0xb7 }, test = { .opcode = 0xf7, .imm_size = 4, .imm = 4 };
	struct host_op cmp16 = { .p66 = true, .opcode = 0x3b };
	struct host_mem limit = cpu_mem(offsetof(struct cpu, gdtr.limit)), at = mem_base(HOST_SCRATCH, 0);
	const u8 *retry;

	if (t->live_out[t->k] & FL_ZF)
		return false;
	retry = access_begin(t);
	if (i->mem) {
		if (!access_address(t, i, HOST_SCRATCH))
			return false;
		access_check(t, retry, 2, false);
		emit_op_mem(&t->e, &movzx16, HOST_SCRATCH, &at);
	} else {
		emit_op_reg(&t->e, &movzx16, HOST_SCRATCH, use_reg(t, i->rm, HOST_SCRATCH));
	}
	emit_op_reg(&t->e, &test, 0, HOST_SCRATCH);
	interp_if(t, COND_NE);
	emit_alu_imm(&t->e, ALU_OR, false, HOST_SCRATCH, 7);
	emit_op_mem(&t->e, &cmp16, HOST_SCRATCH, &limit);
	interp_if(t, COND_A);
	emit_store(&t->e, TX_FRAME(scratch[0]), HOST_SCRATCH);
	retry = emit_here(&t->e); /* not the operand's: two pages may have one place in the TLB */
	emit_load(&t->e, HOST_SCRATCH, TX_FRAME(scratch[0]));
	emit_alu_imm(&t->e, ALU_AND, false, HOST_SCRATCH, 0xfff8);
	emit_alu_load(&t->e, ALU_ADD, HOST_SCRATCH, cpu_mem(offsetof(struct cpu, gdtr.base)));
	access_check(t, retry, 8, false);
	return true;
}

static bool possible_in_32(const struct insn *i)
{
	switch (i->d->op) {
	case INSN_MOV:
		return i->d->opnd[1].kind == OP_S;
	case INSN_CLD:
	case INSN_STD:
	case INSN_CLI:
	case INSN_STI:
	case INSN_PUSHF:
	case INSN_POPF:
	case INSN_RDTSC:
	case INSN_RDTSCP:
	case INSN_SERIALIZE:
		return true;
	default:
		return false;
	}
}

bool system_possible(const struct tx *t, const struct insn *i)
{
	bool kernel = (t->key & KEY_VIEW) != VIEW_USER;

	if (insn_is_32(i) && !possible_in_32(i))
		return false;
	switch (i->d->op) {
	case INSN_MOV:
		return mov_from_possible(i, kernel);
	case INSN_CLD:
	case INSN_STD:
	case INSN_RDFSBASE:
	case INSN_RDGSBASE:
	case INSN_WRFSBASE:
	case INSN_WRGSBASE:
		return true;
	case INSN_CLI:
	case INSN_STI:
	case INSN_PUSHF:
	case INSN_SWAPGS:
	case INSN_CLAC:
	case INSN_STAC:
		return kernel;
	case INSN_POPF:
	case INSN_VERR:
	case INSN_VERW:
		return (t->key & KEY_VIEW) == VIEW_KERNEL;
	case INSN_RDTSC:
	case INSN_RDTSCP:
	case INSN_SERIALIZE:
		return true;
	default:
		return false;
	}
}

bool system_ignores_flags(const struct insn *i)
{
	switch (i->d->op) {
	case INSN_SWAPGS:
	case INSN_SYSRET:
	case INSN_VERR:
	case INSN_VERW:
	case INSN_CLI:
	case INSN_STI:
	case INSN_CLD:
	case INSN_STD:
	case INSN_CLAC:
	case INSN_STAC:
	case INSN_RDTSC:
	case INSN_RDTSCP:
	case INSN_SERIALIZE:
	case INSN_RDMSR:
	case INSN_WRMSR:
	case INSN_CPUID:
	case INSN_RDFSBASE:
	case INSN_RDGSBASE:
	case INSN_WRFSBASE:
	case INSN_WRGSBASE:
		return true;
	default:
		return false;
	}
}

bool system_ends_block(const struct insn *i)
{
	return i->d->op == INSN_CLAC || i->d->op == INSN_STAC;
}

bool system_insn(struct tx *t, const struct insn *i)
{
	switch (i->d->op) {
	case INSN_MOV:
		return mov_from(t, i);
	case INSN_CLD:
	case INSN_STD:
		return set_df(t, i->d->op == INSN_STD);
	case INSN_RDFSBASE:
	case INSN_WRFSBASE:
		return fsgsbase(t, i, SEG_FS, i->d->op == INSN_WRFSBASE);
	case INSN_RDGSBASE:
	case INSN_WRGSBASE:
		return fsgsbase(t, i, SEG_GS, i->d->op == INSN_WRGSBASE);
	case INSN_CLI:
	case INSN_STI:
		return set_if(t, i->d->op == INSN_STI);
	case INSN_PUSHF:
		return pushf(t, i);
	case INSN_POPF:
		return popf(t, i);
	case INSN_SWAPGS:
		return swapgs(t);
	case INSN_VERR:
	case INSN_VERW:
		return verify(t, i);
	case INSN_SERIALIZE:
		return serialize(t);
	case INSN_RDTSC:
	case INSN_RDTSCP:
		return rdtsc(t, i->d->op == INSN_RDTSCP);
	default:
		return set_ac(t, i->d->op == INSN_STAC);
	}
}
