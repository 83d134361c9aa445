/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the formats of other programs share (vdi.c, vpc.c, vhdx.c, vmdk.c): a disk in blocks of one size that a table finds in the
 * file, new ones at its end. A new block is in memory's table at once and in the file's only after image_flush(), behind its
 * data: whatever stops the machine, the table in the file never points at bytes that are not there. foreign.c.
 */
#pragma once
#include <inttypes.h>

#include "bytes.h"
#include "format.h"

/* ---- options of create, strings as qemu-img has them; *ret keeps its value if the option is not given ---- */
bool foreign_option_bool(GVariant *options, const char *name, bool *ret, GError **error);
bool foreign_option_size(GVariant *options, const char *name, uint64_t *ret, GError **error);
/* One of names (NULL-terminated): its index. */
bool foreign_option_choice(GVariant *options, const char *name, const char *const *names, unsigned *ret, GError **error);

void foreign_uuid(uint8_t uuid[16]); /* random, version 4 */
/* Reads of open and writes of create, with the error in words. */
bool foreign_read(struct image_file *f, uint64_t offset, void *buf, uint64_t len, GError **error);
bool foreign_write(struct image_file *f, uint64_t offset, const void *buf, uint64_t len, GError **error);
bool foreign_truncate(struct image_file *f, uint64_t size, GError **error);
/* Room at the end of the file that reads as zeroes, also where old bytes are. */
int foreign_append(struct image_file *f, uint64_t offset, uint64_t len);

/* ---- blocks ---- */
struct foreign_blocks {
	struct image_file *file; /* where they are */
	uint64_t size;		 /* bytes */
	/* kind, has_at, in_place and, of DATA, at of a block; may do I/O. Any thread. */
	int (*lookup)(struct image *img, struct foreign_blocks *b, uint64_t index, struct image_extent *ret);
	/* A block that has no room yet gets some, zeroed, and its entry. Under the lock. */
	int (*allocate)(struct image *img, struct foreign_blocks *b, uint64_t index, uint64_t *ret_at);
	GMutex lock;
};

int foreign_blocks_map(struct image *img, struct foreign_blocks *b, uint64_t offset, uint64_t len, struct image_extent *ret);
int foreign_blocks_write(struct image *img, struct foreign_blocks *b, uint64_t offset, const void *buf, uint64_t len);
/* Blocks without room read as zeroes already. */
int foreign_blocks_zero(struct image *img, struct foreign_blocks *b, uint64_t offset, uint64_t len, bool may_unmap);

/* ---- a table that is in memory as it is in the file ---- */
enum { FOREIGN_TABLE_MAX = 128 << 20 };

struct foreign_table {
	struct image_file *file;
	uint64_t offset, bytes;
	uint8_t *raw;
	uint8_t *dirty; /* one for each 512 bytes */
	bool is_dirty;
};

/* what: "vdi 'PATH'", for messages. The table has to be inside of the file. */
bool foreign_table_load(struct foreign_table *t, struct image_file *f, const char *what, uint64_t offset, uint64_t bytes,
			GError **error);
void foreign_table_free(struct foreign_table *t);
/* Entries as they are in the file; get: any thread. */
uint32_t foreign_table_get32(const struct foreign_table *t, uint64_t index);
uint64_t foreign_table_get64(const struct foreign_table *t, uint64_t index);
void foreign_table_set32(struct foreign_table *t, uint64_t index, uint32_t value);
void foreign_table_set64(struct foreign_table *t, uint64_t index, uint64_t value);
int foreign_table_write_back(struct foreign_table *t);
