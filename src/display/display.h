/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Screens between those who paint them (a graphics device) and those who look at them (the VNC server, a screenshot). A display
 * has heads, each a surface of pixels. Devices take heads as they come: the first has those from 0 on.
 * All functions and callbacks: main thread. Nothing is copied here: a surface points to the painter's pixels.
 *
 * Time: a viewer that wants pictures calls display_refresh() when it is ready for one (a screenshot once, a VNC server by its
 * own clock while somebody looks); the painter's update() then looks at what the guest has changed, and says so. So a screen
 * at which nobody looks costs nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

enum { DISPLAY_HEADS = 16 };

struct display;

/* Who paints some heads: here they are counted from 0, its own first one; opaque as given to display_add_painter(). */
struct display_painter {
	/* What the guest changed since the last call: display_set_surface() if its shape did, display_damage(). */
	void (*update)(void *opaque, unsigned head);
	/* A viewer would like this size, pixels; 0, 0: the head is not wanted. NULL: the guest has no way to hear of it. */
	void (*wish)(void *opaque, unsigned head, uint32_t width, uint32_t height);
	/* display_stir() comes when there may be something to update() again. False, or NULL: nobody can tell; ask. */
	bool (*rest)(void *opaque, unsigned head);
};

/* 32 bits a pixel, 0x00RRGGBB in the machine's order (DRM's XRGB8888). */
struct display_surface {
	uint32_t width, height; /* pixels; 0: the head is off */
	uint32_t stride;	/* bytes from line to line */
	const void *pixels;
};

/* 32 bits a pixel, 0xAARRGGBB, not premultiplied, width * height of them. */
struct display_cursor {
	uint32_t width, height, hot_x, hot_y;
	const uint32_t *pixels; /* NULL: it is hidden */
};

/* Callbacks may be NULL. They come from inside of the painter's calls. */
struct display_viewer {
	void (*surface)(void *opaque, unsigned head, const struct display_surface *s); /* before the old pixels go */
	void (*damage)(void *opaque, unsigned head, uint32_t x, uint32_t y, uint32_t width, uint32_t height);
	void (*cursor)(void *opaque, unsigned head, const struct display_cursor *c); /* its shape */
	void (*cursor_moved)(void *opaque, unsigned head, int32_t x, int32_t y);
	void (*stir)(void *opaque, unsigned head); /* display_refresh() may find something; display_rest() or not */
};

struct display *display_new(void);
void display_free(struct display *d); /* painter and viewers have gone; NULL is fine */

/* ---- for the painter ---- */
/* name: of the device, as QMP calls it; kept by the caller. Its first head in *ret, for the functions below; false: no room. */
bool display_add_painter(struct display *d, const char *name, const struct display_painter *painter, void *opaque, unsigned heads,
			 unsigned *ret);
void display_remove_painter(struct display *d, void *opaque); /* one that is none is fine */
void display_set_surface(struct display *d, unsigned head, const struct display_surface *s);
void display_damage(struct display *d, unsigned head, uint32_t x, uint32_t y, uint32_t width, uint32_t height);
void display_set_cursor(struct display *d, unsigned head, const struct display_cursor *c); /* copied */
void display_stir(struct display *d, unsigned head); /* see rest() */
void display_move_cursor(struct display *d, unsigned head, int32_t x, int32_t y);

/* ---- for viewers ---- */
/* Told surfaces and cursors at once. */
void display_add_viewer(struct display *d, const struct display_viewer *viewer, void *opaque);
void display_remove_viewer(struct display *d, void *opaque);
void display_refresh(struct display *d, unsigned head);
/* Nothing changes any more: stir() comes when it does again. Refresh once more, for what changed meanwhile. False: ask on. */
bool display_rest(struct display *d, unsigned head);
/* A head of the device of this name, NULL: of the first one; false: there is none. */
bool display_find(const struct display *d, const char *name, unsigned head, unsigned *ret);
bool display_takes_wishes(const struct display *d, unsigned head);
bool display_wish(struct display *d, unsigned head, uint32_t width, uint32_t height); /* false when nobody can */
bool display_get_surface(const struct display *d, unsigned head, struct display_surface *ret); /* false: the head is off */
