/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See client.h. Made by server.c; whole messages go to dispatch.c. */
#include "client.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "access.h"
#include "bytes.h"
#include "client-tls.h"
#include "config.h"
#include "dispatch.h"
#include "error.h"
#include "events.h"
#include "hv.h"
#include "log.h"
#include "stream.h"

enum {
	READ_SIZE = 16384,
	TURN = 32, /* messages of one client before others have their turn */
	TICK_SECONDS = 1,
	SHAKE_SECONDS = 30,	    /* for a TLS handshake */
	AUTHENTICATE_SECONDS = 300, /* and for a person who types a password */
};

struct out_message {
	GByteArray *bytes;
	size_t at;
	GArray *fds; /* NULL: none */
	unsigned fds_sent;
	enum send_kind kind;
};

static GPtrArray *clients; /* struct client, no references */
static guint64 next_number = 1;

static void client_ready(struct watch *w, uint32_t events);
static void close_later(void *data);

static bool is_anonymous(const struct client *c)
{
	return c->shaking || !c->authenticated;
}

bool clients_are_anonymous(void)
{
	unsigned n = 0;

	for (unsigned i = 0; clients && i < clients->len; i++)
		n += is_anonymous(clients->pdata[i]);
	return config.max_anonymous_clients && n >= config.max_anonymous_clients;
}

static struct client *of_watch(struct watch *w)
{
	return (struct client *)((char *)w - G_STRUCT_OFFSET(struct client, watch));
}

struct client *client_ref(struct client *c)
{
	c->refs++;
	return c;
}

static void out_free(struct out_message *m)
{
	g_byte_array_unref(m->bytes);
	for (unsigned i = m->fds_sent; m->fds && i < m->fds->len; i++)
		close(g_array_index(m->fds, int, i));
	if (m->fds)
		g_array_unref(m->fds);
	g_free(m);
}

void client_unref(struct client *c)
{
	if (--c->refs)
		return;
	g_ptr_array_unref(c->streams);
	access_drop_events(c);
	g_free(c->in);
	g_free(c);
}

static bool takes_more(const struct client *c)
{
	return !c->failed && !c->resumes && c->n_calls < config.max_client_requests && !c->streams_full;
}

/* Of one whose messages we leave lying no answer is heard, and none is missed. */
static void ping(struct client *c, gint64 now)
{
	const struct rpc_header h = { RPC_KEEPALIVE, 1, RPC_KEEPALIVE_PING, RPC_MESSAGE, 0, RPC_OK };

	if (!c->keepalive || now - MAX(c->heard, c->pinged) < config.keepalive_interval * G_USEC_PER_SEC)
		return;
	if (c->pings >= config.keepalive_count) {
		client_fail(c, "keepalive messages are not answered");
		return;
	}
	c->pings += takes_more(c);
	c->pinged = now;
	client_send(c, rpc_message_stream(&h, NULL, 0), NULL, SEND_EVENT);
}

/* Those that say nothing: to be asked, or not to be waited for. */
static gboolean tick(gpointer data)
{
	gint64 now = g_get_monotonic_time();

	state_acquire();
	for (unsigned i = 0; i < clients->len; i++) {
		struct client *c = clients->pdata[i];

		if (c->failed)
			continue;
		if (is_anonymous(c) &&
		    now - c->came > (c->shaking ? SHAKE_SECONDS : AUTHENTICATE_SECONDS) * (gint64)G_USEC_PER_SEC)
			client_fail(c, c->shaking ? "its TLS handshake takes too long" : "it does not authenticate itself");
		else if (config.keepalive_interval > 0)
			ping(c, now);
	}
	state_release();
	return G_SOURCE_CONTINUE;
}

/* Since when the process runs: with its number, who it is. 0: it is gone. */
static guint64 started(pid_t pid)
{
	enum { BEHIND_NAME = 20 };
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid), *text = NULL;
	g_auto(GStrv) words = NULL;
	const char *name_end;

	if (!g_file_get_contents(path, &text, NULL, NULL) || !(name_end = strrchr(text, ')')))
		return 0;
	words = g_strsplit(name_end, " ", -1);
	return g_strv_length(words) > BEHIND_NAME ? g_ascii_strtoull(words[BEHIND_NAME], NULL, 10) : 0;
}

