/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moves bytes between a guest's console and descriptors of the host, without ever blocking a
 * vCPU. See stream.h. Input is read only when the device has room; a descriptor that is not
 * wanted is not watched at all, because a hung-up one would wake the loop for ever.
 */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib-unix.h>

enum {
	READ_CHUNK = 4096,
	BLOCKING_CHUNK = 256, /* a terminal that polls as writable takes this much */
	FLUSH_MS = 500,	      /* at the end, for a reader that is there but slow */
};

struct stream_source {
	GSource base;
	struct char_stream *s;
};

static void unwatch(struct char_stream *s, gpointer *tag)
{
	if (*tag)
		g_source_remove_unix_fd(s->source, *tag);
	*tag = NULL;
}

static void watch(struct char_stream *s, gpointer *tag, int fd, GIOCondition what)
{
	if (!*tag && fd >= 0)
		*tag = g_source_add_unix_fd(s->source, fd, what);
}

/* write(2) that may take less, or nothing with EAGAIN, but does not wait. */
static ssize_t write_some(struct char_stream *s, const uint8_t *data, size_t len)
{
	struct pollfd pfd = { .fd = s->out_fd, .events = POLLOUT };
	ssize_t n;

	do {
		if (s->out_socket) {
			n = send(s->out_fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		} else if (!s->out_blocks) {
			n = write(s->out_fd, data, len);
		} else if (poll(&pfd, 1, 0) != 1) {
			errno = EAGAIN;
			return -1;
		} else {
			n = write(s->out_fd, data, MIN(len, BLOCKING_CHUNK));
		}
	} while (n < 0 && errno == EINTR);
	return n;
}

static void drop_output(struct char_stream *s)
{
	unwatch(s, &s->out_tag);
	s->out_fd = -1;
	s->c->dropped += s->used;
	s->used = 0;
}

/* What waits is lost. A file that is full has room another time; who else refuses has gone. */
static void output_refused(struct char_stream *s)
{
	if (!s->out_file) {
		drop_output(s);
		return;
	}
	s->c->dropped += s->used;
	s->used = 0;
}

/* The buffer's bytes to the host, as far as it takes them. Holds the lock. */
static void flush_buffer(struct char_stream *s)
{
	while (s->used && s->out_fd >= 0) {
		size_t run = MIN(s->used, CHAR_BUFFER - s->head);
		ssize_t n = write_some(s, s->buffer + s->head, run);

		if (n < 0 && errno != EAGAIN)
			output_refused(s);
		if (n < 0)
			break;
		s->head = (s->head + n) % CHAR_BUFFER;
		s->used -= n;
	}
	if (s->used)
		watch(s, &s->out_tag, s->out_fd, G_IO_OUT);
	else
		unwatch(s, &s->out_tag);
}

static void put_in_buffer(struct char_stream *s, const uint8_t *data, size_t len)
{
	size_t room = CHAR_BUFFER - s->used;
	size_t at = (s->head + s->used) % CHAR_BUFFER;
	size_t n = MIN(len, room), first = MIN(n, CHAR_BUFFER - at);

	if (!s->buffer)
		s->buffer = g_malloc(CHAR_BUFFER);
	memcpy(s->buffer + at, data, first);
	memcpy(s->buffer, data + first, n - first);
	s->used += n;
	s->c->dropped += len - n;
}

void stream_write(struct char_stream *s, const uint8_t *data, size_t len)
{
	g_mutex_lock(&s->lock);
	while (len && !s->used && s->out_fd >= 0) {
		ssize_t n = write_some(s, data, len);

		if (n < 0 && errno != EAGAIN) {
			output_refused(s);
			s->c->dropped += len;
			len = 0;
		}
		if (n < 0)
			break;
		data += n;
		len -= n;
	}
	if (s->out_fd < 0) {
		s->c->dropped += len;
	} else if (len) {
		put_in_buffer(s, data, len);
		watch(s, &s->out_tag, s->out_fd, G_IO_OUT);
	}
	g_mutex_unlock(&s->lock);
}

bool stream_writable(struct char_stream *s)
{
	bool yes;

	g_mutex_lock(&s->lock);
	yes = s->used <= CHAR_BUFFER / 2;
	g_mutex_unlock(&s->lock);
	return yes;
}

bool stream_connected(struct char_stream *s)
{
	bool yes;

	g_mutex_lock(&s->lock);
	yes = s->in_fd >= 0 || s->out_fd >= 0;
	g_mutex_unlock(&s->lock);
	return yes;
}

static void tell_connected(struct char_stream *s, bool connected)
{
	if (s->c->client && s->c->client->connected)
		s->c->client->connected(s->c->client_opaque, connected);
}

void stream_resume(struct char_stream *s)
{
	const GIOCondition ends = G_IO_HUP | G_IO_ERR | (GIOCondition)POLLRDHUP;
	bool reads;

	g_mutex_lock(&s->lock);
	reads = s->c->client;
	if (s->in_tag && s->reads != reads)
		unwatch(s, &s->in_tag);
	s->reads = reads;
	watch(s, &s->in_tag, s->in_fd, reads ? G_IO_IN | G_IO_HUP | G_IO_ERR : ends);
	g_mutex_unlock(&s->lock);
}

static void pause_input(struct char_stream *s)
{
	g_mutex_lock(&s->lock);
	unwatch(s, &s->in_tag);
	g_mutex_unlock(&s->lock);
	/* Room that appeared between the question and the pause. */
	if (s->c->client && s->c->client->can_receive(s->c->client_opaque))
		stream_resume(s);
}

static void input_ended(struct char_stream *s)
{
	g_mutex_lock(&s->lock);
	unwatch(s, &s->in_tag);
	if (s->hangup)
		drop_output(s);
	s->in_fd = -1;
	g_mutex_unlock(&s->lock);
	if (s->hangup) {
		tell_connected(s, false);
		s->hangup(s);
	}
}

static void read_input(struct char_stream *s)
{
	size_t room = s->c->client ? s->c->client->can_receive(s->c->client_opaque) : 0;
	uint8_t data[READ_CHUNK];
	ssize_t n;

	if (!room) {
		pause_input(s);
		return;
	}
	n = read(s->in_fd, data, MIN(room, sizeof(data)));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		input_ended(s);
		return;
	}
	if (s->filter)
		n = s->filter(s, data, n);
	if (n)
		s->c->client->receive(s->c->client_opaque, data, n);
}

