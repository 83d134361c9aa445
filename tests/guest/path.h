/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Of the guests path*: handlers that jump to each other by a table, made here in the linear pages of AREA, run as a stream of
 * bytes says, and what C makes of the same stream. Included once by each.
 */
#pragma once
#include "rt.h"

#define P 1ull
#define W 2ull
#define U 4ull
#define G 0x100ull
#define NX (1ull << 63)
#define KEEP (1ull << 63)
#define FLAGS 0x8d5u
#define CF 1u
#define PF 4u
#define AF 0x10u
#define ZF 0x40u
#define SF 0x80u
#define OF 0x800u
#define FIRST_PAGE 128 /* that AREA and the rest of the code have nothing in common in a cache of translations */
#define AREA (0x20000000ull + FIRST_PAGE * 4096) /* beyond memory, not far from the rest of the code */
#define LIN(n) (AREA + (n) * 4096ull)
#define PAGES 16 /* of code, linear and physical */
#define WALK_PAGE 32 /* linear: where ops walk through memory that is not there */
#define WALK_PAGES 10
#define HOME 4

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum { END, ADD, ROLXOR, XORM, STORE, INDEX, JCC, SUBM, STACK, RELATIVE, RELATIVE_TOO, LEA, /* what can be repeated at will */
       WALK, WALKW, FIRST, DIVIDE, INDIRECT, PATCH, PATCH_HOME, PATCH_NEXT, OPS, NOWHERE = 200 };

struct space {
	u64 pml4[512], pdpt[512], pd[512], pt[512];
} __attribute__((aligned(4096)));
static volatile struct space space[2];
static u8 code[PAGES][4096] __attribute__((aligned(4096)));
static u8 memory[2 * 4096] __attribute__((aligned(4096))), model_memory[2 * 4096];
static u64 table[256] __attribute__((aligned(4096)));
static u8 stream[1 << 16];
static unsigned length;
static bool user;
static u32 seed = 1;

/* ---- into the code and back ---- */

struct regs {
	u64 r[16], flags;
};
static struct regs regs;
u64 path_entry, path_rsp, path_rdi;
struct regs *path_regs = &regs;
void path_go(void);
void enter_user(void (*fn)(void), void *stack);
extern u8 user_back[], path_back[];

__asm__(".text\n.globl path_go, path_back\npath_go:\n\t"
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n\t"
	"mov %rsp, path_rsp\n\tmov path_regs, %rdi\n\tpushq 128(%rdi); popfq\n\t"
	"mov (%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx; mov 40(%rdi), %rbp\n\t"
	"mov 48(%rdi), %rsi; mov 64(%rdi), %r8; mov 72(%rdi), %r9; mov 80(%rdi), %r10; mov 88(%rdi), %r11\n\t"
	"mov 96(%rdi), %r12; mov 104(%rdi), %r13; mov 112(%rdi), %r14; mov 120(%rdi), %r15; mov 56(%rdi), %rdi\n\t"
	"jmp *path_entry\n"
	"path_back:\n\t"
	"mov %rdi, path_rdi\n\tmov path_regs, %rdi\n\tmov %rax, (%rdi); mov %rcx, 8(%rdi); mov %rdx, 16(%rdi)\n\t"
	"mov %rbx, 24(%rdi); mov %rbp, 40(%rdi); mov %rsi, 48(%rdi); mov %r8, 64(%rdi); mov %r9, 72(%rdi)\n\t"
	"mov %r10, 80(%rdi); mov %r11, 88(%rdi); mov %r12, 96(%rdi); mov %r13, 104(%rdi); mov %r14, 112(%rdi)\n\t"
	"mov %r15, 120(%rdi); pushfq; popq 128(%rdi)\n\tcld\n\t"
	"mov path_rsp, %rsp\n\tpop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n\tret\n");

static void user_main(void)
{
	path_go();
	__asm__ volatile("ud2");
}

static void on_back(struct frame *f)
{
	f->rip = (u64)user_back;
	f->cs = SEL_CODE64;
	f->ss = SEL_DATA;
	f->rsp = (u64)(kernel_stack + 4096);
	f->rflags = 2;
}

static void go(void)
{
	if (user)
		enter_user(user_main, user_stack + sizeof(user_stack) - 8);
	else
		path_go();
}

static u32 rng(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	return seed ^= seed << 5;
}

/* ---- pages ---- */

static u8 phys[PAGES]; /* of each linear page: which of code[] */

