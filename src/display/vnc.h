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
	bool websocket;
};

struct vnc_config {
	struct display *display; /* head 0 is shown */
	struct input *input;
	GMainContext *context;
	const char *name;      /* of the desktop */
	const char *listen;    /* unix:PATH or ADDRESS:PORT, a numeric one; [::1]:PORT */
	uint16_t websocket;    /* a port of the same address for WebSocket; 0: none */
	const char *password;  /* 8 bytes count; NULL: everybody may; "": nobody before vnc_module.set_password() */
	enum vnc_share share;
	void (*thread)(void); /* a viewer's calls it first; may be NULL */
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
	void (*each_client)(struct vnc *v, void (*f)(void *opaque, const struct vnc_peer *peer), void *opaque);
	/* Where it listens: the port is a number even if 0 was asked for. */
	void (*get_address)(const struct vnc *v, struct vnc_peer *ret);
};

#define VNC_MODULE "kv-vnc"
#define VNC_SYMBOL "kv_vnc" /* a struct vnc_module */
