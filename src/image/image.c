/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening and making images: which format, which file, what it stands on. See image.h. A format is guessed only when the
 * caller says so: a guest writes a raw disk's first bytes, and could make the next start read any file of the host.
 */
#include "image.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bitmap.h"
#include "bytes.h"
#include "error.h"
#include "file-nbd.h"
#include "file-queue.h"
#include "filter.h"
#include "format.h"
#include "gate.h"
#include "live.h"
#include "log.h"
#include "ova.h"

enum {
	SECTOR = 512,
	HEAD = 512, /* bytes that formats are guessed from */
	DEPTH_MAX = 200,
};

/* What one layer of a chain is opened with. */
struct layer {
	const char *path;
	const char *format; /* NULL: raw, unless it looks like something else */
	const char *member; /* of an OVA; NULL: its only disk */
	bool guess, readonly, share, direct;
	int aio;
	const struct image *above;
	struct image_file *file; /* open already; NULL: path's */
};

/* Containers that we cannot read, for the message. */
static const struct {
	const char *name;
	unsigned offset;
	const char *magic;
	unsigned len;
} foreign[] = {
	{ "qcow2", 0, "QFI\xfb\0\0\0\2", 8 },
	{ "qcow2", 0, "QFI\xfb\0\0\0\3", 8 },
	{ "qcow", 0, "QFI\xfb", 4 },
	{ "vmdk", 0, "KDMV", 4 },
	{ "vmdk", 0, "COWD", 4 },
	{ "vhdx", 0, "vhdxfile", 8 },
	{ "vpc", 0, "conectix", 8 },
	{ "vdi", 64, "\x7f\x10\xda\xbe", 4 },
	{ "qed", 0, "QED\0", 4 },
	{ "luks", 0, "LUKS\xba\xbe", 6 },
	{ "parallels", 0, "WithoutFreeSpace", 16 },
	{ "parallels", 0, "WithouFreSpacExt", 16 },
};

const struct image_format *image_format_find(const char *name)
{
	for (const struct image_format *const *f = image_formats; *f; f++)
		if (strcmp((*f)->name, name) == 0)
			return *f;
	return NULL;
}

const char *image_format_guess(const uint8_t *head, size_t len)
{
	for (const struct image_format *const *f = image_formats; *f; f++)
		if ((*f)->probe && (*f)->probe(head, len))
			return (*f)->name;
	for (size_t i = 0; i < G_N_ELEMENTS(foreign); i++)
		if (range_inside(foreign[i].offset, foreign[i].len, len) &&
		    memcmp(head + foreign[i].offset, foreign[i].magic, foreign[i].len) == 0)
			return foreign[i].name;
	return "raw";
}

static const struct image_format *find_format(const char *name, const char *path, GError **error)
{
	const struct image_format *format = image_format_find(name);
	g_autoptr(GString) known = NULL;

	if (format)
		return format;
	known = g_string_new(NULL);
	for (const struct image_format *const *f = image_formats; *f; f++)
		g_string_append_printf(known, "%s%s", known->len ? ", " : "", (*f)->name);
	kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s': format '%s' is not known; there are: %s", path, name, known->str);
	return NULL;
}

/* Raw or what the first bytes look like, or the message for what we do not have or were not told. */
static const struct image_format *guess_format(struct image *img, bool allowed, GError **error)
{
	size_t len = MIN(image_file_size(img->file), HEAD);
	uint8_t head[HEAD];
	const char *name;
	int res = img->file->type->read(img->file, 0, head, len);

	if (res < 0) {
		kv_fail_errno(error, -res, "disk '%s': cannot read its first bytes", img->path);
		return NULL;
	}
	name = image_format_guess(head, len);
	if (strcmp(name, "raw") == 0) {
		img->guessed = allowed;
		if (allowed && !img->readonly)
			kv_log_warn("disk '%s': its format was not given and is guessed to be raw. That is dangerous, as whoever "
				    "writes it could make it look like another format; writes that would are refused. Give the "
				    "format raw explicitly",
				    img->path);
		return &image_raw;
	}
	if (!image_format_find(name))
		kv_fail(error, KV_ERROR_UNSUPPORTED,
			"disk '%s' is a %s image, which is not supported; convert it, or give format=raw to use it as it is",
			img->path, name);
	else if (!allowed)
		kv_fail(error, KV_ERROR_UNSUPPORTED,
			"disk '%s' is a %s image; give format=%s, or format=raw to use it as it is", img->path, name, name);
	else
		return image_format_find(name);
	return NULL;
}

