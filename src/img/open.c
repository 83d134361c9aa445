/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opens images for the commands. Unlike kv-vmm a tool guesses a format that it is not told: users of qemu-img are used to it, and
 * who runs a tool sees what it found.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "error.h"
#include "img.h"

const char *img_file_name(const char *name)
{
	return g_str_has_prefix(name, "file:") ? name + strlen("file:") : name;
}

void img_insert_path(GVariantDict *options, const char *path)
{
	g_variant_dict_insert(options, "file", g_utf8_validate(path, -1, NULL) ? "s" : "^ay", path);
}

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

/* Is the name one of parts? Which file and format it means then. */
static bool read_parts(const char *name, unsigned flags, const char *format, char **ret_path, char **ret_format, GError **error)
{
	bool json = !(flags & IMG_SPEC);

	if (!(json ? img_read_json(name + strlen("json:"), ret_path, ret_format, error)
		   : img_read_image_opts(name, ret_path, ret_format, error)))
		return false;
	return !format || !*ret_format || strcmp(format, *ret_format) == 0 ||
	       kv_fail(error, KV_ERROR_USAGE, "'%s': the format is %s or %s", name, format, *ret_format);
}

/* A file that nobody has made safe on disk. */
static int no_flush(struct image_file *f)
{
	return 0;
}

/*
 * What a conversion writes is made again if the host fails: image_flush() is to write out what the format keeps back, so that
 * errors are seen, and not to wait for the disk. One target in a process.
 */
static void make_unsafe(struct image *img)
{
	static struct image_file_type type;

	if (img->data->type != img->file->type)
		return;
	type = *img->file->type;
	type.flush = no_flush;
	img->file->type = &type;
	img->data->type = &type;
}

static struct image *open_image(const char *name, const char *format, unsigned flags, const char *snapshot, GError **error)
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
	}
	if (flags & IMG_SPEC || g_str_has_prefix(name, "json:")) {
		if (!read_parts(name, flags, format, &spec_path, &spec_format, error))
			return NULL;
		name = spec_path;
		format = format ? format : spec_format;
	} else {
		name = img_file_name(name);
	}
	if (format && !image_format_find(format)) {
		kv_fail(error, KV_ERROR_UNSUPPORTED, "Could not open '%s': Unknown driver '%s'", name, format);
		return NULL;
	}
	g_variant_dict_init(&options, NULL);
	img_insert_path(&options, name);
	g_variant_dict_insert(&options, "format", "s", format ? format : "auto");
	g_variant_dict_insert(&options, "readonly", "b", !(flags & IMG_RW));
	if (flags & IMG_SHARED)
		g_variant_dict_insert(&options, "force-share", "b", TRUE);
	if (flags & IMG_CHECKING)
		g_variant_dict_insert(&options, "check", "b", TRUE);
	if (flags & IMG_ALONE)
		g_variant_dict_insert(&options, "backing", "s", "");
	if (snapshot)
		g_variant_dict_insert(&options, "snapshot", "s", snapshot);
	all = g_variant_ref_sink(g_variant_dict_end(&options));
	img = image_open(all, error);
	if (img && (flags & IMG_UNSAFE))
		make_unsafe(img);
	return img;
}

struct image *img_try_open(const char *name, const char *format, unsigned flags, GError **error)
{
	return open_image(name, format, flags, NULL, error);
}

/* "ID_OR_NAME", "snapshot.id=ID", "snapshot.name=NAME": the snapshot's number. */
static char *find_snapshot(struct image *img, const char *which)
{
	g_auto(GStrv) words = strchr(which, '=') ? img_split_options(which) : g_strsplit("", ",", 0);
	const char *id = NULL, *name = NULL;
	GArray *list = img->format->snapshots ? img->format->snapshots(img) : NULL;
	char *found = NULL;

	for (char **w = words; *w; w += 2) {
		if (strcmp(w[0], "snapshot.id") == 0)
			id = w[1];
		else if (strcmp(w[0], "snapshot.name") == 0)
			name = w[1];
	}
	for (unsigned i = 0; list && i < list->len && !found; i++) {
		const struct image_snapshot *s = &g_array_index(list, struct image_snapshot, i);

		if (id || name ? (!id || strcmp(s->id, id) == 0) && (!name || strcmp(s->name, name) == 0)
			       : strcmp(s->id, which) == 0 || strcmp(s->name, which) == 0)
			found = g_strdup(s->id);
	}
	if (list)
		image_snapshots_free(list);
	return found;
}

struct image *img_open_snapshot(const char *name, const char *format, unsigned flags, const char *which)
{
	struct image *img = img_open(name, format, flags);
	g_autofree char *id = img ? find_snapshot(img, which) : NULL;
	bool can = img && img->format->opens_snapshots;
	GError *error = NULL;

	if (img && !id)
		img_fail("Failed to load snapshot: there is no '%s' in '%s'", which, name);
	else if (img && !can)
		img_fail("Failed to load snapshot: %s images are not read at a snapshot", img->format->name);
	image_close(img);
	if (!id || !can)
		return NULL;
	img = open_image(name, format, flags, id, &error);
	if (!img)
		img_fail_error(NULL, error);
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

enum img_sparse { SPARSE_UNKNOWN, SPARSE_NO, SPARSE_YES };

/* More than clusters that were not written as a whole: QEMU's measure. Asked of each extent, so it is noted. */
static bool is_sparse(struct image *img)
{
	uint64_t cluster = img->format->cluster_size ? img->format->cluster_size(img) : 0, blocks;
	uint8_t known = __atomic_load_n(&img->sparse, __ATOMIC_RELAXED);
	struct stat st;

	if (known)
		return known == SPARSE_YES;
	known = SPARSE_NO;
	if (img->data->fd >= 0 && fstat(img->data->fd, &st) == 0 && S_ISREG(st.st_mode)) {
		blocks = st.st_blocks * 512ULL;
		if (image_file_size(img->data) > blocks + MAX(blocks / 10, 2 * cluster))
			known = SPARSE_YES;
	}
	__atomic_store_n(&img->sparse, known, __ATOMIC_RELAXED);
	return known == SPARSE_YES;
}

int img_look(struct image *img, uint64_t offset, uint64_t len, bool alone, struct image_extent *ret, bool *ret_in_hole)
{
	int res = alone ? image_map(img, offset, len, ret) : image_status(img, offset, len, ret);

	*ret_in_hole = false;
	if (res < 0 || ret->kind != IMAGE_DATA || !ret->has_at)
		return res;
	for (unsigned i = 0; i < ret->depth; i++)
		img = img->backing;
	if (img->format->plain || !is_sparse(img))
		return res;
	*ret_in_hole = !img->data->type->has_data(img->data, ret->at, ret->len, &len);
	ret->len = MIN(ret->len, len);
	if (*ret_in_hole)
		ret->kind = IMAGE_ZERO;
	return 0;
}

char *img_resolve(const char *base, const char *name)
{
	const char *slash = strrchr(base, '/');

	/* A colon before the first slash: "file:x", an NBD export. */
	if (name[0] == '/' || !slash || name[strcspn(name, ":/")] == ':')
		return g_strdup(name);
	base = img_file_name(base);
	return g_strdup_printf("%.*s%s", (int)(slash - base + 1), base, name);
}
