/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The interpreter's loop (interp.h): fetch through the ITLB, a cache of decoded instructions that compares the bytes it was
 * made from, the checks that belong to every instruction, debug traps, and delivery of what the instruction raised.
 */
#include "exec.h"
#include "x86-ops.h"

#define DR6_BD (1u << 13)
#define DR6_BS (1u << 14)
#define DR7_ENABLE 0xffu
#define DR7_GD (1u << 13)
#define WINDOW 16u /* bytes compared */

struct decoded {
	struct insn i;
	u64 host;	/* address of the first byte; 0: empty */
	u64 bytes[2], mask[2];
	u8 mode;
	bool check; /* may not always be allowed: see check_allowed() */
};
_Static_assert(sizeof(struct decoded) <= DECODED_SIZE, "DECODED_SIZE");
_Static_assert(INSN_COUNT <= OPS_MAX, "OPS_MAX");

static inline struct decoded *decoded_slot(struct cpu *c, u64 host)
{
	return (struct decoded *)c->decoded[(host ^ host >> 11) & (DECODED_COUNT - 1)];
}

static bool needs_check(const struct insn_desc *d)
{
	return d->cpuid || (d->attr & (ATTR_NOPROT | ATTR_CPL0));
}

static void check_allowed(struct cpu *c, const struct insn *i)
{
	const struct insn_desc *d = i->d;

	if (d->cpuid && !host_cpuid_gate(c, d->cpuid))
		cpu_raise(c, EXC_UD);
	if ((d->attr & ATTR_NOPROT) && c->mode <= MODE_VM86) {
		if (d->op == INSN_SYSENTER || d->op == INSN_SYSEXIT)
			cpu_raise_err(c, EXC_GP, 0);
		cpu_raise(c, EXC_UD);
	}
	if ((d->attr & ATTR_CPL0) && c->cpl) {
		if (d->op == INSN_CLAC || d->op == INSN_STAC || d->op == INSN_MONITOR || d->op == INSN_MWAIT)
			cpu_raise(c, EXC_UD);
		cpu_raise_err(c, EXC_GP, 0);
	}
}

/* Host address of the page that holds la. */
static u8 *fetch_page(struct cpu *c, u64 la)
{
	u64 gpa;
	u8 *host;
	u32 error;
	bool mmio;

	if (likely(mmu_fetch(c, la, &gpa, &host, &error, &mmio)))
		return host;
	if (mmio)
		cpu_leave(c, LEAVE_ERROR); /* as KVM: code in a device's memory is not executed */
	cpu_raise_pf(c, la, error);
}

static void slot_fill(struct decoded *e, const u8 *host, unsigned room)
{
	u8 mask[WINDOW] = { 0 };

	e->check = needs_check(e->i.d);
	e->host = 0;
	if (room < WINDOW)
		return;
	for (unsigned n = 0; n < e->i.len; n++)
		mask[n] = 0xff;
	e->mask[0] = host_load(mask, 8);
	e->mask[1] = host_load(mask + 8, 8);
	e->bytes[0] = host_load(host, 8) & e->mask[0];
	e->bytes[1] = host_load(host + 8, 8) & e->mask[1];
	e->host = (u64)(uintptr_t)host;
	/* the bytes may have changed since they were decoded */
	for (unsigned n = 0; n < e->i.len; n++)
		if (((const u8 *)e->bytes)[n] != e->i.bytes[n])
			e->host = 0;
}

static struct decoded *fetch_decode(struct cpu *c, u64 la, const u8 *host)
{
	unsigned room = (unsigned)(PAGE_SIZE - (la & ~PAGE_MASK)), n = room < INSN_MAX ? room : INSN_MAX;
	struct decoded *e = decoded_slot(c, (u64)(uintptr_t)host);
	u8 bytes[WINDOW] = { 0 };
	enum decode_result r;

	for (unsigned k = 0; k < n; k++)
		bytes[k] = ((const volatile u8 *)host)[k];
	e->host = 0;
	r = insn_decode(&e->i, bytes, n, c->decode_mode);
	if (r == DECODE_MORE && n < INSN_MAX) {
		u64 next = c->mode == MODE_LONG64 ? la + room : (u32)(la + room);
		const volatile u8 *page;

		if (c->mode == MODE_LONG64 && !is_canonical(next))
			cpu_raise_err(c, EXC_GP, 0);
		page = fetch_page(c, next);
		for (unsigned k = n; k < INSN_MAX; k++)
			bytes[k] = page[k - n];
		r = insn_decode(&e->i, bytes, INSN_MAX, c->decode_mode);
	}
	if (r == DECODE_UD)
		cpu_raise(c, EXC_UD);
	if (r != DECODE_OK)
		cpu_raise_err(c, EXC_GP, 0);
	for (unsigned k = 0; k < INSN_MAX; k++)
		e->i.bytes[k] = bytes[k];
	e->mode = c->decode_mode;
	slot_fill(e, host, room);
	return e;
}

