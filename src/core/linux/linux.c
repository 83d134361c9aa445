/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The provider /dev/kvm. Called by core.c and probe.c. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "linux.h"

int linux_kvm_open(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, KVM_GET_API_VERSION, 0) == KVM_API_VERSION)
		return fd;
	close(fd);
	return -ENOTSUP;
}
