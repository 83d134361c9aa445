/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Filters: images that have nothing of their own and stand on one (`backing`) that has it all. They change how requests come to
 * it (QEMU's drivers throttle and copy-on-read): queues over a filter do (queue.c), and so do drives and NBD exports. Synchronous
 * access goes to what is under all filters, image_base(), for which nobody waits, and which is what jobs, snapshots and bitmaps
 * are of. A filter can be on a filter, and on nothing but images; under an image there is none.
 */
#pragma once
#include "format.h"
#include "throttle-group.h"

/* References are taken. readonly: whatever the child is. Main thread; to be closed there. */
struct image *image_throttle_new(struct image *child, struct throttle_group *g, bool readonly);
struct image *image_copy_on_read_new(struct image *child, bool readonly);

/* NULL: it is no throttle filter. */
struct throttle_group *image_throttle_group(const struct image *img);
/* Nobody has a queue over it, or it is drained. */
void image_throttle_set_group(struct image *img, struct throttle_group *g);
bool image_copies_on_read(const struct image *img);
/* Its size, file and so on are what those of the image below are by now. */
void image_filter_follow(struct image *img);

/* A read of what is under a filter that copies on read; the calling thread writes. 0 or a negative errno. */
int image_read_copying(struct image *base, uint64_t offset, void *buf, uint64_t len);
