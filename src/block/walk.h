/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads of a job that go through a disk once, from its start to its end: streams and commits. Private to src/block. */
#pragma once
#include "copy.h"
#include "driver.h"

struct walk {
	struct job *job;
	struct copy copy; /* says what is of interest; the walk itself copies nothing */
	uint64_t size;
	/* Does a piece; 0 or a negative errno, and whose it is. buf: JOB_CHUNK. */
	int (*piece)(struct walk *w, uint64_t offset, uint64_t len, void *buf, bool *ret_is_read);
	bool skip_errors; /* an ignored one is not tried again: the job fails at its end */
	/* walk.c's own: */
	GMutex lock;
	uint64_t next;
	int ignored;
};
void walk_init(struct walk *w);
void walk_clear(struct walk *w);
/* One of the job's threads, to be called by job_parallel(). */
int walk_work(struct walk *w);
