/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of privilege and control flow that kernels do all the time, with the values they never have: SYSCALL, SYSRET,
 * IRETQ, page faults and the stacks they are delivered on, and system instructions in the middle of straight code.
 */
#include "rt.h"

#define NONCANON 0x8000000000000000ull
#define USER_FLAGS 0x202ull
#define FL_TF 0x100ull
#define FL_NT 0x4000ull
#define FL_RF 0x10000ull
#define PT ((volatile u64 *)0x3600000) /* a page table of our own, for 2 MiB from WINDOW */
#define WINDOW 0x3400000ull
#define WINDOW_PDE ((volatile u64 *)0x3000)[WINDOW >> 21]

u64 save_rsp, seen[8];
static u8 df_stack[4096] __attribute__((aligned(16)));
static bool amd;

/*
 * go(kind, rip, flags, cs, ss): leaves by SYSRETQ (0), or by IRETQ with this frame (1), and is back when the target raises
 * an exception. The target runs on this stack.
 */
u64 go(u64 kind, u64 rip, u64 flags, u64 cs, u64 ss);
extern u8 go_insn[], go_iret_insn[], u_ud2[], u_int[], u_compat[], u_sys[], u_sys_back[], u_sys_tf[];
extern u8 k_entry[], k_ud2[], u_sys_end[];
__asm__("	.globl go\n"
	"go:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	mov %rsp, save_rsp\n"
	"	lea go_back(%rip), %rax\n"
	"	mov %rax, trap_resume\n"
	"	test %rdi, %rdi\n"
	"	jnz 1f\n"
	"	mov %rdx, %r11\n"
	"	mov %rsi, %rcx\n"
	"go_insn:\n"
	"	sysretq\n"
	"1:	mov %rsp, %rax\n"
	"	push %r8\n"
	"	push %rax\n"
	"	push %rdx\n"
	"	push %rcx\n"
	"	push %rsi\n"
	"go_iret_insn:\n"
	"	iretq\n"
	"go_back:\n"
	"	mov save_rsp, %rsp\n"
	"	mov $0x10, %eax\n"
	"	mov %eax, %ss\n"
	"	movq $0, trap_resume\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n"
	"	mov trap, %rax\n"
	"	ret\n"
	"u_ud2:	ud2\n"
	"u_int:	int $0x21\n"
	"	ud2\n"
	"	.code32\n"
	"u_compat:\n"
	"	mov $0x12345678, %eax\n"
	"	.byte 0x48\n" /* DEC EAX here, a prefix in 64-bit code */
	"	mov %eax, seen\n"
	"	ud2\n"
	"	.code64\n"
	"u_sys:	syscall\n"
	"u_sys_back:\n"
	"	pushfq\n"
	"	pop seen+16\n"
	"	ud2\n"
	"u_sys_tf:\n"
	"	pushfq\n"
	"	orl $0x100, (%rsp)\n"
	"	popfq\n"
	"	syscall\n"
	"u_sys_tf_back:\n"
	"	nop\n"
	"	ud2\n"
	"u_sys_end:\n"
	"k_entry:\n"
	"	mov %rcx, seen\n"
	"	mov %r11, seen+8\n"
	"	pushfq\n"
	"	pop seen+24\n"
	"	sysretq\n"
	"k_ud2:	ud2\n"
	"push_to:\n"
	"	mov push_at, %rsp\n"
	"push_insn:\n"
	"	push %rax\n"
	"	mov %rsp, seen\n"
	"	ud2\n"
	"ud2_on:\n"
	"	mov push_at, %rsp\n"
	"	ud2\n");
extern u8 u_sys_tf_back[], push_to[], push_insn[], ud2_on[];
u64 push_at;

static u64 sysret(u64 rip, u64 flags)
{
	return go(0, rip, flags, 0, 0);
}

static u64 iret(u64 rip, u64 flags, u64 cs, u64 ss)
{
	return go(1, rip, flags, cs, ss);
}

static u64 to_user(u64 rip, u64 flags)
{
	return iret(rip, flags, SEL_UCODE64, SEL_UDATA);
}

static bool gp(u64 vector, u64 error)
{
	return vector == EXC_GP && trap.error == error && trap.rip == (u64)go_iret_insn;
}

