/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the formats of other programs share; see foreign.h. */
#include "foreign.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "bytes.h"
#include "error.h"

enum { PIECE = 512 };

bool foreign_option_bool(GVariant *options, const char *name, bool *ret, GError **error)
{
	const char *text;

	if (!g_variant_lookup(options, name, "&s", &text))
		return true;
	if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
		return kv_fail(error, KV_ERROR_USAGE, "%s=%s is not understood; give on or off", name, text);
	*ret = strcmp(text, "on") == 0;
	return true;
}

bool foreign_option_size(GVariant *options, const char *name, uint64_t *ret, GError **error)
{
	static const char suffixes[] = "kmgt";
	const char *text, *suffix;
	uint64_t value;
	char *end;

	if (!g_variant_lookup(options, name, "&s", &text))
		return true;
	errno = 0;
	value = g_ascii_strtoull(text, &end, 0);
	if (errno || end == text || *text == '-')
		goto bad;
	if (*end && (suffix = strchr(suffixes, g_ascii_tolower(*end)))) {
		if (!checked_mul(value, 1ull << (10 * (suffix - suffixes + 1)), &value))
			goto bad;
		end++;
	}
	if (*end)
		goto bad;
	*ret = value;
	return true;
bad:
	return kv_fail(error, KV_ERROR_USAGE, "%s=%s is not a size; give bytes, or a number with k, M, G or T", name, text);
}

bool foreign_option_choice(GVariant *options, const char *name, const char *const *names, unsigned *ret, GError **error)
{
	g_autofree char *all = NULL;
	const char *text;

	if (!g_variant_lookup(options, name, "&s", &text))
		return true;
	for (unsigned i = 0; names[i]; i++)
		if (strcmp(names[i], text) == 0) {
			*ret = i;
			return true;
		}
	all = g_strjoinv(", ", (char **)names);
	return kv_fail(error, KV_ERROR_USAGE, "%s=%s is not known; give one of %s", name, text, all);
}

void foreign_uuid(uint8_t uuid[16])
{
	if (getrandom(uuid, 16, 0) != 16) /* cannot fail for so few; numbers that are no secret do as well */
		for (unsigned i = 0; i < 16; i += 4)
			put_le32(uuid + i, g_random_int());
	uuid[6] = (uuid[6] & 0x0f) | 0x40;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
}

bool foreign_read(struct image_file *f, uint64_t offset, void *buf, uint64_t len, GError **error)
{
	int r = f->type->read(f, offset, buf, len);

	return r < 0 ? kv_fail_errno(error, -r, "cannot read '%s' at %" PRIu64, f->name, offset) : true;
}

bool foreign_write(struct image_file *f, uint64_t offset, const void *buf, uint64_t len, GError **error)
{
	int r = f->type->write(f, offset, buf, len);

	return r < 0 ? kv_fail_errno(error, -r, "cannot write '%s' at %" PRIu64, f->name, offset) : true;
}

bool foreign_truncate(struct image_file *f, uint64_t size, GError **error)
{
	int r = f->device ? (size > image_file_size(f) ? -ENOSPC : 0) : f->type->truncate(f, size);

	return r < 0 ? kv_fail_errno(error, -r, "cannot make '%s' %" PRIu64 " bytes long", f->name, size) : true;
}

int foreign_append(struct image_file *f, uint64_t offset, uint64_t len)
{
	uint64_t size = image_file_size(f), end;
	int r = 0;

	if (!checked_add(offset, len, &end) || end > INT64_MAX)
		return -EFBIG;
	if (f->device && end > size)
		return -ENOSPC;
	if (offset < size)
		r = f->type->write_zeroes(f, offset, MIN(len, size - offset), IMAGE_MAY_UNMAP);
	if (!r && end > size)
		r = f->type->truncate(f, end);
	return r;
}

static bool goes_on(const struct image_extent *a, const struct image_extent *b)
{
	return a->kind == b->kind && a->allocated == b->allocated && a->has_at == b->has_at && a->in_place == b->in_place &&
	       a->kind != IMAGE_COMPRESSED && (a->kind != IMAGE_DATA || a->at + a->len == b->at);
}

int foreign_blocks_map(struct image *img, struct foreign_blocks *b, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	uint64_t index = offset / b->size, in_block = offset % b->size;
	struct image_extent e = { 0 }, next;
	int r = b->lookup(img, b, index, &e);

	if (r < 0)
		return r;
	if (e.kind == IMAGE_DATA)
		e.at += in_block;
	e.len = MIN(len, b->size - in_block);
	while (e.len < len) {
		next = (struct image_extent){ 0 };
		if (b->lookup(img, b, ++index, &next) < 0 || !goes_on(&e, &next))
			break;
		e.len += MIN(len - e.len, b->size);
	}
	*ret = e;
	return 0;
}

