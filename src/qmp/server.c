/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The socket of a QMP server: one GSource that accepts, reads a piece, answers one command a turn of the main loop, and writes
 * what the client takes. See server.h.
 */
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#include "listen.h"
#include "log.h"
#include "reader.h"

enum {
	IN_CHUNK = 4096,
	OUT_PAUSE = 64 << 10, /* no command is taken while more than this waits to be read */
	OUT_MAX = 1 << 20,    /* a client that leaves so many bytes of events has gone to sleep */
	FLUSH_MS = 500,	      /* at the end */
	FDS_MAX = 16,	      /* passed at once */
};

struct qmp_source {
	GSource base;
	struct qmp_server *s;
};

struct qmp_server {
	struct qmp_session session;
	const struct qmp_server_ops *ops;
	char *path;
	GSource *source;
	int listen_fd, fd; /* fd: the client, -1 when there is none */
	gpointer listen_tag, fd_tag;
	struct qmp_reader *reader;
	uint8_t in[IN_CHUNK];
	size_t in_at, in_len; /* bytes read and not yet looked at */
	GString *out;
	size_t out_at; /* bytes of it already written */
	int passed;    /* a descriptor that came with the bytes (SCM_RIGHTS); -1: none */
	bool deaf;     /* the client reads no more, but may have sent commands before */
};

static size_t waiting(const struct qmp_server *s)
{
	return s->out->len - s->out_at;
}

/* Watches what could go on: the socket for a client, or the client for commands and for room. */
static void watch(struct qmp_server *s)
{
	GIOCondition what = G_IO_HUP | G_IO_ERR;

	g_source_modify_unix_fd(s->source, s->listen_tag, s->fd < 0 ? G_IO_IN : 0);
	if (s->fd < 0)
		return;
	if (s->in_at == s->in_len && waiting(s) <= OUT_PAUSE)
		what |= G_IO_IN;
	if (waiting(s))
		what |= G_IO_OUT;
	/* That it has hung up would be told again and again, while its commands wait for the machine. */
	if (s->in_at < s->in_len && !waiting(s)) {
		if (s->fd_tag)
			g_source_remove_unix_fd(s->source, s->fd_tag);
		s->fd_tag = NULL;
	} else if (s->fd_tag) {
		g_source_modify_unix_fd(s->source, s->fd_tag, what);
	} else {
		s->fd_tag = g_source_add_unix_fd(s->source, s->fd, what);
	}
}

static void drop_passed(struct qmp_server *s)
{
	if (s->passed >= 0)
		close(s->passed);
	s->passed = -1;
}

static void leave_client(struct qmp_server *s)
{
	if (s->fd < 0)
		return;
	if (s->fd_tag)
		g_source_remove_unix_fd(s->source, s->fd_tag);
	s->fd_tag = NULL;
	close(s->fd);
	s->fd = -1;
	drop_passed(s);
	s->session.negotiated = s->deaf = false;
	s->in_at = s->in_len = s->out_at = 0;
	g_string_truncate(s->out, 0);
	g_clear_pointer(&s->reader, qmp_reader_free);
}

/* What the client takes without waiting. */
static void write_some(struct qmp_server *s)
{
	while (waiting(s)) {
		ssize_t n = send(s->fd, s->out->str + s->out_at, waiting(s), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			s->deaf = true;
			break;
		}
		s->out_at += (size_t)n;
	}
	g_string_truncate(s->out, 0);
	s->out_at = 0;
}

static void put_line(struct qmp_server *s, char *line)
{
	g_string_erase(s->out, 0, (gssize)s->out_at);
	s->out_at = 0;
	if (!s->deaf)
		g_string_append(s->out, line);
	g_free(line);
	write_some(s);
}

static void accept_client(struct qmp_server *s)
{
	int fd = kv_listen_accept(s->listen_fd, SOCK_NONBLOCK);

	if (fd < 0)
		return;
	s->fd = fd;
	s->fd_tag = g_source_add_unix_fd(s->source, fd, G_IO_HUP | G_IO_ERR);
	s->reader = qmp_reader_new();
	put_line(s, qmp_line_greeting(s->ops->version()));
}

/* The last one counts: a command takes it before the next one is read. */
static void take_passed(struct qmp_server *s, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		int fds[FDS_MAX];
		size_t n = c->cmsg_len < CMSG_LEN(0) ? 0 : MIN((c->cmsg_len - CMSG_LEN(0)) / sizeof(int), FDS_MAX);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
		for (size_t i = 0; i < n; i++) {
			drop_passed(s);
			s->passed = fds[i];
		}
	}
}

