/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stack: struct stack (exec.h), PUSH and POP in all forms, ENTER and LEAVE, PUSHF and POPF. */
#include "exec.h"
#include "x86-ops.h"

u64 sp_mask(const struct cpu *c, const struct segment *ss, bool long64)
{
	return long64 ? ~0ull : ss->db ? 0xffffffffull : 0xffffull;
}

enum tlb_view view_for_cpl(const struct cpu *c, unsigned cpl)
{
	return cpl == 3 ? VIEW_USER : c->rflags & FL_AC ? VIEW_KERNEL_AC : VIEW_KERNEL;
}

void stack_open(struct cpu *c, struct stack *s)
{
	bool long64 = c->mode == MODE_LONG64;

	*s = (struct stack){ .c = c, .ss = long64 ? NULL : &c->seg[SEG_SS], .view = c->view };
	s->mask = sp_mask(c, &c->seg[SEG_SS], long64);
	s->sp = c->gpr[RSP] & s->mask;
}

/* Not yet an access: nobody is told. */
static u64 stack_range(struct stack *s, u64 sp, unsigned size)
{
	const struct segment *ss = s->ss;
	u32 off = (u32)sp, last = off + size - 1;
	u64 la = sp;

	if (!ss) {
		if (!is_canonical(sp) || !is_canonical(sp + size - 1))
			cpu_raise_err(s->c, EXC_SS, s->err);
	} else {
		bool down = (ss->type & 0xc) == 4 && mode_paged_segments(s->c);

		if (last < off || (down ? off <= ss->limit || last > (ss->db ? 0xffffffffu : 0xffffu) : last > ss->limit))
			cpu_raise_err(s->c, EXC_SS, s->err);
		la = (u32)(ss->base + off);
	}
	return la;
}

/* The stack of an inner level is not the program's that has to keep things aligned. */
static u64 stack_la(struct stack *s, u64 sp, unsigned size, bool write)
{
	u64 la = stack_range(s, sp, size);

	access_note_aligned(s->c, la, size, s->view == VIEW_USER ? size : 1, write);
	return la;
}

void stack_push(struct stack *s, u64 v, unsigned size)
{
	u64 sp = (s->sp - size) & s->mask;

	mem_store_view(s->c, stack_la(s, sp, size, true), v, size, s->view);
	s->sp = sp;
}

u64 stack_peek(struct stack *s, u64 offset, unsigned size)
{
	return mem_load_view(s->c, stack_la(s, (s->sp + offset) & s->mask, size, false), size, s->view);
}

u64 stack_pop(struct stack *s, unsigned size)
{
	u64 v = stack_peek(s, 0, size);

	s->sp = (s->sp + size) & s->mask;
	return v;
}

void stack_check(struct stack *s, unsigned n)
{
	u64 sp = (s->sp - n) & s->mask;

	if (sp < s->sp) /* else it wraps: the pushes check each for itself */
		mmu_check_write(s->c, stack_range(s, sp, n), n, s->view);
}

void stack_commit(const struct stack *s)
{
	struct cpu *c = s->c;

	c->gpr[RSP] = s->mask == 0xffff ? (c->gpr[RSP] & ~0xffffull) | s->sp : s->sp;
}

static void push(struct cpu *c, u64 v, unsigned size)
{
	struct stack s;

	stack_open(c, &s);
	stack_push(&s, v, size);
	stack_commit(&s);
}

void exec_push(struct cpu *c, const struct insn *i)
{
	unsigned size = i->opsize;

	push(c, i->d->opnd[0].kind == OP_I ? i->imm : opnd_get(c, i, 0, size), size);
}

void exec_pop(struct cpu *c, const struct insn *i)
{
	unsigned size = i->opsize;
	struct stack s;
	u64 v;

	stack_open(c, &s);
	v = stack_pop(&s, size);
	if (opnd_is_mem(i, 0)) {
		u64 ea = insn_ea(c, i) + (i->base == RSP ? size : 0), la;

		ea = i->adsize == 8 ? ea : i->adsize == 4 ? (u32)ea : (u16)ea;
		la = seg_la(c, i->seg, ea, size, true);
		access_note(c, la, size, true);
		mem_store(c, la, v, size);
		stack_commit(&s);
	} else {
		stack_commit(&s);
		gpr_put(c, i, opnd_reg(i, 0), size, v);
	}
}

void exec_push_sreg(struct cpu *c, const struct insn *i)
{
	struct stack s;
	u64 sel = c->seg[i->d->opnd[0].reg].sel;

	stack_open(c, &s);
	if (i->opsize == 4) { /* the common hardware writes the low half only */
		s.sp = (s.sp - 2) & s.mask;
		stack_push(&s, sel, 2);
	} else {
		stack_push(&s, sel, i->opsize);
	}
	stack_commit(&s);
}

