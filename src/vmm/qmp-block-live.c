/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands that change a guest's disks while it runs: snapshots, size, limits. See qmp-block.h. */
#include <string.h>

#include "disk.h"
#include "error.h"
#include "format.h"
#include "graph.h"
#include "machine.h"
#include "qmp-block.h"
#include "snapshot.h"
#include "vmm.h"

static struct block_graph *graph_of(void *opaque)
{
	return ((struct vmm *)opaque)->graph;
}

/* `device` or `node-name`; of filters what is under them. */
static struct image *lookup(void *opaque, JsonObject *args, const char *node, GError **error)
{
	return graph_lookup_base(graph_of(opaque), qmp_text(args, "device"), qmp_text(args, node), error);
}

/* ---- external snapshots ---- */

static const char *const mode_names[] = { "existing", "absolute-paths", NULL };
static const struct qmp_type mode = { .kind = QMP_ENUM, .values = mode_names };

const struct qmp_member qmp_snapshot_sync_args[] = {
	{ "device", &qmp_string, .optional = true },
	{ "node-name", &qmp_string, .optional = true },
	{ "snapshot-file", &qmp_string },
	{ "snapshot-node-name", &qmp_string, .optional = true },
	{ "format", &qmp_string, .optional = true },
	{ "mode", &mode, .optional = true },
	{},
};

const struct qmp_member qmp_snapshot_args[] = { { "node", &qmp_string }, { "overlay", &qmp_string }, {} };

static bool prepare_sync(void *opaque, JsonObject *data, void **state, GError **error)
{
	const char *name = qmp_text(data, "snapshot-node-name"), *format = qmp_text(data, "format");
	bool existing = g_strcmp0(qmp_text(data, "mode"), "existing") == 0;
	struct image *img = lookup(opaque, data, "node-name", error), *overlay;

	if (!img || (name && !graph_name_valid(name, error)))
		return false;
	if (name && graph_find(graph_of(opaque), name))
		return kv_fail(error, KV_ERROR_USAGE, "New overlay node-name already in use");
	overlay = snapshot_make_overlay(img, json_object_get_string_member(data, "snapshot-file"), format ? format : "qcow2",
					existing, error);
	if (!overlay)
		return false;
	*state = snapshot_prepare(graph_of(opaque), img, overlay, name, error);
	image_close(overlay);
	return *state;
}

static bool prepare_snapshot(void *opaque, JsonObject *data, void **state, GError **error)
{
	struct block_graph *g = graph_of(opaque);
	struct image *img = graph_lookup_base(g, json_object_get_string_member(data, "node"),
					      json_object_get_string_member(data, "node"), error);
	struct image *overlay = img ? graph_lookup(g, NULL, json_object_get_string_member(data, "overlay"), error) : NULL;

	if (overlay)
		*state = snapshot_prepare(g, img, overlay, NULL, error);
	return *state;
}

static bool commit_snapshot(void *opaque, void *state, GError **error)
{
	return snapshot_commit(state, error);
}

static void abort_snapshot(void *opaque, void *state)
{
	snapshot_abort(state);
}

static void clean_snapshot(void *opaque, void *state)
{
	snapshot_free(state);
}

const struct qmp_action qmp_action_snapshot_sync = {
	"blockdev-snapshot-sync", qmp_snapshot_sync_args, prepare_sync, commit_snapshot, abort_snapshot, clean_snapshot,
};
const struct qmp_action qmp_action_snapshot = {
	"blockdev-snapshot", qmp_snapshot_args, prepare_snapshot, commit_snapshot, abort_snapshot, clean_snapshot,
};

JsonNode *qmp_blockdev_snapshot_sync(void *opaque, JsonObject *args, GError **error)
{
	return qmp_run_action(&qmp_action_snapshot_sync, opaque, args, error);
}

JsonNode *qmp_blockdev_snapshot(void *opaque, JsonObject *args, GError **error)
{
	return qmp_run_action(&qmp_action_snapshot, opaque, args, error);
}

/* ---- internal snapshots ---- */

const struct qmp_member qmp_snapshot_internal_args[] = { { "device", &qmp_string }, { "name", &qmp_string }, {} };
const struct qmp_member qmp_snapshot_delete_internal_args[] = {
	{ "device", &qmp_string },
	{ "id", &qmp_string, .optional = true },
	{ "name", &qmp_string, .optional = true },
	{},
};

