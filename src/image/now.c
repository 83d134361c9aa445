/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that are done at once, in a queue's thread, when nobody has to be waited for: bytes that are in the page cache, at
 * places that are known without I/O, and zeroes. That spares a hand-over to the kernel's ring or a thread, which costs more than
 * the copy. Gates are entered as in queue.c. Called by the NBD server. See image.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "bytes.h"
#include "format.h"
#include "gate.h"
#include "live.h"

static uint64_t size_of(const struct image *img)
{
	return __atomic_load_n(&img->size, __ATOMIC_RELAXED);
}

/* In the gate. All of it, or -EAGAIN. */
static int transfer(int fd, bool write, uint64_t at, void *buf, uint64_t len)
{
	struct iovec iov = { buf, len };
	/* A write to the page cache waits for nobody but a host that has too much to write back. */
	ssize_t n = write ? pwritev(fd, &iov, 1, at) : preadv2(fd, &iov, 1, at, RWF_NOWAIT);

	return n == (ssize_t)len ? 0 : -EAGAIN;
}

/* The run at offset, in this layer: 0 and its extent, read or written if it is DATA; -EAGAIN. */
static int one_run(struct image *img, bool write, uint64_t offset, void *buf, uint64_t len, struct image_extent *e)
{
	int res = -EAGAIN;

	if (!gate_try_enter(img->gate))
		return -EAGAIN;
	if (image_map_now(img, offset, len, e)) {
		if (e->kind == IMAGE_DATA && e->has_at && img->data->fd >= 0 && (!write || e->in_place))
			res = transfer(img->data->fd, write, e->at, buf, e->len);
		else if (!write && (e->kind == IMAGE_ZERO || e->kind == IMAGE_HOLE))
			res = 0;
	}
	gate_leave(img->gate);
	return res;
}

static int read_now(struct image *top, uint64_t offset, char *to, uint64_t len, bool *ret_zero)
{
	while (len) {
		struct image *img = top;
		uint64_t run = len, below;
		struct image_extent e;

		for (;; img = img->backing) {
			if (one_run(img, false, offset, to, run, &e) < 0)
				return -EAGAIN;
			run = e.len;
			below = e.kind == IMAGE_HOLE ? image_in_backing(img, offset, run) : 0;
			if (!below)
				break;
			if (image_is_moving(img->backing))
				return -EAGAIN;
			run = below;
		}
		if (e.kind == IMAGE_DATA)
			*ret_zero = false;
		else
			memset(to, 0, run);
		offset += run;
		to += run;
		len -= run;
	}
	return 0;
}

int image_read_now(struct image_queue *q, uint64_t offset, void *buf, uint64_t len, bool *ret_zero)
{
	int res;

	if (!range_inside(offset, len, size_of(q->image)))
		return -EINVAL;
	if (!image_queue_enter(q))
		return -EAGAIN;
	*ret_zero = true;
	res = image_is_filter(q->image) ? -EAGAIN : read_now(q->image, offset, buf, len, ret_zero);
	image_queue_leave(q);
	return res;
}

static int write_now(struct image *img, uint64_t offset, const char *from, uint64_t len)
{
	uint64_t at = offset, left = len;
	int res = img->guessed || image_watched_before(img) ? -EAGAIN : 0;

	while (left && res == 0) {
		struct image_extent e;

		res = one_run(img, true, at, (void *)from, left, &e);
		if (res < 0)
			break;
		at += e.len;
		from += e.len;
		left -= e.len;
	}
	if (left < len)
		image_watch_after(img, offset, len);
	return res;
}

int image_write_now(struct image_queue *q, uint64_t offset, const void *buf, uint64_t len)
{
	int res;

	if (q->image->readonly)
		return -EROFS;
	if (!range_inside(offset, len, size_of(q->image)))
		return -EINVAL;
	if (!image_queue_enter(q))
		return -EAGAIN;
	res = image_is_filter(q->image) ? -EAGAIN : write_now(q->image, offset, buf, len);
	image_queue_leave(q);
	return res;
}
