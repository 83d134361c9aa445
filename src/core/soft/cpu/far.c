/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Far JMP, CALL and RET: segments, call gates, task gates, inner and outer privilege (SDM vol. 2, their pages; vol. 3, 5.8). */
#include "far.h"
#include "x86-ops.h"

enum { SYS_TSS16 = 1, SYS_CALL16 = 4, SYS_TASK = 5, SYS_TSS32 = 9, SYS_CALL32 = 12 };

struct segment ss_null(unsigned cpl)
{
	static const struct segment null[3] = {
		{ .sel = 0, .dpl = 0, .unusable = 1, .type = 3, .s = 1, .db = 1, .g = 1 },
		{ .sel = 1, .dpl = 1, .unusable = 1, .type = 3, .s = 1, .db = 1, .g = 1 },
		{ .sel = 2, .dpl = 2, .unusable = 1, .type = 3, .s = 1, .db = 1, .g = 1 },
	};

	return null[cpl];
}

void far_code(struct cpu *c, u16 sel, unsigned vector, struct far_cs *ret)
{
	if (!(sel & 0xfffc))
		cpu_raise_err(c, vector, 0);
	if (!desc_read(c, sel, &ret->raw))
		raise_sel(c, vector, sel);
	desc_parse(&ret->seg, sel, ret->raw);
	if (!ret->seg.s || !(ret->seg.type & 8))
		raise_sel(c, vector, sel);
	if (cpu_long(c) && ret->seg.l && ret->seg.db)
		raise_sel(c, vector, sel);
}

static void check_present(struct cpu *c, const struct far_cs *cs)
{
	if (!cs->seg.present)
		raise_sel(c, EXC_NP, cs->seg.sel);
}

void far_return_code(struct cpu *c, u16 sel, unsigned vector, struct far_cs *ret)
{
	unsigned rpl = SEL_RPL(sel);

	far_code(c, sel, vector, ret);
	if (rpl < c->cpl || (ret->seg.type & 4 ? ret->seg.dpl > rpl : ret->seg.dpl != rpl))
		raise_sel(c, vector, sel);
	check_present(c, ret);
}

void far_touch(struct cpu *c, struct far_cs *cs)
{
	desc_set_accessed(c, cs->seg.sel, cs->raw);
	cs->seg.type |= 1;
	cs->raw |= 1ull << 40;
}

void far_commit(struct cpu *c, struct far_cs *cs, unsigned cpl)
{
	far_touch(c, cs);
	cs->seg.sel = (u16)((cs->seg.sel & 0xfffc) | cpl);
	c->seg[SEG_CS] = cs->seg;
	c->seg[SEG_SS].dpl = (u8)cpl;
	cpu_update_mode(c);
}

void far_commit_plain(struct cpu *c, const struct segment *cs)
{
	c->seg[SEG_CS] = *cs;
	c->seg[SEG_SS].dpl = cs->dpl;
	cpu_update_mode(c);
}

void far_return_ss(struct cpu *c, u16 sel, unsigned cpl, bool long64, struct segment *ret)
{
	u64 raw;

	if (!(sel & 0xfffc) && long64 && cpl < 3 && SEL_RPL(sel) == cpl) {
		*ret = ss_null(cpl);
		ret->sel = sel;
		return;
	}
	seg_check_ss(c, sel, cpl, EXC_GP, ret, &raw);
	desc_set_accessed(c, sel, raw);
}

/* ---- real and virtual-8086 mode ---- */

static void far_real(struct cpu *c, const struct insn *i, u16 sel, u64 off, bool call)
{
	struct stack s;

	off = i->opsize == 2 ? (u16)off : (u32)off;
	if (off > c->seg[SEG_CS].limit)
		cpu_raise_err(c, EXC_GP, 0);
	if (call) {
		stack_open(c, &s);
		stack_check(&s, 2u * i->opsize);
		stack_push(&s, c->seg[SEG_CS].sel, i->opsize);
		stack_push(&s, c->next_rip, i->opsize);
		stack_commit(&s);
	}
	if (c->mode == MODE_REAL)
		seg_set_real(c, SEG_CS, sel);
	else
		seg_set_vm86(c, SEG_CS, sel);
	cpu_update_mode(c);
	c->next_rip = off;
}

/* ---- to a segment ---- */

