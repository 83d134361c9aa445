/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio sockets (virtio 1.2, section 5.10) in user space: streams between ports of the guest and Unix sockets of the host. A
 * client of the device's socket says "CONNECT port" and is told "OK port"; what the guest connects to goes to a socket of that
 * port (virtio-vsock-host.c). What the guest sends and the host does not take waits in a buffer that the guest's credit bounds;
 * what the host sends stays in its socket until the guest has credit and a buffer.
 *
 * Threads: all but a reset runs in the main context; `lock` is for that. A queue's lock is taken before it.
 */
#include "virtio-vsock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>
#include <linux/virtio_vsock.h>
#include <linux/vm_sockets.h>

#include "bytes.h"
#include "classes.h"
#include "error.h"
#include "listen.h"

enum {
	QUEUE_SIZE = 128,
	RX = 0, TX = 1, EVENT = 2,
	HEADER = sizeof(struct virtio_vsock_hdr),
	CONNECTIONS = 256,
	CREDIT = 256 << 10, /* bytes of one connection that wait for the host */
	RESETS = 64,	    /* for connections that are not there, waiting to be told */
	COMMAND_MAX = 32,
	HOST_PORTS = 1 << 30,
	CID_FIRST = 3,
};

/* What the guest is still to be told of a connection, in this order. */
enum { TELL_REQUEST = 1, TELL_RESPONSE = 2, TELL_CREDIT = 4, TELL_SHUTDOWN = 8, TELL_RESET = 16 };
enum stage { COMMAND, REQUESTED, OPEN, DEAD /* the reset is on its way */ };

struct connection {
	struct virtio_vsock *s;
	GSource *source;
	gpointer tag; /* of what is watched, or NULL */
	int fd;
	uint64_t serial;
	enum stage stage;
	uint32_t host_port, guest_port;
	uint8_t tell;
	bool readable;		  /* bytes, or the end, are in the socket */
	bool host_ended;	  /* it sends no more */
	bool host_gone;		  /* nor receives */
	uint32_t guest_shut;	  /* VIRTIO_VSOCK_SHUTDOWN_* that it said */
	uint32_t sent, fwd, told; /* bytes to the guest, taken from it, and as it knows */
	uint32_t peer_alloc, peer_fwd;
	GByteArray *waiting; /* for the host */
	char command[COMMAND_MAX];
	unsigned command_len;
};

struct conn_source {
	GSource base;
	struct virtio_vsock *s;
	uint64_t serial; /* the connection may be gone when it is dispatched */
};

struct virtio_vsock {
	struct virtio_pci_device dev;
	char *path; /* NULL: the host has no side */
	int listen_fd;
	GSource *listener;
	GMutex lock; /* all below */
	uint64_t serial;
	uint32_t next_port;
	GPtrArray *connections;
	unsigned turn; /* whose packets come next */
	GArray *resets; /* of struct virtio_vsock_hdr, the ones that are answered */
	uint8_t bytes[64 << 10]; /* on their way to the guest */
	bool moved; /* the guest is to hear that its connections are gone */
};

static uint64_t guest_cid(const struct virtio_vsock *s)
{
	return get_le64(s->dev.v.config);
}

/* ---- connections ---- */

static void watch(struct connection *c);

static uint32_t credit_of(const struct connection *c)
{
	uint32_t flying = c->sent - c->peer_fwd;

	return c->peer_alloc > flying ? c->peer_alloc - flying : 0;
}

