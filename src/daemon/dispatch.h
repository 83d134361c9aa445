/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a message to its handler and back to an answer. Handlers come from tables (call.h) and are found by number; before one
 * runs, the procedure is known, the connection is open, a read-only client only looks, and the access driver agrees.
 * With the state lock held.
 */
#pragma once
#include "client.h"

void dispatch_start(void); /* once */
/* A whole message; takes fds. false: its sender does not speak the protocol, and is to be disconnected. */
bool dispatch_message(struct client *c, const guint8 *message, size_t len, GArray *fds, GError **error);
/* Runs a call's handler and answers; frees it. Called here and by workers. */
void dispatch_run(struct call *call, GVariant *args);

/*
 * Another procedure of the remote program on behalf of call's client, without looking whether it may; args as call.h has them,
 * floating or not. A tuple of its answer's type, or NULL and *error.
 */
GVariant *dispatch_inside(struct call *call, unsigned number, GVariant *args, GError **error);

/* "virDomainCreate" for domain_create, as in messages; static buffer of the caller. */
const char *dispatch_api_name(const char *proc, char ret[64]);
/* An error instead of what h's message would have said; kind: enum send_kind. */
void dispatch_send_error(struct client *c, struct rpc_header h, const GError *e, unsigned kind);
