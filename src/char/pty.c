/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The console on a pseudo terminal of its own, for screen(1), minicom(1) and the like. While
 * nobody has it open, output is dropped. A row of chardev_kinds[].
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "error.h"
#include "log.h"
#include "stream.h"

enum {
	LOOK_MS = 200, /* Linux does not tell when the other side is opened */
};

struct pty {
	struct char_stream stream;
	int fd;
	GSource *look;
};

static gboolean look(gpointer data)
{
	struct pty *p = data;
	struct pollfd pfd = { .fd = p->fd, .events = POLLOUT };

	if (poll(&pfd, 1, 0) < 0 || (pfd.revents & POLLHUP))
		return G_SOURCE_CONTINUE;
	g_clear_pointer(&p->look, g_source_unref);
	stream_connect(&p->stream, p->fd, p->fd);
	return G_SOURCE_REMOVE;
}

static void wait_for_peer(struct char_stream *s)
{
	struct pty *p = (struct pty *)s;

	p->look = g_timeout_source_new(LOOK_MS);
	g_source_set_callback(p->look, look, p, NULL);
	g_source_attach(p->look, NULL);
}

/* The other side raw, so that nothing echoes before a program has set it up. */
static int open_pty(char **ret_name)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), peer;
	char name[64];
	struct termios t;

	if (fd < 0)
		return -1;
	if (grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, name, sizeof(name)) != 0 ||
	    (peer = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
		int err = errno;

		close(fd);
		errno = err;
		return -1;
	}
	if (tcgetattr(peer, &t) == 0) {
		cfmakeraw(&t);
		tcsetattr(peer, TCSANOW, &t);
	}
	close(peer);
	*ret_name = g_strdup(name);
	return fd;
}

static bool pty_open(struct chardev *c, const char *path, GError **error)
{
	char *name = NULL;
	int fd = open_pty(&name);
	struct pty *p;

	if (fd < 0)
		return kv_fail_errno(error, errno, "cannot make a pseudo terminal");
	g_free(c->where);
	c->where = name;
	p = g_new0(struct pty, 1);
	p->fd = fd;
	stream_init(&p->stream, c);
	p->stream.hangup = wait_for_peer;
	wait_for_peer(&p->stream);
	kv_log_info("console on %s", name);
	return true;
}

static void pty_close(struct chardev *c)
{
	struct pty *p = c->state;

	if (p->look) {
		g_source_destroy(p->look);
		g_source_unref(p->look);
	}
	stream_destroy(&p->stream);
	close(p->fd);
	g_free(p);
}

static char *pty_describe(struct chardev *c)
{
	return g_strconcat("pty:", c->where, NULL);
}

const struct char_kind char_kind_pty = {
	.name = "pty",
	.help = "a pseudo terminal, named at start",
	.open = pty_open,
	.close = pty_close,
	.describe = pty_describe,
};
