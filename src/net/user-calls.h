/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libslirp (user.c) does in the main loop's thread: sockets of the Internet's kinds, as many as the guest wants, and a look
 * at /etc/resolv.conf whenever the guest asks for a name.
 */
#pragma once

#include <sys/ioctl.h>
#include <sys/socket.h>

#include "thread-calls.h"

static const struct role_call user_calls[] = {
	USE(thread_calls),
	CALL_IS(socket, 0, AF_INET),
	CALL_IS(socket, 0, AF_INET6),
	CALL(bind),
	CALL(listen),
	CALL(accept),
	CALL(accept4),
	CALL(connect),
	CALL(shutdown),
	CALL(getsockopt),
	CALL(setsockopt),
	CALL(getsockname),
	CALL(getpeername),
	CALL(recvfrom),
	CALL(recvmsg),
	CALL(sendto),
	CALL(sendmsg),
	CALL_IS(ioctl, 1, FIONREAD),
	CALL_IS(ioctl, 1, FIONBIO),
	/* resolv.conf */
	CALL(openat),
	CALL(stat),
	CALLS_END,
};
