/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bare guest of bench/run: kernels in ring 3 with small pages, as a user's program has them, then primitives of rings 3
 * and 0. One image for every machine that starts a PVH kernel and has a 16550 at 0x3f8; nothing else is needed. The command
 * line may name `kernels`, `primitives` or `smp` (kernels on two processors at once); lines as in bench/report.h.
 */
#include <stdbool.h>

#include "layout.h"
#include "report.h"

#define COM1 0x3f8
#define SERIAL_READY 0x20 /* line status: the transmitter is empty */
#define CR4_OSXSAVE (1u << 18)
#define CR4_PCIDE (1u << 17)

enum { EXC_PF = 14 };

struct gate {
	u16 offset0, selector, type, offset1;
	u32 offset2, reserved;
};

struct __attribute__((packed)) task_state {
	u32 reserved0;
	u64 rsp[3], reserved1, ist[7], reserved2;
	u16 reserved3, io_map;
};

struct __attribute__((packed)) table_pointer {
	u16 limit;
	u64 base;
};

/* layout.h has the offsets of saved_rsp and user_stack. */
struct cpu {
	u8 interrupt_stack[8192];
	u64 saved_rsp, user_stack, heap;
	struct task_state tss;
};

struct start_info {
	u32 magic, version, flags, modules;
	u64 module_list, command_line;
};

extern u64 gdt[], page_dirs[];
extern u8 stubs[256][16], int80_entry[], fault_entry[], syscall_entry[], leave_entry[], ap_start[], ap_start_end[], user_start[],
	user_end[];
u64 enter_user(const void *fn, u64 first, u64 second, struct cpu *cpu);
void guest_main(const struct start_info *info);
void guest_ap_main(void);
void guest_panic(u64 vector, u64 rip, u64 cr2) __attribute__((noreturn));
void guest_end(void) __attribute__((noreturn));

primitive_fn user_syscall, user_int80, user_fault, system_fault, system_invlpg, system_cr3, system_cr3_pcid, system_out_nobody,
	system_out_cmos, system_mmio_nobody, system_mmio_apic, system_wrmsr, system_rdmsr, system_flags;

static const struct primitive ring3_primitives[] = {
	{ "syscall", user_syscall, 1 },
	{ "int80", user_int80, 1 },
	{ 0 },
};

static const struct primitive ring3_faults[] = { { "fault-user", user_fault, 1 }, { 0 } };
static const struct primitive ring0_faults[] = { { "fault", system_fault, 1 }, { 0 } };
static const struct primitive ring0_pcid[] = { { "cr3-pcid-32", system_cr3_pcid, 1 }, { 0 } };

static const struct primitive ring0_primitives[] = {
	{ "invlpg", system_invlpg, 4 },
	{ "cr3-32", system_cr3, 1 },
	{ "out-nobody", system_out_nobody, 4 },
	{ "out-device", system_out_cmos, 4 },
	{ "mmio-nobody", system_mmio_nobody, 4 },
	{ "mmio-apic", system_mmio_apic, 4 },
	{ "wrmsr", system_wrmsr, 4 },
	{ "rdmsr", system_rdmsr, 4 },
	{ "flags", system_flags, 4 },
	{ 0 },
};

static struct gate idt[256] __attribute__((aligned(16)));
static struct cpu cpus[CPUS] __attribute__((aligned(16)));
static u64 page_tables[CPUS * HEAP_SIZE / 0x200000 + 1][512] __attribute__((aligned(4096)));

/* ---- The serial port ---- */

