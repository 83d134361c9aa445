/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-img compare: do two images have the same content? Exit status: 0 yes, 1 no (or the command line is wrong), 2 one cannot be
 * opened, 3 metadata and 4 data cannot be read. Threads take pieces in order; what is wrong first in the images is what is told.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "img.h"

enum {
	DIFFERENT = 1,
	CANNOT_OPEN = 2,
	CANNOT_MAP = 3,
	CANNOT_READ = 4,
	PIECE = 1 << 20,
	BUFFER = 256 << 10, /* two stay in the cache of a core */
	THREADS = 8,
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
	uint64_t size; /* of the larger one */
	GMutex lock;
	/* Under the lock: */
	uint64_t next, end;
	int status; /* 0: nothing is wrong so far */
	uint64_t fault_at;
	char *fault;
};

/* What is to be compared; an image that has no data there has zeroes. */
struct piece {
	uint64_t offset, len;
	bool data[2];
};

static bool is_data(const struct image_extent *e)
{
	return e->kind == IMAGE_DATA || e->kind == IMAGE_COMPRESSED;
}

/* Under the lock. */
static void note(struct comparison *c, uint64_t offset, int status, const char *format, ...) G_GNUC_PRINTF(4, 5);
static void note(struct comparison *c, uint64_t offset, int status, const char *format, ...)
{
	va_list ap;

	if (c->status && c->fault_at <= offset)
		return;
	g_free(c->fault);
	va_start(ap, format);
	c->fault = g_strdup_vprintf(format, ap);
	va_end(ap);
	c->status = status;
	c->fault_at = offset;
}

static bool mismatch(struct comparison *c, uint64_t offset)
{
	g_mutex_lock(&c->lock);
	note(c, offset, DIFFERENT, "Content mismatch at offset %" G_GUINT64_FORMAT "!", offset);
	g_mutex_unlock(&c->lock);
	return false;
}

static bool read_at(struct comparison *c, struct image *img, uint64_t offset, void *buf, uint64_t len)
{
	int res = image_read(img, offset, buf, len);

	if (res == 0)
		return true;
	g_mutex_lock(&c->lock);
	note(c, offset, CANNOT_READ, "Error while reading offset %" G_GUINT64_FORMAT " of %s: %s", offset, img->path,
	     g_strerror(-res));
	g_mutex_unlock(&c->lock);
	return false;
}

/* Sectors, as qemu-img tells them. */
static bool compare_bytes(struct comparison *c, uint64_t offset, uint64_t len, const uint8_t *a, const uint8_t *b)
{
	if (memcmp(a, b, len) == 0)
		return true;
	for (uint64_t at = 0; at < len; at += 512)
		if (memcmp(a + at, b + at, MIN(512, len - at)) != 0)
			return mismatch(c, offset + at);
	return true;
}

static bool check_zero(struct comparison *c, uint64_t offset, const uint8_t *buf, uint64_t len)
{
	if (img_is_zero(buf, len))
		return true;
	for (uint64_t at = 0; at < len; at += 512)
		if (!img_is_zero(buf + at, MIN(512, len - at)))
			return mismatch(c, offset + at);
	return true;
}

static bool compare_piece(struct comparison *c, const struct piece *p, uint8_t *buf)
{
	for (uint64_t at = p->offset, n; at < p->offset + p->len; at += n) {
		n = MIN(BUFFER, p->offset + p->len - at);
		for (int i = 0; i < 2; i++)
			if (p->data[i] && !read_at(c, c->img[i], at, buf + i * BUFFER, n))
				return false;
		if (p->data[0] && p->data[1] ? !compare_bytes(c, at, n, buf, buf + BUFFER)
					     : !check_zero(c, at, buf + p->data[1] * BUFFER, n))
			return false;
	}
	return true;
}

/* What an image has at a place; behind its end it has zeroes. */
static bool map_at(struct comparison *c, struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	bool in_hole;
	int res;

	if (offset >= img->size) {
		*ret = (struct image_extent){.kind = IMAGE_ZERO, .len = len};
		return true;
	}
	len = MIN(len, img->size - offset);
	/* A strict comparison is one of clusters, wherever they are. */
	res = img_has(c->args, 's') ? image_status(img, offset, len, ret) : img_look(img, offset, len, false, ret, &in_hole);
	if (res < 0)
		note(c, offset, CANNOT_MAP, "Sector allocation test failed for %s: %s", img->path, g_strerror(-res));
	return res == 0;
}

/* The next piece in which there is data. Under the lock. */
static bool take(struct comparison *c, struct piece *p)
{
	bool strict = img_has(c->args, 's');

	while (c->next < c->end && !c->status) {
		struct image_extent e[2];

		for (int i = 0; i < 2; i++)
			if (!map_at(c, c->img[i], c->next, c->end - c->next, &e[i]))
				return false;
		if (strict && (is_data(&e[0]) != is_data(&e[1]) || (e[0].kind == IMAGE_HOLE) != (e[1].kind == IMAGE_HOLE))) {
			note(c, c->next, DIFFERENT, "Strict mode: Offset %" G_GUINT64_FORMAT " block status mismatch!", c->next);
			return false;
		}
		*p = (struct piece){c->next, MIN(e[0].len, e[1].len), {is_data(&e[0]), is_data(&e[1])}};
		if (p->data[0] || p->data[1])
			p->len = MIN(p->len, PIECE);
		c->next += p->len;
		img_progress((double)c->next * 100 / c->size);
		if (p->data[0] || p->data[1])
			return true;
	}
	return false;
}

static void *work(void *opaque)
{
	struct comparison *c = opaque;
	g_autofree uint8_t *buf = g_malloc(2 * BUFFER);
	struct piece p;
	bool more;

	do {
		g_mutex_lock(&c->lock);
		more = take(c, &p);
		g_mutex_unlock(&c->lock);
	} while (more && compare_piece(c, &p, buf));
	return NULL;
}

static int compare_up_to(struct comparison *c, uint64_t end)
{
	unsigned n = MIN(MIN(g_get_num_processors(), THREADS), (end - c->next) / PIECE + 1);
	GThread *threads[THREADS];

	c->end = end;
	for (unsigned i = 1; i < n; i++)
		threads[i] = g_thread_new("compare", work, c);
	work(c);
	for (unsigned i = 1; i < n; i++)
		g_thread_join(threads[i]);
	if (c->status == DIFFERENT)
		img_say(c->args, "%s\n", c->fault);
	else if (c->status)
		img_fail("%s", c->fault);
	return c->status;
}

static int compare_images(struct comparison *c)
{
	uint64_t common = MIN(c->img[0]->size, c->img[1]->size);
	int status;

	c->size = MAX(c->img[0]->size, c->img[1]->size);
	if (img_has(c->args, 's') && common != c->size) {
		img_say(c->args, "Strict mode: Image size mismatch!\n");
		return DIFFERENT;
	}
	status = compare_up_to(c, common);
	if (common != c->size && !status) {
		img_say(c->args, "Warning: Image size mismatch!\n");
		status = compare_up_to(c, c->size);
	}
	if (!status)
		img_say(c->args, "Images are identical.\n");
	g_free(c->fault);
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
		return CANNOT_OPEN;
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
