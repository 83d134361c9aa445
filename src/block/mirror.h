/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mirror.c for commit.c. Private to src/block. */
#pragma once
#include "job.h"

/* The commit of an image that is in use into one below it. */
struct job *mirror_commit_new(const struct job_options *options, struct image *active, struct image *base, GError **error);
