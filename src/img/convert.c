/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kv-img convert: copies images into a new one, of another format or with other options. The copying is in copy.c. */
#include <stdio.h>
#include <string.h>

#include "bitmap.h"
#include "img.h"

enum {
	SPARSE = 4096,
	SPARSE_MAX = 16 << 20,
	THREADS_MAX = 16,
};

static const struct img_option options[] = {
	{'f', NULL, "FORMAT", "what the sources are; guessed when left out"},
	{'O', NULL, "FORMAT", "what to make; raw when left out"},
	{'o', NULL, "NAME=VALUE,...", "the new image's options; -o help lists them"},
	{'c', NULL, NULL, "compress"},
	{'B', NULL, "FILE", "stand on FILE, with what the top layer has"},
	{'F', NULL, "FORMAT", "the format of that"},
	{'l', NULL, "SNAPSHOT", "ID_OR_NAME, snapshot.id=ID or snapshot.name=NAME"},
	{'n', NULL, NULL, "the target is there; write into it"},
	{IMG_TARGET_IS_ZERO, "target-is-zero", NULL, "with -n: the target has zeroes only"},
	{'S', NULL, "SIZE", "so many zeroes are a hole; 4k. 0: all is written"},
	{'m', NULL, "N", "how many copy at the same time, 1 to 16"},
	{'W', NULL, NULL, "write in any order"},
	{'C', NULL, NULL, "let the kernel copy"},
	{'r', NULL, "RATE", "bytes a second at most"},
	{IMG_SALVAGE, "salvage", NULL, "what cannot be read becomes zeroes"},
	IMG_OPTION_PROGRESS,
	IMG_OPTION_QUIET,
	{'t', NULL, "CACHE", "unsafe, the default; others: safe on disk at the end"},
	{'T', NULL, "CACHE", NULL},
	IMG_OPTION_SHARE,
	{IMG_BITMAPS, "bitmaps", NULL, "copy the persistent bitmaps, too"},
	{IMG_SKIP_BROKEN, "skip-broken-bitmaps", NULL, NULL},
	{IMG_TARGET_IMAGE_OPTS, "target-image-opts", NULL, "with -n: TARGET is such a list"},
	IMG_OPTION_COMMON,
	{},
};

struct conversion {
	struct img_args *args;
	const char *target, *format; /* format NULL: in the list of options */
	struct image **img;
	struct img_source *source;
	struct img_new n;
	struct img_copy copy;
	uint64_t total;
	bool flush;
};

static bool check_numbers(struct conversion *c)
{
	struct img_args *args = c->args;
	uint64_t n = 0;

	c->copy.sparse = SPARSE;
	if (args->value['S'] &&
	    (img_parse_size(args->value['S'], &c->copy.sparse) < 0 || c->copy.sparse % 512 || c->copy.sparse > SPARSE_MAX))
		return img_fail("Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to %d. "
				"Select 0 to disable sparse detection (fully allocates output).",
				SPARSE_MAX),
		       false;
	if (args->value['m'] && (!img_number(args->value['m'], &n) || !n || n > THREADS_MAX))
		return img_fail("Invalid number of coroutines. Allowed number of coroutines is between 1 and %d", THREADS_MAX),
		       false;
	c->copy.threads = n;
	return !args->value['r'] || img_size("rate limit", args->value['r'], 0, INT64_MAX, &c->copy.rate);
}

