/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A connection. Its socket never blocks: what arrives is collected until a message is whole, what is sent goes into a queue
 * that the socket empties as its peer reads. So a slow client holds up itself alone: with max_client_requests calls that are
 * not answered nothing more is read from it, and one that lets more than CLIENT_QUEUE bytes of events pile up is disconnected.
 * By TLS it begins with a handshake; until that is over, and until it has authenticated itself where it has to, it is
 * anonymous, which nobody is for ever.
 * With the state lock held (call.h).
 */
#pragma once
#include <stdbool.h>
#include <sys/socket.h>

#include "call.h"
#include "message.h"
#include "poller.h"

enum {
	CLIENT_QUEUE = 16 << 20,
};

struct client_tls;

/* What it came in by. */
struct client_kind {
	bool read_only;
	bool tls;
	bool polkit; /* is to be asked about this client (auth_polkit), unless it is root's */
};

struct client {
	struct watch watch;
	int refs;
	guint64 number;
	struct ucred peer;	/* by TLS: pid 0, uid and gid -1 */
	guint64 peer_started;	/* the process, in clock ticks since boot; 0: unknown */
	struct client_tls *tls; /* NULL: none */
	bool shaking;		/* the handshake goes on */
	bool authenticated, authenticating;
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
	gint64 came, pinged;

	GQueue held; /* events that polkit is asked about (access.h) */
	bool asking;
};

/* Takes fd. NULL: no room for one more. */
struct client *client_new(int fd, const struct client_kind *kind, GError **error);
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

/* Those who are not known yet are as many as there may be: nobody else is let in. */
bool clients_are_anonymous(void);
bool clients_are_there(void);
void clients_close_all(void); /* the daemon ends */
