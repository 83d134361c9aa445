/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Storage pools and their volumes, with libvirt's rules for them. What a pool's storage is, is a table of callbacks
 * (struct pool_backend): folders and mounts of this host (files.c), or nothing but memory (memory.c). All with the state lock
 * held (call.h); callbacks are called in workers without it.
 *
 * One call at a time changes a pool or looks into it (pool_begin()). What takes long (a volume is filled, copied, wiped) is not
 * under that: it is counted in jobs, its volumes are building or in_use, and pools with jobs are not refreshed, stopped or
 * undefined meanwhile.
 */
#pragma once
#include <libxml/tree.h>
#include <time.h>

#include "call.h"
#include "hv.h"
#include "registry.h"

/* libvirt's VIR_STORAGE_VOL_… */
enum volume_type { VOLUME_FILE, VOLUME_BLOCK, VOLUME_DIR };

struct volume_stat {
	bool known;
	gint64 mode, uid, gid; /* -1: nobody said */
	struct timespec atime, mtime, ctime;
};

/* What is known of a volume by looking at it. */
struct volume_facts {
	enum volume_type type;
	char *format;				/* libvirt's name */
	guint64 capacity, allocation, physical; /* bytes */
	struct volume_stat stat;
	char *compat;	 /* of a qcow2; NULL: the old one */
	guint64 cluster; /* bytes; 0: none is shown */
	bool lazy_refcounts;
	char *backing, *backing_format; /* a path, or what stands there for one; NULL: none */
	struct volume_stat backing_stat;
};
void volume_facts_clear(struct volume_facts *f);

struct volume {
	int refs;
	char *name, *path; /* the path is its key as well */
	struct volume_facts facts;
	bool building;
	unsigned in_use; /* by what copies or wipes it */
};

/* What a backend has to know of a pool; a copy, for use without the lock. */
struct pool_place {
	char *name, *type, *path, *device, *format;
	gint64 mode, uid, gid; /* of its folder; -1: as it comes */
	bool session;
};

struct pool_facts {
	guint64 capacity, allocation, available;
	struct volume_stat stat;
};

/* A volume that is to be made; facts: as its XML says. */
struct volume_plan {
	const char *name, *path;
	const struct volume_facts *facts;
	bool nocow, preallocate, reflink;
	const char *cluster;	     /* NULL: as it comes */
	const struct volume *source; /* NULL: empty */
};

enum build_flags { BUILD_NO_OVERWRITE = 1 << 2, BUILD_OVERWRITE = 1 << 3 };
enum resize_flags { RESIZE_ALLOCATE = 1 << 0, RESIZE_DELTA = 1 << 1, RESIZE_SHRINK = 1 << 2 };
enum wipe_algorithm { WIPE_ZERO, WIPE_TRIM = 9, WIPE_ALGORITHMS };

/* Without the state lock, but for those of `memory`. NULL: VIR_ERR_NO_SUPPORT. */
struct pool_backend {
	bool memory;				      /* pools and volumes are what calls say of them, and 100 GiB */
	bool (*is_there)(const struct pool_place *p); /* after a start of the daemon: is it still active? */
	bool (*build)(const struct pool_place *p, unsigned flags, GError **error);
	bool (*start)(const struct pool_place *p, GError **error);
	bool (*stop)(const struct pool_place *p, GError **error);
	bool (*remove)(const struct pool_place *p, GError **error);
	/* ret_volumes: appends struct volume. */
	bool (*scan)(const struct pool_place *p, struct pool_facts *ret, GPtrArray *ret_volumes, GError **error);
	/* One volume is looked at again; as: what was known of it. */
	bool (*look)(const char *path, const struct volume_facts *as, struct volume_facts *ret, GError **error);
	bool (*is_free)(const char *path); /* a volume can be made there */
	bool (*create)(const struct volume_plan *plan, GError **error);
	bool (*erase)(const struct volume *v, GError **error); /* what is gone already is no error */
	bool (*resize)(const struct volume *v, guint64 capacity, unsigned flags, GError **error);
	bool (*wipe)(const struct volume *v, unsigned algorithm, GError **error);
	int (*open)(const struct volume *v, bool write, GError **error); /* for a stream */
};
extern const struct pool_backend pools_files, pools_memory;

