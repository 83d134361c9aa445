/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dirty bitmaps in memory: which parts of a disk were written to. A bit is for `granularity` bytes, a power of two from 512 to
 * 2 GiB. Marking, clearing and looking are for any threads at once, each bit atomically; the rest is for the owner, while
 * nobody else has the bitmap. Those of backups and mirrors, those that users give an image (bitmap-list.c), and of these the
 * persistent ones of qcow2 (qcow2-bitmap.c).
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
	bool inconsistent; /* was in use when the image was closed: says nothing, has no size, and can only be removed */
	bool changed;	   /* persistent: in another way than by recording, and not stored yet */
	struct image *img; /* that it is attached to; NULL: none */
	struct image_bitmap *next; /* bitmap-list.c's */
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

/*
 * ---- the bitmaps that an image has, by name (bitmap-list.c) ----
 *
 * They are the image's and go with it; img->bitmaps is the list. The main thread, with the image drained. Errors are worded as
 * QEMU's. Persistent ones are in memory while the image is open, and are stored when it is closed or becomes read only
 * (image_reopen(), which tells of errors); from the first change of the disk until then the file says that they are in use.
 */

/* Those of the file are in the list from now on; done already for an image that is open for writing. */
bool image_bitmaps_load(struct image *img, GError **error);
bool image_bitmaps_supported(const struct image *img); /* can there be persistent ones? */
/* With those of the file; NULL with an error that names it. */
struct image_bitmap *image_bitmap_find(struct image *img, const char *name, GError **error);
/* granularity 0: image_bitmap_granularity(). It records at once, unless it is disabled. */
struct image_bitmap *image_bitmap_add(struct image *img, const char *name, uint32_t granularity, bool persistent, bool disabled,
				      GError **error);
/* From the file as well, at once. Freed. */
bool image_bitmap_remove(struct image *img, struct image_bitmap *b, GError **error);
/* Can it be read, can it be changed? False with the reason: busy, inconsistent, read only. */
bool image_bitmap_usable(const struct image *img, const struct image_bitmap *b, bool change, GError **error);
bool image_bitmap_reset(struct image *img, struct image_bitmap *b, GError **error); /* all clear */
bool image_bitmap_record(struct image *img, struct image_bitmap *b, bool on, GError **error);
/* What is set in src, which may be another image's, is set in b as well. */
bool image_bitmap_add_from(struct image *img, struct image_bitmap *b, const struct image_bitmap *src, GError **error);
/* Before its bits are changed by other means than these and than recording. */
bool image_bitmap_will_change(struct image *img, struct image_bitmap *b, GError **error);
void image_bitmaps_free(struct image *img); /* the image is closed */
