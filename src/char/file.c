/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The console's output into a file, emptied first. A row of chardev_kinds[]. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "error.h"
#include "stream.h"

struct file {
	struct char_stream stream;
	int fd;
};

static bool file_open(struct chardev *c, const char *path, GError **error)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644);
	struct file *f;

	if (fd < 0)
		return kv_fail_errno(error, errno, "cannot open console file '%s'", path);
	f = g_new0(struct file, 1);
	f->fd = fd;
	stream_init(&f->stream, c);
	stream_connect(&f->stream, -1, fd);
	return true;
}

static void file_close(struct chardev *c)
{
	struct file *f = c->state;

	stream_destroy(&f->stream);
	close(f->fd);
	g_free(f);
}

const struct char_kind char_kind_file = {
	.name = "file",
	.help = "output into a file",
	.has_path = true,
	.open = file_open,
	.close = file_close,
};
