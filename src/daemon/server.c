/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See server.h. Who connects is asked for by the kernel's credentials, whatever the modes of the socket's file are. */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "config.h"
#include "error.h"
#include "listen.h"
#include "log.h"

enum { TURN = 16, REARM_MS = 200, GROUPS_MAX = 65536, HOLD_TRIES = 200, HOLD_US = 10000 };

struct listener {
	struct watch watch;
	struct server_socket socket;
	char *path; /* NULL: not ours to remove */
};

static GPtrArray *listeners;
static bool resting;

static bool is_member(int fd, const struct ucred *peer, gid_t group)
{
	g_autofree gid_t *groups = g_new(gid_t, GROUPS_MAX);
	socklen_t len = GROUPS_MAX * sizeof(*groups);

	if (peer->gid == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (unsigned i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == group)
			return true;
	return false;
}

static bool welcome(int fd, const struct server_socket *s)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (s->kind.tls || s->welcome == SERVER_ALL)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	if (peer.uid == geteuid() || peer.uid == 0 || (s->welcome == SERVER_GROUP && is_member(fd, &peer, s->group)))
		return true;
	kv_log_warn("a connection of user %d is refused: this is user %d's", (int)peer.uid, (int)geteuid());
	return false;
}

static gboolean rearm(gpointer data)
{
	state_acquire();
	resting = false;
	for (unsigned i = 0; listeners && i < listeners->len; i++)
		poller_set(listeners->pdata[i], EPOLLIN);
	state_release();
	return G_SOURCE_REMOVE;
}

/* Those who wait stay in the queue; they would be told again and again. */
static void rest(struct watch *w, const char *why)
{
	poller_set(w, 0);
	if (resting)
		return;
	resting = true;
	kv_log_warn("a connection waits: %s", why);
	g_timeout_add(REARM_MS, rearm, NULL);
}

static void ready(struct watch *w, uint32_t events)
{
	struct listener *l = (struct listener *)w;

	for (unsigned i = 0; i < TURN; i++) {
		g_autoptr(GError) error = NULL;
		int fd;

		if (clients_are_anonymous()) {
			rest(w, "max_anonymous_clients have not said yet who they are");
			return;
		}
		fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE)
				rest(w, g_strerror(errno));
			return; /* nobody is left */
		}
		if (!welcome(fd, &l->socket))
			close(fd);
		else if (!client_new(fd, &l->socket.kind, &error))
			kv_log_warn("%s", error->message);
	}
}

static void listener_free(struct listener *l)
{
	poller_remove(&l->watch);
	if (l->path)
		unlink(l->path);
	close(l->watch.fd);
	g_free(l->path);
	g_free(l);
}

static bool add(int fd, const char *path, const struct server_socket *s, GError **error)
{
	struct listener *l = g_new0(struct listener, 1);

	listen(fd, config.max_queued_clients);
	l->watch = (struct watch){ fd, EPOLLIN, ready };
	l->socket = *s;
	l->path = g_strdup(path);
	if (!listeners)
		listeners = g_ptr_array_new_with_free_func((GDestroyNotify)listener_free);
	g_ptr_array_add(listeners, l);
	return poller_add(&l->watch, error);
}

/* The file is nobody else's until its group is set. */
static bool open_file(const char *path, const struct server_socket *s, GError **error)
{
	if (s->group != (gid_t)-1 && chown(path, -1, s->group) < 0)
		return kv_fail_errno(error, errno, "cannot give socket '%s' to group %d", path, (int)s->group);
	return chmod(path, s->mode) == 0 || kv_fail_errno(error, errno, "cannot set the mode of socket '%s'", path);
}

/*
 * Of two daemons that find the same leftover one might remove the other's new socket: who looks and makes holds the folder. -1:
 * it may not be read, or somebody keeps it; then there is nothing to be waited for.
 */
static int hold_folder(const char *path)
{
	g_autofree char *folder = g_path_get_dirname(path);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (unsigned i = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && i < HOLD_TRIES; i++)
		g_usleep(HOLD_US);
	return fd;
}

bool server_listen(int fd, const char *path, const struct server_socket *s, GError **error)
{
	int held;

	if (fd >= 0)
		return add(fd, NULL, s, error);
	held = hold_folder(path);
	fd = kv_listen_unix("socket", path, error);
	if (held >= 0)
		close(held);
	if (fd < 0)
		return false;
	return add(fd, path, s, error) && open_file(path, s, error);
}

bool server_listen_tcp(const char *address, const char *port, const struct server_socket *s, GError **error)
{
	int fd = kv_listen_tcp(address, port, error);

	return fd >= 0 && add(fd, NULL, s, error);
}

void server_stop(void)
{
	g_clear_pointer(&listeners, g_ptr_array_unref);
}
