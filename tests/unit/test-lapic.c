/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The LAPIC of the software KVM: priorities, registers in both modes, messages, timer, state. */
#include <time.h>
#include "chip-rig.h"

#define ICR_ASSERT (1u << 14)

static void reset_state(void **state)
{
	struct vm *vm = rig_create(2, true, false);
	struct vcpu *v = vm->vcpu[1];

	assert_int_equal(lapic_base(vm->vcpu[0]), 0xfee00900);
	assert_int_equal(lapic_base(v), 0xfee00800);
	assert_int_equal(rig_apic_read(v, 0x20), 1u << 24);
	assert_int_equal(rig_apic_read(v, 0x30), 0x50014);
	assert_int_equal(rig_apic_read(v, 0xf0), 0xff);
	assert_int_equal(rig_apic_read(v, 0xe0), 0xffffffff);
	for (u32 reg = 0x320; reg <= 0x370; reg += 16)
		assert_int_equal(rig_apic_read(v, reg), 0x10000);
	assert_int_equal(rig_apic_read(vm->vcpu[0], 0x350), 0x700); /* virtual wire */
	rig_destroy(vm);
}

static void writable_bits(void **state)
{
	struct vm *vm = rig_create(1, true, false);
	struct vcpu *v = vm->vcpu[0];
	u32 value = 0x55;

	rig_apic_write(v, 0x320, 0x20);
	assert_int_equal(rig_apic_read(v, 0x320), 0x10020); /* switched off: masked */
	rig_apic_enable(v);
	rig_apic_write(v, 0x320, ~0u);
	assert_int_equal(rig_apic_read(v, 0x320), 0x710ff);
	rig_apic_write(v, 0x350, ~0u);
	assert_int_equal(rig_apic_read(v, 0x350), 0x1f7ff);
	rig_apic_write(v, 0x370, ~0u);
	assert_int_equal(rig_apic_read(v, 0x370), 0x110ff);
	rig_apic_write(v, 0x30, ~0u);
	assert_int_equal(rig_apic_read(v, 0x30), 0x50014);
	rig_apic_write(v, 0xd0, ~0u);
	assert_int_equal(rig_apic_read(v, 0xd0), 0xff000000);
	rig_apic_write(v, 0xe0, 0);
	assert_int_equal(rig_apic_read(v, 0xe0), 0x0fffffff);
	rig_apic_write(v, 0x370, 0x44);
	rig_apic_write(v, 0xf0, 0xff); /* off: all masked */
	assert_int_equal(rig_apic_read(v, 0x370), 0x10044);
	assert_true(chips_mmio(v, 0xfee00081, &value, 4, true)); /* crosses a register: ignored */
	assert_int_equal(rig_apic_read(v, 0x80), 0);
	assert_false(chips_mmio(v, 0xfee01000, &value, 4, false));
	rig_destroy(vm);
}

static void priorities(void **state)
{
	struct vm *vm = rig_create(1, true, false);
	struct vcpu *v = vm->vcpu[0];
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x41 };

	assert_int_equal(irq_send_msi(vm, &msi), 0); /* switched off by software */
	rig_apic_enable(v);
	assert_int_equal(irq_send_msi(vm, &msi), 1);
	assert_int_equal(rig_kicks[0], 1);
	msi.data = 0x63;
	irq_send_msi(vm, &msi);
	assert_int_equal(rig_apic_read(v, 0x200 + 2 * 16), 1u << 1);
	assert_int_equal(lapic_pending(v), 0x63);
	assert_int_equal(lapic_accept(v), 0x63);
	assert_int_equal(rig_apic_read(v, 0xa0), 0x60);
	assert_int_equal(lapic_pending(v), -1); /* a lower class waits */
	assert_int_equal(lapic_accept(v), -1);
	msi.data = 0x71;
	irq_send_msi(vm, &msi);
	assert_int_equal(lapic_accept(v), 0x71); /* nests */
	rig_apic_write(v, 0xb0, 0);
	assert_int_equal(lapic_pending(v), -1);
	rig_apic_write(v, 0xb0, 0);
	assert_int_equal(lapic_pending(v), 0x41);
	lapic_set_tpr(v, 4);
	assert_int_equal(rig_apic_read(v, 0x80), 0x40);
	assert_int_equal(lapic_pending(v), -1);
	lapic_set_tpr(v, 3);
	assert_int_equal(lapic_get_tpr(v), 3);
	assert_int_equal(lapic_accept(v), 0x41);
	assert_int_equal(lapic_pending(v), -1);
	rig_apic_write(v, 0x80, 0x52); /* by the register, and nothing is requested */
	assert_int_equal(rig_apic_read(v, 0xa0), 0x52);
	rig_apic_write(v, 0x80, 0);
	assert_int_equal(rig_apic_read(v, 0xa0), 0x40);
	rig_destroy(vm);
}

