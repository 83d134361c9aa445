/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loaded into kvd by kvd-faults.py: who waits on a condition of GLib's in a worker has its turn late, when others that want the
 * same lock have had theirs. A busy host does that now and then; here it is always so. With KV_LATE_SYNC=PATH it is the
 * fsync() of that file alone that takes its time: there is PATH.syncing meanwhile, until PATH.synced comes.
 */
#include <dlfcn.h>
#include <glib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LATE_US = 30000, STEP_US = 2000, STEPS = 60000 };

static void be_late(GMutex *lock)
{
	if (gettid() == getpid() || g_getenv("KV_LATE_SYNC"))
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

static void wait_beside(const char *path)
{
	g_autofree char *syncing = g_strconcat(path, ".syncing", NULL), *synced = g_strconcat(path, ".synced", NULL);

	g_file_set_contents_full(syncing, "", 0, G_FILE_SET_CONTENTS_NONE, 0600, NULL);
	for (unsigned i = 0; i < STEPS && !g_file_test(synced, G_FILE_TEST_EXISTS); i++)
		g_usleep(STEP_US);
}

int fsync(int fd)
{
	const char *late = g_getenv("KV_LATE_SYNC");
	g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd), *path = late ? g_file_read_link(link, NULL) : NULL;

	if (path && strcmp(path, late) == 0)
		wait_beside(path);
	return (int)syscall(SYS_fsync, fd);
}