/* Where the block's bytes are to be written. */
static int find_room(struct image *img, struct foreign_blocks *b, uint64_t index, uint64_t *ret_at)
{
	struct image_extent e = { 0 };
	int r = b->lookup(img, b, index, &e);

	if (!r && e.kind == IMAGE_COMPRESSED)
		return -ENOTSUP;
	if (!r && e.kind != IMAGE_DATA) {
		g_mutex_lock(&b->lock);
		e = (struct image_extent){ 0 };
		r = b->lookup(img, b, index, &e);
		if (!r && e.kind != IMAGE_DATA) {
			r = b->allocate(img, b, index, &e.at);
		}
		g_mutex_unlock(&b->lock);
	}
	if (!r)
		*ret_at = e.at;
	return r;
}

int foreign_blocks_write(struct image *img, struct foreign_blocks *b, uint64_t offset, const void *buf, uint64_t len)
{
	const uint8_t *from = buf;

	while (len) {
		uint64_t in_block = offset % b->size, part = MIN(len, b->size - in_block), at;
		int r = find_room(img, b, offset / b->size, &at);

		if (!r)
			r = b->file->type->write(b->file, at + in_block, from, part);
		if (r < 0)
			return r;
		offset += part;
		from += part;
		len -= part;
	}
	return 0;
}

int foreign_blocks_zero(struct image *img, struct foreign_blocks *b, uint64_t offset, uint64_t len, bool may_unmap)
{
	while (len) {
		struct image_extent e;
		int r = foreign_blocks_map(img, b, offset, len, &e);

		if (!r && e.kind == IMAGE_DATA)
			r = b->file->type->write_zeroes(b->file, e.at, e.len, may_unmap ? IMAGE_MAY_UNMAP : 0);
		else if (!r && e.kind == IMAGE_COMPRESSED)
			r = -ENOTSUP;
		if (r < 0)
			return r;
		offset += e.len;
		len -= e.len;
	}
	return 0;
}

bool foreign_table_load(struct foreign_table *t, struct image_file *f, const char *what, uint64_t offset, uint64_t bytes,
			GError **error)
{
	if (bytes > FOREIGN_TABLE_MAX)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "%s has a block table of %" PRIu64 " bytes, more than %d; larger blocks make it smaller", what,
			       bytes, FOREIGN_TABLE_MAX);
	if (!range_inside(offset, bytes, image_file_size(f)))
		return kv_fail(error, KV_ERROR_INVALID,
			       "%s: its block table (%" PRIu64 " bytes at %" PRIu64
			       ") is not inside of the file; the file is cut off or damaged",
			       what, bytes, offset);
	t->file = f;
	t->offset = offset;
	t->bytes = bytes;
	t->raw = g_malloc(bytes + 8); /* never NULL, and whole entries */
	t->dirty = g_malloc0(bytes / PIECE + 1);
	return foreign_read(f, offset, t->raw, bytes, error);
}

void foreign_table_free(struct foreign_table *t)
{
	g_free(t->raw);
	g_free(t->dirty);
}

uint32_t foreign_table_get32(const struct foreign_table *t, uint64_t index)
{
	return __atomic_load_n((uint32_t *)t->raw + index, __ATOMIC_ACQUIRE);
}

uint64_t foreign_table_get64(const struct foreign_table *t, uint64_t index)
{
	return __atomic_load_n((uint64_t *)t->raw + index, __ATOMIC_ACQUIRE);
}

static void set_dirty(struct foreign_table *t, uint64_t byte)
{
	t->dirty[byte / PIECE] = 1;
	t->is_dirty = true;
}

void foreign_table_set32(struct foreign_table *t, uint64_t index, uint32_t value)
{
	__atomic_store_n((uint32_t *)t->raw + index, value, __ATOMIC_RELEASE);
	set_dirty(t, index * 4);
}

void foreign_table_set64(struct foreign_table *t, uint64_t index, uint64_t value)
{
	__atomic_store_n((uint64_t *)t->raw + index, value, __ATOMIC_RELEASE);
	set_dirty(t, index * 8);
}

int foreign_table_write_back(struct foreign_table *t)
{
	uint64_t n = t->bytes / PIECE + 1;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t first = i, at = i * PIECE;
		int r;

		if (!t->dirty[i])
			continue;
		while (i + 1 < n && t->dirty[i + 1])
			i++;
		r = t->file->type->write(t->file, t->offset + at, t->raw + at, MIN((i + 1) * PIECE, t->bytes) - at);
		if (r < 0)
			return r;
		memset(t->dirty + first, 0, i + 1 - first);
	}
	t->is_dirty = false;
	return 0;
}
