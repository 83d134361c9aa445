/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk images as devices and tools see them: an open image, queues of asynchronous requests to it, and synchronous access.
 * Formats are rows of image_formats[] (table.c); an image may stand on another one (`backing`).
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
#define IMAGE_FAST_ZERO 2u /* WRITE_ZEROES: -ENOTSUP, and soon, where bytes would have to be written */

struct image_req {
	enum image_op op;
	unsigned flags;
	const struct iovec *iov; /* READ, WRITE: valid until complete() */
	unsigned n_iov;
	uint64_t offset, len; /* bytes */
	/* res: 0, or a negative errno (-ENOTSUP: the image cannot do this kind) */
	void (*complete)(struct image_req *req, int res);
	void *opaque;
	/* The image's own, while the request is under way: */
	struct image_req *link;
	uint64_t done; /* bytes of a short transfer that are through; at last the result */
	uint64_t at;   /* a plain transfer: where in its file; */
	int fd;	       /* -1: it has none */
	struct image_file *file; /* fd -1: takes it; NULL: a thread does it through the format */
	struct image *layer; /* whose gate is to be left; NULL: none's */
};

struct image;
struct image_queue;
struct image_file;
struct image_format;
struct image_gate;
struct image_watch;
struct image_bitmap;

/*
 * An open image: one layer, its file, and what it stands on. Immutable after image_open(), except for size (image_resize()),
 * what live.c changes (backing, readonly, watches) and what a format keeps in state.
 */
struct image {
	const struct image_format *format;
	char *path;
	uint64_t size; /* bytes, a multiple of 512; atomic */
	bool readonly;
	bool share;		 /* no locks */
	bool direct;		 /* past the host's page cache */
	bool guessed;		 /* raw, because the first bytes looked like nothing else; such writes are refused (-EPERM) */
	bool auto_readonly;	 /* readonly as long as nothing on it wants to write (image_open_on()) */
	bool discard;		 /* DISCARD deallocates */
	uint8_t sparse;		 /* for src/img: its file has fewer blocks than bytes (open.c); atomic */
	struct image_file *file; /* where the format's structures are */
	struct image_file *data; /* where guest data is: the same one but for a qcow2 data file */
	struct image *backing;	 /* a reference; what this layer does not have is read from there; NULL: zeroes */
	struct image *storage;	 /* a reference: image_open_on(); NULL: none */
	char *backing_name, *backing_format; /* as they stand in the file; NULL: none */
	void *state;			     /* the format's */
	/* image.c's own: */
	int refs;		     /* atomic */
	const struct image *above;   /* while it is opened: which image this one is the backing of */
	struct image_gate *gate;     /* gate.h */
	int aio;		     /* enum file_engine */
	struct image_watch *watches; /* live.c; atomic */
	GRWLock watch_lock;
	struct image_bitmap *bitmaps; /* bitmap-list.c's, see bitmap.h */
	bool bitmaps_loaded;	      /* those of the file are among them */
};

struct image_queue {
	struct image *image;
	GMainContext *context;
};

extern const struct image_format *const image_formats[]; /* NULL-terminated */

/*
 * Takes a lock on the file that other kv and QEMU processes respect: writers exclude everybody, readers each other not
 * (KV_ERROR_BUSY names the file). Options, a{sv}:
 *   file (s)              required; a regular file or a block device. As bytes (ay) when the name is no UTF-8
 *   format (s)            a format's name. "auto": guess from the first bytes, which a guest may have written, so not for
 *                         its disks. Not given: raw, but a file that looks like another format's is refused
 *   member (s)            the file is an OVA, and this is the name of a disk in it; with readonly alone. Not given: where a
 *                         format is guessed or is not raw, the only disk of a file that is an OVA by its name and looks
 *   readonly (b)
 *   auto-readonly (b)     with readonly: an image on it that is to be written reopens it
 *   force-share (b)       no locks; with readonly alone. What is read may change at any time
 *   backing (s)           stand on this file, whatever the image says; a path like `file`. "": on none
 *   backing-format (s)    the format of `backing`; not given: guessed
 *   backing-writable (b)  the first backing image is opened for writing, as a commit needs it
 *   direct (b)            O_DIRECT, for the files below as well; buffers and ranges need not be aligned
 *   aio (s)               auto, io_uring or threads: what queues work with
 */
