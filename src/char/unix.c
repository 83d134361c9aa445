/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The console on a Unix socket that we listen on: one client at a time, the next one waits;
 * while there is none, output is dropped. A row of chardev_kinds[].
 */
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#include "listen.h"
#include "stream.h"

struct unix_char {
	struct char_stream stream;
	int listen_fd;
	int folder; /* of the socket's file */
	int fd; /* the client */
	GSource *accepting;
};

static gboolean on_client(gint fd, GIOCondition condition, gpointer data)
{
	struct unix_char *u = data;
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (client < 0)
		return G_SOURCE_CONTINUE;
	g_clear_pointer(&u->accepting, g_source_unref);
	u->fd = client;
	stream_connect(&u->stream, client, client);
	return G_SOURCE_REMOVE;
}

static void accept_next(struct char_stream *s)
{
	struct unix_char *u = (struct unix_char *)s;

	if (u->fd >= 0)
		close(u->fd);
	u->fd = -1;
	u->accepting = g_unix_fd_source_new(u->listen_fd, G_IO_IN);
	g_source_set_callback(u->accepting, G_SOURCE_FUNC(on_client), u, NULL);
	g_source_attach(u->accepting, NULL);
}

static bool unix_open(struct chardev *c, const char *path, GError **error)
{
	int fd = kv_listen_unix("console socket", path, error);
	struct unix_char *u;

	if (fd < 0)
		return false;
	u = g_new0(struct unix_char, 1);
	u->listen_fd = fd;
	u->folder = kv_listen_folder(path);
	u->fd = -1;
	stream_init(&u->stream, c);
	u->stream.hangup = accept_next;
	accept_next(&u->stream);
	return true;
}

static void unix_close(struct chardev *c)
{
	struct unix_char *u = c->state;

	if (u->accepting) {
		g_source_destroy(u->accepting);
		g_source_unref(u->accepting);
	}
	stream_destroy(&u->stream);
	if (u->fd >= 0)
		close(u->fd);
	close(u->listen_fd);
	kv_listen_remove(u->folder, c->where);
	g_free(u);
}

const struct char_kind char_kind_unix = {
	.name = "unix",
	.help = "a Unix socket we listen on",
	.has_path = true,
	.open = unix_open,
	.close = unix_close,
};
