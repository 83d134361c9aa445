/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The oracle: runs a case on the host's processor, with every register loaded (RSP too). A jump behind the instruction,
 * or a signal, ends it.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "diff.h"
#include "jit.h"
#include "vector.h"

struct native {
	u64 gpr[16];	  /* 0: in */
	u64 rflags;	  /* 128 */
	u64 entry;	  /* 136 */
	u64 host_rsp;	  /* 144 */
	u64 out[16];	  /* 152 */
	u64 out_rflags;	  /* 280 */
	u64 spare;	  /* 288 */
	u8 *vec_in, *vec; /* 296, 304 */
	u32 far_offset;	  /* 312: where a far jump enters 32-bit code */
	u16 far_selector;
	u64 base[2];	  /* 320: of FS and GS, for native_enter_based() */
	u64 host_fs;	  /* 336: this process's; 0: the processor has no FSGSBASE, and FS stays as it is */
};
struct native native_state __attribute__((visibility("hidden")));
void native_enter(void);
void native_enter32(void);
void native_enter_based(void);
void native_signal(int sig, siginfo_t *info, void *ucontext);
void native_on_signal(int sig, siginfo_t *info, void *ucontext);
extern const u8 native_leave[], native_resume[];

#define USER_CS32 0x23
#define USER_CS64 0x33
#define USER_DS	  0x2b
#define AUX_HWCAP2 26 /* <sys/auxv.h> clashes with the page-fault bits of state.h */
#define HWCAP2_FSGSBASE_BIT (1u << 1)
unsigned long getauxval(unsigned long type);

#define LOAD_STATE(name)                                                                                               \
	".globl " name "\n" name ":\n\t"                                                                               \
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n\t"                                         \
	"mov %rsp, 144+native_state(%rip)\n\t"                                                                         \
	"mov 296+native_state(%rip), %rcx\n\t"                                                                         \
	"mov $7, %eax; xor %edx, %edx; xrstor64 (%rcx)\n\t"                                                            \
	"pushq 128+native_state(%rip); popfq\n\t"                                                                      \
	"mov 0+native_state(%rip), %rax\n\tmov 8+native_state(%rip), %rcx\n\t"                                         \
	"mov 16+native_state(%rip), %rdx\n\tmov 24+native_state(%rip), %rbx\n\t"                                       \
	"mov 32+native_state(%rip), %rsp\n\tmov 40+native_state(%rip), %rbp\n\t"                                       \
	"mov 48+native_state(%rip), %rsi\n\tmov 56+native_state(%rip), %rdi\n\t"                                       \
	"mov 64+native_state(%rip), %r8\n\tmov 72+native_state(%rip), %r9\n\t"                                         \
	"mov 80+native_state(%rip), %r10\n\tmov 88+native_state(%rip), %r11\n\t"                                       \
	"mov 96+native_state(%rip), %r12\n\tmov 104+native_state(%rip), %r13\n\t"                                      \
	"mov 112+native_state(%rip), %r14\n\tmov 120+native_state(%rip), %r15\n\t"

__asm__(".text\n" LOAD_STATE("native_enter") "jmp *136+native_state(%rip)\n" LOAD_STATE(
	"native_enter32") "ljmp *312+native_state(%rip)\n"
			  ".globl native_leave\n"
			  "native_leave:\n\t"
			  "mov %rax, 152+native_state(%rip)\n\tmov %rcx, 160+native_state(%rip)\n\t"
			  "mov %rdx, 168+native_state(%rip)\n\tmov %rbx, 176+native_state(%rip)\n\t"
			  "mov %rsp, 184+native_state(%rip)\n\tmov %rbp, 192+native_state(%rip)\n\t"
			  "mov %rsi, 200+native_state(%rip)\n\tmov %rdi, 208+native_state(%rip)\n\t"
			  "mov %r8, 216+native_state(%rip)\n\tmov %r9, 224+native_state(%rip)\n\t"
			  "mov %r10, 232+native_state(%rip)\n\tmov %r11, 240+native_state(%rip)\n\t"
			  "mov %r12, 248+native_state(%rip)\n\tmov %r13, 256+native_state(%rip)\n\t"
			  "mov %r14, 264+native_state(%rip)\n\tmov %r15, 272+native_state(%rip)\n\t"
			  "mov 144+native_state(%rip), %rsp\n\t"
			  "pushfq; popq 280+native_state(%rip)\n\t"
			  "mov 336+native_state(%rip), %rcx\n\t"
			  "jrcxz 1f; wrfsbase %rcx\n1:\t"
			  "mov 304+native_state(%rip), %rcx\n\t"
			  "mov $7, %eax; xor %edx, %edx; xsave64 (%rcx)\n"
			  ".globl native_resume\n"
			  "native_resume:\n\t"
			  "cld\n\t"
			  "mov 144+native_state(%rip), %rsp\n\t"
			  "fninit; vzeroupper\n\t"
			  "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n\t"
			  "ret\n"
			  ".globl native_enter_based\n"
			  "native_enter_based:\n\t"
			  "mov 320+native_state(%rip), %rax; wrfsbase %rax\n\t"
			  "mov 328+native_state(%rip), %rax; wrgsbase %rax\n\t"
			  "jmp native_enter\n"
			  ".globl native_signal\n" /* C needs this process's FS */
			  "native_signal:\n\t"
			  "mov 336+native_state(%rip), %rax\n\t"
			  "test %rax, %rax; jz 1f; wrfsbase %rax\n"
			  "1:\tjmp native_on_signal\n");

static struct outcome *volatile catching;

