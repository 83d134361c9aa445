/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hyper-V's VHDX: two headers (the one with the higher number counts), two copies of a list of regions, and in those metadata
 * (sizes), a table of blocks and a log (vhdx-log.c). Source: [MS-VHDX]. Differencing images are refused. A row of
 * image_formats[]; vhdx-create.c makes new images.
 *
 * We never write to the log: an entry of the table, 8 bytes in one sector, becomes valid when its block is on the disk, and
 * a write of a sector happens or not. The first write gives the file new identities; until then no block is in_place.
 */
#include "vhdx.h"

#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "log.h"

enum { ENTRY = 32, R_ENTRIES = 16, M_ENTRIES = 32, ENTRIES_MAX = 2047, REQUIRED_REGION = 1 };
#define SIZE_MAX_BYTES (64ull << 40)

struct region {
	uint64_t at, len;
};

struct vhdx {
	struct foreign_blocks blocks;
	struct foreign_table table;
	uint8_t header[VHDX_HEADER]; /* the current one */
	unsigned current;	     /* which one that is */
	bool written;		     /* has new identities; atomic */
	struct vhdx_log log;
	struct region bat, metadata;
	uint32_t flags, sector; /* of vhdx_item_file; bytes of a logical sector */
	uint64_t ratio;
};

static bool vhdx_probe(const uint8_t *head, size_t len)
{
	return len >= 8 && memcmp(head, "vhdxfile", 8) == 0;
}

static uint64_t entry_of(const struct vhdx *vhdx, uint64_t index)
{
	return GUINT64_FROM_LE(foreign_table_get64(&vhdx->table, index + index / vhdx->ratio));
}

static int vhdx_lookup(struct image *img, struct foreign_blocks *b, uint64_t index, struct image_extent *ret)
{
	struct vhdx *vhdx = img->state;
	uint64_t e = entry_of(vhdx, index), at = align_down(e, VHDX_BLOCK_MIN);

	switch (e & VHDX_STATE) {
	case VHDX_NOT_PRESENT:
	case VHDX_UNDEFINED:
		ret->kind = IMAGE_HOLE;
		return 0;
	case VHDX_ZERO:
	case VHDX_UNMAPPED:
	case VHDX_UNMAPPED_OLD:
		ret->kind = IMAGE_ZERO;
		return 0;
	case VHDX_PRESENT:
		if (at < VHDX_BLOCK_MIN || at >= image_file_size(img->file))
			return -EIO;
		ret->kind = IMAGE_DATA;
		ret->has_at = true;
		ret->in_place = __atomic_load_n(&vhdx->written, __ATOMIC_RELAXED);
		ret->at = at;
		return 0;
	default:
		return -EIO;
	}
}

static int vhdx_allocate(struct image *img, struct foreign_blocks *b, uint64_t index, uint64_t *ret_at)
{
	struct vhdx *vhdx = img->state;
	uint64_t at = align_up(image_file_size(img->file), VHDX_BLOCK_MIN);
	int r = foreign_append(img->file, at, b->size);

	if (r < 0)
		return r;
	foreign_table_set64(&vhdx->table, index + index / vhdx->ratio, GUINT64_TO_LE(at | VHDX_PRESENT));
	*ret_at = at;
	return 0;
}

/* ---- headers ---- */

static bool header_good(const uint8_t *h)
{
	return memcmp(h, "head", 4) == 0 && get_le16(h + VHDX_H_VERSION) == 1 &&
	       get_le32(h + VHDX_H_CHECKSUM) == vhdx_checksum(h, VHDX_HEADER, VHDX_H_CHECKSUM);
}

