/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the thread of an NBD client (connection.c) does: its socket, and a queue of its own to images (file-queue.c). */
#pragma once

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "pool-calls.h"

static const struct role_call nbd_calls[] = {
	USE(pool_calls),
	USE(new_thread_calls),
	CALL(eventfd2),
	CALL(io_uring_setup),
	CALL(io_uring_register),
	CALL(setsockopt),
	CALL(getsockname),
	CALL(getpeername),
	CALLS_END,
};
