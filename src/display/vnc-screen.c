/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VNC server as a viewer of the display, in the main thread: it copies what changed to the shadow and marks it for its
 * viewers. It looks at the display 60 times a second while things change, more and more seldom while they do not, and then not at
 * all until the display stirs, if it can tell; never without viewers. A painter tells what was written, often in whole lines:
 * what differs from the shadow is what has changed.
 */
#include <string.h>

#include "vnc-server.h"

enum { PERIOD_FIRST_MS = 16, PERIOD_STEP_MS = 50, PERIOD_REST_MS = 200, PERIOD_LAST_MS = 1000 };
enum { EMPTY_WIDTH = 640, EMPTY_HEIGHT = 480 };
enum { TILE_WIDTH = 32, TILE_HEIGHT = 16, RECTS_MAX = 256 };

static void copy_rect(struct vnc *s, const struct display_surface *from, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
	for (uint32_t i = y; i < y + height; i++)
		memcpy(s->shadow + (size_t)i * s->width + x, (const uint8_t *)from->pixels + (size_t)i * from->stride + x * 4,
		       (size_t)width * 4);
}

static void each_viewer(struct vnc *s, void (*f)(struct vnc_viewer *v, void *opaque), void *opaque)
{
	for (unsigned i = 0; i < VNC_VIEWERS; i++)
		if (s->viewer[i]) {
			f(s->viewer[i], opaque);
			vnc_viewer_wake(s->viewer[i]);
		}
}

static void mark_resized(struct vnc_viewer *v, void *opaque)
{
	v->resized = true;
	sraRgnMakeEmpty(v->damage);
}

/* A head that is off, or larger than viewers could have it, is black. */
static void on_surface(void *opaque, unsigned head, const struct display_surface *surface)
{
	struct vnc *s = opaque;
	bool shown = surface->width && surface->width <= VNC_SIZE_MAX && surface->height <= VNC_SIZE_MAX &&
		     (uint64_t)surface->width * surface->height <= VNC_PIXELS_MAX;

	if (head != s->config.head)
		return;
	g_mutex_lock(&s->lock);
	g_free(s->shadow);
	s->width = shown ? surface->width : EMPTY_WIDTH;
	s->height = shown ? surface->height : EMPTY_HEIGHT;
	s->shadow = g_new0(uint32_t, (size_t)s->width * s->height);
	if (shown)
		copy_rect(s, surface, 0, 0, s->width, s->height);
	each_viewer(s, mark_resized, NULL);
	g_mutex_unlock(&s->lock);
	vnc_screen_soon(s);
}

static void mark_damage(struct vnc_viewer *v, void *opaque)
{
	sraRgnOr(v->damage, opaque);
	/* Many small pieces cost more than a few pixels too many. */
	if (sraRgnCountRects(v->damage) > RECTS_MAX) {
		sraRegionPtr box = sraRgnBBox(v->damage);

		sraRgnDestroy(v->damage);
		v->damage = box;
	}
}

static void add_rect(sraRegionPtr region, uint32_t x, uint32_t y, uint32_t end, uint32_t bottom)
{
	sraRegionPtr r = sraRgnCreateRect((int)x, (int)y, (int)end, (int)bottom);

	sraRgnOr(region, r);
	sraRgnDestroy(r);
}

/* Some lines, of which the shadow gets the tiles that are not the same. */
static void take_band(struct vnc *s, const struct display_surface *from, uint32_t x, uint32_t y, uint32_t width, uint32_t height,
		      sraRegionPtr changed)
{
	struct {
		uint8_t first, end; /* lines; end 0: the tile is the same */
	} tiles[VNC_SIZE_MAX / TILE_WIDTH + 1] = {0};
	uint32_t n = (width + TILE_WIDTH - 1) / TILE_WIDTH;

	for (uint32_t line = y; line < y + height; line++) {
		const void *pixels = (const uint8_t *)from->pixels + (size_t)line * from->stride;
		const uint32_t *new = (const uint32_t *)pixels + x;
		uint32_t *old = s->shadow + (size_t)line * s->width + x;

		if (!memcmp(old, new, (size_t)width * 4))
			continue;
		for (uint32_t i = 0; i < n; i++) {
			uint32_t at = i * TILE_WIDTH;
			size_t len = MIN(TILE_WIDTH, width - at) * 4u;

			if (!memcmp(old + at, new + at, len))
				continue;
			memcpy(old + at, new + at, len);
			if (!tiles[i].end)
				tiles[i].first = (uint8_t)(line - y);
			tiles[i].end = (uint8_t)(line - y + 1);
		}
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t first = i, top = TILE_HEIGHT, end = 0;

		for (; i < n && tiles[i].end; i++) {
			top = MIN(top, tiles[i].first);
			end = MAX(end, tiles[i].end);
		}
		if (end)
			add_rect(changed, x + first * TILE_WIDTH, y + top, x + MIN(i * TILE_WIDTH, width), y + end);
	}
}

