/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VNC viewer is told of a change: whatever the two pictures are, copies and pieces make the new one of the old one; what
 * moved is found; and not more is painted than differs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>

#include "vnc-change.h"

enum { WIDTH = 320, HEIGHT = 240, PIXELS = WIDTH * HEIGHT, SLACK = 256 };

struct pair {
	uint32_t old[PIXELS], new[PIXELS], shown[PIXELS];
	struct vnc_change change;
	sraRegionPtr copies, pieces;
	int dx, dy;
	bool moved;
};

static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static int below(uint32_t *seed, int n)
{
	return (int)(next(seed) % (uint32_t)n);
}

static void fill(uint32_t *p, int x0, int y0, int width, int height, uint32_t color)
{
	for (int y = y0; y < MIN(y0 + height, HEIGHT); y++)
		for (int x = x0; x < MIN(x0 + width, WIDTH); x++)
			p[y * WIDTH + x] = color;
}

/* Signs of dots in a rectangle. */
static void write_text(uint32_t *p, int x0, int y0, int width, int height, uint32_t *seed)
{
	for (int y = y0; y < y0 + height; y++)
		for (int x = x0; x < x0 + width; x++)
			p[y * WIDTH + x] = next(seed) & 0x30 ? 0x101010 : 0xe0e0e0;
}

static void paint_window(uint32_t *p, int x, int y)
{
	fill(p, x, y, 120, 80, 0xf0f0f0);
	fill(p, x, y, 120, 12, 0x3060c0);
	for (int i = 0; i < 6; i++)
		fill(p, x + 8 + i * 17, y + 20 + i * 7 % 11, 9, 5 + i, 0x404040);
}

static void paint_desk(uint32_t *p)
{
	for (int y = 0; y < HEIGHT; y++)
		for (int x = 0; x < WIDTH; x++)
			p[y * WIDTH + x] = 0x203040 + (uint32_t)(y / 32) * 0x020204 + (x / 64 & 1 ? 0x101010 : 0);
}

static void show(struct pair *p, sraRegionPtr region, const uint32_t *from, int dx, int dy)
{
	sraRectangleIterator *it = sraRgnGetIterator(region);
	sraRect r;

	while (sraRgnIteratorNext(it, &r)) {
		assert_true(r.x1 >= 0 && r.y1 >= 0 && r.x2 <= WIDTH && r.y2 <= HEIGHT);
		assert_true(r.x1 - dx >= 0 && r.y1 - dy >= 0 && r.x2 - dx <= WIDTH && r.y2 - dy <= HEIGHT);
		for (int y = r.y1; y < r.y2; y++)
			for (int x = r.x1; x < r.x2; x++)
				p->shown[y * WIDTH + x] = from[(y - dy) * WIDTH + x - dx];
	}
	sraRgnReleaseIterator(it);
}

/* As a viewer is told it, in a region that may have more than what differs. */
static void tell(struct pair *p)
{
	sraRegionPtr damage = sraRgnCreateRect(0, 0, WIDTH, HEIGHT);

	p->change = (struct vnc_change){p->old, p->new, WIDTH, WIDTH, WIDTH, HEIGHT};
	p->copies = sraRgnCreate();
	p->dx = p->dy = 0;
	p->moved = vnc_find_move(&p->change, &p->dx, &p->dy, p->copies);
	assert_int_equal(p->moved, !sraRgnEmpty(p->copies));
	sraRgnSubtract(damage, p->copies);
	p->pieces = vnc_find_pieces(&p->change, damage, SLACK);
	memcpy(p->shown, p->old, sizeof(p->old));
	show(p, p->copies, p->old, p->dx, p->dy);
	show(p, p->pieces, p->new, 0, 0);
	assert_memory_equal(p->shown, p->new, sizeof(p->new));
	sraRgnDestroy(damage);
}

static void forget(struct pair *p)
{
	sraRgnDestroy(p->copies);
	sraRgnDestroy(p->pieces);
}

static int area(sraRegionPtr region)
{
	sraRectangleIterator *it = sraRgnGetIterator(region);
	int sum = 0;
	sraRect r;

	while (sraRgnIteratorNext(it, &r))
		sum += (r.x2 - r.x1) * (r.y2 - r.y1);
	sraRgnReleaseIterator(it);
	return sum;
}

static struct pair *pair_new(void)
{
	struct pair *p = g_new0(struct pair, 1);

	paint_desk(p->old);
	paint_desk(p->new);
	return p;
}

static void windows_move(void **state)
{
	static const int ways[][2] = {{5, 3}, {-5, -3}, {9, 0}, {0, -11}, {90, 60}, {-60, 100}};
	g_autofree struct pair *p = pair_new();

	for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
		int dx = ways[i][0], dy = ways[i][1];

		paint_desk(p->old);
		paint_desk(p->new);
		paint_window(p->old, 80, 40);
		paint_window(p->new, 80 + dx, 40 + dy);
		tell(p);
		assert_int_equal(p->dx, dx);
		assert_int_equal(p->dy, dy);
		/* All of the window but what is the same in both places. */
		assert_in_range(area(p->copies) + area(p->pieces), 1, 2 * 120 * 80);
		assert_in_range(area(p->pieces), 0, 120 * 80);
		assert_in_range(sraRgnCountRects(p->copies) + sraRgnCountRects(p->pieces), 1, 12);
		forget(p);
	}
}

