/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See node.h. */
#include <string.h>

#include "node.h"

enum { DEPTH_MAX = 100 };

struct parse {
	GPtrArray *stack; /* of struct node, the root's document first */
};

static struct node *node_new(const char *name)
{
	struct node *n = g_new0(struct node, 1);

	n->name = g_strdup(name);
	return n;
}

void node_free(struct node *n)
{
	g_free(n->name);
	g_free(n->text);
	g_strfreev(n->attrs);
	if (n->children)
		g_ptr_array_unref(n->children);
	g_free(n);
}

static void append(struct node *parent, struct node *child)
{
	if (!parent->children)
		parent->children = g_ptr_array_new_with_free_func((GDestroyNotify)node_free);
	g_ptr_array_add(parent->children, child);
}

static void on_start(GMarkupParseContext *c, const char *name, const char **names, const char **values, gpointer opaque,
		     GError **error)
{
	struct parse *p = opaque;
	struct node *n;

	if (p->stack->len > DEPTH_MAX) {
		g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_PARSE, "more than %d elements inside each other", DEPTH_MAX);
		return;
	}
	n = node_new(name);
	n->attrs = g_new0(char *, 2 * g_strv_length((char **)names) + 1);
	for (unsigned i = 0; names[i]; i++) {
		n->attrs[2 * i] = g_strdup(names[i]);
		n->attrs[2 * i + 1] = g_strdup(values[i]);
	}
	append(g_ptr_array_index(p->stack, p->stack->len - 1), n);
	g_ptr_array_add(p->stack, n);
}

static void on_end(GMarkupParseContext *c, const char *name, gpointer opaque, GError **error)
{
	struct parse *p = opaque;

	g_ptr_array_set_size(p->stack, p->stack->len - 1);
}

static void on_text(GMarkupParseContext *c, const char *text, gsize len, gpointer opaque, GError **error)
{
	struct parse *p = opaque;
	struct node *n = node_new(NULL);

	n->text = g_strndup(text, len);
	append(g_ptr_array_index(p->stack, p->stack->len - 1), n);
}

struct node *node_parse(const char *xml, GError **error)
{
	static const GMarkupParser parser = { on_start, on_end, on_text };
	struct parse p = { g_ptr_array_new() };
	g_autoptr(node) document = node_new(NULL);
	GMarkupParseContext *context = g_markup_parse_context_new(&parser, 0, &p, NULL);
	struct node *root = NULL;
	bool ok;

	g_ptr_array_add(p.stack, document);
	ok = g_markup_parse_context_parse(context, xml, -1, error) && g_markup_parse_context_end_parse(context, error);
	g_markup_parse_context_free(context);
	g_ptr_array_unref(p.stack);
	for (unsigned i = 0; ok && !root && i < document->children->len; i++) {
		root = g_ptr_array_index(document->children, i);
		if (root->name)
			g_ptr_array_steal_index(document->children, i);
		else
			root = NULL;
	}
	return root;
}

const char *node_attr(const struct node *n, const char *name)
{
	for (unsigned i = 0; n && n->attrs && n->attrs[i]; i += 2)
		if (strcmp(n->attrs[i], name) == 0)
			return n->attrs[i + 1];
	return NULL;
}

GPtrArray *node_all(const struct node *n, const char *path)
{
	g_autoptr(GPtrArray) found = g_ptr_array_new();
	size_t len = strcspn(path, "/");
	GPtrArray *below = g_ptr_array_new();

	for (unsigned i = 0; n && n->children && i < n->children->len; i++) {
		struct node *child = g_ptr_array_index(n->children, i);

		if (child->name && strlen(child->name) == len && memcmp(child->name, path, len) == 0)
			g_ptr_array_add(found, child);
	}
	for (unsigned i = 0; i < found->len; i++) {
		if (!path[len]) {
			g_ptr_array_add(below, g_ptr_array_index(found, i));
		} else {
			g_autoptr(GPtrArray) deeper = node_all(g_ptr_array_index(found, i), path + len + 1);

			g_ptr_array_extend(below, deeper, NULL, NULL);
		}
	}
	return below;
}

