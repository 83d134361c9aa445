/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The KVM ABI as a client sees it: results, errno values and state that goes in and comes out again. The same expectations
 * hold for the software KVM and for the kernel's (`test-kvm-abi kvm`, skipped where there is none), so that each of them
 * is checked against the other.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include "core.h"

#define RAM_SIZE 0x200000u

static enum kvcore_accel accel = KVCORE_SOFT;
static int kvm;

struct guest {
	int vm, vcpu;
	struct kvm_run *run;
	uint8_t *ram;
};

static void expect_errno(int ret, int error)
{
	assert_int_equal(ret, -1);
	assert_int_equal(errno, error);
}

static int set_region(int vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *hva)
{
	struct kvm_userspace_memory_region r = { .slot = slot, .flags = flags, .guest_phys_addr = gpa, .memory_size = size,
						 .userspace_addr = (uintptr_t)hva };

	return kvcore_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r);
}

static void set_cpuid(int vcpu)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 128 * sizeof(c->entries[0]));

	c->nent = 128;
	assert_int_equal(kvcore_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c), 0);
	assert_int_equal(kvcore_ioctl(vcpu, KVM_SET_CPUID2, c), 0);
	free(c);
}

static void make_vm(struct guest *g)
{
	g->vm = kvcore_ioctl(kvm, KVM_CREATE_VM, 0);
	assert_true(g->vm >= 0);
	kvcore_ioctl(g->vm, KVM_SET_TSS_ADDR, 0xfffbd000ul);
}

static void make_vcpu(struct guest *g)
{
	g->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(g->ram != MAP_FAILED);
	assert_int_equal(set_region(g->vm, 0, 0, 0, RAM_SIZE, g->ram), 0);
	g->vcpu = kvcore_ioctl(g->vm, KVM_CREATE_VCPU, 0);
	assert_true(g->vcpu >= 0);
	g->run = kvcore_mmap(NULL, (size_t)kvcore_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED,
			     g->vcpu, 0);
	assert_true(g->run != MAP_FAILED);
	set_cpuid(g->vcpu);
}

static void make(struct guest *g, bool irqchip)
{
	make_vm(g);
	if (irqchip)
		assert_int_equal(kvcore_ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), 0);
	make_vcpu(g);
}

static void drop(struct guest *g)
{
	munmap(g->run, (size_t)kvcore_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	assert_int_equal(kvcore_close(g->vcpu), 0);
	assert_int_equal(kvcore_close(g->vm), 0);
	munmap(g->ram, RAM_SIZE);
}

/* Real mode code at 0:0x1000. */
static void start_real(struct guest *g, const void *code, size_t size)
{
	struct kvm_regs r = { .rip = 0x1000, .rflags = 2, .rsp = 0x8000 };
	struct kvm_sregs s;

	memcpy(g->ram + 0x1000, code, size);
	assert_int_equal(kvcore_ioctl(g->vcpu, KVM_GET_SREGS, &s), 0);
	s.cs.base = 0;
	s.cs.selector = 0;
	assert_int_equal(kvcore_ioctl(g->vcpu, KVM_SET_SREGS, &s), 0);
	assert_int_equal(kvcore_ioctl(g->vcpu, KVM_SET_REGS, &r), 0);
}

static void system_calls(void **state)
{
	struct kvm_msr_list none = { .nmsrs = 0 };
	struct kvm_cpuid2 few = { .nent = 0 };

	assert_int_equal(kvcore_ioctl(kvm, KVM_GET_API_VERSION, 0), 12);
	expect_errno(kvcore_ioctl(kvm, KVM_GET_API_VERSION, 1ul), EINVAL);
	expect_errno(kvcore_ioctl(kvm, KVM_CREATE_VM, 0x1000ul), EINVAL);
	expect_errno(kvcore_ioctl(kvm, KVM_GET_MSR_INDEX_LIST, &none), E2BIG);
	assert_true(none.nmsrs > 10);
	expect_errno(kvcore_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &few), E2BIG);
	assert_true(kvcore_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0) >= (int)sizeof(struct kvm_run));
	assert_true(kvcore_ioctl(kvm, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_USER_MEMORY) > 0);
	assert_true(kvcore_ioctl(kvm, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_IMMEDIATE_EXIT) > 0);
	assert_int_equal(kvcore_ioctl(kvm, KVM_CHECK_EXTENSION, 60000ul), 0);
	expect_errno(kvcore_ioctl(kvm, KVM_RUN, 0), EINVAL);
}

static void memory_regions(void **state)
{
	struct guest g;
	uint64_t bitmap[RAM_SIZE / 4096 / 64];
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bitmap };
	uint8_t *other = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	make(&g, false);
	expect_errno(set_region(g.vm, 1, 0, RAM_SIZE - 0x1000, 0x1000, other), EEXIST);
	expect_errno(set_region(g.vm, 1, 0, RAM_SIZE + 1, 0x1000, other), EINVAL);
	expect_errno(set_region(g.vm, 1, 0, RAM_SIZE, 0x1001, other), EINVAL);
	expect_errno(set_region(g.vm, 1, 0, RAM_SIZE, 0x1000, other + 1), EINVAL);
	expect_errno(set_region(g.vm, 1, 1u << 20, RAM_SIZE, 0x1000, other), EINVAL);
	expect_errno(set_region(g.vm, 1u << 15, 0, RAM_SIZE, 0x1000, other), EINVAL);
	expect_errno(set_region(g.vm, 1, 0, RAM_SIZE, 0, other), EINVAL);
	expect_errno(set_region(g.vm, 1, 0, ~0xfffull, 0x2000, other), EINVAL);
	assert_int_equal(set_region(g.vm, 1, 0, RAM_SIZE, 0x4000, other), 0);
	assert_int_equal(set_region(g.vm, 1, 0, RAM_SIZE, 0x4000, other), 0);
	expect_errno(set_region(g.vm, 1, 0, RAM_SIZE, 0x5000, other), EINVAL);
	expect_errno(set_region(g.vm, 1, 0, RAM_SIZE, 0x4000, other + 0x1000), EINVAL);
	expect_errno(set_region(g.vm, 1, KVM_MEM_READONLY, RAM_SIZE, 0x4000, other), EINVAL);
	assert_int_equal(set_region(g.vm, 1, 0, 2 * RAM_SIZE, 0x4000, other), 0); /* moves */
	expect_errno(set_region(g.vm, 1, 0, 0x1000, 0x4000, other), EEXIST);
	assert_int_equal(set_region(g.vm, 2, 0, RAM_SIZE, 0x4000, other), 0);
	assert_int_equal(set_region(g.vm, 1, 0, 0, 0, NULL), 0);
	assert_int_equal(set_region(g.vm, 2, 0, 0, 0, NULL), 0);
	expect_errno(kvcore_ioctl(g.vm, KVM_GET_DIRTY_LOG, &log), ENOENT);
	assert_int_equal(set_region(g.vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, RAM_SIZE, g.ram), 0);
	assert_int_equal(kvcore_ioctl(g.vm, KVM_GET_DIRTY_LOG, &log), 0);
	drop(&g);
	munmap(other, RAM_SIZE);
}

