/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Task switches, delivery in every mode, double and triple faults, VM86 with and without VME, control registers, reset. */
#include "interp-rig.h"

static void task_b(uint32_t eip, uint32_t flags)
{
	put32(TSS_B + 28, 0);
	put32(TSS_B + 32, eip);
	put32(TSS_B + 36, flags);
	for (unsigned r = 0; r < 8; r++)
		put32(TSS_B + 40 + 4 * r, 0xb0 + r);
	put32(TSS_B + 56, 0x28000); /* ESP */
	for (unsigned s = 0; s < 6; s++)
		put16(TSS_B + 72 + 4 * s, s == SEG_CS ? CODE0 : DATA0);
}

static int jmp_far(unsigned sel)
{
	return STEP(0xea, 0, 0, 0, 0, (u8)sel, (u8)(sel >> 8));
}

static int call_far(unsigned sel)
{
	return STEP(0x9a, 0, 0, 0, 0, (u8)sel, (u8)(sel >> 8));
}

static void test_task_jump(void **state)
{
	protected_mode();
	task_b(0x1234, FL_CF | FL_1);
	c->gpr[RBX] = 0xbbbb;
	assert_int_equal(jmp_far(SEL_TSS_B), NO_EXCEPTION);
	assert_int_equal(c->rip, 0x1234);
	assert_int_equal(c->rflags, FL_CF | FL_1);
	assert_int_equal(c->gpr[RBX], 0xb0 + RBX);
	assert_int_equal(c->gpr[RSP], 0x28000);
	assert_int_equal(c->seg[SEG_TR].sel, SEL_TSS_B);
	assert_true(c->cr0 & CR0_TS);
	assert_int_equal(get32(TSS_A + 32), CODE + 7);
	assert_int_equal(get32(TSS_A + 40 + 4 * RBX), 0xbbbb);
	assert_int_equal(ram[GDT + SEL_TSS_A + 5], 0x89); /* no longer busy */
	assert_int_equal(ram[GDT + SEL_TSS_B + 5], 0x8b);
	/* to itself: busy */
	assert_int_equal(jmp_far(SEL_TSS_B), EXC_GP);
	assert_int_equal(error_code(), SEL_TSS_B);
}

static void test_task_call(void **state)
{
	protected_mode();
	task_b(0x1234, FL_1);
	assert_int_equal(call_far(SEL_TSS_B), NO_EXCEPTION);
	assert_true(c->rflags & FL_NT);
	assert_int_equal(get16(TSS_B), SEL_TSS_A);
	assert_int_equal(ram[GDT + SEL_TSS_A + 5], 0x8b); /* stays busy */
	assert_int_equal(STEP(0xcf), NO_EXCEPTION);
	assert_int_equal(c->seg[SEG_TR].sel, SEL_TSS_A);
	assert_int_equal(c->rip, CODE + 7);
	assert_false(c->rflags & FL_NT);
	assert_int_equal(ram[GDT + SEL_TSS_B + 5], 0x89);
	assert_int_equal(get32(TSS_B + 32), CODE + 1);
	/* the new task's DS is bad: #TS inside the new task */
	protected_mode();
	task_b(0x1234, FL_1);
	put16(TSS_B + 84, 0x80);
	assert_int_equal(jmp_far(SEL_TSS_B), EXC_TS);
	assert_int_equal(error_code(), 0x80);
	assert_int_equal(get32((uint32_t)c->gpr[RSP] + 4), 0x1234);
	assert_int_equal(c->seg[SEG_TR].sel, SEL_TSS_B);
	/* its CS is bad: no stack yet to tell it on */
	protected_mode();
	task_b(0x1234, FL_1);
	put16(TSS_B + 76, DATA0);
	assert_int_equal(jmp_far(SEL_TSS_B), SHUTDOWN);
	/* IRET with a link that is no busy TSS */
	protected_mode();
	c->rflags |= FL_NT;
	put16(TSS_A, SEL_TSS_B);
	assert_int_equal(STEP(0xcf), EXC_TS);
	assert_int_equal(error_code(), SEL_TSS_B);
}

