/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The LAPIC's timer (SDM vol. 3, 11.5.4): one-shot, periodic, TSC deadline. The bus clock is 1 GHz as in Linux KVM, so
 * that a count is a nanosecond times the divider. A halted vCPU waits for lapic_deadline() itself; for a running one
 * timer.c's thread comes to lapic_timer_tick().
 */
#include "lapic.h"
#include "../sys.h"

#define PERIOD_MIN 200000u /* ns; a guest that asks for less would own the host */
#define BACKUP_NS 1000000u

static u32 timer_mode(const struct lapic *l)
{
	return lapic_get(l, REG_LVTT) & LVT_TIMER_MODE;
}

static void arm(struct lapic *l, u64 deadline)
{
	__atomic_store_n(&l->deadline, deadline, __ATOMIC_SEQ_CST);
	timer_set(l->vcpu->vm, &l->timer, deadline);
}

void lapic_timer_destroy(struct lapic *l)
{
	timer_remove(l->vcpu->vm, &l->timer);
	pthread_mutex_destroy(&l->lock);
}

void lapic_timer_reset(struct lapic *l)
{
	pthread_mutex_lock(&l->lock);
	l->tsc_deadline = 0;
	l->divide = 2;
	l->period = 0;
	arm(l, UINT64_MAX);
	pthread_mutex_unlock(&l->lock);
}

u64 lapic_deadline(struct vcpu *v)
{
	if (lapic_get(v->lapic, REG_LVTT) & LVT_MASKED)
		return UINT64_MAX; /* nothing to wake for */
	return __atomic_load_n(&v->lapic->deadline, __ATOMIC_SEQ_CST);
}

/* Lock held. */
static void tick(struct lapic *l)
{
	u64 now = host_now_ns(), next = UINT64_MAX;

	if (now < l->deadline) {
		if (l->deadline != UINT64_MAX)
			timer_set(l->vcpu->vm, &l->timer, l->deadline);
		return;
	}
	if (timer_mode(l) == TIMER_PERIODIC && l->period) {
		next = l->deadline + l->period;
		if (next <= now)
			next = now + l->period;
	} else if (timer_mode(l) == TIMER_TSC_DEADLINE) {
		l->tsc_deadline = 0;
	}
	arm(l, next);
	lapic_local(l, REG_LVTT);
}

void lapic_timer_tick(struct vcpu *v)
{
	pthread_mutex_lock(&v->lapic->lock);
	tick(v->lapic);
	pthread_mutex_unlock(&v->lapic->lock);
}

/*
 * Outside of KVM_RUN nothing happens to a vCPU, or user space that reads its state piece by piece would miss it in between:
 * lapic_timer_enter() makes up for it.
 */
static void on_timer(struct kv_timer *t)
{
	struct lapic *l = t->opaque;
	struct vcpu *v = l->vcpu;

	pthread_mutex_lock(&l->lock);
	__atomic_store_n(&l->rang, true, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&v->in_run, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&l->rang, false, __ATOMIC_SEQ_CST);
		/* Asleep, it wakes itself at this moment. Should it go another way instead, this comes again. */
		if ((lapic_get(l, REG_LVTT) & LVT_MASKED) || !__atomic_load_n(&v->sleeping, __ATOMIC_SEQ_CST))
			tick(l);
		else if (l->deadline != UINT64_MAX)
			timer_set(v->vm, t, host_now_ns() + BACKUP_NS);
	}
	pthread_mutex_unlock(&l->lock);
}

void lapic_timer_enter(struct vcpu *v)
{
	if (unlikely(__atomic_exchange_n(&v->lapic->rang, false, __ATOMIC_SEQ_CST)))
		lapic_timer_tick(v);
}

int lapic_timer_create(struct lapic *l)
{
	pthread_mutex_init(&l->lock, NULL);
	l->deadline = UINT64_MAX;
	l->divide = 2;
	l->timer = (struct kv_timer){ .deadline = UINT64_MAX, .fire = on_timer, .opaque = l };
	return timer_add(l->vcpu->vm, &l->timer);
}

static void limit_period(struct lapic *l)
{
	if (timer_mode(l) == TIMER_PERIODIC && l->period && l->period < PERIOD_MIN)
		l->period = PERIOD_MIN;
}

/* Count register to a deadline; lock held. Zero stops. */
static void start_count(struct lapic *l, u64 count)
{
	u64 ns = count * l->divide;

	l->period = (u64)lapic_get(l, REG_TMICT) * l->divide;
	limit_period(l);
	if (ns > l->period || count == lapic_get(l, REG_TMICT))
		ns = l->period;
	arm(l, ns ? host_now_ns() + ns : UINT64_MAX);
}

