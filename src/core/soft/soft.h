/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The software KVM's objects: a VM and its vCPUs, and the rules of its threads. ioctl.c maps KVM's ioctls on them.
 *
 * Threads: a vCPU belongs to the thread in its KVM_RUN; other vCPU ioctls take vcpu->lock (KVM_RUN holds it). Chips have
 * their own locks (chip/chip.h). vm->lock orders memslot changes, routing changes and creation. Lock order:
 * vcpu->lock, vm->lock, memory_lock, chip locks. An event for a vCPU is recorded under the chip's lock, then vcpu_kick().
 * A VM has a few threads of its own (thread.h).
 */
#pragma once
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include "cpu/state.h"
#include "fpu.h"
#include "mem.h"

#define MAX_VCPUS 64
#define MAX_VCPU_IDS 256 /* an id is the 8-bit APIC id too */
#define RUN_PAGES 3 /* kvm_run, PIO data, coalesced MMIO ring */

struct vm;
struct lapic;
struct jit;

/*
 * The address spaces whose translations a vCPU keeps (mmu-sets.c): one set of tables for a PCID. What a flush means for a set
 * that is not current waits in `pending` and in the log of INVLPGs until the set becomes current.
 */
#define MMU_SETS 8
#define MMU_LOG 32
struct mmu_set {
	struct cpu *face; /* the vCPU mapped with this set's tables, when `mapped` */
	bool mapped, refused; /* refused: the host did not map it; it is not asked again */
	u16 pcid;
	bool used, ready; /* ready: the first entries of the tables were written */
	u8 pending;	  /* PENDING_* */
	u64 used_at;
	u64 log_seen;
};
struct mmu_cache {
	u32 hint;    /* mem_slot() */
	u32 current; /* set */
	struct mmu_set set[MMU_SETS];
	u64 code_gpa; /* mmu_ptr() gave a pointer into a page that holds translated code: for mmu_wrote() */
	u32 code_len; /* 0: it did not */
	u64 clock;
	u64 log[MMU_LOG], log_head; /* INVLPGs of addresses that another set may have as global */
	u64 globals;		    /* where any set may have global entries: bit la >> 42 & 63 */
	u64 fills, flushes, full_flushes, fetch_flushes, switches, recycles, walk_hits; /* counters */
};

#define MCE_BANKS 32
#define MTRR_VARIABLE 8
/* MSRs that only keep a value; the others live in struct cpu, the LAPIC or kvmclock.c. */
struct msr_state {
	u64 mtrr_fixed[11], mtrr_base[MTRR_VARIABLE], mtrr_mask[MTRR_VARIABLE];
	u64 mcg_cap, mcg_status, mcg_ctl, mce[MCE_BANKS * 4];
	u64 debugctl, spec_ctrl, virt_spec_ctrl, tsc_adjust, feature_control, smi_count, ucode_rev, arch_capabilities;
	u64 hwcr, syscfg, platform_info, misc_features, osvw[2], xss, lbr_select, de_cfg;
};

/* What translated code met on this vCPU; u64s only, stats.c adds them up. */
struct jit_counts {
	u64 jump_misses, lookups;     /* targets that the jump cache did not have; nor the code cache */
	u64 tlb_misses, group_misses; /* of single accesses; of groups that lie in two pages */
	u64 page_crossings, page_faults, not_plain; /* ends of such: two pages, #PF, devices and pages that are watched */
	u64 host_faults;	      /* signals: divide errors, alignment, vector exceptions */
	u64 interp_exits, unfit;      /* instructions given to the interpreter; those for the processor's state */
};

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
	u64 woke_at, window_at, awake_ns; /* halt.c: ns, its own thread */
	u32 sleeping; /* futex word: 1 while halted in the core */
	u32 in_run;   /* atomic: inside KVM_RUN */
	u32 stopped;  /* atomic: at a safe point of vm_stop_world() */

	bool nmi_pending, sipi_pending, init_pending; /* atomic */
	u8 sipi_vector;
	s32 user_irq; /* vector injected by KVM_INTERRUPT (no in-core irqchip), or -1 */
	struct kvm_cpuid_entry2 *cpuid;
	u32 cpuid_count;
	u32 cpuid_gates[8]; /* bitmap of insn_desc.cpuid gates, from cpuid */
	bool has_sigmask; /* KVM_SET_SIGNAL_MASK; sigmask_word: signals blocked in KVM_RUN */
	pthread_t thread; /* in KVM_RUN */
	u32 guest_debug;
	u8 event_blocked; /* an event waits for IF, the end of a shadow, or a lower TPR: host_event_check() must look */
	u8 io_pending;	  /* enum cpu_leave_reason of the access user space is answering, or 0 */
	u64 io_rip;	  /* linear address of that instruction */
	u32 pio_count, pio_pos; /* a batch of REP INS elements in the data page: read by user space, taken by the guest */
	u64 pio_rcx;		/* RCX at the batch's next element: anything else drops it */
	u16 pio_port;
	u8 pio_size;
	u32 poll_ns;	  /* how long HLT spins before it sleeps */
	struct mmu_cache mmu;
	struct msr_state msr;
	u64 apic_base;	 /* without in-core LAPIC */
	u64 eoi_exits[4]; /* split irqchip: vectors of level interrupts the guest ended, each for a KVM_EXIT_IOAPIC_EOI */
	bool eoi_exit;	  /* there is one */
	struct {
		u32 index, reason;
		bool write, waits, done, error;
		u64 data;
	} msr_exit; /* KVM_EXIT_X86_RDMSR/WRMSR */
	u64 debug_reg[8]; /* KVM_SET_GUEST_DEBUG */
	struct {
		u8 vector;
		bool pending, has_error, has_payload;
		u32 error;
		u64 payload;
	} inject_exc; /* KVM_SET_VCPU_EVENTS */
	u64 sigmask_word;
	struct {
		u64 run_exits, halts, sleeps, injections;
		struct jit_counts jit;
	} stat;
	bool guest_paused; /* KVM_KVMCLOCK_CTRL */
	bool triple_fault; /* user space says so: KVM_RUN ends with a shutdown */
	bool kicked;	   /* KVM_HC_KICK_CPU: the next HLT, or this one, ends */
	u64 kvmclock_msr, steal_msr, pv_eoi_msr, async_pf_msr, wall_clock_msr, poll_control_msr;
	u32 exits[64];	  /* by KVM_EXIT_* */
};

