/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VNC server with viewers of libvncclient, each in a thread of its own, and of hand-written bytes: pictures arrive in every
 * encoding, sizes change, keys and pointers come to the input devices, passwords are asked for, and a viewer that reads
 * nothing holds nobody up.
 */
#include <limits.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/input-event-codes.h>

#include "bytes.h"
#include "vnc-rig.h"

static void pictures_arrive_in_all_encodings(void **state)
{
	static const char *const encodings[] = {"raw", "hextile", "zrle", "tight", "zlib", "copyrect raw"};
	struct world w;

	world_open(&w, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(encodings); i++) {
		struct guest g = {.w = &w, .encodings = encodings[i]};

		paint(&w, i * 40);
		visit(&g);
		assert_false(g.refused);
		if (!g.acted)
			fail_msg("no picture by %s", encodings[i]);
	}
	world_close(&w);
}

static void passwords_are_asked_for(void **state)
{
	struct world w;
	struct guest right = {.w = &w, .encodings = "raw", .password = "secret"};
	struct guest wrong = {.w = &w, .encodings = "raw", .password = "Secret"};
	struct guest late = right, changed = right;

	world_open(&w, "secret");
	visit(&right);
	assert_true(right.acted);
	visit(&wrong);
	assert_true(wrong.refused);
	assert_true(w.module->expire_password(w.vnc, 1));
	visit(&late);
	assert_true(late.refused);
	assert_true(w.module->expire_password(w.vnc, INT64_MAX));
	assert_true(w.module->set_password(w.vnc, "other"));
	changed.password = "other";
	visit(&changed);
	assert_true(changed.acted);
	run_until(all_gone, &w);
	assert_int_equal(w.told[VNC_CONNECTED], 4);
	assert_int_equal(w.told[VNC_INITIALIZED], 2);
	world_close(&w);
}

static void note_rect(rfbClient *c, int x, int y, int width, int height)
{
	struct guest *g = rfbClientGetClientData(c, NULL);

	g->left = MIN(g->left, x);
	g->right = MAX(g->right, x + width);
	g->top = MIN(g->top, y);
	g->bottom = MAX(g->bottom, y + height);
}

static void wait_for_pixel(rfbClient *c)
{
	struct guest *g = rfbClientGetClientData(c, NULL);
	const uint32_t *pixel = (uint32_t *)(void *)c->frameBuffer + 50 * WIDTH + 100;
	uint32_t wanted = *pixel ^ 0x00ffffff;

	c->GotFrameBufferUpdate = note_rect;
	g->left = g->top = INT_MAX;
	g->w->pixels[50 * WIDTH + 100] = wanted;
	__atomic_store_n(&g->w->changed, 50, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < LIMIT_MS / 10 && *pixel != wanted; i++)
		if (WaitForMessage(c, 10000) > 0 && !HandleRFBServerMessage(c))
			break;
}

/* The painter tells a line; what viewers are sent is what is another one than before. */
static void unchanged_pixels_are_not_sent(void **state)
{
	struct world w;
	struct guest g = {.w = &w, .encodings = "raw", .act = wait_for_pixel};

	world_open(&w, NULL);
	visit(&g);
	assert_true(g.acted);
	assert_in_range(g.left, 0, 100);
	assert_in_range(g.right - g.left, 1, 32);
	assert_int_equal(g.top, 50);
	assert_int_equal(g.bottom, 51);
	run_until(all_gone, &w);
	world_close(&w);
}

/* Whether the main loop would wake up by itself. */
static bool has_timer(void)
{
	GMainContext *context = g_main_context_default();
	GPollFD fds[64];
	int priority, timeout, n;

	assert_true(g_main_context_acquire(context));
	g_main_context_prepare(context, &priority);
	n = g_main_context_query(context, priority, &timeout, fds, G_N_ELEMENTS(fds));
	assert_in_range(n, 0, G_N_ELEMENTS(fds));
	g_main_context_check(context, priority, fds, n);
	g_main_context_release(context);
	return timeout >= 0;
}

