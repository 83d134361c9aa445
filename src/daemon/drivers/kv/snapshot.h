/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots of machines of ours. What is inside of images: kv-img as a child when a machine is off, QMP when it runs; overlays
 * likewise. Memory is always a file of its own, as of one moment (background-snapshot), since it takes a running guest some
 * milliseconds; <memory snapshot='external'> says so.
 *
 * Before files change, what is to be done is stored with the tree (pending, snapshots.h): after a crash kv_snapshot_settle()
 * finishes it or takes it back. All with the state lock and the domain's job; what runs children or asks the machine lets go of
 * the lock meanwhile. Inside of this folder's snapshot*.c, and what kv.h names.
 */
#pragma once
#include "kv.h"
#include "snapshots.h"

/* ---- snapshot-img.c: kv-img ---- */
struct kv_layer {
	char *file, *format; /* file: canonical */
	char **snapshots;    /* names of those inside */
};
/* (waits) Words of a command line, ended by NULL. */
bool kv_img(GError **error, const char *command, ...) G_GNUC_NULL_TERMINATED;
/* (waits) What an image stands on: struct kv_layer, itself first. format NULL: guessed. Takes no locks. */
GPtrArray *kv_img_chain(const char *file, const char *format, GError **error);
bool kv_layer_has(const struct kv_layer *layer, const char *snapshot);
char *kv_canonical(const char *file);
bool kv_is_same_file(const char *a, const char *b); /* by whatever names; NULL is no file */

/* ---- snapshot-disks.c: disks of definitions ---- */
xmlNode *kv_disk_in(const xmlNode *domain, const char *target);
/* The n-th of a snapshot's disks that is "internal" or "external"; NULL past the last. Its disk in the snapshot's definition. */
xmlNode *kv_part(const xmlDoc *doc, const char *kind, unsigned n);
xmlNode *kv_part_disk(const xmlDoc *doc, const xmlNode *part);
const char *kv_snapshot_name(const xmlDoc *doc);
const char *kv_snapshot_memory(const xmlDoc *doc); /* its file; NULL: none */
/* Wherever a definition (stored, running, a snapshot's) has the file `from` it has `to`. */
void kv_files_replace(struct domain *d, const char *from, const char *to, const char *to_format);
/*
 * (waits) The chains of all that a domain may use: GPtrArrays of struct kv_layer, of its disks and of its snapshots' but not_of's
 * (NULL: of all). An image that cannot be read is left out when it is a snapshot's, else an error.
 */
GPtrArray *kv_chains(struct domain *d, const xmlDoc *not_of, GError **error);
/* The files that stand on it: const struct kv_layer, each once. */
GPtrArray *kv_standing_on(const GPtrArray *chains, const char *file);
bool kv_in_chains(const GPtrArray *chains, const char *file);
/* A definition, but not_of's, has it as a disk that is not a snapshot inside of it. */
bool kv_file_is_named(struct domain *d, const xmlDoc *not_of, const char *file);
/* (waits) Of those candidates that snapshots have made, the ones that nothing needs any more are removed. */
void kv_files_collect(struct domain *d, const GPtrArray *candidates);

/* ---- snapshot-store.c ---- */
bool kv_snapshot_note(struct domain *d, const char *what, const xmlDoc *doc, GError **error); /* pending, stored */

/* ---- snapshot-create.c ---- */
bool kv_snapshot_take_back(struct domain *d, const xmlDoc *doc, GError **error); /* a creation that was cut short */
bool kv_snapshot_use_overlays(struct domain *d, const xmlDoc *doc, GError **error);
unsigned kv_snapshot_flags(const xmlDoc *doc); /* SNAPSHOT_…, of a pending creation */
void kv_snapshot_remember_files(struct domain *d, const xmlDoc *doc);

/* ---- snapshot-memory.c: all (waits) ---- */
/* Then kv_migration_wait(), and one of the others. */
bool kv_memory_begin(struct kv_machine *m, const char *file, GError **error);
void kv_memory_cancel(struct kv_machine *m);
void kv_memory_end(struct kv_machine *m);

/* ---- snapshot-revert.c, snapshot-delete.c ---- */
bool kv_snapshot_apply(struct domain *d, xmlDoc *doc, GError **error);	     /* disks and definitions, of one that is off */
bool kv_snapshot_merge(struct domain *d, const xmlDoc *doc, GError **error); /* a deletion's work on files, again if need be */
/* (waits) What top has is written into base, both of a running machine's disk; top may be what it writes to. */
bool kv_commit_live(struct kv_machine *m, const char *target, const char *top, const char *base, GError **error);
void kv_end_for_snapshot(struct domain *d); /* (waits) it is off; a transient one stays in the lists */