#define PV_EOI 0x4b564d04u

/* The guest's memory is rig_memory; a guest that takes the offer clears the byte. */
static void pv_eoi(void **state)
{
	struct vm *vm = rig_create(1, true, false);
	struct vcpu *v = vm->vcpu[0];
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x41 };
	u64 value;

	rig_apic_enable(v);
	assert_false(lapic_msr_write(v, PV_EOI, 8 | 3));
	assert_false(lapic_msr_write(v, PV_EOI, sizeof(rig_memory) | 1)); /* no memory there */
	assert_true(lapic_msr_write(v, PV_EOI, 8 | 1));
	assert_true(lapic_msr_read(v, PV_EOI, &value));
	assert_int_equal(value, 9);
	irq_send_msi(vm, &msi);
	assert_int_equal(lapic_accept(v), 0x41);
	assert_int_equal(rig_memory[8], 1);
	rig_memory[8] = 0;
	assert_int_equal(rig_apic_read(v, 0xa0), 0); /* not in service any more */

	irq_send_msi(vm, &msi);
	assert_int_equal(lapic_accept(v), 0x41);
	msi.data = 0x42;
	irq_send_msi(vm, &msi);
	assert_int_equal(lapic_pending(v), -1); /* still in service, and the guest has to say when it is not */
	assert_int_equal(rig_memory[8], 0);
	assert_int_equal(rig_apic_read(v, 0xa0), 0x40);
	msi.data = 0x63;
	irq_send_msi(vm, &msi);
	assert_int_equal(lapic_accept(v), 0x63);
	assert_int_equal(rig_memory[8], 0); /* 0x42 waits */
	rig_apic_write(v, 0xb0, 0);
	rig_apic_write(v, 0xb0, 0);
	assert_int_equal(lapic_accept(v), 0x42);
	assert_int_equal(rig_memory[8], 1);
	rig_apic_write(v, 0xb0, 0); /* a guest may end it as ever */
	assert_int_equal(rig_memory[8], 0);
	assert_int_equal(rig_apic_read(v, 0xa0), 0);

	irq_send_msi(vm, &msi);
	assert_int_equal(lapic_accept(v), 0x63);
	assert_true(lapic_msr_write(v, PV_EOI, 8 | 1)); /* the same again: nothing has ended */
	assert_int_equal(rig_apic_read(v, 0xa0), 0x60);
	assert_true(lapic_msr_write(v, PV_EOI, 0));
	assert_int_equal(rig_memory[8], 0);
	assert_int_equal(rig_apic_read(v, 0xa0), 0x60);
	rig_destroy(vm);
}

