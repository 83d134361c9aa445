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
/* The image of a member that is a node's name, or the options of one to open: a reference. graph_sweep() afterwards. */
struct image *qmp_open_reference(struct vmm *vmm, JsonObject *o, const char *name, GError **error);

/* qmp-reopen.c */
extern const struct qmp_member qmp_blockdev_reopen_args[];
qmp_run qmp_blockdev_reopen;

/* qmp-blockdev-create.c */
extern const struct qmp_member qmp_blockdev_create_args[];
qmp_run qmp_blockdev_create;

/* qmp-block-query.c; a drive's index by its id, or by the path of its device as query-block tells it; -1: there is none. */
int qmp_find_drive(const struct vmm *vmm, const char *name);
extern const struct qmp_member qmp_query_blockstats_args[], qmp_query_named_block_nodes_args[];
qmp_run qmp_query_block, qmp_query_blockstats, qmp_query_named_block_nodes;

/* qmp-image-info.c: ImageInfo; backing: with what it stands on inside. SnapshotInfo. */
JsonObject *qmp_image_info(struct image *img, bool backing);
struct image_snapshot;
JsonObject *qmp_snapshot_info(const struct image_snapshot *s);

/* qmp-block-live.c: snapshots, sizes, limits */
extern const struct qmp_member qmp_snapshot_sync_args[], qmp_snapshot_args[], qmp_snapshot_internal_args[],
	qmp_snapshot_delete_internal_args[], qmp_block_resize_args[], qmp_block_set_io_throttle_args[];
qmp_run qmp_blockdev_snapshot_sync, qmp_blockdev_snapshot, qmp_blockdev_snapshot_internal_sync,
	qmp_blockdev_snapshot_delete_internal_sync, qmp_block_resize, qmp_block_set_io_throttle;

/* qmp-medium.c */
extern const struct qmp_member qmp_tray_args[], qmp_open_tray_args[], qmp_remove_medium_args[], qmp_insert_medium_args[],
	qmp_change_medium_args[];
qmp_run qmp_blockdev_open_tray, qmp_blockdev_close_tray, qmp_blockdev_remove_medium, qmp_blockdev_insert_medium,
	qmp_blockdev_change_medium, qmp_eject;

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

extern const struct qmp_action qmp_action_snapshot, qmp_action_snapshot_sync, qmp_action_snapshot_internal, qmp_action_backup,
	qmp_action_bitmap_add, qmp_action_bitmap_remove, qmp_action_bitmap_clear, qmp_action_bitmap_enable,
	qmp_action_bitmap_disable, qmp_action_bitmap_merge;

/* qmp-jobs.c: starting jobs; verbs of block-job-* (with "device") and job-* (with "id"); queries */
extern const struct qmp_member qmp_block_commit_args[], qmp_block_stream_args[], qmp_blockdev_mirror_args[],
	qmp_blockdev_backup_args[], qmp_job_id_args[], qmp_block_job_args[], qmp_block_job_cancel_args[],
	qmp_block_job_set_speed_args[];
qmp_run qmp_block_commit, qmp_block_stream, qmp_blockdev_mirror, qmp_blockdev_backup;
qmp_run qmp_job_pause, qmp_job_resume, qmp_job_complete, qmp_job_finalize, qmp_job_dismiss, qmp_job_cancel,
	qmp_block_job_set_speed;
qmp_run qmp_query_jobs, qmp_query_block_jobs;

/* qmp-bitmaps.c */
extern const struct qmp_member qmp_bitmap_add_args[], qmp_bitmap_args[], qmp_bitmap_merge_args[];
qmp_run qmp_bitmap_add, qmp_bitmap_remove, qmp_bitmap_clear, qmp_bitmap_enable, qmp_bitmap_disable, qmp_bitmap_merge;
struct image_bitmap;
/* A bitmap's name, in img's chain, or {"node", "name"}, that can be read. */
struct image_bitmap *qmp_find_bitmap_of(struct vmm *vmm, struct image *img, JsonNode *which, GError **error);
void qmp_put_bitmaps(JsonObject *o, struct image *img); /* "dirty-bitmaps" of an image's node */

/* qmp-nbd.c */
extern const struct qmp_member qmp_nbd_server_start_args[], qmp_nbd_server_add_args[], qmp_nbd_server_remove_args[],
	qmp_block_export_add_args[], qmp_block_export_del_args[];
qmp_run qmp_nbd_server_start, qmp_nbd_server_add, qmp_nbd_server_remove, qmp_nbd_server_stop;
qmp_run qmp_block_export_add, qmp_block_export_del, qmp_query_block_exports;
