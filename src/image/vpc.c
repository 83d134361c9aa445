/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Virtual PC's and Hyper-V's VHD, fixed (the disk, then a footer) and dynamic (a copy of the footer, a header, a table of
 * sectors at which blocks are, blocks behind a bitmap each, the footer). Source: Microsoft's "Virtual Hard Disk Image Format
 * Specification" 1.0. Differencing images are refused. A row of image_formats[], which QEMU calls vpc.
 *
 * A block's bitmap says which of its sectors were ever written. Like QEMU we do not ask it when we read (other sectors are
 * zeroes), but a block that we write to has all its bits set, for those who ask. foreign.h says when the table is written.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "foreign.h"
#include "log.h"

/* Bytes of the footer, big endian. */
enum {
	F_FEATURES = 8,
	F_VERSION = 12,
	F_HEADER = 16,
	F_TIME = 24,
	F_CREATOR = 28,
	F_CREATOR_VERSION = 32,
	F_CREATOR_HOST = 36,
	F_FIRST_SIZE = 40,
	F_SIZE = 48,
	F_CYLINDERS = 56,
	F_HEADS = 58,
	F_SECTORS = 59,
	F_TYPE = 60,
	F_CHECKSUM = 64,
	F_UUID = 68,
	FOOTER = 512,
};

/* Bytes of the header of dynamic images. */
enum {
	H_NEXT = 8,
	H_TABLE = 16,
	H_VERSION = 24,
	H_ENTRIES = 28,
	H_BLOCK_SIZE = 32,
	H_CHECKSUM = 36,
	HEADER = 1024,
};

enum { TYPE_FIXED = 2, TYPE_DYNAMIC = 3, TYPE_DIFFERENCING = 4 };
enum {
	SECTOR = 512,
	BLOCK_SIZE = 2 << 20, /* of images we make */
	EPOCH = 946684800,    /* 2000-01-01, where times count from */
};
#define FREE 0xffffffffu
/* The largest geometry, which also means that there is none; and the largest disk. */
#define CHS_MAX	    (65535ull * 16 * 255)
#define SECTORS_MAX 0xff000000ull

struct vpc {
	bool fixed;
	uint8_t footer[FOOTER];
	struct foreign_blocks blocks;
	struct foreign_table table;
	uint64_t bitmap;  /* bytes of one, whole sectors */
	uint64_t end;	  /* of the last block; the footer's place */
	bool footer_lost; /* overwritten by a new block */
	uint8_t *whole;	  /* a byte for each block: all bits of its bitmap are set, by us */
};

static bool vpc_probe(const uint8_t *head, size_t len)
{
	return len >= 8 && memcmp(head, "conectix", 8) == 0;
}

/* The sum that has `at` as its own place. */
static uint32_t checksum(const uint8_t *p, size_t len, size_t at)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		if (i < at || i >= at + 4)
			sum += p[i];
	return ~sum;
}

static uint32_t entry(const struct vpc *vpc, uint64_t index)
{
	return GUINT32_FROM_BE(foreign_table_get32(&vpc->table, index));
}

static bool is_whole(const struct vpc *vpc, uint64_t index)
{
	return __atomic_load_n(&vpc->whole[index], __ATOMIC_RELAXED);
}

static int vpc_lookup(struct image *img, struct foreign_blocks *b, uint64_t index, struct image_extent *ret)
{
	struct vpc *vpc = img->state;
	uint64_t at = (uint64_t)entry(vpc, index) * SECTOR;

	if (entry(vpc, index) == FREE) {
		ret->kind = IMAGE_HOLE;
		return 0;
	}
	if (!range_inside(at, vpc->bitmap + vpc->blocks.size, image_file_size(img->file)))
		return -EIO;
	ret->kind = IMAGE_DATA;
	ret->has_at = true;
	ret->in_place = is_whole(vpc, index);
	ret->at = at + vpc->bitmap;
	return 0;
}

static int set_bitmap(struct image *img, uint64_t at)
{
	struct vpc *vpc = img->state;
	g_autofree uint8_t *bits = g_malloc(vpc->bitmap);

	memset(bits, 0xff, vpc->bitmap);
	return img->file->type->write(img->file, at, bits, vpc->bitmap);
}

