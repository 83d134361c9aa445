/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See kvmclock.h. Everything but kvmclock_set() runs on the vCPU's thread, or with its lock held outside KVM_RUN. */
#include <string.h>
#include <time.h>
#include "kvmclock.h"
#include "mmu.h"
#include "sys.h"

/* ABI of the guest: arch/x86/include/asm/pvclock-abi.h and kvm_para.h of Linux */
struct time_info {
	u32 version, pad0;
	u64 tsc_timestamp, system_time;
	u32 tsc_to_system_mul;
	s8 tsc_shift;
	u8 flags, pad[2];
} __attribute__((packed));
#define TIME_TSC_STABLE 1
#define TIME_GUEST_STOPPED 2

struct wall_clock {
	u32 version, sec, nsec;
} __attribute__((packed));

struct steal_time {
	u64 steal;
	u32 version, flags;
	u8 preempted, pad8[3];
	u32 pad[11];
} __attribute__((packed));
#define STEAL_PREEMPTED 1
#define STEAL_FLUSH_TLB 2

/* ns = (ticks << shift) * mul >> 32, with mul in [2^31, 2^32). */
static void clock_scale(u64 hz, u32 *ret_mul, s8 *ret_shift)
{
	s8 shift = 0;
	u64 base = hz, target = 1000000000u;

	while (base > target * 2) {
		base >>= 1;
		shift--;
	}
	while (base <= target) {
		base <<= 1;
		shift++;
	}
	*ret_mul = (u32)(((unsigned __int128)target << 32) / (shift < 0 ? (hz >> -shift) : (hz << shift)));
	*ret_shift = shift;
}

static u64 ticks_to_ns(u64 ticks)
{
	u32 mul;
	s8 shift;

	clock_scale(host_tsc_hz(), &mul, &shift);
	ticks = shift < 0 ? ticks >> -shift : ticks << shift;
	return (u64)((unsigned __int128)ticks * mul >> 32);
}

/* Both of one moment, though another thread may be in kvmclock_set(). */
static void clock_get(struct vm *vm, u64 *ret_tsc, u64 *ret_ns)
{
	u32 version;

	do {
		version = __atomic_load_n(&vm->clock_version, __ATOMIC_ACQUIRE);
		*ret_tsc = __atomic_load_n(&vm->clock_tsc, __ATOMIC_ACQUIRE);
		*ret_ns = __atomic_load_n(&vm->clock_ns, __ATOMIC_ACQUIRE);
	} while ((version & 1) || __atomic_load_n(&vm->clock_version, __ATOMIC_RELAXED) != version);
}

u64 kvmclock_now(struct vm *vm)
{
	u64 tsc, ns, now;

	clock_get(vm, &tsc, &ns);
	now = sys_rdtsc(); /* not in order with loads, and of another processor: it may be a little earlier */
	return ns + ((s64)(now - tsc) > 0 ? ticks_to_ns(now - tsc) : 0);
}

void kvmclock_set(struct vm *vm, u64 ns)
{
	pthread_mutex_lock(&vm->lock);
	__atomic_add_fetch(&vm->clock_version, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&vm->clock_tsc, sys_rdtsc(), __ATOMIC_SEQ_CST);
	__atomic_store_n(&vm->clock_ns, ns, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&vm->clock_version, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&vm->lock);
	for (u32 i = 0; i < vm->vcpu_count; i++)
		vcpu_request(vm->vcpu[i], REQ_MIGRATE_CLOCK);
}