static void read_some(struct qmp_server *s)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { s->in, sizeof(s->in) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(s->fd, &msg, MSG_CMSG_CLOEXEC);

	if (n >= 0)
		take_passed(s, &msg);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		leave_client(s);
		return;
	}
	s->in_at = 0;
	s->in_len = (size_t)n;
}

static bool can_answer(const struct qmp_server *s)
{
	return s->fd >= 0 && s->in_at < s->in_len && waiting(s) <= OUT_PAUSE && !s->ops->busy(s->session.opaque);
}

/* A command may end the machine, but not this server: that is done from the main loop's outside. */
static void answer_one(struct qmp_server *s)
{
	g_autoptr(GError) fault = NULL;
	JsonNode *message;

	s->in_at += qmp_reader_feed(s->reader, s->in + s->in_at, s->in_len - s->in_at, &message, &fault);
	if (message || fault) {
		char *line = qmp_session_answer(&s->session, message, fault);

		if (s->fd >= 0) /* its events may have been too many for the client */
			put_line(s, line);
		else
			g_free(line);
	}
}

static gboolean source_prepare(GSource *source, gint *timeout)
{
	*timeout = -1;
	return can_answer(((struct qmp_source *)source)->s);
}

static GIOCondition ready(struct qmp_server *s, gpointer tag)
{
	return tag ? g_source_query_unix_fd(s->source, tag) : 0;
}

static gboolean source_check(GSource *source)
{
	struct qmp_server *s = ((struct qmp_source *)source)->s;

	return can_answer(s) || ready(s, s->listen_tag) || (s->fd >= 0 && ready(s, s->fd_tag));
}

static gboolean source_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	struct qmp_server *s = ((struct qmp_source *)source)->s;
	GIOCondition client = s->fd >= 0 ? ready(s, s->fd_tag) : 0;

	if (s->fd >= 0)
		write_some(s);
	if (s->fd < 0) {
		if (ready(s, s->listen_tag))
			accept_client(s);
	} else if (can_answer(s)) {
		answer_one(s);
	} else if (s->in_at == s->in_len && client & (G_IO_IN | G_IO_HUP | G_IO_ERR)) {
		read_some(s);
	}
	watch(s);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = { .prepare = source_prepare, .check = source_check, .dispatch = source_dispatch };

struct qmp_server *qmp_server_new(const char *path, const struct qmp_server_ops *ops, void *opaque, GError **error)
{
	int fd = kv_listen_unix("QMP socket", path, error);
	struct qmp_server *s;

	if (fd < 0)
		return NULL;
	s = g_new0(struct qmp_server, 1);
	s->session = (struct qmp_session){ .commands = ops->commands, .opaque = opaque, .events = ops->events };
	s->ops = ops;
	s->path = g_strdup(path);
	s->out = g_string_new(NULL);
	s->listen_fd = fd;
	s->fd = s->passed = -1;
	s->source = g_source_new(&source_funcs, sizeof(struct qmp_source));
	((struct qmp_source *)s->source)->s = s;
	s->listen_tag = g_source_add_unix_fd(s->source, fd, G_IO_IN);
	g_source_attach(s->source, NULL);
	return s;
}

void qmp_server_free(struct qmp_server *s)
{
	gint64 deadline = g_get_monotonic_time() + FLUSH_MS * 1000;

	if (!s)
		return;
	while (s->fd >= 0 && waiting(s) && g_get_monotonic_time() < deadline) {
		struct pollfd pfd = { .fd = s->fd, .events = POLLOUT };

		if (poll(&pfd, 1, FLUSH_MS / 10) > 0)
			write_some(s);
	}
	leave_client(s);
	g_source_destroy(s->source);
	g_source_unref(s->source);
	close(s->listen_fd);
	unlink(s->path);
	g_string_free(s->out, TRUE);
	g_free(s->path);
	g_free(s);
}

int qmp_server_take_fd(struct qmp_server *s)
{
	int fd = s->passed;

	s->passed = -1;
	return fd;
}

const char *qmp_server_path(const struct qmp_server *s)
{
	return s->path;
}

void qmp_server_event(struct qmp_server *s, const char *name, JsonObject *data)
{
	if (s->fd < 0 || !s->session.negotiated)
		return;
	if (waiting(s) > OUT_MAX) {
		kv_log_warn("the QMP client on '%s' does not read; it is left", s->path);
		leave_client(s);
	} else {
		put_line(s, qmp_line_event(name, data ? json_object_ref(data) : NULL));
	}
	watch(s);
}
