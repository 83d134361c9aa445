/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain: its definitions, its state, and the job that changes it. All with the state lock held (call.h).
 *
 * One job at a time changes a domain; the handler that has it may wait (the lock is free meanwhile) and nobody else starts,
 * stops or redefines the domain until it ends. Jobs that take long (save, dump, snapshot with memory, migration: JOB_LONG) let
 * queries and what libvirt allows beside them (suspend, abort, destroy) in between. A handler that waits for 30 s for its turn
 * answers VIR_ERR_OPERATION_TIMEOUT, as libvirt's does.
 */
#pragma once
#include <gio/gio.h>
#include <stdbool.h>

#include "call.h"
#include "domain-def.h"
#include "hv.h"

enum domain_state {
	DOMAIN_NOSTATE,
	DOMAIN_RUNNING,
	DOMAIN_BLOCKED,
	DOMAIN_PAUSED,
	DOMAIN_SHUTDOWN,
	DOMAIN_SHUTOFF,
	DOMAIN_CRASHED,
	DOMAIN_PMSUSPENDED,
};
enum domain_job { JOB_NONE, JOB_QUERY, JOB_DESTROY, JOB_SUSPEND, JOB_MODIFY, JOB_ABORT, JOB_LONG };

struct domain {
	int refs;
	struct hv *hv;
	char *name;
	guint8 uuid[16];
	char uuid_text[37];
	int id;		 /* -1: not running */
	enum domain_state state;
	int reason;	 /* libvirt's, for the state */
	bool persistent, autostart, updated, gone;
	struct domain_def *def;	 /* stored, or of a transient one what runs; NULL until domain_stored_def() parses it */
	GList parsed;		 /* in hv->parsed; data NULL: it is not there */
	struct domain_def *live; /* what runs; NULL: off */
	guint64 autodestroy;	 /* ends with the connection of the client with this number; 0: with none */
	struct snapshots *snapshots;
	bool has_managed_save;

	enum domain_job job;
	bool long_job;		 /* beside job */
	GCond job_ended;
	gint64 job_began;	 /* monotonic, us */
	GVariant *job_stats;	 /* a(sv) of the long job or of the last one; NULL */

	int agent_timeout;	 /* seconds, or AGENT_BLOCK, AGENT_DEFAULT (hv.h) */
	char *last_error;	 /* why it ended, for domstate --reason and messages */
	void *own;		 /* the driver's, while it runs */
};

/* The definition that is stored (or of a transient domain: that runs), parsed if it was not. */
struct domain_def *domain_stored_def(struct domain *d, GError **error);
/*
 * Of domains that are off, without a job, and have files, all but those used last lose what was parsed: a thousand take no more
 * memory than a few. Called between calls (dispatch.c).
 */
void domains_trim(struct hv *hv);
/* The one that runs, else the stored one. */
struct domain_def *domain_current_def(struct domain *d, GError **error);

struct domain *domain_ref(struct domain *d);
void domain_unref(struct domain *d);
typedef struct domain Domain; /* for g_autoptr alone */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Domain, domain_unref)

/* Of the handle that a call's arguments begin with (type D): a reference, or NULL and VIR_ERR_NO_DOMAIN in libvirt's words. */
struct domain *domain_of_args(struct call *call, GVariant *args, GError **error);
struct domain *domain_of_handle(struct hv *hv, GVariant *handle, GError **error);
bool domain_fits(const struct domain *d, unsigned list_flags); /* VIR_CONNECT_LIST_DOMAINS_… */
static inline bool domain_is_active(const struct domain *d)
{
	return d->id >= 0;
}
GVariant *domain_handle(const struct domain *d); /* type D, floating */

/*
 * Waits for its turn; a domain that is gone meanwhile is VIR_ERR_NO_DOMAIN. On true, domain_job_end(d, the same job) whatever
 * happens.
 */
bool domain_job_begin(struct domain *d, enum domain_job job, GError **error);
void domain_job_end(struct domain *d, enum domain_job job);
/*
 * What most handlers are: the domain that the arguments name, its job, perhaps that it must run, and then func. The job is over
 * when func returns.
 */
typedef bool domain_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error);
bool domain_with_job(struct call *call, GVariant *args, GVariant **ret, GError **error, enum domain_job job, bool active,
		     domain_func *func);
bool domain_require_active(const struct domain *d, GError **error); /* "domain is not running" */
bool domain_unblock(struct domain *d); /* (waits) before JOB_DESTROY; hv.h */

/*
 * The state changes, the status file is written (store.h) and those who listen get the lifecycle event. event, detail: libvirt's
 * VIR_DOMAIN_EVENT_…; event -1: none. Also what a driver calls when the machine did something by itself.
 */
void domain_set_state(struct domain *d, enum domain_state state, int reason, int event, int detail);
/* It is off: live is dropped, id is -1, a transient one goes away. */
void domain_stopped(struct domain *d, int reason, int detail);
/* New or redefined: checks names and UUIDs as libvirt does. def is taken on success. Tells nobody. A reference. */
struct domain *domain_define(struct hv *hv, struct domain_def *def, bool transient, GError **error);
/*
 * One whose definition is stored, and read by the driver's load() when it is asked for; the lists' reference. NULL: no UUID, or
 * name or UUID are another's.
 */
