/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VirtualBox's VDI: a header, a table with one number for each block of the disk, and blocks in the order in which they were
 * first written. Source: VirtualBox's VDICore.h and QEMU's notes on it, version 1.1; images that stand on others (types undo and
 * diff) are refused. A row of image_formats[]; foreign.h has what is no different in other formats.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "foreign.h"
#include "log.h"

/* Bytes of the header, little endian. */
enum {
	H_TEXT = 0,
	H_SIGNATURE = 0x40,
	H_VERSION = 0x44,
	H_HEADER_SIZE = 0x48, /* from here on */
	H_TYPE = 0x4c,
	H_TABLE = 0x154,
	H_DATA = 0x158,
	H_SECTOR_SIZE = 0x168,
	H_DISK_SIZE = 0x170,
	H_BLOCK_SIZE = 0x178,
	H_BLOCK_EXTRA = 0x17c,
	H_BLOCKS = 0x180,
	H_ALLOCATED = 0x184,
	H_UUID = 0x188,
	H_UUID_SNAPSHOT = 0x198,
	H_UUID_LINK = 0x1a8,
	H_UUID_PARENT = 0x1b8,
	HEADER = 512,
};

enum {
	SIGNATURE = 0xbeda107f,
	VERSION = 0x00010001,
	TYPE_DYNAMIC = 1,
	TYPE_STATIC = 2,
	BLOCK_SIZE = 1 << 20, /* of images we make */
	SECTOR = 512,
};

/* Entries that are no block's number. */
#define FREE 0xffffffffu
#define ZERO 0xfffffffeu

struct vdi {
	struct foreign_blocks blocks;
	struct foreign_table table;
	uint32_t data, n_blocks;
	uint32_t next;	    /* the number of the next new block */
	uint32_t allocated; /* as the header has it */
};

static bool vdi_probe(const uint8_t *head, size_t len)
{
	return len >= H_VERSION && get_le32(head + H_SIGNATURE) == SIGNATURE;
}

static uint32_t entry(const struct vdi *vdi, uint64_t index)
{
	return GUINT32_FROM_LE(foreign_table_get32(&vdi->table, index));
}

static int vdi_lookup(struct image *img, struct foreign_blocks *b, uint64_t index, struct image_extent *ret)
{
	struct vdi *vdi = img->state;
	uint32_t e = entry(vdi, index);

	if (e < ZERO && e >= vdi->n_blocks)
		return -EIO;
	ret->kind = e == FREE ? IMAGE_HOLE : e == ZERO ? IMAGE_ZERO : IMAGE_DATA;
	if (ret->kind == IMAGE_DATA) {
		ret->has_at = ret->in_place = true;
		ret->at = vdi->data + e * vdi->blocks.size;
	}
	return 0;
}

static int vdi_allocate(struct image *img, struct foreign_blocks *b, uint64_t index, uint64_t *ret_at)
{
	struct vdi *vdi = img->state;
	uint64_t at = vdi->data + vdi->next * vdi->blocks.size;
	int r = vdi->next < vdi->n_blocks ? foreign_append(img->file, at, vdi->blocks.size) : -ENOSPC;

	if (r < 0)
		return r;
	foreign_table_set32(&vdi->table, index, GUINT32_TO_LE(vdi->next));
	vdi->next++;
	vdi->allocated++;
	*ret_at = at;
	return 0;
}

static bool check_kind(struct image *img, const uint8_t *h, GError **error)
{
	static const uint8_t none[16];
	uint32_t type = get_le32(h + H_TYPE), version = get_le32(h + H_VERSION);

	if (!vdi_probe(h, HEADER))
		return kv_fail(error, KV_ERROR_INVALID, "'%s' is no vdi image: there is no signature; name its format",
			       img->path);
	if (version != VERSION)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "vdi '%s' has version %u.%u; only 1.1 is supported", img->path,
			       version >> 16, version & 0xffff);
	if (type != TYPE_DYNAMIC && type != TYPE_STATIC)
		return kv_fail(
			error, KV_ERROR_UNSUPPORTED,
			"vdi '%s' has type %u (undo or differencing); only dynamic and static images are supported, merge it "
			"with its parent in VirtualBox",
			img->path, type);
	if (memcmp(h + H_UUID_LINK, none, 16) != 0 || memcmp(h + H_UUID_PARENT, none, 16) != 0)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "vdi '%s' stands on another image, which is not supported; merge them in VirtualBox", img->path);
	return true;
}

