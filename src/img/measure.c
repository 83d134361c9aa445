/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kv-img measure: how large will a new image be, at first and when every cluster has been written? raw and qcow2. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "bitmap.h"
#include "bytes.h"
#include "img.h"

enum {
	MAX_L1_BYTES = 32 << 20,
};

static const struct img_option options[] = {
	IMG_OPTION_FORMAT,
	{'O', NULL, "FORMAT", "the new image's format; raw when left out"},
	{'o', NULL, "NAME=VALUE,...", "the new image's options"},
	{IMG_SIZE_OF, "size", "SIZE", "of an empty disk, in the place of FILE"},
	{'l', NULL, "SNAPSHOT", "a snapshot in FILE"},
	IMG_OPTION_OUTPUT,
	IMG_OPTION_SHARE,
	IMG_OPTION_COMMON,
	{},
};

struct size_of {
	uint64_t required, full, bitmaps;
};

static uint64_t number_of(const struct img_new *n, const char *name, uint64_t standard)
{
	const char *value = img_new_get(n, name);

	return value ? g_ascii_strtoull(value, NULL, 10) : standard;
}

static bool is_on(const struct img_new *n, const char *name)
{
	return g_strcmp0(img_new_get(n, name), "on") == 0;
}

static uint64_t divide_up(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

/* Clusters of refcount blocks and of their table, which count themselves too. */
static uint64_t refcount_clusters(uint64_t clusters, uint64_t cluster, uint64_t bits)
{
	uint64_t per_block = cluster * 8 / bits, blocks = 0, table = 0, before;

	do {
		before = blocks + table;
		blocks = divide_up(clusters + before, per_block);
		table = divide_up(blocks, cluster / 8);
	} while (blocks + table != before);
	return before;
}

/* Clusters of the source that the new image will have, in bytes. */
static bool data_bytes(struct image *img, uint64_t cluster, uint64_t *ret)
{
	struct image_extent e;
	uint64_t sum = 0, len;
	bool in_hole;

	for (uint64_t at = 0; at < img->size; at += len) {
		int res = img_look(img, at, img->size - at, false, &e, &in_hole);

		if (res < 0)
			return img_fail("'%s': cannot read its metadata: %s", img->path, g_strerror(-res)), false;
		len = e.len;
		if (e.kind != IMAGE_DATA && e.kind != IMAGE_COMPRESSED)
			continue;
		len = align_up(at + len, cluster) - at;
		sum += (at & (cluster - 1)) + len;
	}
	*ret = sum;
	return true;
}

/* specification: qcow2.rst, "Header", "Host cluster management", "Cluster mapping" */
static bool measure_qcow2(const struct img_new *n, struct image *source, uint64_t size, struct size_of *ret)
{
	uint64_t cluster = number_of(n, "cluster_size", 65536), bits = number_of(n, "refcount_bits", 16), data = 0;
	uint64_t entry = is_on(n, "extended_l2") ? 16 : 8, aligned, l2, l1, clusters;
	const char *prealloc = img_new_get(n, "preallocation");

	aligned = align_up(size, cluster);
	l2 = divide_up(aligned / cluster, cluster / entry);
	l1 = divide_up(l2, cluster / 8);
	if (l1 > MAX_L1_BYTES / cluster && l2 * 8 > MAX_L1_BYTES)
		return img_fail("The image size is too large (try using a larger cluster size)"), false;
	/* How much of it the source has in common with what the new image will stand on is not known. */
	if (img_new_get(n, "backing_file"))
		data = aligned;
	else if (source && !data_bytes(source, cluster, &data))
		return false;
	clusters = 1 + l1 + l2 + aligned / cluster;
	clusters += refcount_clusters(clusters, cluster, bits);
	ret->full = clusters * cluster;
	ret->required = ret->full - aligned + data;
	if (prealloc && (strcmp(prealloc, "full") == 0 || strcmp(prealloc, "falloc") == 0))
		ret->required = ret->full;
	return true;
}

/* Only qcow2 version 3 has bitmaps. */
static bool have_bitmaps(const struct img_new *n, const struct image *source)
{
	const char *compat = img_new_get(n, "compat");

	return source && image_bitmaps_supported(source) &&
	       (!compat || (strcmp(compat, "0.10") != 0 && strcmp(compat, "v2") != 0));
}

static void print_sizes(const struct size_of *s, bool json, bool bitmaps)
{
	json_t *o;

	if (!json) {
		printf("required size: %" G_GUINT64_FORMAT "\nfully allocated size: %" G_GUINT64_FORMAT "\n", s->required,
		       s->full);
		if (bitmaps)
			printf("bitmaps size: %" G_GUINT64_FORMAT "\n", s->bitmaps);
		return;
	}
	o = json_object();
	json_object_set_new(o, "required", json_integer(s->required));
	json_object_set_new(o, "fully-allocated", json_integer(s->full));
	if (bitmaps)
		json_object_set_new(o, "bitmaps", json_integer(s->bitmaps));
	img_json_print(o);
}

static int measure_as(struct img_args *args, struct img_new *n, bool json)
{
	struct image *source = NULL;
	struct size_of sizes;
	bool qcow2 = strcmp(n->format->name, "qcow2") == 0, ok, bitmaps;
	uint64_t size = 0;
	GError *error = NULL;

	if (!qcow2 && !n->format->plain)
		return img_fail("Block driver '%s' does not support size measurement", n->format->name);
	if (!img_new_check(n))
		return 1;
	if (args->n) {
		source = args->value['l']
				 ? img_open_snapshot(args->word[0], args->value['f'], img_open_flags(args), args->value['l'])
				 : img_open(args->word[0], args->value['f'], img_open_flags(args));
		if (!source)
			return 1;
		size = source->size;
	} else if (!img_size("image size", args->value[IMG_SIZE_OF], 0, INT64_MAX, &size)) {
		return 1;
	}
	size = align_up(size, 512);
	sizes = (struct size_of){.required = size, .full = size};
	ok = !qcow2 || measure_qcow2(n, source, size, &sizes);
	bitmaps = qcow2 && have_bitmaps(n, source);
	if (ok && bitmaps && !image_bitmaps_load(source, &error))
		ok = !img_fail_error(NULL, error);
	if (ok && bitmaps)
		sizes.bitmaps = img_bitmaps_size(source, number_of(n, "cluster_size", 65536));
	if (ok)
		print_sizes(&sizes, json, bitmaps);
	image_close(source);
	return !ok;
}

static int measure(struct img_args *args)
{
	struct img_new n;
	bool json;
	int status;

	if (!img_wants_json(args, &json))
		return 1;
	if (args->n > 1)
		return img_fail("At most one filename argument is allowed.");
	if (!args->n && (img_has(args, IMG_IMAGE_OPTS) || img_has(args, 'f') || img_has(args, 'l')))
		return img_fail("--image-opts, -f, and -l require a filename argument.");
	if (!args->n && !img_has(args, IMG_SIZE_OF))
		return img_fail("Either --size N or one filename must be specified.");
	if (args->n && img_has(args, IMG_SIZE_OF))
		return img_fail("--size N cannot be used together with a filename.");
	if (!img_new_parse(&n, NULL, args->value['O'] ? args->value['O'] : "raw", args->o ? args->o->str : NULL))
		return 1;
	status = measure_as(args, &n, json);
	img_new_clear(&n);
	return status;
}

const struct img_command img_measure = {"measure", "[option]... [FILE]", "how large a new image will be", options, measure};
