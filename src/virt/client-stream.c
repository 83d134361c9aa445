/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Streams of a client (client.h): packets with the procedure and serial of the call that opened them; CONTINUE with data,
 * CONTINUE without for the end of one direction, OK from both sides, ERROR; a hole's length instead of data where the call asked
 * for holes. Called by kv-stream.c and client.c.
 */
#include <string.h>

#include "client-inside.h"

enum { FULL = 8 << 20, HOLES = 4096 };

#define HOLE_TYPE "(hu)" /* bytes, flags */

static void news(struct rpc_stream *s)
{
	s->is_news = true;
	g_cond_broadcast(&s->client->changed);
	rpc_client_wake(s->client);
}

void rpc_stream_fail(struct rpc_stream *s, const GError *why)
{
	if (!s->error && !s->is_over)
		s->error = g_error_copy(why);
	s->is_over = true;
	s->is_news = true;
}

static void take_failure(struct rpc_stream *s, const uint8_t *message, size_t len)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GVariant) body = rpc_message_body(message, len, RPC_ERROR_TYPE, NULL, &error);

	if (body)
		error = rpc_error_from_body(body);
	rpc_stream_fail(s, error);
}

static void take_hole(struct rpc_stream *s, const uint8_t *message, size_t len)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GVariant) body = rpc_message_body(message, len, HOLE_TYPE, NULL, &error);
	struct rpc_hole hole = { .at = s->in->len };
	int64_t length = 0;

	if (body)
		g_variant_get(body, "(xu)", &length, NULL);
	hole.left = length;
	if (length < 0)
		rpc_fail(&error, VIR_ERR_RPC, "a hole of a negative length");
	if (error)
		rpc_stream_fail(s, error);
	else if (length)
		g_array_append_val(s->holes, hole);
}

/* What was taken goes, once that is all of it. */
static void tidy(struct rpc_stream *s)
{
	if (s->taken < s->in->len || s->holes->len)
		return;
	g_byte_array_set_size(s->in, 0);
	s->taken = 0;
}

void rpc_stream_take(struct rpc_client *c, const struct rpc_header *h, const uint8_t *message, size_t len)
{
	struct rpc_stream *s = NULL;
	size_t size;
	const uint8_t *data = rpc_message_data(message, len, &size);

	for (GList *l = c->streams; l && !s; l = l->next)
		if (((struct rpc_stream *)l->data)->serial == h->serial)
			s = l->data;
	if (!s)
		return; /* it was given up */
	if (h->status == RPC_ERROR) {
		take_failure(s, message, len);
	} else if (h->status == RPC_OK) {
		s->is_finished = s->is_at_end = s->is_over = true;
	} else if (h->type == RPC_STREAM_HOLE) {
		take_hole(s, message, len);
	} else if (h->type == RPC_STREAM) {
		tidy(s);
		g_byte_array_append(s->in, data, size);
		s->is_at_end |= !size;
	}
	news(s);
}

bool rpc_streams_are_full(struct rpc_client *c)
{
	for (GList *l = c->streams; l; l = l->next) {
		struct rpc_stream *s = l->data;

		if (s->in->len - s->taken > FULL || s->holes->len > HOLES)
			return true;
	}
	return false;
}

struct rpc_stream *rpc_stream_open(struct rpc_client *c, const struct rpc_proc *proc, GVariant *args, GVariant **ret,
				   void (*ready)(void *opaque), void *opaque, GCancellable *cancellable, GError **error)
{
	struct rpc_stream *s = g_new0(struct rpc_stream, 1);
	struct rpc_call call = { .proc = proc };
	GVariant *answer = NULL;

	*s = (struct rpc_stream){ c, proc, .in = g_byte_array_new(), .ready = ready, .opaque = opaque };
	s->holes = g_array_new(FALSE, FALSE, sizeof(struct rpc_hole));
	g_mutex_lock(&c->lock);
	s->serial = rpc_client_send(c, &call, args, NULL, error);
	/* Data may come in the same read as the answer. */
	c->streams = g_list_prepend(c->streams, s);
	if (s->serial)
		answer = rpc_client_await(c, &call, s->serial, cancellable, error);
	s->is_over |= !answer;
	g_mutex_unlock(&c->lock);
	g_clear_object(&call.fds);
	if (!answer) {
		rpc_stream_free(s);
		return NULL;
	}
	if (ret)
		*ret = answer;
	else
		g_variant_unref(answer);
	return s;
}

static bool can_recv(void *opaque)
{
	struct rpc_stream *s = opaque;

	return s->taken < s->in->len || s->holes->len || s->is_at_end || s->error;
}

/* That comes next, or NULL. */
static struct rpc_hole *next_hole(struct rpc_stream *s)
{
	struct rpc_hole *hole = s->holes->len ? &g_array_index(s->holes, struct rpc_hole, 0) : NULL;

	return hole && hole->at == s->taken ? hole : NULL;
}

static void set_error(struct rpc_stream *s, GError **error)
{
	g_propagate_error(error, g_error_copy(s->error));
}

static gssize take_bytes(struct rpc_stream *s, void *buf, size_t len, GError **error)
{
	size_t end = s->holes->len ? g_array_index(s->holes, struct rpc_hole, 0).at : s->in->len, n = MIN(len, end - s->taken);

	if (next_hole(s)) {
		rpc_fail(error, VIR_ERR_OPERATION_INVALID, "a hole comes next in the stream, no bytes");
		return -1;
	}
	if (!n && s->error) {
		set_error(s, error);
		return -1;
	}
	if (n)
		memcpy(buf, s->in->data + s->taken, n);
	s->taken += n;
	return n;
}