static void out8(u16 port, u8 v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static u8 in8(u16 port)
{
	u8 v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static void print(const char *s)
{
	for (; *s; s++) {
		while (!(in8(COM1 + 5) & SERIAL_READY))
			;
		out8(COM1, (u8)*s);
	}
}

/* At least `width` digits */
static void print_number(u64 v, unsigned base, unsigned width)
{
	char text[24], *at = text + sizeof(text) - 1;

	for (*at = 0; v || width; v /= base, width -= width > 0)
		*--at = "0123456789abcdef"[v % base];
	print(at);
}

void report_line(const char *name, u64 thousandths, const char *unit)
{
	print("@bench ");
	print(name);
	print(" ");
	print_number(thousandths / 1000, 10, 1);
	print(".");
	print_number(thousandths % 1000, 10, 3);
	print(" ");
	print(unit);
	print("\n");
}

void report_sum(const char *name, u64 sum)
{
	print("@bench ");
	print(name);
	print(" ");
	print_number(sum, 16, 16);
	print(" sum\n");
}

void guest_ap_main(void);
void guest_panic(u64 vector, u64 rip, u64 cr2)
{
	print("@bench panic ");
	print_number(vector, 10, 1);
	print(" at ");
	print_number(rip, 16, 16);
	print(" cr2 ");
	print_number(cr2, 16, 16);
	print("\n");
	guest_end();
}

/* ---- Descriptors and pages ---- */

static void set_gate(unsigned vector, const void *entry, unsigned ring)
{
	u64 p = (u64)entry;

	idt[vector] = (struct gate){ (u16)p, SEL_CODE, (u16)(0x8e00 | ring << 13), (u16)(p >> 16), (u32)(p >> 32), 0 };
}

static void wrmsr(u32 index, u64 v)
{
	__asm__ volatile("wrmsr" : : "c"(index), "a"((u32)v), "d"((u32)(v >> 32)));
}

/* What each processor does for itself. */
static void load_descriptors(unsigned number)
{
	struct table_pointer pointer = { sizeof(idt) - 1, (u64)idt };
	struct cpu *cpu = &cpus[number];
	u64 t = (u64)&cpu->tss, selector = SEL_TSS + 16 * number;

	cpu->heap = HEAP + number * (u64)HEAP_SIZE;
	cpu->user_stack = cpu->heap + (HEAP_GUARD - HEAP);
	gdt[selector / 8] = 0x0000890000000000ull | (sizeof(cpu->tss) - 1) | (t & 0xffffff) << 16 | (t >> 24 & 0xff) << 56;
	gdt[selector / 8 + 1] = t >> 32;
	cpu->tss.rsp[0] = (u64)&cpu->saved_rsp;
	cpu->tss.io_map = sizeof(cpu->tss);
	__asm__ volatile("lidt %0\n\tltr %w1" : : "m"(pointer), "r"(selector));
}

static void make_descriptors(void)
{
	for (unsigned v = 0; v < 256; v++)
		set_gate(v, stubs[v], 0);
	set_gate(0x80, int80_entry, 3);
	set_gate(0x81, leave_entry, 3);
	load_descriptors(0);
	wrmsr(0xc0000081, (u64)SEL_USER_BASE << 48 | (u64)SEL_CODE << 32);
	wrmsr(0xc0000082, (u64)syscall_entry);
	wrmsr(0xc0000084, 0);
}

static void map_user(void)
{
	u64 *table = page_tables[0];
	u64 base = (u64)user_start;

	for (u64 n = 0; n < 512; n++)
		table[n] = (base + n * 4096) | (base + n * 4096 < (u64)user_end ? PTE_USER : PTE_KERNEL);
	page_dirs[base >> 21] = (u64)table | PTE_USER;
	for (u64 n = 0; n < CPUS * HEAP_SIZE / 4096; n++) {
		u64 frame = n * 1021 % (CPUS * HEAP_SIZE / 4096); /* odd, so each is taken once */
		bool guard = n % (HEAP_SIZE / 4096) == (HEAP_GUARD - HEAP) / 4096;

		page_tables[1 + n / 512][n % 512] = guard ? 0 : (HEAP_FRAMES + frame * 4096) | PTE_USER;
	}
	for (u64 n = 0; n < CPUS * HEAP_SIZE / 0x200000; n++)
		page_dirs[(HEAP >> 21) + n] = (u64)page_tables[1 + n] | PTE_USER;
	__asm__ volatile("mov %%cr3, %%rax\n\tmov %%rax, %%cr3" : : : "rax", "memory");
}

/* ---- Processor features ---- */

static u32 cpuid_1_ecx(void)
{
	u32 eax = 1, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return ecx;
}

static void change_cr4(u64 clear, u64 set)
{
	u64 v;

	__asm__ volatile("mov %%cr4, %0" : "=r"(v));
	__asm__ volatile("mov %0, %%cr4" : : "r"((v & ~clear) | set) : "memory");
}

static void enable_vectors(void)
{
	u32 has = cpuid_1_ecx();

	if (!(has & 1u << 26))
		return;
	change_cr4(0, CR4_OSXSAVE);
	__asm__ volatile("xsetbv" : : "c"(0), "a"(has & 1u << 28 ? 7 : 3), "d"(0));
}

/* ---- Measuring ---- */

static u64 time_kernel(const struct kernel *k, u64 *ret_sum)
{
	u64 start = read_tsc();

	*ret_sum = enter_user(k->run, cpus[0].heap, 0, &cpus[0]);
	return read_tsc() - start;
}

static u64 time_user(const struct primitive *p, u64 count)
{
	u64 start = read_tsc();

	enter_user(p->run, count, HEAP, &cpus[0]);
	return read_tsc() - start;
}

static u64 time_system(const struct primitive *p, u64 count)
{
	u64 start = read_tsc();

	p->run(count, (void *)HEAP);
	return read_tsc() - start;
}

static void measure_primitives(void)
{
	report_primitives(user_primitives, time_user);
	report_primitives(ring3_primitives, time_user);
	report_primitives(ring0_primitives, time_system);
	set_gate(EXC_PF, fault_entry, 0);
	report_primitives(ring3_faults, time_user);
	report_primitives(ring0_faults, time_system);
	set_gate(EXC_PF, stubs[EXC_PF], 0);
	if (!(cpuid_1_ecx() & CR4_PCIDE)) /* the same bit in CPUID and in CR4 */
		return;
	change_cr4(0, CR4_PCIDE);
	report_primitives(ring0_pcid, time_system);
	change_cr4(CR4_PCIDE, 0);
}

/* ---- Two processors ---- */

static const struct kernel *volatile ap_job; /* what the other one shall run; NULL again when it has */
static volatile bool ap_up;
static u64 ap_sum;

void guest_ap_main(void)
{
	load_descriptors(1);
	enable_vectors();
	ap_up = true;
	for (;;) {
		while (!ap_job)
			__asm__ volatile("pause");
		ap_sum = enter_user(ap_job->run, cpus[1].heap, 0, &cpus[1]);
		ap_job = NULL;
	}
}

static void apic_write(unsigned reg, u32 v)
{
	*(volatile u32 *)(u64)(APIC_BASE + reg) = v;
}

static void start_ap(void)
{
	u64 start;

	for (u64 n = 0; n < (u64)(ap_start_end - ap_start); n++)
		((volatile u8 *)AP_START)[n] = ap_start[n];
	apic_write(0xf0, 0x1ff);    /* on */
	apic_write(0x300, 0xc4500); /* INIT to the others */
	for (start = read_tsc(); read_tsc() - start < 1u << 25;)
		__asm__ volatile("pause");
	apic_write(0x300, 0xc4600 | AP_START >> 12); /* start-up */
	while (!ap_up)
		__asm__ volatile("pause");
}

static u64 time_kernel_twice(const struct kernel *k, u64 *ret_sum)
{
	u64 start = read_tsc();

	ap_job = k;
	*ret_sum = enter_user(k->run, cpus[0].heap, 0, &cpus[0]);
	while (ap_job)
		__asm__ volatile("pause");
	start = read_tsc() - start;
	if (ap_sum != *ret_sum)
		report_sum(k->name, ap_sum);
	return start;
}

static bool has_word(const char *line, const char *word)
{
	for (; *line; line++) {
		u64 n = 0;

		while (word[n] && line[n] == word[n])
			n++;
		if (!word[n])
			return true;
	}
	return false;
}

void guest_main(const struct start_info *info)
{
	const char *line = info->command_line ? (const char *)info->command_line : "";

	out8(COM1 + 1, 0);
	out8(COM1 + 3, 3); /* 8 bits */
	out8(0x21, 0xff);  /* no interrupts of either 8259 */
	out8(0xa1, 0xff);
	make_descriptors();
	map_user();
	enable_vectors();
	if (!*line || has_word(line, "kernels"))
		report_kernels(time_kernel, "ticks");
	if (!*line || has_word(line, "primitives"))
		measure_primitives();
	if (has_word(line, "smp")) {
		report_kernels(time_kernel, "ticks");
		start_ap();
		report_kernels(time_kernel_twice, "twice-ticks");
	}
	report_line("end", 0, "-");
	guest_end();
}
