/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks that are translated, not run. The tables of a translation in progress (struct tx) hold what the worst block has for
 * them: as many instructions as there may be, each with the most of one kind. And nothing is emitted that the host lacks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "cpu/host.h"
#include "cpuid.h"
#include "tx.h"

#define GPA 0x10000u

static struct vm *vm;
static struct cpu *c;
static u8 page[PAGE_SIZE] __attribute__((aligned(4096)));
static size_t used;

static int setup(void **state)
{
	struct vcpu *v;

	(void)state;
	unsetenv("KVCORE_JIT");
	assert_int_equal(vm_create(&vm), 0);
	assert_int_equal(vcpu_create(vm, 0, &v), 0);
	c = &v->cpu;
	c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXSAVE | CR4_FSGSBASE | CR4_SMEP | CR4_SMAP;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vm_put(vm);
	return 0;
}

static void begin(void)
{
	memset(page, 0xcc, sizeof(page));
	used = 0;
}

static void add(unsigned times, const char *bytes, size_t size)
{
	for (; times; times--, used += size)
		memcpy(page + used, bytes, size);
}
#define ADD(times, bytes) add(times, bytes, sizeof(bytes) - 1)

static const struct tx *translate(u8 view, u32 insns)
{
	struct jit *j = vm->jit;
	struct block_source src = { .host = page, .key = view | KEY_VEC };

	if (!j)
		skip();
	jit_flush(j);
	src.page = page_create(j, GPA);
	assert_non_null(block_translate(j, c, &src));
	assert_int_equal(j->tx->n, insns);
	assert_true(j->tx->slow_count <= ARRAY_SIZE(j->tx->slow));
	assert_true(j->tx->interp_count <= ARRAY_SIZE(j->tx->interp));
	assert_true(j->tx->edge_count <= ARRAY_SIZE(j->tx->edge));
	assert_true(j->tx->side_count <= ARRAY_SIZE(j->tx->side));
	assert_true(j->tx->site_count <= ARRAY_SIZE(j->tx->site));
	return j->tx;
}

/* Each PUSH looks up the stack's page twice, as its operand is far away, and may fault there; so may each ADDPS. */
static void sites(void **state)
{
	(void)state;
	begin();
	ADD(MAX_GROUPS / 2, "\xff\xb4\x24\x00\x10\x00\x00"); /* push qword [rsp + 0x1000] */
	ADD(BLOCK_INSNS - MAX_GROUPS / 2, "\x0f\x58\xc1");   /* addps xmm0, xmm1 */
	assert_int_equal(translate(VIEW_USER, BLOCK_INSNS)->site_count, BLOCK_INSNS + MAX_GROUPS / 2);
}

/* WRFSBASE goes to the interpreter for two causes, SYSRET for four. */
static void interpreted(void **state)
{
	(void)state;
	begin();
	ADD(BLOCK_INSNS - 1, "\xf3\x48\x0f\xae\xd0"); /* wrfsbase rax */
	ADD(1, "\x48\x0f\x07");
	assert_int_equal(translate(VIEW_KERNEL, BLOCK_INSNS)->interp_count, 2 * (BLOCK_INSNS - 1) + 4);
}

static unsigned rorx_in(const struct jit *j)
{
	const struct block *b = j->blocks[j->block_count - 1];
	unsigned count = 0;

	for (u32 at = b->start; at + 4 <= b->code_end; at++)
		count += j->code_w[at] == 0xc4 && (j->code_w[at + 1] & 31) == 3 && (j->code_w[at + 2] & 3) == 3 &&
			 j->code_w[at + 3] == 0xf0;
	return count;
}

/* RORX is BMI2's. */
static void rotations(void **state)
{
	(void)state;
	begin();
	ADD(1, "\x48\x8b\x00\xc3"); /* mov rax, [rax]; ret */
	emit_init(true);
	translate(VIEW_USER, 2);
	assert_int_equal(rorx_in(vm->jit), 2);
	emit_init(false);
	translate(VIEW_USER, 2);
	assert_int_equal(rorx_in(vm->jit), 0);
}

static void see_gates(bool ret_open[GATE_COUNT])
{
	for (unsigned g = 0; g < GATE_COUNT; g++)
		ret_open[g] = host_cpuid_gate(c, g);
}

/* Whatever CPUID says, instructions that the host lacks raise #UD: copied to it they would end the process. */
static void gates(void **state)
{
	bool at_first[GATE_COUNT], all[GATE_COUNT], offered[GATE_COUNT];
	struct kvm_cpuid_entry2 table[80];
	int count = cpuid_supported(table, ARRAY_SIZE(table));

	(void)state;
	assert_true(count > 0);
	see_gates(at_first);
	assert_int_equal(cpuid_set(c->vcpu, table, (u32)count), 0);
	see_gates(offered);
	for (int n = 0; n < count; n++)
		table[n].eax = table[n].ebx = table[n].ecx = table[n].edx = ~0u;
	assert_int_equal(cpuid_set(c->vcpu, table, (u32)count), 0);
	see_gates(all);
	assert_true(offered[GATE_SSE2] && !offered[GATE_XSAVES] && !offered[GATE_MONITOR]);
	offered[GATE_MONITOR] = true; /* needs nothing of the host */
	assert_memory_equal(at_first, offered, sizeof(offered));
	assert_memory_equal(all, offered, sizeof(offered));
	assert_int_equal(cpuid_set(c->vcpu, table, 0), 0);
	see_gates(all);
	for (unsigned g = 1; g < GATE_COUNT; g++)
		assert_false(all[g]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sites), cmocka_unit_test(interpreted), cmocka_unit_test(rotations), cmocka_unit_test(gates),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
