/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a job's threads (job.c) do: what the image pool does, with threads of their own, which may hand work to the
 * pool, and with images that they make.
 */
#pragma once

#include "pool-calls.h"

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
