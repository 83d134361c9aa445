/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trees against tables (fields.h): what is there is known, of its type, and in order. Called by each kind of document's file. */
#include <string.h>

#include "domain-def.h"
#include "field-values.h"
#include "fields.h"
#include "message.h"
#include "model-xml.h"

/* Where a name stands in a table: its row, or that of the first thing in it; its place is its order. */
struct hit {
	const struct field *row; /* NULL: it carries others, no more */
	const struct field *at;	 /* NULL: not in the table */
};

/* A part of a table: what is below prefix. */
struct part {
	const struct field *rows; /* the first one with it */
	const char *prefix;
	size_t len;
};

/* The first row of a part from r on, and what is behind the prefix in it; NULL: there is none, as rows of a part are together. */
static inline const struct field *row_of(const struct part *part, const struct field *r, const char **ret_rest)
{
	size_t len = part->len;

	*ret_rest = r->path;
	if (!len)
		return r->path ? r : NULL;
	for (; r->path && !strncmp(r->path, part->prefix, len); r++) {
		if (r->path[len] == '/') {
			*ret_rest = r->path + len + 1;
			return r;
		}
	}
	return NULL;
}

static const char *full_name(const xmlNode *node, char *buffer, size_t size)
{
	if (!node->ns || !node->ns->prefix)
		return (const char *)node->name;
	g_snprintf(buffer, size, "%s:%s", (const char *)node->ns->prefix, (const char *)node->name);
	return buffer;
}

static struct hit find(const struct part *part, const char *name, bool attribute)
{
	size_t len = strlen(name);
	const char *rest;

	for (const struct field *r = part->rows; (r = row_of(part, r, &rest)); r++) {
		if (attribute != (*rest == '@'))
			continue;
		rest += attribute;
		if (*rest != *name || strncmp(rest, name, len))
			continue;
		if (!rest[len])
			return (struct hit){ r, r };
		if (rest[len] == '/')
			return (struct hit){ NULL, r };
	}
	return (struct hit){ NULL, NULL };
}

static struct hit find_node(const struct part *part, const xmlNode *node)
{
	char buffer[128];

	return find(part, full_name(node, buffer, sizeof(buffer)), false);
}

/* What is in node: in the row's own table, or in this one behind its path. The prefix is a piece of a row's path. */
static struct part part_of(const struct part *part, const struct hit *hit)
{
	const char *path = hit->at->path;
	size_t skip = part->len ? part->len + 1 : 0;

	if (hit->row && hit->row->sub)
		return (struct part){ hit->row->sub, "", 0 };
	return (struct part){ hit->at, path, skip + strcspn(path + skip, "/") };
}

const struct field *fields_row(const struct field *rows, const char *path)
{
	struct part part = { rows, "", 0 };

	for (;;) {
		size_t len = strcspn(path, "/");
		g_autofree char *name = g_strndup(path, len);
		bool attribute = *name == '@';
		struct hit hit = find(&part, name + attribute, attribute);

		if (!path[len] || !hit.at)
			return hit.row;
		part = part_of(&part, &hit);
		path += len + 1;
	}
}

/* ---- check ---- */

static bool refuse(const xmlNode *node, const char *name, bool attribute, bool known, GError **error)
{
	const char *why = known ? "is not supported" : "is not known";

	if (attribute)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "attribute '%s' in element <%s> %s", name,
				(const char *)node->name, why);
	return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED, "element <%s> in <%s> %s", name, (const char *)node->name, why);
}

static bool check_attribute(xmlNode *node, const struct part *part, xmlAttr *a, unsigned flags, GError **error)
{
	const char *name = (const char *)a->name;
	struct hit hit = find(part, name, true);

	if (a->ns) /* xml:space and the like: nobody's business */
		return true;
	if (!hit.row)
		return flags & DEF_TEST || refuse(node, name, true, false, error);
	if (hit.row->flags & FIELD_LIVE && !(flags & DEF_LIVE)) {
		xmlRemoveProp(a);
		return true;
	}
	if (hit.row->flags & FIELD_NO && !(flags & DEF_TEST))
		return refuse(node, name, true, true, error);
	return field_check_value(hit.row, node, name, flags, error);
}

static bool check_musts(xmlNode *node, const struct part *part, GError **error)
{
	const char *rest;

	for (const struct field *r = part->rows; (r = row_of(part, r, &rest)); r++) {
		if (!(r->flags & FIELD_MUST))
			continue;
		if (*rest == '@' && !xml_text(node, rest))
			return rpc_fail(error, VIR_ERR_XML_ERROR, "Missing required attribute '%s' in element '%s'", rest + 1,
					(const char *)node->name);
		if (*rest != '@' && !strchr(rest, '/') && !xml_child(node, rest))
			return rpc_fail(error, VIR_ERR_XML_ERROR, "missing element '%s' in '%s'", rest, (const char *)node->name);
	}
	return true;
}

