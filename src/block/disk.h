/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A drive: what stands between a guest's device and an image. It limits requests (throttle.h), makes zeroes of writes that
 * are zeroes, leaves out discards or flushes where it is told to, makes single writes durable, and says what happens to a
 * request that fails: the guest learns of it, or it is kept and the VM paused until somebody has made room. The image
 * can be exchanged while the guest runs.
 *
 * Threads: all functions are called in the main thread but those of a queue, which belongs to the thread of its context as
 * image.h's do; disk_queue_drop(), disk_hurry() and the disk_is_...() and disk_size() kind may be called by any thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "image.h"
#include "throttle.h"

enum disk_policy { DISK_REPORT, DISK_IGNORE, DISK_STOP, DISK_ENOSPC /* STOP when the host is full, else REPORT */ };
enum disk_zeroes { DISK_ZEROES_OFF, DISK_ZEROES_ON, DISK_ZEROES_UNMAP };
enum disk_status { DISK_OK, DISK_FAILED, DISK_NOSPACE }; /* QMP's io-status: since the last disk_resume() */

struct disk;
struct disk_queue;

struct disk_req {
	struct image_req io; /* op, flags, iov, n_iov, offset, len are the caller's, all else is the disk's */
	bool durable;	     /* WRITE, WRITE_ZEROES: flushed before complete() */
	/* In the queue's context, never inside of disk_submit(). -ENOMEDIUM: the drive is empty; else as image.h's */
	void (*complete)(struct disk_req *req, int res);
	/* The disk's own: */
	struct disk_queue *queue;
	struct image_queue *at;
	struct disk_req *next;
	enum image_op op;  /* as it was asked */
	int64_t submitted; /* g_get_monotonic_time() */
	int res;
};

enum { DISK_OPS = IMAGE_WRITE_ZEROES + 1 };

/* What the device's requests have been, those that were answered. */
struct disk_stats {
	struct {
		uint64_t done, failed, bytes; /* bytes: of those done */
		uint64_t us;		      /* from submit to complete, summed up */
	} by[DISK_OPS];			      /* by image_op */
	uint64_t highest;		      /* the furthest byte written */
	int64_t last;			      /* when the last one ended, g_get_monotonic_time(); 0: never */
};

struct disk_tray {
	bool open, locked;
};
/* The tray has moved, by the guest or disk_move_tray(). In the main loop's context. */
typedef void disk_tray_func(void *opaque, struct disk *d, bool open);

/* The device. kept() in the queue's context, the others in the main thread. */
struct disk_client {
	/*
	 * This failed request waits for disk_resume() (true; it may be dropped as soon as this returns), or is under way again
	 * (false). A pause is not to wait for it in between.
	 */
	void (*kept)(struct disk_req *req, bool kept);
	void (*resized)(void *opaque);
	void (*medium_changed)(void *opaque); /* another one, or none; NULL: the device cannot do without */
	/* Of a drive with a tray; all or none of them. */
	void (*tray)(void *opaque, struct disk_tray *ret);
	void (*move_tray)(void *opaque, bool open); /* whether it is locked or not */
	void (*ask_eject)(void *opaque, bool unlock); /* the guest is asked to open it */
};

/*
 * For whoever runs the VM; QMP's BLOCK_IO_ERROR. In a queue's context: to pause the VM is for later, in the main loop. Errors
 * that do not stop it are told once a second at most.
 */
struct disk_error {
	bool read;
	enum disk_policy action; /* REPORT, IGNORE or STOP */
	int err;		 /* positive errno */
	bool nospace_counts;	 /* a policy of the drive cares whether the host is full */
};
typedef void disk_error_func(void *opaque, struct disk *d, const struct disk_error *e);

