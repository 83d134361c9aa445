/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM's timers: one thread that sleeps on a timerfd until the earliest deadline. Setting a timer earlier is one system
 * call and wakes nobody; later, none: the thread then finds nothing due and goes on sleeping. Times are relative on the
 * timerfd, because host_now_ns() may drift from the kernel's clock. Used by LAPICs, the PIT and run.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "chip/chip.h"
#include "sys.h"
#include "thread.h"

struct timers {
	pthread_mutex_t lock;
	struct kv_timer **timer;
	u32 count, room;
	struct kv_timer *firing;
	u64 programmed; /* when the timerfd rings, host_now_ns() */
	int fd;
	bool stop;
	struct thread thread;
};

/* Lock held. */
static void program(struct timers *ts, u64 deadline)
{
	u64 now = host_now_ns(), wait = deadline > now ? deadline - now : 1;
	struct itimerspec when = { .it_value = { (time_t)(wait / 1000000000u), (long)(wait % 1000000000u) } };

	ts->programmed = deadline;
	sys_call6(SYS_timerfd_settime, ts->fd, 0, (long)&when, 0, 0, 0);
}

/* One round over all timers; lock held, but not while one fires. Returns the next deadline. */
static u64 fire_due(struct timers *ts)
{
	u64 next = UINT64_MAX;

	for (u32 i = 0; i < ts->count; i++) {
		struct kv_timer *t = ts->timer[i];

		if (t->deadline <= host_now_ns()) {
			t->deadline = UINT64_MAX;
			ts->firing = t;
			pthread_mutex_unlock(&ts->lock);
			t->fire(t);
			pthread_mutex_lock(&ts->lock);
			ts->firing = NULL;
			if (i >= ts->count || ts->timer[i] != t)
				continue; /* removed meanwhile; who took its place is looked at in the next round */
		}
	}
	for (u32 i = 0; i < ts->count; i++)
		if (ts->timer[i]->deadline < next)
			next = ts->timer[i]->deadline;
	return next;
}

static void *timer_thread(void *arg)
{
	struct timers *ts = arg;
	u64 expirations, next;

	for (;;) {
		if (read(ts->fd, &expirations, sizeof(expirations)) < 0 && errno != EINTR)
			return NULL;
		pthread_mutex_lock(&ts->lock);
		if (ts->stop) {
			pthread_mutex_unlock(&ts->lock);
			return NULL;
		}
		ts->programmed = UINT64_MAX;
		next = fire_due(ts);
		if (next < ts->programmed)
			program(ts, next);
		pthread_mutex_unlock(&ts->lock);
	}
}

static void destroy(struct timers *ts)
{
	if (ts->fd >= 0)
		close(ts->fd);
	pthread_mutex_destroy(&ts->lock);
	free(ts->timer);
	free(ts);
}

static void stop_thread(struct timers *ts)
{
	pthread_mutex_lock(&ts->lock);
	ts->stop = true;
	program(ts, 0);
	pthread_mutex_unlock(&ts->lock);
	thread_join(&ts->thread);
}

void timers_stop(struct vm *vm)
{
	if (vm->timers)
		stop_thread(vm->timers);
}

int timers_create(struct vm *vm)
{
	struct timers *ts = calloc(1, sizeof(*ts)), *none = NULL;
	int err;

	if (!ts)
		return -ENOMEM;
	pthread_mutex_init(&ts->lock, NULL);
	ts->programmed = UINT64_MAX;
	ts->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	err = ts->fd < 0 ? -errno : thread_start(&ts->thread, "kv-timer", timer_thread, ts);
	if (err) {
		destroy(ts);
		return err;
	}
	if (!__atomic_compare_exchange_n(&vm->timers, &none, ts, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		stop_thread(ts); /* another thread was faster */
		destroy(ts);
	}
	return 0;
}

void timers_destroy(struct vm *vm)
{
	struct timers *ts = vm->timers;

	if (!ts)
		return;
	vm->timers = NULL;
	destroy(ts);
}

int timer_add(struct vm *vm, struct kv_timer *t)
{
	struct timers *ts = __atomic_load_n(&vm->timers, __ATOMIC_ACQUIRE);
	int err = ts ? 0 : timers_create(vm);

	if (err)
		return err;
	ts = __atomic_load_n(&vm->timers, __ATOMIC_ACQUIRE);
	pthread_mutex_lock(&ts->lock);
	if (ts->count == ts->room) {
		struct kv_timer **grown = realloc(ts->timer, (ts->room + 16) * sizeof(*grown));

		if (!grown) {
			pthread_mutex_unlock(&ts->lock);
			return -ENOMEM;
		}
		ts->timer = grown;
		ts->room += 16;
	}
	t->slot = ts->count;
	ts->timer[ts->count++] = t;
	if (t->deadline < ts->programmed)
		program(ts, t->deadline);
	pthread_mutex_unlock(&ts->lock);
	return 0;
}

/* On return the timer is not firing, and will not (but for a call from its own fire function). */
void timer_remove(struct vm *vm, struct kv_timer *t)
{
	struct timers *ts = vm->timers;

	if (!ts)
		return;
	pthread_mutex_lock(&ts->lock);
	if (t->slot < ts->count && ts->timer[t->slot] == t) {
		ts->timer[t->slot] = ts->timer[--ts->count];
		ts->timer[t->slot]->slot = t->slot;
	}
	while (ts->firing == t && !pthread_equal(pthread_self(), ts->thread.id)) {
		pthread_mutex_unlock(&ts->lock);
		sys_yield();
		pthread_mutex_lock(&ts->lock);
	}
	pthread_mutex_unlock(&ts->lock);
}

void timer_set(struct vm *vm, struct kv_timer *t, u64 deadline)
{
	struct timers *ts = vm->timers;

	if (!ts)
		return;
	pthread_mutex_lock(&ts->lock);
	t->deadline = deadline;
	if (deadline < ts->programmed)
		program(ts, deadline);
	pthread_mutex_unlock(&ts->lock);
}
