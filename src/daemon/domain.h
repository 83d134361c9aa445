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
	struct domain_def *live; /* what runs; NULL: off */
	char *autodestroy;	 /* not NULL: ends with this client's connection */
	struct snapshots *snapshots;
	bool has_managed_save;

	enum domain_job job;
	bool long_job;		 /* beside job */
	GCond job_ended;
	gint64 job_began;	 /* monotonic, us */
	GVariant *job_stats;	 /* a(sv) of the long job or of the last one; NULL */

	char *last_error;	 /* why it ended, for domstate --reason and messages */
	void *own;		 /* the driver's, while it runs */
};

/* The definition that is stored (or of a transient domain: that runs), parsed if it was not. */
struct domain_def *domain_stored_def(struct domain *d, GError **error);
/* The one that runs, else the stored one. */
struct domain_def *domain_current_def(struct domain *d, GError **error);

struct domain *domain_ref(struct domain *d);
void domain_unref(struct domain *d);
typedef struct domain Domain; /* for g_autoptr alone */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Domain, domain_unref)

/* A reference, or NULL and VIR_ERR_NO_DOMAIN in libvirt's words. */
struct domain *domain_by_uuid(struct hv *hv, GVariant *uuid, GError **error);
/* Of the handle that a call's arguments begin with (type D). */
struct domain *domain_of_args(struct call *call, GVariant *args, GError **error);
GVariant *domain_handle(const struct domain *d); /* type D, floating */

/* Waits for its turn. domain_job_end() whatever happens; a domain that is gone meanwhile is VIR_ERR_NO_DOMAIN. */
bool domain_job_begin(struct domain *d, enum domain_job job, GError **error);
void domain_job_end(struct domain *d);
bool domain_require_active(const struct domain *d, GError **error); /* "domain is not running" */

/*
 * The state changes, the status file is written (store.h) and those who listen get the lifecycle event. event, detail: libvirt's
 * VIR_DOMAIN_EVENT_…; event -1: none. Also what a driver calls when the machine did something by itself.
 */
void domain_set_state(struct domain *d, enum domain_state state, int reason, int event, int detail);
/* It is off: live is dropped, id is -1, a transient one goes away. */
void domain_stopped(struct domain *d, int reason, int detail);
/* New or redefined: checks names and UUIDs as libvirt does. def is taken on success. */
struct domain *domain_define(struct hv *hv, struct domain_def *def, bool transient, GError **error);
