/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLS by GnuTLS: the module kv-tls.so, which a server loads when there are credentials. See tls.h.
 */
#include "tls.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "error.h"

enum {
	HANDSHAKE_ROUNDS = 1000, /* GnuTLS asks to be called again; the socket has a deadline */
};

struct kv_tls_creds {
	int refs; /* atomic */
	enum kv_tls_kind kind;
	bool verify_peer;
	gnutls_certificate_credentials_t x509;
	gnutls_psk_server_credentials_t keys;
	gnutls_anon_server_credentials_t anon;
	char *priority; /* NULL: the kind's */
};

struct kv_tls {
	gnutls_session_t session;
	struct kv_tls_socket socket;
	bool verify_peer;
	bool patient; /* the socket does not block: who calls comes again */
};

extern const struct kv_tls_module kv_tls;

/* ---- credentials ---- */

static char *file_in(const char *folder, const char *name)
{
	return g_build_filename(folder, name, NULL);
}

static bool fail(GError **error, int res, const char *path)
{
	return kv_fail(error, KV_ERROR_USAGE, "TLS: '%s': %s", path, gnutls_strerror(res));
}

static bool load_x509(struct kv_tls_creds *c, const char *folder, const char *password, GError **error)
{
	g_autofree char *ca = file_in(folder, "ca-cert.pem"), *cert = file_in(folder, "server-cert.pem"),
			*key = file_in(folder, "server-key.pem"), *crl = file_in(folder, "ca-crl.pem");
	int res = gnutls_certificate_allocate_credentials(&c->x509);

	if (res >= 0)
		res = gnutls_certificate_set_x509_trust_file(c->x509, ca, GNUTLS_X509_FMT_PEM);
	if (res < 0)
		return fail(error, res, ca);
	res = gnutls_certificate_set_x509_key_file2(c->x509, cert, key, GNUTLS_X509_FMT_PEM, password, 0);
	if (res < 0)
		return fail(error, res, cert);
	if (!g_file_test(crl, G_FILE_TEST_EXISTS))
		return true;
	res = gnutls_certificate_set_x509_crl_file(c->x509, crl, GNUTLS_X509_FMT_PEM);
	return res >= 0 || fail(error, res, crl);
}

static bool load_psk(struct kv_tls_creds *c, const char *folder, const char *password, GError **error)
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

static bool load_anon(struct kv_tls_creds *c, const char *folder, const char *password, GError **error)
{
	int res = gnutls_anon_allocate_server_credentials(&c->anon);

	if (res >= 0)
		res = gnutls_anon_set_server_known_dh_params(c->anon, GNUTLS_SEC_PARAM_MEDIUM);
	return res >= 0 || kv_fail(error, KV_ERROR_USAGE, "TLS: %s", gnutls_strerror(res));
}

/* Clients would refuse it, each in its own words: said once, at the start. */
static bool check_own(struct kv_tls_creds *c, const struct kv_tls_files *f, GError **error)
{
	gnutls_typed_vdata_st purpose = {GNUTLS_DT_KEY_PURPOSE_OID, (void *)GNUTLS_KP_TLS_WWW_SERVER, 0};
	gnutls_x509_trust_list_t trusted;
	gnutls_x509_crt_t *certs = NULL;
	gnutls_datum_t text = {0};
	unsigned n = 0, status = 0;
	int res = gnutls_load_file(f->cert, &text);
	bool ok;

	if (res >= 0)
		res = gnutls_x509_crt_list_import2(&certs, &n, &text, GNUTLS_X509_FMT_PEM, 0);
	gnutls_free(text.data);
	if (res < 0)
		return fail(error, res, f->cert);
	gnutls_certificate_get_trust_list(c->x509, &trusted);
	res = gnutls_x509_trust_list_verify_crt2(trusted, certs, n, &purpose, 1, 0, &status, NULL);
	for (unsigned i = 0; i < n; i++)
		gnutls_x509_crt_deinit(certs[i]);
	gnutls_free(certs);
	if (res >= 0 && !status)
		return true;
	gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
	ok = kv_fail(error, KV_ERROR_USAGE, "Our own certificate %s failed validation against %s: %s", f->cert, f->ca,
		     res < 0 ? gnutls_strerror(res) : (char *)text.data);
	gnutls_free(text.data);
	return ok;
}

