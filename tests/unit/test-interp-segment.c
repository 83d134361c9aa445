/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Segment loads, limits and types, far transfers, call gates, returns to outer levels, in 32-bit protected mode. */
#include "interp-rig.h"

static int load_ds(unsigned sel)
{
	c->gpr[RAX] = sel;
	return STEP(0x8e, 0xd8);
}

static int load_ss(unsigned sel)
{
	c->gpr[RAX] = sel;
	return STEP(0x8e, 0xd0);
}

static void test_data_loads(void **state)
{
	protected_mode();
	put_desc(FREE, descriptor(0x1000, 0xfff, 0x92, 4)); /* not yet accessed */
	assert_int_equal(load_ds(FREE), NO_EXCEPTION);
	assert_int_equal(ram[GDT + FREE + 5], 0x93);
	assert_int_equal(c->seg[SEG_DS].base, 0x1000);
	assert_int_equal(c->seg[SEG_DS].limit, 0xfff);
	assert_int_equal(load_ds(0), NO_EXCEPTION);
	assert_int_equal(STEP(0xa0, 0, 0, 0, 0), EXC_GP); /* mov al, [0] through a null DS */
	assert_int_equal(error_code(), 0);
	protected_mode();
	assert_int_equal(load_ds(0x80), EXC_GP); /* beyond the limit */
	assert_int_equal(error_code(), 0x80);
	protected_mode();
	assert_int_equal(load_ds(4), EXC_GP); /* no LDT */
	protected_mode();
	put_desc(FREE, descriptor(0, 0xfffff, 0x13, 0xc));
	assert_int_equal(load_ds(FREE), EXC_NP);
	assert_int_equal(error_code(), FREE);
	protected_mode();
	put_desc(FREE, descriptor(0, 0xfffff, 0x99, 0xc)); /* execute-only */
	assert_int_equal(load_ds(FREE), EXC_GP);
	protected_mode();
	enter_level(3);
	assert_int_equal(load_ds(DATA0), EXC_GP);
	assert_int_equal(error_code(), DATA0);
	protected_mode();
	enter_level(3);
	assert_int_equal(load_ds(CONFORMING), NO_EXCEPTION);
}

static void test_stack_loads(void **state)
{
	protected_mode();
	assert_int_equal(load_ss(0), EXC_GP);
	protected_mode();
	assert_int_equal(load_ss(DATA0 | 3), EXC_GP); /* RPL is not CPL */
	protected_mode();
	assert_int_equal(load_ss(CODE0), EXC_GP);
	protected_mode();
	put_desc(FREE, descriptor(0, 0xfffff, 0x13, 0xc));
	assert_int_equal(load_ss(FREE), EXC_SS);
	assert_int_equal(error_code(), FREE);
	protected_mode();
	assert_int_equal(load_ss(DATA0), NO_EXCEPTION);
	assert_int_equal(c->intr_shadow, 2);
	assert_int_equal(STEP(0x90), NO_EXCEPTION);
	assert_int_equal(c->intr_shadow, 0);
}

/* REX.R would make it the number of a register that is not there. */
static void test_segment_with_rex(void **state)
{
	static uint8_t before[sizeof(struct cpu) - offsetof(struct cpu, self)];
	const size_t at = offsetof(struct cpu, self), size = offsetof(struct cpu, fault_jmp) - at;

	protected_mode();
	c->efer = EFER_LME | EFER_LMA;
	c->seg[SEG_CS].l = 1;
	c->seg[SEG_CS].db = 0;
	cpu_update_mode(c);
	memcpy(before, (uint8_t *)c + at, size);
	c->gpr[RAX] = 0;
	assert_int_equal(STEP(0x44, 0x8e, 0xe0), NO_EXCEPTION); /* mov fs, eax */
	assert_int_equal(c->seg[SEG_FS].sel, 0);
	assert_true(c->seg[SEG_FS].unusable);
	assert_memory_equal((uint8_t *)c + at, before, size);
	c->gpr[RAX] = ~0ull;
	assert_int_equal(STEP(0x44, 0x8c, 0xd0), NO_EXCEPTION); /* mov eax, ss */
	assert_int_equal(c->gpr[RAX], DATA0);
}

