/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See stream.h. Messages come from dispatch.c; a stream ends with its client, its last packet, or an error. */
#include "stream.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dispatch.h"
#include "error.h"
#include "pump.h"

struct stream {
	struct watch watch; /* first: a watch is its stream */
	int refs;
	bool watched;
	struct client *client; /* NULL: it has ended, or not begun */
	struct client *of;     /* before it begins */
	enum stream_way way;
	struct rpc_header header;
	struct pump *pump;  /* NULL: the descriptor is the thing itself */
	GByteArray *in;	    /* for the descriptor */
	bool sending;	    /* a packet is not with the peer yet */
	bool read_all;	    /* the descriptor has no more */
	bool all_in;	    /* the client has no more */
	bool holes;	    /* what the pump gives and takes are frames */
	guint64 frame_left; /* of a frame of data that the pump gives */
	bool takes_over;    /* when it begins */
	bool finishing;	    /* and waits for our word that everything is done */
};

static void ready(struct watch *w, uint32_t events);
static GPtrArray *begun; /* struct stream, no references */

void stream_unref(struct stream *s)
{
	if (--s->refs)
		return;
	if (s->watch.fd >= 0)
		close(s->watch.fd);
	g_clear_pointer(&s->pump, pump_unref);
	g_byte_array_unref(s->in);
	g_free(s);
}

bool stream_open(struct call *call, int fd, enum stream_way way, GError **error)
{
	struct stream *s;

	if (!g_unix_set_fd_nonblocking(fd, TRUE, error)) {
		close(fd);
		return false;
	}
	s = g_new0(struct stream, 1);
	s->watch = (struct watch){fd, 0, ready};
	s->refs = 1;
	s->of = call->client;
	s->way = way;
	s->in = g_byte_array_new();
	s->header = (struct rpc_header){call->proc->program, 1, call->proc->number, RPC_STREAM, call->serial, RPC_CONTINUE};
	call->stream = s;
	return true;
}

static void send_packet(struct stream *s, int32_t status, const void *data, size_t len)
{
	struct rpc_header h = s->header;

	h.status = status;
	s->sending = status == RPC_CONTINUE;
	client_send(s->client, rpc_message_stream(&h, data, len), NULL, status == RPC_CONTINUE ? SEND_STREAM : SEND_EVENT);
}

static void set_full(struct client *c)
{
	bool full = false;

	for (unsigned i = 0; i < c->streams->len; i++)
		full |= ((struct stream *)c->streams->pdata[i])->in->len > STREAM_QUEUE;
	if (c->streams_full && !full) {
		c->streams_full = false;
		client_resume(c);
	}
	c->streams_full = full;
}

static void end(struct stream *s)
{
	struct client *c = s->client;

	if (!c)
		return;
	s->client = NULL;
	if (s->watched)
		poller_remove(&s->watch);
	s->watched = false;
	close(s->watch.fd);
	s->watch.fd = -1;
	g_ptr_array_remove_fast(begun, s);
	g_ptr_array_remove_fast(c->streams, s);
	set_full(c);
}

static void fail(struct stream *s, const GError *error)
{
	dispatch_send_error(s->client, s->header, error, SEND_EVENT);
	end(s);
}

/* What it waits for now: room for what came, bytes while none of ours is under way. */
static void set_events(struct stream *s)
{
	bool reads = s->way & STREAM_TO_CLIENT && !s->sending && !s->read_all;
	unsigned events = (reads ? EPOLLIN : 0) | (s->in->len ? EPOLLOUT : 0);

	/* Who waits for nothing is not watched: a hang-up would be told again and again. */
	if (s->watched && !events)
		poller_remove(&s->watch);
	else if (s->watched)
		poller_set(&s->watch, events);
	s->watch.events = events;
	if (!s->watched && events)
		poller_add(&s->watch, NULL);
	s->watched = events;
}

/* All that the client has sent is where it belongs. */
static void maybe_finish(struct stream *s)
{
	g_autoptr(GError) error = NULL;

	if (!s->all_in || s->in->len)
		return;
	shutdown(s->watch.fd, SHUT_WR);
	if (!s->finishing || (s->pump && !pump_done(s->pump, &error)))
		return;
	if (error) {
		fail(s, error);
		return;
	}
	send_packet(s, RPC_OK, NULL, 0);
	end(s);
}

