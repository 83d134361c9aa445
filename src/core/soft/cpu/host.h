/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the processor asks of the VM around it. The soft core implements these (vcpu-io.c, msr.c, cpuid.c, run.c); unit
 * tests of cpu/ link their own.
 *
 * Accesses that user space must answer work by replay: the first time, the access is recorded in c->replay and
 * host_mmio()/host_pio() leave the instruction by cpu_leave() with nothing changed; KVM_RUN exits; when user space comes
 * back, the same instruction is executed again from its start and takes the recorded answer (but for the simplest, which
 * interp_finish() completes). So an instruction must not
 * change state before its last access (as for faults), and the record is dropped when it completes.
 */
#pragma once
#include "state.h"

enum cpu_leave_reason {
	LEAVE_MMIO = 1, /* c->replay[c->replay_count - 1] waits for user space */
	LEAVE_PIO,
	LEAVE_HLT,      /* halted: rip already behind HLT */
	LEAVE_TRIPLE_FAULT,
	LEAVE_MSR,	/* X86_USER_SPACE_MSR */
	LEAVE_ERROR,	/* KVM_EXIT_INTERNAL_ERROR, emulation failure */
	LEAVE_DEBUG,
};

/* Guest-physical access that is not memory: in-core chips at once, else by replay. len 1..8. Write: data is read. */
void host_mmio(struct cpu *c, u64 gpa, void *data, unsigned len, bool write);
/* Port access of 1, 2, 4 bytes; same rules. For REP INS/OUTS the caller comes once an element. */
void host_pio(struct cpu *c, u16 port, void *data, unsigned size, bool write);

/* RDMSR/WRMSR: false = #GP(0). All MSRs, also those kept in struct cpu. */
bool host_rdmsr(struct cpu *c, u32 index, u64 *value);
bool host_wrmsr(struct cpu *c, u32 index, u64 value);

void host_cpuid(struct cpu *c, u32 leaf, u32 subleaf, u32 out[4]); /* eax ebx ecx edx, with OSXSAVE, APIC id, ... */
bool host_cpuid_gate(struct cpu *c, unsigned gate); /* may this vCPU use instructions behind insn_desc.cpuid? */
u64 host_tsc(struct cpu *c); /* guest TSC now */
u64 host_get_cr8(struct cpu *c); /* LAPIC TPR */
void host_set_cr8(struct cpu *c, u64 v);
u64 host_apic_base(struct cpu *c);
/* VMCALL/VMMCALL: KVM hypercall ABI; registers are read and RAX is set. */
void host_hypercall(struct cpu *c);
/* Something changed that may make an interrupt deliverable (IF set, TPR lowered): re-evaluate before the next insn. */
void host_event_check(struct cpu *c);
bool host_nmi_done(struct cpu *c); /* IRET unblocks NMIs */

/* Leaves the current instruction with a reason for run.c: longjmp to c->fault_jmp. */
void cpu_leave(struct cpu *c, enum cpu_leave_reason reason) __attribute__((noreturn));
