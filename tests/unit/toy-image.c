/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See toy-image.h. */
#include "toy-image.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "error.h"

enum {
	TABLE = 512,
	FIRST = 1, /* cluster of the file where data begins */
	NONE = 0,
	ZERO = 1,
	FILE_CLUSTERS = TOY_CLUSTERS + 8,
};

struct toy_head {
	char magic[8];
	char backing[200], backing_format[16];
};

struct toy {
	GMutex lock;
	uint32_t table[TOY_CLUSTERS]; /* cluster of the file + ZERO, NONE, or ZERO */
	bool used[FILE_CLUSTERS];
};

unsigned toy_writes, toy_maps;

static bool toy_probe(const uint8_t *head, size_t len)
{
	return len >= 8 && memcmp(head, "TOYIMAGE", 8) == 0;
}

static bool toy_open(struct image *img, GVariant *options, GError **error)
{
	struct toy *toy = g_new0(struct toy, 1);
	struct toy_head head;

	img->file->type->read(img->file, 0, &head, sizeof(head));
	img->file->type->read(img->file, TABLE, toy->table, sizeof(toy->table));
	for (unsigned i = 0; i < TOY_CLUSTERS; i++)
		if (toy->table[i] > ZERO)
			toy->used[toy->table[i] - ZERO] = true;
	head.backing[sizeof(head.backing) - 1] = head.backing_format[sizeof(head.backing_format) - 1] = 0;
	img->size = TOY_SIZE;
	img->discard = !img->readonly;
	if (*head.backing &&
	    !image_open_backing(img, head.backing, *head.backing_format ? head.backing_format : NULL, options, error)) {
		g_free(toy);
		return false;
	}
	g_mutex_init(&toy->lock);
	img->state = toy;
	return true;
}

static void toy_close(struct image *img)
{
	struct toy *toy = img->state;

	if (!img->readonly)
		img->file->type->write(img->file, TABLE, toy->table, sizeof(toy->table));
	g_mutex_clear(&toy->lock);
	g_free(toy);
}

static uint64_t place(const struct toy *toy, uint64_t offset)
{
	return (uint64_t)(FIRST + toy->table[offset / TOY_CLUSTER] - ZERO) * TOY_CLUSTER + offset % TOY_CLUSTER;
}

static int locked_map(struct toy *toy, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	uint32_t entry = toy->table[offset / TOY_CLUSTER];
	bool data = entry > ZERO;

	*ret = (struct image_extent){
		.kind = data ? IMAGE_DATA : entry == ZERO ? IMAGE_ZERO : IMAGE_HOLE, .has_at = data, .in_place = data,
		.at = data ? place(toy, offset) : 0, .len = MIN(len, TOY_CLUSTER - offset % TOY_CLUSTER)
	};
	return 0;
}

static int toy_map(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	struct toy *toy = img->state;

	__atomic_add_fetch(&toy_maps, 1, __ATOMIC_RELAXED);
	g_mutex_lock(&toy->lock);
	locked_map(toy, offset, len, ret);
	g_mutex_unlock(&toy->lock);
	return 0;
}

static bool toy_map_now(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	struct toy *toy = img->state;

	if (!g_mutex_trylock(&toy->lock))
		return false;
	locked_map(toy, offset, len, ret);
	g_mutex_unlock(&toy->lock);
	return true;
}

/* The lowest one that is free: what a discard has just given back. */
static uint32_t allocate(struct toy *toy)
{
	for (uint32_t i = 1; i < FILE_CLUSTERS; i++)
		if (!toy->used[i]) {
			toy->used[i] = true;
			return i + ZERO;
		}
	return NONE;
}

static int write_cluster(struct image *img, uint64_t offset, const void *buf, uint64_t len)
{
	struct toy *toy = img->state;
	uint32_t *entry = &toy->table[offset / TOY_CLUSTER], old = *entry;
	uint64_t start = offset - offset % TOY_CLUSTER;
	uint8_t cluster[TOY_CLUSTER] = {};
	int res;

	if (old > ZERO)
		return img->data->type->write(img->data, place(toy, offset), buf, len);
	res = old == NONE ? image_read_backing(img, start, cluster, TOY_CLUSTER) : 0;
	if (res < 0)
		return res;
	memcpy(cluster + (offset - start), buf, len);
	*entry = allocate(toy);
	if (*entry == NONE)
		return -ENOSPC;
	return img->data->type->write(img->data, place(toy, start), cluster, TOY_CLUSTER);
}

static int toy_write(struct image *img, uint64_t offset, const void *buf, uint64_t len)
{
	struct toy *toy = img->state;
	int res = 0;

	__atomic_add_fetch(&toy_writes, 1, __ATOMIC_RELAXED);
	while (len && res == 0) {
		uint64_t n = MIN(len, TOY_CLUSTER - offset % TOY_CLUSTER);

		g_mutex_lock(&toy->lock);
		res = write_cluster(img, offset, buf, n);
		g_mutex_unlock(&toy->lock);
		offset += n;
		len -= n;
		buf = (const char *)buf + n;
	}
	return res;
}

/* Whole clusters alone, as an advice may be taken. */
static int toy_discard(struct image *img, uint64_t offset, uint64_t len)
{
	struct toy *toy = img->state;
	uint64_t end = offset + len;

	g_mutex_lock(&toy->lock);
	for (offset = (offset + TOY_CLUSTER - 1) / TOY_CLUSTER; (offset + 1) * TOY_CLUSTER <= end; offset++) {
		if (toy->table[offset] > ZERO)
			toy->used[toy->table[offset] - ZERO] = false;
		toy->table[offset] = ZERO;
	}
	g_mutex_unlock(&toy->lock);
	return 0;
}

static int toy_write_zeroes(struct image *img, uint64_t offset, uint64_t len, unsigned flags)
{
	return (offset | len) % TOY_CLUSTER ? -ENOTSUP : toy_discard(img, offset, len);
}

static const char *const create_options[] = { "backing", NULL };

static bool toy_create(struct image_file *file, uint64_t size, GVariant *options, GError **error)
{
	struct toy_head head = { .magic = "TOYIMAGE" };
	const char *backing = "", *format = "";

	if (size != TOY_SIZE)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': toys have one size", file->name);
	g_variant_lookup(options, "backing", "&s", &backing);
	g_variant_lookup(options, "backing-format", "&s", &format);
	g_strlcpy(head.backing, backing, sizeof(head.backing));
	g_strlcpy(head.backing_format, format, sizeof(head.backing_format));
	return file->type->write(file, 0, &head, sizeof(head)) == 0;
}

const struct image_format image_toy = {
	.name = "toy",
	.probe = toy_probe,
	.open = toy_open,
	.close = toy_close,
	.map = toy_map,
	.map_now = toy_map_now,
	.write = toy_write,
	.write_zeroes = toy_write_zeroes,
	.discard = toy_discard,
	.create = toy_create,
	.create_options = create_options,
};

const struct image_format *const image_formats[] = { &image_raw, &image_toy, NULL };

void toy_make(const char *path, const char *backing, const char *backing_format)
{
	struct toy_head head = { .magic = "TOYIMAGE" };
	g_autofree char *file = g_malloc0(TOY_CLUSTER);

	g_strlcpy(head.backing, backing ? backing : "", sizeof(head.backing));
	g_strlcpy(head.backing_format, backing_format ? backing_format : "", sizeof(head.backing_format));
	memcpy(file, &head, sizeof(head));
	g_assert_true(g_file_set_contents(path, file, TOY_CLUSTER, NULL));
}
