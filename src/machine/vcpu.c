/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU's thread: run, see why it came back, one call an exit reason, run again. The only place that knows KVM's exits.
 * A pause is a flag, kvm_run.immediate_exit and a signal; the thread then rests in vcpu_rest().
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"
#include "internal.h"
#include "posted.h"
#include "role.h"

#define KICK_SIGNAL SIGUSR1

static void on_kick(int sig)
{
	/* KVM_RUN ends with EINTR, that is all */
}

static void install_kick_handler(void)
{
	struct sigaction sa = {.sa_handler = on_kick};
	static gsize once;

	if (g_once_init_enter(&once)) {
		sigemptyset(&sa.sa_mask);
		sigaction(KICK_SIGNAL, &sa, NULL);
		g_once_init_leave(&once, 1);
	}
}

bool vcpu_create(struct machine *m, unsigned index, GError **error)
{
	struct vcpu *v = &m->vcpu[index];
	int size = kvcore_ioctl(m->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	v->m = m;
	v->index = index;
	v->fd = kvcore_ioctl(m->core.vm_fd, KVM_CREATE_VCPU, (unsigned long)cpu_apic_id(&m->topology, index));
	if (v->fd < 0 || size < 0)
		return kv_fail_errno(error, errno, "cannot create vCPU %u", index);
	v->run_size = (size_t)size;
	v->run = kvcore_mmap(NULL, v->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return kv_fail_errno(error, errno, "cannot map vCPU %u", index);
	}
	install_kick_handler();
	return cpuid_set(v, error) && vcpu_state_get(v, &v->power_on, error);
}

void vcpu_destroy(struct vcpu *v)
{
	if (v->thread)
		g_thread_join(v->thread);
	if (v->run)
		munmap(v->run, v->run_size);
	if (v->fd > 0)
		kvcore_close(v->fd);
	g_free(v->power_on.msrs);
	g_free(v->id);
}

void vcpu_kick(struct vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (v->thread && v->pthread)
		pthread_kill(v->pthread, KICK_SIGNAL);
}

/* Stands still while a pause is wanted. False: the machine, or this vCPU, is going away. */
static bool vcpu_rest(struct vcpu *v)
{
	struct machine *m = v->m;
	bool goes;

	g_mutex_lock(&m->lock);
	if (m->pause_wanted && !m->stopping && !v->leaving) {
		v->resting = true;
		m->resting++;
		g_cond_broadcast(&m->changed);
		while (m->pause_wanted && !m->stopping && !v->leaving)
			g_cond_wait(&m->changed, &m->lock);
		m->resting--;
		v->resting = false;
	}
	goes = m->stopping || v->leaving;
	__atomic_store_n(&v->run->immediate_exit, goes, __ATOMIC_SEQ_CST);
	g_mutex_unlock(&m->lock);
	return !goes;
}

/* ---- exits ---- */

static void exit_io(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size)
		bus_access(v->m->core.ports, run->io.port, data, run->io.size, run->io.direction == KVM_EXIT_IO_OUT);
}

static void exit_mmio(struct vcpu *v)
{
	bus_access(v->m->core.mmio, v->run->mmio.phys_addr, v->run->mmio.data, v->run->mmio.len, v->run->mmio.is_write);
}

static uint64_t guest_rip(struct vcpu *v)
{
	struct kvm_regs regs = {0};

	kvcore_ioctl(v->fd, KVM_GET_REGS, &regs);
	return regs.rip;
}

static void exit_internal_error(struct vcpu *v)
{
	machine_end(v->m, MACHINE_ERROR,
		    "vCPU %u: the CPU engine cannot emulate the instruction at 0x%" G_GINT64_MODIFIER "x (KVM internal error %u)",
		    v->index, guest_rip(v), v->run->internal.suberror);
}

static void exit_system_event(struct vcpu *v)
{
	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		machine_end(v->m, MACHINE_POWEROFF, "guest powered off");
		break;
	case KVM_SYSTEM_EVENT_RESET:
		machine_end(v->m, MACHINE_RESET, "guest asked for a reset");
		break;
	default:
		machine_end(v->m, MACHINE_ERROR, "vCPU %u: unknown system event %u", v->index, v->run->system_event.type);
	}
}

static void dispatch(struct vcpu *v)
{
	uint32_t reason = v->run->exit_reason;

	v->exits[reason < EXIT_REASONS ? reason : 0]++;
	switch (reason) {
	case KVM_EXIT_IO:
		exit_io(v);
		break;
	case KVM_EXIT_MMIO:
		exit_mmio(v);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	case KVM_EXIT_SHUTDOWN:
		machine_end(v->m, MACHINE_TRIPLE_FAULT, "vCPU %u: triple fault at 0x%" G_GINT64_MODIFIER "x", v->index,
			    guest_rip(v));
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		exit_system_event(v);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		exit_internal_error(v);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		machine_end(v->m, MACHINE_ERROR, "vCPU %u: KVM cannot enter the guest (hardware reason 0x%llx)", v->index,
			    v->run->fail_entry.hardware_entry_failure_reason);
		break;
	default:
		machine_end(v->m, MACHINE_ERROR, "vCPU %u: unexpected exit %u from KVM", v->index, reason);
	}
}

/* An exit that a pause interrupts is still answered and completed: KVM_RUN takes it in before it says EINTR. */
static void *vcpu_thread(void *opaque)
{
	struct vcpu *v = opaque;

	kv_role_enter("vcpu");
	g_mutex_lock(&v->m->lock);
	v->pthread = pthread_self();
	v->tid = gettid();
	g_cond_broadcast(&v->m->changed);
	g_mutex_unlock(&v->m->lock);
	if (!vcpu_rest(v))
		return NULL;
	for (;;) {
		int err = kvcore_ioctl(v->fd, KVM_RUN, 0) ? errno : 0;

		posted_flush(v->m->core.posted);
		if (!err) {
			dispatch(v);
			continue;
		}
		if (err != EINTR && err != EAGAIN)
			machine_end(v->m, MACHINE_ERROR, "vCPU %u: KVM_RUN: %s", v->index, g_strerror(err));
		if (!vcpu_rest(v))
			return NULL;
	}
}

void vcpu_start(struct vcpu *v)
{
	g_autofree char *name = g_strdup_printf("vcpu%u", v->index);

	if (!v->thread)
		v->thread = g_thread_new(name, vcpu_thread, v);
}

void vcpu_stop(struct vcpu *v)
{
	struct machine *m = v->m;

	if (!v->thread)
		return;
	g_mutex_lock(&m->lock);
	v->leaving = true;
	vcpu_kick(v);
	g_cond_broadcast(&m->changed);
	g_mutex_unlock(&m->lock);
	g_thread_join(g_steal_pointer(&v->thread));
	v->leaving = false;
	v->pthread = 0;
	v->tid = 0;
}
