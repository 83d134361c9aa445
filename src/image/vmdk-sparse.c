/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sparse extents of VMDK images: a directory of tables of grains, which are 64 KiB or so. Tables are read when they are first
 * needed and stay in memory; foreign.h says when they are written. Two kinds:
 * - hosted: grains as they are, tables (two sets) in front of them, and new grains at the end of the file;
 * - streamOptimized: compressed grains behind markers, written once from front to end; tables, directory and footer follow
 *   when image_flush() is called, and are overwritten if more grains come.
 * Called by vmdk.c and vmdk-create.c.
 */
#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "bytes.h"
#include "error.h"
#include "vmdk.h"

enum { SECTOR = VMDK_SECTOR };

/* Bytes of the header, little endian. */
enum {
	H_MAGIC = 0,
	H_VERSION = 4,
	H_FLAGS = 8,
	H_CAPACITY = 12,
	H_GRAIN = 20,
	H_DESCRIPTOR = 28,
	H_DESCRIPTOR_SIZE = 36,
	H_TABLE_ENTRIES = 44,
	H_COPY = 48,
	H_DIRECTORY = 56,
	H_OVERHEAD = 64,
	H_LINE_ENDS = 73,
	H_COMPRESSION = 77,
	HEADER = 512,
};

enum {
	FLAG_LINE_ENDS = 1 << 0,
	FLAG_COPY = 1 << 1,
	FLAG_ZERO_GRAINS = 1 << 2,
	FLAG_COMPRESSED = 1 << 16,
	FLAG_MARKERS = 1 << 17,
};
#define AT_END UINT64_MAX

/* Markers: a sector that says what comes. Of a grain: 12 bytes, and its data at once. */
enum { M_VALUE = 0, M_SIZE = 8, M_TYPE = 12, GRAIN_MARKER = 12 };
enum { MARKER_END = 0, MARKER_TABLE = 1, MARKER_DIRECTORY = 2, MARKER_FOOTER = 3 };

enum {
	GRAIN_ABSENT = 0,
	GRAIN_ZERO = 1, /* with FLAG_ZERO_GRAINS */
	DESCRIPTOR_MAX = 1 << 20,
	GRAIN_MAX = 64 << 20,
	COMPRESSED_GRAIN_MAX = 4 << 20,
	TABLES_MAX = 256 << 20, /* bytes of all, 4 TiB of 64 KiB grains */
	BYTES_BESIDE = 17,	/* of memory, for each table: in two directories, our pointer, whether it is dirty */
	/* of images we make, in sectors: */
	NEW_GRAIN = 128,
	NEW_ENTRIES = 512,
	NEW_DESCRIPTOR = 20,
};

/* ---- open ---- */

static bool read_header(struct image_file *f, uint64_t at, uint8_t *h, GError **error)
{
	static const char line_ends[] = "\n \r\n";

	if (!foreign_read(f, at, h, HEADER, error))
		return false;
	if (memcmp(h, "KDMV", 4) != 0)
		return kv_fail(error, KV_ERROR_INVALID, "'%s' is no sparse vmdk extent: there is no signature at %" PRIu64,
			       f->name, at);
	if (get_le32(h + H_VERSION) < 1 || get_le32(h + H_VERSION) > 3)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "vmdk '%s' has version %u; 1 to 3 are supported", f->name,
			       get_le32(h + H_VERSION));
	if (get_le32(h + H_FLAGS) & FLAG_LINE_ENDS && memcmp(h + H_LINE_ENDS, line_ends, 4) != 0)
		return kv_fail(error, KV_ERROR_INVALID, "vmdk '%s' was damaged by a transfer as text; copy it again, as binary",
			       f->name);
	return true;
}

bool vmdk_sparse_descriptor(struct image_file *f, char **ret_text, uint64_t *ret_at, GError **error)
{
	uint64_t at, len;
	uint8_t h[HEADER];
	char *text;

	if (!read_header(f, 0, h, error))
		return false;
	at = get_le64(h + H_DESCRIPTOR);
	len = get_le64(h + H_DESCRIPTOR_SIZE);
	*ret_text = NULL;
	if (!at || !len)
		return true;
	if (len > DESCRIPTOR_MAX / SECTOR || at > image_file_size(f) / SECTOR)
		return kv_fail(error, KV_ERROR_INVALID,
			       "vmdk '%s': its descriptor (%" PRIu64 " sectors at %" PRIu64
			       ") makes no sense; the header is damaged",
			       f->name, len, at);
	text = g_malloc0(len * SECTOR + 1);
	if (!foreign_read(f, at * SECTOR, text, len * SECTOR, error)) {
		g_free(text);
		return false;
	}
	*ret_text = text;
	*ret_at = at * SECTOR;
	return true;
}

