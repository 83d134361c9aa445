/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See vnc-rig.h. */
#include "vnc-rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "bytes.h"
#include "module.h"

void paint(struct world *w, uint32_t seed)
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
	w->updates++;
	if (w->repaint) {
		w->repaint(w);
		return;
	}
	changed = __atomic_exchange_n(&w->changed, 0, __ATOMIC_ACQUIRE);
	if (changed)
		display_damage(w->display, 0, 0, changed, WIDTH, 1);
}

static void wish(void *opaque, unsigned head, uint32_t width, uint32_t height)
{
	((struct world *)opaque)->wish_width = width;
	((struct world *)opaque)->wish_height = height;
}

static bool rest(void *opaque, unsigned head)
{
	return ((struct world *)opaque)->can_rest;
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

void world_open_tls(struct world *w, const char *password, const char *tls)
{
	static const struct display_painter painter = {update, wish, rest};
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

void world_open(struct world *w, const char *password)
{
	world_open_tls(w, password, NULL);
}

void world_close(struct world *w)
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

void run_until(bool (*done)(void *opaque), void *opaque)
{
	gint64 end = g_get_monotonic_time() + LIMIT_MS * 1000ll;

	while (!done(opaque) && g_get_monotonic_time() < end)
		if (!g_main_context_iteration(NULL, FALSE))
			g_usleep(1000);
	assert_true(done(opaque));
}

/* ---- viewers of libvncclient ---- */

static char *give_password(rfbClient *c)
{
	return strdup(((struct guest *)rfbClientGetClientData(c, NULL))->password);
}

bool has_picture(rfbClient *c, const struct world *w)
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

static void note_copy(rfbClient *c, int src_x, int src_y, int width, int height, int x, int y)
{
	struct guest *g = rfbClientGetClientData(c, NULL);

	g->copied += (unsigned)(width * height);
	g->copy(c, src_x, src_y, width, height, x, y);
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
	g->copy = c->GotCopyRect;
	c->GotCopyRect = note_copy;
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

bool all_gone(void *opaque)
{
	return ((struct world *)opaque)->told[VNC_DISCONNECTED] == ((struct world *)opaque)->told[VNC_CONNECTED];
}

/* Only others, which came before, are there. */
static bool is_alone(void *opaque)
{
	struct world *w = opaque;

	return w->told[VNC_CONNECTED] - w->told[VNC_DISCONNECTED] == w->others;
}

void guest_start(struct guest *g)
{
	g->thread = g_thread_new("viewer", look, g);
}

void guest_end(struct guest *g)
{
	run_until(is_over, g);
	g_thread_join(g->thread);
}

void visit(struct guest *g)
{
	guest_start(g);
	guest_end(g);
	run_until(is_alone, g->w);
}

/* ---- viewers of bytes ---- */

int dial(const struct world *w)
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

void take(int fd, void *to, size_t n)
{
	struct wait r = {fd, to, n, false};

	run_until(has_come, &r);
	assert_false(r.end);
}

void say(int fd, const void *data, size_t n)
{
	assert_int_equal(send(fd, data, n, MSG_NOSIGNAL), n);
}

int shake_hands(struct world *w, uint8_t shared)
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

void set_encodings(int fd, const int32_t *e, uint16_t n)
{
	uint8_t b[64] = {2};

	put_be16(b + 2, n);
	for (unsigned i = 0; i < n; i++)
		put_be32(b + 4 + 4 * i, (uint32_t)e[i]);
	say(fd, b, 4 + 4u * n);
}