static uint64_t told(int eventfd)
{
	uint64_t n = 0;

	return read(eventfd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void watched_memory(void **state)
{
	static const uint8_t code[] = { 0xc6, 0x06, 0x00, 0x50, 0x01, /* 1: movb $1, 0x5000 */
					0xe6, 0x10, 0xeb, 0xf7 };     /* out %al, $0x10; jmp 1b */
	static uint64_t bitmap[(RAM_SIZE >> 12) / 64];
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bitmap };
	int fd = eventfd(0, EFD_NONBLOCK);
	struct guest g;

	make(&g, false);
	expect_errno(kvcore_watch_dirty(g.vm, 0, fd), accel == KVCORE_SOFT ? ENOENT : ENOTTY);
	expect_errno(kvcore_watch_dirty(kvm, 0, fd), ENOTTY);
	assert_int_equal(set_region(g.vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, RAM_SIZE, g.ram), 0);
	start_real(&g, code, sizeof(code));
	/* One that ended says nothing; one that did not, once, of what was clean. */
	for (unsigned i = 0; accel == KVCORE_SOFT && i < 6; i++) {
		bool watches = i == 1 || i == 4, clean = i != 2;

		if (clean)
			assert_int_equal(kvcore_ioctl(g.vm, KVM_GET_DIRTY_LOG, &log), 0);
		assert_int_equal(kvcore_watch_dirty(g.vm, 0, fd), 0);
		if (!watches && clean)
			assert_int_equal(kvcore_watch_dirty(g.vm, 0, -1), 0);
		assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
		assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
		assert_int_equal(g.run->exit_reason, KVM_EXIT_IO);
		assert_int_equal(told(fd), watches);
	}
	drop(&g);
	close(fd);
}

static void no_more_descriptors(struct guest *g)
{
	int next = dup(0), created;
	struct rlimit before, full;

	assert_true(next >= 0);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (unsigned room = 0; room < 2; room++) { /* the software KVM needs two for a while */
		full = (struct rlimit){ (rlim_t)next + room, before.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
		errno = 0;
		created = kvcore_ioctl(g->vm, KVM_CREATE_VCPU, 201ul + room);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		if (created >= 0)
			assert_int_equal(kvcore_close(created), 0);
		else
			assert_int_equal(errno, EMFILE);
		assert_true(room || created < 0);
	}
}

static void creation(void **state)
{
	struct guest g;
	struct kvm_irq_level level = { .irq = 5, .level = 1 };
	struct kvm_lapic_state lapic;
	int other;

	make(&g, false);
	expect_errno(kvcore_ioctl(g.vm, KVM_CREATE_VCPU, 0), EEXIST);
	expect_errno(kvcore_ioctl(g.vm, KVM_CREATE_VCPU, 100000ul), EINVAL);
	assert_true(kvcore_ioctl(kvm, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_MAX_VCPU_ID) > 200);
	other = kvcore_ioctl(g.vm, KVM_CREATE_VCPU, 200ul); /* APIC ids of a topology have gaps */
	assert_true(other >= 0);
	assert_int_equal(kvcore_close(other), 0);
	no_more_descriptors(&g);
	expect_errno(kvcore_ioctl(g.vm, KVM_CREATE_IRQCHIP, 0), EINVAL); /* a vCPU is there */
	expect_errno(kvcore_ioctl(g.vm, KVM_IRQ_LINE, &level), ENXIO);
	expect_errno(kvcore_ioctl(g.vcpu, KVM_GET_LAPIC, &lapic), EINVAL);
	expect_errno(kvcore_ioctl(g.vm, _IO(KVMIO, 0xff), 0), ENOTTY);
	expect_errno(kvcore_ioctl(g.vcpu, _IO(KVMIO, 0xff), 0), EINVAL);
	drop(&g);
	make(&g, true);
	expect_errno(kvcore_ioctl(g.vm, KVM_CREATE_IRQCHIP, 0), EEXIST);
	assert_int_equal(kvcore_ioctl(g.vm, KVM_IRQ_LINE, &level), 0);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_LAPIC, &lapic), 0);
	drop(&g);
}

