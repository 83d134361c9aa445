/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What any thread of a program with a sandbox needs: to sleep, to wake others, memory that is not executable, the time, a line in
 * the log, its own end. Part of every role's table. Descriptors that are open may be read, written and closed. Names of files are
 * refused and do not end the process: glibc and GLib look into some (/proc/sys/vm/overcommit_memory, for one) when it suits
 * them. new_thread_calls: what it takes to make threads.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "role-calls.h"

static const struct role_call thread_calls[] = {
	CALL(futex),
	CALL(exit),
	CALL(exit_group),
	CALL(restart_syscall),
	CALL(rseq),
	CALL(set_robust_list),
	CALL_IS(prctl, 0, PR_SET_NAME),
	CALL_IS(prctl, 0, PR_GET_NAME),
	CALL(gettid),
	CALL(getpid),
	CALL(getppid),
	CALL(getrusage),
	CALL(getrandom),
	/* Signals: to threads of this process alone. */
	CALL(rt_sigaction),
	CALL(rt_sigprocmask),
	CALL(rt_sigpending),
	CALL(rt_sigreturn),
	CALL(sigaltstack),
	CALL_IS(tgkill, 0, ROLE_OWN_PID),
	/* The processor; GLib gives threads of a pool the maker's settings. */
	CALL(membarrier),
	CALL(sched_yield),
	CALL(sched_getaffinity),
	CALL(sched_getattr),
	CALL(sched_setattr),
	/* Time */
	CALL(clock_gettime),
	CALL(clock_getres),
	CALL(clock_nanosleep),
	CALL(nanosleep),
	CALL(gettimeofday),
	CALL(time),
	/* Memory */
	CALL(brk),
	CALL(munmap),
	CALL(mremap),
	CALL(madvise),
	CALL_IF(mmap, 2, PROT_EXEC, 0),
	CALL_IF(mprotect, 2, PROT_EXEC, 0),
	/* Descriptors */
	CALL(read),
	CALL(write),
	CALL(writev),
	CALL(close),
	CALL(fstat),
	CALL(newfstatat),
	CALL(lseek),
	CALL_IS(fcntl, 1, F_GETFD),
	CALL_IS(fcntl, 1, F_SETFD),
	CALL_IS(fcntl, 1, F_GETFL),
	CALL_IS(fcntl, 1, F_SETFL),
	CALL_IS(fcntl, 1, F_DUPFD_CLOEXEC),
	/* Names */
	REFUSE(open, EACCES),
	REFUSE(openat, EACCES),
	REFUSE(access, EACCES),
	REFUSE(stat, EACCES),
	REFUSE(lstat, EACCES),
	REFUSE(readlink, EACCES),
	REFUSE(kcmp, EPERM),
	CALLS_END,
};

/* Of clone(2): threads of this process, and nothing else. clone3(2) hides its flags from a filter; glibc does without. */
#define CLONE_MASK (CLONE_VM | CLONE_THREAD | CLONE_PTRACE | CLONE_UNTRACED | CLONE_PARENT | CLONE_NEWNS | CLONE_NEWCGROUP | \
		    CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_IO)

static const struct role_call new_thread_calls[] = {
	REFUSE(clone3, ENOSYS),
	CALL_IS(seccomp, 0, SECCOMP_SET_MODE_FILTER), /* its own filter */
	CALL_IF(clone, 0, CLONE_MASK, CLONE_VM | CLONE_THREAD),
	CALLS_END,
};
