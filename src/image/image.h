/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk images as devices and tools see them: an open image, and queues of asynchronous requests to it. Formats are rows of
 * image_formats[] (table.c); an image may stand on another one (`next`).
 *
 * Threads: open, close and queue creation in the main thread. A queue belongs to the thread of its GMainContext: submit and
 * kick are called there or under the caller's own lock (one caller at a time), and complete() runs in that context, also
 * for requests that fail at once (never inside image_submit).
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum image_op { IMAGE_READ, IMAGE_WRITE, IMAGE_FLUSH, IMAGE_DISCARD, IMAGE_WRITE_ZEROES };
#define IMAGE_MAY_UNMAP 1u /* WRITE_ZEROES: the range may be deallocated */

struct image_req {
	enum image_op op;
	unsigned flags;
	const struct iovec *iov; /* READ, WRITE: valid until complete() */
	unsigned n_iov;
	uint64_t offset, len; /* bytes */
	/* res: 0, or a negative errno (-ENOTSUP: the image cannot do this kind) */
	void (*complete)(struct image_req *req, int res);
	void *opaque;
	struct image_req *link; /* the image's own, while the request is under way */
	uint64_t done;		/* likewise: bytes of a short transfer that are through */
};

struct image;
struct image_queue;

struct image_format {
	const char *name;
	bool (*open)(struct image *img, GVariant *options, GError **error);
	void (*close)(struct image *img);
	struct image_queue *(*queue_new)(struct image *img, GMainContext *context, unsigned depth, GError **error);
	void (*queue_free)(struct image_queue *q); /* waits for what is under way */
	void (*submit)(struct image_queue *q, struct image_req *req);
	void (*kick)(struct image_queue *q); /* everything submitted so far goes to the host */
};

struct image {
	const struct image_format *format;
	char *path;
	uint64_t size; /* bytes, a multiple of 512 */
	bool readonly;
	bool discard; /* DISCARD deallocates */
	struct image *next;
	void *state;
};

struct image_queue {
	struct image *image;
	GMainContext *context;
};

extern const struct image_format *const image_formats[]; /* NULL-terminated */

/*
 * Options, a{sv}: file (s, required), format (s; default raw), readonly (b). Takes a lock on the file that other kv and QEMU
 * processes respect: writers exclude everybody, readers each other not (KV_ERROR_BUSY names the file).
 */
struct image *image_open(GVariant *options, GError **error);
void image_close(struct image *img); /* NULL is fine; its queues are gone before */

struct image_queue *image_queue_new(struct image *img, GMainContext *context, unsigned depth, GError **error);
void image_queue_free(struct image_queue *q);
void image_submit(struct image_queue *q, struct image_req *req);
void image_kick(struct image_queue *q);