static void registers(void **state)
{
	struct guest g;
	struct kvm_regs r = { .rax = 1, .rbx = 2, .rcx = 3, .rdx = 4, .rsi = 5, .rdi = 6, .rsp = 7, .rbp = 8, .r8 = 9,
			      .r9 = 10, .r10 = 11, .r11 = 12, .r12 = 13, .r13 = 14, .r14 = 15, .r15 = ~0ull, .rip = 0x1234,
			      .rflags = 0x202 }, r2;
	struct kvm_sregs s, s2;
	struct kvm_fpu f, f2;
	struct kvm_debugregs d = { .db = { 1, 2, 3, 4 }, .dr6 = 0xffff0ff0, .dr7 = 0x400 }, d2;

	make(&g, true);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_REGS, &r2), 0);
	assert_int_equal(r2.rip, 0xfff0); /* reset */
	assert_int_equal(r2.rflags, 2);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_SREGS, &s), 0);
	assert_int_equal(s.cs.base, 0xffff0000);
	assert_int_equal(s.cs.selector, 0xf000);
	assert_int_equal(s.cr0, 0x60000010);
	assert_int_equal(s.apic_base, 0xfee00900);
	assert_int_equal(s.idt.limit, 0xffff);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_SET_REGS, &r), 0);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_REGS, &r2), 0);
	assert_memory_equal(&r, &r2, sizeof(r));
	s.cr0 = 0x80000011; /* paging with long mode active needs PAE */
	s.efer = 0x500;
	s.cr4 = 0;
	expect_errno(kvcore_ioctl(g.vcpu, KVM_SET_SREGS, &s), EINVAL);
	s.cr4 = 0x20;
	s.cr3 = 0x1000;
	s.cs = (struct kvm_segment){ .limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_SET_SREGS, &s), 0);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_SREGS, &s2), 0);
	assert_int_equal(s2.cr0, s.cr0);
	assert_int_equal(s2.efer, s.efer);
	assert_memory_equal(&s2.cs, &s.cs, sizeof(s.cs));
	s.cr4 = 1ull << 31;
	expect_errno(kvcore_ioctl(g.vcpu, KVM_SET_SREGS, &s), EINVAL);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_FPU, &f), 0);
	memset(f.xmm, 0x5a, sizeof(f.xmm));
	f.fcw = 0x37f;
	f.mxcsr = 0x1f80;
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_SET_FPU, &f), 0);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_FPU, &f2), 0);
	assert_memory_equal(f.xmm, f2.xmm, sizeof(f.xmm));
	assert_int_equal(f2.fcw, 0x37f);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_SET_DEBUGREGS, &d), 0);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_DEBUGREGS, &d2), 0);
	assert_memory_equal(d.db, d2.db, sizeof(d.db));
	d.dr7 = 1ull << 32;
	expect_errno(kvcore_ioctl(g.vcpu, KVM_SET_DEBUGREGS, &d), EINVAL);
	drop(&g);
}

static void msrs(void **state)
{
	static const uint32_t plain[] = { 0x174, 0x175, 0x176, 0x277, 0xc0000081, 0xc0000082, 0xc0000102, 0x3b };
	struct guest g;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e[8];
	} m = { .head.nmsrs = 1 };

	make(&g, true);
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		uint64_t value = plain[i] == 0x277 ? 0x0606060606060606 : 0x7fff1000 + i;

		m.e[0] = (struct kvm_msr_entry){ .index = plain[i], .data = value };
		assert_int_equal(kvcore_ioctl(g.vcpu, KVM_SET_MSRS, &m), 1);
		m.e[0].data = 0;
		assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_MSRS, &m), 1);
		assert_int_equal(m.e[0].data, value);
	}
	m.head.nmsrs = 3; /* stops at the unknown one */
	m.e[0].index = 0x174;
	m.e[1].index = 0x12345678;
	m.e[2].index = 0x175;
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_MSRS, &m), 1);
	m.head.nmsrs = 1;
	m.e[0] = (struct kvm_msr_entry){ .index = 0xc0000102, .data = 1ull << 63 }; /* not canonical: some KVMs take it */
	assert_in_range(kvcore_ioctl(g.vcpu, KVM_SET_MSRS, &m), 0, accel == KVCORE_KVM);
	m.e[0] = (struct kvm_msr_entry){ .index = 0x277, .data = 2 }; /* no such memory type */
	assert_in_range(kvcore_ioctl(g.vcpu, KVM_SET_MSRS, &m), 0, accel == KVCORE_KVM);
	drop(&g);
}

static void set_msr(struct guest *g, uint32_t index, uint64_t value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e;
	} m = { .head.nmsrs = 1, .e = { .index = index, .data = value } };

	assert_int_equal(kvcore_ioctl(g->vcpu, KVM_SET_MSRS, &m), 1);
}

#define CLOCK_PAGE 0x5000

/* What a guest reads from kvmclock's page now, in ns. */
static uint64_t guest_clock(struct guest *g)
{
	struct {
		uint32_t version, pad;
		uint64_t tsc, ns;
		uint32_t mul;
		int8_t shift;
	} page;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e;
	} tsc = { .head.nmsrs = 1, .e.index = 0x10 };
	uint64_t passed;

	assert_int_equal(kvcore_ioctl(g->vcpu, KVM_GET_MSRS, &tsc), 1);
	memcpy(&page, g->ram + CLOCK_PAGE, sizeof(page));
	passed = tsc.e.data - page.tsc;
	passed = page.shift < 0 ? passed >> -page.shift : passed << page.shift;
	return page.ns + (uint64_t)((unsigned __int128)passed * page.mul >> 32);
}

/* A guest that moves its TSC has the same kvmclock as before. */
static void clock_and_tsc(void **state)
{
	static const uint8_t indices[] = { 0x3b, 0x10 };

	for (size_t n = 0; n < sizeof(indices) && (!n || accel == KVCORE_SOFT); n++) { /* Linux looks after TSC_ADJUST alone */
		/* out 0x10, al; mov ecx, index; xor eax, eax; mov edx, 0x4000; wrmsr; out 0x10, al; hlt */
		const uint8_t code[] = { 0xe6, 0x10, 0x66, 0xb9, indices[n], 0, 0, 0, 0x66, 0x31, 0xc0,
					 0x66, 0xba, 0, 0x40, 0, 0, 0x0f, 0x30, 0xe6, 0x10, 0xf4 };
		uint64_t before, after;
		struct guest g;

		make(&g, true);
		start_real(&g, code, sizeof(code));
		set_msr(&g, 0x4b564d01, CLOCK_PAGE | 1);
		assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
		assert_int_equal(g.run->exit_reason, KVM_EXIT_IO);
		before = guest_clock(&g);
		assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
		assert_int_equal(g.run->exit_reason, KVM_EXIT_IO);
		after = guest_clock(&g);
		assert_in_range(after, before, before + 10000000000u);
		drop(&g);
	}
}

