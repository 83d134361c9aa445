/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of QMP (QEMU's docs/interop/qmp-spec.txt) on a Unix socket: commands with ids and their answers, events to a callback.
 * A main context reads; who calls a command waits on a condition meanwhile, in another thread.
 *
 * Threads: everything here is called with the owner's one lock held, which `wait` lets go of; the context's thread takes it by
 * `enter` and `leave` around what it reads, so callbacks have it as well. The peer is not trusted: a message has a bounded size,
 * what makes no sense closes the connection, and who does not answer in time is not waited for. Used by the daemon's drivers.
 */
#pragma once
#include <stdbool.h>

#include "message.h"

enum { QMP_ANSWER_MAX = 16 << 20 }; /* bytes of a message to a client */

struct qmp_client;
typedef struct qmp_client QmpClient; /* for g_autoptr alone */

struct qmp_client_ops {
	void (*enter)(void);
	void (*leave)(void);
	bool (*wait)(GCond *cond, gint64 until); /* as call.h's state_wait() */
	void (*event)(void *opaque, const char *name, JsonObject *data); /* data: never NULL; the client's */
	void (*closed)(void *opaque, const char *why); /* once, by the peer or its fault; not by qmp_client_close() */
};

/* A connection whose greeting has not come. context: where it is read, NULL the default one. KV_ERROR_BUSY: a full backlog. */
struct qmp_client *qmp_client_connect(const char *path, GMainContext *context, const struct qmp_client_ops *ops, void *opaque,
				      GError **error);
/* The same of a socket that is connected and does not block; fd is taken. */
struct qmp_client *qmp_client_new(int fd, GMainContext *context, const struct qmp_client_ops *ops, void *opaque);
struct qmp_client *qmp_client_ref(struct qmp_client *c);
void qmp_client_unref(struct qmp_client *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpClient, qmp_client_unref)
/* No callback comes after it; calls that wait fail. */
void qmp_client_close(struct qmp_client *c);
bool qmp_client_is_open(const struct qmp_client *c);

/* Waits for the greeting and negotiates. until: monotonic time in us, 0 for ever. */
bool qmp_client_negotiate(struct qmp_client *c, gint64 until, GError **error);

/*
 * One command and its answer, by a worker. args (NULL: none) are taken over; fd (-1: none) goes along, the caller's.
 * Errors of the peer are QMP_ERROR with its class; KV_ERROR_SYSTEM: the connection is gone, KV_ERROR_BUSY: it is too late.
 */
JsonNode *qmp_client_call(struct qmp_client *c, const char *command, JsonObject *args, int fd, gint64 until, GError **error);
/* A whole command of somebody else's as it is, but for the id; the whole answer, "return" or "error" in it. */
JsonNode *qmp_client_pass(struct qmp_client *c, JsonObject *command, int fd, gint64 until, GError **error);
