/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See filter.h. The rows are no formats of files, so image_formats[] has none of them. Called by kv-vmm, queue.c and live.c. */
#include "filter.h"

#include <errno.h>

struct filter {
	struct throttle_group *group; /* a reference; NULL: none */
	bool readonly;
};

static int filter_map(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	*ret = (struct image_extent){ .kind = IMAGE_HOLE, .len = len };
	return 0;
}

static void set_group(struct filter *f, struct throttle_group *g)
{
	struct throttle_group *old = f->group;

	if (g)
		throttle_group_add_member(throttle_group_ref(g));
	f->group = g;
	if (old)
		throttle_group_remove_member(old);
	throttle_group_unref(old);
}

static void filter_close(struct image *img)
{
	set_group(img->state, NULL);
	g_free(img->state);
}

static const struct image_format throttle_filter = {
	.name = "throttle", .filter = true, .map = filter_map, .close = filter_close
};
static const struct image_format copy_filter = {
	.name = "copy-on-read", .filter = true, .map = filter_map, .close = filter_close
};

struct image *image_base(struct image *img)
{
	while (img && img->format->filter)
		img = img->backing;
	return img;
}

bool image_is_filter(const struct image *img)
{
	return img->format->filter;
}

void image_filter_follow(struct image *img)
{
	struct image *below = img->backing;

	if (!img->format->filter)
		return;
	image_filter_follow(below);
	if (img->file != below->file) {
		struct image_file *old = img->file;

		img->file = img->data = image_file_ref(below->file);
		if (old)
			image_file_close(old);
		g_free(img->path);
		img->path = g_strdup(below->path);
	}
	__atomic_store_n(&img->size, below->size, __ATOMIC_RELAXED);
	img->readonly = below->readonly || ((struct filter *)img->state)->readonly;
	img->discard = below->discard;
	img->direct = below->direct;
	img->share = below->share;
	img->aio = below->aio;
}

static struct image *new_filter(const struct image_format *format, struct image *child, bool readonly)
{
	struct image *img = g_new0(struct image, 1);
	struct filter *f = g_new0(struct filter, 1);

	f->readonly = readonly;
	img->state = f;
	g_rw_lock_init(&img->watch_lock);
	img->refs = 1;
	img->format = format;
	img->backing = image_ref(child);
	image_filter_follow(img);
	return img;
}

struct image *image_throttle_new(struct image *child, struct throttle_group *g, bool readonly)
{
	struct image *img = new_filter(&throttle_filter, child, readonly);

	set_group(img->state, g);
	return img;
}

struct image *image_copy_on_read_new(struct image *child, bool readonly)
{
	return new_filter(&copy_filter, child, readonly);
}

struct throttle_group *image_throttle_group(const struct image *img)
{
	return img->format->filter ? ((struct filter *)img->state)->group : NULL;
}

void image_throttle_set_group(struct image *img, struct throttle_group *g)
{
	set_group(img->state, g);
}

bool image_copies_on_read(const struct image *img)
{
	return img->format == &copy_filter;
}

int image_read_copying(struct image *base, uint64_t offset, void *buf, uint64_t len)
{
	uint64_t at = offset, left = len;

	while (left) {
		struct image_extent e;
		int res = image_map(base, at, left, &e);
		uint64_t below = res == 0 && e.kind == IMAGE_HOLE ? image_in_backing(base, at, e.len) : 0;

		if (res == 0 && below)
			res = image_populate(base, at, below);
		if (res < 0)
			return res;
		at += e.len;
		left -= e.len;
	}
	return image_read(base, offset, buf, len);
}