static int read_at(uint32_t off)
{
	c->gpr[RBX] = off;
	return STEP(0x8b, 0x03); /* mov eax, [ebx] */
}

static int write_at(uint32_t off)
{
	c->gpr[RBX] = off;
	return STEP(0x89, 0x03);
}

static void test_limits(void **state)
{
	protected_mode();
	put_desc(FREE, descriptor(0x10000, 0x1fff, 0x93, 4));
	load_segment(SEG_DS, FREE);
	assert_int_equal(read_at(0x1ffc), NO_EXCEPTION);
	assert_int_equal(read_at(0x1ffd), EXC_GP);
	protected_mode();
	put_desc(FREE, descriptor(0x10000, 0x1fff, 0x97, 4)); /* expand down, 32 bits */
	load_segment(SEG_DS, FREE);
	assert_int_equal(read_at(0x2000), NO_EXCEPTION);
	assert_int_equal(read_at(0x1fff), EXC_GP);
	protected_mode();
	put_desc(FREE, descriptor(0x10000, 0x1fff, 0x97, 0)); /* expand down, 16 bits */
	load_segment(SEG_DS, FREE);
	assert_int_equal(read_at(0xfffc), NO_EXCEPTION);
	assert_int_equal(read_at(0xfffd), EXC_GP);
	protected_mode();
	put_desc(FREE, descriptor(0, 0xfffff, 0x91, 0xc)); /* read-only */
	load_segment(SEG_DS, FREE);
	assert_int_equal(read_at(0), NO_EXCEPTION);
	assert_int_equal(write_at(0), EXC_GP);
	protected_mode();
	put_desc(FREE, descriptor(0, 0xff, 0x93, 4));
	load_segment(SEG_SS, FREE);
	c->gpr[RSP] = 0x200;
	put_idt(EXC_SS, gate(SEL_TSS_B, 0, 0x85, 0)); /* the stack is no good: a task */
	put32(TSS_B + 32, HANDLERS + 16 * EXC_SS);
	put32(TSS_B + 56, STACK_TOP);
	put16(TSS_B + 76, CODE0);
	put16(TSS_B + 80, DATA0);
	assert_int_equal(STEP(0x50), EXC_SS);
	assert_int_equal(error_code(), 0);
	assert_int_equal(c->seg[SEG_TR].sel, SEL_TSS_B);
}

static void test_visible(void **state)
{
	protected_mode();
	c->gpr[RCX] = DATA0;
	assert_int_equal(STEP(0x0f, 0x02, 0xc1), NO_EXCEPTION); /* lar eax, ecx */
	assert_true(c->rflags & FL_ZF);
	assert_int_equal(c->gpr[RAX], 0x00cf9300);
	assert_int_equal(STEP(0x0f, 0x03, 0xc1), NO_EXCEPTION); /* lsl */
	assert_int_equal(c->gpr[RAX], 0xffffffff);
	enter_level(3);
	assert_int_equal(STEP(0x0f, 0x02, 0xc1), NO_EXCEPTION);
	assert_false(c->rflags & FL_ZF);
	assert_int_equal(STEP(0x0f, 0x00, 0xe1), NO_EXCEPTION); /* verr cx */
	assert_false(c->rflags & FL_ZF);
	c->gpr[RCX] = DATA3;
	assert_int_equal(STEP(0x0f, 0x00, 0xe9), NO_EXCEPTION); /* verw cx */
	assert_true(c->rflags & FL_ZF);
}

static int jmp_far(unsigned sel, uint32_t off)
{
	return STEP(0xea, (u8)off, (u8)(off >> 8), (u8)(off >> 16), (u8)(off >> 24), (u8)sel, (u8)(sel >> 8));
}

static int call_far(unsigned sel, uint32_t off)
{
	return STEP(0x9a, (u8)off, (u8)(off >> 8), (u8)(off >> 16), (u8)(off >> 24), (u8)sel, (u8)(sel >> 8));
}