static bool has_data(const struct connection *c)
{
	return c->stage == OPEN && c->readable && credit_of(c) && !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

static void free_connection(gpointer data)
{
	struct connection *c = data;

	if (c->source) {
		g_source_destroy(c->source);
		g_source_unref(c->source);
	}
	if (c->fd >= 0)
		close(c->fd);
	g_byte_array_unref(c->waiting);
	g_free(c);
}

static struct connection *by_ports(struct virtio_vsock *s, uint32_t host, uint32_t guest)
{
	for (unsigned i = 0; i < s->connections->len; i++) {
		struct connection *c = s->connections->pdata[i];

		if (c->stage != COMMAND && c->stage != DEAD && c->host_port == host && c->guest_port == guest)
			return c;
	}
	return NULL;
}

static struct connection *by_serial(struct virtio_vsock *s, uint64_t serial)
{
	for (unsigned i = 0; i < s->connections->len; i++) {
		struct connection *c = s->connections->pdata[i];

		if (c->serial == serial)
			return c;
	}
	return NULL;
}

static void tell(struct connection *c, uint8_t what)
{
	c->tell |= what;
	virtio_queue_kick(&c->s->dev.v, RX);
}

/* The guest hears of it, then the connection is no more; the host's socket is shut at once. */
static void end_connection(struct connection *c)
{
	if (c->stage == DEAD)
		return;
	if (c->stage == COMMAND) {
		g_ptr_array_remove_fast(c->s->connections, c);
		return;
	}
	c->stage = DEAD;
	c->tell = 0;
	g_source_destroy(c->source);
	g_clear_pointer(&c->source, g_source_unref);
	close(c->fd);
	c->fd = -1;
	tell(c, TELL_RESET);
}

/* What waits goes to the host as far as it takes it. False: the connection has ended. */
static bool flush(struct connection *c)
{
	while (c->waiting->len) {
		ssize_t n = send(c->fd, c->waiting->data, c->waiting->len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			end_connection(c);
			return false;
		}
		g_byte_array_remove_range(c->waiting, 0, (guint)n);
		c->fwd += (uint32_t)n;
	}
	if (c->fwd - c->told >= CREDIT / 4)
		tell(c, TELL_CREDIT);
	if (c->waiting->len || !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND))
		return true;
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		end_connection(c);
		return false;
	}
	shutdown(c->fd, SHUT_WR);
	return true;
}

/* A whole line, or not yet; false: it is none that we know. */
static bool read_command(struct connection *c)
{
	unsigned port;
	char end;

	for (;;) {
		ssize_t n = recv(c->fd, c->command + c->command_len, 1, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n <= 0)
			return false;
		if (c->command[c->command_len] == '\n')
			break;
		if (++c->command_len == COMMAND_MAX - 1)
			return false;
	}
	c->command[c->command_len] = 0;
	if (sscanf(c->command, "CONNECT %u%c", &port, &end) != 1)
		return false;
	c->guest_port = port;
	c->stage = REQUESTED;
	tell(c, TELL_REQUEST);
	return true;
}

/* The socket has something for us; holds the lock. */
static void on_socket(struct connection *c, GIOCondition events)
{
	if (c->stage == COMMAND) {
		if (!virtio_live(&c->s->dev.v) || !read_command(c)) {
			end_connection(c);
			return;
		}
	} else if (c->stage == REQUESTED) {
		end_connection(c); /* it did not wait */
		return;
	} else {
		if ((events & G_IO_OUT) && !flush(c))
			return;
		if (events & (G_IO_IN | G_IO_HUP | G_IO_ERR)) {
			c->readable = !c->host_ended;
			c->host_gone |= (events & (G_IO_HUP | G_IO_ERR)) != 0;
			if (c->host_ended && c->host_gone)
				tell(c, TELL_SHUTDOWN);
			virtio_queue_kick(&c->s->dev.v, RX);
		}
	}
	watch(c);
}

static gboolean conn_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	struct conn_source *cs = (struct conn_source *)source;
	struct virtio_vsock *s = cs->s;
	struct connection *c;

	g_mutex_lock(&s->lock);
	c = by_serial(s, cs->serial);
	if (c && c->source && c->tag)
		on_socket(c, g_source_query_unix_fd(source, c->tag));
	g_mutex_unlock(&s->lock);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs conn_source_funcs = {.dispatch = conn_dispatch};

/* What there is to wait for. Nothing at all: not even a hangup, which would be told again and again. */
static void watch(struct connection *c)
{
	bool reads = c->stage == OPEN && !c->readable && !c->host_ended && credit_of(c) &&
		     !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV);
	bool hangup = c->stage == REQUESTED || (c->stage == OPEN && c->host_ended && !c->host_gone);
	GIOCondition events = (c->stage == COMMAND || reads ? G_IO_IN : 0) | (c->waiting->len ? G_IO_OUT : 0);

	if (!c->source)
		return;
	if (c->tag && (events || hangup)) {
		g_source_modify_unix_fd(c->source, c->tag, events);
	} else if (c->tag) {
		g_source_remove_unix_fd(c->source, c->tag);
		c->tag = NULL;
	} else if (events || hangup) {
		c->tag = g_source_add_unix_fd(c->source, c->fd, events);
	}
}

/* NULL, and fd closed: there are too many. */
static struct connection *new_connection(struct virtio_vsock *s, int fd, enum stage stage)
{
	struct connection *c;
	struct conn_source *cs;

