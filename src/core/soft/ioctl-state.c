/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading and writing a vCPU's state: registers, vector state, events, LAPIC. Called with the vCPU's lock, outside KVM_RUN. */
#include <errno.h>
#include <string.h>
#include "chip/chip.h"
#include "cpu/host.h"
#include "fpu.h"
#include "ioctl.h"
#include "mmu.h"
#include "run.h"

/* ---- general and segment registers ---- */

static long do_get_regs(struct vcpu *v, unsigned long arg)
{
	const u64 *g = v->cpu.gpr;

	*(struct kvm_regs *)arg = (struct kvm_regs){
		.rax = g[RAX], .rbx = g[RBX], .rcx = g[RCX], .rdx = g[RDX], .rsi = g[RSI], .rdi = g[RDI],
		.rsp = g[RSP], .rbp = g[RBP], .r8 = g[R8], .r9 = g[R9], .r10 = g[R10], .r11 = g[R11],
		.r12 = g[R12], .r13 = g[R13], .r14 = g[R14], .r15 = g[R15],
		.rip = v->cpu.rip, .rflags = v->cpu.rflags,
	};
	return 0;
}

static long do_set_regs(struct vcpu *v, unsigned long arg)
{
	const struct kvm_regs *r = (const void *)arg;
	u64 *g = v->cpu.gpr;

	g[RAX] = r->rax, g[RBX] = r->rbx, g[RCX] = r->rcx, g[RDX] = r->rdx;
	g[RSI] = r->rsi, g[RDI] = r->rdi, g[RSP] = r->rsp, g[RBP] = r->rbp;
	g[R8] = r->r8, g[R9] = r->r9, g[R10] = r->r10, g[R11] = r->r11;
	g[R12] = r->r12, g[R13] = r->r13, g[R14] = r->r14, g[R15] = r->r15;
	v->cpu.rip = r->rip;
	v->cpu.rflags = r->rflags | FL_1;
	v->inject_exc.pending = false;
	cpu_update_mode(&v->cpu);
	return 0;
}

static void get_segment(const struct segment *s, struct kvm_segment *k)
{
	*k = (struct kvm_segment){ .base = s->base, .limit = s->limit, .selector = s->sel, .type = s->type,
				   .present = s->present, .dpl = s->dpl, .db = s->db, .s = s->s, .l = s->l, .g = s->g,
				   .avl = s->avl, .unusable = s->unusable };
}

static void set_segment(struct segment *s, const struct kvm_segment *k)
{
	*s = (struct segment){ .base = k->base, .limit = k->limit, .sel = k->selector, .type = k->type & 15,
			       .present = k->present && !k->unusable, .dpl = k->dpl & 3, .db = !!k->db, .s = !!k->s, .l = !!k->l,
			       .g = !!k->g, .avl = !!k->avl, .unusable = !!k->unusable };
}

static const u8 seg_order[] = { SEG_CS, SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS, SEG_TR, SEG_LDTR };

/* struct kvm_sregs and kvm_sregs2 begin alike. */
static void get_common(struct vcpu *v, struct kvm_sregs2 *s)
{
	struct cpu *c = &v->cpu;

	for (unsigned i = 0; i < ARRAY_SIZE(seg_order); i++)
		get_segment(&c->seg[seg_order[i]], &s->cs + i);
	s->gdt = (struct kvm_dtable){ .base = c->gdtr.base, .limit = c->gdtr.limit };
	s->idt = (struct kvm_dtable){ .base = c->idtr.base, .limit = c->idtr.limit };
	s->cr0 = c->cr0;
	s->cr2 = c->cr2;
	s->cr3 = c->cr3;
	s->cr4 = c->cr4;
	s->cr8 = host_get_cr8(c);
	s->efer = c->efer;
	s->apic_base = host_apic_base(c);
}

