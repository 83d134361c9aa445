/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kv-img create: makes an empty image, on another one if asked to. */
#include <string.h>

#include "img.h"

static const struct img_option options[] = {
	{'f', NULL, "FORMAT", "the new image's format; raw when left out"},
	{'b', NULL, "FILE", "what it stands on, as seen from where it is"},
	{'F', NULL, "FORMAT", "the format of that"},
	{'o', NULL, "NAME=VALUE,...", "the format's options; -o help lists them"},
	{'u', NULL, NULL, "do not look at what it stands on"},
	IMG_OPTION_QUIET,
	{IMG_OBJECT, "object", "DEF", NULL},
	{},
};

/* Opens what the image is to stand on, which a guest may be writing: is it there, and how large is it? */
static bool look_at_backing(struct img_new *n, const char *file, const char *backing, const char *format)
{
	g_autofree char *path = img_resolve(file, backing);
	g_autofree char *size = NULL;
	GError *error = NULL;
	struct image *img = img_try_open(path, format, IMG_SHARED, &error);

	if (!img) {
		img_fail_error(file, error);
		return img_fail("%s: Could not open backing image.", file), false;
	}
	size = g_strdup_printf("%" G_GUINT64_FORMAT, img->size);
	if (!img_new_get(n, "size"))
		img_new_set(n, "size", size);
	if (!format)
		img_fail("%s: Backing file specified without backing format; detected format of %s, give it with -F", file,
			 img->format->name);
	image_close(img);
	return format != NULL;
}

static bool set_backing(struct img_args *args, struct img_new *n, const char *file)
{
	const char *backing = args->value['b'], *format = args->value['F'];

	if (backing && !img_new_set(n, "backing_file", backing))
		return img_fail("%s: Backing file not supported for file format '%s'", file, n->format->name), false;
	if (format && !img_new_set(n, "backing_fmt", format))
		return img_fail("%s: Backing format not supported for file format '%s'", file, n->format->name), false;
	backing = img_new_get(n, "backing_file");
	format = img_new_get(n, "backing_fmt");
	if (backing && strcmp(backing, file) == 0)
		return img_fail("%s: Error: Trying to create an image with the same filename as the backing file", file), false;
	if (format && !image_format_find(format))
		return img_fail("%s: Unknown backing file format '%s'", file, format), false;
	if (!backing || !*backing)
		return true;
	if (!img_has(args, 'u'))
		return look_at_backing(n, file, backing, format);
	return format || (img_fail("%s: Backing file specified without backing format", file), false);
}

static bool set_size(struct img_args *args, struct img_new *n, const char *file)
{
	g_autofree char *digits = NULL;
	uint64_t size;

	if (args->n < 2)
		return true;
	if (!img_size("image size", args->word[1], 0, INT64_MAX, &size))
		return false;
	if (img_new_get(n, "size"))
		return img_fail("%s: The image size must be specified only once", file), false;
	digits = g_strdup_printf("%" G_GUINT64_FORMAT, size);
	return img_new_set(n, "size", digits);
}

static int create(struct img_args *args)
{
	const char *format = args->value['f'] ? args->value['f'] : "raw", *text = args->o ? args->o->str : NULL, *file;
	struct img_new n;
	GError *error = NULL;
	int status = 1;

	if (img_options_help(format, text, args->n > 0, &status))
		return status;
	if (args->n < 1)
		return img_usage(args, "Expecting image file name");
	if (args->n > 2)
		return img_usage(args, "Unexpected argument: %s", args->word[2]);
	file = args->word[0];
	if (!img_new_parse(&n, file, format, text))
		return 1;
	status = 1;
	if (set_size(args, &n, file) && set_backing(args, &n, file)) {
		if (!img_new_get(&n, "size")) {
			img_fail("%s: Image creation needs a size parameter", file);
		} else {
			if (!img_has(args, 'q'))
				img_new_print(&n, file);
			status = img_new_create(&n, file, &error) ? 0 : img_fail_error(file, error);
		}
	}
	img_new_clear(&n);
	return status;
}

const struct img_command img_create = {"create", "[option]... FILE [SIZE]", "makes an empty image", options, create};
