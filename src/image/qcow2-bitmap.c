/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Persistent bitmaps (QEMU, docs/interop/qcow2.rst, "Bitmaps"): their directory, and when it is written. An image that is open
 * for writing has them all in memory. Before its first change those that record are marked as in use, where they stand; what says
 * that after a crash is not to be trusted. At the end those that changed are stored elsewhere, then a new directory, and one
 * write of the header changes from the old to the new one.
 */
#include <errno.h>
#include <string.h>

#include "bitmap.h"
#include "bytes.h"
#include "error.h"
#include "log.h"
#include "qcow2.h"

enum {
	ENTRY = 24,
	AT_FLAGS = 12,
	DIRTY_TRACKING = 1, /* the only type there is */
	MIN_BITS = 9,
	MAX_BITS = 31,
	NAME_MAX_BYTES = 1023,
	BITMAPS_MAX = 65535,
	DATA_MAX = 512 << 20, /* of one bitmap, as QEMU has it */
};
#define TOTAL_MAX (1ULL << 30) /* of all: memory that an image may ask for */

/* ---- looking at the directory as it is: for info and checks ---- */

static int visit_all(struct qcow2 *s, uint8_t *dir, qcow2_bitmap_visit *visit, void *opaque)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < s->n_bitmaps; i++) {
		uint64_t room = s->bitmaps_len - at, len;
		g_autofree char *name = NULL, *valid = NULL;
		uint32_t name_len, extra;

		if (room < ENTRY)
			return -EIO;
		name_len = get_be16(dir + at + 18);
		extra = get_be32(dir + at + 20);
		len = align_up(ENTRY + (uint64_t)name_len + extra, 8);
		if (len > room)
			return -EIO;
		name = g_strndup((const char *)dir + at + ENTRY + extra, name_len);
		valid = g_utf8_make_valid(name, -1);
		if (!visit(s, dir + at, valid, opaque))
			break;
		at += len;
	}
	return 0;
}

static int read_directory(struct qcow2 *s, uint8_t **ret)
{
	uint8_t *dir = g_try_malloc(MAX(s->bitmaps_len, 1));
	int res = dir ? qcow2_pread(s, s->bitmaps_offset, dir, s->bitmaps_len) : -ENOMEM;

	if (res == 0)
		*ret = dir;
	else
		g_free(dir);
	return res;
}

int qcow2_bitmaps_each(struct qcow2 *s, qcow2_bitmap_visit *visit, void *opaque)
{
	g_autofree uint8_t *dir = NULL;
	int res = read_directory(s, &dir);

	return res < 0 ? res : visit_all(s, dir, visit, opaque);
}

/* ---- from bytes ---- */

/* An entry as it stands in the directory. */
struct entry {
	uint64_t table_offset, len; /* len: all of it, with what fills it up */
	uint32_t table_size, flags, extra;
	uint8_t type, bits;
	uint16_t name_len;
	const uint8_t *name;
};

static bool bad(struct qcow2 *s, GError **error, const char *name, const char *what)
{
	return kv_fail(error, KV_ERROR_INVALID, "disk '%s': its bitmap '%s' %s; convert it to an image without bitmaps",
		       s->img->path, name, what);
}

static bool bad_directory(struct qcow2 *s, GError **error)
{
	return kv_fail(error, KV_ERROR_INVALID,
		       "disk '%s': its directory of bitmaps makes no sense; convert it to an image without bitmaps",
		       s->img->path);
}

static bool take_entry(struct qcow2 *s, const uint8_t *p, uint64_t room, struct entry *e, GError **error)
{
	if (room < ENTRY)
		return bad_directory(s, error);
	*e = (struct entry){
		.table_offset = get_be64(p),
		.table_size = get_be32(p + 8),
		.flags = get_be32(p + AT_FLAGS),
		.type = p[16],
		.bits = p[17],
		.name_len = get_be16(p + 18),
		.extra = get_be32(p + 20),
	};
	e->len = align_up(ENTRY + (uint64_t)e->name_len + e->extra, 8);
	e->name = p + ENTRY + e->extra;
	return e->len <= room || bad_directory(s, error);
}

