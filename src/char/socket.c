/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A character device on a socket, of Unix or TCP: we listen, for one client at a time, the next one waits; or we connect, and
 * with `reconnect` do so again whenever nobody is there. Nothing waits for the other side but a name that is looked up, and a
 * first connection without `reconnect`, for CONNECT_MS at most. While nobody is there output is dropped. A row of
 * chardev_kinds[].
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#include "dial.h"
#include "error.h"
#include "listen.h"
#include "log.h"
#include "stream.h"

enum { CONNECT_MS = 5000 };

struct socket_char {
	struct char_stream stream;
	struct char_socket where; /* strings are our own */
	int listen_fd;	 /* -1: we are the client */
	int folder;	 /* of a Unix socket's file */
	int fd;		 /* the connection, or what becomes one; -1: none */
	struct kv_dial *dial; /* of the last try, or NULL */
	GSource *waiting; /* for a client, a connection, or the time to try again */
};

static void stop_waiting(struct socket_char *u)
{
	if (u->waiting)
		g_source_destroy(u->waiting);
	g_clear_pointer(&u->waiting, g_source_unref);
}

static void wait_fd(struct socket_char *u, int fd, GIOCondition what, GUnixFDSourceFunc f)
{
	stop_waiting(u);
	u->waiting = g_unix_fd_source_new(fd, what);
	g_source_set_callback(u->waiting, G_SOURCE_FUNC(f), u, NULL);
	g_source_attach(u->waiting, NULL);
}

static void connected(struct socket_char *u, int fd)
{
	int on = 1;

	u->fd = fd;
	if (!u->where.path)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	stream_connect(&u->stream, fd, fd);
}

/* ---- we listen ---- */

static gboolean on_client(gint fd, GIOCondition condition, gpointer data)
{
	struct socket_char *u = data;
	int client = kv_listen_accept(fd, SOCK_NONBLOCK);

	if (client < 0)
		return G_SOURCE_CONTINUE;
	stop_waiting(u);
	connected(u, client);
	return G_SOURCE_REMOVE;
}

static bool start_listening(struct socket_char *u, GError **error)
{
	const struct char_socket *w = &u->where;

	u->listen_fd = w->path ? kv_listen_unix("console socket", w->path, error) : kv_listen_tcp(w->host, w->port, error);
	if (u->listen_fd < 0)
		return false;
	if (w->path)
		u->folder = kv_listen_folder(w->path);
	wait_fd(u, u->listen_fd, G_IO_IN, on_client);
	return true;
}

/* ---- we connect ---- */

static struct kv_dial *dial(const struct char_socket *w, GError **error)
{
	return w->path ? kv_dial_unix(w->path, error) : kv_dial_tcp(w->host, w->port, error);
}

static bool fail_connect(const struct char_socket *w, int err, GError **error)
{
	if (w->path)
		return kv_fail(error, KV_ERROR_SYSTEM, "Failed to connect to '%s': %s", w->path, g_strerror(err));
	return kv_fail(error, KV_ERROR_SYSTEM, "Failed to connect to '%s:%s': %s", w->host, w->port, g_strerror(err));
}

static gboolean on_time(gpointer data);

static void try_later(struct socket_char *u)
{
	if (u->fd >= 0)
		close(u->fd);
	u->fd = -1;
	stop_waiting(u);
	u->waiting = g_timeout_source_new_seconds(u->where.reconnect);
	g_source_set_callback(u->waiting, on_time, u, NULL);
	g_source_attach(u->waiting, NULL);
}

static void go_on(struct socket_char *u);

static gboolean on_connected(gint fd, GIOCondition condition, gpointer data)
{
	struct socket_char *u = data;

	stop_waiting(u);
	if (!kv_dial_result(u->dial, fd)) {
		connected(u, fd);
		return G_SOURCE_REMOVE;
	}
	close(u->fd);
	u->fd = -1;
	go_on(u);
	return G_SOURCE_REMOVE;
}

/* To the next address, while others have their turn. */
static void go_on(struct socket_char *u)
{
	bool under_way = false;

	u->fd = u->dial ? kv_dial_next(u->dial, &under_way) : -1;
	if (u->fd < 0) {
		try_later(u);
	} else if (under_way) {
		wait_fd(u, u->fd, G_IO_OUT, on_connected);
	} else {
		stop_waiting(u);
		connected(u, u->fd);
	}
}

