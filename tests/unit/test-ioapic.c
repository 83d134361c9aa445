/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* IOAPIC and GSI routing of the software KVM. */
#include "chip-rig.h"

#define LEVEL (1ull << 15)
#define MASKED (1ull << 16)
#define REMOTE_IRR (1u << 14)

static struct vm *start(u32 vcpus)
{
	struct vm *vm = rig_create(vcpus, true, false);

	for (u32 i = 0; i < vcpus; i++)
		rig_apic_enable(vm->vcpu[i]);
	return vm;
}

static void eoi(struct vcpu *v)
{
	rig_apic_write(v, 0xb0, 0);
}

static void registers(void **state)
{
	struct vm *vm = start(1);
	u8 byte;

	assert_int_equal(rig_ioapic_read(vm, 1), 23u << 16 | 0x11);
	rig_ioapic_write(vm, 0, 5u << 24);
	assert_int_equal(rig_ioapic_read(vm, 0), 5u << 24);
	assert_int_equal(rig_ioapic_read(vm, 0x10), MASKED);
	rig_ioapic_rte(vm, 23, 0xab00000000010000ull | 0x77);
	assert_int_equal(rig_ioapic_read(vm, 0x3e), MASKED | 0x77);
	assert_int_equal(rig_ioapic_read(vm, 0x3f), 0xab000000);
	assert_int_equal(rig_ioapic_read(vm, 0x40), 0xffffffff); /* no such pin */
	rig_ioapic_write(vm, 0x10, MASKED | REMOTE_IRR | 1u << 12 | LEVEL);
	assert_int_equal(rig_ioapic_read(vm, 0x10), MASKED | LEVEL); /* read-only bits */
	assert_true(chips_mmio(vm->vcpu[0], 0xfec00010, &byte, 1, false));
	assert_false(chips_mmio(vm->vcpu[0], 0xfec00100, &byte, 1, false));
	rig_destroy(vm);
}

static void edges(void **state)
{
	struct vm *vm = start(2);
	struct vcpu *v = vm->vcpu[1];

	assert_int_equal(irq_set_line(vm, 20, 1, 0), -1); /* masked */
	irq_set_line(vm, 20, 0, 0);
	rig_ioapic_rte(vm, 20, 1ull << 56 | 0x41);
	assert_int_equal(irq_set_line(vm, 20, 1, 0), 1);
	assert_int_equal(irq_set_line(vm, 20, 1, 0), 0); /* no edge */
	assert_int_equal(lapic_accept(v), 0x41);
	eoi(v);
	assert_int_equal(lapic_pending(v), -1);
	irq_set_line(vm, 20, 0, 0);
	assert_int_equal(irq_set_line(vm, 20, 1, 0), 1);
	assert_int_equal(lapic_pending(v), 0x41);
	assert_int_equal(lapic_pending(vm->vcpu[0]), -1);
	assert_int_equal(irq_set_line(vm, 24, 1, 0), -1); /* no route */
	rig_destroy(vm);
}

static void levels(void **state)
{
	struct vm *vm = start(1);
	struct vcpu *v = vm->vcpu[0];

	rig_ioapic_rte(vm, 17, LEVEL | 0x51);
	assert_int_equal(irq_set_line(vm, 17, 1, 0), 1);
	assert_int_equal(rig_ioapic_read(vm, 0x10 + 34), LEVEL | REMOTE_IRR | 0x51);
	assert_int_equal(irq_set_line(vm, 17, 1, 0), -1); /* waits for EOI */
	assert_int_equal(lapic_accept(v), 0x51);
	assert_int_equal(rig_apic_read(v, 0x180 + 2 * 16), 1u << 17); /* TMR */
	eoi(v); /* still up: again */
	assert_int_equal(lapic_accept(v), 0x51);
	irq_set_line(vm, 17, 0, 0);
	eoi(v);
	assert_int_equal(lapic_pending(v), -1);
	assert_int_equal(rig_ioapic_read(vm, 0x10 + 34), LEVEL | 0x51);
	/* two sources share the line */
	irq_set_line(vm, 17, 1, 0);
	irq_set_line(vm, 17, 1, 2);
	irq_set_line(vm, 17, 0, 0);
	assert_int_equal(lapic_accept(v), 0x51);
	eoi(v);
	assert_int_equal(lapic_accept(v), 0x51);
	irq_set_line(vm, 17, 0, 2);
	eoi(v);
	assert_int_equal(lapic_pending(v), -1);
	/* up while masked, then unmasked */
	rig_ioapic_rte(vm, 17, MASKED | LEVEL | 0x51);
	assert_int_equal(irq_set_line(vm, 17, 1, 0), -1);
	assert_int_equal(lapic_pending(v), -1);
	rig_ioapic_write(vm, 0x10 + 34, LEVEL | 0x51);
	assert_int_equal(lapic_pending(v), 0x51);
	rig_ioapic_write(vm, 0x10 + 34, MASKED | 0x51); /* edge: remote IRR goes */
	assert_int_equal(rig_ioapic_read(vm, 0x10 + 34), MASKED | 0x51);
	rig_destroy(vm);
}