static void invlpg(u64 at)
{
	__asm__ volatile("invlpg (%0)" : : "r"(at) : "memory");
}

static void map_in(unsigned s, unsigned n, void *to, u64 flags)
{
	space[s].pt[FIRST_PAGE + n] = to ? (u64)to | flags : 0;
}

static void map_code(unsigned n, unsigned which)
{
	phys[n] = (u8)which;
	for (unsigned s = 0; s < 2; s++)
		map_in(s, n, code[which], P | W | U);
	invlpg(LIN(n));
}

static void plain_map(void)
{
	for (unsigned n = 0; n < PAGES; n++)
		map_code(n, n);
}

/* No two neighbours are neighbours in memory. */
static inline void shuffled_map(void)
{
	for (unsigned n = 0; n < PAGES; n++)
		map_code(n, n * 7 % PAGES);
}

static void make_spaces(void)
{
	for (unsigned n = 0; n < 32; n++)
		((volatile u64 *)0x3000)[n] |= U;
	for (unsigned s = 0; s < 2; s++) {
		for (unsigned n = 0; n < 512; n++) {
			space[s].pdpt[n] = ((volatile u64 *)0x2000)[n];
			space[s].pd[n] = ((volatile u64 *)0x3000)[n];
		}
		space[s].pml4[0] = (u64)space[s].pdpt | P | W | U;
		space[s].pdpt[0] = (u64)space[s].pd | P | W | U;
		space[s].pd[AREA >> 21] = (u64)space[s].pt | P | W | U;
	}
	handlers[EXC_UD] = on_back;
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
	WRITE_REG("cr3", (u64)space[0].pml4);
	plain_map();
}

/* ---- making code ---- */

static u64 here;

static void byte(u8 v)
{
	code[phys[(here >> 12) % PAGES]][here & 4095] = v;
	here++;
}

static void bytes(u64 v, unsigned n) /* the first is the highest */
{
	while (n--)
		byte((u8)(v >> 8 * n));
}

static void imm(u64 v, unsigned n)
{
	for (; n--; v >>= 8)
		byte((u8)v);
}

enum { BY_INC, BY_ADD, BY_TABLE, BY_R10, BY_LEA, TAILS };
static u64 jump_at; /* the last tail's */

static void tail(unsigned how)
{
	bytes(0x0fb60e, 3); /* movzx ecx, byte [rsi] */
	if (how == BY_INC)
		bytes(0x48ffc6, 3);
	else if (how == BY_ADD)
		bytes(0x4883c601, 4);
	else
		bytes(0x488d7601, 4); /* lea rsi, [rsi + 1] */
	if (how == BY_ADD)
		bytes(0x4c8b1ccf, 4); /* mov r11, [rdi + rcx * 8] */
	if (how == BY_R10)
		bytes(0x4c8b14cf, 4);
	jump_at = here;
	if (how == BY_ADD)
		bytes(0x41ffe3, 3);
	else if (how == BY_R10)
		bytes(0x41ffe2, 3);
	else if (how == BY_TABLE) /* jmp table(, rcx, 8) */
		bytes(0xff24cd, 3), imm((u64)table, 4);
	else
		bytes(0xff24cf, 3);
}

static u64 fault_at[OPS], imm_at[OPS], jumps_at[OPS], far_at, relative_at[2];
static u32 imm_is[OPS];

static void body_of_jcc(unsigned how)
{
	u64 to = far_at;

	bytes(0xa801, 2); /* test al, 1; jnz to; add rax, 3 */
	bytes(0x0f85, 2);
	imm(to - here - 4, 4);
	bytes(0x4883c003, 4);
	tail(how);
	here = to;
	bytes(0x4883c005, 4);
}

static void with_imm(unsigned op)
{
	imm_at[op] = here;
	imm(imm_is[op], 4);
}

