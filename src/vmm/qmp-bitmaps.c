/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty bitmaps over QMP: block-dirty-bitmap-* as commands and as parts of a transaction. See qmp-block.h, image/bitmap.h. */
#include "bitmap.h"

#include <string.h>

#include "error.h"
#include "graph.h"
#include "qmp-block.h"
#include "vmm.h"

const struct qmp_member qmp_bitmap_add_args[] = {
	{ "node", &qmp_string },
	{ "name", &qmp_string },
	{ "granularity", &qmp_uint32, .optional = true },
	{ "persistent", &qmp_boolean, .optional = true },
	{ "disabled", &qmp_boolean, .optional = true },
	{},
};
const struct qmp_member qmp_bitmap_args[] = { { "node", &qmp_string }, { "name", &qmp_string }, {} };
static const struct qmp_type sources = { .kind = QMP_LIST, .item = &qmp_any };
const struct qmp_member qmp_bitmap_merge_args[] = {
	{ "node", &qmp_string },
	{ "target", &qmp_string },
	{ "bitmaps", &sources },
	{},
};

static struct image *image_of(void *opaque, const char *node, GError **error)
{
	return graph_lookup_base(((struct vmm *)opaque)->graph, node, node, error);
}

struct image_bitmap *qmp_find_bitmap_of(struct vmm *vmm, struct image *img, JsonNode *which, GError **error)
{
	JsonObject *o = JSON_NODE_HOLDS_OBJECT(which) ? json_node_get_object(which) : NULL;
	const char *name = NULL;
	struct image_bitmap *b = NULL;

	if (JSON_NODE_HOLDS_VALUE(which) && json_node_get_value_type(which) == G_TYPE_STRING) {
		name = json_node_get_string(which);
		/* QEMU looks through the chain for a bitmap that is given by its name alone. */
		for (struct image *i = img; i && !b; i = i->backing)
			b = image_bitmap_find(i, name, NULL);
		if (!b)
			image_bitmap_find(img, name, error);
	} else if (o) {
		img = qmp_check_members(qmp_bitmap_args, o, error) ? image_of(vmm, qmp_text(o, "node"), error) : NULL;
		b = img ? image_bitmap_find(img, qmp_text(o, "name"), error) : NULL;
	} else {
		qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter type for 'bitmaps', expected: string or object");
	}
	return b && image_bitmap_usable(b->img ? b->img : img, b, false, error) ? b : NULL;
}

/* What a part of a transaction needs to be undone. */
struct change {
	struct image *img; /* a reference */
	struct image_bitmap *bitmap;
	struct image_bitmap *before; /* its bits; NULL: not changed */
	bool added, was_recording;
};

static struct change *change_new(struct image *img, struct image_bitmap *b)
{
	struct change *c = g_new0(struct change, 1);

	c->img = image_ref(img);
	c->bitmap = b;
	c->was_recording = b->recording;
	return c;
}

static void clean(void *opaque, void *state)
{
	struct change *c = state;

	image_bitmap_free(c->before);
	image_close(c->img);
	g_free(c);
}

/* The bitmap of {"node", "name"}, to be changed. */
static struct image_bitmap *find(void *opaque, JsonObject *data, const char *member, struct image **ret, GError **error)
{
	struct image *img = image_of(opaque, json_object_get_string_member(data, "node"), error);
	struct image_bitmap *b = img ? image_bitmap_find(img, json_object_get_string_member(data, member), error) : NULL;

	*ret = img;
	return b && image_bitmap_usable(img, b, true, error) ? b : NULL;
}

