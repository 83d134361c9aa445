/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * block-stream: what the layers between top and base have becomes top's own, by image_populate(), which a write at the same time
 * does not hurt: the guest sees the same bytes before and after. At the end all of it is flushed, and then top's header, and top,
 * stand on base; a crash before that has a longer chain with the same data.
 */
#include <errno.h>

#include "error.h"
#include "format.h"
#include "relink.h"
#include "walk.h"

struct stream {
	struct job job;
	struct image *top, *base; /* the job has references */
	struct relink_name name;
	struct walk walk;
	bool was_readonly, drained;
};

static int piece(struct walk *w, uint64_t offset, uint64_t len, void *buf, bool *ret_is_read)
{
	return image_populate(w->copy.source, offset, len);
}

static int work(struct job *job)
{
	return walk_work(&((struct stream *)job)->walk);
}

static int stream_run(struct job *job)
{
	struct stream *s = (struct stream *)job;
	int res = job_parallel(job, JOB_WORKERS, work);

	if (res == 0)
		res = s->walk.ignored;
	return res < 0 ? res : image_flush(s->top);
}

static bool stream_prepare(struct job *job, GError **error)
{
	struct stream *s = (struct stream *)job;

	image_drain_begin(s->top);
	s->drained = true;
	return relink_set_backing(s->top, s->base, &s->name, error);
}

static void stream_end(struct job *job)
{
	struct stream *s = (struct stream *)job;

	if (s->drained)
		image_drain_end(s->top);
	if (s->was_readonly)
		relink_make_readonly(s->top);
	relink_name_clear(&s->name);
	walk_clear(&s->walk);
}

static const struct job_driver driver = {
	.type = JOB_STREAM,
	.run = stream_run,
	.prepare = stream_prepare,
	.end = stream_end,
};

static bool check(const struct job_options *options, const struct job_stream *what, GError **error)
{
	if (!what->top->backing)
		return kv_fail(error, KV_ERROR_USAGE, "Node '%s' has no backing file", job_name_of(options, what->top));
	if (what->base && !copy_depth(what->top, what->base))
		return kv_fail(error, KV_ERROR_USAGE, "Node '%s' is not a backing image of '%s'",
			       job_name_of(options, what->base), job_name_of(options, what->top));
	if (!what->top->format->populate)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s': data cannot be streamed into a %s image", what->top->path,
			       what->top->format->name);
	return relink_can_rename(what->top, error);
}

struct job *job_stream_new(const struct job_options *options, const struct job_stream *what, GError **error)
{
	struct image *above = what->top;
	struct stream *s;

	if (!check(options, what, error))
		return NULL;
	s = (struct stream *)job_new(&driver, sizeof(*s), options, error);
	if (!s)
		return NULL;
	if (!job_use(&s->job, what->top, true, error) || !job_use_chain(&s->job, what->top->backing, error) ||
	    !relink_make_writable(what->top, &s->was_readonly, error)) {
		job_drop(&s->job);
		return NULL;
	}
	s->top = what->top;
	s->base = what->base;
	while (above->backing != what->base)
		above = above->backing;
	relink_name_find(&s->name, s->top, above, s->base, what->backing_file);
	s->walk = (struct walk){ .job = &s->job, .size = s->top->size, .piece = piece, .skip_errors = true,
				 .copy = { .source = s->top, .from = 1,
					   .depth = s->base ? copy_depth(s->top, s->base) : UINT_MAX } };
	walk_init(&s->walk);
	job_created(&s->job);
	return &s->job;
}
