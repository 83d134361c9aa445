/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptor table registers and checks, MSRs, time, TLB invalidation, HLT, CPUID, hypercalls and other system instructions. */
#include "exec.h"
#include "x86-ops.h"

static void umip_check(struct cpu *c)
{
	if ((c->cr4 & CR4_UMIP) && c->cpl && c->mode != MODE_REAL)
		cpu_raise_err(c, EXC_GP, 0);
}

/* ---- descriptor tables ---- */

void exec_sgdt(struct cpu *c, const struct insn *i)
{
	const struct desc_table *t = i->d->op == INSN_SGDT ? &c->gdtr : &c->idtr;
	unsigned size = c->mode == MODE_LONG64 ? 8 : 4;
	u8 image[10];

	umip_check(c);
	host_store(image, t->limit, 2);
	host_store(image + 2, t->base, size);
	mmu_write(c, insn_la(c, i, size + 2, true), image, size + 2, c->view);
}

void exec_lgdt(struct cpu *c, const struct insn *i)
{
	struct desc_table *t = i->d->op == INSN_LGDT ? &c->gdtr : &c->idtr;
	unsigned size = c->mode == MODE_LONG64 ? 8 : 4;
	u8 image[10];
	u64 base;

	mmu_read(c, insn_la(c, i, size + 2, false), image, size + 2, c->view);
	base = host_load(image + 2, size);
	if (size == 4 && i->opsize == 2)
		base &= 0xffffff;
	if (size == 8 && !is_canonical(base))
		cpu_raise_err(c, EXC_GP, 0);
	t->limit = (u16)host_load(image, 2);
	t->base = base;
}

void exec_sldt(struct cpu *c, const struct insn *i)
{
	u16 sel = c->seg[i->d->op == INSN_SLDT ? SEG_LDTR : SEG_TR].sel;

	umip_check(c);
	opnd_put(c, i, 0, opnd_is_mem(i, 0) ? 2 : opnd_size(i, 0), sel);
}

void exec_lldt(struct cpu *c, const struct insn *i)
{
	u16 sel = (u16)opnd_get(c, i, 0, 2);

	if (i->d->op == INSN_LLDT)
		load_ldt(c, sel, EXC_GP);
	else
		load_tr(c, sel);
}

static void set_zf(struct cpu *c, bool on)
{
	c->rflags = on ? c->rflags | FL_ZF : c->rflags & ~(u64)FL_ZF;
}

/* A descriptor that LAR, LSL, VERR, VERW may look at. */
static bool visible(struct cpu *c, u16 sel, struct segment *s, u64 *raw)
{
	if (!(sel & 0xfffc) || !desc_read(c, sel, raw))
		return false;
	desc_parse(s, sel, *raw);
	return (s->s && (s->type & 12) == 12) || (s->dpl >= c->cpl && s->dpl >= SEL_RPL(sel));
}

void exec_lar(struct cpu *c, const struct insn *i)
{
	bool lsl = i->d->op == INSN_LSL;
	u16 system = lsl ? 1u << 1 | 1u << 2 | 1u << 3 | 1u << 9 | 1u << 11 :
			   1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 9 | 1u << 11 | 1u << 12;
	u16 sel = (u16)opnd_get(c, i, 1, 2);
	struct segment s;
	u64 raw;
	bool ok;

	if (cpu_long(c))
		system &= 1u << 2 | 1u << 9 | 1u << 11 | 1u << 12;
	ok = visible(c, sel, &s, &raw) && (s.s || (system >> s.type & 1));
	if (ok)
		gpr_put(c, i, i->reg, i->opsize, lsl ? s.limit : raw >> 32 & 0xffff00);
	set_zf(c, ok);
}

void exec_verr(struct cpu *c, const struct insn *i)
{
	u16 sel = (u16)opnd_get(c, i, 0, 2);
	struct segment s;
	u64 raw;
	bool ok = visible(c, sel, &s, &raw) && s.s;

	if (ok)
		ok = i->d->op == INSN_VERR ? (s.type & 10) != 8 : (s.type & 10) == 2;
	set_zf(c, ok);
}

void exec_arpl(struct cpu *c, const struct insn *i)
{
	u16 v = (u16)opnd_get(c, i, 0, 2), rpl = SEL_RPL(c->gpr[i->reg]);
	bool adjust = SEL_RPL(v) < rpl;

	if (adjust)
		opnd_put(c, i, 0, 2, (v & ~3u) | rpl);
	set_zf(c, adjust);
}

/* ---- MSRs and identification ---- */

static void put_edx_eax(struct cpu *c, u64 v)
{
	c->gpr[RAX] = (u32)v;
	c->gpr[RDX] = v >> 32;
}

void exec_rdmsr(struct cpu *c, const struct insn *i)
{
	u64 v = 0;

	if (!host_rdmsr(c, (u32)c->gpr[RCX], &v))
		cpu_raise_err(c, EXC_GP, 0);
	put_edx_eax(c, v);
}

