/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-img bitmap: makes, removes and changes a persistent bitmap of an image, one action after the other. Also what convert and
 * measure do about bitmaps.
 */
#include <stdio.h>
#include <string.h>

#include "bitmap.h"
#include "bytes.h"
#include "error.h"
#include "img.h"

static const struct img_option options[] = {
	{IMG_ADD, "add", NULL, "make the bitmap"},
	{IMG_REMOVE, "remove", NULL, "remove it"},
	{IMG_CLEAR, "clear", NULL, "nothing is dirty any more"},
	{IMG_ENABLE, "enable", NULL, "writes are noted from now on"},
	{IMG_DISABLE, "disable", NULL, "they are not"},
	{IMG_MERGE, "merge", "SOURCE", "what is dirty in this bitmap is dirty here, too"},
	{'b', NULL, "FILE", "the image that SOURCE is in"},
	{'F', NULL, "FORMAT", "the format of that"},
	{'g', NULL, "SIZE", "with --add: bytes that a bit is for"},
	IMG_OPTION_FORMAT,
	IMG_OPTION_COMMON,
	{},
};

struct target {
	struct image *img, *from; /* from: where bitmaps that are merged are */
	const char *name;
	uint64_t granularity;
};

/* ---- actions ---- */

static bool add(struct target *t, const char *value, GError **error)
{
	return image_bitmap_add(t->img, t->name, t->granularity, true, false, error);
}

static bool remove_bitmap(struct target *t, const char *value, GError **error)
{
	struct image_bitmap *b = image_bitmap_find(t->img, t->name, error);

	return b && image_bitmap_remove(t->img, b, error);
}

static bool clear(struct target *t, const char *value, GError **error)
{
	struct image_bitmap *b = image_bitmap_find(t->img, t->name, error);

	return b && image_bitmap_reset(t->img, b, error);
}

static bool enable(struct target *t, const char *value, GError **error)
{
	struct image_bitmap *b = image_bitmap_find(t->img, t->name, error);

	return b && image_bitmap_record(t->img, b, true, error);
}

static bool disable(struct target *t, const char *value, GError **error)
{
	struct image_bitmap *b = image_bitmap_find(t->img, t->name, error);

	return b && image_bitmap_record(t->img, b, false, error);
}

static bool merge(struct target *t, const char *value, GError **error)
{
	struct image_bitmap *b = image_bitmap_find(t->img, t->name, error);
	struct image_bitmap *src = b ? image_bitmap_find(t->from, value, error) : NULL;

	return src && image_bitmap_add_from(t->img, b, src, error);
}

static const struct {
	int key;
	const char *name;
	bool (*run)(struct target *t, const char *value, GError **error);
} actions[] = {
	{IMG_ADD, "add", add},		{IMG_REMOVE, "remove", remove_bitmap}, {IMG_CLEAR, "clear", clear},
	{IMG_ENABLE, "enable", enable}, {IMG_DISABLE, "disable", disable},     {IMG_MERGE, "merge", merge},
};

static bool act(struct target *t, const struct img_given *given)
{
	g_autoptr(GError) error = NULL;

	for (unsigned i = 0; i < G_N_ELEMENTS(actions); i++) {
		if (actions[i].key != given->key || actions[i].run(t, given->value, &error))
			continue;
		img_fail("Operation %s on bitmap %s failed: %s", actions[i].name, t->name, error->message);
		if (g_error_matches(error, KV_ERROR, KV_ERROR_INVALID))
			fputs("Try 'kv-img bitmap --remove' to delete this bitmap from disk\n", stderr);
		return false;
	}
	return true;
}

/* Each action in its order up to one that fails; what was done is stored all the same. */
static bool act_all(struct img_args *args, struct target *t)
{
	GError *error = NULL;
	bool ok = true;

	for (unsigned i = 0; i < args->given->len && ok; i++)
		ok = act(t, &g_array_index(args->given, struct img_given, i));
	/* Closing would only warn. */
	if (t->img->format->reopen && image_bitmaps_supported(t->img) && !image_reopen(t->img, true, &error))
		ok = !img_fail_error(NULL, error);
	return ok;
}