	if (s->connections->len >= CONNECTIONS) {
		close(fd);
		return NULL;
	}
	c = g_new0(struct connection, 1);
	*c = (struct connection){.s = s, .fd = fd, .stage = stage, .serial = ++s->serial, .waiting = g_byte_array_new()};
	c->source = g_source_new(&conn_source_funcs, sizeof(struct conn_source));
	cs = (struct conn_source *)c->source;
	cs->s = s;
	cs->serial = c->serial;
	g_source_attach(c->source, s->dev.v.context);
	g_ptr_array_add(s->connections, c);
	return c;
}

static gboolean on_client(gint fd, GIOCondition condition, gpointer opaque)
{
	struct virtio_vsock *s = opaque;
	int client = kv_listen_accept(fd, SOCK_NONBLOCK);
	struct connection *c;

	if (client < 0)
		return G_SOURCE_CONTINUE;
	g_mutex_lock(&s->lock);
	c = new_connection(s, client, COMMAND);
	if (c) {
		c->host_port = HOST_PORTS + s->next_port++ % HOST_PORTS;
		watch(c);
	}
	g_mutex_unlock(&s->lock);
	return G_SOURCE_CONTINUE;
}

/* ---- from the guest ---- */

/* A packet for nobody is answered with a reset, but for a reset. */
static void refuse(struct virtio_vsock *s, const struct virtio_vsock_hdr *h)
{
	if (GUINT16_FROM_LE(h->op) == VIRTIO_VSOCK_OP_RST)
		return;
	g_array_append_val(s->resets, *h);
	virtio_queue_kick(&s->dev.v, RX);
}

static void guest_connects(struct virtio_vsock *s, const struct virtio_vsock_hdr *h)
{
	uint32_t port = GUINT32_FROM_LE(h->dst_port);
	int fd = s->path ? vsock_host_connect(s->path, port) : -1;
	struct connection *c = fd >= 0 ? new_connection(s, fd, OPEN) : NULL;

	if (!c) {
		refuse(s, h);
		return;
	}
	c->host_port = port;
	c->guest_port = GUINT32_FROM_LE(h->src_port);
	c->peer_alloc = GUINT32_FROM_LE(h->buf_alloc);
	c->peer_fwd = GUINT32_FROM_LE(h->fwd_cnt);
	tell(c, TELL_RESPONSE);
	watch(c);
}

static void guest_accepts(struct connection *c)
{
	char text[32];
	int n = g_snprintf(text, sizeof(text), "OK %u\n", c->host_port);

	c->stage = OPEN;
	if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n)
		end_connection(c);
}

static void guest_sends(struct connection *c, const struct virtq_chain *chain, uint32_t len)
{
	guint old = c->waiting->len;

	if ((c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) || len > CREDIT - old) {
		end_connection(c);
		return;
	}
	g_byte_array_set_size(c->waiting, old + len);
	virtq_iov_read(chain->out, chain->n_out, HEADER, c->waiting->data + old, len);
	flush(c);
}

static void take_packet(struct virtio_vsock *s, const struct virtq_chain *chain, const struct virtio_vsock_hdr *h, uint32_t len)
{
	uint16_t op = GUINT16_FROM_LE(h->op);
	struct connection *c = by_ports(s, GUINT32_FROM_LE(h->dst_port), GUINT32_FROM_LE(h->src_port));

	if (!c && op == VIRTIO_VSOCK_OP_REQUEST) {
		guest_connects(s, h);
		return;
	}
	if (!c) {
		refuse(s, h);
		return;
	}
	c->peer_alloc = GUINT32_FROM_LE(h->buf_alloc);
	c->peer_fwd = GUINT32_FROM_LE(h->fwd_cnt);
	if (op == VIRTIO_VSOCK_OP_RST) {
		g_ptr_array_remove_fast(s->connections, c);
		return;
	}
	if (c->stage == REQUESTED && op == VIRTIO_VSOCK_OP_RESPONSE)
		guest_accepts(c);
	else if (c->stage != OPEN)
		end_connection(c);
	else if (op == VIRTIO_VSOCK_OP_RW)
		guest_sends(c, chain, len);
	else if (op == VIRTIO_VSOCK_OP_SHUTDOWN) {
		c->guest_shut |= GUINT32_FROM_LE(h->flags);
		flush(c);
	} else if (op == VIRTIO_VSOCK_OP_CREDIT_REQUEST)
		tell(c, TELL_CREDIT);
	else if (op != VIRTIO_VSOCK_OP_CREDIT_UPDATE)
		end_connection(c);
	if (c->stage != OPEN)
		return;
	watch(c);
	if (has_data(c))
		virtio_queue_kick(&s->dev.v, RX);
}

