/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Synchronous access to an image and through it to what it stands on. Checks ranges for the formats, and their answers,
 * which come out of files that somebody else wrote. Called by tools, and by the threads of queue.c. See image.h.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "format.h"
#include "gate.h"
#include "live.h"

enum {
	ZERO_CHUNK = 64 << 10,
};

static uint64_t size_of(const struct image *img)
{
	return __atomic_load_n(&img->size, __ATOMIC_RELAXED);
}

static int check_range(const struct image *img, uint64_t offset, uint64_t len)
{
	return range_inside(offset, len, size_of(img)) ? 0 : -EINVAL;
}

static int check_write(const struct image *img, uint64_t offset, uint64_t len)
{
	return img->readonly ? -EROFS : check_range(img, offset, len);
}

bool image_extent_valid(const struct image_extent *e, uint64_t len)
{
	return e->len && e->len <= len && (!e->has_at || (e->at <= INT64_MAX && e->len <= INT64_MAX - e->at));
}

static int map(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	struct image_extent e = {};
	int res = img->format->map(img, offset, len, &e);

	if (res < 0)
		return res;
	if (!image_extent_valid(&e, len))
		return -EIO;
	*ret = e;
	return 0;
}

static int read_extent(struct image *img, uint64_t offset, void *buf, const struct image_extent *e)
{
	if (e->kind == IMAGE_ZERO) {
		memset(buf, 0, e->len);
		return 0;
	}
	if (e->kind == IMAGE_DATA && e->has_at)
		return img->data->type->read(img->data, e->at, buf, e->len);
	return img->format->read_compressed ? img->format->read_compressed(img, offset, buf, e->len) : -ENOTSUP;
}

/*
 * A backing image that others write to, as a guest's disk that is backed up: its old bytes come into this layer before new ones
 * take their place. So what was read from below is good if this layer still does not have it.
 */
static bool overtaken(struct image *img, uint64_t offset, uint64_t len)
{
	struct image_extent e;
	int res;

	if (!image_is_moving(img->backing))
		return false;
	gate_enter(img->gate);
	res = map(img, offset, len, &e);
	gate_leave(img->gate);
	return res < 0 || e.kind != IMAGE_HOLE || e.len < len;
}

int image_read(struct image *img, uint64_t offset, void *buf, uint64_t len)
{
	int res;

	img = image_base(img);
	res = check_range(img, offset, len);
	if (res == 0 && len && img->format->plain) /* wherever it has holes */
		return img->data->type->read(img->data, offset, buf, len);
	while (len && res == 0) {
		struct image_extent e;

		gate_enter(img->gate);
		res = map(img, offset, len, &e);
		if (res == 0 && e.kind != IMAGE_HOLE)
			res = read_extent(img, offset, buf, &e);
		gate_leave(img->gate);
		if (res < 0)
			break;
		if (e.kind == IMAGE_HOLE)
			res = image_read_backing(img, offset, buf, e.len);
		if (res == 0 && e.kind == IMAGE_HOLE && overtaken(img, offset, e.len))
			continue;
		offset += e.len;
		len -= e.len;
		buf = (char *)buf + e.len;
	}
	return res;
}

uint64_t image_in_backing(const struct image *img, uint64_t offset, uint64_t len)
{
	uint64_t size = img->backing ? size_of(img->backing) : 0;

	return offset < size ? MIN(len, size - offset) : 0;
}

int image_read_backing(struct image *img, uint64_t offset, void *buf, uint64_t len)
{
	uint64_t n = image_in_backing(img, offset, len);
	int res = n ? image_read(img->backing, offset, buf, n) : 0;

	if (res == 0)
		memset((char *)buf + n, 0, len - n);
	return res;
}

/* Before a change: 1 when it is to be done, then image_watch_after(); 0 when there is nothing to do. */
static int begin_change(struct image *img, uint64_t offset, uint64_t len)
{
	int res = check_write(img, offset, len);

	if (res == 0 && len)
		res = image_watch_before(img, offset, len);
	return res < 0 ? res : len > 0;
}

int image_write(struct image *img, uint64_t offset, const void *buf, uint64_t len)
{
	int res;

	img = image_base(img);
	res = begin_change(img, offset, len);
	if (res <= 0)
		return res;
	gate_enter(img->gate);
	res = img->format->write(img, offset, buf, len);
	gate_leave(img->gate);
	image_watch_after(img, offset, len);
	return res;
}

static int write_zero_bytes(struct image *img, uint64_t offset, uint64_t len)
{
	static const char zeroes[ZERO_CHUNK];
	int res = 0;

	while (len && res == 0) {
		uint64_t n = MIN(len, ZERO_CHUNK);

		res = image_write(img, offset, zeroes, n);
		offset += n;
		len -= n;
	}
	return res;
}

