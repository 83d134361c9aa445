/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listening on sockets, of Unix and of TCP. See listen.h. */
#include "listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "error.h"

enum { BACKLOG = 4, TCP_BACKLOG = 64, REST_US = 10000 };

/* A socket file that nobody listens on any more is a leftover, and removed. */
static bool remove_leftover(const char *what, const struct sockaddr_un *sa, GError **error)
{
	struct stat st;
	int fd, err = 0;

	if (lstat(sa->sun_path, &st) < 0)
		return true;
	if (!S_ISSOCK(st.st_mode))
		return kv_fail(error, KV_ERROR_BUSY, "%s '%s' exists and is not a socket; remove it", what, sa->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0)
		err = errno;
	if (fd >= 0)
		close(fd);
	if (err != ECONNREFUSED)
		return kv_fail(error, KV_ERROR_BUSY, "%s '%s' is in use by another process; give another path", what,
			       sa->sun_path);
	unlink(sa->sun_path);
	return true;
}

int kv_listen_unix(const char *what, const char *path, GError **error)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(sa.sun_path)) {
		kv_fail(error, KV_ERROR_USAGE, "%s '%s': the path is longer than %zu bytes", what, path, sizeof(sa.sun_path) - 1);
		return -1;
	}
	memcpy(sa.sun_path, path, strlen(path) + 1);
	if (!remove_leftover(what, &sa, error))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode before bind is the new file's. */
	if (fd >= 0 && fchmod(fd, 0600) == 0 && bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0 &&
	    listen(fd, BACKLOG) == 0)
		return fd;
	kv_fail_errno(error, errno, "cannot listen on %s '%s'", what, path);
	if (fd >= 0)
		close(fd);
	return -1;
}

int kv_listen_folder(const char *path)
{
	g_autofree char *folder = g_path_get_dirname(path);

	return open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

void kv_listen_remove(int folder, const char *path)
{
	g_autofree char *name = g_path_get_basename(path);

	if (folder < 0)
		return;
	unlinkat(folder, name, 0);
	close(folder);
}

static int listen_at(const struct addrinfo *a)
{
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol), on = 1, off = 0, err;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->ai_family == AF_INET6) /* "::" is for both families */
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, TCP_BACKLOG) == 0)
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

int kv_listen_tcp(const char *address, const char *port, GError **error)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *list;
	int fd = -1, family, res = getaddrinfo(address, port, &hints, &list);

	if (res) {
		kv_fail(error, KV_ERROR_USAGE, "cannot listen on '%s', port %s: %s", address ? address : "*", port,
			gai_strerror(res));
		return -1;
	}
	/* IPv6 first: without an address it takes IPv4 as well. */
	for (int pass = 0; pass < 2 && fd < 0; pass++) {
		family = pass ? AF_INET : AF_INET6;
		for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
			if (a->ai_family == family)
				fd = listen_at(a);
	}
	freeaddrinfo(list);
	if (fd < 0)
		kv_fail_errno(error, errno, "cannot listen on '%s', port %s", address ? address : "*", port);
	return fd;
}

int kv_listen_accept(int fd, int flags)
{
	int conn = accept4(fd, NULL, NULL, flags | SOCK_CLOEXEC);

	if (conn < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
		g_usleep(REST_US);
	return conn;
}
