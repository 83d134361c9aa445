/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a TLS module gives the server. GnuTLS takes longer to start than a command of kv-img, so it is in a module
 * (tls-gnutls.c, kv-nbd-tls.so) that is loaded when there are credentials.
 *
 * Credentials lie in a folder, in QEMU's layout: ca-cert.pem, server-cert.pem, server-key.pem, and ca-crl.pem if there is one;
 * or keys.psk, with lines of user and key.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

struct nbd_tls_creds;
struct nbd_tls;

/* The socket below: as recv(2) and send(2), -1 and errno. */
struct nbd_tls_socket {
	ssize_t (*recv)(void *opaque, void *buf, size_t len);
	ssize_t (*send)(void *opaque, const void *buf, size_t len);
	void *opaque;
};

struct nbd_tls_module {
	struct nbd_tls_creds *(*creds_new)(const char *folder, bool psk, bool verify_peer, GError **error);
	void (*creds_free)(struct nbd_tls_creds *creds);
	/* The handshake, as a server. Credentials are used by any number of connections. Blocks. */
	struct nbd_tls *(*start)(struct nbd_tls_creds *creds, const struct nbd_tls_socket *socket, GError **error);
	/* As recv(2) and send(2): -1 and errno, EAGAIN when the socket said so. One thread. */
	ssize_t (*recv)(struct nbd_tls *tls, void *buf, size_t len);
	ssize_t (*send)(struct nbd_tls *tls, const void *buf, size_t len);
	size_t (*pending)(struct nbd_tls *tls); /* bytes that recv() has without asking the socket */
	void (*end)(struct nbd_tls *tls, bool bye);
};

#define NBD_TLS_MODULE "kv-nbd-tls"
#define NBD_TLS_SYMBOL "kv_nbd_tls" /* a struct nbd_tls_module */