/* Options that do not go together. */
static bool check_options(struct conversion *c)
{
	struct img_args *args = c->args;
	const struct {
		bool wrong;
		const char *text;
	} rules[] = {
		{img_has(args, 'C') && img_has(args, 'S'), "Cannot enable copy offloading when -S is used"},
		{img_has(args, 'C') && img_has(args, 'c'), "Cannot enable copy offloading when -c is used"},
		{img_has(args, 'n') && args->o, "-o has no effect when skipping image creation; leave it out"},
		{img_has(args, 'n') && img_has(args, 'B'), "-B has no effect when skipping image creation; leave it out"},
		{img_has(args, 'n') && img_has(args, 'F'), "-F has no effect when skipping image creation; leave it out"},
		{img_has(args, IMG_TARGET_IS_ZERO) && !img_has(args, 'n'), "--target-is-zero requires use of -n flag"},
		{img_has(args, IMG_TARGET_IMAGE_OPTS) && !img_has(args, 'n'), "--target-image-opts requires use of -n flag"},
		{img_has(args, 'B') && args->n > 2,
		 "Having a backing file for the target makes no sense when concatenating multiple input images"},
		{img_has(args, 'l') && args->n > 2, "No support for concatenating multiple snapshot"},
		{img_has(args, IMG_SKIP_BROKEN) && !img_has(args, IMG_BITMAPS),
		 "Use of --skip-broken-bitmaps requires --bitmaps"},
		{img_has(args, IMG_BITMAPS) && img_has(args, 'l'), "Bitmaps are of the disk as it is, not of a snapshot"},
		{img_has(args, IMG_BITMAPS) && args->n > 2, "Copying bitmaps only possible with single source"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rules); i++)
		if (rules[i].wrong)
			return img_fail("%s", rules[i].text), false;
	return true;
}

static bool open_sources(struct conversion *c)
{
	struct img_args *args = c->args;
	unsigned n = args->n - 1;

	c->img = g_new0(struct image *, n + 1);
	c->source = g_new0(struct img_source, n);
	for (unsigned i = 0; i < n; i++) {
		c->img[i] = args->value['l']
				    ? img_open_snapshot(args->word[i], args->value['f'], img_open_flags(args), args->value['l'])
				    : img_open(args->word[i], args->value['f'], img_open_flags(args));
		if (!c->img[i])
			return false;
		c->source[i] = (struct img_source){c->img[i], 0, c->img[i]->size};
		if (c->img[i]->size > INT64_MAX - c->total)
			return img_fail("the images are more than 2^63 bytes together"), false;
		c->total += c->img[i]->size;
	}
	c->copy.source = c->source;
	c->copy.n_source = n;
	return true;
}

static bool set_backing(struct conversion *c)
{
	const char *backing = c->args->value['B'], *format = c->args->value['F'];

	if ((backing && !img_new_set(&c->n, "backing_file", backing)) || (format && !img_new_set(&c->n, "backing_fmt", format)))
		return img_fail("Backing file not supported for file format '%s'", c->format), false;
	backing = img_new_get(&c->n, "backing_file");
	if (format && !backing)
		return img_fail("-F can only be used with -B"), false;
	if (!backing || !*backing)
		return true;
	format = img_new_get(&c->n, "backing_fmt");
	if (!format)
		return img_fail("Use of backing file requires explicit backing format"), false;
	c->copy.on_backing = true;
	return true;
}

static bool check_compression(struct conversion *c, const struct image_format *format)
{
	const char *prealloc = img_new_get(&c->n, "preallocation");

	if (!img_has(c->args, 'c'))
		return true;
	if (!format->write_compressed || !format->cluster_size)
		return img_fail("Compression not supported for this file format"), false;
	if (prealloc && strcmp(prealloc, "off") != 0)
		return img_fail("Compression and preallocation not supported at the same time"), false;
	return true;
}

static bool create_target(struct conversion *c)
{
	g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, c->total);
	g_autofree char *prefix = g_strdup_printf("%s: error while converting %s", c->target, c->format);
	GError *error = NULL;

	if (!img_new_parse(&c->n, NULL, c->format, c->args->o ? c->args->o->str : NULL) || !set_backing(c) ||
	    !check_compression(c, c->n.format))
		return false;
	if (!img_new_get(&c->n, "size"))
		img_new_set(&c->n, "size", size);
	c->n.unsafe = !c->flush;
	if (!img_new_create(&c->n, c->target, &error))
		return img_fail_error(prefix, error), false;
	return true;
}

