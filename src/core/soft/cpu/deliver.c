/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Exceptions and interrupts: through the vector table of real mode, IDT gates of protected and long mode, task gates
 * (SDM vol. 3, chapter 6). event_enter() raises faults like an instruction; cpu_deliver() is what run.c and the interpreter
 * call: it turns a fault met on the way into the next event, a double fault or a shutdown.
 */
#include "far.h"
#include "x86-ops.h"

enum { GATE_TASK = 5, GATE_INT16 = 6, GATE_TRAP16 = 7, GATE_INT32 = 14, GATE_TRAP32 = 15 };

struct event {
	unsigned vector;
	enum deliver_kind kind;
	bool has_error;
	u32 error;
	u64 rip;   /* pushed */
	u64 flags; /* pushed */
};

struct idt_gate {
	u16 sel;
	u64 off;
	unsigned type, ist, size;
	u32 err; /* selector error code of this entry */
};

static void clear_flags(struct cpu *c, const struct idt_gate *g)
{
	c->rflags &= ~(u64)(FL_TF | FL_NT | FL_RF | FL_VM);
	if (!(g->type & 1))
		c->rflags &= ~(u64)FL_IF;
}

/* ---- real mode ---- */

static void enter_real(struct cpu *c, const struct event *e)
{
	struct stack s;
	u32 target;

	if (4 * e->vector + 3 > c->idtr.limit)
		cpu_raise_err(c, EXC_GP, e->vector * 8 + 2);
	target = (u32)mem_load_view(c, (u32)(c->idtr.base + 4 * e->vector), 4, VIEW_KERNEL);
	stack_open(c, &s);
	stack_push(&s, e->flags, 2);
	stack_push(&s, c->seg[SEG_CS].sel, 2);
	stack_push(&s, e->rip, 2);
	stack_commit(&s);
	c->rflags &= ~(u64)(FL_IF | FL_TF | FL_AC | FL_RF);
	seg_set_real(c, SEG_CS, (u16)(target >> 16));
	c->rip = (u16)target;
	cpu_update_mode(c);
}

/* INT n in VM86 mode that CR4.VME and the redirection bitmap send to the program's own handler. */
static bool vme_redirected(struct cpu *c, unsigned vector)
{
	const struct segment *tr = &c->seg[SEG_TR];
	u64 map, byte;

	if (!(c->cr4 & CR4_VME) || (tr->type & 13) != 9 || tr->limit < 103)
		return false;
	map = mem_load_view(c, (u32)(tr->base + 102), 2, VIEW_KERNEL);
	byte = map - 32 + vector / 8;
	if (map < 32 || byte > tr->limit)
		return false;
	return !(mem_load_view(c, (u32)(tr->base + byte), 1, VIEW_KERNEL) >> (vector & 7) & 1);
}

void interrupt_vme(struct cpu *c, unsigned vector, u64 return_rip)
{
	bool full = (c->rflags & FL_IOPL) == FL_IOPL;
	u64 flags = c->rflags;
	struct stack s;
	u32 target = (u32)mem_load(c, 4 * vector, 4);

	if (!full)
		flags = (flags & ~(u64)FL_IF) | FL_IOPL | (flags & FL_VIF ? FL_IF : 0);
	stack_open(c, &s);
	stack_check(&s, 6);
	stack_push(&s, flags, 2);
	stack_push(&s, c->seg[SEG_CS].sel, 2);
	stack_push(&s, return_rip, 2);
	stack_commit(&s);
	c->rflags &= ~(u64)(FL_TF | FL_NT | FL_RF | (full ? FL_IF : FL_VIF));
	seg_set_vm86(c, SEG_CS, (u16)(target >> 16));
	c->rip = (u16)target;
}

/* ---- gates ---- */

