/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raw images: a file or a block device whose bytes are the disk's. Holes are kept and made. A row of image_formats[].
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "format.h"

enum {
	SECTOR = 512,
};

static bool raw_open(struct image *img, GVariant *options, GError **error)
{
	img->size = align_up(image_file_size(img->file), SECTOR);
	img->discard = !img->readonly;
	return true;
}

static void raw_close(struct image *img)
{
}

static bool raw_reopen(struct image *img, bool readonly, GError **error)
{
	img->discard = !readonly;
	return true;
}

static int raw_map(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	uint64_t run;
	bool data = img->file->type->has_data(img->file, offset, len, &run);

	*ret = (struct image_extent){
		.kind = data ? IMAGE_DATA : IMAGE_ZERO, .has_at = data, .in_place = data, .at = data ? offset : 0, .len = run
	};
	return 0;
}

/* To read or write it does not matter where the file has holes. */
static bool raw_map_now(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	*ret = (struct image_extent){ .kind = IMAGE_DATA, .has_at = true, .in_place = true, .at = offset, .len = len };
	return true;
}

/* Would a disk whose format was guessed to be raw be guessed to be something else after this write? */
static bool disguises(struct image *img, uint64_t offset, const void *buf, uint64_t len)
{
	uint8_t head[SECTOR];

	if (!img->guessed || offset >= SECTOR || img->file->type->read(img->file, 0, head, SECTOR) < 0)
		return false;
	memcpy(head + offset, buf, MIN(len, SECTOR - offset));
	return strcmp(image_format_guess(head, SECTOR), "raw") != 0;
}

static int raw_write(struct image *img, uint64_t offset, const void *buf, uint64_t len)
{
	if (disguises(img, offset, buf, len))
		return -EPERM;
	return img->file->type->write(img->file, offset, buf, len);
}

static int raw_write_shared(struct image *img, struct image_file *from, const struct image_piece *pieces, unsigned n)
{
	int res = img->guessed || !img->file->type->share ? -ENOTSUP : 0;

	for (unsigned i = 0; i < n && res == 0; i++)
		res = img->file->type->share(img->file, pieces[i].offset, pieces[i].len, from, pieces[i].at);
	return res < 0 ? res : (int)n;
}

static int raw_write_zeroes(struct image *img, uint64_t offset, uint64_t len, unsigned flags)
{
	return img->file->type->write_zeroes(img->file, offset, len, flags);
}

static int raw_discard(struct image *img, uint64_t offset, uint64_t len)
{
	return img->file->type->discard(img->file, offset, len);
}

static int raw_flush(struct image *img)
{
	return img->file->type->flush(img->file);
}

static bool set_size(struct image_file *file, uint64_t size, enum image_prealloc prealloc, GError **error)
{
	int res;

	if (file->device && size > image_file_size(file))
		return kv_fail(error, KV_ERROR_INVALID,
			       "disk '%s' is a device of %" G_GUINT64_FORMAT " bytes and does not become larger", file->name,
			       image_file_size(file));
	if (prealloc == IMAGE_PREALLOC_METADATA)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': raw images have no metadata; give preallocation=falloc or full",
			       file->name);
	res = size < image_file_size(file) ? file->type->truncate(file, size) : image_file_grow(file, size, prealloc);
	if (res < 0)
		return kv_fail_errno(error, -res, "disk '%s': cannot make it %" G_GUINT64_FORMAT " bytes long", file->name, size);
	return true;
}

static bool raw_resize(struct image *img, uint64_t size, enum image_prealloc prealloc, GError **error)
{
	if (img->file->device && size < img->size)
		return kv_fail(error, KV_ERROR_INVALID, "disk '%s' is a device and does not become smaller", img->path);
	return set_size(img->file, size, prealloc, error);
}

static bool raw_create(struct image_file *file, uint64_t size, GVariant *options, GError **error)
{
	enum image_prealloc prealloc;

	return image_prealloc_option(options, &prealloc, error) && set_size(file, size, prealloc, error);
}

static const char *const create_options[] = { "preallocation", NULL };

const struct image_format image_raw = {
	.name = "raw",
	.plain = true,
	.open = raw_open,
	.close = raw_close,
	.reopen = raw_reopen,
	.map = raw_map,
	.map_now = raw_map_now,
	.write = raw_write,
	.write_zeroes = raw_write_zeroes,
	.knows_fast_zero = true,
	.write_shared = raw_write_shared,
	.discard = raw_discard,
	.flush = raw_flush,
	.resize = raw_resize,
	.create = raw_create,
	.create_options = create_options,
};
