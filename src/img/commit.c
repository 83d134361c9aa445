/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-img commit: writes what an image has into the one that it stands on, or into one further down. Each layer is opened alone,
 * the lowest one for writing, and the layers between are copied into it from below to above.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "img.h"

enum {
	MAX_CHAIN = 200,
};

static const struct img_option options[] = {
	IMG_OPTION_FORMAT,
	{'b', NULL, "FILE", "into this one, not the next; implies -d"},
	{'d', NULL, NULL, "do not empty the image afterwards"},
	{'r', NULL, "RATE", "bytes a second at most"},
	IMG_OPTION_PROGRESS,
	IMG_OPTION_QUIET,
	IMG_OPTION_CACHE,
	IMG_OPTION_COMMON,
	{},
};

struct chain {
	struct image *layer[MAX_CHAIN]; /* from the image down to the last one above the base */
	unsigned n;
	struct image *base;
	uint64_t rate;
};

static bool is_same(const char *path, const char *name)
{
	struct stat a, b;

	return strcmp(path, name) == 0 ||
	       (stat(path, &a) == 0 && stat(name, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

/* Opens the layers; the base is the one called `name`, or the next. */
static bool open_chain(struct chain *c, const char *name)
{
	while (c->n < MAX_CHAIN) {
		struct image *last = c->layer[c->n - 1];
		g_autofree char *path = NULL;

		if (!last->backing_name || !*last->backing_name)
			break;
		path = img_resolve(last->path, last->backing_name);
		if (!name || is_same(path, name) || strcmp(last->backing_name, name) == 0) {
			c->base = img_open(path, last->backing_format, IMG_RW);
			return c->base;
		}
		c->layer[c->n] = img_open(path, last->backing_format, IMG_ALONE);
		if (!c->layer[c->n])
			return false;
		c->n++;
	}
	if (name && c->layer[0]->backing_name)
		return img_fail("Did not find '%s' in the backing chain of '%s'", name, c->layer[0]->path), false;
	return img_fail("Image does not have a backing file"), false;
}

/* A layer that ends before the one on top of it hides what is below there: it reads as zeroes. */
static bool hide_rest(struct chain *c, unsigned i)
{
	uint64_t end = i ? MIN(c->layer[i - 1]->size, c->base->size) : 0, from = c->layer[i]->size;
	int res = from < end ? image_write_zeroes(c->base, from, end - from, IMAGE_MAY_UNMAP) : 0;

	return res == 0 || (img_fail("'%s': cannot write zeroes: %s", c->base->path, g_strerror(-res)), false);
}

static bool copy_layer(struct chain *c, unsigned i)
{
	struct img_source source = {.img = c->layer[i], .len = c->layer[i]->size};
	struct img_copy copy = {
		.source = &source,
		.n_source = 1,
		.target = c->base,
		.on_backing = true,
		.zero_from = UINT64_MAX,
		.progress_from = 100.0 * (c->n - 1 - i) / c->n,
		.progress_to = 100.0 * (c->n - i) / c->n,
		.rate = c->rate,
	};

	return img_copy(&copy) && hide_rest(c, i);
}

/* The base becomes as large as the image, and gets what is in the layers. */
static bool copy_down(struct chain *c)
{
	uint64_t size = 0;
	GError *error = NULL;
	int res;

	for (unsigned i = 0; i < c->n; i++)
		size = MAX(size, c->layer[i]->size);
	if (size > c->base->size && !image_resize(c->base, size, IMAGE_PREALLOC_OFF, &error))
		return img_fail_error(NULL, error), false;
	for (unsigned i = c->n; i-- > 0;)
		if (!copy_layer(c, i))
			return false;
	res = image_flush(c->base);
	return res == 0 || (img_fail("'%s': cannot write all of it: %s", c->base->path, g_strerror(-res)), false);
}

static bool commit_image(struct img_args *args, struct chain *c)
{
	struct image *img = c->layer[0];
	GError *error = NULL;

	if (!open_chain(c, args->value['b']) || !copy_down(c))
		return false;
	if (!img_has(args, 'd') && !img_has(args, 'b') && img->format->empty &&
	    (!img->format->empty(img, &error) || image_flush(img) < 0))
		return img_fail_error("Could not empty the image", error), false;
	img_progress(100);
	return true;
}

static int commit(struct img_args *args)
{
	struct chain c = {};
	bool flush, ok;

	if (args->n != 1)
		return img_usage(args, "Expecting one image file name");
	if (!img_cache(args->value['t'], &flush) ||
	    (args->value['r'] && !img_size("rate limit", args->value['r'], 0, INT64_MAX, &c.rate)))
		return 1;
	c.layer[0] = img_open(args->word[0], args->value['f'], img_open_flags(args) | IMG_RW | IMG_ALONE);
	if (!c.layer[0])
		return 1;
	c.n = 1;
	img_progress_start(img_has(args, 'p') && !img_has(args, 'q'), 1.0);
	ok = commit_image(args, &c);
	img_progress_end();
	if (ok)
		img_say(args, "Image committed.\n");
	image_close(c.base);
	for (unsigned i = 0; i < c.n; i++)
		image_close(c.layer[i]);
	return !ok;
}

const struct img_command img_commit = {"commit", "[option]... FILE", "writes an image into what it stands on", options, commit};
