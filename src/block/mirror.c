/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blockdev-mirror, and block-commit of an image that is in use. A dirty bitmap has what source and target may differ in: at the
 * start what is to be copied, then what guests write. Pass after pass it is copied; a bit is cleared before its bytes are read,
 * and a write marks it when the bytes are there, so none is missed. When little is left the job is ready and goes on. To complete
 * it the source is drained, in the main thread, the last of it is copied and flushed, and target takes source's place. With
 * copy-mode=write-blocking a writer copies what it has written before its write ends, so guests cannot be quicker than the job.
 */
#include <errno.h>

#include "bitmap.h"
#include "bytes.h"
#include "copy.h"
#include "error.h"
#include "format.h"
#include "relink.h"
#include "mirror.h"

enum {
	SMALLEST = 512,
	LARGEST = 64 << 20,
	LITTLE = 4 << 20, /* bytes that may be left for a drain */
	REST_MS = 100,
};

struct mirror {
	struct job job;
	struct image *source, *target, *replaces; /* the job has references */
	struct copy copy;
	struct image_bitmap *dirty;
	struct image_watch active; /* write-blocking */
	uint64_t chunk;
	unsigned workers;
	bool blocking;
	bool none;	  /* nothing to begin with */
	bool was_readonly; /* target */
	bool drained, replaced;
	struct spans spans; /* ranges under way */
	uint64_t next;	    /* where this pass is; under spans.lock */
	uint64_t copied;    /* atomic */
	bool errors;	    /* in this pass: something could not be copied; atomic */
};

static bool is_little(const struct mirror *m)
{
	return image_bitmap_count(m->dirty) <= MAX(LITTLE, m->dirty->granularity);
}

static void show_progress(struct mirror *m)
{
	uint64_t copied = __atomic_load_n(&m->copied, __ATOMIC_RELAXED);

	job_set_progress(&m->job, copied, copied + image_bitmap_count(m->dirty));
}

/* What is dirty in [from, to) and not under way, as far as a chunk goes. Its bits are clear then. Under the lock. */
static bool take_in(struct mirror *m, uint64_t from, uint64_t to, struct span *ret)
{
	uint64_t offset, len;

	while (image_bitmap_next(m->dirty, true, from, to, &offset, &len)) {
		const struct span *busy;

		len = MIN(len, m->chunk);
		busy = spans_find(&m->spans, offset, offset + len);
		if (busy && busy->from <= offset) {
			from = busy->to;
			continue;
		}
		if (busy)
			len = busy->from - offset;
		*ret = (struct span){ .from = offset, .to = offset + len };
		spans_add(&m->spans, ret);
		image_bitmap_clear(m->dirty, offset, len);
		return true;
	}
	return false;
}

/* What is next in this pass. */
static bool take(struct mirror *m, struct span *ret)
{
	bool found;

	g_mutex_lock(&m->spans.lock);
	found = take_in(m, m->next, m->dirty->size, ret);
	if (found)
		m->next = ret->to;
	g_mutex_unlock(&m->spans.lock);
	return found;
}

static void give_back(struct mirror *m, struct span *span, bool ok)
{
	if (!ok)
		image_bitmap_mark(m->dirty, span->from, span->to - span->from);
	else
		__atomic_add_fetch(&m->copied, span->to - span->from, __ATOMIC_RELAXED);
	g_mutex_lock(&m->spans.lock);
	spans_remove(&m->spans, span);
	g_mutex_unlock(&m->spans.lock);
	show_progress(m);
}

/* ---- write-blocking: a write has ended when target has it as well ---- */

static int let_write(struct image_watch *w, uint64_t offset, uint64_t len)
{
	return 0;
}

/* The bitmap, whose watch comes first, has marked the range. What fails stays marked, and is the job's to fail with. */
static void copy_now(struct image_watch *w, uint64_t offset, uint64_t len)
{
	struct mirror *m = (struct mirror *)((char *)w - offsetof(struct mirror, active));
	uint64_t unit = m->dirty->granularity, to = MIN(align_up(offset + len, unit), m->dirty->size);
	g_autofree void *buf = NULL;
	struct span span;
	int res = 0;

	offset = align_down(offset, unit);
	g_mutex_lock(&m->spans.lock);
	while (res == 0) {
		bool is_read;

		if (take_in(m, offset, to, &span)) {
			g_mutex_unlock(&m->spans.lock);
			buf = buf ? buf : g_malloc(m->chunk);
			res = copy_range(&m->copy, span.from, span.to - span.from, buf, &is_read);
			give_back(m, &span, res == 0);
			g_mutex_lock(&m->spans.lock);
		} else if (spans_find(&m->spans, offset, to)) {
			g_cond_wait(&m->spans.changed, &m->spans.lock);
		} else {
			break;
		}
	}
	g_mutex_unlock(&m->spans.lock);
}

/* ---- passes ---- */

static bool may_complete(struct mirror *m)
{
	return job_is_completing(&m->job) && is_little(m);
}

