/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to an image and a model of what it has: for the tests of chains and of formats. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "image.h"

struct rig_wait {
	struct image_req req;
	struct iovec iov[8];
	bool over;
	int res;
};

/* A request under way; fails the test when it ends inside of image_submit(). */
void rig_start(struct image_queue *q, struct rig_wait *w);
/* One to its end, its buffer in odd parts. */
int rig_run(struct image_queue *q, GRand *rand, enum image_op op, uint64_t offset, uint8_t *data, uint64_t len);
/*
 * Random reads, writes, zeroes, discards and flushes of [from, from + len), with what is read compared. model: of the whole
 * image. q NULL: synchronously, for any thread, and the result says whether all went well (with a line about what did not).
 */
bool rig_random(struct image *img, struct image_queue *q, GRand *rand, uint8_t *model, uint64_t from, uint64_t len, unsigned n);
/*
 * Writes, reads and discards of the same few clusters, all under way at once, in two queues: data must never show up in
 * another cluster than that which it was written to.
 */
void rig_busy(struct image *img, uint32_t cluster, unsigned rounds);
/* A folder for the tests' files: cmocka's setup and teardown of a group; the path of a file in it, to be freed. */
int rig_setup(void **state);
int rig_teardown(void **state);
char *rig_path(const char *name);
void rig_fill(GRand *rand, uint8_t *data, size_t len);