static void sysret_odd(void)
{
	u64 v = sysret(NONCANON, USER_FLAGS);

	ok(v == EXC_GP && trap.error == 0 && (amd ? trap.rip == NONCANON && trap.cs == SEL_UCODE64 :
						    trap.rip == (u64)go_insn && trap.cs == SEL_CODE64),
	   "SYSRET to a non-canonical address");
	ok(sysret((u64)u_ud2, 0x204ed7) == EXC_UD && trap.rip == (u64)u_ud2 && trap.cs == SEL_UCODE64 &&
	   trap.ss == SEL_UDATA && trap.rflags == (0x204ed7 | FL_RF), "SYSRET loads flags");
	ok(sysret((u64)u_ud2, 0x30202) == EXC_UD && (trap.rflags & 0x20000) == 0, "SYSRET does not load VM");
	ok(sysret((u64)u_ud2, USER_FLAGS | 0x40000) == EXC_UD && (trap.rflags & 0x40000), "SYSRET loads AC");
	v = sysret((u64)u_ud2, USER_FLAGS | FL_TF);
	ok(v == EXC_DB && trap.rip == (u64)u_ud2 && (trap.dr6 & 0x4000) && (trap.rflags & FL_TF), "SYSRET that sets TF traps");
	WRITE_REG("dr6", 0xffff0ff0);
	wrmsr(0xc0000080, rdmsr(0xc0000080) & ~1ull);
	v = sysret((u64)u_ud2, USER_FLAGS);
	ok(v == EXC_UD && trap.rip == (u64)go_insn, "SYSRET without EFER.SCE");
	v = to_user((u64)u_sys, USER_FLAGS);
	ok(v == EXC_UD && trap.rip == (u64)u_sys, "SYSCALL without EFER.SCE");
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
}

static bool syscall_once(u64 flags, u64 mask)
{
	wrmsr(0xc0000084, mask);
	return to_user((u64)u_sys, flags) == EXC_UD && trap.rip != (u64)u_sys && seen[0] == (u64)u_sys_back;
}

static void syscall_odd(void)
{
	u64 star = rdmsr(0xc0000081), end = WINDOW + 0x1000 - (u64)(u_sys_back - u_sys);
	static const u8 bits[8] = { 0, 2, 4, 6, 7, 11, 10, 9 };
	bool good = true;

	for (unsigned n = 0; n < 256 && good; n++) {
		u64 flags = 2, mask = n * 0x9e3779b1u & 0xed5u;

		for (unsigned b = 0; b < 8; b++)
			flags |= (u64)(n >> b & 1) << bits[b];
		good = syscall_once(flags, mask) && seen[1] == flags && seen[3] == ((flags & ~mask) | 2) && seen[2] == flags;
	}
	ok(good, "SYSCALL saves and masks each flag");
	ok(syscall_once(USER_FLAGS, ~0u) && seen[3] == 2, "SYSCALL with a full mask");
	wrmsr(0xc0000082, (u64)k_ud2);
	ok(to_user((u64)u_sys, USER_FLAGS) == EXC_UD && trap.rip == (u64)k_ud2 && trap.cs == SEL_CODE64 &&
	   trap.ss == SEL_DATA, "a new LSTAR counts at once");
	wrmsr(0xc0000081, (star & 0xffff0000ffffffffull) | (u64)(SEL_FREE + 3) << 32);
	gdt[SEL_FREE / 8] = gdt[SEL_CODE64 / 8];
	gdt[SEL_FREE / 8 + 1] = gdt[SEL_DATA / 8];
	load_tables();
	ok(to_user((u64)u_sys, USER_FLAGS) == EXC_UD && trap.cs == SEL_FREE && trap.ss == SEL_FREE + 8,
	   "a new STAR counts at once");
	wrmsr(0xc0000081, star);
	wrmsr(0xc0000082, (u64)k_entry);
	/* as the last two bytes of a page */
	for (u64 n = 0; n < (u64)(u_sys_end - u_sys); n++)
		((volatile u8 *)end)[n] = u_sys[n];
	seen[0] = 0;
	ok(to_user(end, USER_FLAGS) == EXC_UD && seen[0] == WINDOW + 0x1000, "SYSCALL at the end of a page");
}

static void stepped(void)
{
	u64 v;

	wrmsr(0xc0000084, 0x100);
	v = to_user((u64)u_sys_tf, 0x2);
	ok(v == EXC_DB && trap.rip == (u64)u_sys_tf_back && seen[0] == (u64)u_sys_tf_back && (seen[1] & FL_TF) &&
	   !(seen[3] & FL_TF), "a single step over SYSCALL with TF masked traps behind SYSRET");
	wrmsr(0xc0000084, 0);
	v = to_user((u64)u_sys_tf, 0x2);
	ok(v == EXC_DB && trap.rip == (u64)k_entry && trap.cs == SEL_CODE64, "with TF kept it traps at the entry");
	wrmsr(0xc0000084, 0x47700);
	WRITE_REG("dr6", 0xffff0ff0);
}