static void pump_ended(void *data)
{
	struct stream *s = data;

	if (s->client)
		maybe_finish(s);
	stream_unref(s);
}

bool stream_open_file(struct call *call, int fd, guint64 offset, guint64 length, enum stream_way way, bool holes,
		      void (*done)(void *data, const GError *error), void *data, GError **error)
{
	int end_fd;
	struct pump *pump = pump_new(fd, offset, length, way == STREAM_FROM_CLIENT, holes, &end_fd, error);

	if (!pump)
		return false;
	if (!stream_open(call, end_fd, way, error)) {
		pump_unref(pump);
		return false;
	}
	call->stream->pump = pump;
	call->stream->holes = holes;
	call->stream->refs++;
	pump_start(pump, pump_ended, call->stream, done, data);
	return true;
}

void stream_take_over(struct stream *s)
{
	s->takes_over = true;
}

static bool is_same_terminal(const struct stream *a, const struct stream *b)
{
	struct stat one, other;

	return fstat(a->watch.fd, &one) == 0 && fstat(b->watch.fd, &other) == 0 && S_ISCHR(one.st_mode) &&
	       S_ISCHR(other.st_mode) && one.st_rdev == other.st_rdev;
}

static void take_over(struct stream *s)
{
	g_autoptr(GError) error = NULL;

	rpc_fail(&error, VIR_ERR_RPC, "stream had I/O failure");
	for (unsigned i = begun->len; i--;)
		if (is_same_terminal(begun->pdata[i], s))
			fail(begun->pdata[i], error);
	flock(s->watch.fd, LOCK_EX | LOCK_NB);
}

void stream_begin(struct stream *s)
{
	struct client *c = s->of;

	s->of = NULL;
	if (c->failed)
		return;
	if (!begun)
		begun = g_ptr_array_new();
	if (s->takes_over)
		take_over(s);
	s->refs++;
	s->client = c;
	g_ptr_array_add(begun, s);
	g_ptr_array_add(c->streams, s);
	set_events(s);
}

/* ---- from the descriptor ---- */

static void read_all(struct stream *s)
{
	g_autoptr(GError) error = NULL;

	s->read_all = true;
	if (s->pump && pump_done(s->pump, &error) && error)
		fail(s, error);
	else
		send_packet(s, RPC_CONTINUE, NULL, 0);
}

static void send_hole(struct stream *s, guint64 len)
{
	struct rpc_header h = s->header;
	GByteArray *message;

	h.type = RPC_STREAM_HOLE;
	h.status = RPC_CONTINUE;
	message = rpc_message_new(&h, "(hu)", g_variant_new("(xu)", (gint64)len, 0), 0, NULL);
	s->sending = true;
	client_send(s->client, message, NULL, SEND_STREAM);
}

/* The next frame's head, when all of it is there. false: there is nothing to read behind it now. */
static bool take_frame(struct stream *s)
{
	struct pump_frame frame;
	ssize_t n = recv(s->watch.fd, &frame, sizeof(frame), MSG_PEEK);

	if (n == 0 || (n < 0 && errno != EAGAIN))
		read_all(s);
	if (n != sizeof(frame) || recv(s->watch.fd, &frame, sizeof(frame), 0) != sizeof(frame))
		return false;
	if (frame.hole)
		send_hole(s, frame.len);
	else
		s->frame_left = frame.len;
	return s->frame_left;
}

static void take(struct stream *s)
{
	static guint8 buf[RPC_STREAM_CHUNK]; /* the main thread's */
	ssize_t n;

	if (s->holes && !s->frame_left && !take_frame(s))
		return;
	n = read(s->watch.fd, buf, s->holes ? MIN(sizeof(buf), s->frame_left) : sizeof(buf));
	if (n < 0 && errno == EAGAIN)
		return;
	s->frame_left -= s->holes ? MAX(n, 0) : 0;
	if (n > 0)
		send_packet(s, RPC_CONTINUE, buf, n);
	else
		read_all(s); /* also a terminal whose other side is gone */
}

