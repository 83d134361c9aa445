/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Boots an unmodified Linux bzImage over core.h with nothing but RAM, the in-core interrupt controllers and a serial port:
 * the smallest machine on which Debian's kernel runs. For trying a KVM provider by itself; kv-vmm is the real thing.
 * Boot protocol: Documentation/x86/boot.rst, 64-bit entry.
 *
 * usage: tinylinux kvm|soft BZIMAGE INITRD "COMMAND LINE" [MEMORY-MIB]
 */
#include <asm/bootparam.h>
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core.h"

enum { GDT = 0x500, ZERO_PAGE = 0x7000, TABLES = 0x9000, COMMAND_LINE = 0x20000, KERNEL = 0x1000000 };

struct guest {
	uint8_t *ram;
	size_t size;
	int vm, vcpu;
	struct kvm_run *run;
	uint8_t ier, lcr, mcr, scratch, thri;
};

static void call(int fd, unsigned long request, void *arg, const char *what)
{
	if (kvcore_ioctl(fd, request, arg) < 0)
		err(1, "%s", what);
}

static uint8_t *file_bytes(const char *path, size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *p;

	if (fd < 0 || fstat(fd, &st) < 0)
		err(1, "%s", path);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		err(1, "%s", path);
	close(fd);
	*ret_size = (size_t)st.st_size;
	return p;
}

static void page_tables(struct guest *g)
{
	uint64_t *t = (uint64_t *)(g->ram + TABLES);

	t[0] = (TABLES + 0x1000) | 3;
	for (int gb = 0; gb < 4; gb++)
		t[512 + gb] = (uint64_t)(TABLES + 0x2000 + gb * 0x1000) | 3;
	for (int i = 0; i < 4 * 512; i++)
		t[1024 + i] = (uint64_t)i << 21 | 0x83;
}

static void load_kernel(struct guest *g, const char *kernel, const char *initrd, const char *text)
{
	struct boot_params *bp = (struct boot_params *)(g->ram + ZERO_PAGE);
	size_t size, initrd_size, setup, at;
	uint8_t *k = file_bytes(kernel, &size), *i = file_bytes(initrd, &initrd_size);

	memcpy(&bp->hdr, k + 0x1f1, sizeof(bp->hdr));
	if (bp->hdr.header != 0x53726448 || !(bp->hdr.xloadflags & XLF_KERNEL_64))
		errx(1, "%s: not a 64-bit bzImage", kernel);
	setup = (bp->hdr.setup_sects ? bp->hdr.setup_sects + 1u : 5u) * 512;
	at = (g->size - initrd_size) & ~(size_t)0xfff;
	if (setup > size || KERNEL + bp->hdr.init_size > at || at > g->size)
		errx(1, "the kernel and its initrd do not fit into %zu MiB", g->size >> 20);
	memcpy(g->ram + KERNEL, k + setup, size - setup);
	memcpy(g->ram + at, i, initrd_size);
	snprintf((char *)g->ram + COMMAND_LINE, 2048, "%s", text);
	bp->hdr.type_of_loader = 0xff;
	bp->hdr.cmd_line_ptr = COMMAND_LINE;
	bp->hdr.ramdisk_image = (uint32_t)at;
	bp->hdr.ramdisk_size = (uint32_t)initrd_size;
	bp->e820_table[0] = (struct boot_e820_entry){ 0, 0x9fc00, 1 };
	bp->e820_table[1] = (struct boot_e820_entry){ 0x100000, g->size - 0x100000, 1 };
	bp->e820_entries = 2;
}

static struct kvm_segment flat(uint16_t selector, uint8_t type, uint8_t l)
{
	return (struct kvm_segment){ .limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .db = !l,
				     .s = 1, .l = l, .g = 1 };
}

