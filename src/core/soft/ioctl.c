/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The system descriptor's ioctls, the extension table, and the way from a descriptor to its handler. Numbers, structs and
 * errors: linux/kvm.h and Documentation/virt/kvm/api.rst. docs/kvm-abi.md lists what is there and what is not.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "cpuid.h"
#include "fpu.h"
#include "ioctl.h"
#include "msr.h"
#include "provider.h"

static const struct {
	u32 cap;
	s32 value;
} extensions[] = {
	{ KVM_CAP_IRQCHIP, 1 },
	{ KVM_CAP_HLT, 1 },
	{ KVM_CAP_USER_MEMORY, 1 },
	{ KVM_CAP_SET_TSS_ADDR, 1 },
	{ KVM_CAP_VAPIC, 1 },
	{ KVM_CAP_EXT_CPUID, 1 },
	{ KVM_CAP_CLOCKSOURCE, 1 },
	{ KVM_CAP_NR_VCPUS, MAX_VCPUS },
	{ KVM_CAP_NR_MEMSLOTS, MEM_SLOTS_MAX },
	{ KVM_CAP_PIT, 1 },
	{ KVM_CAP_NOP_IO_DELAY, 1 },
	{ KVM_CAP_MP_STATE, 1 },
	{ KVM_CAP_COALESCED_MMIO, 2 }, /* the ring's page */
	{ KVM_CAP_SYNC_MMU, 1 },
	{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 1 },
	{ KVM_CAP_USER_NMI, 1 },
	{ KVM_CAP_SET_GUEST_DEBUG, 1 },
	{ KVM_CAP_REINJECT_CONTROL, 1 },
	{ KVM_CAP_IRQ_ROUTING, 4096 },
	{ KVM_CAP_IRQ_INJECT_STATUS, 1 },
	{ KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, 1 },
	{ KVM_CAP_MCE, MCE_BANKS },
	{ KVM_CAP_IRQFD, 1 },
	{ KVM_CAP_PIT2, 1 },
	{ KVM_CAP_SET_BOOT_CPU_ID, 1 },
	{ KVM_CAP_PIT_STATE2, 1 },
	{ KVM_CAP_IOEVENTFD, 1 },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, 1 },
	{ KVM_CAP_ADJUST_CLOCK, KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC },
	{ KVM_CAP_INTERNAL_ERROR_DATA, 1 },
	{ KVM_CAP_VCPU_EVENTS, 1 },
	{ KVM_CAP_DEBUGREGS, 1 },
	{ KVM_CAP_X86_ROBUST_SINGLESTEP, 1 },
	{ KVM_CAP_ENABLE_CAP, 1 },
	{ KVM_CAP_XSAVE, 1 },
	{ KVM_CAP_XSAVE2, 4096 },
	{ KVM_CAP_XCRS, 1 },
	{ KVM_CAP_GET_TSC_KHZ, 1 },
	{ KVM_CAP_MAX_VCPUS, MAX_VCPUS },
	{ KVM_CAP_MAX_VCPU_ID, MAX_VCPU_IDS },
	{ KVM_CAP_SIGNAL_MSI, 1 },
	{ KVM_CAP_READONLY_MEM, 1 },
	{ KVM_CAP_IRQFD_RESAMPLE, 1 },
	{ KVM_CAP_EXT_EMUL_CPUID, 1 },
	{ KVM_CAP_KVMCLOCK_CTRL, 1 },
	{ KVM_CAP_IOEVENTFD_NO_LENGTH, 1 },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, 1 },
	{ KVM_CAP_CHECK_EXTENSION_VM, 1 },
	{ KVM_CAP_ENABLE_CAP_VM, 1 },
	{ KVM_CAP_SPLIT_IRQCHIP, 1 },
	{ KVM_CAP_IMMEDIATE_EXIT, 1 },
	{ KVM_CAP_TSC_DEADLINE_TIMER, 1 },
	{ KVM_CAP_DISABLE_QUIRKS, 1 },
	{ KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK },
	{ KVM_CAP_EXCEPTION_PAYLOAD, 1 },
	{ KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET },
	{ KVM_CAP_COALESCED_PIO, 1 },
	{ KVM_CAP_GET_MSR_FEATURES, 1 },
	{ KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER },
	{ KVM_CAP_X86_MSR_FILTER, 1 },
	{ KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1 },
	{ KVM_CAP_SREGS2, 1 },
	{ KVM_CAP_STEAL_TIME, 1 },
	{ KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1 },
};

long extension_value(unsigned long cap)
{
	for (size_t i = 0; i < ARRAY_SIZE(extensions); i++)
		if (extensions[i].cap == cap)
			return extensions[i].value;
	return 0;
}

static long create_vm(unsigned long type)
{
	struct vm *vm;
	int err, fd;

	if (type)
		return -EINVAL;
	err = vm_create(&vm);
	if (err)
		return err;
	fd = memfd_create("kvm-vm", MFD_CLOEXEC);
	err = fd < 0 ? -errno : handle_add(fd, HANDLE_VM, vm, NULL);
	vm->fd = fd;
	if (err && fd >= 0)
		close(fd);
	vm_put(vm);
	return err ? err : fd;
}

