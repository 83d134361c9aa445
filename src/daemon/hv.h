/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hypervisor: what a URI opens. Its objects (domains, networks, pools) and libvirt's rules for them are the same for
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

#include "objects.h"

struct client;
struct entry;
struct registry;
struct pool_backend;
struct pool_files;
struct secrets;
struct handler;
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
	START_RUNNING = 1 << 16, /* ours: of a saved state that says paused */
	START_BESIDE = 1 << 17,	 /* ours: from nothing, and a managed save stays (create) */
};

/* libvirt's: how long a guest's agent is waited for. */
enum { AGENT_BLOCK = -2, AGENT_DEFAULT = -1 };

/* Beside groups of statistics: what is known without asking the machine. */
#define HV_STATS_NOW (1u << 30)

enum { PIN_EMULATOR = -1 };
struct hv_vcpu {
	guint64 time;	/* ns */
	int processor;	/* of the host, where it was last */
	guint8 map[512]; /* where it may be */
};

struct hv_driver {
	const char *name;	      /* "kv" */
	const char *prefix;	      /* of functions in messages: "qemu", for "in function qemuDomainReset" */
	const char *type;	      /* what connect_get_type says: "QEMU", "Test" */
	const char *const *schemes;   /* of URIs, ended by NULL */
	bool stored;		      /* definitions are files (store.h) */
	/* Tables of procedures that it answers in its own way, in the place of everybody's (call.h), ended by NULL; or NULL. */
	const struct handler *const *handlers;
	bool (*open)(struct hv *hv, const char *uri, GError **error);
	void (*close)(struct hv *hv);
	void (*leave)(struct hv *hv); /* the daemon ends, and what runs goes on; NULL: nothing is to be done */
	unsigned long (*version)(struct hv *hv); /* 1,000,000 major + 1,000 minor + micro */
	char *(*capabilities)(struct hv *hv);
	/* What is NULL is the default. */
	char *(*domain_capabilities)(struct hv *hv, const char *emulator, const char *arch, const char *machine,
				     const char *virt_type, GError **error);

	int max_vcpus;
	/* Flags for domain_def_parse(): what the machine can, or all of the schema. */
	unsigned def_flags;
	/* A definition that the machine cannot be made from is refused here, by the name of what is unsupported. */
	bool (*check)(struct hv *hv, const struct domain_def *def, GError **error);

	/*
	 * Where definitions are files: the stored one and autostart are written or removed, what runs is noted; load: sets
	 * d->def of one that was not read yet. NULL: in memory only.
	 */
	bool (*load)(struct domain *d, GError **error);
	bool (*store)(struct domain *d, GError **error); /* (waits) */
	bool (*unstore)(struct domain *d, GError **error); /* (waits) */
	void (*store_status)(struct domain *d);
	/* What else goes with a definition: firmware variables, as VIR_DOMAIN_UNDEFINE_… flags say. */
	bool (*undefine)(struct domain *d, unsigned flags, GError **error); /* (waits) */
	/* It gets another name: what is found by it, of one that is off. Never over what is there. NULL: nothing is. */
	bool (*move)(struct domain *d, const char *from, const char *to, GError **error);

	/*
	 * Life. On success the callback has set id, state, live def (domain_set_state(), domain_stopped()), which also tells
	 * those who listen.
	 */
	/*
	 * (waits) restore_from: a saved state, or NULL. What runs is d->live if that is there already (then it is not the stored
	 * one's copy: create, restore), else a copy of d->def; on failure d->live is the caller's to drop.
	 */
	bool (*start)(struct domain *d, unsigned flags, const char *restore_from, GError **error);
	bool (*destroy)(struct domain *d, bool graceful, GError **error); /* (waits) */
	/*
	 * (waits) Somebody has the job of a domain that is to be destroyed, perhaps for as long as its machine does not answer:
	 * then that is killed, true, and will have been destroyed. NULL: its calls do not wait for a machine.
	 */
	bool (*unblock)(struct domain *d);
	bool (*suspend)(struct domain *d, GError **error); /* (waits) */
	bool (*resume)(struct domain *d, GError **error); /* (waits) */
	bool (*shutdown)(struct domain *d, unsigned modes, GError **error); /* (waits) */
	bool (*reboot)(struct domain *d, unsigned modes, GError **error); /* (waits) */
	bool (*reset)(struct domain *d, GError **error); /* (waits) */
	/*
	 * Its state to a file, in libvirt's meaning: it is off afterwards. xml: NULL or another definition to save with it. path
	 * NULL: the managed one of a driver without files (domain_managed_path()). With JOB_LONG.
	 */
	/* (waits) */
	bool (*save)(struct domain *d, const char *path, const char *xml, unsigned flags, GError **error);
	/* Of a saved state: its definition, to be freed, and another one in its place. */
	char *(*saved_xml)(struct hv *hv, const char *path, GError **error); /* (waits) */
	bool (*set_saved_xml)(struct hv *hv, const char *path, const char *xml, GError **error); /* (waits) */
	/* Memory to a file, for debuggers: libvirt's VIR_DUMP_… flags and format. With JOB_LONG. */
	bool (*dump)(struct domain *d, const char *path, unsigned format, unsigned flags, GError **error); /* (waits) */

