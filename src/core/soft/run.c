/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM_RUN: requests, events, execution, exits, until user space is wanted. The guest's vector state is in the host's
 * registers from fpu_enter() to fpu_leave(), so nothing in between calls libc.
 *
 * Signals: a handler that sets kvm_run.immediate_exit is noticed at once (the execution loops poll that byte). Signals
 * that KVM_SET_SIGNAL_MASK lets in are looked for every millisecond.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include "chip/chip.h"
#include "cpu/host.h"
#include "cpu/insn.h"
#include "cpu/interp.h"
#include "jit/jit.h"
#include "kvmclock.h"
#include "mmu.h"
#include "run.h"
#include "sys.h"

#define INTERP_SLICE (1u << 20)

/* ---- host signals that belong to translated code ---- */

static const int caught[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
static struct sigaction previous[ARRAY_SIZE(caught)];

static void on_signal(int sig, siginfo_t *info, void *ucontext)
{
	if (jit_signal(sig, info, ucontext))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(caught); i++) {
		const struct sigaction *p = &previous[i];

		if (caught[i] != sig)
			continue;
		if (p->sa_flags & SA_SIGINFO)
			p->sa_sigaction(sig, info, ucontext);
		else if (p->sa_handler != SIG_DFL && p->sa_handler != SIG_IGN)
			p->sa_handler(sig);
		else
			sigaction(sig, p, NULL); /* the fault comes again and does what it always did */
	}
}

static void install_handlers(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(caught); i++)
		sigaction(caught[i], &sa, &previous[i]);
}

/* ---- requests and events ---- */

static bool signal_waits(struct vcpu *v)
{
	return v->has_sigmask && (sys_sigpending() & ~v->sigmask_word);
}

int run_requests(struct vcpu *v)
{
	struct cpu *c = &v->cpu;
	u32 req;

	if (likely(!vcpu_poll_word(v) && !__atomic_load_n(&c->req, __ATOMIC_ACQUIRE) &&
		   !__atomic_load_n(&v->vm->world_stop, __ATOMIC_ACQUIRE)))
		return 0;
	__atomic_store_n(vcpu_poll_byte(v), 0, __ATOMIC_SEQ_CST);
	v->run->padding1[0] = v->run->padding1[2] = 0;
	req = __atomic_exchange_n(&c->req, 0, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&v->vm->world_stop, __ATOMIC_SEQ_CST)) {
		vcpu_safe_point(v);
		req |= __atomic_exchange_n(&c->req, 0, __ATOMIC_SEQ_CST);
	}
	if (req & REQ_TLB_FLUSH)
		mmu_flush_all(c);
	if (req & REQ_JUMP_FLUSH)
		cpu_flush_jump(c);
	if (req & REQ_MIGRATE_CLOCK)
		kvmclock_update(v);
	if ((req & REQ_SIGNAL) && signal_waits(v))
		return -EINTR;
	return __atomic_load_n(&v->run->immediate_exit, __ATOMIC_RELAXED) ? -EINTR : 0;
}

void take_init_sipi(struct vcpu *v)
{
	if (__atomic_exchange_n(&v->init_pending, false, __ATOMIC_SEQ_CST)) {
		vcpu_reset(v, true);
		v->mp_state = v->id == v->vm->bsp_id ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_INIT_RECEIVED;
	}
	if (__atomic_exchange_n(&v->sipi_pending, false, __ATOMIC_SEQ_CST) &&
	    v->mp_state == KVM_MP_STATE_INIT_RECEIVED) { /* else it is lost, as on hardware */
		struct segment *cs = &v->cpu.seg[SEG_CS];

		cs->sel = (u16)(v->sipi_vector << 8);
		cs->base = (u64)v->sipi_vector << 12;
		v->cpu.rip = 0;
		v->mp_state = KVM_MP_STATE_RUNNABLE;
	}
}

enum event_result { EVENT_NONE, EVENT_DONE, EVENT_STEP, EVENT_WINDOW, EVENT_TRIPLE };

/* KVM_SET_VCPU_EVENTS' exception, as if the instruction at RIP had raised it. */
static enum event_result deliver_exception(struct vcpu *v)
{
	struct cpu *c = &v->cpu;

	v->inject_exc.pending = false;
	if (v->inject_exc.has_payload && v->inject_exc.vector == EXC_PF)
		c->cr2 = v->inject_exc.payload;
	if (v->inject_exc.has_payload && v->inject_exc.vector == EXC_DB)
		c->dr[6] |= v->inject_exc.payload;
	return cpu_deliver(c, v->inject_exc.vector, DELIVER_EXCEPTION, v->inject_exc.has_error, v->inject_exc.error) ?
	       EVENT_DONE : EVENT_TRIPLE;
}