static bool read_headers(struct image *img, GError **error)
{
	struct vhdx *vhdx = img->state;
	uint8_t h[2][VHDX_HEADER];
	bool good[2];

	for (unsigned i = 0; i < 2; i++) {
		if (!foreign_read(img->file, (i + 1) * VHDX_HEADER_AT, h[i], VHDX_HEADER, error))
			return false;
		good[i] = header_good(h[i]);
	}
	if (!good[0] && !good[1])
		return kv_fail(error, KV_ERROR_INVALID, "neither of its headers is good; the file is damaged");
	if (good[0] && good[1]) {
		uint64_t a = get_le64(h[0] + VHDX_H_SEQUENCE), b = get_le64(h[1] + VHDX_H_SEQUENCE);

		if (a == b && memcmp(h[0], h[1], VHDX_HEADER) != 0) /* Disk2VHD writes the same one twice */
			return kv_fail(error, KV_ERROR_INVALID,
				       "its two headers have the same number and differ; the file is damaged");
		vhdx->current = b > a;
	} else {
		vhdx->current = good[1];
	}
	memcpy(vhdx->header, h[vhdx->current], VHDX_HEADER);
	return true;
}

/* The other header becomes the current one. */
static int write_header(struct image *img)
{
	struct vhdx *vhdx = img->state;
	uint8_t *h = vhdx->header;
	int r;

	put_le64(h + VHDX_H_SEQUENCE, get_le64(h + VHDX_H_SEQUENCE) + 1);
	put_le32(h + VHDX_H_CHECKSUM, vhdx_checksum(h, VHDX_HEADER, VHDX_H_CHECKSUM));
	r = img->file->type->write(img->file, (uint64_t)(2 - vhdx->current) * VHDX_HEADER_AT, h, VHDX_HEADER);
	if (!r)
		r = img->file->type->flush(img->file);
	if (!r)
		vhdx->current = !vhdx->current;
	return r;
}

/* New identities, before anything else is written. Both headers get them. */
static int begin_writing(struct image *img)
{
	struct vhdx *vhdx = img->state;
	int r = 0;

	if (__atomic_load_n(&vhdx->written, __ATOMIC_ACQUIRE))
		return 0;
	g_mutex_lock(&vhdx->blocks.lock);
	if (!vhdx->written) {
		vhdx_guid(vhdx->header + VHDX_H_FILE_GUID);
		vhdx_guid(vhdx->header + VHDX_H_DATA_GUID);
		r = write_header(img);
		if (!r)
			r = write_header(img);
		if (!r)
			__atomic_store_n(&vhdx->written, true, __ATOMIC_RELEASE);
	}
	g_mutex_unlock(&vhdx->blocks.lock);
	return r;
}

static bool replay(struct image *img, GError **error)
{
	struct vhdx *vhdx = img->state;
	int r = vhdx->log.records ? vhdx_log_replay(&vhdx->log, img->file) : 0;

	if (!r) {
		memset(vhdx->header + VHDX_H_LOG_GUID, 0, 16);
		vhdx_guid(vhdx->header + VHDX_H_FILE_GUID);
		r = write_header(img);
	}
	if (!r)
		r = write_header(img);
	vhdx_log_clear(&vhdx->log);
	return r < 0 ? kv_fail_errno(error, -r, "cannot replay its log") : true;
}

static bool read_log(struct image *img, GError **error)
{
	static const uint8_t none[16];
	struct vhdx *vhdx = img->state;
	const uint8_t *h = vhdx->header;

	if (memcmp(h + VHDX_H_LOG_GUID, none, 16) == 0)
		return true;
	if (get_le16(h + VHDX_H_LOG_VERSION) != 0)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "its log, which is not empty, has version %u; only 0 is supported",
			       get_le16(h + VHDX_H_LOG_VERSION));
	return vhdx_log_load(&vhdx->log, img->file, get_le64(h + VHDX_H_LOG_AT), get_le32(h + VHDX_H_LOG_SIZE),
			     h + VHDX_H_LOG_GUID, error) &&
	       (img->readonly || replay(img, error));
}

/* ---- regions and metadata ---- */

/* As the log will have it. */
static bool read_changed(struct image *img, uint64_t at, void *buf, uint64_t len, GError **error)
{
	struct vhdx *vhdx = img->state;

	if (!foreign_read(img->file, at, buf, len, error))
		return false;
	vhdx_log_apply(&vhdx->log, at, buf, len);
	return true;
}

