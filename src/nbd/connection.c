/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection's thread and its bytes: one receive takes as many requests as there are, one send has as many replies as there
 * are. A client that is waited for costs one system call, which blocks when the queue has nothing of it. A client that does not
 * take its replies stops its own thread, and with that the memory that it has; what it has in the queue ends all the same.
 */
#include "connection.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "role.h"

enum {
	DRAINED_US = 500,
};

/* ---- the socket ---- */

void conn_kick(struct nbd_conn *c)
{
	if (c->submitted)
		image_kick(c->queue);
	c->submitted = false;
}

void conn_turn(struct nbd_conn *c, unsigned events, bool wait)
{
	conn_kick(c);
	c->poll.events = events;
	c->poll.revents = 0;
	g_main_context_iteration(c->context, wait);
	conn_kick(c); /* the end of a request may be the beginning of a flush */
}

/* During the handshake: is the socket ready before the time is up? */
static bool in_time(struct nbd_conn *c, unsigned events)
{
	struct pollfd p = { .fd = c->fd, .events = events };
	int64_t left = (c->deadline - g_get_monotonic_time()) / 1000;
	int n;

	do {
		n = left > 0 ? poll(&p, 1, left) : 0;
	} while (n < 0 && errno == EINTR);
	errno = ETIMEDOUT;
	return n > 0;
}

bool conn_wait(struct nbd_conn *c, unsigned events)
{
	struct pollfd p = { .fd = c->fd, .events = events };
	int n;

	if (c->deadline)
		return in_time(c, events);
	while (c->n_running) {
		conn_turn(c, events, true);
		if (c->poll.revents)
			return true;
	}
	do {
		n = poll(&p, 1, -1);
	} while (n < 0 && errno == EINTR);
	return n > 0;
}

struct image *conn_enter_image(struct nbd_conn *c)
{
	while (!image_queue_enter(c->queue)) {
		conn_turn(c, 0, false);
		g_usleep(DRAINED_US);
	}
	return c->queue->image;
}

void conn_leave_image(struct nbd_conn *c)
{
	image_queue_leave(c->queue);
}

static ssize_t socket_recv(void *opaque, void *buf, size_t len)
{
	struct nbd_conn *c = opaque;
	/* With nothing else to do the kernel may wait. */
	bool block = c->may_wait && !c->deadline && !c->n_running;
	ssize_t n;

	do {
		n = recv(c->fd, buf, len, block ? 0 : MSG_DONTWAIT);
	} while (n < 0 && (errno == EINTR || (errno == EAGAIN && c->may_wait && conn_wait(c, G_IO_IN))));
	return n;
}

static ssize_t send_parts(struct nbd_conn *c, struct iovec *iov, unsigned n)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t sent;

	do {
		sent = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (sent < 0 && (errno == EINTR || (errno == EAGAIN && conn_wait(c, G_IO_OUT))));
	return sent;
}

static ssize_t socket_send(void *opaque, const void *buf, size_t len)
{
	struct iovec iov = { (void *)buf, len };

	return send_parts(opaque, &iov, 1);
}

bool conn_start_tls(struct nbd_conn *c, GError **error)
{
	const struct kv_tls_socket socket = { socket_recv, socket_send, c };

	c->may_wait = true;
	c->tls = c->tls_module->start(c->tls_creds, &socket, error);
	return c->tls;
}

/* ---- what comes in ---- */

static ssize_t receive(struct nbd_conn *c, void *buf, size_t len, bool wait)
{
	c->may_wait = wait;
	return c->tls ? c->tls_module->recv(c->tls, buf, len) : socket_recv(c, buf, len);
}

bool conn_fill(struct nbd_conn *c, bool wait)
{
	ssize_t n;

	if (c->in_at == c->in_end)
		c->in_at = c->in_end = 0;
	if (c->in_at && IN_SIZE - c->in_end < IN_SIZE / 2) {
		memmove(c->in, c->in + c->in_at, conn_have(c));
		c->in_end -= c->in_at;
		c->in_at = 0;
	}
	if (c->in_end == IN_SIZE)
		return true;
	n = receive(c, c->in + c->in_end, IN_SIZE - c->in_end, wait);
	if (n < 0)
		return !wait && errno == EAGAIN;
	c->in_end += n;
	return n > 0;
}