static bool know(struct client *c, const struct client_kind *kind, GError **error)
{
	socklen_t len = sizeof(c->peer);

	if (kind->tls) {
		c->peer = (struct ucred){ .uid = -1, .gid = -1 };
		c->authenticated = c->shaking = true;
		c->tls = client_tls_new(c->watch.fd, error);
		return c->tls;
	}
	if (getsockopt(c->watch.fd, SOL_SOCKET, SO_PEERCRED, &c->peer, &len) < 0)
		return kv_fail_errno(error, errno, "who a client is cannot be told");
	c->authenticated = !kind->polkit || c->peer.uid == 0;
	c->peer_started = started(c->peer.pid);
	return true;
}

struct client *client_new(int fd, const struct client_kind *kind, GError **error)
{
	struct client *c;

	if (!clients) {
		clients = g_ptr_array_new();
		g_timeout_add_seconds(TICK_SECONDS, tick, NULL);
	}
	if (clients->len >= config.max_clients) {
		kv_fail(error, KV_ERROR_BUSY, "a client is refused: there are %u already", clients->len);
		close(fd);
		return NULL;
	}
	c = g_new0(struct client, 1);
	c->refs = 1;
	c->number = next_number++;
	c->watch = (struct watch){ fd, EPOLLIN, client_ready };
	c->read_only = kind->read_only;
	c->streams = g_ptr_array_new_with_free_func((GDestroyNotify)stream_unref);
	c->heard = c->came = g_get_monotonic_time();
	g_queue_init(&c->out);
	if (know(c, kind, error) && poller_add(&c->watch, error)) {
		g_ptr_array_add(clients, c);
		return c;
	}
	if (c->tls)
		client_tls_free(c->tls);
	close(fd);
	client_unref(c);
	return NULL;
}

/* The main thread. */
static void client_close(struct client *c)
{
	if (c->closed)
		return;
	kv_log_debug("client %" G_GUINT64_FORMAT " is gone", c->number);
	c->closed = c->failed = true;
	poller_remove(&c->watch);
	if (c->tls)
		client_tls_free(c->tls);
	c->tls = NULL;
	close(c->watch.fd);
	for (unsigned i = 0; i < c->n_fds; i++)
		close(c->fds[i]);
	c->n_fds = 0;
	g_queue_clear_full(&c->out, (GDestroyNotify)out_free);
	g_ptr_array_remove_fast(clients, c);
	client_leave(c);
	client_unref(c);
}

void client_leave(struct client *c)
{
	streams_end(c);
	events_leave(c);
	if (!c->hv)
		return;
	hv_client_gone(c->hv, c);
	hv_unref(c->hv);
	c->hv = NULL;
}

static void close_later(void *data)
{
	client_close(data);
	client_unref(data);
}

void client_fail(struct client *c, const char *why)
{
	if (c->failed)
		return;
	kv_log_debug("client %" G_GUINT64_FORMAT ": %s", c->number, why);
	c->failed = true;
	shutdown(c->watch.fd, SHUT_RDWR);
	poller_later(close_later, client_ref(c));
}

bool clients_are_there(void)
{
	return clients && clients->len;
}

void clients_close_all(void)
{
	while (clients && clients->len)
		client_close(clients->pdata[clients->len - 1]);
}

/* ---- out ---- */