static void test_task_gate(void **state)
{
	protected_mode();
	task_b(0x1234, FL_1);
	put_idt(EXC_GP, gate(SEL_TSS_B, 0, 0x85, 0));
	c->gpr[RAX] = 0x80;
	assert_int_equal(STEP(0x8e, 0xd8), NO_EXCEPTION);
	assert_int_equal(c->rip, 0x1234);
	assert_int_equal(error_code(), 0x80);
	assert_int_equal(get32(TSS_A + 32), CODE); /* a fault: the instruction itself */
	assert_true(get32(TSS_A + 36) & FL_RF);
	/* a 16-bit TSS */
	protected_mode();
	put_desc(FREE, descriptor(0x4200, 43, 0x81, 0));
	put16(0x4200 + 14, 0x4321);
	put16(0x4200 + 16, FL_1);
	put16(0x4200 + 34, DATA0);
	put16(0x4200 + 36, CODE0);
	put16(0x4200 + 38, DATA0);
	put16(0x4200 + 40, DATA0);
	assert_int_equal(jmp_far(FREE), NO_EXCEPTION);
	assert_int_equal(c->rip, 0x4321);
	assert_int_equal(c->seg[SEG_FS].sel, 0);
}

static void test_double_fault(void **state)
{
	protected_mode();
	put_idt(EXC_GP, 0);
	c->gpr[RAX] = 0x80;
	assert_int_equal(STEP(0x8e, 0xd8), EXC_DF); /* #GP, then #GP for its gate */
	assert_int_equal(error_code(), 0);
	protected_mode();
	put_idt(EXC_UD, 0);
	assert_int_equal(STEP(0x0f, 0x0b), EXC_GP); /* #UD is benign */
	assert_int_equal(error_code(), EXC_UD * 8 + 2 + 1);
	protected_mode();
	put_idt(EXC_GP, 0);
	put_idt(EXC_DF, 0);
	c->gpr[RAX] = 0x80;
	assert_int_equal(STEP(0x8e, 0xd8), SHUTDOWN);
	protected_mode();
	put_idt(0x30, 0);
	assert_int_equal(STEP(0xcd, 0x30), EXC_GP);
	assert_int_equal(error_code(), 0x30 * 8 + 2); /* no EXT for INT n */
	protected_mode();
	put_idt(0x31, 0);
	assert_true(cpu_deliver(c, 0x31, DELIVER_EXTERNAL, false, 0));
	assert_int_equal(vector_at_rip(), EXC_GP);
	assert_int_equal(error_code(), 0x31 * 8 + 2 + 1);
}

static void test_gates(void **state)
{
	protected_mode();
	c->rflags |= FL_IF;
	enter_level(3);
	put_idt(0x30, gate(CODE0, 0x7000, 0xef, 0)); /* trap gate, DPL 3 */
	assert_int_equal(STEP(0xcd, 0x30), NO_EXCEPTION);
	assert_int_equal(c->rip, 0x7000);
	assert_true(c->rflags & FL_IF);
	assert_int_equal(c->gpr[RSP], INNER_STACK - 20);
	assert_int_equal(get32(INNER_STACK - 4), DATA3);
	assert_int_equal(get32(INNER_STACK - 8), STACK_TOP);
	assert_int_equal(get32(INNER_STACK - 20), CODE + 2);
	protected_mode();
	enter_level(3);
	assert_int_equal(STEP(0xcd, 0x30), EXC_GP); /* DPL 0 gate */
	assert_int_equal(error_code(), 0x30 * 8 + 2);
	protected_mode();
	enter_level(3);
	assert_true(cpu_deliver(c, 0x30, DELIVER_EXTERNAL, false, 0)); /* which an interrupt may pass */
	assert_int_equal(vector_at_rip(), 0x30);
}

static void vm86(uint32_t flags)
{
	protected_mode();
	c->rflags = FL_VM | FL_1 | flags;
	for (unsigned s = 0; s < 6; s++)
		c->seg[s] = (struct segment){ .limit = 0xffff, .type = 3, .s = 1, .dpl = 3, .present = 1 };
	c->seg[SEG_DS].sel = 0x100;
	c->seg[SEG_DS].base = 0x1000;
	c->gpr[RSP] = 0x6000;
	cpu_update_mode(c);
}

