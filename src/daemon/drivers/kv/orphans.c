/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machines that nobody knows: a daemon that was killed between the start of a process and its status file leaves one, paused
 * before its first instruction. Its folder is taken from it, so that one that has no monitor yet fails to make it; one that has
 * is found by it and ended. Called once, by the driver that opens, when those that are known are.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "kv.h"
#include "log.h"

#define GONE ".gone"

/* Who listens there; 0: nobody. */
static pid_t listener(const char *path)
{
	struct sockaddr_un address = {AF_UNIX};
	struct ucred peer = {};
	socklen_t len = sizeof(peer);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path) || fd < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		peer.pid = 0;
	if (fd >= 0)
		close(fd);
	return peer.pid;
}

/* The process that listens still is the one that is signalled: it is looked for again when there is a descriptor of it. */
static void end_listener(const char *path)
{
	pid_t pid = listener(path);
	int fd = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	if (fd < 0)
		return;
	if (listener(path) == pid && syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0)
		kv_log_warn("process %d was a machine that nobody knows; it is ended", (int)pid);
	close(fd);
}

static void end_one(const char *folder)
{
	bool is_taken = g_str_has_suffix(folder, GONE); /* by a daemon that was killed as well */
	g_autofree char *taken = is_taken ? g_strdup(folder) : g_strconcat(folder, GONE, NULL);
	g_autofree char *monitor = g_build_filename(taken, "monitor", NULL);

	if (!is_taken && rename(folder, taken) < 0) {
		kv_log_warn("%s: %s", folder, g_strerror(errno));
		return;
	}
	end_listener(monitor);
	kv_process_clean_up(&(struct kv_machine){.run = taken});
}

static bool is_known(struct hv *hv, const char *folder)
{
	GHashTableIter iter;
	void *value;

	g_hash_table_iter_init(&iter, hv->domains);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct kv_machine *m = ((struct domain *)value)->own;

		if (m && m->run && !strcmp(m->run, folder))
			return true;
	}
	return false;
}

void kv_end_orphans(struct hv *hv)
{
	g_autofree char *base = g_build_filename(hv->state_dir, "run", NULL);
	GDir *dir = g_dir_open(base, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *folder = g_build_filename(base, name, NULL);

		if (!is_known(hv, folder))
			end_one(folder);
	}
	if (dir)
		g_dir_close(dir);
}
