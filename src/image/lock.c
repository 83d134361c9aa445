/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Open-file-description locks (fcntl(2)) in QEMU's way: a process that uses permission i of a
 * file holds byte 100 + i, one that does not bear others using it holds byte 200 + i, both as
 * shared locks; after taking its own it looks whether anybody holds an opposite one. Shared
 * locks suffice because conflicts are between different bytes. (The numbers are an interface:
 * QEMU, docs/system/images and block/file-posix.c.)
 */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "error.h"
#include "log.h"

enum {
	USES_BASE = 100,
	BARS_BASE = 200,
	PERMISSIONS = 4,
	TRIES = 5,
	TRY_US = 20000,
};

enum {
	CAN_READ = 1 << 0,
	CAN_WRITE = 1 << 1,
	CAN_RESIZE = 1 << 3,
};

static int lock_byte(int fd, int command, short type, int at, struct flock *ret)
{
	*ret = (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
	return fcntl(fd, command, ret);
}

/* The bytes base + i for each bit of @mask: 0 or errno. */
static int take(int fd, unsigned mask, int base)
{
	struct flock fl;

	for (int i = 0; i < PERMISSIONS; i++)
		if ((mask & 1u << i) && lock_byte(fd, F_OFD_SETLK, F_RDLCK, base + i, &fl) < 0)
			return errno;
	return 0;
}

/* True when somebody else holds one of the bytes. */
static bool held(int fd, unsigned mask, int base)
{
	struct flock fl;

	for (int i = 0; i < PERMISSIONS; i++)
		if ((mask & 1u << i) &&
		    (lock_byte(fd, F_OFD_GETLK, F_WRLCK, base + i, &fl) < 0 || fl.l_type != F_UNLCK))
			return true;
	return false;
}

static bool try_lock(int fd, const char *path, bool readonly, GError **error)
{
	unsigned uses = readonly ? CAN_READ : CAN_READ | CAN_WRITE | CAN_RESIZE;
	unsigned bars = CAN_WRITE | CAN_RESIZE;
	int err = take(fd, uses, USES_BASE);

	if (!err)
		err = take(fd, bars, BARS_BASE);
	if (err == EAGAIN || err == EACCES)
		return kv_fail(error, KV_ERROR_BUSY,
			       "disk '%s' is locked by another process; stop it or use a copy", path);
	if (err) {
		/* Some network file systems have no locks. */
		kv_log_warn("disk '%s' cannot be locked: %s", path, g_strerror(err));
		return true;
	}
	if (held(fd, bars, USES_BASE))
		return kv_fail(error, KV_ERROR_BUSY,
			       "disk '%s' is open for writing in another process; stop it or use a copy",
			       path);
	if (held(fd, uses, BARS_BASE))
		return kv_fail(error, KV_ERROR_BUSY,
			       "disk '%s' is in use by another process%s", path,
			       readonly ? "; stop it or use a copy" :
					  "; stop it, use a copy or give readonly=on");
	return true;
}

/* The kernel closes the files of a process that was killed a moment after its end, when what it had under way is through. */
bool image_lock(int fd, const char *path, bool readonly, GError **error)
{
	for (unsigned i = 0; i < TRIES; i++) {
		g_autoptr(GError) failed = NULL;

		if (try_lock(fd, path, readonly, &failed))
			return true;
		image_unlock(fd);
		if (!g_error_matches(failed, KV_ERROR, KV_ERROR_BUSY))
			break;
		g_usleep(TRY_US);
	}
	return try_lock(fd, path, readonly, error);
}

void image_unlock(int fd)
{
	struct flock fl = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = USES_BASE,
			    .l_len = BARS_BASE + PERMISSIONS - USES_BASE };

	fcntl(fd, F_OFD_SETLK, &fl);
}
