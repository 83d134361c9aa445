/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest code that a device rewrites while two vCPUs run it: they must run the new code as soon as the device's ring says that
 * it is there. With the machine's memory and virtqueue, which report their writes (core.h), and with a client that does not
 * report, where the code is compared when it is fetched anew after an exit. Usage: test-written soft|kvm
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "core.h"
#include "mem.h"
#include "ring-driver.h"
#include "virtqueue.h"

enum {
	RAM = 0x100000,
	CODE = 0x1000,
	SEEN = 0x3000,	/* the version that vCPU n ran last: at 64 * n */
	FUNC = 0x5003,	/* mov $version, %eax; ret, with the version aligned */
	BEHIND = 0x6001, /* where FUNC's page leads to when it is all zero */
	TABLES = 0x10000,
	RING = 0x20000,
	RING_SIZE = 4,
	STACKS = 0x40000,
	CPUS = 2,
	ROUNDS = 400,
	ZEROED = 0x800, /* an address, too: ADD [RAX], AL is what zeros mean */
	PORT_STALE = 0xf4,
	PORT_ASK = 0xf5,
};

static enum kvcore_accel accel = KVCORE_SOFT;
static int kvm;

/* RSI = where to tell, RDI = FUNC, RBP = the used ring's index */
static const uint8_t polling[] = {
	0x0f, 0xb7, 0x5d, 0x00,	   /* 1: movzwl (%rbp), %ebx */
	0xff, 0xd7,		   /* call *%rdi */
	0x39, 0xd8,		   /* cmp %ebx, %eax */
	0x72, 0x04,		   /* jb 2f */
	0x89, 0x06,		   /* mov %eax, (%rsi) */
	0xeb, 0xf2,		   /* jmp 1b */
	0xe6, PORT_STALE,	   /* 2: out %al, $PORT_STALE */
};

/* Drops what it knows about addresses after each exit, which reloads what may be fetched. */
static const uint8_t asking[] = {
	0xe6, PORT_ASK,		   /* 1: out %al, $PORT_ASK */
	0x0f, 0x20, 0xd8,	   /* mov %cr3, %rax */
	0x0f, 0x22, 0xd8,	   /* mov %rax, %cr3 */
	0xff, 0xd7,		   /* call *%rdi */
	0x89, 0x06,		   /* mov %eax, (%rsi) */
	0xeb, 0xf2,		   /* jmp 1b */
};

struct guest {
	int vm, vcpu[CPUS];
	struct kvm_run *run[CPUS];
	uint8_t *ram;
	pthread_t thread[CPUS];
	bool left[CPUS]; /* KVM_RUN ended otherwise than by being told to */
	bool ending;
};

struct runner {
	struct guest *g;
	int cpu;
};

static void put64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

static void put_function(uint8_t *p, uint32_t v)
{
	p[0] = 0xb8; /* mov $v, %eax; ret */
	memcpy(p + 1, &v, sizeof(v));
	p[5] = 0xc3;
}

static uint32_t seen(const struct guest *g, int cpu)
{
	return __atomic_load_n((uint32_t *)(void *)(g->ram + SEEN + 64 * cpu), __ATOMIC_ACQUIRE);
}

static void fill_memory(uint8_t *ram, const uint8_t *code, size_t size)
{
	memcpy(ram + CODE, code, size);
	put_function(ram + FUNC, 0);
	put_function(ram + BEHIND, ZEROED);
	put64(ram + TABLES, (TABLES + 0x1000) | 3);
	put64(ram + TABLES + 0x1000, (TABLES + 0x2000) | 3);
	put64(ram + TABLES + 0x2000, 0x83);
}

static struct kvm_segment flat(unsigned selector, unsigned type)
{
	return (struct kvm_segment){ .limit = ~0u, .selector = (uint16_t)selector, .type = (uint8_t)type, .present = 1, .s = 1,
				     .g = 1, .l = type == 11, .db = type != 11 };
}

