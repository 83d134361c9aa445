/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Definitions as files, one a folder of one kind: NAME.xml, libvirt's XML, and autostart/NAME.xml, a link to it. A file is
 * written whole or not at all. People edit them while the daemon is not there, so a file is what counts; .index says which name
 * and UUID it has only as long as the file is the one that was read for it (inode, size, times). So a start parses what is new.
 * Before a change is answered it is durable, by a journal (store-journal.h).
 * The same without index and links, and not made durable, for the status of what runs (STORE_STATUS).
 *
 * Threads: under the state lock; a write waits for the disk with it held, since definitions change seldom and their order counts.
 * Used by the daemon's hypervisors, networks and pools.
 */
#pragma once
#include <gio/gio.h>
#include <stdbool.h>

struct store;
typedef struct store Store; /* for g_autoptr alone */

enum store_flags { STORE_STATUS = 1 << 0 };

struct store_entry {
	const char *name, *uuid; /* uuid: as the file has it, "" if it has none */
	bool autostart;
};

/* root: the name of the documents' element, as in "domain". The folder is made when it is not there (0700). */
struct store *store_open(const char *dir, const char *root, unsigned flags, GError **error);
void store_free(struct store *s); /* NULL is fine */
/* All is durable by itself, and the next store_open() has nothing to read: for a daemon that ends; in store_free(), too. */
void store_settle(struct store *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Store, store_free)

/* All there are, in the order of names. A file that is no definition, or has another's name, is told and left alone. */
void store_each(struct store *s, void (*func)(void *opaque, const struct store_entry *entry), void *opaque);
unsigned store_parsed(const struct store *s); /* how many files store_open() had to read (tests) */

/* store_write: what has more than MODEL_XML_MAX bytes, which is all that is read again, is an error. */
char *store_read(struct store *s, const char *name, GError **error);
bool store_write(struct store *s, const char *name, const char *uuid, const char *xml, GError **error);
/* With its link. What is not there is removed already. */
bool store_remove(struct store *s, const char *name, GError **error);
bool store_set_autostart(struct store *s, const char *name, bool on, GError **error);
/* Where a definition is, to be freed. NULL: the name makes no file. */
char *store_path(const struct store *s, const char *name, GError **error);