static bool prepare_add(void *opaque, JsonObject *data, void **state, GError **error)
{
	struct image *img = image_of(opaque, json_object_get_string_member(data, "node"), error);
	gint64 granularity = json_object_get_int_member_with_default(data, "granularity", 0);
	struct image_bitmap *b;

	if (!img)
		return false;
	if (json_object_has_member(data, "granularity") &&
	    (granularity < 512 || granularity > 1ll << 31 || (granularity & (granularity - 1))))
		return kv_fail(error, KV_ERROR_USAGE, "Granularity must be power of 2 and at least 512");
	image_drain_begin(img);
	b = image_bitmap_add(img, json_object_get_string_member(data, "name"), granularity,
			     json_object_get_boolean_member_with_default(data, "persistent", FALSE),
			     json_object_get_boolean_member_with_default(data, "disabled", FALSE), error);
	image_drain_end(img);
	if (!b)
		return false;
	*state = change_new(img, b);
	((struct change *)*state)->added = true;
	return true;
}

/* Another part's commit may have removed it. */
static bool is_there(const struct change *c)
{
	const struct image_bitmap *b = c->img->bitmaps;

	while (b && b != c->bitmap)
		b = b->next;
	return b;
}

static void undo(void *opaque, void *state)
{
	struct change *c = state;

	if (!is_there(c))
		return;
	image_drain_begin(c->img);
	if (c->added) {
		image_bitmap_remove(c->img, c->bitmap, NULL);
	} else {
		if (c->before && image_bitmap_reset(c->img, c->bitmap, NULL))
			image_bitmap_add_from(c->img, c->bitmap, c->before, NULL);
		if (c->bitmap->recording != c->was_recording)
			image_bitmap_record(c->img, c->bitmap, c->was_recording, NULL);
	}
	image_drain_end(c->img);
}

/* A copy of the bits before they change. */
static bool keep_bits(struct change *c, GError **error)
{
	int err;

	c->before = image_bitmap_new(NULL, c->bitmap->size, c->bitmap->granularity, &err);
	if (!c->before)
		return kv_fail_errno(error, -err, "bitmap '%s'", c->bitmap->name);
	image_bitmap_merge(c->before, c->bitmap);
	return true;
}

static bool prepare_clear(void *opaque, JsonObject *data, void **state, GError **error)
{
	struct image *img;
	struct image_bitmap *b = find(opaque, data, "name", &img, error);
	bool ok;

	if (!b)
		return false;
	*state = change_new(img, b);
	image_drain_begin(img);
	ok = keep_bits(*state, error) && image_bitmap_reset(img, b, error);
	image_drain_end(img);
	return ok;
}

static bool prepare_record(void *opaque, JsonObject *data, bool on, void **state, GError **error)
{
	struct image *img;
	struct image_bitmap *b = find(opaque, data, "name", &img, error);
	bool ok;

	if (!b)
		return false;
	*state = change_new(img, b);
	image_drain_begin(img);
	ok = image_bitmap_record(img, b, on, error);
	image_drain_end(img);
	return ok;
}

static bool prepare_enable(void *opaque, JsonObject *data, void **state, GError **error)
{
	return prepare_record(opaque, data, true, state, error);
}

static bool prepare_disable(void *opaque, JsonObject *data, void **state, GError **error)
{
	return prepare_record(opaque, data, false, state, error);
}

static bool prepare_merge(void *opaque, JsonObject *data, void **state, GError **error)
{
	struct image *img;
	struct image_bitmap *b = find(opaque, data, "target", &img, error);
	JsonArray *names = json_object_get_array_member(data, "bitmaps");
	bool ok;

	if (!b)
		return false;
	*state = change_new(img, b);
	image_drain_begin(img);
	ok = keep_bits(*state, error);
	for (guint i = 0; ok && i < json_array_get_length(names); i++) {
		const struct image_bitmap *src = qmp_find_bitmap_of(opaque, img, json_array_get_element(names, i), error);

		ok = src && image_bitmap_add_from(img, b, src, error);
	}
	image_drain_end(img);
	return ok;
}

