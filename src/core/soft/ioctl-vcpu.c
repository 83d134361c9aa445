/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ioctls of a vCPU descriptor (api.rst) that run it, interrupt it or set it up; those that read and write its state are
 * in ioctl-state.c. Each holds the vCPU's lock, so all but KVM_RUN's own thread wait for KVM_RUN to return.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include "chip/chip.h"
#include "cpu/host.h"
#include "cpuid.h"
#include "ioctl.h"
#include "kvmclock.h"
#include "mmu.h"
#include "msr.h"

static long do_run(struct vcpu *v, unsigned long arg)
{
	if (arg)
		return -EINVAL;
	host_tsc_hz(); /* in there it must not take the way that it takes the first time */
	return vcpu_run(v);
}

static long do_set_cpuid2(struct vcpu *v, unsigned long arg)
{
	const struct kvm_cpuid2 *c = (const void *)arg;

	return cpuid_set(v, c->entries, c->nent);
}

static long do_get_cpuid2(struct vcpu *v, unsigned long arg)
{
	struct kvm_cpuid2 *c = (void *)arg;
	u32 room = c->nent;

	c->nent = v->cpuid_count;
	if (room < v->cpuid_count)
		return -E2BIG;
	memcpy(c->entries, v->cpuid, v->cpuid_count * sizeof(*v->cpuid));
	return 0;
}

static long msrs(struct vcpu *v, struct kvm_msrs *m, bool write)
{
	u32 i;

	if (m->nmsrs >= 256)
		return -E2BIG;
	for (i = 0; i < m->nmsrs; i++) {
		u64 value = m->entries[i].data;

		if (!msr_host_access(v, m->entries[i].index, &value, write))
			break;
		if (!write)
			m->entries[i].data = value;
	}
	return i;
}

static long do_get_msrs(struct vcpu *v, unsigned long arg)
{
	return msrs(v, (void *)arg, false);
}

static long do_set_msrs(struct vcpu *v, unsigned long arg)
{
	return msrs(v, (void *)arg, true);
}

static long do_interrupt(struct vcpu *v, unsigned long arg)
{
	u32 irq = ((const struct kvm_interrupt *)arg)->irq;

	if (irq >= 256)
		return -EINVAL;
	if (v->lapic && !irqchips_split(v->vm))
		return -ENXIO;
	if (v->user_irq >= 0)
		return -EEXIST;
	v->user_irq = (s32)irq;
	vcpu_kick(v);
	return 0;
}

static long do_nmi(struct vcpu *v, unsigned long arg)
{
	__atomic_store_n(&v->nmi_pending, true, __ATOMIC_SEQ_CST);
	vcpu_kick(v);
	return 0;
}

static long do_set_signal_mask(struct vcpu *v, unsigned long arg)
{
	const struct kvm_signal_mask *m = (const void *)arg;

	v->has_sigmask = false;
	if (!m)
		return 0;
	if (m->len != sizeof(u64))
		return -EINVAL;
	memcpy(&v->sigmask_word, m->sigset, sizeof(u64));
	v->sigmask_word &= ~(1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1));
	v->has_sigmask = true;
	return 0;
}

static long do_set_guest_debug(struct vcpu *v, unsigned long arg)
{
	const struct kvm_guest_debug *d = (const void *)arg;

	if (d->control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)) {
		if (v->inject_exc.pending)
			return -EBUSY;
		v->inject_exc.pending = true;
		v->inject_exc.vector = d->control & KVM_GUESTDBG_INJECT_DB ? EXC_DB : EXC_BP;
		v->inject_exc.has_error = v->inject_exc.has_payload = false;
	}
	v->guest_debug = d->control & KVM_GUESTDBG_ENABLE ? d->control : 0;
	memcpy(v->debug_reg, d->arch.debugreg, sizeof(v->debug_reg));
	return 0;
}

static long do_translate(struct vcpu *v, unsigned long arg)
{
	struct kvm_translation *t = (void *)arg;
	struct mmu_result r;

	t->valid = mmu_walk(&v->cpu, t->linear_address, MMU_READ, VIEW_KERNEL_AC, true, &r);
	t->physical_address = t->valid ? r.gpa : ~0ull;
	t->writeable = 1;
	t->usermode = 0;
	return 0;
}

static long do_tpr_access_reporting(struct vcpu *v, unsigned long arg)
{
	const struct kvm_tpr_access_ctl *c = (const void *)arg;

	return c->flags ? -EINVAL : 0; /* reports would only help guests without a fast TPR */
}

static long do_set_vapic_addr(struct vcpu *v, unsigned long arg)
{
	return v->lapic ? 0 : -EINVAL;
}

static long do_kvmclock_ctrl(struct vcpu *v, unsigned long arg)
{
	if (!(v->kvmclock_msr & 1))
		return -EINVAL;
	v->guest_paused = true;
	vcpu_request(v, REQ_MIGRATE_CLOCK);
	return 0;
}

static long do_get_tsc_khz(struct vcpu *v, unsigned long arg)
{
	return (long)(host_tsc_hz() / 1000);
}

