/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an instruction accesses, byte for byte: alignment checks and data breakpoints see it, and a fault leaves everything as
 * it was. Alignments as AMD's processors check them (SDM vol. 3, table 6-7 has the same).
 */
#include "fpu.h"
#include "interp-rig.h"

#define DATA 0x10000u
#define PML4 0x11000u
#define PDPT 0x12000u

static void vector_mode(unsigned cpl)
{
	protected_mode();
	enter_level(cpl);
	c->cr4 = CR4_OSFXSR | CR4_OSXSAVE;
	c->xcr0 = fpu_features() & 7;
	c->gpr[RBX] = DATA;
	c->gpr[RDI] = DATA;
	c->gpr[RAX] = c->xcr0;
	c->gpr[RDX] = 0;
	put32(DATA, 0x37f); /* for what loads it: the registers are this process's own, of which XMM7 is free */
	put32(DATA + 24, 0x1f80);
	__asm__ volatile("fninit\n\tpcmpeqd %%xmm7, %%xmm7" : : : "xmm7");
}

/* 64-bit code, 1 GiB pages that map everything to itself */
static void long_mode(unsigned cpl)
{
	vector_mode(cpl);
	put32(PML4, PDPT | 7);
	for (unsigned n = 0; n < 5; n++) {
		put32(PDPT + 8 * n, n << 30 | 0x87);
		put32(PDPT + 8 * n + 4, n >> 2);
	}
	put_desc(FREE, descriptor(0, 0xfffff, 0x9b, 0xa));
	put32(IDT + 16 * EXC_GP, (HANDLERS + 16 * EXC_GP) | FREE << 16);
	put32(IDT + 16 * EXC_GP + 4, 0x8e00);
	put32(IDT + 16 * EXC_GP + 8, 0);
	put32(TSS_A + 8, 0);
	c->cr3 = PML4;
	c->cr4 |= CR4_PAE;
	c->cr0 |= CR0_PG;
	c->efer = EFER_LME | EFER_LMA;
	c->seg[SEG_CS].l = 1;
	c->seg[SEG_CS].db = 0;
	cpu_update_mode(c);
	mmu_flush_all(c);
}

enum { ALWAYS, NEEDS_AVX };
#define INSN(...) { __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

static bool usable(int needs)
{
	return needs == ALWAYS || (fpu_features() & 4);
}

static void test_alignment(void **state)
{
	static const struct {
		uint8_t code[12];
		size_t len;
		unsigned align; /* that is enough */
		int needs;
	} cases[] = {
		{ INSN(0x8b, 0x03), 4 },				/* mov eax, [ebx] */
		{ INSN(0x0f, 0x10, 0x03), 16 },				/* movups */
		{ INSN(0xf3, 0x0f, 0x7f, 0x03), 16 },			/* movdqu */
		{ INSN(0x66, 0x0f, 0x3a, 0x63, 0x03, 0), 16 },		/* pcmpistri */
		{ INSN(0xf3, 0x0f, 0x7e, 0x03), 8 },			/* movq */
		{ INSN(0xc5, 0xfe, 0x6f, 0x03), 16, NEEDS_AVX },	/* vmovdqu ymm */
		{ INSN(0xdb, 0x2b), 8 },				/* fld m80 */
		{ INSN(0xd9, 0x33), 4 },				/* fnstenv */
		{ INSN(0x66, 0xd9, 0x33), 2 },
		{ INSN(0xdd, 0x33), 4 },				/* fnsave */
		{ INSN(0x66, 0xdd, 0x23), 2 },				/* frstor */
		{ INSN(0x66, 0x0f, 0xb5, 0x03), 2 },			/* lgs, 16:16 */
		{ INSN(0x0f, 0xb5, 0x03), 4 },				/* lgs, 16:32 */
		{ INSN(0x62, 0x0b), 4 },				/* bound ecx */
		{ INSN(0xc4, 0xe2, 0x41, 0x2c, 0x03), 1, NEEDS_AVX },	/* vmaskmovps xmm */
		{ INSN(0xc4, 0xe2, 0x41, 0x2e, 0x03), 1, NEEDS_AVX },
	};

	for (size_t n = 0; n < ARRAY_SIZE(cases); n++)
		for (unsigned at = 1; usable(cases[n].needs) && at <= 16; at *= 2) {
			vector_mode(3);
			c->cr0 |= CR0_AM;
			c->rflags |= FL_AC;
			c->gpr[RBX] = DATA + at;
			c->gpr[RCX] = 0;
			assert_int_equal(step(cases[n].code, cases[n].len), at < cases[n].align ? EXC_AC : NO_EXCEPTION);
		}
}