/* What is wrong with an entry, as words behind its name; NULL: nothing. */
static const char *fault_of(struct qcow2 *s, const struct entry *e)
{
	uint64_t file = image_file_size(s->file), table_len = e->table_size * 8ULL;

	if (e->type != DIRTY_TRACKING)
		return "is of a type that is not known here";
	if (e->extra || e->flags & ~(uint32_t)(QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO))
		return "has extra data or flags that are not known here";
	if (e->bits < MIN_BITS || e->bits > MAX_BITS)
		return "has an impossible granularity";
	if (!e->name_len || e->name_len > NAME_MAX_BYTES || memchr(e->name, 0, e->name_len))
		return "has an impossible name";
	if (!e->table_size || !e->table_offset || !qcow2_aligned(s, e->table_offset) ||
	    (uint64_t)e->table_size << s->cluster_bits > DATA_MAX || !range_inside(e->table_offset, table_len, file))
		return "has a table of an impossible size or place";
	if (!(e->flags & QCOW2_BITMAP_IN_USE) && e->table_size != qcow2_bitmap_clusters(s, s->img->size, 1u << e->bits))
		return "is not of the disk's size";
	return NULL;
}

/* One that says nothing has no bits here. */
static struct image_bitmap *new_bitmap(struct qcow2 *s, const struct entry *e, const char *name, bool void_one, GError **error)
{
	struct image_bitmap *b;
	int err;

	b = image_bitmap_new(name, void_one ? 0 : s->img->size, 1u << e->bits, &err);
	if (!b) {
		bad(s, error, name, "is too large");
		return NULL;
	}
	b->persistent = true;
	b->inconsistent = void_one;
	b->recording = !void_one && e->flags & QCOW2_BITMAP_AUTO;
	return b;
}

/* What makes no sense inside of it harms nobody else: it can be removed. */
static struct image_bitmap *load_entry(struct qcow2 *s, const struct entry *e, const char *name, GError **error)
{
	bool in_use = e->flags & QCOW2_BITMAP_IN_USE;
	struct image_bitmap *b = new_bitmap(s, e, name, in_use, error);
	g_autoptr(GError) reason = NULL;

	if (!b || in_use || qcow2_bitmap_read(s, e->table_offset, b, &reason))
		return b;
	image_bitmap_free(b);
	if (!g_error_matches(reason, KV_ERROR, KV_ERROR_INVALID)) {
		g_propagate_error(error, g_steal_pointer(&reason));
		return NULL;
	}
	kv_log_warn("%s; it is taken for inconsistent", reason->message);
	return new_bitmap(s, e, name, true, error);
}

static bool load_one(struct qcow2 *s, const struct entry *e, GHashTable *names, uint64_t *total, GError **error)
{
	g_autofree char *name = g_strndup((const char *)e->name, MIN(e->name_len, NAME_MAX_BYTES)), *shown = NULL;
	const char *fault = fault_of(s, e);
	struct qcow2_bitmap one = { .flags = e->flags, .table_size = e->table_size, .table_offset = e->table_offset };

	shown = g_utf8_make_valid(name, -1);
	if (!fault && g_hash_table_contains(names, name))
		fault = "is there twice";
	if (!(e->flags & QCOW2_BITMAP_IN_USE))
		*total += (uint64_t)e->table_size << s->cluster_bits;
	if (!fault && *total > TOTAL_MAX)
		fault = "and those before it are too large together";
	if (fault)
		return bad(s, error, shown, fault);
	one.bitmap = load_entry(s, e, name, error);
	if (!one.bitmap)
		return false;
	g_hash_table_add(names, one.bitmap->name);
	g_array_append_val(s->bitmaps, one);
	return true;
}

static bool load_all(struct qcow2 *s, const uint8_t *dir, GError **error)
{
	g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
	uint64_t at = 0, total = 0;
	struct entry e = { 0 };

	for (uint32_t i = 0; i < s->n_bitmaps; i++, at += e.len)
		if (!take_entry(s, dir + at, s->bitmaps_len - at, &e, error) || !load_one(s, &e, names, &total, error))
			return false;
	return at == s->bitmaps_len || bad_directory(s, error);
}

static struct qcow2_bitmap *nth(struct qcow2 *s, unsigned i)
{
	return &g_array_index(s->bitmaps, struct qcow2_bitmap, i);
}

static void forget_all(struct qcow2 *s)
{
	for (unsigned i = 0; i < s->bitmaps->len; i++)
		image_bitmap_free(nth(s, i)->bitmap);
	g_array_set_size(s->bitmaps, 0);
}