static void gate_read(struct cpu *c, const struct event *e, struct idt_gate *g)
{
	unsigned width = cpu_long(c) ? 16 : 8, off = e->vector * width, dpl;
	u64 la = c->idtr.base + off, raw, high = 0;

	g->err = e->vector * 8 + 2;
	if (off + width - 1 > c->idtr.limit)
		cpu_raise_err(c, EXC_GP, g->err);
	raw = mem_load_view(c, cpu_long(c) ? la : (u32)la, 8, VIEW_KERNEL);
	if (cpu_long(c))
		high = mem_load_view(c, la + 8, 8, VIEW_KERNEL);
	g->type = raw >> 40 & 31;
	g->sel = (u16)(raw >> 16);
	g->off = (raw & 0xffff) | (raw >> 32 & 0xffff0000) | high << 32;
	g->ist = cpu_long(c) ? raw >> 32 & 7 : 0;
	g->size = cpu_long(c) ? 8 : g->type & 8 ? 4 : 2;
	if (g->size == 2)
		g->off &= 0xffff;
	dpl = raw >> 45 & 3;
	if (cpu_long(c) ? g->type != GATE_INT32 && g->type != GATE_TRAP32 :
			  g->type != GATE_TASK && g->type != GATE_INT16 && g->type != GATE_TRAP16 && g->type != GATE_INT32 &&
				  g->type != GATE_TRAP32)
		cpu_raise_err(c, EXC_GP, g->err);
	if (e->kind == DELIVER_SOFT && dpl < c->cpl)
		cpu_raise_err(c, EXC_GP, g->err);
	if (!(raw >> 47 & 1))
		cpu_raise_err(c, EXC_NP, g->err);
}

static void gate_code(struct cpu *c, const struct idt_gate *g, struct far_cs *cs)
{
	far_code(c, g->sel, EXC_GP, cs);
	if (cs->seg.dpl > c->cpl || (cpu_long(c) && (!cs->seg.l || cs->seg.db)))
		raise_sel(c, EXC_GP, g->sel);
	if (!cs->seg.present)
		raise_sel(c, EXC_NP, g->sel);
}

static void write_frame(struct cpu *c, u64 rsp, const u64 *frame, unsigned n, unsigned cpl)
{
	enum tlb_view view = view_for_cpl(c, cpl);
	u8 *p = mem_ptr_view(c, rsp, 8 * n, MMU_WRITE, view);

	if (unlikely(!p)) {
		mmu_write(c, rsp, frame, 8 * n, view);
		return;
	}
	for (unsigned k = 0; k < n; k++)
		host_store(p + 8 * k, frame[k], 8);
	mmu_wrote(c);
}

static void enter_long(struct cpu *c, const struct event *e, const struct idt_gate *g)
{
	const struct segment *plain = seg_plain(c, g->sel & 0xfffc, true);
	u64 frame[6], rsp = c->gpr[RSP];
	unsigned n = e->has_error ? 6 : 5, cpl = 0;
	struct far_cs cs;

	if (!plain) {
		gate_code(c, g, &cs);
		cpl = cs.seg.type & 4 ? c->cpl : cs.seg.dpl;
	}
	if (g->ist)
		rsp = tss64_rsp(c, 0x1c + 8 * g->ist);
	else if (cpl < c->cpl)
		rsp = tss64_rsp(c, 4 + 8 * cpl);
	if (!is_canonical(rsp) || !is_canonical((rsp & ~15ull) - 8 * n))
		cpu_raise_err(c, EXC_SS, 0);
	rsp = (rsp & ~15ull) - 8 * n;
	frame[0] = e->error;
	frame[1] = e->rip;
	frame[2] = c->seg[SEG_CS].sel;
	frame[3] = e->flags;
	frame[4] = c->gpr[RSP];
	frame[5] = c->seg[SEG_SS].sel;
	if (!is_canonical(g->off))
		cpu_raise_err(c, EXC_GP, 0);
	if (!plain)
		far_touch(c, &cs);
	write_frame(c, rsp, &frame[6 - n], n, cpl);
	if (cpl != c->cpl)
		c->seg[SEG_SS] = ss_null(cpl);
	c->gpr[RSP] = rsp;
	clear_flags(c, g);
	if (plain)
		far_commit_plain(c, plain);
	else
		far_commit(c, &cs, cpl);
	c->rip = g->off;
}

