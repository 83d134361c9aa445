/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots of disks in use: external ones, where a new image takes the writes and the old one stays under it as it is. In two
 * halves, so that several disks' are one (a QMP transaction): what can fail is prepared, then all of them take place at once.
 * Main thread.
 */
#pragma once
#include "graph.h"

struct block_snapshot;

/*
 * overlay: an image that is open and stands on nothing yet (blockdev-snapshot); a reference is taken. name: of its node, when
 * it is none yet (blockdev-snapshot-sync); NULL: one of ours.
 */
struct block_snapshot *snapshot_prepare(struct block_graph *g, struct image *img, struct image *overlay, const char *name,
					GError **error);
/* Makes a file of this format for the overlay, or takes one that is there (existing), and opens it over img. */
struct image *snapshot_make_overlay(struct image *img, const char *file, const char *format, bool existing, GError **error);
/* Nobody writes to img any more; what was written before is safe. */
bool snapshot_commit(struct block_snapshot *s, GError **error);
/* After a commit: back to the image; before one: nothing has happened. The overlay's file stays. */
void snapshot_abort(struct block_snapshot *s);
void snapshot_free(struct block_snapshot *s);
