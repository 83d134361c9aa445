/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a bare guest: a static ELF program without an operating system, in a VM of core.h. The guest reports lines on port
 * 0xe9 and ends with a write to port 0xf4 (0: passed). Two devices serve its tests: a register page at MMIO_BASE that
 * remembers writes and counts accesses, and a counting port. Usage: run-guest ELF soft|kvm|genuine 16|64 CPUS SECONDS;
 * genuine: a /dev/kvm that has no excuse (nested.py).
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core.h"

#define RAM_SIZE (64u << 20)
#define MMIO_BASE 0xd0000000ull
#define MMIO_READS 0x800  /* reading gives the number of accesses before this one */
#define MMIO_WRITES 0x808
#define PORT_PRINT 0xe9
#define PORT_EXIT 0xf4
#define PORT_COUNT 0x300 /* reading gives 0, 1, 2, ... in each of its bytes; writes add up, read the sum at 0x304 */
#define PORT_SUM 0x304
#define SKIP 77
#define CPUS_MAX 8

static unsigned char *ram;
static int vm_fd;
static unsigned ncpu;
static struct kvm_run *run_area[CPUS_MAX];
static int vcpu_fd[CPUS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char mmio_page[4096];
static uint64_t mmio_reads, mmio_writes, port_sum;
static unsigned char port_next;
static bool line_failed, emulated; /* a KVM that emulates kernel code is no judge: what fails there is skipped */
static char line[512];
static size_t line_len;

static void __attribute__((noreturn)) die(const char *what)
{
	perror(what);
	exit(1);
}

static void __attribute__((noreturn)) finish(int status)
{
	fflush(stdout);
	status = line_failed && !status ? 1 : status;
	_exit(status && emulated ? SKIP : status);
}

static void print_char(char ch)
{
	if (ch != '\n' && line_len < sizeof(line) - 1) {
		line[line_len++] = ch;
		return;
	}
	line[line_len] = 0;
	line_failed |= !strncmp(line, "FAIL", 4);
	puts(line);
	line_len = 0;
}

static void port_access(const struct kvm_run *run, unsigned char *data)
{
	unsigned size = run->io.size;
	bool in = run->io.direction == KVM_EXIT_IO_IN;

	for (unsigned n = 0; n < run->io.count; n++, data += size) {
		uint64_t v = 0;

		if (!in)
			memcpy(&v, data, size);
		switch (run->io.port) {
		case PORT_PRINT:
			if (!in)
				print_char((char)v);
			break;
		case PORT_EXIT:
			if (!in)
				finish((int)(v & 0x7f));
			break;
		case PORT_COUNT:
			if (in)
				memset(data, port_next++, size);
			else
				port_sum += v;
			break;
		case PORT_SUM:
			if (in)
				memcpy(data, &port_sum, size);
			break;
		default:
			if (in)
				memset(data, 0xff, size);
		}
	}
}

static void mmio_access(struct kvm_run *run)
{
	uint64_t off = run->mmio.phys_addr - MMIO_BASE;

	if (run->mmio.phys_addr < MMIO_BASE || off + run->mmio.len > sizeof(mmio_page)) {
		memset(run->mmio.data, 0xff, 8);
		return;
	}
	if (run->mmio.is_write) {
		mmio_writes++;
		memcpy(mmio_page + off, run->mmio.data, run->mmio.len);
		return;
	}
	if (off == MMIO_READS)
		memcpy(run->mmio.data, &mmio_reads, run->mmio.len);
	else if (off == MMIO_WRITES)
		memcpy(run->mmio.data, &mmio_writes, run->mmio.len);
	else
		memcpy(run->mmio.data, mmio_page + off, run->mmio.len);
	mmio_reads++;
}

static void report_exit(unsigned cpu)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	kvcore_ioctl(vcpu_fd[cpu], KVM_GET_REGS, &r);
	kvcore_ioctl(vcpu_fd[cpu], KVM_GET_SREGS, &s);
	printf("FAIL exit %u of cpu %u: rip %llx cs %x cr0 %llx cr2 %llx cr3 %llx efer %llx rsp %llx rflags %llx\n",
	       run_area[cpu]->exit_reason, cpu, r.rip, s.cs.selector, s.cr0, s.cr2, s.cr3, s.efer, r.rsp, r.rflags);
}

