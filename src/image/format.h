/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an image format is: a row of image_formats[] (table.c), one file or a few for each. Formats are synchronous and work
 * through struct image_file alone; queues (queue.c) ask map_now() first and give the host what needs no more than a transfer,
 * and have threads do the rest with the same functions that tools use. Private to src/image.
 */
#pragma once
#include "file.h"
#include "image.h"

struct image_check {
	uint64_t corruptions, leaks;	   /* that are there now */
	uint64_t corruptions_fixed, leaks_fixed;
	uint64_t check_errors;		   /* what could not be looked at */
	uint64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters; /* 0: the format does not say */
	uint64_t end_offset;		   /* bytes of the file that the image needs */
};
enum { IMAGE_FIX_LEAKS = 1, IMAGE_FIX_ERRORS = 2 };
/* A line for each fault, as it is found. */
typedef void image_report(void *opaque, const char *text);

struct image_snapshot {
	char *id, *name;
	uint64_t vm_state_size, size; /* bytes; size: of the disk */
	uint64_t date_sec;
	uint32_t date_nsec;
	uint64_t vm_clock_nsec, icount; /* icount: UINT64_MAX, unknown */
};

struct image_format {
	const char *name;
	bool plain; /* raw: bytes of the file are bytes of the disk */
	bool filter; /* filter.h: has map(), which finds a hole, and close() alone */
	/* Could the first bytes (512, or what the file has) be this format's? NULL: nobody can tell. */
	bool (*probe)(const uint8_t *head, size_t len);
	/*
	 * img->file is open and locked and is img->data as well, img->path, readonly and format are set. Sets size, discard,
	 * data (another file is opened with IMAGE_FILE_SHARE if img->share), state and, through image_open_backing(), backing.
	 * Every number in the file is checked here or where it is used. After an error state is freed, and close() not called;
	 * file, data and backing are image.c's to close in any case.
	 */
	bool (*open)(struct image *img, GVariant *options, GError **error);
	/* Writes back what is to be written, frees state. Errors are logged. */
	void (*close)(struct image *img);

	/*
	 * Below, ranges are inside of the image and not empty, and writers are not called for a readonly image. image.c calls
	 * read_compressed(), map() and write() of any threads at a time; discard(), write_zeroes() and resize(), which may move
	 * and free clusters, when nobody else is in (gate.h). A cluster that map() has called DATA stays where it is until then:
	 * write() never frees it, and calls it DATA only when all of it is there (after copying from the backing image).
	 */
	int (*map)(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret);
	/*
	 * The same if that needs no I/O and nobody has to be waited for; false otherwise. May say DATA where map() sees zeroes.
	 * NULL: map() is always like that.
	 */
	bool (*map_now)(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret);
	/* Bytes of one extent that map() calls COMPRESSED, or DATA without has_at. */
	int (*read_compressed)(struct image *img, uint64_t offset, void *buf, uint64_t len);
	/* NULL: the format is read only. */
	int (*write)(struct image *img, uint64_t offset, const void *buf, uint64_t len);
	/* -ENOTSUP, before anything is done, or NULL: zeroes are written like other data. FAST_ZERO comes if knows_fast_zero. */
	int (*write_zeroes)(struct image *img, uint64_t offset, uint64_t len, unsigned flags);
	bool knows_fast_zero;
	int (*discard)(struct image *img, uint64_t offset, uint64_t len); /* img->discard alone */
	int (*populate)(struct image *img, uint64_t offset, uint64_t len); /* image_populate(); any thread, like write() */
	int (*write_compressed)(struct image *img, uint64_t offset, const void *buf, uint64_t len);
	/*
	 * Its two halves, for tools that want clusters compressed by many threads and stored in order. compress(): any thread;
	 * out has room for a cluster; *ret_len 0: it does not become smaller, and is to be written as it is. NULL: no halves.
	 */
	int (*compress)(struct image *img, const void *buf, uint64_t len, void *out, uint64_t *ret_len);
	int (*write_packed)(struct image *img, uint64_t offset, const void *packed, uint64_t len);
	/* write() takes nothing but whole clusters, once, and compresses them: better given to write_compressed(). NULL: no. */
	bool (*compressed_only)(struct image *img);
	/*
	 * Writes of what another file has, with its blocks (file.h, share()): whole clusters, and blocks. How many were done;
	 * less than n: the next one has data already. After an error some may be written. -EEXIST: the first has data. NULL:
	 * never.
	 */
	int (*write_shared)(struct image *img, struct image_file *from, const struct image_piece *pieces, unsigned n);
	/* What the format keeps back, in the right order, then the files, whether it has written to them or queue.c. */
	int (*flush)(struct image *img);

	/*
	 * image_reopen(): the file can be written now (readonly false), or will not be from now on, and everything is to be in
	 * it. NULL: stays as it was opened.
	 */
	bool (*reopen)(struct image *img, bool readonly, GError **error);

