/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's console at this terminal, until the escape character or its end. Called by console, start and create. What is typed
 * waits here until the server takes it: a guest that reads nothing must not keep us from the escape character.
 */
#include <errno.h>
#include <glib-unix.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "args.h"
#include "domain.h"
#include "objects.h"
#include "rpc/message.h"

enum { TYPED_MAX = 16 << 20 };

struct console {
	struct shell *sh;
	KvStream *stream;
	GMainLoop *loop;
	GByteArray *typed; /* and not sent yet */
	bool ok;
};

static void end(struct console *c, bool ok)
{
	c->ok = ok;
	g_main_loop_quit(c->loop);
}

static void write_all(const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, data, len);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return;
		data += MAX(n, 0);
		len -= MAX(n, 0);
	}
}

static bool send_typed(struct console *c)
{
	g_autoptr(GError) error = NULL;
	gssize n = 0;

	while (c->typed->len && (n = kv_stream_send_nonblock(c->stream, c->typed->data, c->typed->len, &error)) > 0)
		g_byte_array_remove_range(c->typed, 0, n);
	if (n >= 0 || g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
		return true;
	forget_error(c->sh);
	c->sh->error = g_steal_pointer(&error);
	end(c, false);
	return false;
}

static void on_ready(KvStream *stream, struct console *c)
{
	char data[4096];
	gssize n;

	g_clear_error(&c->sh->error);
	while ((n = kv_stream_recv_nonblock(stream, data, sizeof(data), &c->sh->error)) > 0)
		write_all(data, n);
	if (n == 0) {
		end(c, true);
	} else if (g_error_matches(c->sh->error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
		g_clear_error(&c->sh->error);
		send_typed(c);
	} else {
		end(c, false);
	}
}

static gboolean on_key(gint fd, GIOCondition condition, gpointer opaque)
{
	struct console *c = opaque;
	char data[1024], *escape;
	ssize_t n = read(fd, data, sizeof(data));

	if (n <= 0) {
		end(c, true);
		return G_SOURCE_CONTINUE; /* its owner removes it */
	}
	escape = memchr(data, c->sh->escape, n);
	g_byte_array_append(c->typed, (guint8 *)data, escape ? escape - data : n);
	if (send_typed(c) && escape)
		end(c, true);
	else if (c->typed->len > TYPED_MAX)
		end(c, rpc_fail(&c->sh->error, VIR_ERR_OPERATION_FAILED, "the guest does not take what is typed: %u bytes wait",
				c->typed->len));
	return G_SOURCE_CONTINUE;
}

static void on_closed(KvConnection *conn, const GError *why, struct console *c)
{
	end(c, false);
}

/* A server that still holds what was typed reads no call of this connection either: the next command opens another. */
static void leave(struct console *c)
{
	g_autoptr(GError) why = NULL;
	bool is_stuck = kv_stream_send_nonblock(c->stream, NULL, 0, &why) < 0 &&
			g_error_matches(why, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);

	g_object_unref(c->stream);
	g_byte_array_unref(c->typed);
	if (is_stuck)
		g_clear_object(&c->sh->conn);
}

bool run_console(struct shell *sh, GVariant *dom, const char *device, unsigned flags)
{
	struct console c = { sh };
	struct termios before, raw;
	gulong ready, closed;
	guint keys;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0)
		return shell_error(sh, "Cannot run interactive console without a controlling TTY");
	c.stream = kv_stream_open_sync(sh->conn, "domain_open_console", g_variant_new("(@" DOMAIN "msu)", dom, device, flags),
				       NULL, NULL, &sh->error);
	if (!c.stream)
		return false;
	printf("Connected to domain '%s'\nEscape character is ^%c (Ctrl + %c)\n", domain_name(dom), sh->escape | 0x40,
	       sh->escape | 0x40);
	fflush(stdout);
	raw = before;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
	c.loop = g_main_loop_new(NULL, FALSE);
	c.typed = g_byte_array_new();
	ready = g_signal_connect(c.stream, "ready", G_CALLBACK(on_ready), &c);
	closed = g_signal_connect(sh->conn, "closed", G_CALLBACK(on_closed), &c);
	keys = g_unix_fd_add(STDIN_FILENO, G_IO_IN | G_IO_HUP, on_key, &c);
	on_ready(c.stream, &c);
	g_main_loop_run(c.loop);
	g_source_remove(keys);
	g_signal_handler_disconnect(sh->conn, closed);
	g_signal_handler_disconnect(c.stream, ready);
	g_main_loop_unref(c.loop);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	leave(&c);
	putchar('\n');
	return c.ok;
}

bool cmd_console(struct shell *sh, const struct args *a)
{
	enum { FORCE = 1, SAFE = 2 };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	unsigned flags = (arg_on(a, "force") ? FORCE : 0) | (arg_on(a, "safe") ? SAFE : 0);
	int state, reason;

	if (!dom)
		return false;
	if (!domain_state(sh, dom, &state, &reason))
		return shell_error(sh, "Unable to get domain status");
	if (state == STATE_SHUTOFF)
		return shell_error(sh, "The domain is not running");
	return run_console(sh, dom, arg_text(a, "devname"), flags);
}
