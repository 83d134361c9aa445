/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Control registers: MOV CRn, LMSW, CLTS, XSETBV, the execution mode that follows from them, and reset (SDM vol. 3, 2.5, 9.1). */
#include "exec.h"

#define CR0_DEFINED (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
#define CR4_DEFINED \
	(CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR | \
	 CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP)

void cpu_update_mode(struct cpu *c)
{
	const struct segment *cs = &c->seg[SEG_CS];

	c->cpl = c->seg[SEG_SS].dpl;
	if (!(c->cr0 & CR0_PE)) {
		c->mode = MODE_REAL;
		c->cpl = 0;
	} else if (cpu_long(c)) {
		c->mode = cs->l ? MODE_LONG64 : cs->db ? MODE_COMPAT32 : MODE_COMPAT16;
	} else if (c->rflags & FL_VM) {
		c->mode = MODE_VM86;
		c->cpl = 3;
	} else {
		c->mode = cs->db ? MODE_PROT32 : MODE_PROT16;
	}
	c->decode_mode = c->mode == MODE_REAL && cs->db ? MODE_PROT32 : c->mode;
	c->view = c->cpl == 3 ? VIEW_USER : c->rflags & FL_AC ? VIEW_KERNEL_AC : VIEW_KERNEL;
}

static void gp_if(struct cpu *c, bool bad)
{
	if (bad)
		cpu_raise_err(c, EXC_GP, 0);
}

void cr0_write(struct cpu *c, u64 v)
{
	u64 old = c->cr0, changed;

	gp_if(c, v >> 32);
	v = (v & CR0_DEFINED) | CR0_ET;
	changed = v ^ old;
	gp_if(c, ((v & CR0_PG) && !(v & CR0_PE)) || ((v & CR0_NW) && !(v & CR0_CD)));
	if (changed & v & CR0_PG) {
		if (c->efer & EFER_LME)
			gp_if(c, !(c->cr4 & CR4_PAE) || c->seg[SEG_CS].l ||
					 (c->seg[SEG_TR].type == 3 && !c->seg[SEG_TR].unusable));
		else if (c->cr4 & CR4_PAE)
			gp_if(c, !mmu_load_pdptes(c, c->cr3));
	}
	if (changed & old & CR0_PG)
		gp_if(c, c->mode == MODE_LONG64 || (c->cr4 & CR4_PCIDE));
	c->cr0 = v;
	if (changed & CR0_PG) {
		if ((v & CR0_PG) && (c->efer & EFER_LME))
			c->efer |= EFER_LMA;
		else
			c->efer &= ~(u64)EFER_LMA;
	}
	if (changed & (CR0_PG | CR0_WP | CR0_PE))
		mmu_flush_all(c);
	if (changed & (CR0_PG | CR0_PE))
		cpu_update_mode(c);
}

static void cr3_write(struct cpu *c, u64 v)
{
	bool noflush = false;

	if (c->mode == MODE_LONG64 && (c->cr4 & CR4_PCIDE)) {
		noflush = v >> 63;
		v &= ~(1ull << 63);
	}
	gp_if(c, v & ~(c->phys_mask | 0xfff));
	if ((c->cr0 & CR0_PG) && (c->cr4 & CR4_PAE) && !cpu_long(c))
		gp_if(c, !mmu_load_pdptes(c, v));
	mmu_set_cr3(c, v, noflush);
}

/* Bits of CR4 that exist only with a feature. */
static u64 cr4_allowed(struct cpu *c)
{
	static const struct {
		u32 leaf;
		u8 reg, bit;
		u32 cr4;
	} features[] = {
		{ 1, 2, 26, CR4_OSXSAVE }, { 1, 2, 17, CR4_PCIDE }, { 7, 1, 0, CR4_FSGSBASE },
		{ 7, 1, 7, CR4_SMEP },	   { 7, 1, 20, CR4_SMAP },  { 7, 2, 2, CR4_UMIP },
	};
	u64 allowed = CR4_DEFINED;

	for (size_t n = 0; n < ARRAY_SIZE(features); n++) {
		u32 out[4];

		host_cpuid(c, features[n].leaf, 0, out);
		if (!(out[features[n].reg] >> features[n].bit & 1))
			allowed &= ~(u64)features[n].cr4;
	}
	return allowed;
}

static void cr4_write(struct cpu *c, u64 v)
{
	u64 old = c->cr4, changed = v ^ old;

	gp_if(c, v & ~cr4_allowed(c));
	gp_if(c, cpu_long(c) && !(v & CR4_PAE));
	gp_if(c, (changed & v & CR4_PCIDE) && (!cpu_long(c) || (c->cr3 & 0xfff)));
	c->cr4 = v;
	if ((changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP)) && (c->cr0 & CR0_PG) && (v & CR4_PAE) && !cpu_long(c) &&
	    !mmu_load_pdptes(c, c->cr3)) {
		c->cr4 = old;
		cpu_raise_err(c, EXC_GP, 0);
	}
	if (changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP | CR4_SMAP | CR4_PCIDE))
		mmu_flush_all(c);
}

