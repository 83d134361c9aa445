/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An image as QEMU's ImageInfo (qapi/block-core.json). Called by queries; see qmp-block.h. */
#include <sys/stat.h>

#include "format.h"
#include "qmp-block.h"

JsonObject *qmp_snapshot_info(const struct image_snapshot *s)
{
	JsonObject *o = json_object_new();

	qmp_put_text(o, "id", s->id);
	qmp_put_text(o, "name", s->name);
	json_object_set_int_member(o, "vm-state-size", s->vm_state_size);
	json_object_set_int_member(o, "date-sec", s->date_sec);
	json_object_set_int_member(o, "date-nsec", s->date_nsec);
	json_object_set_int_member(o, "vm-clock-sec", s->vm_clock_nsec / 1000000000);
	json_object_set_int_member(o, "vm-clock-nsec", s->vm_clock_nsec % 1000000000);
	if (s->icount != UINT64_MAX)
		json_object_set_int_member(o, "icount", s->icount);
	return o;
}

static void put_snapshots(JsonObject *o, struct image *img)
{
	GArray *list = img->format->snapshots ? img->format->snapshots(img) : NULL;
	JsonArray *rows = json_array_new();

	for (guint i = 0; list && i < list->len; i++)
		json_array_add_object_element(rows, qmp_snapshot_info(&g_array_index(list, struct image_snapshot, i)));
	if (json_array_get_length(rows))
		json_object_set_array_member(o, "snapshots", rows);
	else
		json_array_unref(rows);
	image_snapshots_free(list);
}

/* The format's own members; the dirty flag is the image's. */
static void put_specific(JsonObject *o, struct image *img)
{
	g_autoptr(GVariant) members = NULL;
	g_autoptr(JsonNode) node = NULL;
	bool dirty = false;
	GVariantBuilder b;
	JsonObject *box;

	if (!img->format->info)
		return;
	g_variant_builder_init(&b, G_VARIANT_TYPE_VARDICT);
	img->format->info(img, &b);
	members = g_variant_ref_sink(g_variant_builder_end(&b));
	node = json_gvariant_serialize(members);
	if (json_object_has_member(json_node_get_object(node), "dirty-flag")) {
		dirty = json_object_get_boolean_member(json_node_get_object(node), "dirty-flag");
		json_object_remove_member(json_node_get_object(node), "dirty-flag");
	}
	json_object_set_boolean_member(o, "dirty-flag", dirty);
	box = json_object_new();
	json_object_set_string_member(box, "type", img->format->name);
	json_object_set_member(box, "data", g_steal_pointer(&node));
	json_object_set_object_member(o, "format-specific", box);
}

JsonObject *qmp_image_info(struct image *img, bool backing)
{
	JsonObject *o = json_object_new();
	struct stat st;

	qmp_put_text(o, "filename", img->path);
	json_object_set_string_member(o, "format", img->format->name);
	json_object_set_int_member(o, "virtual-size", __atomic_load_n(&img->size, __ATOMIC_RELAXED));
	if (img->file->fd >= 0 && fstat(img->file->fd, &st) == 0)
		json_object_set_int_member(o, "actual-size", (gint64)st.st_blocks * 512);
	if (img->format->cluster_size)
		json_object_set_int_member(o, "cluster-size", img->format->cluster_size(img));
	put_specific(o, img);
	put_snapshots(o, img);
	if (image_is_filter(img)) {
		if (backing)
			json_object_set_object_member(o, "backing-image", qmp_image_info(img->backing, true));
		return o;
	}
	if (!img->backing)
		return o;
	qmp_put_text(o, "backing-filename", img->backing_name ? img->backing_name : img->backing->path);
	qmp_put_text(o, "full-backing-filename", img->backing->path);
	json_object_set_string_member(o, "backing-filename-format", img->backing->format->name);
	if (backing)
		json_object_set_object_member(o, "backing-image", qmp_image_info(img->backing, true));
	return o;
}