void native_on_signal(int sig, siginfo_t *info, void *ucontext)
{
	static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				      REG_R8,  REG_R9,	REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
	greg_t *g = ((ucontext_t *)ucontext)->uc_mcontext.gregs;
	struct outcome *o = catching;

	if (!o) { /* an engine's own: translated code */
		if (!jit_signal(sig, info, ucontext))
			signal(sig, SIG_DFL);
		return;
	}
	for (unsigned n = 0; n < 16; n++)
		o->out.gpr[n] = (u64)g[order[n]];
	o->out.rip = (u64)g[REG_RIP];
	o->out.rflags = (u64)g[REG_EFL];
	o->vector = (int)g[REG_TRAPNO];
	o->error = (u32)g[REG_ERR];
	o->cr2 = (u64)g[REG_CR2];
	memcpy(o->vec, ((ucontext_t *)ucontext)->uc_mcontext.fpregs, FPU_AREA_MAX);
	catching = NULL;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffll) | USER_CS64;
	g[REG_RIP] = (greg_t)(uintptr_t)native_resume;
}

static bool map_at(u64 at, size_t size, int prot)
{
	return mmap((void *)at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == (void *)at;
}

static bool left_out;

bool native_has_bases(void)
{
	return left_out ? test_mode == MODE_LONG64 : native_state.host_fs;
}

static void catch_signals(void)
{
	static u8 stack[65536];
	struct sigaction sa = {.sa_sigaction = native_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	const int caught[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};

	sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof(stack)}, NULL);
	for (unsigned n = 0; n < ARRAY_SIZE(caught); n++)
		sigaction(caught[n], &sa, NULL);
}

void native_leave_out(void)
{
	catch_signals();
	left_out = true;
}

bool native_open(void)
{
	if (test_mode == MODE_LONG64 && (getauxval(AUX_HWCAP2) & HWCAP2_FSGSBASE_BIT))
		__asm__ volatile("rdfsbase %0" : "=r"(native_state.host_fs));
	catch_signals();
	if (!map_at(CODE, CODE_PAGES * 4096, PROT_READ | PROT_WRITE | PROT_EXEC) ||
	    !map_at(DATA_FIRST, DATA_BYTES, PROT_READ | PROT_WRITE))
		return false;
	memset((void *)CODE, 0xcc, CODE_PAGES * 4096);
	if (test_mode == MODE_COMPAT32)
		__asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(USER_DS));
	return true;
}

/* The read-only page gets its contents once, with the first case. */
static void put_data(const struct test_case *t)
{
	static bool filled;

	if (!filled) {
		memcpy((void *)DATA_FIRST, t->data, DATA_BYTES);
		mprotect((void *)(DATA_FIRST + 8192), 4096, PROT_READ);
		filled = true;
	}
	memcpy((void *)DATA_FIRST, t->data, 8192);
}

/* A jump to native_leave, behind the instruction, at `at`; in 32-bit code first one to 64-bit code. Returns its length. */
static unsigned put_exit(u8 *code, u64 at)
{
	u8 jump[] = {0xff, 0x25, 0, 0, 0, 0};
	u8 far[] = {0xea, 0, 0, 0, 0, USER_CS64, 0};
	u64 leave = (u64)(uintptr_t)native_leave;
	u32 behind = (u32)(at + sizeof(far));
	unsigned n = 0;

	if (test_mode == MODE_COMPAT32) {
		memcpy(far + 1, &behind, 4);
		memcpy(code, far, sizeof(far));
		n = sizeof(far);
	}
	memcpy(code + n, jump, sizeof(jump));
	memcpy(code + n + sizeof(jump), &leave, 8);
	return n + (unsigned)sizeof(jump) + 8;
}

/* Stray stores of the case go as well, as on the engines: a later case would run into them here alone. */
static void clean_code(u8 *code, size_t size)
{
	u8 *pages = (u8 *)CODE;

	memset(code, 0xcc, size);
	if (*pages != 0xcc || memcmp(pages, pages + 1, CODE_PAGES * 4096 - 1) != 0)
		memset(pages, 0xcc, CODE_PAGES * 4096);
}

bool native_run_case(const struct test_case *t, struct outcome *o)
{
	struct native *n = &native_state;
	u8 *code = (u8 *)t->at;
	u32 mxcsr = 0x1f80;
	u8 exit[EXIT_BYTES];
	unsigned tail;
	bool valid;

	put_data(t);
	memcpy(code, t->code, t->size);
	tail = put_exit(exit, t->at + t->size);
	memcpy(code + t->size, exit, tail);
	memcpy(n->gpr, t->in.gpr, sizeof(n->gpr));
	memcpy(n->base, t->base, sizeof(n->base));
	n->rflags = t->in.rflags;
	n->entry = t->at;
	n->vec_in = (u8 *)t->vec;
	n->vec = o->vec;
	memset(o->vec + FPU_XSTATE_BV, 0, 64);
	o->vector = DONE;
	o->error = 0;
	o->cr2 = 0;
	catching = o;
	n->far_offset = (u32)t->at;
	n->far_selector = USER_CS32;
	if (test_mode == MODE_COMPAT32)
		native_enter32();
	else if (native_has_bases())
		native_enter_based();
	else
		native_enter();
	if (native_has_bases()) /* by it translated code is known to run: jit_signal() */
		__asm__ volatile("wrgsbase %0" : : "r"(0ull));
	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
	if (o->vector == DONE) {
		memcpy(o->out.gpr, n->out, sizeof(n->out));
		o->out.rflags = n->out_rflags;
		o->out.rip = t->at + t->size;
	}
	catching = NULL;
	valid = !memcmp(code + t->size, exit, tail);
	clean_code(code, t->size + tail);
	o->data = (const u8 *)DATA_FIRST;
	return valid;
}