static bool open_target(struct conversion *c)
{
	bool there = img_has(c->args, 'n');
	struct image *target =
		img_open(c->target, c->format,
			 IMG_RW | (c->flush ? 0 : IMG_UNSAFE) | (img_has(c->args, IMG_TARGET_IMAGE_OPTS) ? IMG_SPEC : 0));

	c->copy.target = target;
	if (!target)
		return false;
	if (there && !check_compression(c, target->format))
		return false;
	if (target->size < c->total)
		return img_fail("output file is smaller than input file"), false;
	c->copy.zeroed = (!there && !target->file->device) || img_has(c->args, IMG_TARGET_IS_ZERO);
	c->copy.zero_from = target->backing ? target->backing->size : 0;
	return true;
}

/* Written in no other way, also without -c: streamOptimized VMDK images. */
static bool only_compressed(struct image *target)
{
	return target->format->compressed_only && target->format->compressed_only(target);
}

/* A VMDK image of another kind is written as it is, as QEMU does. */
static bool wants_compression(struct conversion *c)
{
	const struct image_format *format = c->copy.target->format;

	if (!img_has(c->args, 'c') || !format->compressed_only || only_compressed(c->copy.target))
		return img_has(c->args, 'c') || only_compressed(c->copy.target);
	img_fail("warning: '%s' is no %s image that has its data compressed; it is written without -c", c->target, format->name);
	return false;
}

static bool convert_all(struct conversion *c)
{
	struct img_args *args = c->args;
	bool bitmaps = img_has(args, IMG_BITMAPS), skip_broken = img_has(args, IMG_SKIP_BROKEN);
	int res;

	/* A file cannot be its own target: creating it would empty it. The lock says so. */
	if (!open_sources(c) || (bitmaps && !img_bitmaps_check(c->img[0], skip_broken)) ||
	    (!img_has(args, 'n') && !create_target(c)) || !open_target(c))
		return false;
	if (bitmaps && !image_bitmaps_supported(c->copy.target))
		return img_fail("Format driver '%s' does not support bitmaps", c->copy.target->format->name), false;
	c->copy.compress = wants_compression(c);
	c->copy.any_order = img_has(args, 'W');
	c->copy.salvage = img_has(args, IMG_SALVAGE);
	c->copy.quiet = img_has(args, 'q');
	c->copy.offload = img_has(args, 'C');
	c->copy.reflink = !img_has(args, 'S');
	c->copy.progress_to = 100;
	if (!img_copy(&c->copy))
		return false;
	res = image_flush(c->copy.target);
	if (res < 0)
		return img_fail("%s: cannot write all of it: %s", c->target, g_strerror(-res)), false;
	img_progress(100);
	return !bitmaps || img_bitmaps_copy(c->img[0], c->copy.target, skip_broken);
}

static int convert(struct img_args *args)
{
	struct conversion c = {.args = args};
	bool src_flush, ok = false;
	int status;

	c.format = args->value['O'] ? args->value['O'] : img_has(args, IMG_TARGET_IMAGE_OPTS) ? NULL : "raw";
	if (img_options_help(c.format ? c.format : "raw", args->o ? args->o->str : NULL, args->n > 1, &status))
		return status;
	if (args->n < 2)
		return img_fail("Must specify image file name");
	if (!check_options(&c) || !check_numbers(&c) || !img_cache(args->value['t'], &c.flush) ||
	    !img_cache(args->value['T'], &src_flush))
		return 1;
	c.target = args->word[args->n - 1];
	img_progress_start(img_has(args, 'p') && !img_has(args, 'q'), 1.0);
	ok = convert_all(&c);
	img_progress_end();
	image_close(c.copy.target);
	for (struct image **img = c.img; img && *img; img++)
		image_close(*img);
	if (c.n.table)
		img_new_clear(&c.n);
	g_free(c.img);
	g_free(c.source);
	return !ok;
}

const struct img_command img_convert = {"convert", "[option]... FILE... TARGET", "copies images into one of another kind",
					options, convert};