static void deliveries(void **state)
{
	struct vm *vm = rig_create(4, true, false);
	struct vcpu **v = vm->vcpu;

	for (u32 i = 0; i < 4; i++) {
		rig_apic_enable(v[i]);
		rig_apic_write(v[i], 0xd0, 1u << (24 + i));
	}
	rig_apic_write(v[0], 0x310, 2u << 24);
	rig_apic_write(v[0], 0x300, ICR_ASSERT | 0x50);
	assert_int_equal(lapic_pending(v[2]), 0x50);
	assert_int_equal(lapic_pending(v[1]), -1);
	rig_apic_write(v[0], 0x310, 0xau << 24); /* logical flat: 1 and 3 */
	rig_apic_write(v[0], 0x300, ICR_ASSERT | 1u << 11 | 0x51);
	assert_int_equal(lapic_accept(v[1]), 0x51);
	assert_int_equal(lapic_accept(v[3]), 0x51);
	assert_int_equal(lapic_pending(v[0]), -1);
	rig_apic_write(v[0], 0x300, ICR_ASSERT | 3u << 18 | 0x61); /* all but self */
	assert_int_equal(lapic_pending(v[0]), -1);
	assert_int_equal(lapic_accept(v[3]), 0x61);
	rig_apic_write(v[0], 0x300, 1u << 18 | 0x62); /* self */
	assert_int_equal(lapic_accept(v[0]), 0x62);
	rig_apic_write(v[1], 0x310, 3u << 24);
	rig_apic_write(v[1], 0x300, ICR_ASSERT | 4u << 8); /* NMI */
	assert_true(v[3]->nmi_pending);
	rig_apic_write(v[0], 0x300, 3u << 18 | 5u << 8 | 1u << 15 | ICR_ASSERT); /* INIT to the others */
	assert_false(v[0]->init_pending);
	assert_true(v[1]->init_pending && v[2]->init_pending && v[3]->init_pending);
	v[1]->init_pending = false;
	rig_apic_write(v[0], 0x300, 3u << 18 | 5u << 8 | 1u << 15); /* de-assert */
	assert_false(v[1]->init_pending);
	rig_apic_write(v[0], 0x310, 1u << 24);
	rig_apic_write(v[0], 0x300, 6u << 8 | 0x9a); /* SIPI */
	assert_true(v[1]->sipi_pending);
	assert_int_equal(v[1]->sipi_vector, 0x9a);
	assert_false(v[2]->sipi_pending);
	rig_destroy(vm);
}

static void clusters_and_lowest(void **state)
{
	struct vm *vm = rig_create(4, true, false);
	struct vcpu **v = vm->vcpu;
	struct kvm_msi msi = { .address_lo = 0xfee00000 | 0xffu << 12 | 4, .data = 0x100 | 0x41 };
	u32 taken = 0;

	for (u32 i = 0; i < 4; i++) {
		rig_apic_enable(v[i]);
		rig_apic_write(v[i], 0xe0, 0); /* cluster model */
		rig_apic_write(v[i], 0xd0, (i / 2 << 4 | 1u << (i & 1)) << 24);
	}
	rig_apic_write(v[0], 0x310, 0x13u << 24);
	rig_apic_write(v[0], 0x300, ICR_ASSERT | 1u << 11 | 0x55);
	assert_int_equal(lapic_pending(v[0]), -1);
	assert_int_equal(lapic_accept(v[2]), 0x55);
	assert_int_equal(lapic_accept(v[3]), 0x55);
	rig_apic_write(v[2], 0xb0, 0);
	rig_apic_write(v[3], 0xb0, 0);
	assert_int_equal(irq_send_msi(vm, &msi), 1); /* lowest priority: one of all */
	for (u32 i = 0; i < 4; i++)
		taken += lapic_pending(v[i]) == 0x41;
	assert_int_equal(taken, 1);
	msi.address_lo = 0xfee00000 | 9u << 12;
	assert_int_equal(irq_send_msi(vm, &msi), -1); /* nobody */
	msi.flags = 2;
	assert_int_equal(irq_send_msi(vm, &msi), -EINVAL);
	rig_destroy(vm);
}

