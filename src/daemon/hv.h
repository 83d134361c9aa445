/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hypervisor: what a URI opens. Its objects (domains, networks, pools, secrets) and libvirt's rules for them are the same for
 * all and live in src/daemon; what a driver does differently is its table of callbacks: "kv" runs machines of ours, "test" has
 * them in memory only. Drivers are rows of hv_drivers (drivers.c).
 *
 * All with the state lock held (call.h). Callbacks marked (waits) are called in a worker with the domain's job, and may let go of
 * the lock. A callback that is NULL makes its procedure answer VIR_ERR_NO_SUPPORT with the procedure's name.
 */
#pragma once
#include <gio/gio.h>
#include <libxml/tree.h>
#include <stdbool.h>

struct domain;
struct hv;
struct domain_def;

/* libvirt's. */
enum start_flags {
	START_PAUSED = 1 << 0,
	START_AUTODESTROY = 1 << 1,
	START_BYPASS_CACHE = 1 << 2,
	START_FORCE_BOOT = 1 << 3,
	START_VALIDATE = 1 << 4,
	START_RESET_NVRAM = 1 << 5,
};

struct hv_driver {
	const char *name;	      /* "kv" */
	const char *type;	      /* what connect_get_type says: "QEMU", "Test" */
	const char *const *schemes;   /* of URIs, ended by NULL */
	bool stored;		      /* definitions are files (store.h) */
	bool (*open)(struct hv *hv, const char *uri, GError **error);
	void (*close)(struct hv *hv);
	unsigned long (*version)(struct hv *hv); /* 1,000,000 major + 1,000 minor + micro */
	char *(*capabilities)(struct hv *hv);
	/* What is NULL is the default. */
	char *(*domain_capabilities)(struct hv *hv, const char *emulator, const char *arch, const char *machine,
				     const char *virt_type, GError **error);

	/* A definition that the machine cannot be made from is refused here, by the name of what is unsupported. */
	bool (*check)(struct hv *hv, const struct domain_def *def, GError **error);

	/* Life. On success the callback has set id, state, live def (domain_set_state()), which also tells those who listen. */
	/* (waits) restore_from: a saved state, or NULL. */
	bool (*start)(struct domain *d, unsigned flags, const char *restore_from, GError **error);
	bool (*destroy)(struct domain *d, bool graceful, GError **error); /* (waits) */
	bool (*suspend)(struct domain *d, GError **error); /* (waits) */
	bool (*resume)(struct domain *d, GError **error); /* (waits) */
	bool (*shutdown)(struct domain *d, unsigned modes, GError **error); /* (waits) */
	bool (*reboot)(struct domain *d, unsigned modes, GError **error); /* (waits) */
	bool (*reset)(struct domain *d, GError **error); /* (waits) */
	/* Its state to a file, in libvirt's meaning: it is off afterwards. xml: NULL or another definition to save with it. */
	/* (waits) */
	bool (*save)(struct domain *d, const char *path, const char *xml, unsigned flags, GError **error);

	/* Devices of a running machine; node is one device element. The live definition is changed by the caller on success. */
	bool (*attach)(struct domain *d, xmlNode *node, GError **error); /* (waits) */
	bool (*detach)(struct domain *d, xmlNode *node, GError **error); /* (waits) */
	bool (*update)(struct domain *d, xmlNode *before, xmlNode *after, GError **error); /* (waits) */
	bool (*set_memory)(struct domain *d, guint64 kib, GError **error); /* (waits) */
	bool (*set_vcpus)(struct domain *d, unsigned n, GError **error); /* (waits) */

	/* Information of a running one. stats: appends (sv) to a builder of a(sv), for groups of VIR_DOMAIN_STATS_…. */
	bool (*stats)(struct domain *d, unsigned groups, GVariantBuilder *out, GError **error); /* (waits) */
	guint64 (*cpu_time)(struct domain *d); /* ns; from /proc, at once */
	/*
	 * Of one device by its target's name: reads, bytes, writes, bytes, errors; received bytes, packets, errors, drops, and
	 * sent the same; capacity, allocation, physical.
	 */
	bool (*block_stats)(struct domain *d, const char *dev, gint64 ret[5], GError **error); /* (waits) */
	bool (*interface_stats)(struct domain *d, const char *dev, gint64 ret[8], GError **error); /* (waits) */
	bool (*block_info)(struct domain *d, const char *dev, guint64 ret[3], GError **error); /* (waits) */

	/* People. A descriptor that is the caller's; for a stream. */
	int (*open_console)(struct domain *d, const char *alias, unsigned flags, GError **error);
	int (*open_graphics)(struct domain *d, unsigned index, bool skip_auth, GError **error);
	int (*screenshot)(struct domain *d, unsigned screen, char **ret_mime, GError **error); /* (waits) */
	/* (waits) */
	bool (*send_key)(struct domain *d, unsigned codeset, unsigned hold_ms, const guint32 *keys, unsigned n, GError **error);
	bool (*inject_nmi)(struct domain *d, GError **error); /* (waits) */
	char *(*monitor)(struct domain *d, const char *command, unsigned flags, GError **error); /* (waits) */
	char *(*agent)(struct domain *d, const char *command, int timeout_s, GError **error); /* (waits) */

	/* Snapshots: what the machine and its disks do; the tree and its files are the daemon's. */
	bool (*snapshot_create)(struct domain *d, xmlDoc *snapshot, unsigned flags, GError **error); /* (waits) */
	bool (*snapshot_revert)(struct domain *d, xmlDoc *snapshot, unsigned flags, GError **error); /* (waits) */
	bool (*snapshot_delete)(struct domain *d, xmlDoc *snapshot, unsigned flags, GError **error); /* (waits) */

	/* Jobs on disks: dst is a disk's target or path. */
	/* (waits) */
	bool (*block_job)(struct domain *d, unsigned procedure, GVariant *args, GVariant **ret, GError **error);
	bool (*block_resize)(struct domain *d, const char *dev, guint64 bytes, GError **error); /* (waits) */
	bool (*abort_job)(struct domain *d, GError **error);
};

struct hv {
	int refs;
	const struct hv_driver *driver;
	char *uri;	       /* as connect_get_uri says */
	bool session;	       /* a user's own, not the system's */
	char *config_dir, *state_dir, *lib_dir; /* definitions; what runs; images, saved states. NULL where !stored */
	GHashTable *domains;   /* uuid as text -> struct domain */
	GHashTable *names;     /* name -> the same */
	struct networks *networks;
	struct pools *pools;
	struct secrets *secrets;
	struct events *events; /* events.h */
	void *own;	       /* the driver's */
};

extern const struct hv_driver *const hv_drivers[];
/* Opens or shares the hypervisor for a client's URI (NULL or "": the daemon's default). A reference. */
struct hv *hv_open(const char *uri, GError **error);
void hv_unref(struct hv *hv);
