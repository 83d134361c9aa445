/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* irqfds and ioeventfds of the software KVM: matching, KVM's error codes, resampling. */
#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "chip-rig.h"

static int event(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static u64 count(int fd)
{
	u64 value = 0;

	return read(fd, &value, sizeof(value)) == sizeof(value) ? value : 0;
}

static void ring(int fd)
{
	u64 one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static int assign(struct vm *vm, u64 addr, u32 len, int fd, u32 flags, u64 match)
{
	const struct kvm_ioeventfd a = { .addr = addr, .len = len, .fd = fd, .flags = flags, .datamatch = match };

	return ioeventfd_ioctl(vm, &a);
}

static bool hit(struct vm *vm, u64 addr, u64 value, unsigned len, bool pio)
{
	return ioeventfd_match(vm, addr, &value, len, pio);
}

static void ioeventfd_matching(void **state)
{
	struct vm *vm = rig_create(0, false, false);
	int a = event(), b = event(), c = event();

	assert_false(hit(vm, 0x1000, 1, 4, false));
	assert_int_equal(assign(vm, 0x1000, 2, a, KVM_IOEVENTFD_FLAG_DATAMATCH, 5), 0);
	assert_int_equal(assign(vm, 0x1000, 2, b, KVM_IOEVENTFD_FLAG_DATAMATCH, 6), 0);
	assert_int_equal(assign(vm, 0x0800, 0, c, 0, 0), 0);
	assert_true(hit(vm, 0x1000, 5, 2, false));
	assert_true(hit(vm, 0x1000, 6, 2, false));
	assert_true(hit(vm, 0x1000, 6, 2, false));
	assert_false(hit(vm, 0x1000, 7, 2, false));
	assert_false(hit(vm, 0x1000, 5, 4, false));
	assert_false(hit(vm, 0x1000, 5, 2, true));
	assert_false(hit(vm, 0x1001, 5, 1, false));
	for (unsigned len = 1; len <= 8; len *= 2)
		assert_true(hit(vm, 0x800, 0xabcdef, len, false));
	assert_int_equal(count(a), 1);
	assert_int_equal(count(b), 2);
	assert_int_equal(count(c), 4);
	assert_int_equal(assign(vm, 0xcf8, 4, a, KVM_IOEVENTFD_FLAG_PIO, 0), 0);
	assert_true(hit(vm, 0xcf8, 99, 4, true));
	assert_int_equal(count(a), 1);
	/* closing user space's descriptor changes nothing */
	close(c);
	assert_true(hit(vm, 0x800, 1, 1, false));
	close(a);
	close(b);
	rig_destroy(vm);
}

static void ioeventfd_errors(void **state)
{
	struct vm *vm = rig_create(0, false, false);
	int a = event(), b = event(), file = open("/dev/null", O_RDWR);
	const u32 match = KVM_IOEVENTFD_FLAG_DATAMATCH, gone = KVM_IOEVENTFD_FLAG_DEASSIGN;

	assert_int_equal(assign(vm, 0, 3, a, 0, 0), -EINVAL);
	assert_int_equal(assign(vm, 0, 16, a, 0, 0), -EINVAL);
	assert_int_equal(assign(vm, 0, 0, a, match, 0), -EINVAL);
	assert_int_equal(assign(vm, UINT64_MAX, 8, a, 0, 0), -EINVAL);
	assert_int_equal(assign(vm, 0, 4, a, 1u << 20, 0), -EINVAL);
	assert_int_equal(assign(vm, 0, 4, 9999, 0, 0), -EBADF);
	assert_int_equal(assign(vm, 0, 4, file, 0, 0), -EINVAL);
	assert_int_equal(assign(vm, 0x10, 4, a, match, 1), 0);
	assert_int_equal(assign(vm, 0x10, 4, b, match, 1), -EEXIST);
	assert_int_equal(assign(vm, 0x10, 4, b, 0, 0), -EEXIST);
	assert_int_equal(assign(vm, 0x10, 0, b, 0, 0), -EEXIST);
	assert_int_equal(assign(vm, 0x10, 2, b, 0, 0), 0);
	assert_int_equal(assign(vm, 0x10, 4, b, match | gone, 1), -ENOENT);
	assert_int_equal(assign(vm, 0x10, 4, a, match | gone, 2), -ENOENT);
	assert_int_equal(assign(vm, 0x10, 4, a, gone, 1), -ENOENT);
	assert_int_equal(assign(vm, 0x10, 4, a, match | gone, 1), 0);
	assert_int_equal(assign(vm, 0x10, 4, a, match | gone, 1), -ENOENT);
	assert_false(hit(vm, 0x10, 1, 4, false));
	assert_true(hit(vm, 0x10, 1, 2, false));
	for (u32 i = 0; i < 999; i++)
		assert_int_equal(assign(vm, 0x5000 - i * 8, 4, a, 0, 0), 0);
	assert_int_equal(assign(vm, 0x8000, 4, a, 0, 0), -ENOSPC);
	assert_true(hit(vm, 0x5000 - 500 * 8, 1, 4, false));
	assert_false(hit(vm, 0x5000 - 500 * 8 + 4, 1, 4, false));
	close(a);
	close(b);
	close(file);
	rig_destroy(vm);
}

static int irqfd(struct vm *vm, int fd, u32 gsi, u32 flags, int resample)
{
	const struct kvm_irqfd a = { .fd = (u32)fd, .gsi = gsi, .flags = flags, .resamplefd = (u32)resample };

	return irqfd_ioctl(vm, &a);
}

static void wait_pending(struct vcpu *v, int vector)
{
	while (lapic_pending(v) != vector)
		sched_yield();
}

static void irqfd_edges(void **state)
{
	struct vm *vm = rig_create(1, true, false);
	struct vcpu *v = vm->vcpu[0];
	int a = event(), b = event();

	rig_apic_enable(v);
	rig_ioapic_rte(vm, 20, 0x45);
	rig_ioapic_rte(vm, 21, 0x55);
	assert_int_equal(irqfd(vm, a, 20, 0, -1), 0);
	ring(b); /* before it is assigned: comes at once */
	assert_int_equal(irqfd(vm, b, 21, 0, -1), 0);
	wait_pending(v, 0x55);
	assert_int_equal(lapic_accept(v), 0x55);
	rig_apic_write(v, 0xb0, 0);
	for (int i = 0; i < 100; i++) {
		ring(a);
		wait_pending(v, 0x45);
		assert_int_equal(lapic_accept(v), 0x45);
		rig_apic_write(v, 0xb0, 0);
	}
	assert_int_equal(irqfd(vm, a, 20, KVM_IRQFD_FLAG_DEASSIGN, -1), 0);
	ring(a);
	ring(b);
	wait_pending(v, 0x55);
	assert_int_equal(count(a), 1); /* nobody took it */
	assert_int_equal(irqfd(vm, a, 20, KVM_IRQFD_FLAG_DEASSIGN, -1), 0); /* as Linux: no error */
	assert_int_equal(irqfd(vm, a, 20, 0, -1), 0);
	close(a);
	close(b);
	rig_destroy(vm);
}

static void irqfd_errors(void **state)
{
	struct vm *vm = rig_create(1, true, false), *split = rig_create(1, true, true);
	struct vm *bare = rig_create(0, false, false);
	int a = event(), b = event(), copy = dup(a), file = open("/dev/null", O_RDWR);

	assert_int_equal(irqfd(bare, a, 1, 0, -1), -EINVAL);
	assert_int_equal(irqfd(split, a, 1, KVM_IRQFD_FLAG_RESAMPLE, b), -EINVAL);
	assert_int_equal(irqfd(vm, a, 1, 8, -1), -EINVAL);
	assert_int_equal(irqfd(vm, 9999, 1, 0, -1), -EBADF);
	assert_int_equal(irqfd(vm, file, 1, 0, -1), -EINVAL);
	assert_int_equal(irqfd(vm, a, 1, KVM_IRQFD_FLAG_RESAMPLE, 9999), -EBADF);
	assert_int_equal(irqfd(vm, a, 1, KVM_IRQFD_FLAG_RESAMPLE, file), -EINVAL);
	assert_int_equal(irqfd(vm, a, 1, 0, -1), 0);
	assert_int_equal(irqfd(vm, a, 2, 0, -1), -EBUSY);
	assert_int_equal(irqfd(vm, copy, 2, 0, -1), -EBUSY);
	assert_int_equal(irqfd(vm, b, 1, 0, -1), 0);
	close(a);
	close(b);
	close(copy);
	close(file);
	rig_destroy(vm);
	rig_destroy(split);
	rig_destroy(bare);
}

static void resampling(void **state)
{
	struct vm *vm = rig_create(1, true, false);
	struct vcpu *v = vm->vcpu[0];
	int a = event(), done = event();

	rig_apic_enable(v);
	rig_ioapic_rte(vm, 20, 0x8045);
	assert_int_equal(irqfd(vm, a, 20, KVM_IRQFD_FLAG_RESAMPLE, done), 0);
	ring(a);
	wait_pending(v, 0x45);
	assert_int_equal(lapic_accept(v), 0x45);
	assert_int_equal(count(done), 0);
	rig_apic_write(v, 0xb0, 0);
	assert_int_equal(count(done), 1);
	assert_int_equal(lapic_pending(v), -1); /* the line went down before it could come again */
	ring(a);
	wait_pending(v, 0x45);
	assert_int_equal(lapic_accept(v), 0x45);
	rig_ioapic_write(vm, 0x10 + 40, 0x18045);
	ring(a);
	rig_apic_write(v, 0xb0, 0);
	assert_int_equal(count(done), 1);
	assert_int_equal(irqfd(vm, a, 20, KVM_IRQFD_FLAG_DEASSIGN, -1), 0);
	rig_ioapic_write(vm, 0x10 + 40, 0x8045);
	assert_int_equal(lapic_pending(v), -1); /* its line is down */
	close(a);
	close(done);
	rig_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ioeventfd_matching), cmocka_unit_test(ioeventfd_errors), cmocka_unit_test(irqfd_edges),
		cmocka_unit_test(irqfd_errors),	      cmocka_unit_test(resampling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