static gboolean stream_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	struct char_stream *s = ((struct stream_source *)source)->s;
	bool in, out;

	g_mutex_lock(&s->lock);
	in = s->in_tag && g_source_query_unix_fd(source, s->in_tag);
	out = s->out_tag && g_source_query_unix_fd(source, s->out_tag);
	if (out)
		flush_buffer(s);
	g_mutex_unlock(&s->lock);
	if (in && s->reads)
		read_input(s);
	else if (in)
		input_ended(s);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs stream_funcs = { .dispatch = stream_dispatch };

void stream_init(struct char_stream *s, struct chardev *c)
{
	s->c = c;
	s->in_fd = s->out_fd = -1;
	g_mutex_init(&s->lock);
	s->source = g_source_new(&stream_funcs, sizeof(struct stream_source));
	((struct stream_source *)s->source)->s = s;
	g_source_attach(s->source, NULL);
	c->state = s;
}

void stream_set_owner(struct char_stream *s, struct chardev *c)
{
	g_mutex_lock(&s->lock);
	s->c = c;
	g_mutex_unlock(&s->lock);
}

void stream_connect(struct char_stream *s, int in, int out)
{
	struct stat st = {};
	int flags = out >= 0 ? fcntl(out, F_GETFL) : -1;

	if (out >= 0)
		fstat(out, &st);
	g_mutex_lock(&s->lock);
	s->in_fd = in;
	s->out_fd = out;
	s->out_socket = S_ISSOCK(st.st_mode);
	s->out_file = S_ISREG(st.st_mode);
	s->out_blocks = !s->out_file && (flags < 0 || !(flags & O_NONBLOCK));
	g_mutex_unlock(&s->lock);
	tell_connected(s, true);
	stream_resume(s);
}

void stream_disconnect(struct char_stream *s)
{
	g_mutex_lock(&s->lock);
	unwatch(s, &s->in_tag);
	drop_output(s);
	s->in_fd = -1;
	g_mutex_unlock(&s->lock);
}

void stream_destroy(struct char_stream *s)
{
	gint64 deadline = g_get_monotonic_time() + FLUSH_MS * 1000;

	g_mutex_lock(&s->lock);
	while (s->used && s->out_fd >= 0 && g_get_monotonic_time() < deadline) {
		struct pollfd pfd = { .fd = s->out_fd, .events = POLLOUT };

		if (poll(&pfd, 1, FLUSH_MS / 10) > 0)
			flush_buffer(s);
	}
	g_mutex_unlock(&s->lock);
	g_source_destroy(s->source);
	g_source_unref(s->source);
	g_mutex_clear(&s->lock);
	g_free(s->buffer);
}