static void start_tsc_deadline(struct lapic *l)
{
	u64 tsc = sys_rdtsc() + (u64)l->vcpu->cpu.tsc_offset, ns = 0;

	if (!l->tsc_deadline) {
		arm(l, UINT64_MAX);
		return;
	}
	if (l->tsc_deadline > tsc) {
		u64 far = host_ticks_to_ns(l->tsc_deadline - tsc);

		ns = far > UINT64_MAX >> 2 ? UINT64_MAX >> 2 : far + 1;
	}
	if (ns) {
		arm(l, host_now_ns() + ns);
		return;
	}
	l->tsc_deadline = 0;
	arm(l, UINT64_MAX);
	lapic_local(l, REG_LVTT);
}

static u32 divider(u32 tdcr)
{
	return 1u << ((((tdcr & 3) | (tdcr & 8) >> 1) + 1) & 7);
}

/* Counts that are left; lock held. */
static u64 remaining(const struct lapic *l)
{
	u64 now = host_now_ns();

	if (l->deadline == UINT64_MAX || timer_mode(l) == TIMER_TSC_DEADLINE || l->deadline <= now)
		return 0;
	return (l->deadline - now) / l->divide;
}

u32 lapic_timer_current(struct lapic *l)
{
	u64 left;

	pthread_mutex_lock(&l->lock);
	left = remaining(l);
	pthread_mutex_unlock(&l->lock);
	return left > UINT32_MAX ? UINT32_MAX : (u32)left;
}

u32 lapic_timer_save(struct lapic *l)
{
	u64 left;

	pthread_mutex_lock(&l->lock);
	if (timer_mode(l) != TIMER_TSC_DEADLINE)
		tick(l);
	left = remaining(l);
	if (!left && timer_mode(l) != TIMER_TSC_DEADLINE && l->deadline != UINT64_MAX)
		left = 1;
	pthread_mutex_unlock(&l->lock);
	return left > UINT32_MAX ? UINT32_MAX : (u32)left;
}

void lapic_timer_write(struct lapic *l, u32 reg, u32 value)
{
	u32 old_mode;
	u64 left;

	pthread_mutex_lock(&l->lock);
	old_mode = timer_mode(l);
	switch (reg) {
	case REG_LVTT:
		lapic_put(l, REG_LVTT, value);
		if ((timer_mode(l) == TIMER_TSC_DEADLINE) != (old_mode == TIMER_TSC_DEADLINE)) {
			lapic_put(l, REG_TMICT, 0);
			l->tsc_deadline = l->period = 0;
			arm(l, UINT64_MAX);
		}
		limit_period(l); /* the count that runs may have been started as one that does not come again */
		break;
	case REG_TMICT:
		if (old_mode == TIMER_TSC_DEADLINE)
			break;
		lapic_put(l, REG_TMICT, value);
		start_count(l, value);
		break;
	case REG_TDCR:
		left = remaining(l);
		lapic_put(l, REG_TDCR, value & 0xb);
		l->divide = divider(value);
		if (left)
			start_count(l, left);
		break;
	}
	pthread_mutex_unlock(&l->lock);
}

void lapic_timer_restore(struct lapic *l, u32 old_lvtt)
{
	bool tsc = timer_mode(l) == TIMER_TSC_DEADLINE;
	u32 count;

	pthread_mutex_lock(&l->lock);
	count = lapic_get(l, REG_TMCCT);
	if (!count && timer_mode(l) == TIMER_PERIODIC)
		count = lapic_get(l, REG_TMICT);
	l->divide = divider(lapic_get(l, REG_TDCR));
	if (!tsc || (old_lvtt & LVT_TIMER_MODE) != TIMER_TSC_DEADLINE) {
		l->tsc_deadline = 0;
		arm(l, UINT64_MAX);
	}
	if (!tsc)
		start_count(l, count);
	pthread_mutex_unlock(&l->lock);
}

u64 lapic_timer_tsc_deadline(struct lapic *l)
{
	return timer_mode(l) == TIMER_TSC_DEADLINE ? l->tsc_deadline : 0;
}

void lapic_timer_set_tsc_deadline(struct lapic *l, u64 tsc)
{
	if (!(l->base & BASE_ENABLE) || timer_mode(l) != TIMER_TSC_DEADLINE)
		return;
	pthread_mutex_lock(&l->lock);
	l->tsc_deadline = tsc;
	start_tsc_deadline(l);
	pthread_mutex_unlock(&l->lock);
}
