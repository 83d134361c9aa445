/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VNC server (RFB, RFC 6143), as the program has it: libvncserver and the libraries behind it are in a module, kv-vnc.so,
 * that is loaded when somebody wants a server. All functions and event(): main thread; the viewers have threads of their own.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

struct display;
struct input;
struct vnc;

enum vnc_share { VNC_SHARE_ALLOW_EXCLUSIVE, VNC_SHARE_FORCE_SHARED };
enum vnc_event { VNC_CONNECTED, VNC_INITIALIZED, VNC_DISCONNECTED };

/* Who connected, to where: addresses as in QMP; strings of the server. */
struct vnc_peer {
	const char *host, *service, *family; /* family: ipv4, ipv6, unix */
	const char *server_host, *server_service;
	const char *x509_dname; /* of the certificate that it came with; NULL: none was asked for, or not yet */
	bool websocket;
};

#define VNC_TLS_ANON "anon" /* without certificates: against who listens alone, not against who is in between */

struct vnc_config {
	struct display *display;
	unsigned head; /* of it: what is shown */
	struct input *input;
	GMainContext *context;
	const char *name;      /* of the desktop */
	const char *listen;    /* unix:PATH or ADDRESS:PORT, a numeric one; [::1]:PORT */
	uint16_t websocket;    /* a port of the same address for WebSocket; 0: none */
	const char *password;  /* 8 bytes count; NULL: everybody may; "": nobody before vnc_module.set_password() */
	const char *tls_creds; /* a folder as in tls.h, or VNC_TLS_ANON; NULL: no TLS */
	bool tls_verify_peer;  /* viewers need a certificate */
	enum vnc_share share;
	void (*thread)(void); /* a viewer's threads call it first; may be NULL */
	void (*event)(void *opaque, enum vnc_event what, const struct vnc_peer *peer);
	void *opaque;
};

struct vnc_module {
	struct vnc *(*start)(const struct vnc_config *config, GError **error);
	void (*stop)(struct vnc *v);
	/* False: the server was started without passwords. */
	bool (*set_password)(struct vnc *v, const char *password);
	bool (*expire_password)(struct vnc *v, int64_t seconds); /* Unix time; INT64_MAX: never */
	bool (*has_password)(const struct vnc *v);
	const char *(*get_tls)(const struct vnc *v); /* x509, tls (without certificates), or NULL */
	bool (*reload_tls)(struct vnc *v, GError **error); /* for viewers to come; without success the old ones stay */
	void (*each_client)(struct vnc *v, void (*f)(void *opaque, const struct vnc_peer *peer), void *opaque);
	/* Where it listens: the port is a number even if 0 was asked for. */
	void (*get_address)(const struct vnc *v, struct vnc_peer *ret); /* of the port for viewers */
	bool (*get_websocket)(const struct vnc *v, struct vnc_peer *ret); /* of the one for browsers; false: there is none */
};

#define VNC_MODULE "kv-vnc"
#define VNC_SYMBOL "kv_vnc" /* a struct vnc_module */