struct image *image_open(GVariant *options, GError **error);
/*
 * The same over what is open already, as a block graph has it: storage, a raw image whose file this one's structures are in
 * (NULL: option `file`), and backing, what it stands on (NULL: as the options say). References are taken of both.
 */
struct image *image_open_on(struct image *storage, struct image *backing, GVariant *options, GError **error);
struct image *image_ref(struct image *img);
/* What is under its filters (filter.h), whose bytes they are: itself, if it is none. NULL for NULL. */
struct image *image_base(struct image *img);
bool image_is_filter(const struct image *img);
void image_close(struct image *img); /* drops a reference; with the last one its queues are gone before; NULL is fine */

/* name of the queue's messages: the image's path at that time. */
struct image_queue *image_queue_new(struct image *img, GMainContext *context, unsigned depth, GError **error);
void image_queue_free(struct image_queue *q);
void image_submit(struct image_queue *q, struct image_req *req);
void image_kick(struct image_queue *q);
/* What waits for its turn in a filter goes now. Any thread; the queue is there until it returns. */
void image_queue_hurry(struct image_queue *q);
/*
 * What has ended is completed now, and not at the next turn of the loop. The context's thread, with no lock that matters.
 * us: before that, what was submitted is kicked, and waited for that long if the kernel has much of it (some times longer if
 * much of it ends meanwhile); 0: neither.
 */
void image_reap(struct image_queue *q, unsigned us);
/* Called behind complete()s that came together, in the same thread: for what is better done once for all of them. */
void image_queue_on_batch(struct image_queue *q, void (*batch)(void *opaque), void *opaque);
/*
 * The same at once, in the queue's thread, if all is where it needs no waiting for: in the page cache and, to be written, in its
 * place already. -EAGAIN: it is not, or not all (submit the request, which does it anew); 0 or another negative errno: it is
 * over. ret_zero: all that was read is zeroes which no layer has as data.
 */
int image_read_now(struct image_queue *q, uint64_t offset, void *buf, uint64_t len, bool *ret_zero);
int image_write_now(struct image_queue *q, uint64_t offset, const void *buf, uint64_t len);
/*
 * Around synchronous access to q->image in place of a request, for the thread that submits: a drain waits for its end. False:
 * the image is drained; submit a request.
 */
bool image_queue_enter(struct image_queue *q);
void image_queue_leave(struct image_queue *q);

/*
 * ---- changes while queues are in use (live.c); the main thread alone, and not from inside of a complete() ----
 */

/*
 * After this no request is under way in any queue over this image (as its own or further down its chain), and what is submitted
 * waits. May run complete()s of the main context's queues; so no lock is held that these take, and nothing is done until the end
 * that waits for a queue to be freed. Nests.
 */
void image_drain_begin(struct image *img);
void image_drain_end(struct image *img);
/* Both images are drained: what is submitted from now on is img's. */
void image_queue_set_image(struct image_queue *q, struct image *img);
/* Drained: img stands on another one, or on none, from now on. Its file says what it did (format->set_backing()). */
void image_set_backing_image(struct image *img, struct image *backing);
/*
 * Opens the file anew for reading alone or for writing, too, with the locks for that; nobody writes to the image meanwhile.
 * After an error it is as it was.
 */
bool image_reopen(struct image *img, bool readonly, GError **error);

/* Somebody who wants to know of changes of the disk's bytes: bitmaps and jobs. Adding and removing is for a drained image. */
struct image_watch {
	/*
	 * Before bytes change: may wait and do I/O; an error becomes the writer's. In the writer's thread; a queue has a
	 * thread of the pool do it. NULL: the kernel may write at once.
	 */
	int (*before)(struct image_watch *w, uint64_t offset, uint64_t len);
	/*
	 * After they have changed, or may have (an error). Any thread, and must not wait; with `before`, the writer's thread,
	 * and the write has not ended before this has: it may do I/O. May be NULL.
	 */
	void (*after)(struct image_watch *w, uint64_t offset, uint64_t len);
	void (*resized)(struct image_watch *w, uint64_t size); /* locked out; NULL: does not matter */
	struct image_watch *next; /* live.c's */
};
void image_watch_add(struct image *img, struct image_watch *w);
void image_watch_remove(struct image *img, struct image_watch *w);

