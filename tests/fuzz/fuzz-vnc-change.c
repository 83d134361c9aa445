/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: two pictures that a guest has painted, through what finds out what a viewer is told (vnc-change.h). Copies and
 * pieces stay within the pictures, and make the new one of the old one.
 *
 * Input: width, height (a byte each, less 1), then paintings of 7 bytes: what (1: in the old picture, else in the new one; 2:
 * noise, 4: a move), x, y, width, height, and two of color, seed or way.
 */
#include <string.h>

#include <glib.h>

#include "fuzz-input.h"
#include "vnc-change.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OLD = 1, NOISE = 2, MOVE = 4, SLACK = 64 };

static int byte(struct fuzz_input *in)
{
	return (int)fuzz_take(in, 1);
}

static void paint(uint32_t *picture, int width, int height, struct fuzz_input *in)
{
	int what = byte(in), x0 = byte(in) % width, y0 = byte(in) % height;
	int across = byte(in), down = byte(in), x1 = MIN(x0 + across, width), y1 = MIN(y0 + down, height);
	int way_x = (int8_t)byte(in), way_y = (int8_t)byte(in);
	g_autofree uint32_t *was = g_memdup2(picture, (size_t)width * (size_t)height * sizeof(*was));
	uint32_t seed = (uint32_t)way_x;

	for (int y = y0; y < y1; y++)
		for (int x = x0; x < x1; x++) {
			int from_x = x - way_x, from_y = y - way_y;

			seed = seed * 1664525 + 1013904223;
			if (!(what & MOVE))
				picture[y * width + x] = what & NOISE ? seed >> (way_y & 31) : (uint32_t)way_x;
			else if (from_x >= 0 && from_x < width && from_y >= 0 && from_y < height)
				picture[y * width + x] = was[from_y * width + from_x];
		}
}

static void show(uint32_t *to, const struct vnc_change *c, sraRegionPtr region, const uint32_t *from, int dx, int dy)
{
	sraRectangleIterator *it = sraRgnGetIterator(region);
	sraRect r;

	while (sraRgnIteratorNext(it, &r)) {
		check(r.x1 >= MAX(dx, 0) && r.y1 >= MAX(dy, 0));
		check(r.x2 <= c->width + MIN(dx, 0) && r.y2 <= c->height + MIN(dy, 0));
		for (int y = r.y1; y < r.y2; y++)
			memcpy(to + y * c->width + r.x1, from + (y - dy) * c->width + r.x1 - dx,
			       (size_t)(r.x2 - r.x1) * sizeof(*to));
	}
	sraRgnReleaseIterator(it);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	int width = byte(&in) + 1, height = byte(&in) + 1, dx = 0, dy = 0;
	size_t pixels = (size_t)width * (size_t)height;
	g_autofree uint32_t *old = g_new0(uint32_t, pixels), *new = g_new0(uint32_t, pixels), *shown = NULL;
	struct vnc_change c = {old, new, (size_t)width, (size_t)width, width, height};
	sraRegionPtr copies = sraRgnCreate(), damage = sraRgnCreateRect(0, 0, width, height), pieces;

	for (unsigned i = 0; i < 32 && in.left; i++)
		paint(*in.data & OLD ? old : new, width, height, &in);
	shown = g_memdup2(old, pixels * sizeof(*old));
	check(vnc_find_move(&c, &dx, &dy, copies) == !sraRgnEmpty(copies));
	sraRgnSubtract(damage, copies);
	pieces = vnc_find_pieces(&c, damage, SLACK);
	show(shown, &c, copies, old, dx, dy);
	show(shown, &c, pieces, new, 0, 0);
	check(!memcmp(shown, new, pixels * sizeof(*new)));
	sraRgnDestroy(copies);
	sraRgnDestroy(damage);
	sraRgnDestroy(pieces);
	return 0;
}
