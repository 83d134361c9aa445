/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See pump.h. */
#include "pump.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "call.h"
#include "error.h"
#include "poller.h"

enum { CHUNK = 1 << 18 };

struct pump {
	int refs;
	int file, socket;
	guint64 offset, left;
	bool to_file, over;
	GError *error;
	void (*ended)(void *data);
	void *data;
	void (*done)(void *data, const GError *error);
	void *done_data;
};

struct pump *pump_new(int fd, guint64 offset, guint64 length, bool to_file, int *ret_fd, GError **error)
{
	struct pump *p;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		kv_fail_errno(error, errno, "cannot make sockets for a stream");
		close(fd);
		return NULL;
	}
	p = g_new0(struct pump, 1);
	*p = (struct pump){ 1, fd, pair[0], offset, length ? length : G_MAXUINT64, to_file };
	*ret_fd = pair[1];
	return p;
}

void pump_unref(struct pump *p)
{
	if (--p->refs)
		return;
	close(p->file);
	if (p->socket >= 0)
		close(p->socket);
	g_clear_error(&p->error);
	g_free(p);
}

bool pump_done(const struct pump *p, GError **error)
{
	if (p->over && p->error)
		g_propagate_error(error, g_error_copy(p->error));
	return p->over;
}

/* Without the lock: all but over and error is the thread's. Whose other end is closed is not wanted any more. */
static GError *copy(struct pump *p)
{
	g_autofree char *buf = g_malloc(CHUNK);
	GError *error = NULL;

	while (p->left) {
		size_t want = MIN(p->left, CHUNK);
		ssize_t n = p->to_file ? recv(p->socket, buf, want, 0) : pread(p->file, buf, want, p->offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			kv_fail_errno(&error, errno, p->to_file ? "cannot read a stream" : "cannot read a volume");
		if (n <= 0)
			return error;
		p->left -= n;
		for (ssize_t at = 0; at < n;) {
			ssize_t done = p->to_file ? pwrite(p->file, buf + at, n - at, p->offset)
						  : send(p->socket, buf + at, n - at, MSG_NOSIGNAL);

			if (done < 0 && errno == EINTR)
				continue;
			if (done < 0 && p->to_file)
				kv_fail_errno(&error, errno, "cannot write a volume");
			if (done < 0)
				return error;
			at += done;
			p->offset += done;
		}
	}
	return NULL;
}

static void over(void *data)
{
	struct pump *p = data;

	p->ended(p->data);
	if (p->done)
		p->done(p->done_data, p->error);
	pump_unref(p);
}

static gpointer pump(gpointer data)
{
	struct pump *p = data;
	GError *error = copy(p);

	state_acquire();
	p->error = error;
	p->over = true;
	close(p->socket);
	p->socket = -1;
	poller_later(over, p);
	state_release();
	return NULL;
}

void pump_start(struct pump *p, void (*ended)(void *data), void *data, void (*done)(void *data, const GError *error),
		void *done_data)
{
	p->refs++;
	p->ended = ended;
	p->data = data;
	p->done = done;
	p->done_data = done_data;
	g_thread_unref(g_thread_new("kvd-copies", pump, p));
}