static void on_damage(void *opaque, unsigned head, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
	struct vnc *s = opaque;
	struct display_surface surface;
	sraRegionPtr region;
	bool changed;

	if (head != s->config.head || !display_get_surface(s->config.display, head, &surface) ||
	    surface.width != s->width || surface.height != s->height)
		return;
	region = sraRgnCreate();
	g_mutex_lock(&s->lock);
	for (uint32_t top = y; top < y + height; top += TILE_HEIGHT)
		take_band(s, &surface, x, top, width, MIN(TILE_HEIGHT, y + height - top), region);
	changed = !sraRgnEmpty(region);
	if (changed)
		each_viewer(s, mark_damage, region);
	g_mutex_unlock(&s->lock);
	sraRgnDestroy(region);
	if (changed)
		vnc_screen_soon(s);
}

static void mark_cursor(struct vnc_viewer *v, void *opaque)
{
	v->new_cursor = true;
}

static void on_cursor(void *opaque, unsigned head, const struct display_cursor *c)
{
	struct vnc *s = opaque;
	bool shown = c->pixels && c->width <= UINT8_MAX + 1 && c->height <= UINT8_MAX + 1;

	if (head != s->config.head)
		return;
	g_mutex_lock(&s->lock);
	g_free((void *)s->cursor.pixels);
	s->cursor = *c;
	s->cursor.pixels = shown ? g_memdup2(c->pixels, (gsize)c->width * c->height * 4) : NULL;
	each_viewer(s, mark_cursor, NULL);
	g_mutex_unlock(&s->lock);
}

static void on_stir(void *opaque, unsigned head)
{
	struct vnc *s = opaque;

	if (head == s->config.head)
		vnc_screen_soon(s);
}

static const struct display_viewer viewer = {.surface = on_surface, .damage = on_damage, .cursor = on_cursor, .stir = on_stir};

static void schedule(struct vnc *s);

/* When more looks would cost more than a wake-up does. */
static bool may_rest(struct vnc *s)
{
	if (s->period < PERIOD_REST_MS || !display_rest(s->config.display, s->config.head))
		return false;
	display_refresh(s->config.display, s->config.head);
	return s->period >= PERIOD_REST_MS;
}

static gboolean look(gpointer opaque)
{
	struct vnc *s = opaque;

	g_clear_pointer(&s->refresh, g_source_unref);
	s->period = MIN(s->period + PERIOD_STEP_MS, PERIOD_LAST_MS);
	display_refresh(s->config.display, s->config.head); /* damage makes the period short again */
	if (!s->refresh && !may_rest(s) && !s->refresh)
		schedule(s);
	return G_SOURCE_REMOVE;
}

static void unschedule(struct vnc *s)
{
	if (s->refresh)
		g_source_destroy(s->refresh);
	g_clear_pointer(&s->refresh, g_source_unref);
}

static void schedule(struct vnc *s)
{
	unschedule(s);
	s->refresh = g_timeout_source_new(s->period);
	g_source_set_callback(s->refresh, look, s, NULL);
	g_source_attach(s->refresh, s->config.context);
}

void vnc_screen_soon(struct vnc *s)
{
	if (!s->n_viewers || (s->refresh && s->period == PERIOD_FIRST_MS))
		return;
	s->period = PERIOD_FIRST_MS;
	schedule(s);
}

/* With the first viewer. */
void vnc_screen_open(struct vnc *s)
{
	display_add_viewer(s->config.display, &viewer, s);
	display_refresh(s->config.display, s->config.head);
	s->period = PERIOD_FIRST_MS;
	schedule(s);
}

void vnc_screen_close(struct vnc *s)
{
	unschedule(s);
	display_remove_viewer(s->config.display, s);
}