static void give(struct stream *s)
{
	ssize_t n = s->in->len ? write(s->watch.fd, s->in->data, s->in->len) : 0;

	if (n > 0)
		g_byte_array_remove_range(s->in, 0, n);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		g_autoptr(GError) error = NULL;

		if (!s->pump || !pump_done(s->pump, &error) || !error)
			kv_fail_errno(&error, errno, "cannot write to stream");
		fail(s, error);
		return;
	}
	set_full(s->client);
	maybe_finish(s);
}

static void ready(struct watch *w, uint32_t events)
{
	struct stream *s = (struct stream *)w;

	s->refs++;
	if (s->client && events & EPOLLOUT)
		give(s);
	if (s->client && s->way & STREAM_TO_CLIENT && !s->sending && !s->read_all && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		take(s);
	if (s->client)
		set_events(s);
	stream_unref(s);
}

void streams_resume(struct client *c)
{
	for (unsigned i = 0; i < c->streams->len; i++) {
		struct stream *s = c->streams->pdata[i];

		s->sending = false;
		set_events(s);
	}
}

void streams_end(struct client *c)
{
	while (c->streams->len)
		end(c->streams->pdata[c->streams->len - 1]);
}

/* ---- from the client ---- */

static struct stream *find(struct client *c, const struct rpc_header *h)
{
	for (unsigned i = 0; i < c->streams->len; i++) {
		struct stream *s = c->streams->pdata[i];

		if (s->header.program == h->program && s->header.number == h->number && s->header.serial == h->serial)
			return s;
	}
	return NULL;
}

static void append(struct stream *s, const void *data, size_t len)
{
	const struct pump_frame frame = {false, len};

	if (s->holes)
		g_byte_array_append(s->in, (const guint8 *)&frame, sizeof(frame));
	g_byte_array_append(s->in, data, len);
	give(s);
}

static void stream_hole(struct stream *s, const guint8 *message, size_t len)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GVariant) body = rpc_message_body(message, len, "(hu)", NULL, &error);
	struct pump_frame frame = {true, 0};
	gint64 bytes;

	if (!s->holes || !(s->way & STREAM_FROM_CLIENT) || s->all_in) {
		g_clear_error(&error);
		rpc_fail(&error, VIR_ERR_OPERATION_UNSUPPORTED, "holes in a stream that was not opened for them");
	} else if (body) {
		g_variant_get(body, "(xu)", &bytes, NULL);
		if (bytes < 0)
			rpc_fail(&error, VIR_ERR_INVALID_ARG, "a hole of a negative length");
		frame.len = bytes;
	}
	if (error) {
		fail(s, error);
	} else if (frame.len) {
		g_byte_array_append(s->in, (const guint8 *)&frame, sizeof(frame));
		give(s);
	}
}

static void stream_data(struct stream *s, const guint8 *data, size_t len)
{
	g_autoptr(GError) error = NULL;

	if (!len) {
		s->all_in = true;
		maybe_finish(s);
	} else if (!(s->way & STREAM_FROM_CLIENT) || s->all_in) {
		rpc_fail(&error, VIR_ERR_OPERATION_INVALID, "stream is not open for writing");
		fail(s, error);
	} else {
		append(s, data, len);
	}
}

static void stream_abort(struct stream *s)
{
	g_autoptr(GError) error = NULL;
	struct rpc_header h = s->header;

	h.type = RPC_REPLY;
	rpc_fail(&error, VIR_ERR_RPC, "stream aborted at client request");
	dispatch_send_error(s->client, h, error, SEND_EVENT);
	end(s);
}

void stream_message(struct client *c, const struct rpc_header *h, const guint8 *message, size_t len)
{
	struct stream *s = find(c, h);
	size_t data_len;
	const guint8 *data = rpc_message_data(message, len, &data_len);

	if (!s)
		return; /* it ended a moment ago */
	s->refs++;
	if (h->type == RPC_STREAM_HOLE) {
		stream_hole(s, message, len);
	} else if (h->status == RPC_CONTINUE) {
		stream_data(s, data, data_len);
	} else if (h->status == RPC_OK) {
		s->all_in = s->finishing = true;
		maybe_finish(s);
	} else {
		stream_abort(s);
	}
	if (s->client)
		set_events(s);
	stream_unref(s);
}
