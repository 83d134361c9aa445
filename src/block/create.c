/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* blockdev-create: image_create() or image_create_on() in a thread, as preallocation may take long. It cannot be interrupted. */
#include <errno.h>

#include "driver.h"

struct create {
	struct job job;
	struct image *storage; /* the job has a reference; NULL: none */
	GVariant *options;
};

static int create_run(struct job *job)
{
	struct create *c = (struct create *)job;
	g_autoptr(GError) error = NULL;
	bool ok;

	job_set_progress(job, 0, 1);
	ok = c->storage ? image_create_on(c->storage, c->options, &error) : image_create(c->options, &error);
	if (!ok)
		return job_fail(job, -EIO, "%s", error->message);
	job_advance(job, 1);
	return 0;
}

static void create_end(struct job *job)
{
	g_variant_unref(((struct create *)job)->options);
}

static const struct job_driver driver = {
	.type = JOB_CREATE,
	.run = create_run,
	.end = create_end,
};

struct job *job_create_new(const struct job_options *options, struct image *storage, GVariant *create, GError **error)
{
	g_autoptr(GVariant) own = g_variant_ref_sink(create);
	struct create *c = (struct create *)job_new(&driver, sizeof(*c), options, error);

	if (!c)
		return NULL;
	if (storage && !job_use(&c->job, storage, true, error)) {
		job_drop(&c->job);
		return NULL;
	}
	c->storage = storage;
	c->options = g_steal_pointer(&own);
	job_created(&c->job);
	return &c->job;
}
