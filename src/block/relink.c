/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See relink.h. Called by stream.c, commit.c and mirror.c. */
#include "relink.h"

#include <string.h>

#include "error.h"
#include "format.h"
#include "log.h"

static bool same_folder(const char *a, const char *b)
{
	g_autofree char *x = g_path_get_dirname(a), *y = g_path_get_dirname(b);

	return strcmp(x, y) == 0;
}

/* A name in a header is relative to its own file: it goes on if that is in the same folder, else it becomes absolute. */
void relink_name_find(struct relink_name *n, const struct image *img, const struct image *above, const struct image *base,
		     const char *given)
{
	*n = (struct relink_name){};
	if (!base)
		return;
	n->format = g_strdup(base->format->name);
	if (given)
		n->name = g_strdup(given);
	else if (above->backing_name && same_folder(img->path, above->path))
		n->name = g_strdup(above->backing_name);
	else
		n->name = g_canonicalize_filename(base->path, NULL);
}

void relink_name_clear(struct relink_name *n)
{
	g_free(n->name);
	g_free(n->format);
}

bool relink_can_rename(const struct image *img, GError **error)
{
	return img->format->set_backing || kv_fail(error, KV_ERROR_UNSUPPORTED,
						    "disk '%s': the header of a %s image cannot be given another backing file",
						    img->path, img->format->name);
}

bool relink_set_backing(struct image *img, struct image *base, const struct relink_name *n, GError **error)
{
	if (!img->format->set_backing(img, n->name, n->format, error))
		return false;
	g_free(img->backing_name);
	g_free(img->backing_format);
	img->backing_name = g_strdup(n->name);
	img->backing_format = g_strdup(n->format);
	image_set_backing_image(img, base);
	return true;
}

bool relink_replace(struct job *job, struct image *from, struct image *to, GError **error)
{
	return !job->owner || !job->owner->replace || job->owner->replace(job->owner->opaque, from, to, error);
}

bool relink_make_writable(struct image *img, bool *ret_was, GError **error)
{
	bool ok;

	if (!img->readonly)
		return true;
	image_drain_begin(img);
	ok = image_reopen(img, false, error);
	image_drain_end(img);
	if (ok)
		*ret_was = true;
	return ok;
}

void relink_make_readonly(struct image *img)
{
	g_autoptr(GError) error = NULL;

	image_drain_begin(img);
	if (!image_reopen(img, true, &error))
		kv_log_warn("%s", error->message);
	image_drain_end(img);
}