static enum event_result deliver_nmi(struct vcpu *v)
{
	struct cpu *c = &v->cpu;

	if (c->nmi_blocked) {
		v->event_blocked = 1;
		return EVENT_NONE;
	}
	if (c->intr_shadow)
		return EVENT_STEP;
	__atomic_store_n(&v->nmi_pending, false, __ATOMIC_SEQ_CST);
	c->nmi_blocked = true;
	v->stat.injections++;
	return cpu_deliver(c, EXC_NMI, DELIVER_EXTERNAL, false, 0) ? EVENT_DONE : EVENT_TRIPLE;
}

static int take_vector(struct vcpu *v)
{
	int vector = v->user_irq;

	if (vector >= 0) {
		v->user_irq = -1;
		return vector;
	}
	return lapic_accept(v);
}

/* The most urgent event, if it may be delivered now; event_blocked says that one waits. */
static enum event_result deliver_event(struct vcpu *v)
{
	struct cpu *c = &v->cpu;
	bool window = v->run->request_interrupt_window;
	int vector;

	v->event_blocked = 0;
	if (unlikely(v->triple_fault)) {
		v->triple_fault = false;
		return EVENT_TRIPLE;
	}
	if (unlikely(v->inject_exc.pending))
		return deliver_exception(v);
	if (unlikely(__atomic_load_n(&v->nmi_pending, __ATOMIC_RELAXED))) {
		enum event_result r = deliver_nmi(v);

		if (r != EVENT_NONE)
			return r;
	}
	if (v->user_irq < 0 && (!v->lapic || lapic_pending(v) < 0)) {
		if (likely(!window))
			return EVENT_NONE;
		if ((c->rflags & FL_IF) && !c->intr_shadow)
			return EVENT_WINDOW;
		v->event_blocked = 1;
		return c->intr_shadow ? EVENT_STEP : EVENT_NONE;
	}
	if (!(c->rflags & FL_IF)) {
		v->event_blocked = 1;
		return EVENT_NONE;
	}
	if (c->intr_shadow)
		return EVENT_STEP;
	vector = take_vector(v);
	if (vector < 0)
		return EVENT_NONE;
	v->stat.injections++;
	return cpu_deliver(c, (unsigned)vector, DELIVER_EXTERNAL, false, 0) ? EVENT_DONE : EVENT_TRIPLE;
}

/* ---- execution ---- */

/* One instruction; 0 or the reason it leaves with. The replay record is its own only. */
static unsigned step(struct vcpu *v)
{
	unsigned reason = 0;

	v->cpu.replay_pos = 0;
	if (interp_step(&v->cpu, &reason) == INTERP_LEAVE)
		return reason;
	v->cpu.replay_count = v->cpu.replay_pos = 0;
	return 0;
}

static void debug_exit(struct vcpu *v, u32 exception, u64 dr6)
{
	struct cpu *c = &v->cpu;

	v->run->debug.arch = (struct kvm_debug_exit_arch){ .exception = exception, .pc = c->seg[SEG_CS].base + c->rip,
							   .dr6 = dr6, .dr7 = v->debug_reg[7] };
}

static bool breakpoint_here(struct vcpu *v)
{
	struct cpu *c = &v->cpu;
	u64 la = c->seg[SEG_CS].base + c->rip, gpa;
	u8 *host;
	u32 error;
	bool mmio;

	if ((v->guest_debug & KVM_GUESTDBG_USE_SW_BP) && mmu_fetch(c, la, &gpa, &host, &error, &mmio) &&
	    host[la & ~PAGE_MASK] == 0xcc) {
		debug_exit(v, EXC_BP, 0);
		return true;
	}
	if (!(v->guest_debug & KVM_GUESTDBG_USE_HW_BP))
		return false;
	for (unsigned i = 0; i < 4; i++) {
		u64 dr7 = v->debug_reg[7];

		if ((dr7 >> (2 * i) & 3) && !(dr7 >> (16 + 4 * i) & 3) && v->debug_reg[i] == la) {
			debug_exit(v, EXC_DB, 1u << i);
			return true;
		}
	}
	return false;
}

/* KVM_SET_GUEST_DEBUG: one instruction at a time. */
static unsigned execute_debug(struct vcpu *v)
{
	unsigned reason;

	if (breakpoint_here(v))
		return LEAVE_DEBUG;
	reason = step(v);
	if (!reason && (v->guest_debug & KVM_GUESTDBG_SINGLESTEP)) {
		debug_exit(v, EXC_DB, 1u << 14);
		return LEAVE_DEBUG;
	}
	return reason;
}

