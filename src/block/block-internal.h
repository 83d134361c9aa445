/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A drive's inside, shared by disk.c, disk-options.c and on-error.c. */
#pragma once
#include "disk.h"
#include "throttle-group.h"

struct disk_list {
	struct disk_req *head, **tail;
};

struct disk {
	char *id;
	struct image *image; /* NULL: empty */
	GMutex lock;	     /* lists of the queues */
	GPtrArray *queues;
	/* Options. */
	bool writeback, unsafe, no_discard;
	enum disk_zeroes zeroes;
	enum disk_policy on_read, on_write;
	struct throttle_group *group; /* atomic; NULL: no limits */
	/* Some request may need more than being passed on: else submitting costs one branch. Atomic. */
	bool special;
	enum disk_status status; /* atomic */
	const struct disk_client *client;
	void *client_opaque;
	disk_error_func *error;
	int64_t told_us; /* when error() was last called for something the guest was told, or never to know */
	void *error_opaque;
	disk_tray_func *moved;
	void *moved_opaque;
};

struct disk_queue {
	struct disk *disk;
	GMainContext *context;
	unsigned depth;
	struct image_queue *io;	  /* NULL: the drive is empty */
	GSource *source;	  /* dispatches `posted`, and what waits for `limit` when its time has come */
	struct disk_list posted;  /* over without the image, result in res */
	struct throttle_queue limit; /* the group's, of disk_req.io */
	struct disk_list kept;	  /* failed */
	void (*batch)(void *opaque); /* NULL: none */
	void *batch_opaque;
	struct disk_stats stats;  /* the context's thread writes, others look */
};

static inline void disk_list_init(struct disk_list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

static inline void disk_list_add(struct disk_list *l, struct disk_req *req)
{
	req->next = NULL;
	*l->tail = req;
	l->tail = &req->next;
}

static inline struct disk_req *disk_list_take(struct disk_list *l)
{
	struct disk_req *req = l->head;

	if (!req)
		return NULL;
	l->head = req->next;
	if (!l->head)
		l->tail = &l->head;
	return req;
}

/* disk-options.c */
bool disk_parse(struct disk *d, GVariant *options, GError **error);

/* on-error.c: true when the request is kept, and not the caller's any more; else *res is what the device is told. */
bool disk_failed(struct disk_req *req, int *res);

/* disk.c */
void disk_update_special(struct disk *d);