static bool regions_good(const uint8_t *t)
{
	return memcmp(t, "regi", 4) == 0 && get_le32(t + 8) <= ENTRIES_MAX &&
	       get_le32(t + 4) == vhdx_checksum(t, VHDX_REGIONS, 4);
}

static bool find_region(struct image *img, const uint8_t *e, GError **error)
{
	struct vhdx *vhdx = img->state;
	struct region r = { get_le64(e + 16), get_le32(e + 24) };
	bool is_bat = memcmp(e, vhdx_region_bat, 16) == 0;

	if (!is_bat && memcmp(e, vhdx_region_metadata, 16) != 0)
		return !(get_le32(e + 28) & REQUIRED_REGION) ||
		       kv_fail(error, KV_ERROR_UNSUPPORTED, "it has a region of a kind that is not known and must be understood");
	if (r.at < VHDX_BLOCK_MIN || r.at % VHDX_BLOCK_MIN || !r.len || r.at > INT64_MAX)
		return kv_fail(error, KV_ERROR_INVALID, "a region (%" PRIu64 " bytes at %" PRIu64 ") makes no sense", r.len,
			       r.at);
	if ((is_bat ? &vhdx->bat : &vhdx->metadata)->len)
		return kv_fail(error, KV_ERROR_INVALID, "a region is there twice; the file is damaged");
	*(is_bat ? &vhdx->bat : &vhdx->metadata) = r;
	return true;
}

static bool read_regions(struct image *img, GError **error)
{
	g_autofree uint8_t *t = g_malloc(VHDX_REGIONS);
	struct vhdx *vhdx = img->state;

	if (!read_changed(img, VHDX_REGIONS_AT, t, VHDX_REGIONS, error))
		return false;
	if (!regions_good(t) && !read_changed(img, VHDX_REGIONS_AT + VHDX_REGIONS, t, VHDX_REGIONS, error))
		return false;
	if (!regions_good(t))
		return kv_fail(error, KV_ERROR_INVALID, "neither of its lists of regions is good; the file is damaged");
	for (uint32_t i = 0; i < get_le32(t + 8); i++)
		if (!find_region(img, t + R_ENTRIES + i * ENTRY, error))
			return false;
	if (!vhdx->bat.len || vhdx->metadata.len < VHDX_METADATA)
		return kv_fail(error, KV_ERROR_INVALID, "it has no block table or no metadata; the file is damaged");
	return true;
}

/* A value of up to 8 bytes. */
static bool read_item(struct image *img, const uint8_t *e, uint64_t *ret, unsigned len, GError **error)
{
	struct vhdx *vhdx = img->state;
	uint8_t value[8] = { 0 };
	uint32_t at = get_le32(e + 16);

	if (get_le32(e + 20) < len || at < VHDX_METADATA || !range_inside(at, len, vhdx->metadata.len))
		return kv_fail(error, KV_ERROR_INVALID, "an item of its metadata (%u bytes at %u) makes no sense",
			       get_le32(e + 20), at);
	if (!read_changed(img, vhdx->metadata.at + at, value, len, error))
		return false;
	*ret = get_le64(value);
	return true;
}

struct items {
	uint64_t file, size, logical;
	bool has_file, has_size, has_logical, has_parent;
};

static bool find_item(struct image *img, const uint8_t *e, struct items *items, GError **error)
{
	const struct {
		const uint8_t *guid;
		uint64_t *value; /* NULL: we do not ask */
		bool *has;
		unsigned len;
	} known[] = {
		{ vhdx_item_file, &items->file, &items->has_file, 8 },
		{ vhdx_item_size, &items->size, &items->has_size, 8 },
		{ vhdx_item_logical, &items->logical, &items->has_logical, 4 },
		{ vhdx_item_parent, NULL, &items->has_parent, 0 },
		{ vhdx_item_physical, NULL, NULL, 0 },
		{ vhdx_item_page83, NULL, NULL, 0 },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
		if (memcmp(e, known[i].guid, 16) != 0)
			continue;
		if (known[i].has && *known[i].has)
			return kv_fail(error, KV_ERROR_INVALID, "an item of its metadata is there twice; the file is damaged");
		if (known[i].has)
			*known[i].has = true;
		return !known[i].value || read_item(img, e, known[i].value, known[i].len, error);
	}
	return !(get_le32(e + 24) & VHDX_ITEM_REQUIRED) ||
	       kv_fail(error, KV_ERROR_UNSUPPORTED,
		       "its metadata has an item of a kind that is not known and must be understood");
}