static bool set_format(struct image *img, const struct layer *l, GError **error)
{
	img->format = l->format ? find_format(l->format, img->path, error) : guess_format(img, l->guess, error);
	if (!img->format)
		return false;
	if (!img->readonly && !img->format->write)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s': %s images can only be read; give readonly=on", img->path,
			       img->format->name);
	if (!img->format->plain)
		img->gate = gate_new();
	return true;
}

static void free_image(struct image *img)
{
	image_bitmaps_free(img);
	image_close(img->backing);
	if (img->data != img->file)
		image_file_close(img->data);
	image_file_close(img->file);
	image_close(img->storage);
	gate_free(img->gate);
	g_rw_lock_clear(&img->watch_lock);
	g_free(img->path);
	g_free(img->backing_name);
	g_free(img->backing_format);
	g_free(img);
}

static bool check_size(struct image *img, GError **error)
{
	if (img->size % SECTOR == 0 && img->size <= INT64_MAX)
		return true;
	img->format->close(img);
	return kv_fail(error, KV_ERROR_INVALID, "disk '%s': a size of %" G_GUINT64_FORMAT " bytes is not possible", img->path,
		       img->size);
}

/* A disk in an OVA: when it is named, or when the caller takes what the file looks like. Read only. */
static struct image_file *open_member(const struct layer *l, struct image_file *f, GError **error)
{
	uint8_t head[HEAD] = {};
	bool taken = l->guess || (l->format && strcmp(l->format, "raw") != 0);

	if (!f || (!l->member && (!taken || !l->readonly)))
		return f;
	if (!l->member && (f->type->read(f, 0, head, sizeof(head)) < 0 || !ova_looks_like(l->path, head, sizeof(head))))
		return f;
	if (l->readonly)
		return ova_open_member(f, l->member, error);
	kv_fail(error, KV_ERROR_USAGE, "disk '%s': a file in it can only be read; give readonly=on", l->path);
	image_file_close(f);
	return NULL;
}

static struct image_file *open_name(const char *name, bool readonly, unsigned flags, GError **error)
{
	return (image_file_is_nbd(name) ? image_file_open_nbd : image_file_open)(name, readonly, flags, error);
}

static struct image *open_layer(const struct layer *l, GVariant *options, GError **error)
{
	struct image *img = g_new0(struct image, 1);

	g_rw_lock_init(&img->watch_lock);
	img->refs = 1;
	img->path = g_strdup(l->path);
	img->readonly = l->readonly;
	img->share = l->share;
	img->direct = l->direct;
	img->aio = l->aio;
	img->above = l->above;
	if (l->file)
		img->file = image_file_ref(l->file);
	else
		img->file = open_member(l, open_name(l->path, l->readonly, image_file_flags(img), error), error);
	img->data = img->file;
	if (!img->file || !set_format(img, l, error) || !img->format->open(img, options, error) || !check_size(img, error)) {
		free_image(img);
		return NULL;
	}
	return img;
}

