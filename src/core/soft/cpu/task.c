/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hardware task switches (SDM vol. 3, chapter 7): 16- and 32-bit TSS, by JMP, CALL, IRET, task gates. Faults before the new
 * task is loaded belong to the old one; a segment that cannot be loaded is a fault of the new task, met after the switch.
 */
#include "exec.h"

#define TSS_BUSY 2u

static const struct tss_layout {
	u8 size, eip, flags, gpr, seg, segs, ldt, step, min; /* offsets, bytes of a register, smallest limit */
} layouts[2] = {
	{ .size = 2, .eip = 14, .flags = 16, .gpr = 18, .seg = 34, .segs = 4, .ldt = 42, .step = 2, .min = 43 },
	{ .size = 4, .eip = 32, .flags = 36, .gpr = 40, .seg = 72, .segs = 6, .ldt = 96, .step = 4, .min = 103 },
};

static u64 load(struct cpu *c, const struct segment *tss, unsigned off, unsigned size)
{
	return mem_load_view(c, (u32)(tss->base + off), size, VIEW_KERNEL);
}

static void store(struct cpu *c, const struct segment *tss, unsigned off, u64 v, unsigned size)
{
	mem_store_view(c, (u32)(tss->base + off), v, size, VIEW_KERNEL);
}

u16 task_link(struct cpu *c)
{
	return (u16)load(c, &c->seg[SEG_TR], 0, 2);
}

static void save(struct cpu *c, u64 rip, u64 flags)
{
	const struct segment *tss = &c->seg[SEG_TR];
	const struct tss_layout *l = &layouts[tss->type >> 3 & 1];

	store(c, tss, l->eip, rip, l->size);
	store(c, tss, l->flags, flags, l->size);
	for (unsigned r = 0; r < 8; r++)
		store(c, tss, l->gpr + r * l->step, c->gpr[r], l->size);
	for (unsigned s = 0; s < l->segs; s++)
		store(c, tss, l->seg + s * l->step, c->seg[s].sel, 2);
}

struct task_state {
	u64 eip, flags, gpr[8], cr3;
	u16 seg[6], ldt;
	bool trap;
};

static void read_state(struct cpu *c, const struct segment *tss, struct task_state *t)
{
	const struct tss_layout *l = &layouts[tss->type >> 3 & 1];

	*t = (struct task_state){ .cr3 = c->cr3 };
	t->eip = load(c, tss, l->eip, l->size);
	t->flags = load(c, tss, l->flags, l->size);
	for (unsigned r = 0; r < 8; r++)
		t->gpr[r] = load(c, tss, l->gpr + r * l->step, l->size);
	for (unsigned s = 0; s < l->segs; s++)
		t->seg[s] = (u16)load(c, tss, l->seg + s * l->step, 2);
	t->ldt = (u16)load(c, tss, l->ldt, 2);
	if (l->size == 4) {
		t->cr3 = load(c, tss, 28, 4);
		t->trap = load(c, tss, 100, 2) & 1;
	}
}

/* CS of the new task; its RPL is the new privilege. */
static void load_cs(struct cpu *c, u16 sel)
{
	unsigned rpl = SEL_RPL(sel);
	struct segment s;
	u64 raw;

	if (!(sel & 0xfffc) || !desc_read(c, sel, &raw))
		raise_sel(c, EXC_TS, sel);
	desc_parse(&s, sel, raw);
	if (!s.s || !(s.type & 8) || (s.type & 4 ? s.dpl > rpl : s.dpl != rpl))
		raise_sel(c, EXC_TS, sel);
	if (!s.present)
		raise_sel(c, EXC_NP, sel);
	desc_set_accessed(c, sel, raw);
	s.type |= 1;
	c->seg[SEG_CS] = s;
}

static void load_data(struct cpu *c, enum seg_id seg, u16 sel, unsigned cpl)
{
	struct segment s;
	u64 raw;

	if (!(sel & 0xfffc)) {
		seg_set_null(c, seg, sel);
		return;
	}
	if (!desc_read(c, sel, &raw))
		raise_sel(c, EXC_TS, sel);
	desc_parse(&s, sel, raw);
	if (!s.s || (s.type & 10) == 8 || ((s.type & 12) != 12 && (SEL_RPL(sel) > s.dpl || cpl > s.dpl)))
		raise_sel(c, EXC_TS, sel);
	if (!s.present)
		raise_sel(c, EXC_NP, sel);
	desc_set_accessed(c, sel, raw);
	s.type |= 1;
	c->seg[seg] = s;
}

