/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See snapshot.h. Called by kv-vmm's QMP commands. */
#include "snapshot.h"

#include <errno.h>
#include <unistd.h>

#include "error.h"
#include "format.h"
#include "log.h"

struct block_snapshot {
	struct block_graph *graph;
	struct image *img, *overlay; /* references */
	bool was_readonly, done;
};

static char *absolute(const char *path)
{
	g_autofree char *folder = NULL;

	if (g_path_is_absolute(path) || path[strcspn(path, ":/")] == ':')
		return g_strdup(path);
	folder = g_get_current_dir();
	return g_build_filename(folder, path, NULL);
}

static bool make_file(struct image *img, const char *file, const char *format, GError **error)
{
	g_autofree char *below = absolute(img->path);
	g_autoptr(GVariant) options = NULL;
	GVariantDict dict;

	g_variant_dict_init(&dict, NULL);
	g_variant_dict_insert(&dict, "file", "s", file);
	g_variant_dict_insert(&dict, "format", "s", format);
	g_variant_dict_insert(&dict, "backing", "s", below);
	g_variant_dict_insert(&dict, "backing-format", "s", img->format->name);
	g_variant_dict_insert(&dict, "backing-unchecked", "b", TRUE); /* it is ours, and locked */
	g_variant_dict_insert(&dict, "size", "t", img->size);
	options = g_variant_ref_sink(g_variant_dict_end(&dict));
	return image_create(options, error);
}

/* Before there is a file. Names that are unknown are image_create()'s to refuse. */
static bool check_format(const char *file, const char *format, GError **error)
{
	const struct image_format *f = image_format_find(format);

	return !f || f->set_backing ||
	       kv_fail(error, KV_ERROR_UNSUPPORTED,
		       "disk '%s': %s images cannot be overlays of a disk that is in use; use qcow2", file, format);
}

struct image *snapshot_make_overlay(struct image *img, const char *file, const char *format, bool existing, GError **error)
{
	g_autoptr(GVariant) options = NULL;
	struct image *overlay;
	GVariantDict dict;

	if (!existing && !check_format(file, format, error))
		return NULL;
	if (!existing && !make_file(img, file, format, error))
		return NULL;
	g_variant_dict_init(&dict, NULL);
	g_variant_dict_insert(&dict, "file", "s", file);
	g_variant_dict_insert(&dict, "format", "s", format);
	options = g_variant_ref_sink(g_variant_dict_end(&dict));
	overlay = image_open_on(NULL, img, options, error);
	if (!overlay && !existing)
		unlink(file);
	return overlay;
}

struct block_snapshot *snapshot_prepare(struct block_graph *g, struct image *img, struct image *overlay, const char *name,
					GError **error)
{
	struct block_snapshot *s;

	if (!graph_is_free(g, img, error))
		return NULL;
	if (overlay->backing && overlay->backing != img) {
		kv_fail(error, KV_ERROR_USAGE, "The overlay already has a backing image");
		return NULL;
	}
	if (overlay->readonly) {
		kv_fail(error, KV_ERROR_USAGE, "disk '%s' is open for reading only, and a guest is to write to it",
			overlay->path);
		return NULL;
	}
	if (!overlay->format->set_backing) {
		kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s': %s images stand on no other ones", overlay->path,
			overlay->format->name);
		return NULL;
	}
	if (!graph_find_image(g, overlay)) {
		if (!graph_add(g, name, overlay, error))
			return NULL;
	} else if (graph_in_use(g, overlay)) {
		kv_fail(error, KV_ERROR_BUSY, "The overlay is already in use");
		return NULL;
	}
	s = g_new0(struct block_snapshot, 1);
	*s = (struct block_snapshot){ .graph = g, .img = image_ref(img), .overlay = image_ref(overlay),
				      .was_readonly = img->readonly };
	return s;
}

bool snapshot_commit(struct block_snapshot *s, GError **error)
{
	GError *failed = NULL;
	int res;

	image_drain_begin(s->img);
	res = image_flush(s->img);
	if (res == 0) {
		if (!s->overlay->backing)
			image_set_backing_image(s->overlay, s->img);
		graph_replace(s->graph, s->img, s->overlay);
		/* Others may read it from now on; where that fails it stays as it was, and does no harm. */
		if (!image_reopen(s->img, true, &failed)) {
			kv_log_debug("%s", failed->message);
			g_error_free(failed);
		}
	}
	image_drain_end(s->img);
	s->done = res == 0;
	return s->done || kv_fail_errno(error, -res, "disk '%s': cannot write all of it", s->img->path);
}

void snapshot_abort(struct block_snapshot *s)
{
	GError *failed = NULL;

	if (!s->done)
		return;
	image_drain_begin(s->overlay);
	if (!s->was_readonly && !image_reopen(s->img, false, &failed)) {
		kv_log_error("%s", failed->message);
		g_error_free(failed);
	} else {
		graph_replace(s->graph, s->overlay, s->img);
	}
	image_drain_end(s->overlay);
	s->done = false;
}

void snapshot_free(struct block_snapshot *s)
{
	struct block_graph *g;

	if (!s)
		return;
	g = s->graph;
	image_close(s->img);
	image_close(s->overlay);
	g_free(s);
	graph_sweep(g);
}
