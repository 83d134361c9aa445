/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-img map: which layer of a chain has what, and where. A run that no layer has is told of the last one that was asked: the
 * bottom one, or one whose backing image ends before it.
 */
#include <stdio.h>
#include <string.h>

#include "img.h"

static const struct img_option options[] = {
	IMG_OPTION_FORMAT,
	IMG_OPTION_OUTPUT,
	{IMG_START, "start-offset", "SIZE", "where to begin"},
	{IMG_LENGTH, "max-length", "SIZE", "how much to look at"},
	IMG_OPTION_SHARE,
	IMG_OPTION_COMMON,
	{},
};

struct entry {
	uint64_t start, len, at;
	unsigned depth;
	bool present, zero, data, has_at;
	const char *file;
};

static int find_entry(struct image *img, uint64_t offset, uint64_t len, struct entry *ret)
{
	struct image_extent e;
	unsigned depth = 0;
	bool in_hole;
	int res;

	for (;; img = img->backing, depth++) {
		res = img_look(img, offset, len, true, &e, &in_hole);
		if (res < 0)
			return res;
		len = e.len;
		if (e.kind != IMAGE_HOLE || !img->backing || offset >= img->backing->size)
			break;
		len = MIN(len, img->backing->size - offset);
	}
	*ret = (struct entry){
		.start = offset,
		.len = len,
		.depth = depth,
		.at = e.at,
		.file = img->data->name,
		.present = e.kind != IMAGE_HOLE || !img_can_stand(img->format->name),
		.zero = e.kind == IMAGE_HOLE || e.kind == IMAGE_ZERO,
		.data = e.kind == IMAGE_DATA || e.kind == IMAGE_COMPRESSED || in_hole,
		.has_at = e.has_at,
	};
	if (img->format->plain) {
		ret->has_at = true;
		ret->at = offset;
	}
	return 0;
}

/* QEMU's two ways of being empty-handed beyond the end differ from each other: one line in JSON, none in words. */
static bool continues(const struct entry *a, const struct entry *b)
{
	return a->present == b->present && a->zero == b->zero && a->data == b->data && a->depth == b->depth &&
	       a->has_at == b->has_at && a->file == b->file && (!a->has_at || a->at + a->len == b->at);
}

static bool print_human(const struct entry *e)
{
	if (!e->data || e->zero)
		return true;
	if (!e->has_at)
		return img_fail("File contains external, encrypted or compressed clusters."), false;
	printf("%#-16" G_GINT64_MODIFIER "x%#-16" G_GINT64_MODIFIER "x%#-16" G_GINT64_MODIFIER "x%s\n", e->start, e->len, e->at,
	       e->file);
	return true;
}

static const char *word(bool value)
{
	return value ? "true" : "false";
}

static void print_json(const struct entry *e, bool last)
{
	printf("{ \"start\": %" G_GUINT64_FORMAT ", \"length\": %" G_GUINT64_FORMAT
	       ", \"depth\": %u, \"present\": %s, \"zero\": %s, "
	       "\"data\": %s",
	       e->start, e->len, e->depth, word(e->present), word(e->zero), word(e->data));
	if (e->has_at)
		printf(", \"offset\": %" G_GUINT64_FORMAT, e->at);
	fputs(last ? "}" : "},\n", stdout);
}

static bool print_all(struct image *img, uint64_t start, uint64_t end, bool json)
{
	struct entry run = {.start = start}, next;
	bool any = false;

	for (uint64_t at = start; at < end; at += next.len) {
		int res = find_entry(img, at, end - at, &next);

		if (res < 0)
			return img_fail("Failed to read image metadata: %s", g_strerror(-res)), false;
		if (any && continues(&run, &next)) {
			run.len += next.len;
			continue;
		}
		if (any && json)
			print_json(&run, false);
		else if (any && !print_human(&run))
			return false;
		run = next;
		any = true;
	}
	if (json)
		print_json(&run, true);
	else if (any)
		return print_human(&run);
	return true;
}

static int map(struct img_args *args)
{
	uint64_t start = 0, length = INT64_MAX, end;
	struct image *img;
	bool json, ok;

	if (!img_wants_json(args, &json))
		return 1;
	if (args->n != 1)
		return img_usage(args, "Expecting one image file name");
	if ((args->value[IMG_START] && !img_size("start offset", args->value[IMG_START], 0, INT64_MAX, &start)) ||
	    (args->value[IMG_LENGTH] && !img_size("max length", args->value[IMG_LENGTH], 0, INT64_MAX, &length)))
		return 1;
	img = img_open(args->word[0], args->value['f'], img_open_flags(args));
	if (!img)
		return 1;
	end = start < img->size ? start + MIN(length, img->size - start) : start;
	if (json)
		putchar('[');
	else
		printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
	ok = print_all(img, start, end, json);
	if (json && ok)
		puts("]");
	image_close(img);
	return !ok;
}

const struct img_command img_map = {"map", "[option]... FILE", "prints where an image's data is", options, map};
