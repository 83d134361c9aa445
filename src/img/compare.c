/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-img compare: do two images have the same content? Exit status: 0 yes, 1 no (or the command line is wrong), 2 one cannot be
 * opened, 3 metadata and 4 data cannot be read.
 */
#include <stdio.h>
#include <string.h>

#include "img.h"

enum {
	DIFFERENT = 1,
	CANNOT_OPEN = 2,
	CANNOT_MAP = 3,
	CANNOT_READ = 4,
	CHUNK = 2 << 20,
};

static const struct img_option options[] = {
	{'f', NULL, "FORMAT", "of the first image; guessed when left out"},
	{'F', NULL, "FORMAT", "of the second image"},
	{'s', NULL, NULL, "strict: sizes and what is allocated count as well"},
	IMG_OPTION_PROGRESS,
	IMG_OPTION_QUIET,
	IMG_OPTION_SRC_CACHE,
	IMG_OPTION_SHARE,
	IMG_OPTION_COMMON,
	{},
};

struct comparison {
	struct img_args *args;
	struct image *img[2];
	uint8_t *buf[2];
	uint64_t end; /* of the larger one */
};

static bool is_data(const struct image_extent *e)
{
	return e->kind == IMAGE_DATA || e->kind == IMAGE_COMPRESSED;
}

static int map_at(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	int res = image_status(img, offset, len, ret);

	if (res < 0) {
		img_fail("Sector allocation test failed for %s: %s", img->path, g_strerror(-res));
		return CANNOT_MAP;
	}
	return 0;
}

static int read_at(struct image *img, uint64_t offset, void *buf, uint64_t len)
{
	int res = image_read(img, offset, buf, len);

	if (res < 0) {
		img_fail("Error while reading offset %" G_GUINT64_FORMAT " of %s: %s", offset, img->path, g_strerror(-res));
		return CANNOT_READ;
	}
	return 0;
}

static int mismatch(struct comparison *c, uint64_t offset)
{
	img_say(c->args, "Content mismatch at offset %" G_GUINT64_FORMAT "!\n", offset);
	return DIFFERENT;
}

/* Sectors first, as qemu-img tells them. */
static int compare_bytes(struct comparison *c, uint64_t offset, uint64_t len, const uint8_t *a, const uint8_t *b)
{
	if (memcmp(a, b, len) == 0)
		return 0;
	for (uint64_t at = 0; at < len; at += 512)
		if (memcmp(a + at, b + at, MIN(512, len - at)) != 0)
			return mismatch(c, offset + at);
	return 0;
}

static int check_zero(struct comparison *c, unsigned which, uint64_t offset, uint64_t len)
{
	int status = read_at(c->img[which], offset, c->buf[which], len);

	if (status || img_is_zero(c->buf[which], len))
		return status;
	for (uint64_t at = 0; at < len; at += 512)
		if (!img_is_zero(c->buf[which] + at, MIN(512, len - at)))
			return mismatch(c, offset + at);
	return 0;
}

/* One step where both images are; *ret_len: how far it went. */
static int step(struct comparison *c, uint64_t offset, uint64_t len, bool strict, uint64_t *ret_len)
{
	struct image_extent e[2];
	int status = map_at(c->img[0], offset, len, &e[0]);

	if (!status)
		status = map_at(c->img[1], offset, len, &e[1]);
	if (status)
		return status;
	len = MIN(e[0].len, e[1].len);
	if (strict && (is_data(&e[0]) != is_data(&e[1]) || (e[0].kind == IMAGE_HOLE) != (e[1].kind == IMAGE_HOLE))) {
		img_say(c->args, "Strict mode: Offset %" G_GUINT64_FORMAT " block status mismatch!\n", offset);
		return DIFFERENT;
	}
	*ret_len = len;
	if (!is_data(&e[0]) && !is_data(&e[1]))
		return 0;
	len = *ret_len = MIN(len, CHUNK);
	if (!is_data(&e[0]) || !is_data(&e[1]))
		return check_zero(c, is_data(&e[1]), offset, len);
	status = read_at(c->img[0], offset, c->buf[0], len);
	if (!status)
		status = read_at(c->img[1], offset, c->buf[1], len);
	return status ? status : compare_bytes(c, offset, len, c->buf[0], c->buf[1]);
}

static int compare_common(struct comparison *c, uint64_t end)
{
	bool strict = img_has(c->args, 's');
	uint64_t len;
	int status = 0;

	for (uint64_t at = 0; at < end && !status; at += len) {
		len = 0;
		status = step(c, at, end - at, strict, &len);
		if (!status)
			img_progress((double)(at + len) * 100 / c->end);
	}
	return status;
}

/* What the larger image has more has to be zeroes. */
static int compare_rest(struct comparison *c, uint64_t from)
{
	unsigned which = c->img[1]->size > c->img[0]->size;
	struct image_extent e;
	int status = 0;

	for (uint64_t at = from; at < c->end && !status; at += e.len) {
		status = map_at(c->img[which], at, c->end - at, &e);
		if (!status && is_data(&e)) {
			e.len = MIN(e.len, CHUNK);
			status = check_zero(c, which, at, e.len);
		}
		if (!status)
			img_progress((double)(at + e.len) * 100 / c->end);
	}
	return status;
}

static int compare_images(struct comparison *c)
{
	uint64_t common = MIN(c->img[0]->size, c->img[1]->size);
	int status;

	c->end = MAX(c->img[0]->size, c->img[1]->size);
	if (img_has(c->args, 's') && common != c->end) {
		img_say(c->args, "Strict mode: Image size mismatch!\n");
		return DIFFERENT;
	}
	c->buf[0] = g_malloc(CHUNK);
	c->buf[1] = g_malloc(CHUNK);
	status = compare_common(c, common);
	if (common != c->end && !status) {
		img_say(c->args, "Warning: Image size mismatch!\n");
		status = compare_rest(c, common);
	}
	if (!status)
		img_say(c->args, "Images are identical.\n");
	g_free(c->buf[0]);
	g_free(c->buf[1]);
	return status;
}

static int compare(struct img_args *args)
{
	struct comparison c = {.args = args};
	unsigned flags = img_open_flags(args);
	int status = CANNOT_OPEN;
	bool flush;

	if (args->n != 2)
		return img_usage(args, "Expecting two image file names");
	if (!img_cache(args->value['T'], &flush))
		return 1;
	img_progress_start(img_has(args, 'p') && !img_has(args, 'q'), 2.0);
	c.img[0] = img_open(args->word[0], args->value['f'], flags);
	c.img[1] = c.img[0] ? img_open(args->word[1], args->value['F'], flags) : NULL;
	if (c.img[1])
		status = compare_images(&c);
	image_close(c.img[1]);
	image_close(c.img[0]);
	img_progress_end();
	return status;
}

const struct img_command img_compare = {"compare", "[option]... FILE FILE", "tells whether two images have the same content",
					options, compare};
