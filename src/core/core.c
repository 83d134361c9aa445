/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libkvcore's functions (core.h): the choice of a provider, and the way of each call to it. A descriptor that is not the
 * software KVM's belongs to the kernel.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "core.h"
#include "linux/linux.h"
#include "probe.h"
#include "soft/provider.h"

static struct {
	pthread_once_t once;
	bool native;
	char text[sizeof(((struct kvcore_choice *)0)->text)];
} probed = { .once = PTHREAD_ONCE_INIT };

static void probe_once(void)
{
	probed.native = probe_kvm(probed.text, sizeof(probed.text));
}

static int result(long ret)
{
	if (ret >= 0)
		return (int)ret;
	errno = (int)-ret;
	return -1;
}

int kvcore_open(enum kvcore_accel accel, struct kvcore_choice *ret_choice)
{
	struct kvcore_choice c = { .accel = accel };
	int fd;

	if (accel == KVCORE_AUTO) {
		pthread_once(&probed.once, probe_once);
		c.accel = probed.native ? KVCORE_KVM : KVCORE_SOFT;
		memcpy(c.text, probed.text, sizeof(c.text));
	} else {
		snprintf(c.text, sizeof(c.text), accel == KVCORE_KVM ? "Linux KVM: as asked" : "software KVM: as asked");
	}
	fd = c.accel == KVCORE_KVM ? linux_kvm_open() : soft_open();
	if (fd < 0)
		snprintf(c.text, sizeof(c.text), "%s does not open: %s", c.accel == KVCORE_KVM ? "/dev/kvm" : "software KVM",
			 strerror(-fd));
	if (ret_choice)
		*ret_choice = c;
	return result(fd);
}

int kvcore_ioctl(int fd, unsigned long request, ...)
{
	unsigned long arg;
	va_list ap;
	long ret;

	va_start(ap, request);
	arg = va_arg(ap, unsigned long);
	va_end(ap);
	return soft_ioctl(fd, request, arg, &ret) ? result(ret) : ioctl(fd, request, arg);
}

void *kvcore_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return mmap(addr, len, prot, flags, fd, offset);
}

int kvcore_close(int fd)
{
	return soft_owns(fd) ? result(soft_close(fd)) : close(fd);
}

int kvcore_report_writes(int vm_fd)
{
	return soft_owns(vm_fd) ? result(soft_report_writes(vm_fd)) : 0;
}

void kvcore_memory_written(int vm_fd, uint64_t gpa, uint64_t len)
{
	soft_memory_written(vm_fd, gpa, len);
}

int kvcore_watch_dirty(int vm_fd, uint32_t slot, int eventfd)
{
	return result(soft_watch_dirty(vm_fd, slot, eventfd));
}

ssize_t kvcore_stats(int vm_fd, char *buf, size_t size)
{
	ssize_t n = soft_stats(vm_fd, buf, size);

	if (n >= 0)
		return n;
	errno = (int)-n;
	return -1;
}