static void far_segment(struct cpu *c, const struct insn *i, struct far_cs *cs, u16 sel, u64 off, bool call)
{
	struct stack s;

	if (cs->seg.type & 4 ? cs->seg.dpl > c->cpl : SEL_RPL(sel) > c->cpl || cs->seg.dpl != c->cpl)
		raise_sel(c, EXC_GP, sel);
	check_present(c, cs);
	off = i->opsize == 8 ? off : i->opsize == 4 ? (u32)off : (u16)off;
	check_target(c, &cs->seg, off);
	if (call) {
		stack_open(c, &s);
		stack_check(&s, 2u * i->opsize);
		stack_push(&s, c->seg[SEG_CS].sel, i->opsize);
		stack_push(&s, c->next_rip, i->opsize);
		far_commit(c, cs, c->cpl);
		stack_commit(&s);
	} else {
		far_commit(c, cs, c->cpl);
	}
	c->next_rip = off;
}

/* ---- through a call gate ---- */

struct gate {
	u16 sel;
	u64 off;
	unsigned size, params;
};

static void gate_parse(const u64 raw[2], struct gate *g)
{
	unsigned type = raw[0] >> 40 & 15;

	g->sel = (u16)(raw[0] >> 16);
	g->size = type == SYS_CALL16 ? 2 : 4;
	g->params = raw[0] >> 32 & 31;
	g->off = raw[0] & 0xffff;
	if (type != SYS_CALL16)
		g->off |= raw[0] >> 32 & 0xffff0000;
}

/* Call to an inner level: its stack, with the old one and the parameters copied. */
static void gate_inner(struct cpu *c, const struct gate *g, struct far_cs *cs)
{
	unsigned cpl = cs->seg.dpl, size = g->size;
	struct segment ss = ss_null(cpl);
	struct stack old, s;
	u16 new_ss;
	u64 sp, raw = 0;

	tss_stack(c, cpl, &new_ss, &sp);
	if (!cpu_long(c))
		seg_check_ss(c, new_ss, cpl, EXC_TS, &ss, &raw);
	stack_open(c, &old);
	s = (struct stack){ .c = c, .ss = size == 8 ? NULL : &ss, .view = view_for_cpl(c, cpl), .err = new_ss & 0xfffcu };
	s.mask = sp_mask(c, &ss, size == 8);
	s.sp = sp & s.mask;
	stack_check(&s, (4 + (size == 8 ? 0 : g->params)) * size);
	stack_push(&s, c->seg[SEG_SS].sel, size);
	stack_push(&s, c->gpr[RSP], size);
	for (unsigned n = g->params; size != 8 && n--;)
		stack_push(&s, stack_peek(&old, (u64)n * size, size), size);
	stack_push(&s, c->seg[SEG_CS].sel, size);
	stack_push(&s, c->next_rip, size);
	check_target(c, &cs->seg, g->off);
	if (!cpu_long(c))
		desc_set_accessed(c, new_ss, raw);
	far_touch(c, cs);
	c->seg[SEG_SS] = ss;
	far_commit(c, cs, cpl);
	stack_commit(&s);
	c->next_rip = g->off;
}

static void gate_same(struct cpu *c, const struct gate *g, struct far_cs *cs, bool call)
{
	struct stack s;

	check_target(c, &cs->seg, g->off);
	if (call) {
		stack_open(c, &s);
		stack_check(&s, 2 * g->size);
		stack_push(&s, c->seg[SEG_CS].sel, g->size);
		stack_push(&s, c->next_rip, g->size);
		far_commit(c, cs, c->cpl);
		stack_commit(&s);
	} else {
		far_commit(c, cs, c->cpl);
	}
	c->next_rip = g->off;
}

static void far_gate(struct cpu *c, u16 sel, const u64 raw[2], bool call)
{
	struct gate g;
	struct far_cs cs;

	gate_parse(raw, &g);
	if (cpu_long(c)) {
		g.size = 8;
		g.off |= raw[1] << 32;
	}
	far_code(c, g.sel, EXC_GP, &cs);
	if (cs.seg.dpl > c->cpl || (cpu_long(c) && !cs.seg.l))
		raise_sel(c, EXC_GP, g.sel);
	if (!call && !(cs.seg.type & 4) && cs.seg.dpl != c->cpl)
		raise_sel(c, EXC_GP, g.sel);
	check_present(c, &cs);
	if (call && !(cs.seg.type & 4) && cs.seg.dpl < c->cpl)
		gate_inner(c, &g, &cs);
	else
		gate_same(c, &g, &cs, call);
}