static int vpc_allocate(struct image *img, struct foreign_blocks *b, uint64_t index, uint64_t *ret_at)
{
	struct vpc *vpc = img->state;
	uint64_t at = vpc->end;
	int r;

	if (at / SECTOR >= FREE)
		return -EFBIG;
	vpc->footer_lost = true;
	r = foreign_append(img->file, at, vpc->bitmap + vpc->blocks.size);
	if (!r)
		r = set_bitmap(img, at);
	if (r < 0)
		return r;
	__atomic_store_n(&vpc->whole[index], 1, __ATOMIC_RELAXED);
	foreign_table_set32(&vpc->table, index, GUINT32_TO_BE(at / SECTOR));
	vpc->end += vpc->bitmap + vpc->blocks.size;
	*ret_at = at + vpc->bitmap;
	return 0;
}

/* A block that was there before is written to for the first time. */
static int make_whole(struct image *img, uint64_t index)
{
	struct vpc *vpc = img->state;
	uint32_t e = entry(vpc, index);
	int r;

	if (e == FREE || is_whole(vpc, index))
		return 0;
	r = set_bitmap(img, (uint64_t)e * SECTOR);
	if (!r)
		__atomic_store_n(&vpc->whole[index], 1, __ATOMIC_RELAXED);
	return r;
}

static bool footer_good(const uint8_t *f)
{
	return vpc_probe(f, FOOTER) && get_be32(f + F_CHECKSUM) == checksum(f, FOOTER, F_CHECKSUM);
}

/*
 * The one at the end is believed: what stands at the start of a fixed image is the guest's. The copy at the start is for
 * dynamic images that grew when the machine stopped.
 */
static bool read_footer(struct image *img, GError **error)
{
	struct vpc *vpc = img->state;
	uint64_t size = image_file_size(img->file);

	if (size >= FOOTER && !foreign_read(img->file, size - FOOTER, vpc->footer, FOOTER, error))
		return false;
	if (size >= FOOTER && footer_good(vpc->footer))
		return true;
	if (!foreign_read(img->file, 0, vpc->footer, FOOTER, error))
		return false;
	if (!vpc_probe(vpc->footer, FOOTER))
		return kv_fail(error, KV_ERROR_INVALID,
			       "'%s' is no vpc image: there is no footer at its end and no copy at its start; name its format",
			       img->path);
	if (!footer_good(vpc->footer))
		return kv_fail(error, KV_ERROR_INVALID, "vpc '%s': the checksum of its footer is wrong; the file is damaged",
			       img->path);
	return true;
}

/* Virtual PC goes by the geometry; who writes these names goes by the size. So does QEMU. */
static bool size_is_geometry(const uint8_t *footer)
{
	static const char by_size[][5] = { "win ", "qem2", "d2v ", "tap\0", "CTXS", "wa\0\0" };

	for (size_t i = 0; i < G_N_ELEMENTS(by_size); i++)
		if (memcmp(footer + F_CREATOR, by_size[i], 4) == 0)
			return false;
	return true;
}

static bool find_size(struct image *img, GError **error)
{
	const uint8_t *f = ((struct vpc *)img->state)->footer;
	uint64_t sectors = (uint64_t)get_be16(f + F_CYLINDERS) * f[F_HEADS] * f[F_SECTORS];

	if (!size_is_geometry(f) || sectors == CHS_MAX)
		sectors = get_be64(f + F_SIZE) / SECTOR;
	if (sectors > SECTORS_MAX)
		return kv_fail(error, KV_ERROR_INVALID,
			       "vpc '%s' says that its disk has %" PRIu64 " sectors, more than the format allows (2040 GiB)",
			       img->path, sectors);
	img->size = sectors * SECTOR;
	return true;
}

static bool open_fixed(struct image *img, GError **error)
{
	struct vpc *vpc = img->state;

	vpc->fixed = true;
	if (image_file_size(img->file) < FOOTER || img->size > image_file_size(img->file) - FOOTER)
		return kv_fail(error, KV_ERROR_INVALID,
			       "vpc '%s' has a fixed disk of %" PRIu64 " bytes, but the file has %" PRIu64 "; it is cut off",
			       img->path, img->size, image_file_size(img->file));
	return true;
}

