/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * OVA files, in which virtual machines are handed on: a tar file of a description and of disks. A disk is a window into it,
 * a file like others for the formats. Source: POSIX's pax (ustar and extended headers), GNU tar's long names and large sizes;
 * DSP0243. What the description says of the machine is nothing to us.
 */
#include "ova.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bytes.h"
#include "error.h"

enum { BLOCK = 512, MEMBERS_MAX = 10000, EXTENDED_MAX = 64 << 10 };
/* Bytes of a header. */
enum { T_NAME = 0, T_NAME_LEN = 100, T_SIZE = 124, T_SIZE_LEN = 12, T_SUM = 148, T_SUM_LEN = 8, T_TYPE = 156, T_MAGIC = 257 };

struct window {
	struct image_file file; /* first */
	struct image_file *inner;
	uint64_t at;
};

/* ---- the window ---- */

static int window_read(struct image_file *f, uint64_t offset, void *buf, uint64_t len)
{
	struct window *w = (struct window *)f;
	uint64_t n = offset < f->size ? MIN(len, f->size - offset) : 0;

	memset((uint8_t *)buf + n, 0, len - n);
	return n ? w->inner->type->read(w->inner, w->at + offset, buf, n) : 0;
}

static int window_write(struct image_file *f, uint64_t offset, const void *buf, uint64_t len)
{
	return -EROFS;
}

static int window_write_zeroes(struct image_file *f, uint64_t offset, uint64_t len, unsigned flags)
{
	return -EROFS;
}

static int window_discard(struct image_file *f, uint64_t offset, uint64_t len)
{
	return -EROFS;
}

static int window_flush(struct image_file *f)
{
	return 0;
}

static int window_truncate(struct image_file *f, uint64_t size)
{
	return -EROFS;
}

static bool window_has_data(struct image_file *f, uint64_t offset, uint64_t len, uint64_t *ret_len)
{
	struct window *w = (struct window *)f;

	*ret_len = len;
	if (offset >= f->size)
		return false;
	return w->inner->type->has_data(w->inner, w->at + offset, MIN(len, f->size - offset), ret_len);
}

static void window_close(struct image_file *f)
{
	image_file_close(((struct window *)f)->inner);
}

static const struct image_file_type window_type = {
	.read = window_read,
	.write = window_write,
	.write_zeroes = window_write_zeroes,
	.discard = window_discard,
	.flush = window_flush,
	.truncate = window_truncate,
	.has_data = window_has_data,
	.close = window_close,
};

/* ---- the tar file ---- */

/* What the next member is called and how long it is, if an extended header before it says so. */
struct extended {
	char *name;
	uint64_t size;
	bool has_size;
};

struct member {
	char *name;
	uint64_t at, size;
};

static void free_member(void *p)
{
	g_free(((struct member *)p)->name);
}

/* Octal digits, or what GNU tar makes of large numbers: the first bit set, and big endian. */
static bool parse_number(const uint8_t *p, size_t len, uint64_t *ret)
{
	uint64_t v = 0;

	if (*p & 0x80) {
		for (size_t i = 0; i < len; i++) {
			if (v >> 55)
				return false;
			v = v << 8 | (i ? p[i] : p[i] & 0x7f);
		}
		*ret = v;
		return true;
	}
	while (len && *p == ' ')
		p++, len--;
	for (; len && *p >= '0' && *p <= '7'; p++, len--)
		v = v * 8 + (*p - '0');
	*ret = v;
	return !len || !*p || *p == ' ';
}

static bool header_good(const uint8_t *h)
{
	uint64_t want, sum = 0;

	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= T_SUM && i < T_SUM + T_SUM_LEN ? ' ' : h[i];
	return parse_number(h + T_SUM, T_SUM_LEN, &want) && want == sum;
}

bool ova_looks_like(const char *path, const uint8_t *head, size_t len)
{
	size_t n = strlen(path);

	return n > 4 && g_ascii_strcasecmp(path + n - 4, ".ova") == 0 && len >= BLOCK && memcmp(head + T_MAGIC, "ustar", 5) == 0;
}

/* Lines "LENGTH KEY=VALUE\n". */
static void parse_pax(const char *text, size_t len, struct extended *x)
{
	while (len) {
		char *end;
		uint64_t n = g_ascii_strtoull(text, &end, 10);
		size_t head = end - text + 1;

		if (*end != ' ' || n > len || n < head + 1)
			return;
		if (g_str_has_prefix(end + 1, "path=")) {
			g_free(x->name);
			x->name = g_strndup(end + 6, n - head - 6);
		} else if (g_str_has_prefix(end + 1, "size=")) {
			x->size = g_ascii_strtoull(end + 6, NULL, 10);
			x->has_size = true;
		}
		text += n;
		len -= n;
	}
}

static bool read_extended(struct image_file *f, char type, uint64_t at, uint64_t size, struct extended *x, GError **error)
{
	g_autofree char *text = NULL;

	if (size > EXTENDED_MAX)
		return kv_fail(error, KV_ERROR_INVALID, "ova '%s': a header of %" PRIu64 " bytes makes no sense", f->name, size);
	text = g_malloc0(size + 1);
	int r = f->type->read(f, at, text, size);

	if (r < 0)
		return kv_fail_errno(error, -r, "cannot read '%s' at %" PRIu64, f->name, at);
	if (type == 'x') {
		parse_pax(text, size, x);
	} else if (type == 'L') {
		g_free(x->name);
		x->name = g_steal_pointer(&text);
	}
	return true;
}

