/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asynchronous requests of a queue (image/file.h) to an NBD export: one each on the wire. What does not fit (parts of blocks,
 * more than the server takes at a time) is left to the synchronous functions of client.c. libnbd has one buffer a request, so
 * several are copied, in bounded memory: cheaper than as many requests. Called by the module's table.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "client.h"

enum {
	BOUNCE_MAX = 32 << 20, /* bytes of a connection */
};

struct async {
	struct nbd_file *f;
	struct image_req *req;
	image_file_over *over;
	void *opaque;
	char bounce[];
};

static void copy(const struct image_req *req, char *bounce)
{
	for (unsigned i = 0; i < req->n_iov; i++) {
		const struct iovec *v = &req->iov[i];

		if (req->op == IMAGE_READ)
			memcpy(v->iov_base, bounce, v->iov_len);
		else
			memcpy(bounce, v->iov_base, v->iov_len);
		bounce += v->iov_len;
	}
}

static bool has_bytes(const struct image_req *req)
{
	return req->op == IMAGE_READ || req->op == IMAGE_WRITE;
}

static uint64_t bounce_size(const struct image_req *req)
{
	return has_bytes(req) && req->n_iov > 1 ? req->len : 0;
}

static void async_free(struct async *a)
{
	__atomic_sub_fetch(&a->f->bounced, bounce_size(a->req), __ATOMIC_RELAXED);
	g_free(a);
}

/* NULL: too much is under way. */
static struct async *async_new(struct nbd_file *f, struct image_req *req, image_file_over *over, void *opaque)
{
	uint64_t bytes = bounce_size(req);
	struct async *a;

	if (__atomic_add_fetch(&f->bounced, bytes, __ATOMIC_RELAXED) > BOUNCE_MAX && bytes) {
		__atomic_sub_fetch(&f->bounced, bytes, __ATOMIC_RELAXED);
		return NULL;
	}
	a = g_malloc(sizeof(*a) + bytes);
	*a = (struct async){ f, req, over, opaque };
	if (bytes && req->op == IMAGE_WRITE)
		copy(req, a->bounce);
	return a;
}

/* In whatever thread is in libnbd. */
static int on_over(void *opaque, int *error)
{
	struct async *a = opaque;
	struct async done = { a->f, a->req, a->over, a->opaque };
	int res = -*error;

	if (res == 0 && a->req->op == IMAGE_READ && bounce_size(a->req))
		copy(a->req, a->bounce);
	async_free(a);
	nbd_file_over(done.f);
	done.over(done.opaque, done.req, res);
	return 1;
}

/* Can it be one request on the wire? */
static bool fits(const struct nbd_file *f, const struct image_req *req)
{
	const bool can[] = { [IMAGE_READ] = true, [IMAGE_WRITE] = true, [IMAGE_FLUSH] = f->can_flush,
			     [IMAGE_DISCARD] = f->can_trim, [IMAGE_WRITE_ZEROES] = f->can_zero };

	if (nbd_file_gone(f) || !can[req->op] || (req->op != IMAGE_READ && f->base.readonly))
		return false;
	if (req->op == IMAGE_FLUSH)
		return true;
	if (req->op == IMAGE_WRITE_ZEROES && req->flags & IMAGE_FAST_ZERO && !f->can_fast_zero)
		return false;
	return req->len && req->len <= (has_bytes(req) ? f->chunk : RANGE_MAX) && !((req->at | req->len) & (f->block - 1)) &&
	       range_inside(req->at, req->len, image_file_size(&f->base));
}

static int64_t send_request(struct nbd_file *f, const struct image_req *req, struct async *a)
{
	const nbd_completion_callback done = { .callback = on_over, .user_data = a };
	void *buf = req->n_iov > 1 ? a->bounce : req->n_iov ? req->iov->iov_base : NULL;

	switch (req->op) {
	case IMAGE_READ:
		return nbd_aio_pread(f->nbd, buf, req->len, req->at, done, 0);
	case IMAGE_WRITE:
		return nbd_aio_pwrite(f->nbd, buf, req->len, req->at, done, 0);
	case IMAGE_FLUSH:
		return nbd_aio_flush(f->nbd, done, 0);
	case IMAGE_DISCARD:
		return nbd_aio_trim(f->nbd, req->len, req->at, done, 0);
	case IMAGE_WRITE_ZEROES:
		return nbd_aio_zero(f->nbd, req->len, req->at, done,
				    nbd_zero_flags(req->flags));
	}
	return -1;
}

/* One that libnbd refuses is made again by a thread, which says what is wrong. */
static bool start(struct image_file *base, struct image_req *req, image_file_over *over, void *opaque)
{
	struct nbd_file *f = nbd_of(base);
	struct async *a = fits(f, req) ? async_new(f, req, over, opaque) : NULL;

	if (!a)
		return false;
	nbd_file_begin(f);
	if (send_request(f, req, a) >= 0)
		return true;
	nbd_file_over(f);
	async_free(a);
	return false;
}

static unsigned events(struct image_file *base)
{
	unsigned direction = nbd_aio_get_direction(nbd_of(base)->nbd);

	return (direction & LIBNBD_AIO_DIRECTION_READ ? G_IO_IN : 0) | (direction & LIBNBD_AIO_DIRECTION_WRITE ? G_IO_OUT : 0);
}

const struct image_file_async nbd_file_async = { .start = start, .events = events, .turn = nbd_file_turn };