/* Instructions that want 16 bytes aligned whatever the flags say. */
static void test_alignment_first(void **state)
{
	vector_mode(3);
	c->cr0 |= CR0_AM;
	c->rflags |= FL_AC;
	c->gpr[RBX] = DATA + 1;
	assert_int_equal(STEP(0x0f, 0x28, 0x03), EXC_GP); /* movaps */
	long_mode(3);
	c->cr0 |= CR0_AM;
	c->rflags |= FL_AC;
	c->gpr[RBX] = DATA + 1;
	assert_int_equal(STEP(0x48, 0x0f, 0xc7, 0x0b), EXC_GP); /* cmpxchg16b */
}

/* A kernel's stack is checked for nothing, above all not when it gets an interrupt's frame of five words. */
static void test_inner_stack(void **state)
{
	vector_mode(3);
	c->cr0 |= CR0_AM;
	c->rflags |= FL_AC;
	put32(TSS_A + 4, INNER_STACK + 2);
	assert_true(cpu_deliver(c, 0x31, DELIVER_EXTERNAL, false, 0));
	assert_int_equal(vector_at_rip(), 0x31);
	assert_int_equal(c->gpr[RSP], INNER_STACK + 2 - 20);
}

/* A program's is: each word, not all that an instruction pushes. */
static void test_own_stack(void **state)
{
	vector_mode(3);
	c->cr0 |= CR0_AM;
	c->rflags |= FL_AC;
	c->gpr[RSP] = STACK_TOP + 4;
	assert_int_equal(STEP(0x60), NO_EXCEPTION); /* pusha */
	c->gpr[RSP] = STACK_TOP + 4;
	assert_int_equal(STEP(0x9a, 0, 0, 0, 0, CODE3, 0), NO_EXCEPTION); /* call far */
	c->gpr[RSP] = STACK_TOP + 2;
	assert_int_equal(STEP(0x60), EXC_AC);
}

/* #AC on a stack that is not aligned raises #AC: a vCPU that nobody could stop. */
static void test_endless(void **state)
{
	vector_mode(3);
	c->cr0 |= CR0_AM;
	c->rflags |= FL_AC;
	put_idt(EXC_AC, gate(CODE3, HANDLERS + 16 * EXC_AC, 0xee, 0));
	c->gpr[RSP] = STACK_TOP + 2;
	c->gpr[RBX] = DATA + 1;
	assert_int_equal(STEP(0x8b, 0x03), NO_EXCEPTION);
	assert_int_equal(c->rip, CODE);
	assert_int_equal(c->gpr[RSP], STACK_TOP + 2);
}

/* ---- data breakpoints ---- */

static int watched(unsigned at, bool reads, const uint8_t *code, size_t len)
{
	vector_mode(0);
	c->dr[0] = DATA + at;
	c->dr[6] = 0xffff0ff0;
	c->dr[7] = 0x402 | (reads ? 3u : 1u) << 16;
	return step(code, len);
}

static void test_breakpoints(void **state)
{
	static const struct {
		uint8_t code[12];
		size_t len;
		bool writes;
		unsigned in, out; /* an offset that is accessed, one that is not */
		int needs;
	} cases[] = {
		{ INSN(0xd9, 0x33), true, 27, 28 },				/* fnstenv */
		{ INSN(0x66, 0xd9, 0x33), true, 13, 14 },
		{ INSN(0xd9, 0x23), false, 27, 28 },				/* fldenv */
		{ INSN(0xdd, 0x33), true, 107, 108 },				/* fnsave */
		{ INSN(0xdd, 0x23), false, 107, 108 },				/* frstor */
		{ INSN(0x0f, 0xae, 0x03), true, 287, 288 },			/* fxsave, 8 registers */
		{ INSN(0x0f, 0xae, 0x0b), false, 287, 288 },			/* fxrstor */
		{ INSN(0x0f, 0xae, 0x23), true, 512, 520 },			/* xsave: the header */
		{ INSN(0x0f, 0xae, 0x2b), false, 512, 1024 },			/* xrstor */
		{ INSN(0x66, 0x0f, 0xf7, 0xc7), true, 15, 16 },			/* maskmovdqu */
		{ INSN(0xc4, 0xe2, 0x41, 0x2c, 0x03), false, 15, 16, NEEDS_AVX }, /* vmaskmovps */
		{ INSN(0xc4, 0xe2, 0x41, 0x2e, 0x03), true, 15, 16, NEEDS_AVX },
	};

	for (size_t n = 0; n < ARRAY_SIZE(cases); n++) {
		if (!usable(cases[n].needs))
			continue;
		assert_int_equal(watched(cases[n].in, true, cases[n].code, cases[n].len), EXC_DB);
		assert_int_equal(c->dr[6] & 15, 1);
		assert_int_equal(get32((uint32_t)c->gpr[RSP]), CODE + cases[n].len); /* a trap */
		assert_int_equal(watched(cases[n].in, false, cases[n].code, cases[n].len),
				 cases[n].writes ? EXC_DB : NO_EXCEPTION);
		assert_int_equal(watched(cases[n].out, true, cases[n].code, cases[n].len), NO_EXCEPTION);
	}
}

