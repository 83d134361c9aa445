/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS of a client's connection: certificates of both sides as kvd.conf says, and the list of who may. GnuTLS is in a module
 * (base's tls.h). With the state lock held; nothing blocks. Called by server.c and client.c.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "tls.h"

struct client_tls;

/* Once, before there are clients: the certificates. session: those of this user. */
bool client_tls_load(bool session, GError **error);
struct client_tls *client_tls_new(int fd, GError **error);
/* The handshake goes on; done: the client is one who may. *ret_writes: it waits for the socket to take bytes. */
enum kv_tls_step client_tls_shake(struct client_tls *t, bool *ret_writes, GError **error);
/* As recv(2) and send(2) of a socket that does not block. */
ssize_t client_tls_recv(struct client_tls *t, void *buf, size_t len);
ssize_t client_tls_send(struct client_tls *t, const void *buf, size_t len);
bool client_tls_pending(const struct client_tls *t);	 /* there is more to read, of which the socket does not know */
const char *client_tls_name(const struct client_tls *t); /* the certificate's distinguished name; NULL: none */
void client_tls_free(struct client_tls *t);
