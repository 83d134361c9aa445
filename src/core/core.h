/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libkvcore: the Linux KVM ioctl ABI (linux/kvm.h; Documentation/virt/kvm/api.rst), from one of two providers: the
 * kernel's /dev/kvm, or the software KVM of src/core/soft. A client is written as for /dev/kvm: the calls below have the
 * shapes, return values (-1 and errno) and thread rules of open(2), ioctl(2), mmap(2) and close(2) on KVM's descriptors.
 * A descriptor belongs to one provider for its life; any number of VMs of both kinds may live in one process.
 */
#pragma once
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define KVCORE_API __attribute__((visibility("default")))

enum kvcore_accel {
	KVCORE_AUTO, /* /dev/kvm if a 64-bit kernel-mode guest runs there at native speed, else the software KVM */
	KVCORE_KVM,
	KVCORE_SOFT,
};

/* What kvcore_open() took, and the reason in one line (for people; never NULL, static storage or in `text`). */
struct kvcore_choice {
	enum kvcore_accel accel; /* KVCORE_KVM or KVCORE_SOFT */
	char text[160];
};

/* A system descriptor (what open("/dev/kvm") gives), or -1 and errno. ret_choice may be NULL; it is set on failure too. */
KVCORE_API int kvcore_open(enum kvcore_accel accel, struct kvcore_choice *ret_choice);

/* ioctl(2) on a system, VM or vCPU descriptor. */
KVCORE_API int kvcore_ioctl(int fd, unsigned long request, ...);

/* mmap(2) of a vCPU descriptor (KVM_GET_VCPU_MMAP_SIZE bytes at offset 0); release it with munmap(2). */
KVCORE_API void *kvcore_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);

KVCORE_API int kvcore_close(int fd);

/*
 * Guest memory that the client itself writes, as a device or a loader does. The software KVM keeps translations of guest code,
 * so it has to know; unless it is told, it compares code with memory again and again, which costs time and is late.
 *
 * kvcore_report_writes() declares, before the VM's first KVM_RUN and for good, that each such write will be reported: every
 * change of the memory behind a memslot's userspace_addr, also by madvise(2), while the slot is there. 0, or -1 and errno.
 * kvcore_memory_written() reports one: after the bytes have changed, and before the guest can learn that they have (a ring's
 * index, an interrupt). [gpa, gpa + len) need not all be memory. Any thread; cheap where no code was. It may be called
 * without the declaration too. On a descriptor of the kernel's KVM both do nothing.
 */
KVCORE_API int kvcore_report_writes(int vm_fd);
KVCORE_API void kvcore_memory_written(int vm_fd, uint64_t gpa, uint64_t len);

/*
 * Who waits for guest memory to change need not ask for the dirty log again and again: the next page of the memslot that
 * becomes dirty in it adds 1 to the eventfd, and ends the watch. What is dirty already does not; so watch, take the log once
 * more, and then wait. eventfd -1 ends a watch. The eventfd stays open until the watch has ended or the slot has gone. 0, or -1
 * and errno: ENOENT when there is no such slot with a log; ENOTTY for a descriptor of the kernel's KVM, which has nothing like
 * it. Any thread.
 */
KVCORE_API int kvcore_watch_dirty(int vm_fd, uint32_t slot, int eventfd);

/*
 * Threads that the software KVM makes for itself (a VM's timers, its irqfds, pages of code memory). kvcore_hold_threads(), before
 * the first descriptor is opened, holds them back until kvcore_start_threads(), which may come right behind the first
 * KVM_RUN, but no later: without them no timer fires, and an irqfd tells nobody. What wants a process of one thread (namespaces,
 * for one) can be done in between. Each calls entered() when it starts, also those that come later; NULL: none.
 * kvcore_start_threads(): 0, or -1 and errno.
 */
KVCORE_API void kvcore_hold_threads(void (*entered)(void));
KVCORE_API int kvcore_start_threads(void);

/*
 * Counters of a software VM for people and benchmarks: writes `name value` lines into buf (always terminated when
 * size > 0), returns the length it wanted; -1 and ENOTTY for a descriptor of the kernel's KVM. Callable at any time.
 */
KVCORE_API ssize_t kvcore_stats(int vm_fd, char *buf, size_t size);