struct node *node_get(const struct node *n, const char *path)
{
	g_autoptr(GPtrArray) all = node_all(n, path);

	return all->len ? g_ptr_array_index(all, 0) : NULL;
}

const char *node_get_attr(const struct node *n, const char *path, const char *name)
{
	return node_attr(node_get(n, path), name);
}

char *node_text(const struct node *n)
{
	g_autoptr(GString) text = g_string_new(NULL);

	if (!n)
		return NULL;
	for (unsigned i = 0; n->children && i < n->children->len; i++) {
		const struct node *child = g_ptr_array_index(n->children, i);

		if (!child->name)
			g_string_append(text, child->text);
	}
	return g_strstrip(g_string_free(g_steal_pointer(&text), FALSE));
}

void node_set_attr(struct node *n, const char *name, const char *value)
{
	unsigned i = 0;

	for (; n->attrs && n->attrs[i]; i += 2)
		if (strcmp(n->attrs[i], name) == 0) {
			g_free(n->attrs[i + 1]);
			n->attrs[i + 1] = g_strdup(value);
			return;
		}
	n->attrs = g_renew(char *, n->attrs, i + 3);
	n->attrs[i] = g_strdup(name);
	n->attrs[i + 1] = g_strdup(value);
	n->attrs[i + 2] = NULL;
}

struct node *node_add(struct node *parent, const char *name)
{
	struct node *n = node_new(name);

	append(parent, n);
	return n;
}

struct node *node_add_before(struct node *parent, const char *name, struct node *child)
{
	struct node *n = node_new(name), *space = node_new(NULL);
	const struct node *before = NULL;
	unsigned at = 0;

	while (at < parent->children->len && g_ptr_array_index(parent->children, at) != child)
		before = g_ptr_array_index(parent->children, at++);
	space->text = g_strdup(before && !before->name ? before->text : "");
	g_ptr_array_insert(parent->children, at, space);
	g_ptr_array_insert(parent->children, at, n);
	return n;
}

void node_remove(struct node *parent, struct node *child)
{
	g_ptr_array_remove(parent->children, child);
}

void node_move(struct node *from, struct node *child, struct node *to)
{
	guint at;

	if (g_ptr_array_find(from->children, child, &at))
		append(to, g_ptr_array_steal_index(from->children, at));
}

/* As in a text, and spaces that a reader would make plain ones as numbers. */
static void write_value(GString *out, const char *value)
{
	g_autofree char *escaped = g_markup_escape_text(value, -1);

	for (const char *p = escaped; *p; p++) {
		if (*p == '\n' || *p == '\t' || *p == '\r')
			g_string_append_printf(out, "&#%d;", *p);
		else
			g_string_append_c(out, *p);
	}
}

static void write_to(GString *out, const struct node *n)
{
	if (!n->name) {
		g_autofree char *text = g_markup_escape_text(n->text, -1);

		g_string_append(out, text);
		return;
	}
	g_string_append_printf(out, "<%s", n->name);
	for (unsigned i = 0; n->attrs && n->attrs[i]; i += 2) {
		g_string_append_printf(out, " %s=\"", n->attrs[i]);
		write_value(out, n->attrs[i + 1]);
		g_string_append_c(out, '"');
	}
	if (!n->children || !n->children->len) {
		g_string_append(out, "/>");
		return;
	}
	g_string_append_c(out, '>');
	for (unsigned i = 0; i < n->children->len; i++)
		write_to(out, g_ptr_array_index(n->children, i));
	g_string_append_printf(out, "</%s>", n->name);
}

char *node_write(const struct node *n)
{
	GString *out = g_string_new(NULL);

	write_to(out, n);
	return g_string_free(out, FALSE);
}

void xml_add(GString *out, const char *format, const char *value)
{
	g_autofree char *escaped = value ? g_markup_escape_text(value, -1) : NULL;
	const char *hole = strstr(format, "%s");

	if (value)
		g_string_append_printf(out, "%.*s%s%s", (int)(hole - format), format, escaped, hole + 2);
}
