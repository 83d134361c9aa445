/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP commands about disks, a file a group; rows of the table in qmp.c. Shapes and texts are those of QEMU 7.2's
 * qapi/block-core.json, block.json, block-export.json, job.json and transaction.json. Main thread.
 */
#pragma once
#include "qmp.h"

struct block_graph;
struct image;

/* qmp-blockdev.c */
extern const struct qmp_member qmp_blockdev_del_args[];
qmp_run qmp_blockdev_add, qmp_blockdev_del;

/* qmp-block-query.c */
extern const struct qmp_member qmp_query_blockstats_args[], qmp_query_named_block_nodes_args[];
qmp_run qmp_query_block, qmp_query_blockstats, qmp_query_named_block_nodes;

/* qmp-image-info.c: ImageInfo; backing: with what it stands on inside. */
JsonObject *qmp_image_info(struct image *img, bool backing);

/* qmp-block-live.c: snapshots, sizes, limits */
extern const struct qmp_member qmp_snapshot_sync_args[], qmp_snapshot_args[], qmp_snapshot_internal_args[],
	qmp_snapshot_delete_internal_args[], qmp_block_resize_args[], qmp_block_set_io_throttle_args[];
qmp_run qmp_blockdev_snapshot_sync, qmp_blockdev_snapshot, qmp_blockdev_snapshot_internal_sync,
	qmp_blockdev_snapshot_delete_internal_sync, qmp_block_resize, qmp_block_set_io_throttle;

/* qmp-transaction.c */
extern const struct qmp_member qmp_transaction_args[];
qmp_run qmp_transaction;

/*
 * What can be part of a transaction. prepare() checks and does what can fail; then all are committed, or all aborted, the last
 * one first. *state is the action's own, freed by clean(), which comes last in any case. NULL functions: nothing to do.
 */
struct qmp_action {
	const char *type;
	const struct qmp_member *data;
	bool (*prepare)(void *opaque, JsonObject *data, void **state, GError **error);
	bool (*commit)(void *opaque, void *state, GError **error);
	void (*abort)(void *opaque, void *state);
	void (*clean)(void *opaque, void *state);
};
/* One action alone, as a command of its own. */
JsonNode *qmp_run_action(const struct qmp_action *action, void *opaque, JsonObject *args, GError **error);

extern const struct qmp_action qmp_action_snapshot, qmp_action_snapshot_sync, qmp_action_snapshot_internal;
