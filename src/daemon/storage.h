/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Storage pools and their volumes: entries of hv->pools (registry.h) whose own is a struct pool. Lists, lookups, definitions and
 * rules are pools.c's and volumes.c's; what is behind them is a driver's struct storage. With the state lock held; callbacks
 * marked (waits) are called in a worker and may let go of it: then busy keeps the pool as it is.
 */
#pragma once
#include "registry.h"

struct volume {
	char *name, *path;
	xmlDoc *doc; /* OBJECT_VOLUME, with key, sizes and path */
	guint64 capacity, allocation, physical;
};

struct pool {
	struct entry *entry;
	guint64 capacity, allocation, available; /* bytes */
	GPtrArray *volumes;			  /* struct volume */
	unsigned busy;				  /* jobs of volumes: it is not stopped or refreshed */
};

struct storage {
	bool (*check)(struct hv *hv, const xmlDoc *pool, GError **error);
	/* start: also fills sizes and volumes, as refresh does. (waits) */
	bool (*start)(struct pool *p, GError **error);
	bool (*stop)(struct pool *p, GError **error);
	bool (*refresh)(struct pool *p, GError **error);
	bool (*build)(struct pool *p, unsigned flags, GError **error);
	bool (*erase)(struct pool *p, unsigned flags, GError **error); /* pool-delete: what build has made */
	/* A new one of a complete <volume>: sets key, target/path and sizes. from: what is in it, or NULL. (waits) */
	bool (*create)(struct pool *p, struct volume *v, const struct volume *from, unsigned flags, GError **error);
	bool (*remove)(struct pool *p, struct volume *v, unsigned flags, GError **error);
	bool (*resize)(struct pool *p, struct volume *v, guint64 bytes, unsigned flags, GError **error);
	bool (*wipe)(struct pool *p, struct volume *v, unsigned algorithm, GError **error);
	int (*open)(struct pool *p, struct volume *v, bool write, GError **error); /* for a stream */
};

struct pool *pool_of(struct entry *e);
struct volume *pool_find_volume(struct pool *p, const char *name);
/* Sizes into doc, then it belongs to the pool. */
void volume_set_sizes(struct volume *v, guint64 capacity, guint64 allocation);
struct volume *volume_new(const char *name, const char *path, xmlDoc *doc); /* doc is taken */
void volume_free(struct volume *v);
/* Of a pool's handle that comes first in args; it is active if that is asked for. */
struct pool *pool_of_args(struct call *call, GVariant *args, bool active, GError **error);