	/* Not the same size; image_resize() sets img->size afterwards. prealloc: OFF when it becomes smaller. */
	bool (*resize)(struct image *img, uint64_t size, enum image_prealloc prealloc, GError **error);
	/* The file is there, empty and locked; size: a multiple of 512 below 2^63. Options as for image_create(). */
	bool (*create)(struct image_file *file, uint64_t size, GVariant *options, GError **error);
	/* Are those options possible together? Asked before a file is emptied; create() looks as well. NULL: all known are. */
	bool (*check_create)(GVariant *options, GError **error);
	const char *const *create_options; /* names, NULL-terminated; "backing": it can stand on another image */
	/* "format-specific" of qemu-img info: adds a{sv} members under their JSON names. "dirty-flag" (b) is the image's own. */
	void (*info)(struct image *img, GVariantBuilder *members);
	uint64_t (*cluster_size)(struct image *img); /* NULL: none */
	bool (*check)(struct image *img, unsigned fix, image_report *report, void *opaque, struct image_check *ret,
		      GError **error);

	/* Internal snapshots; NULL: none. list: array of struct image_snapshot, to be freed by image_snapshots_free(). */
	GArray *(*snapshots)(struct image *img);
	bool (*snapshot_create)(struct image *img, const char *name, GError **error);
	bool (*snapshot_apply)(struct image *img, const char *id_or_name, GError **error);
	bool (*snapshot_delete)(struct image *img, const char *id_or_name, GError **error);
	bool opens_snapshots; /* open() has the option "snapshot" (s), an id: the disk as it was then, read only */
	/* Changes options (names and spelling of create()) but for the size and the backing file. NULL: none can change. */
	bool (*amend)(struct image *img, GVariant *options, GError **error);
	/* Every cluster becomes a HOLE. NULL: cannot. */
	bool (*empty)(struct image *img, GError **error);
	/*
	 * Persistent bitmaps (bitmap.h); NULL: none. Drained, the main thread. load: puts those of the file in img->bitmaps, or
	 * leaves it as it is. add: it is to be stored from now on; false when it cannot be. change: before it changes in another
	 * way than by recording. remove: from the file, also one that was never stored; it is in img->bitmaps until afterwards.
	 */
	bool (*bitmaps_load)(struct image *img, GError **error);
	bool (*bitmaps_supported)(const struct image *img);
	bool (*bitmap_add)(struct image *img, struct image_bitmap *b, GError **error);
	bool (*bitmap_change)(struct image *img, struct image_bitmap *b, GError **error);
	bool (*bitmap_remove)(struct image *img, struct image_bitmap *b, GError **error);
	/* Changes the backing file's name in the header alone. format NULL: none is noted. name NULL: no backing file. */
	bool (*set_backing)(struct image *img, const char *name, const char *format, GError **error);
};

/*
 * Opens the image that this one stands on: name as it stands in the file (relative to the directory of img->path), format
 * NULL: it is probed. Read only. Refuses a chain that is a loop or deeper than 200. `options`: those of open(); with
 * "backing" in them the names are noted and nothing is opened. Sets img->backing, backing_name and backing_format.
 */
bool image_open_backing(struct image *img, const char *name, const char *format, GVariant *options, GError **error);
/* A file's name as an image at path has it, seen from here: beside the image where it is relative. */
char *image_beside(const char *path, const char *name);
/* Where a backing file of that name is for an image at `path`: a file's path, or a URI; g_free. */
char *image_backing_path(const char *path, const char *name, GError **error);
/* What is behind a HOLE: the backing image's bytes, zeroes beyond its end and without one. */
int image_read_backing(struct image *img, uint64_t offset, void *buf, uint64_t len);
/* A string option ("preallocation") as one of image_prealloc; false with an error for other words. Not given: OFF. */
bool image_prealloc_option(GVariant *options, enum image_prealloc *ret, GError **error);
void image_snapshots_free(GArray *snapshots);
/* How many bytes of a range the backing image has; it may be shorter, or none. */
uint64_t image_in_backing(const struct image *img, uint64_t offset, uint64_t len);
/* map_now(), or what stands for it, with its answer looked at. In the gate. */
bool image_map_now(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret);
/* A backing image that is written to: what it has may be in the layer above a moment later (access.c). */
static inline bool image_is_moving(const struct image *backing)
{
	return backing && !backing->readonly;
}
/* An answer of map() or map_now() that asks for nothing out of bounds. */
bool image_extent_valid(const struct image_extent *e, uint64_t len);

/* How an image's further files are opened. */
static inline unsigned image_file_flags(const struct image *img)
{
	return (img->share ? IMAGE_FILE_SHARE : 0) | (img->direct ? IMAGE_FILE_DIRECT : 0);
}

extern const struct image_format image_raw, image_qcow2, image_vmdk, image_vpc, image_vhdx, image_vdi;
