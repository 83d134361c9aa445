/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A vCPU that does not run: HLT, or a processor that waits for INIT and SIPI. It spins for a moment, then sleeps on the
 * word of kvm_run that holds immediate_exit and the poll byte, so that neither a request nor a signal handler that sets
 * immediate_exit can slip between the last look and the sleep. Its own LAPIC timer needs no other thread meanwhile.
 */
#include <errno.h>
#include "chip/chip.h"
#include "kvmclock.h"
#include "mmu.h"
#include "run.h"
#include "sys.h"

#define SPIN_MIN 2000u
#define SPIN_MAX 200000u
#define IDLE_WINDOW 1000000000u /* ns; who ran for less than a hundredth of it is idle */

bool vcpu_runnable(struct vcpu *v)
{
	struct cpu *c = &v->cpu;

	if (v->init_pending || v->sipi_pending || v->inject_exc.pending || v->triple_fault)
		return true;
	if (v->mp_state == KVM_MP_STATE_UNINITIALIZED || v->mp_state == KVM_MP_STATE_INIT_RECEIVED)
		return false;
	if (__atomic_exchange_n(&v->kicked, false, __ATOMIC_SEQ_CST))
		return true;
	if (v->nmi_pending && !c->nmi_blocked)
		return true;
	return (c->rflags & FL_IF) && (v->user_irq >= 0 || (v->lapic && lapic_pending(v) >= 0));
}

/* One sleep: until a request, the deadline, or a signal. */
static long sleep_once(struct vcpu *v, u64 deadline)
{
	u32 *word = (u32 *)v->run, seen;
	u64 now = host_now_ns(), wait = deadline == UINT64_MAX ? UINT64_MAX : deadline > now ? deadline - now : 0;
	long err = 0;

	if (v->has_sigmask && wait > 1000000)
		wait = 1000000;
	__atomic_store_n(&v->sleeping, 1, __ATOMIC_SEQ_CST);
	vcpu_stopped(v);
	seen = __atomic_load_n(word, __ATOMIC_SEQ_CST);
	if (!vcpu_poll_word(v) && wait)
		err = sys_futex_wait(word, seen, wait);
	__atomic_store_n(&v->sleeping, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&v->stopped, 0, __ATOMIC_SEQ_CST);
	vcpu_safe_point(v);
	if (v->has_sigmask)
		vcpu_request(v, REQ_SIGNAL);
	v->stat.sleeps++;
	return err;
}

/* True when something happened while spinning. */
static bool spin(struct vcpu *v, u64 start, u64 deadline)
{
	u64 until = start + v->poll_ns;

	while (host_now_ns() < until) {
		if (vcpu_poll_word(v) || host_now_ns() >= deadline)
			return true;
		for (int i = 0; i < 20; i++)
			sys_pause();
	}
	return false;
}

/* An idle guest's translations are half a MiB for each of its last processes, and found again in no time. */
static void note_idle(struct vcpu *v, u64 now)
{
	v->awake_ns += now - v->woke_at;
	if (now - v->window_at < IDLE_WINDOW)
		return;
	if (v->awake_ns < (now - v->window_at) / 100)
		mmu_give_back(&v->cpu);
	v->window_at = now;
	v->awake_ns = 0;
}

int halt_wait(struct vcpu *v)
{
	u64 start = host_now_ns();
	bool slept = false;
	int err = 0;

	v->stat.halts++;
	note_idle(v, start);
	kvmclock_preempted(v, true);
	for (;;) {
		u64 deadline = v->lapic && v->mp_state == KVM_MP_STATE_HALTED ? lapic_deadline(v) : UINT64_MAX;

		if (host_now_ns() >= deadline)
			lapic_timer_tick(v);
		if (vcpu_runnable(v))
			break;
		if (vcpu_poll_word(v)) {
			err = run_requests(v);
			if (err)
				break;
			continue;
		}
		if (!slept && spin(v, start, deadline))
			continue;
		slept = true;
		if (sleep_once(v, deadline) == -EINTR) {
			err = -EINTR;
			break;
		}
	}
	/* Short halts are worth a longer spin, long ones make it shorter. */
	if (host_now_ns() - start < SPIN_MAX)
		v->poll_ns = v->poll_ns * 2 < SPIN_MAX ? v->poll_ns * 2 : SPIN_MAX;
	else
		v->poll_ns = v->poll_ns / 2 > SPIN_MIN ? v->poll_ns / 2 : SPIN_MIN;
	if (!err && v->mp_state == KVM_MP_STATE_HALTED)
		v->mp_state = KVM_MP_STATE_RUNNABLE;
	kvmclock_preempted(v, false);
	v->woke_at = host_now_ns();
	return err;
}