static bool read_metadata(struct image *img, struct items *items, GError **error)
{
	g_autofree uint8_t *t = g_malloc(VHDX_METADATA);
	struct vhdx *vhdx = img->state;

	if (!read_changed(img, vhdx->metadata.at, t, VHDX_METADATA, error))
		return false;
	if (memcmp(t, "metadata", 8) != 0 || get_le16(t + 10) > ENTRIES_MAX)
		return kv_fail(error, KV_ERROR_INVALID, "its metadata is not where it should be; the file is damaged");
	for (uint32_t i = 0; i < get_le16(t + 10); i++)
		if (!find_item(img, t + M_ENTRIES + i * ENTRY, items, error))
			return false;
	if (!items->has_file || !items->has_size || !items->has_logical)
		return kv_fail(error, KV_ERROR_INVALID, "its metadata does not have all sizes; the file is damaged");
	return true;
}

static bool set_sizes(struct image *img, const struct items *items, GError **error)
{
	struct vhdx *vhdx = img->state;
	uint64_t block = (uint32_t)items->file;

	vhdx->flags = items->file >> 32;
	vhdx->sector = items->logical;
	if (items->has_parent || vhdx->flags & VHDX_FILE_HAS_PARENT)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "it is a differencing image, which is not supported; merge it with its parent in "
			       "Hyper-V");
	if (block < VHDX_BLOCK_MIN || block > VHDX_BLOCK_MAX || (block & (block - 1)))
		return kv_fail(error, KV_ERROR_INVALID,
			       "it has blocks of %" PRIu64 " bytes; a power of two from 1M to 256M is possible", block);
	if (vhdx->sector != 512 && vhdx->sector != 4096)
		return kv_fail(error, KV_ERROR_INVALID, "it has sectors of %u bytes; 512 and 4096 are possible", vhdx->sector);
	if (items->size > SIZE_MAX_BYTES || items->size % vhdx->sector)
		return kv_fail(error, KV_ERROR_INVALID, "its disk has %" PRIu64 " bytes; whole sectors up to 64 TiB are possible",
			       items->size);
	img->size = items->size;
	vhdx->blocks.size = block;
	vhdx->ratio = vhdx_chunk_ratio(block, vhdx->sector);
	return true;
}

/* ---- the table ---- */

static bool inside(const struct vhdx_log_record *r, const struct region *region)
{
	return r->offset >= region->at && range_inside(r->offset - region->at, r->len, region->len);
}

/* What we read of the file later does not go through the log. */
static bool check_log(struct image *img, GError **error)
{
	struct vhdx *vhdx = img->state;
	const struct region front = { 0, VHDX_BLOCK_MIN };

	for (unsigned i = 0; vhdx->log.records && i < vhdx->log.records->len; i++) {
		const struct vhdx_log_record *r = &g_array_index(vhdx->log.records, struct vhdx_log_record, i);

		if (!inside(r, &front) && !inside(r, &vhdx->bat) && !inside(r, &vhdx->metadata))
			return kv_fail(
				error, KV_ERROR_UNSUPPORTED,
				"its log, which is not empty, changes more than the block table; open it for writing once, which "
				"replays the log");
	}
	return true;
}

