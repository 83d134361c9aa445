/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* New VHDX images, and the constants that these share with vhdx.c. One MiB each or more: headers, log, block table, metadata. */
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "vhdx.h"

enum { MiB = 1 << 20, LOGICAL_SECTOR = 512, ENTRY = 32, R_ENTRIES = 16, M_ENTRIES = 32, ITEMS = 5 };
#define SIZE_MAX_BYTES (64ull << 40)
#define LOG_SIZE_MAX   (1ull << 30)

const uint8_t vhdx_region_bat[16] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
				     0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
const uint8_t vhdx_region_metadata[16] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
					  0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };
const uint8_t vhdx_item_file[16] = { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
				    0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b };
const uint8_t vhdx_item_size[16] = { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
				    0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8 };
const uint8_t vhdx_item_page83[16] = { 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45,
				      0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46 };
const uint8_t vhdx_item_logical[16] = { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
				       0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f };
const uint8_t vhdx_item_physical[16] = { 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44,
					0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56 };
const uint8_t vhdx_item_parent[16] = { 0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
				      0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c };

void vhdx_guid(uint8_t guid[16])
{
	uint8_t uuid[16];

	foreign_uuid(uuid);
	memcpy(guid, uuid, 16);
	guid[6] = uuid[7]; /* its third part is little endian */
	guid[7] = uuid[6];
}

uint32_t vhdx_checksum(const uint8_t *p, size_t len, size_t at)
{
	static uint32_t table[256];
	static gsize ready;
	uint32_t crc = UINT32_MAX;

	if (g_once_init_enter(&ready)) {
		for (uint32_t i = 0; i < 256; i++) {
			table[i] = i;
			for (unsigned bit = 0; bit < 8; bit++)
				table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0x82f63b78 : 0);
		}
		g_once_init_leave(&ready, 1);
	}
	for (size_t i = 0; i < len; i++)
		crc = crc >> 8 ^ table[(uint8_t)(crc ^ (i - at < 4 ? 0 : p[i]))];
	return ~crc;
}

uint64_t vhdx_chunk_ratio(uint64_t block, uint32_t sector)
{
	return (1ull << 23) * sector / block;
}

uint64_t vhdx_table_entries(uint64_t size, uint64_t block, uint32_t sector)
{
	uint64_t n = size / block + (size % block != 0);

	return n ? n + (n - 1) / vhdx_chunk_ratio(block, sector) : 0;
}

struct layout {
	uint64_t size, block, log, bat, metadata, data; /* log to data: where they are */
	uint64_t n_entries;
	bool fixed, zero;
};

static bool put_ids(struct image_file *f, const struct layout *l, GError **error)
{
	static const char creator[] = "K\0v\0a\0s\0i\0r\0";
	uint8_t id[512] = "vhdxfile", h[VHDX_HEADER] = "head";

	memcpy(id + 8, creator, sizeof(creator));
	put_le16(h + VHDX_H_VERSION, 1);
	put_le32(h + VHDX_H_LOG_SIZE, l->bat - l->log);
	put_le64(h + VHDX_H_LOG_AT, l->log);
	vhdx_guid(h + VHDX_H_FILE_GUID);
	vhdx_guid(h + VHDX_H_DATA_GUID);
	for (unsigned i = 0; i < 2; i++) {
		put_le64(h + VHDX_H_SEQUENCE, i + 1);
		put_le32(h + VHDX_H_CHECKSUM, vhdx_checksum(h, VHDX_HEADER, VHDX_H_CHECKSUM));
		if (!foreign_write(f, (i + 1) * VHDX_HEADER_AT, h, VHDX_HEADER, error))
			return false;
	}
	return foreign_write(f, 0, id, sizeof(id), error);
}

static void put_region(uint8_t *e, const uint8_t guid[16], uint64_t at, uint64_t len)
{
	memcpy(e, guid, 16);
	put_le64(e + 16, at);
	put_le32(e + 24, len);
	put_le32(e + 28, 1); /* required */
}

static bool put_regions(struct image_file *f, const struct layout *l, GError **error)
{
	g_autofree uint8_t *t = g_malloc0(VHDX_REGIONS);

	memcpy(t, "regi", 4);
	put_le32(t + 8, 2);
	put_region(t + R_ENTRIES, vhdx_region_bat, l->bat, l->metadata - l->bat);
	put_region(t + R_ENTRIES + ENTRY, vhdx_region_metadata, l->metadata, MiB);
	put_le32(t + 4, vhdx_checksum(t, VHDX_REGIONS, 4));
	return foreign_write(f, VHDX_REGIONS_AT, t, VHDX_REGIONS, error) &&
	       foreign_write(f, VHDX_REGIONS_AT + VHDX_REGIONS, t, VHDX_REGIONS, error);
}