static bool load_files(struct kv_tls_creds *c, const struct kv_tls_files *f, GError **error)
{
	const char *const names[] = {f->ca, f->cert, f->key, f->crl};
	int res = gnutls_certificate_allocate_credentials(&c->x509);

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		if (names[i] && access(names[i], R_OK) != 0)
			return kv_fail_errno(error, errno, "Cannot read certificate '%s'", names[i]);
	if (res >= 0)
		res = gnutls_certificate_set_x509_trust_file(c->x509, f->ca, GNUTLS_X509_FMT_PEM);
	if (res < 0)
		return fail(error, res, f->ca);
	res = gnutls_certificate_set_x509_key_file(c->x509, f->cert, f->key, GNUTLS_X509_FMT_PEM);
	if (res < 0)
		return fail(error, res, f->cert);
	if (f->crl && (res = gnutls_certificate_set_x509_crl_file(c->x509, f->crl, GNUTLS_X509_FMT_PEM)) < 0)
		return fail(error, res, f->crl);
	c->priority = g_strdup(f->priority);
	return f->unchecked || check_own(c, f, error);
}

static struct kv_tls_creds *creds_ref(struct kv_tls_creds *c)
{
	g_atomic_int_inc(&c->refs);
	return c;
}

static void creds_unref(struct kv_tls_creds *c)
{
	if (!g_atomic_int_dec_and_test(&c->refs))
		return;
	if (c->x509)
		gnutls_certificate_free_credentials(c->x509);
	if (c->keys)
		gnutls_psk_free_server_credentials(c->keys);
	if (c->anon)
		gnutls_anon_free_server_credentials(c->anon);
	g_free(c->priority);
	g_free(c);
}

static struct kv_tls_creds *creds_new(enum kv_tls_kind kind, const char *folder, bool verify_peer, const char *password,
				      GError **error)
{
	static bool (*const load[])(struct kv_tls_creds * c, const char *folder, const char *password, GError **error) = {
		[KV_TLS_X509] = load_x509, [KV_TLS_PSK] = load_psk, [KV_TLS_ANON] = load_anon};
	struct kv_tls_creds *c = g_new0(struct kv_tls_creds, 1);

	c->refs = 1;
	c->kind = kind;
	c->verify_peer = verify_peer;
	if (load[kind](c, folder, password, error))
		return c;
	creds_unref(c);
	return NULL;
}

static struct kv_tls_creds *creds_files(const struct kv_tls_files *files, bool verify_peer, GError **error)
{
	struct kv_tls_creds *c = g_new0(struct kv_tls_creds, 1);

	c->refs = 1;
	c->kind = KV_TLS_X509;
	c->verify_peer = verify_peer;
	if (load_files(c, files, error))
		return c;
	creds_unref(c);
	return NULL;
}

/* ---- sessions ---- */

static ssize_t pull(gnutls_transport_ptr_t opaque, void *buf, size_t len)
{
	struct kv_tls *t = opaque;
	ssize_t n = t->socket.recv(t->socket.opaque, buf, len);

	if (n < 0)
		gnutls_transport_set_errno(t->session, errno);
	return n;
}

static ssize_t push(gnutls_transport_ptr_t opaque, const void *buf, size_t len)
{
	struct kv_tls *t = opaque;
	ssize_t n = t->socket.send(t->socket.opaque, buf, len);

	if (n < 0)
		gnutls_transport_set_errno(t->session, errno);
	return n;
}

static int set_credentials(struct kv_tls *t, struct kv_tls_creds *c)
{
	switch (c->kind) {
	case KV_TLS_PSK:
		return gnutls_credentials_set(t->session, GNUTLS_CRD_PSK, c->keys);
	case KV_TLS_ANON:
		return gnutls_credentials_set(t->session, GNUTLS_CRD_ANON, c->anon);
	default:
		return gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, c->x509);
	}
}

static int prepare(struct kv_tls *t, struct kv_tls_creds *c)
{
	/* TLS 1.3 knows nobody without a certificate or a key. */
	static const char *const priorities[] = {[KV_TLS_X509] = "NORMAL",
						 [KV_TLS_PSK] = "NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK",
						 [KV_TLS_ANON] = "NORMAL:-VERS-TLS1.3:-KX-ALL:+ANON-ECDH:+ANON-DH"};
	int res = gnutls_init(&t->session, GNUTLS_SERVER | (t->patient ? GNUTLS_NONBLOCK : 0));

	if (res >= 0)
		res = gnutls_priority_set_direct(t->session, c->priority ? c->priority : priorities[c->kind], NULL);
	if (res >= 0)
		res = set_credentials(t, c);
	if (res < 0)
		return res;
	if (c->verify_peer)
		gnutls_certificate_server_set_request(t->session, GNUTLS_CERT_REQUIRE);
	gnutls_transport_set_ptr(t->session, t);
	gnutls_transport_set_pull_function(t->session, pull);
	gnutls_transport_set_push_function(t->session, push);
	return 0;
}

