/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The gate of an image: who reads and writes goes in, any number of them; who moves or frees clusters locks them out. A
 * transfer that the kernel does on its own (queue.c) is in from before its place is looked up until it has ended, so that a
 * cluster is never freed, and used for something else, under it. Plain formats move nothing and have no gate. Called by
 * access.c and queue.c.
 */
#pragma once
#include "image.h"

struct image_gate;

struct image_gate *gate_new(void);
void gate_free(struct image_gate *g);
/* NULL is fine everywhere: always open. */
bool gate_try_enter(struct image_gate *g); /* false: somebody is locking out */
void gate_enter(struct image_gate *g);	   /* waits */
void gate_leave(struct image_gate *g);
void gate_lock(struct image_gate *g); /* waits until nobody is in */
void gate_unlock(struct image_gate *g);

/*
 * While somebody waits in gate_lock(), collect() is called every few milliseconds, in his thread: it finds transfers that are
 * over and leaves for them, whatever the thread that they belong to is doing.
 */
struct gate_queue {
	void (*collect)(struct gate_queue *q);
	struct gate_queue *next; /* the gate's */
};
void gate_add_queue(struct image_gate *g, struct gate_queue *q);
void gate_remove_queue(struct image_gate *g, struct gate_queue *q); /* collect() does not run any more */