	/* Devices of a running machine; node is one device element. The live definition is changed by the caller on success. */
	bool (*attach)(struct domain *d, xmlNode *node, GError **error); /* (waits) */
	/* (waits) *ret_later: the guest has not agreed yet; domain_device_left() is called when it has. */
	bool (*detach)(struct domain *d, xmlNode *node, bool *ret_later, GError **error);
	bool (*update)(struct domain *d, xmlNode *before, xmlNode *after, GError **error); /* (waits) */
	bool (*set_memory)(struct domain *d, guint64 kib, GError **error); /* (waits) */
	bool (*set_vcpus)(struct domain *d, unsigned n, GError **error); /* (waits) */
	/* In its place where vCPUs come and go one by one. (waits) */
	bool (*set_vcpu)(struct domain *d, unsigned index, bool on, GError **error);

	/*
	 * Information. stats: appends (sv) to a builder of a(sv), for groups of VIR_DOMAIN_STATS_… but its state, as libvirt
	 * names them; with a job, or with HV_STATS_NOW and without one: then it does not wait (what is off, NOWAIT).
	 */
	bool (*stats)(struct domain *d, unsigned groups, GVariantBuilder *out, GError **error); /* (waits) */
	guint64 (*cpu_time)(struct domain *d); /* ns; from /proc, at once; also asked of one that is off */
	/*
	 * Of one device by its target's name: reads, bytes, writes, bytes, errors; received bytes, packets, errors, drops, and
	 * sent the same; capacity, allocation, physical.
	 */
	bool (*block_stats)(struct domain *d, const char *dev, gint64 ret[5], GError **error); /* (waits) */
	bool (*interface_stats)(struct domain *d, const char *dev, gint64 ret[8], GError **error); /* (waits) */
	bool (*block_info)(struct domain *d, const char *dev, guint64 ret[3], GError **error); /* (waits) */

	/*
	 * Processors and limits. vcpus: what each of the first n of a running machine does now. pin: one bit a host processor; of
	 * a vCPU or, with PIN_EMULATOR, of all else. tune: limits of a running machine become those that def has: all of
	 * cputune's shares, periods and quotas, memtune and blkiotune. tuned: what the kernel has for an element
	 * ("cputune/shares"), false if nothing of the kind.
	 */
	bool (*vcpus)(struct domain *d, struct hv_vcpu *ret, unsigned n, GError **error); /* (waits) */
	bool (*pin)(struct domain *d, int vcpu, const guint8 *map, gsize len, GError **error); /* (waits) */
	bool (*tune)(struct domain *d, const struct domain_def *def, GError **error); /* (waits) */
	bool (*tuned)(struct domain *d, const char *path, gint64 *ret);
	bool (*cpu_times)(struct domain *d, guint64 ret[2]); /* user, system: ns; false: not running */

	/* People. A descriptor that is the caller's; for a stream. */
	int (*open_console)(struct domain *d, const char *alias, unsigned flags, GError **error);
	int (*open_channel)(struct domain *d, const char *name, unsigned flags, GError **error);
	int (*open_graphics)(struct domain *d, unsigned index, bool skip_auth, GError **error);
	int (*screenshot)(struct domain *d, unsigned screen, char **ret_mime, GError **error); /* (waits) */
	/* (waits) */
	bool (*send_key)(struct domain *d, unsigned codeset, unsigned hold_ms, const guint32 *keys, unsigned n, GError **error);
	bool (*inject_nmi)(struct domain *d, GError **error); /* (waits) */
	char *(*monitor)(struct domain *d, const char *command, unsigned flags, GError **error); /* (waits) */
	/*
	 * A command of the guest's agent and its whole answer, as JSON. timeout: seconds, or AGENT_BLOCK, AGENT_DEFAULT. In a
	 * worker without the domain's job.
	 */
	char *(*agent)(struct domain *d, const char *command, int timeout, GError **error);