/* How many images are above and whether one of them is this file: false with the reason. */
static bool check_chain(const struct image *img, const char *path, GError **error)
{
	struct stat st, other;
	unsigned depth = 0;
	bool exists = stat(path, &st) == 0;

	for (; img; img = img->above) {
		if (++depth > DEPTH_MAX)
			return kv_fail(error, KV_ERROR_INVALID, "backing file '%s' is more than %d images down", path, DEPTH_MAX);
		if (exists && img->file->fd >= 0 && fstat(img->file->fd, &other) == 0 && st.st_dev == other.st_dev &&
		    st.st_ino == other.st_ino)
			return kv_fail(error, KV_ERROR_INVALID,
				       "backing file '%s' is an image that stands on it; give the right one with backing=", path);
	}
	return true;
}

static bool open_backing(struct image *img, const char *path, const char *format, GVariant *options, GError **error)
{
	g_autoptr(GVariant) none = g_variant_ref_sink(g_variant_new_parsed("@a{sv} {}"));
	gboolean writable = FALSE;
	struct layer l = { .path = path, .format = format, .guess = true, .share = img->share, .direct = img->direct,
			   .aio = img->aio, .above = img };

	g_variant_lookup(options, "backing-writable", "b", &writable);
	l.readonly = !writable;
	if (check_chain(img, path, error))
		img->backing = open_layer(&l, none, error);
	if (img->backing)
		img->backing->above = NULL;
	if (!img->backing && !img->above)
		g_prefix_error(error, "disk '%s': what it stands on: ", img->path);
	return img->backing;
}

/* "json:{...}", "http://host": only before the first slash, like QEMU, or no file could have a colon in its name. */
static bool has_protocol(const char *name)
{
	return name[strcspn(name, ":/")] == ':';
}

char *image_beside(const char *path, const char *name)
{
	g_autofree char *folder = g_path_get_dirname(path);
	bool as_it_is = g_path_is_absolute(name) || strcmp(folder, ".") == 0;

	return as_it_is ? g_strdup(name) : g_build_filename(folder, name, NULL);
}

char *image_backing_path(const char *path, const char *name, GError **error)
{
	if (g_str_has_prefix(name, "file:"))
		return g_strdup(name + strlen("file:"));
	if (image_file_is_nbd(name))
		return g_strdup(name);
	if (has_protocol(name)) {
		kv_fail(error, KV_ERROR_UNSUPPORTED,
			"disk '%s': its backing file '%s' is neither the name of a file nor an NBD export; give another one "
			"with backing=",
			path, name);
		return NULL;
	}
	if (!g_path_is_absolute(name) && image_file_is_nbd(path)) {
		kv_fail(error, KV_ERROR_UNSUPPORTED,
			"disk '%s': its backing file '%s' would be in its folder, which an NBD export has not; give one with "
			"backing=",
			path, name);
		return NULL;
	}
	return image_beside(path, name);
}

bool image_open_backing(struct image *img, const char *name, const char *format, GVariant *options, GError **error)
{
	g_autoptr(GVariant) instead = g_variant_lookup_value(options, "backing", G_VARIANT_TYPE_STRING);
	g_autofree char *path = NULL;

	img->backing_name = g_strdup(name);
	img->backing_format = g_strdup(format);
	if (instead)
		return true;
	path = image_backing_path(img->path, name, error);
	return path && open_backing(img, path, format, options, error);
}

static bool has_option(const struct image_format *format, const char *name)
{
	return format->create_options && g_strv_contains(format->create_options, name);
}

/* The caller's choice of what to stand on. */
static bool open_override(struct image *img, GVariant *options, GError **error)
{
	const char *path = "", *format = NULL;

	g_variant_lookup(options, "backing", "&s", &path);
	g_variant_lookup(options, "backing-format", "&s", &format);
	if (!*path)
		return true;
	if (!has_option(img->format, "backing"))
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': %s images stand on no other ones; leave out backing=",
			       img->path, img->format->name);
	return open_backing(img, path, format, options, error);
}

