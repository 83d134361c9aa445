/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A way to a server's bytes: a socket, a socket with TLS, a command's input and output. Called by client.c, under its lock. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "uri.h"

struct kv_transport {
	int fd; /* non-blocking: poll this one */
	GPid pid;
	bool can_pass_fds; /* a local socket */
	const struct kv_transport_tls *module;
	void *tls; /* of the module; NULL: none */
};

/* Blocks until there is a connection. NULL on error. */
struct kv_transport *kv_transport_open(const struct kv_uri *u, bool read_only, GError **error);
void kv_transport_free(struct kv_transport *t);
/* As read(2) and write(2), -1 and errno. Descriptors that come along are appended to fds. */
ssize_t kv_transport_read(struct kv_transport *t, void *buf, size_t len, GArray *fds);
ssize_t kv_transport_write(struct kv_transport *t, const void *buf, size_t len);
/* One byte that carries a descriptor. */
ssize_t kv_transport_write_fd(struct kv_transport *t, int fd);
/* Bytes that read() has although poll() does not know of them. */
bool kv_transport_pending(const struct kv_transport *t);