void exec_pop_sreg(struct cpu *c, const struct insn *i)
{
	enum seg_id seg = i->d->opnd[0].reg;
	struct stack s;
	u16 sel;

	stack_open(c, &s);
	sel = (u16)stack_peek(&s, 0, 2);
	s.sp = (s.sp + i->opsize) & s.mask;
	seg_load(c, seg, sel);
	stack_commit(&s);
	if (seg == SEG_SS) {
		c->intr_shadow = 2;
		c->no_trap = true;
	}
}

void exec_pusha(struct cpu *c, const struct insn *i)
{
	unsigned size = i->opsize;
	struct stack s;

	stack_open(c, &s);
	stack_check(&s, 8 * size);
	for (unsigned r = RAX; r <= RDI; r++)
		stack_push(&s, c->gpr[r], size);
	stack_commit(&s);
}

void exec_popa(struct cpu *c, const struct insn *i)
{
	unsigned size = i->opsize;
	struct stack s;
	u64 v[8];

	stack_open(c, &s);
	for (int r = RDI; r >= RAX; r--)
		v[r] = stack_pop(&s, size);
	stack_commit(&s);
	for (unsigned r = RAX; r <= RDI; r++)
		if (r != RSP)
			gpr_put(c, i, r, size, v[r]);
}

void flags_load(struct cpu *c, u64 v, u64 mask)
{
	u64 old = c->rflags;

	c->rflags = (old & ~mask) | (v & mask) | FL_1;
	if ((old ^ c->rflags) & (FL_VM | FL_AC))
		cpu_update_mode(c);
	if (c->rflags & ~old & FL_IF)
		host_event_check(c);
}

/* VM86 below IOPL 3: only with VME, only 16 bits, and IF is VIF. */
static bool vme_flags(struct cpu *c, const struct insn *i)
{
	if (c->mode != MODE_VM86 || (c->rflags & FL_IOPL) == FL_IOPL)
		return false;
	if (!(c->cr4 & CR4_VME) || i->opsize != 2)
		cpu_raise_err(c, EXC_GP, 0);
	return true;
}

void exec_pushf(struct cpu *c, const struct insn *i)
{
	u64 v = c->rflags & ~(u64)(FL_VM | FL_RF);

	if (vme_flags(c, i))
		v = (v & ~(u64)FL_IF) | FL_IOPL | (v & FL_VIF ? FL_IF : 0);
	push(c, v, i->opsize);
}

void exec_popf(struct cpu *c, const struct insn *i)
{
	u64 mask = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID, v;
	bool vme = vme_flags(c, i);
	struct stack s;

	stack_open(c, &s);
	v = stack_pop(&s, i->opsize);
	if (vme) {
		if ((v & FL_TF) || ((v & FL_IF) && (c->rflags & FL_VIP)))
			cpu_raise_err(c, EXC_GP, 0);
		mask |= FL_VIF;
		v = (v & ~(u64)FL_VIF) | (v & FL_IF ? FL_VIF : 0);
	} else {
		if (c->cpl == 0)
			mask |= FL_IOPL;
		if (c->cpl <= (c->rflags >> 12 & 3))
			mask |= FL_IF;
	}
	if (i->opsize == 2)
		mask &= 0xffff | (vme ? FL_VIF : 0);
	stack_commit(&s);
	flags_load(c, v, mask);
}

void exec_enter(struct cpu *c, const struct insn *i)
{
	unsigned size = i->opsize, level = i->imm2 & 31;
	u64 frame, bp;
	struct stack s;

	stack_open(c, &s);
	bp = c->gpr[RBP] & s.mask;
	stack_push(&s, c->gpr[RBP], size);
	frame = s.sp;
	for (unsigned n = 1; n < level; n++) {
		struct stack display = s;

		bp = (bp - size) & s.mask;
		display.sp = bp;
		stack_push(&s, stack_peek(&display, 0, size), size);
	}
	if (level)
		stack_push(&s, frame, size);
	s.sp = (s.sp - (u16)i->imm) & s.mask;
	mmu_check_write(c, stack_range(&s, s.sp, 1), 1, s.view);
	gpr_put(c, i, RBP, s.mask == 0xffff ? 2 : size, frame);
	stack_commit(&s);
}

void exec_leave(struct cpu *c, const struct insn *i)
{
	struct stack s;
	u64 v;

	stack_open(c, &s);
	s.sp = c->gpr[RBP] & s.mask;
	v = stack_pop(&s, i->opsize);
	stack_commit(&s);
	gpr_put(c, i, RBP, i->opsize, v);
}