/* New blocks go to the end of the file: one that reaches beyond it would have bytes in common with them. */
static bool check_blocks(struct image *img, GError **error)
{
	struct vhdx *vhdx = img->state;
	uint64_t n = img->size / vhdx->blocks.size + (img->size % vhdx->blocks.size != 0);

	for (uint64_t i = 0; !img->readonly && i < n; i++) {
		uint64_t e = entry_of(vhdx, i);

		if ((e & VHDX_STATE) == VHDX_PRESENT &&
		    !range_inside(align_down(e, VHDX_BLOCK_MIN), vhdx->blocks.size, image_file_size(img->file)))
			return kv_fail(error, KV_ERROR_INVALID,
				       "block %" PRIu64 " is beyond the end of the file, which is cut off or damaged; open "
				       "it read only to save what can be read",
				       i);
	}
	return true;
}

static bool read_table(struct image *img, GError **error)
{
	struct vhdx *vhdx = img->state;
	uint64_t bytes = vhdx_table_entries(img->size, vhdx->blocks.size, vhdx->sector) * 8;

	if (bytes > vhdx->bat.len)
		return kv_fail(error, KV_ERROR_INVALID,
			       "its block table has %" PRIu64 " bytes and needs %" PRIu64 "; the file is damaged", vhdx->bat.len,
			       bytes);
	if (!foreign_table_load(&vhdx->table, img->file, "it", vhdx->bat.at, bytes, error))
		return false;
	vhdx_log_apply(&vhdx->log, vhdx->bat.at, vhdx->table.raw, bytes);
	return check_log(img, error) && check_blocks(img, error);
}

/* ---- open and close ---- */

static void vhdx_free(struct image *img)
{
	struct vhdx *vhdx = g_steal_pointer(&img->state);

	vhdx_log_clear(&vhdx->log);
	foreign_table_free(&vhdx->table);
	g_mutex_clear(&vhdx->blocks.lock);
	g_free(vhdx);
}

static bool vhdx_open(struct image *img, GVariant *options, GError **error)
{
	struct vhdx *vhdx = g_new0(struct vhdx, 1);
	struct items items = { 0 };
	uint8_t head[8];
	bool ok;

	img->state = vhdx;
	g_mutex_init(&vhdx->blocks.lock);
	vhdx->blocks.file = img->file;
	vhdx->blocks.lookup = vhdx_lookup;
	vhdx->blocks.allocate = vhdx_allocate;
	ok = foreign_read(img->file, 0, head, sizeof(head), error);
	if (ok && !vhdx_probe(head, sizeof(head)))
		ok = kv_fail(error, KV_ERROR_INVALID, "there is no signature at its start; name its format");
	if (!ok || !read_headers(img, error) || !read_log(img, error) || !read_regions(img, error) ||
	    !read_metadata(img, &items, error) || !set_sizes(img, &items, error) || !read_table(img, error)) {
		g_prefix_error(error, "vhdx '%s': ", img->path);
		vhdx_free(img);
		return false;
	}
	vhdx_log_clear(&vhdx->log);
	img->discard = !img->readonly;
	return true;
}

static int vhdx_flush(struct image *img)
{
	struct vhdx *vhdx = img->state;
	int r = 0;

	g_mutex_lock(&vhdx->blocks.lock);
	if (vhdx->table.is_dirty) {
		r = img->file->type->flush(img->file);
		if (!r)
			r = foreign_table_write_back(&vhdx->table);
	}
	g_mutex_unlock(&vhdx->blocks.lock);
	return r ? r : img->file->type->flush(img->file);
}

static void vhdx_close(struct image *img)
{
	struct vhdx *vhdx = img->state;
	int r = vhdx->table.is_dirty ? vhdx_flush(img) : 0;

	if (r < 0)
		kv_log_error("vhdx '%s': cannot write its block table, new blocks are lost: %s", img->path, g_strerror(-r));
	vhdx_free(img);
}

/* ---- data ---- */

static int vhdx_map(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	struct vhdx *vhdx = img->state;

	return foreign_blocks_map(img, &vhdx->blocks, offset, len, ret);
}

static int vhdx_write(struct image *img, uint64_t offset, const void *buf, uint64_t len)
{
	struct vhdx *vhdx = img->state;
	int r = begin_writing(img);

	return r ? r : foreign_blocks_write(img, &vhdx->blocks, offset, buf, len);
}

