/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runtime of the bare guests (rt.h). */
#include "rt.h"

#define APIC 0xfee00000ull

volatile struct trap trap;
volatile u64 trap_resume;
handler_fn *handlers[256];
u64 gdt[32] __attribute__((aligned(16)));
struct idt_entry idt[256] __attribute__((aligned(16)));
struct tss64 tss __attribute__((aligned(16)));
u8 user_stack[4096] __attribute__((aligned(16))), kernel_stack[8192] __attribute__((aligned(16)));
static u8 rsp0_stack[8192] __attribute__((aligned(16)));

extern u8 stubs[256][16];
extern u8 ap_start[], ap_start_end[];
extern volatile u32 ap_next;
void enter_user(void (*fn)(void), void *stack);
extern u8 user_back[], user_exit[];
void rt_main(void);
void rt_exception(struct frame *f);
void rt_ap_main(unsigned cpu);
void *memset(void *p, int v, size_t n);
void *memcpy(void *d, const void *s, size_t n);
int memcmp(const void *a, const void *b, size_t n);

void *memset(void *p, int v, size_t n)
{
	u8 *d = p;

	for (size_t i = 0; i < n; i++)
		((volatile u8 *)d)[i] = (u8)v;
	return p;
}

void *memcpy(void *d, const void *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile u8 *)d)[i] = ((const u8 *)s)[i];
	return d;
}

int memcmp(const void *a, const void *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((const volatile u8 *)a)[i] != ((const u8 *)b)[i])
			return 1;
	return 0;
}

void print(const char *s)
{
	for (; *s; s++)
		out8(0xe9, (u8)*s);
}

void print_hex(u64 v)
{
	for (int i = 60; i >= 0; i -= 4)
		out8(0xe9, (u8) "0123456789abcdef"[v >> i & 15]);
}

void finish(int status)
{
	for (;;)
		out8(0xf4, (u8)status);
}

bool ok(bool good, const char *name)
{
	print(good ? "ok " : "FAIL ");
	print(name);
	if (!good) {
		print(" (last vector ");
		print_hex(trap.vector);
		print(" error ");
		print_hex(trap.error);
		print(" cr2 ");
		print_hex(trap.cr2);
		print(")");
	}
	print("\n");
	return good;
}

void panic_frame(const struct frame *f)
{
	print("FAIL unexpected exception ");
	print_hex(f->vector);
	print(" error ");
	print_hex(f->error);
	print(" rip ");
	print_hex(f->rip);
	print(" cr2 ");
	print_hex(READ_REG("cr2"));
	print("\n");
	finish(1);
}

static void record(const struct frame *f)
{
	trap.vector = f->vector;
	trap.error = f->error;
	trap.rip = f->rip;
	trap.cr2 = READ_REG("cr2");
	trap.rflags = f->rflags;
	trap.cs = f->cs;
	trap.rsp = f->rsp;
	trap.ss = f->ss;
	trap.dr6 = READ_REG("dr6");
}

void rt_exception(struct frame *f)
{
	if (trap_resume && f->vector < 32) {
		record(f);
		f->rip = trap_resume;
		trap_resume = 0;
		if ((f->cs & 3) == 3) { /* run_user() */
			f->cs = SEL_CODE64;
			f->ss = SEL_DATA;
			f->rsp = (u64)(kernel_stack + 4096);
		}
		f->rflags &= ~0x100ull;
		return;
	}
	if (!handlers[f->vector])
		panic_frame(f);
	handlers[f->vector](f);
}

u64 run_user(void (*fn)(void))
{
	trap.vector = NO_EXC;
	trap_resume = (u64)user_back;
	*(u64 *)(user_stack + sizeof(user_stack) - 8) = (u64)user_exit;
	enter_user(fn, user_stack + sizeof(user_stack) - 8);
	trap_resume = 0;
	if (trap.vector == EXC_UD && trap.rip == (u64)user_exit)
		trap.vector = NO_EXC;
	return trap.vector;
}