static bool sleeps_for_good(void *opaque)
{
	return !has_timer();
}

static bool was_looked_at(void *opaque)
{
	struct world *w = opaque;

	return w->updates == w->others;
}

/* A screen that tells when it changes is not looked at until it does; one that does not is, but without viewers none is. */
static void still_screens_are_left_alone(void **state)
{
	struct world w;
	int fd;

	world_open(&w, NULL);
	w.can_rest = true;
	run_until(sleeps_for_good, NULL);
	fd = shake_hands(&w, 1);
	assert_true(has_timer());
	run_until(sleeps_for_good, NULL);
	/* Nor was it forgotten: what was told wakes it up. */
	w.others = w.updates + 1;
	display_stir(w.display, 0);
	assert_true(has_timer());
	run_until(was_looked_at, &w);
	run_until(sleeps_for_good, NULL);
	w.can_rest = false;
	w.others = w.updates + 10; /* more than there are before a rest */
	display_stir(w.display, 0);
	while (w.updates < w.others) {
		assert_true(has_timer());
		g_main_context_iteration(NULL, TRUE);
	}
	close(fd);
	run_until(all_gone, &w);
	run_until(sleeps_for_good, NULL);
	world_close(&w);
}

/* VeNCrypt without certificates, as libvncclient has it; pictures larger than a record of TLS. */
static void tls_carries_all(void **state)
{
	struct world w;
	struct guest open = {.w = &w, .encodings = "raw"}, right = open, wrong = open;

	world_open_tls(&w, NULL, VNC_TLS_ANON);
	assert_string_equal(w.module->get_tls(w.vnc), "tls");
	visit(&open);
	assert_true(open.acted);
	run_until(all_gone, &w);
	world_close(&w);
	world_open_tls(&w, "secret", VNC_TLS_ANON);
	right.password = "secret";
	visit(&right);
	assert_true(right.acted);
	wrong.password = "Secret";
	visit(&wrong);
	assert_true(wrong.refused);
	run_until(all_gone, &w);
	assert_int_equal(w.told[VNC_INITIALIZED], 1);
	world_close(&w);
}

static void type_and_click(rfbClient *c)
{
	struct world *w = ((struct guest *)rfbClientGetClientData(c, NULL))->w;

	SendKeyEvent(c, 'a', TRUE);
	SendKeyEvent(c, 'a', FALSE);
	SendKeyEvent(c, '!', TRUE); /* of a keyboard where it has no Shift */
	SendKeyEvent(c, '!', FALSE);
	SendKeyEvent(c, XK_F5, TRUE); /* held when the viewer goes */
	SendPointerEvent(c, WIDTH - 1, 0, 0);
	SendPointerEvent(c, 0, HEIGHT - 1, rfbButton3Mask);
	SendPointerEvent(c, 0, HEIGHT - 1, rfbButton4Mask);
	/* A socket that is closed with something unread forgets what was sent; a server that cannot write does not read. */
	for (unsigned i = 0; i < LIMIT_MS && __atomic_load_n(&w->n_events, __ATOMIC_ACQUIRE) < 13; i++)
		if (WaitForMessage(c, 1000) > 0 && !HandleRFBServerMessage(c))
			break;
}

static bool is(const struct input_event *e, enum input_kind kind, unsigned code, bool down)
{
	return e->kind == kind && e->code == code && e->down == down;
}

