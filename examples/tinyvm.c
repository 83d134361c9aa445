/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A virtual machine in 200 lines over core.h: 64 KiB of RAM, one vCPU in 64-bit mode, a port to print on, a port to leave
 * by, and one register in memory space. The guest says hello, counts, asks the register and leaves with what it read.
 *
 * usage: tinyvm [auto|kvm|soft]      exit status 0 when the guest's answer is right, 77 when the provider is not there
 */
#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "core.h"

enum { RAM_SIZE = 0x10000, CODE = 0x8000, TABLES = 0x1000, PORT_PRINT = 0xe9, PORT_EXIT = 0xf4, REGISTER = 0x100000 };
enum { NO_PROVIDER = 77, ANSWER = 42, COUNT = 100000 };

/* The guest: ordinary 64-bit code that runs at CODE. */
extern const char guest_begin[], guest_end[];
__asm__(".pushsection .rodata\n"
	"guest_begin:\n"
	"	leaq	guest_text(%rip), %rsi\n"
	"1:	lodsb\n"
	"	testb	%al, %al\n"
	"	jz	2f\n"
	"	outb	%al, $0xe9\n"
	"	jmp	1b\n"
	"2:	movl	$100000, %ecx\n"
	"	xorl	%ebx, %ebx\n"
	"3:	incl	%ebx\n"
	"	decl	%ecx\n"
	"	jnz	3b\n"
	"	movl	%ebx, 0x100000\n" /* the VMM checks the count */
	"	movl	0x100000, %eax\n"
	"	outb	%al, $0xf4\n"
	"	hlt\n"
	"guest_text: .asciz \"Hello from a guest\\n\"\n"
	"guest_end:\n"
	".popsection\n");

struct machine {
	int kvm, vm, vcpu;
	uint8_t *ram;
	struct kvm_run *run;
	size_t run_size;
	uint32_t counted;
};

static void call(int fd, unsigned long request, void *arg, const char *what)
{
	if (kvcore_ioctl(fd, request, arg) < 0)
		err(1, "%s", what);
}

/* 2 MiB mapped one to one by a single large page. */
static void page_tables(uint8_t *ram)
{
	uint64_t *table = (uint64_t *)(ram + TABLES);

	table[0] = (TABLES + 0x1000) | 3;
	table[512] = (TABLES + 0x2000) | 3;
	table[1024] = 0x83;
}

static void long_mode(struct machine *m)
{
	const struct kvm_segment code = { .limit = UINT32_MAX, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	const struct kvm_segment data = { .limit = UINT32_MAX, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_regs regs = { .rip = CODE, .rsp = CODE, .rflags = 2 };
	struct kvm_sregs s;

	call(m->vcpu, KVM_GET_SREGS, &s, "KVM_GET_SREGS");
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cr0 = 0x80000031; /* paging, protection */
	s.cr3 = TABLES;
	s.cr4 = 0x20;	    /* PAE */
	s.efer = 0x500;	    /* long mode enabled and active */
	call(m->vcpu, KVM_SET_SREGS, &s, "KVM_SET_SREGS");
	call(m->vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
}

static void make(struct machine *m, enum kvcore_accel accel)
{
	struct kvm_userspace_memory_region region = { .memory_size = RAM_SIZE };
	struct kvcore_choice choice;
	int size;

	m->kvm = kvcore_open(accel, &choice);
	if (m->kvm < 0) {
		warnx("%s", choice.text);
		exit(NO_PROVIDER);
	}
	printf("%s\n", choice.text);
	m->vm = kvcore_ioctl(m->kvm, KVM_CREATE_VM, 0);
	if (m->vm < 0)
		err(1, "KVM_CREATE_VM");
	m->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m->ram == MAP_FAILED)
		err(1, "mmap");
	memcpy(m->ram + CODE, guest_begin, (size_t)(guest_end - guest_begin));
	page_tables(m->ram);
	region.userspace_addr = (uintptr_t)m->ram;
	call(m->vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
	m->vcpu = kvcore_ioctl(m->vm, KVM_CREATE_VCPU, 0);
	size = kvcore_ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (m->vcpu < 0 || size < 0)
		err(1, "KVM_CREATE_VCPU");
	m->run_size = (size_t)size;
	m->run = kvcore_mmap(NULL, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	if (m->run == MAP_FAILED)
		err(1, "mmap of the vCPU");
	long_mode(m);
}

/* True when the guest left; *ret_status has its value. */
static int port_write(uint16_t port, uint8_t value, int *ret_status)
{
	if (port == PORT_PRINT)
		putchar(value);
	else if (port == PORT_EXIT)
		*ret_status = value;
	else
		errx(1, "the guest wrote to port %#x", port);
	return port == PORT_EXIT;
}

static void register_access(struct machine *m)
{
	const uint32_t answer = ANSWER;

	if (m->run->mmio.phys_addr != REGISTER || m->run->mmio.len != 4)
		errx(1, "the guest accessed %#llx", (unsigned long long)m->run->mmio.phys_addr);
	if (m->run->mmio.is_write)
		memcpy(&m->counted, m->run->mmio.data, sizeof(m->counted));
	else
		memcpy(m->run->mmio.data, &answer, sizeof(answer));
}

static int run(struct machine *m)
{
	int status = -1;

	for (;;) {
		if (kvcore_ioctl(m->vcpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR)
				continue;
			err(1, "KVM_RUN");
		}
		switch (m->run->exit_reason) {
		case KVM_EXIT_IO:
			if (port_write(m->run->io.port, ((uint8_t *)m->run)[m->run->io.data_offset], &status))
				return status;
			break;
		case KVM_EXIT_MMIO:
			register_access(m);
			break;
		default:
			errx(1, "exit reason %u", m->run->exit_reason);
		}
	}
}

static enum kvcore_accel accel_by_name(const char *name)
{
	if (!strcmp(name, "kvm"))
		return KVCORE_KVM;
	if (!strcmp(name, "soft"))
		return KVCORE_SOFT;
	if (strcmp(name, "auto"))
		errx(2, "%s: not an accelerator: use auto, kvm or soft", name);
	return KVCORE_AUTO;
}

int main(int argc, char **argv)
{
	struct machine m = { 0 };
	int status;

	make(&m, accel_by_name(argc > 1 ? argv[1] : "auto"));
	status = run(&m);
	printf("The guest counted to %u and left with %d\n", m.counted, status);
	munmap(m.run, m.run_size);
	kvcore_close(m.vcpu);
	kvcore_close(m.vm);
	kvcore_close(m.kvm);
	munmap(m.ram, RAM_SIZE);
	return !(status == ANSWER && m.counted == COUNT);
}
