/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM without processors for the tests of the interrupt chips: time stands still, and kicks are counted. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>
#include "chip/chip.h"

extern _Atomic u64 rig_now;      /* what host_now_ns() answers; 0: the host's clock */
extern u32 rig_kicks[MAX_VCPUS]; /* atomic */
extern u8 rig_memory[64]; /* all the guest has, from address 0 */

struct vm *rig_create(u32 vcpus, bool chips, bool split);
void rig_destroy(struct vm *vm);

/* The xAPIC page of a vCPU. */
u32 rig_apic_read(struct vcpu *v, u32 reg);
void rig_apic_write(struct vcpu *v, u32 reg, u32 value);
void rig_apic_enable(struct vcpu *v);
void rig_x2apic(struct vcpu *v);
u8 rig_in(struct vm *vm, u16 port);
void rig_out(struct vm *vm, u16 port, u8 value);
u32 rig_ioapic_read(struct vm *vm, u8 index);
void rig_ioapic_write(struct vm *vm, u8 index, u32 value);
void rig_ioapic_rte(struct vm *vm, unsigned pin, u64 rte);