static void text_scrolls(void **state)
{
	g_autofree struct pair *p = pair_new();
	uint32_t seed = 3;

	write_text(p->old, 16, 16, 240, 192, &seed);
	memcpy(p->new, p->old, sizeof(p->old));
	memmove(p->new + 16 * WIDTH, p->old + 28 * WIDTH, (192 - 12) * WIDTH * sizeof(*p->new));
	write_text(p->new, 16, 16 + 192 - 12, 240, 12, &seed);
	/* Something in the middle of it stands still. */
	fill(p->new, 100, 100, 30, 9, 0xff0000);
	fill(p->old, 100, 100, 30, 9, 0xff0000);
	tell(p);
	assert_int_equal(p->dx, 0);
	assert_int_equal(p->dy, -12);
	assert_in_range(area(p->copies), 240 * (192 - 12) * 3 / 4, WIDTH * 192); /* of whole lines */
	forget(p);
}

static void what_does_not_move_is_not_copied(void **state)
{
	g_autofree struct pair *p = pair_new();
	uint32_t seed = 9;

	for (int i = 0; i < PIXELS; i++) {
		p->old[i] = next(&seed);
		p->new[i] = next(&seed);
	}
	tell(p);
	assert_false(p->moved);
	forget(p);
	memcpy(p->new, p->old, sizeof(p->old));
	tell(p);
	assert_true(!p->moved && sraRgnEmpty(p->pieces));
	forget(p);
	/* Too little of it. */
	paint_desk(p->old);
	paint_desk(p->new);
	write_text(p->old, 10, 10, 31, 31, &seed);
	for (int y = 10; y < 41; y++)
		memcpy(p->new + (y + 50) * WIDTH + 100, p->old + y * WIDTH + 10, 31 * sizeof(*p->new));
	tell(p);
	assert_false(p->moved);
	forget(p);
}

static void pieces_are_what_differs(void **state)
{
	g_autofree struct pair *p = pair_new();

	p->new[7 * WIDTH + 9] ^= 1;
	tell(p);
	assert_int_equal(area(p->pieces), 1);
	forget(p);
	/* Near to each other: one; far: two. */
	p->new[8 * WIDTH + 12] ^= 1;
	tell(p);
	assert_int_equal(sraRgnCountRects(p->pieces), 1);
	assert_int_equal(area(p->pieces), 8);
	forget(p);
	p->new[200 * WIDTH + 300] ^= 1;
	for (int band = 0; band < 2; band++) {
		sraRegionPtr all = sraRgnCreateRect(0, 0, WIDTH, HEIGHT), half = sraRgnCreateRect(0, 0, WIDTH, HEIGHT / 2);
		sraRegionPtr right = sraRgnCreateRect(WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT), pieces;

		sraRgnOr(half, right);
		pieces = vnc_find_pieces(&p->change, band ? half : all, SLACK);
		assert_int_equal(sraRgnCountRects(pieces), band ? 2 : 1);
		if (band)
			assert_int_equal(area(pieces), 9);
		sraRgnDestroy(all);
		sraRgnDestroy(half);
		sraRgnDestroy(right);
		sraRgnDestroy(pieces);
	}
}

/* A picture in which everything is the same corner; one of a pattern that fits everywhere. */
static void patterns_end(void **state)
{
	g_autofree struct pair *p = pair_new();

	for (int i = 0; i < PIXELS; i++) {
		p->old[i] = (uint32_t)((i % WIDTH + i / WIDTH) & 1) * 0xffffff;
		p->new[i] = ~p->old[i] & 0xffffff;
	}
	tell(p);
	forget(p);
	for (int i = 0; i < PIXELS; i++) {
		p->old[i] = (uint32_t)(i % WIDTH % 8 * 8 + i / WIDTH % 8) * 0x030507;
		p->new[i] = (uint32_t)((i % WIDTH + 3) % 8 * 8 + (i / WIDTH + 1) % 8) * 0x030507;
	}
	tell(p);
	forget(p);
}

static void move_some(struct pair *p, uint32_t *seed)
{
	int width = 20 + below(seed, 200), height = 10 + below(seed, 150);
	int from_x = below(seed, WIDTH - width), from_y = below(seed, HEIGHT - height);
	int x = below(seed, WIDTH - width), y = below(seed, HEIGHT - height);

	for (int i = 0; i < height; i++)
		memmove(p->new + (y + i) * WIDTH + x, p->old + (from_y + i) * WIDTH + from_x, (size_t)width * sizeof(*p->new));
}

static void any_pictures_come_out_right(void **state)
{
	g_autofree struct pair *p = pair_new();
	uint32_t seed = 1;
	unsigned moved = 0;

	for (unsigned round = 0; round < 300; round++) {
		memcpy(p->old, p->new, sizeof(p->old));
		for (int i = below(&seed, 3); i; i--)
			move_some(p, &seed);
		if (below(&seed, 3) == 0)
			write_text(p->new, below(&seed, 200), below(&seed, 200), 1 + below(&seed, 100), 1 + below(&seed, 40),
				   &seed);
		if (below(&seed, 4) == 0)
			fill(p->new, below(&seed, WIDTH), below(&seed, HEIGHT), 1 + below(&seed, 90), 1 + below(&seed, 90),
			     next(&seed));
		tell(p);
		moved += p->moved;
		forget(p);
	}
	assert_in_range(moved, 50, 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_move),
		cmocka_unit_test(text_scrolls),
		cmocka_unit_test(what_does_not_move_is_not_copied),
		cmocka_unit_test(pieces_are_what_differs),
		cmocka_unit_test(patterns_end),
		cmocka_unit_test(any_pictures_come_out_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
