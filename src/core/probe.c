/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The probe behind KVCORE_AUTO. /dev/kvm may open and yet run kernel code through an instruction emulator (nested software
 * KVMs do), so a loop of 100,000 instructions runs in a 64-bit ring 0 guest, and only its speed decides, against that of
 * the same loop in this process: a slow or busy host slows both. A timer ends a guest that does not come back. Called once by
 * kvcore_open().
 */
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "linux/linux.h"
#include "probe.h"

/*
 * A run is a few hundred microseconds where the guest is quick, so that most of them fit between two preemptions even when
 * the machine is busy, and the best run counts. An emulator of instructions reaches a hundredth to a thousandth of the native
 * speed; a genuine KVM all of it, less the way in and out, which costs most where that is emulated (nested): a third is left.
 */
#define LOOPS 50000u
#define INSNS (2 * LOOPS)
#define NATIVE_SHARE 30
#define ROUNDS 8
#define RUN_NS 4000000 /* a run that takes longer is ended: slow, cold or disturbed, and 8 of them have to be bearable */

/* 1: dec ecx; jnz 1b; hlt */
static const uint8_t guest_code[] = { 0xff, 0xc9, 0x75, 0xfc, 0xf4 };

struct probe {
	int kvm, vm, vcpu;
	uint8_t *memory;
	struct kvm_run *run;
	size_t run_size;
};

#define MEMORY_SIZE 0x10000u
#define CODE_AT 0x8000u

static struct kvm_run *volatile probe_run; /* for the watchdog */

static void on_watchdog(int sig)
{
	if (probe_run)
		probe_run->immediate_exit = 1;
}

static uint64_t max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Page tables at 0x1000: the first 2 MiB, identity. */
static bool guest_memory(struct probe *p)
{
	struct kvm_userspace_memory_region r = { .memory_size = MEMORY_SIZE };
	uint64_t *table;

	p->memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->memory == MAP_FAILED)
		return false;
	table = (uint64_t *)(p->memory + 0x1000);
	table[0] = 0x2003;
	table[512] = 0x3003;
	table[1024] = 0x83;
	memcpy(p->memory + CODE_AT, guest_code, sizeof(guest_code));
	r.userspace_addr = (uint64_t)(uintptr_t)p->memory;
	return !ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &r);
}

