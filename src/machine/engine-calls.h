/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the software KVM (src/core/soft, which includes nothing of ours) does: its own threads (thread.h there), and what of it
 * runs in KVM_RUN. Code memory is mapped when a vCPU is made, so nothing is made executable here.
 */
#pragma once

#include "thread-calls.h"

static const struct role_call engine_calls[] = {
	USE(thread_calls),
	CALL(timerfd_settime),
	CALL(preadv2),
	CALL(epoll_wait),
	CALLS_END,
};
