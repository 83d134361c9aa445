/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See client-tls.h. Where certificates lie is libvirt's docs/tlscerts. */
#include "client-tls.h"

#include <sys/socket.h>
#include <unistd.h>

#include "config.h"
#include "error.h"
#include "module.h"

struct client_tls {
	struct kv_tls *session;
	int fd;
	char *name;
};

static const struct kv_tls_module *module;
static struct kv_tls_creds *creds;

/* ---- certificates ---- */

static char *in_home(const char *name)
{
	return g_build_filename(g_get_home_dir(), ".pki", "libvirt", name, NULL);
}

/* The setting, or a user's own if he has them, or the system's. */
static char *place(const char *setting, bool own, const char *name, const char *system)
{
	if (setting)
		return g_strdup(setting);
	return own ? in_home(name) : g_strdup(system);
}

bool client_tls_load(bool session, GError **error)
{
	g_autofree char *home_cert = in_home("servercert.pem"), *home_ca = in_home("cacert.pem");
	bool own = session && access(home_cert, F_OK) == 0, own_ca = session && access(home_ca, F_OK) == 0;
	g_autofree char *ca = place(config.ca_file, own_ca, "cacert.pem", "/etc/pki/CA/cacert.pem");
	g_autofree char *cert = place(config.cert_file, own, "servercert.pem", "/etc/pki/libvirt/servercert.pem");
	g_autofree char *key = place(config.key_file, own, "serverkey.pem", "/etc/pki/libvirt/private/serverkey.pem");
	const struct kv_tls_files files = {
		ca, cert, key, config.crl_file, config.tls_priority, config.tls_no_sanity_certificate
	};

	if (creds)
		return true;
	module = kv_module_symbol(KV_TLS_MODULE, KV_TLS_SYMBOL, error);
	if (module)
		creds = module->creds_files(&files, !config.tls_no_verify_certificate, error);
	return creds;
}

/* ---- a connection ---- */

static ssize_t get(void *opaque, void *buf, size_t len)
{
	return recv(((struct client_tls *)opaque)->fd, buf, len, MSG_DONTWAIT);
}

static ssize_t put(void *opaque, const void *buf, size_t len)
{
	return send(((struct client_tls *)opaque)->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

struct client_tls *client_tls_new(int fd, GError **error)
{
	struct client_tls *t = g_new0(struct client_tls, 1);
	const struct kv_tls_socket socket = { get, put, t };

	t->fd = fd;
	t->session = module->begin(creds, &socket, error);
	if (t->session)
		return t;
	g_free(t);
	return NULL;
}

static bool is_listed(const char *name)
{
	for (char **p = config.tls_allowed_dn_list; p && *p; p++)
		if (name && g_pattern_match_simple(*p, name))
			return true;
	return !config.tls_allowed_dn_list;
}

enum kv_tls_step client_tls_shake(struct client_tls *t, bool *ret_writes, GError **error)
{
	enum kv_tls_step step = module->shake(t->session, ret_writes, error);

	if (step != KV_TLS_DONE)
		return step;
	t->name = module->peer_name(t->session);
	if (is_listed(t->name))
		return KV_TLS_DONE;
	kv_fail(error, KV_ERROR_INVALID, "TLS: '%s' is not in tls_allowed_dn_list", t->name ? t->name : "nobody");
	return KV_TLS_FAILED;
}

ssize_t client_tls_recv(struct client_tls *t, void *buf, size_t len)
{
	return module->recv(t->session, buf, len);
}

ssize_t client_tls_send(struct client_tls *t, const void *buf, size_t len)
{
	return module->send(t->session, buf, len);
}

bool client_tls_pending(const struct client_tls *t)
{
	return module->pending(t->session) > 0;
}

const char *client_tls_name(const struct client_tls *t)
{
	return t->name;
}

void client_tls_free(struct client_tls *t)
{
	module->end(t->session, t->name != NULL);
	g_free(t->name);
	g_free(t);
}