static void push_frame(struct stack *s, const struct event *e, const struct idt_gate *g)
{
	stack_push(s, e->flags, g->size);
	stack_push(s, s->c->seg[SEG_CS].sel, g->size);
	stack_push(s, e->rip, g->size);
	if (e->has_error)
		stack_push(s, e->error, g->size);
}

static void enter_inner(struct cpu *c, const struct event *e, const struct idt_gate *g, struct far_cs *cs)
{
	static const u8 data[4] = { SEG_GS, SEG_FS, SEG_DS, SEG_ES };
	bool vm = c->rflags & FL_VM;
	unsigned cpl = cs->seg.dpl;
	struct segment ss;
	struct stack s;
	u64 sp, raw;
	u16 sel;

	if (vm && cpl)
		raise_sel(c, EXC_GP, g->sel);
	tss_stack(c, cpl, &sel, &sp);
	seg_check_ss(c, sel, cpl, EXC_TS, &ss, &raw);
	check_target(c, &cs->seg, g->off);
	desc_set_accessed(c, sel, raw);
	far_touch(c, cs);
	s = (struct stack){ .c = c, .ss = &ss, .view = view_for_cpl(c, cpl), .err = sel & 0xfffcu };
	s.mask = sp_mask(c, &ss, false);
	s.sp = sp & s.mask;
	stack_check(&s, g->size * (5 + e->has_error + (vm ? 4 : 0)));
	for (unsigned n = 0; vm && n < 4; n++)
		stack_push(&s, c->seg[data[n]].sel, g->size);
	stack_push(&s, c->seg[SEG_SS].sel, g->size);
	stack_push(&s, c->gpr[RSP], g->size);
	push_frame(&s, e, g);
	clear_flags(c, g);
	for (unsigned n = 0; vm && n < 4; n++)
		seg_set_null(c, data[n], 0);
	c->seg[SEG_SS] = ss;
	far_commit(c, cs, cpl);
	stack_commit(&s);
}

static void enter_protected(struct cpu *c, const struct event *e, const struct idt_gate *g)
{
	struct far_cs cs;
	struct stack s;

	gate_code(c, g, &cs);
	if (!(cs.seg.type & 4) && cs.seg.dpl < c->cpl) {
		enter_inner(c, e, g, &cs);
	} else {
		if (c->rflags & FL_VM)
			raise_sel(c, EXC_GP, g->sel);
		check_target(c, &cs.seg, g->off);
		far_touch(c, &cs);
		stack_open(c, &s);
		stack_check(&s, g->size * (3 + e->has_error));
		push_frame(&s, e, g);
		clear_flags(c, g);
		far_commit(c, &cs, c->cpl);
		stack_commit(&s);
	}
	c->rip = g->off;
}

static void enter(struct cpu *c, const struct event *e)
{
	struct idt_gate g;

	if (!(c->cr0 & CR0_PE)) {
		enter_real(c, e);
		return;
	}
	gate_read(c, e, &g);
	if (g.type == GATE_TASK) {
		c->rflags = e->flags; /* saved in the TSS */
		task_switch(c, g.sel, TASK_CALL, e->rip, e->has_error, e->error);
	} else if (cpu_long(c)) {
		enter_long(c, e, &g);
	} else {
		enter_protected(c, e, &g);
	}
}

static bool is_fault(unsigned vector)
{
	return vector != EXC_DB && vector != EXC_NMI && vector != EXC_BP && vector != EXC_OF && vector != EXC_DF &&
	       vector != EXC_MC;
}

void event_enter(struct cpu *c, unsigned vector, enum deliver_kind kind, bool has_error, u32 error, u64 return_rip)
{
	struct event e = { .vector = vector, .kind = kind, .has_error = has_error, .error = error, .rip = return_rip,
			   .flags = c->rflags };

	if (kind == DELIVER_EXCEPTION && is_fault(vector))
		e.flags |= FL_RF;
	enter(c, &e);
}

/* ---- faults on the way ---- */

