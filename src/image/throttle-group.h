/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Those who share limits: the requests of all of them go through one set of buckets (throttle.h), a queue that waits after the
 * other, each with one request in its turn. A drive with limits of its own is alone in a group with its id. Groups are known by
 * name, as in QEMU: whoever names one that there is not makes it, and it goes with the last that has it. Members are drives
 * (block/disk.c) and filters (filter.h).
 *
 * Threads: functions of groups are the main thread's.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "image.h"
#include "throttle.h"

struct throttle_group;

struct throttle_group *throttle_group_find(const char *name); /* NULL: there is none; no reference */
struct throttle_group *throttle_group_get(const char *name);  /* a reference */
struct throttle_group *throttle_group_ref(struct throttle_group *g);
void throttle_group_unref(struct throttle_group *g);	      /* NULL is fine */
const char *throttle_group_name(const struct throttle_group *g);
/* One member more, or less; by whom it is not there to say. */
void throttle_group_add_member(struct throttle_group *g);
void throttle_group_remove_member(struct throttle_group *g);
bool throttle_group_has_members(const struct throttle_group *g);
const struct throttle_config *throttle_group_config(const struct throttle_group *g);
/* It has been looked at: throttle_check(). Who waits has another turn. */
void throttle_group_set(struct throttle_group *g, const struct throttle_config *c);

/* Requests of a member's queue that wait, by image_req.link. Embedded in what it is of. */
struct throttle_queue {
	struct throttle_group *group; /* not a reference; atomic; NULL: no limits */
	GSource *source; /* dispatched when throttle_queue_next() may have one */
	struct image_req *head, **tail; /* with what follows, under the groups' lock */
	bool hurry;
};
void throttle_queue_init(struct throttle_queue *q, struct throttle_group *g, GSource *source);
/* In the thread that submits: true when the request waits for its turn; false: it may go. */
bool throttle_queue_add(struct throttle_queue *q, struct image_req *req);
/* The next one whose time has come, in the source's thread; NULL: none, and the source will be dispatched when there is. */
struct image_req *throttle_queue_next(struct throttle_queue *q);
/* Any thread: all that wait may go. */
void throttle_queue_hurry(struct throttle_queue *q);
/* The main thread, or whoever owns the queue: what waits goes to the other group's end. */
void throttle_queue_move(struct throttle_queue *q, struct throttle_group *to);
/* It is given back what waits, a list by link; the group has nothing of the queue any more. */
struct image_req *throttle_queue_leave(struct throttle_queue *q);