static inline u64 code_la(struct cpu *c)
{
	u64 rip = c->rip;

	if (likely(c->mode == MODE_LONG64)) {
		if (unlikely(!is_canonical(rip)))
			cpu_raise_err(c, EXC_GP, 0);
		return rip;
	}
	if (unlikely((u32)rip > c->seg[SEG_CS].limit))
		cpu_raise_err(c, EXC_GP, 0);
	return (u32)(c->seg[SEG_CS].base + (u32)rip);
}

static inline struct decoded *fetch(struct cpu *c)
{
	u64 la = code_la(c), off = la & ~PAGE_MASK;
	struct itlb_entry *t = &c->set->itlb[c->cpl == 3][la >> 12 & (ITLB_SIZE - 1)];
	const u8 *host = (likely(t->tag == (la & PAGE_MASK)) ? t->host : fetch_page(c, la)) + off;
	struct decoded *e = decoded_slot(c, (u64)(uintptr_t)host);

	if (likely(e->host == (u64)(uintptr_t)host && off <= PAGE_SIZE - WINDOW && e->mode == c->decode_mode)) {
		u64 diff = ((host_load(host, 8) ^ e->bytes[0]) & e->mask[0]) |
			   ((host_load(host + 8, 8) ^ e->bytes[1]) & e->mask[1]);

		if (likely(!diff))
			return e;
	}
	return fetch_decode(c, la, host);
}

static inline void execute(struct cpu *c)
{
	struct decoded *e = fetch(c);
	const struct insn *i = &e->i;

	if (e->check)
		check_allowed(c, i);
	c->next_rip = c->rip + i->len;
	if (unlikely(c->mode != MODE_LONG64)) {
		if ((u32)c->rip + i->len - 1 > c->seg[SEG_CS].limit)
			cpu_raise_err(c, EXC_GP, 0);
		c->next_rip = (u32)c->next_rip;
	}
	c->intr_shadow = 0;
	c->op_count[i->d->op]++;
	insn_exec(i->d)(c, i);
	c->rip = c->next_rip;
}

static void check_breakpoints(struct cpu *c)
{
	u64 la = code_la(c), hits = 0;

	for (unsigned n = 0; n < 4; n++)
		if ((c->dr[7] >> (2 * n) & 3) && !(c->dr[7] >> (16 + 4 * n) & 3) && c->dr[n] == la)
			hits |= 1u << n;
	if (hits)
		cpu_raise_db(c, hits);
}

/* With TF, RF, or debug registers in use. */
static void execute_debug(struct cpu *c)
{
	bool trap = c->rflags & FL_TF;
	u64 bits;

	if ((c->dr[7] & DR7_ENABLE) && !(c->rflags & FL_RF) && c->intr_shadow != 2)
		check_breakpoints(c);
	c->keep_rf = c->no_trap = false;
	execute(c);
	if (!c->keep_rf)
		c->rflags &= ~(u64)FL_RF;
	if (c->intr_shadow == 2) /* a load of SS: what its operand has met is told behind the next instruction */
		return;
	bits = c->trap_bits;
	c->trap_bits = 0;
	if (trap && !c->no_trap)
		bits |= DR6_BS;
	if (bits)
		cpu_raise_db(c, bits);
}

static inline void take_traps(struct cpu *c)
{
	u64 bits = c->trap_bits;

	if (likely(!bits))
		return;
	c->trap_bits = 0;
	cpu_raise_db(c, bits);
}

static inline void step(struct cpu *c)
{
	c->insns++;
	if (unlikely((c->rflags & (FL_TF | FL_RF)) || (c->dr[7] & DR7_ENABLE))) {
		execute_debug(c);
		return;
	}
	execute(c);
	take_traps(c);
}

void interp_decoded(struct cpu *c, const struct insn *i)
{
	c->insns++;
	if (needs_check(i->d))
		check_allowed(c, i);
	c->next_rip = c->rip + i->len;
	if (unlikely(c->mode != MODE_LONG64))
		c->next_rip = (u32)c->next_rip;
	c->op_count[i->d->op]++;
	insn_exec(i->d)(c, i);
	c->rip = c->next_rip;
	take_traps(c);
}

