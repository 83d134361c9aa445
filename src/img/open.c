/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opens images for the commands. Unlike kv-vmm a tool guesses a format that it is not told: users of qemu-img are used to it, and
 * who runs a tool sees what it found. A raw image that is to be written gets a warning, since a guest could have made it look
 * like another format.
 */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "img.h"

unsigned img_open_flags(const struct img_args *args)
{
	return (img_has(args, 'U') ? IMG_SHARED : 0) | (img_has(args, IMG_IMAGE_OPTS) ? IMG_SPEC : 0);
}

char **img_split_options(const char *text)
{
	GPtrArray *out = g_ptr_array_new();
	g_autoptr(GString) word = g_string_new(NULL);

	for (const char *p = text;; p++) {
		char *eq;

		if (*p && (*p != ',' || p[1] == ',')) {
			p += *p == ',';
			g_string_append_c(word, *p);
			continue;
		}
		eq = strchr(word->str, '=');
		if (eq) {
			g_ptr_array_add(out, g_strndup(word->str, eq - word->str));
			g_ptr_array_add(out, g_strdup(eq + 1));
		} else if (word->len) {
			bool off = g_str_has_prefix(word->str, "no") && strcmp(word->str, "nocow") != 0;

			g_ptr_array_add(out, g_strdup(word->str + (off ? 2 : 0)));
			g_ptr_array_add(out, g_strdup(off ? "off" : "on"));
		}
		g_string_truncate(word, 0);
		if (!*p)
			break;
	}
	g_ptr_array_add(out, NULL);
	return (char **)g_ptr_array_free(out, FALSE);
}

/* --image-opts: which file and format. */
static bool read_spec(const char *text, char **ret_path, char **ret_format, GError **error)
{
	g_auto(GStrv) words = img_split_options(text);
	const char *path = NULL, *format = NULL;

	for (char **w = words; *w; w += 2) {
		if (strcmp(w[0], "driver") == 0)
			format = w[1];
		else if (strcmp(w[0], "file.filename") == 0 || strcmp(w[0], "filename") == 0)
			path = w[1];
		else if ((strcmp(w[0], "file.driver") != 0 || strcmp(w[1], "file") != 0) && strcmp(w[0], "read-only") != 0)
			return kv_fail(error, KV_ERROR_UNSUPPORTED, "--image-opts: %s=%s is not supported; there are driver, "
				       "file.driver=file and file.filename", w[0], w[1]);
	}
	if (!path)
		return kv_fail(error, KV_ERROR_USAGE, "--image-opts: '%s' has no file.filename", text);
	if (format && strcmp(format, "file") == 0)
		format = "raw";
	*ret_path = g_strdup(path);
	*ret_format = g_strdup(format);
	return true;
}

struct image *img_try_open(const char *name, const char *format, unsigned flags, GError **error)
{
	g_autofree char *spec_path = NULL, *spec_format = NULL;
	g_autoptr(GVariant) all = NULL;
	GVariantDict options;
	struct image *img;

	if (flags & IMG_SPEC) {
		if (format) {
			kv_fail(error, KV_ERROR_USAGE, "--image-opts and a format are mutually exclusive");
			return NULL;
		}
		if (!read_spec(name, &spec_path, &spec_format, error))
			return NULL;
		name = spec_path;
		format = spec_format;
	} else if (g_str_has_prefix(name, "file:")) {
		name += strlen("file:");
	}
	if (format && !image_format_find(format)) {
		kv_fail(error, KV_ERROR_UNSUPPORTED, "Could not open '%s': Unknown driver '%s'", name, format);
		return NULL;
	}
	g_variant_dict_init(&options, NULL);
	g_variant_dict_insert(&options, "file", "s", name);
	g_variant_dict_insert(&options, "format", "s", format ? format : "auto");
	g_variant_dict_insert(&options, "readonly", "b", !(flags & IMG_RW));
	if (flags & IMG_SHARED)
		g_variant_dict_insert(&options, "force-share", "b", TRUE);
	if (flags & IMG_ALONE)
		g_variant_dict_insert(&options, "backing", "s", "");
	all = g_variant_ref_sink(g_variant_dict_end(&options));
	img = image_open(all, error);
	if (img && img->guessed && (flags & IMG_RW))
		g_printerr("WARNING: Image format was not specified for '%s' and probing guessed raw.\n"
			   "         A guest can write what looks like another format: give the format with -f.\n", name);
	return img;
}

struct image *img_open(const char *name, const char *format, unsigned flags)
{
	GError *error = NULL;
	struct image *img = img_try_open(name, format, flags, &error);

	if (!img)
		img_fail_error(NULL, error);
	return img;
}

char *img_resolve(const char *base, const char *name)
{
	const char *slash = strrchr(base, '/');

	if (name[0] == '/' || !slash)
		return g_strdup(name);
	return g_strdup_printf("%.*s%s", (int)(slash - base + 1), base, name);
}
