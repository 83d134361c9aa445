/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One request to a file or block device (req->fd, req->at) with ordinary system calls: what the threads of file-queue.c run,
 * the rest of a transfer that io_uring cut short, and what file-posix.c is made of. Holes and zeroes are made with
 * fallocate(2) where the file system can, else written. A file without a descriptor does it with its own functions.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "file-queue.h"
#include "file.h"

enum {
	ZERO_CHUNK = 64 << 10,
};

/* What is left of the request's buffers after req->done bytes. */
static unsigned rest_of_iov(const struct image_req *req, struct iovec *dst)
{
	uint64_t skip = req->done;
	unsigned n = 0;

	for (unsigned i = 0; i < req->n_iov && n < IOV_MAX; i++) {
		size_t len = req->iov[i].iov_len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		dst[n].iov_base = (char *)req->iov[i].iov_base + skip;
		dst[n++].iov_len = len - skip;
		skip = 0;
	}
	return n;
}

static void zero_iov(const struct iovec *iov, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		memset(iov[i].iov_base, 0, iov[i].iov_len);
}

static int transfer(struct image_req *req)
{
	struct iovec rest[IOV_MAX];

	while (req->done < req->len) {
		unsigned n = rest_of_iov(req, rest);
		off_t at = req->at + req->done;
		ssize_t got = req->op == IMAGE_READ ? preadv(req->fd, rest, n, at) : pwritev(req->fd, rest, n, at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EINVAL ? file_bounce(req) : -errno;
		if (got == 0 && req->op == IMAGE_WRITE)
			return -EIO;
		if (got == 0) {
			/* The last sector of a file that ends within it. */
			zero_iov(rest, n);
			return 0;
		}
		req->done += got;
	}
	return 0;
}

static int allocate(int mode, const struct image_req *req)
{
	int r;

	do {
		r = fallocate(req->fd, mode | FALLOC_FL_KEEP_SIZE, req->at, req->len);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static bool cannot(int res)
{
	return res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL || res == -ENODEV;
}

/* The kernel might write to a device what that cannot do itself. */
static bool fast_device(const struct image_req *req)
{
	return req->flags & IMAGE_FAST_ZERO && req->file && req->file->device;
}

static int write_zeroes(const struct image_req *req)
{
	static const char zeroes[ZERO_CHUNK];
	int res = -EOPNOTSUPP;

	if (req->flags & IMAGE_MAY_UNMAP)
		res = allocate(FALLOC_FL_PUNCH_HOLE, req);
	if (cannot(res) && !fast_device(req))
		res = allocate(FALLOC_FL_ZERO_RANGE, req);
	if (!cannot(res) || req->flags & IMAGE_FAST_ZERO)
		return cannot(res) ? -ENOTSUP : res;
	res = 0;
	for (uint64_t done = 0; done < req->len && res == 0; done += ZERO_CHUNK) {
		struct iovec iov = { (void *)zeroes, MIN(req->len - done, ZERO_CHUNK) };
		struct image_req part = { .op = IMAGE_WRITE, .iov = &iov, .n_iov = 1, .fd = req->fd, .at = req->at + done,
					  .len = iov.iov_len };

		res = transfer(&part);
	}
	return res;
}

/* The same of a file without a descriptor. */
static int call_file(const struct image_req *req)
{
	const struct image_file_type *type = req->file->type;
	uint64_t at = req->at;
	int res = 0;

	if (req->op == IMAGE_FLUSH)
		return type->flush(req->file);
	if (req->op == IMAGE_DISCARD)
		return type->discard(req->file, at, req->len);
	if (req->op == IMAGE_WRITE_ZEROES)
		return type->write_zeroes(req->file, at, req->len, req->flags);
	for (unsigned i = 0; i < req->n_iov && res == 0; i++) {
		const struct iovec *v = &req->iov[i];

		res = req->op == IMAGE_READ ? type->read(req->file, at, v->iov_base, v->iov_len) :
					      type->write(req->file, at, v->iov_base, v->iov_len);
		at += v->iov_len;
	}
	return res;
}

int file_io(struct image_req *req)
{
	int res = -EINVAL;

	if (req->fd < 0)
		return call_file(req);
	switch (req->op) {
	case IMAGE_READ:
	case IMAGE_WRITE:
		return transfer(req);
	case IMAGE_FLUSH:
		return fdatasync(req->fd) < 0 ? -errno : 0;
	case IMAGE_DISCARD:
		/* Advice: a file that cannot have holes keeps its bytes. */
		res = allocate(FALLOC_FL_PUNCH_HOLE, req);
		return cannot(res) ? 0 : res;
	case IMAGE_WRITE_ZEROES:
		return req->len ? write_zeroes(req) : 0;
	}
	return res;
}
