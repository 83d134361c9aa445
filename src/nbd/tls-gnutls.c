/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLS for the NBD server, by GnuTLS: the module kv-nbd-tls.so, which server.c loads when there are credentials. See tls.h.
 */
#include "tls.h"

#include <errno.h>
#include <string.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "error.h"

enum {
	HANDSHAKE_ROUNDS = 1000, /* GnuTLS asks to be called again; the socket has a deadline */
};

struct nbd_tls_creds {
	bool psk, verify_peer;
	gnutls_certificate_credentials_t x509;
	gnutls_psk_server_credentials_t keys;
};

struct nbd_tls {
	gnutls_session_t session;
	struct nbd_tls_socket socket;
	bool verify_peer;
};

extern const struct nbd_tls_module kv_nbd_tls;

/* ---- credentials ---- */

static char *file_in(const char *folder, const char *name)
{
	return g_build_filename(folder, name, NULL);
}

static bool fail(GError **error, int res, const char *path)
{
	return kv_fail(error, KV_ERROR_USAGE, "TLS: '%s': %s", path, gnutls_strerror(res));
}

static bool load_x509(struct nbd_tls_creds *c, const char *folder, GError **error)
{
	g_autofree char *ca = file_in(folder, "ca-cert.pem"), *cert = file_in(folder, "server-cert.pem"),
			*key = file_in(folder, "server-key.pem"), *crl = file_in(folder, "ca-crl.pem");
	int res = gnutls_certificate_allocate_credentials(&c->x509);

	if (res >= 0)
		res = gnutls_certificate_set_x509_trust_file(c->x509, ca, GNUTLS_X509_FMT_PEM);
	if (res < 0)
		return fail(error, res, ca);
	res = gnutls_certificate_set_x509_key_file(c->x509, cert, key, GNUTLS_X509_FMT_PEM);
	if (res < 0)
		return fail(error, res, cert);
	if (!g_file_test(crl, G_FILE_TEST_EXISTS))
		return true;
	res = gnutls_certificate_set_x509_crl_file(c->x509, crl, GNUTLS_X509_FMT_PEM);
	return res >= 0 || fail(error, res, crl);
}

static bool load_psk(struct nbd_tls_creds *c, const char *folder, GError **error)
{
	g_autofree char *keys = file_in(folder, "keys.psk");
	int res = gnutls_psk_allocate_server_credentials(&c->keys);

	/* GnuTLS reads it for each client, and would not tell before. */
	if (!g_file_test(keys, G_FILE_TEST_IS_REGULAR))
		return kv_fail(error, KV_ERROR_USAGE, "TLS: there is no file '%s'", keys);
	if (res >= 0)
		res = gnutls_psk_set_server_credentials_file(c->keys, keys);
	return res >= 0 || fail(error, res, keys);
}

static void creds_free(struct nbd_tls_creds *c)
{
	if (c->x509)
		gnutls_certificate_free_credentials(c->x509);
	if (c->keys)
		gnutls_psk_free_server_credentials(c->keys);
	g_free(c);
}

static struct nbd_tls_creds *creds_new(const char *folder, bool psk, bool verify_peer, GError **error)
{
	struct nbd_tls_creds *c = g_new0(struct nbd_tls_creds, 1);

	c->psk = psk;
	c->verify_peer = verify_peer;
	if (psk ? load_psk(c, folder, error) : load_x509(c, folder, error))
		return c;
	creds_free(c);
	return NULL;
}

/* ---- sessions ---- */

static ssize_t pull(gnutls_transport_ptr_t opaque, void *buf, size_t len)
{
	struct nbd_tls *t = opaque;
	ssize_t n = t->socket.recv(t->socket.opaque, buf, len);

	if (n < 0)
		gnutls_transport_set_errno(t->session, errno);
	return n;
}

static ssize_t push(gnutls_transport_ptr_t opaque, const void *buf, size_t len)
{
	struct nbd_tls *t = opaque;
	ssize_t n = t->socket.send(t->socket.opaque, buf, len);

	if (n < 0)
		gnutls_transport_set_errno(t->session, errno);
	return n;
}

static int prepare(struct nbd_tls *t, struct nbd_tls_creds *c)
{
	const char *priority = c->psk ? "NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK" : "NORMAL";
	int res = gnutls_init(&t->session, GNUTLS_SERVER);

	if (res >= 0)
		res = gnutls_priority_set_direct(t->session, priority, NULL);
	if (res >= 0 && c->psk)
		res = gnutls_credentials_set(t->session, GNUTLS_CRD_PSK, c->keys);
	else if (res >= 0)
		res = gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, c->x509);
	if (res < 0)
		return res;
	if (c->verify_peer)
		gnutls_certificate_server_set_request(t->session, GNUTLS_CERT_REQUIRE);
	gnutls_transport_set_ptr(t->session, t);
	gnutls_transport_set_pull_function(t->session, pull);
	gnutls_transport_set_push_function(t->session, push);
	return 0;
}

static bool shake_hands(struct nbd_tls *t, struct nbd_tls_creds *c, GError **error)
{
	unsigned status = 0;
	int res = prepare(t, c);

	for (unsigned i = 0; res >= 0 && i < HANDSHAKE_ROUNDS; i++) {
		res = gnutls_handshake(t->session);
		if (res == 0)
			break;
		if (!gnutls_error_is_fatal(res))
			res = 0;
	}
	if (res < 0)
		return kv_fail(error, KV_ERROR_INVALID, "TLS handshake: %s", gnutls_strerror(res));
	if (c->verify_peer) {
		res = gnutls_certificate_verify_peers2(t->session, &status);
		if (res < 0 || status)
			return kv_fail(error, KV_ERROR_INVALID, "TLS: the client's certificate is not valid");
	}
	return true;
}

static void end(struct nbd_tls *t, bool bye)
{
	if (t->session && bye)
		gnutls_bye(t->session, GNUTLS_SHUT_WR);
	if (t->session)
		gnutls_deinit(t->session);
	g_free(t);
}

static struct nbd_tls *start(struct nbd_tls_creds *c, const struct nbd_tls_socket *socket, GError **error)
{
	struct nbd_tls *t = g_new0(struct nbd_tls, 1);

	t->socket = *socket;
	if (shake_hands(t, c, error))
		return t;
	end(t, false);
	return NULL;
}

static ssize_t result(ssize_t n)
{
	if (n >= 0)
		return n;
	errno = n == GNUTLS_E_AGAIN ? EAGAIN : EIO;
	return -1;
}

static ssize_t tls_recv(struct nbd_tls *t, void *buf, size_t len)
{
	ssize_t n;

	do {
		n = gnutls_record_recv(t->session, buf, len);
	} while (n == GNUTLS_E_INTERRUPTED);
	return n == GNUTLS_E_PREMATURE_TERMINATION ? 0 : result(n);
}

static ssize_t tls_send(struct nbd_tls *t, const void *buf, size_t len)
{
	ssize_t n = gnutls_record_send(t->session, buf, len);

	while (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_AGAIN)
		n = gnutls_record_send(t->session, NULL, 0);
	return result(n);
}

static size_t pending(struct nbd_tls *t)
{
	return gnutls_record_check_pending(t->session);
}

const struct nbd_tls_module kv_nbd_tls = { creds_new, creds_free, start, tls_recv, tls_send, pending, end };
