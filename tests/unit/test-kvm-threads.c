/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM_RUN and other threads: leaving a running and a halted guest by immediate_exit and by KVM_SET_SIGNAL_MASK, changing
 * memory under running vCPUs, posted writes, MSR exits. As test-kvm-abi: the same for both providers.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "core.h"

#define RAM_SIZE 0x80000u
#define MAX_CPUS 2

static enum kvcore_accel accel = KVCORE_SOFT;
static int kvm;

struct guest {
	int vm, cpus, vcpu[MAX_CPUS];
	struct kvm_run *run[MAX_CPUS];
	uint8_t *ram;
};

struct runner {
	pthread_t thread;
	struct guest *g;
	int cpu, ret, error;
	bool block; /* SIGUSR1 blocked outside of KVM_RUN */
	bool pending; /* and waiting afterwards */
	bool entered;
};

static void nap(long us)
{
	struct timespec ts = { .tv_nsec = us * 1000 };

	nanosleep(&ts, NULL);
}

static void make(struct guest *g, int cpus, bool irqchip, const void *code, size_t size)
{
	struct kvm_userspace_memory_region r = { .memory_size = RAM_SIZE };

	g->cpus = cpus;
	g->vm = kvcore_ioctl(kvm, KVM_CREATE_VM, 0);
	assert_true(g->vm >= 0);
	kvcore_ioctl(g->vm, KVM_SET_TSS_ADDR, 0xfffbd000ul);
	if (irqchip)
		assert_int_equal(kvcore_ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), 0);
	g->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(g->ram != MAP_FAILED);
	memcpy(g->ram + 0x1000, code, size);
	r.userspace_addr = (uintptr_t)g->ram;
	assert_int_equal(kvcore_ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &r), 0);
	for (int i = 0; i < cpus; i++) {
		struct kvm_regs regs = { .rip = 0x1000, .rflags = 2, .rsp = 0x8000, .rbx = (unsigned)i };
		struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
		struct kvm_sregs s;

		g->vcpu[i] = kvcore_ioctl(g->vm, KVM_CREATE_VCPU, (unsigned long)i);
		assert_true(g->vcpu[i] >= 0);
		g->run[i] = kvcore_mmap(NULL, (size_t)kvcore_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
					MAP_SHARED, g->vcpu[i], 0);
		assert_true(g->run[i] != MAP_FAILED);
		assert_int_equal(kvcore_ioctl(g->vcpu[i], KVM_GET_SREGS, &s), 0);
		s.cs.base = 0;
		s.cs.selector = 0;
		assert_int_equal(kvcore_ioctl(g->vcpu[i], KVM_SET_SREGS, &s), 0);
		assert_int_equal(kvcore_ioctl(g->vcpu[i], KVM_SET_REGS, &regs), 0);
		if (i && irqchip)
			assert_int_equal(kvcore_ioctl(g->vcpu[i], KVM_SET_MP_STATE, &runnable), 0);
	}
}

