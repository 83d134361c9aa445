/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XML as a tree, by GLib's parser: what a command needs to know of a description, without libxml2, which takes longer to load
 * than a command. A server's text is not trusted: depth is bounded, and errors are errors.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct node {
	char *name;   /* NULL: text */
	char *text;   /* of a text */
	char **attrs; /* name, value, …, NULL */
	GPtrArray *children;
};

struct node *node_parse(const char *xml, GError **error); /* the root */
void node_free(struct node *n);
typedef struct node node;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(node, node_free)

/* All of these take a NULL node, and answer NULL when there is nothing. path: "devices/disk". */
const char *node_attr(const struct node *n, const char *name);
struct node *node_get(const struct node *n, const char *path); /* the first */
GPtrArray *node_all(const struct node *n, const char *path);   /* never NULL; unref it */
const char *node_get_attr(const struct node *n, const char *path, const char *name);
char *node_text(const struct node *n); /* all of it, stripped */
void node_set_attr(struct node *n, const char *name, const char *value);
struct node *node_add(struct node *parent, const char *name);
/* In front of a child, and indented as it is. */
struct node *node_add_before(struct node *parent, const char *name, struct node *child);
void node_remove(struct node *parent, struct node *child);
void node_move(struct node *from, struct node *child, struct node *to); /* to its end */
/* As libxml2 writes it: attributes in double quotes, text as it was. */
char *node_write(const struct node *n);

/* Appends format with value, escaped, in the place of its %s; nothing when value is NULL. */
void xml_add(GString *out, const char *format, const char *value);
