/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See folders.h. The lock is flock(2)'s: it ends with the process, and no close of another descriptor lets go of it. */
#include "folders.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "log.h"

/* How long one that is ending, or has not written its number yet, may take. */
enum { TRIES = 1000, TRY_US = 10000 };

static int lock_fd = -1;

char *folder_path(enum folder folder, bool session)
{
	static const struct {
		const char *(*users)(void);
		const char *variable, *usual;
	} places[] = {
		[FOLDER_CONFIG] = { g_get_user_config_dir, "CONFIGURATION_DIRECTORY", "/etc/kvasir" },
		[FOLDER_RUN] = { g_get_user_runtime_dir, "RUNTIME_DIRECTORY", "/run/kvasir" },
		[FOLDER_LIB] = { g_get_user_data_dir, "STATE_DIRECTORY", "/var/lib/kvasir" },
		[FOLDER_LOG] = { g_get_user_cache_dir, "LOGS_DIRECTORY", "/var/log/kvasir" },
	};
	const char *named = g_getenv(places[folder].variable);

	if (session)
		return g_build_filename(places[folder].users(), "kvasir", NULL);
	if (!named || *named != '/')
		return g_strdup(places[folder].usual);
	return g_strndup(named, strcspn(named, ":"));
}

/* 0: it is not there (yet), or nobody's. */
static int read_owner(int fd)
{
	char text[16] = "";

	return pread(fd, text, sizeof(text) - 1, 0) > 0 ? (int)g_ascii_strtoll(text, NULL, 10) : 0;
}

static bool try_lock(int fd, const char *folder, GError **error)
{
	int owner = 0;

	for (unsigned i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return kv_fail_errno(error, errno, "cannot lock '%s/kvd.lock'", folder);
		owner = read_owner(fd);
		if (i == TRIES || (owner > 0 && getpgid(owner) >= 0))
			return kv_fail(error, KV_ERROR_BUSY,
				       "another kvd (process %d) runs with the folder '%s'; connect to that one, or end it first",
				       owner, folder);
		g_usleep(TRY_US);
	}
	return true;
}

bool folder_lock(bool session, GError **error)
{
	g_autofree char *folder = folder_path(FOLDER_RUN, session), *path = g_build_filename(folder, "kvd.lock", NULL);
	char text[16];
	bool there = access(folder, F_OK) == 0;
	int fd, len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (g_mkdir_with_parents(folder, 0700) < 0)
		return kv_fail_errno(error, errno, "cannot make folder '%s'", folder);
	if (!session && !there)
		chmod(folder, 0755); /* others are to reach the sockets, whatever our umask is */
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return kv_fail_errno(error, errno, "cannot open '%s'", path);
	if (!try_lock(fd, folder, error)) {
		close(fd);
		return false;
	}
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, len, 0) != len) {
		kv_fail_errno(error, errno, "cannot write '%s'", path);
		close(fd);
		return false;
	}
	lock_fd = fd;
	return true;
}

void folder_leave(void)
{
	if (lock_fd >= 0 && ftruncate(lock_fd, 0) < 0)
		kv_log_warn("kvd.lock cannot be emptied: %s", g_strerror(errno));
}
