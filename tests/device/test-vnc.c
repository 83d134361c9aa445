/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VNC server with viewers of libvncclient, each in a thread of its own, and of hand-written bytes: pictures arrive in every
 * encoding, sizes change, keys and pointers come to the input devices, passwords are asked for, and a viewer that reads
 * nothing holds nobody up.
 */
#include <setjmp.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>
#include <linux/input-event-codes.h>
#include <rfb/rfbclient.h>

#include "bytes.h"
#include "display.h"
#include "input.h"
#include "module.h"
#include "vnc.h"

enum { WIDTH = 320, HEIGHT = 200, LIMIT_MS = 20000, EVENTS = 64 };

/* A screen, a keyboard with a pointer, and the server. */
struct world {
	char *dir, *path;
	const struct vnc_module *module;
	struct vnc *vnc;
	struct display *display;
	struct input *input;
	uint32_t pixels[WIDTH * HEIGHT], wish_width, wish_height;
	unsigned changed; /* line that the next update tells */
	struct input_device device;
	struct input_event events[EVENTS];
	unsigned n_events, told[3], others;
};

static void paint(struct world *w, uint32_t seed)
{
	for (uint32_t y = 0; y < HEIGHT; y++)
		for (uint32_t x = 0; x < WIDTH; x++)
			w->pixels[y * WIDTH + x] = ((x * 7 + seed) << 16 | (y * 3) << 8 | ((x ^ y) + seed)) & 0xf8f8f8;
}

static void update(void *opaque, unsigned head)
{
	struct world *w = opaque;
	const struct display_surface s = {WIDTH, HEIGHT, WIDTH * 4, w->pixels};
	unsigned changed;

	if (head)
		return;
	display_set_surface(w->display, 0, &s);
	changed = __atomic_exchange_n(&w->changed, 0, __ATOMIC_ACQUIRE);
	if (changed)
		display_damage(w->display, 0, 0, changed, WIDTH, 1);
}

static void wish(void *opaque, unsigned head, uint32_t width, uint32_t height)
{
	((struct world *)opaque)->wish_width = width;
	((struct world *)opaque)->wish_height = height;
}

static void on_input(void *opaque, const struct input_event *e)
{
	struct world *w = opaque;

	assert_true(w->n_events < EVENTS);
	w->events[w->n_events] = *e;
	__atomic_store_n(&w->n_events, w->n_events + 1, __ATOMIC_RELEASE);
}

static void on_event(void *opaque, enum vnc_event what, const struct vnc_peer *peer)
{
	assert_string_equal(peer->family, "unix");
	((struct world *)opaque)->told[what]++;
}

static void world_open_tls(struct world *w, const char *password, const char *tls)
{
	static const struct display_painter painter = {update, wish};
	g_autofree char *listen = NULL;
	g_autoptr(GError) error = NULL;
	struct vnc_config c = {.name = "test", .event = on_event, .opaque = w, .password = password, .tls_creds = tls};
	unsigned head;

	memset(w, 0, sizeof(*w));
	w->dir = g_dir_make_tmp("kv-vnc-XXXXXX", NULL);
	w->path = g_build_filename(w->dir, "s", NULL);
	c.listen = listen = g_strconcat("unix:", w->path, NULL);
	w->device = (struct input_device){"both", INPUT_KEY | INPUT_BUTTON | INPUT_ABSOLUTE | INPUT_WHEEL, on_input, NULL};
	c.display = w->display = display_new();
	c.input = w->input = input_new();
	input_plug(w->input, &w->device, w);
	assert_true(display_add_painter(w->display, "test", &painter, w, 1, &head));
	paint(w, 0);
	w->module = kv_module_symbol(VNC_MODULE, VNC_SYMBOL, &error);
	if (!w->module)
		fail_msg("%s", error->message);
	w->vnc = w->module->start(&c, &error);
	if (!w->vnc)
		fail_msg("%s", error->message);
}

static void world_open(struct world *w, const char *password)
{
	world_open_tls(w, password, NULL);
}

static void world_close(struct world *w)
{
	w->module->stop(w->vnc);
	assert_false(g_file_test(w->path, G_FILE_TEST_EXISTS));
	display_remove_painter(w->display, w);
	display_free(w->display);
	input_unplug(w->input, w);
	input_free(w->input);
	g_rmdir(w->dir);
	g_free(w->path);
	g_free(w->dir);
}

/* Runs the main loop until done() or a long time is over. */
static void run_until(bool (*done)(void *opaque), void *opaque)
{
	gint64 end = g_get_monotonic_time() + LIMIT_MS * 1000ll;

	while (!done(opaque) && g_get_monotonic_time() < end)
		if (!g_main_context_iteration(NULL, FALSE))
			g_usleep(1000);
	assert_true(done(opaque));
}

/* ---- viewers of libvncclient ---- */

struct guest {
	struct world *w;
	GThread *thread;
	const char *encodings, *password;
	void (*act)(rfbClient *c); /* after the first picture */
	bool refused, acted;
	int left, right, top, bottom; /* of what came since the first picture */
	unsigned over;		      /* atomic: the thread is at its end */
};

static char *give_password(rfbClient *c)
{
	return strdup(((struct guest *)rfbClientGetClientData(c, NULL))->password);
}

