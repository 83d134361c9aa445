/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM's paravirtual clock and steal time (Documentation/virt/kvm/x86/msr.rst): pages in guest memory that the guest asked
 * for by an MSR. All vCPUs share one pair of TSC and clock, so the guest's clock never goes back between processors.
 */
#pragma once
#include "soft.h"

#define MSR_KVM_WALL_CLOCK_OLD 0x11u
#define MSR_KVM_SYSTEM_TIME_OLD 0x12u
#define MSR_KVM_WALL_CLOCK_NEW 0x4b564d00u
#define MSR_KVM_SYSTEM_TIME_NEW 0x4b564d01u
#define MSR_KVM_STEAL 0x4b564d03u
#define MSR_KVM_POLL 0x4b564d05u

/* True when the MSR is one of these (then done). */
bool kvmclock_msr(struct vcpu *v, u32 index, u64 *value, bool write);
void kvmclock_reset(struct vcpu *v);
/* Writes the vCPU's time page again: the pair, the TSC offset or the frequency changed. */
void kvmclock_update(struct vcpu *v);
/* The guest's clock now, in ns. */
u64 kvmclock_now(struct vm *vm);
void kvmclock_set(struct vm *vm, u64 ns);
/* Steal time's preempted flag: around a halt. A waiting PV TLB flush is done at the end. */
void kvmclock_preempted(struct vcpu *v, bool preempted);
