/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow2 from inside (QEMU, docs/interop/qcow2.rst). Private to qcow2-*.c; one concern a file:
 *
 *   qcow2.c           the row of image_formats[]: open, close, info
 *   qcow2-header.c    the header and its extensions, from bytes and to bytes
 *   qcow2-cache.c     slices of L2 tables and refcount blocks in memory
 *   qcow2-refcount.c  reference counts; clusters are taken and given back
 *   qcow2-order.c     what is written before what; flush
 *   qcow2-guard.c     which clusters are metadata, so that data never goes there
 *   qcow2-l2.c        the mapping's entries: found, made, changed
 *   qcow2-map.c       guest offsets to extents; reading
 *   qcow2-write.c     writes, with copying from what is behind
 *   qcow2-zero.c      zeroes and discards
 *   qcow2-compress.c  compressed clusters
 *   qcow2-create.c    new images; qcow2-resize.c their size; qcow2-snapshot.c; qcow2-amend.c; qcow2-check.c, qcow2-rebuild.c and
 *                     qcow2-count.c (what is referred to)
 *   qcow2-bitmap.c    persistent bitmaps: the directory; qcow2-bitmap-data.c their bits
 *
 * Threads: `lock` is for all metadata in memory. Guest data is transferred without it: a write that needs new clusters notes the
 * guest clusters it works on (`busy`), and others wait for those. Crash safety: nothing points to what is not on the disk yet,
 * and nothing is used again while something on the disk may still point to it (qcow2-order.c).
 */
#pragma once
#include <glib.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "format.h"

enum {
	QCOW2_MAX_L1 = 32 << 20, /* bytes, as QEMU has it */
	QCOW2_MAX_REFTABLE = 8 << 20,
	QCOW2_MAX_SNAPSHOTS = 65536,
	QCOW2_MAX_SNAPSHOT_TABLE = 64 << 20,
	QCOW2_MAX_NAME = 1023,
	QCOW2_SUBCLUSTERS = 32,
	QCOW2_L2_CACHE = 1 << 20,
	QCOW2_REFCOUNT_CACHE = 256 << 10,
	QCOW2_SLICE = 4096,
};

enum {
	QCOW2_DIRTY = 1,
	QCOW2_CORRUPT = 2,
	QCOW2_DATA_FILE = 4,
	QCOW2_COMPRESSION = 8,
	QCOW2_EXTENDED_L2 = 16,
	QCOW2_INCOMPAT_KNOWN = 31
};
enum { QCOW2_LAZY_REFCOUNTS = 1 };
enum { QCOW2_BITMAPS = 1, QCOW2_RAW_DATA_FILE = 2, QCOW2_AUTOCLEAR_KNOWN = 3 };

/* Where fields are in the header. */
enum {
	QCOW2_AT_BACKING = 8,
	QCOW2_AT_SIZE = 24,
	QCOW2_AT_L1 = 36,	 /* u32 entries, u64 offset */
	QCOW2_AT_REFTABLE = 48,	 /* u64 offset, u32 clusters */
	QCOW2_AT_SNAPSHOTS = 60, /* u32 number, u64 offset */
	QCOW2_AT_FEATURES = 72,	 /* u64 incompatible, compatible, autoclear */
	QCOW2_AT_REFCOUNT_ORDER = 96,
	QCOW2_HEADER_V2 = 72,
	QCOW2_HEADER_V3 = 104,
	QCOW2_HEADER_NEW = 112, /* what we write */
};

#define QCOW2_COPIED	 (1ULL << 63)
#define QCOW2_COMPRESSED (1ULL << 62)
#define QCOW2_ZERO	 1ULL
#define QCOW2_OFFSET	 0x00fffffffffffe00ULL
#define QCOW2_REFBLOCK	 0xfffffffffffffe00ULL

/* ---- qcow2-cache.c ---- */

