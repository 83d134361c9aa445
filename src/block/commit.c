/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * block-commit: what top and the layers down to base have is written to base, below which nobody sees it until then. An
 * intermediate top does not change meanwhile; at the end base is flushed, the header above top says that it stands on base, and
 * then it does. A top that a guest writes to is a mirror into base (mirror.c).
 */
#include <errno.h>

#include "error.h"
#include "format.h"
#include "relink.h"
#include "mirror.h"
#include "walk.h"

struct commit {
	struct job job;
	struct image *overlay, *top, *base; /* the job has references */
	struct relink_name name;
	struct walk walk;
	bool was_readonly, overlay_was_readonly, drained;
};

static int piece(struct walk *w, uint64_t offset, uint64_t len, void *buf, bool *ret_is_read)
{
	return copy_range(&w->copy, offset, len, buf, ret_is_read);
}

static int work(struct job *job)
{
	return walk_work(&((struct commit *)job)->walk);
}

static int commit_run(struct job *job)
{
	struct commit *c = (struct commit *)job;
	int res = job_parallel(job, JOB_WORKERS, work);

	return res < 0 ? res : image_flush(c->base);
}

/* The header first: a crash between finds base complete. */
static bool commit_prepare(struct job *job, GError **error)
{
	struct commit *c = (struct commit *)job;
	struct image *top = c->top;
	struct relink_name old = { g_strdup(c->overlay->backing_name), g_strdup(c->overlay->backing_format) };
	bool ok;

	image_drain_begin(c->overlay);
	image_drain_begin(top);
	c->drained = true;
	ok = relink_set_backing(c->overlay, c->base, &c->name, error);
	if (ok && !relink_replace(job, top, c->base, error)) {
		ok = false;
		relink_set_backing(c->overlay, top, &old, NULL);
	}
	relink_name_clear(&old);
	return ok;
}

static void commit_end(struct job *job)
{
	struct commit *c = (struct commit *)job;

	if (c->drained) {
		image_drain_end(c->top);
		image_drain_end(c->overlay);
	}
	if (c->was_readonly)
		relink_make_readonly(c->base);
	if (c->overlay_was_readonly)
		relink_make_readonly(c->overlay);
	relink_name_clear(&c->name);
	walk_clear(&c->walk);
}

static const struct job_driver driver = {
	.type = JOB_COMMIT,
	.run = commit_run,
	.prepare = commit_prepare,
	.end = commit_end,
};

static bool check(const struct job_options *options, const struct job_commit *what, GError **error)
{
	if (what->top == what->base)
		return kv_fail(error, KV_ERROR_USAGE, "cannot commit an image into itself");
	if (what->active != what->top && !copy_depth(what->active, what->top))
		return kv_fail(error, KV_ERROR_USAGE, "Node '%s' is not a backing image of '%s'", job_name_of(options, what->top),
			       job_name_of(options, what->active));
	if (!copy_depth(what->top, what->base))
		return kv_fail(error, KV_ERROR_USAGE, "Node '%s' is not a backing image of '%s'",
			       job_name_of(options, what->base), job_name_of(options, what->top));
	return what->base->format->write || kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s': %s images can only be read",
						    what->base->path, what->base->format->name);
}

/* The chain below overlay is as it is for the job's time; base is the job's. */
static bool use_images(struct commit *c, GError **error)
{
	if (!job_use(&c->job, c->overlay, true, error) || !job_use(&c->job, c->base, true, error))
		return false;
	return job_use_chain(&c->job, c->top, error);
}

/* Both are made ready to be written; undone after an error. */
static bool make_writable(struct commit *c, GError **error)
{
	if (!relink_make_writable(c->overlay, &c->overlay_was_readonly, error))
		return false;
	if (relink_make_writable(c->base, &c->was_readonly, error) &&
	    (c->base->size >= c->top->size || image_resize(c->base, c->top->size, IMAGE_PREALLOC_OFF, error)))
		return true;
	if (c->overlay_was_readonly)
		relink_make_readonly(c->overlay);
	if (c->was_readonly)
		relink_make_readonly(c->base);
	return false;
}

static struct image *above(struct image *active, const struct image *top)
{
	while (active->backing != top)
		active = active->backing;
	return active;
}

struct job *job_commit_new(const struct job_options *options, const struct job_commit *what, GError **error)
{
	struct commit *c;

	if (!check(options, what, error))
		return NULL;
	if (what->active == what->top)
		return mirror_commit_new(options, what->active, what->base, error);
	if (!relink_can_rename(above(what->active, what->top), error))
		return NULL;
	c = (struct commit *)job_new(&driver, sizeof(*c), options, error);
	if (!c)
		return NULL;
	c->overlay = above(what->active, what->top);
	c->top = what->top;
	c->base = what->base;
	if (!use_images(c, error) || !make_writable(c, error)) {
		job_drop(&c->job);
		return NULL;
	}
	relink_name_find(&c->name, c->overlay, above(c->top, c->base), c->base, what->backing_file);
	/* What base has behind top's end stays hidden from the overlay. */
	c->walk = (struct walk){ .job = &c->job, .size = MAX(c->top->size, MIN(c->overlay->size, c->base->size)), .piece = piece,
				 .copy = { .source = c->top, .target = c->base, .depth = copy_depth(c->top, c->base),
					   .zero_flags = IMAGE_MAY_UNMAP } };
	walk_init(&c->walk);
	job_created(&c->job);
	return &c->job;
}