static void x2apic(void **state)
{
	struct vm *vm = rig_create(20, true, false);
	struct vcpu *v = vm->vcpu[18];
	struct kvm_msi msi = { .address_lo = 0xfee00000 | 0xffu << 12, .data = 0x77 };
	u64 value;
	u32 word;

	assert_false(lapic_msr_read(v, 0x802, &value)); /* xAPIC mode */
	for (u32 i = 0; i < 20; i++)
		rig_x2apic(vm->vcpu[i]);
	assert_true(lapic_msr_read(v, 0x802, &value));
	assert_int_equal(value, 18);
	assert_true(lapic_msr_read(v, 0x80d, &value));
	assert_int_equal(value, 1u << 16 | 1u << 2);
	assert_true(chips_mmio(v, 0xfee00020, &word, 4, false));
	assert_int_equal(word, 0xffffffff); /* the page is gone */
	assert_false(lapic_msr_write(v, 0x802, 1));
	assert_false(lapic_msr_read(v, 0x80e, &value));  /* no DFR */
	assert_false(lapic_msr_write(v, 0x831, 0));      /* no ICR2 */
	assert_false(lapic_msr_write(v, 0x80b, 1));
	assert_false(lapic_msr_write(v, 0x828, 1));
	assert_false(lapic_msr_write(v, 0x808, 1ull << 32));
	assert_false(lapic_msr_write(v, 0x830, 1u << 13));
	assert_false(lapic_msr_write(v, 0x1b, 0xfee00800)); /* back to xAPIC only through off */
	assert_true(lapic_msr_write(v, 0x830, 19ull << 32 | 0x91));
	assert_true(lapic_msr_read(v, 0x830, &value));
	assert_true(value == (19ull << 32 | 0x91));
	assert_int_equal(lapic_accept(vm->vcpu[19]), 0x91);
	assert_true(lapic_msr_write(v, 0x830, (1ull << 16 | 3) << 32 | 1u << 11 | 0x92)); /* logical: 16 and 17 */
	assert_int_equal(lapic_pending(vm->vcpu[16]), 0x92);
	assert_int_equal(lapic_pending(vm->vcpu[17]), 0x92);
	assert_int_equal(lapic_pending(vm->vcpu[0]), -1);
	assert_true(lapic_msr_write(v, 0x83f, 0x93));
	assert_int_equal(lapic_accept(v), 0x93);
	assert_true(lapic_msr_write(v, 0x80b, 0));
	assert_true(lapic_msr_write(v, 0x830, 0xffffffffull << 32 | 0xa1));
	for (u32 i = 0; i < 20; i++)
		assert_int_equal(lapic_accept(vm->vcpu[i]), 0xa1);
	for (u32 i = 0; i < 20; i++)
		lapic_msr_write(vm->vcpu[i], 0x80b, 0);
	assert_int_equal(irq_send_msi(vm, &msi), 20); /* 8-bit broadcast of devices */
	vm->caps_enabled = KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK;
	assert_int_equal(irq_send_msi(vm, &msi), -1);
	rig_destroy(vm);
}

static void pv_ipi(void **state)
{
	struct vm *vm = rig_create(3, true, false);

	for (u32 i = 0; i < 3; i++)
		rig_x2apic(vm->vcpu[i]);
	assert_int_equal(lapic_pv_ipi(vm, 6, 0, 0, 0xf1, true), 2);
	assert_int_equal(lapic_pending(vm->vcpu[0]), -1);
	assert_int_equal(lapic_pending(vm->vcpu[1]), 0xf1);
	assert_int_equal(lapic_pending(vm->vcpu[2]), 0xf1);
	assert_int_equal(lapic_pv_ipi(vm, ~0ull, ~0ull, 1, 0x400, true), 2);
	assert_true(vm->vcpu[2]->nmi_pending && !vm->vcpu[0]->nmi_pending);
	assert_true(lapic_pv_ipi(vm, 1, 0, 0, 0x800, true) == (u64)-EINVAL);
	rig_destroy(vm);
}

