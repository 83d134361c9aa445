/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copy before write: a watch on a disk that copies what is to be kept before a guest overwrites it. Private to src/block.
 */
#pragma once
#include "bitmap.h"
#include "copy.h"

struct cbw {
	struct image_watch watch;
	struct copy copy;
	struct image_bitmap *todo; /* what is not in target yet; of whole clusters of it */
	bool break_snapshot;	   /* when it fails: the copy is void, and the guest's write goes on */
	int broken;		   /* that has happened; atomic */
	struct spans spans;
	uint64_t next; /* the job's place; under spans.lock */
};
/* source is drained. todo is the caller's. */
void cbw_begin(struct cbw *c);
void cbw_end(struct cbw *c);
/*
 * The job's part: a piece that is still to be copied, 1 with *ret_len bytes done, 0 when this pass has come to the end, or an
 * error: then it is to be done still. buf: of cbw_chunk().
 */
int cbw_step(struct cbw *c, void *buf, uint64_t *ret_len, bool *ret_is_read);
uint64_t cbw_chunk(const struct cbw *c);
/* From the start again, when nobody is copying any more. */
void cbw_rewind(struct cbw *c);