/* What a speed is for: how much of a range is data. Zeroes cost little, and a guest that trims has a disk full of them. */
static uint64_t weight(const struct mirror *m, const struct span *span)
{
	uint64_t n = 0, data = 0;

	for (uint64_t offset = span->from; offset < span->to; offset += n) {
		enum copy_what what;

		if (copy_look(&m->copy, offset, span->to - offset, &what, &n) < 0)
			return span->to - span->from;
		data += what == COPY_DATA ? n : 0;
	}
	return data;
}

/* A pass of one thread. */
static int work(struct job *job)
{
	struct mirror *m = (struct mirror *)job;
	g_autofree void *buf = g_malloc(m->chunk);
	struct span span;

	while (job_go_on(job) && !may_complete(m) && take(m, &span)) {
		bool is_read;
		int res;

		job_pace(job, weight(m, &span));
		res = copy_range(&m->copy, span.from, span.to - span.from, buf, &is_read);
		give_back(m, &span, res == 0);
		if (res < 0)
			__atomic_store_n(&m->errors, true, __ATOMIC_RELAXED);
		if (res < 0 && job_io_error(job, is_read, res) == JOB_ACTION_REPORT)
			return res;
	}
	return 0;
}

static int pass(struct mirror *m)
{
	m->next = 0;
	m->errors = false;
	return job_parallel(&m->job, is_little(m) ? 1 : m->workers, work);
}

/* What there is to copy at first. Guests write meanwhile, which marks as well. */
static int mark_all(struct mirror *m)
{
	uint64_t offset = 0, n;

	while (!m->none && offset < m->source->size && job_go_on(&m->job)) {
		enum copy_what what;
		int res = copy_look(&m->copy, offset, m->source->size - offset, &what, &n);

		if (res < 0) {
			/* Copying it will fail as well, and then somebody is asked. */
			n = MIN(m->source->size - offset, m->chunk);
			what = COPY_DATA;
		}
		if (what != COPY_SKIP)
			image_bitmap_mark(m->dirty, offset, n);
		offset += n;
	}
	return 0;
}

static int flush(struct mirror *m)
{
	int res;

	do {
		res = image_flush(m->target);
		if (res == 0)
			return 0;
	} while (job_io_error(&m->job, false, res) != JOB_ACTION_REPORT && job_go_on(&m->job));
	return res;
}

static int mirror_run(struct job *job)
{
	struct mirror *m = (struct mirror *)job;
	bool ready = false;
	int res = mark_all(m);

	show_progress(m);
	while (res == 0 && job_go_on(job)) {
		res = pass(m);
		show_progress(m);
		if (res < 0 || !job_go_on(job) || !is_little(m) || m->errors)
			continue;
		if (!ready || job_is_completing(job))
			res = flush(m);
		if (res == 0 && ready && job_is_completing(job))
			return 0;
		if (res == 0 && !ready)
			job_set_ready(job);
		ready = true;
		job_rest(job, REST_MS);
	}
	return res;
}

/* Nobody writes to the source. */
static int copy_rest(struct mirror *m)
{
	g_autofree void *buf = g_malloc(m->chunk);
	struct span span;
	bool is_read;
	int res = 0;

	m->next = 0;
	while (res == 0 && take(m, &span)) {
		res = copy_range(&m->copy, span.from, span.to - span.from, buf, &is_read);
		give_back(m, &span, res == 0);
	}
	return res < 0 ? res : image_flush(m->target);
}

static bool mirror_prepare(struct job *job, GError **error)
{
	struct mirror *m = (struct mirror *)job;
	int res;

	image_drain_begin(m->source);
	image_drain_begin(m->target);
	m->drained = true;
	res = copy_rest(m);
	if (res < 0)
		return kv_fail_errno(error, -res, "disk '%s': the last of it cannot be copied", m->source->path);
	if (job_is_soft_cancelled(job))
		return true;
	m->replaced = relink_replace(job, m->replaces, m->target, error);
	return m->replaced;
}

static void mirror_end(struct job *job)
{
	struct mirror *m = (struct mirror *)job;

	if (!m->drained) {
		image_drain_begin(m->source);
		image_drain_begin(m->target);
	}
	image_bitmap_detach(m->dirty);
	if (m->blocking)
		image_watch_remove(m->source, &m->active);
	image_drain_end(m->target);
	image_drain_end(m->source);
	if (m->was_readonly && !m->replaced)
		relink_make_readonly(m->target);
	image_bitmap_free(m->dirty);
	spans_clear(&m->spans);
}

static const struct job_driver mirror_driver = {
	.type = JOB_MIRROR,
	.run = mirror_run,
	.prepare = mirror_prepare,
	.end = mirror_end,
	.completes = true,
	.soft_cancel = true,
};
static const struct job_driver commit_driver = {
	.type = JOB_COMMIT,
	.run = mirror_run,
	.prepare = mirror_prepare,
	.end = mirror_end,
	.completes = true,
	.soft_cancel = true,
};

