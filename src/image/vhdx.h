/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VHDX's parts: the image (vhdx.c), the log that an interrupted writer left (vhdx-log.c), new images (vhdx-create.c). Source:
 * Microsoft's [MS-VHDX], "Virtual Hard Disk v2 (VHDX) File Format".
 */
#pragma once
#include "foreign.h"

enum {
	VHDX_HEADER = 4096,	     /* bytes that the checksum is of */
	VHDX_HEADER_AT = 64 << 10,   /* the first; the other one as far behind it */
	VHDX_REGIONS_AT = 192 << 10, /* likewise */
	VHDX_REGIONS = 64 << 10,
	VHDX_METADATA = 64 << 10, /* bytes of its table; items are behind it */
	VHDX_BLOCK_MIN = 1 << 20, /* also what everything is aligned to */
	VHDX_BLOCK_MAX = 256 << 20,
};

/* Bytes of a header, little endian. */
enum {
	VHDX_H_CHECKSUM = 4,
	VHDX_H_SEQUENCE = 8,
	VHDX_H_FILE_GUID = 16,
	VHDX_H_DATA_GUID = 32,
	VHDX_H_LOG_GUID = 48,
	VHDX_H_LOG_VERSION = 64,
	VHDX_H_VERSION = 66,
	VHDX_H_LOG_SIZE = 68,
	VHDX_H_LOG_AT = 72,
};

/* GUIDs as they are in the file. */
extern const uint8_t vhdx_region_bat[16], vhdx_region_metadata[16];
extern const uint8_t vhdx_item_file[16], vhdx_item_size[16], vhdx_item_page83[16], vhdx_item_logical[16], vhdx_item_physical[16],
	vhdx_item_parent[16];

enum { VHDX_FILE_FIXED = 1, VHDX_FILE_HAS_PARENT = 2 }; /* flags of vhdx_item_file */
enum { VHDX_ITEM_IS_DISK = 2, VHDX_ITEM_REQUIRED = 4 };
/* States of a block in its entry's low bits; from bit 20 on is where it is. */
enum {
	VHDX_NOT_PRESENT = 0,
	VHDX_UNDEFINED = 1,
	VHDX_ZERO = 2,
	VHDX_UNMAPPED = 3,
	VHDX_UNMAPPED_OLD = 5,
	VHDX_PRESENT = 6,
	VHDX_STATE = 7,
};

void vhdx_guid(uint8_t guid[16]);
/* CRC-32C with the four bytes at `at` as zeroes (at >= len: none). */
uint32_t vhdx_checksum(const uint8_t *p, size_t len, size_t at);
/* After each how many payload blocks is there an entry of another kind? */
uint64_t vhdx_chunk_ratio(uint64_t block, uint32_t sector);
uint64_t vhdx_table_entries(uint64_t size, uint64_t block, uint32_t sector);

/* What the log says is to be changed, in order. */
struct vhdx_log {
	GArray *records;    /* struct vhdx_log_record; NULL: there is nothing */
	uint8_t *bytes;	    /* of the log */
	uint64_t file_size; /* that the file has to have afterwards */
};
struct vhdx_log_record {
	uint64_t offset, len;
	const uint8_t *sector; /* of log.bytes, 4096 with first and last bytes elsewhere; NULL: zeroes */
	uint8_t first[8], last[4];
};
bool vhdx_log_load(struct vhdx_log *log, struct image_file *f, uint64_t at, uint64_t len, const uint8_t guid[16], GError **error);
void vhdx_log_clear(struct vhdx_log *log);
/* Bytes that were read from the file, as they will be. */
void vhdx_log_apply(const struct vhdx_log *log, uint64_t offset, void *buf, uint64_t len);
int vhdx_log_replay(const struct vhdx_log *log, struct image_file *f);

extern const char *const vhdx_create_options[];
bool vhdx_create(struct image_file *f, uint64_t size, GVariant *options, GError **error);
