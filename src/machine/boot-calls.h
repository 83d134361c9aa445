/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the threads do that read a kernel again when the guest resets (boot.c), and get pages for it (boot-ahead.c). */
#pragma once

#include "thread-calls.h"

static const struct role_call boot_calls[] = {
	USE(thread_calls),
	CALL(pread64),
	CALLS_END,
};