static void start_state(struct guest *g)
{
	static const uint64_t gdt[4] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	struct kvm_regs regs = { .rip = KERNEL + 0x200, .rsi = ZERO_PAGE, .rsp = 0x6000, .rflags = 2 };
	struct kvm_sregs s;

	memcpy(g->ram + GDT, gdt, sizeof(gdt));
	page_tables(g);
	call(g->vcpu, KVM_GET_SREGS, &s, "KVM_GET_SREGS");
	s.cs = flat(0x10, 11, 1);
	s.ds = s.es = s.fs = s.gs = s.ss = flat(0x18, 3, 0);
	s.gdt = (struct kvm_dtable){ .base = GDT, .limit = sizeof(gdt) - 1 };
	s.cr0 = 0x80000011;
	s.cr3 = TABLES;
	s.cr4 = 0x20;
	s.efer = 0x500;
	call(g->vcpu, KVM_SET_SREGS, &s, "KVM_SET_SREGS");
	call(g->vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
}

static void create(struct guest *g, int sys)
{
	struct kvm_pit_config pit = { 0 };
	struct kvm_userspace_memory_region slot = { .memory_size = g->size };
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + 256 * sizeof(cpuid->entries[0]));
	int run_size = kvcore_ioctl(sys, KVM_GET_VCPU_MMAP_SIZE, 0);

	g->ram = mmap(NULL, g->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	g->vm = kvcore_ioctl(sys, KVM_CREATE_VM, 0);
	if (g->ram == MAP_FAILED || g->vm < 0 || !cpuid)
		err(1, "KVM_CREATE_VM");
	slot.userspace_addr = (uintptr_t)g->ram;
	call(g->vm, KVM_SET_TSS_ADDR, (void *)0xfffbd000, "KVM_SET_TSS_ADDR");
	call(g->vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
	call(g->vm, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2");
	call(g->vm, KVM_SET_USER_MEMORY_REGION, &slot, "KVM_SET_USER_MEMORY_REGION");
	g->vcpu = kvcore_ioctl(g->vm, KVM_CREATE_VCPU, 0);
	g->run = kvcore_mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
	if (g->vcpu < 0 || g->run == MAP_FAILED)
		err(1, "KVM_CREATE_VCPU");
	cpuid->nent = 256;
	call(sys, KVM_GET_SUPPORTED_CPUID, cpuid, "KVM_GET_SUPPORTED_CPUID");
	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 1)
			cpuid->entries[i].ecx |= 1u << 31; /* a hypervisor is there */
	call(g->vcpu, KVM_SET_CPUID2, cpuid, "KVM_SET_CPUID2");
	free(cpuid);
}

static void uart_irq(struct guest *g, int level)
{
	struct kvm_irq_level line = { .irq = 4, .level = (uint32_t)level };

	g->thri = (uint8_t)level;
	call(g->vm, KVM_IRQ_LINE, &line, "KVM_IRQ_LINE");
}

static uint8_t uart_read(struct guest *g, unsigned reg)
{
	uint8_t pending = g->thri;

	switch (reg) {
	case 1:
		return g->lcr & 0x80 ? 0 : g->ier;
	case 2:
		if (pending)
			uart_irq(g, 0);
		return pending ? 0xc2 : 0xc1;
	case 3:
		return g->lcr;
	case 4:
		return g->mcr;
	case 5:
		return 0x60; /* transmitter empty */
	case 6:
		return 0xb0;
	case 7:
		return g->scratch;
	default:
		return 0;
	}
}

static void uart_write(struct guest *g, unsigned reg, uint8_t v)
{
	if (reg == 3)
		g->lcr = v;
	else if (reg == 4)
		g->mcr = v;
	else if (reg == 7)
		g->scratch = v;
	else if (reg > 1 || (g->lcr & 0x80))
		return;
	else if (reg == 1)
		g->ier = v & 15;
	else if (write(1, &v, 1) != 1)
		err(1, "standard output");
	if (reg <= 1)
		uart_irq(g, g->ier >> 1 & 1);
}

/* False: the guest asked the keyboard controller for a reset. */
static bool port(struct guest *g)
{
	uint8_t *data = (uint8_t *)g->run + g->run->io.data_offset;
	unsigned n = g->run->io.port - 0x3f8u;

	if (g->run->io.direction == KVM_EXIT_IO_IN)
		memset(data, 0xff, (size_t)g->run->io.size * g->run->io.count);
	for (uint32_t i = 0; n < 8 && i < g->run->io.count; i++, data += g->run->io.size) {
		if (g->run->io.direction == KVM_EXIT_IO_IN)
			*data = uart_read(g, n);
		else
			uart_write(g, n, *data);
	}
	return !(g->run->io.port == 0x64 && g->run->io.direction == KVM_EXIT_IO_OUT && *data == 0xfe);
}

int main(int argc, char **argv)
{
	struct guest g = { .size = (size_t)(argc > 5 ? strtoul(argv[5], NULL, 10) : 256) << 20 };
	char stats[4096];
	int sys;

	if (argc < 5)
		errx(2, "usage: tinylinux kvm|soft BZIMAGE INITRD \"COMMAND LINE\" [MEMORY-MIB]");
	sys = kvcore_open(strcmp(argv[1], "kvm") ? KVCORE_SOFT : KVCORE_KVM, NULL);
	if (sys < 0)
		err(1, "cannot open the %s KVM", argv[1]);
	create(&g, sys);
	load_kernel(&g, argv[2], argv[3], argv[4]);
	start_state(&g);
	for (;;) {
		if (kvcore_ioctl(g.vcpu, KVM_RUN, 0) < 0)
			err(1, "KVM_RUN");
		if (g.run->exit_reason == KVM_EXIT_IO && port(&g))
			continue;
		if (g.run->exit_reason == KVM_EXIT_MMIO) {
			memset(g.run->mmio.data, 0xff, 8);
			continue;
		}
		break;
	}
	if (kvcore_stats(g.vm, stats, sizeof(stats)) > 0 && getenv("TINYLINUX_STATS"))
		fputs(stats, stderr);
	fprintf(stderr, "tinylinux: exit reason %u\n", g.run->exit_reason);
	return g.run->exit_reason != KVM_EXIT_IO && g.run->exit_reason != KVM_EXIT_SHUTDOWN;
}