static unsigned execute(struct vcpu *v)
{
	struct cpu *c = &v->cpu;
	bool translate = v->vm->jit && !(c->rflags & FL_TF) && !(c->dr[7] & 0xff);
	unsigned reason = 0;

	if (unlikely(v->guest_debug & KVM_GUESTDBG_ENABLE))
		return execute_debug(v);
	if (translate && cpu_translates(c))
		return jit_run(v->vm->jit, c);
	c->replay_pos = c->replay_count = 0;
	if (interp_run(c, INTERP_SLICE, translate, &reason) == INTERP_LEAVE)
		return reason;
	return 0;
}

/* True: user space is wanted, kvm_run is filled. */
static bool leave(struct vcpu *v, unsigned reason)
{
	if (reason != LEAVE_HLT) {
		exit_to_user(v, reason);
		return true;
	}
	v->cpu.intr_shadow = 0;
	v->cpu.halted = false;
	if (!v->lapic) {
		exit_simple(v, KVM_EXIT_HLT);
		return true;
	}
	v->mp_state = KVM_MP_STATE_HALTED;
	return false;
}

/* Of one EOI; more may wait for the next exits. */
static void tell_eoi(struct vcpu *v)
{
	u32 word = 0;
	u64 *told = v->eoi_exits;

	while (!told[word])
		word++;
	v->run->eoi.vector = (u8)(word * 64 + (u32)__builtin_ctzll(told[word]));
	told[word] &= told[word] - 1;
	v->eoi_exit = told[0] | told[1] | told[2] | told[3];
	exit_simple(v, KVM_EXIT_IOAPIC_EOI);
}

/* The loop. 0: an exit is in kvm_run; -EINTR. */
static int run_loop(struct vcpu *v)
{
	for (;;) {
		unsigned reason;
		int err = run_requests(v);

		if (err)
			return err;
		if (unlikely(v->init_pending || v->sipi_pending))
			take_init_sipi(v);
		if (v->mp_state != KVM_MP_STATE_RUNNABLE) {
			err = halt_wait(v);
			if (err)
				return err;
			continue;
		}
		switch (deliver_event(v)) {
		case EVENT_DONE: /* another may wait behind it, and has to be known to whoever sets IF */
			continue;
		case EVENT_STEP:
			reason = step(v);
			break;
		case EVENT_WINDOW:
			exit_simple(v, KVM_EXIT_IRQ_WINDOW_OPEN);
			return 0;
		case EVENT_TRIPLE:
			reason = LEAVE_TRIPLE_FAULT;
			break;
		default:
			reason = execute(v);
		}
		if (reason && leave(v, reason))
			return 0;
		if (unlikely(v->eoi_exit)) {
			tell_eoi(v);
			return 0;
		}
	}
}

static void signal_tick(struct kv_timer *t)
{
	vcpu_request(t->opaque, REQ_SIGNAL);
	t->deadline = host_now_ns() + 1000000;
}

int vcpu_run(struct vcpu *v)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct kv_timer tick = { .deadline = UINT64_MAX, .fire = signal_tick, .opaque = v };
	bool ticking = false;
	unsigned reason;
	int err = 0;

	pthread_once(&once, install_handlers);
	v->thread = pthread_self();
	if (v->has_sigmask) {
		ticking = !timer_add(v->vm, &tick);
		if (ticking)
			timer_set(v->vm, &tick, host_now_ns() + 1000000);
		vcpu_request(v, REQ_SIGNAL);
	}
	v->stat.run_exits++;
	vm_device_event(v->vm);
	__atomic_store_n(&v->in_run, 1, __ATOMIC_SEQ_CST);
	vcpu_safe_point(v);
	if (v->lapic)
		lapic_timer_enter(v);
	fpu_enter(&v->fpu);
	if (!v->lapic)
		v->cpu.cr8 = v->run->cr8;
	if (run_requests(v)) /* flushes come before anything is executed; what else it saw is looked at again */
		vcpu_request(v, REQ_SIGNAL | REQ_EVENT);
	reason = exit_complete(v);
	if (!reason || !leave(v, reason))
		err = run_loop(v);
	if (err)
		exit_simple(v, KVM_EXIT_INTR);
	fpu_leave(&v->fpu);
	__atomic_store_n(&v->in_run, 0, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&v->vm->world_stop, __ATOMIC_SEQ_CST))
		sys_futex_wake(&v->stopped, 1);
	if (ticking)
		timer_remove(v->vm, &tick);
	exit_state(v);
	return err;
}