struct vm {
	int fd;
	int process; /* getpid() of who made it, and has its threads */
	pthread_mutex_t lock;
	struct vcpu *vcpu[MAX_VCPUS];
	u32 vcpu_count;
	struct memory memory;
	struct jit *jit; /* NULL: interpret only */
	struct irqchips *chips; /* chip/chip.h; NULL until KVM_CREATE_IRQCHIP or split */
	struct ioevents *ioevents; /* irqfd.c, ioeventfd.c */
	struct timers *timers;	   /* timer.c: one thread, wakes LAPIC timers and the PIT */
	pthread_mutex_t world_lock;
	u32 world_stop; /* atomic futex word: 1 while it is stopped, 2 when somebody sleeps on it */
	u32 world_waits; /* atomic: who stops it sleeps on the `stopped` of a vCPU */
	u64 caps_enabled; /* KVM_ENABLE_CAP state, see ioctl.c */
	s64 clock_offset; /* kvmclock ns - host CLOCK_MONOTONIC_RAW ns */
	u32 user_space_msr; /* KVM_MSR_EXIT_REASON_* that leave to user space */
	u32 manual_dirty;   /* KVM_DIRTY_LOG_* of KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 */
	bool exception_payload, triple_fault_event;
	pthread_rwlock_t memory_lock; /* who looks at memory outside of KVM_RUN, against a slot change */
	u64 clock_tsc;	    /* kvmclock: host TSC at which the guest's clock read clock_ns; both atomic, see clock_get() */
	u64 clock_ns;
	u32 clock_version;  /* atomic: odd while they change */
	s64 tsc_offset;	    /* of the vCPU that was written last: later ones join it */
	u32 bsp_id;
	u64 tss_addr, identity_map_addr;
	struct kvm_pit_config pit_config;
	struct coalesced *coalesced; /* zones, coalesced.c */
	struct msr_filter *msr_filter;
	u32 refs; /* atomic: descriptors of the VM and its vCPUs */
	bool no_jit;
	u64 device_events; /* atomic: vm_device_event() */
	bool writes_reported; /* user space calls vm_memory_written(): nothing is verified */
};

/*
 * User space may have written guest memory since the last such call: a KVM_RUN begins, an interrupt is raised, a doorbell
 * rings. Translated code is compared with guest memory again after it (jit_verify_page()). Any thread.
 */
static inline void vm_device_event(struct vm *vm)
{
	__atomic_fetch_add(&vm->device_events, 1, __ATOMIC_RELAXED);
}

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
 * A struct vcpu is page aligned with its kvm_run pages directly in front of it (the memfd mapped there), in each of its
 * mappings, so that translated code polls at a constant distance: vcpu + VCPU_POLL_OFFSET is the u32 of bytes 1..4.
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

/* User space wrote [gpa, gpa + len), as much of it as is memory: what was translated from it goes. Any thread. */
void vm_memory_written(struct vm *vm, u64 gpa, u64 len);

/* vm.c: 0 or negative errno. */
int vm_create(struct vm **ret_vm);
void vm_get(struct vm *vm);
void vm_put(struct vm *vm);
/* vcpu.c */
int vcpu_create(struct vm *vm, u32 id, struct vcpu **ret_vcpu);
void vcpu_destroy(struct vcpu *v);
/* The vCPU at one more of its places (mmu-sets.c); also in KVM_RUN. False: the host has no room. */
bool vcpu_map_face(struct vcpu *v, struct cpu *face);
struct vcpu *vm_vcpu_by_id(struct vm *vm, u32 id);
/* Power-on state (init: what INIT changes). On the vCPU's thread, or with its lock held. */
void vcpu_reset(struct vcpu *v, bool init_only);

/* run.c: KVM_RUN, with v->lock held. 0 or -EINTR etc. */
int vcpu_run(struct vcpu *v);
/* Counts as stopped from here on, until it clears v->stopped and comes to a safe point. */
void vcpu_stopped(struct vcpu *v);
/* At a safe point: waits while the world is stopped. */
void vcpu_safe_point(struct vcpu *v);

/* Nanoseconds of CLOCK_MONOTONIC; inside of KVM_RUN from rdtsc with calibrated scale, without leaving general registers. */
u64 host_now_ns(void);
u64 host_ticks_to_ns(u64 ticks);
u64 host_tsc_hz(void); /* the first call may sleep for a millisecond */
