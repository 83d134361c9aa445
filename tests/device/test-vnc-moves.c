/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What moves on the screen is sent as a move (CopyRect) to viewers that know it, and only of what each of them has: one that is
 * behind, one that asks for parts of the screen, one that knows no CopyRect. In the end all have the picture.
 */
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bytes.h"
#include "vnc-rig.h"

enum { STEPS = 24, TEXT = 0, TEXT_WIDTH = 200, TEXT_HEIGHT = 96, LINE = 12, WINDOW_WIDTH = 100, WINDOW_HEIGHT = 60 };
enum { COPY_RECT = 1, RAW = 0, UPDATE_BYTES = WIDTH * HEIGHT * 4 };

static unsigned steps_wanted, steps_done; /* atomic; of the main thread */

static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static void fill(struct world *w, unsigned x0, unsigned y0, unsigned width, unsigned height, uint32_t color)
{
	for (unsigned y = y0; y < y0 + height; y++)
		for (unsigned x = x0; x < x0 + width; x++)
			w->pixels[y * WIDTH + x] = color;
}

/* Lines of text at the top left, of which `number` have gone up; a window that crosses the screen, its borders too. */
static void paint_step(struct world *w, unsigned number)
{
	unsigned left = number * 7 % (WIDTH - WINDOW_WIDTH + 1), top = 100 + number * 3 % (HEIGHT - 100 - WINDOW_HEIGHT + 1);

	fill(w, 0, 0, WIDTH, HEIGHT, 0x203040);
	for (unsigned line = 0; line < TEXT_HEIGHT / LINE; line++) {
		uint32_t seed = line + number + 1;

		for (unsigned y = 0; y < LINE - 2; y++)
			for (unsigned x = 0; x < TEXT_WIDTH; x++)
				w->pixels[(TEXT + line * LINE + y) * WIDTH + x] = next(&seed) & 16 ? 0xf8f8f8 : 0;
	}
	fill(w, left, top, WINDOW_WIDTH, WINDOW_HEIGHT, 0xf0f0f0);
	fill(w, left, top, WINDOW_WIDTH, 10, 0x3060c0);
	for (unsigned i = 0; i < 8; i++)
		fill(w, left + 5 + i * 11, top + 15 + i * i % 5, 6 + i % 3, 3 + i, 0x404040);
}

static void repaint(struct world *w)
{
	unsigned wanted = __atomic_load_n(&steps_wanted, __ATOMIC_ACQUIRE);

	if (wanted == steps_done)
		return;
	__atomic_store_n(&steps_done, steps_done + 1, __ATOMIC_RELEASE);
	paint_step(w, steps_done);
	display_damage(w->display, 0, 0, 0, WIDTH, HEIGHT);
}

static void open_moves(struct world *w)
{
	steps_wanted = steps_done = 0;
	world_open(w, NULL);
	paint_step(w, 0);
	w->repaint = repaint;
}

static void wait_for_step(rfbClient *c, unsigned number)
{
	const struct world *w = ((struct guest *)rfbClientGetClientData(c, NULL))->w;

	for (unsigned i = 0; i < LIMIT_MS / 10; i++) {
		if (__atomic_load_n(&steps_done, __ATOMIC_ACQUIRE) == number && has_picture(c, w))
			return;
		if (WaitForMessage(c, 10000) > 0 && !HandleRFBServerMessage(c))
			break;
	}
	fail_msg("step %u does not arrive", number);
}

static void go_all_steps(rfbClient *c)
{
	for (unsigned i = 1; i <= STEPS; i++) {
		__atomic_store_n(&steps_wanted, i, __ATOMIC_RELEASE);
		wait_for_step(c, i);
	}
}

/* Nearly all of the text at least each time: what is in between may be copied too, or not. */
static void moves_are_copied(void **state)
{
	static const char *const encodings[] = {"copyrect raw", "copyrect hextile", "copyrect zrle", "copyrect tight", "tight"};

	for (unsigned i = 0; i < G_N_ELEMENTS(encodings); i++) {
		struct world w;
		struct guest g = {.w = &w, .encodings = encodings[i], .act = go_all_steps};

		open_moves(&w);
		visit(&g);
		assert_true(g.acted);
		if (strstr(encodings[i], "copyrect"))
			assert_in_range(g.copied, STEPS * TEXT_WIDTH * (TEXT_HEIGHT - 2 * LINE), UINT_MAX);
		else
			assert_int_equal(g.copied, 0);
		run_until(all_gone, &w);
		world_close(&w);
	}
}

static void wait_for_last(rfbClient *c)
{
	while (__atomic_load_n(&steps_done, __ATOMIC_ACQUIRE) < STEPS)
		g_usleep(1000);
	wait_for_step(c, STEPS);
}

