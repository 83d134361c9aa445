/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* IRET in every mode: real, VM86 (with VME), protected to the same or an outer level, to VM86, to a task, and 64-bit. */
#include "far.h"

#define ALWAYS (FL_ARITH | FL_TF | FL_DF | FL_NT)
#define WIDE (FL_RF | FL_AC | FL_ID) /* with 32- and 64-bit operands */

/* Flags of a return executed at privilege cpl. */
static void iret_flags(struct cpu *c, u64 v, unsigned cpl, unsigned size)
{
	u64 mask = ALWAYS;

	if (size != 2)
		mask |= WIDE;
	if (cpl <= (c->rflags >> 12 & 3))
		mask |= FL_IF;
	if (!cpl)
		mask |= FL_IOPL | (size != 2 ? FL_VIF | FL_VIP : 0);
	flags_load(c, v, mask);
}

static void iret_real(struct cpu *c, unsigned size)
{
	u64 mask = ALWAYS | FL_IF | FL_IOPL | (size == 4 ? WIDE : 0), rip, flags;
	struct stack s;
	u16 sel;

	stack_open(c, &s);
	rip = stack_pop(&s, size);
	sel = (u16)stack_pop(&s, size);
	flags = stack_pop(&s, size);
	if (rip > c->seg[SEG_CS].limit)
		cpu_raise_err(c, EXC_GP, 0);
	stack_commit(&s);
	seg_set_real(c, SEG_CS, sel);
	cpu_update_mode(c);
	flags_load(c, flags, mask);
	c->next_rip = rip;
}

static void iret_from_vm86(struct cpu *c, unsigned size)
{
	bool vme = (c->rflags & FL_IOPL) != FL_IOPL;
	u64 mask = ALWAYS | (size == 4 ? WIDE : 0), rip, flags;
	struct stack s;
	u16 sel;

	if (vme && (!(c->cr4 & CR4_VME) || size != 2))
		cpu_raise_err(c, EXC_GP, 0);
	stack_open(c, &s);
	rip = stack_pop(&s, size);
	sel = (u16)stack_pop(&s, size);
	flags = stack_pop(&s, size);
	if (rip > c->seg[SEG_CS].limit)
		cpu_raise_err(c, EXC_GP, 0);
	if (vme) {
		if ((flags & FL_TF) || ((flags & FL_IF) && (c->rflags & FL_VIP)))
			cpu_raise_err(c, EXC_GP, 0);
		flags = (flags & ~(u64)FL_VIF) | (flags & FL_IF ? FL_VIF : 0);
		mask |= FL_VIF;
	} else {
		mask |= FL_IF;
	}
	stack_commit(&s);
	seg_set_vm86(c, SEG_CS, sel);
	flags_load(c, flags, mask);
	c->next_rip = rip;
}

static void iret_to_vm86(struct cpu *c, struct stack *s, u64 rip, u16 cs, u64 flags)
{
	static const u8 order[4] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	u64 sp = stack_pop(s, 4);
	u16 ss = (u16)stack_pop(s, 4), sel[4];

	for (unsigned n = 0; n < 4; n++)
		sel[n] = (u16)stack_pop(s, 4);
	flags_load(c, flags, ALWAYS | WIDE | FL_IF | FL_IOPL | FL_VIF | FL_VIP | FL_VM);
	for (unsigned n = 0; n < 4; n++)
		seg_set_vm86(c, order[n], sel[n]);
	seg_set_vm86(c, SEG_CS, cs);
	seg_set_vm86(c, SEG_SS, ss);
	cpu_update_mode(c);
	c->gpr[RSP] = (u32)sp;
	c->next_rip = (u16)rip;
}

