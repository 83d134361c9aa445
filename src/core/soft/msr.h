/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Model-specific registers (msr.c): for RDMSR/WRMSR, KVM_{GET,SET}_MSRS and the MSR lists and filters of user space. */
#pragma once
#include "soft.h"

struct msr_filter;

/* RDMSR/WRMSR: false = #GP(0); leaves to user space (cpu_leave) where KVM_CAP_X86_USER_SPACE_MSR says so. */
bool msr_guest_access(struct vcpu *v, u32 index, u64 *value, bool write);
/* KVM_GET_MSRS, KVM_SET_MSRS: wider rights than the guest. False: no such MSR, or not that value. */
bool msr_host_access(struct vcpu *v, u32 index, u64 *value, bool write);
/* KVM_GET_MSRS on the system descriptor. */
bool msr_feature(u32 index, u64 *ret_value);
void msr_reset(struct vcpu *v);

extern const u32 msr_save_list[], msr_feature_list[];
extern const u32 msr_save_count, msr_feature_count;

/* run-exit.c: kvm_run for the access in v->msr_exit (returns KVM_EXIT_X86_*), and user space's answer. */
u32 msr_exit_fill(struct vcpu *v);
void msr_exit_complete(struct vcpu *v);

int msr_filter_set(struct vm *vm, const struct kvm_msr_filter *f);
void msr_filter_free(struct msr_filter *f);
