/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Data movement: MOV and its extensions, LEA, XLAT, CMOVcc, SETcc, LAHF, and the flag instructions that need no privilege. */
#include "exec.h"
#include "x86-ops.h"

bool cond_true(u64 rflags, unsigned cc)
{
	bool r;

	switch (cc >> 1) {
	case 0:
		r = rflags & FL_OF;
		break;
	case 1:
		r = rflags & FL_CF;
		break;
	case 2:
		r = rflags & FL_ZF;
		break;
	case 3:
		r = rflags & (FL_CF | FL_ZF);
		break;
	case 4:
		r = rflags & FL_SF;
		break;
	case 5:
		r = rflags & FL_PF;
		break;
	case 6:
		r = !(rflags & FL_SF) != !(rflags & FL_OF);
		break;
	default:
		r = (rflags & FL_ZF) || !(rflags & FL_SF) != !(rflags & FL_OF);
	}
	return r ^ (cc & 1);
}

/* See struct single_access. */
static void note_load(struct cpu *c, const struct insn *i, unsigned reg, unsigned size, unsigned from)
{
	if (size >= 4 || (size == from && !(size == 1 && byte_high(i, reg))))
		c->single = (struct single_access){ c->insns, (u8)from, (u8)reg, size < 4 };
}

void exec_mov(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);

	if (opnd_is_mem(i, 0))
		c->single = (struct single_access){ c->insns, (u8)size, 0, false };
	else if (opnd_is_mem(i, 1))
		note_load(c, i, opnd_reg(i, 0), size, size);
	opnd_put(c, i, 0, size, opnd_get(c, i, 1, size));
}

void exec_movzx(struct cpu *c, const struct insn *i)
{
	if (opnd_is_mem(i, 1))
		note_load(c, i, i->reg, opnd_size(i, 0), opnd_size(i, 1));
	gpr_put(c, i, i->reg, opnd_size(i, 0), opnd_get(c, i, 1, opnd_size(i, 1)));
}

void exec_movsx(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 1);

	gpr_put(c, i, i->reg, opnd_size(i, 0), (u64)sign_extend(opnd_get(c, i, 1, size), size));
}

void exec_mov_sreg(struct cpu *c, const struct insn *i)
{
	if (i->d->opnd[1].kind == OP_S) {
		unsigned size = opnd_is_mem(i, 0) ? 2 : opnd_size(i, 0);

		opnd_put(c, i, 0, size, c->seg[i->reg].sel);
		return;
	}
	seg_load(c, i->reg, (u16)opnd_get(c, i, 1, 2));
	if (i->reg == SEG_SS) {
		c->intr_shadow = 2;
		c->no_trap = true;
	}
}

void exec_lea(struct cpu *c, const struct insn *i)
{
	gpr_put(c, i, i->reg, i->opsize, insn_ea(c, i));
}

void exec_cmov(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0);
	u64 v = opnd_get(c, i, 1, size); /* read in any case */

	if (!cond_true(c->rflags, i->opcode & 15))
		v = gpr_get(c, i, i->reg, size);
	gpr_put(c, i, i->reg, size, v);
}

void exec_setcc(struct cpu *c, const struct insn *i)
{
	opnd_put(c, i, 0, 1, cond_true(c->rflags, i->opcode & 15));
}

void exec_lxs(struct cpu *c, const struct insn *i)
{
	static const struct {
		u16 op;
		u8 seg;
	} loads[] = { { INSN_LES, SEG_ES }, { INSN_LDS, SEG_DS }, { INSN_LSS, SEG_SS }, { INSN_LFS, SEG_FS },
		      { INSN_LGS, SEG_GS } };
	u64 la = insn_la_aligned(c, i, i->opsize + 2u, i->opsize, false);
	u64 off = mem_load(c, la, i->opsize);
	u16 sel = (u16)mem_load(c, c->mode == MODE_LONG64 ? la + i->opsize : (u32)(la + i->opsize), 2);

	for (size_t n = 0; n < ARRAY_SIZE(loads); n++)
		if (loads[n].op == i->d->op)
			seg_load(c, loads[n].seg, sel);
	gpr_put(c, i, i->reg, i->opsize, off);
}

void exec_xlat(struct cpu *c, const struct insn *i)
{
	u64 ea = c->gpr[RBX] + (u8)c->gpr[RAX], la;

	ea = i->adsize == 8 ? ea : i->adsize == 4 ? (u32)ea : (u16)ea;
	la = seg_la(c, i->seg_override == 0xff ? SEG_DS : i->seg_override, ea, 1, false);
	access_note(c, la, 1, false);
	c->gpr[RAX] = (c->gpr[RAX] & ~0xffull) | mem_load(c, la, 1);
}

/* CLI and STI under VME or PVI act on the virtual interrupt flag. */
static bool virtual_if(struct cpu *c, bool set)
{
	bool vme = c->mode == MODE_VM86 ? c->cr4 & CR4_VME : mode_paged_segments(c) && (c->cr4 & CR4_PVI) && c->cpl == 3;

	if (!vme || (set && (c->rflags & FL_VIP)))
		return false;
	c->rflags = set ? c->rflags | FL_VIF : c->rflags & ~(u64)FL_VIF;
	return true;
}

static void set_interrupt_flag(struct cpu *c, bool set)
{
	if (c->cpl > (c->rflags >> 12 & 3) && c->mode != MODE_REAL) {
		if (!virtual_if(c, set))
			cpu_raise_err(c, EXC_GP, 0);
		return;
	}
	if (!set) {
		c->rflags &= ~(u64)FL_IF;
	} else if (!(c->rflags & FL_IF)) {
		c->rflags |= FL_IF;
		c->intr_shadow = 1;
		host_event_check(c);
	}
}

void exec_flag(struct cpu *c, const struct insn *i)
{
	switch (i->d->op) {
	case INSN_CLC:
		c->rflags &= ~(u64)FL_CF;
		break;
	case INSN_STC:
		c->rflags |= FL_CF;
		break;
	case INSN_CMC:
		c->rflags ^= FL_CF;
		break;
	case INSN_CLD:
		c->rflags &= ~(u64)FL_DF;
		break;
	case INSN_STD:
		c->rflags |= FL_DF;
		break;
	default:
		set_interrupt_flag(c, i->d->op == INSN_STI);
	}
}

void exec_lahf(struct cpu *c, const struct insn *i)
{
	const u64 low = FL_ARITH & 0xff;

	if (i->d->op == INSN_LAHF)
		c->gpr[RAX] = (c->gpr[RAX] & ~0xff00ull) | ((c->rflags & low) | FL_1) << 8;
	else
		c->rflags = (c->rflags & ~low) | (c->gpr[RAX] >> 8 & low);
}

void exec_salc(struct cpu *c, const struct insn *i)
{
	c->gpr[RAX] = (c->gpr[RAX] & ~0xffull) | (c->rflags & FL_CF ? 0xff : 0);
}