/* A certificate that is for servers alone is none of a client's. */
static bool verify(struct kv_tls *t, GError **error)
{
	gnutls_typed_vdata_st purpose = {GNUTLS_DT_KEY_PURPOSE_OID, (void *)GNUTLS_KP_TLS_WWW_CLIENT, 0};
	gnutls_datum_t text = {0};
	unsigned status = 0;
	int res = t->verify_peer ? gnutls_certificate_verify_peers(t->session, &purpose, 1, &status) : 0;

	if (res >= 0 && !status)
		return true;
	if (res >= 0)
		gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
	kv_fail(error, KV_ERROR_INVALID, "TLS: the client's certificate is not valid: %s",
		text.data ? (char *)text.data : gnutls_strerror(res));
	gnutls_free(text.data);
	return false;
}

static bool shake_hands(struct kv_tls *t, struct kv_tls_creds *c, GError **error)
{
	int res = prepare(t, c), rounds = 0;

	if (res >= 0)
		do {
			res = gnutls_handshake(t->session);
		} while (res < 0 && !gnutls_error_is_fatal(res) && ++rounds < HANDSHAKE_ROUNDS);
	if (res < 0)
		return kv_fail(error, KV_ERROR_INVALID, "TLS handshake: %s", gnutls_strerror(res));
	return verify(t, error);
}

static enum kv_tls_step shake(struct kv_tls *t, bool *ret_writes, GError **error)
{
	int res = gnutls_handshake(t->session);

	*ret_writes = gnutls_record_get_direction(t->session) == 1;
	if (res >= 0)
		return verify(t, error) ? KV_TLS_DONE : KV_TLS_FAILED;
	if (!gnutls_error_is_fatal(res))
		return KV_TLS_WAITS;
	kv_fail(error, KV_ERROR_INVALID, "TLS handshake: %s", gnutls_strerror(res));
	return KV_TLS_FAILED;
}

static void end(struct kv_tls *t, bool bye)
{
	if (t->session && bye)
		gnutls_bye(t->session, GNUTLS_SHUT_WR);
	if (t->session)
		gnutls_deinit(t->session);
	g_free(t);
}

static struct kv_tls *start(struct kv_tls_creds *c, const struct kv_tls_socket *socket, GError **error)
{
	struct kv_tls *t = g_new0(struct kv_tls, 1);

	t->socket = *socket;
	t->verify_peer = c->verify_peer;
	if (shake_hands(t, c, error))
		return t;
	end(t, false);
	return NULL;
}

static struct kv_tls *begin(struct kv_tls_creds *c, const struct kv_tls_socket *socket, GError **error)
{
	struct kv_tls *t = g_new0(struct kv_tls, 1);
	int res;

	t->socket = *socket;
	t->verify_peer = c->verify_peer;
	t->patient = true;
	res = prepare(t, c);
	if (res >= 0)
		return t;
	kv_fail(error, KV_ERROR_INVALID, "TLS: %s", gnutls_strerror(res));
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

static ssize_t tls_recv(struct kv_tls *t, void *buf, size_t len)
{
	ssize_t n;

	do {
		n = gnutls_record_recv(t->session, buf, len);
	} while (n == GNUTLS_E_INTERRUPTED);
	/* Of TLS 1.2: keys stay as they are, and the connection as well. */
	if (n == GNUTLS_E_REHANDSHAKE && t->patient &&
	    gnutls_alert_send(t->session, GNUTLS_AL_WARNING, GNUTLS_A_NO_RENEGOTIATION) >= 0)
		n = GNUTLS_E_AGAIN;
	return n == GNUTLS_E_PREMATURE_TERMINATION ? 0 : result(n);
}

static ssize_t tls_send(struct kv_tls *t, const void *buf, size_t len)
{
	ssize_t n = gnutls_record_send(t->session, buf, len);

	while (n == GNUTLS_E_INTERRUPTED || (n == GNUTLS_E_AGAIN && !t->patient))
		n = gnutls_record_send(t->session, NULL, 0);
	return result(n);
}

static char *peer_name(struct kv_tls *t)
{
	unsigned n = 0;
	const gnutls_datum_t *certs = t->verify_peer ? gnutls_certificate_get_peers(t->session, &n) : NULL;
	gnutls_datum_t name = {0};
	gnutls_x509_crt_t cert;
	char *dn = NULL;

	if (!certs || !n || gnutls_x509_crt_init(&cert) < 0)
		return NULL;
	if (gnutls_x509_crt_import(cert, &certs[0], GNUTLS_X509_FMT_DER) >= 0 && gnutls_x509_crt_get_dn2(cert, &name) >= 0)
		dn = g_utf8_make_valid((const char *)name.data, name.size);
	gnutls_free(name.data);
	gnutls_x509_crt_deinit(cert);
	return dn;
}

static size_t pending(struct kv_tls *t)
{
	return gnutls_record_check_pending(t->session);
}

const struct kv_tls_module kv_tls = {
	creds_new, creds_files, creds_ref, creds_unref, start, begin, shake, tls_recv, tls_send, peer_name, pending, end,
};