static bool find_engine(GVariant *options, int *ret, GError **error)
{
	static const char *const names[] = {
		[FILE_ENGINE_AUTO] = "auto", [FILE_ENGINE_URING] = "io_uring", [FILE_ENGINE_THREADS] = "threads"
	};
	const char *aio = "auto";

	g_variant_lookup(options, "aio", "&s", &aio);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if (strcmp(aio, names[i]) == 0) {
			*ret = i;
			return true;
		}
	return kv_fail(error, KV_ERROR_USAGE, "aio=%s is not known; give auto, io_uring or threads", aio);
}

static bool read_options(GVariant *options, struct layer *l, GError **error)
{
	gboolean readonly = FALSE, share = FALSE, direct = FALSE;

	g_variant_lookup(options, "format", "&s", &l->format);
	g_variant_lookup(options, "member", "&s", &l->member);
	g_variant_lookup(options, "readonly", "b", &readonly);
	g_variant_lookup(options, "force-share", "b", &share);
	g_variant_lookup(options, "direct", "b", &direct);
	if (share && !readonly)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': without locks it can only be read; give readonly=on as well",
			       l->path);
	if (!find_engine(options, &l->aio, error))
		return false;
	l->readonly = readonly;
	l->share = share;
	l->direct = direct;
	l->guess = g_strcmp0(l->format, "auto") == 0;
	if (l->guess)
		l->format = NULL;
	return true;
}

/* A name that is no UTF-8 cannot be a string (s): it is bytes (ay) then. */
static bool find_path(GVariant *options, const char **ret)
{
	return g_variant_lookup(options, "file", "&s", ret) || g_variant_lookup(options, "file", "^&ay", ret);
}

struct image *image_open(GVariant *options, GError **error)
{
	gboolean automatic = FALSE;
	struct layer l = {};
	struct image *img;

	if (!find_path(options, &l.path)) {
		kv_fail(error, KV_ERROR_USAGE, "a disk needs file=PATH");
		return NULL;
	}
	if (!read_options(options, &l, error))
		return NULL;
	img = open_layer(&l, options, error);
	if (img)
		g_variant_lookup(options, "auto-readonly", "b", &automatic);
	if (img && automatic)
		img->auto_readonly = img->readonly;
	if (img && !open_override(img, options, error))
		g_clear_pointer(&img, image_close);
	return img;
}

static bool check_storage(struct image *storage, const struct layer *l, GError **error)
{
	if (!storage->format->plain)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s' is a %s image: its file is not free to be another one's",
			       storage->path, storage->format->name);
	if (l->readonly || !storage->readonly)
		return true;
	if (storage->auto_readonly)
		return image_reopen(storage, false, error);
	return kv_fail(error, KV_ERROR_USAGE, "disk '%s' is open for reading only; give read-only as well", storage->path);
}

