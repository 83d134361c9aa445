/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What networks and storage pools have in common: a name and a UUID, a definition (src/virt/model's objects.h), perhaps
 * being active, stored, started with the daemon; and libvirt's rules for these. With the state lock held.
 */
#pragma once
#include <gio/gio.h>

#include "call.h"
#include "events.h"
#include "objects.h"

struct registry;

struct entry {
	struct registry *of;
	char *name;
	guint8 uuid[16];
	char uuid_text[37];
	xmlDoc *doc;  /* stored; of a transient one: what is active */
	xmlDoc *live; /* what is active where that is another one than doc; NULL */
	bool active, persistent, autostart;
	void *own; /* its subsystem's */
};

struct registry {
	struct hv *hv;
	enum object_kind kind;
	enum event_kind event;
	const char *what;     /* "network", in messages */
	enum rpc_code absent; /* VIR_ERR_NO_NETWORK */
	GHashTable *all;      /* uuid as text -> struct entry */
	void (*free_own)(void *own);
};

struct registry *registry_new(struct hv *hv, enum object_kind kind);
void registry_free(struct registry *r); /* NULL is fine */

/* doc is taken on success. transient: it is to be active now, and what is stored stays. */
struct entry *registry_define(struct registry *r, xmlDoc *doc, bool transient, GError **error);
/* One that is to be stored, written as well: on failure all is as it was. *doc is taken, then NULL, when it is fit to be. */
struct entry *registry_define_stored(struct registry *r, xmlDoc **doc, GError **error);
void registry_remove(struct entry *e);
/* Written, or its file removed if it is not persistent any more, where the driver has files. */
bool registry_store(struct entry *e, GError **error);
void registry_event(struct entry *e, unsigned id, int event); /* event -1: a message without one */

struct entry *registry_of_args(struct registry *r, GVariant *args, GError **error); /* of the handle (sU) that comes first */
struct entry *registry_of_doc(struct registry *r, const xmlDoc *doc); /* the one with the UUID in it, or NULL */
struct entry *registry_by_name(struct registry *r, const char *name);
struct entry *registry_by_uuid(struct registry *r, GVariant *uuid);
xmlNode *entry_root(const struct entry *e); /* of what is active, else of what is stored */
GVariant *entry_handle(const struct entry *e);
/* Lists of handles for libvirt's flags: inactive, active, persistent, transient, autostart, none; more(): others, or NULL. */
unsigned registry_list(struct registry *r, unsigned flags, bool (*more)(const struct entry *e, unsigned flags),
		       GVariantBuilder *out);
unsigned registry_names(struct registry *r, bool active, gint32 room, GVariantBuilder *out); /* out NULL: only their number */

/* libvirt's events of a life, the same numbers for networks and pools. */
enum { OBJECT_DEFINED, OBJECT_UNDEFINED, OBJECT_STARTED, OBJECT_STOPPED, OBJECT_CREATED, OBJECT_DELETED };
