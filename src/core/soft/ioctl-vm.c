/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ioctls of a VM descriptor (api.rst): memory, interrupt chips, clock, capabilities, creation of vCPUs. */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "chip/chip.h"
#include "coalesced.h"
#include "ioctl.h"
#include "kvmclock.h"
#include "msr.h"
#include "sys.h"

static long do_check_extension(struct vm *vm, unsigned long arg)
{
	return extension_value(arg);
}

static long do_create_vcpu(struct vm *vm, unsigned long id)
{
	struct vcpu *v;
	int err = id > UINT32_MAX ? -EINVAL : vcpu_create(vm, (u32)id, &v);

	if (err)
		return err;
	err = handle_add(v->fd, HANDLE_VCPU, vm, v);
	if (err)
		close(v->fd); /* the vCPU itself stays until the VM ends: it may have been seen */
	return err ? err : v->fd;
}

static long do_set_region(struct vm *vm, unsigned long arg)
{
	return mem_set_region(vm, (const void *)arg);
}

static long do_get_dirty_log(struct vm *vm, unsigned long arg)
{
	return mem_get_dirty_log(vm, (const void *)arg);
}

static long do_clear_dirty_log(struct vm *vm, unsigned long arg)
{
	return vm->manual_dirty ? mem_clear_dirty_log(vm, (const void *)arg) : -EINVAL;
}

static long do_set_tss_addr(struct vm *vm, unsigned long arg)
{
	if (arg > UINT32_MAX - 3 * PAGE_SIZE)
		return -EINVAL;
	vm->tss_addr = arg;
	return 0;
}

static long do_set_identity_map(struct vm *vm, unsigned long arg)
{
	u64 addr = *(const u64 *)arg;

	if (vm->vcpu_count)
		return -EINVAL;
	vm->identity_map_addr = addr ? addr : 0xfffbc000;
	return 0;
}

static long do_register_coalesced(struct vm *vm, unsigned long arg)
{
	return coalesced_register(vm, (const void *)arg);
}

static long do_unregister_coalesced(struct vm *vm, unsigned long arg)
{
	return coalesced_unregister(vm, (const void *)arg);
}

static long do_set_boot_cpu(struct vm *vm, unsigned long arg)
{
	if (vm->vcpu_count)
		return -EBUSY;
	vm->bsp_id = (u32)arg;
	return 0;
}

/* ---- interrupt chips ---- */

static long create_chips(struct vm *vm, bool split, u32 pins)
{
	long err;

	pthread_mutex_lock(&vm->lock);
	if (vm->chips)
		err = -EEXIST;
	else if (vm->vcpu_count)
		err = split ? -EEXIST : -EINVAL;
	else
		err = irqchips_create(vm, split, pins);
	pthread_mutex_unlock(&vm->lock);
	return err;
}

static bool has_pic(const struct vm *vm)
{
	return vm->chips && !irqchips_split(vm);
}

static long do_create_irqchip(struct vm *vm, unsigned long arg)
{
	return create_chips(vm, false, 0);
}

static long do_create_pit2(struct vm *vm, unsigned long arg)
{
	long err;

	pthread_mutex_lock(&vm->lock);
	err = has_pic(vm) ? pit_create(vm, (const void *)arg) : -ENOENT;
	pthread_mutex_unlock(&vm->lock);
	return err;
}

static long do_create_pit(struct vm *vm, unsigned long arg)
{
	static const struct kvm_pit_config plain = { .flags = KVM_PIT_SPEAKER_DUMMY };

	return do_create_pit2(vm, (unsigned long)&plain);
}

static long do_irq_line(struct vm *vm, unsigned long arg)
{
	const struct kvm_irq_level *l = (const void *)arg;

	if (!vm->chips)
		return -ENXIO;
	irq_set_line(vm, l->irq, (int)l->level, 0);
	return 0;
}

static long do_irq_line_status(struct vm *vm, unsigned long arg)
{
	struct kvm_irq_level *l = (void *)arg;

	if (!vm->chips)
		return -ENXIO;
	l->status = irq_set_line(vm, l->irq, (int)l->level, 0);
	return 0;
}

static long do_get_irqchip(struct vm *vm, unsigned long arg)
{
	return has_pic(vm) ? irqchip_get(vm, (void *)arg) : -ENXIO;
}

static long do_set_irqchip(struct vm *vm, unsigned long arg)
{
	return has_pic(vm) ? irqchip_set(vm, (const void *)arg) : -ENXIO;
}

static long do_get_pit2(struct vm *vm, unsigned long arg)
{
	return has_pic(vm) ? pit_get(vm, (void *)arg) : -ENXIO;
}

static long do_set_pit2(struct vm *vm, unsigned long arg)
{
	return has_pic(vm) ? pit_set(vm, (const void *)arg) : -ENXIO;
}

static long do_reinject_control(struct vm *vm, unsigned long arg)
{
	const struct kvm_reinject_control *c = (const void *)arg;

	return has_pic(vm) ? pit_set_reinject(vm, c->pit_reinject) : -ENXIO;
}

static long do_set_routing(struct vm *vm, unsigned long arg)
{
	const struct kvm_irq_routing *r = (const void *)arg;

	if (!vm->chips || r->nr > 4096 || r->flags)
		return -EINVAL;
	return irq_set_routing(vm, r);
}