/* The format is told of a backing image by the option of that name, so that it opens none itself. */
static GVariant *without_backing(GVariant *options)
{
	g_auto(GVariantDict) dict;

	g_variant_dict_init(&dict, options);
	g_variant_dict_insert(&dict, "backing", "s", "");
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

struct image *image_open_on(struct image *storage, struct image *backing, GVariant *options, GError **error)
{
	g_autoptr(GVariant) alone = backing ? without_backing(options) : NULL;
	struct layer l = { .path = storage ? storage->path : NULL, .file = storage ? storage->file : NULL };
	struct image *img;

	if (!storage && !find_path(options, &l.path)) {
		kv_fail(error, KV_ERROR_USAGE, "a disk needs a file");
		return NULL;
	}
	if (!read_options(options, &l, error) || (storage && !check_storage(storage, &l, error)))
		return NULL;
	img = open_layer(&l, backing ? alone : options, error);
	if (img && storage)
		img->storage = image_ref(storage);
	if (img && backing && !has_option(img->format, "backing")) {
		kv_fail(error, KV_ERROR_USAGE, "disk '%s': %s images stand on no other ones", img->path, img->format->name);
		g_clear_pointer(&img, image_close);
	}
	if (img && backing)
		img->backing = image_ref(backing);
	if (img && !backing && !open_override(img, options, error))
		g_clear_pointer(&img, image_close);
	return img;
}

struct image *image_ref(struct image *img)
{
	__atomic_add_fetch(&img->refs, 1, __ATOMIC_RELAXED);
	return img;
}

void image_close(struct image *img)
{
	if (!img || __atomic_sub_fetch(&img->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	img->format->close(img);
	free_image(img);
}

/* ---- making them ---- */

static bool check_create_options(const struct image_format *format, GVariant *options, GError **error)
{
	static const char *const common[] = { "file", "format", "size", "unsafe", "nocow", "extent_size_hint", NULL };
	static const char *const backing[] = { "backing-format", "backing-unchecked", NULL };
	g_autofree char *known = NULL;
	GVariantIter iter;
	GVariant *value;
	const char *key;

	g_variant_iter_init(&iter, options);
	while (g_variant_iter_next(&iter, "{&sv}", &key, &value)) {
		bool text = g_variant_is_of_type(value, G_VARIANT_TYPE_STRING);

		g_variant_unref(value);
		if (g_strv_contains(common, key) || (g_strv_contains(backing, key) && has_option(format, "backing")))
			continue;
		if (has_option(format, key) && text)
			continue;
		known = format->create_options ? g_strjoinv(", ", (char **)format->create_options) : g_strdup("none");
		return kv_fail(error, KV_ERROR_USAGE, "option '%s' is not one of %s images; they have: %s", key, format->name,
			       known);
	}
	return true;
}

static bool same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* The backing image is there and what it is said to be; its size, for an image that is given none. */
static bool look_at_backing(const char *file, const char *name, const char *format, uint64_t *ret_size, GError **error)
{
	g_autofree char *path = image_backing_path(file, name, error);
	struct layer l = { .path = path, .format = format, .guess = true, .readonly = true };
	g_autoptr(GVariant) none = g_variant_ref_sink(g_variant_new_parsed("@a{sv} {}"));
	struct image *img;
	bool ok = true;

	if (!path)
		return false;
	if (same_file(path, file))
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s' cannot stand on itself", file);
	img = open_layer(&l, none, error);
	if (!img)
		return false;
	*ret_size = img->size;
	if (!format)
		ok = kv_fail(error, KV_ERROR_USAGE,
			     "the backing file '%s' needs its format as well, for it is not to be guessed; it seems to be %s",
			     name, img->format->name);
	image_close(img);
	return ok;
}

static bool find_size(const char *file, GVariant *options, uint64_t *ret, GError **error)
{
	const char *backing = NULL, *backing_format = NULL;
	gboolean unchecked = FALSE;
	guint64 size = 0;
	bool given = g_variant_lookup(options, "size", "t", &size);

	g_variant_lookup(options, "backing", "&s", &backing);
	g_variant_lookup(options, "backing-format", "&s", &backing_format);
	g_variant_lookup(options, "backing-unchecked", "b", &unchecked);
	if (backing && !unchecked) {
		uint64_t below = 0;

		if (!look_at_backing(file, backing, backing_format, &below, error))
			return false;
		if (!given)
			size = below;
	} else if (!given) {
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s' needs a size", file);
	}
	if (size > INT64_MAX - SECTOR + 1)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': %" G_GUINT64_FORMAT " bytes are too many", file, size);
	*ret = align_up(size, SECTOR);
	return true;
}

/* What is to be made: NULL with the error set when the options are wrong. */
static const struct image_format *check_create(const char *path, GVariant *options, uint64_t *ret_size, GError **error)
{
	const char *name = "raw";
	const struct image_format *format;

	g_variant_lookup(options, "format", "&s", &name);
	format = find_format(name, path, error);
	if (!format)
		return NULL;
	if (!format->create) {
		kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s': %s images cannot be made", path, name);
		return NULL;
	}
	if (!check_create_options(format, options, error) || !find_size(path, options, ret_size, error))
		return NULL;
	return !format->check_create || format->check_create(options, error) ? format : NULL;
}

static int no_flush(struct image_file *file)
{
	return 0;
}

static bool create_in(struct image_file *file, const struct image_format *format, uint64_t size, GVariant *options,
		      GError **error)
{
	const struct image_file_type *type = file->type;
	struct image_file_type unsafe = *type;
	gboolean is_unsafe = FALSE;
	bool ok;

	unsafe.flush = no_flush;
	g_variant_lookup(options, "unsafe", "b", &is_unsafe);
	if (is_unsafe)
		file->type = &unsafe;
	ok = format->create(file, size, options, error);
	file->type = type;
	return ok;
}

bool image_create(GVariant *options, GError **error)
{
	const char *path;
	const struct image_format *format;
	struct image_file *file;
	uint64_t size;
	bool ok, existed;

	if (!find_path(options, &path))
		return kv_fail(error, KV_ERROR_USAGE, "an image needs file=PATH");
	format = check_create(path, options, &size, error);
	if (!format)
		return false;
	existed = access(path, F_OK) == 0;
	file = open_name(path, false, IMAGE_FILE_CREATE, error);
	if (!file)
		return false;
	image_file_set_attributes(file, options);
	ok = create_in(file, format, size, options, error);
	if (!ok && !existed)
		unlink(path);
	image_file_close(file);
	return ok;
}

bool image_create_on(struct image *storage, GVariant *options, GError **error)
{
	const struct layer writer = {};
	const struct image_format *format;
	struct image_file *file = storage->file;
	uint64_t size;
	int res = 0;
	bool ok;

	if (!check_storage(storage, &writer, error))
		return false;
	format = check_create(storage->path, options, &size, error);
	if (!format)
		return false;
	if (!file->device)
		res = file->type->truncate(file, 0);
	if (res < 0)
		return kv_fail_errno(error, -res, "disk '%s': cannot be emptied", storage->path);
	ok = format->create(file, size, options, error);
	__atomic_store_n(&storage->size, align_up(image_file_size(file), SECTOR), __ATOMIC_RELAXED);
	return ok;
}

bool image_prealloc_option(GVariant *options, enum image_prealloc *ret, GError **error)
{
	static const char *const names[] = {
		[IMAGE_PREALLOC_OFF] = "off",
		[IMAGE_PREALLOC_METADATA] = "metadata",
		[IMAGE_PREALLOC_FALLOC] = "falloc",
		[IMAGE_PREALLOC_FULL] = "full",
	};
	const char *text = "off";

	g_variant_lookup(options, "preallocation", "&s", &text);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if (strcmp(text, names[i]) == 0) {
			*ret = i;
			return true;
		}
	return kv_fail(error, KV_ERROR_USAGE, "preallocation=%s is not known; give off, metadata, falloc or full", text);
}

static bool check_resize(struct image *img, uint64_t size, enum image_prealloc prealloc, GError **error)
{
	if (img->readonly)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s' is open for reading only", img->path);
	if (!img->format->resize)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "disk '%s': %s images keep their size; convert it to another one",
			       img->path, img->format->name);
	if (size > INT64_MAX - SECTOR + 1)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s': %" G_GUINT64_FORMAT " bytes are too many", img->path, size);
	if (size < img->size && prealloc != IMAGE_PREALLOC_OFF)
		return kv_fail(error, KV_ERROR_USAGE, "disk '%s' becomes smaller: there is nothing to preallocate", img->path);
	return true;
}

bool image_resize(struct image *top, uint64_t size, enum image_prealloc prealloc, GError **error)
{
	struct image *img = image_base(top);
	bool ok;

	if (!check_resize(img, size, prealloc, error))
		return false;
	size = align_up(size, SECTOR);
	image_lock_out(img);
	ok = size == img->size || img->format->resize(img, size, prealloc, error);
	if (ok) {
		__atomic_store_n(&img->size, size, __ATOMIC_RELAXED);
		image_watch_resized(img, size);
		image_filter_follow(top);
	}
	image_let_in(img);
	return ok;
}
