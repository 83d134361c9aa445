/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A QMP server on a Unix socket, in the main context: one client at a time, as QEMU's monitors have it; the next one waits.
 * A client is not trusted to read: while its answers pile up its commands wait, and one that lets events pile up is left.
 * Main thread only. Used by kv-vmm's qmp.c.
 */
#pragma once
#include "session.h"

struct qmp_server;

/* What the server's owner is asked. */
struct qmp_server_ops {
	const struct qmp_command *commands; /* run with `opaque` */
	const char *const *events;	    /* names of those that may come; NULL: none */
	JsonNode *(*version)(void);	    /* as in the greeting and in query-version */
	/* True: no command now, the main loop is run from inside of something that must not be disturbed. */
	bool (*busy)(void *opaque);
};

struct qmp_server *qmp_server_new(const char *path, const struct qmp_server_ops *ops, void *opaque, GError **error);
void qmp_server_free(struct qmp_server *s); /* waits a moment for the client to read; removes the socket; NULL is fine */

/* The descriptor that the client passed last (unix(7), SCM_RIGHTS), which is the caller's then; -1: none. */
int qmp_server_take_fd(struct qmp_server *s);
const char *qmp_server_path(const struct qmp_server *s);

/* To the client, if there is one that has negotiated; data (may be NULL) stays the caller's. */
void qmp_server_event(struct qmp_server *s, const char *name, JsonObject *data);