static bool check_header(struct image *img, const uint8_t *h, GError **error)
{
	struct vpc *vpc = img->state;
	uint64_t block = get_be32(h + H_BLOCK_SIZE);

	if (memcmp(h, "cxsparse", 8) != 0)
		return kv_fail(error, KV_ERROR_INVALID,
			       "vpc '%s': the header of dynamic images is not where the footer says (%" PRIu64 ")", img->path,
			       get_be64(vpc->footer + F_HEADER));
	if (get_be32(h + H_CHECKSUM) != checksum(h, HEADER, H_CHECKSUM))
		return kv_fail(error, KV_ERROR_INVALID, "vpc '%s': the checksum of its header is wrong; the file is damaged",
			       img->path);
	if (block < SECTOR || block > 256 << 20 || (block & (block - 1)))
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "vpc '%s' has blocks of %" PRIu64 " bytes; a power of two from 512 to 256 MiB is supported",
			       img->path, block);
	if (img->size > get_be32(h + H_ENTRIES) * block)
		return kv_fail(error, KV_ERROR_INVALID,
			       "vpc '%s': its %u blocks of %" PRIu64 " bytes are not enough for a disk of %" PRIu64, img->path,
			       get_be32(h + H_ENTRIES), block, img->size);
	vpc->blocks.size = block;
	vpc->bitmap = align_up(MAX(block / SECTOR / 8, 1), SECTOR);
	return true;
}

/* Where the next block goes. An image whose blocks are not in the file is only read. */
static bool find_end(struct image *img, uint64_t n, GError **error)
{
	struct vpc *vpc = img->state;

	vpc->end = align_up(MAX(vpc->table.offset + vpc->table.bytes, get_be64(vpc->footer + F_HEADER) + HEADER), SECTOR);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t end = (uint64_t)entry(vpc, i) * SECTOR + vpc->bitmap + vpc->blocks.size;

		if (entry(vpc, i) == FREE)
			continue;
		if (end > image_file_size(img->file) && !img->readonly)
			return kv_fail(error, KV_ERROR_INVALID,
				       "vpc '%s': block %" PRIu64
				       " is beyond the end of the file, which is cut off or damaged; open it "
				       "read only to save what can be read",
				       img->path, i);
		vpc->end = MAX(vpc->end, end);
	}
	vpc->whole = g_malloc0(n + 1);
	return true;
}

static bool open_dynamic(struct image *img, GError **error)
{
	g_autofree char *what = g_strdup_printf("vpc '%s'", img->path);
	struct vpc *vpc = img->state;
	uint64_t at = get_be64(vpc->footer + F_HEADER), n;
	uint8_t h[HEADER];

	if (!range_inside(at, HEADER, image_file_size(img->file)))
		return kv_fail(error, KV_ERROR_INVALID,
			       "vpc '%s': the header of dynamic images is to be at %" PRIu64
			       ", which is not in the file; it is cut off or damaged",
			       img->path, at);
	if (!foreign_read(img->file, at, h, sizeof(h), error) || !check_header(img, h, error))
		return false;
	n = img->size / vpc->blocks.size + (img->size % vpc->blocks.size != 0);
	return foreign_table_load(&vpc->table, img->file, what, get_be64(h + H_TABLE), n * 4, error) && find_end(img, n, error);
}

static void vpc_free(struct image *img)
{
	struct vpc *vpc = g_steal_pointer(&img->state);

	foreign_table_free(&vpc->table);
	g_mutex_clear(&vpc->blocks.lock);
	g_free(vpc->whole);
	g_free(vpc);
}

static bool open_type(struct image *img, GError **error)
{
	struct vpc *vpc = img->state;
	uint32_t type = get_be32(vpc->footer + F_TYPE);

	if (type == TYPE_FIXED)
		return open_fixed(img, error);
	if (type == TYPE_DYNAMIC)
		return open_dynamic(img, error);
	return kv_fail(error, KV_ERROR_UNSUPPORTED, "vpc '%s' is %s; only fixed and dynamic images are supported%s", img->path,
		       type == TYPE_DIFFERENCING ? "a differencing image" : "of a type that is not known",
		       type == TYPE_DIFFERENCING ? ", merge it with its parent in Hyper-V" : "");
}

