/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: what a QMP client hears, from its greeting to the end. Whatever it is, a call has an answer or an error and not
 * both, the end is told once, and nothing comes after it. One thread: who waits turns the main context.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "qmp-client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned ends;

static void nothing(void)
{
}

static bool turn(GCond *cond, gint64 until)
{
	return g_main_context_iteration(NULL, FALSE);
}

static void on_event(void *opaque, const char *name, JsonObject *data)
{
	if (ends || !name || !data)
		abort();
}

static void on_closed(void *opaque, const char *why)
{
	if (ends++ || !why)
		abort();
}

static const struct qmp_client_ops ops = { nothing, nothing, turn, on_event, on_closed };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const commands[] = { "stop", "query-status", "cont" };
	struct qmp_client *c;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	ends = 0;
	c = qmp_client_new(pair[0], NULL, &ops, NULL);
	if (write(pair[1], data, size) < 0 && size)
		size = 0; /* more than the socket has room for */
	shutdown(pair[1], SHUT_WR);
	for (unsigned i = 0; i <= G_N_ELEMENTS(commands); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(JsonNode) answer = NULL;
		bool ok = i ? (answer = qmp_client_call(c, commands[i - 1], NULL, -1, 1, &error)) != NULL :
			      qmp_client_negotiate(c, 1, &error);

		if (ok == (error != NULL))
			abort();
	}
	while (g_main_context_iteration(NULL, FALSE))
		;
	if (qmp_client_is_open(c) || ends != 1)
		abort();
	qmp_client_close(c);
	qmp_client_unref(c);
	close(pair[1]);
	return 0;
}
