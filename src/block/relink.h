/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What jobs do to the graph of images, in the main thread. Private to src/block. */
#pragma once
#include "driver.h"

/* What the header of `img` is to say when it stands on base, whose users above call it what `above`'s header says. */
struct relink_name {
	char *name, *format;
};
void relink_name_find(struct relink_name *n, const struct image *img, const struct image *above, const struct image *base,
		     const char *given);
void relink_name_clear(struct relink_name *n);

/* Is there a header that can say it? */
bool relink_can_rename(const struct image *img, GError **error);
/* Drained, and flushed: img stands on base (NULL: on none), in its header and in memory. */
bool relink_set_backing(struct image *img, struct image *base, const struct relink_name *n, GError **error);
/* Users of `from` use `to`; both are drained. */
bool relink_replace(struct job *job, struct image *from, struct image *to, GError **error);
/* Opened for writing for the job's time: *ret_was says whether that is to be undone. */
bool relink_make_writable(struct image *img, bool *ret_was, GError **error);
void relink_make_readonly(struct image *img);
