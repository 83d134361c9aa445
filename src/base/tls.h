/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLS for our servers (NBD, VNC, kvd). GnuTLS takes longer to start than a command of kv-img, so it is in a module (tls-gnutls.c,
 * kv-tls.so) that is loaded when there are credentials.
 *
 * Credentials lie in a folder, in QEMU's layout: ca-cert.pem, server-cert.pem, server-key.pem, and ca-crl.pem if there is one
 * (X509); or keys.psk, with lines of user and key (PSK). ANON has none: nobody knows who is on the other side.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

struct kv_tls_creds;
struct kv_tls;

/* The socket below: as recv(2) and send(2), -1 and errno. */
struct kv_tls_socket {
	ssize_t (*recv)(void *opaque, void *buf, size_t len);
	ssize_t (*send)(void *opaque, const void *buf, size_t len);
	void *opaque;
};

enum kv_tls_kind { KV_TLS_X509, KV_TLS_PSK, KV_TLS_ANON };

/* Certificates that lie anywhere: names of PEM files, and GnuTLS' priorities; crl and priority: NULL for none, the usual ones. */
struct kv_tls_files {
	const char *ca, *cert, *key, *crl, *priority;
	bool unchecked; /* our own certificate is not looked at: whether it is valid now, and by that CA */
};

enum kv_tls_step { KV_TLS_FAILED, KV_TLS_WAITS, KV_TLS_DONE };

struct kv_tls_module {
	/* verify_peer: of X509, a client needs a certificate as well. password: of server-key.pem; NULL: it has none. */
	struct kv_tls_creds *(*creds_new)(enum kv_tls_kind kind, const char *folder, bool verify_peer, const char *password,
					  GError **error);
	/* X509 of files. A client may go without a certificate where verify_peer is not set. */
	struct kv_tls_creds *(*creds_files)(const struct kv_tls_files *files, bool verify_peer, GError **error);
	struct kv_tls_creds *(*creds_ref)(struct kv_tls_creds *creds); /* any thread */
	void (*creds_unref)(struct kv_tls_creds *creds);
	/* The handshake, as a server. Credentials are used by any number of connections, and stay until
	 * these have ended. Blocks. */
	struct kv_tls *(*start)(struct kv_tls_creds *creds, const struct kv_tls_socket *socket, GError **error);
	/*
	 * Likewise for a socket that does not block: shake() until it is not KV_TLS_WAITS, each time when the socket may be read,
	 * or written where *ret_writes. recv() and send() then never wait either: a send() with EAGAIN is to be made again
	 * with the same bytes.
	 */
	struct kv_tls *(*begin)(struct kv_tls_creds *creds, const struct kv_tls_socket *socket, GError **error);
	enum kv_tls_step (*shake)(struct kv_tls *tls, bool *ret_writes, GError **error);
	/* As recv(2) and send(2): -1 and errno, EAGAIN when the socket said so. One thread. */
	ssize_t (*recv)(struct kv_tls *tls, void *buf, size_t len);
	ssize_t (*send)(struct kv_tls *tls, const void *buf, size_t len);
	/* The distinguished name of the client's certificate, which was verified; NULL: there was none. */
	char *(*peer_name)(struct kv_tls *tls);
	size_t (*pending)(struct kv_tls *tls); /* bytes that recv() has without asking the socket */
	void (*end)(struct kv_tls *tls, bool bye);
};

#define KV_TLS_MODULE "kv-tls"
#define KV_TLS_SYMBOL "kv_tls" /* a struct kv_tls_module */