static long get_supported_cpuid(struct kvm_cpuid2 *c)
{
	int n = cpuid_supported(c->entries, c->nent);

	if (n < 0)
		return n;
	c->nent = (u32)n;
	return 0;
}

static long get_msr_list(struct kvm_msr_list *l, const u32 *list, u32 count)
{
	u32 room = l->nmsrs;

	l->nmsrs = count;
	if (room < count)
		return -E2BIG;
	memcpy(l->indices, list, count * sizeof(*list));
	return 0;
}

static long get_feature_msrs(struct kvm_msrs *m)
{
	u32 i;

	if (m->nmsrs >= 256)
		return -E2BIG;
	for (i = 0; i < m->nmsrs; i++) {
		u64 value;

		if (!msr_feature(m->entries[i].index, &value))
			break;
		m->entries[i].data = value;
	}
	return i;
}

static long system_ioctl(unsigned long nr, unsigned long arg)
{
	void *p = (void *)arg;

	switch (nr) {
	case KVM_GET_API_VERSION:
		return arg ? -EINVAL : KVM_API_VERSION;
	case KVM_CREATE_VM:
		return create_vm(arg);
	case KVM_CHECK_EXTENSION:
		return extension_value(arg);
	case KVM_GET_VCPU_MMAP_SIZE:
		return arg ? -EINVAL : (long)(RUN_PAGES * PAGE_SIZE);
	case KVM_GET_SUPPORTED_CPUID:
		return get_supported_cpuid(p);
	case KVM_GET_EMULATED_CPUID: /* nothing beyond what is supported */
		((struct kvm_cpuid2 *)p)->nent = 0;
		return 0;
	case KVM_GET_MSR_INDEX_LIST:
		return get_msr_list(p, msr_save_list, msr_save_count);
	case KVM_GET_MSR_FEATURE_INDEX_LIST:
		return get_msr_list(p, msr_feature_list, msr_feature_count);
	case KVM_GET_MSRS:
		return get_feature_msrs(p);
	case KVM_X86_GET_MCE_CAP_SUPPORTED:
		*(u64 *)p = MCG_CAP_SUPPORTED | MCE_BANKS;
		return 0;
	case KVM_GET_DEVICE_ATTR:
	case KVM_HAS_DEVICE_ATTR:
		return -ENXIO;
	}
	return -EINVAL;
}

int soft_open(void)
{
	int fd = memfd_create("kvm", MFD_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = handle_add(fd, HANDLE_SYSTEM, NULL, NULL);
	if (err)
		close(fd);
	return err ? err : fd;
}

bool soft_owns(int fd)
{
	struct handle *h = handle_get(fd);

	if (!h)
		return false;
	handle_put(h);
	return true;
}

static struct handle *vm_get_handle(int fd)
{
	struct handle *h = handle_get(fd);

	if (!h || h->kind == HANDLE_VM)
		return h;
	handle_put(h);
	return NULL;
}

int soft_report_writes(int vm_fd)
{
	struct handle *h = vm_get_handle(vm_fd);

	if (!h)
		return -ENOTTY;
	__atomic_store_n(&h->vm->writes_reported, true, __ATOMIC_RELEASE);
	handle_put(h);
	return 0;
}

void soft_memory_written(int vm_fd, uint64_t gpa, uint64_t len)
{
	struct handle *h = vm_get_handle(vm_fd);

	if (!h)
		return;
	vm_memory_written(h->vm, gpa, len);
	handle_put(h);
}

int soft_watch_dirty(int vm_fd, uint32_t slot, int eventfd)
{
	struct handle *h = vm_get_handle(vm_fd);
	int err;

	if (!h)
		return -ENOTTY;
	err = mem_watch_dirty(h->vm, slot, eventfd);
	handle_put(h);
	return err;
}

bool soft_ioctl(int fd, unsigned long nr, unsigned long arg, long *ret_result)
{
	struct handle *h = handle_get(fd);

	if (!h)
		return false;
	nr = (u32)nr; /* callers with an int request sign-extend it; the kernel takes 32 bits */
	if (h->kind == HANDLE_VCPU)
		*ret_result = vcpu_ioctl(h->vcpu, nr, arg);
	else if (h->kind == HANDLE_VM)
		*ret_result = vm_ioctl(h, nr, arg);
	else
		*ret_result = system_ioctl(nr, arg);
	handle_put(h);
	return true;
}

int soft_close(int fd)
{
	return handle_close(fd);
}

void soft_forget(unsigned first, unsigned last)
{
	handle_forget(first, last);
}

int soft_dup(int fd, int copy)
{
	struct handle *h = handle_get(fd);
	int err;

	if (!h)
		return -EBADF;
	err = handle_add(copy, h->kind, h->vm, h->vcpu);
	handle_put(h);
	return err;
}
