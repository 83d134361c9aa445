/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-img serve: an image as an NBD export, with qemu-nbd's options. It ends when its last client has left, or with -t when it
 * is told to (SIGTERM, SIGINT, SIGHUP). The server is src/nbd's; here is what a process around it does.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#include "bitmap.h"
#include "file-queue.h"
#include "img.h"
#include "listen.h"
#include "log.h"
#include "nbd-server.h"

enum {
	FIRST_FD = 3, /* of systemd's socket activation, sd_listen_fds(3) */
};

static const struct img_option options[] = {
	IMG_OPTION_FORMAT,
	{'r', "read-only", NULL, "clients cannot write"},
	{'k', "socket", "PATH", "listen on a Unix socket; or"},
	{'p', "port", "PORT", "on this TCP port; 10809"},
	{'b', "bind", "ADDRESS", "of this address; all"},
	{'x', "export-name", "NAME", "the export's name; empty"},
	{'D', "description", "TEXT", "of the export"},
	{'e', "shared", "N", "clients at the same time, 0: any number; 1"},
	{'t', "persistent", NULL, "go on when the last client has left"},
	{'l', "load-snapshot", "SNAPSHOT", "the image as it was then (id or name)"},
	{'A', "allocation-depth", NULL, "tell which layer data is from"},
	{'B', "bitmap", "NAME", "tell what this bitmap has"},
	{IMG_CACHE_MODE, "cache", "CACHE", "writeback, none, or unsafe: no flushes"},
	{IMG_AIO, "aio", "AIO", "threads, or native or io_uring: io_uring"},
	{IMG_DISCARD, "discard", "MODE", "ignore or unmap what is trimmed; unmap"},
	{IMG_TLS_CREDS, "tls-creds", "FOLDER", "use TLS, with certificates and a key there"},
	{IMG_TLS_VERIFY, "tls-verify-peer", NULL, "clients need a certificate as well"},
	{IMG_TLS_PSK, "tls-psk", "FOLDER", "use TLS, with keys.psk there"},
	{IMG_PID_FILE, "pid-file", "PATH", "write the process's number there"},
	{IMG_FORK, "fork", NULL, "go behind when clients can connect"},
	IMG_OPTION_SHARE,
	{IMG_IMAGE_OPTS, "image-opts", NULL, NULL},
	{IMG_OBJECT, "object", "DEF", NULL},
	{'n', "nocache", NULL, NULL},
	{'v', "verbose", NULL, NULL},
	{'c', "connect", "DEV", NULL},
	{'d', "disconnect", NULL, NULL},
	{'s', "snapshot", NULL, NULL},
	{'o', "offset", "OFFSET", NULL},
	{'L', "list", NULL, NULL},
	{IMG_DETECT_ZEROES, "detect-zeroes", "MODE", NULL},
	{},
};

/* What qemu-nbd has and we have not. */
static const struct {
	int key;
	const char *message;
} unsupported[] = {
	{'c', "-c is not supported: connect the kernel's device with nbd-client(8)"},
	{'d', "-d is not supported: disconnect the kernel's device with nbd-client(8)"},
	{'s', "-s is not supported: make an image on top of it, kv-img create -b, and serve that"},
	{'o', "-o is not supported: exports begin where the image does"},
	{'L', "-L is not supported: nbdinfo --list has a server's exports"},
};

struct serve {
	struct img_args *args;
	struct image *img;
	struct nbd_server *server;
	GMainLoop *loop;
	const char *socket, *pid_file; /* made by us, to be removed */
	int ready;		       /* --fork: tell the parent; -1 */
};

/* ---- options ---- */

static bool check_options(struct img_args *args)
{
	const char *zeroes = args->value[IMG_DETECT_ZEROES], *cache = args->value[IMG_CACHE_MODE];

	for (size_t i = 0; i < G_N_ELEMENTS(unsupported); i++)
		if (img_has(args, unsupported[i].key))
			return img_fail("%s", unsupported[i].message), false;
	if (zeroes && strcmp(zeroes, "off") != 0)
		return img_fail("--detect-zeroes=%s is not supported; there is off", zeroes), false;
	if (cache && strcmp(cache, "writeback") != 0 && strcmp(cache, "none") != 0 && strcmp(cache, "unsafe") != 0)
		return img_fail("--cache=%s is not supported; there are writeback, none and unsafe", cache), false;
	if (img_has(args, 'k') && (img_has(args, 'p') || img_has(args, 'b')))
		return img_fail("-k is a Unix socket, which has no -p and no -b"), false;
	if (img_has(args, IMG_TLS_CREDS) && img_has(args, IMG_TLS_PSK))
		return img_fail("--tls-creds and --tls-psk are mutually exclusive"), false;
	if (img_has(args, IMG_TLS_VERIFY) && !img_has(args, IMG_TLS_CREDS))
		return img_fail("--tls-verify-peer needs --tls-creds"), false;
	return true;
}

