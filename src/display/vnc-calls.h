/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the thread of a viewer (vnc-viewer.c) does: libvncserver on the viewer's socket. */
#pragma once

#include "thread-calls.h"

static const struct role_call vnc_calls[] = {
	USE(thread_calls),
	CALL(poll),
	CALL(ppoll),
	CALL(select),
	CALL(pselect6),
	CALL(recvfrom),
	CALL(recvmsg),
	CALL_IF(sendto, 4, UINT64_MAX, 0),
	CALL(sendmsg),
	CALL(shutdown),
	CALL(getsockopt),
	CALL(setsockopt),
	CALL(getsockname),
	CALL(getpeername),
	CALLS_END,
};
