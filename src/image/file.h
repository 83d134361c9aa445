/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where an image's bytes are: a regular file or a block device (file-posix.c), or an NBD export (file-nbd.c). Synchronous, any
 * thread, any number of calls at a time; 0 or a negative errno. Reading beyond the end gives zeroes; writing there makes the
 * file longer. Private to src/image.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "image.h"

struct image_file;

typedef void image_file_over(void *opaque, struct image_req *req, int res);

/*
 * Asynchronous requests, for a file without a descriptor: what queues give it in the place of the kernel. Its `socket` is polled
 * by those who have requests under way.
 */
struct image_file_async {
	/*
	 * READ, WRITE and so on at req->at. True: over() is called once, by any thread that calls the file, perhaps before this
	 * returns, and calls neither the file nor anything that waits. False: it is for the synchronous functions.
	 */
	bool (*start)(struct image_file *f, struct image_req *req, image_file_over *over, void *opaque);
	/* What to poll the socket for, G_IO_IN and G_IO_OUT; 0: there is none any more, and no request. Takes no lock. */
	unsigned (*events)(struct image_file *f);
	/* Does what the socket brings, for all; does not wait. */
	void (*turn)(struct image_file *f);
};

struct image_file_type {
	int (*read)(struct image_file *f, uint64_t offset, void *buf, uint64_t len);
	int (*write)(struct image_file *f, uint64_t offset, const void *buf, uint64_t len);
	int (*write_zeroes)(struct image_file *f, uint64_t offset, uint64_t len, unsigned flags); /* MAY_UNMAP, FAST_ZERO */
	int (*discard)(struct image_file *f, uint64_t offset, uint64_t len); /* advice */
	int (*flush)(struct image_file *f);
	int (*truncate)(struct image_file *f, uint64_t size);
	/* Is there data at offset? The run's length goes to *ret_len, at most len. Errors count as data. */
	bool (*has_data)(struct image_file *f, uint64_t offset, uint64_t len, uint64_t *ret_len);
	/* Advice: all of a range that holds nothing yet is written next; and_on: what follows, too. NULL: makes no difference. */
	void (*will_fill)(struct image_file *f, uint64_t offset, uint64_t len, bool and_on);
	/*
	 * The bytes at `at` of another file, without a copy: both files have the same blocks until one is written to. All numbers
	 * are multiples of the file systems' blocks. Any error: it cannot be done. NULL: never.
	 */
	int (*share)(struct image_file *f, uint64_t offset, uint64_t len, struct image_file *from, uint64_t at);
	const struct image_file_async *async; /* NULL: it has none */
	void (*close)(struct image_file *f);
	/* For reading alone or for writing, too, under the same name, with its locks; on an error nothing has changed. */
	bool (*reopen)(struct image_file *f, bool readonly, GError **error);
};

struct image_file {
	const struct image_file_type *type;
	char *name;
	int fd; /* for io_uring and copy_file_range; -1: none */
	int socket; /* type->async: to be polled */
	bool readonly;
	bool device; /* cannot grow */
	bool unlocked; /* opened with SHARE */
	bool slow_growth; /* the file system is quicker when room is allocated before it is written */
	uint64_t size; /* atomic; of the file, not rounded */
	uint64_t filled; /* atomic; room is allocated up to here, maybe beyond the file's end: given back when it is closed */
	int more;      /* atomic; references beside the first */
};

enum {
	IMAGE_FILE_CREATE = 1,
	IMAGE_FILE_SHARE = 2,  /* readers beside a writer: no locks (-U) */
	IMAGE_FILE_DIRECT = 4, /* O_DIRECT */
};
/* Opens and locks (lock.h). CREATE: makes it, or empties what is there (a device stays as it is). */
struct image_file *image_file_open(const char *path, bool readonly, unsigned flags, GError **error);
/* The options "nocow" ("on") and "extent_size_hint" (bytes) of image_create(), for a file that is empty. */
void image_file_set_attributes(struct image_file *f, GVariant *options);
struct image_file *image_file_ref(struct image_file *f);
void image_file_close(struct image_file *f); /* drops a reference; NULL is fine */
/* Makes the file longer or keeps its size: bytes that become part of it are allocated (FALLOC) or written (FULL). */
int image_file_grow(struct image_file *f, uint64_t size, enum image_prealloc prealloc);

static inline void image_file_will_fill(struct image_file *f, uint64_t offset, uint64_t len, bool and_on)
{
	if (f->type->will_fill)
		f->type->will_fill(f, offset, len, and_on);
}

/* Does it take what a queue has without a thread? */
static inline bool image_file_queues(const struct image_file *f)
{
	return f->fd >= 0 || f->type->async;
}

static inline uint64_t image_file_size(const struct image_file *f)
{
	return __atomic_load_n(&f->size, __ATOMIC_RELAXED);
}