/* Each behind its message, as one byte with the descriptor. */
static bool send_fds(struct client *c, struct out_message *m)
{
	for (; m->fds && m->fds_sent < m->fds->len; m->fds_sent++) {
		int fd = g_array_index(m->fds, int, m->fds_sent);
		char zero = 0, control[CMSG_SPACE(sizeof(int))] = "";
		struct iovec iov = { &zero, 1 };
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
		};
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
		if (sendmsg(c->watch.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			return false;
		close(fd);
	}
	return true;
}

static bool send_one(struct client *c, struct out_message *m)
{
	while (m->at < m->bytes->len) {
		const guint8 *from = m->bytes->data + m->at;
		size_t len = m->bytes->len - m->at;
		ssize_t n =
			c->tls ? client_tls_send(c->tls, from, len) : send(c->watch.fd, from, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return false;
		m->at += n;
	}
	return send_fds(c, m);
}

static void flush(struct client *c)
{
	struct out_message *m;

	while (!c->failed && (m = g_queue_peek_head(&c->out))) {
		enum send_kind kind = m->kind;

		if (!send_one(c, m)) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				client_fail(c, g_strerror(errno));
			break;
		}
		c->out_bytes -= m->bytes->len;
		out_free(g_queue_pop_head(&c->out));
		if (kind == SEND_ANSWER && c->n_calls-- == config.max_client_requests)
			client_resume(c);
		if (kind == SEND_STREAM && --c->n_packets == 0)
			streams_resume(c);
	}
	if (!c->failed)
		poller_set(&c->watch, (c->watch.events & ~EPOLLOUT) | (c->out.length ? EPOLLOUT : 0));
}

void client_send(struct client *c, GByteArray *message, GArray *fds, enum send_kind kind)
{
	struct out_message *m = g_new(struct out_message, 1);

	*m = (struct out_message){ message, 0, fds, 0, kind };
	if (c->failed) {
		out_free(m);
		return;
	}
	if (kind == SEND_EVENT && c->out_bytes > CLIENT_QUEUE) {
		out_free(m);
		client_fail(c, "it does not read its events");
		return;
	}
	c->out_bytes += message->len;
	c->n_packets += kind == SEND_STREAM;
	g_queue_push_tail(&c->out, m);
	if (c->out.length == 1)
		flush(c);
}

/* ---- in ---- */

static void take_fds(struct client *c, struct msghdr *msg)
{
	for (struct cmsghdr *m = CMSG_FIRSTHDR(msg); m; m = CMSG_NXTHDR(msg, m)) {
		unsigned n = (m->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fds[RPC_FDS_MAX];

		if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_RIGHTS || n > RPC_FDS_MAX)
			continue;
		memcpy(fds, CMSG_DATA(m), n * sizeof(int));
		for (unsigned i = 0; i < n; i++) {
			if (c->n_fds < RPC_FDS_MAX)
				c->fds[c->n_fds++] = fds[i];
			else {
				close(fds[i]);
				client_fail(c, "it sends more descriptors than any message has");
			}
		}
	}
	if (msg->msg_flags & MSG_CTRUNC)
		client_fail(c, "it sends more descriptors at once than any message has");
}

static ssize_t get(struct client *c, void *buf, size_t len)
{
	char control[CMSG_SPACE(RPC_FDS_MAX * sizeof(int))];
	struct iovec iov = { buf, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t n;

	if (c->tls)
		return client_tls_recv(c->tls, buf, len);
	n = recvmsg(c->watch.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n > 0)
		take_fds(c, &msg);
	return n;
}

/* Room grows with what has arrived, not with what a message says that it has. */
static bool fill(struct client *c)
{
	ssize_t n;

	if (c->in_at) {
		memmove(c->in, c->in + c->in_at, c->in_len - c->in_at);
		c->in_len -= c->in_at;
		c->in_at = 0;
	}
	if (c->in_size - c->in_len < READ_SIZE / 2) {
		c->in_size = MAX(READ_SIZE, 2 * c->in_size);
		c->in = g_realloc(c->in, c->in_size);
	}
	n = get(c, c->in + c->in_len, c->in_size - c->in_len);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		client_close(c);
		return false;
	}
	c->in_len += n;
	c->heard = g_get_monotonic_time();
	c->pings = 0;
	return !c->failed;
}

/* What TLS has decrypted already the poller does not tell of. */
static bool fill_all(struct client *c)
{
	if (!fill(c))
		return false;
	while (c->tls && client_tls_pending(c->tls))
		if (!fill(c))
			return false;
	return true;
}

/* The descriptors of a message come behind it, with a byte each. 0: not all of it is there. */
static size_t whole(struct client *c, const guint8 *message, size_t have, unsigned *ret_fds, GError **error)
{
	struct rpc_header h;
	size_t len;

	*ret_fds = 0;
	if (have < RPC_LENGTH + RPC_HEADER)
		return have >= RPC_LENGTH ? (rpc_message_length(message, error), 0) : 0;
	len = rpc_message_length(message, error);
	if (!len || have < len || !rpc_message_header(message, &h, error))
		return 0;
	if (h.type != RPC_CALL_FDS)
		return len;
	if (len < RPC_LENGTH + RPC_HEADER + 4 || get_be32(message + RPC_LENGTH + RPC_HEADER) > RPC_FDS_MAX) {
		kv_fail(error, KV_ERROR_INVALID, "a call with descriptors has no count of them, or more than %d", RPC_FDS_MAX);
		return 0;
	}
	*ret_fds = get_be32(message + RPC_LENGTH + RPC_HEADER);
	if (c->tls && *ret_fds) {
		kv_fail(error, KV_ERROR_INVALID, "descriptors do not go over TLS");
		return 0;
	}
	if (have < len + *ret_fds)
		return 0;
	if (c->n_fds < *ret_fds) { /* each comes with its byte: what is not there now never comes */
		kv_fail(error, KV_ERROR_INVALID, "a call with %u descriptors, of which %u came", *ret_fds, c->n_fds);
		return 0;
	}
	return len;
}

static GArray *fds_of(struct client *c, unsigned n)
{
	GArray *fds = n ? g_array_new(FALSE, FALSE, sizeof(int)) : NULL;

	if (!n)
		return NULL;
	g_array_append_vals(fds, c->fds, n);
	c->n_fds -= n;
	memmove(c->fds, c->fds + n, c->n_fds * sizeof(int));
	return fds;
}

static void resume(void *data);

/* What is whole is handed on; the rest waits for more bytes, or for client_resume(). */
static void parse(struct client *c)
{
	g_autoptr(GError) error = NULL;
	unsigned n_fds, n = 0;
	size_t len = 0;

	for (; takes_more(c) && n < TURN; n++) {
		const guint8 *message = c->in + c->in_at;

		len = whole(c, message, c->in_len - c->in_at, &n_fds, &error);
		if (!len)
			break;
		c->in_at += len + n_fds;
		if (!dispatch_message(c, message, len, fds_of(c, n_fds), &error))
			break;
	}
	if (error)
		client_fail(c, error->message);
	else if (n == TURN)
		client_resume(c);
	if (c->failed)
		return;
	if (c->in_at == c->in_len && c->in_size > READ_SIZE) {
		g_clear_pointer(&c->in, g_free);
		c->in_at = c->in_len = c->in_size = 0;
	}
	poller_set(&c->watch, (c->watch.events & ~EPOLLIN) | (takes_more(c) ? EPOLLIN : 0));
}

static void resume(void *data)
{
	struct client *c = data;

	c->resumes = false;
	if (!c->failed)
		parse(c);
	client_unref(c);
}

void client_resume(struct client *c)
{
	if (c->resumes || c->failed)
		return;
	c->resumes = true;
	poller_later(resume, client_ref(c));
}

/* The handshake's next step; behind it one byte says that the client may go on. */
static void go_on(struct client *c)
{
	g_autoptr(GError) error = NULL;
	bool writes = false;

	switch (client_tls_shake(c->tls, &writes, &error)) {
	case KV_TLS_FAILED:
		kv_log_warn("a connection is refused: %s", error->message);
		client_fail(c, error->message);
		return;
	case KV_TLS_WAITS:
		poller_set(&c->watch, writes ? EPOLLOUT : EPOLLIN);
		return;
	case KV_TLS_DONE:
		break;
	}
	kv_log_debug("client %" G_GUINT64_FORMAT " is '%s'", c->number, client_tls_name(c->tls));
	c->shaking = false;
	poller_set(&c->watch, EPOLLIN);
	client_send(c, g_byte_array_append(g_byte_array_new(), (const guint8 *)"\1", 1), NULL, SEND_EVENT);
	/* It may have sent more with its last word of the handshake. */
	if (!c->failed && client_tls_pending(c->tls) && fill_all(c))
		parse(c);
}

static void client_ready(struct watch *w, uint32_t events)
{
	struct client *c = client_ref(of_watch(w));

	if (c->shaking && !c->failed) {
		go_on(c);
		client_unref(c);
		return;
	}
	if (events & EPOLLOUT)
		flush(c);
	if (!c->failed && events & EPOLLIN && takes_more(c)) {
		if (fill_all(c))
			parse(c);
	} else if (!c->failed && events & (EPOLLHUP | EPOLLERR)) {
		client_close(c);
	}
	client_unref(c);
}