static void test_vm86(void **state)
{
	vm86(0);
	assert_int_equal(c->mode, MODE_VM86);
	assert_int_equal(STEP(0xfa), EXC_GP); /* CLI */
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->mode, MODE_PROT32);
	assert_true(get32((uint32_t)c->gpr[RSP] + 12) & FL_VM);
	assert_int_equal(get32((uint32_t)c->gpr[RSP] + 28), 0x100); /* DS */
	assert_true(c->seg[SEG_DS].unusable);
	assert_int_equal(c->rip, HANDLERS + 16 * EXC_GP);
	/* and back */
	c->gpr[RSP] += 4;
	assert_int_equal(STEP(0xcf), NO_EXCEPTION);
	assert_int_equal(c->mode, MODE_VM86);
	assert_int_equal(c->seg[SEG_DS].base, 0x1000);
	vm86(FL_IOPL);
	assert_int_equal(STEP(0xfa), NO_EXCEPTION);
	vm86(0);
	c->cr4 = CR4_VME;
	c->rflags |= FL_VIF;
	assert_int_equal(STEP(0xfa), NO_EXCEPTION);
	assert_false(c->rflags & FL_VIF);
	assert_int_equal(STEP(0x9c), NO_EXCEPTION); /* PUSHF shows IOPL 3 and VIF as IF */
	assert_int_equal(get16(0x5ffe) & 0x3200, 0x3000);
	c->rflags |= FL_VIP;
	assert_int_equal(STEP(0xfb), EXC_GP); /* STI with an interrupt pending */
	/* INT through the program's own table */
	vm86(0);
	c->cr4 = CR4_VME;
	put16(TSS_A + 102, 0x68);
	put_desc(SEL_TSS_A, descriptor(TSS_A, 0x100, 0x8b, 0));
	load_segment(SEG_TR, SEL_TSS_A);
	put16(4 * 0x21, 0x1111);
	put16(4 * 0x21 + 2, 0x0200);
	assert_int_equal(STEP(0xcd, 0x21), NO_EXCEPTION);
	assert_int_equal(c->rip, 0x1111);
	assert_int_equal(c->seg[SEG_CS].base, 0x2000);
	ram[TSS_A + 0x68 - 32 + 4] |= 2;
	assert_int_equal(c->mode, MODE_VM86);
}

static void test_real(void **state)
{
	protected_mode();
	cpu_reset(c, false);
	c->idtr.limit = 0x3ff;
	for (unsigned s = 0; s < 6; s++)
		c->seg[s].base = c->seg[s].sel = 0;
	c->gpr[RSP] = 0x7000;
	put16(4 * 6, 0x1234);
	put16(4 * 6 + 2, 0x0300);
	c->rflags |= FL_IF | FL_CF;
	assert_int_equal(STEP(0x0f, 0x0b), NO_EXCEPTION);
	assert_int_equal(c->rip, 0x1234);
	assert_int_equal(c->seg[SEG_CS].base, 0x3000);
	assert_int_equal(get16(0x7000 - 2), FL_IF | FL_CF | FL_1);
	assert_int_equal(get16(0x7000 - 6), CODE);
	assert_false(c->rflags & FL_IF);
	c->seg[SEG_CS].base = c->seg[SEG_CS].sel = 0;
	c->idtr.limit = 0x10;
	assert_int_equal(STEP(0x0f, 0x0b), SHUTDOWN);
	/* the stack wraps at 64 KiB, and a word at the limit is #SS */
	cpu_reset(c, false);
	c->idtr.limit = 0x3ff;
	put16(4 * EXC_SS, 0x4444);
	put16(4 * EXC_SS + 2, 0);
	for (unsigned s = 0; s < 6; s++)
		c->seg[s].base = c->seg[s].sel = 0;
	c->gpr[RSP] = 0;
	c->gpr[RAX] = 0xabcd;
	assert_int_equal(STEP(0x50), NO_EXCEPTION);
	assert_int_equal(c->gpr[RSP], 0xfffe);
	assert_int_equal(get16(0xfffe), 0xabcd);
}

static int write_cr(unsigned n, uint64_t value)
{
	c->gpr[RAX] = value;
	return STEP(0x0f, 0x22, (u8)(0xc0 | n << 3));
}

