/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a job's threads (job.c) do: what the image pool does, with threads of their own, which may hand work to the
 * pool, and with images that they make.
 */
#pragma once

#include <linux/seccomp.h>
#include <sched.h>

#include "pool-calls.h"

/* Of clone(2): threads of this process, and nothing else. clone3(2) hides its flags from a filter; glibc does without. */
#define CLONE_MASK (CLONE_VM | CLONE_THREAD | CLONE_PTRACE | CLONE_UNTRACED | CLONE_PARENT | CLONE_NEWNS | CLONE_NEWCGROUP | \
		    CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_IO)

static const struct role_call new_thread_calls[] = {
	REFUSE(clone3, ENOSYS),
	CALL_IS(seccomp, 0, SECCOMP_SET_MODE_FILTER), /* its own filter */
	CALL_IF(clone, 0, CLONE_MASK, CLONE_VM | CLONE_THREAD),
	CALLS_END,
};

/* Files by their names: of images that are made and opened. Jobs are a QMP client's, and so are these. */
static const struct role_call names_calls[] = {
	CALL(open),
	CALL(openat),
	CALL(access),
	CALL(faccessat),
	CALL(faccessat2),
	CALL(stat),
	CALL(lstat),
	CALL(statx),
	CALL(readlink),
	CALL(readlinkat),
	CALL(getcwd),
	CALL(unlink),
	CALL(dup3),
	CALL(fchmod),
	CALLS_END,
};

static const struct role_call job_calls[] = {
	USE(pool_calls),
	USE(names_calls),
	USE(new_thread_calls),
	CALLS_END,
};