static long do_signal_msi(struct vm *vm, unsigned long arg)
{
	return vm->chips ? irq_send_msi(vm, (const void *)arg) : -EINVAL;
}

static long do_irqfd(struct vm *vm, unsigned long arg)
{
	return irqfd_ioctl(vm, (const void *)arg);
}

static long do_ioeventfd(struct vm *vm, unsigned long arg)
{
	return ioeventfd_ioctl(vm, (const void *)arg);
}

/* ---- clock ---- */

static u64 realtime_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

static long do_get_clock(struct vm *vm, unsigned long arg)
{
	struct kvm_clock_data *d = (void *)arg;

	memset(d, 0, sizeof(*d));
	d->clock = kvmclock_now(vm);
	d->host_tsc = sys_rdtsc();
	d->realtime = realtime_ns();
	d->flags = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
	return 0;
}

static long do_set_clock(struct vm *vm, unsigned long arg)
{
	const struct kvm_clock_data *d = (const void *)arg;
	u64 ns = d->clock, now;

	if (d->flags & ~(u32)(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC))
		return -EINVAL;
	now = realtime_ns();
	if ((d->flags & KVM_CLOCK_REALTIME) && now > d->realtime)
		ns += now - d->realtime;
	kvmclock_set(vm, ns);
	return 0;
}

static long do_get_tsc_khz(struct vm *vm, unsigned long arg)
{
	return (long)(host_tsc_hz() / 1000);
}

/* ---- capabilities ---- */

static long do_enable_cap(struct vm *vm, unsigned long arg)
{
	const struct kvm_enable_cap *c = (const void *)arg;

	if (c->flags)
		return -EINVAL;
	switch (c->cap) {
	case KVM_CAP_SPLIT_IRQCHIP:
		return c->args[0] > 24 ? -EINVAL : create_chips(vm, true, (u32)c->args[0]);
	case KVM_CAP_X2APIC_API:
		if (c->args[0] & ~3ull)
			return -EINVAL;
		vm->caps_enabled |= c->args[0];
		return 0;
	case KVM_CAP_EXCEPTION_PAYLOAD:
		vm->exception_payload = c->args[0];
		return 0;
	case KVM_CAP_X86_TRIPLE_FAULT_EVENT:
		vm->triple_fault_event = c->args[0];
		return 0;
	case KVM_CAP_X86_USER_SPACE_MSR:
		if (c->args[0] & ~7ull)
			return -EINVAL;
		vm->user_space_msr = (u32)c->args[0];
		return 0;
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		if (c->args[0] & ~3ull || c->args[0] == KVM_DIRTY_LOG_INITIALLY_SET)
			return -EINVAL;
		vm->manual_dirty = (u32)c->args[0];
		return 0;
	case KVM_CAP_DISABLE_QUIRKS:
		return 0;
	}
	return -EINVAL;
}

static long do_set_msr_filter(struct vm *vm, unsigned long arg)
{
	return msr_filter_set(vm, (const void *)arg);
}

static long do_create_device(struct vm *vm, unsigned long arg)
{
	return -ENODEV;
}

static const struct vm_ioctl table[] = {
	{ KVM_CHECK_EXTENSION, do_check_extension },
	{ KVM_CREATE_VCPU, do_create_vcpu },
	{ KVM_SET_USER_MEMORY_REGION, do_set_region },
	{ KVM_GET_DIRTY_LOG, do_get_dirty_log },
	{ KVM_CLEAR_DIRTY_LOG, do_clear_dirty_log },
	{ KVM_SET_TSS_ADDR, do_set_tss_addr },
	{ KVM_SET_IDENTITY_MAP_ADDR, do_set_identity_map },
	{ KVM_REGISTER_COALESCED_MMIO, do_register_coalesced },
	{ KVM_UNREGISTER_COALESCED_MMIO, do_unregister_coalesced },
	{ KVM_SET_BOOT_CPU_ID, do_set_boot_cpu },
	{ KVM_CREATE_IRQCHIP, do_create_irqchip },
	{ KVM_CREATE_PIT, do_create_pit },
	{ KVM_CREATE_PIT2, do_create_pit2 },
	{ KVM_IRQ_LINE, do_irq_line },
	{ KVM_IRQ_LINE_STATUS, do_irq_line_status },
	{ KVM_GET_IRQCHIP, do_get_irqchip },
	{ KVM_SET_IRQCHIP, do_set_irqchip },
	{ KVM_GET_PIT2, do_get_pit2 },
	{ KVM_SET_PIT2, do_set_pit2 },
	{ KVM_REINJECT_CONTROL, do_reinject_control },
	{ KVM_SET_GSI_ROUTING, do_set_routing },
	{ KVM_SIGNAL_MSI, do_signal_msi },
	{ KVM_IRQFD, do_irqfd },
	{ KVM_IOEVENTFD, do_ioeventfd },
	{ KVM_GET_CLOCK, do_get_clock },
	{ KVM_SET_CLOCK, do_set_clock },
	{ KVM_GET_TSC_KHZ, do_get_tsc_khz },
	{ KVM_ENABLE_CAP, do_enable_cap },
	{ KVM_X86_SET_MSR_FILTER, do_set_msr_filter },
	{ KVM_CREATE_DEVICE, do_create_device },
};

long vm_ioctl(struct handle *h, unsigned long nr, unsigned long arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].nr == nr)
			return table[i].fn(h->vm, arg);
	return -ENOTTY;
}
