/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A connection. Its socket never blocks: what arrives is collected until a message is whole, what is sent goes into a queue
 * that the socket empties as its peer reads. So a slow client holds up itself alone: with CLIENT_CALLS calls that are not
 * answered nothing more is read from it, and one that lets more than CLIENT_QUEUE bytes of events pile up is disconnected.
 * With the state lock held (call.h).
 */
#pragma once
#include <stdbool.h>
#include <sys/socket.h>

#include "call.h"
#include "message.h"
#include "poller.h"

enum {
	CLIENT_CALLS = 5,
	CLIENT_QUEUE = 16 << 20,
};

struct client {
	struct watch watch;
	int refs;
	guint64 number;
	struct ucred peer;
	bool read_only;
	bool closed;  /* no longer in the list; its socket is closed */
	bool failed;  /* is about to be closed */
	bool resumes; /* client_resume() is on its way */
	struct hv *hv;

	guint8 *in;
	size_t in_at, in_len, in_size;
	int fds[RPC_FDS_MAX];
	unsigned n_fds;

	GQueue out; /* struct out_message */
	size_t out_bytes;
	unsigned n_calls;   /* not answered, or the answer is not with the peer yet */
	unsigned n_packets; /* of streams, not with the peer yet */
	GPtrArray *streams; /* struct stream, stream.h */
	bool streams_full;  /* one of them takes nothing at the moment */

	bool keepalive;
	unsigned pings; /* not answered */
	gint64 heard;	/* when something arrived; monotonic, us */
};

/* Takes fd. NULL: no room for one more. */
struct client *client_new(int fd, bool read_only, GError **error);
struct client *client_ref(struct client *c);
void client_unref(struct client *c);
/* From any thread: nothing is sent or read any more; the main thread does the rest. */
void client_fail(struct client *c, const char *why);

enum send_kind { SEND_ANSWER, SEND_EVENT, SEND_STREAM };
/* Takes message. fds: may be NULL; the descriptors in it are the queue's from now on, and closed. */
void client_send(struct client *c, GByteArray *message, GArray *fds, enum send_kind kind);
/* Something may be read again: a call ended, a stream has room. */
void client_resume(struct client *c);

/* connect_close, and the end: its events, streams and what is to end with it. */
void client_leave(struct client *c);

unsigned client_count(void);
void clients_close_all(void); /* the daemon ends */
void clients_set_max(unsigned max);