static bool check_part(xmlNode *node, const struct part *part, unsigned flags, GError **error);

static bool is_second(const xmlNode *node)
{
	for (const xmlNode *c = node->prev; c; c = c->prev)
		if (c->type == XML_ELEMENT_NODE && xmlStrEqual(c->name, node->name) && c->ns == node->ns)
			return true;
	return false;
}

static bool check_no_text(xmlNode *node, const struct field *row, unsigned flags, GError **error)
{
	xmlNode *text = node->children;

	if ((row && row->type != FIELD_NODE) || !text || text->type != XML_TEXT_NODE)
		return true;
	if (!xmlIsBlankNode(text))
		return flags & DEF_TEST ||
		       rpc_fail(error, VIR_ERR_XML_ERROR, "unexpected text in element '%s'", (const char *)node->name);
	xmlUnlinkNode(text);
	xmlFreeNode(text);
	return true;
}

static bool check_child(xmlNode *node, const struct part *part, xmlNode *c, unsigned flags, GError **error)
{
	char buffer[128];
	const char *name = full_name(c, buffer, sizeof(buffer));
	struct hit hit = find(part, name, false);
	unsigned row_flags = hit.row ? hit.row->flags : 0;
	struct part inside;

	if ((!c->ns || !c->ns->prefix) && c->ns != node->ns) /* of somebody else's, whatever it is called */
		return refuse(node, name, false, false, error);
	if (!hit.at)
		return flags & DEF_TEST || refuse(node, name, false, false, error);
	if (row_flags & FIELD_LIVE && !(flags & DEF_LIVE)) {
		xmlUnlinkNode(c);
		xmlFreeNode(c);
		return true;
	}
	if (row_flags & FIELD_NO && !(flags & DEF_TEST))
		return refuse(node, name, false, true, error);
	if (row_flags & FIELD_VERBATIM)
		return true;
	if (!(row_flags & FIELD_MANY) && !(flags & DEF_TEST) && is_second(c))
		return rpc_fail(error, VIR_ERR_XML_ERROR, "element <%s> is in <%s> twice", (const char *)c->name,
				(const char *)node->name);
	inside = part_of(part, &hit);
	if (!check_part(c, &inside, flags, error) || !check_no_text(c, hit.row, flags, error))
		return false;
	return !hit.row || field_check_value(hit.row, c, NULL, flags, error);
}

static bool check_part(xmlNode *node, const struct part *part, unsigned flags, GError **error)
{
	xmlAttr *next_attribute;
	xmlNode *next;

	for (xmlAttr *a = node->properties; a; a = next_attribute) {
		next_attribute = a->next;
		if (!check_attribute(node, part, a, flags, error))
			return false;
	}
	for (xmlNode *c = node->children; c; c = next) {
		next = c->next;
		if (c->type == XML_ELEMENT_NODE && !check_child(node, part, c, flags, error))
			return false;
	}
	return flags & DEF_LOOSE || check_musts(node, part, error);
}

bool fields_check(xmlNode *node, const struct field *rows, unsigned flags, GError **error)
{
	struct part part = { rows, "", 0 };

	return check_part(node, &part, flags, error);
}

bool fields_check_below(xmlNode *node, const struct field *rows, const char *path, unsigned flags, GError **error)
{
	const struct field *row = fields_row(rows, path);
	struct part part = { rows, path, strlen(path) };

	if (row && row->sub)
		part = (struct part){ row->sub, "", 0 };
	while (part.len && part.rows->path && strncmp(part.rows->path, path, part.len))
		part.rows++;
	return check_part(node, &part, flags, error);
}

/* ---- order ---- */

struct placed {
	void *what;
	const struct field *at; /* NULL: behind all */
	unsigned before;
};

static int compare_placed(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	if (x->at != y->at) {
		if (!x->at || !y->at)
			return x->at ? -1 : 1;
		return x->at < y->at ? -1 : 1;
	}
	return x->before < y->before ? -1 : 1;
}

/* True: they were in another order, as is rare: most trees have been sorted before. */
static bool sort(GArray *all)
{
	const struct placed *p = (const struct placed *)(void *)all->data;

	for (unsigned i = 1; i < all->len; i++) {
		if (compare_placed(&p[i - 1], &p[i]) > 0) {
			g_array_sort(all, compare_placed);
			return true;
		}
	}
	return false;
}

