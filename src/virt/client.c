/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See client.h: sending, reading, calls. Streams are in client-stream.c, the main loop's part in client-source.c. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client-inside.h"
#include "message.h"

enum { READ_SIZE = 65536 };

/* GLib asks the kernel even when nobody waits. */
static void tell_waiting(struct rpc_client *c)
{
	if (c->waiting)
		g_cond_broadcast(&c->changed);
}

static void call_end(struct rpc_client *c, struct rpc_call *call, GVariant *ret, GError *error)
{
	call->done = true;
	call->ret = ret;
	call->error = error;
	/* A task may call back at once: not under the lock. */
	if (call->task) {
		g_queue_push_tail(&c->ended, call);
		rpc_client_wake(c);
	}
}

void rpc_client_end_task(struct rpc_call *call)
{
	if (call->error)
		g_task_return_error(call->task, call->error);
	else
		g_task_return_pointer(call->task, call->ret, (GDestroyNotify)g_variant_unref);
	g_object_unref(call->task);
	g_clear_object(&call->fds);
	g_free(call);
}

void rpc_client_fail(struct rpc_client *c, GError *why)
{
	GHashTableIter iter;
	gpointer value;

	if (c->why) {
		g_error_free(why);
		return;
	}
	c->why = why;
	g_hash_table_iter_init(&iter, c->calls);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		g_hash_table_iter_steal(&iter);
		call_end(c, value, NULL, g_error_copy(why));
	}
	for (GList *l = c->streams; l; l = l->next)
		rpc_stream_fail(l->data, why);
	tell_waiting(c);
	rpc_client_wake(c);
}

static void fail_errno(struct rpc_client *c, int err, const char *what)
{
	GError *why = NULL;

	rpc_fail(&why, VIR_ERR_SYSTEM_ERROR, "%s: %s", what, g_strerror(err));
	rpc_client_fail(c, why);
}

/* ---- sending ---- */

static void packet_free(void *opaque)
{
	struct packet *p = opaque;

	g_byte_array_unref(p->bytes);
	g_clear_object(&p->fds);
	g_free(p);
}

void rpc_client_push(struct rpc_client *c, GByteArray *bytes, GUnixFDList *fds)
{
	struct packet *p = g_new0(struct packet, 1);

	p->bytes = bytes;
	p->fds = fds ? g_object_ref(fds) : NULL;
	g_queue_push_tail(&c->out, p);
	rpc_client_flush(c);
	if (!g_queue_is_empty(&c->out))
		rpc_client_wake(c);
}

