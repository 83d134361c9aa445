/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Near control flow, and the instructions that do nothing or only complain. */
#include "exec.h"
#include "x86-ops.h"

void check_target(struct cpu *c, const struct segment *cs, u64 rip)
{
	if (cpu_long(c) && cs->l ? !is_canonical(rip) : rip > cs->limit)
		cpu_raise_err(c, EXC_GP, 0);
}

static u64 target_checked(struct cpu *c, const struct insn *i, u64 target)
{
	if (c->mode != MODE_LONG64)
		target = i->opsize == 2 ? (u16)target : (u32)target;
	check_target(c, &c->seg[SEG_CS], target);
	return target;
}

void branch_to(struct cpu *c, const struct insn *i, u64 target)
{
	c->next_rip = target_checked(c, i, target);
}

/* Of JMP and CALL, direct or indirect. */
static u64 near_target(struct cpu *c, const struct insn *i)
{
	return i->d->opnd[0].kind == OP_J ? c->next_rip + i->imm : opnd_get(c, i, 0, i->opsize);
}

void exec_jmp(struct cpu *c, const struct insn *i)
{
	branch_to(c, i, near_target(c, i));
}

void exec_jcc(struct cpu *c, const struct insn *i)
{
	if (cond_true(c->rflags, i->opcode & 15))
		branch_to(c, i, c->next_rip + i->imm);
}

void exec_loop(struct cpu *c, const struct insn *i)
{
	u64 count = addr_reg(c, RCX, i->adsize);
	bool taken;

	if (i->d->op == INSN_JRCXZ) {
		taken = !count;
	} else {
		count -= 1;
		taken = i->adsize == 8 ? count : i->adsize == 4 ? (u32)count : (u16)count;
		if (i->d->op == INSN_LOOPE)
			taken = taken && (c->rflags & FL_ZF);
		if (i->d->op == INSN_LOOPNE)
			taken = taken && !(c->rflags & FL_ZF);
	}
	if (taken)
		branch_to(c, i, c->next_rip + i->imm);
	if (i->d->op != INSN_JRCXZ)
		addr_reg_set(c, RCX, i->adsize, count);
}

void exec_call(struct cpu *c, const struct insn *i)
{
	u64 target = target_checked(c, i, near_target(c, i));
	struct stack s;

	stack_open(c, &s);
	stack_push(&s, c->next_rip, i->opsize);
	stack_commit(&s);
	c->next_rip = target;
}

void exec_ret(struct cpu *c, const struct insn *i)
{
	struct stack s;
	u64 target;

	stack_open(c, &s);
	target = stack_pop(&s, i->opsize);
	branch_to(c, i, target);
	if (i->d->nopnd)
		s.sp = (s.sp + (u16)i->imm) & s.mask;
	stack_commit(&s);
}

void exec_bound(struct cpu *c, const struct insn *i)
{
	unsigned size = i->opsize;
	u64 la = insn_la_aligned(c, i, 2 * size, size, false);
	s64 index = sign_extend(gpr_get(c, i, i->reg, size), size);
	s64 low = sign_extend(mem_load(c, la, size), size), high = sign_extend(mem_load(c, (u32)(la + size), size), size);

	if (index < low || index > high)
		cpu_raise(c, EXC_BR);
}

void exec_ud(struct cpu *c, const struct insn *i)
{
	cpu_raise(c, EXC_UD);
}

void exec_nop(struct cpu *c, const struct insn *i)
{
}

void exec_fence(struct cpu *c, const struct insn *i)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Code that was written is seen by whoever goes on behind an instruction. */
void exec_serialize(struct cpu *c, const struct insn *i)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void exec_clflush(struct cpu *c, const struct insn *i)
{
	mem_load(c, insn_la(c, i, 1, false), 1);
}
