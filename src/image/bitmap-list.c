/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bitmaps that an image has: made, found and changed by name, for QMP, for tools and for exports. See bitmap.h. What is to
 * be persistent is the format's to store; everything else is alike. Errors have QEMU's words, for clients look at them.
 */
#include <string.h>

#include "bitmap.h"
#include "error.h"
#include "format.h"

enum { GRANULARITY_MIN = 512, NAME_MAX_BYTES = 1023 };

bool image_bitmaps_supported(const struct image *img)
{
	return img->format->bitmaps_supported && img->format->bitmaps_supported(img);
}

bool image_bitmaps_load(struct image *img, GError **error)
{
	if (img->bitmaps_loaded)
		return true;
	if (img->format->bitmaps_load && !img->format->bitmaps_load(img, error))
		return false;
	img->bitmaps_loaded = true;
	return true;
}

void image_bitmaps_free(struct image *img)
{
	while (img->bitmaps) {
		struct image_bitmap *b = img->bitmaps;

		img->bitmaps = b->next;
		image_bitmap_detach(b);
		image_bitmap_free(b);
	}
}

static struct image_bitmap *lookup(const struct image *img, const char *name)
{
	struct image_bitmap *b = img->bitmaps;

	while (b && strcmp(b->name, name) != 0)
		b = b->next;
	return b;
}

struct image_bitmap *image_bitmap_find(struct image *img, const char *name, GError **error)
{
	struct image_bitmap *b;

	if (!image_bitmaps_load(img, error))
		return NULL;
	b = lookup(img, name);
	if (!b)
		kv_fail(error, KV_ERROR_USAGE, "Dirty bitmap '%s' not found", name);
	return b;
}

bool image_bitmap_usable(const struct image *img, const struct image_bitmap *b, bool change, GError **error)
{
	if (b->busy)
		return kv_fail(error, KV_ERROR_BUSY, "Bitmap '%s' is currently in use by another operation and cannot be used",
			       b->name);
	if (change && b->persistent && img->readonly)
		return kv_fail(error, KV_ERROR_USAGE, "Bitmap '%s' is readonly and cannot be modified", b->name);
	return !b->inconsistent ||
	       kv_fail(error, KV_ERROR_INVALID, "Bitmap '%s' is inconsistent and cannot be used", b->name);
}

bool image_bitmap_will_change(struct image *img, struct image_bitmap *b, GError **error)
{
	return image_bitmap_usable(img, b, true, error) && (!b->persistent || img->format->bitmap_change(img, b, error));
}

/* ---- there and gone ---- */

static bool can_persist(struct image *img, const char *name, GError **error)
{
	if (!img->format->bitmap_add)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "Can't store persistent bitmaps to '%s': Operation not supported",
			       img->path);
	return !img->readonly || kv_fail(error, KV_ERROR_USAGE, "Can't make bitmap '%s' persistent in '%s': it is read only",
					 name, img->path);
}

static bool check_new(struct image *img, const char *name, uint32_t granularity, bool persistent, GError **error)
{
	if (!*name)
		return kv_fail(error, KV_ERROR_USAGE, "Bitmap name cannot be empty");
	if (granularity && (granularity < GRANULARITY_MIN || granularity & (granularity - 1)))
		return kv_fail(error, KV_ERROR_USAGE, "Granularity must be power of 2 and at least %d", GRANULARITY_MIN);
	/* Of those that are stored the format says so. */
	if (!persistent && strlen(name) > NAME_MAX_BYTES)
		return kv_fail(error, KV_ERROR_USAGE, "Bitmap name too long: %s", name);
	if (!image_bitmaps_load(img, error) || (persistent && !can_persist(img, name, error)))
		return false;
	return !lookup(img, name) || kv_fail(error, KV_ERROR_USAGE, "Bitmap already exists: %s", name);
}

/* At the end: they are listed as they were made. */
static void append(struct image *img, struct image_bitmap *b)
{
	struct image_bitmap **at = &img->bitmaps;

	while (*at)
		at = &(*at)->next;
	*at = b;
}

static void unlink_bitmap(struct image *img, struct image_bitmap *b)
{
	struct image_bitmap **at = &img->bitmaps;

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	image_bitmap_detach(b);
	image_bitmap_free(b);
}

struct image_bitmap *image_bitmap_add(struct image *img, const char *name, uint32_t granularity, bool persistent, bool disabled,
				      GError **error)
{
	struct image_bitmap *b;
	int err;

	if (!check_new(img, name, granularity, persistent, error))
		return NULL;
	b = image_bitmap_new(name, img->size, granularity ? granularity : image_bitmap_granularity(img), &err);
	if (!b) {
		kv_fail(error, KV_ERROR_UNSUPPORTED, "Bitmap '%s' would be too large; use a larger granularity", name);
		return NULL;
	}
	b->persistent = b->changed = persistent;
	b->recording = !disabled;
	if (persistent && !img->format->bitmap_add(img, b, error)) {
		image_bitmap_free(b);
		return NULL;
	}
	append(img, b);
	image_bitmap_attach(b, img);
	return b;
}

bool image_bitmap_remove(struct image *img, struct image_bitmap *b, GError **error)
{
	g_autoptr(GError) reason = NULL;

	/* What is inconsistent can be removed. */
	if (!image_bitmap_usable(img, b, true, &reason) && !g_error_matches(reason, KV_ERROR, KV_ERROR_INVALID)) {
		g_propagate_error(error, g_steal_pointer(&reason));
		return false;
	}
	if (b->persistent && !img->format->bitmap_remove(img, b, error))
		return false;
	unlink_bitmap(img, b);
	return true;
}

/* ---- changes ---- */

bool image_bitmap_reset(struct image *img, struct image_bitmap *b, GError **error)
{
	if (!image_bitmap_will_change(img, b, error))
		return false;
	image_bitmap_clear(b, 0, b->size);
	return true;
}

bool image_bitmap_record(struct image *img, struct image_bitmap *b, bool on, GError **error)
{
	if (!image_bitmap_will_change(img, b, error))
		return false;
	__atomic_store_n(&b->recording, on, __ATOMIC_RELAXED);
	return true;
}

bool image_bitmap_add_from(struct image *img, struct image_bitmap *b, const struct image_bitmap *src, GError **error)
{
	if (!image_bitmap_usable(img, b, true, error) || !image_bitmap_usable(img, src, false, error))
		return false;
	if (b->size != src->size)
		return kv_fail(error, KV_ERROR_USAGE,
			       "Bitmaps are of different sizes (destination size is %" G_GUINT64_FORMAT
			       ", source size is %" G_GUINT64_FORMAT ") and can't be merged",
			       b->size, src->size);
	if (!image_bitmap_will_change(img, b, error))
		return false;
	image_bitmap_merge(b, src);
	return true;
}
