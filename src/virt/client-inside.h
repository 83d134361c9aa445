/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What client.c, client-source.c and client-stream.c share of a client. All of it is under the lock, unless a line says else. */
#pragma once
#include "bytes.h"
#include "client.h"
#include "rpc/message.h"

struct packet {
	GByteArray *bytes;
	GUnixFDList *fds;
	size_t sent;
	unsigned fds_sent;
};

struct event {
	const struct rpc_proc *proc;
	GVariant *body;
};

struct rpc_call {
	const struct rpc_proc *proc;
	GTask *task; /* NULL: somebody waits */
	bool done;
	GVariant *ret;
	GError *error;
	GUnixFDList *fds;
};

struct rpc_client {
	struct kv_transport *transport;
	const struct rpc_client_calls *callbacks;
	void *opaque;
	GMutex lock;
	GCond changed;
	unsigned waiting; /* for changed */
	bool is_reading; /* somebody is in poll(), without the lock */
	int wake_fd;	 /* ends that poll() */
	GSource *source;
	gpointer fd_tag;
	GHashTable *calls; /* serial -> struct rpc_call */
	GList *streams;
	GQueue out;    /* struct packet */
	GQueue events; /* struct event */
	GQueue ended;  /* struct rpc_call, with a task */
	GByteArray *in;
	size_t in_len;
	GArray *fds; /* that came, of messages that are not taken yet */
	uint32_t serial;
	GError *why; /* it has ended */
	bool told;
	unsigned interval, count, unanswered;
	int64_t ping_at; /* 0: never */
	int64_t end_at;	 /* an answer that has not come by then does not come; 0: no such time */
};

struct rpc_hole {
	size_t at; /* of rpc_stream.in */
	uint64_t left;
};

struct rpc_stream {
	struct rpc_client *client;
	const struct rpc_proc *proc;
	uint32_t serial;
	GByteArray *in;
	GArray *holes; /* of struct rpc_hole, that come before in's byte `at` */
	size_t taken; /* of in */
	bool is_at_end, is_finished, is_over;
	GError *error;
	void (*ready)(void *opaque);
	void *opaque;
	bool is_news;	 /* ready() is to be called */
	bool wants_room; /* also when everything is sent */
};

/* Ends everything; why is taken. */
void rpc_client_fail(struct rpc_client *c, GError *why);
/* Takes bytes. */
void rpc_client_push(struct rpc_client *c, GByteArray *bytes, GUnixFDList *fds);
void rpc_client_flush(struct rpc_client *c);
/* What can be read without waiting. */
void rpc_client_read(struct rpc_client *c);
/* A ping, if it is time; the end, if it is time for that. */
void rpc_client_tick(struct rpc_client *c);
/* Lets go of the lock meanwhile. false: cancelled, or the connection has ended. */
bool rpc_client_wait(struct rpc_client *c, bool (*is_done)(void *opaque), void *opaque, GCancellable *cancellable,
		     GError **error);
/* The serial; 0 on error. */
uint32_t rpc_client_send(struct rpc_client *c, struct rpc_call *call, GVariant *args, GUnixFDList *fds, GError **error);
GVariant *rpc_client_await(struct rpc_client *c, struct rpc_call *call, uint32_t serial, GCancellable *cancellable,
			   GError **error);

/* Completes the task, and frees the call. Without the lock. */
void rpc_client_end_task(struct rpc_call *call);

/* client-source.c. wake: with or without the lock. */
void rpc_client_attach(struct rpc_client *c, GMainContext *context);
void rpc_client_detach(struct rpc_client *c);
void rpc_client_wake(struct rpc_client *c);

/* client-stream.c */
void rpc_stream_take(struct rpc_client *c, const struct rpc_header *h, const uint8_t *message, size_t len);
void rpc_stream_fail(struct rpc_stream *s, const GError *why);
/* So much waits in streams for who reads them that the main loop should not read more. */
bool rpc_streams_are_full(struct rpc_client *c);
