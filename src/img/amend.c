/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kv-img amend: changes an image's options. What may change is a column of the table of options; the format does it. */
#include <stdio.h>
#include <string.h>

#include "img.h"

static const struct img_option options[] = {
	IMG_OPTION_FORMAT,
	{'o', NULL, "NAME=VALUE,...", "what to change; -o help lists it"},
	{IMG_FORCE, "force", NULL, "accepted; there is nothing it would force"},
	IMG_OPTION_PROGRESS,
	IMG_OPTION_QUIET,
	IMG_OPTION_CACHE,
	IMG_OPTION_COMMON,
	{},
};

/* Are all of these options of the format, and can they change? Sizes and numbers come back as digits. */
static bool check_options(const char *format, const struct img_new *n)
{
	bool known;

	for (unsigned i = 0; i < IMG_MAX_OPTIONS; i++) {
		const char *name = n->value[i] ? img_new_name(n, i) : NULL;

		if (name && !img_can_amend(format, name, &known)) {
			img_fail("Invalid parameter '%s'", name);
			fputs("This option is only supported for image creation\n", stderr);
			return false;
		}
	}
	if (img_new_get(n, "backing_file") || img_new_get(n, "backing_fmt")) {
		img_fail("Cannot amend the backing file");
		fputs("You can use 'kv-img rebase' instead.\n", stderr);
		return false;
	}
	return true;
}

static int amend_image(struct img_args *args, struct image *img)
{
	const char *format = img->format->name, *size;
	g_autoptr(GVariant) all = NULL;
	GVariantDict values;
	struct img_new n;
	GError *error = NULL;
	bool ok, any;

	if (!img_can_amend(format, "size", &any))
		return img_fail("Format driver '%s' does not support option amendment", format);
	if (!img_new_parse(&n, NULL, format, args->o->str))
		return 1;
	ok = check_options(format, &n);
	any = false;
	g_variant_dict_init(&values, NULL);
	for (unsigned i = 0; i < IMG_MAX_OPTIONS; i++)
		if (n.value[i] && strcmp(img_new_name(&n, i), "size") != 0) {
			g_variant_dict_insert(&values, img_new_name(&n, i), "s", img_new_value(&n, i));
			any = true;
		}
	all = g_variant_ref_sink(g_variant_dict_end(&values));
	if (ok && any && !img->format->amend)
		ok = !img_fail("%s images cannot be changed in that; convert it with -o %s", format, args->o->str);
	else if (ok && any)
		ok = img->format->amend(img, all, &error) || !img_fail_error(NULL, error);
	size = img_new_get(&n, "size");
	if (ok && size && !image_resize(img, g_ascii_strtoull(size, NULL, 10), IMAGE_PREALLOC_OFF, &error))
		ok = !img_fail_error(NULL, error);
	img_new_clear(&n);
	return !ok;
}

static int amend(struct img_args *args)
{
	const char *format = args->value['f'];
	struct image *img;
	bool flush;
	int status;

	if (!args->o)
		return img_usage(args, "Must specify options (-o)");
	if (!img_cache(args->value['t'], &flush))
		return 1;
	if (format && img_asks_for_help(args->o->str))
		return img_amend_help(format);
	if (args->n != 1)
		return img_usage(args, "Expecting one image file name");
	img_progress_start(img_has(args, 'p') && !img_has(args, 'q'), 1.0);
	img = img_open(args->word[0], format, img_open_flags(args) | IMG_RW);
	if (!img)
		return img_progress_end(), 1;
	status = img_asks_for_help(args->o->str) ? img_amend_help(img->format->name) : amend_image(args, img);
	if (!status)
		img_progress(100);
	img_progress_end();
	image_close(img);
	return status;
}

const struct img_command img_amend = {"amend", "[option]... -o OPTIONS FILE", "changes an image's options", options, amend};