static int vhdx_write_zeroes(struct image *img, uint64_t offset, uint64_t len, unsigned flags)
{
	struct vhdx *vhdx = img->state;
	int r = begin_writing(img);

	return r ? r : foreign_blocks_zero(img, &vhdx->blocks, offset, len, flags & IMAGE_MAY_UNMAP);
}

static int vhdx_discard(struct image *img, uint64_t offset, uint64_t len)
{
	return vhdx_write_zeroes(img, offset, len, IMAGE_MAY_UNMAP);
}

static uint64_t vhdx_cluster_size(struct image *img)
{
	return ((struct vhdx *)img->state)->blocks.size;
}

/* ---- check ---- */

struct place {
	uint64_t at, index;
};

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

static void fault(image_report *report, void *opaque, struct image_check *ret, const char *format, uint64_t block, uint64_t value)
{
	g_autofree char *text = g_strdup_printf("block %" PRIu64 " %s %" PRIu64, block, format, value);

	ret->corruptions++;
	report(opaque, text);
}

static bool overlaps(uint64_t at, uint64_t len, const struct region *r)
{
	return at < r->at + r->len && r->at < at + len;
}

/* One entry; where the block is, is noted if that is somewhere. */
static void check_entry(struct image *img, uint64_t index, GArray *places, image_report *report, void *opaque,
			struct image_check *ret)
{
	struct vhdx *vhdx = img->state;
	struct region log = { get_le64(vhdx->header + VHDX_H_LOG_AT), get_le32(vhdx->header + VHDX_H_LOG_SIZE) };
	uint64_t e = entry_of(vhdx, index);
	struct place p = { align_down(e, VHDX_BLOCK_MIN), index };

	if ((e & VHDX_STATE) == 4 || (e & VHDX_STATE) == 7)
		fault(report, opaque, ret, "is in a state that makes no sense:", index, e & VHDX_STATE);
	if ((e & VHDX_STATE) != VHDX_PRESENT)
		return;
	ret->allocated_clusters++;
	if (!range_inside(p.at, vhdx->blocks.size, image_file_size(img->file)))
		fault(report, opaque, ret, "is beyond the end of the file, at", index, p.at);
	else if (p.at < VHDX_BLOCK_MIN || overlaps(p.at, vhdx->blocks.size, &vhdx->bat) ||
		 overlaps(p.at, vhdx->blocks.size, &vhdx->metadata) || overlaps(p.at, vhdx->blocks.size, &log))
		fault(report, opaque, ret, "is where the format's own structures are, at", index, p.at);
	else
		g_array_append_val(places, p);
}

static bool vhdx_check(struct image *img, unsigned fix, image_report *report, void *opaque, struct image_check *ret,
		       GError **error)
{
	g_autoptr(GArray) places = g_array_new(FALSE, FALSE, sizeof(struct place));
	struct vhdx *vhdx = img->state;

	ret->total_clusters = img->size / vhdx->blocks.size + (img->size % vhdx->blocks.size != 0);
	for (uint64_t i = 0; i < ret->total_clusters; i++)
		check_entry(img, i, places, report, opaque, ret);
	g_array_sort(places, compare_places);
	for (unsigned i = 1; i < places->len; i++) {
		const struct place *a = &g_array_index(places, struct place, i - 1), *b = a + 1;

		if (b->at - a->at < vhdx->blocks.size)
			fault(report, opaque, ret, "has bytes in common with block", b->index, a->index);
	}
	return true;
}

const struct image_format image_vhdx = {
	.name = "vhdx",
	.probe = vhdx_probe,
	.open = vhdx_open,
	.close = vhdx_close,
	.map = vhdx_map,
	.write = vhdx_write,
	.write_zeroes = vhdx_write_zeroes,
	.discard = vhdx_discard,
	.flush = vhdx_flush,
	.create = vhdx_create,
	.create_options = vhdx_create_options,
	.cluster_size = vhdx_cluster_size,
	.check = vhdx_check,
};
