/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT. AMD and Intel differ outside of 64-bit code and for a return to a non-canonical
 * address: the guest gets what the vendor in its CPUID does.
 */
#include "exec.h"

#define DR6_BS (1u << 14)

static bool vendor_is_amd(struct cpu *c)
{
	u32 out[4];

	host_cpuid(c, 0, 0, out);
	return out[1] == 0x68747541 || out[1] == 0x6f677948; /* Auth(enticAMD), Hygo(nGenuine) */
}

struct segment segment_flat(enum seg_id seg, u16 sel, unsigned dpl, bool long64)
{
	return (struct segment){ .limit = ~0u, .sel = sel, .type = seg == SEG_CS ? 11 : 3, .s = 1, .dpl = (u8)dpl,
				 .present = 1, .g = 1, .db = !long64 || seg != SEG_CS, .l = long64 && seg == SEG_CS };
}

static void set_flat(struct cpu *c, enum seg_id seg, u16 sel, unsigned dpl, bool long64)
{
	c->seg[seg] = segment_flat(seg, sel, dpl, long64);
}

/* A trap is decided by the flags the instruction leaves. */
static void trap_by_new_flags(struct cpu *c)
{
	c->no_trap = true;
	if (c->rflags & FL_TF)
		c->trap_bits |= DR6_BS;
}

void exec_syscall(struct cpu *c, const struct insn *i)
{
	bool was_long64 = c->mode == MODE_LONG64;
	u16 sel = (u16)(c->star >> 32) & 0xfffc;

	if (!(c->efer & EFER_SCE) || c->mode <= MODE_VM86 || (!was_long64 && !vendor_is_amd(c)))
		cpu_raise(c, EXC_UD);
	if (cpu_long(c)) {
		c->gpr[RCX] = c->next_rip;
		c->gpr[R11] = c->rflags & ~(u64)FL_RF;
		c->rflags = (c->rflags & ~(c->sfmask | FL_RF)) | FL_1;
		c->next_rip = was_long64 ? c->lstar : c->cstar;
	} else {
		c->gpr[RCX] = c->next_rip;
		c->rflags &= ~(u64)(FL_IF | FL_RF | FL_VM);
		c->next_rip = (u32)c->star;
	}
	set_flat(c, SEG_CS, sel, 0, cpu_long(c));
	set_flat(c, SEG_SS, (u16)(sel + 8), 0, false);
	cpu_update_mode(c);
	trap_by_new_flags(c);
}

void exec_sysret(struct cpu *c, const struct insn *i)
{
	u16 sel = (u16)(c->star >> 48);
	bool wide = cpu_long(c) && i->opsize == 8;
	u64 flags = c->gpr[R11] & (FL_ARITH | FL_ALL_SYSTEM) & ~(u64)(FL_RF | FL_VM);

	if (!(c->efer & EFER_SCE) || (c->mode != MODE_LONG64 && !vendor_is_amd(c)))
		cpu_raise(c, EXC_UD);
	if (wide && !is_canonical(c->gpr[RCX]) && !vendor_is_amd(c))
		cpu_raise_err(c, EXC_GP, 0);
	set_flat(c, SEG_CS, (u16)((sel + (wide ? 16 : 0)) | 3), 3, wide);
	set_flat(c, SEG_SS, (u16)((sel + 8) | 3), 3, false);
	c->next_rip = wide ? c->gpr[RCX] : (u32)c->gpr[RCX];
	if (cpu_long(c))
		flags_load(c, flags, FL_ARITH | FL_ALL_SYSTEM);
	else
		flags_load(c, FL_IF, FL_IF);
	cpu_update_mode(c);
	trap_by_new_flags(c);
}

void exec_sysenter(struct cpu *c, const struct insn *i)
{
	u16 sel = (u16)c->sysenter_cs & 0xfffc;
	bool is_long = cpu_long(c);

	if (is_long && vendor_is_amd(c))
		cpu_raise(c, EXC_UD);
	if (!sel || c->mode == MODE_REAL)
		cpu_raise_err(c, EXC_GP, 0);
	c->rflags &= ~(u64)(FL_VM | FL_IF | FL_RF);
	set_flat(c, SEG_CS, sel, 0, is_long);
	set_flat(c, SEG_SS, (u16)(sel + 8), 0, false);
	c->gpr[RSP] = is_long ? c->sysenter_esp : (u32)c->sysenter_esp;
	c->next_rip = is_long ? c->sysenter_eip : (u32)c->sysenter_eip;
	cpu_update_mode(c);
}

void exec_sysexit(struct cpu *c, const struct insn *i)
{
	u16 sel = (u16)c->sysenter_cs & 0xfffc;
	bool wide = c->mode == MODE_LONG64 && i->opsize == 8;

	if (cpu_long(c) && vendor_is_amd(c))
		cpu_raise(c, EXC_UD);
	if (c->cpl || !sel || c->mode == MODE_REAL || (wide && (!is_canonical(c->gpr[RCX]) || !is_canonical(c->gpr[RDX]))))
		cpu_raise_err(c, EXC_GP, 0);
	set_flat(c, SEG_CS, (u16)((sel + (wide ? 32 : 16)) | 3), 3, wide);
	set_flat(c, SEG_SS, (u16)((sel + (wide ? 40 : 24)) | 3), 3, false);
	c->gpr[RSP] = wide ? c->gpr[RCX] : (u32)c->gpr[RCX];
	c->next_rip = wide ? c->gpr[RDX] : (u32)c->gpr[RDX];
	cpu_update_mode(c);
}