static void test_far_jumps(void **state)
{
	protected_mode();
	assert_int_equal(jmp_far(CODE0, 0x1234), NO_EXCEPTION);
	assert_int_equal(c->rip, 0x1234);
	assert_int_equal(jmp_far(CODE16, 0x1234), NO_EXCEPTION);
	assert_int_equal(c->mode, MODE_PROT16);
	protected_mode();
	assert_int_equal(jmp_far(CODE16, 0x12345), EXC_GP); /* beyond the limit */
	assert_int_equal(error_code(), 0);
	protected_mode();
	assert_int_equal(jmp_far(DATA0, 0), EXC_GP);
	assert_int_equal(error_code(), DATA0);
	protected_mode();
	assert_int_equal(jmp_far(CODE3 & ~3, 0), EXC_GP); /* DPL 3 from CPL 0 */
	protected_mode();
	enter_level(3);
	assert_int_equal(jmp_far(CONFORMING, 0x100), NO_EXCEPTION);
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->seg[SEG_CS].sel, CONFORMING | 3);
	protected_mode();
	enter_level(3);
	assert_int_equal(jmp_far(CODE0, 0x100), EXC_GP);
	protected_mode();
	assert_int_equal(call_far(CODE0, 0x1234), NO_EXCEPTION);
	assert_int_equal(get32(STACK_TOP - 4), CODE0);
	assert_int_equal(get32(STACK_TOP - 8), CODE + 7);
}

static void test_call_gates(void **state)
{
	protected_mode();
	put_desc(FREE, gate(CODE0, 0x7777, 0xec, 2)); /* two parameters, DPL 3 */
	enter_level(3);
	put32(STACK_TOP, 0x11111111);
	put32(STACK_TOP + 4, 0x22222222);
	assert_int_equal(call_far(FREE | 3, 0), NO_EXCEPTION);
	assert_int_equal(c->rip, 0x7777);
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->seg[SEG_SS].sel, DATA0);
	assert_int_equal(c->gpr[RSP], INNER_STACK - 24);
	assert_int_equal(get32(INNER_STACK - 4), DATA3);
	assert_int_equal(get32(INNER_STACK - 8), STACK_TOP);
	assert_int_equal(get32(INNER_STACK - 12), 0x22222222);
	assert_int_equal(get32(INNER_STACK - 16), 0x11111111);
	assert_int_equal(get32(INNER_STACK - 20), CODE3);
	assert_int_equal(get32(INNER_STACK - 24), CODE + 7);
	/* and back: RETF 8, dropping DS */
	load_segment(SEG_DS, DATA0);
	assert_int_equal(STEP(0xca, 8, 0), NO_EXCEPTION);
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->gpr[RSP], STACK_TOP + 8);
	assert_int_equal(c->seg[SEG_SS].sel, DATA3);
	assert_int_equal(c->seg[SEG_DS].sel, 0);
	assert_true(c->seg[SEG_DS].unusable);
	assert_int_equal(c->rip, CODE + 7);
	/* a gate of DPL 0 */
	protected_mode();
	put_desc(FREE, gate(CODE0, 0x7777, 0x8c, 0));
	enter_level(3);
	assert_int_equal(call_far(FREE | 3, 0), EXC_GP);
	assert_int_equal(error_code(), FREE);
	/* a jump may not change the level */
	protected_mode();
	put_desc(FREE, gate(CODE0, 0x7777, 0xec, 0));
	enter_level(3);
	assert_int_equal(jmp_far(FREE | 3, 0), EXC_GP);
	assert_int_equal(error_code(), CODE0);
	/* an inner stack that is not present, or of the wrong level */
	protected_mode();
	put_desc(FREE, gate(CODE0, 0x7777, 0xec, 0));
	put32(TSS_A + 8, DATA3);
	enter_level(3);
	assert_int_equal(call_far(FREE | 3, 0), SHUTDOWN); /* #TS, whose handler needs the same stack */
	/* 16-bit gate */
	protected_mode();
	put_desc(FREE, gate(CODE0, 0x7777, 0x84, 0));
	assert_int_equal(call_far(FREE, 0), NO_EXCEPTION);
	assert_int_equal(c->gpr[RSP], STACK_TOP - 4);
	assert_int_equal(get16(STACK_TOP - 2), CODE0);
}