static void body(unsigned op, unsigned how)
{
	switch (op) {
	case END:
		bytes(0xff2425, 3);
		imm((u64)&table[255], 4);
		return;
	case ADD:
		bytes(0x4805, 2), with_imm(op);
		return;
	case ROLXOR:
		bytes(0x48c1c007, 4), bytes(0x4835, 2), with_imm(op);
		return;
	case XORM:
		bytes(0x4933442408, 5);
		return;
	case STORE:
		bytes(0x4989442408, 5), bytes(0x4901442410, 5);
		return;
	case INDEX: /* movzx edx, al; add rax, [r12 + rdx * 8]; xor [.], rax; movzx edx, ah; add rax, [.]; sub [.], rax */
		bytes(0x0fb6d0, 3), bytes(0x490304d4, 4), bytes(0x493104d4, 4);
		bytes(0x0fb6d4, 3), bytes(0x490304d4, 4), bytes(0x492904d4, 4);
		return;
	case JCC:
		body_of_jcc(how);
		return;
	case SUBM:
		bytes(0x4929442418, 5), bytes(0x492b442420, 5);
		return;
	case STACK: /* push rbp; mov rbp, rsp; push rax; push 7; pop rdx; add rax, rdx; add rax, [rbp - 8]; leave */
		bytes(0x554889e5, 4), bytes(0x506a075a, 4), bytes(0x4801d0, 3), bytes(0x480345f8, 4), byte(0xc9);
		return;
	case RELATIVE:
	case RELATIVE_TOO: /* lea rdx, [rip]; add rax, rdx; add rax, [rip + .]; xor rax, [rip + .] */
		relative_at[op - RELATIVE] = here + 7;
		bytes(0x488d15, 3), imm(0, 4), bytes(0x4801d0, 3), bytes(0x480305, 3), imm(64, 4), bytes(0x483305, 3), imm(61, 4);
		for (u64 at = here + 57, n = 0; n < 12; n++)
			code[phys[((at + n) >> 12) % PAGES]][(at + n) & 4095] = (u8)(n * 37 + 11);
		return;
	case LEA:
		bytes(0x488d444001, 5);
		return;
	case WALK: /* cmp qword [r12 + 8], 5; mov r9, [r13]; lea r13, [r13 + 8] */
		bytes(0x49837c240805, 6);
		fault_at[op] = here;
		bytes(0x4d8b4d00, 4), bytes(0x4d8d6d08, 4);
		return;
	case WALKW: /* add rax, 77; mov [r13], rax */
		bytes(0x4883c04d, 4);
		fault_at[op] = here;
		bytes(0x49894500, 4), bytes(0x4d8d6d08, 4);
		return;
	case FIRST: /* mov r9, [r13]; lea r13, [r13 + 8]; add rax, 77: the flags that a fault finds are those of the op before */
		fault_at[op] = here;
		bytes(0x4d8b4d00, 4), bytes(0x4d8d6d08, 4), bytes(0x4883c04d, 4);
		return;
	case DIVIDE: /* cmp dword [r12 + 8], eax; mov r9, rax; mov edx, 0; mov eax, 1000; div qword [r13]; mov rax, r9 */
		bytes(0x4139442408, 5), bytes(0x4989c1, 3), byte(0xba), imm(0, 4), byte(0xb8), imm(1000, 4);
		fault_at[op] = here;
		bytes(0x49f77500, 4), bytes(0x4d8d6d08, 4), bytes(0x4c89c8, 3);
		return;
	case INDIRECT: /* mov r15, [r14]; lea r14, [r14 + 8]; sub rax, 9; mov r9, [r15] */
		bytes(0x4d8b3e, 3), bytes(0x4d8d7608, 4), bytes(0x4883e809, 4);
		fault_at[op] = here;
		bytes(0x4d8b0f, 3);
		return;
	case PATCH: /* mov [r8], eax */
		bytes(0x418900, 3);
		return;
	case PATCH_HOME: /* mov [rbp], eax */
		bytes(0x894500, 3);
		return;
	default: /* mov [rip + 3], al; add rax, imm8 */
		bytes(0x8805, 2), imm(3, 4);
		bytes(0x4883c001, 4);
	}
}

static void place(unsigned op, u64 at, unsigned how)
{
	here = at;
	table[op] = at;
	body(op, how);
	if (op != END)
		tail(how);
	jumps_at[op] = jump_at;
}

/* ---- what C makes of it ---- */

struct model {
	u64 rax, r8, r9, r10, r13, r14, r15, rcx;
	u32 flags;
	u8 *m;
};

static u64 get(const struct model *s, u64 at)
{
	u64 v;

	__builtin_memcpy(&v, s->m + at, 8);
	return v;
}

static void put(struct model *s, u64 at, u64 v)
{
	__builtin_memcpy(s->m + at, &v, 8);
}

/* Of RELATIVE's. */
static u64 constant(unsigned from)
{
	u64 v = 0;

	for (unsigned n = 8; n-- > 0;)
		v = v << 8 | (u8)((from + n) * 37 + 11);
	return v;
}