bool qcow2_bitmaps_load(struct image *img, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	struct image_bitmap **end = &img->bitmaps;
	g_autofree uint8_t *dir = NULL;
	int res;

	if (!s->n_bitmaps || s->past)
		return true;
	res = read_directory(s, &dir);
	if (res < 0)
		return kv_fail_errno(error, -res, "disk '%s': cannot read its directory of bitmaps", img->path);
	if (!load_all(s, dir, error)) {
		forget_all(s);
		return false;
	}
	while (*end)
		end = &(*end)->next;
	for (unsigned i = 0; i < s->bitmaps->len; i++) {
		struct image_bitmap *b = nth(s, i)->bitmap;

		*end = b;
		end = &b->next;
		if (!b->inconsistent)
			image_bitmap_attach(b, img);
	}
	return true;
}

/* ---- to bytes ---- */

static void append_entry(GByteArray *out, const struct qcow2_bitmap *one)
{
	static const uint8_t pad[8];
	size_t name_len = strlen(one->bitmap->name);
	uint8_t p[ENTRY] = { 0 };

	put_be64(p, one->table_offset);
	put_be32(p + 8, one->table_size);
	put_be32(p + AT_FLAGS, one->flags);
	p[16] = DIRTY_TRACKING;
	p[17] = __builtin_ctz(one->bitmap->granularity);
	put_be16(p + 18, name_len);
	g_byte_array_append(out, p, sizeof(p));
	g_byte_array_append(out, (const uint8_t *)one->bitmap->name, name_len);
	g_byte_array_append(out, pad, align_up(out->len, 8) - out->len);
}

/* Those that have a table; how many to *ret_n. */
static GByteArray *to_bytes(const GArray *list, uint32_t *ret_n)
{
	GByteArray *out = g_byte_array_new();

	*ret_n = 0;
	for (unsigned i = 0; i < list->len; i++) {
		const struct qcow2_bitmap *one = &g_array_index(list, struct qcow2_bitmap, i);

		if (!one->table_offset)
			continue;
		append_entry(out, one);
		++*ret_n;
	}
	return out;
}

/* The header names another directory, or none, when all that is in it is on the disk. */
static bool switch_to(struct qcow2 *s, uint32_t n, uint64_t len, uint64_t at, GError **error)
{
	uint32_t old_n = s->n_bitmaps;
	uint64_t old_len = s->bitmaps_len, old_at = s->bitmaps_offset;
	g_autoptr(GError) reason = NULL;
	int res = qcow2_write_refcounts(s);

	if (res == 0)
		res = qcow2_sync(s);
	if (res < 0)
		return kv_fail_errno(error, -res, "disk '%s': cannot write its bitmaps", s->img->path);
	s->n_bitmaps = n;
	s->bitmaps_len = len;
	s->bitmaps_offset = at;
	s->autoclear = n ? s->autoclear | QCOW2_BITMAPS : s->autoclear & ~(uint64_t)QCOW2_BITMAPS;
	if (qcow2_header_write(s, s->img->size, &reason) && qcow2_sync(s) == 0) {
		if (old_n)
			qcow2_gone(s, old_at, old_len, false);
		return true;
	}
	/* But for names that have no room in the header: which directory holds now is not known. */
	s->broken = !reason || !g_error_matches(reason, KV_ERROR, KV_ERROR_UNSUPPORTED);
	s->n_bitmaps = old_n;
	s->bitmaps_len = old_len;
	s->bitmaps_offset = old_at;
	s->autoclear = old_n ? s->autoclear | QCOW2_BITMAPS : s->autoclear & ~(uint64_t)QCOW2_BITMAPS;
	return kv_fail(error, KV_ERROR_SYSTEM, "%s", reason ? reason->message : "the header cannot be written");
}

static bool write_directory(struct qcow2 *s, const GArray *list, GError **error)
{
	uint32_t n;
	g_autoptr(GByteArray) out = to_bytes(list, &n);
	uint64_t at = 0;
	int res = 0;

	if (n)
		res = qcow2_alloc(s, qcow2_clusters(s, out->len), true, &at, NULL);
	if (res == 0 && n)
		res = qcow2_pwrite(s, at, out->data, out->len);
	if (res < 0)
		return kv_fail_errno(error, -res, "disk '%s': cannot write its bitmaps", s->img->path);
	if (switch_to(s, n, out->len, at, error))
		return true;
	if (n && !s->broken)
		qcow2_release(s, at, out->len);
	return false;
}