/*
 * ---- synchronous access, for tools, jobs and what a queue cannot do at once ----
 *
 * Any thread, any number at a time; overlapping writes are the caller's to order. Offsets and lengths are bytes, inside of
 * the image; 0 or a negative errno. What is written is durable after image_flush() alone. Filters are passed by.
 */
enum image_kind {
	IMAGE_HOLE,	  /* not in this layer: the backing image's bytes, zeroes where that is shorter or absent */
	IMAGE_ZERO,	  /* zeroes, whatever is behind */
	IMAGE_DATA,
	IMAGE_COMPRESSED, /* data that is not in the file as it is */
};

/* A run of one kind. */
struct image_extent {
	enum image_kind kind;
	bool has_at;	/* DATA: the bytes are at `at` of img->data, as they are. (Others are read like COMPRESSED.) */
	bool in_place;	/* has_at: may be overwritten there, no metadata changes with that */
	bool allocated; /* ZERO: there is room in the file for it all the same */
	uint64_t at;
	uint64_t len; /* from the offset that was asked for; at most what was asked, never 0 */
	unsigned depth; /* image_status(): how many layers down; 0 is the image itself */
};

int image_read(struct image *img, uint64_t offset, void *buf, uint64_t len);
int image_write(struct image *img, uint64_t offset, const void *buf, uint64_t len);
int image_write_zeroes(struct image *img, uint64_t offset, uint64_t len, unsigned flags);
int image_discard(struct image *img, uint64_t offset, uint64_t len);
int image_flush(struct image *img);
/* The run at offset in this layer alone. */
int image_map(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret);
/* The same through the chain: HOLE when no layer has it; else which one, and its kind there. */
int image_status(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret);
/*
 * Makes what a range has from the backing image this layer's own; what the layer has already stays, also what is written at the
 * same time. -ENOTSUP: the format cannot.
 */
int image_populate(struct image *img, uint64_t offset, uint64_t len);
/* Whole-cluster write of data that is stored compressed; -ENOTSUP: the format has no such thing. At most one cluster. */
int image_write_compressed(struct image *img, uint64_t offset, const void *buf, uint64_t len);
/* Its second half, behind the format's compress(): bytes for the cluster at offset. */
int image_write_packed(struct image *img, uint64_t offset, const void *packed, uint64_t len);

/* Bytes of the image, from offset on, that another file has at `at`. */
struct image_piece {
	uint64_t offset, len, at;
};
enum { IMAGE_MAX_PIECES = 64 };
/*
 * Blocks of another file become the image's as well (format.h): pieces in order that do not overlap, at most IMAGE_MAX_PIECES.
 * How many of them, from the first on; an error when that is none, or when they are all to be copied.
 */
int image_write_shared(struct image *img, struct image_file *from, const struct image_piece *pieces, unsigned n);

enum image_prealloc { IMAGE_PREALLOC_OFF, IMAGE_PREALLOC_METADATA, IMAGE_PREALLOC_FALLOC, IMAGE_PREALLOC_FULL };
/* Sizes are rounded up to 512. Shrinking drops what is behind the new end. */
bool image_resize(struct image *img, uint64_t size, enum image_prealloc prealloc, GError **error);

/*
 * What changes where data is, beyond one write (snapshots, jobs): between these nobody else reads or writes, requests wait.
 * Any thread, not nested. discard, write_zeroes and resize do it themselves.
 */
void image_lock_out(struct image *img);
void image_let_in(struct image *img);

/*
 * Makes an image file. Options, a{sv}: file (s, ay), format (s; raw), size (t; not given: the backing image's), backing (s),
 * backing-format (s), backing-unchecked (b: it need not exist), unsafe (b: it need not be safe on disk when this
 * returns), nocow and extent_size_hint (s; wishes to the file system), and the format's own, named and spelled as qemu-img's -o
 * (strings: "cluster_size" "64k"). An option that the format does not have is an error that names it.
 */
bool image_create(GVariant *options, GError **error);
/*
 * The same in the file of storage, a raw image that is open for writing and that nobody else uses: what was in it is gone.
 * Options without `file`. Any thread.
 */
bool image_create_on(struct image *storage, GVariant *options, GError **error);
const struct image_format *image_format_find(const char *name); /* NULL: no such one */
/* Which format do the first bytes of a file look like? "raw" when none. */
const char *image_format_guess(const uint8_t *head, size_t len);