static bool has_picture(rfbClient *c, const struct world *w)
{
	if (c->width != WIDTH || c->height != HEIGHT)
		return false;
	for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
		if ((((uint32_t *)(void *)c->frameBuffer)[i] & 0xf8f8f8) != w->pixels[i])
			return false;
	return true;
}

static void quiet(const char *format, ...)
{
}

static gpointer look(gpointer opaque)
{
	struct guest *g = opaque;
	rfbClient *c = rfbGetClient(8, 3, 4);

	rfbClientLog = rfbClientErr = quiet;
	rfbClientSetClientData(c, NULL, g);
	free(c->serverHost);
	c->serverHost = strdup(g->w->path);
	c->serverPort = 0;
	c->format.redShift = 16;
	c->format.blueShift = 0;
	c->GetPassword = give_password;
	c->appData.encodingsString = g->encodings;
	c->appData.enableJPEG = FALSE;
	if (!rfbInitClient(c, NULL, NULL)) {
		g->refused = true;
	} else {
		for (unsigned i = 0; i < LIMIT_MS / 10 && !g->acted; i++) {
			if (WaitForMessage(c, 10000) > 0 && !HandleRFBServerMessage(c))
				break;
			if (has_picture(c, g->w)) {
				g->acted = true;
				if (g->act)
					g->act(c);
			}
		}
		rfbClientCleanup(c);
	}
	__atomic_store_n(&g->over, 1, __ATOMIC_RELEASE);
	return NULL;
}

static bool is_over(void *opaque)
{
	return __atomic_load_n(&((struct guest *)opaque)->over, __ATOMIC_ACQUIRE);
}

static bool all_gone(void *opaque)
{
	return ((struct world *)opaque)->told[VNC_DISCONNECTED] == ((struct world *)opaque)->told[VNC_CONNECTED];
}

/* Only others, which came before, are there. */
static bool is_alone(void *opaque)
{
	struct world *w = opaque;

	return w->told[VNC_CONNECTED] - w->told[VNC_DISCONNECTED] == w->others;
}

static void visit(struct guest *g)
{
	g->thread = g_thread_new("viewer", look, g);
	run_until(is_over, g);
	g_thread_join(g->thread);
	run_until(is_alone, g->w);
}

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

static int dial(const struct world *w)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(sa.sun_path, w->path, sizeof(sa.sun_path));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

struct wait {
	int fd;
	uint8_t *to;
	size_t left;
	bool end;
};

static bool has_come(void *opaque)
{
	struct wait *r = opaque;
	ssize_t n = recv(r->fd, r->to, r->left, MSG_DONTWAIT);

	r->end |= n == 0 && r->left;
	r->left -= n > 0 ? (size_t)n : 0;
	r->to += n > 0 ? n : 0;
	return !r->left || r->end;
}

static void take(int fd, void *to, size_t n)
{
	struct wait r = {fd, to, n, false};

	run_until(has_come, &r);
	assert_false(r.end);
}

static bool has_ended(void *opaque)
{
	uint8_t rest[4096];

	return recv(*(int *)opaque, rest, sizeof(rest), MSG_DONTWAIT) == 0;
}

static void say(int fd, const void *data, size_t n)
{
	assert_int_equal(send(fd, data, n, MSG_NOSIGNAL), n);
}

/* Without password, to the end of ServerInit. */
static int shake_hands(struct world *w, uint8_t shared)
{
	uint8_t b[64];
	int fd = dial(w);

	take(fd, b, 12);
	assert_memory_equal(b, "RFB 003.008\n", 12);
	say(fd, b, 12);
	take(fd, b, 2);
	assert_int_equal(b[1], 1);
	say(fd, b + 1, 1);
	take(fd, b, 4);
	say(fd, &shared, 1);
	take(fd, b, 24 + 4);
	assert_int_equal(get_be16(b), WIDTH);
	assert_memory_equal(b + 24, "test", 4);
	return fd;
}

static void set_encodings(int fd, const int32_t *e, uint16_t n)
{
	uint8_t b[64] = {2};

	put_be16(b + 2, n);
	for (unsigned i = 0; i < n; i++)
		put_be32(b + 4 + 4 * i, (uint32_t)e[i]);
	say(fd, b, 4 + 4u * n);
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
	close(second);
	run_until(all_gone, &w);
	world_close(&w);
}

/* A page of a web site cannot reach the port for viewers. */
static void no_websocket_where_none_is_asked_for(void **state)
{
	static const char get[] = "GET /websockify HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\nUpgrade: websocket\r\nConnection: "
				  "Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: binary\r\n"
				  "Sec-WebSocket-Version: 13\r\n\r\n";
	struct world w;
	int fd;

	world_open(&w, NULL);
	fd = dial(&w);
	say(fd, get, sizeof(get) - 1);
	run_until(has_ended, &fd);
	close(fd);
	run_until(all_gone, &w);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pictures_arrive_in_all_encodings),
		cmocka_unit_test(passwords_are_asked_for),
		cmocka_unit_test(unchanged_pixels_are_not_sent),
		cmocka_unit_test(tls_carries_all),
		cmocka_unit_test(keys_and_pointers_arrive),
		cmocka_unit_test(qemus_extensions),
		cmocka_unit_test(sizes_are_wished_for),
		cmocka_unit_test(slow_viewers_hold_nobody_up),
		cmocka_unit_test(one_may_be_alone),
		cmocka_unit_test(no_websocket_where_none_is_asked_for),
		cmocka_unit_test(too_many_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