static void iret_odd(void)
{
	u64 data = SEL_DATA;

	ok(gp(iret((u64)u_ud2, 2, 0, SEL_DATA), 0), "IRETQ to a null CS");
	ok(gp(iret((u64)u_ud2, 2, 0xfff8, SEL_DATA), 0xfff8), "IRETQ beyond the table");
	ok(gp(iret((u64)u_ud2, 2, data, SEL_DATA), data), "IRETQ to a data segment");
	ok(gp(iret((u64)u_ud2, 2, SEL_UCODE64 & ~3, SEL_DATA), (SEL_UCODE64 & ~3)), "IRETQ with the wrong RPL");
	ok(gp(iret((u64)u_ud2, 2, SEL_CODE64 | 3, SEL_UDATA), SEL_CODE64), "IRETQ to kernel code with RPL 3");
	ok(gp(iret((u64)u_ud2, 2, SEL_UCODE64, 0), 0), "IRETQ to CPL 3 with a null SS");
	ok(gp(iret((u64)u_ud2, 2, SEL_UCODE64, SEL_DATA), SEL_DATA), "IRETQ with an SS of another level");
	ok(gp(iret((u64)u_ud2, 2, SEL_UCODE64, SEL_UCODE64), (SEL_UCODE64 & ~3)), "IRETQ with code in SS");
	ok(iret((u64)u_ud2, 2, SEL_CODE64, 0) == EXC_UD && trap.ss == 0 && trap.cs == SEL_CODE64,
	   "IRETQ to CPL 0 with a null SS");
	ok(to_user(NONCANON, 2) == EXC_GP && trap.error == 0 && trap.rip == (u64)go_iret_insn,
	   "IRETQ to a non-canonical address");
	gdt[SEL_FREE / 8] = gdt[SEL_UCODE64 / 8] & ~(1ull << 47);
	ok(iret((u64)u_ud2, 2, SEL_FREE | 3, SEL_UDATA) == EXC_NP && trap.error == SEL_FREE, "IRETQ to absent code");
	gdt[SEL_FREE / 8] = gdt[SEL_UCODE64 / 8] & ~(1ull << 40);
	ok(iret((u64)u_ud2, 2, SEL_FREE | 3, SEL_UDATA) == EXC_UD && (gdt[SEL_FREE / 8] >> 40 & 1),
	   "IRETQ sets the accessed bit");
	gdt[SEL_FREE / 8] = gdt[SEL_UDATA / 8] & ~(1ull << 47);
	ok(iret((u64)u_ud2, 2, SEL_UCODE64, SEL_FREE | 3) == EXC_SS && trap.error == SEL_FREE, "IRETQ with an absent SS");
	seen[0] = 0;
	__asm__ volatile("mov %0, %%ds" : : "r"(SEL_UDATA));
	ok(iret((u64)u_compat, 2, SEL_UCODE32, SEL_UDATA) == EXC_UD && trap.cs == SEL_UCODE32 && (u32)seen[0] == 0x12345677,
	   "IRETQ to compatibility mode");
	ok(to_user((u64)u_ud2, 2 | FL_TF) == EXC_UD, "IRETQ that sets TF traps later");
	ok(to_user((u64)u_int, 2) == EXC_GP && trap.error == 0x21 * 8 + 2 && trap.rip == (u64)u_int,
	   "INT n through a gate of CPL 0");
	ok(to_user((u64)u_ud2, 0x3e0ed7) == EXC_UD && trap.rflags == (0x3c0ed7 | FL_RF),
	   "IRETQ loads flags but VM");
	__asm__ volatile("pushfq\n\torl $0x4000, (%%rsp)\n\tpopfq" : : : "memory", "cc");
	ok(to_user((u64)u_ud2, 2) == EXC_GP && trap.error == 0, "IRETQ with NT");
	__asm__ volatile("pushfq\n\tandl $~0x4000, (%%rsp)\n\tpopfq" : : : "memory", "cc");
	/* data segments of the inner level are lost, others stay */
	__asm__ volatile("mov %0, %%ds\n\tmov %1, %%es" : : "r"(SEL_DATA), "r"(SEL_UDATA));
	ok(to_user((u64)u_ud2, 2) == EXC_UD && (READ_REG("ds") & 0xffff) == 0 &&
	   (READ_REG("es") & 0xffff) == SEL_UDATA, "IRETQ drops inner data segments");
	__asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(SEL_DATA));
}