static void keys_and_pointers_arrive(void **state)
{
	struct world w;
	struct guest g = {.w = &w, .encodings = "raw", .act = type_and_click};
	const struct input_event *e = w.events;

	world_open(&w, NULL);
	visit(&g);
	run_until(all_gone, &w);
	assert_int_equal(w.n_events, 14);
	assert_true(is(e, INPUT_KEY, KEY_A, true));
	assert_true(is(e + 1, INPUT_KEY, KEY_A, false));
	assert_true(is(e + 2, INPUT_KEY, KEY_LEFTSHIFT, true));
	assert_true(is(e + 3, INPUT_KEY, KEY_1, true));
	assert_true(is(e + 4, INPUT_KEY, KEY_LEFTSHIFT, false));
	assert_true(is(e + 5, INPUT_KEY, KEY_1, false));
	assert_true(is(e + 6, INPUT_KEY, KEY_F5, true));
	assert_true(e[7].kind == INPUT_ABSOLUTE && e[7].x == INPUT_ABSOLUTE_MAX && e[7].y == 0);
	assert_true(e[8].kind == INPUT_ABSOLUTE && e[8].x == 0 && e[8].y == INPUT_ABSOLUTE_MAX);
	assert_true(is(e + 9, INPUT_BUTTON, BTN_RIGHT, true));
	assert_true(is(e + 11, INPUT_BUTTON, BTN_RIGHT, false));
	assert_true(e[12].kind == INPUT_WHEEL && e[12].y == 1);
	assert_true(is(e + 13, INPUT_KEY, KEY_F5, false));
	world_close(&w);
}

/* ---- viewers of bytes ---- */

static bool has_ended(void *opaque)
{
	uint8_t rest[4096];

	return recv(*(int *)opaque, rest, sizeof(rest), MSG_DONTWAIT) == 0;
}

static void rect_is(int fd, int encoding, unsigned x, uint8_t *data, size_t n)
{
	uint8_t b[16];

	take(fd, b, 16);
	assert_int_equal(get_be32(b), 1);
	assert_int_equal((int32_t)get_be32(b + 12), encoding);
	assert_int_equal(get_be16(b + 4), x);
	take(fd, data, n);
}

static bool led_is_known(void *opaque)
{
	return input_get_leds(opaque) == INPUT_LED_CAPS;
}

static bool has_two_events(void *opaque)
{
	return ((struct world *)opaque)->n_events >= 2;
}

static void qemus_extensions(void **state)
{
	static const int32_t wanted[] = {0, -257, -258, -261};
	/* Right Control down, by its scan code; a key that is none, by its keysym: 'b' */
	static const uint8_t keys[] = {255, 0, 0, 1, 0, 0, 0xff, 0xe4, 0, 0, 0, 0x9d, 255, 0, 0, 1, 0, 0, 0, 'b', 0, 0, 0, 0};
	uint8_t led;
	struct world w;
	int fd;

	world_open(&w, NULL);
	fd = shake_hands(&w, 1);
	set_encodings(fd, wanted, 4);
	rect_is(fd, -258, 0, NULL, 0);
	rect_is(fd, -257, 1, NULL, 0);
	rect_is(fd, -261, 0, &led, 1);
	assert_int_equal(led, 0);
	input_leds(w.input, &w, INPUT_LED_CAPS);
	run_until(led_is_known, w.input);
	rect_is(fd, -261, 0, &led, 1);
	assert_int_equal(led, 4);
	say(fd, keys, sizeof(keys));
	run_until(has_two_events, &w);
	assert_true(is(w.events, INPUT_KEY, KEY_RIGHTCTRL, true));
	assert_true(is(w.events + 1, INPUT_KEY, KEY_B, true));
	close(fd);
	run_until(all_gone, &w);
	assert_int_equal(w.n_events, 4); /* and both up again */
	world_close(&w);
}

static bool was_wished(void *opaque)
{
	return ((struct world *)opaque)->wish_width;
}