static bool check_granularity(uint32_t granularity, GError **error)
{
	if (granularity < SMALLEST || granularity > LARGEST)
		return kv_fail(error, KV_ERROR_USAGE, "Parameter 'granularity' expects a value in range [512B, 64MB]");
	return (granularity & (granularity - 1)) == 0 ||
	       kv_fail(error, KV_ERROR_USAGE, "Parameter 'granularity' expects a power of 2");
}

static bool check(const struct job_options *options, const struct job_mirror *what, GError **error)
{
	if (what->source == what->target)
		return kv_fail(error, KV_ERROR_USAGE, "Can't mirror node into itself");
	if (what->sync == JOB_SYNC_INCREMENTAL || what->sync == JOB_SYNC_BITMAP)
		return kv_fail(error, KV_ERROR_USAGE, "Sync mode '%s' not supported",
			       what->sync == JOB_SYNC_BITMAP ? "bitmap" : "incremental");
	if (what->source->size != what->target->size)
		return kv_fail(error, KV_ERROR_USAGE, "Source and target image have different sizes");
	return !what->target->readonly ||
	       kv_fail(error, KV_ERROR_USAGE, "Node '%s' is read only", job_name_of(options, what->target));
}

/* As large as it makes sense, several at a time, and whole bits. */
static void choose_sizes(struct mirror *m, uint64_t buf_size)
{
	uint64_t granularity = m->dirty->granularity;

	buf_size = buf_size ? buf_size : (uint64_t)JOB_WORKERS * JOB_CHUNK;
	m->workers = JOB_WORKERS;
	m->chunk = MAX(align_down(MIN(buf_size / JOB_WORKERS, JOB_CHUNK), granularity), granularity);
	m->workers = CLAMP(buf_size / m->chunk, 1, JOB_WORKERS);
}

static bool begin(struct mirror *m, const struct job_mirror *what, GError **error)
{
	uint32_t granularity = what->granularity ? what->granularity : image_bitmap_granularity(m->target);
	int err = 0;

	if (!check_granularity(granularity, error))
		return false;
	m->dirty = image_bitmap_new(NULL, m->source->size, granularity, &err);
	if (!m->dirty)
		return kv_fail_errno(error, -err, "disk '%s': cannot note what is written", m->source->path);
	choose_sizes(m, what->buf_size);
	spans_init(&m->spans);
	m->dirty->recording = true;
	m->none = what->sync == JOB_SYNC_NONE;
	m->copy.source = m->source;
	m->copy.target = m->target;
	m->copy.zero_flags = what->no_unmap ? 0 : IMAGE_MAY_UNMAP;
	m->blocking = what->write_blocking;
	m->active = (struct image_watch){ .before = let_write, .after = copy_now };
	image_drain_begin(m->source);
	/* The last one that is added is the first one that is told. */
	if (m->blocking)
		image_watch_add(m->source, &m->active);
	image_bitmap_attach(m->dirty, m->source);
	image_drain_end(m->source);
	job_created(&m->job);
	return true;
}

static struct mirror *new(const struct job_driver *driver, const struct job_options *options, const struct job_mirror *what,
			  GError **error)
{
	struct mirror *m = (struct mirror *)job_new(driver, sizeof(*m), options, error);

	if (!m)
		return NULL;
	m->source = what->source;
	m->target = what->target;
	m->replaces = what->replaces ? what->replaces : what->source;
	if (job_use(&m->job, m->source, true, error) && job_use(&m->job, m->target, true, error) &&
	    (m->replaces == m->source || job_use(&m->job, m->replaces, true, error)) &&
	    job_use_chain(&m->job, m->source->backing, error) && job_use_chain(&m->job, m->target->backing, error))
		return m;
	job_drop(&m->job);
	return NULL;
}

struct job *job_mirror_new(const struct job_options *options, const struct job_mirror *what, GError **error)
{
	struct mirror *m = check(options, what, error) ? new(&mirror_driver, options, what, error) : NULL;

	if (!m)
		return NULL;
	/* What is behind the first layer is behind the target as well. */
	m->copy.depth = what->sync == JOB_SYNC_TOP && what->source->backing ? 1 : UINT_MAX;
	if (begin(m, what, error))
		return &m->job;
	job_drop(&m->job);
	return NULL;
}

struct job *mirror_commit_new(const struct job_options *options, struct image *active, struct image *base, GError **error)
{
	const struct job_mirror what = { .source = active, .target = base };
	struct mirror *m = new(&commit_driver, options, &what, error);

	if (!m)
		return NULL;
	m->copy.depth = copy_depth(active, base);
	if (relink_make_writable(base, &m->was_readonly, error) &&
	    (base->size >= active->size || image_resize(base, active->size, IMAGE_PREALLOC_OFF, error)) && begin(m, &what, error))
		return &m->job;
	if (m->was_readonly)
		relink_make_readonly(base);
	job_drop(&m->job);
	return NULL;
}