static void test_control(void **state)
{
	protected_mode();
	assert_int_equal(write_cr(0, CR0_PG), EXC_GP);
	protected_mode();
	assert_int_equal(write_cr(0, CR0_PE | CR0_NW), EXC_GP);
	protected_mode();
	assert_int_equal(write_cr(4, 1u << 30), EXC_GP);
	protected_mode();
	assert_int_equal(write_cr(4, CR4_PCIDE), EXC_GP); /* not in long mode */
	protected_mode();
	c->efer = EFER_LME;
	assert_int_equal(write_cr(0, CR0_PE | CR0_PG), EXC_GP); /* no PAE */
	protected_mode();
	c->cr4 = CR4_PAE;
	c->efer = EFER_LME;
	c->cr3 = 0x6000;
	put32(0x6000, 0x7003);
	put32(0x7000, 0x9003);
	put32(0x9000, 0x83);
	assert_int_equal(write_cr(0, CR0_PE | CR0_PG), NO_EXCEPTION);
	assert_true(c->efer & EFER_LMA);
	assert_int_equal(c->mode, MODE_COMPAT32);
	protected_mode();
	c->cr4 = CR4_PAE;
	c->cr3 = 0x6000;
	put32(0x6000, 0x7000 | 1 | 1 << 5); /* a reserved bit in a PDPTE */
	assert_int_equal(write_cr(0, CR0_PE | CR0_PG), EXC_GP);
	protected_mode();
	c->gpr[RAX] = 8;
	assert_int_equal(STEP(0x0f, 0x01, 0xf0), NO_EXCEPTION); /* LMSW: TS; PE stays */
	assert_int_equal(c->cr0 & 15, CR0_PE | CR0_TS);
	assert_int_equal(STEP(0x0f, 0x06), NO_EXCEPTION);
	assert_int_equal(c->cr0 & CR0_TS, 0);
	enter_level(3);
	assert_int_equal(STEP(0x0f, 0x06), EXC_GP);
	protected_mode();
	c->cr4 |= CR4_UMIP;
	enter_level(3);
	assert_int_equal(STEP(0x0f, 0x01, 0xe0), EXC_GP); /* SMSW under UMIP */
	protected_mode();
	enter_level(3);
	assert_int_equal(STEP(0x0f, 0x01, 0xe0), NO_EXCEPTION);
}

static void test_reset(void **state)
{
	protected_mode();
	c->gpr[RBX] = 5;
	c->star = 77;
	c->cr0 |= CR0_CD | CR0_NW;
	cpu_reset(c, true);
	assert_int_equal(c->rip, 0xfff0);
	assert_int_equal(c->seg[SEG_CS].base, 0xffff0000);
	assert_int_equal(c->seg[SEG_CS].sel, 0xf000);
	assert_int_equal(c->gpr[RBX], 0);
	assert_int_equal(c->cr0, CR0_ET | CR0_CD | CR0_NW);
	assert_int_equal(c->star, 77);
	assert_int_equal(c->mode, MODE_REAL);
	v->nmi_pending = true;
	vcpu_reset(v, true);
	assert_false(v->nmi_pending);
	cpu_reset(c, false);
	assert_int_equal(c->star, 0);
	assert_int_equal(c->dr[6], 0xffff0ff0);
	assert_int_equal(c->dr[7], 0x400);
}

/* The fetch: across pages, limits, and bytes that change under the cache of decoded instructions. */
static void test_fetch(void **state)
{
	unsigned reason;

	protected_mode();
	for (unsigned at = 0x8ff8; at < 0x9001; at++) {
		ram[at] = 0xb8; /* mov eax, imm32 */
		put32(at + 1, 0x12340000 + at);
		c->rip = at;
		assert_int_equal(interp_step(c, &reason), INTERP_NEXT);
		assert_int_equal(c->gpr[RAX], 0x12340000 + at);
		assert_int_equal(c->rip, at + 5);
		put32(at + 1, at);
		c->rip = at;
		assert_int_equal(interp_step(c, &reason), INTERP_NEXT);
		assert_int_equal(c->gpr[RAX], at);
	}
	c->seg[SEG_CS].limit = CODE + 3;
	assert_int_equal(STEP(0xb8, 1, 2, 3, 4), EXC_GP);
	protected_mode();
	assert_int_equal(STEP(0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90),
			 EXC_GP);
	protected_mode();
	assert_int_equal(STEP(0xf0, 0x90), EXC_UD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_task_jump), cmocka_unit_test(test_task_call), cmocka_unit_test(test_task_gate),
		cmocka_unit_test(test_double_fault), cmocka_unit_test(test_gates),  cmocka_unit_test(test_vm86),
		cmocka_unit_test(test_real),	  cmocka_unit_test(test_control),   cmocka_unit_test(test_reset),
		cmocka_unit_test(test_fetch),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