static struct vmdk_extent *extent_of(struct foreign_blocks *b)
{
	return (struct vmdk_extent *)b;
}

static bool check_sizes(struct vmdk_extent *x, const uint8_t *h, GError **error)
{
	uint64_t capacity = get_le64(h + H_CAPACITY), grain = get_le64(h + H_GRAIN), grains;
	uint32_t entries = get_le32(h + H_TABLE_ENTRIES);
	const char *name = x->file->name;

	if (!grain || grain > (x->compressed ? COMPRESSED_GRAIN_MAX : GRAIN_MAX) / SECTOR || (grain & (grain - 1)))
		return kv_fail(error, KV_ERROR_INVALID, "vmdk '%s' has grains of %" PRIu64 " sectors, which makes no sense", name,
			       grain);
	if (!entries || entries > 512)
		return kv_fail(error, KV_ERROR_INVALID, "vmdk '%s' has grain tables of %u entries; 1 to 512 make sense", name,
			       entries);
	grains = capacity / grain + (capacity % grain != 0);
	if (capacity > INT64_MAX / SECTOR || grains / entries + 1 > TABLES_MAX / 4 / entries)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "vmdk '%s' has a disk of %" PRIu64
			       " sectors, whose grain tables would have more than %d MiB; that is not "
			       "supported",
			       name, capacity, TABLES_MAX >> 20);
	if (x->size > capacity * SECTOR)
		return kv_fail(error, KV_ERROR_INVALID, "vmdk '%s' has %" PRIu64 " sectors, fewer than the descriptor says", name,
			       capacity);
	if (!x->size)
		x->size = capacity * SECTOR;
	x->blocks.size = grain * SECTOR;
	x->n_entries = entries;
	x->n_tables = (grains + entries - 1) / entries;
	return true;
}

/* All extents together: a small descriptor may name one file a thousand times. */
static bool check_tables(struct vmdk *vmdk, const struct vmdk_extent *x, GError **error)
{
	vmdk->table_bytes += x->n_tables * (4ull * x->n_entries + BYTES_BESIDE);
	return vmdk->table_bytes <= TABLES_MAX + TABLES_MAX / 64 ||
	       kv_fail(error, KV_ERROR_UNSUPPORTED,
		       "vmdk '%s': with its grain tables those of all extents would have more than %d MiB; that is not supported",
		       x->file->name, TABLES_MAX >> 20);
}

static uint32_t *read_directory(struct vmdk_extent *x, uint64_t sector, GError **error)
{
	uint32_t *d;

	if (sector > image_file_size(x->file) / SECTOR ||
	    !range_inside(sector * SECTOR, 4ull * x->n_tables, image_file_size(x->file))) {
		kv_fail(error, KV_ERROR_INVALID,
			"vmdk '%s': its grain directory (%u entries in sector %" PRIu64
			") is not inside of the file, which is cut off or "
			"damaged",
			x->file->name, x->n_tables, sector);
		return NULL;
	}
	d = g_new0(uint32_t, x->n_tables + 1);
	if (!foreign_read(x->file, sector * SECTOR, d, 4ull * x->n_tables, error))
		g_clear_pointer(&d, g_free);
	for (uint32_t i = 0; d && i < x->n_tables; i++)
		d[i] = GUINT32_FROM_LE(d[i]);
	return d;
}

/* New grains go to the end of the file: one that reaches beyond it would have bytes in common with them. */
static bool check_grains(struct vmdk_extent *x, GError **error)
{
	uint64_t len = 4ull * x->n_entries, end = image_file_size(x->file);
	g_autofree uint32_t *t = g_malloc(len);

	for (uint32_t i = 0; i < x->n_tables; i++) {
		uint64_t at = (uint64_t)x->directory[i] * SECTOR;
		bool ok = !at || (range_inside(at, len, end) && x->file->type->read(x->file, at, t, len) == 0);

		for (uint32_t n = 0; ok && at && n < x->n_entries; n++) {
			uint32_t sector = GUINT32_FROM_LE(t[n]);

			ok = sector == GRAIN_ABSENT || (sector == GRAIN_ZERO && x->has_zero_grains) ||
			     range_inside((uint64_t)sector * SECTOR, x->blocks.size, end);
		}
		if (!ok)
			return kv_fail(error, KV_ERROR_INVALID,
				       "vmdk '%s': a grain is beyond the end of the file, which is cut off or damaged; open it "
				       "read only to save what can be read",
				       x->file->name);
	}
	return true;
}

