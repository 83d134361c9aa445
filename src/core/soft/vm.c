/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM: creation, the end of its life, stopping the world, guest memory for foreign threads, and host time. Called by
 * ioctl.c and, for stop and resume, by mem.c and the translator.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "chip/chip.h"
#include "coalesced.h"
#include "jit/jit.h"
#include "msr.h"
#include "soft.h"
#include "sys.h"

/*
 * ---- host time ----
 * The TSC's frequency from two looks at both clocks, the first as early as can be. By the time that somebody has to know, when a
 * vCPU runs, a process has spent at least a millisecond on its start; until then the kernel's clock is read.
 */

enum { APART_NS = 1000000, TRIES = 256 };

static struct {
	pthread_once_t once;
	u64 tsc0, ns0, hz;
	u64 mult; /* atomic; ns = tsc * mult >> 32; 0: not known yet */
} host_clock = { .once = PTHREAD_ONCE_INIT };

static u64 monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

/* TSC and clock at one moment: the tightest of many tries, which is good for a few nanoseconds. */
static void sample(u64 *ret_tsc, u64 *ret_ns)
{
	u64 best = UINT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		u64 a = sys_rdtsc(), ns = monotonic_ns(), b = sys_rdtsc();

		if (b - a < best) {
			best = b - a;
			*ret_tsc = a + (b - a) / 2;
			*ret_ns = ns;
		}
	}
}

__attribute__((constructor)) static void clock_begin(void)
{
	sample(&host_clock.tsc0, &host_clock.ns0);
}

static void clock_calibrate(void)
{
	u64 tsc, ns, passed = monotonic_ns() - host_clock.ns0;
	struct timespec rest = {.tv_nsec = APART_NS - (long)passed};

	while (passed < APART_NS && clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, &rest) == EINTR)
		;
	sample(&tsc, &ns);
	tsc -= host_clock.tsc0;
	ns -= host_clock.ns0;
	host_clock.hz = (u64)((unsigned __int128)tsc * 1000000000u / ns);
	host_clock.hz = (host_clock.hz + 5000) / 10000 * 10000; /* the clocks of real machines are round */
	__atomic_store_n(&host_clock.mult, (u64)(((unsigned __int128)1000000000u << 32) / host_clock.hz), __ATOMIC_RELEASE);
}

u64 host_tsc_hz(void)
{
	pthread_once(&host_clock.once, clock_calibrate);
	return host_clock.hz;
}

u64 host_ticks_to_ns(u64 ticks)
{
	unsigned __int128 ns;

	pthread_once(&host_clock.once, clock_calibrate);
	ns = (unsigned __int128)ticks * host_clock.mult >> 32;
	return ns > UINT64_MAX ? UINT64_MAX : (u64)ns;
}

u64 host_now_ns(void)
{
	u64 mult = __atomic_load_n(&host_clock.mult, __ATOMIC_ACQUIRE);

	if (unlikely(!mult))
		return monotonic_ns();
	return host_clock.ns0 + (u64)((unsigned __int128)(sys_rdtsc() - host_clock.tsc0) * mult >> 32);
}

/* ---- life ---- */

int vm_create(struct vm **ret_vm)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	const char *interp = getenv("KVCORE_INTERPRET");
	struct jit_options options;

	if (!jit_options_read(&options)) {
		free(vm);
		return -EINVAL;
	}
	if (!vm)
		return -ENOMEM;
	vm->refs = 1;
	vm->process = getpid();
	vm->fd = -1;
	vm->no_jit = interp && *interp == '1';
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->world_lock, NULL);
	pthread_rwlock_init(&vm->memory_lock, NULL);
	vm->clock_tsc = sys_rdtsc();
	vm->tsc_offset = -(s64)vm->clock_tsc;
	if (!vm->no_jit)
		vm->jit = jit_create(&options);
	*ret_vm = vm;
	return 0;
}

void vm_get(struct vm *vm)
{
	__atomic_add_fetch(&vm->refs, 1, __ATOMIC_SEQ_CST);
}

/* The last descriptor is gone: no vCPU runs any more. A child of fork(2) has none of our threads, and goes with its memory. */
void vm_put(struct vm *vm)
{
	if (__atomic_sub_fetch(&vm->refs, 1, __ATOMIC_SEQ_CST) || vm->process != getpid())
		return;
	ioevents_destroy(vm);
	timers_stop(vm); /* what rings goes to vCPUs */
	for (u32 i = 0; i < vm->vcpu_count; i++)
		vcpu_destroy(vm->vcpu[i]);
	irqchips_destroy(vm);
	timers_destroy(vm); /* the chips took theirs out before */
	if (vm->jit)
		jit_destroy(vm->jit);
	mem_free(&vm->memory);
	coalesced_destroy(vm);
	msr_filter_free(vm->msr_filter);
	pthread_mutex_destroy(&vm->lock);
	pthread_mutex_destroy(&vm->world_lock);
	pthread_rwlock_destroy(&vm->memory_lock);
	free(vm);
}

struct vcpu *vm_vcpu_by_id(struct vm *vm, u32 id)
{
	u32 n = __atomic_load_n(&vm->vcpu_count, __ATOMIC_ACQUIRE);

	if (id < n && vm->vcpu[id]->id == id)
		return vm->vcpu[id];
	for (u32 i = 0; i < n; i++)
		if (vm->vcpu[i]->id == id)
			return vm->vcpu[i];
	return NULL;
}

