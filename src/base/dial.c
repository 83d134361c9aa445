/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See dial.h. Character devices and migrations connect with it. */
#include "dial.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "error.h"

enum { LOOK_MS = 100 };

struct kv_dial {
	struct addrinfo *list; /* of a name, or NULL */
	struct sockaddr_un sun;
	struct addrinfo one; /* of sun */
	const struct addrinfo *next;
	int err; /* of the last address */
};

struct kv_dial *kv_dial_tcp(const char *host, const char *port, GError **error)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list;
	struct kv_dial *d;
	int res = getaddrinfo(host, port, &hints, &list);

	if (res) {
		kv_fail(error, KV_ERROR_SYSTEM, "address resolution failed for %s:%s: %s", host ? host : "", port,
			gai_strerror(res));
		return NULL;
	}
	d = g_new0(struct kv_dial, 1);
	d->list = list;
	d->next = list;
	return d;
}

struct kv_dial *kv_dial_unix(const char *path, GError **error)
{
	struct kv_dial *d;

	if (strlen(path) >= sizeof(d->sun.sun_path)) {
		kv_fail(error, KV_ERROR_USAGE, "UNIX socket path '%s' is too long", path);
		return NULL;
	}
	d = g_new0(struct kv_dial, 1);
	d->sun.sun_family = AF_UNIX;
	memcpy(d->sun.sun_path, path, strlen(path) + 1);
	d->one = (struct addrinfo){ .ai_family = AF_UNIX, .ai_socktype = SOCK_STREAM, .ai_addrlen = sizeof(d->sun) };
	d->one.ai_addr = (struct sockaddr *)&d->sun;
	d->next = &d->one;
	return d;
}

void kv_dial_free(struct kv_dial *d)
{
	if (d && d->list)
		freeaddrinfo(d->list);
	g_free(d);
}

int kv_dial_next(struct kv_dial *d, bool *ret_under_way)
{
	for (const struct addrinfo *a; (a = d->next);) {
		int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);

		d->next = a->ai_next;
		d->err = fd < 0 || connect(fd, a->ai_addr, a->ai_addrlen) ? errno : 0;
		if (fd >= 0 && (!d->err || d->err == EINPROGRESS)) {
			*ret_under_way = d->err;
			return fd;
		}
		if (fd >= 0)
			close(fd);
	}
	errno = d->err ? d->err : EADDRNOTAVAIL;
	return -1;
}

int kv_dial_result(struct kv_dial *d, int fd)
{
	socklen_t len = sizeof(d->err);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &d->err, &len))
		d->err = errno;
	return d->err;
}

/* 0, or an errno. */
static int wait_for(struct kv_dial *d, int fd, bool (*give_up)(void *opaque), void *opaque)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int n;

	/* A signal has said nothing about the connection. */
	while ((n = poll(&p, 1, LOOK_MS)) <= 0) {
		if (n < 0 && errno != EINTR)
			return errno;
		if (give_up(opaque))
			return ECANCELED;
	}
	return kv_dial_result(d, fd);
}

int kv_dial_wait(struct kv_dial *d, bool (*give_up)(void *opaque), void *opaque)
{
	bool under_way;
	int fd, err;

	while ((fd = kv_dial_next(d, &under_way)) >= 0) {
		err = under_way ? wait_for(d, fd, give_up, opaque) : 0;
		if (!err)
			return fd;
		close(fd);
		errno = err;
		if (err == ECANCELED)
			return -1;
	}
	return -1;
}