/* Other flags, in the same place. */
static int write_flags(struct qcow2 *s)
{
	uint32_t n;
	g_autoptr(GByteArray) out = to_bytes(s->bitmaps, &n);
	int res = qcow2_pwrite(s, s->bitmaps_offset, out->data, out->len);

	return res < 0 ? res : qcow2_sync(s);
}

/* ---- in use ---- */

static bool is_trusted(const struct qcow2_bitmap *one)
{
	return one->table_offset && !(one->flags & QCOW2_BITMAP_IN_USE);
}

/* Marks those that `choose` (and opaque) picks. What could not be written is not marked, and is tried again. */
static int mark(struct qcow2 *s, bool (*choose)(const struct qcow2_bitmap *one, const void *opaque), const void *opaque)
{
	g_autoptr(GArray) before = g_array_copy(s->bitmaps);
	bool any = false;
	int res;

	for (unsigned i = 0; i < s->bitmaps->len; i++) {
		struct qcow2_bitmap *one = nth(s, i);

		if (!is_trusted(one) || !choose(one, opaque))
			continue;
		one->flags |= QCOW2_BITMAP_IN_USE;
		any = true;
	}
	res = any ? write_flags(s) : 0;
	for (unsigned i = 0; i < s->bitmaps->len && res < 0; i++)
		nth(s, i)->flags = g_array_index(before, struct qcow2_bitmap, i).flags;
	return res;
}

static bool is_any(const struct qcow2_bitmap *one, const void *opaque)
{
	return true;
}

static bool will_differ(const struct qcow2_bitmap *one, const void *opaque)
{
	return one->flags & QCOW2_BITMAP_AUTO || one->bitmap->recording || one->bitmap->changed;
}

static bool is_this(const struct qcow2_bitmap *one, const void *opaque)
{
	return one->bitmap == opaque;
}

int qcow2_bitmaps_in_use(struct qcow2 *s, bool all)
{
	return s->bitmaps->len ? mark(s, all ? is_any : will_differ, NULL) : 0;
}

/* ---- the end ---- */

static bool has_changed(const struct qcow2_bitmap *one)
{
	return !one->bitmap->inconsistent && (one->bitmap->changed || one->flags & QCOW2_BITMAP_IN_USE);
}

/* What is in old and not in new, or the other way round, when that was not to be. */
static void drop_tables(struct qcow2 *s, const GArray *of, const GArray *other, bool at_once)
{
	for (unsigned i = 0; i < of->len && !s->broken; i++) {
		const struct qcow2_bitmap *one = &g_array_index(of, struct qcow2_bitmap, i);

		if (one->table_offset && one->table_offset != g_array_index(other, struct qcow2_bitmap, i).table_offset)
			qcow2_bitmap_drop(s, one->table_offset, one->table_size, at_once);
	}
}

static bool write_changed(struct qcow2 *s, GArray *list, GError **error)
{
	for (unsigned i = 0; i < list->len; i++) {
		struct qcow2_bitmap *one = &g_array_index(list, struct qcow2_bitmap, i);
		int res = has_changed(one) ? qcow2_bitmap_write(s, one->bitmap, &one->table_offset, &one->table_size) : 0;

		if (res < 0)
			return kv_fail_errno(error, -res, "disk '%s': cannot store its bitmap '%s'", s->img->path,
					     one->bitmap->name);
		if (has_changed(one))
			one->flags = one->bitmap->recording ? QCOW2_BITMAP_AUTO : 0;
	}
	return true;
}

bool qcow2_bitmaps_store(struct qcow2 *s, bool *ret_written, GError **error)
{
	g_autoptr(GArray) list = NULL;
	bool any = false;

	for (unsigned i = 0; i < s->bitmaps->len; i++)
		any |= has_changed(nth(s, i));
	if (!any)
		return true;
	*ret_written = true;
	list = g_array_copy(s->bitmaps);
	if (!write_changed(s, list, error) || !write_directory(s, list, error)) {
		drop_tables(s, list, s->bitmaps, true);
		return false;
	}
	drop_tables(s, s->bitmaps, list, false);
	for (unsigned i = 0; i < list->len; i++)
		g_array_index(list, struct qcow2_bitmap, i).bitmap->changed = false;
	g_array_unref(s->bitmaps);
	s->bitmaps = g_steal_pointer(&list);
	return true;
}