	/*
	 * Snapshots: what the machine and its disks do; the tree is the daemon's. snapshot is complete (snapshot-xml.c), and may
	 * be changed. snapshot_flags: the SNAPSHOT_… of creating that it knows. store_snapshots: all of them and which is the
	 * current one, or none, are written, as one file; NULL: in memory only. After a failure the driver has taken back what it
	 * did, or has noted it as pending (snapshots.h). The tree is changed by the caller when a callback has succeeded.
	 */
	unsigned snapshot_flags;
	bool (*store_snapshots)(struct domain *d, GError **error); /* (waits) */
	bool (*snapshot_create)(struct domain *d, xmlDoc *snapshot, unsigned flags, GError **error); /* (waits) */
	bool (*snapshot_revert)(struct domain *d, xmlDoc *snapshot, unsigned flags, GError **error); /* (waits) */
	bool (*snapshot_delete)(struct domain *d, xmlDoc *snapshot, unsigned flags, GError **error); /* (waits) */

	/* Jobs on disks: dst is a disk's target or path. */
	/* (waits) */
	bool (*block_job)(struct domain *d, unsigned procedure, GVariant *args, GVariant **ret, GError **error);
	bool (*block_resize)(struct domain *d, const char *dev, guint64 bytes, GError **error); /* (waits) */
	bool (*abort_job)(struct domain *d, GError **error);

	/*
	 * Devices and interfaces of the host, as struct host_object (host-devices.h), anew each time. NULL: there are no such
	 * procedures.
	 */
	GPtrArray *(*node_devices)(struct hv *hv);
	GPtrArray *(*interfaces)(struct hv *hv);
	const struct pool_backend *storage; /* storage/pools.h; NULL: no pools */
	bool test_rules; /* libvirt's test driver has some of its own for networks and pools */
	/* Networks, with their entry of hv->networks. NULL: in memory, all of them work at once. check: also what one becomes. */
	bool (*network_check)(struct hv *hv, xmlDoc *doc, GError **error);
	bool (*network_start)(struct hv *hv, struct entry *e, GError **error);
	bool (*network_stop)(struct hv *hv, struct entry *e, GError **error);
	/* What is active of it has changed: noted, for a daemon that comes back. */
	void (*network_status)(struct hv *hv, struct entry *e);
	unsigned (*network_connections)(struct hv *hv, const struct entry *e); /* cards that have it now */
	/* Appends (sximsmssumsms), as network_get_dhcp_leases; mac: of that card alone, or NULL. */
	/* (waits) */
	bool (*network_leases)(struct hv *hv, struct entry *e, const char *mac, GVariantBuilder *out, GError **error);
	/* Appends (smsa(isu)), as domain_interface_addresses, from VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_…. */
	bool (*interface_addresses)(struct domain *d, unsigned source, GVariantBuilder *out, GError **error); /* (waits) */
	/* The definition of a network or pool is written; xml NULL: removed. NULL: in memory only. */
	bool (*store_object)(struct hv *hv, enum object_kind kind, const char *name, const char *uuid, const char *xml,
			     bool autostart, GError **error);
};

struct hv {
	int refs;
	const struct hv_driver *driver;
	char *uri;	       /* as connect_get_uri says */
	bool session;	       /* a user's own, not the system's */
	char *config_dir, *state_dir, *lib_dir; /* definitions; what runs; images, saved states. NULL where !stored */
	GHashTable *domains;   /* uuid as text -> struct domain */
	GHashTable *names;     /* name -> the same */
	GQueue parsed;	       /* domains whose stored definition can be read again, the one used last at the end (domain.h) */
	int last_id;
	struct registry *networks, *pools; /* registry.h */
	struct pool_files *pool_files; /* storage/pool-load.c's */
	struct secrets *secrets;       /* secrets.h; NULL: a driver without files has none */
	void *own;	       /* the driver's */
};

extern const struct hv_driver *const hv_drivers[];
/* Opens or shares the hypervisor for a client's URI (NULL or "": the daemon's default). A reference. */
struct hv *hv_open(const char *uri, GError **error);
struct hv *hv_ref(struct hv *hv);
void hv_unref(struct hv *hv);
/* A client that had it open is gone: domains that end with its connection do so. */
void hv_client_gone(struct hv *hv, const struct client *client);

/* The daemon's own: which URI is meant by none, and whose domains it has. Set once by main.c. */
void hv_set_default(bool session, const char *uri);
/* Opens the default and keeps it; what is to start with the daemon does, in workers. false and *error: it cannot be opened. */
bool hv_keep_default(GError **error);
void hv_drop_default(void);
bool hv_has_active(void); /* of the default: a machine that runs */
bool hv_is_session(void);
/* Is this the first time since the host's boot that what this name stands for ("networks-started") is done? */
bool hv_first_since_boot(const struct hv *hv, const char *name);
