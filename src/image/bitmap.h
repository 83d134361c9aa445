/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dirty bitmaps in memory: which parts of a disk were written to. A bit is for `granularity` bytes, a power of two from 512 to
 * 2 GiB. Marking, clearing and looking are for any threads at once, each bit atomically; the rest is for the owner, while
 * nobody else has the bitmap. Those of backups and mirrors, and the persistent ones of qcow2 (qcow2-bitmap.c).
 */
#pragma once
#include "image.h"

struct image_bitmap {
	char *name; /* NULL: none */
	uint64_t size; /* bytes of the disk */
	uint32_t granularity;
	bool recording;	   /* attached, and changes are noted; atomic */
	bool busy;	   /* a job or an export has it: the owner's to look at */
	bool persistent;   /* to be stored in the image; of qcow2 */
	bool inconsistent; /* was in use when the image was closed: says nothing, and can only be removed */
	struct image *img; /* that it is attached to; NULL: none */
	/* bitmap.c's own: */
	struct image_watch watch;
	uint64_t *words, n_words;
	uint64_t count; /* bits that are set; atomic */
};

/* NULL: granularity or size are not possible (-EINVAL, -E2BIG in *ret_err). All clear. */
struct image_bitmap *image_bitmap_new(const char *name, uint64_t size, uint32_t granularity, int *ret_err);
void image_bitmap_free(struct image_bitmap *b); /* NULL is fine; detached before */
/* The granularity that QEMU takes for an image: its cluster size, between 4 and 64 KiB; 64 KiB without one. */
uint32_t image_bitmap_granularity(const struct image *img);

/* Drained. From now on changes of img's bytes are noted, while recording; follows its size. */
void image_bitmap_attach(struct image_bitmap *b, struct image *img);
void image_bitmap_detach(struct image_bitmap *b);

/* Every bit that has a byte of the range in it. */
void image_bitmap_mark(struct image_bitmap *b, uint64_t offset, uint64_t len);
/* Every bit that has a byte of the range in it: align the range if that is not what is wanted. */
void image_bitmap_clear(struct image_bitmap *b, uint64_t offset, uint64_t len);
bool image_bitmap_get(const struct image_bitmap *b, uint64_t offset);
/* The first run of bits of this value in [from, to): false when there is none. Bytes, cut at `to`. */
bool image_bitmap_next(const struct image_bitmap *b, bool value, uint64_t from, uint64_t to, uint64_t *ret_offset,
		       uint64_t *ret_len);
uint64_t image_bitmap_count(const struct image_bitmap *b); /* dirty bytes, as QEMU counts: whole granules */
/* What is set in src is set in b as well; granularities may differ, sizes not: -EINVAL. */
int image_bitmap_merge(struct image_bitmap *b, const struct image_bitmap *src);
/* Of another size: new bits are clear; -E2BIG. The owner, locked out. */
int image_bitmap_resize(struct image_bitmap *b, uint64_t size);