static void port_exits(void **state)
{
	/* in al, 0x10; inc al; out 0x11, al; mov [0x20000 via ds], ...: hlt */
	static const uint8_t code[] = { 0xe4, 0x10, 0xfe, 0xc0, 0xe6, 0x11, 0xf4 };
	struct guest g;
	struct kvm_regs r;

	make(&g, false);
	start_real(&g, code, sizeof(code));
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
	assert_int_equal(g.run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(g.run->io.direction, KVM_EXIT_IO_IN);
	assert_int_equal(g.run->io.port, 0x10);
	assert_int_equal(g.run->io.size, 1);
	((uint8_t *)g.run)[g.run->io.data_offset] = 0x41;
	g.run->immediate_exit = 1; /* completes the instruction, runs no other */
	expect_errno(kvcore_ioctl(g.vcpu, KVM_RUN, 0), EINTR);
	g.run->immediate_exit = 0;
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_REGS, &r), 0);
	assert_int_equal(r.rip, 0x1002);
	assert_int_equal(r.rax & 0xff, 0x41);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
	assert_int_equal(g.run->io.direction, KVM_EXIT_IO_OUT);
	assert_int_equal(g.run->io.port, 0x11);
	assert_int_equal(((uint8_t *)g.run)[g.run->io.data_offset], 0x42);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
	assert_int_equal(g.run->exit_reason, KVM_EXIT_HLT);
	drop(&g);
}

static void string_input(void **state)
{
	/* mov dx, 0x10; mov di, 0x3000; mov cx, 5; rep insw; hlt */
	static const uint8_t code[] = { 0xba, 0x10, 0, 0xbf, 0, 0x30, 0xb9, 5, 0, 0xf3, 0x6d, 0xf4 };
	struct guest g;
	uint16_t next = 0x1100, got = 0;

	make(&g, false);
	start_real(&g, code, sizeof(code));
	for (;;) {
		assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
		if (g.run->exit_reason != KVM_EXIT_IO)
			break;
		assert_int_equal(g.run->io.size, 2);
		assert_true(got + g.run->io.count <= 5);
		for (uint32_t i = 0; i < g.run->io.count; i++, got++, next++)
			memcpy((uint8_t *)g.run + g.run->io.data_offset + 2 * i, &next, 2);
	}
	assert_int_equal(g.run->exit_reason, KVM_EXIT_HLT);
	assert_int_equal(got, 5);
	assert_memory_equal(g.ram + 0x3000, "\x00\x11\x01\x11\x02\x11\x03\x11\x04\x11", 10);
	drop(&g);
}

/* An interrupt comes with what user space has read; its handler asks another port, and writes to one. None of it is lost. */
static void interrupted_string_input(void **state)
{
	/* sti; nop; mov dx, 0x10; mov di, 0x3000; mov cx, 40; rep insw; cli; hlt */
	static const uint8_t code[] = { 0xfb, 0x90, 0xba, 0x10, 0, 0xbf, 0, 0x30, 0xb9, 40, 0, 0xf3, 0x6d, 0xfa, 0xf4 };
	/* push ax; in al, 0x20; out 0x21, al; pop ax; iret */
	static const uint8_t handler[] = { 0x50, 0xe4, 0x20, 0xe6, 0x21, 0x58, 0xcf };
	struct kvm_interrupt irq = { .irq = 0x21 };
	const uint32_t vector = 0x2000;
	unsigned handled = 0;
	uint16_t next = 0, value;
	struct guest g;

	make(&g, false);
	start_real(&g, code, sizeof(code));
	memcpy(g.ram + 4 * 0x21, &vector, 4);
	memcpy(g.ram + 0x2000, handler, sizeof(handler));
	for (;;) {
		assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
		if (g.run->exit_reason != KVM_EXIT_IO)
			break;
		handled += g.run->io.port == 0x21;
		if (g.run->io.port != 0x10)
			continue;
		for (uint32_t i = 0; i < g.run->io.count; i++, next++)
			memcpy((uint8_t *)g.run + g.run->io.data_offset + 2 * i, &next, 2);
		if (!handled)
			assert_int_equal(kvcore_ioctl(g.vcpu, KVM_INTERRUPT, &irq), 0);
	}
	assert_int_equal(g.run->exit_reason, KVM_EXIT_HLT);
	assert_true(handled > 0);
	assert_int_equal(next, 40);
	for (unsigned n = 0; n < 40; n++) {
		memcpy(&value, g.ram + 0x3000 + 2 * n, 2);
		assert_int_equal(value, n);
	}
	drop(&g);
}

static void memory_exits(void **state)
{
	/* mov ax, 0x8000; mov ds, ax; add word [0], 3; hlt  with no memory at 0x80000 */
	static const uint8_t code[] = { 0xb8, 0, 0x80, 0x8e, 0xd8, 0x83, 0x06, 0, 0, 3, 0xf4 };
	struct guest g;
	uint16_t value = 39;

	make(&g, false);
	assert_int_equal(set_region(g.vm, 0, 0, 0, 0, NULL), 0);
	assert_int_equal(set_region(g.vm, 0, 0, 0, 0x80000, g.ram), 0);
	start_real(&g, code, sizeof(code));
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
	assert_int_equal(g.run->exit_reason, KVM_EXIT_MMIO);
	assert_int_equal(g.run->mmio.phys_addr, 0x80000);
	assert_int_equal(g.run->mmio.len, 2);
	assert_false(g.run->mmio.is_write);
	memcpy(g.run->mmio.data, &value, 2);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
	assert_int_equal(g.run->exit_reason, KVM_EXIT_MMIO);
	assert_true(g.run->mmio.is_write);
	assert_int_equal(g.run->mmio.data[0], 42);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
	assert_int_equal(g.run->exit_reason, KVM_EXIT_HLT);
	drop(&g);
}

