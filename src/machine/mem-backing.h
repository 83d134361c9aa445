/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host memory for a machine's RAM that the user has asked for in particular: shared through a memfd or a file, of large pages,
 * taken beforehand, from some of the host's NUMA nodes (QEMU's memory-backend-ram, -memfd, -file; qapi/qom.json). Made before
 * the machine and freed after it, in the main thread; mem.c uses it from any.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum mem_backing_kind { MEM_BACKING_RAM, MEM_BACKING_MEMFD, MEM_BACKING_FILE };
enum mem_policy { MEM_POLICY_DEFAULT, MEM_POLICY_PREFERRED, MEM_POLICY_BIND, MEM_POLICY_INTERLEAVE }; /* as MPOL_ has them */
enum { MEM_NODES = 128 }; /* of the host */

struct mem_backing_config {
	enum mem_backing_kind kind;
	uint64_t size; /* bytes */
	bool share;    /* what is written is seen by all who map it, and in the file */
	bool prealloc; /* all pages are there before the guest runs */
	bool merge;    /* the host may merge equal pages (KSM) */
	bool no_dump;  /* core dumps are without it */
	bool seal;     /* a memfd's size is fixed */
	bool hugetlb;  /* a memfd of large pages: of hugetlb_size bytes, or 0: of the host's usual ones */
	uint64_t hugetlb_size;
	const char *path;  /* a file, which is made where there is none, or a folder for one without a name */
	bool discard_data; /* of a shared file: what was written is not kept */
	enum mem_policy policy;
	bool nodes[MEM_NODES];
};

struct mem_backing {
	uint8_t *host;
	uint64_t size, page; /* bytes; of a page of what is behind it */
	int fd;		     /* of what is behind it; -1: nothing that has a name */
	bool share;
	/* What lets go of pages, so that they are zeroes again: an madvise(2), or 0: nothing does. */
	int zeroes;
	bool discard_data;
};

struct mem_backing *mem_backing_new(const char *id, const struct mem_backing_config *c, GError **error);
void mem_backing_free(struct mem_backing *b); /* NULL is fine */
/* Gives pages back, which are zeroes then. False, and nothing has changed, when the host does not take these. */
bool mem_backing_discard(const struct mem_backing *b, void *host, uint64_t len);
/* Zeroes, given back where the host takes them. */
void mem_backing_clear(const struct mem_backing *b, void *host, uint64_t len);
/*
 * Whether there may be other bytes than zeroes behind host, mapped or not: the host takes shared pages out of a mapping as it
 * likes. *ret_len: for how many bytes that holds. What a private mapping has of its own is not looked at.
 */
bool mem_backing_has_data(const struct mem_backing *b, const void *host, uint64_t *ret_len);
/* N, N-M and so on, with commas between, to c->nodes. */
bool mem_backing_nodes(struct mem_backing_config *c, const char *text, GError **error);
