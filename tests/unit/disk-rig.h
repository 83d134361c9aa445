/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An image in memory whose speed and faults the test sets, in place of the library's: image.h's queues, drains,
 * image_close() and image_resize(). Requests complete in the default context, or when the test lets them. For tests of drives and
 * their devices.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "image.h"

enum {
	RAM_SECTORS = 256,
	RAM_BYTES = RAM_SECTORS * 512,
	RAM_QUEUES = 32,
};

struct ram_image {
	struct image img;
	uint8_t bytes[2 * RAM_BYTES]; /* it may grow */
	bool hold;		      /* keep requests until ram_complete() */
	int fail;		      /* errno of all requests, or of those of fail_ops */
	unsigned fail_ops;	      /* 1 << op; 0: all */
	unsigned reads, writes, flushes, zeroes, discards, unmaps, closed;
	struct image_req *waiting, **tail;
	struct image_queue queue[RAM_QUEUES];
	struct {
		void (*fn)(void *opaque);
		void *opaque;
	} batch[RAM_QUEUES]; /* of each queue */
	unsigned n_queues;
	guint source;
};

/* With bytes of a pattern. */
void ram_init(struct ram_image *m);
/* What is under way ends now. */
void ram_complete(struct ram_image *m);
