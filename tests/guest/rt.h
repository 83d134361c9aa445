/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runtime of the bare guests: reports, ports, descriptor tables, and exceptions that a test can expect. A guest defines
 * guest_main(); it runs in 64-bit mode at CPL 0 with 4 GiB mapped one to one.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define MMIO_BASE 0xd0000000ull
#define MMIO_READS (MMIO_BASE + 0x800)
#define MMIO_WRITES (MMIO_BASE + 0x808)
#define PORT_COUNT 0x300
#define PORT_SUM 0x304

/* Selectors of the runtime's GDT */
enum { SEL_CODE64 = 0x08, SEL_DATA = 0x10, SEL_CODE32 = 0x18, SEL_CODE16 = 0x20, SEL_DATA16 = 0x28, SEL_UCODE32 = 0x33,
       SEL_UDATA = 0x3b, SEL_UCODE64 = 0x43, SEL_TSS = 0x48, SEL_FREE = 0x58 };

enum { EXC_DE, EXC_DB, EXC_NMI, EXC_BP, EXC_OF, EXC_BR, EXC_UD, EXC_NM, EXC_DF, EXC_TS = 10, EXC_NP, EXC_SS, EXC_GP, EXC_PF,
       EXC_MF = 16, EXC_AC, EXC_MC, EXC_XM, NO_EXC = 0xff };

struct frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	u64 vector, error, rip, cs, rflags, rsp, ss;
};

void guest_main(void);
void ap_main(unsigned cpu); /* guests that start other processors */

bool ok(bool good, const char *name); /* reports, returns good */
void print(const char *s);
void print_hex(u64 v);
void __attribute__((noreturn)) finish(int status);
void panic_frame(const struct frame *f);

/* The last exception that a TRAP() expression met. */
extern volatile struct trap {
	u64 vector, error, rip, cr2, rflags, cs, rsp, ss, dr6;
} trap;
extern volatile u64 trap_resume; /* where an expected exception goes on; 0: none is expected */

/* Handler of vectors 32.. and of exceptions that are not expected; may be NULL. */
typedef void handler_fn(struct frame *f);
extern handler_fn *handlers[256];

/* Runs one or more instructions; the vector they raise, or NO_EXC. Clobbers rax, rcx, rdx. Input operands as in asm. */
#define TRAP(insns, ...) \
	({ \
		trap.vector = NO_EXC; \
		__asm__ volatile("lea 7777f(%%rip), %%rax\n\tmov %%rax, trap_resume\n\t" insns "\n7777:\n\tmovq $0, trap_resume" \
				 : \
				 : __VA_ARGS__ \
				 : "rax", "rcx", "rdx", "memory", "cc"); \
		trap.vector; \
	})

extern u64 gdt[32];
extern struct __attribute__((packed)) idt_entry {
	u16 off0, sel;
	u8 ist, type;
	u16 off1;
	u32 off2, zero;
} idt[256];
extern struct __attribute__((packed)) tss64 {
	u32 r0;
	u64 rsp[3], r1, ist[7], r2;
	u16 r3, iomap;
	u8 bitmap[8193];
} tss;
void set_gate(unsigned vector, void *fn, unsigned dpl, unsigned ist, bool trap_gate);
void load_tables(void);
extern u8 user_stack[4096], kernel_stack[8192];

/* Runs fn at CPL 3 in 64-bit mode until it raises an exception or returns; trap tells how (NO_EXC: returned). */
u64 run_user(void (*fn)(void));

/* APIC */
void apic_enable(void);
u32 apic_read(unsigned reg);
void apic_write(unsigned reg, u32 v);
void start_aps(unsigned count);

static inline void out8(u16 port, u8 v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}
static inline u8 in8(u16 port)
{
	u8 v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline u64 rdmsr(u32 index)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(index));
	return (u64)hi << 32 | lo;
}
static inline void wrmsr(u32 index, u64 v)
{
	__asm__ volatile("wrmsr" : : "c"(index), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}
static inline u64 rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}
#define READ_REG(name) \
	({ \
		u64 v_; \
		__asm__ volatile("mov %%" name ", %0" : "=r"(v_)); \
		v_; \
	})
#define WRITE_REG(name, value) __asm__ volatile("mov %0, %%" name : : "r"((u64)(value)) : "memory")
static inline u64 read_flags(void)
{
	u64 v;

	__asm__ volatile("pushfq\n\tpop %0" : "=r"(v));
	return v;
}
static inline void cpuid(u32 leaf, u32 sub, u32 out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(sub));
}
