/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blockdev-backup: target becomes what source is when the job is made, by copy before write (cbw.c) and threads that go through
 * what is to be copied. A bitmap says which parts, and is afterwards what the next backup needs: writes during the job are noted
 * in a successor, which takes its place, or is joined with it, as the job ends (QEMU's docs/interop/bitmaps.rst).
 */
#include <errno.h>

#include "bitmap.h"
#include "cbw.h"
#include "driver.h"
#include "error.h"
#include "format.h"

enum {
	CLUSTER = 64 << 10,
	LARGEST = 64 << 20,
	REST_MS = 1000,
};

struct backup {
	struct job job;
	struct image *source, *target; /* the job has references */
	enum job_sync sync;
	struct image_bitmap *bitmap, *successor;
	bool was_recording;
	enum job_bitmap_mode mode;
	struct cbw cbw;
};

static void show_progress(struct backup *b)
{
	uint64_t len = __atomic_load_n(&b->job.len, __ATOMIC_RELAXED), left = image_bitmap_count(b->cbw.todo);

	job_set_progress(&b->job, len - MIN(left, len), len);
}

/* 0: broken, or what the job is to end with. */
static int broken(struct backup *b)
{
	int res = __atomic_load_n(&b->cbw.broken, __ATOMIC_RELAXED);

	return res == 0 ? 0 : job_fail(&b->job, res, "disk '%s': what a guest was to overwrite could not be copied: %s",
				       b->source->path, g_strerror(-res));
}

static int work(struct job *job)
{
	struct backup *b = (struct backup *)job;
	g_autofree void *buf = g_malloc(cbw_chunk(&b->cbw));
	int res = broken(b);

	while (res == 0 && job_go_on(job)) {
		uint64_t len = 0;
		bool is_read;

		res = cbw_step(&b->cbw, buf, &len, &is_read);
		if (res == 0)
			return 0;
		show_progress(b);
		if (res > 0)
			job_pace(job, len);
		else if (job_io_error(job, is_read, res) == JOB_ACTION_REPORT)
			return res;
		res = broken(b);
	}
	return res;
}

static int copy_all(struct backup *b)
{
	int res = 0;

	do {
		res = job_parallel(&b->job, JOB_WORKERS, work);
		/* A writer's copy may have failed, and is the job's then. */
		cbw_rewind(&b->cbw);
	} while (res == 0 && image_bitmap_count(b->cbw.todo) && job_go_on(&b->job));
	return res;
}

/* sync=none: what is overwritten is copied, as long as the job is there. */
static int wait_for_end(struct backup *b)
{
	int res = 0;

	while (res == 0 && job_go_on(&b->job)) {
		job_rest(&b->job, REST_MS);
		show_progress(b);
		res = broken(b);
	}
	return res;
}

static int backup_run(struct job *job)
{
	struct backup *b = (struct backup *)job;
	int res = b->sync == JOB_SYNC_NONE ? wait_for_end(b) : copy_all(b);

	return res < 0 ? res : image_flush(b->target);
}

/* A write may have come since the threads ended, and its copy with it. */
static bool backup_prepare(struct job *job, GError **error)
{
	struct backup *b = (struct backup *)job;
	int res = image_flush(b->target);

	if (res == 0)
		res = broken(b);
	return res == 0 || kv_fail_errno(error, -res, "disk '%s': the backup could not be completed", b->source->path);
}

static void join(struct image_bitmap *to, const struct image_bitmap *from)
{
	/* Of another size now: nothing is known. */
	if (image_bitmap_merge(to, from) < 0)
		image_bitmap_mark(to, 0, to->size);
}

/* Drained. */
static void end_bitmap(struct backup *b)
{
	bool ok = b->job.result == 0;

	if (!b->bitmap)
		return;
	if (b->mode != JOB_BITMAP_NEVER && (ok || b->mode == JOB_BITMAP_ALWAYS)) {
		image_bitmap_clear(b->bitmap, 0, b->bitmap->size);
		/* What was not copied; a bit of it is a cluster of the target. */
		if (!ok)
			join(b->bitmap, b->cbw.todo);
	}
	join(b->bitmap, b->successor);
	image_bitmap_detach(b->successor);
	image_bitmap_free(b->successor);
	b->bitmap->busy = false;
	__atomic_store_n(&b->bitmap->recording, b->was_recording, __ATOMIC_RELAXED);
}

static void backup_end(struct job *job)
{
	struct backup *b = (struct backup *)job;

	image_drain_begin(b->source);
	cbw_end(&b->cbw);
	end_bitmap(b);
	image_drain_end(b->source);
	image_bitmap_free(b->cbw.todo);
}

static const struct job_driver driver = {
	.type = JOB_BACKUP,
	.run = backup_run,
	.prepare = backup_prepare,
	.end = backup_end,
};

static bool check_bitmap(const struct job_backup *what, GError **error)
{
	const struct image_bitmap *b = what->bitmap;
	bool by_bitmap = what->sync == JOB_SYNC_INCREMENTAL || what->sync == JOB_SYNC_BITMAP;

	if (!b)
		return !by_bitmap || kv_fail(error, KV_ERROR_USAGE, "must provide a valid bitmap name for '%s' sync mode",
					     what->sync == JOB_SYNC_BITMAP ? "bitmap" : "incremental");
	if (what->sync == JOB_SYNC_NONE)
		return kv_fail(error, KV_ERROR_USAGE, "sync mode 'none' does not produce meaningful bitmap outputs");
	if (what->sync == JOB_SYNC_INCREMENTAL && what->bitmap_mode != JOB_BITMAP_ON_SUCCESS)
		return kv_fail(error, KV_ERROR_USAGE, "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'");
	if (!by_bitmap && what->bitmap_mode == JOB_BITMAP_NEVER)
		return kv_fail(error, KV_ERROR_USAGE,
			       "Bitmap sync mode 'never' has no meaningful effect when combined with sync mode '%s'",
			       what->sync == JOB_SYNC_FULL ? "full" : "top");
	if (b->busy)
		return kv_fail(error, KV_ERROR_BUSY, "Bitmap '%s' is currently in use by another operation and cannot be used",
			       b->name ? b->name : "");
	if (b->inconsistent)
		return kv_fail(error, KV_ERROR_USAGE, "Bitmap '%s' is inconsistent and cannot be used", b->name ? b->name : "");
	return b->img == what->source || kv_fail(error, KV_ERROR_USAGE, "Bitmap '%s' is not one of disk '%s'",
						 b->name ? b->name : "", what->source->path);
}

static bool check(const struct job_options *options, const struct job_backup *what, GError **error)
{
	const struct image_format *format = what->target->format;

	if (what->source == what->target)
		return kv_fail(error, KV_ERROR_USAGE, "Source and target cannot be the same");
	if (what->compress && !format->write_compressed)
		return kv_fail(error, KV_ERROR_USAGE, "Compression is not supported for this drive %s",
			       job_name_of(options, what->target));
	if (what->source->size != what->target->size)
		return kv_fail(error, KV_ERROR_USAGE, "Source and target image have different sizes");
	if (what->target->readonly)
		return kv_fail(error, KV_ERROR_USAGE, "Node '%s' is read only", job_name_of(options, what->target));
	return check_bitmap(what, error);
}

static bool make_todo(struct backup *b, GError **error)
{
	uint64_t cluster = b->target->format->cluster_size ? b->target->format->cluster_size(b->target) : CLUSTER;
	int err = 0;

	/* Such as VHDX's blocks: what a write there does to the rest of one is the format's. */
	cluster = cluster & (cluster - 1) ? CLUSTER : CLAMP(cluster, CLUSTER, LARGEST);
	b->cbw.todo = image_bitmap_new(NULL, b->source->size, cluster, &err);
	if (b->cbw.todo && b->bitmap)
		b->successor = image_bitmap_new(NULL, b->source->size, b->bitmap->granularity, &err);
	if (b->cbw.todo && (b->successor || !b->bitmap))
		return true;
	image_bitmap_free(b->cbw.todo);
	return kv_fail_errno(error, -err, "disk '%s': cannot note what is copied", b->source->path);
}

/* Drained: the bitmap stays as it is now until the job ends. */
static void begin_bitmap(struct backup *b)
{
	if (!b->bitmap)
		return;
	b->was_recording = b->bitmap->recording;
	b->successor->recording = b->was_recording;
	image_bitmap_attach(b->successor, b->source);
	b->bitmap->busy = true;
	__atomic_store_n(&b->bitmap->recording, false, __ATOMIC_RELAXED);
}

static void begin(struct backup *b)
{
	image_drain_begin(b->source);
	if (b->sync == JOB_SYNC_INCREMENTAL || b->sync == JOB_SYNC_BITMAP)
		join(b->cbw.todo, b->bitmap);
	else
		image_bitmap_mark(b->cbw.todo, 0, b->source->size);
	job_set_progress(&b->job, 0, image_bitmap_count(b->cbw.todo));
	begin_bitmap(b);
	cbw_begin(&b->cbw);
	image_drain_end(b->source);
	job_created(&b->job);
}

struct job *job_backup_new(const struct job_options *options, const struct job_backup *what, GError **error)
{
	struct backup *b;

	if (!check(options, what, error))
		return NULL;
	b = (struct backup *)job_new(&driver, sizeof(*b), options, error);
	if (!b)
		return NULL;
	b->source = what->source;
	b->target = what->target;
	b->sync = what->sync;
	b->bitmap = what->bitmap;
	b->mode = what->bitmap_mode;
	b->cbw.break_snapshot = what->break_snapshot;
	b->cbw.copy = (struct copy){ .source = b->source, .target = b->target, .compress = what->compress,
				     .zero_flags = IMAGE_MAY_UNMAP,
				     .depth = b->sync == JOB_SYNC_TOP && b->source->backing ? 1 : UINT_MAX };
	if (job_use(&b->job, b->source, true, error) && job_use(&b->job, b->target, true, error) &&
	    job_use_chain(&b->job, b->source->backing, error) && job_use_chain(&b->job, b->target->backing, error) &&
	    make_todo(b, error)) {
		begin(b);
		return &b->job;
	}
	job_drop(&b->job);
	return NULL;
}