/* It is gone with the commit: until then it stays, and no later part has it. */
static bool prepare_remove(void *opaque, JsonObject *data, void **state, GError **error)
{
	struct image *img = image_of(opaque, json_object_get_string_member(data, "node"), error);
	struct image_bitmap *b = img ? image_bitmap_find(img, json_object_get_string_member(data, "name"), error) : NULL;

	if (!b)
		return false;
	if (b->busy)
		return kv_fail(error, KV_ERROR_BUSY, "Bitmap '%s' is currently in use by another operation and cannot be used",
			       b->name);
	*state = change_new(img, b);
	b->busy = true;
	return true;
}

static bool commit_remove(void *opaque, void *state, GError **error)
{
	struct change *c = state;
	bool ok;

	image_drain_begin(c->img);
	c->bitmap->busy = false;
	ok = image_bitmap_remove(c->img, c->bitmap, error);
	image_drain_end(c->img);
	return ok;
}

static void undo_remove(void *opaque, void *state)
{
	struct change *c = state;

	if (is_there(c))
		c->bitmap->busy = false;
}

const struct qmp_action qmp_action_bitmap_add = { "block-dirty-bitmap-add", qmp_bitmap_add_args, prepare_add, NULL, undo, clean };
const struct qmp_action qmp_action_bitmap_clear = {
	"block-dirty-bitmap-clear", qmp_bitmap_args, prepare_clear, NULL, undo, clean
};
const struct qmp_action qmp_action_bitmap_enable = {
	"block-dirty-bitmap-enable", qmp_bitmap_args, prepare_enable, NULL, undo, clean
};
const struct qmp_action qmp_action_bitmap_disable = {
	"block-dirty-bitmap-disable", qmp_bitmap_args, prepare_disable, NULL, undo, clean
};
const struct qmp_action qmp_action_bitmap_merge = {
	"block-dirty-bitmap-merge", qmp_bitmap_merge_args, prepare_merge, NULL, undo, clean
};
const struct qmp_action qmp_action_bitmap_remove = {
	"block-dirty-bitmap-remove", qmp_bitmap_args, prepare_remove, commit_remove, undo_remove, clean
};

JsonNode *qmp_bitmap_add(void *opaque, JsonObject *args, GError **error)
{
	return qmp_run_action(&qmp_action_bitmap_add, opaque, args, error);
}

JsonNode *qmp_bitmap_remove(void *opaque, JsonObject *args, GError **error)
{
	return qmp_run_action(&qmp_action_bitmap_remove, opaque, args, error);
}

JsonNode *qmp_bitmap_clear(void *opaque, JsonObject *args, GError **error)
{
	return qmp_run_action(&qmp_action_bitmap_clear, opaque, args, error);
}

JsonNode *qmp_bitmap_enable(void *opaque, JsonObject *args, GError **error)
{
	return qmp_run_action(&qmp_action_bitmap_enable, opaque, args, error);
}

JsonNode *qmp_bitmap_disable(void *opaque, JsonObject *args, GError **error)
{
	return qmp_run_action(&qmp_action_bitmap_disable, opaque, args, error);
}

JsonNode *qmp_bitmap_merge(void *opaque, JsonObject *args, GError **error)
{
	return qmp_run_action(&qmp_action_bitmap_merge, opaque, args, error);
}

void qmp_put_bitmaps(JsonObject *o, struct image *img)
{
	JsonArray *list;

	if (!img->bitmaps)
		return;
	list = json_array_new();
	for (const struct image_bitmap *b = img->bitmaps; b; b = b->next) {
		JsonObject *row = json_object_new();

		qmp_put_text(row, "name", b->name);
		json_object_set_boolean_member(row, "recording", b->recording && !b->inconsistent);
		json_object_set_boolean_member(row, "persistent", b->persistent);
		json_object_set_boolean_member(row, "busy", b->busy);
		json_object_set_int_member(row, "granularity", b->granularity);
		json_object_set_int_member(row, "count", b->inconsistent ? 0 : image_bitmap_count(b));
		if (b->inconsistent)
			json_object_set_boolean_member(row, "inconsistent", TRUE);
		json_array_add_object_element(list, row);
	}
	json_object_set_array_member(o, "dirty-bitmaps", list);
}