static bool find_shared(struct img_args *args, unsigned *ret)
{
	uint64_t n = 1;

	if (args->value['e'] && (!img_number(args->value['e'], &n) || n > INT32_MAX))
		return img_fail("Invalid shared device number '%s'", args->value['e']), false;
	*ret = n;
	return true;
}

static bool set_aio(struct img_args *args, struct image *img)
{
	const char *name = args->value[IMG_AIO];

	if (!name)
		return true;
	if (strcmp(name, "threads") == 0)
		img->aio = FILE_ENGINE_THREADS;
	else if (strcmp(name, "native") == 0 || strcmp(name, "io_uring") == 0)
		img->aio = FILE_ENGINE_URING;
	else
		return img_fail("Invalid aio mode '%s'", name), false;
	return true;
}

static bool set_discard(struct img_args *args, struct image *img)
{
	const char *name = args->value[IMG_DISCARD];
	bool off = name && (strcmp(name, "ignore") == 0 || strcmp(name, "off") == 0);

	if (name && !off && strcmp(name, "unmap") != 0 && strcmp(name, "on") != 0)
		return img_fail("Invalid discard mode '%s'", name), false;
	if (off)
		img->discard = false;
	return true;
}

static bool open_served(struct serve *s)
{
	struct img_args *args = s->args;
	bool readonly = img_has(args, 'r') || img_has(args, 'l') || img_has(args, 'U');
	unsigned flags = img_open_flags(args) | (readonly ? 0 : IMG_RW);

	if (img_has(args, 'l'))
		s->img = img_open_snapshot(args->word[0], args->value['f'], flags, args->value['l']);
	else
		s->img = img_open(args->word[0], args->value['f'], flags);
	return s->img && set_aio(args, s->img) && set_discard(args, s->img);
}

/* ---- listening ---- */

/* How many sockets systemd, or another one in its way, has given us. */
static unsigned inherited(void)
{
	const char *pid = g_getenv("LISTEN_PID"), *fds = g_getenv("LISTEN_FDS");
	uint64_t n, who;

	if (!pid || !fds || !img_number(pid, &who) || who != (uint64_t)getpid() || !img_number(fds, &n) || n > 16)
		return 0;
	return n;
}

