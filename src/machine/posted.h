/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Posted writes: to a device's memory where no write has to be answered before the guest goes on (a screen's). KVM collects them
 * (KVM_REGISTER_COALESCED_MMIO, Documentation/virt/kvm/api.rst) and KVM_RUN goes on; whoever wants to know what the device has
 * takes them out first: each exit, and who looks at it from another thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus;
struct kvm_coalesced_mmio_ring;
struct machine_core;
struct posted;

/* NULL: this KVM collects none, or no VM (vm_fd -1); all calls take that, and writes are exits. */
struct posted *posted_new(struct machine_core *core);
void posted_free(struct posted *p);
/* Writes to size bytes of the mmio bus at gpa are posted. Main thread. */
void posted_add(struct posted *p, uint64_t gpa, uint32_t size);
/* Exits until posted again: for who waits for the next one, and holds no lock of the device. Main thread. */
void posted_suspend(struct posted *p, uint64_t gpa, uint32_t size);
void posted_resume(struct posted *p, uint64_t gpa, uint32_t size);
/* vCPU 0 is there: its kvm_run is run_size bytes. Does nothing without posted_add() before. False: its ring cannot be mapped. */
bool posted_open(struct posted *p, int vcpu_fd, size_t run_size);
/* All that were posted have reached their devices. Any thread, without a device's locks. */
void posted_flush(struct posted *p);
