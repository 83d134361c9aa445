/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest rings (virtio 1.2, sections 2.7 and 2.8): the one place that walks them.
 *
 * A ring lives in guest memory and every byte of it is hostile and may change while we
 * look. The walker reads each value once, checks it, and hands a device a chain: two bounded
 * iovec arrays, first what the device may read, then what it may write. Devices never see a
 * descriptor. When something is wrong the queue is marked broken, pop answers NULL from then
 * on, and virtio.c turns that into DEVICE_NEEDS_RESET.
 *
 * A device works like this, in the queue's own thread, holding vq->lock:
 *
 *	do {
 *		virtq_disable_notify(vq);
 *		while ((chain = virtq_pop(vq)))
 *			virtq_push(vq, chain, bytes_written);
 *	} while (virtq_enable_notify(vq));
 *	virtio_queue_flush(dev, vq);		(publish, and interrupt if asked for)
 *
 * Sizes are in bytes. The chain of virtq_pop belongs to the queue and is valid until the next
 * pop; virtq_chain_copy keeps it longer. Called by virtio.c and by the devices.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <glib.h>

struct guest_mem;

enum {
	VIRTQ_MAX_SIZE = 1024, /* entries of a ring */
	VIRTQ_MAX_SEGS = 1024, /* descriptors of a chain, also IOV_MAX of Linux */
};

struct virtq_chain {
	uint16_t id;	/* what the used ring calls it */
	uint16_t slots; /* ring entries it took: 1 in a split ring */
	uint32_t n_out;
	uint32_t n_in;
	struct iovec *out; /* device-readable */
	struct iovec *in;  /* device-writable */
	uint64_t *in_gpa;  /* guest addresses of in[], for the dirty log */
	uint32_t out_len;
	uint32_t in_len;
};

struct virtqueue {
	struct guest_mem *mem;
	GMutex lock; /* the ring's positions; held by whoever calls the functions below */
	uint16_t index;

	/* Registers of the transport; saved. */
	uint16_t size;
	uint16_t size_max;
	uint16_t vector;
	bool enabled;
	uint64_t desc;
	uint64_t avail;
	uint64_t used;

	/* Positions; saved. */
	uint16_t next_avail;
	uint16_t next_used;
	bool avail_wrap; /* packed rings */
	bool used_wrap;

	/* Derived when the queue is started. */
	bool started;
	bool broken;
	const char *why; /* what was wrong, for the log */
	bool event_idx;
	bool indirect;
	bool packed;
	bool notify_each;	/* packed: the driver notifies of every chain */
	uint16_t avail_seen;	/* split: the available index when we looked last */
	uint16_t in_use;	/* entries popped and not yet pushed */
	uint16_t pending;	/* entries pushed and not yet published */
	uint16_t held_flags;	/* packed: flags of the first pending entry, written last */
	uint16_t held_slot;
	uint8_t *desc_ptr;
	uint8_t *avail_ptr;
	uint8_t *used_ptr;

	struct virtq_chain chain;
	struct iovec *iov; /* VIRTQ_MAX_SEGS each, from the first start on; out[] first, in[] after it */
	uint64_t *gpa;
};

void virtq_init(struct virtqueue *vq, struct guest_mem *mem, uint16_t index, uint16_t size_max);
void virtq_destroy(struct virtqueue *vq);

/* Registers and positions to their power-on values. */
void virtq_reset(struct virtqueue *vq);

/*
 * Resolve the three areas and accept chains. False with vq->why set when an area is not
 * aligned, not in RAM or the size is not allowed: the device is then broken.
 */
bool virtq_start(struct virtqueue *vq, uint64_t features);
void virtq_stop(struct virtqueue *vq);

/* The next chain, or NULL when there is none or the queue is broken. */
struct virtq_chain *virtq_pop(struct virtqueue *vq);

/* Give back the chains popped last and not pushed: @slots is the sum of their slots. */
void virtq_unpop(struct virtqueue *vq, unsigned slots);

/* True when nothing is waiting; a cheap look without side effects. */
bool virtq_empty(struct virtqueue *vq);

/*
 * Return a chain whose first @written writable bytes were filled. The guest sees it after
 * virtq_publish.
 */
void virtq_push(struct virtqueue *vq, const struct virtq_chain *chain, uint32_t written);

/* Show the pushed chains to the guest; true when it wants an interrupt. */
bool virtq_publish(struct virtqueue *vq);

void virtq_disable_notify(struct virtqueue *vq);
/* Ask for notifications of what comes from now on; true when chains wait: look once more. */
bool virtq_enable_notify(struct virtqueue *vq);

/* Any later pop answers NULL. @why is a constant string. */
void virtq_break(struct virtqueue *vq, const char *why);

/*
 * A copy that outlives the next pop, made in @dst, virtq_chain_size bytes long and aligned
 * like a pointer.
 */
size_t virtq_chain_size(const struct virtq_chain *chain);
struct virtq_chain *virtq_chain_copy(const struct virtq_chain *chain, void *dst);

/* Copy between a vector and a buffer from byte @offset on; answers the bytes copied. */
size_t virtq_iov_read(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t len);
size_t virtq_iov_write(const struct iovec *iov, unsigned n, size_t offset, const void *buf,
		       size_t len);
/*
 * The part [offset, offset + len) of a vector, as a vector in @dst of at most @max entries.
 * Answers the number of entries, or -1 when it needs more than @max or the vector is shorter.
 */
int virtq_iov_slice(const struct iovec *iov, unsigned n, size_t offset, size_t len,
		    struct iovec *dst, unsigned max);
