/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * In-core interrupt controllers and timers, as Linux KVM's: LAPIC (a vCPU's), IOAPIC, two 8259, 8254, GSI routing, MSI.
 * Who calls: vcpu-io.c (MMIO and ports), msr.c (x2APIC), run.c (what to inject), ioctl.c (state), irqfd.c (lines).
 * One lock for PIC, IOAPIC and routing (irqchips.lock), one per LAPIC; general registers only, no libc beyond pthread.
 * Sources: SDM vol. 3 chapter 11 (APIC), 82093AA (IOAPIC), 8259A, 8254 datasheets; api.rst for the ioctl formats.
 */
#pragma once
#include "../soft.h"

struct irqchips; /* irqchip.c */

/* ---- the VM's chips ---- */
int irqchips_create(struct vm *vm, bool split, u32 split_pins); /* 0 or -errno (EEXIST) */
void irqchips_destroy(struct vm *vm);
bool irqchips_split(const struct vm *vm);
int pit_create(struct vm *vm, const struct kvm_pit_config *config);

/*
 * Line of a GSI (through routing): level 0/1. source: distinct asserters of a shared line (0 user space, 1 PIT, 2
 * resample irqfds). >0 delivered, 0 coalesced, -1 masked or no route: the status of KVM_IRQ_LINE_STATUS.
 */
int irq_set_line(struct vm *vm, u32 gsi, int level, u32 source);
int irq_send_msi(struct vm *vm, const struct kvm_msi *msi); /* >0 delivered, 0 blocked, -1 no target, -EINVAL */
int irq_set_routing(struct vm *vm, const struct kvm_irq_routing *r); /* copies */
/* Called when the guest ends an interrupt of this GSI (resample irqfds, PIT reinjection). */
void irqfd_eoi(struct vm *vm, u32 gsi); /* implemented in irqfd.c */

/* MMIO and ports: true if an in-core chip took the access. */
bool chips_mmio(struct vcpu *v, u64 gpa, void *data, unsigned len, bool write);
bool chips_pio(struct vcpu *v, u16 port, void *data, unsigned size, bool write);

/* ---- a vCPU's LAPIC ---- */
struct lapic *lapic_create(struct vcpu *v);
void lapic_destroy(struct lapic *l);
void lapic_reset(struct lapic *l, bool init_only);
/* Highest-priority interrupt that may be delivered now (TPR/PPR respected; PIC ExtINT included), or -1. No change. */
int lapic_pending(struct vcpu *v);
/* Takes it: IRR -> ISR (or PIC INTA); returns the vector, or -1. */
int lapic_accept(struct vcpu *v);
#define MSR_KVM_PV_EOI 0x4b564d04u
bool lapic_msr_read(struct vcpu *v, u32 index, u64 *value);  /* APIC_BASE, x2APIC range, TSC_DEADLINE, PV_EOI */
bool lapic_msr_write(struct vcpu *v, u32 index, u64 value);
u64 lapic_get_tpr(struct vcpu *v); /* as CR8 */
void lapic_set_tpr(struct vcpu *v, u64 cr8);
u64 lapic_base(struct vcpu *v);
bool lapic_set_base(struct vcpu *v, u64 value);
/* When the LAPIC timer fires next, host_now_ns() time, or UINT64_MAX. */
u64 lapic_deadline(struct vcpu *v);
void lapic_timer_tick(struct vcpu *v); /* timer thread or the halted vCPU: deadline reached? set IRR */
void lapic_timer_enter(struct vcpu *v); /* KVM_RUN begins: what the timer did not do meanwhile */
/* PV IPIs and hypercalls (KVM_HC_SEND_IPI, KVM_HC_KICK_CPU). */
u64 lapic_pv_ipi(struct vm *vm, u64 low, u64 high, u32 min, u64 icr, bool long_mode);

/* ---- ioctls: KVM_{GET,SET}_{LAPIC,IRQCHIP,PIT2} ---- */
int lapic_get_state(struct vcpu *v, struct kvm_lapic_state *s);
int lapic_set_state(struct vcpu *v, const struct kvm_lapic_state *s);
int irqchip_get(struct vm *vm, struct kvm_irqchip *chip);
int irqchip_set(struct vm *vm, const struct kvm_irqchip *chip);
int pit_get(struct vm *vm, struct kvm_pit_state2 *s);
int pit_set(struct vm *vm, const struct kvm_pit_state2 *s);
int pit_set_reinject(struct vm *vm, bool on); /* KVM_REINJECT_CONTROL */

/* ---- timer.c ---- one thread a VM, started with the first timer */
struct kv_timer {
	u64 deadline; /* host_now_ns(), UINT64_MAX = off */
	void (*fire)(struct kv_timer *t); /* on the timer thread */
	void *opaque;
	u32 slot;
};
int timers_create(struct vm *vm);
void timers_stop(struct vm *vm); /* on return none fires, and none will */
void timers_destroy(struct vm *vm); /* after timers_stop() */
int timer_add(struct vm *vm, struct kv_timer *t);   /* 0 or -errno */
void timer_remove(struct vm *vm, struct kv_timer *t);
void timer_set(struct vm *vm, struct kv_timer *t, u64 deadline);

/* ---- irqfd.c, ioeventfd.c ---- */
int irqfd_ioctl(struct vm *vm, const struct kvm_irqfd *a);
int ioeventfd_ioctl(struct vm *vm, const struct kvm_ioeventfd *a);
void ioevents_destroy(struct vm *vm);
/* A write that matches an ioeventfd: signals it, true. */
bool ioeventfd_match(struct vm *vm, u64 addr, const void *data, unsigned len, bool pio);
