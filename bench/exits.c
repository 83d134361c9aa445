/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What it costs to leave KVM_RUN and to go in again, without a VMM: a 64-bit guest that does one kind of access in a loop, and
 * a host that does no more than call KVM_RUN. Writes `@bench NAME NUMBER ns` lines for bench/run.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "core.h"

#define RAM_SIZE 0x400000
#define CODE 0x8000
#define PML4 0x1000
#define PDPT 0x2000
#define PD 0x3000
#define MMIO 0x600000 /* mapped by the guest, no memory behind it */
#define SAMPLES 5
#define SAMPLE_NS 20000000u

struct access {
	const char *name;
	uint8_t code[8]; /* ends in a jump to its start */
	unsigned reason;
	bool immediate; /* KVM_RUN is told to leave before it runs anything */
};

static const struct access accesses[] = {
	{ "port-out", { 0xe6, 0x10, 0xeb, 0xfc }, KVM_EXIT_IO },
	{ "port-in", { 0xe4, 0x10, 0xeb, 0xfc }, KVM_EXIT_IO },
	{ "mmio-write", { 0x89, 0x03, 0xeb, 0xfc }, KVM_EXIT_MMIO },
	{ "mmio-read", { 0x8b, 0x03, 0xeb, 0xfc }, KVM_EXIT_MMIO },
	{ "immediate-exit", { 0xeb, 0xfe }, KVM_EXIT_INTR, true },
};

struct vm {
	uint8_t *ram;
	int fd, vcpu, run_size;
	struct kvm_run *run;
};

static void fail(const char *what)
{
	fprintf(stderr, "bench-exits: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void set_state(const struct vm *vm)
{
	struct kvm_regs regs = { .rip = CODE, .rbx = MMIO, .rflags = 2 };
	struct kvm_segment flat = { .limit = UINT32_MAX, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1, .selector = 0x10 };
	struct kvm_sregs s;

	if (kvcore_ioctl(vm->vcpu, KVM_GET_SREGS, &s) < 0)
		fail("KVM_GET_SREGS");
	s.ds = s.es = s.fs = s.gs = s.ss = flat;
	s.cs = (struct kvm_segment){ .limit = UINT32_MAX, .type = 11, .present = 1, .l = 1, .s = 1, .g = 1, .selector = 8 };
	s.cr0 = 0x80000033;
	s.cr3 = PML4;
	s.cr4 = 0x20;
	s.efer = 0x500;
	if (kvcore_ioctl(vm->vcpu, KVM_SET_SREGS, &s) < 0 || kvcore_ioctl(vm->vcpu, KVM_SET_REGS, &regs) < 0)
		fail("KVM_SET_SREGS");
}

static void create_vm(struct vm *vm, int sys)
{
	static union {
		struct kvm_cpuid2 c;
		char space[sizeof(struct kvm_cpuid2) + 128 * sizeof(struct kvm_cpuid_entry2)];
	} cpuid = { .c.nent = 128 };
	struct kvm_userspace_memory_region region = { .memory_size = RAM_SIZE };

	vm->run_size = kvcore_ioctl(sys, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->fd = kvcore_ioctl(sys, KVM_CREATE_VM, 0);
	vm->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm->fd < 0 || vm->run_size < 0 || vm->ram == MAP_FAILED)
		fail("KVM_CREATE_VM");
	region.userspace_addr = (uintptr_t)vm->ram;
	if (kvcore_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		fail("KVM_SET_USER_MEMORY_REGION");
	vm->vcpu = kvcore_ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	if (vm->vcpu < 0 || kvcore_ioctl(sys, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0 ||
	    kvcore_ioctl(vm->vcpu, KVM_SET_CPUID2, &cpuid) < 0)
		fail("KVM_CREATE_VCPU");
	vm->run = kvcore_mmap(NULL, (size_t)vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
	if (vm->run == MAP_FAILED)
		fail("mmap of kvm_run");
	*(uint64_t *)(vm->ram + PML4) = PDPT | 7;
	*(uint64_t *)(vm->ram + PDPT) = PD | 7;
	for (uint64_t n = 0; n < 4; n++)
		((uint64_t *)(vm->ram + PD))[n] = n << 21 | 0x87;
}

static void destroy_vm(struct vm *vm)
{
	munmap(vm->run, (size_t)vm->run_size);
	kvcore_close(vm->vcpu);
	kvcore_close(vm->fd);
	munmap(vm->ram, RAM_SIZE);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void run_once(const struct vm *vm, const struct access *a)
{
	if (kvcore_ioctl(vm->vcpu, KVM_RUN, 0) < 0) {
		if (errno != EINTR || !a->immediate)
			fail("KVM_RUN");
	} else if (vm->run->exit_reason != a->reason) {
		fprintf(stderr, "bench-exits: %s: exit reason %u\n", a->name, vm->run->exit_reason);
		exit(1);
	}
}

static uint64_t sample(const struct vm *vm, const struct access *a, uint64_t count)
{
	uint64_t start = now_ns();

	for (uint64_t n = 0; n < count; n++)
		run_once(vm, a);
	return now_ns() - start;
}

static void measure(const struct vm *vm, const struct access *a)
{
	uint64_t count = 16, best;

	memcpy(vm->ram + CODE, a->code, sizeof(a->code));
	set_state(vm);
	vm->run->immediate_exit = a->immediate;
	while ((best = sample(vm, a, count)) < SAMPLE_NS)
		count *= 2;
	for (unsigned n = 1; n < SAMPLES; n++) {
		uint64_t ns = sample(vm, a, count);

		best = ns < best ? ns : best;
	}
	printf("@bench %s %.1f ns\n", a->name, (double)best / (double)count);
}

int main(int argc, char **argv)
{
	enum kvcore_accel accel = argc == 2 && !strcmp(argv[1], "kvm") ? KVCORE_KVM : KVCORE_SOFT;
	struct kvcore_choice choice;
	int sys;

	if (argc != 2 || (accel == KVCORE_SOFT && strcmp(argv[1], "soft"))) {
		fprintf(stderr, "usage: bench-exits soft|kvm\n");
		return 2;
	}
	sys = kvcore_open(accel, &choice);
	if (sys < 0) {
		fprintf(stderr, "bench-exits: %s\n", choice.text);
		return 77;
	}
	/* A VM for each, so that one guest's code is not another's self-modification. */
	for (unsigned n = 0; n < sizeof(accesses) / sizeof(accesses[0]); n++) {
		struct vm vm;

		create_vm(&vm, sys);
		measure(&vm, &accesses[n]);
		destroy_vm(&vm);
	}
	kvcore_close(sys);
	return 0;
}