enum severity { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum severity severity(unsigned vector, enum deliver_kind kind)
{
	if (kind != DELIVER_EXCEPTION)
		return BENIGN;
	switch (vector) {
	case EXC_DE:
	case EXC_TS:
	case EXC_NP:
	case EXC_SS:
	case EXC_GP:
		return CONTRIBUTORY;
	case EXC_PF:
		return PAGE_FAULT;
	case EXC_DF:
		return DOUBLE_FAULT;
	default:
		return BENIGN;
	}
}

/* What a second fault makes of the first (SDM vol. 3, table 6-5). False: shutdown. */
static bool escalate(struct cpu *c, unsigned *vector, enum deliver_kind *kind, bool *has_error, u32 *error)
{
	enum severity first = severity(*vector, *kind), second = severity(c->exc.vector, DELIVER_EXCEPTION);

	*kind = DELIVER_EXCEPTION;
	if (c->exc.vector == EXC_PF)
		c->cr2 = c->exc.cr2; /* also when it makes a double fault */
	if (first == DOUBLE_FAULT && second != BENIGN)
		return false;
	if ((first == CONTRIBUTORY && second == CONTRIBUTORY) || (first == PAGE_FAULT && second != BENIGN)) {
		*vector = EXC_DF;
		*has_error = true;
		*error = 0;
		return true;
	}
	*vector = c->exc.vector;
	*has_error = c->exc.has_error;
	*error = c->exc.error;
	return true;
}

/*
 * An #AC whose handler has the program's own stack, which is not aligned, raises the next one, for ever. A processor hangs then;
 * here the instruction is tried again, so that KVM_RUN can look up between.
 */
enum { ROUNDS_MAX = 8 };

bool cpu_deliver(struct cpu *c, unsigned vector, enum deliver_kind kind, bool has_error, u32 error)
{
	jmp_buf jump, *outer = c->fault_jmp;
	volatile bool ok = true;
	volatile unsigned rounds = 0;
	/* volatile: changed between setjmp() and longjmp() */
	volatile struct {
		unsigned vector;
		enum deliver_kind kind;
		bool has_error;
		u32 error;
	} e = { vector, kind, has_error, error };
	int why;

	c->fault_jmp = &jump;
	why = setjmp(jump);
	if (why) {
		unsigned v = e.vector;
		enum deliver_kind k = e.kind;
		bool h = e.has_error;
		u32 x = e.error;

		ok = why == FAULT_JMP_EXC && escalate(c, &v, &k, &h, &x);
		e.vector = v;
		e.kind = k;
		e.has_error = h;
		e.error = x;
		rounds++;
	}
	if (ok && rounds < ROUNDS_MAX) {
		c->exc.in_delivery = e.kind != DELIVER_SOFT;
		event_enter(c, e.vector, e.kind, e.has_error, e.error, c->rip);
		c->intr_shadow = 0;
	}
	c->exc.in_delivery = false;
	c->exc.pending = false;
	c->fault_jmp = outer;
	return ok;
}

/* ---- INT n and relatives ---- */

void exec_int(struct cpu *c, const struct insn *i)
{
	bool below = c->mode == MODE_VM86 && (c->rflags & FL_IOPL) != FL_IOPL;
	enum deliver_kind kind = DELIVER_SOFT;
	unsigned vector;

	switch (i->d->op) {
	case INSN_INT3:
		vector = EXC_BP;
		break;
	case INSN_INTO:
		if (!(c->rflags & FL_OF))
			return;
		vector = EXC_OF;
		break;
	case INSN_INT1:
		vector = EXC_DB;
		kind = DELIVER_EXCEPTION; /* no privilege check */
		break;
	default:
		vector = (u8)i->imm;
		if (c->mode == MODE_VM86 && vme_redirected(c, vector)) {
			interrupt_vme(c, vector, c->next_rip);
			c->next_rip = c->rip;
			c->no_trap = true;
			return;
		}
		if (below)
			cpu_raise_err(c, EXC_GP, 0);
	}
	event_enter(c, vector, kind, false, 0, c->next_rip);
	c->next_rip = c->rip;
	c->no_trap = true;
}