static void read_only_memory(void **state)
{
	/* mov ax, [0x4000] ; mov [0x4000], ax; hlt, the page read-only */
	static const uint8_t code[] = { 0xa1, 0, 0x40, 0xa3, 0, 0x40, 0xf4 };
	struct guest g;

	make(&g, false);
	assert_int_equal(set_region(g.vm, 0, 0, 0, 0, NULL), 0);
	assert_int_equal(set_region(g.vm, 0, 0, 0, 0x4000, g.ram), 0);
	assert_int_equal(set_region(g.vm, 1, KVM_MEM_READONLY, 0x4000, 0x1000, g.ram + 0x4000), 0);
	g.ram[0x4000] = 0x77;
	start_real(&g, code, sizeof(code));
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
	assert_int_equal(g.run->exit_reason, KVM_EXIT_MMIO);
	assert_int_equal(g.run->mmio.phys_addr, 0x4000);
	assert_true(g.run->mmio.is_write);
	assert_int_equal(g.run->mmio.data[0], 0x77);
	drop(&g);
}

static void interrupt_window(void **state)
{
	/* sti; nop; jmp $; handler at 0x2000: in al, 0x20; hlt */
	static const uint8_t code[] = { 0xfb, 0x90, 0xeb, 0xfe }, handler[] = { 0xe4, 0x20, 0xf4 };
	struct guest g;
	struct kvm_interrupt irq = { .irq = 0x21 };
	const uint32_t vector = 0x2000;

	make(&g, false);
	start_real(&g, code, sizeof(code));
	memcpy(g.ram + 4 * 0x21, &vector, 4);
	memcpy(g.ram + 0x2000, handler, sizeof(handler));
	g.run->request_interrupt_window = 1;
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
	assert_int_equal(g.run->exit_reason, KVM_EXIT_IRQ_WINDOW_OPEN);
	assert_int_equal(g.run->if_flag, 1);
	assert_int_equal(g.run->ready_for_interrupt_injection, 1);
	g.run->request_interrupt_window = 0;
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_INTERRUPT, &irq), 0);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
	assert_int_equal(g.run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(g.run->io.port, 0x20);
	drop(&g);
}

static void triple_fault(void **state)
{
	static const uint8_t code[] = { 0x0f, 0x0b }; /* ud2 with an empty IDT */
	struct guest g;
	struct kvm_sregs s;

	make(&g, false);
	start_real(&g, code, sizeof(code));
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_SREGS, &s), 0);
	s.idt.limit = 0;
	s.cr0 = 0x11;
	s.cs = (struct kvm_segment){ .limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1, .db = 1, .g = 1 };
	s.ds = s.es = s.fs = s.gs = s.ss =
		(struct kvm_segment){ .limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_SET_SREGS, &s), 0);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
	assert_int_equal(g.run->exit_reason, KVM_EXIT_SHUTDOWN);
	drop(&g);
}

static void enable(int vm, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { arg } };

	assert_int_equal(kvcore_ioctl(vm, KVM_ENABLE_CAP, &c), 0);
}

/* User space says that a triple fault is pending. */
static void triple_fault_event(void **state)
{
	static const uint8_t code[] = { 0xeb, 0xfe };
	struct kvm_vcpu_events e;
	struct guest g;

	make(&g, false);
	start_real(&g, code, sizeof(code));
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_VCPU_EVENTS, &e), 0);
	e.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	e.triple_fault.pending = 1;
	expect_errno(kvcore_ioctl(g.vcpu, KVM_SET_VCPU_EVENTS, &e), EINVAL); /* not enabled */
	enable(g.vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_SET_VCPU_EVENTS, &e), 0);
	e.triple_fault.pending = 0;
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_VCPU_EVENTS, &e), 0);
	assert_true(e.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT);
	assert_int_equal(e.triple_fault.pending, 1);
	alarm(20); /* the guest's own code has no end */
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
	alarm(0);
	assert_int_equal(g.run->exit_reason, KVM_EXIT_SHUTDOWN);
	drop(&g);
}

/* An uncorrected error stops a processor that has not enabled machine checks. */
static void machine_check(void **state)
{
	static const uint8_t code[] = { 0xeb, 0xfe };
	struct kvm_x86_mce error = { .status = 1ull << 63 | 1ull << 61 | 1ull << 60, .mcg_status = 4 | 1, .bank = 1 };
	uint64_t cap = 1ull << 24 | 1ull << 8 | 10; /* SER_P, CTL_P */
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e;
	} m = { .head.nmsrs = 1, .e = { .index = 0x179, .data = 0xff } };
	struct guest g;

	make(&g, false);
	start_real(&g, code, sizeof(code));
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_X86_SETUP_MCE, &cap), 0);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_SET_MSRS, &m), 0); /* more banks than there are */
	error.bank = 254;
	expect_errno(kvcore_ioctl(g.vcpu, KVM_X86_SET_MCE, &error), EINVAL);
	error.bank = 1;
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_X86_SET_MCE, &error), 0);
	alarm(20);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
	alarm(0);
	assert_int_equal(g.run->exit_reason, KVM_EXIT_SHUTDOWN);
	drop(&g);
}

static void single_step(void **state)
{
	static const uint8_t code[] = { 0x90, 0x40, 0x40, 0xf4 }; /* nop; inc ax; inc ax; hlt */
	struct guest g;
	struct kvm_guest_debug d = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };

	make(&g, false);
	start_real(&g, code, sizeof(code));
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_SET_GUEST_DEBUG, &d), 0);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
		assert_int_equal(g.run->exit_reason, KVM_EXIT_DEBUG);
		assert_int_equal(g.run->debug.arch.exception, 1);
		assert_int_equal(g.run->debug.arch.pc, 0x1000 + i);
	}
	drop(&g);
}

/* The thread's own vector state between two KVM_RUNs; what it was told to keep must still be there after the next. */
static const uint16_t own_fcw = 0x27f, usual_fcw = 0x37f;
static const uint32_t own_mxcsr = 0x9fc0, usual_mxcsr = 0x1f80;

