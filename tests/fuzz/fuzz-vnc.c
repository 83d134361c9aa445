/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: the bytes of a VNC viewer, through the server, libvncserver and the input devices. Whatever comes, the connection
 * ends when the viewer closes it, and the server takes the next one.
 *
 * Input: a byte of options (1: the viewer has shaken hands properly; 2: at a server with TLS, 3: until TLS begins), then what
 * the viewer sends.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "display.h"
#include "fuzz-input.h"
#include "input.h"
#include "module.h"
#include "vnc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WIDTH = 64, HEIGHT = 48, BYTES_MAX = 16384, SECONDS = 60 };

static struct display *screen;
static uint32_t pixels[WIDTH * HEIGHT];
static unsigned gone;
static char *paths[2]; /* without and with TLS */

static void update(void *opaque, unsigned head)
{
	const struct display_surface s = {WIDTH, HEIGHT, WIDTH * 4, pixels};

	display_set_surface(screen, 0, &s);
	pixels[gone % (WIDTH * HEIGHT)] += 0x010203;
	display_damage(screen, 0, 0, 0, WIDTH, HEIGHT);
}

static void wish(void *opaque, unsigned head, uint32_t width, uint32_t height)
{
}

static void on_input(void *opaque, const struct input_event *e)
{
	check(e->kind != INPUT_KEY || (e->code && e->code < 0x300));
	check(e->kind != INPUT_ABSOLUTE || (e->x >= 0 && e->x <= INPUT_ABSOLUTE_MAX && e->y >= 0 && e->y <= INPUT_ABSOLUTE_MAX));
}

static void on_event(void *opaque, enum vnc_event what, const struct vnc_peer *peer)
{
	gone += what == VNC_DISCONNECTED;
}

/* Two servers for all inputs: they shall survive them. */
static void start(void)
{
	static const struct display_painter painter = {update, wish};
	static const struct input_device device = {"all", 31, on_input, NULL};
	g_autofree char *dir = g_dir_make_tmp("kv-vnc-XXXXXX", NULL);
	struct vnc_config config = {.name = "fuzz", .event = on_event};
	const struct vnc_module *module = kv_module_symbol(VNC_MODULE, VNC_SYMBOL, NULL);
	unsigned head;

	config.display = screen = display_new();
	config.input = input_new();
	input_plug(config.input, &device, screen);
	check(display_add_painter(screen, "test", &painter, screen, 1, &head));
	for (unsigned tls = 0; tls < 2; tls++) {
		g_autofree char *listen = NULL;

		paths[tls] = g_build_filename(dir, tls ? "t" : "s", NULL);
		config.listen = listen = g_strconcat("unix:", paths[tls], NULL);
		config.tls_creds = tls ? VNC_TLS_ANON : NULL;
		check(module && module->start(&config, NULL));
	}
}

static int dial(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(sa.sun_path, path, sizeof(sa.sun_path));
	check(fd >= 0 && !connect(fd, (struct sockaddr *)&sa, sizeof(sa)));
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char hands[] = "RFB 003.008\n\1\1", tls_hands[] = "RFB 003.008\n\x13\0\2\0\0\1\1";
	gint64 end = g_get_monotonic_time() + SECONDS * G_USEC_PER_SEC;
	char rest[4096];
	unsigned before;
	bool tls;
	int fd;

	if (!size)
		return 0;
	if (!paths[0])
		start();
	tls = data[0] & 2;
	before = gone;
	fd = dial(paths[tls]);
	if (data[0] & 1)
		check(send(fd, tls ? tls_hands : hands, (tls ? sizeof(tls_hands) : sizeof(hands)) - 1, MSG_NOSIGNAL) > 0);
	if (size > 1)
		check(send(fd, data + 1, MIN(size - 1, BYTES_MAX), MSG_NOSIGNAL) > 0);
	shutdown(fd, SHUT_WR);
	while (gone == before && g_get_monotonic_time() < end) {
		bool some = recv(fd, rest, sizeof(rest), MSG_DONTWAIT) > 0;

		if (!g_main_context_iteration(NULL, FALSE) && !some)
			g_usleep(100);
	}
	check(gone == before + 1);
	close(fd);
	if (!g_file_test(paths[tls], G_FILE_TEST_EXISTS))
		abort();
	return 0;
}
