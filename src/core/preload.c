/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libkvcore-preload.so: puts the software KVM under a dynamically linked KVM client. LD_PRELOADed, it answers open("/dev/kvm")
 * with a descriptor of ours and takes ioctl, the close and the dup family on such descriptors; all else goes to libc. mmap needs
 * nothing: a vCPU descriptor is a memfd of its kvm_run pages.
 */
#undef _FILE_OFFSET_BITS /* or the headers rename open to open64, and both are defined here */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "soft/provider.h"

#define EXPORT __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&name))real(#name))

/* Own prototypes: the fortified ones of libc have no header. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static bool is_kvm(const char *path)
{
	return path && !strcmp(path, "/dev/kvm");
}

static int result(long ret)
{
	if (ret >= 0)
		return (int)ret;
	errno = (int)-ret;
	return -1;
}

/* Of the variable arguments, the one there may be: the mode of a file that is created, a word of fcntl and ioctl. */
#define WORD_AFTER(last)                                                                             \
	({                                                                                           \
		va_list ap_;                                                                         \
		unsigned long word_;                                                                 \
		va_start(ap_, last);                                                                 \
		word_ = va_arg(ap_, unsigned long);                                                  \
		va_end(ap_);                                                                         \
		word_;                                                                               \
	})

EXPORT int open(const char *path, int flags, ...)
{
	return is_kvm(path) ? result(soft_open()) : REAL(open)(path, flags, (mode_t)WORD_AFTER(flags));
}

EXPORT int open64(const char *path, int flags, ...)
{
	return is_kvm(path) ? result(soft_open()) : REAL(open64)(path, flags, (mode_t)WORD_AFTER(flags));
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
	return is_kvm(path) ? result(soft_open()) : REAL(openat)(dir, path, flags, (mode_t)WORD_AFTER(flags));
}

EXPORT int openat64(int dir, const char *path, int flags, ...)
{
	return is_kvm(path) ? result(soft_open()) : REAL(openat64)(dir, path, flags, (mode_t)WORD_AFTER(flags));
}

EXPORT int __open_2(const char *path, int flags)
{
	return is_kvm(path) ? result(soft_open()) : REAL(__open_2)(path, flags);
}

EXPORT int __open64_2(const char *path, int flags)
{
	return is_kvm(path) ? result(soft_open()) : REAL(__open64_2)(path, flags);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
	return is_kvm(path) ? result(soft_open()) : REAL(__openat_2)(dir, path, flags);
}

EXPORT int __openat64_2(int dir, const char *path, int flags)
{
	return is_kvm(path) ? result(soft_open()) : REAL(__openat64_2)(dir, path, flags);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	static __typeof__(&ioctl) next;
	unsigned long arg = WORD_AFTER(request);
	long ret;

	if (soft_ioctl(fd, request, arg, &ret))
		return result(ret);
	if (!next)
		next = REAL(ioctl);
	return next(fd, request, arg);
}

EXPORT int close(int fd)
{
	static __typeof__(&close) next;

	if (!next)
		next = REAL(close);
	if (soft_owns(fd))
		return result(soft_close(fd));
	return next(fd);
}

/* A duplicate made by libc becomes one more descriptor of the object. */
static int duplicated(int fd, int copy)
{
	if (copy >= 0 && copy != fd) {
		soft_forget((unsigned)copy, (unsigned)copy); /* what dup2() has closed */
		if (soft_owns(fd))
			soft_dup(fd, copy);
	}
	return copy;
}

EXPORT int dup(int fd)
{
	return duplicated(fd, REAL(dup)(fd));
}

EXPORT int dup2(int fd, int to)
{
	return duplicated(fd, REAL(dup2)(fd, to));
}

EXPORT int dup3(int fd, int to, int flags)
{
	return duplicated(fd, REAL(dup3)(fd, to, flags));
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	int ret = REAL(close_range)(first, last, flags);

	if (!ret && !(flags & CLOSE_RANGE_CLOEXEC))
		soft_forget(first, last);
	return ret;
}

EXPORT void closefrom(int first)
{
	REAL(closefrom)(first);
	soft_forget(first < 0 ? 0 : (unsigned)first, ~0u);
}

EXPORT int fcntl(int fd, int command, ...)
{
	int ret = REAL(fcntl)(fd, command, WORD_AFTER(command));

	return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicated(fd, ret) : ret;
}

EXPORT int fcntl64(int fd, int command, ...)
{
	int ret = REAL(fcntl64)(fd, command, WORD_AFTER(command));

	return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicated(fd, ret) : ret;
}
