/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kv-img snapshot: the snapshots inside of an image. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "img.h"

static const struct img_option options[] = {
	{'l', NULL, NULL, "list them"},
	{'c', NULL, "NAME", "make one"},
	{'a', NULL, "NAME", "go back to one, by its name or number"},
	{'d', NULL, "NAME", "delete one"},
	IMG_OPTION_QUIET,
	IMG_OPTION_SHARE,
	IMG_OPTION_COMMON,
	{},
};

static void print_row(const struct image_snapshot *s)
{
	g_autofree char *size = img_human_size(s->vm_state_size);
	uint64_t ms = s->vm_clock_nsec / 1000000, seconds = ms / 1000;
	time_t date = s->date_sec;
	g_autofree char *clock = g_strdup_printf("%02" G_GUINT64_FORMAT ":%02d:%02d.%03d", seconds / 3600,
						 (int)(seconds / 60 % 60), (int)(seconds % 60), (int)(ms % 1000));
	char when[64] = "", icount[24] = "";
	struct tm tm;

	if (localtime_r(&date, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	if (s->icount != UINT64_MAX)
		g_snprintf(icount, sizeof(icount), "%" G_GUINT64_FORMAT, s->icount);
	printf("%-9s %-16s %8s%20s%13s%11s\n", s->id, s->name, size, when, clock, icount);
}

void img_print_snapshots(GArray *list)
{
	printf("%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
	for (unsigned i = 0; i < list->len; i++)
		print_row(&g_array_index(list, struct image_snapshot, i));
}

static int list_snapshots(struct image *img)
{
	GArray *list = img->format->snapshots ? img->format->snapshots(img) : NULL;

	if (!list)
		return 0;
	if (list->len) {
		puts("Snapshot list:");
		img_print_snapshots(list);
	}
	image_snapshots_free(list);
	return 0;
}

typedef bool snapshot_function(struct image *img, const char *name, GError **error);

static int change(struct image *img, const char *what, snapshot_function *function, const char *name, const char *which)
{
	g_autofree char *text = g_strdup_printf("Could not %s snapshot '%s'", what, name);
	GError *error = NULL;

	if (!function)
		return img_fail("%s: format %s has no snapshots", text, img->format->name);
	if (!which)
		return img_fail("%s: snapshot not found", text);
	return function(img, which, &error) ? 0 : img_fail_error(text, error);
}

/* A name is deleted, not a number that is one too: the number of the snapshot that has the name. NULL: there is none. */
static char *find_named(struct image *img, const char *name)
{
	GArray *list = img->format->snapshots ? img->format->snapshots(img) : NULL;
	char *id = NULL;

	for (unsigned i = 0; list && i < list->len && !id; i++) {
		const struct image_snapshot *s = &g_array_index(list, struct image_snapshot, i);

		if (strcmp(s->name, name) == 0)
			id = g_strdup(s->id);
	}
	image_snapshots_free(list);
	return id;
}

static int delete (struct image *img, const char *name)
{
	g_autofree char *id = find_named(img, name);

	return change(img, "delete", img->format->snapshot_delete, name, id);
}

static int snapshot(struct img_args *args)
{
	int given = img_has(args, 'l') + img_has(args, 'c') + img_has(args, 'a') + img_has(args, 'd'), status = 0;
	unsigned flags = img_open_flags(args);
	struct image *img;

	if (given > 1)
		return img_usage(args, "Cannot mix '-l', '-a', '-c', '-d'");
	if (args->n != 1)
		return img_usage(args, "Expecting one image file name");
	if (!given || img_has(args, 'l'))
		flags |= IMG_ALONE;
	else
		flags |= IMG_RW;
	img = img_open(args->word[0], NULL, flags);
	if (!img)
		return 1;
	if (args->value['c'])
		status = change(img, "create", img->format->snapshot_create, args->value['c'], args->value['c']);
	else if (args->value['a'])
		status = change(img, "apply", img->format->snapshot_apply, args->value['a'], args->value['a']);
	else if (args->value['d'])
		status = delete (img, args->value['d']);
	else if (args->value['l'])
		status = list_snapshots(img);
	image_close(img);
	return status;
}

const struct img_command img_snapshot = {"snapshot", "[-l | -c NAME | -a NAME | -d NAME] FILE", "snapshots inside of an image",
					 options, snapshot};