int image_write_zeroes(struct image *img, uint64_t offset, uint64_t len, unsigned flags)
{
	int res;

	img = image_base(img);
	if (flags & IMAGE_FAST_ZERO && !img->format->knows_fast_zero) {
		res = check_write(img, offset, len);
		return res < 0 || !len ? res : -ENOTSUP;
	}
	res = begin_change(img, offset, len);
	if (res <= 0)
		return res;
	res = -ENOTSUP;
	if (img->format->write_zeroes) {
		gate_lock(img->gate);
		res = img->format->write_zeroes(img, offset, len, flags);
		gate_unlock(img->gate);
		image_watch_after(img, offset, len);
	}
	return res == -ENOTSUP && !(flags & IMAGE_FAST_ZERO) ? write_zero_bytes(img, offset, len) : res;
}

int image_discard(struct image *img, uint64_t offset, uint64_t len)
{
	int res;

	img = image_base(img);
	res = begin_change(img, offset, len);
	if (res <= 0)
		return res;
	if (!img->discard || !img->format->discard)
		return -ENOTSUP;
	gate_lock(img->gate);
	res = img->format->discard(img, offset, len);
	gate_unlock(img->gate);
	image_watch_after(img, offset, len);
	return res;
}

int image_populate(struct image *img, uint64_t offset, uint64_t len)
{
	int res;

	img = image_base(img);
	res = check_write(img, offset, len);
	if (res < 0 || !len)
		return res;
	if (!img->format->populate)
		return -ENOTSUP;
	gate_enter(img->gate);
	res = img->format->populate(img, offset, len);
	gate_leave(img->gate);
	return res;
}

int image_write_compressed(struct image *img, uint64_t offset, const void *buf, uint64_t len)
{
	int res;

	img = image_base(img);
	res = begin_change(img, offset, len);
	if (res <= 0)
		return res;
	if (!img->format->write_compressed)
		return -ENOTSUP;
	gate_enter(img->gate);
	res = img->format->write_compressed(img, offset, buf, len);
	gate_leave(img->gate);
	image_watch_after(img, offset, len);
	return res;
}

int image_write_packed(struct image *img, uint64_t offset, const void *packed, uint64_t len)
{
	uint64_t cluster = img->format->cluster_size ? img->format->cluster_size(img) : 1, size = size_of(img);
	int res = begin_change(img, offset, offset < size ? MIN(cluster, size - offset) : 1);

	if (res <= 0)
		return res;
	if (!img->format->write_packed)
		return -ENOTSUP;
	gate_enter(img->gate);
	res = img->format->write_packed(img, offset, packed, len);
	gate_leave(img->gate);
	image_watch_after(img, offset, cluster);
	return res;
}

int image_write_shared(struct image *img, struct image_file *from, const struct image_piece *pieces, unsigned n)
{
	int res = 1;

	if (!img->format->write_shared)
		return -ENOTSUP;
	for (unsigned i = 0; i < n && res > 0; i++)
		res = begin_change(img, pieces[i].offset, pieces[i].len);
	if (res <= 0 || !n)
		return res < 0 ? res : -EINVAL;
	gate_enter(img->gate);
	res = img->format->write_shared(img, from, pieces, n);
	gate_leave(img->gate);
	for (unsigned i = 0; i < n; i++)
		image_watch_after(img, pieces[i].offset, pieces[i].len);
	return res;
}

int image_flush(struct image *img)
{
	int res;

	img = image_base(img);
	if (img->readonly)
		return 0;
	if (img->format->flush)
		return img->format->flush(img);
	res = img->data->type->flush(img->data);
	return res == 0 && img->data != img->file ? img->file->type->flush(img->file) : res;
}

int image_map(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	int res = len ? check_range(img, offset, len) : -EINVAL;

	if (res < 0)
		return res;
	gate_enter(img->gate);
	res = map(img, offset, len, ret);
	gate_leave(img->gate);
	return res;
}

int image_status(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	struct image_extent e;
	unsigned depth = 0;
	int res;

	img = image_base(img);
	for (;;) {
		uint64_t below;

		res = image_map(img, offset, len, &e);
		if (res < 0)
			return res;
		e.depth = depth;
		below = image_in_backing(img, offset, e.len);
		if (e.kind != IMAGE_HOLE || !below)
			break;
		len = below;
		img = img->backing;
		depth++;
	}
	*ret = e;
	return 0;
}

void image_lock_out(struct image *img)
{
	gate_lock(image_base(img)->gate);
}

void image_let_in(struct image *img)
{
	gate_unlock(image_base(img)->gate);
}
