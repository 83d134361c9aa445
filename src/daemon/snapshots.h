/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain's snapshots as a tree of names: parents, children, the current one, and each one's XML. What machine and disks do is
 * the driver's (hv.h). With the state lock held.
 */
#pragma once
#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

#include "hv.h"

struct domain;
struct snapshots;

/* libvirt's VIR_DOMAIN_SNAPSHOT_CREATE_… and …_DELETE_…. */
enum {
	SNAPSHOT_REDEFINE = 1 << 0,
	SNAPSHOT_CURRENT = 1 << 1,
	SNAPSHOT_NO_METADATA = 1 << 2,
	SNAPSHOT_HALT = 1 << 3,
	SNAPSHOT_DISK_ONLY = 1 << 4,
	SNAPSHOT_REUSE_EXT = 1 << 5,
	SNAPSHOT_QUIESCE = 1 << 6,
	SNAPSHOT_ATOMIC = 1 << 7,
	SNAPSHOT_LIVE = 1 << 8,
	SNAPSHOT_VALIDATE = 1 << 9,
};
enum { SNAPSHOT_DELETE_CHILDREN = 1, SNAPSHOT_DELETE_METADATA_ONLY = 2, SNAPSHOT_DELETE_CHILDREN_ONLY = 4 };

struct snapshot {
	char *name;
	struct snapshot *parent; /* NULL: a root */
	unsigned n_children;
	xmlDoc *doc;	     /* <domainsnapshot>, with the domain's definition in it */
	struct snapshots *of;
};

struct snapshots *snapshots_new(void);
void snapshots_free(struct snapshots *s);
unsigned snapshots_count(const struct snapshots *s);
struct snapshot *snapshots_find(const struct snapshots *s, const char *name); /* NULL: none */
struct snapshot *snapshots_nth(const struct snapshots *s, unsigned n);	      /* by age */
struct snapshot *snapshots_current(const struct snapshots *s);
void snapshots_set_current(struct snapshots *s, struct snapshot *current); /* NULL: none */
/* doc is taken. parent: NULL, a root. */
struct snapshot *snapshots_add(struct snapshots *s, const char *name, xmlDoc *doc, struct snapshot *parent);
/* Its children become its parent's. */
void snapshots_remove(struct snapshot *snapshot);
bool snapshot_is_below(const struct snapshot *snapshot, const struct snapshot *above);
/* doc is taken; the rest is as it was. */
void snapshots_replace(struct snapshot *snapshot, xmlDoc *doc, struct snapshot *parent);

/*
 * What a driver has begun with files ("create", "revert", "delete") and a <domainsnapshot> that says with which; it is stored
 * with the tree, so that who comes after a crash can finish it or take it back. doc is taken; what NULL: nothing is under way.
 */
void snapshots_set_pending(struct snapshots *s, const char *what, xmlDoc *doc);
const char *snapshots_pending(const struct snapshots *s, xmlDoc **ret_doc); /* NULL: nothing; ret_doc may be NULL */
/* Files that snapshots have made, and may remove when nobody needs them: a set of paths, the driver's to change. */
GHashTable *snapshots_made(const struct snapshots *s);
void snapshots_clear(struct snapshots *s);

/* snapshot-xml.c. A whole <domainsnapshot> of what was asked for; NULL and *error. */
xmlDoc *snapshot_complete(struct domain *d, xmlDoc *asked, unsigned flags, GError **error);
bool snapshot_check_name(const char *name, unsigned flags, GError **error);
/* The domain's definition as it was. */
struct domain_def *snapshot_def(const struct hv *hv, const xmlDoc *doc, GError **error);
/* As clients see it; secure: with passwords. To be freed. */
char *snapshot_text(const struct hv *hv, const struct snapshot *snapshot, bool secure, GError **error);
bool snapshot_is_external(const xmlDoc *doc); /* a disk's or the memory's part is a file of its own */
