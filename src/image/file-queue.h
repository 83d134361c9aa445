/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A queue of asynchronous transfers between memory and files: io_uring, or a few threads where the kernel has none, and sockets
 * (file-sockets.h); the same threads do what needs more than a transfer. What queue.c is made of: its contract is that of
 * image.h's queues; file_queue_free() may also be called by another thread than the context's, and then runs the last
 * completions itself.
 */
#pragma once

#include <stdbool.h>

#include "image.h"

enum file_engine { FILE_ENGINE_AUTO, FILE_ENGINE_URING, FILE_ENGINE_THREADS };

struct file_queue;
/* A request that is not a transfer, in a thread: 0 or a negative errno. */
typedef int file_queue_work(void *opaque, struct image_req *req);

/* name: of the disk, for messages. */
struct file_queue *file_queue_new(const char *name, enum file_engine engine, GMainContext *context, unsigned depth,
				  file_queue_work *work, void *opaque, GError **error);
void file_queue_free(struct file_queue *q);
/*
 * req->fd, file and at: where; fd -1 and file NULL: by work(). req->layer: its gate, which the caller has entered, is left at the
 * end.
 */
void file_queue_submit(struct file_queue *q, struct image_req *req);
/* The request has ended with res; complete() runs in the context. */
void file_queue_post(struct file_queue *q, struct image_req *req, int res);
/* Nothing is under way: no file is looked at any more. */
void file_queue_forget_files(struct file_queue *q);
void file_queue_kick(struct file_queue *q);
void file_queue_reap(struct file_queue *q, unsigned us); /* image_reap() */
void file_queue_on_batch(struct file_queue *q, void (*batch)(void *opaque), void *opaque); /* image_queue_on_batch() */
/* Returns when nothing is under way; runs complete()s itself unless another thread runs the context. */
void file_queue_wait_idle(struct file_queue *q);
/* Any thread: whatever the kernel has finished has left its gates after this. complete() is the context's all the same. */
void file_queue_collect(struct file_queue *q);

/* One transfer in the calling thread, at req->at of req->fd or req->file: 0 or a negative errno. */
int file_io(struct image_req *req);
/* The rest of one that the kernel called invalid: -EINVAL when that is not for O_DIRECT's sake. */
int file_bounce(struct image_req *req);
