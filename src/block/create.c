/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* blockdev-create: image_create() in a thread, as preallocation may take long. It cannot be interrupted. */
#include <errno.h>

#include "driver.h"

struct create {
	struct job job;
	GVariant *options;
};

static int create_run(struct job *job)
{
	g_autoptr(GError) error = NULL;

	job_set_progress(job, 0, 1);
	if (!image_create(((struct create *)job)->options, &error))
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

struct job *job_create_new(const struct job_options *options, GVariant *create, GError **error)
{
	struct create *c = (struct create *)job_new(&driver, sizeof(*c), options, error);

	if (!c)
		return NULL;
	c->options = g_variant_ref_sink(create);
	job_created(&c->job);
	return &c->job;
}
