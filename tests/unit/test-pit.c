/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The 8254 of the software KVM. Ticks come from its timer thread, so those tests use the host's clock and wait. */
#include <sched.h>
#include "chip-rig.h"

static struct vm *start(u32 flags)
{
	const struct kvm_pit_config config = { .flags = flags };
	struct vm *vm = rig_create(1, true, false);

	assert_int_equal(pit_create(vm, &config), 0);
	assert_int_equal(pit_create(vm, &config), -EEXIST);
	return vm;
}

static u16 read_word(struct vm *vm, u16 port)
{
	u16 low = rig_in(vm, port);

	return low | (u16)(rig_in(vm, port) << 8);
}

static void counting(void **state)
{
	struct vm *vm;

	rig_now = 1000000000;
	vm = start(KVM_PIT_SPEAKER_DUMMY);
	rig_out(vm, 0x43, 0xb0); /* channel 2, word, mode 0 */
	rig_out(vm, 0x42, 0x00);
	rig_out(vm, 0x42, 0x10);
	assert_int_equal(rig_in(vm, 0x61) & 0x20, 0);
	rig_now += 1000000; /* 1193 ticks */
	rig_out(vm, 0x43, 0x80);
	rig_now += 5000000;
	assert_int_equal(read_word(vm, 0x42), 0x1000 - 1193); /* latched */
	assert_int_equal(rig_in(vm, 0x61) & 0x20, 0x20);      /* but it has run out */
	rig_out(vm, 0x43, 0xe8);			      /* status of channel 2 */
	assert_int_equal(rig_in(vm, 0x42), 0xb0);
	rig_out(vm, 0x43, 0xb4); /* mode 2 */
	rig_out(vm, 0x42, 100);
	rig_out(vm, 0x42, 0);
	rig_now += 100000; /* 119 ticks */
	assert_int_equal(read_word(vm, 0x42), 81);
	rig_out(vm, 0x43, 0x96); /* LSB only, mode 3: counts by two */
	rig_out(vm, 0x42, 200);
	rig_now += 50000; /* 59 ticks */
	assert_int_equal(rig_in(vm, 0x42), 82);
	assert_int_equal(rig_in(vm, 0x61) & 0x20, 0x20);
	rig_now += 50000; /* 119 */
	assert_int_equal(rig_in(vm, 0x61) & 0x20, 0);
	rig_out(vm, 0x61, 3);
	assert_int_equal(rig_in(vm, 0x61) & 3, 3);
	rig_destroy(vm);
}

static void speaker_port(void **state)
{
	struct vm *vm = start(0);
	u8 value;

	assert_false(chips_pio(vm->vcpu[0], 0x61, &value, 1, false));
	rig_destroy(vm);
	vm = rig_create(1, true, false); /* no PIT at all */
	assert_false(chips_pio(vm->vcpu[0], 0x40, &value, 1, false));
	assert_int_equal(pit_set_reinject(vm, true), -ENXIO);
	rig_destroy(vm);
}

static void wait_tick(struct vcpu *v)
{
	while (lapic_pending(v) < 0)
		sched_yield();
}

static void ticks(void **state)
{
	struct vm *vm = start(0);
	struct vcpu *v = vm->vcpu[0];

	rig_out(vm, 0x20, 0x11);
	rig_out(vm, 0x21, 0x30);
	rig_out(vm, 0x21, 4);
	rig_out(vm, 0x21, 1);
	rig_out(vm, 0x21, 0);
	rig_out(vm, 0x43, 0x34); /* channel 0, mode 2, 1 ms */
	rig_out(vm, 0x40, 1193 & 0xff);
	rig_out(vm, 0x40, 1193 >> 8);
	for (int i = 0; i < 3; i++) {
		wait_tick(v);
		assert_int_equal(lapic_accept(v), 0x30);
		rig_out(vm, 0x20, 0x20);
	}
	/* While one is not ended, the others wait; then each comes. */
	wait_tick(v);
	assert_int_equal(lapic_accept(v), 0x30);
	for (u64 until = host_now_ns() + 5000000; host_now_ns() < until;)
		sched_yield();
	for (int i = 0; i < 4; i++) {
		rig_out(vm, 0x20, 0x20);
		wait_tick(v);
		assert_int_equal(lapic_accept(v), 0x30);
	}
	rig_out(vm, 0x43, 0x30); /* mode 0: one */
	rig_out(vm, 0x40, 0xe8);
	rig_out(vm, 0x40, 0x03);
	rig_out(vm, 0x20, 0x20);
	wait_tick(v);
	assert_int_equal(lapic_accept(v), 0x30);
	rig_out(vm, 0x20, 0x20);
	assert_int_equal(lapic_pending(v), -1);
	rig_destroy(vm);
}

static void state_round_trip(void **state)
{
	struct vm *vm, *other;
	struct kvm_pit_state2 s, t;

	rig_now = 1000000000;
	vm = start(KVM_PIT_SPEAKER_DUMMY);
	other = start(KVM_PIT_SPEAKER_DUMMY);
	rig_out(vm, 0x43, 0xb6);
	rig_out(vm, 0x42, 0x34);
	rig_out(vm, 0x42, 0x12);
	rig_out(vm, 0x61, 3);
	assert_int_equal(pit_get(vm, &s), 0);
	assert_int_equal(s.channels[2].count, 0x1234);
	assert_int_equal(s.flags, KVM_PIT_FLAGS_SPEAKER_DATA_ON);
	assert_int_equal(pit_set(other, &s), 0);
	assert_int_equal(pit_get(other, &t), 0);
	assert_memory_equal(&s, &t, sizeof(s));
	memset(&s, 0xff, sizeof(s)); /* hostile */
	s.channels[1].count = 0;
	assert_int_equal(pit_set(other, &s), 0);
	rig_in(other, 0x40);
	rig_in(other, 0x41);
	rig_out(other, 0x43, 0xfe);
	rig_destroy(vm);
	rig_destroy(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counting),
		cmocka_unit_test(speaker_port),
		cmocka_unit_test(ticks),
		cmocka_unit_test(state_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
