/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See snapshots.h. Called by domain-snapshot.c, and by drivers that restore what they had. */
#include "snapshots.h"

#include <string.h>

#include "model-xml.h"

struct snapshots {
	GPtrArray *all; /* struct snapshot, by age */
	struct snapshot *current;
	char *pending;
	xmlDoc *pending_doc;
	GHashTable *made;
};

static void snapshot_free(struct snapshot *s)
{
	xmlFreeDoc(s->doc);
	g_free(s->name);
	g_free(s);
}

struct snapshots *snapshots_new(void)
{
	struct snapshots *s = g_new0(struct snapshots, 1);

	s->all = g_ptr_array_new_with_free_func((GDestroyNotify)snapshot_free);
	s->made = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	return s;
}

void snapshots_set_pending(struct snapshots *s, const char *what, xmlDoc *doc)
{
	g_free(s->pending);
	if (s->pending_doc != doc)
		xmlFreeDoc(s->pending_doc);
	s->pending = g_strdup(what);
	s->pending_doc = doc;
}

const char *snapshots_pending(const struct snapshots *s, xmlDoc **ret_doc)
{
	if (ret_doc)
		*ret_doc = s->pending_doc;
	return s->pending;
}

GHashTable *snapshots_made(const struct snapshots *s)
{
	return s->made;
}

void snapshots_clear(struct snapshots *s)
{
	snapshots_set_pending(s, NULL, NULL);
	g_hash_table_remove_all(s->made);
	s->current = NULL;
	g_ptr_array_set_size(s->all, 0);
}

void snapshots_free(struct snapshots *s)
{
	snapshots_clear(s);
	g_hash_table_unref(s->made);
	g_ptr_array_unref(s->all);
	g_free(s);
}

unsigned snapshots_count(const struct snapshots *s)
{
	return s->all->len;
}

struct snapshot *snapshots_nth(const struct snapshots *s, unsigned n)
{
	return n < s->all->len ? s->all->pdata[n] : NULL;
}

struct snapshot *snapshots_find(const struct snapshots *s, const char *name)
{
	for (unsigned i = 0; i < s->all->len; i++) {
		struct snapshot *snapshot = s->all->pdata[i];

		if (strcmp(snapshot->name, name) == 0)
			return snapshot;
	}
	return NULL;
}

struct snapshot *snapshots_current(const struct snapshots *s)
{
	return s->current;
}

void snapshots_set_current(struct snapshots *s, struct snapshot *current)
{
	s->current = current;
}

struct snapshot *snapshots_add(struct snapshots *s, const char *name, xmlDoc *doc, struct snapshot *parent)
{
	struct snapshot *snapshot = g_new0(struct snapshot, 1);

	*snapshot = (struct snapshot){ g_strdup(name), parent, 0, doc, s };
	if (parent)
		parent->n_children++;
	g_ptr_array_add(s->all, snapshot);
	return snapshot;
}

void snapshots_remove(struct snapshot *snapshot)
{
	struct snapshots *s = snapshot->of;
	struct snapshot *parent = snapshot->parent;

	for (unsigned i = 0; i < s->all->len; i++) {
		struct snapshot *child = s->all->pdata[i];

		if (child->parent != snapshot)
			continue;
		child->parent = parent;
		xml_set(xmlDocGetRootElement(child->doc), "parent/name", parent ? parent->name : NULL);
		if (!parent)
			xml_set(xmlDocGetRootElement(child->doc), "parent", NULL);
		else
			parent->n_children++;
	}
	if (parent)
		parent->n_children--;
	if (s->current == snapshot)
		s->current = NULL;
	g_ptr_array_remove(s->all, snapshot);
}

void snapshots_replace(struct snapshot *snapshot, xmlDoc *doc, struct snapshot *parent)
{
	xmlFreeDoc(snapshot->doc);
	snapshot->doc = doc;
	if (snapshot->parent)
		snapshot->parent->n_children--;
	snapshot->parent = parent;
	if (parent)
		parent->n_children++;
}

bool snapshot_is_below(const struct snapshot *snapshot, const struct snapshot *above)
{
	for (const struct snapshot *s = snapshot->parent; s; s = s->parent)
		if (s == above)
			return true;
	return false;
}