static void timer_counts(void **state)
{
	struct vm *vm = rig_create(1, true, false);
	struct vcpu *v = vm->vcpu[0];

	rig_now = 1000000000;
	rig_apic_enable(v);
	rig_apic_write(v, 0x320, 0x30);
	rig_apic_write(v, 0x3e0, 0xb); /* divide by 1 */
	rig_apic_write(v, 0x380, 5000000);
	assert_true(lapic_deadline(v) == rig_now + 5000000);
	rig_now += 2000000;
	assert_int_equal(rig_apic_read(v, 0x390), 3000000);
	lapic_timer_tick(v);
	assert_int_equal(lapic_pending(v), -1);
	rig_apic_write(v, 0x3e0, 0); /* divide by 2: what is left takes twice as long */
	assert_true(lapic_deadline(v) == rig_now + 6000000);
	rig_now += 6000000;
	lapic_timer_tick(v);
	assert_int_equal(lapic_accept(v), 0x30);
	rig_apic_write(v, 0xb0, 0);
	assert_true(lapic_deadline(v) == UINT64_MAX);
	assert_int_equal(rig_apic_read(v, 0x390), 0);
	rig_apic_write(v, 0x320, 1u << 17 | 0x31); /* periodic */
	rig_apic_write(v, 0x380, 1000000);
	for (int i = 0; i < 3; i++) {
		rig_now += 2000000;
		lapic_timer_tick(v);
		assert_int_equal(lapic_accept(v), 0x31);
		rig_apic_write(v, 0xb0, 0);
		lapic_timer_tick(v);
		assert_int_equal(lapic_pending(v), -1);
	}
	rig_apic_write(v, 0x320, 1u << 17 | 1u << 16 | 0x31); /* masked: nothing comes, nobody is woken */
	assert_true(lapic_deadline(v) == UINT64_MAX);
	rig_now += 2000000;
	lapic_timer_tick(v);
	assert_int_equal(lapic_pending(v), -1);
	rig_apic_write(v, 0x380, 0);
	rig_apic_write(v, 0x320, 1u << 17 | 0x31);
	assert_true(lapic_deadline(v) == UINT64_MAX);
	rig_destroy(vm);
}

/* A guest that asks for a thousand nanoseconds by a detour does not get them, again and again. */
static void shortest_period(void **state)
{
	struct vm *vm = rig_create(1, true, false);
	struct vcpu *v = vm->vcpu[0];

	rig_now = 1000000000;
	rig_apic_enable(v);
	rig_apic_write(v, 0x3e0, 0xb);
	rig_apic_write(v, 0x320, 0x30);
	rig_apic_write(v, 0x380, 1000);
	rig_apic_write(v, 0x320, 1u << 17 | 0x30); /* periodic, while it counts */
	rig_now += 1000;
	lapic_timer_tick(v);
	assert_int_equal(lapic_accept(v), 0x30);
	assert_true(lapic_deadline(v) >= rig_now + 200000);
	rig_destroy(vm);
}

static u64 tsc(void)
{
	u32 low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (u64)high << 32 | low;
}

static void tsc_deadline(void **state)
{
	struct vm *vm = rig_create(1, true, false);
	struct vcpu *v = vm->vcpu[0];
	u64 value = 1, far = tsc() + 1000000000000ull;

	rig_now = 1000000000;
	rig_apic_enable(v);
	assert_true(lapic_msr_write(v, 0x6e0, far)); /* not in this mode: ignored */
	assert_true(lapic_msr_read(v, 0x6e0, &value));
	assert_int_equal(value, 0);
	rig_apic_write(v, 0x320, 2u << 17 | 0x32);
	assert_true(lapic_msr_write(v, 0x6e0, far));
	assert_true(lapic_msr_read(v, 0x6e0, &value));
	assert_true(value == far);
	assert_true(lapic_deadline(v) > rig_now + 900000000000ull && lapic_deadline(v) <= rig_now + 1000000000001ull);
	assert_int_equal(rig_apic_read(v, 0x390), 0);
	assert_true(lapic_msr_write(v, 0x6e0, UINT64_MAX)); /* must not overflow */
	assert_true(lapic_deadline(v) > rig_now && lapic_deadline(v) != UINT64_MAX);
	assert_true(lapic_msr_write(v, 0x6e0, 0));
	assert_true(lapic_deadline(v) == UINT64_MAX);
	assert_true(lapic_msr_write(v, 0x6e0, 1)); /* past: at once */
	assert_int_equal(lapic_pending(v), 0x32);
	lapic_msr_read(v, 0x6e0, &value);
	assert_int_equal(value, 0);
	rig_destroy(vm);
}

