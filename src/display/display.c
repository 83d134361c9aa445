/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See display.h. */
#include "display.h"

#include <string.h>

struct watcher {
	const struct display_viewer *viewer; /* NULL: has gone, while the list was walked */
	void *opaque;
};

struct head {
	struct display_surface surface;
	struct display_cursor cursor;
	uint32_t *cursor_pixels;
	int32_t cursor_x, cursor_y;
};

struct display {
	const struct display_painter *painter;
	void *opaque;
	GArray *watchers; /* struct watcher */
	unsigned walking;
	struct head head[DISPLAY_HEADS];
};

struct display *display_new(void)
{
	struct display *d = g_new0(struct display, 1);

	d->watchers = g_array_new(FALSE, FALSE, sizeof(struct watcher));
	return d;
}

void display_free(struct display *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < DISPLAY_HEADS; i++)
		g_free(d->head[i].cursor_pixels);
	g_array_unref(d->watchers);
	g_free(d);
}

void display_set_painter(struct display *d, const struct display_painter *painter, void *opaque)
{
	d->painter = painter;
	d->opaque = opaque;
	for (unsigned i = 0; !painter && i < DISPLAY_HEADS; i++) {
		display_set_surface(d, i, &(struct display_surface){0});
		display_set_cursor(d, i, &(struct display_cursor){0});
	}
}

/* A viewer may go, and others come, from inside of its callback. */
static void walk_begin(struct display *d)
{
	d->walking++;
}

static void walk_end(struct display *d)
{
	if (--d->walking)
		return;
	for (unsigned i = d->watchers->len; i-- > 0;)
		if (!g_array_index(d->watchers, struct watcher, i).viewer)
			g_array_remove_index(d->watchers, i);
}

#define TELL(d, callback, ...)                                                             \
	do {                                                                               \
		walk_begin(d);                                                             \
		for (unsigned i_ = 0; i_ < (d)->watchers->len; i_++) {                     \
			struct watcher w_ = g_array_index((d)->watchers, struct watcher, i_); \
			if (w_.viewer && w_.viewer->callback)                              \
				w_.viewer->callback(w_.opaque, __VA_ARGS__);               \
		}                                                                          \
		walk_end(d);                                                               \
	} while (0)

void display_set_surface(struct display *d, unsigned head, const struct display_surface *s)
{
	if (!memcmp(&d->head[head].surface, s, sizeof(*s)))
		return;
	d->head[head].surface = *s;
	TELL(d, surface, head, s);
}

void display_damage(struct display *d, unsigned head, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
	const struct display_surface *s = &d->head[head].surface;

	if (x >= s->width || y >= s->height || !width || !height)
		return;
	TELL(d, damage, head, x, y, MIN(width, s->width - x), MIN(height, s->height - y));
}

void display_set_cursor(struct display *d, unsigned head, const struct display_cursor *c)
{
	struct head *h = &d->head[head];

	if (!c->pixels && !h->cursor_pixels)
		return;
	g_free(h->cursor_pixels);
	h->cursor = *c;
	h->cursor_pixels = c->pixels ? g_memdup2(c->pixels, (gsize)c->width * c->height * 4) : NULL;
	h->cursor.pixels = h->cursor_pixels;
	TELL(d, cursor, head, &h->cursor);
}

void display_move_cursor(struct display *d, unsigned head, int32_t x, int32_t y)
{
	d->head[head].cursor_x = x;
	d->head[head].cursor_y = y;
	TELL(d, cursor_moved, head, x, y);
}

void display_add_viewer(struct display *d, const struct display_viewer *viewer, void *opaque)
{
	struct watcher w = {viewer, opaque};

	g_array_append_val(d->watchers, w);
	for (unsigned i = 0; i < DISPLAY_HEADS; i++) {
		if (viewer->surface)
			viewer->surface(opaque, i, &d->head[i].surface);
		if (viewer->cursor && d->head[i].cursor.pixels)
			viewer->cursor(opaque, i, &d->head[i].cursor);
	}
}

void display_remove_viewer(struct display *d, void *opaque)
{
	walk_begin(d);
	for (unsigned i = 0; i < d->watchers->len; i++) {
		struct watcher *w = &g_array_index(d->watchers, struct watcher, i);

		if (w->opaque == opaque)
			w->viewer = NULL;
	}
	walk_end(d);
}

void display_refresh(struct display *d, unsigned head)
{
	if (d->painter)
		d->painter->update(d->opaque, head);
}

bool display_takes_wishes(const struct display *d)
{
	return d->painter && d->painter->wish;
}

bool display_wish(struct display *d, unsigned head, uint32_t width, uint32_t height)
{
	if (!d->painter || !d->painter->wish)
		return false;
	d->painter->wish(d->opaque, head, width, height);
	return true;
}

bool display_get_surface(const struct display *d, unsigned head, struct display_surface *ret)
{
	*ret = d->head[head].surface;
	return ret->width;
}
