/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one lock of the daemon's state (call.h). Taken by the main thread for each turn of its loop and by workers. */
#include "call.h"

#include <string.h>

enum { SIGNALS = 4 };

static GMutex state_lock;
static GCond *signals[SIGNALS]; /* to be given when the lock is free */
static unsigned n_signals;

void state_acquire(void)
{
	g_mutex_lock(&state_lock);
}

void state_release(void)
{
	GCond *now[SIGNALS];
	unsigned n = n_signals;

	memcpy(now, signals, sizeof(now));
	n_signals = 0;
	g_mutex_unlock(&state_lock);
	while (n)
		g_cond_signal(now[--n]);
}

void state_signal(GCond *cond)
{
	if (n_signals == SIGNALS)
		g_cond_signal(cond);
	else
		signals[n_signals++] = cond;
}

bool state_wait(GCond *cond, gint64 until)
{
	while (n_signals)
		g_cond_signal(signals[--n_signals]);
	if (until)
		return g_cond_wait_until(cond, &state_lock, until);
	g_cond_wait(cond, &state_lock);
	return true;
}
