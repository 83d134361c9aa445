/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The 8259 pair of the software KVM. */
#include "chip-rig.h"

static void init_pair(struct vm *vm, u8 icw4)
{
	const u16 port[2] = { 0x20, 0xa0 };

	for (unsigned i = 0; i < 2; i++) {
		rig_out(vm, port[i], 0x11);
		rig_out(vm, port[i] + 1, (u8)(0x30 + 8 * i));
		rig_out(vm, port[i] + 1, i ? 2 : 4);
		rig_out(vm, port[i] + 1, icw4);
		rig_out(vm, port[i] + 1, 0);
	}
}

static struct vm *start(void)
{
	struct vm *vm = rig_create(1, true, false);

	init_pair(vm, 1);
	return vm;
}

static void pulse(struct vm *vm, u32 gsi)
{
	irq_set_line(vm, gsi, 1, 0);
	irq_set_line(vm, gsi, 0, 0);
}

static void nesting(void **state)
{
	struct vm *vm = start();
	struct vcpu *v = vm->vcpu[0];

	pulse(vm, 4);
	assert_int_equal(lapic_pending(v), 0x34);
	assert_true(rig_kicks[0] > 0);
	assert_int_equal(lapic_accept(v), 0x34);
	assert_int_equal(lapic_pending(v), -1);
	pulse(vm, 5);
	assert_int_equal(lapic_pending(v), -1); /* lower */
	pulse(vm, 1);
	assert_int_equal(lapic_accept(v), 0x31);
	rig_out(vm, 0x20, 0x0b); /* read ISR */
	assert_int_equal(rig_in(vm, 0x20), 0x12);
	rig_out(vm, 0x20, 0x0a);
	assert_int_equal(rig_in(vm, 0x20), 0x20);
	rig_out(vm, 0x20, 0x20); /* ends 1 */
	assert_int_equal(lapic_pending(v), -1);
	rig_out(vm, 0x20, 0x64); /* ends 4 */
	assert_int_equal(lapic_accept(v), 0x35);
	rig_destroy(vm);
}

static void slave(void **state)
{
	struct vm *vm = start();
	struct vcpu *v = vm->vcpu[0];

	pulse(vm, 12);
	assert_int_equal(lapic_pending(v), 0x3c);
	assert_int_equal(lapic_accept(v), 0x3c);
	pulse(vm, 3);
	assert_int_equal(lapic_pending(v), -1); /* IRQ 2 is in service */
	rig_out(vm, 0xa0, 0x20);
	assert_int_equal(lapic_pending(v), -1);
	rig_out(vm, 0x20, 0x20);
	assert_int_equal(lapic_accept(v), 0x33);
	rig_destroy(vm);
}

static void masks_and_levels(void **state)
{
	struct vm *vm = start();
	struct vcpu *v = vm->vcpu[0];

	rig_out(vm, 0x21, 0x10);
	assert_int_equal(rig_in(vm, 0x21), 0x10);
	pulse(vm, 4);
	assert_int_equal(lapic_pending(v), -1);
	rig_out(vm, 0x21, 0);
	assert_int_equal(lapic_accept(v), 0x34);
	rig_out(vm, 0x20, 0x20);
	rig_out(vm, 0x4d0, 0xff);
	rig_out(vm, 0x4d1, 0xff);
	assert_int_equal(rig_in(vm, 0x4d0), 0xf8);
	assert_int_equal(rig_in(vm, 0x4d1), 0xde);
	irq_set_line(vm, 5, 1, 0);
	assert_int_equal(lapic_accept(v), 0x35);
	rig_out(vm, 0x20, 0x20);
	assert_int_equal(lapic_accept(v), 0x35); /* the line is still up */
	irq_set_line(vm, 5, 0, 0);
	rig_out(vm, 0x20, 0x20);
	assert_int_equal(lapic_pending(v), -1);
	irq_set_line(vm, 5, 1, 0);
	irq_set_line(vm, 5, 0, 0); /* gone before anybody looked */
	assert_int_equal(lapic_pending(v), -1);
	rig_destroy(vm);
}

static void automatic_and_rotation(void **state)
{
	struct vm *vm = start();
	struct vcpu *v = vm->vcpu[0];

	pulse(vm, 3);
	assert_int_equal(lapic_accept(v), 0x33);
	rig_out(vm, 0x20, 0xa0); /* rotate on EOI: 3 is lowest now */
	pulse(vm, 3);
	pulse(vm, 6);
	assert_int_equal(lapic_accept(v), 0x36);
	rig_out(vm, 0x20, 0x66);
	rig_out(vm, 0x20, 0xc7); /* 7 lowest again */
	assert_int_equal(lapic_accept(v), 0x33);
	init_pair(vm, 3);
	pulse(vm, 4);
	assert_int_equal(lapic_accept(v), 0x34);
	pulse(vm, 6);
	assert_int_equal(lapic_accept(v), 0x36); /* nothing stayed in service */
	rig_out(vm, 0x20, 0x0c); /* poll */
	assert_int_equal(rig_in(vm, 0x20), 7);
	pulse(vm, 5);
	rig_out(vm, 0x20, 0x0c);
	assert_int_equal(rig_in(vm, 0x20), 0x85);
	assert_int_equal(lapic_pending(v), -1);
	rig_destroy(vm);
}

static void virtual_wire(void **state)
{
	struct vm *vm = start();
	struct vcpu *v = vm->vcpu[0];

	rig_apic_enable(v);
	rig_apic_write(v, 0x350, 0x10700);
	pulse(vm, 4);
	assert_int_equal(lapic_pending(v), -1); /* LINT0 masked */
	rig_apic_write(v, 0x350, 0x700);
	assert_int_equal(lapic_pending(v), 0x34);
	rig_apic_write(v, 0x350, 0x10700);
	assert_true(lapic_set_base(v, 0xfee00100)); /* LAPIC off: INTR goes to the processor */
	assert_int_equal(lapic_accept(v), 0x34);
	rig_destroy(vm);
}

static void state_round_trip(void **state)
{
	struct vm *vm = start(), *other = rig_create(1, true, false);
	struct kvm_irqchip s[2] = { { .chip_id = 0 }, { .chip_id = 1 } }, t;

	pulse(vm, 12);
	assert_int_equal(lapic_accept(vm->vcpu[0]), 0x3c);
	pulse(vm, 8);
	pulse(vm, 1);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(irqchip_get(vm, &s[i]), 0);
		assert_int_equal(irqchip_set(other, &s[i]), 0);
		t = (struct kvm_irqchip){ .chip_id = i };
		assert_int_equal(irqchip_get(other, &t), 0);
		assert_memory_equal(&s[i], &t, sizeof(t));
	}
	assert_int_equal(s[1].chip.pic.isr, 0x10);
	assert_int_equal(lapic_accept(other->vcpu[0]), 0x31);
	s[0].chip.pic.priority_add = 0xff; /* hostile */
	s[0].chip.pic.elcr_mask = 0xff;
	assert_int_equal(irqchip_set(other, &s[0]), 0);
	assert_int_equal(irqchip_get(other, &t), 0);
	rig_destroy(vm);
	rig_destroy(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nesting),		  cmocka_unit_test(slave),
		cmocka_unit_test(masks_and_levels),	  cmocka_unit_test(automatic_and_rotation),
		cmocka_unit_test(virtual_wire),		  cmocka_unit_test(state_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