gssize rpc_stream_recv(struct rpc_stream *s, void *buf, size_t len, bool wait, GCancellable *cancellable, GError **error)
{
	gssize n = -1;

	g_mutex_lock(&s->client->lock);
	if (!wait && !can_recv(s)) {
		g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK, "nothing has come yet");
	} else if (rpc_client_wait(s->client, can_recv, s, cancellable, error)) {
		n = take_bytes(s, buf, len, error);
	}
	g_mutex_unlock(&s->client->lock);
	return n;
}

int64_t rpc_stream_recv_hole(struct rpc_stream *s, GCancellable *cancellable, GError **error)
{
	struct rpc_hole *hole;
	int64_t length = -1;

	g_mutex_lock(&s->client->lock);
	if (rpc_client_wait(s->client, can_recv, s, cancellable, error)) {
		hole = next_hole(s);
		length = hole ? (int64_t)hole->left : 0;
		if (hole)
			g_array_remove_index(s->holes, 0);
	}
	g_mutex_unlock(&s->client->lock);
	return length;
}

static void packet(struct rpc_stream *s, enum rpc_status status, const void *data, size_t len)
{
	struct rpc_header h = { s->proc->program, 1, s->proc->number, RPC_STREAM, s->serial, status };

	rpc_client_push(s->client, rpc_message_stream(&h, data, len), NULL);
}

static bool is_sent(void *opaque)
{
	struct rpc_stream *s = opaque;

	return g_queue_is_empty(&s->client->out) || s->error;
}

/* Holds the lock. What was pushed is on its way, and the other side has not refused. */
static bool sent(struct rpc_stream *s, GCancellable *cancellable, GError **error)
{
	if (!rpc_client_wait(s->client, is_sent, s, cancellable, error))
		return false;
	if (s->error)
		set_error(s, error);
	return !s->error;
}

bool rpc_stream_send(struct rpc_stream *s, const void *buf, size_t len, GCancellable *cancellable, GError **error)
{
	const uint8_t *p = buf;
	bool ok = true;

	g_mutex_lock(&s->client->lock);
	for (size_t at = 0; at < len && ok; at += RPC_STREAM_CHUNK) {
		if (!s->error)
			packet(s, RPC_CONTINUE, p + at, MIN(len - at, RPC_STREAM_CHUNK));
		ok = sent(s, cancellable, error);
	}
	g_mutex_unlock(&s->client->lock);
	return ok;
}

gssize rpc_stream_send_nonblock(struct rpc_stream *s, const void *buf, size_t len, GError **error)
{
	gssize n = MIN(len, RPC_STREAM_CHUNK);

	g_mutex_lock(&s->client->lock);
	if (s->error) {
		set_error(s, error);
		n = -1;
	} else if (g_queue_is_empty(&s->client->out)) {
		if (n)
			packet(s, RPC_CONTINUE, buf, n);
	} else {
		g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK, "the last bytes are on their way still");
		s->wants_room = true;
		n = -1;
	}
	g_mutex_unlock(&s->client->lock);
	return n;
}

bool rpc_stream_send_hole(struct rpc_stream *s, uint64_t length, GCancellable *cancellable, GError **error)
{
	struct rpc_header h = { s->proc->program, 1, s->proc->number, RPC_STREAM_HOLE, s->serial, RPC_CONTINUE };
	bool ok;

	if (length > INT64_MAX) {
		rpc_fail(error, VIR_ERR_INVALID_ARG, "a hole of more than 2^63 - 1 bytes");
		return false;
	}
	g_mutex_lock(&s->client->lock);
	if (!s->error) {
		GVariant *body = g_variant_new("(xu)", (int64_t)length, 0);

		rpc_client_push(s->client, rpc_message_new(&h, HOLE_TYPE, body, 0, NULL), NULL);
	}
	ok = sent(s, cancellable, error);
	g_mutex_unlock(&s->client->lock);
	return ok;
}

static bool is_over(void *opaque)
{
	struct rpc_stream *s = opaque;

	/* What still comes is not wanted, but would fill the memory. */
	s->taken = s->in->len;
	g_array_set_size(s->holes, 0);
	return s->is_over;
}

bool rpc_stream_finish(struct rpc_stream *s, GCancellable *cancellable, GError **error)
{
	bool ok;

	g_mutex_lock(&s->client->lock);
	if (!s->is_over)
		packet(s, RPC_OK, NULL, 0);
	ok = rpc_client_wait(s->client, is_over, s, cancellable, error);
	if (ok && s->error)
		set_error(s, error);
	ok = ok && !s->error;
	g_mutex_unlock(&s->client->lock);
	return ok;
}

void rpc_stream_abort(struct rpc_stream *s)
{
	g_mutex_lock(&s->client->lock);
	if (!s->is_over && !s->client->why)
		packet(s, RPC_ERROR, NULL, 0);
	s->is_over = true;
	g_mutex_unlock(&s->client->lock);
}

void rpc_stream_free(struct rpc_stream *s)
{
	rpc_stream_abort(s);
	g_mutex_lock(&s->client->lock);
	s->client->streams = g_list_remove(s->client->streams, s);
	g_mutex_unlock(&s->client->lock);
	g_clear_error(&s->error);
	g_byte_array_unref(s->in);
	g_array_unref(s->holes);
	g_free(s);
}