static void run_amid_vectors(struct guest *g)
{
	uint32_t mxcsr;
	uint16_t fcw, env[14];

	__asm__ volatile("fninit\n\tfldpi\n\tfstp %%st(0)\n\tfldcw %0\n\tldmxcsr %1\n\tpcmpeqd %%xmm0, %%xmm0\n\t"
			 "pcmpeqd %%xmm1, %%xmm1"
			 : : "m"(own_fcw), "m"(own_mxcsr) : "xmm0", "xmm1");
	assert_int_equal(kvcore_ioctl(g->vcpu, KVM_RUN, 0), 0);
	__asm__ volatile("fnstcw %0\n\tstmxcsr %1\n\tfnstenv %2\n\tfninit\n\tfldcw %3\n\tldmxcsr %4"
			 : "=m"(fcw), "=m"(mxcsr), "=m"(env) : "m"(usual_fcw), "m"(usual_mxcsr));
	assert_int_equal(fcw, own_fcw);
	assert_int_equal(mxcsr, own_mxcsr);
	assert_int_equal(env[4], 0xffff); /* tags: empty */
	if (accel == KVCORE_KVM && g->run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		skip(); /* a host without full virtualization emulates, and knows no such instructions */
	assert_int_equal(g->run->exit_reason, KVM_EXIT_IO);
}

/* KVM_GET_XSAVE, as Linux's KVM_GET_FPU does not look at which parts are in their initial state. */
static void expect_fpu(struct guest *g, uint16_t fcw, uint8_t tags, float xmm0)
{
	static const uint8_t one[] = { 0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f };
	float want[4] = { xmm0, xmm0, xmm0, xmm0 };
	struct kvm_xsave x;
	const uint8_t *legacy = (const uint8_t *)x.region;

	assert_int_equal(kvcore_ioctl(g->vcpu, KVM_GET_XSAVE, &x), 0);
	assert_int_equal(*(const uint16_t *)legacy, fcw);
	assert_int_equal(legacy[4], tags);
	if (tags)
		assert_memory_equal(legacy + 32, one, sizeof(one));
	assert_int_equal(x.region[6], usual_mxcsr);
	assert_memory_equal(legacy + 160, want, sizeof(want));
}

static void vector_exits(void **state)
{
	/* out 0x10, al; fld1; out 0x10, al; fstp st0; fninit; addps xmm0, xmm1; out 0x10, al; addps xmm0, xmm1; out 0x10, al */
	static const uint8_t code[] = { 0xe6, 0x10, 0xd9, 0xe8, 0xe6, 0x10, 0xdd, 0xd8, 0xdb, 0xe3, 0x0f, 0x58, 0xc1, 0xe6, 0x10,
					0x0f, 0x58, 0xc1, 0xe6, 0x10 };
	const float xmm[2][4] = { { 1, 1, 1, 1 }, { 2, 2, 2, 2 } };
	struct guest g;
	struct kvm_sregs s;
	struct kvm_fpu f;

	make(&g, false);
	start_real(&g, code, sizeof(code));
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_SREGS, &s), 0);
	for (uint64_t level = 0; level < 3; level++) /* 2 MiB at 0 */
		memcpy(g.ram + 0x2000 + level * 0x1000, &(uint64_t){ level == 2 ? 0x87 : 0x3007 + level * 0x1000 }, 8);
	s.cr3 = 0x2000;
	s.cr4 = 0x220; /* PAE, OSFXSR */
	s.efer = 0x500;
	s.cr0 = 0x80000011;
	s.cs = (struct kvm_segment){ .limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	s.ds = s.es = s.fs = s.gs = s.ss =
		(struct kvm_segment){ .limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_SET_SREGS, &s), 0);
	run_amid_vectors(&g);
	expect_fpu(&g, 0x37f, 0, 0);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_FPU, &f), 0);
	f.fcw = 0x77f;
	f.mxcsr = usual_mxcsr;
	memcpy(f.xmm, xmm, sizeof(xmm));
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_SET_FPU, &f), 0);
	run_amid_vectors(&g);
	expect_fpu(&g, 0x77f, 0x80, 1);
	run_amid_vectors(&g);
	expect_fpu(&g, 0x37f, 0, 3);
	run_amid_vectors(&g);
	expect_fpu(&g, 0x37f, 0, 5);
	drop(&g);
}

static void events_and_xcrs(void **state)
{
	struct guest g;
	struct kvm_vcpu_events e, e2;
	struct kvm_xcrs x;

	make(&g, true);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_VCPU_EVENTS, &e), 0);
	assert_int_equal(e.nmi.pending, 0);
	e.nmi.pending = 1;
	e.nmi.masked = 1;
	e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING;
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_SET_VCPU_EVENTS, &e), 0);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_VCPU_EVENTS, &e2), 0);
	assert_int_equal(e2.nmi.pending, 1);
	assert_int_equal(e2.nmi.masked, 1);
	e.flags = 1u << 31;
	expect_errno(kvcore_ioctl(g.vcpu, KVM_SET_VCPU_EVENTS, &e), EINVAL);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_XCRS, &x), 0);
	assert_int_equal(x.nr_xcrs, 1);
	assert_int_equal(x.xcrs[0].value, 1);
	x.xcrs[0].value = 3;
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_SET_XCRS, &x), 0);
	x.xcrs[0].value = 2; /* without x87 */
	expect_errno(kvcore_ioctl(g.vcpu, KVM_SET_XCRS, &x), EINVAL);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_XCRS, &x), 0);
	assert_int_equal(x.xcrs[0].value, 3);
	drop(&g);
}

static void enable_lapic(struct guest *g)
{
	struct kvm_lapic_state l;

	assert_int_equal(kvcore_ioctl(g->vcpu, KVM_GET_LAPIC, &l), 0);
	memcpy(l.regs + 0xf0, &(uint32_t){ 0x1ff }, 4);
	assert_int_equal(kvcore_ioctl(g->vcpu, KVM_SET_LAPIC, &l), 0);
}