/* Return to another stack: an outer level, or anything from 64-bit mode. */
static void iret_stack(struct cpu *c, struct stack *s, struct far_cs *cs, u64 rip, u64 flags, unsigned size)
{
	unsigned cpl = SEL_RPL(cs->seg.sel), old = c->cpl;
	bool long64 = cpu_long(c) && cs->seg.l;
	struct segment ss;
	u64 sp, mask;

	sp = stack_pop(s, size);
	far_return_ss(c, (u16)stack_pop(s, size), cpl, long64, &ss);
	check_target(c, &cs->seg, rip);
	mask = sp_mask(c, &ss, long64);
	far_touch(c, cs);
	c->seg[SEG_SS] = ss;
	far_commit(c, cs, cpl);
	/* with a 16-bit stack the common hardware loads the low half only */
	c->gpr[RSP] = mask == 0xffff ? (c->gpr[RSP] & ~mask) | (sp & mask) : sp & mask;
	if (cpl > old)
		seg_drop_privileged(c);
	iret_flags(c, flags, old, size);
	c->next_rip = rip;
}

/* What nearly every IRETQ of a kernel is: to 64-bit code with plain segments. False: nothing happened, do it the long way. */
static bool iret_plain(struct cpu *c)
{
	const struct segment *cs, *ss;
	unsigned old = c->cpl;
	const u8 *frame;
	u64 rip, flags;
	u16 sel;

	if (old || (c->rflags & FL_NT) || c->watch || !is_canonical(c->gpr[RSP]))
		return false;
	frame = mem_ptr_view(c, c->gpr[RSP], 40, MMU_READ, c->view);
	if (!frame)
		return false;
	rip = host_load(frame, 8);
	flags = host_load(frame + 16, 8);
	sel = (u16)host_load(frame + 32, 8);
	cs = seg_plain(c, (u16)host_load(frame + 8, 8), true);
	if (!cs || !is_canonical(rip) || SEL_RPL(sel) != cs->dpl)
		return false;
	ss = seg_plain(c, sel, false);
	if (!ss && ((sel & 0xfffc) || cs->dpl == 3))
		return false;
	c->gpr[RSP] = host_load(frame + 24, 8);
	c->seg[SEG_SS] = ss ? *ss : ss_null(cs->dpl);
	far_commit_plain(c, cs);
	if (c->cpl > old)
		seg_drop_privileged(c);
	iret_flags(c, flags, old, 8);
	c->next_rip = rip;
	return true;
}

static void iret_protected(struct cpu *c, unsigned size)
{
	struct far_cs cs;
	struct stack s;
	u64 rip, flags;
	u16 sel;

	if (c->rflags & FL_NT) {
		if (cpu_long(c))
			cpu_raise_err(c, EXC_GP, 0);
		task_switch(c, task_link(c), TASK_IRET, c->next_rip, false, 0);
		c->next_rip = c->rip;
		return;
	}
	stack_open(c, &s);
	rip = stack_pop(&s, size);
	sel = (u16)stack_pop(&s, size);
	flags = stack_pop(&s, size);
	if (size == 4 && (flags & FL_VM) && !c->cpl && !cpu_long(c)) {
		iret_to_vm86(c, &s, rip, sel, flags);
		return;
	}
	far_return_code(c, sel, EXC_GP, &cs);
	if (SEL_RPL(sel) > c->cpl || c->mode == MODE_LONG64) {
		iret_stack(c, &s, &cs, rip, flags, size);
		return;
	}
	check_target(c, &cs.seg, rip);
	far_commit(c, &cs, c->cpl);
	stack_commit(&s);
	iret_flags(c, flags, c->cpl, size);
	c->next_rip = rip;
}

void exec_iret(struct cpu *c, const struct insn *i)
{
	switch (c->mode) {
	case MODE_REAL:
		iret_real(c, i->opsize);
		break;
	case MODE_VM86:
		iret_from_vm86(c, i->opsize);
		break;
	case MODE_LONG64:
		if (i->opsize == 8 && iret_plain(c))
			break;
		/* fall through */
	default:
		iret_protected(c, i->opsize);
	}
	c->keep_rf = true;
	if (c->nmi_blocked)
		host_nmi_done(c);
}
