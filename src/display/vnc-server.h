/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of kv-vnc.so for each other. libvncserver reads and writes sockets that block, so each viewer has a thread and a
 * rfbScreenInfo of its own with a copy of the picture; a slow or hostile one stops itself alone. The server (main thread) copies
 * what changed on the display to `shadow`, from where viewers take it; what viewers send comes to the main thread as messages.
 */
#pragma once

#include <rfb/rfb.h>
#include <rfb/rfbregion.h>

#include "display.h"
#include "input.h"
#include "tls.h"
#include "vnc.h"

enum {
	VNC_VIEWERS = 16,
	VNC_MESSAGES = 1024,	 /* on their way to the main thread; a viewer with more to say waits */
	VNC_SIZE_MAX = 16384,	 /* pixels, each way */
	VNC_PIXELS_MAX = 1 << 25,
	VNC_PASSWORD_MAX = 8,
	VNC_HANDSHAKE_MS = 30000,
	VNC_GO = 1, /* bytes that say so between vnc-tls.c and vnc-viewer.c */
};

enum vnc_message_kind {
	VNC_MESSAGE_KEY,
	VNC_MESSAGE_SYM,
	VNC_MESSAGE_POINTER,
	VNC_MESSAGE_WISH,
	VNC_MESSAGE_READY,
	VNC_MESSAGE_GONE
};
struct vnc_message {
	struct vnc_viewer *viewer;
	enum vnc_message_kind kind;
	bool down;     /* KEY, SYM */
	uint32_t code; /* KEY: Linux's; SYM: X's keysym */
	int buttons, x, y; /* POINTER; WISH: x, y is a size; READY: x: wants to be alone */
};

struct vnc_viewer {
	struct vnc *server;
	unsigned slot;	/* its screen in the pool */
	int fd;		/* of the connection, a duplicate to shut it down by */
	int inner;	/* with TLS: where plain RFB is; -1: fd */
	int wake;	/* eventfd: something below changed */
	bool websocket, ready;
	GThread *thread, *relay; /* relay: vnc-tls.c */
	int running;		 /* of these; atomic */
	char *dname;		 /* of its certificate; atomic, set once */
	char *host, *service;
	const char *family;

	/* server->lock */
	sraRegionPtr damage;
	bool resized, new_cursor, quit;

	/* main thread: what it holds down */
	GHashTable *keys; /* Linux codes */
	int buttons, last_x, last_y;
	bool has_last, initialized, alone;

	/* its own thread */
	rfbClientPtr client;
	uint32_t *frame;
	bool had_cursor; /* one of the guest's */
	unsigned unmoved, skip; /* changes in which nothing had moved; so many are not searched for moves */
	struct vnc_features {
		bool keys, leds, pointer;
		bool keys_told;
		int leds_told, pointer_told; /* -1: not yet */
	} features;
};

struct vnc {
	struct vnc_config config;
	int folder; /* of the Unix socket's file */
	char *name, *path, *host, *service, *web_service; /* path: of a Unix socket; host and services as they are told */
	const char *family;
	const struct kv_tls_module *tls_module;
	struct kv_tls_creds *tls_creds; /* NULL: no TLS; main thread */
	enum kv_tls_kind tls_kind;
	char *folder_of_creds; /* absolute */
	GPtrArray *listeners; /* struct vnc_listener */
	rfbScreenInfoPtr screen[VNC_VIEWERS];
	struct vnc_viewer *viewer[VNC_VIEWERS];
	unsigned n_viewers;
	GSource *refresh; /* NULL, with viewers: the display rests */
	unsigned period;
	struct vnc_keymap *keymap; /* of keysyms */

	GMutex lock; /* all below */
	GCond room;  /* fewer messages */
	uint32_t *shadow, width, height;
	struct display_cursor cursor; /* pixels owned */
	GQueue messages;
	GSource *drain; /* on its way, or NULL */
	bool stopping, has_password, can_wish; /* has_password: never changes */
	char password[VNC_PASSWORD_MAX + 1];
	int64_t expires;
	unsigned leds;
	bool absolute;
};

/* vnc-viewer.c: the thread; the connection is its. */
gpointer vnc_viewer_run(gpointer viewer);
void vnc_viewer_wake(struct vnc_viewer *v);
void vnc_viewer_over(struct vnc_viewer *v); /* a thread of it says last; the last one of them tells the server */

/* vnc-security.c, its thread: takes what the viewer says while it has no security type yet; false: it has. */
bool vnc_security_message(struct vnc_viewer *v);

/* vnc-tls.c, main thread: starts the thread that speaks TLS; waits for its end, when the connection is shut down. */
bool vnc_tls_start(struct vnc_viewer *v);
void vnc_tls_free(struct vnc_viewer *v);

/* vnc-server.c: from a viewer's thread; false: the server stops. */
bool vnc_post(const struct vnc_message *m);

/* vnc-screen.c, main thread: the shadow, and how often the display is looked at */
void vnc_screen_open(struct vnc *s);
void vnc_screen_close(struct vnc *s);
void vnc_screen_soon(struct vnc *s); /* something may change now */

/* vnc-input.c, main thread */
void vnc_input_message(struct vnc *s, const struct vnc_message *m);
void vnc_input_release(struct vnc *s, struct vnc_viewer *v); /* all that it holds */
void vnc_input_open(struct vnc *s);
void vnc_input_free(struct vnc *s);
uint32_t vnc_key_of_xt(uint32_t code); /* of QEMU's extended key event; 0: none */

/* vnc-extension.c: QEMU's pseudo-encodings; a viewer's thread */
void vnc_extension_register(void);
bool vnc_extension_send(struct vnc_viewer *v, unsigned leds, bool absolute); /* what is due; false: the connection is broken */