static bool check_sizes(struct image *img, const uint8_t *h, GError **error)
{
	struct vdi *vdi = img->state;
	uint64_t size = get_le64(h + H_DISK_SIZE), block = get_le32(h + H_BLOCK_SIZE);

	vdi->blocks.size = block;
	vdi->n_blocks = get_le32(h + H_BLOCKS);
	vdi->data = get_le32(h + H_DATA);
	vdi->allocated = get_le32(h + H_ALLOCATED);
	if (get_le32(h + H_SECTOR_SIZE) != SECTOR)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "vdi '%s' has sectors of %u bytes; only 512 is supported", img->path,
			       get_le32(h + H_SECTOR_SIZE));
	if (block < 4096 || block > 256 << 20 || (block & (block - 1)) || get_le32(h + H_BLOCK_EXTRA))
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "vdi '%s' has blocks of %" PRIu64
			       " + %u bytes; a power of two from 4 KiB to 256 MiB and 0 are supported",
			       img->path, block, get_le32(h + H_BLOCK_EXTRA));
	if (size > vdi->n_blocks * block)
		return kv_fail(error, KV_ERROR_INVALID,
			       "vdi '%s' says that its disk has %" PRIu64
			       " bytes, more than its %u blocks hold; the header is damaged",
			       img->path, size, vdi->n_blocks);
	if (vdi->data % SECTOR || vdi->data < get_le32(h + H_TABLE) + 4ull * vdi->n_blocks || get_le32(h + H_TABLE) < HEADER)
		return kv_fail(error, KV_ERROR_INVALID,
			       "vdi '%s': header, block table (at %u) and data (at %u) overlap; the header is damaged", img->path,
			       get_le32(h + H_TABLE), vdi->data);
	img->size = align_up(size, SECTOR);
	return true;
}

/* New blocks go behind all others; a table that makes no sense is only read. */
static bool find_next(struct image *img, GError **error)
{
	struct vdi *vdi = img->state;

	for (uint32_t i = 0; i < vdi->n_blocks; i++) {
		uint32_t e = entry(vdi, i);

		if (e < ZERO && e >= vdi->n_blocks && !img->readonly)
			return kv_fail(
				error, KV_ERROR_INVALID,
				"vdi '%s': block %u is at place %u of %u; the table is damaged, open it read only to save what "
				"can be read",
				img->path, i, e, vdi->n_blocks);
		if (e < vdi->n_blocks)
			vdi->next = MAX(vdi->next, e + 1);
	}
	return true;
}

static void vdi_free(struct image *img)
{
	struct vdi *vdi = g_steal_pointer(&img->state);

	foreign_table_free(&vdi->table);
	g_mutex_clear(&vdi->blocks.lock);
	g_free(vdi);
}

static bool vdi_open(struct image *img, GVariant *options, GError **error)
{
	g_autofree char *what = g_strdup_printf("vdi '%s'", img->path);
	struct vdi *vdi = g_new0(struct vdi, 1);
	uint8_t h[HEADER];

	img->state = vdi;
	g_mutex_init(&vdi->blocks.lock);
	vdi->blocks.file = img->file;
	vdi->blocks.lookup = vdi_lookup;
	vdi->blocks.allocate = vdi_allocate;
	if (!foreign_read(img->file, 0, h, sizeof(h), error) || !check_kind(img, h, error) || !check_sizes(img, h, error) ||
	    !foreign_table_load(&vdi->table, img->file, what, get_le32(h + H_TABLE), 4ull * vdi->n_blocks, error) ||
	    !find_next(img, error)) {
		vdi_free(img);
		return false;
	}
	img->discard = !img->readonly;
	return true;
}

static int vdi_map(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	struct vdi *vdi = img->state;

	return foreign_blocks_map(img, &vdi->blocks, offset, len, ret);
}

static int vdi_write(struct image *img, uint64_t offset, const void *buf, uint64_t len)
{
	struct vdi *vdi = img->state;

	return foreign_blocks_write(img, &vdi->blocks, offset, buf, len);
}

static int vdi_write_zeroes(struct image *img, uint64_t offset, uint64_t len, unsigned flags)
{
	struct vdi *vdi = img->state;

	return foreign_blocks_zero(img, &vdi->blocks, offset, len, flags & IMAGE_MAY_UNMAP);
}

static int vdi_discard(struct image *img, uint64_t offset, uint64_t len)
{
	return vdi_write_zeroes(img, offset, len, IMAGE_MAY_UNMAP);
}

static int write_allocated(struct image *img)
{
	struct vdi *vdi = img->state;
	uint8_t n[4];

	put_le32(n, vdi->allocated);
	return img->file->type->write(img->file, H_ALLOCATED, n, sizeof(n));
}

static int vdi_flush(struct image *img)
{
	struct vdi *vdi = img->state;
	int r = 0;

	g_mutex_lock(&vdi->blocks.lock);
	if (vdi->table.is_dirty) {
		r = img->file->type->flush(img->file);
		if (!r)
			r = write_allocated(img);
		if (!r)
			r = foreign_table_write_back(&vdi->table);
	}
	g_mutex_unlock(&vdi->blocks.lock);
	return r ? r : img->file->type->flush(img->file);
}