static bool add_member(struct image_file *f, const uint8_t *h, uint64_t at, uint64_t size, struct extended *x, GArray *members,
		       GError **error)
{
	struct member m = {x->name ? x->name : g_strndup((const char *)h + T_NAME, T_NAME_LEN), at, size};

	x->name = NULL;
	x->has_size = false;
	g_array_append_val(members, m);
	if (g_utf8_validate(m.name, -1, NULL))
		return true;
	return kv_fail(error, KV_ERROR_INVALID, "ova '%s': the name of its file at %" PRIu64 " is no text", f->name, at);
}

/* One header and what it is of; *at goes to the next one. */
static bool read_member(struct image_file *f, uint64_t *at, const uint8_t *h, struct extended *x, GArray *members, GError **error)
{
	uint64_t size, data = *at + BLOCK, end;
	char type = h[T_TYPE];

	if (!header_good(h) || !parse_number(h + T_SIZE, T_SIZE_LEN, &size))
		return kv_fail(error, KV_ERROR_INVALID, "ova '%s': the header at %" PRIu64 " makes no sense; the file is damaged",
			       f->name, *at);
	if (x->has_size && type != 'x' && type != 'L')
		size = x->size;
	if (!range_inside(data, size, image_file_size(f)) || !checked_add(data, align_up(size, BLOCK), &end))
		return kv_fail(error, KV_ERROR_INVALID,
			       "ova '%s': %" PRIu64 " bytes at %" PRIu64 " are beyond its end; it is cut off", f->name, size,
			       data);
	*at = end;
	if (type == 'x' || type == 'L')
		return read_extended(f, type, data, size, x, error);
	if (type != '0' && type != '\0') {
		g_clear_pointer(&x->name, g_free);
		x->has_size = false;
		return true;
	}
	return add_member(f, h, data, size, x, members, error);
}

static bool read_members(struct image_file *f, GArray *members, GError **error)
{
	struct extended x = { 0 };
	uint8_t h[BLOCK];
	uint64_t at = 0;
	bool ok = true;

	for (unsigned n = 0; ok && at < image_file_size(f); n++) {
		int r = f->type->read(f, at, h, BLOCK);

		if (r < 0)
			ok = kv_fail_errno(error, -r, "cannot read '%s' at %" PRIu64, f->name, at);
		else if (!h[0])
			break;
		else if (n == MEMBERS_MAX)
			ok = kv_fail(error, KV_ERROR_INVALID, "ova '%s' has too many files", f->name);
		else
			ok = read_member(f, &at, h, &x, members, error);
	}
	g_free(x.name);
	return ok;
}

/* ---- which one ---- */

static bool is_disk(const char *name)
{
	static const char *const ends[] = {".vmdk", ".vhd", ".vhdx", ".vdi", ".img", ".raw", ".qcow2"};

	for (size_t i = 0; i < G_N_ELEMENTS(ends); i++) {
		size_t n = strlen(name), len = strlen(ends[i]);

		if (n > len && g_ascii_strcasecmp(name + n - len, ends[i]) == 0)
			return true;
	}
	return false;
}

static const struct member *choose(struct image_file *f, GArray *members, const char *name, GError **error)
{
	const struct member *found = NULL;
	g_autoptr(GString) all = g_string_new(NULL);
	unsigned n = 0;

	for (unsigned i = 0; i < members->len; i++) {
		const struct member *m = &g_array_index(members, struct member, i);

		if (!is_disk(m->name) && g_strcmp0(name, m->name) != 0)
			continue;
		g_string_append_printf(all, "%s%s", all->len ? ", " : "", m->name);
		if (!name || strcmp(name, m->name) == 0) {
			found = m;
			n++;
		}
	}
	if (n == 1 || (n && name))
		return found;
	if (n)
		kv_fail(error, KV_ERROR_USAGE, "ova '%s' has %u disks; name one of them with member=: %s", f->name, n, all->str);
	else if (name)
		kv_fail(error, KV_ERROR_USAGE, "ova '%s' has no file '%s'; its disks: %s", f->name, name,
			all->len ? all->str : "none");
	else
		kv_fail(error, KV_ERROR_INVALID, "ova '%s' has no disk (a .vmdk, .vhd, .vdi or .img) among its %u files", f->name,
			members->len);
	return NULL;
}

struct image_file *ova_open_member(struct image_file *f, const char *member, GError **error)
{
	g_autoptr(GArray) members = g_array_new(FALSE, FALSE, sizeof(struct member));
	const struct member *m;
	struct window *w;

	g_array_set_clear_func(members, free_member);
	m = read_members(f, members, error) ? choose(f, members, member, error) : NULL;
	if (!m) {
		image_file_close(f);
		return NULL;
	}
	w = g_new0(struct window, 1);
	w->file = (struct image_file){.type = &window_type, .fd = -1, .readonly = true, .size = m->size};
	w->file.name = g_strdup_printf("%s(%s)", f->name, m->name);
	w->inner = f;
	w->at = m->at;
	return &w->file;
}