static struct kvm_irq_routing *table(u32 nr)
{
	struct kvm_irq_routing *r = calloc(1, sizeof(*r) + nr * sizeof(r->entries[0]));

	assert_non_null(r);
	r->nr = nr;
	return r;
}

static void routing(void **state)
{
	struct vm *vm = start(1);
	struct vcpu *v = vm->vcpu[0];
	struct kvm_irq_routing *r = table(3);

	r->entries[0] = (struct kvm_irq_routing_entry){ .gsi = 0, .type = KVM_IRQ_ROUTING_IRQCHIP,
							.u.irqchip = { KVM_IRQCHIP_IOAPIC, 2 } };
	r->entries[1] = (struct kvm_irq_routing_entry){ .gsi = 0, .type = KVM_IRQ_ROUTING_IRQCHIP,
							.u.irqchip = { KVM_IRQCHIP_PIC_MASTER, 0 } };
	r->entries[2] = (struct kvm_irq_routing_entry){ .gsi = 100, .type = KVM_IRQ_ROUTING_MSI,
							.u.msi = { .address_lo = 0xfee00000, .data = 0x99 } };
	assert_int_equal(irq_set_routing(vm, r), 0);
	rig_ioapic_rte(vm, 2, 0x42);
	rig_apic_write(v, 0x350, 1u << 16);
	irq_set_line(vm, 0, 1, 0);
	assert_int_equal(lapic_accept(v), 0x42);
	assert_int_equal(irq_set_line(vm, 100, 1, 0), 1);
	assert_int_equal(lapic_accept(v), 0x99);
	assert_int_equal(irq_set_line(vm, 100, 0, 0), -1);
	assert_int_equal(irq_set_line(vm, 5, 1, 0), -1); /* the old table is gone */
	r->entries[2].u.msi.data = 0xa9;
	r->entries[1].u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC; /* twice on one chip */
	assert_int_equal(irq_set_routing(vm, r), -EINVAL);
	assert_int_equal(irq_set_line(vm, 100, 1, 0), 1);
	assert_int_equal(lapic_pending(v), -1); /* class 9 is in service: the old route holds */
	r->entries[1] = (struct kvm_irq_routing_entry){ .gsi = 1, .type = KVM_IRQ_ROUTING_HV_SINT };
	assert_int_equal(irq_set_routing(vm, r), -EINVAL);
	r->entries[1] = (struct kvm_irq_routing_entry){ .gsi = 4096, .type = KVM_IRQ_ROUTING_MSI };
	assert_int_equal(irq_set_routing(vm, r), -EINVAL);
	r->entries[1] = (struct kvm_irq_routing_entry){ .gsi = 1, .type = KVM_IRQ_ROUTING_IRQCHIP,
							.u.irqchip = { KVM_IRQCHIP_IOAPIC, 24 } };
	assert_int_equal(irq_set_routing(vm, r), -EINVAL);
	free(r);
	rig_destroy(vm);
}

static void state_round_trip(void **state)
{
	struct vm *vm = start(1), *other = start(1);
	struct kvm_irqchip s = { .chip_id = KVM_IRQCHIP_IOAPIC }, t = s;

	rig_ioapic_rte(vm, 9, LEVEL | 0x61);
	rig_ioapic_rte(vm, 10, LEVEL | MASKED | 0x62);
	irq_set_line(vm, 9, 1, 0);
	irq_set_line(vm, 10, 1, 0);
	assert_int_equal(irqchip_get(vm, &s), 0);
	assert_int_equal(s.chip.ioapic.irr, 3u << 9);
	assert_true(s.chip.ioapic.redirtbl[9].fields.remote_irr);
	assert_int_equal(irqchip_set(other, &s), 0);
	assert_int_equal(irqchip_get(other, &t), 0);
	assert_memory_equal(&s, &t, sizeof(s));
	assert_int_equal(lapic_pending(other->vcpu[0]), -1); /* on its way in the LAPIC's state, not sent twice */
	s.chip.ioapic.redirtbl[9].fields.remote_irr = 0;
	assert_int_equal(irqchip_set(other, &s), 0);
	assert_int_equal(lapic_pending(other->vcpu[0]), 0x61);
	s.chip_id = 3;
	assert_int_equal(irqchip_get(vm, &s), -EINVAL);
	rig_destroy(vm);
	rig_destroy(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers), cmocka_unit_test(edges),		cmocka_unit_test(levels),
		cmocka_unit_test(routing),   cmocka_unit_test(state_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