/* A system descriptor as the target: gates and tasks. */
static void far_system(struct cpu *c, u16 sel, u64 raw, bool call)
{
	unsigned type = raw >> 40 & 15, dpl = raw >> 45 & 3;
	u64 full[2] = { raw, 0 };

	if (cpu_long(c) ? type != SYS_CALL32 : type != SYS_CALL16 && type != SYS_CALL32 && type != SYS_TASK &&
					       type != SYS_TSS16 && type != SYS_TSS32)
		raise_sel(c, EXC_GP, sel);
	if (dpl < c->cpl || dpl < SEL_RPL(sel))
		raise_sel(c, EXC_GP, sel);
	if (cpu_long(c) && (!desc_read_long(c, sel, full) || (full[1] >> 40 & 0x1f)))
		raise_sel(c, EXC_GP, sel);
	if (!(raw >> 47 & 1))
		raise_sel(c, EXC_NP, sel);
	switch (type) {
	case SYS_CALL16:
	case SYS_CALL32:
		far_gate(c, sel, full, call);
		return;
	case SYS_TASK:
		sel = (u16)(raw >> 16);
		break;
	}
	task_switch(c, sel, call ? TASK_CALL : TASK_JMP, c->next_rip, false, 0);
	c->next_rip = c->rip;
}

static void far_transfer(struct cpu *c, const struct insn *i, u16 sel, u64 off, bool call)
{
	struct far_cs cs;

	if (!mode_paged_segments(c)) {
		far_real(c, i, sel, off, call);
		return;
	}
	if (!(sel & 0xfffc))
		cpu_raise_err(c, EXC_GP, 0);
	if (!desc_read(c, sel, &cs.raw))
		raise_sel(c, EXC_GP, sel);
	if (!(cs.raw >> 44 & 1)) {
		far_system(c, sel, cs.raw, call);
		return;
	}
	far_code(c, sel, EXC_GP, &cs);
	far_segment(c, i, &cs, sel, off, call);
}

static void far_operand(struct cpu *c, const struct insn *i, u16 *ret_sel, u64 *ret_off)
{
	u64 la;

	if (i->d->opnd[0].kind == OP_A) {
		*ret_off = i->imm;
		*ret_sel = (u16)i->imm2;
		return;
	}
	la = insn_la_aligned(c, i, i->opsize + 2u, i->opsize, false);
	*ret_off = mem_load(c, la, i->opsize);
	la += i->opsize;
	*ret_sel = (u16)mem_load(c, c->mode == MODE_LONG64 ? la : (u32)la, 2);
}

void exec_jmp_far(struct cpu *c, const struct insn *i)
{
	u16 sel;
	u64 off;

	far_operand(c, i, &sel, &off);
	far_transfer(c, i, sel, off, false);
}

void exec_call_far(struct cpu *c, const struct insn *i)
{
	u16 sel;
	u64 off;

	far_operand(c, i, &sel, &off);
	far_transfer(c, i, sel, off, true);
}

/* ---- return ---- */

static void ret_far_outer(struct cpu *c, struct stack *s, struct far_cs *cs, u64 rip, unsigned size, u16 extra)
{
	unsigned cpl = SEL_RPL(cs->seg.sel);
	bool long64 = cpu_long(c) && cs->seg.l;
	struct segment ss;
	u64 sp, mask;

	s->sp = (s->sp + extra) & s->mask;
	sp = stack_pop(s, size);
	far_return_ss(c, (u16)stack_pop(s, size), cpl, long64, &ss);
	check_target(c, &cs->seg, rip);
	mask = sp_mask(c, &ss, long64);
	far_touch(c, cs);
	c->seg[SEG_SS] = ss;
	far_commit(c, cs, cpl);
	c->gpr[RSP] = ((sp + extra) & mask) | (mask == 0xffff ? c->gpr[RSP] & ~mask : 0);
	seg_drop_privileged(c);
}

void exec_ret_far(struct cpu *c, const struct insn *i)
{
	u16 extra = i->d->nopnd ? (u16)i->imm : 0, sel;
	unsigned size = i->opsize;
	struct far_cs cs;
	struct stack s;
	u64 rip;

	stack_open(c, &s);
	rip = stack_pop(&s, size);
	sel = (u16)stack_pop(&s, size);
	if (!mode_paged_segments(c)) {
		if (rip > c->seg[SEG_CS].limit)
			cpu_raise_err(c, EXC_GP, 0);
		s.sp = (s.sp + extra) & s.mask;
		stack_commit(&s);
		if (c->mode == MODE_REAL)
			seg_set_real(c, SEG_CS, sel);
		else
			seg_set_vm86(c, SEG_CS, sel);
		cpu_update_mode(c);
	} else {
		far_return_code(c, sel, EXC_GP, &cs);
		if (SEL_RPL(sel) > c->cpl) {
			ret_far_outer(c, &s, &cs, rip, size, extra);
		} else {
			check_target(c, &cs.seg, rip);
			s.sp = (s.sp + extra) & s.mask;
			far_commit(c, &cs, c->cpl);
			stack_commit(&s);
		}
	}
	c->next_rip = rip;
}
