/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams: a console, a file, a picture over a client's connection. A handler opens one of a descriptor and leaves it in
 * call->stream; it begins behind the call's answer. From the descriptor one packet goes out at a time, when the socket has
 * taken the one before; to it at most STREAM_QUEUE bytes wait, then nothing more is read from that client. With the state lock
 * held; what it does with descriptors is the main thread's.
 */
#pragma once
#include "client.h"

enum { STREAM_QUEUE = 1 << 20 };
enum stream_way { STREAM_TO_CLIENT = 1 << 0, STREAM_FROM_CLIENT = 1 << 1, STREAM_BOTH = 3 };

struct stream;

/* fd: a socket, pipe or terminal, taken whatever happens. Sets call->stream. */
bool stream_open(struct call *call, int fd, enum stream_way way, GError **error);
/*
 * A regular file or device, from offset, length bytes (0: as many as there are; to a file: as many as come), copied by a thread
 * of its own. fd is taken. holes: the client has said that it knows messages of them, and gets and sends a file's holes as such.
 * done: called at the end, in the main thread, with NULL or what failed; may be NULL.
 */
bool stream_open_file(struct call *call, int fd, guint64 offset, guint64 length, enum stream_way way, bool holes,
		      void (*done)(void *data, const GError *error), void *data, GError **error);
/* Of a terminal, before it begins: whoever has that terminal by then loses it, and the lock (flock(2)) on it is this one's. */
void stream_take_over(struct stream *s);
void stream_unref(struct stream *s);

/* dispatch.c's and client.c's */
void stream_begin(struct stream *s);
void stream_message(struct client *c, const struct rpc_header *h, const guint8 *message, size_t len);
void streams_resume(struct client *c); /* all packets are with the peer */
void streams_end(struct client *c);