/* One step of a packet: false when the socket takes no more. */
static bool push_some(struct rpc_client *c, struct packet *p)
{
	ssize_t n;

	if (p->sent < p->bytes->len) {
		n = kv_transport_write(c->transport, p->bytes->data + p->sent, p->bytes->len - p->sent);
		p->sent += MAX(n, 0);
	} else {
		n = kv_transport_write_fd(c->transport, g_unix_fd_list_peek_fds(p->fds, NULL)[p->fds_sent]);
		p->fds_sent += n > 0;
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		fail_errno(c, errno, "Cannot write data");
	return n >= 0 || (errno == EINTR && !c->why);
}

static void tell_of_room(struct rpc_client *c)
{
	for (GList *l = c->streams; l; l = l->next) {
		struct rpc_stream *s = l->data;

		if (s->wants_room) {
			s->wants_room = false;
			s->is_news = true;
			rpc_client_wake(c);
		}
	}
}

void rpc_client_flush(struct rpc_client *c)
{
	struct packet *p;

	while (!c->why && (p = g_queue_peek_head(&c->out))) {
		unsigned n_fds = p->fds ? g_unix_fd_list_get_length(p->fds) : 0;

		if (p->sent < p->bytes->len || p->fds_sent < n_fds) {
			if (!push_some(c, p))
				break;
		} else {
			packet_free(g_queue_pop_head(&c->out));
		}
	}
	if (g_queue_is_empty(&c->out))
		tell_of_room(c);
}

/* ---- reading ---- */

static void take_ping(struct rpc_client *c, const struct rpc_header *h)
{
	struct rpc_header pong = { RPC_KEEPALIVE, 1, RPC_KEEPALIVE_PONG, RPC_MESSAGE };

	if (h->number == RPC_KEEPALIVE_PING)
		rpc_client_push(c, rpc_message_new(&pong, NULL, NULL, 0, NULL), NULL);
}

static void take_event(struct rpc_client *c, const struct rpc_header *h, const uint8_t *message, size_t len)
{
	const struct rpc_proc *proc = rpc_proc_find(h->program, h->number);
	g_autoptr(GError) error = NULL;
	struct event *e;
	GVariant *body;

	if (!proc || !proc->event)
		return; /* of a newer server: nobody asked for it */
	body = rpc_message_body(message, len, proc->args, NULL, &error);
	if (!body) {
		rpc_client_fail(c, g_steal_pointer(&error));
		return;
	}
	e = g_new(struct event, 1);
	*e = (struct event){ proc, body };
	g_queue_push_tail(&c->events, e);
	rpc_client_wake(c);
}

static GUnixFDList *take_fds(struct rpc_client *c, unsigned n)
{
	GUnixFDList *list = g_unix_fd_list_new_from_array((int *)c->fds->data, n);

	g_array_remove_range(c->fds, 0, n);
	return list;
}

static void take_reply(struct rpc_client *c, const struct rpc_header *h, const uint8_t *message, size_t len, unsigned n_fds)
{
	struct rpc_call *call = g_hash_table_lookup(c->calls, GUINT_TO_POINTER(h->serial));
	g_autoptr(GUnixFDList) fds = n_fds ? take_fds(c, n_fds) : NULL;
	g_autoptr(GVariant) body = NULL;
	GError *error = NULL;
	unsigned ignored;

	if (!call)
		return; /* it was cancelled */
	if (call->proc->program != h->program || call->proc->number != h->number) {
		rpc_fail(&error, VIR_ERR_RPC, "an answer to another procedure (%u) than was called (%u)", h->number,
			 call->proc->number);
		rpc_client_fail(c, error);
		return;
	}
	g_hash_table_steal(c->calls, GUINT_TO_POINTER(h->serial));
	body = rpc_message_body(message, len, h->status == RPC_ERROR ? RPC_ERROR_TYPE : call->proc->ret, &ignored, &error);
	if (body && h->status == RPC_ERROR)
		error = rpc_error_from_body(body);
	call->fds = g_steal_pointer(&fds);
	call_end(c, call, error ? NULL : g_steal_pointer(&body), error);
	tell_waiting(c);
}

static void take_message(struct rpc_client *c, const struct rpc_header *h, const uint8_t *message, size_t len, unsigned n_fds)
{
	if (h->program == RPC_KEEPALIVE)
		take_ping(c, h);
	else if (h->type == RPC_REPLY || h->type == RPC_REPLY_FDS)
		take_reply(c, h, message, len, n_fds);
	else if (h->type == RPC_MESSAGE)
		take_event(c, h, message, len);
	else if (h->type == RPC_STREAM || h->type == RPC_STREAM_HOLE)
		rpc_stream_take(c, h, message, len);
}

static unsigned fds_of(const struct rpc_header *h, const uint8_t *message, size_t len)
{
	size_t left;
	const uint8_t *body = rpc_message_data(message, len, &left);

	return h->type == RPC_REPLY_FDS && left >= 4 ? get_be32(body) : 0;
}

/* Takes one message of what was read; false when it is not all there. */
static bool take_one(struct rpc_client *c, size_t *at)
{
	const uint8_t *data = c->in->data + *at;
	size_t have = c->in->len - *at;
	struct rpc_header h;
	GError *error = NULL;
	unsigned n_fds;
	uint32_t len;

	if (have < RPC_LENGTH)
		return false;
	len = rpc_message_length(data, &error);
	if (len && have < len)
		return false;
	if (!len || !rpc_message_header(data, &h, &error)) {
		rpc_client_fail(c, error);
		return false;
	}
	n_fds = fds_of(&h, data, len);
	if (n_fds > RPC_FDS_MAX || (n_fds && have >= len + n_fds && c->fds->len < n_fds)) {
		rpc_fail(&error, VIR_ERR_RPC, "an answer with %u file descriptors, of which %u came", n_fds, c->fds->len);
		rpc_client_fail(c, error);
		return false;
	}
	if (have < len + n_fds)
		return false;
	take_message(c, &h, data, len, n_fds);
	*at += len + n_fds;
	return true;
}

void rpc_client_read(struct rpc_client *c)
{
	size_t at = 0;
	ssize_t n;

	if (c->why)
		return;
	g_byte_array_set_size(c->in, c->in_len + READ_SIZE);
	n = kv_transport_read(c->transport, c->in->data + c->in_len, READ_SIZE, c->fds);
	g_byte_array_set_size(c->in, c->in_len + MAX(n, 0));
	c->in_len = c->in->len;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || c->fds->len > 2 * RPC_FDS_MAX) {
		fail_errno(c, n < 0 ? errno : EIO, n < 0 ? "Cannot recv data" : "End of file while reading data");
		return;
	}
	c->unanswered = 0;
	c->ping_at = c->interval ? g_get_monotonic_time() + c->interval * G_USEC_PER_SEC : 0;
	while (!c->why && take_one(c, &at))
		;
	g_byte_array_remove_range(c->in, 0, MIN(at, c->in->len));
	c->in_len = c->in->len;
}

