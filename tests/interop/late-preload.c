/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loaded into kvd by kvd-faults.py: who waits on a condition of GLib's in a worker has its turn late, when others that want the
 * same lock have had theirs. A busy host does that now and then; here it is always so.
 */
#include <dlfcn.h>
#include <glib.h>
#include <unistd.h>

enum { LATE_US = 30000 };

static void be_late(GMutex *lock)
{
	if (gettid() == getpid())
		return;
	g_mutex_unlock(lock);
	g_usleep(LATE_US);
	g_mutex_lock(lock);
}

void g_cond_wait(GCond *cond, GMutex *lock)
{
	void (*real)(GCond *cond, GMutex *lock) = dlsym(RTLD_NEXT, "g_cond_wait");

	real(cond, lock);
	be_late(lock);
}

gboolean g_cond_wait_until(GCond *cond, GMutex *lock, gint64 until)
{
	gboolean (*real)(GCond *cond, GMutex *lock, gint64 until) = dlsym(RTLD_NEXT, "g_cond_wait_until");
	gboolean in_time = real(cond, lock, until);

	/* Who is woken to begin something is quick. */
	if (in_time && until - g_get_monotonic_time() > 25 * G_USEC_PER_SEC)
		be_late(lock);
	return in_time;
}