void set_gate(unsigned vector, void *fn, unsigned dpl, unsigned ist, bool trap_gate)
{
	u64 p = (u64)fn;

	idt[vector] = (struct idt_entry){ (u16)p, SEL_CODE64, (u8)ist, (u8)(0x8e | dpl << 5 | trap_gate), (u16)(p >> 16),
					  (u32)(p >> 32), 0 };
}

struct __attribute__((packed)) table {
	u16 limit;
	u64 base;
};

void load_tables(void)
{
	struct table g = { sizeof(gdt) - 1, (u64)gdt }, i = { sizeof(idt) - 1, (u64)idt };

	__asm__ volatile("lgdt %0\n\tlidt %1\n\t"
			 "mov %2, %%ds\n\tmov %2, %%es\n\tmov %2, %%ss\n\t"
			 "push %3\n\tlea 1f(%%rip), %%rax\n\tpush %%rax\n\tlretq\n1:"
			 :
			 : "m"(g), "m"(i), "r"(SEL_DATA), "i"(SEL_CODE64)
			 : "rax", "memory");
}

static void make_tables(void)
{
	u64 t = (u64)&tss;

	gdt[SEL_CODE64 / 8] = 0x00af9b000000ffff;
	gdt[SEL_DATA / 8] = 0x00cf93000000ffff;
	gdt[SEL_CODE32 / 8] = 0x00cf9b000000ffff;
	gdt[SEL_CODE16 / 8] = 0x000f9b000000ffff;
	gdt[SEL_DATA16 / 8] = 0x000f93000000ffff;
	gdt[SEL_UCODE32 / 8] = 0x00cffb000000ffff;
	gdt[SEL_UDATA / 8] = 0x00cff3000000ffff;
	gdt[SEL_UCODE64 / 8] = 0x00affb000000ffff;
	gdt[SEL_TSS / 8] = 0x0000890000000000ull | (sizeof(tss) - 1) | (t & 0xffffff) << 16 | (t >> 24 & 0xff) << 56;
	gdt[SEL_TSS / 8 + 1] = t >> 32;
	tss.rsp[0] = (u64)(rsp0_stack + sizeof(rsp0_stack));
	tss.iomap = 104;
	memset(tss.bitmap, 0xff, sizeof(tss.bitmap));
	for (unsigned v = 0; v < 256; v++)
		set_gate(v, stubs[v], v == 3 || v == 4 || v == 0x80 ? 3 : 0, 0, false);
	load_tables();
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

void rt_main(void)
{
	make_tables();
	guest_main();
	finish(0);
}

/* ---- APIC and other processors ---- */

u32 apic_read(unsigned reg)
{
	return *(volatile u32 *)(APIC + reg);
}

void apic_write(unsigned reg, u32 v)
{
	*(volatile u32 *)(APIC + reg) = v;
}

void apic_enable(void)
{
	wrmsr(0x1b, rdmsr(0x1b) | 0x800);
	apic_write(0xf0, 0x1ff);
	apic_write(0x80, 0);
}

static void delay(u64 ticks)
{
	for (u64 start = rdtsc(); rdtsc() - start < ticks;)
		__asm__ volatile("pause");
}

__attribute__((weak)) void ap_main(unsigned cpu)
{
}

void rt_ap_main(unsigned cpu)
{
	load_tables();
	ap_main(cpu);
	for (;;)
		__asm__ volatile("cli\n\thlt");
}

void start_aps(unsigned count)
{
	memcpy((void *)0x8000, ap_start, (size_t)(ap_start_end - ap_start));
	apic_write(0x300, 0xc4500); /* INIT to all others */
	delay(20000000);
	apic_write(0x300, 0xc4608); /* STARTUP at 0x8000 */
	while (ap_next < count)
		__asm__ volatile("pause");
}
