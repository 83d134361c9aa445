/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See uri.h. Called by kv-connection.c and transport.c. */
#include <string.h>
#include <unistd.h>

#include "message.h"
#include "uri.h"

static const struct {
	const char *name;
	enum kv_transport_kind kind;
} transports[] = {
	{ "unix", KV_OVER_UNIX }, { "ssh", KV_OVER_SSH }, { "libssh", KV_OVER_SSH }, { "libssh2", KV_OVER_SSH },
	{ "tls", KV_OVER_TLS },	  { "tcp", KV_OVER_TCP }, { "ext", KV_OVER_EXT },
};

/* The modular daemon that serves a driver of libvirt's. */
static const char *const daemons[][2] = {
	{ "qemu", "virtqemud" },       { "lxc", "virtlxcd" },		{ "xen", "virtxend" },
	{ "vbox", "virtvboxd" },       { "bhyve", "virtbhyved" },	{ "vz", "virtvzd" },
	{ "network", "virtnetworkd" }, { "storage", "virtstoraged" },	{ "nodedev", "virtnodedevd" },
	{ "secret", "virtsecretd" },   { "nwfilter", "virtnwfilterd" }, { "interface", "virtinterfaced" },
	{ "ch", "virtchd" },
};

void kv_uri_free(struct kv_uri *u)
{
	g_free(u->driver);
	g_free(u->user);
	g_free(u->host);
	g_free(u->name);
	g_free(u->socket);
	g_free(u->command);
	g_free(u->netcat);
	g_free(u->keyfile);
	g_free(u->pkipath);
	g_free(u->proxy);
	g_free(u);
}

static bool is_on(const char *value)
{
	return value && strcmp(value, "0") != 0;
}

/* Takes what is for the client out of the parameters, and gives back what is left of them for the server. */
static char *take_parameters(struct kv_uri *u, const char *query, GError **error)
{
	g_autoptr(GString) rest = g_string_new(NULL);
	struct {
		const char *name;
		char **to;
	} texts[] = { { "name", &u->name },	{ "socket", &u->socket },   { "command", &u->command },
		      { "netcat", &u->netcat }, { "keyfile", &u->keyfile }, { "pkipath", &u->pkipath },
		      { "proxy", &u->proxy } };
	/* Known to libvirt, without a meaning for the transports that we have. */
	static const char *const others[] = {
		"auth", "sshauth", "known_hosts", "known_hosts_verify", "tls_priority", "mode", "authfile", "no_sanity", NULL
	};
	GUriParamsIter iter;
	char *key, *value;

	g_uri_params_iter_init(&iter, query, -1, "&;", G_URI_PARAMS_NONE);
	while (g_uri_params_iter_next(&iter, &key, &value, error)) {
		g_autofree char *k = key, *v = value, *escaped = g_uri_escape_string(v, "/:", true);
		bool taken = g_strv_contains(others, k);

		for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
			if (strcmp(k, texts[i].name) == 0) {
				g_free(*texts[i].to);
				*texts[i].to = g_strdup(v);
				taken = true;
			}
		if (strcmp(k, "no_verify") == 0)
			u->no_verify = taken = is_on(v) || !*v;
		else if (strcmp(k, "no_tty") == 0)
			u->no_tty = taken = is_on(v) || !*v;
		if (!taken)
			g_string_append_printf(rest, "%s%s=%s", rest->len ? "&" : "?", k, escaped);
	}
	return g_string_free(g_steal_pointer(&rest), FALSE);
}

static bool take_scheme(struct kv_uri *u, const char *scheme, GError **error)
{
	const char *plus = strchr(scheme, '+');

	u->driver = plus ? g_strndup(scheme, plus - scheme) : g_strdup(scheme);
	if (!plus) {
		u->kind = u->host ? KV_OVER_TLS : KV_OVER_UNIX;
		return true;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(transports); i++)
		if (strcmp(plus + 1, transports[i].name) == 0) {
			u->kind = transports[i].kind;
			return true;
		}
	return rpc_fail(error, VIR_ERR_INVALID_ARG, "transport in URL not recognised (should be unix|ssh|ext|tls|tcp|libssh2)");
}