/* ---- waiting ---- */

void rpc_client_tick(struct rpc_client *c)
{
	struct rpc_header ping = { RPC_KEEPALIVE, 1, RPC_KEEPALIVE_PING, RPC_MESSAGE };
	int64_t now = g_get_monotonic_time();
	GError *why = NULL;

	if (c->end_at && now >= c->end_at) {
		rpc_fail(&why, VIR_ERR_INTERNAL_ERROR, "the server does not answer");
		rpc_client_fail(c, why);
	}
	if (!c->ping_at || now < c->ping_at || c->why)
		return;
	if (c->unanswered++ >= c->count) {
		rpc_fail(&why, VIR_ERR_INTERNAL_ERROR, "connection closed due to keepalive timeout");
		rpc_client_fail(c, why);
		return;
	}
	c->ping_at += c->interval * G_USEC_PER_SEC;
	rpc_client_push(c, rpc_message_new(&ping, NULL, NULL, 0, NULL), NULL);
}

/* Without the lock. */
static void wait_for_bytes(struct rpc_client *c, bool want_out, int64_t tick_at, GCancellable *cancellable)
{
	struct pollfd fds[] = { { c->transport->fd, POLLIN | (want_out ? POLLOUT : 0) }, { c->wake_fd, POLLIN }, { -1, POLLIN } };
	int64_t us = tick_at - g_get_monotonic_time(), left = tick_at ? MAX(us, 0) / 1000 + 1 : -1;

	if (cancellable)
		fds[2].fd = g_cancellable_get_fd(cancellable);
	poll(fds, G_N_ELEMENTS(fds), MIN(left, G_MAXINT));
	if (fds[2].fd >= 0)
		g_cancellable_release_fd(cancellable);
	if (fds[1].revents)
		eventfd_read(c->wake_fd, &(eventfd_t){ 0 });
}

static void read_for_all(struct rpc_client *c, GCancellable *cancellable)
{
	bool want_out = !g_queue_is_empty(&c->out), pending = kv_transport_pending(c->transport);
	int64_t tick_at = c->ping_at && c->end_at ? MIN(c->ping_at, c->end_at) : c->ping_at + c->end_at;

	c->is_reading = true;
	g_mutex_unlock(&c->lock);
	if (!pending)
		wait_for_bytes(c, want_out, tick_at, cancellable);
	g_mutex_lock(&c->lock);
	rpc_client_flush(c);
	rpc_client_read(c);
	rpc_client_tick(c);
	c->is_reading = false;
	tell_waiting(c);
}

bool rpc_client_wait(struct rpc_client *c, bool (*is_done)(void *opaque), void *opaque, GCancellable *cancellable, GError **error)
{
	while (!is_done(opaque)) {
		if (g_cancellable_set_error_if_cancelled(cancellable, error))
			return false;
		if (c->why) {
			g_propagate_error(error, g_error_copy(c->why));
			return false;
		}
		if (!c->is_reading) {
			read_for_all(c, cancellable);
			continue;
		}
		c->waiting++;
		g_cond_wait_until(&c->changed, &c->lock, g_get_monotonic_time() + G_USEC_PER_SEC / 10);
		c->waiting--;
	}
	return true;
}

