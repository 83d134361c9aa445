/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * URIs of connections: driver[+transport]://[user@][host][:port]/path[?parameters], as libvirt's clients take them (libvirt's
 * docs/uri). Pure, apart from looking which sockets there are.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

enum kv_transport_kind { KV_OVER_UNIX, KV_OVER_SSH, KV_OVER_TLS, KV_OVER_TCP, KV_OVER_EXT };

struct kv_uri {
	enum kv_transport_kind kind;
	char *driver; /* "qemu", "test", "kv", … */
	char *user, *host;
	int port;   /* -1: the transport's own */
	char *name; /* what the server is asked to open; NULL: it chooses */
	bool session;
	/* Parameters; NULL: not given. */
	char *socket, *command, *netcat, *keyfile, *pkipath, *proxy;
	bool no_verify, no_tty;
};

/* text NULL or empty: whatever the local daemon opens. NULL on error. */
struct kv_uri *kv_uri_parse(const char *text, GError **error);
void kv_uri_free(struct kv_uri *u);
typedef struct kv_uri kv_uri;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(kv_uri, kv_uri_free)

/*
 * The socket to connect to: the parameter's, or the first that exists of kvd's, the modular daemon's and libvirtd's, which of
 * them first by the driver; the last of these when there is none.
 */
char *kv_uri_socket(const struct kv_uri *u, bool read_only);
/* Where kvd listens, whether it is there or not. */
char *kv_uri_kvd_socket(const struct kv_uri *u, bool read_only);
