/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether to look for a peer's next message for some microseconds before one sleeps. Who asks for one thing after the other sends
 * it right after the answer, and to look for it is cheaper, for both sides, than to sleep and to be woken. How often it was
 * worth it decides about the next times, so one who comes now and then costs nothing. Used by nbd/request.c,
 * image/file-sockets.c and daemon/poller.c; a struct spin belongs to one thread.
 */
#pragma once
#include <stdbool.h>

enum {
	SPIN_US = 40, /* a sleeper needs about 10 to be awake, a client some more for its work */
	SPIN_CREDIT_MAX = 16,
	SPIN_COST = 4, /* what one in vain takes away */
	SPIN_PAUSE = 64, /* messages until it is tried again */
};

struct spin {
	int credit; /* all zero at first */
};

static inline bool spin_worthwhile(struct spin *s)
{
	if (s->credit >= 0)
		return true;
	s->credit++;
	return false;
}

static inline void spin_result(struct spin *s, bool found)
{
	if (found)
		s->credit += s->credit < SPIN_CREDIT_MAX;
	else
		s->credit = s->credit > SPIN_COST ? s->credit - SPIN_COST : -SPIN_PAUSE;
}