static bool take_inherited(struct serve *s, unsigned n)
{
	if (img_has(s->args, 'k') || img_has(s->args, 'p') || img_has(s->args, 'b') || img_has(s->args, IMG_FORK))
		return img_fail("-k, -p, -b and --fork have no place beside socket activation"), false;
	for (unsigned i = 0; i < n; i++) {
		int listening = 0;
		socklen_t len = sizeof(listening);

		if (getsockopt(FIRST_FD + i, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening)
			return img_fail("socket activation: descriptor %u does not listen", FIRST_FD + i), false;
		fcntl(FIRST_FD + i, F_SETFD, FD_CLOEXEC);
		fcntl(FIRST_FD + i, F_SETFL, fcntl(FIRST_FD + i, F_GETFL) | O_NONBLOCK);
		nbd_server_listen(s->server, FIRST_FD + i);
	}
	return true;
}

static bool start_listening(struct serve *s, unsigned n_inherited)
{
	const char *path = s->args->value['k'], *port = s->args->value['p'];
	GError *error = NULL;
	int fd;

	if (n_inherited)
		return take_inherited(s, n_inherited);
	fd = path ? kv_listen_unix("NBD socket", path, &error) :
		    kv_listen_tcp(s->args->value['b'], port ? port : "10809", &error);
	if (fd < 0)
		return img_fail_error(NULL, error), false;
	s->socket = path;
	nbd_server_listen(s->server, fd);
	return true;
}

/* ---- the process ---- */

static void client_left(void *opaque, unsigned n, bool used)
{
	struct serve *s = opaque;

	if (used && !n && !img_has(s->args, 't'))
		g_main_loop_quit(s->loop);
}

static gboolean told_to_end(gpointer opaque)
{
	g_main_loop_quit(((struct serve *)opaque)->loop);
	return G_SOURCE_CONTINUE;
}

static bool write_pid(struct serve *s)
{
	const char *path = s->args->value[IMG_PID_FILE];
	g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
	GError *error = NULL;

	if (!path)
		return true;
	if (!g_file_set_contents(path, text, -1, &error))
		return img_fail_error(NULL, error), false;
	s->pid_file = path;
	return true;
}

/* --fork: true in the child, in the parent with its exit status. */
static bool go_behind(struct serve *s, int *ret_status)
{
	int ends[2];
	pid_t pid;
	char ok = 0;

	if (!img_has(s->args, IMG_FORK))
		return true;
	*ret_status = 1;
	if (pipe2(ends, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		return img_fail("cannot fork: %s", g_strerror(errno)), false;
	if (pid) {
		ssize_t n;

		close(ends[1]);
		do {
			n = read(ends[0], &ok, 1);
		} while (n < 0 && errno == EINTR);
		*ret_status = n != 1;
		return false;
	}
	close(ends[0]);
	s->ready = ends[1];
	setsid();
	return true;
}

/* Who started us has no use for our descriptors; the log goes nowhere from here on. */
static bool tell_parent(struct serve *s)
{
	int null;

	if (s->ready < 0)
		return true;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || write(s->ready, "", 1) != 1)
		return false;
	close(s->ready);
	for (int fd = 0; fd < FIRST_FD; fd++)
		dup2(null, fd);
	close(null);
	return true;
}

/* -B: of the image or of one below it. */
static bool find_bitmap(struct serve *s, struct nbd_bitmap *ret)
{
	const char *name = s->args->value['B'];
	struct image_bitmap *b = NULL;
	GError *error = NULL;

	if (!name)
		return true;
	for (struct image *i = s->img; i && !b; i = i->backing) {
		g_clear_error(&error);
		b = image_bitmap_find(i, name, &error);
		if (b && !image_bitmap_usable(i, b, false, &error))
			return img_fail_error(NULL, error), false;
	}
	if (!b)
		return img_fail_error(NULL, error), false;
	*ret = nbd_bitmap_of(b);
	return true;
}

static bool add_export(struct serve *s)
{
	struct img_args *args = s->args;
	struct nbd_bitmap bitmap;
	const struct nbd_export_options o = {
		.bitmaps = &bitmap,
		.n_bitmaps = img_has(args, 'B'),
		.name = args->value['x'] ? args->value['x'] : "",
		.description = args->value['D'],
		.writable = !s->img->readonly,
		.allocation_depth = img_has(args, 'A'),
		.ignore_flush = g_strcmp0(args->value[IMG_CACHE_MODE], "unsafe") == 0,
	};
	GError *error = NULL;

	if (!find_bitmap(s, &bitmap))
		return false;
	return nbd_export_add(s->server, s->img, &o, &error) || (img_fail_error(NULL, error), false);
}

static bool make_server(struct serve *s, unsigned shared)
{
	struct img_args *args = s->args;
	const char *psk = args->value[IMG_TLS_PSK];
	const struct nbd_server_options o = {
		.max_connections = shared,
		.tls_creds = psk ? psk : args->value[IMG_TLS_CREDS],
		.tls_psk = psk,
		.tls_verify_peer = img_has(args, IMG_TLS_VERIFY),
		.left = client_left,
		.opaque = s,
	};
	GError *error = NULL;

	s->server = nbd_server_new(NULL, &o, &error);
	return s->server || (img_fail_error(NULL, error), false);
}

static void catch_signals(struct serve *s)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };

	s->loop = g_main_loop_new(NULL, FALSE);
	for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
		g_unix_signal_add(signals[i], told_to_end, s);
}

static bool run(struct serve *s, unsigned shared, unsigned n_inherited)
{
	if (!open_served(s) || !make_server(s, shared) || !add_export(s))
		return false;
	catch_signals(s); /* before anybody can know that we are there */
	if (!start_listening(s, n_inherited) || !write_pid(s) || !tell_parent(s))
		return false;
	g_main_loop_run(s->loop);
	return true;
}

static int serve(struct img_args *args)
{
	struct serve s = { .args = args, .ready = -1 };
	unsigned shared, n_inherited = inherited();
	int status;
	bool ok;

	if (!check_options(args) || !find_shared(args, &shared))
		return 1;
	if (args->n != 1)
		return img_usage(args, "Expecting one image file name");
	if (!go_behind(&s, &status))
		return status;
	ok = run(&s, shared, n_inherited);
	if (s.loop)
		g_main_loop_unref(s.loop);
	nbd_server_free(s.server);
	image_close(s.img);
	if (s.socket)
		unlink(s.socket);
	if (s.pid_file)
		unlink(s.pid_file);
	return !ok;
}

const struct img_command img_serve = {"serve", "[option]... FILE", "gives an image to NBD clients", options, serve};
