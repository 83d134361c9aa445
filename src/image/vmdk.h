/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMDK's parts: the descriptor and the extents that it names (vmdk.c), the sparse extents among them (vmdk-sparse.c) and what
 * makes new images (vmdk-create.c). Source: VMware's "Virtual Disk Format" 5.0.
 */
#pragma once
#include "foreign.h"

enum { VMDK_SECTOR = 512 };

enum vmdk_kind { VMDK_FLAT, VMDK_SPARSE, VMDK_ZERO };

struct vmdk_extent {
	struct foreign_blocks blocks; /* SPARSE; first: lookup finds its extent from it */
	enum vmdk_kind kind;
	char *type;		 /* as the descriptor spells it; "": there is but one, in the image's file */
	struct image_file *file; /* NULL: ZERO */
	bool owns_file;
	uint64_t start, size; /* bytes of the disk */
	uint64_t at;	      /* FLAT: where in the file */
	/* SPARSE: */
	bool compressed, has_zero_grains;
	bool streams;	    /* compressed, and grain tables come at the end of the file */
	bool dirty;	    /* tables are; under blocks.lock like all that writing needs */
	uint32_t n_entries; /* of a grain table */
	uint32_t n_tables;
	uint32_t *directory, *copy; /* sectors of grain tables; copy: of a second set, NULL: none */
	uint32_t **tables;	    /* those that were read; atomic pointers and entries */
	uint8_t *table_dirty;
	uint64_t next; /* where the next grain goes, bytes */
};

struct vmdk {
	struct vmdk_extent *extents;
	unsigned n_extents;
	uint64_t table_bytes; /* of all extents' grain tables */
	char *create_type, *parent; /* parent: its name; NULL: none */
	uint32_t cid, parent_cid;
	uint64_t cid_at; /* of its digits in img->file; 0: none */
	unsigned cid_digits;
	bool cid_new; /* changed since open, as the first write does; atomic */
	GMutex lock;
};

/* Looks at the header of a sparse extent: its descriptor (NULL: none), for g_free(), and where that is. */
bool vmdk_sparse_descriptor(struct image_file *f, char **ret_text, uint64_t *ret_at, GError **error);
/* x->file is set. Sets size if it is 0, else the header has to have as much. */
bool vmdk_sparse_open(struct image *img, struct vmdk_extent *x, GError **error);
void vmdk_sparse_free(struct vmdk_extent *x);
/* Offsets below are the extent's. Is the grain's table in memory? At most *len bytes from there are. */
bool vmdk_sparse_is_loaded(struct vmdk_extent *x, uint64_t offset, uint64_t *len);
int vmdk_sparse_read_compressed(struct vmdk_extent *x, uint64_t offset, void *buf, uint64_t len);
/* Whole grains (the last one may be short) that are not there yet. */
int vmdk_sparse_write_compressed(struct vmdk_extent *x, uint64_t offset, const void *buf, uint64_t len);
/* Its two halves. *ret_len: what out has room for; 0: that is not enough. */
int vmdk_sparse_compress(struct vmdk_extent *x, const void *buf, uint64_t len, void *out, uint64_t *ret_len);
int vmdk_sparse_write_packed(struct vmdk_extent *x, uint64_t offset, const void *packed, uint64_t len);
/* A whole grain where none is, under blocks.lock. */
int vmdk_sparse_put_grain(struct vmdk_extent *x, uint64_t index, const void *grain);
int vmdk_sparse_flush(struct vmdk_extent *x);
/* A fault for each table and grain that is not in the file; how many grains there are is added to ret. */
void vmdk_sparse_check(struct vmdk_extent *x, image_report *report, void *opaque, struct image_check *ret);

/* A new sparse extent, empty; descriptor: for its header, NULL: none. */
bool vmdk_sparse_create(struct image_file *f, uint64_t size, bool stream, bool zero_grains, const char *descriptor,
			GError **error);
extern const char *const vmdk_create_options[];
bool vmdk_create(struct image_file *f, uint64_t size, GVariant *options, GError **error);
