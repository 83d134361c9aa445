/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest memory from translated code: linear address, software TLB look-up, and the way out when it misses. The hit costs
 * nine host instructions; the access itself then uses [scratch + scratch2].
 */
#include "tx.h"

static bool in_memory(u8 n)
{
	return n != BASE_NONE && n != BASE_RIP && host_reg(n) == IN_MEMORY;
}

/* Base and index as host registers; those that live in memory are loaded into scratch and scratch2. */
static void load_parts(struct tx *t, const struct insn *i, u8 *base, u8 *index)
{
	*base = *index = BASE_NONE;
	if (i->base != BASE_NONE)
		*base = use_reg(t, i->base, HOST_SCRATCH);
	if (i->index != BASE_NONE)
		*index = i->index == i->base && in_memory(i->index) ? *base : use_reg(t, i->index, HOST_SCRATCH2);
}

static bool rip_relative(struct tx *t, const struct insn *i, u8 dst)
{
	s32 end = t->off[t->k] + i->len;
	s64 disp = end + i->disp;

	if (i->adsize != 8)
		return false;
	emit_load(&t->e, dst, TX_CPU(code_base));
	if (disp != (s32)disp) { /* within a page of 2 GiB away */
		emit_lea(&t->e, dst, mem_base(dst, end));
		disp = i->disp;
	}
	emit_lea(&t->e, dst, mem_base(dst, (s32)disp));
	return true;
}

/* Effective address without segment base. Does not change flags. */
static bool effective_address(struct tx *t, const struct insn *i, u8 dst)
{
	struct host_mem m = { .scale = i->scale, .disp = (s32)i->disp };

	if (i->base == BASE_RIP)
		return rip_relative(t, i, dst);
	if (i->d->opnd[0].kind == OP_O || i->d->opnd[1].kind == OP_O) {
		emit_imm(&t->e, dst, i->adsize == 8 ? (u64)i->disp : (u32)i->disp);
		return true;
	}
	if (i->adsize == 2)
		return false;
	load_parts(t, i, &m.base, &m.index);
	if (m.base == BASE_NONE && m.index == BASE_NONE)
		emit_imm(&t->e, dst, i->adsize == 8 ? (u64)(s64)m.disp : (u32)m.disp);
	else if (i->adsize == 8)
		emit_lea(&t->e, dst, m);
	else
		emit_lea32(&t->e, dst, m);
	return true;
}

bool lea_insn(struct tx *t, const struct insn *i)
{
	u8 dst = host_reg(i->reg);
	struct host_op mov = { .opcode = 0x8b, .w = i->opsize == 8 };

	if (i->opsize == 2)
		return false;
	if (dst != IN_MEMORY && i->opsize == 8)
		return effective_address(t, i, dst);
	if (!effective_address(t, i, HOST_SCRATCH))
		return false;
	if (dst != IN_MEMORY) {
		emit_op_reg(&t->e, &mov, dst, HOST_SCRATCH);
	} else {
		if (i->opsize == 4)
			emit_mov32(&t->e, HOST_SCRATCH, HOST_SCRATCH);
		emit_store(&t->e, TX_GPR(i->reg), HOST_SCRATCH);
	}
	return true;
}

bool access_address(struct tx *t, const struct insn *i, u8 dst)
{
	if (!effective_address(t, i, dst))
		return false;
	if (i->seg == SEG_FS || i->seg == SEG_GS)
		emit_alu_load(&t->e, ALU_ADD, dst, mem_gs(offsetof(struct cpu, seg[i->seg].base)));
	return true;
}

const u8 *access_begin(struct tx *t)
{
	flags_free(t);
	return emit_here(&t->e);
}

void access_check(struct tx *t, const u8 *retry, unsigned size, bool write)
{
	struct emit *e = &t->e;
	size_t view = offsetof(struct cpu, tlb) + (t->key & KEY_VIEW) * sizeof(t->c->tlb[0]);
	struct host_mem entry = { HOST_SCRATCH2, BASE_NONE, 0, true, false, 0 };
	struct slow_site *s = &t->slow[t->slow_count++];

	_Static_assert(sizeof(struct tlb_entry) == 32, "the index is scaled by 32");
	emit_mov32(e, HOST_SCRATCH2, HOST_SCRATCH);
	emit_shift32(e, SHIFT_SHR, HOST_SCRATCH2, 12 - 5);
	emit_alu_imm(e, ALU_AND, false, HOST_SCRATCH2, (TLB_SIZE - 1) << 5);
	entry.disp = (s32)(view + (write ? offsetof(struct tlb_entry, wtag) : offsetof(struct tlb_entry, rtag)));
	emit_alu_load(e, ALU_SUB, HOST_SCRATCH, entry);
	emit_alu_imm(e, ALU_CMP, true, HOST_SCRATCH, (s32)(PAGE_SIZE - size));
	*s = (struct slow_site){ emit_jcc(e, COND_A, NULL), retry, t->off[t->k], (u8)size, write };
	entry.disp = (s32)(view + offsetof(struct tlb_entry, host));
	emit_load(e, HOST_SCRATCH2, entry);
}

void tx_site(struct tx *t)
{
	t->site[t->site_count++] = (struct site){ (u32)(emit_here(&t->e) - t->j->code_x), t->off[t->k],
						   t->state == FLAGS_HOST };
}