static void those_behind_get_theirs(void **state)
{
	struct world w;
	struct guest quick = {.w = &w, .encodings = "copyrect tight", .act = go_all_steps};
	struct guest slow = {.w = &w, .encodings = "copyrect raw", .act = wait_for_last};
	struct guest plain = {.w = &w, .encodings = "zrle", .act = wait_for_last};

	open_moves(&w);
	guest_start(&slow);
	guest_start(&plain);
	guest_start(&quick);
	guest_end(&quick);
	guest_end(&slow);
	guest_end(&plain);
	assert_true(quick.acted && slow.acted && plain.acted);
	assert_in_range(quick.copied, 1, UINT_MAX);
	run_until(all_gone, &w);
	world_close(&w);
}

/* ---- one that asks for parts ---- */

static void ask(int fd, bool more, unsigned x, unsigned y, unsigned width, unsigned height)
{
	uint8_t b[10] = {3, more};

	put_be16(b + 2, (uint16_t)x);
	put_be16(b + 4, (uint16_t)y);
	put_be16(b + 6, (uint16_t)width);
	put_be16(b + 8, (uint16_t)height);
	say(fd, b, sizeof(b));
}

static void copy(uint32_t *picture, const uint8_t *rect, unsigned from_x, unsigned from_y)
{
	unsigned x = get_be16(rect), y = get_be16(rect + 2), width = get_be16(rect + 4), height = get_be16(rect + 6);
	g_autofree uint32_t *old = g_memdup2(picture, WIDTH * HEIGHT * sizeof(*old));

	assert_true(from_x + width <= WIDTH && from_y + height <= HEIGHT);
	for (unsigned i = 0; i < height; i++)
		memcpy(picture + (y + i) * WIDTH + x, old + (from_y + i) * WIDTH + from_x, width * sizeof(*old));
}

/* A message: an update of raw rectangles and copies. Pixels of the latter. */
static unsigned read_update(int fd, uint32_t *picture)
{
	uint8_t head[12], from[4];
	unsigned copied = 0;

	take(fd, head, 4);
	assert_int_equal(head[0], 0);
	for (unsigned n = get_be16(head + 2); n; n--) {
		unsigned x, y, width, height;

		take(fd, head, 12);
		x = get_be16(head);
		y = get_be16(head + 2);
		width = get_be16(head + 4);
		height = get_be16(head + 6);
		assert_true(x + width <= WIDTH && y + height <= HEIGHT);
		if (get_be32(head + 8) == COPY_RECT) {
			take(fd, from, 4);
			copy(picture, head, get_be16(from), get_be16(from + 2));
			copied += width * height;
			continue;
		}
		assert_int_equal(get_be32(head + 8), RAW);
		for (unsigned i = 0; i < height; i++)
			take(fd, picture + (y + i) * WIDTH + x, width * 4);
	}
	return copied;
}

static bool is_step_done(void *opaque)
{
	return steps_done == *(unsigned *)opaque;
}

static bool has_all(const uint32_t *picture, const struct world *w)
{
	for (unsigned i = 0; i < WIDTH * HEIGHT; i++)
		if ((picture[i] & 0xffffff) != w->pixels[i])
			return false;
	return true;
}

static void parts_are_asked_for(void **state)
{
	static const int32_t encodings[] = {COPY_RECT, RAW};
	g_autofree uint32_t *picture = g_new0(uint32_t, WIDTH * HEIGHT);
	struct world w;
	unsigned copied = 0;
	uint32_t seed = 5;
	int fd;

	open_moves(&w);
	fd = shake_hands(&w, 1);
	set_encodings(fd, encodings, 2);
	ask(fd, false, 0, 0, WIDTH, HEIGHT);
	read_update(fd, picture);
	for (unsigned i = 1; i <= STEPS; i++) {
		unsigned x = next(&seed) % (WIDTH / 2), y = next(&seed) % (HEIGHT / 2);

		/* Whatever of the step is in there; then the rest. */
		ask(fd, true, x, y, WIDTH / 2, HEIGHT / 2);
		__atomic_store_n(&steps_wanted, i, __ATOMIC_RELEASE);
		run_until(is_step_done, &i);
		ask(fd, true, 0, 0, WIDTH, HEIGHT);
		while (!has_all(picture, &w)) {
			copied += read_update(fd, picture);
			ask(fd, true, 0, 0, WIDTH, HEIGHT);
		}
		/* No request is left for the next step: of all of the screen. */
		ask(fd, false, 0, 0, 1, 1);
		read_update(fd, picture);
	}
	assert_in_range(copied, 1, UINT_MAX);
	close(fd);
	run_until(all_gone, &w);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moves_are_copied),
		cmocka_unit_test(those_behind_get_theirs),
		cmocka_unit_test(parts_are_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
