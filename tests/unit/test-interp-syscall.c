/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SYSENTER and SYSEXIT in long mode, by vendor: bare guests have the vendor of this host only (tests/guest/sysenter.S). */
#include "cpuid.h"
#include "interp-rig.h"

#define CODE64 FREE
#define ENTRY 0x123456789000ull
#define ENTRY_STACK 0x23456789a000ull
#define SYSENTER 0x0f, 0x34
#define SYSEXIT 0x0f, 0x35
#define SYSEXIT_WIDE 0x48, 0x0f, 0x35

static void vendor(const char *name)
{
	struct kvm_cpuid_entry2 e[2] = { { .eax = 1 }, { .function = 1, .edx = 1u << 11 /* SEP */ } };

	memcpy(&e[0].ebx, name, 4);
	memcpy(&e[0].edx, name + 4, 4);
	memcpy(&e[0].ecx, name + 8, 4);
	assert_int_equal(cpuid_set(v, e, 2), 0);
}

/* wide: 64-bit code, else compatibility mode */
static void long_mode(unsigned cpl, bool wide)
{
	protected_mode();
	put_desc(CODE64, descriptor(0, 0xfffff, 0x9b, 0xa));
	for (unsigned n = 0; n < 32; n++) {
		put_idt(2 * n, gate(CODE64, HANDLERS + 16 * n, 0x8e, 0));
		put_idt(2 * n + 1, 0);
	}
	enter_level(cpl);
	c->efer = EFER_LME | EFER_LMA;
	c->seg[SEG_CS].l = wide;
	c->seg[SEG_CS].db = !wide;
	cpu_update_mode(c);
	c->rflags = FL_1 | FL_IF | FL_CF;
	c->sysenter_cs = 0x100;
	c->sysenter_eip = ENTRY;
	c->sysenter_esp = ENTRY_STACK;
	c->gpr[RCX] = ENTRY_STACK + 0x88;
	c->gpr[RDX] = ENTRY + 0x99;
}

static void is_at(u64 rip, u64 rsp, unsigned cs, unsigned mode)
{
	assert_int_equal(c->rip, rip);
	assert_int_equal(c->gpr[RSP], rsp);
	assert_int_equal(c->seg[SEG_CS].sel, cs);
	assert_int_equal(c->seg[SEG_SS].sel, cs + 8);
	assert_int_equal(c->cpl, cs & 3);
	assert_int_equal(c->mode, mode);
}

static void test_intel(void **state)
{
	vendor("GenuineIntel");
	for (int wide = 0; wide < 2; wide++) {
		long_mode(3, wide);
		assert_int_equal(STEP(SYSENTER), NO_EXCEPTION);
		is_at(ENTRY, ENTRY_STACK, 0x100, MODE_LONG64);
		assert_int_equal(c->rflags, FL_1 | FL_CF);
	}
	long_mode(0, true);
	assert_int_equal(STEP(SYSEXIT), NO_EXCEPTION);
	is_at((u32)(ENTRY + 0x99), (u32)(ENTRY_STACK + 0x88), 0x113, MODE_COMPAT32);
	assert_int_equal(c->rflags, FL_1 | FL_IF | FL_CF);
	long_mode(0, true);
	assert_int_equal(STEP(SYSEXIT_WIDE), NO_EXCEPTION);
	is_at(ENTRY + 0x99, ENTRY_STACK + 0x88, 0x123, MODE_LONG64);
	long_mode(0, true);
	c->gpr[RDX] = 1ull << 47;
	assert_int_equal(STEP(SYSEXIT_WIDE), EXC_GP); /* not canonical */
	long_mode(0, true);
	c->gpr[RCX] = 1ull << 47;
	assert_int_equal(STEP(SYSEXIT_WIDE), EXC_GP);
	long_mode(0, true);
	c->sysenter_cs = 3;
	assert_int_equal(STEP(SYSEXIT), EXC_GP);
	long_mode(0, true);
	c->sysenter_cs = 3;
	assert_int_equal(STEP(SYSENTER), EXC_GP);
}

static void test_amd(void **state)
{
	vendor("AuthenticAMD");
	for (int wide = 0; wide < 2; wide++) {
		long_mode(0, wide);
		assert_int_equal(STEP(SYSENTER), EXC_UD);
		long_mode(0, wide);
		assert_int_equal(STEP(SYSEXIT), EXC_UD);
		long_mode(3, wide);
		assert_int_equal(STEP(SYSEXIT), EXC_UD);
	}
	protected_mode();
	enter_level(3);
	c->sysenter_cs = 0x100;
	assert_int_equal(STEP(SYSEXIT), EXC_GP);
	protected_mode();
	c->sysenter_cs = 0x100;
	assert_int_equal(STEP(SYSENTER), NO_EXCEPTION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_intel),
		cmocka_unit_test(test_amd),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
