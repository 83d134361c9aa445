/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev-reopen: a node that was added by name becomes read-only, or writable; its other options have to be what they are.
 * That is what is needed to change the bitmaps of images that others stand on. See qmp-block.h.
 */
#include "error.h"
#include "graph.h"
#include "qmp-block.h"
#include "vmm.h"

static const struct qmp_type options_list = { .kind = QMP_LIST, .item = &qmp_any };
const struct qmp_member qmp_blockdev_reopen_args[] = { { "options", &options_list }, {} };

/* A node that is named by what is asked for. */
struct reopen {
	struct image *img;
	bool readonly, was;
};

static bool is_flag(JsonObject *o, const char *name)
{
	JsonNode *v = json_object_get_member(o, name);

	return v && JSON_NODE_HOLDS_VALUE(v) && json_node_get_value_type(v) == G_TYPE_BOOLEAN && json_node_get_boolean(v);
}

static const char *string_of(JsonNode *v)
{
	return v && JSON_NODE_HOLDS_VALUE(v) && json_node_get_value_type(v) == G_TYPE_STRING ? json_node_get_string(v) : NULL;
}

/* What a node stands on is given by name, or as it was when it was added. */
static bool is_below(struct block_graph *g, JsonNode *v, const struct image *below)
{
	return below ? !g_strcmp0(string_of(v), graph_name(g, below)) : JSON_NODE_HOLDS_NULL(v);
}

static bool is_same(struct block_graph *g, const struct block_node *node, const char *name, JsonNode *v, JsonNode *was)
{
	if (g_str_equal(name, "read-only") || g_str_equal(name, "node-name"))
		return true;
	if (v && g_str_equal(name, "file") && is_below(g, v, node->img->storage))
		return true;
	if (v && g_str_equal(name, "backing"))
		return is_below(g, v, node->img->backing);
	/* Without one an image stands on what it says itself. */
	return (!v && g_str_equal(name, "backing")) || (v && was && json_node_equal(v, was));
}

static bool check_options(struct block_graph *g, const struct block_node *node, JsonObject *o, GError **error)
{
	JsonObject *sides[] = { o, node->how };
	JsonObjectIter iter;
	const char *name;

	for (unsigned i = 0; i < G_N_ELEMENTS(sides); i++) {
		json_object_iter_init_ordered(&iter, sides[i]);
		while (json_object_iter_next_ordered(&iter, &name, NULL))
			if (!is_same(g, node, name, json_object_get_member(o, name), json_object_get_member(node->how, name)))
				return qmp_fail(error, QMP_ERROR_GENERIC, "Cannot change the option '%s'", name);
	}
	return true;
}

/* Somebody writes to it: a guest, an export, a format whose structures it has. */
static bool is_written(struct block_graph *g, const struct image *img)
{
	for (const struct block_user *u = graph_users(g); u; u = u->next)
		if (u->img == img)
			return true;
	for (const struct block_node *n = graph_nodes(g); n; n = n->next)
		if (n->img->storage == img && !n->img->readonly)
			return true;
	return false;
}

static bool prepare(struct block_graph *g, JsonNode *options, struct reopen *r, GError **error)
{
	JsonObject *o = JSON_NODE_HOLDS_OBJECT(options) ? json_node_get_object(options) : NULL;
	const char *name = o ? string_of(json_object_get_member(o, "node-name")) : NULL;
	struct block_node *node = name ? graph_find(g, name) : NULL;

	if (!o)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter type for 'options[0]', expected: object");
	if (!name)
		return qmp_fail(error, QMP_ERROR_GENERIC, "node-name not specified");
	if (!node)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Failed to find node with node-name='%s'", name);
	if (!node->how)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "Node '%s' was not added by blockdev-add", name);
	if (!check_options(g, node, o, error))
		return false;
	*r = (struct reopen){ .img = node->img, .readonly = is_flag(o, "read-only"), .was = node->img->readonly };
	if (r->readonly && !r->was && is_written(g, r->img))
		return kv_fail(error, KV_ERROR_BUSY, "Cannot make block node read-only, there is a writer on it");
	return true;
}

static bool apply(struct image *img, bool readonly, GError **error)
{
	bool ok;

	image_drain_begin(img);
	ok = image_reopen(img, readonly, error);
	image_drain_end(img);
	return ok;
}

JsonNode *qmp_blockdev_reopen(void *opaque, JsonObject *args, GError **error)
{
	struct block_graph *g = ((struct vmm *)opaque)->graph;
	JsonArray *list = json_object_get_array_member(args, "options");
	guint n = json_array_get_length(list), done = 0;
	g_autofree struct reopen *all = g_new0(struct reopen, n + 1);

	for (guint i = 0; i < n; i++)
		if (!prepare(g, json_array_get_element(list, i), &all[i], error))
			return NULL;
	while (done < n && apply(all[done].img, all[done].readonly, error))
		done++;
	if (done == n)
		return qmp_nothing();
	while (done--)
		apply(all[done].img, all[done].was, NULL);
	return NULL;
}