static void take_chain(struct virtio_vsock *s, struct virtqueue *vq, const struct virtq_chain *chain)
{
	struct virtio_vsock_hdr h;
	uint32_t len;

	if (virtq_iov_read(chain->out, chain->n_out, 0, &h, HEADER) != HEADER) {
		virtq_break(vq, "packet without a header");
		return;
	}
	len = GUINT32_FROM_LE(h.len);
	if (len > chain->out_len - HEADER) {
		virtq_break(vq, "packet is longer than its buffers");
		return;
	}
	g_mutex_lock(&s->lock);
	if (GUINT64_FROM_LE(h.src_cid) != guest_cid(s))
		; /* nobody's */
	else if (GUINT64_FROM_LE(h.dst_cid) != VMADDR_CID_HOST || GUINT16_FROM_LE(h.type) != VIRTIO_VSOCK_TYPE_STREAM)
		refuse(s, &h);
	else
		take_packet(s, chain, &h, len);
	g_mutex_unlock(&s->lock);
}

/* While too many answers wait for room the guest's packets wait, too (5.10.6.1). */
static bool answers_fit(struct virtio_vsock *s)
{
	bool fit;

	g_mutex_lock(&s->lock);
	fit = s->resets->len < RESETS;
	g_mutex_unlock(&s->lock);
	return fit;
}

static void tx(struct virtio_vsock *s, struct virtqueue *vq)
{
	struct virtq_chain *chain;
	unsigned budget = 2 * vq->size;
	bool fit;

	do {
		virtq_disable_notify(vq);
		while (budget && (fit = answers_fit(s)) && (chain = virtq_pop(vq))) {
			budget--;
			take_chain(s, vq, chain);
			virtq_push(vq, chain, 0);
		}
	} while (budget && fit && virtq_enable_notify(vq));
	if (!budget)
		virtio_queue_kick(&s->dev.v, TX);
	virtio_queue_flush(&s->dev.v, vq);
}

/* ---- to the guest; the lock is held ---- */

static void make_header(struct virtio_vsock *s, struct virtio_vsock_hdr *h, uint32_t host_port, uint32_t guest_port, uint16_t op)
{
	*h = (struct virtio_vsock_hdr){.src_cid = GUINT64_TO_LE(VMADDR_CID_HOST),
				       .dst_cid = GUINT64_TO_LE(guest_cid(s)),
				       .src_port = GUINT32_TO_LE(host_port),
				       .dst_port = GUINT32_TO_LE(guest_port),
				       .type = GUINT16_TO_LE(VIRTIO_VSOCK_TYPE_STREAM),
				       .op = GUINT16_TO_LE(op)};
}

static void make_packet(struct connection *c, struct virtio_vsock_hdr *h, uint16_t op, uint32_t len)
{
	make_header(c->s, h, c->host_port, c->guest_port, op);
	h->len = GUINT32_TO_LE(len);
	h->buf_alloc = GUINT32_TO_LE(CREDIT);
	h->fwd_cnt = GUINT32_TO_LE(c->fwd);
	c->told = c->fwd;
}

/* A word that is to be told; false: there is none. */
static bool next_word(struct connection *c, struct virtio_vsock_hdr *h)
{
	static const struct {
		uint8_t bit;
		uint16_t op;
	} order[] = {{TELL_REQUEST, VIRTIO_VSOCK_OP_REQUEST},
		     {TELL_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE},
		     {TELL_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE},
		     {TELL_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN},
		     {TELL_RESET, VIRTIO_VSOCK_OP_RST}};

	for (unsigned i = 0; i < G_N_ELEMENTS(order); i++) {
		if (!(c->tell & order[i].bit))
			continue;
		c->tell &= (uint8_t)~order[i].bit;
		make_packet(c, h, order[i].op, 0);
		if (order[i].bit == TELL_SHUTDOWN)
			h->flags = GUINT32_TO_LE(VIRTIO_VSOCK_SHUTDOWN_SEND | (c->host_gone ? VIRTIO_VSOCK_SHUTDOWN_RCV : 0));
		return true;
	}
	return false;
}