void kvmclock_update(struct vcpu *v)
{
	struct time_info t = { 0 };
	u64 gpa = v->kvmclock_msr & ~1ull, tsc, ns;
	u32 mul;
	s8 shift;

	if (!(v->kvmclock_msr & 1) || !vm_read_phys(v->vm, gpa, &t.version, sizeof(t.version)))
		return;
	t.version |= 1; /* odd: being written */
	if (!vm_write_phys(v->vm, gpa, &t.version, sizeof(t.version)))
		return;
	clock_get(v->vm, &tsc, &ns);
	t.system_time = ns;
	t.tsc_timestamp = tsc + (u64)v->cpu.tsc_offset;
	clock_scale(host_tsc_hz(), &mul, &shift);
	t.tsc_to_system_mul = mul;
	t.tsc_shift = shift;
	t.flags = TIME_TSC_STABLE | (v->guest_paused ? TIME_GUEST_STOPPED : 0);
	v->guest_paused = false;
	vm_write_phys(v->vm, gpa + 8, (u8 *)&t + 8, sizeof(t) - 8);
	t.version++;
	vm_write_phys(v->vm, gpa, &t.version, sizeof(t.version));
}

static void write_wall_clock(struct vcpu *v)
{
	struct wall_clock w;
	struct timespec now;
	u64 boot;

	if (!vm_read_phys(v->vm, v->wall_clock_msr, &w.version, sizeof(w.version)))
		return;
	w.version |= 1;
	sys_call6(SYS_clock_gettime, CLOCK_REALTIME, (long)&now, 0, 0, 0, 0);
	boot = (u64)now.tv_sec * 1000000000u + (u64)now.tv_nsec - kvmclock_now(v->vm);
	w.sec = (u32)(boot / 1000000000u);
	w.nsec = (u32)(boot % 1000000000u);
	vm_write_phys(v->vm, v->wall_clock_msr, &w, sizeof(w));
	w.version++;
	vm_write_phys(v->vm, v->wall_clock_msr, &w.version, sizeof(w.version));
}

bool kvmclock_msr(struct vcpu *v, u32 index, u64 *value, bool write)
{
	u64 *at;

	switch (index) {
	case MSR_KVM_WALL_CLOCK_OLD:
	case MSR_KVM_WALL_CLOCK_NEW:
		at = &v->wall_clock_msr;
		break;
	case MSR_KVM_SYSTEM_TIME_OLD:
	case MSR_KVM_SYSTEM_TIME_NEW:
		at = &v->kvmclock_msr;
		break;
	case MSR_KVM_STEAL:
		at = &v->steal_msr;
		break;
	case MSR_KVM_POLL:
		at = &v->poll_control_msr;
		break;
	default:
		return false;
	}
	if (!write) {
		*value = *at;
		return true;
	}
	if (at == &v->steal_msr && (*value & 0x3e))
		return false;
	if (at == &v->poll_control_msr && (*value & ~1ull))
		return false;
	*at = *value;
	if (at == &v->wall_clock_msr && *value)
		write_wall_clock(v);
	else if (at == &v->kvmclock_msr)
		kvmclock_update(v);
	else if (at == &v->steal_msr)
		kvmclock_preempted(v, false);
	return true;
}

void kvmclock_reset(struct vcpu *v)
{
	v->kvmclock_msr = v->wall_clock_msr = v->steal_msr = 0;
	v->poll_control_msr = 1;
}

void kvmclock_preempted(struct vcpu *v, bool preempted)
{
	u64 gpa = (v->steal_msr & ~0x3full) + offsetof(struct steal_time, preempted);
	struct memslot *s;
	u8 *flag;

	if (!(v->steal_msr & 1))
		return;
	s = mem_slot(&v->vm->memory, gpa, &v->mmu.hint);
	if (!s || (s->flags & KVM_MEM_READONLY))
		return;
	flag = mem_slot_host(s, gpa);
	if (preempted) {
		__atomic_store_n(flag, STEAL_PREEMPTED, __ATOMIC_SEQ_CST);
	} else if (__atomic_exchange_n(flag, 0, __ATOMIC_SEQ_CST) & STEAL_FLUSH_TLB) {
		mmu_flush_all(&v->cpu);
	}
	mem_mark_dirty(s, gpa);
}