static void sizes_are_wished_for(void **state)
{
	static const int32_t wanted[] = {0, -308};
	uint8_t b[24] = {251, 0, 0x04, 0x00, 0x03, 0x00, 1};
	struct world w;
	int fd;

	world_open(&w, NULL);
	fd = shake_hands(&w, 1);
	set_encodings(fd, wanted, 2);
	put_be16(b + 8 + 8, 1024);
	put_be16(b + 8 + 10, 768);
	say(fd, b, sizeof(b));
	run_until(was_wished, &w);
	assert_int_equal(w.wish_width, 1024);
	assert_int_equal(w.wish_height, 768);
	close(fd);
	world_close(&w);
}

static void slow_viewers_hold_nobody_up(void **state)
{
	static const uint8_t request[] = {3, 0, 0, 0, 0, 0, WIDTH >> 8, WIDTH & 255, 0, HEIGHT}, half[] = {2, 0, 0xff};
	struct world w;
	struct guest g = {.w = &w, .encodings = "raw"};
	int deaf, mute, odd;

	world_open(&w, NULL);
	deaf = shake_hands(&w, 1);
	for (unsigned i = 0; i < 200; i++)
		if (send(deaf, request, sizeof(request), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
	mute = shake_hands(&w, 1);
	say(mute, half, sizeof(half));
	odd = dial(&w);
	w.others = 3;
	visit(&g);
	assert_true(g.acted);
	/* The server ends all the same. */
	world_close(&w);
	close(deaf);
	close(mute);
	close(odd);
}

static void one_may_be_alone(void **state)
{
	struct world w;
	int first, second;

	world_open(&w, NULL);
	first = shake_hands(&w, 1);
	second = shake_hands(&w, 0);
	run_until(has_ended, &first);
	close(first);
	first = shake_hands(&w, 1); /* would share */
	run_until(has_ended, &first);
	close(first);
	assert_false(has_ended(&second));
	first = shake_hands(&w, 0);
	run_until(has_ended, &second);
	close(first);
	close(second);
	run_until(all_gone, &w);
	world_close(&w);
}

/* Two servers of a process; a viewer of the open one comes between the other's offer and the answer. */
static void an_open_server_opens_no_other(void **state)
{
	struct world open, locked;
	uint8_t b[12];
	int fd, other;

	world_open(&locked, "secret");
	world_open(&open, NULL);
	fd = dial(&locked);
	take(fd, b, 12);
	say(fd, b, 12);
	take(fd, b, 2);
	assert_memory_equal(b, "\1\2", 2);
	other = shake_hands(&open, 1);
	say(fd, "\1\1", 2);
	run_until(has_ended, &fd);
	assert_int_equal(locked.told[VNC_INITIALIZED], 0);
	close(fd);
	close(other);
	run_until(all_gone, &open);
	run_until(all_gone, &locked);
	world_close(&open);
	world_close(&locked);
}

/* 3.889 is macOS's, which says nothing after the type. */
static void old_versions_are_spoken(void **state)
{
	static const struct {
		const char *version, *offer, *answer;
		uint8_t offered;
	} peers[] = {
		{"RFB 003.003\n", "\0\0\0\1", "\1", 4},
		{"RFB 003.007\n", "\1\1", "\1\1", 2},
		{"RFB 003.889\n", "\1\1", "\1", 2},
	};
	struct world w;
	uint8_t b[28];

	world_open(&w, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(peers); i++) {
		int fd = dial(&w);

		take(fd, b, 12);
		say(fd, peers[i].version, 12);
		take(fd, b, peers[i].offered);
		assert_memory_equal(b, peers[i].offer, peers[i].offered);
		say(fd, peers[i].answer, strlen(peers[i].answer));
		take(fd, b, sizeof(b));
		assert_memory_equal(b + 24, "test", 4);
		close(fd);
		run_until(all_gone, &w);
		assert_int_equal(w.told[VNC_INITIALIZED], i + 1);
	}
	world_close(&w);
}

/* Asks for an update, and reads it: of what width the cursor in it is; -1: there is none. */
static int see_cursor(int fd, bool incremental)
{
	uint8_t b[12], request[] = {3, incremental, 0, 0, 0, 0, WIDTH >> 8, WIDTH & 255, 0, HEIGHT};
	g_autofree uint8_t *pixels = g_malloc(WIDTH * HEIGHT * 4);
	int cursor = -1;

	say(fd, request, sizeof(request));
	take(fd, b, 4);
	for (unsigned left = get_be16(b + 2); left; left--) {
		unsigned width, height;

		take(fd, b, 12);
		width = get_be16(b + 4);
		height = get_be16(b + 6);
		take(fd, pixels, (size_t)width * height * 4);
		if (get_be32(b + 8)) {
			cursor = (int)width;
			take(fd, pixels, (size_t)(width + 7) / 8 * height);
		}
	}
	return cursor;
}

static void hidden_cursors_are_hidden(void **state)
{
	static const int32_t wanted[] = {0, -239};
	static const uint32_t pixels[16 * 8];
	static const uint8_t still[] = {5, 0, 0, 0, 0, 0};
	const struct display_cursor none = {0}, shown = {16, 8, 1, 1, pixels};
	struct world w;
	int fd;

	world_open(&w, NULL);
	display_set_cursor(w.display, 0, &shown);
	fd = shake_hands(&w, 1);
	set_encodings(fd, wanted, 2);
	assert_int_equal(see_cursor(fd, false), 16);
	/* While the viewer waits for nothing, and then says something else first. */
	display_set_cursor(w.display, 0, &none);
	g_usleep(50000);
	say(fd, still, sizeof(still));
	g_usleep(50000);
	assert_int_equal(see_cursor(fd, false), 0);
	display_set_cursor(w.display, 0, &shown);
	g_usleep(50000);
	assert_int_equal(see_cursor(fd, false), 16);
	close(fd);
	run_until(all_gone, &w);
	/* While nobody looks. */
	display_set_cursor(w.display, 0, &none);
	fd = shake_hands(&w, 1);
	set_encodings(fd, wanted, 2);
	assert_int_equal(see_cursor(fd, false), -1);
	close(fd);
	run_until(all_gone, &w);
	world_close(&w);
}

/* A viewer that knows no cursors has it in its picture, where its pointer is. */
static void cursors_are_painted(void **state)
{
	static const uint8_t move[] = {5, 0, 0, 100, 0, 50}, request[] = {3, 0, 0, 100, 0, 50, 0, 1, 0, 1};
	uint32_t pixels[4 * 4], painted = 0;
	struct world w;
	uint8_t head[12];
	int fd;

	memset(pixels, 0xff, sizeof(pixels));
	world_open(&w, NULL);
	fd = shake_hands(&w, 1);
	display_set_cursor(w.display, 0, &(struct display_cursor){4, 4, 0, 0, pixels});
	g_usleep(50000);
	say(fd, move, sizeof(move));
	say(fd, request, sizeof(request));
	take(fd, head, 4);
	for (unsigned left = get_be16(head + 2); left; left--) {
		take(fd, head, sizeof(head));
		assert_in_range(get_be16(head + 4), 1, 4);
		for (unsigned i = 0; i < (unsigned)get_be16(head + 4) * get_be16(head + 6); i++) {
			take(fd, pixels, 4);
			painted += get_be16(head) >= 100 && (pixels[0] & 0xffffff) == 0xffffff;
		}
	}
	assert_int_not_equal(painted, 0);
	close(fd);
	run_until(all_gone, &w);
	world_close(&w);
}

static const char get[] = "GET /websockify HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\nUpgrade: websocket\r\nConnection: "
			  "Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: binary\r\n"
			  "Sec-WebSocket-Version: 13\r\n\r\n";

static void try_websocket(struct world *w)
{
	int fd = dial(w);

	say(fd, get, sizeof(get) - 1);
	run_until(has_ended, &fd);
	close(fd);
	run_until(all_gone, w);
}

static void ask_for_scale(struct world *w, uint8_t scale)
{
	const uint8_t set[] = {8, scale, 0, 0};
	int fd = shake_hands(w, 1);

	say(fd, set, sizeof(set));
	run_until(has_ended, &fd);
	close(fd);
	run_until(all_gone, w);
}

static void who_comes_and_goes_leaves_no_memory(void **state)
{
	enum { TIMES = 20 };
	struct world w;
	size_t before;

	world_open(&w, NULL);
	try_websocket(&w);
	ask_for_scale(&w, 5);
	before = mallinfo2().uordblks;
	for (uint8_t i = 0; i < TIMES; i++)
		try_websocket(&w);
	assert_in_range(mallinfo2().uordblks, 0, before + TIMES * 2048);
	for (uint8_t i = 2; i < 5; i++)
		ask_for_scale(&w, i);
	assert_in_range(mallinfo2().uordblks, 0, before + WIDTH * HEIGHT);
	world_close(&w);
}

/* A page of a web site cannot reach the port for viewers. */
static void no_websocket_where_none_is_asked_for(void **state)
{
	struct world w;

	world_open(&w, NULL);
	try_websocket(&w);
	assert_int_equal(w.told[VNC_INITIALIZED], 0);
	world_close(&w);
}

static void too_many_are_refused(void **state)
{
	struct world w;
	int fd[17];

	world_open(&w, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(fd) - 1; i++)
		fd[i] = shake_hands(&w, 1);
	fd[16] = dial(&w);
	run_until(has_ended, &fd[16]);
	for (unsigned i = 0; i < G_N_ELEMENTS(fd); i++)
		close(fd[i]);
	run_until(all_gone, &w);
	fd[0] = shake_hands(&w, 1);
	close(fd[0]);
	world_close(&w);
}

static bool is_ready(void *opaque)
{
	return ((struct world *)opaque)->told[VNC_INITIALIZED];
}

/* A viewer that goes with all of its keys still on their way is told to be gone, too. */
static void gone_behind_many_keys(void **state)
{
	static const uint8_t key[] = {4, 0, 0, 0, 0, 0, 0, 1}; /* up, a sign of no key */
	uint8_t keys[1024 * sizeof(key)];
	struct world w;
	int fd;

	for (unsigned i = 0; i < sizeof(keys); i += sizeof(key))
		memcpy(keys + i, key, sizeof(key));
	world_open(&w, NULL);
	fd = shake_hands(&w, 1);
	run_until(is_ready, &w);
	say(fd, keys, sizeof(keys));
	shutdown(fd, SHUT_WR);
	for (unsigned i = 0; i < 500 && !has_ended(&fd); i++) /* the main loop does not run: the viewer has its time */
		g_usleep(1000);
	g_usleep(100000);
	run_until(all_gone, &w);
	close(fd);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pictures_arrive_in_all_encodings),
		cmocka_unit_test(passwords_are_asked_for),
		cmocka_unit_test(unchanged_pixels_are_not_sent),
		cmocka_unit_test(still_screens_are_left_alone),
		cmocka_unit_test(tls_carries_all),
		cmocka_unit_test(keys_and_pointers_arrive),
		cmocka_unit_test(qemus_extensions),
		cmocka_unit_test(sizes_are_wished_for),
		cmocka_unit_test(slow_viewers_hold_nobody_up),
		cmocka_unit_test(one_may_be_alone),
		cmocka_unit_test(an_open_server_opens_no_other),
		cmocka_unit_test(old_versions_are_spoken),
		cmocka_unit_test(hidden_cursors_are_hidden),
		cmocka_unit_test(cursors_are_painted),
		cmocka_unit_test(who_comes_and_goes_leaves_no_memory),
		cmocka_unit_test(no_websocket_where_none_is_asked_for),
		cmocka_unit_test(too_many_are_refused),
		cmocka_unit_test(gone_behind_many_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
