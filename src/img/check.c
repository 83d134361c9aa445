/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-img check: is an image's metadata consistent? Exit status: 0 it is, 1 it could not be looked at, 2 corrupt, 3 clusters are
 * lost but nothing is wrong, 63 the format has no check.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "img.h"

enum {
	CORRUPT = 2,
	LEAKS = 3,
	NO_CHECK = 63,
};

static const struct img_option options[] = {
	IMG_OPTION_FORMAT,
	IMG_OPTION_OUTPUT,
	{'r', "repair", "leaks|all", "repair lost clusters, or whatever can be"},
	IMG_OPTION_QUIET,
	IMG_OPTION_SRC_CACHE,
	IMG_OPTION_SHARE,
	IMG_OPTION_COMMON,
	{},
};

static void print_fault(void *opaque, const char *text)
{
	fflush(stdout);
	fprintf(stderr, "%s\n", text);
}

static void set_unless_zero(json_t *o, const char *name, uint64_t value)
{
	if (value)
		json_object_set_new(o, name, json_integer(value));
}

static void print_json(struct image *img, const struct image_check *c)
{
	json_t *o = json_object();

	json_object_set_new(o, "filename", img_json_string(img->path));
	json_object_set_new(o, "format", json_string(img->format->name));
	json_object_set_new(o, "check-errors", json_integer(c->check_errors));
	set_unless_zero(o, "image-end-offset", c->end_offset);
	set_unless_zero(o, "corruptions", c->corruptions);
	set_unless_zero(o, "leaks", c->leaks);
	set_unless_zero(o, "corruptions-fixed", c->corruptions_fixed);
	set_unless_zero(o, "leaks-fixed", c->leaks_fixed);
	set_unless_zero(o, "total-clusters", c->total_clusters);
	set_unless_zero(o, "allocated-clusters", c->allocated_clusters);
	set_unless_zero(o, "fragmented-clusters", c->fragmented_clusters);
	set_unless_zero(o, "compressed-clusters", c->compressed_clusters);
	img_json_print(o);
}

static void print_human(const struct image_check *c)
{
	if (!c->corruptions && !c->leaks && !c->check_errors)
		puts("No errors were found on the image.");
	if (c->corruptions)
		printf("\n%" G_GUINT64_FORMAT " errors were found on the image.\n"
		       "Data may be corrupted, or further writes to the image may corrupt it.\n",
		       c->corruptions);
	if (c->leaks)
		printf("\n%" G_GUINT64_FORMAT " leaked clusters were found on the image.\n"
		       "This means waste of disk space, but no harm to data.\n",
		       c->leaks);
	if (c->check_errors)
		printf("\n%" G_GUINT64_FORMAT " internal errors have occurred during the check.\n", c->check_errors);
	if (c->total_clusters && c->allocated_clusters)
		printf("%" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT
		       " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
		       c->allocated_clusters, c->total_clusters, c->allocated_clusters * 100.0 / c->total_clusters,
		       c->fragmented_clusters * 100.0 / c->allocated_clusters,
		       c->compressed_clusters * 100.0 / c->allocated_clusters);
	if (c->end_offset)
		printf("Image end offset: %" G_GUINT64_FORMAT "\n", c->end_offset);
}

/* After a repair: what was repaired, and what is still wrong. */
static bool look_again(struct image *img, struct img_args *args, bool json, struct image_check *c, GError **error)
{
	struct image_check again = {0};

	if (!c->corruptions_fixed && !c->leaks_fixed)
		return true;
	if (!json)
		img_say(args,
			"The following inconsistencies were found and repaired:\n\n    %" G_GUINT64_FORMAT " leaked clusters\n"
			"    %" G_GUINT64_FORMAT " corruptions\n\nDouble checking the fixed image now...\n",
			c->leaks_fixed, c->corruptions_fixed);
	if (!img->format->check(img, 0, print_fault, NULL, &again, error))
		return false;
	again.leaks_fixed = c->leaks_fixed;
	again.corruptions_fixed = c->corruptions_fixed;
	*c = again;
	return true;
}

static int check_image(struct image *img, struct img_args *args, bool json, unsigned fix)
{
	struct image_check c = {0};
	GError *error = NULL;

	if (!img->format->check) {
		img_fail("This image format does not support checks");
		return NO_CHECK;
	}
	if (!img->format->check(img, fix, print_fault, NULL, &c, &error) || !look_again(img, args, json, &c, &error))
		return img_fail_error("Check failed", error);
	if (json)
		print_json(img, &c);
	else if (!img_has(args, 'q'))
		print_human(&c);
	return c.check_errors ? 1 : c.corruptions ? CORRUPT : c.leaks ? LEAKS : 0;
}

static int check(struct img_args *args)
{
	const char *repair = args->value['r'];
	unsigned fix = 0;
	struct image *img;
	bool json, flush;
	int status;

	if (!img_wants_json(args, &json) || !img_cache(args->value['T'], &flush))
		return 1;
	if (repair && strcmp(repair, "leaks") == 0)
		fix = IMAGE_FIX_LEAKS;
	else if (repair && strcmp(repair, "all") == 0)
		fix = IMAGE_FIX_LEAKS | IMAGE_FIX_ERRORS;
	else if (repair)
		return img_usage(args, "Unknown option value for -r (expecting 'leaks' or 'all'): %s", repair);
	if (args->n != 1)
		return img_usage(args, "Expecting one image file name");
	img = img_open(args->word[0], args->value['f'], img_open_flags(args) | IMG_ALONE | IMG_CHECKING | (fix ? IMG_RW : 0));
	if (!img)
		return 1;
	status = check_image(img, args, json, fix);
	image_close(img);
	return status;
}

const struct img_command img_check = {"check", "[option]... FILE", "looks for faults in an image, and repairs it", options,
				      check};
