/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The server's side of one QMP connection, without the connection: capabilities are negotiated first, then commands are found
 * in a table, their arguments checked, their answers and errors made into lines. server.c has the socket. One thread.
 */
#pragma once
#include "message.h"
#include "schema.h"

/* A row of a table that ends with a NULL name. */
struct qmp_command {
	const char *name;
	/* Answers a value, or NULL with the error set. args are checked; what they are made of is gone after the call. */
	JsonNode *(*run)(void *opaque, JsonObject *args, GError **error);
	const struct qmp_member *args; /* NULL: takes none */
	bool checks_args;	       /* run() does it: their shape is not one that a table can have */
};

struct qmp_session {
	const struct qmp_command *commands; /* without the session's own: qmp_capabilities, query-commands, -schema */
	void *opaque;
	const char *const *events; /* their names, for query-qmp-schema; NULL: none */
	bool negotiated; /* events are for the client only then */
};

/* The line that answers a message (taken over; NULL: `fault` says what is wrong with it), to be freed with g_free. */
char *qmp_session_answer(struct qmp_session *s, JsonNode *message, const GError *fault);