static void *run_cpu(void *arg)
{
	unsigned cpu = (unsigned)(uintptr_t)arg;
	struct kvm_run *run = run_area[cpu];

	for (;;) {
		if (kvcore_ioctl(vcpu_fd[cpu], KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			die("KVM_RUN");
		}
		pthread_mutex_lock(&lock);
		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			port_access(run, (unsigned char *)run + run->io.data_offset);
			break;
		case KVM_EXIT_MMIO:
			mmio_access(run);
			break;
		default:
			report_exit(cpu);
			finish(1);
		}
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static uint64_t load_elf(const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	unsigned char *file;
	const Elf64_Ehdr *eh;

	if (fd < 0 || fstat(fd, &st))
		die(path);
	file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (file == MAP_FAILED)
		die(path);
	eh = (const Elf64_Ehdr *)file;
	for (unsigned n = 0; n < eh->e_phnum; n++) {
		const Elf64_Phdr *ph = (const Elf64_Phdr *)(file + eh->e_phoff) + n;

		if (ph->p_type == PT_LOAD && ph->p_paddr + ph->p_memsz <= RAM_SIZE)
			memcpy(ram + ph->p_paddr, file + ph->p_offset, ph->p_filesz);
	}
	close(fd);
	return eh->e_entry;
}

/* Identity map of 4 GiB in 2 MiB pages at 0x1000, and a flat GDT at 0x7000: null, code 64, data, code 32. */
static void make_tables(void)
{
	uint64_t *pml4 = (uint64_t *)(ram + 0x1000), *pdpt = (uint64_t *)(ram + 0x2000), *gdt = (uint64_t *)(ram + 0x7000);

	pml4[0] = 0x2003;
	for (unsigned g = 0; g < 4; g++) {
		uint64_t *pd = (uint64_t *)(ram + 0x3000 + g * 0x1000);

		pdpt[g] = (0x3000 + g * 0x1000) | 3;
		for (unsigned n = 0; n < 512; n++)
			pd[n] = ((uint64_t)g << 30 | (uint64_t)n << 21) | 0x83;
	}
	gdt[1] = 0x00af9b000000ffff;
	gdt[2] = 0x00cf93000000ffff;
	gdt[3] = 0x00cf9b000000ffff;
}

static struct kvm_segment flat(unsigned selector, unsigned type, bool long64)
{
	return (struct kvm_segment){ .limit = ~0u, .selector = (uint16_t)selector, .type = (uint8_t)type, .present = 1, .s = 1,
				     .g = 1, .l = long64, .db = !long64 };
}

static void start_state(int fd, unsigned bits, uint64_t entry)
{
	struct kvm_regs r = { .rip = entry, .rsp = 0x80000, .rflags = 2 };
	struct kvm_sregs s;

	if (kvcore_ioctl(fd, KVM_GET_SREGS, &s) < 0)
		die("KVM_GET_SREGS");
	if (bits == 16) {
		s.cs.selector = (uint16_t)(entry >> 4);
		s.cs.base = entry;
		r.rip = 0;
	} else {
		s.cr0 = 0x80000033;
		s.cr3 = 0x1000;
		s.cr4 = 0x20;
		s.efer = 0x500;
		s.cs = flat(8, 11, true);
		s.ds = s.es = s.fs = s.gs = s.ss = flat(16, 3, false);
		s.gdt.base = 0x7000;
		s.gdt.limit = 0x1f;
	}
	if (kvcore_ioctl(fd, KVM_SET_SREGS, &s) < 0 || kvcore_ioctl(fd, KVM_SET_REGS, &r) < 0)
		die("KVM_SET_SREGS");
}

static void create_vm(int sys, unsigned bits, uint64_t entry)
{
	static union {
		struct kvm_cpuid2 c;
		char space[sizeof(struct kvm_cpuid2) + 128 * sizeof(struct kvm_cpuid_entry2)];
	} cpuid;
	struct kvm_userspace_memory_region region = { .memory_size = RAM_SIZE, .userspace_addr = (uintptr_t)ram };
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int size = kvcore_ioctl(sys, KVM_GET_VCPU_MMAP_SIZE, 0);

	vm_fd = kvcore_ioctl(sys, KVM_CREATE_VM, 0);
	if (vm_fd < 0)
		die("KVM_CREATE_VM");
	kvcore_ioctl(vm_fd, KVM_SET_TSS_ADDR, 0xfffbd000);
	if (kvcore_ioctl(vm_fd, KVM_CREATE_IRQCHIP, 0) < 0 || kvcore_ioctl(vm_fd, KVM_CREATE_PIT2, &pit) < 0 ||
	    kvcore_ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		die("VM set-up");
	cpuid.c.nent = 128;
	if (kvcore_ioctl(sys, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0)
		die("KVM_GET_SUPPORTED_CPUID");
	for (unsigned n = 0; n < ncpu; n++) {
		vcpu_fd[n] = kvcore_ioctl(vm_fd, KVM_CREATE_VCPU, n);
		if (vcpu_fd[n] < 0)
			die("KVM_CREATE_VCPU");
		for (unsigned k = 0; k < cpuid.c.nent; k++)
			if (cpuid.c.entries[k].function == 1) {
				cpuid.c.entries[k].ebx = (cpuid.c.entries[k].ebx & 0xffffff) | n << 24;
				cpuid.c.entries[k].ecx |= 1u << 31; /* hypervisor: older Linux leaves it to user space */
				if (kvcore_ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
					cpuid.c.entries[k].ecx |= 1u << 24;
			}
		if (kvcore_ioctl(vcpu_fd[n], KVM_SET_CPUID2, &cpuid) < 0)
			die("KVM_SET_CPUID2");
		run_area[n] = kvcore_mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd[n], 0);
		if (run_area[n] == MAP_FAILED)
			die("mmap of kvm_run");
	}
	start_state(vcpu_fd[0], bits, entry);
}

static bool kvm_is_native(void)
{
	struct kvcore_choice choice;
	int fd = kvcore_open(KVCORE_AUTO, &choice);

	if (fd >= 0)
		kvcore_close(fd);
	return choice.accel == KVCORE_KVM;
}

int main(int argc, char **argv)
{
	struct kvcore_choice choice;
	pthread_t thread;
	uint64_t entry;
	int sys;

	if (argc != 6) {
		fprintf(stderr, "usage: %s ELF soft|kvm|genuine 16|64 CPUS SECONDS\n", argv[0]);
		return 2;
	}
	sys = kvcore_open(!strcmp(argv[2], "soft") ? KVCORE_SOFT : KVCORE_KVM, &choice);
	if (sys < 0) {
		printf("skipped: %s\n", choice.text);
		return SKIP;
	}
	emulated = !strcmp(argv[2], "kvm") && !kvm_is_native();
	ncpu = (unsigned)strtoul(argv[4], NULL, 10);
	if (!ncpu || ncpu > CPUS_MAX)
		return 2;
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		die("guest memory");
	make_tables();
	entry = load_elf(argv[1]);
	create_vm(sys, (unsigned)strtoul(argv[3], NULL, 10), entry);
	for (unsigned n = 0; n < ncpu; n++)
		if (pthread_create(&thread, NULL, run_cpu, (void *)(uintptr_t)n))
			die("pthread_create");
	sleep((unsigned)strtoul(argv[5], NULL, 10));
	pthread_mutex_lock(&lock);
	puts("FAIL timeout");
	for (unsigned n = 0; n < ncpu; n++)
		printf("cpu %u: last exit %u\n", n, run_area[n]->exit_reason);
	finish(1);
	return 1;
}
