/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The timer thread of the software KVM: order, change, removal. */
#include <sched.h>
#include "chip-rig.h"

struct probe {
	struct kv_timer timer;
	u32 fired; /* atomic */
	u64 at;
	u64 again; /* ns until it fires again, or 0 */
};

static void on_fire(struct kv_timer *t)
{
	struct probe *p = t->opaque;

	p->at = host_now_ns();
	if (p->again)
		t->deadline = p->at + p->again;
	__atomic_add_fetch(&p->fired, 1, __ATOMIC_SEQ_CST);
}

static void add(struct vm *vm, struct probe *p)
{
	*p = (struct probe){ .timer = { .deadline = UINT64_MAX, .fire = on_fire, .opaque = p } };
	assert_int_equal(timer_add(vm, &p->timer), 0);
}

static u32 fired(struct probe *p)
{
	return __atomic_load_n(&p->fired, __ATOMIC_SEQ_CST);
}

static void wait_for(struct probe *p, u32 count)
{
	while (fired(p) < count)
		sched_yield();
}

static void order(void **state)
{
	struct vm *vm = rig_create(0, false, false);
	struct probe a, b, c;
	u64 now;

	add(vm, &a);
	add(vm, &b);
	add(vm, &c);
	now = host_now_ns();
	timer_set(vm, &a.timer, now + 4000000);
	timer_set(vm, &b.timer, now + 2000000);
	timer_set(vm, &c.timer, now + 1000000000000ull);
	wait_for(&a, 1);
	wait_for(&b, 1);
	assert_int_equal(fired(&c), 0);
	assert_true(a.at >= now + 4000000 && b.at >= now + 2000000);
	timer_set(vm, &c.timer, 1); /* long past */
	wait_for(&c, 1);
	timer_set(vm, &a.timer, host_now_ns() + 1000000000000ull);
	timer_set(vm, &a.timer, UINT64_MAX);
	timer_remove(vm, &b.timer);
	timer_set(vm, &c.timer, 1);
	wait_for(&c, 2);
	assert_int_equal(fired(&a), 1);
	timers_stop(vm);
	timers_destroy(vm);
	timer_remove(vm, &a.timer); /* harmless */
	rig_destroy(vm);
}

static void periodic(void **state)
{
	struct vm *vm = rig_create(0, false, false);
	struct probe p;
	u32 count;

	add(vm, &p);
	p.again = 100000;
	timer_set(vm, &p.timer, host_now_ns() + 100000);
	wait_for(&p, 5);
	timer_remove(vm, &p.timer);
	count = fired(&p);
	for (u64 until = host_now_ns() + 2000000; host_now_ns() < until;)
		sched_yield();
	assert_int_equal(fired(&p), count);
	rig_destroy(vm);
}

/* A running vCPU's LAPIC timer comes through the thread; a sleeping one is left to wake itself. */
static void lapic_expiry(void **state)
{
	struct vm *vm = rig_create(1, true, false);
	struct vcpu *v = vm->vcpu[0];
	u32 kicks;

	rig_apic_enable(v);
	rig_apic_write(v, 0x320, 0x40);
	rig_apic_write(v, 0x3e0, 0xb);
	rig_apic_write(v, 0x380, 1000000);
	while (lapic_pending(v) < 0)
		sched_yield();
	assert_int_equal(lapic_accept(v), 0x40);
	rig_apic_write(v, 0xb0, 0);
	v->sleeping = 1;
	kicks = __atomic_load_n(&rig_kicks[0], __ATOMIC_SEQ_CST);
	rig_apic_write(v, 0x380, 1000000);
	for (u64 until = host_now_ns() + 5000000; host_now_ns() < until;)
		sched_yield();
	assert_int_equal(lapic_pending(v), -1);
	assert_int_equal(__atomic_load_n(&rig_kicks[0], __ATOMIC_SEQ_CST), kicks);
	assert_true(lapic_deadline(v) < host_now_ns());
	lapic_timer_tick(v);
	assert_int_equal(lapic_accept(v), 0x40);
	rig_apic_write(v, 0xb0, 0);
	rig_apic_write(v, 0x380, 1000000);
	for (u64 until = host_now_ns() + 3000000; host_now_ns() < until;)
		sched_yield();
	__atomic_store_n(&v->sleeping, 0, __ATOMIC_SEQ_CST); /* woken by something else: the tick is not lost */
	while (lapic_pending(v) < 0)
		sched_yield();
	rig_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order),
		cmocka_unit_test(periodic),
		cmocka_unit_test(lapic_expiry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
