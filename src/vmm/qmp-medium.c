/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands about the media of drives with a tray: open, shut, take out, put in. See qmp-block.h. */
#include "disk.h"
#include "error.h"
#include "graph.h"
#include "image.h"
#include "machine.h"
#include "qmp-block.h"
#include "vmm.h"

static const char *const readonly_names[] = { "retain", "read-only", "read-write", NULL };
static const struct qmp_type readonly_mode = { .kind = QMP_ENUM, .values = readonly_names };

#define DRIVE { "device", &qmp_string, .optional = true }, { "id", &qmp_string, .optional = true }
const struct qmp_member qmp_tray_args[] = { DRIVE, {} };
const struct qmp_member qmp_open_tray_args[] = { DRIVE, { "force", &qmp_boolean, .optional = true }, {} };
const struct qmp_member qmp_remove_medium_args[] = { { "id", &qmp_string }, {} };
const struct qmp_member qmp_insert_medium_args[] = { { "id", &qmp_string }, { "node-name", &qmp_string }, {} };
const struct qmp_member qmp_change_medium_args[] = {
	DRIVE,
	{ "filename", &qmp_string },
	{ "format", &qmp_string, .optional = true },
	{ "force", &qmp_boolean, .optional = true },
	{ "read-only-mode", &readonly_mode, .optional = true },
	{},
};

static bool is_forced(JsonObject *args)
{
	return json_object_get_boolean_member_with_default(args, "force", FALSE);
}

static const char *name_of(JsonObject *args)
{
	const char *device = qmp_text(args, "device");

	return device ? device : qmp_text(args, "id");
}

/* The drive that is named; it has a tray. */
static struct disk *find(struct vmm *vmm, JsonObject *args, unsigned *ret_index, struct disk_tray *ret_tray, GError **error)
{
	const char *name = name_of(args);
	int drive;

	if (!qmp_text(args, "device") == !qmp_text(args, "id")) {
		kv_fail(error, KV_ERROR_USAGE, "Need exactly one of 'device' and 'id'");
		return NULL;
	}
	drive = qmp_find_drive(vmm, name);
	if (drive < 0) {
		qmp_fail(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", name);
		return NULL;
	}
	*ret_index = (unsigned)drive;
	if (disk_tray(vmm->disks[drive].disk, ret_tray))
		return vmm->disks[drive].disk;
	kv_fail(error, KV_ERROR_USAGE, "Device '%s' is not removable", name);
	return NULL;
}

/* False: it is locked, and the guest is asked to open it. */
static bool open_tray(struct disk *d, const struct disk_tray *tray, JsonObject *args, GError **error)
{
	if (tray->open)
		return true;
	if (tray->locked)
		disk_ask_eject(d, is_forced(args));
	if (!tray->locked || is_forced(args)) {
		disk_move_tray(d, true);
		return true;
	}
	return kv_fail(error, KV_ERROR_USAGE,
		       "Device '%s' is locked and force was not specified, wait for tray to open and try again", name_of(args));
}

JsonNode *qmp_blockdev_open_tray(void *opaque, JsonObject *args, GError **error)
{
	struct disk_tray tray;
	unsigned index;
	struct disk *d = find(opaque, args, &index, &tray, error);

	if (!d)
		return NULL;
	open_tray(d, &tray, args, NULL); /* locked: the guest will do it */
	return qmp_nothing();
}

JsonNode *qmp_blockdev_close_tray(void *opaque, JsonObject *args, GError **error)
{
	struct disk_tray tray;
	unsigned index;
	struct disk *d = find(opaque, args, &index, &tray, error);

	if (!d)
		return NULL;
	disk_move_tray(d, false);
	return qmp_nothing();
}

static bool check_open(struct disk *d, JsonObject *args, GError **error)
{
	struct disk_tray tray;

	if (disk_tray(d, &tray) && tray.open)
		return true;
	return kv_fail(error, KV_ERROR_USAGE, "Tray of device '%s' is not open", name_of(args));
}

JsonNode *qmp_blockdev_remove_medium(void *opaque, JsonObject *args, GError **error)
{
	struct disk_tray tray;
	unsigned index;
	struct disk *d = find(opaque, args, &index, &tray, error);

	if (!d || !check_open(d, args, error) || (!disk_is_empty(d) && !vmm_set_medium(opaque, index, NULL, error)))
		return NULL;
	return qmp_nothing();
}

JsonNode *qmp_eject(void *opaque, JsonObject *args, GError **error)
{
	struct disk_tray tray;
	unsigned index;
	struct disk *d = find(opaque, args, &index, &tray, error);

	if (!d || !open_tray(d, &tray, args, error) || (!disk_is_empty(d) && !vmm_set_medium(opaque, index, NULL, error)))
		return NULL;
	return qmp_nothing();
}

JsonNode *qmp_blockdev_insert_medium(void *opaque, JsonObject *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *name = qmp_text(args, "node-name");
	struct block_node *node = graph_find(vmm->graph, name);
	struct disk_tray tray;
	unsigned index;
	struct disk *d;

	if (!node)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Node '%s' not found", name);
	if (graph_in_use(vmm->graph, node->img))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Node '%s' is already in use", name);
	d = find(vmm, args, &index, &tray, error);
	if (!d || !check_open(d, args, error))
		return NULL;
	if (!disk_is_empty(d))
		kv_fail(error, KV_ERROR_USAGE, "There already is a medium in device '%s'", name_of(args));
	else if (!node->img->readonly)
		kv_fail(error, KV_ERROR_USAGE, "Node '%s' is writable, which a medium here cannot be; add it with read-only",
			name);
	else if (vmm_set_medium(vmm, index, node->img, error))
		return qmp_nothing();
	return NULL;
}

/* A format that is not given is raw, as with --disk: the guest cannot have written a disc, but who made it may be anybody. */
static struct image *open_medium(JsonObject *args, GError **error)
{
	const char *format = qmp_text(args, "format");
	g_autoptr(GVariant) options = g_variant_ref_sink(
		g_variant_new_parsed("{'file': <%s>, 'format': <%s>, 'readonly': <true>}", qmp_text(args, "filename"),
				     format ? format : "raw"));

	if (g_strcmp0(qmp_text(args, "read-only-mode"), "read-write"))
		return image_open(options, error);
	kv_fail(error, KV_ERROR_USAGE, "Device '%s' only reads; give another read-only-mode", name_of(args));
	return NULL;
}

JsonNode *qmp_blockdev_change_medium(void *opaque, JsonObject *args, GError **error)
{
	struct disk_tray tray;
	unsigned index;
	struct disk *d = find(opaque, args, &index, &tray, error);
	struct image *img = d ? open_medium(args, error) : NULL;
	bool ok;

	if (!img)
		return NULL;
	ok = open_tray(d, &tray, args, error) && vmm_set_medium(opaque, index, img, error);
	image_close(img);
	if (!ok)
		return NULL;
	disk_move_tray(d, false);
	return qmp_nothing();
}
