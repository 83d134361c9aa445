/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See transport-tls.h. A module: transport.c loads it. */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <unistd.h>

#include "message.h"
#include "transport-tls.h"

extern const struct kv_transport_tls kv_transport_tls;

struct tls {
	gnutls_session_t session;
	gnutls_certificate_credentials_t creds;
};

static void tls_end(void *opaque)
{
	struct tls *t = opaque;

	if (t->session) {
		gnutls_bye(t->session, GNUTLS_SHUT_WR);
		gnutls_deinit(t->session);
	}
	if (t->creds)
		gnutls_certificate_free_credentials(t->creds);
	g_free(t);
}

/* The first place that has both, or the system's. */
static void find_files(const struct kv_uri *u, char **ca, char **cert, char **key)
{
	g_autofree char *home = g_build_filename(g_get_home_dir(), ".pki", "libvirt", NULL);

	if (u->pkipath) {
		*ca = g_build_filename(u->pkipath, "cacert.pem", NULL);
		*cert = g_build_filename(u->pkipath, "clientcert.pem", NULL);
		*key = g_build_filename(u->pkipath, "clientkey.pem", NULL);
		return;
	}
	*ca = g_build_filename(home, "cacert.pem", NULL);
	*cert = g_build_filename(home, "clientcert.pem", NULL);
	*key = g_build_filename(home, "clientkey.pem", NULL);
	if (access(*ca, R_OK) != 0) {
		g_free(*ca);
		*ca = g_strdup("/etc/pki/CA/cacert.pem");
	}
	if (access(*cert, R_OK) != 0 || access(*key, R_OK) != 0) {
		g_free(*cert);
		g_free(*key);
		*cert = g_strdup("/etc/pki/libvirt/clientcert.pem");
		*key = g_strdup("/etc/pki/libvirt/private/clientkey.pem");
	}
}

static bool load(struct tls *t, const struct kv_uri *u, GError **error)
{
	g_autofree char *ca = NULL, *cert = NULL, *key = NULL;
	int err;

	find_files(u, &ca, &cert, &key);
	err = gnutls_certificate_set_x509_trust_file(t->creds, ca, GNUTLS_X509_FMT_PEM);
	if (err < 0)
		return rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "Cannot read CA certificate '%s': %s", ca, gnutls_strerror(err));
	/* A server may do without ours. */
	if (access(cert, R_OK) != 0 && access(key, R_OK) != 0)
		return true;
	err = gnutls_certificate_set_x509_key_file(t->creds, cert, key, GNUTLS_X509_FMT_PEM);
	if (err < 0)
		return rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "Unable to set x509 key and certificate: %s, %s: %s", key, cert,
				gnutls_strerror(err));
	return true;
}

static bool shake(struct tls *t, const struct kv_uri *u, GError **error)
{
	char yes = 0;
	int err;

	do
		err = gnutls_handshake(t->session);
	while (err < 0 && !gnutls_error_is_fatal(err));
	if (err == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
		return rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "the certificate of %s is not one that is trusted for that name",
				u->host);
	if (err < 0)
		return rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "TLS handshake failed: %s", gnutls_strerror(err));
	if (gnutls_record_recv(t->session, &yes, 1) != 1 || yes != 1)
		return rpc_fail(error, VIR_ERR_RPC, "server verification (of our certificate or IP address) failed");
	return true;
}

static void *tls_start(int fd, const struct kv_uri *u, GError **error)
{
	struct tls *t = g_new0(struct tls, 1);

	gnutls_certificate_allocate_credentials(&t->creds);
	if (load(t, u, error)) {
		gnutls_init(&t->session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);
		gnutls_set_default_priority(t->session);
		gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, t->creds);
		gnutls_server_name_set(t->session, GNUTLS_NAME_DNS, u->host, strlen(u->host));
		if (!u->no_verify)
			gnutls_session_set_verify_cert(t->session, u->host, 0);
		gnutls_transport_set_int(t->session, fd);
		if (shake(t, u, error))
			return t;
	}
	tls_end(t);
	return NULL;
}

static ssize_t result(ssize_t n)
{
	if (n >= 0 || n == GNUTLS_E_PREMATURE_TERMINATION)
		return MAX(n, 0);
	errno = n == GNUTLS_E_AGAIN || n == GNUTLS_E_REHANDSHAKE ? EAGAIN : n == GNUTLS_E_INTERRUPTED ? EINTR : EIO;
	return -1;
}

static ssize_t tls_read(void *opaque, void *buf, size_t len)
{
	return result(gnutls_record_recv(((struct tls *)opaque)->session, buf, len));
}

static ssize_t tls_write(void *opaque, const void *buf, size_t len)
{
	return result(gnutls_record_send(((struct tls *)opaque)->session, buf, len));
}

static bool tls_pending(void *opaque)
{
	return gnutls_record_check_pending(((struct tls *)opaque)->session) > 0;
}

const struct kv_transport_tls kv_transport_tls = { tls_start, tls_read, tls_write, tls_pending, tls_end };