static void test_returns(void **state)
{
	protected_mode();
	put32(STACK_TOP, 0x1234);
	put32(STACK_TOP + 4, CODE0);
	assert_int_equal(STEP(0xcb), NO_EXCEPTION);
	assert_int_equal(c->rip, 0x1234);
	protected_mode();
	put32(STACK_TOP, 0x1234);
	put32(STACK_TOP + 4, CODE0 | 3); /* RPL 3, DPL 0 */
	assert_int_equal(STEP(0xcb), EXC_GP);
	protected_mode();
	enter_level(3);
	put32(STACK_TOP, 0x1234);
	put32(STACK_TOP + 4, CODE0);
	assert_int_equal(STEP(0xcb), EXC_GP); /* to an inner level */
	/* IRET to level 3, flags by the level it runs at */
	protected_mode();
	put32(STACK_TOP, 0x1234);
	put32(STACK_TOP + 4, CODE3);
	put32(STACK_TOP + 8, FL_IF | FL_IOPL | FL_CF | FL_RF);
	put32(STACK_TOP + 12, 0x18000);
	put32(STACK_TOP + 16, DATA3);
	assert_int_equal(STEP(0xcf), NO_EXCEPTION);
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->rflags, FL_IF | FL_IOPL | FL_CF | FL_RF | FL_1);
	assert_int_equal(c->gpr[RSP], 0x18000);
	/* IRET at level 3 changes neither IF nor IOPL */
	protected_mode();
	enter_level(3);
	put32(STACK_TOP, 0x1234);
	put32(STACK_TOP + 4, CODE3);
	put32(STACK_TOP + 8, FL_IF | FL_IOPL | FL_ZF);
	assert_int_equal(STEP(0xcf), NO_EXCEPTION);
	assert_int_equal(c->rflags, FL_ZF | FL_1);
	/* SS of the outer stack is bad */
	protected_mode();
	put32(STACK_TOP, 0x1234);
	put32(STACK_TOP + 4, CODE3);
	put32(STACK_TOP + 8, 2);
	put32(STACK_TOP + 12, 0x18000);
	put32(STACK_TOP + 16, 0);
	assert_int_equal(STEP(0xcf), EXC_GP);
	assert_int_equal(c->cpl, 0);
}

static void test_stack_width(void **state)
{
	protected_mode();
	put_desc(FREE, descriptor(0x10000, 0xffff, 0x93, 0)); /* 16-bit stack */
	load_segment(SEG_SS, FREE);
	c->gpr[RSP] = 0xabcd0000;
	c->gpr[RAX] = 0x12345678;
	assert_int_equal(STEP(0x50), NO_EXCEPTION);
	assert_int_equal(c->gpr[RSP], 0xabcdfffc);
	assert_int_equal(get32(0x1fffc), 0x12345678);
	assert_int_equal(STEP(0x5b), NO_EXCEPTION);
	assert_int_equal(c->gpr[RBX], 0x12345678);
	assert_int_equal(c->gpr[RSP], 0xabcd0000);
	/* ENTER with nesting, LEAVE */
	protected_mode();
	c->gpr[RBP] = 0x1f000;
	put32(0x1f000 - 4, 0xaaaa);
	assert_int_equal(STEP(0xc8, 0x10, 0, 2), NO_EXCEPTION);
	assert_int_equal(c->gpr[RBP], STACK_TOP - 4);
	assert_int_equal(get32(STACK_TOP - 4), 0x1f000);
	assert_int_equal(get32(STACK_TOP - 8), 0xaaaa);
	assert_int_equal(get32(STACK_TOP - 12), STACK_TOP - 4);
	assert_int_equal(c->gpr[RSP], STACK_TOP - 12 - 0x10);
	assert_int_equal(STEP(0xc9), NO_EXCEPTION);
	assert_int_equal(c->gpr[RSP], STACK_TOP);
	assert_int_equal(c->gpr[RBP], 0x1f000);
	/* PUSHA and POPA leave ESP alone */
	c->gpr[RDI] = 0xd1;
	assert_int_equal(STEP(0x60), NO_EXCEPTION);
	assert_int_equal(get32(STACK_TOP - 20), STACK_TOP);
	c->gpr[RDI] = 0;
	put32(STACK_TOP - 20, 0xdead);
	assert_int_equal(STEP(0x61), NO_EXCEPTION);
	assert_int_equal(c->gpr[RDI], 0xd1);
	assert_int_equal(c->gpr[RSP], STACK_TOP);
	/* POP [ESP]: the address is taken after the pop */
	put32(STACK_TOP, 0x5555);
	assert_int_equal(STEP(0x8f, 0x04, 0x24), NO_EXCEPTION);
	assert_int_equal(get32(STACK_TOP + 4), 0x5555);
}

