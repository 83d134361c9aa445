/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See graph.h. Called by kv-vmm's configuration and QMP commands, and for jobs. */
#include "graph.h"

#include <string.h>

#include "bitmap.h"
#include "error.h"
#include "filter.h"
#include "format.h"
#include "job.h"

enum { NAME_MAX_LEN = 31 }; /* as QEMU has it */

struct block_graph {
	struct block_node *nodes; /* the last one first */
	struct block_user *users;
	unsigned serial;
};

struct block_graph *graph_new(void)
{
	return g_new0(struct block_graph, 1);
}

static void free_node(struct block_node *n)
{
	image_close(n->img);
	if (n->how)
		n->free_how(n->how);
	g_free(n->name);
	g_free(n);
}

void graph_free(struct block_graph *g)
{
	if (!g)
		return;
	while (g->nodes) {
		struct block_node *n = g->nodes;

		g->nodes = n->next;
		free_node(n);
	}
	g_free(g);
}

struct block_node *graph_nodes(struct block_graph *g)
{
	return g->nodes;
}

struct block_user *graph_users(struct block_graph *g)
{
	return g->users;
}

struct block_node *graph_find(struct block_graph *g, const char *name)
{
	for (struct block_node *n = g->nodes; n; n = n->next)
		if (strcmp(n->name, name) == 0)
			return n;
	return NULL;
}

struct block_node *graph_find_image(struct block_graph *g, const struct image *img)
{
	for (struct block_node *n = g->nodes; n; n = n->next)
		if (n->img == img)
			return n;
	return NULL;
}

const char *graph_name(struct block_graph *g, const struct image *img)
{
	const struct block_node *n = graph_find_image(g, img);

	return n ? n->name : "";
}

bool graph_name_valid(const char *name, GError **error)
{
	bool ok = g_ascii_isalpha(name[0]);

	for (const char *p = name; *p && ok; p++)
		ok = g_ascii_isalnum(*p) || strchr("-._", *p);
	if (!ok)
		return kv_fail(error, KV_ERROR_USAGE, "Invalid node-name: '%s'", name);
	return strlen(name) <= NAME_MAX_LEN || kv_fail(error, KV_ERROR_USAGE, "Node name too long");
}

static struct block_node *add_node(struct block_graph *g, const char *name, struct image *img)
{
	struct block_node *n = g_new0(struct block_node, 1);

	n->name = name ? g_strdup(name) : g_strdup_printf("#block%03u", g->serial++);
	n->img = image_ref(img);
	n->next = g->nodes;
	g->nodes = n;
	return n;
}

struct block_node *graph_add(struct block_graph *g, const char *name, struct image *img, GError **error)
{
	if (name && !graph_name_valid(name, error))
		return NULL;
	if (name && (graph_find(g, name) || graph_find_user(g, name))) {
		kv_fail(error, KV_ERROR_USAGE, graph_find(g, name) ? "Duplicate nodes with node-name='%s'" :
								      "node-name=%s is conflicting with a device id", name);
		return NULL;
	}
	for (struct image *i = img->backing; i; i = i->backing)
		if (!graph_find_image(g, i))
			add_node(g, NULL, i);
	return add_node(g, name, img);
}

static void unlink_node(struct block_graph *g, struct block_node *node)
{
	for (struct block_node **at = &g->nodes; *at; at = &(*at)->next)
		if (*at == node) {
			*at = node->next;
			free_node(node);
			return;
		}
}

bool graph_in_use(struct block_graph *g, const struct image *img)
{
	for (const struct block_user *u = g->users; u; u = u->next)
		if (u->img == img)
			return true;
	for (const struct block_node *n = g->nodes; n; n = n->next)
		if (n->img != img && (n->img->backing == img || n->img->storage == img))
			return true;
	return false;
}

bool graph_is_free(struct block_graph *g, const struct image *img, GError **error)
{
	const struct job *job = job_using(image_base((struct image *)img));

	return !job || kv_fail(error, KV_ERROR_BUSY, "Node '%s' is busy: block device is in use by block job: %s",
			       graph_name(g, img), job_type_name(job->type));
}

/* An export may have a bitmap of an image that it does not have otherwise. */
static bool has_busy_bitmap(const struct image *img)
{
	const struct image_bitmap *b = img->bitmaps;

	while (b && !b->busy)
		b = b->next;
	return b;
}

bool graph_del(struct block_graph *g, struct block_node *node, GError **error)
{
	if (!node->added)
		return kv_fail(error, KV_ERROR_USAGE, "Node %s is not owned by the monitor", node->name);
	if (!graph_is_free(g, node->img, error))
		return false;
	if (graph_in_use(g, node->img) || has_busy_bitmap(node->img))
		return kv_fail(error, KV_ERROR_BUSY, "Node %s is in use", node->name);
	unlink_node(g, node);
	graph_sweep(g);
	return true;
}

void graph_add_user(struct block_graph *g, struct block_user *u)
{
	struct block_user **at = &g->users;

	while (*at)
		at = &(*at)->next;
	u->next = NULL;
	*at = u;
}

void graph_remove_user(struct block_graph *g, struct block_user *u)
{
	for (struct block_user **at = &g->users; *at; at = &(*at)->next)
		if (*at == u) {
			*at = u->next;
			return;
		}
}

struct block_user *graph_find_user(struct block_graph *g, const char *id)
{
	for (struct block_user *u = g->users; u; u = u->next)
		if (u->id && strcmp(u->id, id) == 0)
			return u;
	return NULL;
}

struct image *graph_lookup(struct block_graph *g, const char *device, const char *node, GError **error)
{
	struct block_user *u = device ? graph_find_user(g, device) : NULL;
	struct block_node *n = node ? graph_find(g, node) : NULL;

	if (u && u->img)
		return u->img;
	if (u) {
		kv_fail(error, KV_ERROR_USAGE, "Device '%s' has no medium", device);
		return NULL;
	}
	if (n)
		return n->img;
	kv_fail(error, KV_ERROR_USAGE, "Cannot find device='%s' nor node-name='%s'", device ? device : "", node ? node : "");
	return NULL;
}

struct image *graph_lookup_base(struct block_graph *g, const char *device, const char *node, GError **error)
{
	return image_base(graph_lookup(g, device, node, error));
}

void graph_follow(struct block_graph *g)
{
	for (struct block_node *n = g->nodes; n; n = n->next)
		image_filter_follow(n->img);
}

void graph_replace(struct block_graph *g, struct image *from, struct image *to)
{
	image_ref(from);
	image_drain_begin(from);
	image_drain_begin(to);
	for (struct block_user *u = g->users; u; u = u->next)
		if (u->img == from && u->set_image) {
			u->img = to;
			u->set_image(u, to);
		}
	for (struct block_node *n = g->nodes; n; n = n->next)
		if (n->img->backing == from && n->img != to)
			image_set_backing_image(n->img, to);
	graph_follow(g); /* filters on filters */
	image_drain_end(to);
	image_drain_end(from);
	image_close(from);
	graph_sweep(g);
}

void graph_sweep(struct block_graph *g)
{
	struct block_node *n = g->nodes;

	while (n) {
		struct block_node *next = n->next;

		if (!n->added && __atomic_load_n(&n->img->refs, __ATOMIC_ACQUIRE) == 1) {
			unlink_node(g, n);
			next = g->nodes; /* what it stood on may be free now */
		}
		n = next;
	}
}