/* Bytes of the socket behind the header; 0: there are none. */
static uint32_t read_data(struct connection *c, const struct virtq_chain *chain)
{
	size_t room = MIN(MIN(chain->in_len - HEADER, credit_of(c)), sizeof(c->s->bytes));
	struct pollfd p = {.fd = c->fd};
	ssize_t n = recv(c->fd, c->s->bytes, room, MSG_DONTWAIT);

	if (n > 0)
		return (uint32_t)virtq_iov_write(chain->in, chain->n_in, HEADER, c->s->bytes, (size_t)n);
	c->readable = false;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	c->host_ended = true;
	c->host_gone |= n < 0 || (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)));
	c->tell |= TELL_SHUTDOWN;
	return 0;
}

/* A packet of this connection; the bytes it has, 0: none. It may be gone then. */
static uint32_t fill_from(struct connection *c, struct virtq_chain *chain)
{
	struct virtio_vsock_hdr h;
	uint32_t len = 0;

	if (!c->tell && has_data(c)) {
		len = read_data(c, chain);
		watch(c);
	}
	if (len) {
		c->sent += len;
		make_packet(c, &h, VIRTIO_VSOCK_OP_RW, len);
	} else if (!next_word(c, &h)) {
		return 0;
	}
	virtq_iov_write(chain->in, chain->n_in, 0, &h, HEADER);
	if (c->stage == DEAD && !c->tell)
		g_ptr_array_remove_fast(c->s->connections, c);
	else
		watch(c);
	return HEADER + len;
}

/* The next packet for the guest into its buffer; 0: there is none. */
static uint32_t fill(struct virtio_vsock *s, struct virtq_chain *chain)
{
	uint32_t n = 0;

	if (s->resets->len) {
		const struct virtio_vsock_hdr *to = &g_array_index(s->resets, struct virtio_vsock_hdr, 0);
		struct virtio_vsock_hdr h;

		make_header(s, &h, GUINT32_FROM_LE(to->dst_port), GUINT32_FROM_LE(to->src_port), VIRTIO_VSOCK_OP_RST);
		h.src_cid = to->dst_cid;
		h.type = to->type;
		g_array_remove_index(s->resets, 0);
		virtio_queue_kick(&s->dev.v, TX);
		return (uint32_t)virtq_iov_write(chain->in, chain->n_in, 0, &h, HEADER);
	}
	for (unsigned i = s->connections->len; !n && i-- > 0;) {
		unsigned index = ++s->turn % MAX(s->connections->len, 1u);

		n = fill_from(s->connections->pdata[index], chain);
	}
	return n;
}

static bool has_packets(struct virtio_vsock *s)
{
	bool any;

	g_mutex_lock(&s->lock);
	any = s->resets->len;
	for (unsigned i = 0; i < s->connections->len && !any; i++) {
		const struct connection *c = s->connections->pdata[i];

		any = c->tell || has_data(c);
	}
	g_mutex_unlock(&s->lock);
	return any;
}

static void rx(struct virtio_vsock *s, struct virtqueue *vq)
{
	struct virtq_chain *chain;
	unsigned budget = 2 * vq->size;

	do {
		virtq_disable_notify(vq);
		while (budget && has_packets(s) && (chain = virtq_pop(vq))) {
			uint32_t n;

			budget--;
			if (chain->in_len <= HEADER) {
				virtq_break(vq, "packet buffer without room behind the header");
				break;
			}
			g_mutex_lock(&s->lock);
			n = fill(s, chain);
			g_mutex_unlock(&s->lock);
			if (n)
				virtq_push(vq, chain, n);
			else
				virtq_unpop(vq, chain->slots);
		}
	} while (budget && has_packets(s) && virtq_enable_notify(vq));
	if (!budget)
		virtio_queue_kick(&s->dev.v, RX);
	virtio_queue_flush(&s->dev.v, vq);
}

/* The one event there is: connections of before a move are gone (5.10.6.7). */
static void event(struct virtio_vsock *s, struct virtqueue *vq)
{
	static const struct virtio_vsock_event reset = {.id = GUINT32_TO_LE(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET)};
	struct virtq_chain *chain;

	bool moved;

	g_mutex_lock(&s->lock);
	moved = s->moved;
	g_mutex_unlock(&s->lock);
	if (!moved || !(chain = virtq_pop(vq)))
		return;
	g_mutex_lock(&s->lock);
	s->moved = false;
	g_mutex_unlock(&s->lock);
	virtq_push(vq, chain, (uint32_t)virtq_iov_write(chain->in, chain->n_in, 0, &reset, sizeof(reset)));
	virtio_queue_flush(&s->dev.v, vq);
}