static bool requested(struct guest *g, unsigned vector)
{
	struct kvm_lapic_state l;

	assert_int_equal(kvcore_ioctl(g->vcpu, KVM_GET_LAPIC, &l), 0);
	return (uint8_t)l.regs[0x200 + vector / 32 * 16 + vector % 32 / 8] >> vector % 8 & 1;
}

/* One route: GSI to the first processor's vector. */
static int route(struct guest *g, uint32_t gsi, uint32_t data)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} t = { .head.nr = 1, .entry = { .gsi = gsi, .type = KVM_IRQ_ROUTING_MSI } };

	t.entry.u.msi.address_lo = 0xfee00000;
	t.entry.u.msi.data = data;
	return kvcore_ioctl(g->vm, KVM_SET_GSI_ROUTING, &t);
}

static void messages(void **state)
{
	struct guest g;
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x41 };
	struct kvm_irq_level level = { .irq = 3, .level = 1 };
	struct kvm_irq_routing bad = { .flags = 1 };

	make(&g, false);
	expect_errno(kvcore_ioctl(g.vm, KVM_SIGNAL_MSI, &msi), EINVAL); /* no chips */
	drop(&g);
	make(&g, true);
	assert_int_equal(kvcore_ioctl(g.vm, KVM_SIGNAL_MSI, &msi), 0); /* the LAPIC is off */
	enable_lapic(&g);
	assert_false(requested(&g, 0x41));
	assert_int_equal(kvcore_ioctl(g.vm, KVM_SIGNAL_MSI, &msi), 1);
	assert_true(requested(&g, 0x41));
	expect_errno(kvcore_ioctl(g.vm, KVM_SET_GSI_ROUTING, &bad), EINVAL);
	assert_int_equal(route(&g, 3, 0x42), 0);
	assert_int_equal(kvcore_ioctl(g.vm, KVM_IRQ_LINE, &level), 0);
	assert_true(requested(&g, 0x42));
	drop(&g);
}

/* User space has the IOAPIC: the end of an interrupt that it sent with a level trigger is an exit. */
static void split_irqchip(void **state)
{
	/* sti; jmp $; handler at 0x2000: wrmsr of 0 to the EOI register; in al, 0x20 */
	static const uint8_t code[] = { 0xfb, 0xeb, 0xfe };
	static const uint8_t handler[] = { 0x66, 0xb9, 0x0b, 8, 0, 0, 0x66, 0x31, 0xc0, 0x66, 0x31, 0xd2, 0x0f, 0x30,
					   0xe4, 0x20 };
	const uint32_t vector = 0x2000;
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct kvm_irq_level level = { .irq = 5, .level = 1 };
	struct kvm_sregs s;
	struct guest g;
	unsigned ended = 0, read = 0;

	make(&g, false);
	expect_errno(kvcore_ioctl(g.vm, KVM_ENABLE_CAP, &cap), EEXIST); /* a vCPU is there */
	drop(&g);
	make_vm(&g);
	assert_int_equal(kvcore_ioctl(g.vm, KVM_ENABLE_CAP, &cap), 0);
	make_vcpu(&g);
	expect_errno(kvcore_ioctl(g.vm, KVM_CREATE_IRQCHIP, 0), EEXIST);
	expect_errno(kvcore_ioctl(g.vm, KVM_GET_IRQCHIP, &chip), ENXIO);
	start_real(&g, code, sizeof(code));
	memcpy(g.ram + 4 * 0x43, &vector, 4);
	memcpy(g.ram + 0x2000, handler, sizeof(handler));
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_SREGS, &s), 0);
	s.apic_base |= 0xc00; /* x2APIC */
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_SET_SREGS, &s), 0);
	enable_lapic(&g);
	assert_int_equal(route(&g, 5, 0x8043), 0);
	assert_int_equal(kvcore_ioctl(g.vm, KVM_IRQ_LINE, &level), 0);
	for (unsigned n = 0; n < 2; n++) { /* a KVM that emulates both instructions in one go has the second exit first */
		assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
		ended += g.run->exit_reason == KVM_EXIT_IOAPIC_EOI && g.run->eoi.vector == 0x43;
		read += g.run->exit_reason == KVM_EXIT_IO && g.run->io.port == 0x20;
	}
	assert_int_equal(ended, 1);
	assert_int_equal(read, 1);
	drop(&g);
}

/* A clock goes back as it was read; user space may also say that it means the time of day. */
static void clock_round_trip(void **state)
{
	struct kvm_clock_data d, d2;
	struct guest g;

	make(&g, true);
	assert_int_equal(kvcore_ioctl(g.vm, KVM_GET_CLOCK, &d), 0);
	d.clock += 1000000000000;
	assert_int_equal(kvcore_ioctl(g.vm, KVM_SET_CLOCK, &d), 0);
	assert_int_equal(kvcore_ioctl(g.vm, KVM_GET_CLOCK, &d2), 0);
	assert_true(d2.clock >= d.clock);
	d.flags = 1u << 31;
	expect_errno(kvcore_ioctl(g.vm, KVM_SET_CLOCK, &d), EINVAL);
	drop(&g);
}

#define GDT 0x3000
#define IDT 0x4000

/* Flat 32-bit code at 0x1000. */
static void start_flat(struct guest *g, const void *code, size_t size)
{
	static const uint64_t gdt[] = { 0, 0x00cf9b000000ffff, 0x00cf93000000ffff };
	struct kvm_regs r = { .rip = 0x1000, .rflags = 2, .rsp = 0x8000 };
	struct kvm_segment flat = { .limit = ~0u, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1 };
	struct kvm_sregs s;

	memcpy(g->ram + 0x1000, code, size);
	memcpy(g->ram + GDT, gdt, sizeof(gdt));
	assert_int_equal(kvcore_ioctl(g->vcpu, KVM_GET_SREGS, &s), 0);
	s.ds = s.es = s.fs = s.gs = s.ss = s.cs = flat;
	s.cs.selector = 8;
	s.cs.type = 11;
	s.gdt = (struct kvm_dtable){ .base = GDT, .limit = sizeof(gdt) - 1 };
	s.idt = (struct kvm_dtable){ .base = IDT, .limit = 0x7ff };
	s.cr0 |= 1;
	assert_int_equal(kvcore_ioctl(g->vcpu, KVM_SET_SREGS, &s), 0);
	assert_int_equal(kvcore_ioctl(g->vcpu, KVM_SET_REGS, &r), 0);
}

