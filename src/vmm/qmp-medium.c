/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CD-ROM drives over QMP: eject and blockdev-change-medium, and the single steps that they are made of (qapi/block.json). While
 * the tray is open the guest finds no medium; what lies in it goes in with it. See qmp-block.h.
 */
#include <string.h>

#include "disk.h"
#include "error.h"
#include "format.h"
#include "graph.h"
#include "machine.h"
#include "qmp-block.h"
#include "vmm.h"

static const char *const read_only_modes[] = { "retain", "read-only", NULL };
static const struct qmp_type read_only_mode = { .kind = QMP_ENUM, .values = read_only_modes };

#define WHICH { "device", &qmp_string, .optional = true }, { "id", &qmp_string, .optional = true }

const struct qmp_member qmp_eject_args[] = { WHICH, { "force", &qmp_boolean, .optional = true }, {} };
const struct qmp_member qmp_medium_args[] = { WHICH, {} };
const struct qmp_member qmp_insert_medium_args[] = { WHICH, { "node-name", &qmp_string }, {} };
const struct qmp_member qmp_change_medium_args[] = {
	WHICH,
	{ "filename", &qmp_string },
	{ "format", &qmp_string, .optional = true },
	{ "force", &qmp_boolean, .optional = true },
	{ "read-only-mode", &read_only_mode, .optional = true },
	{},
};

static struct vmm_drive *find_drive(struct vmm *vmm, JsonObject *args, GError **error)
{
	const char *device = json_object_get_string_member_with_default(args, "device", NULL);
	const char *id = json_object_get_string_member_with_default(args, "id", device);

	for (unsigned i = 0; id && i < vmm->n_disks; i++) {
		if (strcmp(disk_id(vmm->disks[i].disk), id))
			continue;
		if (vmm->disks[i].cdrom)
			return &vmm->drives[i];
		kv_fail(error, KV_ERROR_USAGE, "Device '%s' is not removable", id);
		return NULL;
	}
	qmp_fail(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", id ? id : "");
	return NULL;
}

static void tray_moved(struct vmm *vmm, const struct vmm_drive *d)
{
	JsonObject *data = json_object_new();

	json_object_set_string_member(data, "device", disk_id(d->disk));
	json_object_set_string_member(data, "id", disk_id(d->disk));
	json_object_set_boolean_member(data, "tray-open", d->tray_open);
	qmp_event(vmm, "DEVICE_TRAY_MOVED", data);
}

/* What the guest finds: what lies in the tray, when it is closed. */
static bool show(struct vmm *vmm, struct vmm_drive *d, GError **error)
{
	struct image *img = d->tray_open ? NULL : d->user.img;

	if (img == disk_image(d->disk) || disk_set_image(d->disk, img ? image_ref(img) : NULL, error)) {
		graph_sweep(vmm->graph);
		return true;
	}
	image_close(img);
	return false;
}

static bool move_tray(struct vmm *vmm, struct vmm_drive *d, bool open, GError **error)
{
	if (d->tray_open == open)
		return true;
	d->tray_open = open;
	if (show(vmm, d, error)) {
		tray_moved(vmm, d);
		return true;
	}
	d->tray_open = !open;
	return false;
}

/* Into the open tray, or out of it: the drive's reference is the tray's while it is open. */
static void lay(struct vmm *vmm, struct vmm_drive *d, struct image *img)
{
	struct image *old = d->user.img;

	d->user.img = img;
	image_close(d->medium);
	d->medium = img ? image_ref(img) : NULL;
	if (old != img)
		graph_sweep(vmm->graph);
}

static bool open_tray(struct vmm *vmm, struct vmm_drive *d, GError **error)
{
	if (!d->medium && d->user.img)
		d->medium = image_ref(d->user.img);
	return move_tray(vmm, d, true, error);
}

JsonNode *qmp_blockdev_open_tray(void *opaque, JsonObject *args, GError **error)
{
	struct vmm_drive *d = find_drive(opaque, args, error);

	return d && open_tray(opaque, d, error) ? qmp_nothing() : NULL;
}

JsonNode *qmp_blockdev_close_tray(void *opaque, JsonObject *args, GError **error)
{
	struct vmm_drive *d = find_drive(opaque, args, error);

	return d && move_tray(opaque, d, false, error) ? qmp_nothing() : NULL;
}

static bool tray_is_open(const struct vmm_drive *d, GError **error)
{
	return d->tray_open || kv_fail(error, KV_ERROR_USAGE, "Tray of device '%s' is not open", disk_id(d->disk));
}

JsonNode *qmp_blockdev_remove_medium(void *opaque, JsonObject *args, GError **error)
{
	struct vmm_drive *d = find_drive(opaque, args, error);

	if (!d || !tray_is_open(d, error))
		return NULL;
	lay(opaque, d, NULL);
	return qmp_nothing();
}

JsonNode *qmp_blockdev_insert_medium(void *opaque, JsonObject *args, GError **error)
{
	struct block_graph *g = ((struct vmm *)opaque)->graph;
	struct vmm_drive *d = find_drive(opaque, args, error);
	struct image *img;

	if (!d || !tray_is_open(d, error))
		return NULL;
	if (d->user.img)
		return qmp_fail(error, QMP_ERROR_GENERIC, "There already is a medium in device '%s'", disk_id(d->disk));
	img = graph_lookup(g, NULL, json_object_get_string_member(args, "node-name"), error);
	if (!img)
		return NULL;
	if (graph_in_use(g, img, NULL))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Node '%s' is already in use", graph_name(g, img));
	lay(opaque, d, img);
	return qmp_nothing();
}

JsonNode *qmp_eject(void *opaque, JsonObject *args, GError **error)
{
	struct vmm_drive *d = find_drive(opaque, args, error);

	if (!d || !open_tray(opaque, d, error))
		return NULL;
	lay(opaque, d, NULL);
	return qmp_nothing();
}

/* A format that is not given is raw, as with --disk: the guest cannot have written a CD-ROM, but who made it may be anybody. */
static struct image *open_medium(JsonObject *args, GError **error)
{
	const char *format = json_object_get_string_member_with_default(args, "format", "raw");
	g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
	g_autoptr(GVariant) options = NULL;

	g_variant_dict_insert(&dict, "file", "s", json_object_get_string_member(args, "filename"));
	g_variant_dict_insert(&dict, "format", "s", format);
	g_variant_dict_insert(&dict, "readonly", "b", TRUE);
	options = g_variant_ref_sink(g_variant_dict_end(&dict));
	return image_open(options, error);
}

JsonNode *qmp_blockdev_change_medium(void *opaque, JsonObject *args, GError **error)
{
	struct vmm_drive *d = find_drive(opaque, args, error);
	struct image *img = d ? open_medium(args, error) : NULL;
	struct vmm *vmm = opaque;
	bool ok;

	if (!img)
		return NULL;
	ok = graph_add(vmm->graph, NULL, img, error) && open_tray(vmm, d, error);
	if (ok)
		lay(vmm, d, img);
	image_close(img);
	ok = ok && move_tray(vmm, d, false, error);
	graph_sweep(vmm->graph);
	return ok ? qmp_nothing() : NULL;
}