struct internal {
	struct image *img; /* a reference */
	char *name;
	bool made;
};

static struct image *with_snapshots(void *opaque, JsonObject *args, GError **error)
{
	const char *device = json_object_get_string_member(args, "device");
	struct image *img = graph_lookup_base(graph_of(opaque), device, device, error);

	if (!img || !graph_is_free(graph_of(opaque), img, error))
		return NULL;
	if (img->format->snapshots && img->format->snapshot_create && !img->readonly)
		return img;
	qmp_fail(error, QMP_ERROR_GENERIC, "Block format '%s' used by device '%s' does not support internal snapshots",
		 img->format->name, device);
	return NULL;
}

/* The index in the list, -1: none. A NULL is any. */
static int find_snapshot(const GArray *list, const char *id, const char *name)
{
	for (guint i = 0; list && i < list->len; i++) {
		const struct image_snapshot *s = &g_array_index(list, struct image_snapshot, i);

		if ((!id || strcmp(s->id, id) == 0) && (!name || strcmp(s->name, name) == 0))
			return i;
	}
	return -1;
}

static bool prepare_internal(void *opaque, JsonObject *data, void **state, GError **error)
{
	const char *name = json_object_get_string_member(data, "name");
	struct image *img = with_snapshots(opaque, data, error);
	struct internal *s;
	GArray *list;
	bool exists;

	if (!img)
		return false;
	if (!*name)
		return kv_fail(error, KV_ERROR_USAGE, "Name is empty");
	list = img->format->snapshots(img);
	exists = find_snapshot(list, NULL, name) >= 0;
	image_snapshots_free(list);
	if (exists)
		return kv_fail(error, KV_ERROR_USAGE, "Snapshot with name '%s' already exists on device '%s'", name,
			       json_object_get_string_member(data, "device"));
	s = g_new0(struct internal, 1);
	*s = (struct internal){ .img = image_ref(img), .name = g_strdup(name) };
	*state = s;
	return true;
}

static bool commit_internal(void *opaque, void *state, GError **error)
{
	struct internal *s = state;

	image_drain_begin(s->img);
	image_lock_out(s->img);
	s->made = s->img->format->snapshot_create(s->img, s->name, error);
	image_let_in(s->img);
	image_drain_end(s->img);
	return s->made;
}

static void abort_internal(void *opaque, void *state)
{
	struct internal *s = state;

	if (!s->made)
		return;
	image_drain_begin(s->img);
	image_lock_out(s->img);
	s->img->format->snapshot_delete(s->img, s->name, NULL);
	image_let_in(s->img);
	image_drain_end(s->img);
}

static void clean_internal(void *opaque, void *state)
{
	struct internal *s = state;

	image_close(s->img);
	g_free(s->name);
	g_free(s);
}

const struct qmp_action qmp_action_snapshot_internal = {
	"blockdev-snapshot-internal-sync", qmp_snapshot_internal_args, prepare_internal, commit_internal, abort_internal,
	clean_internal,
};

JsonNode *qmp_blockdev_snapshot_internal_sync(void *opaque, JsonObject *args, GError **error)
{
	return qmp_run_action(&qmp_action_snapshot_internal, opaque, args, error);
}

JsonNode *qmp_blockdev_snapshot_delete_internal_sync(void *opaque, JsonObject *args, GError **error)
{
	const char *id = qmp_text(args, "id"), *name = qmp_text(args, "name");
	struct image *img = with_snapshots(opaque, args, error);
	JsonNode *answer = NULL;
	GArray *list;
	int at;

	if (!img)
		return NULL;
	if (!id && !name)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Name or id must be provided");
	list = img->format->snapshots(img);
	at = find_snapshot(list, id, name);
	if (at < 0) {
		qmp_fail(error, QMP_ERROR_GENERIC, "Snapshot with id '%s' and name '%s' does not exist on device '%s'",
			 id ? id : "(null)", name ? name : "(null)", json_object_get_string_member(args, "device"));
	} else {
		const struct image_snapshot *s = &g_array_index(list, struct image_snapshot, at);

		image_drain_begin(img);
		image_lock_out(img);
		if (img->format->snapshot_delete(img, s->id, error))
			answer = qmp_object(qmp_snapshot_info(s));
		image_let_in(img);
		image_drain_end(img);
	}
	image_snapshots_free(list);
	return answer;
}

/* ---- size and limits ---- */