struct domain *domain_known(struct hv *hv, const char *name, const char *uuid);
/* Out of the lists: nobody finds it any more. */
void domain_forget(struct domain *d);
/* The stored definition was changed: it is written where the driver stores such. */
bool domain_store(struct domain *d, GError **error);
/* *def becomes that if it can be read again, and is written; it is taken then. On failure all is as it was. */
bool domain_store_as(struct domain *d, struct domain_def **def, GError **error);
/* Where its managed save is, to be freed; NULL: its driver has no files. */
char *domain_managed_path(const struct domain *d);
/* domain-life.c: starts it, from its managed save if there is one and flags do not say otherwise; with a job. */
bool domain_start(struct domain *d, unsigned flags, GError **error);
/* To be started now, transient unless it is defined: with its job begun, *def taken on success. A reference. */
struct domain *domain_define_for_once(struct hv *hv, struct domain_def **def, enum domain_job job, GError **error);
/* Handlers that a driver may put its own words before (domain-life.c). */
handler_func domain_suspend, domain_resume, domain_shutdown, domain_reboot;
handler_func domain_interface_addresses; /* domain-interface.c: of what the host knows */
/* The same (domain-size.c). */
handler_func domain_set_vcpus, domain_get_vcpus;
/* A device that a guest has let go of: out of the live definition, and those who listen are told. */
void domain_device_left(struct domain *d, const char *alias);
void domain_event_lifecycle(struct domain *d, int event, int detail);

/* libvirt's VIR_DOMAIN_EVENT_…, and what is told with them. */
enum lifecycle_event {
	LIFE_DEFINED,
	LIFE_UNDEFINED,
	LIFE_STARTED,
	LIFE_SUSPENDED,
	LIFE_RESUMED,
	LIFE_STOPPED,
	LIFE_SHUTDOWN,
	LIFE_PMSUSPENDED,
	LIFE_CRASHED,
};
enum { DEFINED_ADDED, DEFINED_UPDATED, DEFINED_RENAMED, DEFINED_FROM_SNAPSHOT };
enum { UNDEFINED_REMOVED, UNDEFINED_RENAMED };
enum { STARTED_BOOTED, STARTED_MIGRATED, STARTED_RESTORED, STARTED_FROM_SNAPSHOT, STARTED_WAKEUP };
enum { SUSPENDED_PAUSED, SUSPENDED_MIGRATED, SUSPENDED_IOERROR, SUSPENDED_WATCHDOG, SUSPENDED_RESTORED, SUSPENDED_FROM_SNAPSHOT };
enum { RESUMED_UNPAUSED, RESUMED_MIGRATED, RESUMED_FROM_SNAPSHOT };
enum {
	STOPPED_SHUTDOWN,
	STOPPED_DESTROYED,
	STOPPED_CRASHED,
	STOPPED_MIGRATED,
	STOPPED_SAVED,
	STOPPED_FAILED,
	STOPPED_FROM_SNAPSHOT,
};
enum { CRASHED_PANICKED, CRASHED_CRASHLOADED };
enum { SHUTDOWN_FINISHED, SHUTDOWN_GUEST, SHUTDOWN_HOST };
/* Reasons of states. */
enum {
	RUNNING_UNKNOWN,
	RUNNING_BOOTED,
	RUNNING_MIGRATED,
	RUNNING_RESTORED,
	RUNNING_FROM_SNAPSHOT,
	RUNNING_UNPAUSED,
	RUNNING_MIGRATION_CANCELED,
	RUNNING_SAVE_CANCELED,
	RUNNING_WAKEUP,
	RUNNING_CRASHED,
};
enum {
	PAUSED_UNKNOWN,
	PAUSED_USER,
	PAUSED_MIGRATION,
	PAUSED_SAVE,
	PAUSED_DUMP,
	PAUSED_IOERROR,
	PAUSED_WATCHDOG,
	PAUSED_FROM_SNAPSHOT,
	PAUSED_SHUTTING_DOWN,
	PAUSED_SNAPSHOT,
	PAUSED_CRASHED,
	PAUSED_STARTING_UP,
};
enum {
	SHUTOFF_UNKNOWN,
	SHUTOFF_SHUTDOWN,
	SHUTOFF_DESTROYED,
	SHUTOFF_CRASHED,
	SHUTOFF_MIGRATED,
	SHUTOFF_SAVED,
	SHUTOFF_FAILED,
	SHUTOFF_FROM_SNAPSHOT,
	SHUTOFF_DAEMON,
};

/* VIR_DOMAIN_AFFECT_…: which of the two definitions a call is about. */
enum { AFFECT_CURRENT = 0, AFFECT_LIVE = 1, AFFECT_CONFIG = 2 };
/* CURRENT becomes one of the others; what there is not is refused in libvirt's words. */
bool domain_affects(const struct domain *d, unsigned *flags, GError **error);