static void drop(struct guest *g)
{
	for (int i = 0; i < g->cpus; i++) {
		munmap(g->run[i], (size_t)kvcore_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
		kvcore_close(g->vcpu[i]);
	}
	kvcore_close(g->vm);
	munmap(g->ram, RAM_SIZE);
}

static void *run_thread(void *opaque)
{
	struct runner *r = opaque;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(r->block ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
	__atomic_store_n(&r->entered, true, __ATOMIC_SEQ_CST);
	r->ret = kvcore_ioctl(r->g->vcpu[r->cpu], KVM_RUN, 0);
	r->error = errno;
	if (r->block) {
		sigpending(&set);
		r->pending = sigismember(&set, SIGUSR1);
	}
	return NULL;
}

static void start(struct runner *r, struct guest *g, int cpu, bool block)
{
	*r = (struct runner){ .g = g, .cpu = cpu, .block = block };
	assert_int_equal(pthread_create(&r->thread, NULL, run_thread, r), 0);
	while (!__atomic_load_n(&r->entered, __ATOMIC_SEQ_CST))
		nap(100);
	nap(2000);
}

static void on_usr1(int sig)
{
}

static const uint8_t code_loop[] = { 0xeb, 0xfe }, code_halt[] = { 0xf4, 0xeb, 0xfd };

static void leave_by_immediate_exit(void **state)
{
	for (int halted = 0; halted < 2; halted++) {
		struct guest g;
		struct runner r;

		make(&g, 1, true, halted ? code_halt : code_loop, halted ? sizeof(code_halt) : sizeof(code_loop));
		start(&r, &g, 0, false);
		g.run[0]->immediate_exit = 1;
		pthread_kill(r.thread, SIGUSR1);
		pthread_join(r.thread, NULL);
		assert_int_equal(r.ret, -1);
		assert_int_equal(r.error, EINTR);
		assert_int_equal(g.run[0]->exit_reason, KVM_EXIT_INTR);
		drop(&g);
	}
}

static void leave_by_signal_mask(void **state)
{
	for (int halted = 0; halted < 2; halted++) {
		struct {
			struct kvm_signal_mask head;
			uint8_t set[8];
		} mask = { .head.len = 8 };
		struct guest g;
		struct runner r;

		make(&g, 1, true, halted ? code_halt : code_loop, halted ? sizeof(code_halt) : sizeof(code_loop));
		assert_int_equal(kvcore_ioctl(g.vcpu[0], KVM_SET_SIGNAL_MASK, &mask), 0); /* blocks none */
		start(&r, &g, 0, true);
		pthread_kill(r.thread, SIGUSR1);
		pthread_join(r.thread, NULL);
		assert_int_equal(r.ret, -1);
		assert_int_equal(r.error, EINTR);
		assert_true(r.pending); /* it was not taken */
		drop(&g);
	}
}

static void memory_changes_while_running(void **state)
{
	/* 1: mov al, [0x7000]; cmp al, 0x55; jne 1b; out 0x10, al */
	static const uint8_t code[] = { 0xa0, 0, 0x70, 0x3c, 0x55, 0x75, 0xf9, 0xe6, 0x10 };
	uint8_t *other = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region r = { .slot = 1, .guest_phys_addr = RAM_SIZE, .memory_size = 0x1000,
						 .userspace_addr = (uintptr_t)other };
	struct guest g;
	struct runner run;

	make(&g, 1, false, code, sizeof(code));
	start(&run, &g, 0, false);
	for (int i = 0; i < 50; i++) {
		r.memory_size = i & 1 ? 0 : 0x1000;
		assert_int_equal(kvcore_ioctl(g.vm, KVM_SET_USER_MEMORY_REGION, &r), 0);
	}
	__atomic_store_n(&g.ram[0x7000], 0x55, __ATOMIC_SEQ_CST);
	pthread_join(run.thread, NULL);
	assert_int_equal(run.ret, 0);
	assert_int_equal(g.run[0]->exit_reason, KVM_EXIT_IO);
	drop(&g);
	munmap(other, RAM_SIZE);
}

static void two_processors(void **state)
{
	/* mov cx, 20000; 1: lock inc dword [0x7000]; loop 1b; out 0x10, al */
	static const uint8_t code[] = { 0xb9, 0x20, 0x4e, 0xf0, 0x66, 0xff, 0x06, 0, 0x70, 0xe2, 0xf8, 0xe6, 0x10 };
	struct guest g;
	struct runner r[2];
	uint32_t count;

	make(&g, 2, true, code, sizeof(code));
	for (int i = 0; i < 2; i++)
		start(&r[i], &g, i, false);
	for (int i = 0; i < 2; i++) {
		pthread_join(r[i].thread, NULL);
		assert_int_equal(r[i].ret, 0);
		assert_int_equal(g.run[i]->exit_reason, KVM_EXIT_IO);
	}
	memcpy(&count, g.ram + 0x7000, 4);
	assert_int_equal(count, 40000);
	drop(&g);
}

/* 64-bit mode with 2 MiB of identity map, tables from 0x10000 on. */
static void enter_long_mode(struct guest *g, int cpu, uint64_t rip, uint64_t rcx)
{
	struct kvm_regs regs = { .rip = rip, .rflags = 2, .rsp = 0x8000, .rcx = rcx };
	uint64_t pml4 = 0x11003, pdpt = 0x12003, pd = 0x83;
	struct kvm_sregs s;

	memcpy(g->ram + 0x10000, &pml4, 8);
	memcpy(g->ram + 0x11000, &pdpt, 8);
	memcpy(g->ram + 0x12000, &pd, 8);
	assert_int_equal(kvcore_ioctl(g->vcpu[cpu], KVM_GET_SREGS, &s), 0);
	s.cs = (struct kvm_segment){ .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	s.ds = s.es = s.ss = (struct kvm_segment){ .limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1,
						   .g = 1 };
	s.cr3 = 0x10000;
	s.cr4 = 0x20;
	s.efer = 0x500;
	s.cr0 = 0x80000011;
	assert_int_equal(kvcore_ioctl(g->vcpu[cpu], KVM_SET_SREGS, &s), 0);
	assert_int_equal(kvcore_ioctl(g->vcpu[cpu], KVM_SET_REGS, &regs), 0);
}

static void *change_slots(void *opaque)
{
	struct guest *g = opaque;
	uint8_t *other = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region r = { .slot = 1, .guest_phys_addr = 0x100000, .userspace_addr = (uintptr_t)other };

	while (!__atomic_load_n(&g->ram[0x7000], __ATOMIC_SEQ_CST)) {
		r.memory_size = r.memory_size ? 0 : 0x1000;
		kvcore_ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &r);
	}
	munmap(other, 0x1000);
	return NULL;
}

/* What reads guest memory for a vCPU that is not in KVM_RUN, while memslots come and go. */
static void memory_changes_while_not_running(void **state)
{
	static const uint8_t hlt[] = { 0xf4 };
	const uint64_t pdpte = 0x12001;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e;
	} steal = { .head.nmsrs = 1, .e = { .index = 0x4b564d03, .data = 0x6001 } };
	struct kvm_sregs s, pae;
	pthread_t thread;
	struct guest g;
	int bad = 0;

	make(&g, 1, true, hlt, sizeof(hlt));
	enter_long_mode(&g, 0, 0x1000, 0);
	memcpy(g.ram + 0x13000, &pdpte, 8);
	assert_int_equal(kvcore_ioctl(g.vcpu[0], KVM_GET_SREGS, &s), 0);
	pae = s;
	pae.efer = 0;
	pae.cr3 = 0x13000;
	pae.cs.l = 0;
	assert_int_equal(pthread_create(&thread, NULL, change_slots, &g), 0);
	for (int round = 0; round < 30000; round++) {
		struct kvm_translation t = { .linear_address = 0x1234 };
		struct kvm_sregs2 s2;

		assert_int_equal(kvcore_ioctl(g.vcpu[0], KVM_TRANSLATE, &t), 0);
		bad += !t.valid || t.physical_address != 0x1234;
		assert_int_equal(kvcore_ioctl(g.vcpu[0], KVM_SET_MSRS, &steal), 1);
		assert_int_equal(kvcore_ioctl(g.vcpu[0], KVM_SET_SREGS, &pae), 0);
		if (kvcore_ioctl(g.vcpu[0], KVM_GET_SREGS2, &s2) == 0)
			bad += s2.pdptrs[0] != pdpte;
		assert_int_equal(kvcore_ioctl(g.vcpu[0], KVM_SET_SREGS, &s), 0);
	}
	__atomic_store_n(&g.ram[0x7000], 1, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	assert_int_equal(bad, 0);
	drop(&g);
}

/* Pages of code that count their runs in their own line, so that each run makes them anew, while memslots change. */
static void code_changes_with_memory(void **state)
{
	enum { CODE = 0x20000, PAGES = 8, ROUNDS = 1000, COUNT = 0x30 };
	/* lock inc dword [rip + COUNT]; jmp next page */
	static const uint8_t body[] = { 0xf0, 0xff, 0x05, COUNT - 7, 0, 0, 0, 0xe9, 0xf4, 0x0f, 0, 0 };
	/* dec ecx; jnz first page; out 0x10, al */
	static const uint8_t last[] = { 0xff, 0xc9, 0x0f, 0x85, 0xf8, 0x7f, 0xff, 0xff, 0xe6, 0x10 };
	struct kvm_userspace_memory_region slot = { .memory_size = RAM_SIZE };
	struct runner r[2];
	struct guest g;
	uint32_t count;

	make(&g, 2, true, code_halt, sizeof(code_halt));
	slot.userspace_addr = (uintptr_t)g.ram;
	for (int p = 0; p < PAGES; p++)
		memcpy(g.ram + CODE + 4096 * p, body, sizeof(body));
	memcpy(g.ram + CODE + 4096 * PAGES, last, sizeof(last));
	for (int i = 0; i < 2; i++)
		enter_long_mode(&g, i, CODE, ROUNDS);
	for (int i = 0; i < 2; i++)
		start(&r[i], &g, i, false);
	for (int i = 0; i < 100; i++) {
		slot.flags = i & 1 ? 0 : KVM_MEM_LOG_DIRTY_PAGES;
		assert_int_equal(kvcore_ioctl(g.vm, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	}
	for (int i = 0; i < 2; i++) {
		pthread_join(r[i].thread, NULL);
		assert_int_equal(r[i].ret, 0);
		assert_int_equal(g.run[i]->exit_reason, KVM_EXIT_IO);
	}
	for (int p = 0; p < PAGES; p++) {
		memcpy(&count, g.ram + CODE + 4096 * p + COUNT, 4);
		assert_int_equal(count, 2 * ROUNDS);
	}
	drop(&g);
}

static void posted_writes(void **state)
{
	/* mov ax, 0x8000; mov ds, ax; mov byte [0], 1; mov byte [1], 2; mov byte [0x10], 3; hlt */
	static const uint8_t code[] = { 0xb8, 0, 0x80, 0x8e, 0xd8, 0xc6, 0x06, 0, 0, 1, 0xc6, 0x06, 1, 0, 2,
					0xc6, 0x06, 0x10, 0, 3, 0xf4 };
	struct kvm_coalesced_mmio_zone z = { .addr = 0x80000, .size = 0x10 };
	struct kvm_coalesced_mmio_ring *ring;
	struct guest g;
	int page;

	make(&g, 1, false, code, sizeof(code));
	page = kvcore_ioctl(kvm, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_COALESCED_MMIO);
	assert_true(page > 0);
	assert_int_equal(kvcore_ioctl(g.vm, KVM_REGISTER_COALESCED_MMIO, &z), 0);
	ring = (struct kvm_coalesced_mmio_ring *)((uint8_t *)g.run[0] + page * 4096);
	assert_int_equal(kvcore_ioctl(g.vcpu[0], KVM_RUN, 0), 0);
	assert_int_equal(g.run[0]->exit_reason, KVM_EXIT_MMIO);
	assert_int_equal(g.run[0]->mmio.phys_addr, 0x80010);
	assert_int_equal((ring->last - ring->first), 2);
	assert_int_equal(ring->coalesced_mmio[ring->first].phys_addr, 0x80000);
	assert_int_equal(ring->coalesced_mmio[ring->first].data[0], 1);
	assert_int_equal(ring->coalesced_mmio[ring->first + 1].data[0], 2);
	assert_int_equal(kvcore_ioctl(g.vm, KVM_UNREGISTER_COALESCED_MMIO, &z), 0);
	drop(&g);
}

static void msr_exits(void **state)
{
	/* mov ecx, 0x12345678; rdmsr; out 0x10, al; hlt */
	static const uint8_t code[] = { 0x66, 0xb9, 0x78, 0x56, 0x34, 0x12, 0x0f, 0x32, 0xe6, 0x10, 0xf4 };
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR, .args = { KVM_MSR_EXIT_REASON_UNKNOWN } };
	struct guest g;

	make(&g, 1, false, code, sizeof(code));
	if (kvcore_ioctl(kvm, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_X86_USER_SPACE_MSR) > 0) {
		assert_int_equal(kvcore_ioctl(g.vm, KVM_ENABLE_CAP, &cap), 0);
		assert_int_equal(kvcore_ioctl(g.vcpu[0], KVM_RUN, 0), 0);
		assert_int_equal(g.run[0]->exit_reason, KVM_EXIT_X86_RDMSR);
		assert_int_equal(g.run[0]->msr.index, 0x12345678);
		g.run[0]->msr.data = 0x99;
		g.run[0]->msr.error = 0;
		assert_int_equal(kvcore_ioctl(g.vcpu[0], KVM_RUN, 0), 0);
		assert_int_equal(g.run[0]->exit_reason, KVM_EXIT_IO);
		assert_int_equal(((uint8_t *)g.run[0])[g.run[0]->io.data_offset], 0x99);
	}
	drop(&g);
}

/* A timer interrupt that comes while the VM's processors go away: they stay until the last of it. */
static void end_while_timer_rings(void **state)
{
	static const uint8_t hlt[] = { 0xf4 };
	/* Mode 2, ticks as fast as can be, to pin 0 of the I/O APIC: to all processors. */
	const struct kvm_pit_state2 ringing = { .channels[0] = { .count = 24, .mode = 2, .gate = 1, .bcd = 0 } };

	for (int round = 0; round < 400; round++) {
		struct kvm_irqchip ioapic = { .chip_id = KVM_IRQCHIP_IOAPIC };
		struct kvm_reinject_control all = { .pit_reinject = 0 };
		struct kvm_pit_config config = {};
		struct kvm_lapic_state lapic;
		struct guest g;

		make(&g, MAX_CPUS, true, hlt, sizeof(hlt));
		for (int i = 0; i < MAX_CPUS; i++) {
			assert_int_equal(kvcore_ioctl(g.vcpu[i], KVM_GET_LAPIC, &lapic), 0);
			memcpy(lapic.regs + 0xf0, (uint32_t[]){ 0x1ff }, 4);
			assert_int_equal(kvcore_ioctl(g.vcpu[i], KVM_SET_LAPIC, &lapic), 0);
		}
		assert_int_equal(kvcore_ioctl(g.vm, KVM_CREATE_PIT2, &config), 0);
		assert_int_equal(kvcore_ioctl(g.vm, KVM_REINJECT_CONTROL, &all), 0);
		assert_int_equal(kvcore_ioctl(g.vm, KVM_GET_IRQCHIP, &ioapic), 0);
		ioapic.chip.ioapic.redirtbl[0].bits = 0xffull << 56 | 0x40;
		assert_int_equal(kvcore_ioctl(g.vm, KVM_SET_IRQCHIP, &ioapic), 0);
		assert_int_equal(kvcore_ioctl(g.vm, KVM_SET_PIT2, &ringing), 0);
		if (!round) { /* it does ring */
			for (int tries = 0; tries < 5000 && !(lapic.regs[0x220] & 1); tries++) {
				nap(1000);
				assert_int_equal(kvcore_ioctl(g.vcpu[0], KVM_GET_LAPIC, &lapic), 0);
			}
			assert_true(lapic.regs[0x220] & 1);
		}
		drop(&g);
	}
}

/* The clock is only ever set forward here, so nobody may see it go back: half of what KVM_SET_CLOCK changes would be that. */
static void *watch_clock(void *opaque)
{
	struct guest *g = opaque;
	uint64_t last = 0, backwards = 0;

	while (!__atomic_load_n(&g->ram[0], __ATOMIC_SEQ_CST)) {
		struct kvm_clock_data d = { 0 };

		if (kvcore_ioctl(g->vm, KVM_GET_CLOCK, &d))
			return (void *)1;
		backwards += d.clock < last;
		last = d.clock;
	}
	return (void *)(uintptr_t)backwards;
}

static void clock_is_set_while_read(void **state)
{
	struct guest g;
	pthread_t thread;
	void *backwards;

	make(&g, 1, false, "", 0);
	assert_int_equal(pthread_create(&thread, NULL, watch_clock, &g), 0);
	for (unsigned n = 1; n <= 200000; n++) {
		struct kvm_clock_data d = { .clock = n * 10000000000ull };

		assert_int_equal(kvcore_ioctl(g.vm, KVM_SET_CLOCK, &d), 0);
	}
	g.ram[0] = 1;
	pthread_join(thread, &backwards);
	assert_int_equal((uintptr_t)backwards, 0);
	drop(&g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leave_by_immediate_exit), cmocka_unit_test(leave_by_signal_mask),
		cmocka_unit_test(memory_changes_while_running), cmocka_unit_test(two_processors),
		cmocka_unit_test(memory_changes_while_not_running), cmocka_unit_test(code_changes_with_memory),
		cmocka_unit_test(posted_writes), cmocka_unit_test(msr_exits), cmocka_unit_test(end_while_timer_rings),
		cmocka_unit_test(clock_is_set_while_read),
	};
	struct sigaction sa = { .sa_handler = on_usr1 };
	struct kvcore_choice choice;

	if (argc > 1 && !strcmp(argv[1], "kvm"))
		accel = KVCORE_KVM;
	sigaction(SIGUSR1, &sa, NULL);
	kvm = kvcore_open(accel, &choice);
	if (kvm < 0) {
		printf("skipped: %s\n", choice.text);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