/*
 * Takes the image over, also when it fails; NULL: an empty drive. Options, a{sv}, others are not looked at:
 *   cache (s)             writeback (also none), writethrough (also directsync), unsafe: flushes do nothing. What an image
 *                         needs to know of it is image_open()'s "direct"
 *   discard (s)           on, off (also unmap, ignore): discards and MAY_UNMAP do nothing
 *   detect-zeroes (s)     off, on, unmap
 *   werror (s)            enospc, report, ignore, stop;  rerror (s)  report, ignore, stop
 *   throttle-group (s)    the name of the group that the limits are of, or, without limits, whose they are
 *   iops, iops-read, iops-write, bps, bps-read, bps-write, each with -max and -max-length; iops-size (all t)
 */
struct disk *disk_new(const char *id, struct image *img, GVariant *options, GError **error);
void disk_free(struct disk *d); /* after its queues; NULL is fine */
const char *disk_id(const struct disk *d);
struct image *disk_image(const struct disk *d); /* NULL: empty */
uint64_t disk_size(const struct disk *d);	/* bytes; 0: empty */
bool disk_is_empty(const struct disk *d);
bool disk_is_readonly(const struct disk *d);  /* an empty drive is not */
bool disk_is_writeback(const struct disk *d); /* at power-on; the device's cache setting begins with it */
bool disk_can_discard(const struct disk *d);  /* and is allowed to */
enum disk_status disk_status(const struct disk *d);
bool disk_has_kept(const struct disk *d); /* failed requests that wait */

void disk_stats(const struct disk *d, struct disk_stats *ret); /* the main thread */

void disk_set_client(struct disk *d, const struct disk_client *client, void *opaque); /* NULL: none */
void disk_set_error_func(struct disk *d, disk_error_func *func, void *opaque);
/*
 * Its group's limits (throttle-group.h), and so those of all drives of it; without any the drive leaves its group. group: another
 * one; NULL: the one it has, or one with its id. With disk_join_throttle_group(), NULL: none, what limits the group has.
 */
bool disk_set_throttle(struct disk *d, const struct throttle_config *c, const char *group, GError **error);
void disk_join_throttle_group(struct disk *d, const char *name);
const char *disk_throttle_group(const struct disk *d); /* NULL: it has none */
const struct throttle_config *disk_throttle(const struct disk *d);

/*
 * Another medium, whose reference it takes unless it fails; the guest hears of it when the tray is shut, or is going to be. NULL:
 * the drive is empty then.
 */
bool disk_set_image(struct disk *d, struct image *img, GError **error);
/*
 * An image with the same contents takes the place (a snapshot, the end of a mirror): the guest notices nothing, unless it has
 * another size. A reference is taken. The drive is not empty.
 */
void disk_replace_image(struct disk *d, struct image *img);
/* The device and its driver hear of it. */
bool disk_resize(struct disk *d, uint64_t bytes, GError **error);
/* Kept requests go again. In the thread of their contexts, and the guest does not run yet. */
void disk_resume(struct disk *d);
/* What waits for its turn because of a limit goes now: somebody waits for the drive to rest. */
void disk_hurry(struct disk *d);

bool disk_tray(const struct disk *d, struct disk_tray *ret); /* false: the drive has none, and its medium stays */
void disk_move_tray(struct disk *d, bool open);
void disk_ask_eject(struct disk *d, bool unlock);
void disk_set_tray_func(struct disk *d, disk_tray_func *func, void *opaque);
void disk_tray_moved(struct disk *d, bool open); /* for the device */

struct disk_queue *disk_queue_new(struct disk *d, GMainContext *context, unsigned depth, GError **error);
void disk_queue_free(struct disk_queue *q);
void disk_submit(struct disk_queue *q, struct disk_req *req);
void disk_kick(struct disk_queue *q);
void disk_reap(struct disk_queue *q, unsigned us); /* image_reap() */
void disk_queue_on_batch(struct disk_queue *q, void (*batch)(void *opaque), void *opaque); /* image_queue_on_batch() */
/* Kept requests of a queue are forgotten: drop() is the end of each. Nothing else is under way. */
void disk_queue_drop(struct disk_queue *q, void (*drop)(struct disk_req *req));