bool conn_need(struct nbd_conn *c, unsigned n)
{
	if (conn_have(c) < n && c->in_at && IN_SIZE - c->in_at < n) {
		memmove(c->in, c->in + c->in_at, conn_have(c));
		c->in_end -= c->in_at;
		c->in_at = 0;
	}
	while (conn_have(c) < n)
		if (!conn_fill(c, true))
			return false;
	return true;
}

bool conn_read(struct nbd_conn *c, void *buf, size_t len)
{
	size_t n = MIN(len, conn_have(c));
	char *at = buf;

	memcpy(at, c->in + c->in_at, n);
	c->in_at += n;
	for (at += n, len -= n; len; at += n, len -= n) {
		ssize_t got = receive(c, at, len, true);

		if (got <= 0)
			return false;
		n = got;
	}
	return true;
}

bool conn_skip(struct nbd_conn *c, uint64_t len)
{
	while (len) {
		uint64_t n = MIN(len, conn_have(c));

		c->in_at += n;
		len -= n;
		if (len && !conn_fill(c, true))
			return false;
	}
	return true;
}

/* ---- what goes out ---- */

static void clear_out(struct nbd_conn *c)
{
	for (unsigned i = 0; i < c->n_parts; i++)
		g_free(c->owned[i]);
	c->n_parts = c->out_len = c->n_replies = 0;
}

static ssize_t send_some(struct nbd_conn *c, struct iovec *iov, unsigned n)
{
	return c->tls ? c->tls_module->send(c->tls, iov->iov_base, iov->iov_len) : send_parts(c, iov, n);
}

bool conn_send(struct nbd_conn *c)
{
	struct iovec *iov = c->part, *end = iov + c->n_parts;
	bool ok = true;

	while (iov < end && ok) {
		ssize_t sent = iov->iov_len ? send_some(c, iov, end - iov) : 0;

		ok = sent > 0 || !iov->iov_len;
		for (; ok && iov < end && (size_t)sent >= iov->iov_len; iov++)
			sent -= iov->iov_len;
		if (ok && iov < end) {
			iov->iov_base = (char *)iov->iov_base + sent;
			iov->iov_len -= sent;
		}
	}
	clear_out(c);
	return ok;
}

uint8_t *conn_out(struct nbd_conn *c, unsigned len)
{
	if ((OUT_SIZE - c->out_len < len || c->n_parts + 2 > OUT_PARTS) && !conn_send(c))
		return NULL;
	return c->out + c->out_len;
}

void conn_out_add(struct nbd_conn *c, unsigned len)
{
	struct iovec *last = c->n_parts ? &c->part[c->n_parts - 1] : NULL;

	if (last && (uint8_t *)last->iov_base + last->iov_len == c->out + c->out_len) {
		last->iov_len += len;
	} else {
		c->part[c->n_parts] = (struct iovec){ c->out + c->out_len, len };
		c->owned[c->n_parts++] = NULL;
	}
	c->out_len += len;
}

void conn_out_ref(struct nbd_conn *c, const void *from, size_t len, void *to_free)
{
	c->part[c->n_parts] = (struct iovec){ (void *)from, len };
	c->owned[c->n_parts++] = to_free;
}

/* ---- the thread ---- */

void conn_free(struct nbd_conn *c)
{
	clear_out(c);
	close(c->fd);
	g_free(c->in);
	g_free(c->out);
	g_free(c->meta_export);
	g_free(c);
}

void *conn_run(void *opaque)
{
	struct nbd_conn *c = opaque;
	bool ok;

	kv_role_enter("nbd");
	ok = conn_handshake(c);
	conn_send(c);
	c->deadline = 0;
	c->used = ok;
	if (ok)
		conn_serve(c);
	if (c->tls)
		c->tls_module->end(c->tls, ok);
	c->tls = NULL;
	shutdown(c->fd, SHUT_RDWR);
	server_drop_export(c);
	server_conn_over(c);
	return NULL;
}
