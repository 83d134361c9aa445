/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MOVS, STOS and LODS with addresses of a word, going up. Single ones are emitted in place; those with REP call jit_string(),
 * which does runs of elements that lie in one page at both ends. A run ends early for a request, and the element that is
 * not plain memory, crosses a page or faults is left to the interpreter, with the registers as if interrupted before it.
 * translate.c calls it.
 */
#include "../mmu.h"
#include "host-string.h"
#include "tx.h"
#include "x86-ops.h"

/* What jit_string() is told, above SLOW_OFFSET */
#define STRING_MOVS 0x1000u
#define STRING_SIZE_SHIFT 13 /* bytes */
#define STRING_SEG_SHIFT 17  /* SEG_FS, SEG_GS, or another for base 0 */
#define STRING_32 (1u << 20) /* addresses and count are 32 bits */

static unsigned element_size(const struct insn *i)
{
	return i->opcode & 1 ? i->opsize : 1;
}

bool string_is_emitted(const struct insn *i)
{
	if (i->adsize != insn_word(i) || (insn_is_32(i) && (i->seg_override == SEG_FS || i->seg_override == SEG_GS)))
		return false;
	switch (i->d->op) {
	case INSN_MOVS:
	case INSN_STOS:
		return true;
	case INSN_LODS:
		return !i->rep;
	default:
		return false;
	}
}

/* Bytes that [la, la + bytes) may have through the TLB, at *ret_host; 0 when the interpreter has to look. */
static u64 plain_room(struct cpu *c, u64 la, enum mmu_access acc, u8 **ret_host)
{
	struct tlb_entry *e = &c->set->tlb[c->view][tlb_index(la)];

	if ((acc == MMU_WRITE ? e->wtag : e->rtag) != (la & PAGE_MASK) && !mmu_fill(c, la, acc, c->view))
		return 0;
	*ret_host = (u8 *)(uintptr_t)(la + e->addend);
	return PAGE_SIZE - (la & ~PAGE_MASK);
}

static u64 at_most(u64 a, u64 b)
{
	return a < b ? a : b;
}

unsigned jit_string(struct cpu *c, u64 unused, u32 info)
{
	unsigned size = info >> STRING_SIZE_SHIFT & 15, seg = info >> STRING_SEG_SHIFT & 7;
	u64 base = seg == SEG_FS || seg == SEG_GS ? c->seg[seg].base : 0, mask = info & STRING_32 ? UINT32_MAX : ~0ull, room, n;
	u8 *dst = NULL, *src = NULL;

	(void)unused;
	if (c->rflags & FL_DF)
		return 1;
	while (c->gpr[RCX] & mask) {
		room = info & STRING_MOVS ? plain_room(c, base + (c->gpr[RSI] & mask), MMU_READ, &src) : PAGE_SIZE;
		if (room >= size)
			room = at_most(room, plain_room(c, c->gpr[RDI] & mask, MMU_WRITE, &dst));
		n = at_most(room / size, c->gpr[RCX] & mask);
		if (!n || *c->poll)
			return 1;
		if (info & STRING_MOVS) {
			host_movs(dst, src, n, size);
			c->gpr[RSI] = (c->gpr[RSI] + n * size) & mask;
		} else {
			host_stos(dst, c->gpr[RAX], n, size);
		}
		c->gpr[RDI] = (c->gpr[RDI] + n * size) & mask;
		c->gpr[RCX] = (c->gpr[RCX] - n) & mask;
	}
	return 0;
}

static void interp_unless_up(struct tx *t)
{
	struct host_op test = { .opcode = 0xf7, .imm_size = 4, .imm = FL_DF };
	struct host_mem rflags = TX_CPU(rflags);

	emit_op_mem(&t->e, &test, 0, &rflags);
	t->interp[t->interp_count++] = (struct interp_site){ emit_jcc(&t->e, COND_NE, NULL), t->off[t->k] };
}

static void add_segment(struct tx *t, const struct insn *i)
{
	if (i->seg_override == SEG_FS || i->seg_override == SEG_GS)
		emit_alu_load(&t->e, ALU_ADD, HOST_SCRATCH, mem_gs(offsetof(struct cpu, seg[i->seg_override].base)));
}

static void move_element(struct tx *t, bool store, u8 reg, const struct host_mem *m, unsigned size)
{
	struct host_op op = { .p66 = size == 2, .w = size == 8, .opcode = (u8)((store ? 0x88 : 0x8a) | (size > 1)),
			      .byte_reg = size == 1 };

	emit_op_mem(&t->e, &op, reg, m);
}

/* One element. LODS.B and .W keep the rest of RAX, as the host's own moves do. */
static void single(struct tx *t, const struct insn *i)
{
	struct host_mem at = mem_base(HOST_SCRATCH, 0), slot = TX_FRAME(scratch[0]);
	unsigned size = element_size(i);
	const u8 *retry = emit_here(&t->e);

	if (i->d->op != INSN_STOS) {
		tx_mov(t, HOST_SCRATCH, RSI);
		add_segment(t, i);
		access_check(t, retry, size, false);
		if (i->d->op == INSN_LODS) {
			move_element(t, false, RAX, &at, size);
		} else {
			move_element(t, false, HOST_SCRATCH, &at, size);
			move_element(t, true, HOST_SCRATCH, &slot, size);
		}
	}
	if (i->d->op != INSN_LODS) {
		retry = emit_here(&t->e);
		tx_mov(t, HOST_SCRATCH, RDI);
		access_check(t, retry, size, true);
		if (i->d->op == INSN_MOVS)
			move_element(t, false, HOST_SCRATCH2, &slot, size);
		move_element(t, true, i->d->op == INSN_MOVS ? HOST_SCRATCH2 : RAX, &at, size);
		tx_lea(t, RDI, mem_base(RDI, (s32)size));
	}
	if (i->d->op != INSN_STOS)
		tx_lea(t, RSI, mem_base(RSI, (s32)size));
}

bool string_insn(struct tx *t, const struct insn *i)
{
	u32 info = t->off[t->k] | element_size(i) << STRING_SIZE_SHIFT;

	flags_free(t);
	if (!i->rep) {
		interp_unless_up(t);
		single(t, i);
		return true;
	}
	if (i->d->op == INSN_MOVS)
		info |= STRING_MOVS;
	if (insn_is_32(i))
		info |= STRING_32;
	if (i->seg_override != 0xff)
		info |= (u32)i->seg_override << STRING_SEG_SHIFT;
	emit_imm(&t->e, HOST_SCRATCH2, info);
	emit_call(&t->e, t->j->stub_string);
	return true;
}