const struct qmp_member qmp_block_resize_args[] = {
	{ "device", &qmp_string, .optional = true },
	{ "node-name", &qmp_string, .optional = true },
	{ "size", &qmp_integer },
	{},
};

/* The guest's disk that has this image, or NULL. */
static struct disk *disk_of(struct vmm *vmm, const struct image *img)
{
	for (unsigned i = 0; i < vmm->n_disks; i++)
		if (image_base(disk_image(vmm->disks[i].disk)) == img)
			return vmm->disks[i].disk;
	return NULL;
}

JsonNode *qmp_block_resize(void *opaque, JsonObject *args, GError **error)
{
	gint64 size = json_object_get_int_member(args, "size");
	struct image *img = lookup(opaque, args, "node-name", error);
	struct disk *disk;
	bool ok;

	if (!img)
		return NULL;
	if (size < 0)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'size' expects a >0 size");
	if (!graph_is_free(graph_of(opaque), img, error))
		return NULL;
	disk = disk_of(opaque, img);
	if (disk) {
		ok = disk_resize(disk, size, error);
	} else {
		image_drain_begin(img);
		ok = image_resize(img, size, IMAGE_PREALLOC_OFF, error);
		image_drain_end(img);
	}
	graph_follow(graph_of(opaque)); /* filters that it is not the drive of */
	return ok ? qmp_nothing() : NULL;
}

#define LIMITS(name) \
	{ name, &qmp_integer }, { name "_rd", &qmp_integer }, { name "_wr", &qmp_integer }, \
	{ name "_max", &qmp_integer, .optional = true }, { name "_rd_max", &qmp_integer, .optional = true }, \
	{ name "_wr_max", &qmp_integer, .optional = true }, { name "_max_length", &qmp_integer, .optional = true }, \
	{ name "_rd_max_length", &qmp_integer, .optional = true }, { name "_wr_max_length", &qmp_integer, .optional = true }

const struct qmp_member qmp_block_set_io_throttle_args[] = {
	{ "device", &qmp_string, .optional = true },
	{ "id", &qmp_string, .optional = true },
	LIMITS("bps"),
	LIMITS("iops"),
	{ "iops_size", &qmp_integer, .optional = true },
	{ "group", &qmp_string, .optional = true },
	{},
};

static const char *const limit_names[THROTTLE_KINDS] = {
	[THROTTLE_BPS] = "bps",		[THROTTLE_BPS_READ] = "bps_rd",	  [THROTTLE_BPS_WRITE] = "bps_wr",
	[THROTTLE_IOPS] = "iops",	[THROTTLE_IOPS_READ] = "iops_rd", [THROTTLE_IOPS_WRITE] = "iops_wr",
};

static bool take_number(JsonObject *args, const char *name, const char *suffix, uint64_t *ret, GError **error)
{
	g_autofree char *full = g_strconcat(name, suffix, NULL);
	gint64 n = json_object_get_int_member_with_default(args, full, 0);

	*ret = n;
	return n >= 0 || kv_fail(error, KV_ERROR_USAGE, "bps/iops/max values must be within [0, %" G_GINT64_FORMAT "]",
				 (gint64)1000000000000000);
}

JsonNode *qmp_block_set_io_throttle(void *opaque, JsonObject *args, GError **error)
{
	const char *id = qmp_text(args, "id") ? qmp_text(args, "id") : qmp_text(args, "device");
	struct throttle_config c = {};
	struct vmm *vmm = opaque;
	int drive = id ? qmp_find_drive(vmm, id) : -1;
	const char *group = qmp_text(args, "group");
	struct disk *disk;

	if (drive < 0)
		return qmp_fail(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", id ? id : "");
	for (int i = 0; i < THROTTLE_KINDS; i++)
		if (!take_number(args, limit_names[i], "", &c.limit[i].avg, error) ||
		    !take_number(args, limit_names[i], "_max", &c.limit[i].max, error) ||
		    !take_number(args, limit_names[i], "_max_length", &c.limit[i].length, error))
			return NULL;
	if (!take_number(args, "iops_size", "", &c.iops_size, error))
		return NULL;
	disk = vmm->disks[drive].disk;
	/* A drive that has none gets one with the name that it is called by. */
	if (!group && !disk_throttle_group(disk))
		group = id;
	return disk_set_throttle(disk, &c, group, error) ? qmp_nothing() : NULL;
}
