/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One line a definition: inode, size, times, UUID, name; the first line says which form, the last how many there are, so that an
 * index that was cut is none. A file that changes twice within the clock's step looks the same, so who is as young as the
 * index is read again (as git's index has it). See store-index.h.
 */
#include "store-index.h"

#include <stdio.h>
#include <string.h>

#include "log.h"
#include "store-file.h"

#define FILE_NAME ".index"
#define FORM	  "kvd index 1"

enum { INDEX_MAX = 64 << 20 };
static const gint64 step = 20 * G_TIME_SPAN_MILLISECOND * 1000; /* ns: longer than a file system's clock stands still */

void store_item_stamp(struct store_item *item, const struct stat *st)
{
	item->inode = st->st_ino;
	item->size = (guint64)st->st_size;
	item->modified = (gint64)st->st_mtim.tv_sec * G_GINT64_CONSTANT(1000000000) + st->st_mtim.tv_nsec;
	item->changed = (gint64)st->st_ctim.tv_sec * G_GINT64_CONSTANT(1000000000) + st->st_ctim.tv_nsec;
}

bool store_item_same(const struct store_item *a, const struct store_item *b)
{
	return a->inode == b->inode && a->size == b->size && a->modified == b->modified && a->changed == b->changed;
}

/* A name with a newline is escaped like a C string. */
static bool read_line(char *line, char **ret_name, struct store_item *item)
{
	int at = 0;

	memset(item, 0, sizeof(*item));
	if (sscanf(line, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %36s %n",
		   &item->inode, &item->size, &item->modified, &item->changed, item->uuid, &at) != 5 ||
	    !at || !line[at])
		return false;
	if (!strcmp(item->uuid, "-"))
		item->uuid[0] = 0;
	*ret_name = g_strcompress(line + at);
	return true;
}

static GHashTable *read_all(char *text, gint64 written)
{
	GHashTable *items = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	guint64 n = 0, told = G_MAXUINT64;
	char *save = NULL;
	bool first = true;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct store_item item;
		char *name;

		if (first && strcmp(line, FORM))
			break;
		if (first) {
			first = false;
		} else if (read_line(line, &name, &item)) {
			n++;
			if (item.changed < written - step)
				g_hash_table_insert(items, name, g_memdup2(&item, sizeof(item)));
			else
				g_free(name);
		} else if (!g_ascii_string_to_unsigned(line, 10, 0, G_MAXINT, &told, NULL)) {
			break;
		}
	}
	if (n != told)
		g_hash_table_remove_all(items);
	return items;
}

GHashTable *store_index_read(const char *dir)
{
	g_autofree char *path = g_build_filename(dir, FILE_NAME, NULL), *text = store_file_read(path, INDEX_MAX, NULL);
	struct store_item self = {};
	struct stat st = {};

	if (!text)
		text = g_strdup("");
	if (stat(path, &st) == 0)
		store_item_stamp(&self, &st);
	return read_all(text, self.modified);
}

struct writer {
	GString *text;
	guint n;
};

static gboolean put(gpointer name, gpointer value, gpointer opaque)
{
	const struct store_item *item = value;
	g_autofree char *escaped = g_strescape(name, NULL);
	struct writer *w = opaque;

	g_string_append_printf(w->text, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " ", item->inode, item->size);
	g_string_append_printf(w->text, "%" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %s %s\n", item->modified, item->changed,
			       *item->uuid ? item->uuid : "-", escaped);
	w->n++;
	return FALSE;
}

void store_index_write(const char *dir, GTree *items)
{
	struct writer w = {g_string_new(FORM "\n"), 0};
	g_autoptr(GError) error = NULL;

	g_tree_foreach(items, put, &w);
	g_string_append_printf(w.text, "%u\n", w.n);
	if (!store_file_write(dir, FILE_NAME, w.text->str, false, NULL, &error))
		kv_log_warn("%s", error->message);
	g_string_free(w.text, TRUE);
}