static bool vpc_open(struct image *img, GVariant *options, GError **error)
{
	struct vpc *vpc = g_new0(struct vpc, 1);

	img->state = vpc;
	g_mutex_init(&vpc->blocks.lock);
	vpc->blocks.file = img->file;
	vpc->blocks.lookup = vpc_lookup;
	vpc->blocks.allocate = vpc_allocate;
	if (!read_footer(img, error) || !find_size(img, error) || !open_type(img, error)) {
		vpc_free(img);
		return false;
	}
	img->discard = !img->readonly;
	return true;
}

static int vpc_map(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	struct vpc *vpc = img->state;

	if (!vpc->fixed)
		return foreign_blocks_map(img, &vpc->blocks, offset, len, ret);
	*ret = (struct image_extent){ .kind = IMAGE_DATA, .has_at = true, .in_place = true, .at = offset, .len = len };
	return 0;
}

static int vpc_write(struct image *img, uint64_t offset, const void *buf, uint64_t len)
{
	struct vpc *vpc = img->state;
	int r = 0;

	if (vpc->fixed)
		return img->file->type->write(img->file, offset, buf, len);
	for (uint64_t i = offset / vpc->blocks.size; !r && i * vpc->blocks.size < offset + len; i++)
		r = make_whole(img, i);
	return r ? r : foreign_blocks_write(img, &vpc->blocks, offset, buf, len);
}

static int vpc_write_zeroes(struct image *img, uint64_t offset, uint64_t len, unsigned flags)
{
	struct vpc *vpc = img->state;

	if (vpc->fixed)
		return img->file->type->write_zeroes(img->file, offset, len, flags & IMAGE_MAY_UNMAP);
	return foreign_blocks_zero(img, &vpc->blocks, offset, len, flags & IMAGE_MAY_UNMAP);
}

static int vpc_discard(struct image *img, uint64_t offset, uint64_t len)
{
	return vpc_write_zeroes(img, offset, len, IMAGE_MAY_UNMAP);
}

static int vpc_flush(struct image *img)
{
	struct vpc *vpc = img->state;
	struct image_file *f = img->file;
	int r = 0;

	g_mutex_lock(&vpc->blocks.lock);
	if (vpc->footer_lost)
		r = f->type->write(f, vpc->end, vpc->footer, FOOTER);
	if (!r && vpc->table.is_dirty) {
		r = f->type->flush(f);
		if (!r)
			r = foreign_table_write_back(&vpc->table);
	}
	if (!r)
		vpc->footer_lost = false;
	g_mutex_unlock(&vpc->blocks.lock);
	return r ? r : f->type->flush(f);
}

static void vpc_close(struct image *img)
{
	struct vpc *vpc = img->state;
	int r = vpc->footer_lost || vpc->table.is_dirty ? vpc_flush(img) : 0;

	if (r < 0)
		kv_log_error("vpc '%s': cannot write its block table, new blocks are lost: %s", img->path, g_strerror(-r));
	vpc_free(img);
}

/* ---- create ---- */

struct geometry {
	uint64_t cylinders;
	unsigned heads, sectors;
};

/* The specification's appendix "CHS Calculation". */
static struct geometry geometry_of(uint64_t total)
{
	struct geometry g = { .heads = 16 };
	uint64_t tracks;

	total = MIN(total, CHS_MAX);
	if (total >= 65535ull * 16 * 63) {
		g.sectors = 255;
		tracks = total / 255;
	} else {
		g.sectors = 17;
		tracks = total / 17;
		g.heads = MAX((tracks + 1023) / 1024, 4);
		if (tracks >= g.heads * 1024ull || g.heads > 16) {
			g.sectors = 31;
			g.heads = 16;
			tracks = total / 31;
		}
		if (tracks >= g.heads * 1024ull) {
			g.sectors = 63;
			g.heads = 16;
			tracks = total / 63;
		}
	}
	g.cylinders = tracks / g.heads;
	return g;
}

/* A geometry that holds all sectors, or the largest. */
static struct geometry geometry_for(uint64_t sectors)
{
	struct geometry g = { 0 };

	sectors = MIN(sectors, CHS_MAX);
	for (uint64_t more = 0; g.cylinders * g.heads * g.sectors < sectors; more++)
		g = geometry_of(sectors + more);
	return g;
}