struct qcow2;
struct qcow2_cache {
	struct image_file *file;
	uint32_t slice_size;
	unsigned n_slices, n_dirty;
	uint64_t clock;
	struct qcow2_slice *slices;
	uint8_t *bytes;
	int (*clean)(struct qcow2 *s); /* writes what is dirty, and before that what has to be */
	struct qcow2 *owner;
};

void qcow2_cache_init(struct qcow2_cache *c, struct qcow2 *s, uint64_t bytes, int (*clean)(struct qcow2 *s));
void qcow2_cache_clear(struct qcow2_cache *c);
/* The slice at this offset of the file; valid until the next call. */
int qcow2_cache_get(struct qcow2_cache *c, uint64_t at, uint8_t **ret);
uint8_t *qcow2_cache_peek(struct qcow2_cache *c, uint64_t at); /* NULL: not there */
void qcow2_cache_dirty(struct qcow2_cache *c, const uint8_t *slice);
int qcow2_cache_write(struct qcow2_cache *c); /* all that is dirty, unordered */
void qcow2_cache_forget(struct qcow2_cache *c, uint64_t at, uint64_t len);

/* ---- an open image ---- */

struct qcow2_extension {
	uint32_t type, len;
	uint8_t *data;
};

struct qcow2_snapshot {
	struct image_snapshot info;
	uint64_t l1_offset;
	uint32_t l1_size, extra_len;
	uint8_t *extra; /* as it stands in the file */
};

enum { QCOW2_BITMAP_IN_USE = 1, QCOW2_BITMAP_AUTO = 2 };

/* A persistent bitmap. */
struct qcow2_bitmap {
	uint32_t flags, table_size; /* as the directory has them; entries */
	uint64_t table_offset;	    /* 0: not in the directory yet */
	struct image_bitmap *bitmap;
};

/* Clusters that go when nothing on the disk points to them any more. */
struct qcow2_gone {
	uint64_t first, n;
	bool hole; /* and the file need not keep room for them */
};

/* A write in progress that will change the entries of guest clusters. */
struct qcow2_busy {
	uint64_t first, last;
	struct qcow2_busy *next;
};

struct qcow2 {
	struct image *img;
	struct image_file *file;
	GMutex lock;
	GCond idle; /* a qcow2_busy has ended */
	unsigned n_waiting; /* for that */
	struct qcow2_busy *busy;

	/* The header. */
	unsigned version, cluster_bits, refcount_order, header_len;
	uint32_t cluster_size, crypt;
	uint64_t incompatible, compatible, autoclear;
	bool zstd, extended;
	char *backing, *backing_format, *data_name;
	GArray *extensions;   /* struct qcow2_extension: those we do not know */
	uint8_t *header_rest; /* fields behind ours */
	uint32_t head_end, backing_at, backing_len; /* in the file now: the end of the extensions; the backing file's name */

	/* Derived. */
	unsigned l2_bits, entry_size, sub_bits, refblock_bits; /* bits: log2 of entries a table */
	uint32_t sub_size;

	uint64_t *l1, l1_offset;
	uint32_t l1_size, l1_from, l1_to; /* entries; from < to: to be written */
	uint64_t *reftable, reftable_offset;
	uint32_t reftable_size, reftable_from, reftable_to;
	struct qcow2_cache l2_cache, refcount_cache;

	uint64_t free_hint; /* no free cluster before this one */
	uint64_t free_byte; /* where compressed data may go on; 0: nowhere */
	uint64_t reused;    /* counts times that clusters became free */
	GArray *gone;	    /* struct qcow2_gone */
	struct qcow2_guard *guard;

	uint64_t snapshots_offset, snapshots_len;
	GArray *snapshots; /* struct qcow2_snapshot */
	uint32_t n_bitmaps;
	uint64_t bitmaps_len, bitmaps_offset;
	GArray *bitmaps; /* struct qcow2_bitmap: the directory, and what is to be stored; empty until they are loaded */