struct kv_uri *kv_uri_parse(const char *text, GError **error)
{
	g_autoptr(kv_uri) u = g_new0(struct kv_uri, 1);
	g_autofree char *rest = NULL;
	g_autoptr(GError) cause = NULL;
	g_autoptr(GUri) uri = NULL;

	u->port = -1;
	u->session = geteuid() != 0;
	if (!text || !*text) {
		u->driver = g_strdup("kv");
		return g_steal_pointer(&u);
	}
	uri = g_uri_parse(text, G_URI_FLAGS_HAS_PASSWORD | G_URI_FLAGS_ENCODED_QUERY, NULL);
	if (!uri) {
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Unable to parse URI %s", text);
		return NULL;
	}
	if (g_uri_get_host(uri) && *g_uri_get_host(uri))
		u->host = g_strdup(g_uri_get_host(uri));
	u->user = g_strdup(g_uri_get_user(uri));
	u->port = g_uri_get_port(uri);
	if (!take_scheme(u, g_uri_get_scheme(uri), error))
		return NULL;
	rest = g_uri_get_query(uri) ? take_parameters(u, g_uri_get_query(uri), &cause) : g_strdup("");
	if (cause) {
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Unable to parse URI %s: %s", text, cause->message);
		return NULL;
	}
	if (!u->name)
		u->name = g_strdup_printf("%s://%s%s", u->driver, g_uri_get_path(uri), rest);
	if (strcmp(g_uri_get_path(uri), "/session") == 0)
		u->session = true;
	else if (strcmp(g_uri_get_path(uri), "/system") == 0)
		u->session = false;
	if (u->kind == KV_OVER_EXT && !u->command) {
		rpc_fail(error, VIR_ERR_INVALID_ARG, "missing 'command' parameter for the transport 'ext'");
		return NULL;
	}
	if ((u->kind == KV_OVER_SSH || u->kind == KV_OVER_TLS || u->kind == KV_OVER_TCP) && !u->host) {
		rpc_fail(error, VIR_ERR_INVALID_ARG, "the URI %s names no host", text);
		return NULL;
	}
	return g_steal_pointer(&u);
}

static char *libvirt_socket(const struct kv_uri *u, const char *daemon, bool read_only)
{
	if (u->session) /* there is one socket for both */
		return g_strdup_printf("%s/libvirt/%s-sock", g_get_user_runtime_dir(), daemon);
	return g_strdup_printf("/var/run/libvirt/%s-sock%s", daemon, read_only ? "-ro" : "");
}

char *kv_uri_kvd_socket(const struct kv_uri *u, bool read_only)
{
	if (u->session)
		return g_strdup_printf("%s/kvasir/kvd-sock", g_get_user_runtime_dir());
	return g_strdup_printf("/run/kvasir/kvd-sock%s", read_only ? "-ro" : "");
}

char *kv_uri_socket(const struct kv_uri *u, bool read_only)
{
	bool ours_first = strcmp(u->driver, "kv") == 0 || strcmp(u->driver, "test") == 0;
	const char *daemon = NULL;
	char *candidates[3] = {};
	unsigned n = 0, take;

	if (u->socket)
		return g_strdup(u->socket);
	for (unsigned i = 0; i < G_N_ELEMENTS(daemons); i++)
		if (strcmp(daemons[i][0], u->driver) == 0)
			daemon = daemons[i][1];
	if (daemon)
		candidates[n++] = libvirt_socket(u, daemon, read_only);
	candidates[n++] = ours_first ? kv_uri_kvd_socket(u, read_only) : libvirt_socket(u, "libvirt", read_only);
	candidates[n++] = ours_first ? libvirt_socket(u, "libvirt", read_only) : kv_uri_kvd_socket(u, read_only);
	for (take = 0; take < n && access(candidates[take], F_OK) != 0; take++)
		;
	/* None: the one that a user of this driver would start, which is also the one that virsh names. */
	if (take == n)
		take = ours_first ? 0 : n - 2;
	for (unsigned i = 0; i < n; i++)
		if (i != take)
			g_free(candidates[i]);
	return candidates[take];
}
