/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copying a range of one image to another one for jobs, and which ranges are being copied. Private to src/block. */
#pragma once
#include "image.h"

struct copy {
	struct image *source, *target;
	/* Layers this deep and deeper are not copied: what is there is behind target as well. UINT_MAX: all are. */
	unsigned depth;
	unsigned from; /* nor are those above this one: 1, the first one has its own already */
	unsigned zero_flags; /* IMAGE_MAY_UNMAP */
	bool compress;
};

enum copy_what { COPY_SKIP, COPY_ZERO, COPY_DATA };
/* The first run of a range: what is to be done with it. */
int copy_look(const struct copy *c, uint64_t offset, uint64_t len, enum copy_what *ret, uint64_t *ret_len);
/* Zeroes stay zeroes, and what is zero in target already is not written. buf: room for len. Any thread. */
int copy_range(const struct copy *c, uint64_t offset, uint64_t len, void *buf, bool *ret_is_read);
/* How far down base is: 1 is img's backing image; 0: it is not below img. */
unsigned copy_depth(const struct image *img, const struct image *base);

/* Ranges that somebody is at. */
struct span {
	uint64_t from, to;
	struct span *next;
};
struct spans {
	GMutex lock; /* for what the owner has with them as well */
	GCond changed;
	struct span *list;
};
void spans_init(struct spans *s);
void spans_clear(struct spans *s);
/* Under the lock: one that a range has bytes of, the lowest; NULL: none. */
const struct span *spans_find(const struct spans *s, uint64_t from, uint64_t to);
void spans_add(struct spans *s, struct span *span);
void spans_remove(struct spans *s, struct span *span); /* and wakes those who wait for `changed` */
