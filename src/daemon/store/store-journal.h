/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What changed in a folder of definitions, durable by one write. Making a new file and its name durable costs a file system two
 * commits of its own journal; a record in a file whose blocks are there already costs the write alone. So a change is made in the
 * folder without waiting for the disk, and told here before it is answered. After a power cut (another boot) the folder is
 * brought to what the journal says; after a mere crash it is so already. When the journal is full (8 MiB), and when its store is
 * closed, files are made durable themselves and it begins anew.
 *
 * The file is .journal: a header of 4 KiB, then records; both with a sum, so what was cut short or is of an earlier round
 * is no record. Called by store.c alone.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct store_journal;

/* text NULL: removed. when: the clock, us; what is in the folder was written before that. */
typedef void store_change(void *opaque, const char *name, const char *text, gint64 when);

/*
 * The journal of the folder, made by the first record. What an earlier boot left is told to replay, of each name the last;
 * then the caller makes that durable and calls store_journal_begin().
 */
struct store_journal *store_journal_open(const char *dir, store_change *replay, void *opaque);
/* Is it another boot's? What it has was told to replay then. */
bool store_journal_is_old(const struct store_journal *j);
void store_journal_free(struct store_journal *j); /* NULL is fine */
/* On true it is on the disk. false: there is no room, or no journal here: the caller does without. */
bool store_journal_add(struct store_journal *j, const char *name, const char *text);
/* The names of which it has records: they are not durable otherwise. */
GHashTable *store_journal_names(struct store_journal *j);
/* They are now: no record counts any more. */
bool store_journal_begin(struct store_journal *j);
