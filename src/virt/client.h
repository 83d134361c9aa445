/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The client's side of one connection: calls with their answers, events, streams, keepalive. One lock; whoever waits for
 * something reads for all (the main loop when nobody waits), so a call may be made from any thread, also from the main context's
 * own. Called by kv-connection.c and kv-stream.c.
 */
#pragma once
#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <stdbool.h>

#include "procs.h"
#include "transport.h"

struct rpc_client;
struct rpc_stream;

struct rpc_client_calls {
	/* In the client's context. body: the event's message. */
	void (*event)(void *opaque, const struct rpc_proc *proc, GVariant *body);
	/* Once, in the client's context: the server is gone, why says how. */
	void (*closed)(void *opaque, const GError *why);
};

/* Takes the transport. context: its reference is held. */
struct rpc_client *rpc_client_new(struct kv_transport *t, GMainContext *context, const struct rpc_client_calls *calls,
				  void *opaque);
/* Calls that wait end with an error. In the context's thread; no callback comes any more. */
void rpc_client_free(struct rpc_client *c);
/* Pings every so many seconds, and gives the server up after count of them without an answer; 0: none. */
void rpc_client_keepalive(struct rpc_client *c, unsigned interval, unsigned count);
/* Whatever has no answer in so many seconds from now on is given up, with the server. */
void rpc_client_end_in(struct rpc_client *c, unsigned seconds);
bool rpc_client_is_alive(struct rpc_client *c);
bool rpc_client_can_pass_fds(const struct rpc_client *c);

/*
 * args: sunk if floating; NULL: none. fds NULL: none go along. ret_fds NULL: an answer with some is an error. The answer is a
 * full reference, "()" of a procedure without one; NULL on error, in RPC_ERRORS when the server said so.
 */
GVariant *rpc_client_call(struct rpc_client *c, const struct rpc_proc *proc, GVariant *args, GUnixFDList *fds,
			  GUnixFDList **ret_fds, GCancellable *cancellable, GError **error);
/*
 * The procedure with each of args (GVariant tuples), all on their way before the first answer is waited for. The answers in the
 * same order, NULL for a call that the server refused; NULL when the connection is lost or it is cancelled.
 */
GPtrArray *rpc_client_call_each(struct rpc_client *c, const struct rpc_proc *proc, GPtrArray *args, GCancellable *cancellable,
				GError **error);
/* The task is completed with the answer (a GVariant *), in its own context. */
void rpc_client_start(struct rpc_client *c, const struct rpc_proc *proc, GVariant *args, GTask *task);

/* A call that opens a stream. ready: in the context, whenever something came or there is room again; NULL: nobody asks. */
struct rpc_stream *rpc_stream_open(struct rpc_client *c, const struct rpc_proc *proc, GVariant *args, GVariant **ret,
				   void (*ready)(void *opaque), void *opaque, GCancellable *cancellable, GError **error);
/*
 * Up to len bytes; 0: its end; -1: an error. It waits for some if wait is set, otherwise the error is G_IO_ERROR_WOULD_BLOCK.
 */
gssize rpc_stream_recv(struct rpc_stream *s, void *buf, size_t len, bool wait, GCancellable *cancellable, GError **error);
/*
 * Of a stream whose call asked for holes: bytes of the hole that comes next, which is then behind us; 0: rpc_stream_recv() has
 * the next; -1: an error. It waits for one or the other. rpc_stream_recv() stops at a hole, and says so when asked again.
 */
int64_t rpc_stream_recv_hole(struct rpc_stream *s, GCancellable *cancellable, GError **error);
/* All of it is on its way when this returns. */
bool rpc_stream_send(struct rpc_stream *s, const void *buf, size_t len, GCancellable *cancellable, GError **error);
/*
 * The bytes that were taken, of which some may be on their way still; -1: an error. None are taken before the last ones are on
 * their way: G_IO_ERROR_WOULD_BLOCK, and ready() comes when they are. len 0 only asks.
 */
gssize rpc_stream_send_nonblock(struct rpc_stream *s, const void *buf, size_t len, GError **error);
bool rpc_stream_send_hole(struct rpc_stream *s, uint64_t length, GCancellable *cancellable, GError **error);
/* Waits until the server has all of it. */
bool rpc_stream_finish(struct rpc_stream *s, GCancellable *cancellable, GError **error);
void rpc_stream_abort(struct rpc_stream *s);
/* Aborts what was not finished. Before rpc_client_free(). */
void rpc_stream_free(struct rpc_stream *s);