static bool prepare_writing(struct vmdk_extent *x, const uint8_t *h, GError **error)
{
	uint32_t filled = 0;

	if (!x->compressed) {
		x->next = align_up(MAX(image_file_size(x->file), SECTOR), SECTOR);
		return check_grains(x, error);
	}
	for (uint32_t i = 0; i < x->n_tables; i++)
		filled += x->directory[i] != 0;
	if (!x->streams || filled)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "vmdk '%s' is compressed: it is written once and then read only; open it read only, or convert it",
			       x->file->name);
	x->next = get_le64(h + H_OVERHEAD) * SECTOR;
	if (x->next < HEADER || x->next > image_file_size(x->file))
		return kv_fail(error, KV_ERROR_INVALID, "vmdk '%s': grains are to start beyond the end of the file",
			       x->file->name);
	return true;
}

static int sparse_lookup(struct image *img, struct foreign_blocks *b, uint64_t index, struct image_extent *ret);
static int sparse_allocate(struct image *img, struct foreign_blocks *b, uint64_t index, uint64_t *ret_at);

bool vmdk_sparse_open(struct image *img, struct vmdk_extent *x, GError **error)
{
	uint8_t h[HEADER];
	uint32_t flags;

	x->blocks.file = x->file;
	x->blocks.lookup = sparse_lookup;
	x->blocks.allocate = sparse_allocate;
	if (!read_header(x->file, 0, h, error))
		return false;
	if (get_le64(h + H_DIRECTORY) == AT_END) {
		x->streams = true;
		if (!read_header(x->file, align_down(MAX(image_file_size(x->file), 2 * SECTOR), SECTOR) - 2 * SECTOR, h, error)) {
			g_prefix_error(error, "the end of the file is lost: ");
			return false;
		}
	}
	flags = get_le32(h + H_FLAGS);
	x->compressed = flags & FLAG_COMPRESSED;
	x->has_zero_grains = flags & FLAG_ZERO_GRAINS;
	if (x->compressed && (get_le16(h + H_COMPRESSION) != 1 || !(flags & FLAG_MARKERS)))
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "vmdk '%s' is compressed by method %u %s markers; only 1 with markers is supported", x->file->name,
			       get_le16(h + H_COMPRESSION), flags & FLAG_MARKERS ? "with" : "without");
	if (!check_sizes(x, h, error) || !check_tables(img->state, x, error))
		return false;
	x->directory = read_directory(x, get_le64(h + H_DIRECTORY), error);
	if (x->directory && !x->compressed && flags & FLAG_COPY && !img->readonly)
		x->copy = read_directory(x, get_le64(h + H_COPY), error);
	if (!x->directory || (!x->copy && !x->compressed && flags & FLAG_COPY && !img->readonly))
		return false;
	x->tables = g_new0(uint32_t *, x->n_tables + 1);
	x->table_dirty = g_new0(uint8_t, x->n_tables + 1);
	return img->readonly || prepare_writing(x, h, error);
}

void vmdk_sparse_free(struct vmdk_extent *x)
{
	for (uint32_t i = 0; x->tables && i < x->n_tables; i++)
		g_free(x->tables[i]);
	g_free(x->tables);
	g_free(x->table_dirty);
	g_free(x->directory);
	g_free(x->copy);
}

/* ---- tables ---- */

static uint32_t *loaded_table(struct vmdk_extent *x, uint32_t i)
{
	return __atomic_load_n(&x->tables[i], __ATOMIC_ACQUIRE);
}

