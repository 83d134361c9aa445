/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What job.c and the kinds of jobs have with each other. Private to src/block. */
#pragma once
#include "job.h"

enum { JOB_WORKERS = 4, JOB_CHUNK = 1 << 20 };

/* A kind of job. Its struct begins with struct job. */
struct job_driver {
	enum job_type type;
	/* The work, in the job's thread: 0 or a negative errno. */
	int (*run)(struct job *job);
	/* The main thread, when all of the group are through with theirs: false, and the group aborts. May be NULL. */
	bool (*prepare)(struct job *job, GError **error);
	/* The main thread, at last, whichever way it went (job->result). */
	void (*end)(struct job *job);
	bool completes;	  /* takes the verb complete, when ready */
	bool soft_cancel; /* a cancel that is not forced ends a ready job in order */
};

/*
 * Takes the id, the images' references and the place in the list; then the job is created. size: of the driver's struct. The
 * job's reference is the list's.
 */
struct job *job_new(const struct job_driver *driver, size_t size, const struct job_options *options, GError **error);
/* Uses an image until it ends: alone (its bytes or what it stands on change), or like others. After an error job_drop(). */
bool job_use(struct job *job, struct image *img, bool alone, GError **error);
bool job_use_chain(struct job *job, struct image *img, GError **error); /* img and below, shared; NULL is fine */
void job_drop(struct job *job); /* never happened */
void job_created(struct job *job);
const char *job_name_of(const struct job_options *options, const struct image *img);

/* ---- in the job's threads ---- */

/* Between pieces of work: waits while the job is paused. False: forced to an end. */
bool job_go_on(struct job *job);
/* Waits until the rate allows `bytes` more, or somebody wants something. */
void job_pace(struct job *job, uint64_t bytes);
void job_rest(struct job *job, unsigned ms); /* likewise, a while */
void job_set_progress(struct job *job, uint64_t offset, uint64_t len);
void job_advance(struct job *job, uint64_t bytes);
/* A read (from the source) or write has failed: IGNORE and STOP mean to try again (after job_go_on()). */
enum job_action job_io_error(struct job *job, bool is_read, int err);
void job_set_ready(struct job *job);
bool job_is_completing(struct job *job); /* the verb, or a soft cancel */
bool job_is_soft_cancelled(struct job *job);
/* The first one counts. Returns err. */
int job_fail(struct job *job, int err, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* Calls work() in n threads, this one among them; the first error. work() looks at job_go_on() between pieces. */
int job_parallel(struct job *job, unsigned n, int (*work)(struct job *job));
