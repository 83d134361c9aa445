/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tcp:HOST:PORT of migrations, HOST a name, an address, [an IPv6 address], or nothing where we listen. Names take their time, and
 * who does not answer takes minutes: connecting is for the thread that sends, and ends when it is cancelled. See migrate.h.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"
#include "listen.h"
#include "migrate.h"

enum { LOOK_MS = 100 };

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

static int finish_connect(int fd, bool (*cancelled)(void *opaque), void *opaque)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = 0;

	while (poll(&p, 1, LOOK_MS) == 0)
		if (cancelled(opaque))
			return ECANCELED;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) ? errno : err;
}

/* 0 with the socket, or an errno. */
static int try_address(const struct addrinfo *a, bool (*cancelled)(void *opaque), void *opaque, int *ret_fd)
{
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol), err = 0;

	if (fd < 0)
		return errno;
	if (connect(fd, a->ai_addr, a->ai_addrlen))
		err = errno == EINPROGRESS ? finish_connect(fd, cancelled, opaque) : errno;
	if (err)
		close(fd);
	else
		*ret_fd = fd;
	return err;
}

int migrate_tcp_connect(const char *where, bool (*cancelled)(void *opaque), void *opaque, GError **error)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	g_autofree char *host = NULL, *port = NULL;
	int fd = -1, err = EADDRNOTAVAIL, res;
	struct addrinfo *list;

	if (!split(where, &host, &port, error))
		return -1;
	res = getaddrinfo(*host ? host : NULL, port, &hints, &list);
	if (res) {
		kv_fail(error, KV_ERROR_USAGE, "tcp:%s: %s", where, gai_strerror(res));
		return -1;
	}
	for (const struct addrinfo *a = list; a && fd < 0 && !cancelled(opaque); a = a->ai_next)
		err = try_address(a, cancelled, opaque, &fd);
	freeaddrinfo(list);
	if (fd < 0)
		kv_fail_errno(error, err, "tcp:%s", where);
	return fd;
}