static void make_vcpu(struct guest *g, int n)
{
	struct kvm_regs regs = { .rip = CODE, .rflags = 2, .rsp = STACKS + 0x1000 * (unsigned)(n + 1),
				 .rsi = SEEN + 64 * (unsigned)n, .rdi = FUNC };
	struct kvm_sregs s;

	g->vcpu[n] = kvcore_ioctl(g->vm, KVM_CREATE_VCPU, (unsigned long)n);
	assert_true(g->vcpu[n] >= 0);
	g->run[n] = kvcore_mmap(NULL, (size_t)kvcore_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED,
				g->vcpu[n], 0);
	assert_true(g->run[n] != MAP_FAILED);
	assert_int_equal(kvcore_ioctl(g->vcpu[n], KVM_GET_SREGS, &s), 0);
	s.cr0 = 0x80000033;
	s.cr3 = TABLES;
	s.cr4 = 0x20;
	s.efer = 0x500;
	s.cs = flat(8, 11);
	s.ds = s.es = s.fs = s.gs = s.ss = flat(16, 3);
	assert_int_equal(kvcore_ioctl(g->vcpu[n], KVM_SET_SREGS, &s), 0);
	assert_int_equal(kvcore_ioctl(g->vcpu[n], KVM_SET_REGS, &regs), 0);
}

static void set_rbp(struct guest *g, uint64_t value)
{
	struct kvm_regs regs;

	for (int n = 0; n < CPUS; n++) {
		assert_int_equal(kvcore_ioctl(g->vcpu[n], KVM_GET_REGS, &regs), 0);
		regs.rbp = value;
		assert_int_equal(kvcore_ioctl(g->vcpu[n], KVM_SET_REGS, &regs), 0);
	}
}