static bool sregs_valid(const struct vcpu *v, const struct kvm_sregs2 *s)
{
	const u64 cr4_known = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE |
			      CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE |
			      CR4_SMEP | CR4_SMAP;
	bool paging = s->cr0 & CR0_PG;

	if ((s->cr4 & ~cr4_known) || s->cr0 >> 32 || (paging && !(s->cr0 & CR0_PE)))
		return false;
	if (s->efer & ~(u64)(EFER_SCE | EFER_LME | EFER_LMA | EFER_NX))
		return false;
	if ((s->efer & EFER_LME) && paging)
		return (s->cr4 & CR4_PAE) && (s->efer & EFER_LMA) &&
		       !(s->cr3 & ~v->cpu.phys_mask & 0x7fffffffffffffffull);
	return !(s->efer & EFER_LMA) && !s->cs.l;
}

static int set_common(struct vcpu *v, const struct kvm_sregs2 *s)
{
	struct cpu *c = &v->cpu;

	if (!sregs_valid(v, s))
		return -EINVAL;
	if (v->lapic) {
		if (lapic_base(v) != s->apic_base && !lapic_set_base(v, s->apic_base))
			return -EINVAL;
	} else {
		v->apic_base = s->apic_base;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(seg_order); i++)
		set_segment(&c->seg[seg_order[i]], &s->cs + i);
	c->gdtr = (struct desc_table){ .base = s->gdt.base, .limit = s->gdt.limit };
	c->idtr = (struct desc_table){ .base = s->idt.base, .limit = s->idt.limit };
	c->cr0 = s->cr0 | CR0_ET;
	c->cr2 = s->cr2;
	c->cr3 = s->cr3;
	c->cr4 = s->cr4;
	c->efer = s->efer;
	host_set_cr8(c, s->cr8);
	cpu_update_mode(c);
	mmu_flush_all(c);
	if (v->id == v->vm->bsp_id && c->rip == 0xfff0 && c->seg[SEG_CS].sel == 0xf000 && !(c->cr0 & CR0_PE))
		v->mp_state = KVM_MP_STATE_RUNNABLE;
	return 0;
}

static void load_pdptes(struct cpu *c)
{
	if ((c->cr0 & CR0_PG) && (c->cr4 & CR4_PAE) && !cpu_long(c))
		mmu_load_pdptes(c, c->cr3);
}

static long do_get_sregs(struct vcpu *v, unsigned long arg)
{
	struct kvm_sregs *out = (void *)arg;
	struct kvm_sregs2 s = { 0 };

	get_common(v, &s);
	memset(out, 0, sizeof(*out));
	memcpy(out, &s, offsetof(struct kvm_sregs2, flags));
	if (v->user_irq >= 0)
		out->interrupt_bitmap[v->user_irq / 64] |= 1ull << (v->user_irq & 63);
	return 0;
}

static long do_set_sregs(struct vcpu *v, unsigned long arg)
{
	const struct kvm_sregs *in = (const void *)arg;
	struct kvm_sregs2 s = { 0 };
	int err;

	memcpy(&s, in, offsetof(struct kvm_sregs2, flags));
	err = set_common(v, &s);
	if (err)
		return err;
	load_pdptes(&v->cpu);
	for (int i = 0; i < 256; i++)
		if (in->interrupt_bitmap[i / 64] >> (i & 63) & 1) {
			v->user_irq = i;
			break;
		}
	return 0;
}

static long do_get_sregs2(struct vcpu *v, unsigned long arg)
{
	struct kvm_sregs2 *s = (void *)arg;
	const struct cpu *c = &v->cpu;

	memset(s, 0, sizeof(*s));
	get_common(v, s);
	if ((c->cr0 & CR0_PG) && (c->cr4 & CR4_PAE) && !cpu_long(c)) {
		memcpy(s->pdptrs, c->pdpte, sizeof(s->pdptrs));
		s->flags |= KVM_SREGS2_FLAGS_PDPTRS_VALID;
	}
	return 0;
}

