/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-img rebase: lets an image stand on another one. What it took from the old backing image and would not find in the new one is
 * copied into it first; with -u only the name changes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "img.h"

enum {
	CHUNK = 2 << 20,
	SECTOR = 512,
};

static const struct img_option options[] = {
	IMG_OPTION_FORMAT,
	{'b', NULL, "FILE", "what to stand on, seen from where it is; \"\": nothing"},
	{'F', NULL, "FORMAT", "the format of that"},
	{'u', NULL, NULL, "change the name alone"},
	IMG_OPTION_PROGRESS,
	IMG_OPTION_QUIET,
	IMG_OPTION_CACHE,
	IMG_OPTION_SRC_CACHE,
	IMG_OPTION_SHARE,
	IMG_OPTION_COMMON,
	{},
};

struct rebase {
	struct image *img, *below; /* below: the new backing image; NULL: none */
	unsigned same_from;	   /* layers of img from here on are those of below */
	uint8_t *was, *will;
};

/* The layer of the chain that the new backing image is. */
static unsigned find_layer(struct image *img, struct image *below)
{
	unsigned depth = 0;
	struct stat a, b;

	if (!below || fstat(below->file->fd, &b) < 0)
		return UINT32_MAX;
	for (; img; img = img->backing, depth++)
		if (depth && fstat(img->file->fd, &a) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
			return depth;
	return UINT32_MAX;
}

static int read_new(struct rebase *r, uint64_t at, uint64_t len)
{
	uint64_t there = r->below && at < r->below->size ? MIN(len, r->below->size - at) : 0;

	memset(r->will + there, 0, len - there);
	return there ? image_read(r->below, at, r->will, there) : 0;
}

static bool differs(struct rebase *r, uint64_t at, uint64_t len)
{
	return memcmp(r->was + at, r->will + at, MIN(SECTOR, len - at)) != 0;
}

/* Writes the runs of sectors that differ. */
static int write_changes(struct rebase *r, uint64_t offset, uint64_t len)
{
	uint64_t from, to;
	int res = 0;

	for (uint64_t at = 0; at < len && !res; at = to) {
		for (from = at; from < len && !differs(r, from, len); from += SECTOR)
			;
		for (to = from; to < len && differs(r, to, len); to += SECTOR)
			;
		to = MIN(to, len);
		if (from >= len)
			break;
		res = img_is_zero(r->was + from, to - from) ? image_write_zeroes(r->img, offset + from, to - from, 0)
							    : image_write(r->img, offset + from, r->was + from, to - from);
	}
	return res;
}

static int one_hole(struct rebase *r, uint64_t offset, uint64_t len)
{
	int res = image_read(r->img, offset, r->was, len);

	if (res == 0)
		res = read_new(r, offset, len);
	return res ? res : write_changes(r, offset, len);
}

/* How far the next step goes, and whether it is to be compared. */
static int look(struct rebase *r, uint64_t at, uint64_t *ret_len, bool *ret_compare)
{
	struct image_extent e;
	int res = image_map(r->img, at, r->img->size - at, &e);

	*ret_compare = res == 0 && e.kind == IMAGE_HOLE;
	if (*ret_compare && r->same_from != UINT32_MAX) {
		res = image_status(r->img, at, e.len, &e);
		*ret_compare = res == 0 && (e.kind == IMAGE_HOLE || e.depth < r->same_from);
	}
	*ret_len = *ret_compare ? MIN(e.len, CHUNK) : e.len;
	return res;
}

static bool copy_differences(struct rebase *r)
{
	uint64_t len;
	bool compare;
	int res = 0;

	r->was = g_malloc(CHUNK);
	r->will = g_malloc(CHUNK);
	for (uint64_t at = 0; at < r->img->size && !res; at += len) {
		res = look(r, at, &len, &compare);
		if (!res && compare)
			res = one_hole(r, at, len);
		if (res)
			img_fail("'%s': error at byte %" G_GUINT64_FORMAT ": %s", r->img->path, at, g_strerror(-res));
		else
			img_progress((double)(at + len) * 100 / r->img->size);
	}
	g_free(r->was);
	g_free(r->will);
	return !res;
}

static bool rebase_safely(struct rebase *r, const char *name, const char *format)
{
	g_autofree char *path = name && *name ? img_resolve(r->img->path, name) : NULL;
	bool ok;

	if (path) {
		r->below = img_open(path, format, 0);
		if (!r->below)
			return false;
	}
	r->same_from = find_layer(r->img, r->below);
	ok = copy_differences(r);
	image_close(r->below);
	return ok;
}

static bool rebase_image(struct img_args *args, struct image *img)
{
	const char *name = args->value['b'], *format = args->value['F'];
	struct rebase r = {.img = img};
	GError *error = NULL;
	int res;

	if (name && !*name)
		name = NULL;
	if (!img->format->set_backing)
		return img_fail("Could not change the backing file to '%s': %s images stand on no other ones", name ? name : "",
				img->format->name),
		       false;
	if (name && !format)
		return img_fail("Could not change the backing file to '%s': backing format must be specified", name), false;
	if (!img_has(args, 'u') && !rebase_safely(&r, name, format))
		return false;
	/* What was copied is there before the name of where it came from is gone. */
	res = image_flush(img);
	if (res < 0)
		return img_fail("'%s': cannot write all of it: %s", img->path, g_strerror(-res)), false;
	if (!img->format->set_backing(img, name, format, &error))
		return img_fail_error(NULL, error), false;
	res = image_flush(img);
	if (res < 0)
		return img_fail("'%s': cannot write all of it: %s", img->path, g_strerror(-res)), false;
	img_progress(100);
	return true;
}

static int rebase(struct img_args *args)
{
	unsigned flags = (img_open_flags(args) & ~IMG_SHARED) | IMG_RW | (img_has(args, 'u') ? IMG_ALONE : 0);
	const char *format = args->value['F'];
	struct image *img;
	bool flush, ok;

	if (args->n != 1)
		return img_usage(args, "Expecting one image file name");
	if (!img_has(args, 'u') && !img_has(args, 'b'))
		return img_usage(args, "Must specify backing file (-b) or use unsafe mode (-u)");
	if (!img_cache(args->value['t'], &flush) || !img_cache(args->value['T'], &flush))
		return 1;
	if (format && !image_format_find(format))
		return img_fail("Invalid format name: '%s'", format);
	img_progress_start(img_has(args, 'p') && !img_has(args, 'q'), 1.0);
	img = img_open(args->word[0], args->value['f'], flags);
	ok = img && rebase_image(args, img);
	img_progress_end();
	image_close(img);
	return !ok;
}

const struct img_command img_rebase = {"rebase", "[option]... -b FILE -F FORMAT FILE", "lets an image stand on another one",
				       options, rebase};
