/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tcp:HOST:PORT of migrations, HOST a name, an address, [an IPv6 address], or nothing where we listen. Names take their time, and
 * who does not answer takes minutes: connecting is for the thread that sends, and ends when it is cancelled. See migrate.h.
 */
#include <errno.h>
#include <string.h>

#include "dial.h"
#include "error.h"
#include "listen.h"
#include "migrate.h"

/* The two words of HOST:PORT. */
static bool split(const char *where, char **ret_host, char **ret_port, GError **error)
{
	const char *colon = strrchr(where, ':'), *host = where;
	size_t len = colon ? (size_t)(colon - where) : 0;
	bool brackets = len >= 2 && where[0] == '[' && where[len - 1] == ']';

	if (!colon || !colon[1] || (!brackets && memchr(where, ':', len)))
		return kv_fail(error, KV_ERROR_USAGE, "tcp:%s: give tcp:HOST:PORT, an IPv6 address in brackets", where);
	if (brackets) {
		host++;
		len -= 2;
	}
	*ret_host = g_strndup(host, len);
	*ret_port = g_strdup(colon + 1);
	return true;
}

int migrate_tcp_listen(const char *where, GError **error)
{
	g_autofree char *host = NULL, *port = NULL;

	return split(where, &host, &port, error) ? kv_listen_tcp(*host ? host : NULL, port, error) : -1;
}

bool migrate_tcp_check(const char *where, GError **error)
{
	g_autofree char *host = NULL, *port = NULL;

	return split(where, &host, &port, error);
}

int migrate_tcp_connect(const char *where, bool (*cancelled)(void *opaque), void *opaque, GError **error)
{
	g_autofree char *host = NULL, *port = NULL;
	struct kv_dial *dial;
	int fd;

	if (!split(where, &host, &port, error))
		return -1;
	dial = kv_dial_tcp(*host ? host : NULL, port, error);
	if (!dial)
		return -1;
	fd = kv_dial_wait(dial, cancelled, opaque);
	if (fd < 0)
		kv_fail_errno(error, errno, "tcp:%s", where);
	kv_dial_free(dial);
	return fd;
}
