/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A queue of asynchronous requests to one file descriptor: io_uring, or a few threads where
 * the kernel has none. What raw.c is made of; formats that keep their data in one file use it
 * as well. The contract is that of image.h's queues; image_queue_free() may also be called by
 * another thread than the context's, and then runs the last completions itself.
 */
#pragma once

#include <stdbool.h>

#include "image.h"

enum file_engine { FILE_ENGINE_AUTO, FILE_ENGINE_URING, FILE_ENGINE_THREADS };

struct image_queue *file_queue_new(struct image *img, int fd, enum file_engine engine,
				   GMainContext *context, unsigned depth, GError **error);
void file_queue_free(struct image_queue *q);
void file_queue_submit(struct image_queue *q, struct image_req *req);
void file_queue_kick(struct image_queue *q);
bool file_queue_is_uring(const struct image_queue *q);

/* One request in the calling thread: 0 or a negative errno. */
int file_io(int fd, struct image_req *req);