static void state_round_trip(void **state)
{
	struct vm *vm = rig_create(2, true, false), *other = rig_create(2, true, false);
	struct vcpu *v = vm->vcpu[1], *w = other->vcpu[1];
	struct kvm_msi msi = { .address_lo = 0xfee00000 | 1u << 12, .data = 0x8000 | 0x4000 | 0x45 };
	struct kvm_lapic_state s, t;

	rig_now = 5000;
	rig_x2apic(v);
	lapic_msr_write(v, 0x832, 0x30);
	lapic_msr_write(v, 0x83e, 0xb);
	lapic_msr_write(v, 0x838, 1000000);
	lapic_msr_write(v, 0x830, 7ull << 32 | 0x50);
	irq_send_msi(vm, &msi);
	msi.data = 0x91;
	irq_send_msi(vm, &msi);
	assert_int_equal(lapic_accept(v), 0x91);
	rig_now += 400000;
	assert_int_equal(lapic_get_state(v, &s), 0);
	assert_int_equal(*(u32 *)&s.regs[0x20], 1u << 24); /* legacy format */
	assert_int_equal(*(u32 *)&s.regs[0x390], 600000);
	assert_int_equal(*(u32 *)&s.regs[0x310], 7);
	assert_true(lapic_set_base(w, lapic_base(v)));
	assert_int_equal(lapic_set_state(w, &s), 0);
	assert_int_equal(lapic_get_state(w, &t), 0);
	assert_memory_equal(&s, &t, sizeof(s));
	assert_int_equal(lapic_pending(w), -1);
	lapic_msr_write(w, 0x80b, 0);
	assert_int_equal(lapic_accept(w), 0x45);
	assert_true(lapic_deadline(w) == rig_now + 600000);
	other->caps_enabled = KVM_X2APIC_API_USE_32BIT_IDS;
	assert_int_equal(lapic_set_state(w, &s), -EINVAL); /* not the new format */
	assert_int_equal(lapic_get_state(w, &t), 0);
	assert_int_equal(*(u32 *)&t.regs[0x20], 1);
	assert_int_equal(lapic_set_state(w, &t), 0);
	rig_destroy(vm);
	rig_destroy(other);
}

/* A timer that is over while user space reads the state is in what it reads, whichever part it read first. */
static void timer_in_state(void **state)
{
	struct vm *vm = rig_create(1, true, false);
	struct vcpu *v = vm->vcpu[0];
	const struct timespec rest = { .tv_nsec = 20000000 };
	struct kvm_lapic_state s;
	u64 deadline, value;

	rig_now = 1000000000;
	v->in_run = 0;
	rig_apic_enable(v);
	rig_apic_write(v, 0x3e0, 0xb);
	rig_apic_write(v, 0x320, 0x30);
	rig_apic_write(v, 0x380, 1000000000); /* nobody has looked when it is over */
	rig_now += 1000000000;
	assert_int_equal(lapic_get_state(v, &s), 0);
	assert_int_equal(*(u32 *)&s.regs[0x390], 0);
	assert_int_equal(*(u32 *)&s.regs[0x210], 1u << 16);
	assert_int_equal(lapic_accept(v), 0x30);
	rig_destroy(vm);

	vm = rig_create(1, true, false); /* with the host's clock */
	v = vm->vcpu[0];
	v->in_run = 0;
	rig_apic_enable(v);
	rig_apic_write(v, 0x320, 2u << 17 | 0x31);
	deadline = tsc() + 1000000;
	assert_true(lapic_msr_write(v, 0x6e0, deadline));
	nanosleep(&rest, NULL);
	assert_int_equal(lapic_get_state(v, &s), 0);
	assert_true(lapic_msr_read(v, 0x6e0, &value));
	assert_true(value == deadline);
	assert_int_equal(lapic_pending(v), -1);
	assert_int_equal(lapic_set_state(v, &s), 0); /* as it was: the deadline is no part of it */
	assert_true(lapic_msr_read(v, 0x6e0, &value));
	assert_true(value == deadline);
	v->in_run = 1;
	lapic_timer_enter(v);
	assert_int_equal(lapic_accept(v), 0x31);
	assert_true(lapic_msr_read(v, 0x6e0, &value));
	assert_int_equal(value, 0);
	rig_destroy(vm);
}