/* Of an entry of hv->pools (registry.h), which has its names, definitions and flags. */
struct pool {
	int refs;
	struct hv *hv;
	struct entry *entry; /* NULL: it is gone */
	char *name;
	bool busy; /* pool_begin() */
	GCond idle;
	unsigned jobs;
	struct pool_facts facts;
	GPtrArray *volumes; /* struct volume */
};
typedef struct pool Pool; /* for g_autoptr alone */

/*
 * Of a driver with files (hv->config_dir, hv->state_dir): the stored pools, those that are active, and after a boot those that
 * start by themselves. When it is opened and at its end.
 */
bool pools_open(struct hv *hv, GError **error);
void pools_close(struct hv *hv);
void pools_leave(struct hv *hv); /* the daemon ends: definitions are settled (store.h) */
/* For hv_driver.store_object. */
bool pools_store(struct hv *hv, const char *name, const char *uuid, const char *xml, bool autostart, GError **error);

/* ---- pools ---- */

struct pool *pool_of(struct entry *e); /* made when it is asked for first; no reference */
struct pool *pool_ref(struct pool *p);
void pool_unref(struct pool *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pool, pool_unref)
static inline const struct pool_backend *pool_backend(const struct pool *p)
{
	return p->hv->driver->storage;
}

/* The pool that arguments begin with (type P): a reference, or NULL and VIR_ERR_NO_STORAGE_POOL in libvirt's words. */
struct pool *pool_of_args(struct call *call, GVariant *args, GError **error);
struct pool *pool_named(struct hv *hv, const char *name, GError **error);
/* Waits for its turn; true: pool_end(). */
bool pool_begin(struct pool *p, GError **error);
void pool_end(struct pool *p);
bool pool_require_active(const struct pool *p, GError **error);
bool pool_require_inactive(const struct pool *p, const char *how, GError **error); /* "is HOW active" */
bool pool_require_no_jobs(const struct pool *p, GError **error);

/* Two pools of the same storage would make each other's volumes. */
bool pool_check_source(struct hv *hv, const xmlDoc *doc, GError **error);
void pool_store_status(struct pool *p);
/* Its volumes and sizes anew; begun. On failure its storage is stopped, as libvirt does. Tells nobody. */
bool pool_scan(struct pool *p, GError **error);
void pool_stopped(struct pool *p); /* the flag, the volumes, and a transient one goes away */
void pool_count(struct pool *p);   /* sizes of what is in memory */
char *pool_xml(struct pool *p, bool inactive);
void pool_place_of(const struct pool *p, struct pool_place *ret);
void pool_place_clear(struct pool_place *p);
typedef struct pool_place PoolPlace;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PoolPlace, pool_place_clear)
enum pool_event { POOL_EVENT_LIFE, POOL_EVENT_REFRESH };

/* ---- volumes ---- */

struct volume *volume_new(const char *folder, const char *name);
struct volume *volume_ref(struct volume *v);
void volume_unref(struct volume *v);
typedef struct volume Volume; /* for g_autoptr alone */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Volume, volume_unref)
struct volume *pool_volume(const struct pool *p, const char *name);    /* NULL: none */
GVariant *volume_handle(const struct pool *p, const struct volume *v); /* type V, floating */
char *volume_xml(const struct volume *v);
/* The volume that arguments begin with (type V): its active pool, begun, and a reference of it. NULL: libvirt's words. */
struct pool *volume_of_args(struct call *call, GVariant *args, struct volume **ret, GError **error);
/* Its facts anew, from its file. */
bool volume_look(struct pool *p, struct volume *v, GError **error);