static long do_set_sregs2(struct vcpu *v, unsigned long arg)
{
	const struct kvm_sregs2 *s = (const void *)arg;
	bool pae = (s->cr0 & CR0_PG) && (s->cr4 & CR4_PAE) && !(s->efer & EFER_LMA), given;
	int err;

	if (s->flags & ~(u64)KVM_SREGS2_FLAGS_PDPTRS_VALID)
		return -EINVAL;
	given = s->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;
	if (given && !pae)
		return -EINVAL;
	err = set_common(v, s);
	if (err)
		return err;
	if (given)
		memcpy(v->cpu.pdpte, s->pdptrs, sizeof(s->pdptrs));
	else
		load_pdptes(&v->cpu);
	return 0;
}

static long do_get_debugregs(struct vcpu *v, unsigned long arg)
{
	struct kvm_debugregs *d = (void *)arg;

	memset(d, 0, sizeof(*d));
	memcpy(d->db, v->cpu.dr, sizeof(d->db));
	d->dr6 = v->cpu.dr[6];
	d->dr7 = v->cpu.dr[7];
	return 0;
}

static long do_set_debugregs(struct vcpu *v, unsigned long arg)
{
	const struct kvm_debugregs *d = (const void *)arg;

	if (d->flags || d->dr6 >> 32 || d->dr7 >> 32)
		return -EINVAL;
	memcpy(v->cpu.dr, d->db, sizeof(d->db));
	v->cpu.dr[6] = d->dr6;
	v->cpu.dr[7] = d->dr7;
	return 0;
}

/* ---- vector state: fpu.area has XSAVE's standard format (SDM vol. 1, 13.4) ---- */

#define AREA_MXCSR 24
#define AREA_ST 32
#define AREA_XMM 160
#define AREA_XSTATE_BV 512
#define AREA_XCOMP_BV 520
#define MXCSR_MASK 0xffffu

static long do_get_fpu(struct vcpu *v, unsigned long arg)
{
	struct kvm_fpu *f = (void *)arg;
	const u8 *a = v->fpu.area;

	memset(f, 0, sizeof(*f));
	memcpy(f->fpr, a + AREA_ST, sizeof(f->fpr));
	memcpy(&f->fcw, a, 2);
	memcpy(&f->fsw, a + 2, 2);
	f->ftwx = a[4];
	memcpy(&f->last_opcode, a + 6, 2);
	memcpy(&f->last_ip, a + 8, 8);
	memcpy(&f->last_dp, a + 16, 8);
	memcpy(f->xmm, a + AREA_XMM, sizeof(f->xmm));
	memcpy(&f->mxcsr, a + AREA_MXCSR, 4);
	return 0;
}

static long do_set_fpu(struct vcpu *v, unsigned long arg)
{
	const struct kvm_fpu *f = (const void *)arg;
	u8 *a = v->fpu.area;
	u32 mxcsr = f->mxcsr & MXCSR_MASK;
	u64 present;

	memcpy(a + AREA_ST, f->fpr, sizeof(f->fpr));
	memcpy(a, &f->fcw, 2);
	memcpy(a + 2, &f->fsw, 2);
	a[4] = f->ftwx;
	memcpy(a + 6, &f->last_opcode, 2);
	memcpy(a + 8, &f->last_ip, 8);
	memcpy(a + 16, &f->last_dp, 8);
	memcpy(a + AREA_XMM, f->xmm, sizeof(f->xmm));
	memcpy(a + AREA_MXCSR, &mxcsr, 4);
	memcpy(&present, a + AREA_XSTATE_BV, 8);
	present |= 3;
	memcpy(a + AREA_XSTATE_BV, &present, 8);
	fpu_written(&v->fpu);
	return 0;
}

static long do_get_xsave(struct vcpu *v, unsigned long arg)
{
	u32 size = fpu_size() < sizeof(struct kvm_xsave) ? fpu_size() : (u32)sizeof(struct kvm_xsave);

	memset((void *)arg, 0, sizeof(struct kvm_xsave));
	memcpy((void *)arg, v->fpu.area, size);
	return 0;
}

