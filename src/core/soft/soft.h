/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The software KVM's objects: a VM and its vCPUs, and the rules of its threads. ioctl.c maps KVM's ioctls on them.
 *
 * Threads: a vCPU belongs to the thread in its KVM_RUN; other vCPU ioctls take vcpu->lock (KVM_RUN holds it). Chips have
 * their own locks (chip/chip.h). vm->lock orders memslot changes, routing changes and creation. Lock order:
 * vcpu->lock, vm->lock, chip locks. An event for a vCPU is recorded under the chip's lock, then vcpu_kick().
 */
#pragma once
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include "cpu/state.h"
#include "fpu.h"
#include "mem.h"

#define MAX_VCPUS 64
#define RUN_PAGES 3 /* kvm_run, PIO data, coalesced MMIO ring */

struct vm;
struct lapic;
struct jit;

struct vcpu {
	struct cpu cpu; /* first: struct vcpu * and struct cpu * are the same address; page aligned */
	struct fpu fpu;
	struct vm *vm;
	u32 id;	      /* APIC id */
	u32 index;    /* place in vm->vcpu[] */
	int fd;	      /* memfd of the kvm_run pages: the vCPU descriptor */
	struct kvm_run *run;
	pthread_mutex_t lock;
	struct lapic *lapic; /* NULL without in-core irqchip */

	u32 mp_state; /* KVM_MP_STATE_*, changed by its own thread, or by others while it is not running */
	u32 sleeping; /* futex word: 1 while halted in the core */
	u32 in_run;   /* atomic: inside KVM_RUN */
	u32 stopped;  /* atomic: at a safe point of vm_stop_world() */

	bool nmi_pending, sipi_pending, init_pending; /* atomic */
	u8 sipi_vector;
	s32 user_irq; /* vector injected by KVM_INTERRUPT (no in-core irqchip), or -1 */
	struct kvm_cpuid_entry2 *cpuid;
	u32 cpuid_count;
	u32 cpuid_gates[8]; /* bitmap of insn_desc.cpuid gates, from cpuid */
	sigset_t sigmask;
	bool has_sigmask;
	pthread_t thread; /* in KVM_RUN */
	u32 guest_debug;
	u64 kvmclock_msr, steal_msr, pv_eoi_msr, async_pf_msr, wall_clock_msr, poll_control_msr;
	u32 exits[64];	  /* by KVM_EXIT_* */
};

struct vm {
	int fd;
	pthread_mutex_t lock;
	struct vcpu *vcpu[MAX_VCPUS];
	u32 vcpu_count;
	struct memory memory;
	struct jit *jit; /* NULL: interpret only */
	struct irqchips *chips; /* chip/chip.h; NULL until KVM_CREATE_IRQCHIP or split */
	struct ioevents *ioevents; /* irqfd.c, ioeventfd.c */
	struct timers *timers;	   /* timer.c: one thread, wakes LAPIC timers and the PIT */
	pthread_mutex_t world_lock;
	u32 world_stop; /* atomic futex word */
	u64 caps_enabled; /* KVM_ENABLE_CAP state, see ioctl.c */
	s64 clock_offset; /* kvmclock ns - host CLOCK_MONOTONIC_RAW ns */
	bool user_space_msr;
	struct kvm_pit_config pit_config;
};

/* Sets REQ_* on a vCPU and makes it look: its poll byte, and a futex wake when it sleeps. Any thread. */
void vcpu_request(struct vcpu *v, u32 req);
/* Interrupt state changed (chips, LAPIC): vcpu_request(v, REQ_EVENT). */
void vcpu_kick(struct vcpu *v);

/*
 * Stop the world: returns when no vCPU of the VM executes guest code or holds slot pointers; ends with vm_resume_world().
 * From a vCPU thread inside KVM_RUN it counts the caller as stopped.
 */
void vm_stop_world(struct vm *vm, struct vcpu *self);
void vm_resume_world(struct vm *vm);

/* The poll word: bytes 1..4 of kvm_run = immediate_exit and padding1[0..2]; we use padding1[1]. Requests live in cpu.req;
 * this byte says that there are some. */
/*
 * A struct vcpu is allocated page aligned in one mapping with its kvm_run pages directly in front of it (the memfd mapped
 * there), so that translated code polls at a constant distance: vcpu + VCPU_POLL_OFFSET is the u32 of bytes 1..4.
 */
#define VCPU_RUN_OFFSET (-(s32)(RUN_PAGES * PAGE_SIZE))
#define VCPU_POLL_OFFSET (VCPU_RUN_OFFSET + 1)
static inline u8 *vcpu_poll_byte(struct vcpu *v)
{
	return (u8 *)v->run + 3;
}

/* Guest-physical access from any thread (kvmclock, PV EOI): false when it is not memory. */
bool vm_read_phys(struct vm *vm, u64 gpa, void *data, u32 len);
bool vm_write_phys(struct vm *vm, u64 gpa, const void *data, u32 len);

/* Host time without leaving general registers: nanoseconds of CLOCK_MONOTONIC, from rdtsc with calibrated scale. */
u64 host_now_ns(void);
u64 host_tsc_hz(void);
