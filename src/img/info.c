/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kv-img info: what an image is, and what it stands on. Each layer is opened alone, so that one whose backing file is gone can
 * be looked at.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "img.h"

enum {
	MAX_CHAIN = 200,
};

static const struct img_option options[] = {
	IMG_OPTION_FORMAT, IMG_OPTION_OUTPUT, {IMG_CHAIN, "backing-chain", NULL, "what it stands on as well, down to the last"},
	IMG_OPTION_SHARE,  IMG_OPTION_COMMON, {},
};

/* Bytes on disk of the image's files; -1: not known. */
static int64_t actual_size(struct image *img)
{
	struct stat st;
	int64_t sum = 0;

	if (img->file->fd < 0 || fstat(img->file->fd, &st) < 0)
		return -1;
	sum = (int64_t)st.st_blocks * 512;
	if (img->data != img->file && img->data->fd >= 0 && fstat(img->data->fd, &st) == 0)
		sum += (int64_t)st.st_blocks * 512;
	return sum;
}

static json_t *snapshots_json(GArray *list)
{
	json_t *out = json_array();

	for (unsigned i = 0; i < list->len; i++) {
		const struct image_snapshot *s = &g_array_index(list, struct image_snapshot, i);
		json_t *row = json_object();

		json_object_set_new(row, "id", img_json_string(s->id));
		json_object_set_new(row, "name", img_json_string(s->name));
		json_object_set_new(row, "vm-state-size", json_integer(s->vm_state_size));
		json_object_set_new(row, "date-sec", json_integer(s->date_sec));
		json_object_set_new(row, "date-nsec", json_integer(s->date_nsec));
		json_object_set_new(row, "vm-clock-sec", json_integer(s->vm_clock_nsec / 1000000000));
		json_object_set_new(row, "vm-clock-nsec", json_integer(s->vm_clock_nsec % 1000000000));
		if (s->icount != UINT64_MAX)
			json_object_set_new(row, "icount", json_integer(s->icount));
		json_array_append_new(out, row);
	}
	return out;
}

/* Members that a format has of its own: "dirty-flag" is the image's in QEMU's eyes. NULL: none. */
static json_t *specific(struct image *img, bool *ret_dirty)
{
	GVariantBuilder members;
	json_t *out;

	*ret_dirty = false;
	if (!img->format->info)
		return NULL;
	g_variant_builder_init(&members, G_VARIANT_TYPE_VARDICT);
	img->format->info(img, &members);
	{
		g_autoptr(GVariant) all = g_variant_ref_sink(g_variant_builder_end(&members));

		out = img_json_from_variant(all);
	}
	*ret_dirty = json_is_true(json_object_get(out, "dirty-flag"));
	json_object_del(out, "dirty-flag");
	if (json_object_size(out))
		return out;
	json_decref(out);
	return NULL;
}

static json_t *describe(struct image *img)
{
	json_t *out = json_object(), *own;
	int64_t actual = actual_size(img);
	bool dirty;

	json_object_set_new(out, "virtual-size", json_integer(img->size));
	json_object_set_new(out, "filename", img_json_string(img->path));
	json_object_set_new(out, "format", json_string(img->format->name));
	if (img->format->cluster_size && img->format->cluster_size(img))
		json_object_set_new(out, "cluster-size", json_integer(img->format->cluster_size(img)));
	if (actual >= 0)
		json_object_set_new(out, "actual-size", json_integer(actual));
	own = specific(img, &dirty);
	json_object_set_new(out, "dirty-flag", json_boolean(dirty));
	if (own) {
		json_t *box = json_object();

		json_object_set_new(box, "type", json_string(img->format->name));
		json_object_set_new(box, "data", own);
		json_object_set_new(out, "format-specific", box);
	}
	if (img->backing_name && *img->backing_name) {
		g_autofree char *full = img_resolve(img->path, img->backing_name);

		json_object_set_new(out, "backing-filename", img_json_string(img->backing_name));
		json_object_set_new(out, "full-backing-filename", img_json_string(full));
		if (img->backing_format)
			json_object_set_new(out, "backing-filename-format", img_json_string(img->backing_format));
	}
	if (img->format->snapshots) {
		GArray *list = img->format->snapshots(img);

		if (list && list->len)
			json_object_set_new(out, "snapshots", snapshots_json(list));
		image_snapshots_free(list);
	}
	return out;
}

static void print_value(json_t *value, int level);

static void print_item(const char *name, json_t *value, int level)
{
	bool composite = json_is_object(value) || json_is_array(value);

	printf("%*s%s:%c", level * 4, "", name, composite ? '\n' : ' ');
	print_value(value, level + 1);
	if (!composite)
		putchar('\n');
}

