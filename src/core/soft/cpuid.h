/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPUID (cpuid.c): what KVM_GET_SUPPORTED_CPUID promises, and what a vCPU's table lets its guest see and use. */
#pragma once
#include "soft.h"

/* Fills up to max entries; returns the count, or -E2BIG. */
int cpuid_supported(struct kvm_cpuid_entry2 *entries, u32 max);
/* A new vCPU: no table yet, every instruction allowed. */
void cpuid_init(struct vcpu *v);
/* KVM_SET_CPUID2: 0 or negative errno. */
int cpuid_set(struct vcpu *v, const struct kvm_cpuid_entry2 *entries, u32 count);
bool cpuid_is_amd(void);