	bool checking; /* opened for check(): nothing is refused or repaired */
	bool past;     /* a snapshot is shown */
	bool written;  /* the first change has been announced (qcow2_will_write) */
	bool unfinished; /* there was an error when everything was to be on the disk */
	bool lazy;     /* refcounts may wait, the dirty bit is on the disk */
	bool broken;   /* nothing is written any more */
};

static inline uint64_t qcow2_cluster(const struct qcow2 *s, uint64_t offset)
{
	return offset >> s->cluster_bits;
}
static inline uint64_t qcow2_clusters(const struct qcow2 *s, uint64_t bytes)
{
	return (bytes >> s->cluster_bits) + !!(bytes & (s->cluster_size - 1));
}
static inline bool qcow2_aligned(const struct qcow2 *s, uint64_t offset)
{
	return !(offset & (s->cluster_size - 1));
}
static inline bool qcow2_has_data_file(const struct qcow2 *s)
{
	return s->incompatible & QCOW2_DATA_FILE;
}
static inline bool qcow2_raw_data_file(const struct qcow2 *s)
{
	return s->autoclear & QCOW2_RAW_DATA_FILE;
}
/* Bytes of the disk that one L2 table describes; log2. */
static inline unsigned qcow2_l2_span_bits(const struct qcow2 *s)
{
	return s->cluster_bits + s->l2_bits;
}
static inline struct qcow2 *qcow2_state(const struct image *img)
{
	return (struct qcow2 *)img->state;
}

static inline int qcow2_pread(struct qcow2 *s, uint64_t at, void *buf, uint64_t len)
{
	return s->file->type->read(s->file, at, buf, len);
}
static inline int qcow2_pwrite(struct qcow2 *s, uint64_t at, const void *buf, uint64_t len)
{
	return s->file->type->write(s->file, at, buf, len);
}

