/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection, from inside of the server: its buffers (connection.c), what it has agreed on (handshake.c), its requests
 * (request.c, status.c). All in the connection's own thread, but for what server.c does under its lock. A function that returns
 * bool says whether the connection can go on.
 */
#pragma once
#include "proto.h"
#include "nbd-server.h"
#include "spin.h"
#include "tls.h"

enum {
	IN_SIZE = 128 << 10, /* bytes of buffers */
	OUT_SIZE = 256 << 10,
	OUT_PARTS = 64,
	ERROR_TEXT_MAX = 256,
};

struct nbd_export {
	struct nbd_server *server;
	struct nbd_export *next;
	struct image *img;
	char *name, *description;
	bool writable, allocation_depth, ignore_flush, many; /* many: more than one connection */
	struct nbd_bitmap bitmap[NBD_BITMAPS_MAX];
	unsigned n_bitmaps;
	unsigned users; /* connections; under the server's lock */
};

/* Metadata contexts have their number as id. */
enum { CONTEXT_BASE, CONTEXT_DEPTH, CONTEXT_BITMAP /* and on */, CONTEXTS = CONTEXT_BITMAP + NBD_BITMAPS_MAX };

struct nbd_conn {
	struct nbd_server *server;
	struct nbd_conn *next; /* the server's list */
	GThread *thread;
	bool over;	       /* under the server's lock: the thread has nothing left to do */
	bool used;	       /* the handshake is through */
	int fd;
	int64_t deadline; /* of the handshake, g_get_monotonic_time(); 0: none any more */
	const struct kv_tls_module *tls_module; /* with credentials: TLS is a must */
	struct kv_tls_creds *tls_creds;
	struct kv_tls *tls; /* NULL: plain bytes */

	/* in[in_at, in_end): received, not looked at. */
	uint8_t *in;
	unsigned in_at, in_end;
	bool may_wait; /* a read from the socket */
	/* Replies: parts of `out`, and buffers that are freed once they are sent. */
	uint8_t *out;
	unsigned out_len, n_parts, n_replies;
	struct iovec part[OUT_PARTS];
	void *owned[OUT_PARTS]; /* to be freed, or NULL */

	/* Agreed on. */
	bool structured, no_zeroes;
	struct nbd_export *export; /* what is served */
	uint64_t size;		   /* as the client has been told */
	char *meta_export;	   /* whose contexts were chosen */
	uint32_t contexts;	   /* bits */

	/* Requests. The context is the thread's as long as it serves. */
	GMainContext *context;
	GPollFD poll; /* the socket, in the context */
	struct image_queue *queue;
	unsigned n_running; /* in the queue; */
	unsigned n_slow;    /* these and those that are not answered yet; */
	uint64_t slow_bytes;
	struct slow *finished, **finished_end; /* to be answered */
	bool submitted;			       /* since the last kick */
	struct spin spin;		       /* request.c, look_for_more() */
	unsigned processors;
};

struct nbd_request {
	uint16_t flags, type;
	uint8_t cookie[8];
	uint64_t offset;
	uint32_t len;
};

/* ---- connection.c: bytes ---- */

/*
 * Waits until the socket is ready (G_IO_IN, G_IO_OUT), or will never be, and lets requests of the queue end meanwhile: who
 * drains the image must not wait for a client. False: the time is up.
 */
bool conn_wait(struct nbd_conn *c, unsigned events);
/* One turn of the context: until the socket is ready for events, or something of the queue is over. */
void conn_turn(struct nbd_conn *c, unsigned events, bool wait);
void conn_kick(struct nbd_conn *c);

/* Until at least n bytes are in the buffer, n <= IN_SIZE. */
bool conn_need(struct nbd_conn *c, unsigned n);
/* As many as there are, without waiting if !wait. False: the connection is over. */
bool conn_fill(struct nbd_conn *c, bool wait);
bool conn_read(struct nbd_conn *c, void *buf, size_t len);
bool conn_skip(struct nbd_conn *c, uint64_t len);
/* Room for len bytes of replies, len <= OUT_SIZE, and for one part more; may send what is there. NULL: the connection is over. */
uint8_t *conn_out(struct nbd_conn *c, unsigned len);
/* The first len bytes of conn_out()'s are to be sent. */
void conn_out_add(struct nbd_conn *c, unsigned len);
/* Bytes of elsewhere behind that; conn_out() has been called since the last ones. to_free: freed when they are sent, or NULL. */
void conn_out_ref(struct nbd_conn *c, const void *from, size_t len, void *to_free);
bool conn_send(struct nbd_conn *c);
bool conn_start_tls(struct nbd_conn *c, GError **error);
/* The image, for synchronous access while nothing is sent or received; conn_leave_image(). Waits while it is drained. */
struct image *conn_enter_image(struct nbd_conn *c);
void conn_leave_image(struct nbd_conn *c);
/* The connection's thread. */
void *conn_run(void *c);
void conn_free(struct nbd_conn *c);

static inline unsigned conn_have(const struct nbd_conn *c)
{
	return c->in_end - c->in_at;
}

/* ---- handshake.c ---- */
/* True: c->export is there. */
bool conn_handshake(struct nbd_conn *c);

/* ---- request.c ---- */
/* Serves until the client leaves. */
void conn_serve(struct nbd_conn *c);
bool conn_reply_simple(struct nbd_conn *c, const struct nbd_request *r, int res);
/* For a request that has to be answered by chunks. */
bool conn_reply_error(struct nbd_conn *c, const struct nbd_request *r, int res);
void conn_put_chunk(uint8_t *to, const struct nbd_request *r, unsigned type, bool done, uint32_t len);
enum nbd_error nbd_error_of(int res); /* of a negative errno */

/* ---- status.c ---- */
char *conn_context_name(const struct nbd_export *e, unsigned context); /* NULL: there is none */
bool conn_block_status(struct nbd_conn *c, const struct nbd_request *r);

/* ---- server.c ---- */
/* The export of that name is the connection's, until it ends; NULL: there is none. */
struct nbd_export *server_take_export(struct nbd_conn *c, const char *name);
void server_drop_export(struct nbd_conn *c);
/* For each export, under the lock. */
void server_each_export(struct nbd_server *s, void (*fn)(void *opaque, const struct nbd_export *e), void *opaque);
/* The thread is at its end. */
void server_conn_over(struct nbd_conn *c);
