/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query-block, query-named-block-nodes, query-blockstats. See qmp-block.h. */
#include <string.h>

#include "disk.h"
#include "format.h"
#include "graph.h"
#include "machine.h"
#include "qmp-block.h"
#include "vmm.h"

const struct qmp_member qmp_query_blockstats_args[] = { { "query-nodes", &qmp_boolean, .optional = true }, {} };
const struct qmp_member qmp_query_named_block_nodes_args[] = { { "flat", &qmp_boolean, .optional = true }, {} };

#define PERIPHERAL "/machine/peripheral/"
#define BACKEND	   "/virtio-backend" /* QEMU's virtio devices are two, of which the inner one has the drive */

static char *device_path(const struct machine_disk *d)
{
	const char *id = disk_id(d->disk);

	return d->bus == MACHINE_BUS_VIRTIO ? g_strconcat(PERIPHERAL, id, BACKEND, NULL) : g_strdup(id);
}

int qmp_find_drive(const struct vmm *vmm, const char *name)
{
	bool path = g_str_has_prefix(name, PERIPHERAL);
	const char *id = path ? name + strlen(PERIPHERAL) : name;
	size_t len = path && g_str_has_suffix(id, BACKEND) ? strlen(id) - strlen(BACKEND) : strlen(id);

	for (unsigned i = 0; i < vmm->n_disks; i++) {
		const char *mine = disk_id(vmm->disks[i].disk);

		if (strlen(mine) == len && !memcmp(mine, id, len))
			return (int)i;
	}
	return -1;
}

/* Filters that --disk has made are not shown, as QEMU does not show its implicit ones. */
static struct image *shown_of(struct vmm *vmm, struct image *img)
{
	while (img && image_is_filter(img)) {
		const struct block_node *n = graph_find_image(vmm->graph, img);

		if (n && n->how)
			break;
		img = img->backing;
	}
	return img;
}

static unsigned depth_of(const struct image *img)
{
	unsigned depth = 0;

	for (const struct image *i = img->backing; i; i = i->backing)
		depth++;
	return depth;
}

static void put_limits(JsonObject *o, const struct disk *d)
{
	static const struct {
		const char *name;
		enum throttle_kind kind;
	} rows[] = {
		{ "bps", THROTTLE_BPS },   { "bps_rd", THROTTLE_BPS_READ },   { "bps_wr", THROTTLE_BPS_WRITE },
		{ "iops", THROTTLE_IOPS }, { "iops_rd", THROTTLE_IOPS_READ }, { "iops_wr", THROTTLE_IOPS_WRITE },
	};
	const struct throttle_config *c = d ? disk_throttle(d) : NULL;
	bool limited = false;

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		const struct throttle_limit *l = c ? &c->limit[rows[i].kind] : NULL;
		g_autofree char *max = g_strconcat(rows[i].name, "_max", NULL), *length = g_strconcat(max, "_length", NULL);

		json_object_set_int_member(o, rows[i].name, l ? l->avg : 0);
		if (l && l->max) {
			json_object_set_int_member(o, max, l->max);
			json_object_set_int_member(o, length, l->length);
		}
		limited |= l && l->avg;
	}
	if (limited && c->iops_size)
		json_object_set_int_member(o, "iops_size", c->iops_size);
	if (d && disk_throttle_group(d))
		json_object_set_string_member(o, "group", disk_throttle_group(d));
}

/* BlockDeviceInfo. disk: whose limits and cache are told; NULL: it is about the node alone. */
static JsonObject *device_info(struct vmm *vmm, struct image *img, const struct disk *disk, bool flat)
{
	JsonObject *o = json_object_new(), *cache = json_object_new();

	qmp_put_text(o, "file", img->path);
	json_object_set_string_member(o, "node-name", graph_name(vmm->graph, img));
	json_object_set_boolean_member(o, "ro", img->readonly);
	json_object_set_string_member(o, "drv", img->format->name);
	if (img->backing && !image_is_filter(img))
		qmp_put_text(o, "backing_file", img->backing->path);
	json_object_set_int_member(o, "backing_file_depth", depth_of(img));
	json_object_set_boolean_member(o, "encrypted", FALSE);
	json_object_set_string_member(o, "detect_zeroes", "off");
	put_limits(o, disk);
	json_object_set_object_member(o, "image", qmp_image_info(img, !flat));
	json_object_set_boolean_member(cache, "writeback", !disk || disk_is_writeback(disk));
	json_object_set_boolean_member(cache, "direct", img->direct);
	json_object_set_boolean_member(cache, "no-flush", FALSE);
	json_object_set_object_member(o, "cache", cache);
	json_object_set_int_member(o, "write_threshold", 0);
	qmp_put_bitmaps(o, img);
	return o;
}