static void test_ports(void **state)
{
	protected_mode();
	enter_level(3);
	c->gpr[RDX] = 0x3f8;
	put16(TSS_A + 102, 0x68);
	assert_int_equal(STEP(0xec), EXC_GP); /* the map is beyond the limit */
	protected_mode();
	put_desc(SEL_TSS_A, descriptor(TSS_A, 0x67 + 0x100, 0x8b, 0));
	load_segment(SEG_TR, SEL_TSS_A);
	put16(TSS_A + 102, 0x68);
	memset(ram + TSS_A + 0x68, 0xff, 0x100);
	ram[TSS_A + 0x68 + 0x3f8 / 8] = 0xfe;
	enter_level(3);
	c->gpr[RDX] = 0x3f8;
	assert_int_equal(STEP(0x66, 0xed), EXC_GP); /* two ports, the second is closed */
}

/* User space is asked for no more of REP INS than there is room for: what it has read would be lost. */
static void test_string_input(void **state)
{
	protected_mode();
	c->gpr[RDX] = 0x10;
	c->gpr[RDI] = 0x9000;
	c->gpr[RCX] = 16;
	c->seg[SEG_ES].limit = 0x9006;
	memcpy(ram + CODE, "\xf3\x66\x6d", 3); /* rep insw */
	ram[HANDLERS + 16 * EXC_GP] = 0xf4;
	c->rip = CODE;
	assert_int_equal(vcpu_run(v), 0);
	assert_int_equal(v->run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(v->run->io.count, 3);
	memcpy((uint8_t *)v->run + v->run->io.data_offset, "abcdef", 6);
	assert_int_equal(vcpu_run(v), 0);
	assert_int_equal(v->run->exit_reason, KVM_EXIT_HLT);
	assert_memory_equal(ram + 0x9000, "abcdef\0", 8);
	assert_int_equal(c->gpr[RCX], 13);
	/* 16-bit addresses */
	protected_mode();
	c->gpr[RDX] = 0x10;
	c->gpr[RDI] = 0xfffc;
	c->gpr[RCX] = 16;
	c->seg[SEG_ES].base = 0x800;
	memcpy(ram + CODE, "\x67\xf3\x6d", 3); /* rep insd */
	c->rip = CODE;
	assert_int_equal(vcpu_run(v), 0);
	assert_int_equal(v->run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(v->run->io.count, 1);
	/* real mode with what protected mode left of a 32-bit CS: ECX counts */
	protected_mode();
	c->cr0 = CR0_ET;
	c->gpr[RDX] = 0x10;
	c->gpr[RDI] = 0x9000;
	c->gpr[RCX] = 0x10000;
	cpu_update_mode(c);
	memcpy(ram + CODE, "\xf3\x6c", 2); /* rep insb */
	c->rip = CODE;
	assert_int_equal(vcpu_run(v), 0);
	assert_int_equal(v->run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(v->run->io.count, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data_loads), cmocka_unit_test(test_stack_loads), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_segment_with_rex), cmocka_unit_test(test_string_input),
		cmocka_unit_test(test_visible),	   cmocka_unit_test(test_far_jumps),   cmocka_unit_test(test_call_gates),
		cmocka_unit_test(test_returns),	   cmocka_unit_test(test_stack_width), cmocka_unit_test(test_ports),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