static long do_set_xsave(struct vcpu *v, unsigned long arg)
{
	const u8 *in = (const void *)arg;
	u32 size = fpu_size() < sizeof(struct kvm_xsave) ? fpu_size() : (u32)sizeof(struct kvm_xsave), mxcsr;
	u64 present, compact;

	memcpy(&mxcsr, in + AREA_MXCSR, 4);
	memcpy(&present, in + AREA_XSTATE_BV, 8);
	memcpy(&compact, in + AREA_XCOMP_BV, 8);
	if ((present & ~fpu_features()) || compact || (mxcsr & ~MXCSR_MASK))
		return -EINVAL;
	memcpy(v->fpu.area, in, size);
	memset(v->fpu.area + AREA_XCOMP_BV, 0, 56);
	fpu_written(&v->fpu);
	return 0;
}

static long do_get_xcrs(struct vcpu *v, unsigned long arg)
{
	struct kvm_xcrs *x = (void *)arg;

	memset(x, 0, sizeof(*x));
	x->nr_xcrs = 1;
	x->xcrs[0].value = v->cpu.xcr0;
	return 0;
}

static long do_set_xcrs(struct vcpu *v, unsigned long arg)
{
	const struct kvm_xcrs *x = (const void *)arg;

	if (x->nr_xcrs > KVM_MAX_XCRS || x->flags)
		return -EINVAL;
	for (u32 i = 0; i < x->nr_xcrs; i++) {
		u64 value = x->xcrs[i].value;

		if (x->xcrs[i].xcr)
			continue;
		if (!(value & 1) || (value & ~fpu_features()) || ((value & 4) && !(value & 2)))
			return -EINVAL;
		v->cpu.xcr0 = value;
	}
	return 0;
}

/* ---- events, multiprocessor state, LAPIC ---- */

static long do_get_events(struct vcpu *v, unsigned long arg)
{
	struct kvm_vcpu_events *e = (void *)arg;

	memset(e, 0, sizeof(*e));
	e->exception.injected = v->inject_exc.pending && !v->vm->exception_payload;
	e->exception.pending = v->inject_exc.pending && v->vm->exception_payload;
	e->exception.nr = v->inject_exc.vector;
	e->exception.has_error_code = v->inject_exc.has_error;
	e->exception.error_code = v->inject_exc.error;
	e->exception_has_payload = v->inject_exc.has_payload;
	e->exception_payload = v->inject_exc.payload;
	e->interrupt.injected = v->user_irq >= 0;
	e->interrupt.nr = v->user_irq >= 0 ? (u8)v->user_irq : 0;
	e->interrupt.shadow = v->cpu.intr_shadow ? KVM_X86_SHADOW_INT_STI : 0;
	e->nmi.pending = v->nmi_pending;
	e->nmi.masked = v->cpu.nmi_blocked;
	e->sipi_vector = 0;
	e->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	if (v->vm->exception_payload)
		e->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	if (v->vm->triple_fault_event) {
		e->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
		e->triple_fault.pending = v->triple_fault;
	}
	return 0;
}