/* ---- stopping the world ---- */

#define STOP_SPIN 500 /* pauses: most stops are shorter than going to sleep and waking up */

/* The world goes on soon, or the vCPU sleeps until it does. */
static void wait_resumed(struct vm *vm)
{
	u32 seen = 1;

	for (u32 spin = 0; spin < STOP_SPIN; spin++) {
		if (!__atomic_load_n(&vm->world_stop, __ATOMIC_ACQUIRE))
			return;
		sys_pause();
	}
	if (__atomic_compare_exchange_n(&vm->world_stop, &seen, 2, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) || seen == 2)
		sys_futex_wait(&vm->world_stop, 2, UINT64_MAX);
}

void vcpu_stopped(struct vcpu *v)
{
	__atomic_store_n(&v->stopped, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&v->vm->world_waits, __ATOMIC_SEQ_CST))
		sys_futex_wake(&v->stopped, 1);
}

void vcpu_safe_point(struct vcpu *v)
{
	while (__atomic_load_n(&v->vm->world_stop, __ATOMIC_SEQ_CST)) {
		vcpu_stopped(v);
		wait_resumed(v->vm);
		__atomic_store_n(&v->stopped, 0, __ATOMIC_SEQ_CST);
	}
}

static bool is_stopped(struct vcpu *v)
{
	return __atomic_load_n(&v->stopped, __ATOMIC_SEQ_CST) || !__atomic_load_n(&v->in_run, __ATOMIC_SEQ_CST);
}

void vm_stop_world(struct vm *vm, struct vcpu *self)
{
	while (pthread_mutex_trylock(&vm->world_lock)) {
		if (self)
			vcpu_safe_point(self); /* another stopper may be waiting for us */
		sys_yield();
	}
	__atomic_store_n(&vm->world_stop, 1, __ATOMIC_SEQ_CST);
	for (u32 i = 0; i < vm->vcpu_count; i++)
		if (vm->vcpu[i] != self)
			vcpu_request(vm->vcpu[i], REQ_PAUSE);
	for (u32 i = 0; i < vm->vcpu_count; i++) {
		struct vcpu *v = vm->vcpu[i];

		for (u32 spin = 0; v != self && !is_stopped(v); spin++) {
			if (spin < STOP_SPIN) {
				sys_pause();
				continue;
			}
			__atomic_store_n(&vm->world_waits, 1, __ATOMIC_SEQ_CST);
			sys_futex_wait(&v->stopped, 0, 100000);
		}
	}
	__atomic_store_n(&vm->world_waits, 0, __ATOMIC_SEQ_CST);
}

void vm_resume_world(struct vm *vm)
{
	if (__atomic_exchange_n(&vm->world_stop, 0, __ATOMIC_SEQ_CST) == 2)
		sys_futex_wake(&vm->world_stop, MAX_VCPUS);
	pthread_mutex_unlock(&vm->world_lock);
}

/* ---- guest memory for any thread ---- */

/* The range lies in the slot; a full fence is behind the write: see try_code_page() in jit/run.c. */
static void slot_written(struct vm *vm, const struct memslot *s, u64 gpa, u64 end)
{
	u64 next;

	for (; vm->jit && gpa < end; gpa = next) {
		next = (gpa & PAGE_MASK) + PAGE_SIZE < end ? (gpa & PAGE_MASK) + PAGE_SIZE : end;
		if (unlikely(mem_has_code(s, gpa)))
			jit_invalidate(vm, NULL, gpa, (unsigned)(next - gpa));
	}
}

void vm_memory_written(struct vm *vm, u64 gpa, u64 len)
{
	u64 end = gpa + len < gpa ? UINT64_MAX : gpa + len;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	pthread_rwlock_rdlock(&vm->memory_lock);
	for (u32 n = 0; n < vm->memory.count && vm->memory.slot[n].gpa < end; n++) {
		const struct memslot *s = &vm->memory.slot[n];
		u64 from = gpa > s->gpa ? gpa : s->gpa, to = end < s->gpa + s->size ? end : s->gpa + s->size;

		slot_written(vm, s, from, to);
	}
	pthread_rwlock_unlock(&vm->memory_lock);
}

static bool phys_access(struct vm *vm, u64 gpa, u8 *data, u32 len, bool write)
{
	bool ok = true;
	u32 hint = 0;

	pthread_rwlock_rdlock(&vm->memory_lock);
	while (len && ok) {
		u32 room = (u32)(PAGE_SIZE - (gpa & ~PAGE_MASK)), n = len < room ? len : room;
		struct memslot *s = mem_slot(&vm->memory, gpa, &hint);

		ok = s && !(write && (s->flags & KVM_MEM_READONLY));
		if (!ok)
			break;
		if (write) {
			memcpy(mem_slot_host(s, gpa), data, n);
			mem_mark_dirty(s, gpa);
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
			slot_written(vm, s, gpa, gpa + n);
		} else {
			memcpy(data, mem_slot_host(s, gpa), n);
		}
		gpa += n;
		data += n;
		len -= n;
	}
	pthread_rwlock_unlock(&vm->memory_lock);
	return ok;
}

bool vm_read_phys(struct vm *vm, u64 gpa, void *data, u32 len)
{
	return phys_access(vm, gpa, data, len, false);
}

bool vm_write_phys(struct vm *vm, u64 gpa, const void *data, u32 len)
{
	return phys_access(vm, gpa, (u8 *)(uintptr_t)data, len, true);
}
