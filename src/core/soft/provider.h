/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The software KVM as core.c sees it: descriptors and the system calls on them, with negative errno for errors. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

int soft_open(void);
/* Is fd one of ours? Cheap. */
bool soft_owns(int fd);
bool soft_ioctl(int fd, unsigned long request, unsigned long arg, long *ret_result); /* false: it is not ours */
int soft_close(int fd);
/* The descriptors of this range were closed, or replaced, without us: those that were ours are not any more. */
void soft_forget(unsigned first, unsigned last);
/* copy is a duplicate of fd that the caller made by dup(2): another descriptor of the same object. */
int soft_dup(int fd, int copy);
int soft_report_writes(int vm_fd);
void soft_memory_written(int vm_fd, uint64_t gpa, uint64_t len); /* nothing if it is not ours */
int soft_watch_dirty(int vm_fd, uint32_t slot, int eventfd);
ssize_t soft_stats(int vm_fd, char *buf, size_t size);