static void put_footer(uint8_t *f, uint64_t sectors, const struct geometry *g, bool fixed, bool by_size)
{
	memcpy(f, "conectix", 8);
	put_be32(f + F_FEATURES, 2); /* reserved, always set */
	put_be32(f + F_VERSION, 0x00010000);
	put_be64(f + F_HEADER, fixed ? UINT64_MAX : FOOTER);
	put_be32(f + F_TIME, g_get_real_time() / G_USEC_PER_SEC - EPOCH);
	/* QEMU's names, by which it and others choose between size and geometry */
	memcpy(f + F_CREATOR, by_size ? "qem2" : "qemu", 4);
	put_be32(f + F_CREATOR_VERSION, 0x00050003);
	memcpy(f + F_CREATOR_HOST, "Wi2k", 4);
	put_be64(f + F_FIRST_SIZE, sectors * SECTOR);
	put_be64(f + F_SIZE, sectors * SECTOR);
	put_be16(f + F_CYLINDERS, g->cylinders);
	f[F_HEADS] = g->heads;
	f[F_SECTORS] = g->sectors;
	put_be32(f + F_TYPE, fixed ? TYPE_FIXED : TYPE_DYNAMIC);
	foreign_uuid(f + F_UUID);
	put_be32(f + F_CHECKSUM, checksum(f, FOOTER, F_CHECKSUM));
}

static bool create_dynamic(struct image_file *file, const uint8_t *footer, uint64_t sectors, GError **error)
{
	uint64_t n = sectors * SECTOR / BLOCK_SIZE + (sectors * SECTOR % BLOCK_SIZE != 0), bytes = align_up(n * 4, SECTOR);
	g_autofree uint8_t *table = g_malloc(bytes + 1);
	uint8_t h[HEADER] = "cxsparse";

	put_be64(h + H_NEXT, UINT64_MAX);
	put_be64(h + H_TABLE, FOOTER + HEADER);
	put_be32(h + H_VERSION, 0x00010000);
	put_be32(h + H_ENTRIES, n);
	put_be32(h + H_BLOCK_SIZE, BLOCK_SIZE);
	put_be32(h + H_CHECKSUM, checksum(h, HEADER, H_CHECKSUM));
	memset(table, 0xff, bytes);
	return foreign_write(file, FOOTER + HEADER, table, bytes, error) && foreign_write(file, FOOTER, h, sizeof(h), error) &&
	       foreign_write(file, FOOTER + HEADER + bytes, footer, FOOTER, error) &&
	       foreign_write(file, 0, footer, FOOTER, error);
}

static bool vpc_create(struct image_file *file, uint64_t size, GVariant *options, GError **error)
{
	static const char *const subformats[] = { "dynamic", "fixed", NULL };
	static const struct geometry largest = { 65535, 16, 255 };
	uint64_t sectors = size / SECTOR + (size % SECTOR != 0);
	uint8_t footer[FOOTER] = { 0 };
	unsigned subformat = 0;
	struct geometry g;
	bool force = false;

	if (!foreign_option_choice(options, "subformat", subformats, &subformat, error) ||
	    !foreign_option_bool(options, "force_size", &force, error))
		return false;
	g = force ? largest : geometry_for(sectors);
	if (g.cylinders * g.heads * g.sectors != CHS_MAX)
		sectors = g.cylinders * g.heads * g.sectors;
	if (sectors > SECTORS_MAX)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "a vpc image holds at most 2040 GiB; choose vhdx or qcow2 for more");
	put_footer(footer, sectors, &g, subformat == 1, force);
	return subformat == 1 ? foreign_write(file, sectors * SECTOR, footer, FOOTER, error)
			      : create_dynamic(file, footer, sectors, error);
}

static uint64_t vpc_cluster_size(struct image *img)
{
	struct vpc *vpc = img->state;

	return vpc->fixed ? 0 : vpc->blocks.size;
}

static const char *const vpc_create_options[] = { "subformat", "force_size", NULL };

const struct image_format image_vpc = {
	.name = "vpc",
	.probe = vpc_probe,
	.open = vpc_open,
	.close = vpc_close,
	.map = vpc_map,
	.write = vpc_write,
	.write_zeroes = vpc_write_zeroes,
	.discard = vpc_discard,
	.flush = vpc_flush,
	.create = vpc_create,
	.create_options = vpc_create_options,
	.cluster_size = vpc_cluster_size,
};
