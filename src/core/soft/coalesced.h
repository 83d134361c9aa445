/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Coalesced MMIO and PIO: posted writes to registered zones go into a ring that user space empties at its next exit
 * (KVM_REGISTER_COALESCED_MMIO). The ring is one a VM, in the first vCPU's third page.
 */
#pragma once
#include "soft.h"

struct coalesced;
int coalesced_register(struct vm *vm, const struct kvm_coalesced_mmio_zone *z);
int coalesced_unregister(struct vm *vm, const struct kvm_coalesced_mmio_zone *z);
void coalesced_destroy(struct vm *vm);
/* vCPU threads: true when the write was taken. */
bool coalesced_write(struct vm *vm, u64 addr, const void *data, u32 len, bool pio);
