/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raw images: a file or a block device whose bytes are the disk's. Holes are kept and made.
 * A row of image_formats[].
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include "bytes.h"
#include "error.h"
#include "file-queue.h"
#include "formats.h"
#include "lock.h"

enum {
	SECTOR = 512,
};

struct raw {
	int fd;
	enum file_engine engine;
};

/* Containers of other formats, refused unless the user says that he means raw. */
static const struct {
	const char *name;
	unsigned offset;
	const char *magic;
	unsigned len;
} foreign[] = {
	{ "qcow2", 0, "QFI\xfb", 4 },	 { "vmdk", 0, "KDMV", 4 },
	{ "vhdx", 0, "vhdxfile", 8 },	 { "vpc", 0, "conectix", 8 },
	{ "vdi", 64, "\x7f\x10\xda\xbe", 4 }, { "qed", 0, "QED\0", 4 },
};

static bool refuse_foreign(struct image *img, int fd, GError **error)
{
	char head[SECTOR];
	ssize_t got = pread(fd, head, sizeof(head), 0);

	for (size_t i = 0; i < G_N_ELEMENTS(foreign); i++) {
		size_t end = foreign[i].offset + foreign[i].len;

		if (got >= (ssize_t)end &&
		    memcmp(head + foreign[i].offset, foreign[i].magic, foreign[i].len) == 0)
			return kv_fail(error, KV_ERROR_UNSUPPORTED,
				       "disk '%s' is a %s image and only raw is supported; convert it, or "
				       "give format=raw to use it as it is",
				       img->path, foreign[i].name);
	}
	return true;
}

static bool find_size(struct image *img, int fd, GError **error)
{
	struct stat st;
	uint64_t size;

	if (fstat(fd, &st) < 0)
		return kv_fail_errno(error, errno, "disk '%s': cannot read its size", img->path);
	if (S_ISREG(st.st_mode))
		size = st.st_size;
	else if (!S_ISBLK(st.st_mode))
		return kv_fail(error, KV_ERROR_INVALID,
			       "disk '%s' is neither a file nor a block device", img->path);
	else if (ioctl(fd, BLKGETSIZE64, &size) < 0)
		return kv_fail_errno(error, errno, "disk '%s': cannot read its size", img->path);
	if (!size)
		return kv_fail(error, KV_ERROR_INVALID,
			       "disk '%s' is empty; give it a size, as with truncate -s 8G", img->path);
	img->size = align_up(size, SECTOR);
	return true;
}

static bool find_engine(GVariant *options, struct raw *raw, GError **error)
{
	const char *aio = "auto";

	g_variant_lookup(options, "aio", "&s", &aio);
	if (strcmp(aio, "auto") == 0)
		raw->engine = FILE_ENGINE_AUTO;
	else if (strcmp(aio, "io_uring") == 0)
		raw->engine = FILE_ENGINE_URING;
	else if (strcmp(aio, "threads") == 0)
		raw->engine = FILE_ENGINE_THREADS;
	else
		return kv_fail(error, KV_ERROR_USAGE, "aio=%s is not known; give auto, io_uring or threads",
			       aio);
	return true;
}

/* A block device that takes no writes opens for writing all the same. */
static bool refuses_writes(int fd)
{
	int readonly = 0;

	return ioctl(fd, BLKROGET, &readonly) == 0 && readonly;
}

static int open_file(struct image *img, GError **error)
{
	/* Not blocking: a FIFO would wait for its other end. */
	int fd = open(img->path, (img->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	bool hint;

	if (fd >= 0 && !img->readonly && refuses_writes(fd)) {
		close(fd);
		fd = -1;
		errno = EROFS;
	}
	hint = fd < 0 && !img->readonly && (errno == EACCES || errno == EROFS);

	if (fd < 0)
		kv_fail_errno(error, errno, "cannot open disk '%s'%s", img->path,
			      hint ? " for writing (readonly=on reads only)" : "");
	return fd;
}

static void raw_close(struct image *img)
{
	struct raw *raw = img->state;

	if (raw->fd >= 0)
		close(raw->fd);
	g_free(raw);
}

static bool raw_open(struct image *img, GVariant *options, GError **error)
{
	struct raw *raw = g_new0(struct raw, 1);
	const char *format;

	img->state = raw;
	raw->fd = -1;
	if (find_engine(options, raw, error))
		raw->fd = open_file(img, error);
	if (raw->fd < 0 || !find_size(img, raw->fd, error) ||
	    !image_lock(raw->fd, img->path, img->readonly, error) ||
	    (!g_variant_lookup(options, "format", "&s", &format) &&
	     !refuse_foreign(img, raw->fd, error))) {
		raw_close(img);
		return false;
	}
	img->discard = !img->readonly;
	return true;
}

static struct image_queue *raw_queue_new(struct image *img, GMainContext *context, unsigned depth,
					 GError **error)
{
	struct raw *raw = img->state;

	return file_queue_new(img, raw->fd, raw->engine, context, depth, error);
}

const struct image_format image_raw = {
	.name = "raw",
	.open = raw_open,
	.close = raw_close,
	.queue_new = raw_queue_new,
	.queue_free = file_queue_free,
	.submit = file_queue_submit,
	.kick = file_queue_kick,
};
