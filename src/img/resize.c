/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kv-img resize: makes a disk larger or smaller. What is cut off is gone, so that has to be asked for. */
#include <stdio.h>
#include <string.h>

#include "img.h"

static const struct img_option options[] = {
	IMG_OPTION_FORMAT,
	{IMG_PREALLOC, "preallocation", "MODE", "how new space is made: off, metadata, falloc or full"},
	{IMG_SHRINK, "shrink", NULL, "make it smaller: what is behind the new end is lost"},
	IMG_OPTION_QUIET,
	IMG_OPTION_COMMON,
	{},
};

static bool find_prealloc(const char *name, enum image_prealloc *ret)
{
	static const char *const names[] = {"off", "metadata", "falloc", "full"};

	*ret = IMAGE_PREALLOC_OFF;
	for (unsigned i = 0; name && i < G_N_ELEMENTS(names); i++)
		if (strcmp(names[i], name) == 0) {
			*ret = i;
			return true;
		}
	return !name || (img_fail("Invalid preallocation mode '%s'", name), false);
}

/* "+1G", "-1G", "1G". */
static bool new_size(const char *text, uint64_t now, uint64_t *ret)
{
	char sign = text[0] == '+' || text[0] == '-' ? text[0] : 0;
	uint64_t size;

	if (img_parse_size(text + (sign != 0), &size) < 0) {
		img_fail("Parameter 'size' expects a non-negative number below 2^64");
		fputs("Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.\n",
		      stderr);
		return false;
	}
	if (sign == '-' ? size >= now : (sign && size > INT64_MAX - now))
		return img_fail("New image size must be positive"), false;
	size = sign == '-' ? now - size : sign ? now + size : size;
	if (!size || size > INT64_MAX)
		return img_fail("New image size must be positive"), false;
	*ret = size;
	return true;
}

static int resize_image(struct img_args *args, struct image *img, const char *text, enum image_prealloc prealloc)
{
	uint64_t before = img->size, size;
	GError *error = NULL;

	if (!new_size(text, before, &size))
		return 1;
	if (size < before && prealloc != IMAGE_PREALLOC_OFF)
		return img_fail("Preallocation can only be used for growing images");
	if (size < before && !img_has(args, IMG_SHRINK)) {
		img_fail("Use the --shrink option to perform a shrink operation.");
		return img_fail(
			"warning: Shrinking an image will delete all data beyond the shrunken image's end. Before performing "
			"such an operation, make sure there is no important data there.");
	}
	if (!image_resize(img, size, prealloc, &error))
		return img_fail_error(NULL, error);
	img_say(args, "Image resized.\n");
	return 0;
}

static int resize(struct img_args *args)
{
	enum image_prealloc prealloc;
	struct image *img;
	int status;

	if (args->n != 2)
		return img_usage(args, "Expecting image file name and size");
	if (!find_prealloc(args->value[IMG_PREALLOC], &prealloc))
		return 1;
	img = img_open(args->word[0], args->value['f'], img_open_flags(args) | IMG_RW);
	if (!img)
		return 1;
	status = resize_image(args, img, args->word[1], prealloc);
	image_close(img);
	return status;
}

const struct img_command img_resize = {"resize", "[option]... FILE [+|-]SIZE", "makes a disk larger or smaller", options, resize,
				       true};
