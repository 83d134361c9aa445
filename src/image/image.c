/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The part of disk images that is the same for every format. See image.h. Formats are never
 * guessed from the content: a guest writes that, and could make the next start read any file
 * of the host.
 */
#include "image.h"

#include <string.h>

#include "error.h"

static const struct image_format *find_format(const char *name, GError **error)
{
	for (const struct image_format *const *f = image_formats; *f; f++)
		if (strcmp((*f)->name, name) == 0)
			return *f;
	kv_fail(error, KV_ERROR_UNSUPPORTED, "disk format '%s' is not known; only raw is supported",
		name);
	return NULL;
}

struct image *image_open(GVariant *options, GError **error)
{
	const struct image_format *format;
	const char *path, *name = "raw";
	gboolean readonly = FALSE;
	struct image *img;

	if (!g_variant_lookup(options, "file", "&s", &path)) {
		kv_fail(error, KV_ERROR_USAGE, "a disk needs file=PATH");
		return NULL;
	}
	g_variant_lookup(options, "format", "&s", &name);
	g_variant_lookup(options, "readonly", "b", &readonly);
	format = find_format(name, error);
	if (!format)
		return NULL;
	img = g_new0(struct image, 1);
	img->format = format;
	img->path = g_strdup(path);
	img->readonly = readonly;
	if (!format->open(img, options, error)) {
		g_free(img->path);
		g_free(img);
		return NULL;
	}
	return img;
}

void image_close(struct image *img)
{
	if (!img)
		return;
	img->format->close(img);
	g_free(img->path);
	g_free(img);
}

struct image_queue *image_queue_new(struct image *img, GMainContext *context, unsigned depth,
				    GError **error)
{
	return img->format->queue_new(img, context, depth, error);
}

void image_queue_free(struct image_queue *q)
{
	if (q)
		q->image->format->queue_free(q);
}

void image_submit(struct image_queue *q, struct image_req *req)
{
	q->image->format->submit(q, req);
}

void image_kick(struct image_queue *q)
{
	q->image->format->kick(q);
}