/* ---- page faults ---- */

static volatile u64 faults, fault_error, fault_rip, fault_cr2;

/* Past rt.c, which would take it for an expected exception. */
extern u8 pf_stub[];
__asm__("pf_stub:\n"
	"	push %rax\n	push %rcx\n	push %rdx\n	push %rsi\n"
	"	push %rdi\n	push %r8\n	push %r9\n	push %r10\n	push %r11\n"
	"	mov 72(%rsp), %rdi\n"
	"	mov 80(%rsp), %rsi\n"
	"	cld\n"
	"	call on_fault\n"
	"	pop %r11\n	pop %r10\n	pop %r9\n	pop %r8\n	pop %rdi\n"
	"	pop %rsi\n	pop %rdx\n	pop %rcx\n	pop %rax\n"
	"	add $8, %rsp\n"
	"	iretq\n");

/* Maps the page as the instruction needs it, with what it shall read. */
void on_fault(u64 error, u64 rip);
void on_fault(u64 error, u64 rip)
{
	u64 cr2 = READ_REG("cr2");

	faults++;
	fault_error = error;
	fault_rip = rip;
	fault_cr2 = cr2;
	PT[cr2 >> 12 & 511] = (cr2 & ~0xfffull) | 7;
	*(volatile u64 *)(cr2 & ~7ull) = 0x1122334455667700ull + faults;
	__asm__ volatile("invlpg (%0)" : : "r"(cr2) : "memory");
}

static void unmap(u64 la, u64 pte)
{
	PT[la >> 12 & 511] = pte;
	__asm__ volatile("invlpg (%0)" : : "r"(la) : "memory");
}

extern u8 pf_load[], pf_rmw[];

static void page_faults(void)
{
	u64 at = WINDOW + 0x5000, v = 0, flags;
	bool good = true;

	struct idt_entry usual = idt[EXC_PF];

	set_gate(EXC_PF, pf_stub, 0, 0, false);
	for (u64 n = 1; n <= 200 && good; n++) {
		unmap(at, 0);
		__asm__ volatile(".globl pf_load\npf_load:\n\tmov 8(%1), %0" : "=r"(v) : "r"(at) : "memory");
		good = faults == n && v == 0x1122334455667700ull + n && fault_cr2 == at + 8 && fault_error == 0 &&
		       fault_rip == (u64)pf_load;
	}
	ok(good, "a fault whose handler maps the page");
	unmap(at, at | 5);
	__asm__ volatile("stc\n.globl pf_rmw\npf_rmw:\n\tadcq $1, 16(%1)\n\tpushfq\n\tpop %0"
			 : "=r"(flags) : "r"(at) : "memory", "cc");
	ok(fault_rip == (u64)pf_rmw && fault_error == 3 && fault_cr2 == at + 16 &&
	   *(volatile u64 *)(at + 16) == 0x1122334455667700ull + faults + 2, "a read-modify-write fault keeps CF");
	unmap(at, 0);
	push_at = at + 64;
	ok(to_user((u64)push_to, 2) == EXC_UD && fault_rip == (u64)push_insn && fault_error == 6 &&
	   fault_cr2 == at + 56 && seen[0] == at + 56, "PUSH in user code to an absent page");
	unmap(at, 0);
	unmap(at + 0x1000, 0);
	faults = 0;
	v = *(volatile u64 *)(at + 0xffc);
	ok(faults == 2 && fault_cr2 == at + 0x1000 && v == 0x5566770211223344, "a load across two absent pages faults twice");
	idt[EXC_PF] = usual;
}

/* Faults while something is delivered: the stack is absent, wholly or from its second page on. */
static void stack_faults(void)
{
	u64 at = WINDOW + 0x9000, rsp0 = tss.rsp[0];

	tss.ist[2] = (u64)(df_stack + sizeof(df_stack));
	idt[EXC_DF].ist = 3;
	unmap(at, 0);
	unmap(at - 0x1000, 0);
	push_at = at + 64;
	ok(iret((u64)push_to, 2, SEL_CODE64, SEL_DATA) == EXC_DF && trap.error == 0 && trap.rip == (u64)push_insn &&
	   trap.cr2 >= at && trap.cr2 < at + 56, "PUSH to an absent kernel stack is a double fault");
	tss.rsp[0] = at + 0x800;
	ok(to_user((u64)push_to, 2) == EXC_DF && trap.cs == SEL_UCODE64, "so is a fault whose RSP0 is absent");
	unmap(at, at | 3);
	tss.rsp[0] = at + 16;
	ok(to_user((u64)push_to, 2) == EXC_DF && trap.cr2 >= at - 0x1000 && trap.cr2 < at,
	   "or whose frame reaches into an absent page");
	push_at = at + 16;
	idt[EXC_PF].ist = 4;
	tss.ist[3] = (u64)(df_stack + sizeof(df_stack) / 2);
	ok(iret((u64)ud2_on, 2, SEL_CODE64, SEL_DATA) == EXC_PF && trap.error == 2 && trap.rip == (u64)ud2_on + 8,
	   "UD on a stack that ends is a page fault");
	idt[EXC_PF].ist = idt[EXC_DF].ist = 0;
	tss.rsp[0] = rsp0;
}

