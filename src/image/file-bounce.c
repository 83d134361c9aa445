/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Transfers of a file that is open with O_DIRECT which the kernel refuses, because their place, length or memory is not
 * aligned: through a buffer that is, in whole blocks of the device. How large these are is found by trying: 512 bytes, else
 * 4096. Writes of parts of blocks read the rest first, one at a time, or two of them in one block would undo each other.
 * Called by file-io.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "file-queue.h"
#include "iov.h"

enum {
	BLOCK_MIN = 512,
	BLOCK_MAX = 4096,
	CHUNK = 1 << 20,
};

static ssize_t again(ssize_t got)
{
	return got < 0 && errno == EINTR ? 0 : got;
}

/* Reads what there is; the rest of buf is zeroes. */
static int read_blocks(int fd, char *buf, size_t len, uint64_t at)
{
	size_t done = 0;

	while (done < len) {
		ssize_t got = pread(fd, buf + done, len - done, at + done);

		if (got < 0 && errno != EINTR)
			return -errno;
		/* An end within a block cannot be read from there on. */
		if (got == 0 || (got > 0 && got % BLOCK_MIN)) {
			done += got;
			break;
		}
		done += again(got);
	}
	memset(buf + done, 0, len - done);
	return 0;
}

static int write_blocks(int fd, const char *buf, size_t len, uint64_t at)
{
	size_t done = 0;

	while (done < len) {
		ssize_t got = pwrite(fd, buf + done, len - done, at + done);

		if (got == 0)
			return -EIO;
		if (got < 0 && errno != EINTR)
			return -errno;
		done += again(got);
	}
	return 0;
}

/* The request's bytes from req->done on that the blocks [from, to) have. */
static int one_chunk(struct image_req *req, char *buf, uint64_t from, uint64_t to, uint64_t n, unsigned block)
{
	uint64_t at = req->at + req->done;
	int res = 0;

	if (req->op == IMAGE_READ) {
		res = read_blocks(req->fd, buf, to - from, from);
		if (res == 0)
			req_copy(req, req->done, buf + (at - from), n);
		return res;
	}
	if (at > from)
		res = read_blocks(req->fd, buf, block, from);
	if (res == 0 && at + n < to && (to - from > block || at == from))
		res = read_blocks(req->fd, buf + (to - from - block), block, to - block);
	if (res < 0)
		return res;
	req_copy(req, req->done, buf + (at - from), n);
	return write_blocks(req->fd, buf, to - from, from);
}

static int all_chunks(struct image_req *req, char *buf, unsigned block)
{
	static GMutex parts;
	int res = 0;

	while (req->done < req->len && res == 0) {
		uint64_t at = req->at + req->done, from = align_down(at, block);
		uint64_t n = MIN(req->len - req->done, CHUNK - (at - from)), to = align_up(at + n, block);
		bool part = req->op == IMAGE_WRITE && (from != at || to != at + n);

		if (part)
			g_mutex_lock(&parts);
		res = one_chunk(req, buf, from, to, n, block);
		if (part)
			g_mutex_unlock(&parts);
		if (res == 0)
			req->done += n;
	}
	return res;
}

int file_bounce(struct image_req *req)
{
	int flags = fcntl(req->fd, F_GETFL), res = -EINVAL;
	void *buf;

	if (flags < 0 || !(flags & O_DIRECT))
		return -EINVAL;
	if (posix_memalign(&buf, BLOCK_MAX, CHUNK))
		return -ENOMEM;
	for (unsigned block = BLOCK_MIN; res == -EINVAL && block <= BLOCK_MAX; block *= BLOCK_MAX / BLOCK_MIN)
		res = all_chunks(req, buf, block);
	free(buf);
	return res;
}
