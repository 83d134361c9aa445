/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Block jobs: work on images that goes on while guests use them. States, verbs and their errors are QEMU's (qapi/job.json, job.c
 * of 7.2): a job is created, running (paused, ready, standby), waiting for the others of its group, pending, and concluded or
 * aborting.
 *
 * Threads: all functions here, the listener and the owner's functions are for the main thread (the default GMainContext), and
 * not from inside of a request's complete(). The work is done by threads of the job, over the synchronous functions of image.h.
 * A job is gone when its status is NULL: look it up again after each turn of the main loop, or take a reference.
 */
#pragma once
#include "image.h"

enum job_type { JOB_COMMIT, JOB_STREAM, JOB_MIRROR, JOB_BACKUP, JOB_CREATE };
enum job_status {
	JOB_UNDEFINED,
	JOB_CREATED,
	JOB_RUNNING,
	JOB_PAUSED,
	JOB_READY,
	JOB_STANDBY,
	JOB_WAITING,
	JOB_PENDING,
	JOB_ABORTING,
	JOB_CONCLUDED,
	JOB_NULL,
	JOB_STATUS_N
};
enum job_on_error { JOB_ON_ERROR_REPORT, JOB_ON_ERROR_IGNORE, JOB_ON_ERROR_ENOSPC, JOB_ON_ERROR_STOP };
enum job_action { JOB_ACTION_REPORT, JOB_ACTION_IGNORE, JOB_ACTION_STOP };
enum job_io_status { JOB_IO_OK, JOB_IO_FAILED, JOB_IO_NOSPACE };

const char *job_type_name(enum job_type type);
const char *job_status_name(enum job_status status);
const char *job_action_name(enum job_action action);
const char *job_io_status_name(enum job_io_status status);

struct job;
struct job_driver;

/* Jobs that complete together or not at all. */
struct job_group;
struct job_group *job_group_new(void);
void job_group_unref(struct job_group *g); /* its jobs have references of their own */

/* What only the owner of images can do. */
struct job_owner {
	/*
	 * Every user of `from` (guests' disks, exports, images that stand on it) uses `to` from now on; both are drained by the
	 * job. Files' headers are the job's. All or nothing. NULL: nobody uses it.
	 */
	bool (*replace)(void *opaque, struct image *from, struct image *to, GError **error);
	/* What messages call an image; NULL: its path. */
	const char *(*name)(void *opaque, const struct image *img);
	void *opaque;
};

/* What all jobs are told. */
struct job_options {
	const char *id;
	uint64_t speed; /* bytes a second; 0: as fast as it goes */
	enum job_on_error on_source_error, on_target_error;
	bool manual_finalize, manual_dismiss;
	struct job_group *group;       /* NULL: alone, and it starts at once; else job_start() starts it */
	const struct job_owner *owner; /* lives longer than the job; NULL: none */
};

struct job {
	char *id;
	enum job_type type;
	enum job_status status;
	bool auto_finalize, auto_dismiss;
	enum job_on_error on_source_error, on_target_error;
	enum job_io_status io_status;
	uint64_t speed;
	uint64_t offset, len; /* job_progress() */
	int result;	      /* 0 or a negative errno */
	char *error;	      /* NULL: none */
	/* job.c's own: */
	const struct job_driver *driver;
	const struct job_owner *owner;
	struct job_group *group;
	GPtrArray *images; /* struct use */
	GThread *thread;
	int refs; /* atomic */
	bool user_paused, started, over; /* over: the thread's work is done */
	GMutex lock;
	GCond changed;
	/* Under the lock: */
	unsigned active; /* threads that are not parked */
	bool pause, cancelled, forced, completing;
	uint64_t rate, allowed_at; /* speed; microseconds: when the next piece may begin */
	int failed;
	char *failure;
};

struct job *job_find(const char *id);
GList *job_list(void); /* oldest first; g_list_free() */
struct job *job_ref(struct job *job);
void job_unref(struct job *job);
/* The job that has this image in use, so that it must not be resized, changed or closed; NULL: none. */
struct job *job_using(const struct image *img);