static void arm_watch(struct cpu *c)
{
	c->watch = false;
	for (unsigned n = 0; n < 4; n++)
		if ((c->dr[7] >> (2 * n) & 3) && (c->dr[7] >> (16 + 4 * n) & 3))
			c->watch = true;
}

/* What the instruction raised, through the IDT. False: triple fault. */
static bool deliver_raised(struct cpu *c)
{
	c->exc.pending = false;
	c->trap_bits = 0;
	if (c->exc.vector == EXC_PF)
		c->cr2 = c->exc.cr2;
	if (c->exc.vector == EXC_DB) {
		c->dr[6] = (c->dr[6] & ~0xfull) | c->exc.dr6;
		c->dr[7] &= ~(u64)DR7_GD;
	}
	return cpu_deliver(c, c->exc.vector, DELIVER_EXCEPTION, c->exc.has_error, c->exc.error);
}

bool interp_recover(struct cpu *c, int why, unsigned *ret_reason)
{
	if (why != FAULT_JMP_EXC) {
		*ret_reason = (unsigned)why - FAULT_JMP_LEAVE;
		c->trap_bits = 0;
		return false;
	}
	if (deliver_raised(c))
		return true;
	*ret_reason = LEAVE_TRIPLE_FAULT;
	return false;
}

void interp_here(struct cpu *c)
{
	step(c);
}

void interp_page_fault(struct cpu *c, u64 la, u32 error)
{
	c->cr2 = la;
	if (!cpu_deliver(c, EXC_PF, DELIVER_EXCEPTION, true, error))
		cpu_leave(c, LEAVE_TRIPLE_FAULT);
}

bool interp_finish(struct cpu *c)
{
	const struct io_replay *r = &c->replay[0];
	const struct single_access *s = &c->single;

	if (s->insn != c->insns || s->size != r->len || c->replay_count != 1 || (c->rflags & (FL_TF | FL_RF)) ||
	    (c->dr[7] & DR7_ENABLE))
		return false;
	if (!r->write)
		gpr_put_low(c, s->reg, s->merge ? s->size : 8, host_load(r->data, s->size));
	c->rip = c->next_rip;
	c->intr_shadow = 0;
	c->replay_count = c->replay_pos = 0;
	return true;
}

enum interp_result interp_step(struct cpu *c, unsigned *ret_reason)
{
	jmp_buf jump, *outer = c->fault_jmp;
	enum interp_result r = INTERP_NEXT;
	int why;

	c->watch = false;
	if (unlikely(c->dr[7] & DR7_ENABLE))
		arm_watch(c);
	c->fault_jmp = &jump;
	why = setjmp(jump);
	if (!why)
		step(c);
	else if (!interp_recover(c, why, ret_reason))
		r = INTERP_LEAVE;
	c->fault_jmp = outer;
	return r;
}

enum interp_result interp_run(struct cpu *c, u64 max, bool translate, unsigned *ret_reason)
{
	const u64 end = c->insns + max;
	jmp_buf jump, *outer = c->fault_jmp;
	enum interp_result r = INTERP_NEXT;
	int why;

	arm_watch(c);
	c->fault_jmp = &jump;
	why = setjmp(jump);
	if (why && !interp_recover(c, why, ret_reason))
		r = INTERP_LEAVE;
	else
		while (!poll_word(c) && c->insns < end && !(translate && cpu_translates(c)))
			step(c);
	c->fault_jmp = outer;
	return r;
}

void exec_mov_dr(struct cpu *c, const struct insn *i)
{
	unsigned n = i->reg;
	u64 v;

	if (n == 4 || n == 5) {
		if (c->cr4 & CR4_DE)
			cpu_raise(c, EXC_UD);
		n += 2;
	}
	if (c->dr[7] & DR7_GD)
		cpu_raise_db(c, DR6_BD);
	if (i->d->opnd[0].kind != OP_D) {
		c->gpr[i->rm] = c->mode == MODE_LONG64 ? c->dr[n] : (u32)c->dr[n];
		return;
	}
	v = c->mode == MODE_LONG64 ? c->gpr[i->rm] : (u32)c->gpr[i->rm];
	if (n >= 6 && v >> 32)
		cpu_raise_err(c, EXC_GP, 0);
	if (n == 6)
		v = (v & 0xe00f) | 0xffff0ff0;
	else if (n == 7)
		v = (v & 0xffff2bff) | 0x400;
	c->dr[n] = v;
	arm_watch(c);
}