/* The handler is at 0x2000 + 16 * vector. */
static void handle(struct guest *g, unsigned vector, const void *code, size_t size)
{
	uint64_t gate = 0x8e0000080000 + 0x2000 + 16 * vector; /* an interrupt gate */

	memcpy(g->ram + IDT + 8 * vector, &gate, 8);
	memcpy(g->ram + 0x2000 + 16 * vector, code, size);
}

/* An interrupt that waits for IF while an NMI is taken is not forgotten: nothing else comes to this guest. */
static void interrupt_behind_nmi(void **state)
{
	static const uint8_t code[] = { 0x90, 0xfb, 0x90, 0xeb, 0xfe }; /* nop; sti; nop; jmp $ */
	static const uint8_t iret[] = { 0xcf }, input[] = { 0xe4, 0x99 };
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x43 };
	struct guest g;

	make(&g, true);
	start_flat(&g, code, sizeof(code));
	handle(&g, 2, iret, sizeof(iret));
	handle(&g, 0x43, input, sizeof(input));
	enable_lapic(&g);
	assert_int_equal(kvcore_ioctl(g.vm, KVM_SIGNAL_MSI, &msi), 1);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_NMI, 0), 0);
	alarm(20);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_RUN, 0), 0);
	alarm(0);
	assert_int_equal(g.run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(g.run->io.port, 0x99);
	drop(&g);
}

/* INIT and SIPI that came while the processor was not in KVM_RUN are in the state that user space saves. */
static void started_processor(void **state)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000 | 1 << 12, .data = 5 << 8 };
	struct kvm_mp_state mp;
	struct kvm_sregs s;
	struct kvm_regs r;
	struct guest g;
	int other;

	make(&g, true);
	other = kvcore_ioctl(g.vm, KVM_CREATE_VCPU, 1ul);
	assert_true(other >= 0);
	set_cpuid(other);
	assert_int_equal(kvcore_ioctl(other, KVM_GET_MP_STATE, &mp), 0);
	assert_int_equal(mp.mp_state, KVM_MP_STATE_UNINITIALIZED);
	assert_int_equal(kvcore_ioctl(g.vm, KVM_SIGNAL_MSI, &msi), 1);
	assert_int_equal(kvcore_ioctl(other, KVM_GET_MP_STATE, &mp), 0);
	assert_int_equal(mp.mp_state, KVM_MP_STATE_INIT_RECEIVED);
	msi.data = 6 << 8 | 0x9a;
	assert_int_equal(kvcore_ioctl(g.vm, KVM_SIGNAL_MSI, &msi), 1);
	assert_int_equal(kvcore_ioctl(other, KVM_GET_MP_STATE, &mp), 0);
	assert_int_equal(mp.mp_state, KVM_MP_STATE_RUNNABLE);
	assert_int_equal(kvcore_ioctl(other, KVM_GET_SREGS, &s), 0);
	assert_int_equal(s.cs.selector, 0x9a00);
	assert_int_equal(s.cs.base, 0x9a000);
	assert_int_equal(kvcore_ioctl(other, KVM_GET_REGS, &r), 0);
	assert_int_equal(r.rip, 0);
	assert_int_equal(kvcore_close(other), 0);
	drop(&g);
}

/* User space resets a processor that was in x2APIC mode by this MSR; a guest could not go that way. */
static void apic_base_by_user_space(void **state)
{
	struct kvm_lapic_state l;
	struct kvm_sregs s;
	struct guest g;
	uint32_t id;

	make(&g, true);
	kvcore_close(g.vcpu);
	g.vcpu = kvcore_ioctl(g.vm, KVM_CREATE_VCPU, 1ul);
	assert_true(g.vcpu >= 0);
	set_cpuid(g.vcpu);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_SREGS, &s), 0);
	set_msr(&g, 0x1b, s.apic_base | 0xc00);
	set_msr(&g, 0x1b, s.apic_base);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_LAPIC, &l), 0);
	memcpy(&id, l.regs + 0x20, 4);
	assert_int_equal(id, 1u << 24);
	set_msr(&g, 0x1b, s.apic_base & ~0x800ull);
	set_msr(&g, 0x1b, s.apic_base | 0xc00);
	assert_int_equal(kvcore_ioctl(g.vcpu, KVM_GET_SREGS, &s), 0);
	assert_int_equal(s.apic_base & 0xc00, 0xc00);
	drop(&g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(system_calls), cmocka_unit_test(memory_regions), cmocka_unit_test(watched_memory),
		cmocka_unit_test(creation),
		cmocka_unit_test(registers), cmocka_unit_test(msrs), cmocka_unit_test(clock_and_tsc),
		cmocka_unit_test(port_exits),
		cmocka_unit_test(string_input), cmocka_unit_test(interrupted_string_input),
		cmocka_unit_test(memory_exits), cmocka_unit_test(read_only_memory),
		cmocka_unit_test(interrupt_window), cmocka_unit_test(triple_fault),
		cmocka_unit_test(triple_fault_event), cmocka_unit_test(machine_check), cmocka_unit_test(single_step),
		cmocka_unit_test(vector_exits), cmocka_unit_test(events_and_xcrs), cmocka_unit_test(messages),
		cmocka_unit_test(split_irqchip), cmocka_unit_test(clock_round_trip),
		cmocka_unit_test(interrupt_behind_nmi), cmocka_unit_test(started_processor),
		cmocka_unit_test(apic_base_by_user_space),
	};
	struct kvcore_choice choice;

	if (argc > 1 && !strcmp(argv[1], "kvm"))
		accel = KVCORE_KVM;
	kvm = kvcore_open(accel, &choice);
	if (kvm < 0) {
		printf("skipped: %s\n", choice.text);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