static bool check_words(struct img_args *args, const struct target *t)
{
	bool any = false;

	for (unsigned i = 0; i < G_N_ELEMENTS(actions); i++)
		any |= img_has(args, actions[i].key);
	if (!any)
		return img_fail("Need at least one of --add, --remove, --clear, --enable, --disable, or --merge"), false;
	if (args->n != 2)
		return img_fail("Expecting filename and bitmap name"), false;
	if (t->granularity && !img_has(args, IMG_ADD))
		return img_fail("granularity only supported with --add"), false;
	if (img_has(args, 'F') && !img_has(args, 'b'))
		return img_fail("-F only supported with -b"), false;
	if (img_has(args, 'b') && !img_has(args, IMG_MERGE))
		return img_fail("Merge bitmap source file only supported with --merge"), false;
	return true;
}

static int bitmap(struct img_args *args)
{
	struct target t = {};
	const char *source = args->value['b'];
	bool ok;

	if (args->value['g'] && !img_size("granularity", args->value['g'], 0, INT64_MAX, &t.granularity))
		return 1;
	if (!check_words(args, &t))
		return 1;
	if (t.granularity > 1u << 31)
		return img_fail("Operation add on bitmap %s failed: Granularity must be power of 2 and at least 512, at most 2G",
				args->word[1]);
	t.name = args->word[1];
	t.img = img_open(args->word[0], args->value['f'], img_open_flags(args) | IMG_RW | IMG_ALONE);
	t.from = t.img && source ? img_open(source, args->value['F'], IMG_ALONE) : t.img;
	ok = t.img && t.from && act_all(args, &t);
	if (source)
		image_close(t.from);
	image_close(t.img);
	return !ok;
}

const struct img_command img_bitmap = {"bitmap", "[option]... ACTION... FILE BITMAP", "changes a persistent dirty bitmap",
				       options, bitmap};

/* ---- for convert and measure ---- */

bool img_bitmaps_check(struct image *source, bool skip_broken)
{
	GError *error = NULL;

	if (!image_bitmaps_supported(source))
		return img_fail("Source lacks bitmap support"), false;
	if (!image_bitmaps_load(source, &error))
		return img_fail_error(NULL, error), false;
	for (const struct image_bitmap *b = source->bitmaps; b && !skip_broken; b = b->next)
		if (b->inconsistent) {
			img_fail("Cannot copy inconsistent bitmap '%s'", b->name);
			fputs("Try --skip-broken-bitmaps, or use 'kv-img bitmap --remove'\n", stderr);
			return false;
		}
	return true;
}

static bool copy_one(struct image *source, const struct image_bitmap *b, struct image *target)
{
	GError *error = NULL;
	struct image_bitmap *copy = image_bitmap_add(target, b->name, b->granularity, true, !b->recording, &error);
	g_autofree char *failed = g_strdup_printf("Failed to %s bitmap %s", copy ? "populate" : "create", b->name);

	if (copy && image_bitmap_add_from(target, copy, b, &error))
		return true;
	img_fail_error(failed, error);
	if (copy)
		image_bitmap_remove(target, copy, NULL);
	return false;
}

bool img_bitmaps_copy(struct image *source, struct image *target, bool skip_broken)
{
	GError *error = NULL;

	for (const struct image_bitmap *b = source->bitmaps; b; b = b->next) {
		if (skip_broken && b->inconsistent)
			img_fail("warning: Skipping inconsistent bitmap '%s'", b->name);
		else if (!copy_one(source, b, target))
			return false;
	}
	return image_reopen(target, true, &error) || (img_fail_error(NULL, error), false);
}

/* As if no bits were alike, and with those that are inconsistent. In the directory an entry has 24 bytes and its name. */
uint64_t img_bitmaps_size(struct image *source, uint64_t cluster)
{
	uint64_t sum = 0, directory = 0;

	for (const struct image_bitmap *b = source->bitmaps; b; b = b->next) {
		uint64_t bits = source->size / b->granularity + !!(source->size % b->granularity);
		uint64_t data = align_up(bits / 8 + !!(bits % 8), cluster);

		sum += data + align_up(data / cluster * 8, cluster);
		directory += align_up(24 + strlen(b->name), 8);
	}
	return sum + align_up(directory, cluster);
}
