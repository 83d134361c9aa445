/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev-reopen: a node that was added by name becomes read-only, or writable; its other options have to be what they are.
 * That is what is needed to change the bitmaps of images that others stand on. A throttle filter can have another group. See
 * qmp-block.h.
 */
#include "error.h"
#include "filter.h"
#include "format.h"
#include "graph.h"
#include "qmp-block.h"
#include "vmm.h"

static const struct qmp_type options_list = { .kind = QMP_LIST, .item = &qmp_any };
const struct qmp_member qmp_blockdev_reopen_args[] = { { "options", &options_list }, {} };

/* A node that is named by what is asked for. */
struct reopen {
	struct block_node *node;
	bool readonly, was;
	struct throttle_group *group, *group_was; /* NULL: it is no throttle filter's; else references */
};

static void clear(struct reopen *r)
{
	throttle_group_unref(r->group);
	throttle_group_unref(r->group_was);
}

static bool holds_flag(JsonNode *v)
{
	return JSON_NODE_HOLDS_VALUE(v) && json_node_get_value_type(v) == G_TYPE_BOOLEAN;
}

static bool is_flag(JsonObject *o, const char *name)
{
	JsonNode *v = json_object_get_member(o, name);

	return v && holds_flag(v) && json_node_get_boolean(v);
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
	const struct image *file = image_is_filter(node->img) ? node->img->backing : node->img->storage;

	if (g_str_equal(name, "read-only") || g_str_equal(name, "node-name"))
		return true;
	if (v && g_str_equal(name, "file") && is_below(g, v, file))
		return true;
	if (v && g_str_equal(name, "throttle-group") && image_throttle_group(node->img))
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
		if ((n->img->storage == img && !n->img->readonly) ||
		    (image_is_filter(n->img) && n->img->backing == img && is_written(g, n->img)))
			return true;
	return false;
}

static bool find_group(const struct image *img, JsonObject *o, struct reopen *r, GError **error)
{
	const char *name = string_of(json_object_get_member(o, "throttle-group"));
	struct throttle_group *was = image_throttle_group(img), *g = name && was ? throttle_group_find(name) : NULL;

	if (!was)
		return true;
	if (!name)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'options[0].throttle-group' is missing");
	if (!g)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Throttle group '%s' does not exist", name);
	r->group = throttle_group_ref(g);
	r->group_was = throttle_group_ref(was);
	return true;
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
	if (json_object_has_member(o, "read-only") && !holds_flag(json_object_get_member(o, "read-only")))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter type for 'options[0].read-only', expected: boolean");
	if (!find_group(node->img, o, r, error) || !check_options(g, node, o, error))
		return false;
	r->node = node;
	r->readonly = is_flag(o, "read-only");
	r->was = image_is_filter(node->img) ? is_flag(node->how, "read-only") : node->img->readonly;
	if (r->readonly && !r->was && is_written(g, node->img))
		return kv_fail(error, KV_ERROR_BUSY, "Cannot make block node read-only, there is a writer on it");
	return true;
}

static bool apply(const struct reopen *r, bool readonly, struct throttle_group *group, GError **error)
{
	struct image *img = r->node->img;
	bool ok = true;

	image_drain_begin(img);
	if (!image_is_filter(img) || readonly != r->was)
		ok = image_reopen(img, readonly, error);
	if (ok && group) {
		image_throttle_set_group(img, group);
		json_object_set_string_member(r->node->how, "throttle-group", throttle_group_name(group));
	}
	image_drain_end(img);
	return ok;
}

static bool reopen_all(const struct reopen *all, guint n, GError **error)
{
	guint done = 0;

	while (done < n && apply(&all[done], all[done].readonly, all[done].group, error))
		done++;
	if (done == n)
		return true;
	while (done--)
		apply(&all[done], all[done].was, all[done].group_was, NULL);
	return false;
}

JsonNode *qmp_blockdev_reopen(void *opaque, JsonObject *args, GError **error)
{
	struct block_graph *g = ((struct vmm *)opaque)->graph;
	JsonArray *list = json_object_get_array_member(args, "options");
	guint n = json_array_get_length(list);
	g_autofree struct reopen *all = g_new0(struct reopen, n + 1);
	bool ok = true;

	for (guint i = 0; i < n && ok; i++)
		ok = prepare(g, json_array_get_element(list, i), &all[i], error);
	ok = ok && reopen_all(all, n, error);
	for (guint i = 0; i < n; i++)
		clear(&all[i]);
	graph_follow(g);
	return ok ? qmp_nothing() : NULL;
}
