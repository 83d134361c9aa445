/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inside of live.c for queue.c, access.c and image.c: which queues there are, and those who want to know of changes.
 */
#pragma once
#include "image.h"

/* What live.c has of a queue; queue.c's struct begins with it behind the public part. */
struct live_queue {
	struct image_queue *q;
	unsigned held;	 /* drains that hold it; atomic */
	unsigned inside; /* submitters and synchronous users; atomic */
	unsigned pins;	 /* drains that have it: it is not freed */
	GMutex lock;	 /* waiting */
	struct image_req *waiting, **waiting_end;
	struct live_queue *next;
};
void live_queue_add(struct live_queue *l);
/* Nothing is under way; waits until no drain has it. */
void live_queue_remove(struct live_queue *l);
/* False: the queue is held, and the request (NULL: none) waits; else a matching live_leave() is due. */
bool live_enter(struct live_queue *l, struct image_req *req);
void live_leave(struct live_queue *l);
/* The queue is held, or will be asked nothing any more: requests, a list by link, wait before those that do already. */
void live_put_back(struct live_queue *l, struct image_req *list);

/* queue.c: for a drain. */
void queue_wait_idle(struct image_queue *q);
void queue_chain_leave(struct image_queue *q); /* nothing is under way: gives up the gates of its chain */
void queue_chain_join(struct image_queue *q);
struct live_queue *queue_live(struct image_queue *q);

/* Does anybody watch; has anybody to be asked before? */
bool image_watched(const struct image *img);
bool image_watched_before(struct image *img);
int image_watch_before(struct image *img, uint64_t offset, uint64_t len);
void image_watch_after(struct image *img, uint64_t offset, uint64_t len);
void image_watch_resized(struct image *img, uint64_t size);
