/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Private to the interpreter's exec functions: operands, memory, stack, flags. While an exec function runs, c->rip is the
 * instruction's own address and c->next_rip the one where it goes on. Memory is read and written through the TLB here,
 * and by mmu_read() and mmu_write() when that misses.
 */
#pragma once
#include "exec-list.h"
#include "fault.h"
#include "flags.h"
#include "host.h"
#include "interp.h"
#include "../mmu.h"

#define FL_ALL_SYSTEM (FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | FL_VIF | FL_VIP | FL_ID)

/* ---- flags ---- */

static inline u32 flags_get(const struct cpu *c)
{
	return (u32)c->rflags & FL_ARITH;
}

/* f: all of FL_ARITH. */
static inline void flags_set(struct cpu *c, u32 f)
{
	c->rflags = (c->rflags & ~(u64)FL_ARITH) | f;
}

/* Conditions of Jcc, SETcc, CMOVcc: low four bits of the opcode. */
bool cond_true(u64 rflags, unsigned cc);

/* ---- linear addresses ---- */

static inline bool mode_paged_segments(const struct cpu *c)
{
	return c->mode >= MODE_PROT16; /* descriptors in tables, privilege levels */
}

static inline u64 seg_la(struct cpu *c, unsigned seg, u64 off, unsigned len, bool write)
{
	u64 la = off;

	if (unlikely(c->mode != MODE_LONG64))
		return seg_linear(c, seg, off, len, write);
	if (seg >= SEG_FS)
		la += c->seg[seg].base;
	if (unlikely((la + 0x800000000000ull) >> 48 || (la + len - 1 + 0x800000000000ull) >> 48))
		cpu_raise_err(c, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
	return la;
}

/* #AC, of what is not aligned to `align` bytes (1: whatever it is), and data breakpoints: off the hot path. */
void access_inspect(struct cpu *c, u64 la, unsigned len, unsigned align, bool write);

static inline void access_note_aligned(struct cpu *c, u64 la, unsigned len, unsigned align, bool write)
{
	if (unlikely(c->watch || (c->cpl == 3 && (c->rflags & FL_AC))))
		access_inspect(c, la, len, align, write);
}

/* An operand of one piece. Vectors of 32 bytes are to be aligned to 16, what has 6 or 10 bytes to the larger of its parts. */
static inline void access_note(struct cpu *c, u64 la, unsigned len, bool write)
{
	access_note_aligned(c, la, len, len == 6 || len == 10 ? len - 2 : len > 16 ? 16 : len, write);
}

static inline u64 insn_ea(const struct cpu *c, const struct insn *i)
{
	u64 a = (u64)i->disp;

	if (i->base == BASE_RIP)
		a += c->rip + i->len;
	else if (i->base != BASE_NONE)
		a += c->gpr[i->base];
	if (i->index != BASE_NONE)
		a += c->gpr[i->index] << i->scale;
	if (i->adsize == 8)
		return a;
	return i->adsize == 4 ? (u32)a : (u16)a;
}

static inline u64 insn_la(struct cpu *c, const struct insn *i, unsigned len, bool write)
{
	u64 la = seg_la(c, i->seg, insn_ea(c, i), len, write);

	access_note(c, la, len, write);
	return la;
}

/* Of several parts: each is aligned to `align` if the first one is. */
static inline u64 insn_la_aligned(struct cpu *c, const struct insn *i, unsigned len, unsigned align, bool write)
{
	u64 la = seg_la(c, i->seg, insn_ea(c, i), len, write);

	access_note_aligned(c, la, len, align, write);
	return la;
}

/* ---- memory ---- */

struct __attribute__((packed, may_alias)) mem16 { u16 v; };
struct __attribute__((packed, may_alias)) mem32 { u32 v; };
struct __attribute__((packed, may_alias)) mem64 { u64 v; };

static inline u64 host_load(const void *p, unsigned size)
{
	switch (size) {
	case 1:
		return *(const volatile u8 *)p;
	case 2:
		return ((const volatile struct mem16 *)p)->v;
	case 4:
		return ((const volatile struct mem32 *)p)->v;
	default:
		return ((const volatile struct mem64 *)p)->v;
	}
}

static inline void host_store(void *p, u64 v, unsigned size)
{
	switch (size) {
	case 1:
		*(volatile u8 *)p = (u8)v;
		break;
	case 2:
		((volatile struct mem16 *)p)->v = (u16)v;
		break;
	case 4:
		((volatile struct mem32 *)p)->v = (u32)v;
		break;
	default:
		((volatile struct mem64 *)p)->v = v;
	}
}

/* Not zero: KVM_RUN wants to look at something. */
static inline u32 poll_word(const struct cpu *c)
{
	return ((const volatile struct mem32 *)c->poll)->v;
}

static inline u64 mem_load_view(struct cpu *c, u64 la, unsigned size, enum tlb_view view)
{
	struct tlb_entry *e = &c->set->tlb[view][tlb_index(la)];
	u64 off = la - e->rtag, v = 0;

	if (likely(off < PAGE_SIZE - (size - 1)))
		return host_load((const u8 *)(uintptr_t)(la + e->addend), size);
	mmu_read(c, la, &v, size, view);
	return v;
}

static inline void mem_store_view(struct cpu *c, u64 la, u64 v, unsigned size, enum tlb_view view)
{
	struct tlb_entry *e = &c->set->tlb[view][tlb_index(la)];
	u64 off = la - e->wtag;

	if (likely(off < PAGE_SIZE - (size - 1)))
		host_store((u8 *)(uintptr_t)(la + e->addend), v, size);
	else
		mmu_write(c, la, &v, size, view);
}

static inline u64 mem_load(struct cpu *c, u64 la, unsigned size)
{
	return mem_load_view(c, la, size, c->view);
}

static inline void mem_store(struct cpu *c, u64 la, u64 v, unsigned size)
{
	mem_store_view(c, la, v, size, c->view);
}

/* In-place pointer, or NULL (page crossing, MMIO). A write through it is followed by mmu_wrote(). */
static inline void *mem_ptr_view(struct cpu *c, u64 la, unsigned size, enum mmu_access acc, enum tlb_view view)
{
	struct tlb_entry *e = &c->set->tlb[view][tlb_index(la)];
	u64 off = la - (acc == MMU_WRITE ? e->wtag : e->rtag);

	if (likely(off < PAGE_SIZE - (size - 1)))
		return (u8 *)(uintptr_t)(la + e->addend);
	return mmu_ptr(c, la, size, acc, view);
}

/* For a write. */
static inline void *mem_ptr(struct cpu *c, u64 la, unsigned size)
{
	return mem_ptr_view(c, la, size, MMU_WRITE, c->view);
}

/* Host compare-and-exchange; *old is set to what was there. p may be unaligned. */
bool host_cas(void *p, unsigned size, u64 *old, u64 v);

/* ---- operands ---- */

static inline unsigned opnd_size(const struct insn *i, unsigned k)
{
	unsigned s = i->d->opnd[k].size;

	if (s <= 64)
		return s;
	switch (s) {
	case SZ_Z:
		return i->opsize == 2 ? 2 : 4;
	case SZ_Y:
		return ((i->rex & 8) || i->vexw) && i->mode == MODE_LONG64 ? 8 : 4;
	default:
		return i->opsize;
	}
}

static inline bool byte_high(const struct insn *i, unsigned r)
{
	return !i->has_rex && r - 4 < 4;
}

static inline u64 gpr_get(const struct cpu *c, const struct insn *i, unsigned r, unsigned size)
{
	switch (size) {
	case 1:
		return byte_high(i, r) ? (u8)(c->gpr[r - 4] >> 8) : (u8)c->gpr[r];
	case 2:
		return (u16)c->gpr[r];
	case 4:
		return (u32)c->gpr[r];
	default:
		return c->gpr[r];
	}
}

/* Not AH and its like. */
static inline void gpr_put_low(struct cpu *c, unsigned r, unsigned size, u64 v)
{
	u64 kept = size < 4 ? ~size_mask(size) : 0;

	c->gpr[r] = (c->gpr[r] & kept) | (v & size_mask(size));
}

static inline void gpr_put(struct cpu *c, const struct insn *i, unsigned r, unsigned size, u64 v)
{
	switch (size) {
	case 1:
		if (byte_high(i, r))
			c->gpr[r - 4] = (c->gpr[r - 4] & ~0xff00ull) | (v & 0xff) << 8;
		else
			c->gpr[r] = (c->gpr[r] & ~0xffull) | (v & 0xff);
		break;
	case 2:
		c->gpr[r] = (c->gpr[r] & ~0xffffull) | (u16)v;
		break;
	case 4:
		c->gpr[r] = (u32)v;
		break;
	default:
		c->gpr[r] = v;
	}
}

static inline bool opnd_is_mem(const struct insn *i, unsigned k)
{
	unsigned kind = i->d->opnd[k].kind;

	return i->mem && (kind == OP_E || kind == OP_M || kind == OP_O);
}

/* Register number of a GPR operand. */
static inline unsigned opnd_reg(const struct insn *i, unsigned k)
{
	switch (i->d->opnd[k].kind) {
	case OP_G:
		return i->reg;
	case OP_Z:
		return (i->opcode & 7u) | (i->rex & 1u) << 3;
	case OP_B:
		return i->vvvv;
	case OP_REG:
		return i->d->opnd[k].reg;
	default:
		return i->rm;
	}
}

static inline u64 opnd_get(struct cpu *c, const struct insn *i, unsigned k, unsigned size)
{
	unsigned kind = i->d->opnd[k].kind;

	if (kind == OP_I || kind == OP_J)
		return i->imm & size_mask(size);
	if (kind == OP_ONE)
		return 1;
	if (opnd_is_mem(i, k))
		return mem_load(c, insn_la(c, i, size, false), size);
	return gpr_get(c, i, opnd_reg(i, k), size);
}

static inline void opnd_put(struct cpu *c, const struct insn *i, unsigned k, unsigned size, u64 v)
{
	if (opnd_is_mem(i, k))
		mem_store(c, insn_la(c, i, size, true), v, size);
	else
		gpr_put(c, i, opnd_reg(i, k), size, v);
}

/*
 * An instruction's arithmetic: *d becomes its result, of *d, s and t, all of `size` bytes (what is above is noise before and
 * after), and of the arithmetic flags f. Returns the flags then.
 */
typedef u32 alu_fn(u64 *d, u64 s, u64 t, unsigned size, u32 f);

/* Read, modify, write of operand 0, atomically under LOCK; sets the flags. Returns what was there before. */
u64 opnd_modify(struct cpu *c, const struct insn *i, unsigned size, alu_fn *fn, u64 s, u64 t);
u64 mem_modify(struct cpu *c, u64 la, unsigned size, bool lock, alu_fn *fn, u64 s, u64 t, u32 *flags);

/* A counter or index register of `adsize` bytes. */
static inline u64 addr_reg(const struct cpu *c, unsigned r, unsigned adsize)
{
	return adsize == 8 ? c->gpr[r] : adsize == 4 ? (u32)c->gpr[r] : (u16)c->gpr[r];
}

static inline void addr_reg_set(struct cpu *c, unsigned r, unsigned adsize, u64 v)
{
	c->gpr[r] = adsize == 8 ? v : adsize == 4 ? (u32)v : (c->gpr[r] & ~0xffffull) | (u16)v;
}

/* ---- stack (stack.c) ---- */

/* A stack being worked on: nothing of the processor changes until stack_commit(). */
struct stack {
	struct cpu *c;
	const struct segment *ss; /* NULL: 64-bit mode, no segment */
	u64 sp, mask;
	enum tlb_view view;
	u32 err; /* error code of its #SS */
};
void stack_open(struct cpu *c, struct stack *s); /* the current one */
void stack_push(struct stack *s, u64 v, unsigned size);
u64 stack_pop(struct stack *s, unsigned size);
u64 stack_peek(struct stack *s, u64 offset, unsigned size);
/* Checks that n bytes below the top can be written. */
void stack_check(struct stack *s, unsigned n);
void stack_commit(const struct stack *s);
u64 sp_mask(const struct cpu *c, const struct segment *ss, bool long64);
enum tlb_view view_for_cpl(const struct cpu *c, unsigned cpl);

/* ---- descriptors and segments (segment.c) ---- */

#define SEL_INDEX(sel) ((u16)((sel) & 0xfff8u))
#define SEL_TI(sel) ((sel) & 4u)
#define SEL_RPL(sel) ((sel) & 3u)

/* Exception with a selector's error code; the EXT bit is set while an event is delivered. */
void raise_sel(struct cpu *c, unsigned vector, u16 sel) __attribute__((noreturn));
bool desc_read(struct cpu *c, u16 sel, u64 *ret_raw); /* false: beyond the table */
bool desc_read_long(struct cpu *c, u16 sel, u64 ret_raw[2]); /* 16-byte system descriptor */
void desc_parse(struct segment *s, u16 sel, u64 raw);
void desc_set_accessed(struct cpu *c, u16 sel, u64 raw);
/*
 * The segment of a descriptor that no check can object to where RPL and DPL are to be the same: present, accessed, in the
 * GDT, and code of 64-bit mode that is not conforming, or else writable data. NULL: look at it the long way.
 */
const struct segment *seg_plain(struct cpu *c, u16 sel, bool code);
void desc_set_busy(struct cpu *c, u16 sel, bool busy);
/* Loads ES, SS, DS, FS, GS with every check of the current mode. */
void seg_load(struct cpu *c, enum seg_id seg, u16 sel);
void seg_set_null(struct cpu *c, enum seg_id seg, u16 sel);
/* What a load of SS would give for privilege level cpl: raises `vector` (#GP or #TS), #SS. */
void seg_check_ss(struct cpu *c, u16 sel, unsigned cpl, unsigned vector, struct segment *ret, u64 *ret_raw);
/* Real-mode or VM86 load: base from the selector. */
void seg_set_real(struct cpu *c, enum seg_id seg, u16 sel);
void seg_set_vm86(struct cpu *c, enum seg_id seg, u16 sel);
/* Drops data segments that the new, lower privilege may not have. */
void seg_drop_privileged(struct cpu *c);
void load_ldt(struct cpu *c, u16 sel, unsigned vector);
void load_tr(struct cpu *c, u16 sel);
/* Checks that a branch target is inside cs: #GP(0). */
void check_target(struct cpu *c, const struct segment *cs, u64 rip);
/* Stack pointer for privilege level cpl from the TSS: #TS. 64-bit TSS: *ret_ss is 0. */
void tss_stack(struct cpu *c, unsigned cpl, u16 *ret_ss, u64 *ret_sp);
u64 tss64_rsp(struct cpu *c, unsigned slot_offset);
/* I/O permission: #GP(0). */
void io_check(struct cpu *c, u16 port, unsigned size);

/* ---- control flow ---- */

void branch_to(struct cpu *c, const struct insn *i, u64 target); /* near; checks limit and canonical form */

/* deliver.c: through the IDT, faults raised as for an instruction. return_rip is pushed; c->rip is the handler then. */
void event_enter(struct cpu *c, unsigned vector, enum deliver_kind kind, bool has_error, u32 error, u64 return_rip);
void interrupt_vme(struct cpu *c, unsigned vector, u64 return_rip);

/* task.c */
enum task_reason { TASK_JMP, TASK_CALL, TASK_IRET };
/* Switches to the task whose TSS descriptor is sel; return_rip is saved in the old one. Ends with c->rip in the new one. */
void task_switch(struct cpu *c, u16 sel, enum task_reason reason, u64 return_rip, bool has_error, u32 error);
u16 task_link(struct cpu *c);

/* ---- control registers (control.c) ---- */

void cr0_write(struct cpu *c, u64 v);
void flags_load(struct cpu *c, u64 v, u64 mask); /* rflags = masked mix, then mode and pending events */