/* ---- what users do ---- */

bool qcow2_bitmaps_supported(const struct image *img)
{
	return qcow2_state(img)->version >= 3;
}

static uint64_t directory_len(const struct qcow2 *s)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < s->bitmaps->len; i++) {
		const struct qcow2_bitmap *one = &g_array_index(s->bitmaps, struct qcow2_bitmap, i);

		len += align_up(ENTRY + strlen(one->bitmap->name), 8);
	}
	return len;
}

static bool too_much(const struct qcow2 *s, uint64_t size, uint32_t granularity)
{
	return qcow2_bitmap_clusters(s, size, granularity) << s->cluster_bits > DATA_MAX;
}

/* Why a new one cannot be stored; NULL: it can. */
static const char *obstacle(const struct qcow2 *s, const struct image_bitmap *b)
{
	if (s->version < 3)
		return "Cannot store dirty bitmaps in qcow2 v2 files";
	if (s->bitmaps->len >= BITMAPS_MAX)
		return "Maximum number of persistent bitmaps is already reached";
	if (strlen(b->name) > NAME_MAX_BYTES)
		return "Name length exceeds maximum (1023 characters)";
	if (directory_len(s) + align_up(ENTRY + strlen(b->name), 8) > QCOW2_MAX_SNAPSHOT_TABLE)
		return "Not enough space in the bitmap directory";
	if (!b->size)
		return "The disk has no bytes";
	if (too_much(s, b->size, b->granularity))
		return "Too much space will be occupied by the bitmap. Use larger granularity";
	return NULL;
}

bool qcow2_bitmap_add(struct image *img, struct image_bitmap *b, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	struct qcow2_bitmap one = { .bitmap = b };
	const char *why = obstacle(s, b);

	if (why)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "Can't make bitmap '%s' persistent in '%s': %s", b->name, img->path,
			       why);
	g_mutex_lock(&s->lock);
	g_array_append_val(s->bitmaps, one);
	g_mutex_unlock(&s->lock);
	return true;
}

static unsigned find(struct qcow2 *s, const struct image_bitmap *b)
{
	unsigned i = 0;

	while (nth(s, i)->bitmap != b)
		i++;
	return i;
}

/* When others changed already, the disk must not say any more that what it has of this one can be trusted. */
bool qcow2_bitmap_change(struct image *img, struct image_bitmap *b, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	int res;

	g_mutex_lock(&s->lock);
	res = s->written ? mark(s, is_this, b) : 0;
	b->changed |= res == 0;
	g_mutex_unlock(&s->lock);
	return res == 0 || kv_fail_errno(error, -res, "disk '%s': cannot mark its bitmap '%s'", img->path, b->name);
}

static bool remove_locked(struct qcow2 *s, unsigned i, GError **error)
{
	struct qcow2_bitmap one = *nth(s, i);

	g_array_remove_index(s->bitmaps, i);
	if (!one.table_offset)
		return true;
	if (!write_directory(s, s->bitmaps, error)) {
		g_array_insert_val(s->bitmaps, i, one);
		return false;
	}
	/* It is gone, whatever becomes of its room. */
	qcow2_bitmap_drop(s, one.table_offset, one.table_size, false);
	if (qcow2_flush_locked(s) == 0)
		qcow2_write_refcounts(s);
	return true;
}

bool qcow2_bitmap_remove(struct image *img, struct image_bitmap *b, GError **error)
{
	struct qcow2 *s = qcow2_state(img);
	bool ok;

	g_mutex_lock(&s->lock);
	ok = remove_locked(s, find(s, b), error);
	g_mutex_unlock(&s->lock);
	return ok;
}

bool qcow2_bitmaps_can_resize(struct qcow2 *s, uint64_t size, GError **error)
{
	for (unsigned i = 0; i < s->bitmaps->len; i++) {
		const struct image_bitmap *b = nth(s, i)->bitmap;

		if (!image_bitmap_usable(s->img, b, true, error))
			return false;
		if (!size || too_much(s, size, b->granularity))
			return kv_fail(error, KV_ERROR_UNSUPPORTED,
				       "disk '%s' cannot have this size with its bitmap '%s'; remove it, or give it a larger "
				       "granularity",
				       s->img->path, b->name);
	}
	return true;
}