/* ---- verbs; errors in QEMU's words ---- */
void job_start(struct job *job); /* a created one */
bool job_cancel(struct job *job, bool force, GError **error);
bool job_pause(struct job *job, GError **error);
bool job_resume(struct job *job, GError **error);
bool job_set_speed(struct job *job, uint64_t speed, GError **error);
bool job_complete(struct job *job, GError **error);
bool job_finalize(struct job *job, GError **error);
bool job_dismiss(struct job *job, GError **error);

/* At the end of the process: all are forced to an end, which is waited for in the main loop, and none is left. */
void job_cancel_all(void);

bool job_is_ready(const struct job *job);
bool job_is_paused(const struct job *job); /* asked to: block jobs' "paused" */
bool job_is_busy(struct job *job);
void job_progress(struct job *job, uint64_t *ret_offset, uint64_t *ret_len);

/* ---- events ---- */
enum job_event_kind {
	JOB_EVENT_STATUS,
	JOB_EVENT_READY,
	JOB_EVENT_COMPLETED, /* job->error: what of */
	JOB_EVENT_CANCELLED,
	JOB_EVENT_PENDING,
	JOB_EVENT_ERROR
};
struct job_event {
	enum job_event_kind kind;
	struct job *job;
	bool is_read; /* ERROR */
	enum job_action action;
};
/* One for all jobs; NULL: none. */
void job_set_listener(void (*listener)(void *opaque, const struct job_event *event), void *opaque);

/* ---- the jobs; NULL with an error when it cannot begin ---- */

/* stream.c: what is between top and base (NULL: all) becomes top's own, and top stands on base. */
struct job_stream {
	struct image *top, *base;
	const char *backing_file; /* what top's header says then; NULL: made from base's path */
};
struct job *job_stream_new(const struct job_options *options, const struct job_stream *what, GError **error);

/*
 * commit.c: what top and the layers down to base have is written to base. `active` stands on top, or is top: then the job becomes
 * ready, and completing it has active's users use base.
 */
struct job_commit {
	struct image *active, *top, *base;
	const char *backing_file; /* what the header above top says then; NULL: made from base's path */
};
struct job *job_commit_new(const struct job_options *options, const struct job_commit *what, GError **error);

enum job_sync { JOB_SYNC_FULL, JOB_SYNC_TOP, JOB_SYNC_NONE, JOB_SYNC_INCREMENTAL, JOB_SYNC_BITMAP };

/* mirror.c: target becomes and stays equal to source; completing the job puts it into its place. */
struct job_mirror {
	struct image *source, *target;
	struct image *replaces;	      /* whose place target takes; NULL: source's */
	enum job_sync sync;	      /* FULL, TOP, NONE */
	uint32_t granularity;	      /* 0: chosen; a power of two from 512 to 64 MiB */
	uint64_t buf_size;	      /* bytes under way at most; 0: chosen */
	bool no_unmap;
	bool write_blocking; /* copy-mode: writes end when target has them */
};
struct job *job_mirror_new(const struct job_options *options, const struct job_mirror *what, GError **error);

struct image_bitmap;
enum job_bitmap_mode { JOB_BITMAP_ON_SUCCESS, JOB_BITMAP_NEVER, JOB_BITMAP_ALWAYS };

/* backup.c: target becomes what source is now, whatever is written meanwhile. */
struct job_backup {
	struct image *source, *target;
	enum job_sync sync;
	struct image_bitmap *bitmap; /* INCREMENTAL, BITMAP: what to copy; busy until the job has ended */
	enum job_bitmap_mode bitmap_mode;
	bool compress;
	bool break_snapshot; /* on-cbw-error: the job fails, not the guest's write */
};
struct job *job_backup_new(const struct job_options *options, const struct job_backup *what, GError **error);

/* create.c: image_create() as a job, or, with storage, image_create_on(). */
struct job *job_create_new(const struct job_options *options, struct image *storage, GVariant *create, GError **error);
