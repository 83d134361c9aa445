/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A qcow2 image in memory that somebody made up: opened, read, mapped, checked, written where it can be, repaired; its bitmaps
 * are loaded, merged, changed and stored. Nothing may be read or written outside of the file, nothing may take for ever, what is
 * repaired is consistent afterwards, and bitmaps that were stored can be loaded.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap.h"
#include "format.h"
#include "log.h"
#include "../unit/mem-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { READ_MAX = 256 << 10, MAPS_MAX = 2000 };

static void free_image(struct image *img)
{
	image_bitmaps_free(img);
	g_rw_lock_clear(&img->watch_lock);
	g_free(img->backing_name);
	g_free(img->backing_format);
	g_free(img);
}

static struct image *open_image(struct mem_file *f, const char *options)
{
	g_autoptr(GVariant) o = g_variant_ref_sink(g_variant_new_parsed(options));
	struct image *img = g_new0(struct image, 1);
	GError *error = NULL;

	g_rw_lock_init(&img->watch_lock);
	img->readonly = f->base.readonly;
	img->format = &image_qcow2;
	img->path = f->base.name;
	img->file = img->data = &f->base;
	if (img->format->open(img, o, &error)) {
		img->size = img->size > INT64_MAX ? 0 : img->size;
		return img;
	}
	if (!error)
		abort();
	g_error_free(error);
	free_image(img);
	return NULL;
}

static void end_image(struct image *img)
{
	img->format->close(img);
	free_image(img);
}

static void look(struct image *img)
{
	g_autofree uint8_t *buf = g_malloc(READ_MAX);
	struct image_extent e;
	GVariantBuilder b;
	uint64_t at = 0;

	for (unsigned i = 0; at < img->size && i < MAPS_MAX; i++) {
		if (image_map(img, at, img->size - at, &e) < 0)
			e.len = 512;
		at += e.len;
	}
	image_read(img, 0, buf, MIN(img->size, READ_MAX));
	image_read(img, img->size - MIN(img->size, 4096), buf, MIN(img->size, 4096));
	g_variant_builder_init(&b, G_VARIANT_TYPE_VARDICT);
	img->format->info(img, &b);
	g_variant_unref(g_variant_ref_sink(g_variant_builder_end(&b)));
}

static void change(struct image *img)
{
	g_autofree uint8_t *buf = g_malloc0(64 << 10);
	g_autoptr(GVariant) width = g_variant_ref_sink(g_variant_new_parsed("{'refcount_bits': <'64'>}"));
	g_autoptr(GVariant) older = g_variant_ref_sink(g_variant_new_parsed("{'compat': <'0.10'>, 'refcount_bits': <'16'>}"));
	uint64_t last = img->size - MIN(img->size, 4096), cluster = img->format->cluster_size(img);
	GError *error = NULL;

	for (uint64_t at = 0; at < MIN(img->size, 32 << 10); at += 6 << 10)
		image_write(img, at, buf, MIN(2048, img->size - at));
	image_write(img, last, buf, img->size - last);
	if (cluster <= 64 << 10 && img->size >= 4 * cluster)
		image_write_compressed(img, 3 * cluster, buf, cluster);
	image_write_zeroes(img, 0, MIN(img->size, 5000), IMAGE_MAY_UNMAP);
	image_discard(img, 0, MIN(img->size, 16 << 10));
	image_flush(img);
	if (!img->format->snapshot_create(img, "x", &error))
		g_clear_error(&error);
	image_write(img, 0, buf, MIN(2048, img->size));
	if (!img->format->snapshot_apply(img, "1", &error))
		g_clear_error(&error);
	if (!img->format->snapshot_delete(img, "1", &error))
		g_clear_error(&error);
	if (!img->format->amend(img, width, &error))
		g_clear_error(&error);
	image_write(img, 0, buf, MIN(2048, img->size));
	if (img->size < 1 << 30 && !image_resize(img, img->size + 8192, IMAGE_PREALLOC_OFF, &error))
		g_clear_error(&error);
	image_write_zeroes(img, 0, MIN(img->size, 70000), 0);
	if (!img->format->snapshot_create(img, "y", &error))
		g_clear_error(&error);
	if (img->size <= 64 << 20 && !img->format->amend(img, older, &error))
		g_clear_error(&error);
}

/* ---- bitmaps ---- */

static void look_at_bitmaps(struct image *img)
{
	GError *error = NULL;
	uint64_t offset, len;

	if (!image_bitmaps_load(img, &error)) {
		g_error_free(error);
		return;
	}
	for (const struct image_bitmap *b = img->bitmaps; b; b = b->next) {
		uint64_t at = 0;

		for (unsigned i = 0; i < MAPS_MAX && image_bitmap_next(b, true, at, b->size, &offset, &len); i++)
			at = offset + len;
		image_bitmap_count(b);
	}
}

static void change_bitmaps(struct image *img)
{
	struct image_bitmap *first = img->bitmaps, *all;

	all = image_bitmap_add(img, "fuzz-all", 0, true, false, NULL);
	for (const struct image_bitmap *b = first; b && all; b = b->next)
		if (b != all)
			image_bitmap_add_from(img, all, b, NULL);
	if (first && first->next && first != all && g_str_has_prefix(first->name, "x"))
		image_bitmap_remove(img, first, NULL);
	else if (first)
		image_bitmap_record(img, first, !first->recording, NULL);
}

/* What is stored without an error is there the next time. */
static void use_bitmaps(struct mem_file *f)
{
	struct image *img = open_image(f, "{'backing': <''>}");
	bool stored, made;

	if (!img)
		return;
	change_bitmaps(img);
	made = image_bitmap_find(img, "fuzz-all", NULL);
	stored = img->format->reopen(img, true, NULL);
	img->readonly = true;
	end_image(img);
	f->base.readonly = true;
	img = open_image(f, "{'backing': <''>}");
	if (stored && (!img || !image_bitmaps_load(img, NULL) || made != !!image_bitmap_find(img, "fuzz-all", NULL)))
		abort();
	if (img)
		end_image(img);
	f->base.readonly = false;
}

static bool check(struct image *img, unsigned fix, struct image_check *r)
{
	GError *error = NULL;
	bool ok = img->format->check(img, fix, NULL, NULL, r, &error);

	g_clear_error(&error);
	return ok;
}

/* Twice: what is found to be repaired has to stay so. */
static void repair(struct mem_file *f)
{
	struct image *img = open_image(f, "{'check': <true>, 'backing': <''>}");
	struct image_check r, again;
	bool clean;

	if (!img)
		return;
	clean = check(img, IMAGE_FIX_LEAKS | IMAGE_FIX_ERRORS, &r) && !r.corruptions && !r.leaks && !r.check_errors;
	end_image(img);
	img = open_image(f, "{'check': <true>, 'backing': <''>}");
	if (img && clean && (!check(img, 0, &again) || again.corruptions || again.leaks))
		abort();
	if (img)
		end_image(img);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mem_file *f = mem_file_new(data, size);
	struct image *img;

	kv_log_set_quiet(true);
	f->base.readonly = true;
	img = open_image(f, "{'backing': <''>}");
	if (img) {
		struct image_check r;

		look(img);
		look_at_bitmaps(img);
		check(img, 0, &r);
		end_image(img);
	}
	f->base.readonly = false;
	use_bitmaps(f);
	img = open_image(f, "{'backing': <''>}");
	if (img) {
		change(img);
		look(img);
		end_image(img);
	}
	repair(f);
	mem_file_free(f);
	return 0;
}