void exec_wrmsr(struct cpu *c, const struct insn *i)
{
	if (!host_wrmsr(c, (u32)c->gpr[RCX], c->gpr[RDX] << 32 | (u32)c->gpr[RAX]))
		cpu_raise_err(c, EXC_GP, 0);
}

void exec_cpuid(struct cpu *c, const struct insn *i)
{
	u32 out[4];

	host_cpuid(c, (u32)c->gpr[RAX], (u32)c->gpr[RCX], out);
	c->gpr[RAX] = out[0];
	c->gpr[RBX] = out[1];
	c->gpr[RCX] = out[2];
	c->gpr[RDX] = out[3];
}

void exec_rdtsc(struct cpu *c, const struct insn *i)
{
	if ((c->cr4 & CR4_TSD) && c->cpl)
		cpu_raise_err(c, EXC_GP, 0);
	put_edx_eax(c, host_tsc(c));
	if (i->d->op == INSN_RDTSCP)
		c->gpr[RCX] = (u32)c->tsc_aux;
}

void exec_rdpmc(struct cpu *c, const struct insn *i)
{
	cpu_raise_err(c, EXC_GP, 0); /* no counters: every index is invalid */
}

void exec_rdpid(struct cpu *c, const struct insn *i)
{
	c->gpr[i->rm] = (u32)c->tsc_aux;
}

void exec_vmcall(struct cpu *c, const struct insn *i)
{
	host_hypercall(c);
}

/* ---- caches and translations ---- */

void exec_wbinvd(struct cpu *c, const struct insn *i)
{
}

void exec_invlpg(struct cpu *c, const struct insn *i)
{
	u64 la = insn_ea(c, i);

	if (c->mode != MODE_LONG64)
		la = (u32)(la + c->seg[i->seg].base);
	else if (i->seg >= SEG_FS)
		la += c->seg[i->seg].base;
	if (is_canonical(la))
		mmu_flush_page(c, la);
}

void exec_invpcid(struct cpu *c, const struct insn *i)
{
	u64 type = c->mode == MODE_LONG64 ? c->gpr[i->reg] : (u32)c->gpr[i->reg], desc[2];

	mmu_read(c, insn_la(c, i, 16, false), desc, 16, c->view);
	if (type > 3 || (desc[0] >> 12) || (type < 2 && !(c->cr4 & CR4_PCIDE) && desc[0]) ||
	    (type == 0 && !is_canonical(desc[1])))
		cpu_raise_err(c, EXC_GP, 0);
	if (type == 0)
		mmu_flush_page_of(c, desc[1], (u16)desc[0]);
	else if (type == 1)
		mmu_flush_pcid(c, (u16)desc[0]);
	else if (type == 2)
		mmu_flush_all(c);
	else
		mmu_flush_nonglobal_all(c);
}

/* ---- waiting ---- */

void exec_hlt(struct cpu *c, const struct insn *i)
{
	if (c->rflags & FL_TF) /* the trap behind it ends the halt at once */
		return;
	c->rip = c->next_rip;
	c->rflags &= ~(u64)FL_RF;
	c->halted = true;
	cpu_leave(c, LEAVE_HLT);
}

void exec_monitor(struct cpu *c, const struct insn *i)
{
	unsigned seg = i->seg_override == 0xff ? SEG_DS : i->seg_override;

	if ((u32)c->gpr[RCX])
		cpu_raise_err(c, EXC_GP, 0);
	mem_load(c, seg_la(c, seg, addr_reg(c, RAX, i->adsize), 1, false), 1);
}

void exec_mwait(struct cpu *c, const struct insn *i)
{
	/* waking at once is always allowed; nobody watches the monitored line */
}

/* ---- bases and AC ---- */

void exec_fsgsbase(struct cpu *c, const struct insn *i)
{
	unsigned size = opnd_size(i, 0), op = i->d->op;
	u64 *base = &c->seg[op == INSN_RDFSBASE || op == INSN_WRFSBASE ? SEG_FS : SEG_GS].base, v;

	if (!(c->cr4 & CR4_FSGSBASE))
		cpu_raise(c, EXC_UD);
	if (op == INSN_RDFSBASE || op == INSN_RDGSBASE) {
		gpr_put(c, i, i->rm, size, *base);
		return;
	}
	v = gpr_get(c, i, i->rm, size);
	if (!is_canonical(v))
		cpu_raise_err(c, EXC_GP, 0);
	*base = v;
}

void exec_swapgs(struct cpu *c, const struct insn *i)
{
	u64 base = c->seg[SEG_GS].base;

	c->seg[SEG_GS].base = c->kernel_gs_base;
	c->kernel_gs_base = base;
}

void exec_clac(struct cpu *c, const struct insn *i)
{
	flags_load(c, i->d->op == INSN_STAC ? FL_AC : 0, FL_AC);
}