static gboolean on_time(gpointer data)
{
	struct socket_char *u = data;

	kv_dial_free(u->dial);
	u->dial = dial(&u->where, NULL);
	go_on(u);
	return G_SOURCE_REMOVE;
}

static bool is_late(void *opaque)
{
	return g_get_monotonic_time() > *(const gint64 *)opaque;
}

/* The first time, for who wants to know at once whether somebody is there. */
static bool connect_now(struct socket_char *u, GError **error)
{
	gint64 until = g_get_monotonic_time() + CONNECT_MS * 1000;
	int fd;

	u->dial = dial(&u->where, error);
	if (!u->dial)
		return false;
	fd = kv_dial_wait(u->dial, is_late, &until);
	if (fd < 0)
		return fail_connect(&u->where, errno == ECANCELED ? ETIMEDOUT : errno, error);
	connected(u, fd);
	return true;
}

/* ---- both ---- */

static void on_hangup(struct char_stream *s)
{
	struct socket_char *u = (struct socket_char *)s;

	if (u->fd >= 0)
		close(u->fd);
	u->fd = -1;
	if (u->listen_fd >= 0)
		wait_fd(u, u->listen_fd, G_IO_IN, on_client);
	else if (u->where.reconnect)
		try_later(u);
}

static void release(struct socket_char *u)
{
	stop_waiting(u);
	stream_destroy(&u->stream);
	kv_dial_free(u->dial);
	if (u->fd >= 0)
		close(u->fd);
	if (u->listen_fd >= 0)
		close(u->listen_fd);
	if (u->listen_fd >= 0 && u->where.path)
		kv_listen_remove(u->folder, u->where.path);
	g_free((char *)u->where.path);
	g_free((char *)u->where.host);
	g_free((char *)u->where.port);
	g_free(u);
}

static bool start(struct socket_char *u, GError **error)
{
	if (u->where.server)
		return start_listening(u, error);
	if (!u->where.reconnect)
		return connect_now(u, error);
	on_time(u);
	return true;
}

static bool open_socket(struct chardev *c, const struct char_socket *where, GError **error)
{
	struct socket_char *u = g_new0(struct socket_char, 1);

	u->where = *where;
	u->where.path = g_strdup(where->path);
	u->where.host = g_strdup(where->host);
	u->where.port = g_strdup(where->port);
	u->listen_fd = u->folder = u->fd = -1;
	stream_init(&u->stream, c);
	u->stream.hangup = on_hangup;
	if (start(u, error))
		return true;
	release(u);
	c->state = NULL;
	return false;
}

static bool unix_open(struct chardev *c, const char *path, GError **error)
{
	return open_socket(c, &(struct char_socket){ .path = path, .server = true }, error);
}

static void socket_close(struct chardev *c)
{
	release((struct socket_char *)c->state);
}

static char *address_text(int fd, int (*get)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (get(fd, (struct sockaddr *)&sa, &len) ||
	    getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		return g_strdup("?");
	return g_strdup_printf(sa.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static char *socket_describe(struct chardev *c)
{
	const struct socket_char *u = c->state;
	bool open = stream_connected(c->state);
	const char *off = open ? "" : "disconnected:", *role = u->where.server ? ",server=on" : "";
	g_autofree char *local = NULL, *peer = NULL;

	if (u->where.path)
		return g_strdup_printf("%sunix:%s%s", off, u->where.path, role);
	if (open || u->where.server)
		local = address_text(open ? u->fd : u->listen_fd, getsockname);
	if (!open)
		return local ? g_strdup_printf("%stcp:%s%s", off, local, role) :
			       g_strdup_printf("%stcp:%s:%s%s", off, u->where.host, u->where.port, role);
	peer = address_text(u->fd, getpeername);
	return g_strdup_printf("tcp:%s%s <-> %s", local, role, peer);
}

const struct char_kind char_kind_unix = {
	.name = "unix",
	.help = "a Unix socket we listen on",
	.has_path = true,
	.open = unix_open,
	.close = socket_close,
	.describe = socket_describe,
};

static const struct char_kind char_kind_socket = {
	.name = "socket",
	.close = socket_close,
	.describe = socket_describe,
};

struct chardev *char_open_socket(const struct char_socket *where, GError **error)
{
	struct chardev *c = char_new(&char_kind_socket, where->path ? where->path : where->host);

	if (open_socket(c, where, error))
		return c;
	char_free(c);
	return NULL;
}
