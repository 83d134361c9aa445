/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS for viewers: VeNCrypt (rfbproto.rst, the community's RFB specification: 7.2.13) with certificates or without, and WebSocket
 * over TLS. libvncserver has the first not at all, and the second with a certificate read and parameters made for each viewer,
 * busy while it waits. So a thread beside the viewer's speaks TLS with the viewer, and plain RFB over a pair of sockets with
 * libvncserver, as whose client it chooses the security type. It blocks on its own viewer alone; all it keeps is a buffer.
 *
 * Called by vnc-server.c, which gives it the pair; vnc-viewer.c waits for GO on the other end before libvncserver sees it.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vnc-server.h"

#include "bytes.h"

enum { BUFFER = 16384, SEND_MS = 20000, VERSION = 12, SECURITY_TYPES = 32 };
enum { VENCRYPT = 19, TLS_NONE = 257, TLS_VNC = 258, X509_NONE = 260, X509_VNC = 261 };
enum { MAJOR = 3, FIRST_MINOR = 7 };

struct relay {
	struct vnc_viewer *v;
	int inner; /* our end of the pair */
	const struct kv_tls_module *module;
	struct kv_tls_creds *creds;
	struct kv_tls *tls;
	gint64 deadline; /* of the handshake; 0: it is over */
	uint8_t up[BUFFER], down[BUFFER]; /* to the server, to the viewer */
	size_t at, len;			  /* what of up is still to be sent */
};

/* ---- sockets ---- */

static gint64 in_ms(gint64 ms)
{
	return g_get_monotonic_time() + ms * 1000;
}

static bool wait_for(int fd, short events, gint64 until)
{
	struct pollfd p = {fd, events, 0};
	gint64 left = (until - g_get_monotonic_time() + 999) / 1000;

	return left > 0 && (poll(&p, 1, (int)left) > 0 || errno == EINTR);
}

/* As recv(2); during the handshake it waits. */
static ssize_t viewer_recv(void *opaque, void *buf, size_t len)
{
	struct relay *r = opaque;
	ssize_t n;

	do {
		n = recv(r->v->fd, buf, len, MSG_DONTWAIT);
	} while (n < 0 && (errno == EINTR || (errno == EAGAIN && r->deadline && wait_for(r->v->fd, POLLIN, r->deadline))));
	if (n < 0 && errno == EAGAIN && r->deadline)
		errno = ETIMEDOUT;
	return n;
}

static ssize_t viewer_send(void *opaque, const void *buf, size_t len)
{
	struct relay *r = opaque;
	gint64 until = r->deadline ? r->deadline : in_ms(SEND_MS);
	ssize_t n;

	do {
		n = send(r->v->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && (errno == EINTR || (errno == EAGAIN && wait_for(r->v->fd, POLLOUT, until))));
	if (n < 0 && errno == EAGAIN)
		errno = ETIMEDOUT;
	return n;
}

static bool get(struct relay *r, void *buf, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = viewer_recv(r, (uint8_t *)buf + at, len - at);

		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

static bool put(struct relay *r, const void *buf, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = viewer_send(r, (const uint8_t *)buf + at, len - at);

		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

/* ---- handshakes ---- */

static bool refuse(struct relay *r, const char *why)
{
	uint8_t head[8] = {0};

	put_be32(head + 4, (uint32_t)strlen(why));
	if (put(r, head, sizeof(head)))
		put(r, why, strlen(why));
	return false;
}

/* In the clear: a byte or two at a time, and nothing of it is believed behind TLS. */
static bool choose_vencrypt(struct relay *r)
{
	const struct vnc *s = r->v->server;
	uint32_t wanted = s->tls_kind == KV_TLS_ANON ? (s->has_password ? TLS_VNC : TLS_NONE)
						     : (s->has_password ? X509_VNC : X509_NONE);
	uint8_t offer[6] = {0, 1}, b[4]; /* "go on", one subtype */
	char version[VERSION + 1] = "";
	unsigned major, minor;

	if (!put(r, "RFB 003.008\n", VERSION) || !get(r, version, VERSION))
		return false;
	if (sscanf(version, "RFB %3u.%3u\n", &major, &minor) != 2 || major != MAJOR)
		return false;
	if (minor < FIRST_MINOR)
		return refuse(r, "TLS needs RFB 3.7 or newer");
	if (!put(r, (const uint8_t[]){1, VENCRYPT}, 2) || !get(r, b, 1) || b[0] != VENCRYPT)
		return false;
	if (!put(r, (const uint8_t[]){0, 2}, 2) || !get(r, b, 2))
		return false;
	if (b[0] || b[1] != 2) {
		put(r, (const uint8_t[]){1}, 1);
		return false;
	}
	put_be32(offer + 2, wanted);
	if (!put(r, offer, sizeof(offer)) || !get(r, b, 4))
		return false;
	if (get_be32(b) != wanted) {
		put(r, (const uint8_t[]){0}, 1);
		return false;
	}
	return put(r, (const uint8_t[]){1}, 1);
}

static bool get_inner(struct relay *r, void *buf, size_t len)
{
	return recv(r->inner, buf, len, MSG_WAITALL) == (ssize_t)len;
}

static bool put_inner(struct relay *r, const void *buf, size_t len)
{
	return send(r->inner, buf, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* As libvncserver's client: it has one type, none or a password, and what follows is the same behind VeNCrypt. */
static bool choose_inner(struct relay *r)
{
	uint8_t version[VERSION], n, types[SECURITY_TYPES];

	return put_inner(r, "RFB 003.008\n", VERSION) && get_inner(r, version, sizeof(version)) && get_inner(r, &n, 1) && n &&
	       n <= sizeof(types) && get_inner(r, types, n) && put_inner(r, types, 1);
}

static bool shake_hands(struct relay *r)
{
	const struct kv_tls_socket socket = {viewer_recv, viewer_send, r};
	struct vnc_viewer *v = r->v;
	ssize_t n = 0;

	r->deadline = in_ms(VNC_HANDSHAKE_MS);
	if (!v->websocket && !choose_vencrypt(r))
		return false;
	r->tls = r->module->start(r->creds, &socket, NULL);
	if (!r->tls)
		return false;
	__atomic_store_n(&v->dname, r->module->peer_name(r->tls), __ATOMIC_RELEASE);
	/* libvncserver gives a browser a moment to say its first words. */
	if (v->websocket)
		n = r->module->recv(r->tls, r->up, sizeof(r->up));
	r->len = (size_t)MAX(n, 0);
	r->deadline = 0;
	return n >= 0 && put_inner(r, "", VNC_GO) && (v->websocket || choose_inner(r));
}

/* ---- bytes ---- */

static bool to_viewer(struct relay *r)
{
	ssize_t n = recv(r->inner, r->down, sizeof(r->down), MSG_DONTWAIT), sent;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	for (ssize_t at = 0; at < n; at += sent) {
		sent = r->module->send(r->tls, r->down + at, (size_t)(n - at));
		if (sent <= 0)
			return false;
	}
	return n;
}

static bool to_server(struct relay *r)
{
	ssize_t n = send(r->inner, r->up + r->at, r->len - r->at, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	r->at += (size_t)n;
	return true;
}

static bool from_viewer(struct relay *r)
{
	ssize_t n = r->module->recv(r->tls, r->up, sizeof(r->up));

	if (n < 0)
		return errno == EAGAIN;
	r->at = 0;
	r->len = (size_t)n;
	return n;
}

/* More is taken from the viewer when the server has what was taken before; the other way never waits for that. */
static void carry(struct relay *r)
{
	bool go_on = true;

	while (go_on) {
		bool full = r->at < r->len, buffered = !full && r->module->pending(r->tls);
		struct pollfd fds[2] = {{r->inner, (short)(POLLIN | (full ? POLLOUT : 0)), 0}, {full ? -1 : r->v->fd, POLLIN, 0}};

		if (poll(fds, 2, buffered ? 0 : -1) < 0 && errno != EINTR)
			return;
		if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
			go_on = to_viewer(r);
		if (go_on && full && fds[0].revents & POLLOUT)
			go_on = to_server(r);
		else if (go_on && !full && (buffered || fds[1].revents))
			go_on = from_viewer(r);
	}
}

static gpointer run(gpointer opaque)
{
	g_autofree struct relay *r = opaque;
	struct vnc_viewer *v = r->v;
	int one = 1;

	if (v->server->config.thread)
		v->server->config.thread();
	setsockopt(v->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* it may be no TCP */
	if (shake_hands(r))
		carry(r);
	if (r->tls)
		r->module->end(r->tls, true);
	r->module->creds_unref(r->creds);
	close(r->inner);
	shutdown(v->fd, SHUT_RDWR);
	vnc_viewer_over(v);
	return NULL;
}

bool vnc_tls_start(struct vnc_viewer *v)
{
	struct relay *r;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	r = g_new0(struct relay, 1);
	r->v = v;
	r->module = v->server->tls_module;
	r->creds = r->module->creds_ref(v->server->tls_creds);
	r->inner = pair[0];
	v->inner = pair[1];
	v->running++;
	v->relay = g_thread_new("vnc-tls", run, r);
	return true;
}

void vnc_tls_free(struct vnc_viewer *v)
{
	if (v->relay)
		g_thread_join(v->relay);
	g_free(v->dname);
}