static void load_segments(struct cpu *c, const struct task_state *t)
{
	static const u8 data[4] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	unsigned cpl = SEL_RPL(t->seg[SEG_CS]);
	struct segment ss;
	u64 raw;

	load_ldt(c, t->ldt, EXC_TS);
	if (t->flags & FL_VM) {
		for (unsigned s = 0; s < 6; s++)
			seg_set_vm86(c, s, t->seg[s]);
		return;
	}
	load_cs(c, t->seg[SEG_CS]);
	seg_check_ss(c, t->seg[SEG_SS], cpl, EXC_TS, &ss, &raw);
	desc_set_accessed(c, t->seg[SEG_SS], raw);
	c->seg[SEG_SS] = ss;
	cpu_update_mode(c);
	for (unsigned n = 0; n < 4; n++)
		load_data(c, data[n], t->seg[data[n]], cpl);
}

/* Until its descriptors are there, every segment has its selector alone. */
static void set_selectors(struct cpu *c, const struct task_state *t)
{
	for (unsigned s = 0; s < 6; s++)
		c->seg[s] = (struct segment){ .sel = t->seg[s], .unusable = s != SEG_CS, .limit = s == SEG_CS ? ~0u : 0,
					      .type = s == SEG_CS ? 11 : 3, .s = 1, .present = s == SEG_CS,
					      .dpl = (u8)SEL_RPL(t->seg[SEG_CS]), .db = 1 };
	c->seg[SEG_LDTR] = (struct segment){ .sel = t->ldt, .unusable = 1, .type = 2 };
}

static void load_registers(struct cpu *c, const struct task_state *t, bool wide, bool nested)
{
	u64 flags = (t->flags & (wide ? FL_ARITH | FL_ALL_SYSTEM : 0x7fd5)) | FL_1;

	if (nested)
		flags |= FL_NT;
	for (unsigned r = 0; r < 8; r++)
		c->gpr[r] = wide ? (u32)t->gpr[r] : (c->gpr[r] & 0xffff0000) | (u16)t->gpr[r];
	c->rip = t->eip;
	c->rflags = flags;
	c->keep_rf = true;
	c->cr0 |= CR0_TS;
	c->dr[7] &= ~0x155ull; /* local breakpoints */
}

static void check_new(struct cpu *c, u16 sel, enum task_reason reason, struct segment *tss)
{
	unsigned vector = reason == TASK_IRET ? EXC_TS : EXC_GP;
	u64 raw;

	if (SEL_TI(sel) || !(sel & 0xfffc) || !desc_read(c, sel, &raw))
		raise_sel(c, vector, sel);
	desc_parse(tss, sel, raw);
	if (tss->s || (tss->type & 5) != 1 || !(tss->type & TSS_BUSY) != (reason != TASK_IRET))
		raise_sel(c, vector, sel);
	if (!tss->present)
		raise_sel(c, EXC_NP, sel);
	if (tss->limit < layouts[tss->type >> 3].min)
		raise_sel(c, EXC_TS, sel);
}

void task_switch(struct cpu *c, u16 sel, enum task_reason reason, u64 return_rip, bool has_error, u32 error)
{
	u16 old = c->seg[SEG_TR].sel;
	struct segment tss;
	struct task_state t;
	struct stack s;
	u64 flags = c->rflags;
	bool wide;

	check_new(c, sel, reason, &tss);
	wide = tss.type & 8;
	mmu_check_write(c, (u32)c->seg[SEG_TR].base, layouts[c->seg[SEG_TR].type >> 3 & 1].min + 1u, VIEW_KERNEL);
	mmu_check_write(c, (u32)tss.base, layouts[wide].min + 1u, VIEW_KERNEL);
	read_state(c, &tss, &t);
	if (reason == TASK_IRET)
		flags &= ~(u64)FL_NT;
	if (reason != TASK_CALL)
		desc_set_busy(c, old, false);
	save(c, return_rip, flags);
	if (reason == TASK_CALL)
		store(c, &tss, 0, old, 2);
	if (reason != TASK_IRET)
		desc_set_busy(c, sel, true);
	tss.type |= TSS_BUSY;
	c->seg[SEG_TR] = tss;
	load_registers(c, &t, wide, reason == TASK_CALL);
	if (wide && (c->cr0 & CR0_PG))
		mmu_set_cr3(c, t.cr3, false);
	set_selectors(c, &t);
	cpu_update_mode(c);
	c->next_rip = c->rip; /* faults from here on belong to the new task */
	load_segments(c, &t);
	cpu_update_mode(c);
	if (c->rip > c->seg[SEG_CS].limit)
		cpu_raise_err(c, EXC_GP, 0);
	if (has_error) {
		stack_open(c, &s);
		stack_push(&s, error, wide ? 4 : 2);
		stack_commit(&s);
	}
	if (t.trap)
		c->trap_bits |= 1u << 15;
	if (c->rflags & FL_IF)
		host_event_check(c);
}
