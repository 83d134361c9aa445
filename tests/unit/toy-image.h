/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An image format for tests: clusters of 4 KiB, found through one table, freed by discards and used again at once, which is
 * what is hard about formats. The file: a head of 512 bytes (magic, clusters, name of the backing file and of its format), the
 * table of 32-bit cluster numbers (0: none, 1: zeroes), the clusters. Its writes are slow on purpose between their steps.
 */
#pragma once
#include "format.h"

enum {
	TOY_CLUSTER = 4096,
	TOY_CLUSTERS = 256,
	TOY_SIZE = TOY_CLUSTER * TOY_CLUSTERS,
};

extern const struct image_format image_toy;
/* In place of the library's: raw and toy. */
extern const struct image_format *const image_formats[];
/* Makes one; backing NULL: none. */
void toy_make(const char *path, const char *backing, const char *backing_format);
/* How many reads and writes went through its functions, and not to the kernel. */
extern unsigned toy_writes, toy_maps;
