/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the threads of a VNC viewer (vnc-viewer.c, vnc-tls.c) do: their sockets, as libvncserver and GnuTLS have them. */
#pragma once

#include "thread-calls.h"

static const struct role_call viewer_calls[] = {
	USE(thread_calls),
	CALL(poll),
	CALL(ppoll),
	CALL(pselect6),
	CALL(recvfrom),
	CALL(sendto),
	CALL(shutdown),
	CALL(setsockopt),
	CALL(getsockname),
	CALL(getpeername),
	CALLS_END,
};