static void base_changes(void **state)
{
	struct vm *vm = rig_create(1, true, false);
	struct vcpu *v = vm->vcpu[0];
	u32 value;

	assert_false(lapic_set_base(v, 0xfee00400));	    /* x2APIC without enable */
	assert_false(lapic_set_base(v, 0xfee00801));	    /* reserved */
	assert_false(lapic_set_base(v, 1ull << 50 | 0x800)); /* beyond MAXPHYADDR */
	assert_true(lapic_set_base(v, 0xfe000900));
	assert_false(chips_mmio(v, 0xfee00030, &value, 4, false));
	assert_true(chips_mmio(v, 0xfe000030, &value, 4, false));
	assert_int_equal(value, 0x50014);
	assert_true(lapic_set_base(v, 0xfee00100));
	assert_true(chips_mmio(v, 0xfee00030, &value, 4, false));
	assert_int_equal(value, 0xffffffff);
	assert_false(lapic_msr_write(v, 0x1b, 0xfee00d00)); /* off to x2APIC: not by the guest */
	assert_true(lapic_set_base(v, 0xfee00d00));
	rig_destroy(vm);
}

static void split_eoi(void **state)
{
	struct vm *vm = rig_create(1, true, true);
	struct vcpu *v = vm->vcpu[0];
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x8000 | 0x4000 | 0x66 };
	u32 value;

	rig_apic_enable(v);
	assert_false(chips_mmio(v, 0xfec00000, &value, 4, false));
	assert_int_equal(irq_send_msi(vm, &msi), 1);
	assert_int_equal(lapic_accept(v), 0x66);
	rig_apic_write(v, 0xb0, 0);
	assert_true(v->eoi_exit);
	assert_int_equal(v->eoi_exits[1], 1ull << (0x66 - 64));
	msi.data = 0x67; /* an edge */
	irq_send_msi(vm, &msi);
	assert_int_equal(lapic_accept(v), 0x67);
	rig_apic_write(v, 0xb0, 0);
	assert_int_equal(v->eoi_exits[1], 1ull << (0x66 - 64));
	msi.data = 0x8000 | 0x4000 | 0x68; /* before the first is told */
	irq_send_msi(vm, &msi);
	assert_int_equal(lapic_accept(v), 0x68);
	rig_apic_write(v, 0xb0, 0);
	assert_int_equal(v->eoi_exits[1], 5ull << (0x66 - 64));
	rig_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reset_state),	    cmocka_unit_test(writable_bits), cmocka_unit_test(priorities),
		cmocka_unit_test(pv_eoi),
		cmocka_unit_test(deliveries),	    cmocka_unit_test(clusters_and_lowest), cmocka_unit_test(x2apic),
		cmocka_unit_test(pv_ipi),	    cmocka_unit_test(timer_counts),  cmocka_unit_test(shortest_period),
		cmocka_unit_test(tsc_deadline),
		cmocka_unit_test(state_round_trip), cmocka_unit_test(base_changes),  cmocka_unit_test(split_eoi),
		cmocka_unit_test(timer_in_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