/* A format's own members, as qemu-img prints them: dashes as spaces, a list's elements numbered. */
static void print_value(json_t *value, int level)
{
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_object(value)) {
		json_object_foreach(value, key, item)
		{
			g_autofree char *name = g_strdelimit(g_strdup(key), "-", ' ');

			print_item(name, item, level);
		}
	} else if (json_is_array(value)) {
		json_array_foreach(value, i, item)
		{
			g_autofree char *name = g_strdup_printf("[%zu]", i);

			print_item(name, item, level);
		}
	} else if (json_is_string(value)) {
		fputs(json_string_value(value), stdout);
	} else if (json_is_boolean(value)) {
		fputs(json_is_true(value) ? "true" : "false", stdout);
	} else {
		printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	}
}

static const char *text_of(json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static uint64_t number_of(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void print_snapshots(json_t *rows)
{
	g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(struct image_snapshot));
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		struct image_snapshot s = {
			.id = (char *)text_of(row, "id"),
			.name = (char *)text_of(row, "name"),
			.vm_state_size = number_of(row, "vm-state-size"),
			.date_sec = number_of(row, "date-sec"),
			.vm_clock_nsec = number_of(row, "vm-clock-sec") * 1000000000 + number_of(row, "vm-clock-nsec"),
			.icount = json_object_get(row, "icount") ? number_of(row, "icount") : UINT64_MAX,
		};

		g_array_append_val(list, s);
	}
	puts("Snapshot list:");
	img_print_snapshots(list);
}

static void print_human(json_t *o)
{
	g_autofree char *size = img_human_size(number_of(o, "virtual-size"));
	g_autofree char *disk =
		json_object_get(o, "actual-size") ? img_human_size(number_of(o, "actual-size")) : g_strdup("unavailable");
	const char *backing = text_of(o, "backing-filename"), *full = text_of(o, "full-backing-filename");

	printf("image: %s\nfile format: %s\nvirtual size: %s (%" G_GUINT64_FORMAT " bytes)\ndisk size: %s\n",
	       text_of(o, "filename"), text_of(o, "format"), size, number_of(o, "virtual-size"), disk);
	if (json_object_get(o, "cluster-size"))
		printf("cluster_size: %" G_GUINT64_FORMAT "\n", number_of(o, "cluster-size"));
	if (json_is_true(json_object_get(o, "dirty-flag")))
		puts("cleanly shut down: no");
	if (backing) {
		printf("backing file: %s", backing);
		if (strcmp(backing, full) != 0)
			printf(" (actual path: %s)", full);
		putchar('\n');
		if (text_of(o, "backing-filename-format"))
			printf("backing file format: %s\n", text_of(o, "backing-filename-format"));
	}
	if (json_object_get(o, "snapshots"))
		print_snapshots(json_object_get(o, "snapshots"));
	if (json_object_get(o, "format-specific")) {
		json_t *ordered = img_json_order(json_object_get(json_object_get(o, "format-specific"), "data"));

		puts("Format specific information:");
		print_value(ordered, 1);
		json_decref(ordered);
	}
}

/* One layer. The next one's name and format come back, NULL at the end of the chain. */
static bool one_layer(char **name, char **format, unsigned flags, json_t *list)
{
	struct image *img = img_open(*name, *format, flags | IMG_ALONE);

	if (!img)
		return false;
	json_array_append_new(list, describe(img));
	g_free(*format);
	*format = g_strdup(img->backing_format);
	g_free(*name);
	*name = img->backing_name && *img->backing_name ? img_resolve(img->path, img->backing_name) : NULL;
	image_close(img);
	return true;
}

static void print_list(json_t *list, bool json, bool chain)
{
	json_t *layer;
	size_t i;

	if (json) {
		img_json_print(json_incref(chain ? list : json_array_get(list, 0)));
		return;
	}
	json_array_foreach(list, i, layer)
	{
		if (i)
			putchar('\n');
		print_human(layer);
	}
}

static int info(struct img_args *args)
{
	g_autofree char *name = NULL, *format = g_strdup(args->value['f']);
	unsigned flags = img_open_flags(args);
	bool json, ok = true, chain = img_has(args, IMG_CHAIN);
	json_t *list;

	if (!img_wants_json(args, &json))
		return 1;
	if (args->n != 1)
		return img_usage(args, "Expecting one image file name");
	name = g_strdup(args->word[0]);
	list = json_array();
	for (unsigned i = 0; name && ok && (i == 0 || chain); i++) {
		if (i == MAX_CHAIN)
			ok = !img_fail("'%s': more than %d images stand on each other, or in a circle", args->word[0], MAX_CHAIN);
		else
			ok = one_layer(&name, &format, i ? flags & ~IMG_SPEC : flags, list);
	}
	if (ok)
		print_list(list, json, chain);
	json_decref(list);
	return !ok;
}

const struct img_command img_info = {"info", "[option]... FILE", "prints what an image is", options, info};
