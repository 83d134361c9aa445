/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors under libkvcore-preload.so, which is in LD_PRELOAD: copies, those that take another's place, whole ranges that are
 * closed, and a child of fork(2) that closes all of them, as programs do before they become another.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAR 900

static bool is_kvm(int fd)
{
	return ioctl(fd, KVM_GET_API_VERSION, 0) == KVM_API_VERSION;
}

static int open_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0 && is_kvm(fd));
	return fd;
}

static void copies(void **state)
{
	int kvm = open_kvm(), copy = dup(kvm), null = open("/dev/null", O_RDONLY);

	assert_true(is_kvm(copy));
	assert_int_equal(close(kvm), 0);
	assert_true(is_kvm(copy));
	assert_int_equal(dup2(copy, FAR), FAR);
	assert_true(is_kvm(FAR));
	/* What cannot be copied leaves the other as it is. */
	assert_int_equal(dup2(-1, FAR), -1);
	assert_int_equal(dup3(null, FAR, -1), -1);
	assert_true(is_kvm(FAR));
	assert_int_equal(dup2(FAR, FAR), FAR);
	assert_true(is_kvm(FAR));
	assert_int_equal(dup2(null, FAR), FAR);
	assert_int_equal(ioctl(FAR, KVM_GET_API_VERSION, 0), -1);
	assert_int_equal(errno, ENOTTY);
	assert_true(is_kvm(copy));
	assert_int_equal(close(FAR) | close(copy) | close(null), 0);
}

static void ranges(void **state)
{
	int first = open_kvm(), second = open_kvm(), null;

	assert_int_equal(close_range((unsigned)first, (unsigned)second, CLOSE_RANGE_CLOEXEC), 0);
	assert_true(is_kvm(first) && is_kvm(second));
	assert_int_equal(close_range((unsigned)first, (unsigned)second, 0), 0);
	null = open("/dev/null", O_RDONLY);
	assert_int_equal(null, first);
	assert_false(is_kvm(null));
	close(null);
	assert_int_equal(open_kvm(), first);
	closefrom(first);
	assert_int_equal(open("/dev/null", O_RDONLY), first);
	assert_false(is_kvm(first));
	close(first);
}

/* Threads of the VM are not in the child: it must not wait for them. */
static void in_a_child(void (*close_all)(int vm))
{
	struct kvm_pit_config config = {};
	int kvm = open_kvm(), vm = ioctl(kvm, KVM_CREATE_VM, 0), vcpu, status;
	pid_t child;

	assert_true(vm >= 0);
	assert_int_equal(ioctl(vm, KVM_CREATE_IRQCHIP, 0), 0);
	assert_int_equal(ioctl(vm, KVM_CREATE_PIT2, &config), 0);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	assert_true(vcpu >= 0);
	child = fork();
	if (!child) {
		alarm(20);
		close_all(kvm);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY), 1);
	assert_int_equal(close(vcpu) | close(vm) | close(kvm), 0);
}

static void one_by_one(int first)
{
	for (int fd = first; fd < FAR; fd++)
		close(fd);
}

static void at_once(int first)
{
	close_range((unsigned)first, ~0u, 0);
}

static void children(void **state)
{
	in_a_child(one_by_one);
	in_a_child(at_once);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(copies), cmocka_unit_test(ranges), cmocka_unit_test(children) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
