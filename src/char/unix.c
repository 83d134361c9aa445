/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The console on a Unix socket that we listen on: one client at a time, the next one waits;
 * while there is none, output is dropped. A row of chardev_kinds[].
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib-unix.h>

#include "error.h"
#include "stream.h"

struct unix_char {
	struct char_stream stream;
	int listen_fd;
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

/* A socket file that nobody listens on any more is a leftover, and removed. */
static bool remove_leftover(const struct sockaddr_un *sa, GError **error)
{
	struct stat st;
	int fd, err = 0;

	if (lstat(sa->sun_path, &st) < 0)
		return true;
	if (!S_ISSOCK(st.st_mode))
		return kv_fail(error, KV_ERROR_BUSY,
			       "console socket '%s' exists and is not a socket; remove it", sa->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0)
		err = errno;
	if (fd >= 0)
		close(fd);
	if (err != ECONNREFUSED)
		return kv_fail(error, KV_ERROR_BUSY,
			       "console socket '%s' is in use by another process; give another path",
			       sa->sun_path);
	unlink(sa->sun_path);
	return true;
}

static int listen_on(const char *path, GError **error)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(sa.sun_path)) {
		kv_fail(error, KV_ERROR_USAGE, "console socket '%s': the path is longer than %zu bytes",
			path, sizeof(sa.sun_path) - 1);
		return -1;
	}
	memcpy(sa.sun_path, path, strlen(path) + 1);
	if (!remove_leftover(&sa, error))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode before bind is the new file's: a console is its owner's alone. */
	if (fd >= 0 && fchmod(fd, 0600) == 0 &&
	    bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(fd, 4) == 0)
		return fd;
	kv_fail_errno(error, errno, "cannot listen on console socket '%s'", path);
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool unix_open(struct chardev *c, const char *path, GError **error)
{
	int fd = listen_on(path, error);
	struct unix_char *u;

	if (fd < 0)
		return false;
	u = g_new0(struct unix_char, 1);
	u->listen_fd = fd;
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
	unlink(c->where);
	g_free(u);
}

const struct char_kind char_kind_unix = {
	.name = "unix",
	.help = "a Unix socket we listen on",
	.has_path = true,
	.open = unix_open,
	.close = unix_close,
};