/* There is no scaling: the host's frequency, within KVM's tolerance of 250 ppm. */
static long do_set_tsc_khz(struct vcpu *v, unsigned long arg)
{
	u64 own = host_tsc_hz() / 1000, khz = arg ? arg : own, apart = khz > own ? khz - own : own - khz;

	return apart * 1000000 > own * 250 ? -EINVAL : 0;
}

static long do_setup_mce(struct vcpu *v, unsigned long arg)
{
	u64 cap = *(const u64 *)arg, banks = cap & 0xff;

	if (!banks || banks > MCE_BANKS || (cap & ~(MCG_CAP_SUPPORTED | 0xff00ffull)))
		return -EINVAL;
	v->msr.mcg_cap = cap;
	if (cap & 1u << 8)
		v->msr.mcg_ctl = ~0ull;
	return 0;
}

static long do_set_mce(struct vcpu *v, unsigned long arg)
{
	const struct kvm_x86_mce *m = (const void *)arg;
	const u64 valid = 1ull << 63, overflow = 1ull << 62, uncorrected = 1ull << 61, in_progress = 4;
	u64 *bank;

	if (m->bank >= (v->msr.mcg_cap & 0xff) || !(m->status & valid))
		return -EINVAL;
	bank = &v->msr.mce[4 * m->bank];
	if ((m->status & uncorrected) && (v->msr.mcg_cap & 1u << 8) && v->msr.mcg_ctl != ~0ull)
		return 0;
	if ((m->status & uncorrected) && bank[0] != ~0ull)
		return 0;
	if ((m->status & uncorrected) && ((v->msr.mcg_status & in_progress) || !(v->cpu.cr4 & CR4_MCE))) {
		v->triple_fault = true; /* what a processor does that cannot take it */
		vcpu_kick(v);
		return 0;
	}
	if (!(m->status & uncorrected) && (bank[1] & valid) && (bank[1] & uncorrected)) {
		bank[1] |= overflow;
		return 0;
	}
	bank[1] = m->status | (bank[1] & valid ? overflow : 0);
	bank[2] = m->addr;
	bank[3] = m->misc;
	if (m->status & uncorrected) {
		v->msr.mcg_status = m->mcg_status;
		v->inject_exc.vector = EXC_MC;
		v->inject_exc.has_error = v->inject_exc.has_payload = false;
		v->inject_exc.pending = true;
		vcpu_kick(v);
	}
	return 0;
}

static long do_enable_cap(struct vcpu *v, unsigned long arg)
{
	const struct kvm_enable_cap *c = (const void *)arg;

	return c->flags || c->cap != KVM_CAP_ENFORCE_PV_FEATURE_CPUID ? -EINVAL : 0;
}

static const struct vcpu_ioctl table[] = {
	{ KVM_RUN, do_run },
	{ KVM_SET_CPUID2, do_set_cpuid2 },
	{ KVM_GET_CPUID2, do_get_cpuid2 },
	{ KVM_GET_MSRS, do_get_msrs },
	{ KVM_SET_MSRS, do_set_msrs },
	{ KVM_INTERRUPT, do_interrupt },
	{ KVM_NMI, do_nmi },
	{ KVM_SET_SIGNAL_MASK, do_set_signal_mask },
	{ KVM_SET_GUEST_DEBUG, do_set_guest_debug },
	{ KVM_TRANSLATE, do_translate },
	{ KVM_TPR_ACCESS_REPORTING, do_tpr_access_reporting },
	{ KVM_SET_VAPIC_ADDR, do_set_vapic_addr },
	{ KVM_KVMCLOCK_CTRL, do_kvmclock_ctrl },
	{ KVM_GET_TSC_KHZ, do_get_tsc_khz },
	{ KVM_SET_TSC_KHZ, do_set_tsc_khz },
	{ KVM_X86_SETUP_MCE, do_setup_mce },
	{ KVM_X86_SET_MCE, do_set_mce },
	{ KVM_ENABLE_CAP, do_enable_cap },
};

/* Outside of KVM_RUN a vCPU does not stop with the world: what looks at guest memory there holds off changes of memslots. */
static long call(const struct vcpu_ioctl *row, struct vcpu *v, unsigned long arg)
{
	long ret;

	if (row->fn == do_run)
		return do_run(v, arg);
	pthread_rwlock_rdlock(&v->vm->memory_lock);
	ret = row->fn(v, arg);
	pthread_rwlock_unlock(&v->vm->memory_lock);
	return ret;
}

long vcpu_ioctl(struct vcpu *v, unsigned long nr, unsigned long arg)
{
	const struct vcpu_ioctl *row = NULL;
	long ret;

	for (size_t i = 0; i < ARRAY_SIZE(table) && !row; i++)
		if (table[i].nr == nr)
			row = &table[i];
	for (const struct vcpu_ioctl *r = vcpu_state_ioctls; r->nr && !row; r++)
		if (r->nr == nr)
			row = r;
	if (!row)
		return -EINVAL;
	pthread_mutex_lock(&v->lock);
	ret = call(row, v, arg);
	pthread_mutex_unlock(&v->lock);
	return ret;
}