/* Between a load of SS and the next instruction nothing comes, so the stack pointer can be loaded there. */
static void test_stack_segment(void **state)
{
	static const uint8_t load[] = { 0x8e, 0x13 }; /* mov ss, [ebx] */

	vector_mode(0);
	put32(DATA, DATA0);
	c->dr[0] = DATA;
	c->dr[6] = 0xffff0ff0;
	c->dr[7] = 0x402 | 3u << 16;
	c->rflags |= FL_TF;
	assert_int_equal(step(load, sizeof(load)), NO_EXCEPTION);
	assert_int_equal(c->rip, CODE + 2);
	assert_int_equal(STEP(0xbc, 0, 0, 3, 0), EXC_DB); /* mov esp, 0x30000 */
	assert_int_equal(c->dr[6], 0xffff4ff1);
	assert_int_equal(get32((uint32_t)c->gpr[RSP]), CODE + 5);
}

/* ENTER looks whether its frame can be written, and does not write it. */
static void test_enter(void **state)
{
	vector_mode(0);
	c->dr[0] = STACK_TOP - 4 - 16;
	c->dr[7] = 0x402 | 1u << 16;
	assert_int_equal(STEP(0xc8, 16, 0, 0), NO_EXCEPTION);
}

/* A single step over HLT comes behind it; a processor that went to sleep would not get there. */
static void test_halt(void **state)
{
	vector_mode(0);
	c->rflags |= FL_TF;
	assert_int_equal(STEP(0xf4), EXC_DB);
	assert_int_equal(get32((uint32_t)c->gpr[RSP]), CODE + 1);
	assert_false(c->halted);
	vector_mode(0);
	assert_int_equal(STEP(0xf4), SHUTDOWN); /* that is, an exit */
	assert_true(c->halted);
	c->halted = false;
}

/* Bits of the descriptor that are reserved are so for every type. */
static void test_invpcid(void **state)
{
	for (unsigned type = 0; type < 5; type++)
		for (unsigned reserved = 0; reserved < 2; reserved++) {
			vector_mode(0);
			put32(DATA, reserved << 12);
			put32(DATA + 8, 0);
			put32(DATA + 12, 0);
			c->gpr[RCX] = type;
			assert_int_equal(STEP(0x66, 0x0f, 0x38, 0x82, 0x0b), reserved || type > 3 ? EXC_GP : NO_EXCEPTION);
		}
}

/* What the coprocessors before the 80387 had: nothing happens, not even what is pending. */
static void test_old_x87(void **state)
{
	static const uint8_t last[] = { 0xe0, 0xe1, 0xe4 };

	for (unsigned n = 0; n < ARRAY_SIZE(last); n++) {
		vector_mode(0);
		__asm__ volatile("pushq $0x340\n\tfldcw (%%rsp)\n\tpopq %%rax\n\tfldz\n\tfld1\n\tfdiv %%st(1), %%st" : : : "rax");
		assert_int_equal(STEP(0xdb, last[n]), NO_EXCEPTION);
		assert_int_equal(STEP(0xd9, 0xd0), EXC_MF); /* fnop */
		__asm__ volatile("fninit");
	}
}