static void sort_attributes(xmlNode *node, const struct part *part, GArray *all)
{
	xmlAttr *last = NULL;

	g_array_set_size(all, 0);
	for (xmlAttr *a = node->properties; a; a = a->next) {
		struct placed p = { a, a->ns ? NULL : find(part, (const char *)a->name, true).at, all->len };

		g_array_append_val(all, p);
	}
	if (!sort(all))
		return;
	node->properties = NULL;
	for (unsigned i = 0; i < all->len; i++) {
		xmlAttr *a = g_array_index(all, struct placed, i).what;

		a->prev = last;
		a->next = NULL;
		*(last ? &last->next : &node->properties) = a;
		last = a;
	}
}

static void sort_children(xmlNode *node, const struct part *part, GArray *all)
{
	g_array_set_size(all, 0);
	for (xmlNode *c = node->children; c; c = c->next) {
		struct placed p = { c, c->type == XML_ELEMENT_NODE ? find_node(part, c).at : NULL, all->len };

		g_array_append_val(all, p);
	}
	if (!sort(all))
		return;
	node->children = node->last = NULL;
	for (unsigned i = 0; i < all->len; i++) {
		xmlNode *c = g_array_index(all, struct placed, i).what;

		c->prev = node->last;
		c->next = NULL;
		*(node->last ? &node->last->next : &node->children) = c;
		node->last = c;
	}
}

/* all: room that is used by each in turn. */
static void sort_part(xmlNode *node, const struct part *part, GArray *all)
{
	if (node->properties && node->properties->next)
		sort_attributes(node, part, all);
	if (node->children && node->children->next)
		sort_children(node, part, all);
	for (xmlNode *c = node->children; c; c = c->next) {
		struct hit hit = { NULL, NULL };
		struct part inside;

		if (c->type == XML_ELEMENT_NODE && (c->properties || c->children))
			hit = find_node(part, c);
		if (!hit.at || (hit.row && hit.row->flags & FIELD_VERBATIM))
			continue;
		inside = part_of(part, &hit);
		sort_part(c, &inside, all);
	}
}

void fields_sort(xmlNode *node, const struct field *rows)
{
	g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(struct placed));
	struct part part = { rows, "", 0 };

	sort_part(node, &part, all);
}

/* ---- what is shown ---- */

static bool hidden(const struct field *row, unsigned flags)
{
	if (!row)
		return false;
	return (row->flags & FIELD_SECRET && !(flags & FORMAT_SECURE)) ||
	       (row->flags & FIELD_LIVE && flags & (FORMAT_INACTIVE | FORMAT_MIGRATABLE));
}

static void strip_part(xmlNode *node, const struct part *part, unsigned flags)
{
	xmlAttr *next_attribute;
	xmlNode *next;

	for (xmlAttr *a = node->properties; a; a = next_attribute) {
		next_attribute = a->next;
		if (!a->ns && hidden(find(part, (const char *)a->name, true).row, flags))
			xmlRemoveProp(a);
	}
	for (xmlNode *c = node->children; c; c = next) {
		struct hit hit = { NULL, NULL };

		next = c->next;
		if (c->type == XML_ELEMENT_NODE)
			hit = find_node(part, c);
		if (hidden(hit.row, flags)) {
			xmlUnlinkNode(c);
			xmlFreeNode(c);
		} else if (hit.at && !(hit.row && hit.row->flags & FIELD_VERBATIM)) {
			struct part inside = part_of(part, &hit);

			strip_part(c, &inside, flags);
		}
	}
}

void fields_strip(xmlNode *node, const struct field *rows, unsigned format_flags)
{
	struct part part = { rows, "", 0 };

	strip_part(node, &part, format_flags);
}

static void hints_part(const xmlNode *node, const struct part *part, const char *path, GPtrArray *ret)
{
	for (const xmlAttr *a = node->properties; a; a = a->next) {
		struct hit hit = find(part, (const char *)a->name, true);

		if (hit.row && hit.row->flags & FIELD_HINT)
			g_ptr_array_add(ret, g_strdup_printf("%s/@%s", path, (const char *)a->name));
	}
	for (const xmlNode *c = node->children; c; c = c->next) {
		struct hit hit = { NULL, NULL };
		g_autofree char *below = NULL;
		struct part inside;

		if (c->type == XML_ELEMENT_NODE)
			hit = find_node(part, c);
		if (!hit.at || (hit.row && hit.row->flags & FIELD_VERBATIM))
			continue;
		below = *path ? g_strdup_printf("%s/%s", path, (const char *)c->name) : g_strdup((const char *)c->name);
		if (hit.row && hit.row->flags & FIELD_HINT)
			g_ptr_array_add(ret, g_strdup(below));
		inside = part_of(part, &hit);
		hints_part(c, &inside, below, ret);
	}
}

void fields_hints(const xmlNode *node, const struct field *rows, GPtrArray *ret)
{
	struct part part = { rows, "", 0 };

	hints_part(node, &part, "", ret);
}
