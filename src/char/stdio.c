/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The console on standard input and output. On a terminal, Ctrl-A is the key before commands:
 * X leaves, A sends a Ctrl-A, H helps. A row of chardev_kinds[].
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "stream.h"
#include "terminal.h"

enum {
	CTRL_A = 1,
};

struct stdio {
	struct char_stream stream;
	int out_fd;
	bool escaped; /* Ctrl-A was the last key */
};

static const char help[] = "\r\nCtrl-A X  leave (the guest is switched off)\r\n"
			   "Ctrl-A A  send Ctrl-A to the guest\r\n"
			   "Ctrl-A H  this help\r\n";

static void command(struct stdio *io, uint8_t key)
{
	struct chardev *c = io->stream.c;

	switch (key) {
	case 'x':
	case 'X':
		if (c->quit)
			c->quit(c->quit_opaque);
		break;
	case 'h':
	case 'H':
	case '?':
		stream_write(&io->stream, (const uint8_t *)help, strlen(help));
		break;
	}
}

static size_t filter(struct char_stream *s, uint8_t *data, size_t len)
{
	struct stdio *io = (struct stdio *)s;
	size_t out = 0;

	for (size_t i = 0; i < len; i++) {
		bool escaped = io->escaped;

		io->escaped = !escaped && data[i] == CTRL_A;
		if (io->escaped)
			continue;
		if (!escaped)
			data[out++] = data[i];
		else if (data[i] == 'a' || data[i] == 'A' || data[i] == CTRL_A)
			data[out++] = CTRL_A;
		else
			command(io, data[i]);
	}
	return out;
}

/*
 * Standard output as a descriptor that does not block. O_NONBLOCK is a property of the open
 * file, which we share with the shell: so a terminal or pipe is opened once more. A file's
 * position would not be shared then; but files do not block.
 */
static int own_output(void)
{
	char path[32];
	struct stat st;
	int fd = -1;

	if (fstat(STDOUT_FILENO, &st) == 0 && (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode))) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", STDOUT_FILENO);
		fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	return fd >= 0 ? fd : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

static bool stdio_open(struct chardev *c, const char *path, GError **error)
{
	static bool taken;
	struct stdio *io;

	if (taken)
		return kv_fail(error, KV_ERROR_BUSY,
			       "console 'stdio' is in use; only one console can have it");
	taken = true;
	io = g_new0(struct stdio, 1);
	io->out_fd = own_output();
	stream_init(&io->stream, c);
	if (isatty(STDIN_FILENO)) {
		io->stream.filter = filter;
		terminal_raw(STDIN_FILENO);
	}
	stream_connect(&io->stream, STDIN_FILENO, io->out_fd);
	return true;
}

static void stdio_close(struct chardev *c)
{
	struct stdio *io = c->state;

	stream_destroy(&io->stream);
	terminal_restore();
	if (io->out_fd >= 0)
		close(io->out_fd);
	g_free(io);
}

const struct char_kind char_kind_stdio = {
	.name = "stdio",
	.help = "this terminal; Ctrl-A X leaves",
	.open = stdio_open,
	.close = stdio_close,
};
