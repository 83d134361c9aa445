/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The block graph of a VM: its images by node name, who uses them, and changes of who stands on what while guests run (QEMU's
 * docs/interop/qmp, block-core: "node-name"). A node is a name for a struct image; what is under an image is a node as well,
 * with a name of ours ("#block12") unless it was given one. Nodes that were added by name stay until they are removed; others
 * go with their last user. Main thread only.
 */
#pragma once
#include "image.h"

struct block_graph;

struct block_node {
	char *name;
	struct image *img; /* a reference */
	bool added;	   /* set by who wants it to stay until graph_del() */
	/* What it was added with: of who did that, freed with the node. NULL: nothing. */
	void *how;
	void (*free_how)(void *how);
	struct block_node *next;
};

/* Who uses an image as a whole: a guest's disk, an export. Embedded in what it is of. */
struct block_user {
	const char *id; /* of a guest's disk, by which commands may name it; NULL: none */
	struct image *img; /* not a reference: the owner has one */
	/* The image is another one from now on, drained; the owner takes a reference. NULL: it stays with the one it has. */
	void (*set_image)(struct block_user *u, struct image *img);
	struct block_user *next; /* the graph's */
};

struct block_graph *graph_new(void);
void graph_free(struct block_graph *g);

/* Its nodes, and those under it. name NULL: one of ours. Takes a reference. */
struct block_node *graph_add(struct block_graph *g, const char *name, struct image *img, GError **error);
bool graph_del(struct block_graph *g, struct block_node *node, GError **error);
struct block_node *graph_find(struct block_graph *g, const char *name);
struct block_node *graph_find_image(struct block_graph *g, const struct image *img);
struct block_node *graph_nodes(struct block_graph *g); /* a list */
/* The name of an image's node; "" when it has none. */
const char *graph_name(struct block_graph *g, const struct image *img);
bool graph_name_valid(const char *name, GError **error);

void graph_add_user(struct block_graph *g, struct block_user *u);
void graph_remove_user(struct block_graph *g, struct block_user *u);
struct block_user *graph_users(struct block_graph *g); /* a list */
struct block_user *graph_find_user(struct block_graph *g, const char *id);
/* By a guest disk's id or a node's name; an error in QEMU's words. */
struct image *graph_lookup(struct block_graph *g, const char *device, const char *node, GError **error);
/* The same, and of a filter what is under it: for what is done to an image. */
struct image *graph_lookup_base(struct block_graph *g, const char *device, const char *node, GError **error);
/* By a user, or by an image that stands on it or has its structures in it. */
bool graph_in_use(struct block_graph *g, const struct image *img);

/* Everybody who uses or stands on `from`, but `to`, does so on `to`. Drains both. */
void graph_replace(struct block_graph *g, struct image *from, struct image *to);
/* Filters have the size and the mode of what is under them now, after that has changed. */
void graph_follow(struct block_graph *g);
/* Nodes that nobody needs any more are gone. After anything that drops references. */
void graph_sweep(struct block_graph *g);

/* No job has the image; an error in QEMU's words. */
bool graph_is_free(struct block_graph *g, const struct image *img, GError **error);