static bool put_metadata(struct image_file *f, const struct layout *l, GError **error)
{
	g_autofree uint8_t *t = g_malloc0(VHDX_METADATA + 64);
	uint8_t *values = t + VHDX_METADATA;
	const struct {
		const uint8_t *guid;
		unsigned at, len, flags;
	} items[ITEMS] = {
		{ vhdx_item_file, 0, 8, VHDX_ITEM_REQUIRED },
		{ vhdx_item_size, 8, 8, VHDX_ITEM_REQUIRED | VHDX_ITEM_IS_DISK },
		{ vhdx_item_page83, 16, 16, VHDX_ITEM_REQUIRED | VHDX_ITEM_IS_DISK },
		{ vhdx_item_logical, 32, 4, VHDX_ITEM_REQUIRED | VHDX_ITEM_IS_DISK },
		{ vhdx_item_physical, 36, 4, VHDX_ITEM_REQUIRED | VHDX_ITEM_IS_DISK },
	};

	memcpy(t, "metadata", 8);
	put_le16(t + 10, ITEMS);
	for (unsigned i = 0; i < ITEMS; i++) {
		uint8_t *e = t + M_ENTRIES + i * ENTRY;

		memcpy(e, items[i].guid, 16);
		put_le32(e + 16, VHDX_METADATA + items[i].at);
		put_le32(e + 20, items[i].len);
		put_le32(e + 24, items[i].flags);
	}
	put_le32(values, l->block);
	put_le32(values + 4, l->fixed ? VHDX_FILE_FIXED : 0);
	put_le64(values + 8, l->size);
	vhdx_guid(values + 16);
	put_le32(values + 32, LOGICAL_SECTOR);
	put_le32(values + 36, LOGICAL_SECTOR);
	return foreign_write(f, l->metadata, t, VHDX_METADATA + 64, error);
}

static bool put_table(struct image_file *f, const struct layout *l, GError **error)
{
	g_autofree uint64_t *t = g_new0(uint64_t, l->n_entries + 1);
	uint64_t ratio = vhdx_chunk_ratio(l->block, LOGICAL_SECTOR), at = l->data;

	for (uint64_t i = 0; i < l->n_entries; i++) {
		if (i % (ratio + 1) == ratio) /* of a sector bitmap, which we have not */
			continue;
		t[i] = GUINT64_TO_LE(l->fixed ? at | VHDX_PRESENT : l->zero ? VHDX_ZERO : VHDX_NOT_PRESENT);
		at += l->block;
	}
	return foreign_write(f, l->bat, t, l->n_entries * 8, error) && foreign_truncate(f, l->fixed ? at : l->data, error);
}

static bool read_options(struct layout *l, uint64_t *ret_log_size, GVariant *options, GError **error)
{
	static const char *const subformats[] = { "dynamic", "fixed", NULL };
	uint64_t block = 0, log = MiB;
	unsigned subformat = 0;

	if (!foreign_option_choice(options, "subformat", subformats, &subformat, error) ||
	    !foreign_option_size(options, "block_size", &block, error) ||
	    !foreign_option_size(options, "log_size", &log, error) ||
	    !foreign_option_bool(options, "block_state_zero", &l->zero, error))
		return false;
	if (!block) /* like QEMU */
		block = l->size > 32ull << 40	 ? 64 * MiB
			: l->size > 100ull << 30 ? 32 * MiB
			: l->size > 1ull << 30	 ? 16 * MiB
						 : 8 * MiB;
	if (block < VHDX_BLOCK_MIN || block > VHDX_BLOCK_MAX || (block & (block - 1)))
		return kv_fail(error, KV_ERROR_USAGE,
			       "block_size=%" PRIu64 " is not possible; give a power of two from 1M to 256M", block);
	if (log < MiB || log % MiB || log > LOG_SIZE_MAX)
		return kv_fail(error, KV_ERROR_USAGE, "log_size=%" PRIu64 " is not possible; give a multiple of 1M up to 1G",
			       log);
	l->block = block;
	l->fixed = subformat == 1;
	*ret_log_size = log;
	return true;
}

const char *const vhdx_create_options[] = { "subformat", "block_size", "log_size", "block_state_zero", NULL };

bool vhdx_create(struct image_file *f, uint64_t size, GVariant *options, GError **error)
{
	struct layout l = { .size = size, .log = MiB, .zero = true };
	uint64_t log_size = 0;

	if (!read_options(&l, &log_size, options, error))
		return false;
	l.n_entries = vhdx_table_entries(size, l.block, LOGICAL_SECTOR);
	if (size > SIZE_MAX_BYTES || l.n_entries * 8 > FOREIGN_TABLE_MAX)
		return kv_fail(error, KV_ERROR_UNSUPPORTED,
			       "a vhdx image holds at most 64 TiB, and with blocks of %" PRIu64 " bytes about %" PRIu64
			       " bytes; choose a larger block_size",
			       l.block, FOREIGN_TABLE_MAX / 8 * l.block);
	l.bat = l.log + log_size;
	l.metadata = l.bat + align_up(MAX(l.n_entries * 8, 1), MiB);
	l.data = l.metadata + MiB;
	return put_table(f, &l, error) && put_metadata(f, &l, error) && put_regions(f, &l, error) && put_ids(f, &l, error);
}