/* ---- calls ---- */

static uint32_t next_serial(struct rpc_client *c)
{
	do
		c->serial++;
	while (!c->serial || g_hash_table_contains(c->calls, GUINT_TO_POINTER(c->serial)));
	return c->serial;
}

/* The call's message, and the call among those that wait; NULL on error. */
static GByteArray *begin_call(struct rpc_client *c, struct rpc_call *call, GVariant *args, unsigned n_fds, uint32_t *ret_serial,
			      GError **error)
{
	struct rpc_header h = { call->proc->program, 1, call->proc->number, n_fds ? RPC_CALL_FDS : RPC_CALL };
	GByteArray *bytes;

	h.serial = next_serial(c);
	bytes = rpc_message_new(&h, call->proc->args, args, n_fds, error);
	if (bytes)
		g_hash_table_insert(c->calls, GUINT_TO_POINTER(h.serial), call);
	*ret_serial = h.serial;
	return bytes;
}

uint32_t rpc_client_send(struct rpc_client *c, struct rpc_call *call, GVariant *args, GUnixFDList *fds, GError **error)
{
	unsigned n_fds = fds ? g_unix_fd_list_get_length(fds) : 0;
	g_autoptr(GVariant) sunk = g_variant_ref_sink(args ? args : g_variant_new_tuple(NULL, 0));
	GByteArray *bytes;
	uint32_t serial;

	if (c->why) {
		g_propagate_error(error, g_error_copy(c->why));
		return 0;
	}
	if (n_fds > RPC_FDS_MAX || (n_fds && !c->transport->can_pass_fds)) {
		rpc_fail(error, VIR_ERR_INVALID_ARG, "%u file descriptors cannot go along with a call here", n_fds);
		return 0;
	}
	bytes = begin_call(c, call, sunk, n_fds, &serial, error);
	if (!bytes)
		return 0;
	rpc_client_push(c, bytes, fds);
	return serial;
}

static bool call_is_done(void *opaque)
{
	return ((struct rpc_call *)opaque)->done;
}

GVariant *rpc_client_await(struct rpc_client *c, struct rpc_call *call, uint32_t serial, GCancellable *cancellable,
			   GError **error)
{
	if (!rpc_client_wait(c, call_is_done, call, cancellable, error))
		g_hash_table_steal(c->calls, GUINT_TO_POINTER(serial));
	else if (call->error)
		g_propagate_error(error, call->error);
	return call->ret;
}

GVariant *rpc_client_call(struct rpc_client *c, const struct rpc_proc *proc, GVariant *args, GUnixFDList *fds,
			  GUnixFDList **ret_fds, GCancellable *cancellable, GError **error)
{
	struct rpc_call call = { .proc = proc };
	GVariant *ret = NULL;
	uint32_t serial;

	g_mutex_lock(&c->lock);
	serial = rpc_client_send(c, &call, args, fds, error);
	if (serial)
		ret = rpc_client_await(c, &call, serial, cancellable, error);
	g_mutex_unlock(&c->lock);
	if (ret_fds)
		*ret_fds = call.fds;
	else
		g_clear_object(&call.fds);
	return ret;
}

/* ---- many calls at once ---- */

struct batch {
	struct rpc_call *calls;
	uint32_t *serials;
	unsigned n, done; /* done: those before it are */
};

static bool batch_is_done(void *opaque)
{
	struct batch *b = opaque;

	while (b->done < b->n && b->calls[b->done].done)
		b->done++;
	return b->done == b->n;
}

/* One packet of all: the socket is asked once for many of them. */
static bool send_batch(struct rpc_client *c, struct batch *b, const struct rpc_proc *proc, GPtrArray *args, GError **error)
{
	g_autoptr(GByteArray) all = g_byte_array_new();

	if (c->why) {
		g_propagate_error(error, g_error_copy(c->why));
		return false;
	}
	for (unsigned i = 0; i < args->len; i++) {
		g_autoptr(GByteArray) bytes = NULL;

		b->calls[i].proc = proc;
		bytes = begin_call(c, &b->calls[i], g_ptr_array_index(args, i), 0, &b->serials[i], error);
		if (!bytes)
			return false;
		b->n++;
		g_byte_array_append(all, bytes->data, bytes->len);
	}
	if (all->len)
		rpc_client_push(c, g_steal_pointer(&all), NULL);
	return true;
}