void exec_mov_cr(struct cpu *c, const struct insn *i)
{
	bool long64 = c->mode == MODE_LONG64;
	u64 v = long64 ? c->gpr[i->rm] : (u32)c->gpr[i->rm];

	if (i->d->opnd[0].kind != OP_C) {
		switch (i->reg) {
		case 0:
			v = c->cr0;
			break;
		case 2:
			v = c->cr2;
			break;
		case 3:
			v = c->cr3;
			break;
		case 4:
			v = c->cr4;
			break;
		default:
			v = host_get_cr8(c);
		}
		c->gpr[i->rm] = long64 ? v : (u32)v;
		return;
	}
	switch (i->reg) {
	case 0:
		cr0_write(c, v);
		break;
	case 2:
		c->cr2 = v;
		break;
	case 3:
		cr3_write(c, v);
		break;
	case 4:
		cr4_write(c, v);
		break;
	default:
		gp_if(c, v > 15);
		host_set_cr8(c, v);
	}
}

static void umip_check(struct cpu *c)
{
	gp_if(c, (c->cr4 & CR4_UMIP) && c->cpl && c->mode != MODE_REAL);
}

void exec_smsw(struct cpu *c, const struct insn *i)
{
	umip_check(c);
	opnd_put(c, i, 0, opnd_is_mem(i, 0) ? 2 : opnd_size(i, 0), c->cr0);
}

void exec_lmsw(struct cpu *c, const struct insn *i)
{
	u64 v = opnd_get(c, i, 0, 2) & 15;

	cr0_write(c, (c->cr0 & ~0xeull) | v); /* PE can be set, not cleared */
}

void exec_clts(struct cpu *c, const struct insn *i)
{
	c->cr0 &= ~(u64)CR0_TS;
}

void exec_xgetbv(struct cpu *c, const struct insn *i)
{
	u32 which = (u32)c->gpr[RCX], out[4];
	u64 v = c->xcr0;

	if (!(c->cr4 & CR4_OSXSAVE))
		cpu_raise(c, EXC_UD);
	host_cpuid(c, 0xd, 1, out);
	gp_if(c, which > 1 || (which == 1 && !(out[0] & 4)));
	c->gpr[RAX] = (u32)v;
	c->gpr[RDX] = v >> 32;
}

void exec_xsetbv(struct cpu *c, const struct insn *i)
{
	u64 v = c->gpr[RDX] << 32 | (u32)c->gpr[RAX];
	u32 out[4];

	if (!(c->cr4 & CR4_OSXSAVE))
		cpu_raise(c, EXC_UD);
	host_cpuid(c, 0xd, 0, out);
	gp_if(c, (u32)c->gpr[RCX] || !(v & 1) || (v & 6) == 4 || (v & ~((u64)out[3] << 32 | out[0])));
	c->xcr0 = v;
}

/* ---- reset ---- */

void cpu_reset(struct cpu *c, bool init_only)
{
	u32 out[4];

	for (unsigned r = 0; r < 16; r++)
		c->gpr[r] = 0;
	host_cpuid(c, 1, 0, out);
	c->gpr[RDX] = out[0];
	c->rip = 0xfff0;
	c->rflags = FL_1;
	for (unsigned s = 0; s < SEG_LDTR; s++)
		c->seg[s] = (struct segment){ .limit = 0xffff, .type = 3, .s = 1, .present = 1 };
	c->seg[SEG_CS].sel = 0xf000;
	c->seg[SEG_CS].base = 0xffff0000;
	c->seg[SEG_CS].type = 11;
	c->seg[SEG_LDTR] = (struct segment){ .limit = 0xffff, .type = 2, .present = 1 };
	c->seg[SEG_TR] = (struct segment){ .limit = 0xffff, .type = 11, .present = 1 };
	c->gdtr = c->idtr = (struct desc_table){ .limit = 0xffff };
	c->cr0 = CR0_ET | (init_only ? c->cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW);
	c->cr2 = c->cr3 = c->cr4 = c->cr8 = c->efer = 0;
	for (unsigned n = 0; n < 4; n++)
		c->dr[n] = 0;
	c->dr[6] = 0xffff0ff0;
	c->dr[7] = 0x400;
	c->intr_shadow = 0;
	c->halted = c->nmi_blocked = false;
	c->trap_bits = 0;
	c->exc.pending = c->exc.in_delivery = false;
	if (!init_only) {
		c->xcr0 = 1;
		c->kernel_gs_base = c->star = c->lstar = c->cstar = c->sfmask = c->tsc_aux = 0;
		c->sysenter_cs = c->sysenter_esp = c->sysenter_eip = c->mtrr_def = 0;
		c->pat = 0x0007040600070406ull;
		c->misc_enable = 1;
	}
	cpu_update_mode(c);
}
