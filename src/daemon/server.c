/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See server.h. Who connects is asked for by the kernel's credentials, whatever the modes of the socket's file are. */
#include "server.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "error.h"
#include "listen.h"
#include "log.h"

enum { BACKLOG = 256, TURN = 16, REARM_MS = 200 };

struct listener {
	struct watch watch;
	enum server_access access;
	char *path; /* NULL: not ours to remove */
};

static GPtrArray *listeners;

static bool welcome(int fd, enum server_access access)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (access == SERVER_LOOK_ALL)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && (peer.uid == geteuid() || peer.uid == 0))
		return true;
	kv_log_warn("a connection of user %d is refused: this is user %d's", (int)peer.uid, (int)geteuid());
	return false;
}

/* Without descriptors a waiting connection would be told again and again. */
static gboolean rearm(gpointer data)
{
	state_acquire();
	for (unsigned i = 0; listeners && i < listeners->len; i++)
		poller_set(listeners->pdata[i], EPOLLIN);
	state_release();
	return G_SOURCE_REMOVE;
}

static void ready(struct watch *w, uint32_t events)
{
	struct listener *l = (struct listener *)w;

	for (unsigned i = 0; i < TURN; i++) {
		g_autoptr(GError) error = NULL;
		int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			/* Nobody is left, or no descriptor: those who wait stay in the queue. */
			if (errno == EMFILE || errno == ENFILE)
				kv_log_warn("a connection waits: %s", g_strerror(errno));
			else
				return;
			poller_set(w, 0);
			g_timeout_add(REARM_MS, rearm, NULL);
			return;
		}
		if (!welcome(fd, l->access))
			close(fd);
		else if (!client_new(fd, l->access != SERVER_OWNER, &error))
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

bool server_listen(int fd, const char *path, enum server_access access, GError **error)
{
	struct listener *l;
	bool made = fd < 0;

	if (made)
		fd = kv_listen_unix("socket", path, error);
	if (fd < 0)
		return false;
	listen(fd, BACKLOG);
	if (made && access == SERVER_LOOK_ALL)
		chmod(path, 0666);
	l = g_new0(struct listener, 1);
	l->watch = (struct watch){ fd, EPOLLIN, ready };
	l->access = access;
	l->path = made ? g_strdup(path) : NULL;
	if (!listeners)
		listeners = g_ptr_array_new_with_free_func((GDestroyNotify)listener_free);
	g_ptr_array_add(listeners, l);
	return poller_add(&l->watch, error);
}

void server_stop(void)
{
	g_clear_pointer(&listeners, g_ptr_array_unref);
}