/* ---- the device ---- */

static void vsock_notify(struct virtio_device *v, struct virtqueue *vq)
{
	struct virtio_vsock *s = v->owner;

	if (vq->index == RX)
		rx(s, vq);
	else if (vq->index == TX)
		tx(s, vq);
	else
		event(s, vq);
}

static void vsock_reset(struct virtio_device *v)
{
	struct virtio_vsock *s = v->owner;

	g_mutex_lock(&s->lock);
	g_ptr_array_set_size(s->connections, 0);
	g_array_set_size(s->resets, 0);
	s->moved = false;
	g_mutex_unlock(&s->lock);
}

static const struct virtio_class vsock_class = {
	.name = "virtio-vsock",
	.id = VIRTIO_ID_VSOCK,
	.pci_class = 0x028000,
	.notify = vsock_notify,
	.reset = vsock_reset,
};

static void free_parts(struct virtio_vsock *s)
{
	if (s->listener) {
		g_source_destroy(s->listener);
		g_source_unref(s->listener);
	}
	if (s->path)
		vsock_host_close(s->listen_fd, s->path);
	g_ptr_array_unref(s->connections);
	g_array_unref(s->resets);
	g_mutex_clear(&s->lock);
	g_free(s->path);
}

static bool listen_to_host(struct virtio_vsock *s, const char *path, GError **error)
{
	if (!path)
		return true;
	s->listen_fd = vsock_host_listen(path, error);
	if (s->listen_fd < 0)
		return false;
	s->path = g_strdup(path);
	s->listener = g_unix_fd_source_new(s->listen_fd, G_IO_IN);
	g_source_set_callback(s->listener, G_SOURCE_FUNC(on_client), s, NULL);
	g_source_attach(s->listener, s->dev.pci.dev.core->context);
	return true;
}

static bool vsock_create(struct device *dev, GVariant *options, const struct device_backend *backend, GError **error)
{
	struct virtio_vsock *s = (struct virtio_vsock *)dev;
	const char *path = NULL;
	guint64 cid = CID_FIRST;

	if (options) {
		g_variant_lookup(options, "cid", "t", &cid);
		g_variant_lookup(options, "unix", "&s", &path);
	}
	g_mutex_init(&s->lock);
	s->connections = g_ptr_array_new_with_free_func(free_connection);
	s->resets = g_array_new(FALSE, FALSE, sizeof(struct virtio_vsock_hdr));
	if (!listen_to_host(s, path, error) ||
	    !virtio_pci_create(dev, &vsock_class, 0, sizeof(struct virtio_vsock_config), 3, QUEUE_SIZE, error)) {
		free_parts(s);
		return false;
	}
	put_le64(s->dev.v.config, cid);
	return true;
}

static void vsock_destroy(struct device *dev)
{
	virtio_pci_destroy(dev);
	free_parts((struct virtio_vsock *)dev);
}

/* The host's ends of connections are where the machine was. */
static bool vsock_after_load(void *opaque, GError **error)
{
	struct virtio_vsock *s = opaque;

	if (!virtio_pci_after_load(opaque, error))
		return false;
	g_mutex_lock(&s->lock);
	g_ptr_array_set_size(s->connections, 0);
	g_array_set_size(s->resets, 0);
	s->moved = virtio_live(&s->dev.v);
	g_mutex_unlock(&s->lock);
	return true;
}

static const struct state_field vsock_fields[] = {
	VIRTIO_PCI_STATE(struct virtio_vsock, dev),
	STATE_END,
};

static const struct state_desc vsock_state = {
	.name = "virtio-vsock",
	.version = 1,
	.oldest = 1,
	.fields = vsock_fields,
	.after_load = vsock_after_load,
};

static const struct device_key keys[] = {{"cid", DEVICE_KEY_COUNT, "the guest's address (3)", CID_FIRST, 0xfffffffe},
					 {"unix", DEVICE_KEY_TEXT, "Unix socket for the host's clients", 0, 0},
					 {NULL}};

const struct device_class device_virtio_vsock = {
	.name = "virtio-vsock",
	.description = "virtio sockets between guest and host",
	.size = sizeof(struct virtio_vsock),
	.create = vsock_create,
	.reset = virtio_pci_reset,
	.destroy = vsock_destroy,
	.pause = virtio_pci_pause,
	.resume = virtio_pci_resume,
	.state = &vsock_state,
	.keys = keys,
};
