/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VNC server of the module over a screen, a keyboard and a pointer that are the test's, and its viewers: of libvncclient, each
 * in a thread of its own, or of bytes. The main loop runs in run_until() alone. Used by test-vnc.c and test-vnc-moves.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>
#include <rfb/rfbclient.h>

#include "display.h"
#include "input.h"
#include "vnc.h"

enum { WIDTH = 320, HEIGHT = 200, LIMIT_MS = 60000, EVENTS = 64 };

/* A screen, a keyboard with a pointer, and the server. */
struct world {
	char *dir, *path;
	const struct vnc_module *module;
	struct vnc *vnc;
	struct display *display;
	struct input *input;
	uint32_t pixels[WIDTH * HEIGHT], wish_width, wish_height;
	unsigned changed; /* line that the next update tells */
	void (*repaint)(struct world *w); /* in each update, instead; NULL: none */
	bool can_rest; /* the painter tells when something changes */
	unsigned updates;
	struct input_device device;
	struct input_event events[EVENTS];
	unsigned n_events, told[3], others;
};

/* A viewer of libvncclient. */
struct guest {
	struct world *w;
	GThread *thread;
	const char *encodings, *password;
	void (*act)(rfbClient *c); /* after the first picture */
	bool refused, acted;
	int left, right, top, bottom; /* of what came since the first picture */
	unsigned copied;	      /* pixels, by CopyRect */
	GotCopyRectProc copy;	      /* libvncclient's */
	unsigned over;		      /* atomic: the thread is at its end */
};

void paint(struct world *w, uint32_t seed);
void world_open_tls(struct world *w, const char *password, const char *tls);
void world_open(struct world *w, const char *password);
void world_close(struct world *w);

/* Runs the main loop until done() or a long time is over. */
void run_until(bool (*done)(void *opaque), void *opaque);
bool all_gone(void *world);

bool has_picture(rfbClient *c, const struct world *w);
void guest_start(struct guest *g);
void guest_end(struct guest *g);
void visit(struct guest *g); /* both; only w->others are there then */

/* A viewer of bytes. */
int dial(const struct world *w);
void say(int fd, const void *data, size_t n);
void take(int fd, void *to, size_t n);
int shake_hands(struct world *w, uint8_t shared); /* without password, to the end of ServerInit */
void set_encodings(int fd, const int32_t *e, uint16_t n);