static JsonObject *disk_info(struct vmm *vmm, unsigned index)
{
	const struct machine_disk *d = &vmm->disks[index];
	static const char *const status[] = { [DISK_OK] = "ok", [DISK_FAILED] = "failed", [DISK_NOSPACE] = "nospace" };
	JsonObject *o = json_object_new();
	struct image *img = shown_of(vmm, vmm->drives[index].user.img);
	struct disk_tray tray;
	bool has_tray = disk_tray(d->disk, &tray);
	g_autofree char *path = device_path(d);

	json_object_set_string_member(o, "device", disk_id(d->disk));
	json_object_set_string_member(o, "qdev", path);
	json_object_set_boolean_member(o, "locked", has_tray && tray.locked);
	json_object_set_boolean_member(o, "removable", d->cdrom);
	if (has_tray)
		json_object_set_boolean_member(o, "tray_open", tray.open);
	json_object_set_string_member(o, "type", "unknown");
	json_object_set_string_member(o, "io-status", status[disk_status(d->disk)]);
	if (img)
		json_object_set_object_member(o, "inserted", device_info(vmm, img, d->disk, false));
	return o;
}

JsonNode *qmp_query_block(void *opaque, JsonObject *args, GError **error)
{
	struct vmm *vmm = opaque;
	JsonArray *list = json_array_new();

	for (unsigned i = 0; i < vmm->n_disks; i++)
		json_array_add_object_element(list, disk_info(vmm, i));
	return qmp_array(list);
}

JsonNode *qmp_query_named_block_nodes(void *opaque, JsonObject *args, GError **error)
{
	bool flat = json_object_get_boolean_member_with_default(args, "flat", FALSE);
	struct vmm *vmm = opaque;
	JsonArray *list = json_array_new();

	for (struct block_node *n = graph_nodes(vmm->graph); n; n = n->next)
		json_array_add_object_element(list, device_info(vmm, n->img, NULL, flat));
	return qmp_array(list);
}

/* ---- statistics ---- */

static void put_op(JsonObject *o, const char *prefix, const char *what, uint64_t value)
{
	g_autofree char *name = g_strdup_printf("%s%s", prefix, what);

	json_object_set_int_member(o, name, value);
}

/* BlockDeviceStats; s NULL: of a node, which are not counted. */
static JsonObject *device_stats(const struct disk_stats *s)
{
	static const struct {
		const char *name;
		enum image_op op, also; /* the same one: no other */
	} rows[] = {
		{ "rd", IMAGE_READ, IMAGE_READ },
		{ "wr", IMAGE_WRITE, IMAGE_WRITE_ZEROES },
		{ "flush", IMAGE_FLUSH, IMAGE_FLUSH },
		{ "unmap", IMAGE_DISCARD, IMAGE_DISCARD },
	};
	static const struct disk_stats none;
	JsonObject *o = json_object_new();

	s = s ? s : &none;
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		bool two = rows[i].also != rows[i].op;
		enum image_op a = rows[i].op, b = rows[i].also;
		g_autofree char *failed = g_strdup_printf("failed_%s_operations", rows[i].name);
		g_autofree char *invalid = g_strdup_printf("invalid_%s_operations", rows[i].name);

		if (a != IMAGE_FLUSH) {
			put_op(o, rows[i].name, "_bytes", s->by[a].bytes + (two ? s->by[b].bytes : 0));
			put_op(o, rows[i].name, "_merged", 0);
		}
		put_op(o, rows[i].name, "_operations", s->by[a].done + (two ? s->by[b].done : 0));
		put_op(o, rows[i].name, "_total_time_ns", (s->by[a].us + (two ? s->by[b].us : 0)) * 1000);
		json_object_set_int_member(o, failed, s->by[a].failed + (two ? s->by[b].failed : 0));
		json_object_set_int_member(o, invalid, 0);
	}
	json_object_set_int_member(o, "wr_highest_offset", s->highest);
	if (s->last)
		json_object_set_int_member(o, "idle_time_ns", (g_get_monotonic_time() - s->last) * 1000);
	json_object_set_boolean_member(o, "account_invalid", TRUE);
	json_object_set_boolean_member(o, "account_failed", TRUE);
	json_object_set_array_member(o, "timed_stats", json_array_new());
	return o;
}

static JsonObject *node_stats(struct vmm *vmm, const struct image *img)
{
	JsonObject *o = json_object_new();

	json_object_set_string_member(o, "node-name", graph_name(vmm->graph, img));
	json_object_set_object_member(o, "stats", device_stats(NULL));
	if (img->backing)
		json_object_set_object_member(o, image_is_filter(img) ? "parent" : "backing", node_stats(vmm, img->backing));
	return o;
}

JsonNode *qmp_query_blockstats(void *opaque, JsonObject *args, GError **error)
{
	bool nodes = json_object_get_boolean_member_with_default(args, "query-nodes", FALSE);
	struct vmm *vmm = opaque;
	JsonArray *list = json_array_new();

	for (const struct block_node *n = nodes ? graph_nodes(vmm->graph) : NULL; n; n = n->next)
		json_array_add_object_element(list, node_stats(vmm, n->img));
	for (unsigned i = 0; !nodes && i < vmm->n_disks; i++) {
		const struct image *img = shown_of(vmm, vmm->drives[i].user.img);
		JsonObject *o = img ? node_stats(vmm, img) : json_object_new();
		g_autofree char *path = device_path(&vmm->disks[i]);
		struct disk_stats s;

		disk_stats(vmm->disks[i].disk, &s);
		json_object_set_string_member(o, "device", disk_id(vmm->disks[i].disk));
		json_object_set_string_member(o, "qdev", path);
		json_object_set_object_member(o, "stats", device_stats(&s));
		json_array_add_object_element(list, o);
	}
	return qmp_array(list);
}