/* IRETQ whose CS and SS lie 64 bytes apart in the GDT, where a cache of segments might take one for the other. */
static void test_iret_far_apart(void **state)
{
	long_mode(0);
	put_desc(FREE + 0x40, descriptor(0, 0xfffff, 0x93, 0xc));
	c->gpr[RSP] = STACK_TOP;
	for (unsigned n = 0; n < 5; n++) {
		const uint32_t frame[] = { 0x1234, FREE, FL_1, STACK_TOP + 0x100, FREE + 0x40 };

		put32(STACK_TOP + 8 * n, frame[n]);
		put32(STACK_TOP + 8 * n + 4, 0);
	}
	assert_int_equal(STEP(0x48, 0xcf), NO_EXCEPTION);
	assert_int_equal(c->mode, MODE_LONG64);
	assert_int_equal(c->rip, 0x1234);
	assert_int_equal(c->gpr[RSP], STACK_TOP + 0x100);
	assert_int_equal(c->seg[SEG_CS].sel, FREE);
	assert_int_equal(c->seg[SEG_CS].type, 11);
	assert_int_equal(c->seg[SEG_SS].sel, FREE + 0x40);
	assert_int_equal(c->seg[SEG_SS].type, 3);
}

/* A gather with one register twice: outside of 64-bit mode the highest bit of VEX.vvvv is nothing. */
static void test_gather_registers(void **state)
{
	const uint8_t code[] = { 0xc4, 0xe2, 0x31, 0x90, 0x0c, 0x10 }; /* xmm1, [eax+xmm2], xmm9 */
	struct insn i;

	assert_int_equal(insn_decode(&i, code, sizeof(code), MODE_PROT32), DECODE_UD);
	assert_int_equal(insn_decode(&i, code, sizeof(code), MODE_LONG64), DECODE_OK);
}

/* ---- MASKMOVQ, VMASKMOV ---- */

static uint16_t x87_word(unsigned at)
{
	uint8_t image[512] __attribute__((aligned(16)));
	uint16_t word;

	__asm__ volatile("fxsave64 %0" : "=m"(image));
	memcpy(&word, image + at, 2);
	return word;
}

static void test_maskmovq(void **state)
{
	static const uint64_t data = 0x8877665544332211ull, mask = 0x8000000000808000ull;

	vector_mode(0);
	put32(DATA, 0);
	__asm__ volatile("movq %0, %%mm2\n\tmovq %1, %%mm3\n\temms\n\tfincstp" : : "m"(data), "m"(mask));
	c->seg[SEG_DS].limit = DATA - 1;
	assert_int_equal(STEP(0x0f, 0xf7, 0xd3), EXC_GP);
	assert_int_equal(x87_word(2), 1 << 11); /* as FINCSTP left it */
	assert_int_equal(x87_word(4), 0);
	assert_int_equal(get32(DATA), 0);
	c->seg[SEG_DS].limit = ~0u;
	assert_int_equal(STEP(0x0f, 0xf7, 0xd3), NO_EXCEPTION);
	assert_int_equal(x87_word(2), 0);
	assert_int_equal(x87_word(4), 0xff);
	assert_int_equal(get32(DATA), 0x00332200);
	assert_int_equal(get32(DATA + 4), 0x88000000);
	__asm__ volatile("fninit");
}

/* An operand that begins below 4 GiB goes on above, even if its address has 32 bits. */
static void test_masked_wrap(void **state)
{
	static const uint32_t third[4] = { 0, 0, 1u << 31, 0 };

	if (!usable(NEEDS_AVX))
		skip();
	for (unsigned store = 0; store < 2; store++) {
		long_mode(0);
		c->gpr[RBX] = 0xfffffff8;
		c->replay_count = 0;
		__asm__ volatile("movups %0, %%xmm7" : : "m"(third) : "xmm7");
		assert_int_equal(STEP(0x67, 0xc4, 0xe2, 0x41, 0x2c + 2 * store, 0x03), SHUTDOWN); /* there is no memory */
		assert_int_equal(c->replay_count, 1);
		assert_int_equal(c->replay[0].addr, 0x100000000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alignment),  cmocka_unit_test(test_alignment_first), cmocka_unit_test(test_inner_stack),
		cmocka_unit_test(test_own_stack),  cmocka_unit_test(test_breakpoints),	   cmocka_unit_test(test_enter),
		cmocka_unit_test(test_halt),	   cmocka_unit_test(test_invpcid),	   cmocka_unit_test(test_old_x87),
		cmocka_unit_test(test_gather_registers), cmocka_unit_test(test_iret_far_apart),
		cmocka_unit_test(test_stack_segment),
		cmocka_unit_test(test_endless),	   cmocka_unit_test(test_maskmovq),	   cmocka_unit_test(test_masked_wrap),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