static void unref_answer(void *answer)
{
	if (answer)
		g_variant_unref(answer);
}

GPtrArray *rpc_client_call_each(struct rpc_client *c, const struct rpc_proc *proc, GPtrArray *args, GCancellable *cancellable,
				GError **error)
{
	g_autofree struct rpc_call *calls = g_new0(struct rpc_call, args->len);
	g_autofree uint32_t *serials = g_new0(uint32_t, args->len);
	g_autoptr(GPtrArray) answers = g_ptr_array_new_with_free_func(unref_answer);
	struct batch b = { calls, serials };
	bool ok;

	g_mutex_lock(&c->lock);
	ok = send_batch(c, &b, proc, args, error) && rpc_client_wait(c, batch_is_done, &b, cancellable, error);
	for (unsigned i = 0; i < b.n; i++) {
		if (!calls[i].done)
			g_hash_table_steal(c->calls, GUINT_TO_POINTER(serials[i]));
		g_ptr_array_add(answers, calls[i].ret);
		g_clear_error(&calls[i].error);
		g_clear_object(&calls[i].fds);
	}
	g_mutex_unlock(&c->lock);
	return ok ? g_steal_pointer(&answers) : NULL;
}

void rpc_client_start(struct rpc_client *c, const struct rpc_proc *proc, GVariant *args, GTask *task)
{
	struct rpc_call *call = g_new0(struct rpc_call, 1);
	GError *error = NULL;

	call->proc = proc;
	call->task = g_object_ref(task);
	g_mutex_lock(&c->lock);
	/* A lost connection ends it, once it is among the calls. */
	if (!rpc_client_send(c, call, args, NULL, &error))
		call_end(c, call, NULL, error);
	g_mutex_unlock(&c->lock);
}

/* ---- beginning and end ---- */

struct rpc_client *rpc_client_new(struct kv_transport *t, GMainContext *context, const struct rpc_client_calls *calls,
				  void *opaque)
{
	struct rpc_client *c = g_new0(struct rpc_client, 1);

	c->transport = t;
	c->callbacks = calls;
	c->opaque = opaque;
	c->calls = g_hash_table_new(NULL, NULL);
	c->in = g_byte_array_new();
	c->fds = g_array_new(false, false, sizeof(int));
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g_mutex_init(&c->lock);
	g_cond_init(&c->changed);
	rpc_client_attach(c, context);
	return c;
}

void rpc_client_free(struct rpc_client *c)
{
	GError *why = NULL;

	rpc_fail(&why, VIR_ERR_INTERNAL_ERROR, "client socket is closed");
	g_mutex_lock(&c->lock);
	rpc_client_fail(c, why);
	g_mutex_unlock(&c->lock);
	rpc_client_detach(c);
	g_queue_clear_full(&c->out, packet_free);
	for (unsigned i = 0; i < c->fds->len; i++)
		close(g_array_index(c->fds, int, i));
	g_array_unref(c->fds);
	g_byte_array_unref(c->in);
	g_hash_table_unref(c->calls);
	kv_transport_free(c->transport);
	close(c->wake_fd);
	g_error_free(c->why);
	g_cond_clear(&c->changed);
	g_mutex_clear(&c->lock);
	g_free(c);
}

void rpc_client_keepalive(struct rpc_client *c, unsigned interval, unsigned count)
{
	g_mutex_lock(&c->lock);
	c->interval = interval;
	c->count = count;
	c->ping_at = interval ? g_get_monotonic_time() + interval * G_USEC_PER_SEC : 0;
	g_mutex_unlock(&c->lock);
	rpc_client_wake(c);
}

void rpc_client_end_in(struct rpc_client *c, unsigned seconds)
{
	g_mutex_lock(&c->lock);
	c->end_at = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
	g_mutex_unlock(&c->lock);
	rpc_client_wake(c);
}

bool rpc_client_is_alive(struct rpc_client *c)
{
	bool alive;

	g_mutex_lock(&c->lock);
	alive = !c->why;
	g_mutex_unlock(&c->lock);
	return alive;
}

bool rpc_client_can_pass_fds(const struct rpc_client *c)
{
	return c->transport->can_pass_fds;
}