static void vdi_close(struct image *img)
{
	struct vdi *vdi = img->state;
	int r = vdi->table.is_dirty ? vdi_flush(img) : 0;

	if (r < 0)
		kv_log_error("vdi '%s': cannot write its block table, new blocks are lost: %s", img->path, g_strerror(-r));
	vdi_free(img);
}

static void put_header(uint8_t *h, uint64_t size, uint32_t n_blocks, uint32_t table, bool fixed)
{
	static const char text[] = "<<< Oracle VM VirtualBox Disk Image >>>\n";

	memcpy(h + H_TEXT, text, sizeof(text));
	put_le32(h + H_SIGNATURE, SIGNATURE);
	put_le32(h + H_VERSION, VERSION);
	put_le32(h + H_HEADER_SIZE, 0x180);
	put_le32(h + H_TYPE, fixed ? TYPE_STATIC : TYPE_DYNAMIC);
	put_le32(h + H_TABLE, HEADER);
	put_le32(h + H_DATA, HEADER + table);
	put_le32(h + H_SECTOR_SIZE, SECTOR);
	put_le64(h + H_DISK_SIZE, size);
	put_le32(h + H_BLOCK_SIZE, BLOCK_SIZE);
	put_le32(h + H_BLOCKS, n_blocks);
	put_le32(h + H_ALLOCATED, fixed ? n_blocks : 0);
	foreign_uuid(h + H_UUID);
	foreign_uuid(h + H_UUID_SNAPSHOT);
}

static bool vdi_create(struct image_file *file, uint64_t size, GVariant *options, GError **error)
{
	uint64_t n_blocks = size / BLOCK_SIZE + (size % BLOCK_SIZE != 0), table = align_up(n_blocks * 4, SECTOR);
	g_autofree uint32_t *entries = NULL;
	uint8_t h[HEADER] = { 0 };
	bool fixed = false;

	if (!foreign_option_bool(options, "static", &fixed, error))
		return false;
	if (table > FOREIGN_TABLE_MAX)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "a vdi image holds at most %" PRIu64 " bytes; choose qcow2 for more",
			       (uint64_t)FOREIGN_TABLE_MAX / 4 * BLOCK_SIZE);
	entries = g_malloc0(table + 4);
	for (uint64_t i = 0; i < n_blocks; i++)
		entries[i] = GUINT32_TO_LE(fixed ? i : FREE);
	put_header(h, align_up(size, SECTOR), n_blocks, table, fixed);
	return foreign_write(file, HEADER, entries, table, error) &&
	       foreign_truncate(file, HEADER + table + (fixed ? n_blocks * BLOCK_SIZE : 0), error) &&
	       foreign_write(file, 0, h, sizeof(h), error);
}

static uint64_t vdi_cluster_size(struct image *img)
{
	return ((struct vdi *)img->state)->blocks.size;
}

static void report_fault(image_report *report, void *opaque, struct image_check *ret, const char *format, ...)
	G_GNUC_PRINTF(4, 5);
static void report_fault(image_report *report, void *opaque, struct image_check *ret, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	ret->corruptions++;
	report(opaque, text);
}

static bool vdi_check(struct image *img, unsigned fix, image_report *report, void *opaque, struct image_check *ret,
		      GError **error)
{
	struct vdi *vdi = img->state;
	g_autofree uint8_t *used = g_malloc0(vdi->n_blocks / 8 + 1);
	uint32_t n = 0;

	ret->total_clusters = vdi->n_blocks;
	for (uint32_t i = 0; i < vdi->n_blocks; i++) {
		uint32_t e = entry(vdi, i);

		if (e >= ZERO)
			continue;
		n++;
		if (e >= vdi->n_blocks)
			report_fault(report, opaque, ret, "block %u is at place %u, there are %u", i, e, vdi->n_blocks);
		else if (used[e / 8] & 1 << e % 8)
			report_fault(report, opaque, ret, "block %u is at place %u, which another one has as well", i, e);
		else
			used[e / 8] |= 1 << e % 8;
	}
	ret->allocated_clusters = n;
	if (n == vdi->allocated)
		return true;
	if (!(fix & IMAGE_FIX_ERRORS)) {
		report_fault(report, opaque, ret, "the header counts %u blocks, there are %u", vdi->allocated, n);
		return true;
	}
	vdi->allocated = n;
	ret->corruptions_fixed++;
	if (write_allocated(img) < 0)
		return kv_fail(error, KV_ERROR_SYSTEM, "vdi '%s': cannot write the header", img->path);
	return true;
}

static const char *const vdi_create_options[] = { "static", NULL };

const struct image_format image_vdi = {
	.name = "vdi",
	.probe = vdi_probe,
	.open = vdi_open,
	.close = vdi_close,
	.map = vdi_map,
	.write = vdi_write,
	.write_zeroes = vdi_write_zeroes,
	.discard = vdi_discard,
	.flush = vdi_flush,
	.create = vdi_create,
	.create_options = vdi_create_options,
	.cluster_size = vdi_cluster_size,
	.check = vdi_check,
};