/* *ret: NULL when the directory has none. Two threads may read one; the second's goes. */
static int get_table(struct vmdk_extent *x, uint32_t i, uint32_t **ret)
{
	uint64_t at = (uint64_t)x->directory[i] * SECTOR, len = 4ull * x->n_entries;
	uint32_t *t = loaded_table(x, i), *other = NULL;
	int r;

	*ret = t;
	if (t || !x->directory[i])
		return 0;
	if (!range_inside(at, len, image_file_size(x->file)))
		return -EIO;
	t = g_malloc(len);
	r = x->file->type->read(x->file, at, t, len);
	if (r < 0) {
		g_free(t);
		return r;
	}
	if (!__atomic_compare_exchange_n(&x->tables[i], &other, t, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		g_free(t);
		t = other;
	}
	*ret = t;
	return 0;
}

bool vmdk_sparse_is_loaded(struct vmdk_extent *x, uint64_t offset, uint64_t *len)
{
	uint64_t reach = x->blocks.size * x->n_entries, i = offset / reach;

	*len = MIN(*len, reach - offset % reach);
	return loaded_table(x, i) || !x->directory[i];
}

static int get_entry(struct vmdk_extent *x, uint64_t index, uint32_t *ret)
{
	uint32_t *t;
	int r;

	if (index / x->n_entries >= x->n_tables)
		return -EIO;
	r = get_table(x, index / x->n_entries, &t);
	if (!r)
		*ret = t ? GUINT32_FROM_LE(__atomic_load_n(&t[index % x->n_entries], __ATOMIC_ACQUIRE)) : GRAIN_ABSENT;
	return r;
}

static void set_entry(struct vmdk_extent *x, uint64_t index, uint32_t sector)
{
	uint32_t i = index / x->n_entries;

	__atomic_store_n(&x->tables[i][index % x->n_entries], GUINT32_TO_LE(sector), __ATOMIC_RELEASE);
	x->table_dirty[i] = 1;
	x->dirty = true;
}

static int sparse_lookup(struct image *img, struct foreign_blocks *b, uint64_t index, struct image_extent *ret)
{
	struct vmdk_extent *x = extent_of(b);
	struct vmdk *vmdk = img->state;
	uint32_t sector;
	int r = get_entry(x, index, &sector);

	if (r < 0)
		return r;
	if (sector == GRAIN_ABSENT) {
		ret->kind = IMAGE_HOLE;
	} else if (sector == GRAIN_ZERO && x->has_zero_grains) {
		ret->kind = IMAGE_ZERO;
	} else if (x->compressed) {
		ret->kind = IMAGE_COMPRESSED;
	} else {
		ret->kind = IMAGE_DATA;
		ret->has_at = x->file == img->data;
		ret->in_place = ret->has_at && __atomic_load_n(&vmdk->cid_new, __ATOMIC_RELAXED);
		ret->at = (uint64_t)sector * SECTOR;
	}
	return 0;
}

/* Has a grain more room, and an entry? */
static int check_next(struct vmdk_extent *x, uint64_t index)
{
	uint32_t *t;
	int r = index / x->n_entries < x->n_tables ? get_table(x, index / x->n_entries, &t) : -EIO;

	if (!r && !t)
		r = -ENOTSUP; /* VMware and QEMU make all tables at once */
	return !r && x->next / SECTOR > UINT32_MAX ? -EFBIG : r;
}

int vmdk_sparse_put_grain(struct vmdk_extent *x, uint64_t index, const void *grain)
{
	int r = x->compressed ? -ENOTSUP : check_next(x, index);

	if (!r)
		r = x->file->type->write(x->file, x->next, grain, x->blocks.size);
	if (r < 0)
		return r;
	set_entry(x, index, x->next / SECTOR);
	x->next += x->blocks.size;
	return 0;
}

static int sparse_allocate(struct image *img, struct foreign_blocks *b, uint64_t index, uint64_t *ret_at)
{
	struct vmdk_extent *x = extent_of(b);
	int r = check_next(x, index);

	if (!r)
		r = foreign_append(x->file, x->next, b->size);
	if (r < 0)
		return r;
	set_entry(x, index, x->next / SECTOR);
	*ret_at = x->next;
	x->next += b->size;
	return 0;
}

/* ---- compressed grains ---- */

int vmdk_sparse_read_compressed(struct vmdk_extent *x, uint64_t offset, void *buf, uint64_t len)
{
	g_autofree uint8_t *packed = NULL, *grain = NULL;
	uint64_t in_grain = offset % x->blocks.size, at;
	uint8_t marker[GRAIN_MARKER];
	uLongf out = x->blocks.size;
	uint32_t sector, size;
	int r = get_entry(x, offset / x->blocks.size, &sector);

	if (r < 0)
		return r;
	if (!range_inside(in_grain, len, x->blocks.size))
		return -EINVAL;
	at = (uint64_t)sector * SECTOR;
	r = x->file->type->read(x->file, at, marker, sizeof(marker));
	if (r < 0)
		return r;
	size = get_le32(marker + M_SIZE);
	if (!size || size > 2 * x->blocks.size || get_le64(marker + M_VALUE) != (offset - in_grain) / SECTOR)
		return -EIO;
	packed = g_malloc(size);
	grain = g_malloc0(x->blocks.size);
	r = x->file->type->read(x->file, at + sizeof(marker), packed, size);
	if (r < 0)
		return r;
	if (uncompress(grain, &out, packed, size) != Z_OK)
		return -EIO;
	memcpy(buf, grain + in_grain, len);
	return 0;
}

int vmdk_sparse_compress(struct vmdk_extent *x, const void *buf, uint64_t len, void *out, uint64_t *ret_len)
{
	g_autofree uint8_t *padded = NULL;
	uLongf packed = *ret_len;

	if (!x->compressed || !len || len > x->blocks.size)
		return -ENOTSUP;
	if (len < x->blocks.size) {
		padded = g_malloc0(x->blocks.size);
		memcpy(padded, buf, len);
	}
	*ret_len = 0;
	switch (compress2(out, &packed, padded ? padded : buf, x->blocks.size, Z_DEFAULT_COMPRESSION)) {
	case Z_OK:
		*ret_len = packed;
		return 0;
	case Z_BUF_ERROR:
		return 0;
	default:
		return -EIO;
	}
}

static int append_grain(struct vmdk_extent *x, uint64_t index, const uint8_t *packed, uint64_t len)
{
	uint32_t sector = 0, i = index / x->n_entries;
	int r = get_entry(x, index, &sector);

	if (!r && sector != GRAIN_ABSENT)
		return -ENOTSUP; /* written once */
	if (!r && x->next / SECTOR > UINT32_MAX)
		return -EFBIG;
	if (!r)
		r = x->file->type->write(x->file, x->next, packed, len);
	if (r < 0)
		return r;
	if (!x->tables[i])
		__atomic_store_n(&x->tables[i], g_new0(uint32_t, x->n_entries), __ATOMIC_RELEASE);
	set_entry(x, index, x->next / SECTOR);
	x->next += len;
	return 0;
}

int vmdk_sparse_write_packed(struct vmdk_extent *x, uint64_t offset, const void *packed, uint64_t len)
{
	uint64_t room = align_up(GRAIN_MARKER + len, SECTOR);
	g_autofree uint8_t *marked = NULL;
	int r;

	if (!x->compressed || offset % x->blocks.size || !len || len > 2 * x->blocks.size)
		return -ENOTSUP;
	marked = g_malloc0(room);
	put_le64(marked + M_VALUE, offset / SECTOR);
	put_le32(marked + M_SIZE, len);
	memcpy(marked + GRAIN_MARKER, packed, len);
	g_mutex_lock(&x->blocks.lock);
	r = append_grain(x, offset / x->blocks.size, marked, room);
	g_mutex_unlock(&x->blocks.lock);
	return r;
}

static int write_grain(struct vmdk_extent *x, uint64_t offset, const void *buf, uint64_t len)
{
	uint64_t packed_len = compressBound(x->blocks.size);
	g_autofree uint8_t *packed = g_malloc(packed_len);
	int r = vmdk_sparse_compress(x, buf, len, packed, &packed_len);

	return r ? r : vmdk_sparse_write_packed(x, offset, packed, packed_len);
}

int vmdk_sparse_write_compressed(struct vmdk_extent *x, uint64_t offset, const void *buf, uint64_t len)
{
	if (!x->compressed || offset % x->blocks.size || (len % x->blocks.size && offset + len != x->size))
		return -ENOTSUP;
	for (uint64_t done = 0, part; done < len; done += part) {
		int r;

		part = MIN(len - done, x->blocks.size);
		r = write_grain(x, offset + done, (const uint8_t *)buf + done, part);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- flush ---- */

/* Both sets, the copy first. */
static int write_tables(struct vmdk_extent *x)
{
	for (uint32_t i = 0; i < x->n_tables; i++) {
		uint64_t len = 4ull * x->n_entries;
		int r = 0;

		if (!x->table_dirty[i])
			continue;
		if (x->copy && x->copy[i])
			r = x->file->type->write(x->file, (uint64_t)x->copy[i] * SECTOR, x->tables[i], len);
		if (!r)
			r = x->file->type->write(x->file, (uint64_t)x->directory[i] * SECTOR, x->tables[i], len);
		if (r < 0)
			return r;
		x->table_dirty[i] = 0;
	}
	return 0;
}

/* A marker and what it announces. */
static int put_marked(struct image_file *f, uint64_t *at, uint32_t type, const void *data, uint64_t len)
{
	uint64_t room = align_up(len, SECTOR);
	g_autofree uint8_t *all = g_malloc0(SECTOR + room);
	int r;

	put_le64(all + M_VALUE, room / SECTOR);
	put_le32(all + M_TYPE, type);
	if (len)
		memcpy(all + SECTOR, data, len);
	r = f->type->write(f, *at, all, SECTOR + room);
	*at += SECTOR + room;
	return r;
}

static void put_header(uint8_t *h, uint64_t sectors, bool stream, bool zero_grains)
{
	memcpy(h + H_MAGIC, "KDMV", 4);
	put_le32(h + H_VERSION, stream ? 3 : zero_grains ? 2 : 1);
	put_le32(h + H_FLAGS,
		 FLAG_LINE_ENDS | (zero_grains ? FLAG_ZERO_GRAINS : 0) | (stream ? FLAG_COMPRESSED | FLAG_MARKERS : FLAG_COPY));
	put_le64(h + H_CAPACITY, sectors);
	put_le64(h + H_GRAIN, NEW_GRAIN);
	put_le32(h + H_TABLE_ENTRIES, NEW_ENTRIES);
	memcpy(h + H_LINE_ENDS, "\n \r\n", 4);
	put_le16(h + H_COMPRESSION, stream);
}

/* The end of a stream: tables (NULL: none of them), directory, footer (a header that knows where) and the last marker. */
static int put_end(struct image_file *f, uint64_t at, const uint8_t *header, uint32_t *const *tables, uint32_t n_tables,
		   uint32_t n_entries)
{
	g_autofree uint32_t *directory = g_new0(uint32_t, n_tables + 1);
	uint8_t footer[HEADER];
	int r = 0;

	memcpy(footer, header, HEADER);
	for (uint32_t i = 0; !r && i < n_tables; i++) {
		if (!tables || !tables[i])
			continue;
		directory[i] = GUINT32_TO_LE(at / SECTOR + 1);
		r = put_marked(f, &at, MARKER_TABLE, tables[i], 4ull * n_entries);
	}
	put_le64(footer + H_DIRECTORY, at / SECTOR + 1);
	if (!r)
		r = put_marked(f, &at, MARKER_DIRECTORY, directory, 4ull * n_tables);
	if (!r)
		r = put_marked(f, &at, MARKER_FOOTER, footer, HEADER);
	if (!r)
		r = put_marked(f, &at, MARKER_END, NULL, 0);
	return r ? r : f->device ? 0 : f->type->truncate(f, at);
}

static int finish_stream(struct vmdk_extent *x)
{
	uint8_t header[HEADER];
	int r = x->file->type->read(x->file, 0, header, HEADER);

	return r ? r : put_end(x->file, x->next, header, x->tables, x->n_tables, x->n_entries);
}

int vmdk_sparse_flush(struct vmdk_extent *x)
{
	int r = 0;

	g_mutex_lock(&x->blocks.lock);
	if (x->dirty) {
		r = x->file->type->flush(x->file);
		if (!r)
			r = x->streams ? finish_stream(x) : write_tables(x);
		if (!r)
			x->dirty = false;
	}
	g_mutex_unlock(&x->blocks.lock);
	return r ? r : x->file->type->flush(x->file);
}

/* ---- check ---- */

static void fault(struct vmdk_extent *x, image_report *report, void *opaque, struct image_check *ret, const char *what,
		  uint64_t index, uint32_t sector)
{
	g_autofree char *text = g_strdup_printf("ERROR %s %" PRIu64 " is behind the end of the file '%s', at sector %u", what,
						index, x->file->name, sector);

	ret->corruptions++;
	if (report)
		report(opaque, text);
}

static void check_table(struct vmdk_extent *x, uint32_t i, const uint32_t *table, image_report *report, void *opaque,
			struct image_check *ret)
{
	for (uint32_t k = 0; k < x->n_entries; k++) {
		uint32_t sector = GUINT32_FROM_LE(table[k]);

		if (sector == GRAIN_ABSENT || (sector == GRAIN_ZERO && x->has_zero_grains))
			continue;
		if ((uint64_t)sector * SECTOR >= image_file_size(x->file))
			fault(x, report, opaque, ret, "grain", (uint64_t)i * x->n_entries + k, sector);
	}
}

void vmdk_sparse_check(struct vmdk_extent *x, image_report *report, void *opaque, struct image_check *ret)
{
	for (uint32_t i = 0; i < x->n_tables; i++) {
		uint32_t *table;
		int r = get_table(x, i, &table);

		if (r == -EIO)
			fault(x, report, opaque, ret, "grain table", i, x->directory[i]);
		else if (r < 0)
			ret->check_errors++;
		else if (table)
			check_table(x, i, table, report, opaque, ret);
	}
}

/* ---- create ---- */

/* A directory and its tables from `sector` on; the next free sector. */
static bool put_directory(struct image_file *f, uint64_t sector, uint32_t n_tables, GError **error)
{
	uint64_t sectors = (4ull * n_tables + SECTOR - 1) / SECTOR;
	g_autofree uint32_t *d = g_malloc0(sectors * SECTOR + 1);

	for (uint32_t i = 0; i < n_tables; i++)
		d[i] = GUINT32_TO_LE(sector + sectors + (uint64_t)i * (NEW_ENTRIES * 4 / SECTOR));
	return foreign_write(f, sector * SECTOR, d, sectors * SECTOR, error);
}

static bool put_descriptor(struct image_file *f, uint8_t *h, const char *text, GError **error)
{
	char room[NEW_DESCRIPTOR * SECTOR] = { 0 };
	size_t len = text ? strlen(text) : 0;

	if (!text)
		return true;
	if (len >= sizeof(room))
		return kv_fail(error, KV_ERROR_USAGE, "'%s': the name of the image does not fit in a vmdk descriptor", f->name);
	memcpy(room, text, len);
	put_le64(h + H_DESCRIPTOR, 1);
	put_le64(h + H_DESCRIPTOR_SIZE, NEW_DESCRIPTOR);
	return foreign_write(f, SECTOR, room, sizeof(room), error);
}

bool vmdk_sparse_create(struct image_file *f, uint64_t size, bool stream, bool zero_grains, const char *descriptor,
			GError **error)
{
	uint64_t sectors = size / SECTOR, reach = NEW_GRAIN * NEW_ENTRIES, n = sectors / reach + (sectors % reach != 0);
	uint64_t each = (4 * n + SECTOR - 1) / SECTOR + n * (NEW_ENTRIES * 4 / SECTOR), first = 1 + NEW_DESCRIPTOR, overhead;
	uint8_t h[HEADER] = { 0 };
	int r;

	if (n > TABLES_MAX / 4 / NEW_ENTRIES - 1)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "a vmdk image holds less than %" PRIu64 " bytes; choose qcow2 for more",
			       (uint64_t)TABLES_MAX / 4 * NEW_GRAIN * SECTOR);
	put_header(h, sectors, stream, zero_grains);
	overhead = stream ? NEW_GRAIN : align_up(first + 2 * each, NEW_GRAIN);
	put_le64(h + H_OVERHEAD, overhead);
	put_le64(h + H_DIRECTORY, stream ? AT_END : first + each);
	put_le64(h + H_COPY, stream ? 0 : first);
	if (!put_descriptor(f, h, descriptor, error) || !foreign_truncate(f, overhead * SECTOR, error))
		return false;
	if (!stream)
		return put_directory(f, first, n, error) && put_directory(f, first + each, n, error) &&
		       foreign_write(f, 0, h, HEADER, error);
	r = put_end(f, overhead * SECTOR, h, NULL, n, NEW_ENTRIES);
	if (r < 0)
		return kv_fail_errno(error, -r, "cannot write '%s'", f->name);
	return foreign_write(f, 0, h, HEADER, error);
}