static long do_set_events(struct vcpu *v, unsigned long arg)
{
	const struct kvm_vcpu_events *e = (const void *)arg;
	const u32 known = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR | KVM_VCPUEVENT_VALID_SHADOW |
			  KVM_VCPUEVENT_VALID_SMM | KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	bool exception = e->exception.injected || ((e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) && e->exception.pending);

	if (e->flags & ~known || ((e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) && !v->vm->exception_payload))
		return -EINVAL;
	if (exception && (e->exception.nr > 31 || e->exception.nr == EXC_NMI))
		return -EINVAL;
	if ((e->flags & KVM_VCPUEVENT_VALID_SMM) && (e->smi.smm || e->smi.pending))
		return -EINVAL; /* no system management mode */
	if ((e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) && !v->vm->triple_fault_event)
		return -EINVAL;
	v->inject_exc.pending = exception;
	v->inject_exc.vector = e->exception.nr;
	v->inject_exc.has_error = e->exception.has_error_code;
	v->inject_exc.error = e->exception.error_code;
	v->inject_exc.has_payload = (e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) && e->exception_has_payload;
	v->inject_exc.payload = e->exception_payload;
	v->user_irq = e->interrupt.injected ? e->interrupt.nr : -1;
	if (e->flags & KVM_VCPUEVENT_VALID_SHADOW)
		v->cpu.intr_shadow = !!e->interrupt.shadow;
	if (e->flags & KVM_VCPUEVENT_VALID_NMI_PENDING)
		v->nmi_pending = e->nmi.pending;
	if (e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT)
		v->triple_fault = e->triple_fault.pending;
	v->cpu.nmi_blocked = e->nmi.masked;
	if ((e->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR) && e->sipi_vector)
		v->sipi_vector = (u8)e->sipi_vector;
	vcpu_kick(v);
	return 0;
}

/* What came since the last KVM_RUN has no place in the state, so it is taken first, as in Linux: registers may change. */
static long do_get_mp_state(struct vcpu *v, unsigned long arg)
{
	take_init_sipi(v);
	if (v->mp_state == KVM_MP_STATE_HALTED && __atomic_exchange_n(&v->kicked, false, __ATOMIC_SEQ_CST))
		v->mp_state = KVM_MP_STATE_RUNNABLE;
	((struct kvm_mp_state *)arg)->mp_state = v->mp_state;
	return 0;
}

static long do_set_mp_state(struct vcpu *v, unsigned long arg)
{
	u32 state = ((const struct kvm_mp_state *)arg)->mp_state;

	if (state > KVM_MP_STATE_SIPI_RECEIVED || (!v->lapic && state != KVM_MP_STATE_RUNNABLE))
		return -EINVAL;
	if (state == KVM_MP_STATE_SIPI_RECEIVED) {
		v->mp_state = KVM_MP_STATE_INIT_RECEIVED;
		v->sipi_pending = true;
	} else {
		v->mp_state = state;
	}
	vcpu_kick(v);
	return 0;
}

static long do_get_lapic(struct vcpu *v, unsigned long arg)
{
	return v->lapic ? lapic_get_state(v, (void *)arg) : -EINVAL;
}

static long do_set_lapic(struct vcpu *v, unsigned long arg)
{
	long err = v->lapic ? lapic_set_state(v, (const void *)arg) : -EINVAL;

	vcpu_kick(v);
	return err;
}

const struct vcpu_ioctl vcpu_state_ioctls[] = {
	{ KVM_GET_REGS, do_get_regs },
	{ KVM_SET_REGS, do_set_regs },
	{ KVM_GET_SREGS, do_get_sregs },
	{ KVM_SET_SREGS, do_set_sregs },
	{ KVM_GET_SREGS2, do_get_sregs2 },
	{ KVM_SET_SREGS2, do_set_sregs2 },
	{ KVM_GET_DEBUGREGS, do_get_debugregs },
	{ KVM_SET_DEBUGREGS, do_set_debugregs },
	{ KVM_GET_FPU, do_get_fpu },
	{ KVM_SET_FPU, do_set_fpu },
	{ KVM_GET_XSAVE, do_get_xsave },
	{ KVM_GET_XSAVE2, do_get_xsave },
	{ KVM_SET_XSAVE, do_set_xsave },
	{ KVM_GET_XCRS, do_get_xcrs },
	{ KVM_SET_XCRS, do_set_xcrs },
	{ KVM_GET_VCPU_EVENTS, do_get_events },
	{ KVM_SET_VCPU_EVENTS, do_set_events },
	{ KVM_GET_MP_STATE, do_get_mp_state },
	{ KVM_SET_MP_STATE, do_set_mp_state },
	{ KVM_GET_LAPIC, do_get_lapic },
	{ KVM_SET_LAPIC, do_set_lapic },
	{ 0, NULL },
};
