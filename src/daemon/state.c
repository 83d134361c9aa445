/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one lock of the daemon's state (call.h). Taken by the main thread for each turn of its loop and by workers. */
#include "call.h"

static GMutex state_lock;

void state_acquire(void)
{
	g_mutex_lock(&state_lock);
}

void state_release(void)
{
	g_mutex_unlock(&state_lock);
}

bool state_wait(GCond *cond, gint64 until)
{
	if (until)
		return g_cond_wait_until(cond, &state_lock, until);
	g_cond_wait(cond, &state_lock);
	return true;
}