/* The image contradicts itself: says so, notes it in the header, and nothing is written from now on. Returns -EIO. */
int qcow2_corrupt(struct qcow2 *s, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* ---- qcow2-header.c ---- */
bool qcow2_header_read(struct qcow2 *s, uint64_t *ret_size, GError **error);
void qcow2_header_free(struct qcow2 *s);
/* Writes all of it anew: backing names, extensions, features. */
bool qcow2_header_write(struct qcow2 *s, uint64_t size, GError **error);
int qcow2_header_features(struct qcow2 *s); /* the feature fields alone */
void qcow2_set_geometry(struct qcow2 *s);

/* ---- qcow2-order.c ---- */
int qcow2_sync(struct qcow2 *s);	    /* both files */
int qcow2_write_refcounts(struct qcow2 *s); /* refcounts and their table */
int qcow2_clean_l2(struct qcow2 *s);	    /* L2 slices, after all they point to */
int qcow2_clean_refcounts(struct qcow2 *s); /* the refcount cache's clean() */
int qcow2_flush_locked(struct qcow2 *s);    /* what counts; then what is gone is free */
int qcow2_flush_all(struct qcow2 *s);	    /* and all counts; nothing becomes free */
int qcow2_flush_flags(struct qcow2 *s);	    /* entries that point to what is on the disk for long */
int qcow2_settle(struct qcow2 *s);	    /* after a change: too much is gone and not free yet */
int qcow2_will_write(struct qcow2 *s);	    /* before the first change */
int qcow2_flush(struct image *img);
void qcow2_l1_set(struct qcow2 *s, uint32_t index, uint64_t entry);
void qcow2_reftable_set(struct qcow2 *s, uint32_t index, uint64_t entry);

/* ---- qcow2-refcount.c ---- */
uint64_t qcow2_refcount_max(const struct qcow2 *s);
uint64_t qcow2_refcount_entry(const void *block, uint64_t index, unsigned order);
void qcow2_refcount_put(void *block, uint64_t index, unsigned order, uint64_t value);
int qcow2_refcount_get(struct qcow2 *s, uint64_t cluster, uint64_t *ret);
int qcow2_refcount_set(struct qcow2 *s, uint64_t cluster, uint64_t count);	/* in a block that is there */
int qcow2_refcount_add(struct qcow2 *s, uint64_t first, uint64_t n, int delta); /* delta: 1 or -1 */
/* At most n clusters in a row, at least one; all: n or -ENOSPC. Their refcount is 1. The first one's offset is returned. */
int qcow2_alloc(struct qcow2 *s, uint64_t n, bool all, uint64_t *ret_offset, uint64_t *ret_n);
int qcow2_alloc_bytes(struct qcow2 *s, uint32_t len, uint64_t *ret_offset);
/* When the disk does not point there any more. */
void qcow2_gone(struct qcow2 *s, uint64_t offset, uint64_t bytes, bool hole);
int qcow2_free_gone(struct qcow2 *s);
/* At once: nothing ever pointed there. */
void qcow2_release(struct qcow2 *s, uint64_t offset, uint64_t bytes);

/* ---- qcow2-guard.c ---- */
bool qcow2_guard_build(struct qcow2 *s, GError **error);
void qcow2_guard_free(struct qcow2 *s);
void qcow2_guard_add(struct qcow2 *s, uint64_t offset);
void qcow2_guard_remove(struct qcow2 *s, uint64_t offset);
bool qcow2_is_metadata(struct qcow2 *s, uint64_t offset, uint64_t len);

/* ---- qcow2-l2.c ---- */
enum qcow2_kind {
	QCOW2_HOLE,
	QCOW2_ROOM, /* extended L2: a hole in a cluster that has its place */
	QCOW2_ZEROES,
	QCOW2_ZEROES_ROOM,
	QCOW2_DATA,
	QCOW2_PACKED,
	QCOW2_INVALID,
};

struct qcow2_entry {
	uint64_t word, bits; /* bits: extended L2 alone */
};

static inline uint64_t qcow2_entry_offset(const struct qcow2_entry *e)
{
	return e->word & QCOW2_OFFSET;
}
/* Where and how long the compressed bytes are; length up to the end of their last sector. */
void qcow2_packed_range(const struct qcow2 *s, uint64_t word, uint64_t *ret_offset, uint64_t *ret_len);
/* Has the guest cluster a place in img->data? */
bool qcow2_entry_placed(const struct qcow2 *s, const struct qcow2_entry *e);
enum qcow2_kind qcow2_entry_kind(const struct qcow2 *s, const struct qcow2_entry *e, unsigned sub);
/* Checks what a kind cannot say: alignment, overlaps of bits; -EIO with words. */
int qcow2_entry_check(struct qcow2 *s, uint64_t offset, const struct qcow2_entry *e);
/*
 * The entries from the cluster of this offset on, as they are in the table: n of them in one slice; NULL and how many clusters
 * when there is no table. now: -EAGAIN when it is not in memory.
 */
int qcow2_l2_look(struct qcow2 *s, uint64_t offset, bool now, const uint8_t **ret, uint64_t *ret_n);
struct qcow2_entry qcow2_l2_entry(const struct qcow2 *s, const uint8_t *p, uint64_t index);
int qcow2_l2_get(struct qcow2 *s, uint64_t offset, struct qcow2_entry *ret);
/* Makes a table that is this image's own. */
int qcow2_l2_prepare(struct qcow2 *s, uint64_t offset);
int qcow2_l2_set(struct qcow2 *s, uint64_t offset, const struct qcow2_entry *e); /* after prepare */
/* What the entry takes in the file is gone. */
void qcow2_entry_gone(struct qcow2 *s, const struct qcow2_entry *e, bool hole);
int qcow2_l1_check(struct qcow2 *s, uint64_t entry); /* -EIO with words */

/* ---- qcow2-map.c ---- */
int qcow2_map(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret);
bool qcow2_map_now(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret);
int qcow2_read_compressed(struct image *img, uint64_t offset, void *buf, uint64_t len);
/* All that the guest sees there, also beyond the end (zeroes). Without the lock. */
int qcow2_read_guest(struct image *img, uint64_t offset, void *buf, uint64_t len);
bool qcow2_reads_zero(struct image *img, uint64_t offset, uint64_t len); /* for sure */

/* ---- qcow2-write.c ---- */
int qcow2_write(struct image *img, uint64_t offset, const void *buf, uint64_t len);
int qcow2_populate(struct image *img, uint64_t offset, uint64_t len);
int qcow2_write_shared(struct image *img, struct image_file *from, const struct image_piece *pieces, unsigned n);
/* Guest clusters first to last are this thread's until qcow2_busy_end(). With the lock. */
void qcow2_busy_wait(struct qcow2 *s, uint64_t first, uint64_t last);
void qcow2_busy_begin(struct qcow2 *s, struct qcow2_busy *b, uint64_t first, uint64_t last);
void qcow2_busy_end(struct qcow2 *s, struct qcow2_busy *b);
void qcow2_wait_all(struct qcow2 *s);

/* ---- qcow2-zero.c ---- */
int qcow2_write_zeroes(struct image *img, uint64_t offset, uint64_t len, unsigned flags);
int qcow2_discard(struct image *img, uint64_t offset, uint64_t len);
/* Nothing is left of these clusters, nor of what is behind them. */
int qcow2_drop(struct qcow2 *s, uint64_t offset, uint64_t len);

/* ---- qcow2-compress.c ---- */
int qcow2_write_compressed(struct image *img, uint64_t offset, const void *buf, uint64_t len);
int qcow2_compress(struct image *img, const void *buf, uint64_t len, void *out, uint64_t *ret_len);
int qcow2_write_packed(struct image *img, uint64_t offset, const void *packed, uint64_t len);
int qcow2_inflate(const struct qcow2 *s, const void *src, size_t src_len, void *dst, size_t dst_len);

/* ---- the rest ---- */
extern const char *const qcow2_create_options[];
bool qcow2_check_create(GVariant *options, GError **error);
bool qcow2_create(struct image_file *file, uint64_t size, GVariant *options, GError **error);
bool qcow2_resize(struct image *img, uint64_t size, enum image_prealloc prealloc, GError **error);
/* A table of its own, in whole clusters. */
int qcow2_write_l1_copy(struct qcow2 *s, const uint64_t *l1, uint32_t n, uint64_t at);
int qcow2_grow_l1(struct qcow2 *s, uint64_t size);
bool qcow2_check(struct image *img, unsigned fix, image_report *report, void *opaque, struct image_check *ret, GError **error);

bool qcow2_snapshots_read(struct qcow2 *s, GError **error);
void qcow2_snapshots_free(struct qcow2 *s);
GArray *qcow2_snapshots_list(struct image *img);
bool qcow2_snapshot_create(struct image *img, const char *name, GError **error);
bool qcow2_snapshot_apply(struct image *img, const char *id_or_name, GError **error);
bool qcow2_snapshot_delete(struct image *img, const char *id_or_name, GError **error);
int qcow2_snapshots_expand(struct qcow2 *s); /* no flags of zeroes are left in their tables; standard L2 entries, with the lock */
bool qcow2_snapshot_open(struct qcow2 *s, const char *id, GError **error); /* readonly, from open() */

/* qcow2-amend.c */
bool qcow2_amend(struct image *img, GVariant *options, GError **error);
bool qcow2_empty(struct image *img, GError **error);

/* qcow2-bitmap.c: each bitmap of the directory; false ends it. */
typedef bool qcow2_bitmap_visit(struct qcow2 *s, uint8_t *entry, const char *name, void *opaque);
int qcow2_bitmaps_each(struct qcow2 *s, qcow2_bitmap_visit *visit, void *opaque);
/*
 * Says on the disk that those that record, or were changed, cannot be trusted from now on; all: every one. With the lock, like
 * the next one.
 */
int qcow2_bitmaps_in_use(struct qcow2 *s, bool all);
/* What has changed, and nothing is in use any more. *ret_written: something was to be done. */
bool qcow2_bitmaps_store(struct qcow2 *s, bool *ret_written, GError **error);
bool qcow2_bitmaps_load(struct image *img, GError **error);
bool qcow2_bitmaps_supported(const struct image *img);
bool qcow2_bitmaps_can_resize(struct qcow2 *s, uint64_t size, GError **error);
bool qcow2_bitmap_add(struct image *img, struct image_bitmap *b, GError **error);
bool qcow2_bitmap_change(struct image *img, struct image_bitmap *b, GError **error);
bool qcow2_bitmap_remove(struct image *img, struct image_bitmap *b, GError **error);

/* qcow2-bitmap-data.c: tables and the clusters behind them. With the lock. */
uint64_t qcow2_bitmap_clusters(const struct qcow2 *s, uint64_t size, uint32_t granularity);
bool qcow2_bitmap_read(struct qcow2 *s, uint64_t table_offset, struct image_bitmap *b, GError **error);
int qcow2_bitmap_write(struct qcow2 *s, const struct image_bitmap *b, uint64_t *ret_offset, uint32_t *ret_size);
/* Gives back a table and what it points to: at once, or when the disk does not say any more that they are in use. */
void qcow2_bitmap_drop(struct qcow2 *s, uint64_t table_offset, uint32_t table_size, bool at_once);

/* ---- qcow2-count.c: what references there are, found by walking everything ---- */
struct qcow2_count {
	struct qcow2 *s;
	struct qcow2_count_slot *slots; /* hash table of chunks of clusters that something refers to */
	size_t n_slots, n_chunks;	/* n_slots: a power of two */
	uint64_t end;			/* clusters of the file */
	unsigned fix;
	image_report *report;
	void *opaque;
	struct image_check *ret;
	bool rebuild; /* the refcount structures cannot be repaired where they are */
	bool doubt;   /* counts or "copied" flags are wrong somewhere */
};
/* A chunk's words: how many references a cluster has, and which flags the active tables have for it. */
enum {
	QCOW2_COUNT_CHUNK = 64,
	QCOW2_COUNT_MASK = (1 << 30) - 1, /* more are as many */
	QCOW2_COUNT_COPIED = 1 << 30,
};
#define QCOW2_COUNT_SHARED (1u << 31) /* an entry without the flag */
void qcow2_count_init(struct qcow2_count *c, struct qcow2 *s);
void qcow2_count_clear(struct qcow2_count *c);
uint64_t qcow2_count_get(const struct qcow2_count *c, uint64_t cluster);
bool qcow2_count_any(const struct qcow2_count *c, uint64_t first, uint64_t n); /* both multiples of 64 */
void qcow2_count_add(struct qcow2_count *c, uint64_t cluster);
const uint32_t *qcow2_count_chunk(const struct qcow2_count *c, uint64_t cluster); /* a multiple of 64; NULL: nothing */
/* Calls visit() for each cluster with references. */
typedef void qcow2_count_visit(struct qcow2_count *c, uint64_t cluster, uint64_t count);
void qcow2_count_each(struct qcow2_count *c, qcow2_count_visit *visit);
uint64_t qcow2_count_last(const struct qcow2_count *c); /* the last cluster with references; 0: the header */
int qcow2_count_all(struct qcow2_count *c);		/* but for the refcount structures */
/* A line of the report; corruption or leak. */
void qcow2_count_say(struct qcow2_count *c, uint64_t *counter, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* References to [offset, offset + len): false when it is not inside of the file. */
bool qcow2_count_range(struct qcow2_count *c, uint64_t offset, uint64_t len, const char *what);
/* qcow2-rebuild.c: new refcount structures behind everything else. */
int qcow2_rebuild(struct qcow2_count *c);