/* Instructions that only the interpreter knows, between others that keep flags and registers in the processor. */
static void in_place(void)
{
	u64 sum = 0, flags = 0;
	bool good = true;

	wrmsr(0xc0000102, 0);
	for (u64 n = 1; n <= 100 && good; n++) {
		u32 lo, hi;

		__asm__ volatile("xor %%edx, %%edx\n\tmov %k2, %%eax\n\tmov $0xc0000102, %%ecx\n\tcmp $51, %2\n\twrmsr\n\t"
				 "adc $0, %3\n\trdmsr\n\tpushfq\n\tpop %4\n\tmov %%cr2, %%rcx\n\tmov %%rcx, %%cr2"
				 : "=&a"(lo), "=&d"(hi), "+r"(n), "+r"(sum), "=r"(flags)
				 :
				 : "rcx", "memory", "cc");
		good = lo == (u32)n && !hi && sum == (n < 51 ? n : 50);
	}
	ok(good, "flags live through WRMSR");
	ok(TRAP("mov $0xc0000102, %%ecx\n\tmov $0x800000, %%edx\n\txor %%eax, %%eax\n\twrmsr", "m"(trap)) == EXC_GP &&
	   rdmsr(0xc0000102) == 100, "WRMSR of a non-canonical base changes nothing");
}

/* VERW whose flag nobody reads is a load and no more, but has to fault like one. */
static void verify(void)
{
	static const u16 sels[] = { SEL_DATA, SEL_CODE64, 0, 0xfff8, SEL_DATA | 4, SEL_UDATA, SEL_TSS };
	static const u8 want[] = { 1, 0, 0, 0, 0, 1, 0 };
	u64 absent = WINDOW + 0x7000;
	bool good = true, set;
	u16 sel;

	for (unsigned n = 0; n < sizeof(want) && good; n++) {
		sel = sels[n];
		__asm__ volatile("verw %1\n\tsetz %b0" : "=q"(set) : "m"(sel) : "cc");
		good = set == want[n];
		__asm__ volatile("verw %0\n\tverr %w1\n\ttest %1, %1" : : "m"(sel), "r"((u32)sel) : "cc");
	}
	ok(good, "VERW");
	unmap(absent, 0);
	ok(TRAP("verw (%0)\n\txor %%eax, %%eax", "r"(absent + 6)) == EXC_PF && trap.error == 0 && trap.cr2 == absent + 6,
	   "VERW of an absent page");
	ok(TRAP("verw (%0)\n\txor %%eax, %%eax", "r"(NONCANON)) == EXC_GP && trap.error == 0, "VERW of a non-canonical address");
}

void guest_main(void)
{
	u32 out[4];

	cpuid(0, 0, out);
	amd = out[1] == 0x68747541 || out[1] == 0x6f677948;
	*(volatile u64 *)0x1000 |= 4;
	*(volatile u64 *)0x2000 |= 4;
	((volatile u64 *)0x3000)[0] |= 4;
	for (u64 n = 0; n < 512; n++)
		PT[n] = (WINDOW + n * 0x1000) | 7;
	WINDOW_PDE = (u64)PT | 7;
	WRITE_REG("cr3", READ_REG("cr3"));
	WRITE_REG("cr0", READ_REG("cr0") | 0x10000);
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
	wrmsr(0xc0000081, (u64)(SEL_UDATA - 8 - 3) << 48 | (u64)SEL_CODE64 << 32);
	wrmsr(0xc0000082, (u64)k_entry);
	wrmsr(0xc0000084, 0x47700);
	sysret_odd();
	syscall_odd();
	stepped();
	iret_odd();
	page_faults();
	stack_faults();
	in_place();
	verify();
}
