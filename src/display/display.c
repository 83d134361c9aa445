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

struct artist {
	const char *name;
	const struct display_painter *painter;
	void *opaque;
	unsigned first, heads;
};

struct display {
	GArray *artists;  /* struct artist, in the order of their coming */
	GArray *watchers; /* struct watcher */
	unsigned walking;
	struct head head[DISPLAY_HEADS];
};

struct display *display_new(void)
{
	struct display *d = g_new0(struct display, 1);

	d->artists = g_array_new(FALSE, FALSE, sizeof(struct artist));
	d->watchers = g_array_new(FALSE, FALSE, sizeof(struct watcher));
	return d;
}

void display_free(struct display *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < DISPLAY_HEADS; i++)
		g_free(d->head[i].cursor_pixels);
	g_array_unref(d->artists);
	g_array_unref(d->watchers);
	g_free(d);
}

/* Who has the head; NULL: nobody. */
static struct artist *artist_of(const struct display *d, unsigned head)
{
	for (unsigned i = 0; i < d->artists->len; i++) {
		struct artist *a = &g_array_index(d->artists, struct artist, i);

		if (head >= a->first && head - a->first < a->heads)
			return a;
	}
	return NULL;
}

static bool are_free(const struct display *d, unsigned first, unsigned heads)
{
	for (unsigned i = 0; i < heads; i++)
		if (artist_of(d, first + i))
			return false;
	return true;
}

bool display_add_painter(struct display *d, const char *name, const struct display_painter *painter, void *opaque, unsigned heads,
			 unsigned *ret)
{
	struct artist a = {name, painter, opaque, 0, heads};

	while (a.first + heads <= DISPLAY_HEADS && !are_free(d, a.first, heads))
		a.first++;
	if (a.first + heads > DISPLAY_HEADS)
		return false;
	g_array_append_val(d->artists, a);
	*ret = a.first;
	for (unsigned i = 0; i < heads; i++)
		display_stir(d, a.first + i);
	return true;
}

void display_remove_painter(struct display *d, void *opaque)
{
	for (unsigned i = 0; i < d->artists->len; i++) {
		struct artist a = g_array_index(d->artists, struct artist, i);

		if (a.opaque != opaque)
			continue;
		g_array_remove_index(d->artists, i);
		for (unsigned k = a.first; k < a.first + a.heads; k++) {
			display_set_surface(d, k, &(struct display_surface){0});
			display_set_cursor(d, k, &(struct display_cursor){0});
		}
		return;
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

static bool are_same(const struct display_surface *a, const struct display_surface *b)
{
	return a->width == b->width && a->height == b->height && a->stride == b->stride && a->pixels == b->pixels;
}

void display_set_surface(struct display *d, unsigned head, const struct display_surface *s)
{
	if (are_same(&d->head[head].surface, s))
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

void display_stir(struct display *d, unsigned head)
{
	TELL(d, stir, head);
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
		if (viewer->cursor)
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
	const struct artist *a = artist_of(d, head);

	if (a)
		a->painter->update(a->opaque, head - a->first);
}

bool display_rest(struct display *d, unsigned head)
{
	const struct artist *a = artist_of(d, head);

	/* A head of nobody changes when somebody takes it: it gets a surface. */
	return !a || (a->painter->rest && a->painter->rest(a->opaque, head - a->first));
}

bool display_find(const struct display *d, const char *name, unsigned head, unsigned *ret)
{
	for (unsigned i = 0; i < d->artists->len; i++) {
		const struct artist *a = &g_array_index(d->artists, struct artist, i);

		if (name && strcmp(name, a->name))
			continue;
		if (head < a->heads)
			*ret = a->first + head;
		return head < a->heads;
	}
	return false;
}

bool display_takes_wishes(const struct display *d, unsigned head)
{
	const struct artist *a = artist_of(d, head);

	return a && a->painter->wish;
}

bool display_wish(struct display *d, unsigned head, uint32_t width, uint32_t height)
{
	const struct artist *a = artist_of(d, head);

	if (!a || !a->painter->wish)
		return false;
	a->painter->wish(a->opaque, head - a->first, width, height);
	return true;
}

bool display_get_surface(const struct display *d, unsigned head, struct display_surface *ret)
{
	*ret = d->head[head].surface;
	return ret->width;
}