static bool guest_cpu(struct probe *p)
{
	struct kvm_sregs s;
	struct kvm_regs r = { .rip = CODE_AT, .rflags = 2, .rsp = CODE_AT, .rcx = LOOPS };
	struct kvm_segment code = { .limit = UINT32_MAX, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	struct kvm_segment data = { .limit = UINT32_MAX, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };

	if (ioctl(p->vcpu, KVM_GET_SREGS, &s))
		return false;
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cr0 = 0x80000031;
	s.cr3 = 0x1000;
	s.cr4 = 0x20;
	s.efer = 0x500;
	return !ioctl(p->vcpu, KVM_SET_SREGS, &s) && !ioctl(p->vcpu, KVM_SET_REGS, &r);
}

static bool guest_make(struct probe *p)
{
	int size;

	p->vm = ioctl(p->kvm, KVM_CREATE_VM, 0);
	if (p->vm < 0)
		return false;
	ioctl(p->vm, KVM_SET_TSS_ADDR, 0xfffbd000ul);
	if (!guest_memory(p))
		return false;
	p->vcpu = ioctl(p->vm, KVM_CREATE_VCPU, 0);
	size = ioctl(p->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (p->vcpu < 0 || size < (int)sizeof(struct kvm_run))
		return false;
	p->run_size = (size_t)size;
	p->run = mmap(NULL, p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu, 0);
	return p->run != MAP_FAILED && guest_cpu(p);
}

/* Rounded up: below one is one. */
static uint64_t mips(uint64_t insns, uint64_t ns)
{
	return (insns * 1000 + ns) / (ns + 1);
}

/* The guest's loop, here. */
static uint64_t native_run(void)
{
	uint64_t start = now_ns();
	uint32_t loops = LOOPS;

	__asm__ volatile("1: decl %0\n\tjnz 1b" : "+r"(loops) : : "cc");
	return mips(INSNS, now_ns() - start);
}

/* The watchdog may have ended it early: RCX tells how far it came. */
static uint64_t guest_run(struct probe *p, timer_t watchdog)
{
	static const struct itimerspec arm = { .it_value.tv_nsec = RUN_NS, .it_interval.tv_nsec = RUN_NS / 10 }, disarm;
	uint64_t start, took, done = INSNS;
	struct kvm_regs r;
	int ret, err;

	if (!guest_cpu(p))
		return 0;
	p->run->immediate_exit = 0;
	timer_settime(watchdog, 0, &arm, NULL);
	start = now_ns();
	ret = ioctl(p->vcpu, KVM_RUN, 0);
	err = errno;
	took = now_ns() - start;
	timer_settime(watchdog, 0, &disarm, NULL);
	if (ret || p->run->exit_reason != KVM_EXIT_HLT) {
		if ((ret && err != EINTR) || ioctl(p->vcpu, KVM_GET_REGS, &r) || r.rcx > LOOPS)
			return 0;
		done = INSNS - 2 * r.rcx;
	}
	return mips(done, took);
}

/* Guest and native runs in turn, the best of each, until the guest is quick enough. Returns whether it was. */
static bool race(struct probe *p, timer_t watchdog, uint64_t *ret_guest)
{
	uint64_t native = 0, guest = 0;

	for (int i = 0; i < 3; i++)
		native = max(native, native_run());
	for (int i = 0; i < ROUNDS && guest < native / NATIVE_SHARE + 1; i++) {
		guest = max(guest, guest_run(p, watchdog));
		native = max(native, native_run());
	}
	*ret_guest = guest;
	return guest > native / NATIVE_SHARE;
}

/* With the watchdog's signal let in. */
static bool guest_is_quick(struct probe *p, uint64_t *ret_mips)
{
	struct sigaction sa = { .sa_handler = on_watchdog }, old;
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM };
	sigset_t alarm, mask;
	timer_t watchdog;
	bool quick;

	*ret_mips = 0;
	event._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &event, &watchdog))
		return false;
	probe_run = p->run;
	sigaction(SIGALRM, &sa, &old);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	pthread_sigmask(SIG_UNBLOCK, &alarm, &mask);
	quick = race(p, watchdog, ret_mips);
	timer_delete(watchdog);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	sigaction(SIGALRM, &old, NULL);
	probe_run = NULL;
	return quick;
}

static void probe_end(struct probe *p)
{
	if (p->run && p->run != MAP_FAILED)
		munmap(p->run, p->run_size);
	if (p->vcpu >= 0)
		close(p->vcpu);
	if (p->vm >= 0)
		close(p->vm);
	if (p->memory && p->memory != MAP_FAILED)
		munmap(p->memory, MEMORY_SIZE);
	close(p->kvm);
}

bool probe_kvm(char *text, size_t size)
{
	struct probe p = { .kvm = linux_kvm_open(), .vm = -1, .vcpu = -1 };
	uint64_t speed;
	bool quick;

	if (p.kvm < 0) {
		if (p.kvm == -ENOENT)
			snprintf(text, size, "software KVM: there is no /dev/kvm");
		else if (p.kvm == -EACCES)
			snprintf(text, size, "software KVM: no permission for /dev/kvm (join group kvm)");
		else
			snprintf(text, size, "software KVM: /dev/kvm does not open: %s", strerror(-p.kvm));
		return false;
	}
	if (!guest_make(&p)) {
		snprintf(text, size, "software KVM: /dev/kvm cannot make a VM: %s", strerror(errno));
		probe_end(&p);
		return false;
	}
	quick = guest_is_quick(&p, &speed);
	probe_end(&p);
	if (quick)
		snprintf(text, size, "Linux KVM: /dev/kvm runs kernel code at native speed");
	else
		snprintf(text, size, "software KVM: /dev/kvm runs kernel code at %llu MIPS only (nested software KVM)",
			 (unsigned long long)speed);
	return quick;
}