static void drop_vm(struct guest *g)
{
	for (int n = 0; n < CPUS; n++) {
		munmap(g->run[n], (size_t)kvcore_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
		kvcore_close(g->vcpu[n]);
	}
	kvcore_close(g->vm);
}

static void on_usr1(int sig)
{
}

static void *run_thread(void *opaque)
{
	struct runner *r = opaque;
	struct guest *g = r->g;

	while (!__atomic_load_n(&g->ending, __ATOMIC_SEQ_CST))
		if (kvcore_ioctl(g->vcpu[r->cpu], KVM_RUN, 0) == 0 || errno != EINTR) {
			__atomic_store_n(&g->left[r->cpu], true, __ATOMIC_SEQ_CST);
			break;
		}
	return NULL;
}

static void start(struct guest *g, struct runner *r)
{
	for (int n = 0; n < CPUS; n++) {
		r[n] = (struct runner){ g, n };
		assert_int_equal(pthread_create(&g->thread[n], NULL, run_thread, &r[n]), 0);
	}
}

static void stop(struct guest *g)
{
	__atomic_store_n(&g->ending, true, __ATOMIC_SEQ_CST);
	for (int n = 0; n < CPUS; n++) {
		g->run[n]->immediate_exit = 1;
		pthread_kill(g->thread[n], SIGUSR1);
		pthread_join(g->thread[n], NULL);
	}
}

/* Until all vCPUs have run that version. A vCPU that finds a stale one leaves KVM_RUN. */
static bool wait_seen(struct guest *g, uint32_t version)
{
	for (int n = 0; n < CPUS; n++)
		while (seen(g, n) != version) {
			if (__atomic_load_n(&g->left[n], __ATOMIC_SEQ_CST))
				return false;
			sched_yield();
		}
	return true;
}

/* The driver offers the function's operand as a buffer, the device writes the next version there. */
static void device_writes(struct virtqueue *vq, struct ring_driver *driver, uint32_t version)
{
	struct ring_buf buf = { FUNC + 1, sizeof(version), true };
	const struct virtq_chain *c;
	uint32_t len;

	assert_true(ring_add(driver, &buf, 1, 0, vq));
	ring_kick(driver);
	g_mutex_lock(&vq->lock);
	c = virtq_pop(vq);
	assert_non_null(c);
	assert_int_equal(virtq_iov_write(c->in, c->n_in, 0, &version, sizeof(version)), sizeof(version));
	virtq_push(vq, c, sizeof(version));
	virtq_publish(vq);
	g_mutex_unlock(&vq->lock);
	assert_ptr_equal(ring_get(driver, &len), vq);
}

static void start_queue(struct virtqueue *vq, struct guest_mem *mem, struct ring_driver *driver)
{
	ring_setup(driver, gpa_ptr(mem, 0, RAM), 0, RING, RING_SIZE, false, false);
	virtq_init(vq, mem, 0, RING_SIZE);
	vq->desc = driver->desc;
	vq->avail = driver->avail;
	vq->used = driver->used;
	assert_true(virtq_start(vq, 0));
}

static void by_a_queue(void **state)
{
	struct guest g = { .vm = kvcore_ioctl(kvm, KVM_CREATE_VM, 0) };
	struct guest_mem *mem;
	struct ring_driver driver;
	struct runner r[CPUS];
	struct virtqueue vq;
	bool good;

	kvcore_ioctl(g.vm, KVM_SET_TSS_ADDR, 0xfffbd000ul);
	mem = mem_new(g.vm);
	assert_true(mem_add_ram(mem, 0, RAM, NULL));
	g.ram = gpa_ptr(mem, 0, RAM);
	fill_memory(g.ram, polling, sizeof(polling));
	start_queue(&vq, mem, &driver);
	for (int n = 0; n < CPUS; n++)
		make_vcpu(&g, n);
	set_rbp(&g, vq.used + 2);
	start(&g, r);
	good = wait_seen(&g, 0);
	for (uint32_t v = 1; good && v <= ROUNDS; v++) {
		device_writes(&vq, &driver, v);
		good = wait_seen(&g, v);
	}
	/* As the balloon does: the page is zero, and its instructions lead to the next page. */
	if (good) {
		assert_int_equal(madvise(g.ram + FUNC / 4096 * 4096, 4096, MADV_DONTNEED), 0);
		mem_written(mem, FUNC / 4096 * 4096, 4096);
		good = wait_seen(&g, ZEROED);
	}
	stop(&g);
	assert_true(good);
	drop_vm(&g);
	virtq_destroy(&vq);
	mem_free(mem);
}

static void unreported(void **state)
{
	struct guest g = { .vm = kvcore_ioctl(kvm, KVM_CREATE_VM, 0) };
	struct kvm_userspace_memory_region slot = { .memory_size = RAM };

	kvcore_ioctl(g.vm, KVM_SET_TSS_ADDR, 0xfffbd000ul);
	g.ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(g.ram != MAP_FAILED);
	slot.userspace_addr = (uintptr_t)g.ram;
	assert_int_equal(kvcore_ioctl(g.vm, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	fill_memory(g.ram, asking, sizeof(asking));
	for (int n = 0; n < CPUS; n++)
		make_vcpu(&g, n);
	for (uint32_t v = 0; v < 500; v++) {
		if (v)
			put_function(g.ram + FUNC, v);
		for (int n = 0; n < CPUS; n++) {
			assert_int_equal(kvcore_ioctl(g.vcpu[n], KVM_RUN, 0), 0);
			assert_int_equal(g.run[n]->exit_reason, KVM_EXIT_IO);
			if (v)
				assert_int_equal(seen(&g, n), v);
		}
	}
	drop_vm(&g);
	munmap(g.ram, RAM);
}

/* What is not a VM of ours, and ranges that are not all memory. */
static void odd_calls(void **state)
{
	int vm = kvcore_ioctl(kvm, KVM_CREATE_VM, 0);
	struct guest_mem *mem = mem_new(vm);

	assert_true(mem_add_ram(mem, 0x100000, RAM, NULL));
	kvcore_memory_written(vm, 0, UINT64_MAX);
	kvcore_memory_written(vm, UINT64_MAX, 2);
	kvcore_memory_written(vm, 0x100000 + RAM - 1, 0x100000);
	kvcore_memory_written(vm, 0x100000, 0);
	kvcore_memory_written(-1, 0, 4096);
	kvcore_memory_written(STDERR_FILENO, 0, 4096);
	assert_int_equal(kvcore_report_writes(vm), 0);
	assert_int_equal(kvcore_report_writes(STDERR_FILENO), 0);
	if (accel == KVCORE_SOFT) {
		errno = 0;
		assert_int_equal(kvcore_report_writes(kvm), -1);
		assert_int_equal(errno, ENOTTY);
	}
	kvcore_close(vm);
	mem_free(mem);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_a_queue),
		cmocka_unit_test(unreported),
		cmocka_unit_test(odd_calls),
	};
	struct sigaction sa = { .sa_handler = on_usr1 };
	struct kvcore_choice choice;

	if (argc > 1 && !strcmp(argv[1], "kvm"))
		accel = KVCORE_KVM;
	kvm = kvcore_open(accel, &choice);
	if (kvm < 0) {
		printf("skipped: %s\n", choice.text);
		return 77;
	}
	sigaction(SIGUSR1, &sa, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
