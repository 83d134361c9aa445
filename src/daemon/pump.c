/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See pump.h. */
#include "pump.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "call.h"
#include "error.h"
#include "poller.h"

enum { CHUNK = 1 << 18 };

struct pump {
	int refs;
	int file, socket;
	guint64 offset, left;
	bool to_file, framed, over;
	GError *error;
	void (*ended)(void *data);
	void *data;
	void (*done)(void *data, const GError *error);
	void *done_data;
};

struct pump *pump_new(int fd, guint64 offset, guint64 length, bool to_file, bool framed, int *ret_fd, GError **error)
{
	struct pump *p;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		kv_fail_errno(error, errno, "cannot make sockets for a stream");
		close(fd);
		return NULL;
	}
	p = g_new0(struct pump, 1);
	*p = (struct pump){1, fd, pair[0], offset, length ? length : G_MAXUINT64, to_file, framed};
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
static bool send_all(struct pump *p, const void *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = send(p->socket, (const char *)data + at, len - at, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return false;
		at += MAX(n, 0);
	}
	return true;
}

static bool write_all(struct pump *p, const char *buf, size_t len, GError **error)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = pwrite(p->file, buf + at, len - at, p->offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kv_fail_errno(error, errno, "cannot write a volume");
		at += n;
		p->offset += n;
	}
	return true;
}

/* How much of the file is data, or a hole, from here on. */
static bool next_run(struct pump *p, bool *ret_hole, guint64 *ret_len)
{
	off_t end = lseek(p->file, 0, SEEK_END), data, to;

	if (end < 0 || p->offset >= (guint64)end)
		return false;
	data = lseek(p->file, p->offset, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		data = p->offset; /* a file system without holes */
	*ret_hole = data < 0 || (guint64)data > p->offset;
	to = *ret_hole ? data : lseek(p->file, p->offset, SEEK_HOLE);
	*ret_len = MIN(p->left, (to < 0 || to > end ? (guint64)end : (guint64)to) - p->offset);
	return true;
}

static bool give_hole(struct pump *p, guint64 len)
{
	const struct pump_frame frame = {true, len};

	p->offset += len;
	p->left -= len;
	return send_all(p, &frame, sizeof(frame));
}

/* Up to CHUNK bytes to the stream; false: that was all. */
static bool give(struct pump *p, char *buf, GError **error)
{
	size_t want = MIN(p->left, CHUNK);
	guint64 run = want;
	bool hole = false;
	ssize_t n;

	if (p->framed && !next_run(p, &hole, &run))
		return false;
	if (hole)
		return give_hole(p, run);
	n = pread(p->file, buf, MIN(want, run), p->offset);
	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0)
		return kv_fail_errno(error, errno, "cannot read a volume");
	if (n == 0)
		return false;
	p->offset += n;
	p->left -= n;
	if (p->framed) {
		const struct pump_frame frame = {false, n};

		if (!send_all(p, &frame, sizeof(frame)))
			return false;
	}
	return send_all(p, buf, n);
}

/* A hole: zeroes where there was data, and the file goes on behind it. */
static bool take_hole(struct pump *p, guint64 len, GError **error)
{
	struct stat st;
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	if (len > p->left || len > G_MAXINT64 - p->offset)
		return kv_fail_errno(error, ENOSPC, "cannot write a volume");
	if (fstat(p->file, &st) < 0)
		return kv_fail_errno(error, errno, "cannot write a volume");
	if (S_ISBLK(st.st_mode))
		mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
	if ((S_ISBLK(st.st_mode) || p->offset < (guint64)st.st_size) && fallocate(p->file, mode, p->offset, len) < 0)
		return kv_fail_errno(error, errno, "cannot make a hole in a volume");
	p->offset += len;
	p->left -= len;
	return S_ISBLK(st.st_mode) || p->offset <= (guint64)st.st_size || ftruncate(p->file, p->offset) == 0 ||
	       kv_fail_errno(error, errno, "cannot write a volume");
}

static bool take(struct pump *p, char *buf, guint64 *frame_left, GError **error)
{
	struct pump_frame frame;
	size_t want = MIN(p->left, CHUNK);
	ssize_t n;

	if (p->framed && !*frame_left) {
		if (recv(p->socket, &frame, sizeof(frame), MSG_WAITALL) != sizeof(frame))
			return false;
		if (frame.hole)
			return take_hole(p, frame.len, error);
		*frame_left = frame.len;
	}
	n = recv(p->socket, buf, p->framed ? MIN(want, *frame_left) : want, 0);
	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0)
		return kv_fail_errno(error, errno, "cannot read a stream");
	p->left -= n;
	*frame_left -= p->framed ? n : 0;
	return n && write_all(p, buf, n, error);
}

static GError *copy(struct pump *p)
{
	g_autofree char *buf = g_malloc(CHUNK);
	guint64 frame_left = 0;
	GError *error = NULL;

	while (p->left && (p->to_file ? take(p, buf, &frame_left, &error) : give(p, buf, &error)))
		;
	return error;
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
