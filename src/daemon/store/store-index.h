/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The index of a folder of definitions: hints alone, which a file's inode, size and times confirm. See store.h. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/stat.h>

struct store_item {
	guint64 inode, size;
	gint64 modified, changed; /* ns; changed: a user cannot set it */
	char uuid[37];
	bool autostart; /* not in the index: links are read */
};

void store_item_stamp(struct store_item *item, const struct stat *st);
bool store_item_same(const struct store_item *a, const struct store_item *b);

/* name -> struct store_item; what was changed too shortly before the index was written to be told apart is not in it. */
GHashTable *store_index_read(const char *dir);
void store_index_write(const char *dir, GTree *items); /* what fails costs a slower start */
