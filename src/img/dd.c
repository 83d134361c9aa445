/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kv-img dd: copies a part of an image into a new one, with operands like dd(1)'s. */
#include <string.h>

#include "img.h"

static const struct img_option options[] = {
	IMG_OPTION_FORMAT, {'O', NULL, "FORMAT", "what to make; raw when left out"}, IMG_OPTION_SHARE, IMG_OPTION_COMMON, {},
};

struct operands {
	const char *in, *out;
	uint64_t bs, count, skip;
	bool has_count;
};

static bool read_operand(struct operands *o, const char *word)
{
	const char *eq = strchr(word, '=');
	g_autofree char *name = eq ? g_strndup(word, eq - word) : g_strdup(word);

	if (eq && strcmp(name, "if") == 0)
		return o->in = eq + 1, true;
	if (eq && strcmp(name, "of") == 0)
		return o->out = eq + 1, true;
	if (eq && strcmp(name, "bs") == 0)
		return img_size("bs", eq + 1, 1, INT32_MAX, &o->bs);
	if (eq && strcmp(name, "count") == 0)
		return (o->has_count = img_size("count", eq + 1, 0, INT64_MAX, &o->count));
	if (eq && strcmp(name, "skip") == 0)
		return img_size("skip", eq + 1, 0, INT64_MAX, &o->skip);
	return img_fail("unrecognized operand %s", name), false;
}

static uint64_t bytes_of(uint64_t blocks, uint64_t bs)
{
	return blocks > INT64_MAX / bs ? INT64_MAX : blocks * bs;
}

static int copy_part(const struct operands *o, const char *format, struct image *in)
{
	uint64_t from = bytes_of(o->skip, o->bs), len = from < in->size ? in->size - from : 0;
	struct img_source source = {.img = in, .from = from};
	struct img_copy copy = {.source = &source, .n_source = 1, .sparse = 4096, .zeroed = true};
	g_autofree char *size = NULL;
	GError *error = NULL;
	struct img_new n;
	bool ok;

	if (o->has_count)
		len = MIN(len, bytes_of(o->count, o->bs));
	source.len = len;
	size = g_strdup_printf("%" G_GUINT64_FORMAT, len);
	if (!img_new_parse(&n, NULL, format, NULL))
		return 1;
	img_new_set(&n, "size", size);
	n.unsafe = true;
	ok = img_new_create(&n, o->out, &error);
	img_new_clear(&n);
	if (!ok)
		return img_fail_error(o->out, error);
	if (from > in->size) {
		img_fail("%s: cannot skip to specified offset", o->in);
		return 0;
	}
	if (!len)
		return 0;
	copy.target = img_open(o->out, format, IMG_RW | IMG_UNSAFE);
	if (!copy.target)
		return 1;
	copy.zeroed = !copy.target->file->device;
	ok = img_copy(&copy);
	if (ok && image_flush(copy.target) < 0)
		ok = !img_fail("%s: cannot write all of it", o->out);
	image_close(copy.target);
	return !ok;
}

static int dd(struct img_args *args)
{
	struct operands o = {.bs = 512};
	struct image *in;
	int status;

	for (int i = 0; i < args->n; i++)
		if (!read_operand(&o, args->word[i]))
			return 1;
	if (!o.in || !o.out)
		return img_fail("Must specify both input and output files");
	in = img_open(o.in, args->value['f'], img_open_flags(args));
	if (!in)
		return 1;
	status = copy_part(&o, args->value['O'] ? args->value['O'] : "raw", in);
	image_close(in);
	return status;
}

const struct img_command img_dd = {"dd", "[option]... if=FILE of=FILE [bs=SIZE] [count=N] [skip=N]", "copies a part of an image",
				   options, dd};