static void compute(struct model *s, unsigned op)
{
	switch (op) {
	case ADD:
		s->rax += (u64)(int64_t)(int32_t)imm_is[ADD];
		break;
	case ROLXOR:
		s->rax = (s->rax << 7 | s->rax >> 57) ^ (u64)(int64_t)(int32_t)imm_is[ROLXOR];
		break;
	case XORM:
		s->rax ^= get(s, 8);
		break;
	case STORE:
		put(s, 8, s->rax);
		put(s, 16, get(s, 16) + s->rax);
		break;
	case INDEX:
		for (unsigned n = 0; n < 2; n++) {
			u64 at = 8 * (s->rax >> 8 * n & 255);

			s->rax += get(s, at);
			put(s, at, n ? get(s, at) - s->rax : get(s, at) ^ s->rax);
		}
		break;
	case JCC:
		s->rax += s->rax & 1 ? 5 : 3;
		break;
	case SUBM:
		put(s, 24, get(s, 24) - s->rax);
		s->rax -= get(s, 32);
		break;
	case STACK:
		s->rax += 7 + s->rax;
		break;
	case RELATIVE:
	case RELATIVE_TOO:
		s->rax += relative_at[op - RELATIVE] + constant(0);
		s->rax ^= constant(4);
		break;
	case LEA:
		s->rax = s->rax * 3 + 1;
		break;
	case PATCH:
		imm_is[ADD] = (u32)s->rax;
		break;
	case PATCH_HOME:
		imm_is[ROLXOR] = (u32)s->rax;
		break;
	case PATCH_NEXT:
		s->rax += (u64)(int64_t)(int8_t)s->rax;
		break;
	default:
		break;
	}
}

/* ---- running ---- */

static unsigned offset_of_memory; /* of r12: elements that INDEX reaches may lie in two pages */
static u64 last_rax;

static inline void fill(void)
{
	for (unsigned n = 0; n < sizeof(memory); n++)
		memory[n] = model_memory[n] = (u8)rng();
}

static void begin(void)
{
	regs = (struct regs){ .flags = 2 };
	regs.r[RSI] = (u64)stream + 1;
	regs.r[RDI] = (u64)table;
	regs.r[R12] = (u64)(memory + offset_of_memory);
	regs.r[R8] = imm_at[ADD];
	regs.r[RBP] = imm_at[ROLXOR];
	regs.r[RAX] = 0x123456789abcdefull;
	table[255] = (u64)path_back;
	path_entry = table[stream[0]];
}

/* Runs the stream, with C beside. */
static inline bool agrees(void)
{
	struct model s = { .rax = 0x123456789abcdefull, .m = model_memory + offset_of_memory };

	stream[length] = END;
	begin();
	go();
	for (unsigned n = 0; n < length; n++)
		compute(&s, stream[n]);
	last_rax = s.rax;
	return regs.r[RAX] == s.rax && regs.r[RSI] == (u64)stream + length + 1 &&
	       !__builtin_memcmp(memory, model_memory, sizeof(memory));
}

/* A few ops again and again; now and then others come between. */
static inline void repeat(unsigned count, unsigned first, unsigned last)
{
	u8 loop[8];
	unsigned n = 1 + rng() % 8, at = 0;

	for (unsigned k = 0; k < n; k++)
		loop[k] = (u8)(first + rng() % (last - first + 1));
	for (length = 0; length < count;) {
		stream[length++] = loop[at];
		at = (at + 1) % n;
		if (rng() % 400 == 0)
			stream[length++] = (u8)(first + rng() % (last - first + 1));
		if (rng() % 3000 == 0)
			loop[rng() % n] = (u8)(first + rng() % (last - first + 1));
	}
}

/* Handlers in `pages` pages around the home, some of which run over their page's end. */
static void scatter(unsigned pages, unsigned how, bool over)
{
	static const u8 around[5] = { HOME, HOME + 1, HOME - 1, HOME + 2, HOME - 3 };
	bool alike = rng() & 1; /* the same offsets in all pages */
	u64 at[5];

	for (unsigned k = 0; k < 5; k++)
		at[k] = LIN(around[k]) + 256 + (alike ? 0 : rng() % 64);
	for (unsigned op = END; op < OPS; op++) {
		u64 *p = &at[op % pages], place_at = *p;

		if (over && op && op <= pages)
			place_at = (*p & ~4095ull) + 4096 - 1 - rng() % 20;
		else
			*p += 128;
		far_at = at[(op + 1) % pages];
		if (op == JCC)
			at[(op + 1) % pages] += 128;
		place(op, place_at, how == TAILS ? rng() % TAILS : how);
	}
}

