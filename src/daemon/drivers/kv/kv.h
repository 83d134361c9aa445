/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver that runs machines of ours: each is a process kv-vmm with a QMP socket, which lives on when the daemon ends. What
 * the daemon needs to find it again is in its status file. All with the state lock held; functions that ask the machine are for
 * workers, and let go of the lock while they wait. Inside of this folder; others see the table kv_driver alone.
 */
#pragma once
#include <sys/types.h>

#include "call.h"
#include "qmp-client.h"
#include "command.h"
#include "domain-def.h"
#include "domain.h"
#include "error.h"
#include "model-xml.h"
#include "store.h"

/* hv->own */
struct kv_hv {
	struct store *store, *status, *snapshots;
	struct store *networks, *networks_active; /* network.c */
	char *vmm;	 /* path of the program */
	char *log_dir;
};

/* domain->own while it runs. */
struct kv_machine {
	struct domain *d; /* no reference: the domain has this */
	struct qmp_client *qmp; /* NULL: not connected (yet) */
	int refs; /* who waits inside of a call, and the domain */
	pid_t pid;
	guint64 started; /* its start in ticks, as in /proc/PID/stat: tells it from a later one with its number */
	char *run;	 /* folder of its sockets */
	char *cgroup;	 /* its own, for limits; NULL: it is where the daemon is, or nobody has asked */
	char *log;
	off_t log_at;	 /* where its own words begin */
	bool starting;	 /* nothing is told yet */
	bool ending;	 /* whoever ends it tells what became of it */
	bool panicked;
	bool restarts;	 /* on_crash: it is started anew */
	bool tuned;	 /* its threads are where the definition has them */
	bool fake_reboot; /* a shutdown that is to become a start */
	int pause_reason; /* of the next STOP; PAUSED_UNKNOWN: the guest's or somebody else's doing */
	char *shutdown;	 /* the reason that SHUTDOWN gave; NULL: none came */
	bool gone;
	bool end_awaited; /* by somebody who has the domain's job */
	bool destroyed;	  /* kv_unblock() has killed it */
	GCond changed; /* gone, or a device was deleted */
	bool dumping;	       /* its monitor answers when it is done */
	GPtrArray *block_jobs; /* block-job.h; NULL: none yet */
	int agent_fd;	  /* its agent's port; -1: not connected */
	bool agent_busy;  /* somebody asks */
	unsigned resets;  /* how many there were */
	GHashTable *addresses; /* of cards of networks: MAC address -> what DHCP gives; NULL: none */
	char *leaving;	  /* the device that somebody waits for to go; NULL: it has gone, or nobody waits */
};

/* ---- driver.c ---- */
struct kv_machine *kv_machine_of(struct domain *d, GError **error); /* a running, connected one; VIR_ERR_OPERATION_INVALID */
struct kv_machine *kv_machine_new(struct domain *d);
struct kv_machine *kv_machine_ref(struct kv_machine *m);
void kv_machine_unref(struct kv_machine *m);
void kv_paths(const struct kv_hv *kv, const struct hv *hv, const struct kv_machine *m, struct command_paths *ret);
char *kv_log_path(const struct domain *d);

/* ---- process.c ---- */
/* Starts argv in a session of its own, its output behind what the log has. extra: a descriptor it gets as 3, or -1. */
bool kv_process_start(struct kv_machine *m, char **argv, int extra, GError **error);
bool kv_process_is_alive(const struct kv_machine *m);
void kv_process_kill(const struct kv_machine *m, int signal);
/* (waits) Until it is gone, or false when it is that late. */
bool kv_process_wait_end(const struct kv_machine *m, gint64 until);
/*
 * (waits) For its monitor, and until that is negotiated (greeted; 0: however late). What it wrote last is the error's text if it
 * ends.
 */
bool kv_process_connect(struct kv_machine *m, gint64 until, gint64 greeted, GError **error);
void kv_process_clean_up(struct kv_machine *m); /* its folder */

/* ---- ask.c ---- */
/* (waits) A command; args are taken over. Errors are libvirt's. */
JsonNode *kv_ask(struct kv_machine *m, const char *command, JsonObject *args, GError **error);
JsonNode *kv_ask_until(struct kv_machine *m, const char *command, JsonObject *args, int fd, gint64 until, GError **error);
JsonNode *kv_ask_fd(struct kv_machine *m, const char *command, JsonObject *args, int fd, GError **error);
bool kv_do(struct kv_machine *m, const char *command, JsonObject *args, GError **error); /* without an answer */
/* An object of string members: "id", "x", "driver", "y", NULL. What is NULL is left out. */
JsonObject *kv_args(const char *name, ...) G_GNUC_NULL_TERMINATED;
/* Members of an answer, which may be anything. */
JsonObject *kv_object(JsonNode *node);
JsonArray *kv_array(JsonNode *node);
JsonObject *kv_object_in(JsonObject *o, const char *name);
const char *kv_text_in(JsonObject *o, const char *name);
gint64 kv_number_in(JsonObject *o, const char *name);
bool kv_flag_in(JsonObject *o, const char *name);

/* ---- events.c ---- */
extern const struct qmp_client_ops kv_client_ops;
/* It has ended: the domain is off, for the reason that is known. */
void kv_machine_ended(struct kv_machine *m);

/* ---- life.c ---- */
/* What a machine begins with; all NULL: its firmware. */
struct kv_origin {
	const char *saved;  /* saved.c's */
	const char *memory; /* a file of kv-vmm's alone */
	bool snapshot;	    /* what is told: from a snapshot */
};
bool kv_start_from(struct domain *d, unsigned flags, const struct kv_origin *origin, GError **error);
bool kv_start(struct domain *d, unsigned flags, const char *restore_from, GError **error);
bool kv_destroy(struct domain *d, bool graceful, GError **error);
bool kv_unblock(struct domain *d);
bool kv_suspend(struct domain *d, GError **error);
bool kv_resume(struct domain *d, GError **error);
bool kv_shutdown(struct domain *d, unsigned modes, GError **error);
bool kv_reboot(struct domain *d, unsigned modes, GError **error);
bool kv_reset(struct domain *d, GError **error);
void kv_start_again(struct domain *d); /* later, in a worker */
/* (waits) Ends the process, however it takes. */
void kv_kill(struct kv_machine *m, bool graceful);

/* ---- live.c: what the machine says about itself becomes a part of the definition ---- */
bool kv_learn(struct kv_machine *m, GError **error); /* (waits) */
/* Free ones for what asks for any; nobody else chooses them until the answer is freed: when the machine listens. NULL: none. */
GArray *kv_choose_ports(struct domain *d, struct domain_def *def, GError **error);
void kv_name_sockets(struct kv_machine *m, struct domain_def *def, const struct command_paths *paths);
/* (waits) What a command line cannot say: passwords, memory, cables. */
bool kv_arrange(struct kv_machine *m, GError **error);
xmlNode *kv_device_by_alias(const struct domain_def *def, const char *kind, const char *alias);

/* ---- status.c ---- */
void kv_store_status(struct domain *d);
/* (waits) Connects to a machine whose monitor is closed. true: it is open again, and tells of its end anew. */
bool kv_regain(struct kv_machine *m);
bool kv_store_starting(struct kv_machine *m, GError **error); /* before it runs: one that nobody would find does not start */
void kv_load_status(struct hv *hv); /* those that ran; they are connected to by workers */

/* ---- orphans.c ---- */
void kv_end_orphans(struct hv *hv); /* after kv_load_status() */

/* ---- stats.c ---- */
bool kv_stats(struct domain *d, unsigned groups, GVariantBuilder *out, GError **error);
guint64 kv_cpu_time(struct domain *d);
bool kv_cpu_times(struct domain *d, guint64 ret[2]); /* user, system */
bool kv_block_stats(struct domain *d, const char *dev, gint64 ret[5], GError **error);
bool kv_block_info(struct domain *d, const char *dev, guint64 ret[3], GError **error);

/* ---- network.c ---- */
bool kv_networks_open(struct hv *hv, GError **error);
void kv_networks_close(struct kv_hv *kv);
bool kv_network_check(struct hv *hv, xmlDoc *doc, GError **error);
bool kv_network_store(struct hv *hv, const char *name, const char *uuid, const char *xml, bool autostart, GError **error);
void kv_network_status(struct hv *hv, struct entry *e);
unsigned kv_network_connections(struct hv *hv, const struct entry *e);
/* command_paths.network, with the machine as its opaque: the network has to be active. */
bool kv_network_words(void *machine, const xmlNode *interface, GPtrArray *ret, GError **error);
void kv_note_address(struct kv_machine *m, const char *mac, const char *address);
void kv_name_card(struct hv *hv, xmlNode *interface); /* as a bridge would have it: clients look for that */

/* ---- leases.c ---- */
bool kv_interface_stats(struct domain *d, const char *dev, gint64 ret[8], GError **error);
void kv_add_cards(struct kv_machine *m, GVariantBuilder *out); /* (waits) statistics of all of them */
bool kv_network_leases(struct hv *hv, struct entry *e, const char *mac, GVariantBuilder *out, GError **error);
char *kv_lease_name(struct domain *d, GError **error); /* (waits) the host name of its first lease that has one */
bool kv_interface_addresses(struct domain *d, unsigned source, GVariantBuilder *out, GError **error);

/* ---- people.c ---- */
int kv_open_console(struct domain *d, const char *alias, unsigned flags, GError **error);
int kv_open_channel(struct domain *d, const char *name, unsigned flags, GError **error);
int kv_open_graphics(struct domain *d, unsigned index, bool skip_auth, GError **error);
int kv_screenshot(struct domain *d, unsigned screen, char **ret_mime, GError **error);
bool kv_send_key(struct domain *d, unsigned codeset, unsigned hold_ms, const guint32 *keys, unsigned n, GError **error);
bool kv_inject_nmi(struct domain *d, GError **error);
char *kv_monitor(struct domain *d, const char *command, unsigned flags, GError **error);

int kv_connect_unix(const char *path, GError **error); /* a socket that does not block; -1 */

/* ---- agent.c; all without the domain's job ---- */
/* What a command does beside answering; one that did it may not answer any more. */
enum agent_end { AGENT_ANSWERS, AGENT_SHUTS_DOWN, AGENT_RESETS, AGENT_SUSPENDS };
bool kv_agent_is_there(const struct domain *d); /* the guest has opened its port */
/* (waits) The whole answer; its error is ours. timeout: as hv.h's. Null: there is none since the guest did what it was told. */
JsonNode *kv_agent_ask(struct domain *d, JsonNode *command, int timeout, enum agent_end end, GError **error);
/* (waits) What a command returns; args are taken over. */
JsonNode *kv_agent_call(struct domain *d, const char *name, JsonObject *args, enum agent_end end, GError **error);
char *kv_agent(struct domain *d, const char *command, int timeout, GError **error); /* (waits) */
void kv_agent_close(struct kv_machine *m);
/* ---- agent-calls.c, agent-power.c ---- */
extern const struct handler kv_agent_handlers[], kv_agent_power_handlers[];

/* ---- block-*.c: see block-job.h ---- */
bool kv_block_job(struct domain *d, unsigned procedure, GVariant *args, GVariant **ret, GError **error);
bool kv_block_resize(struct domain *d, const char *name, guint64 bytes, GError **error);
bool kv_has_block_jobs(const struct kv_machine *m);
void kv_block_job_status(struct kv_machine *m, const char *id, const char *status); /* an event's; ids of others are fine */
/* Elements of the status file; what became of those that a daemon before us has begun (waits). */
void kv_block_jobs_format(const struct kv_machine *m, GString *out);
void kv_block_jobs_load(struct kv_machine *m, const xmlNode *status);
void kv_block_jobs_reconnect(struct kv_machine *m);
/* A disk's image, or that of a <backingStore>. */
const char *kv_disk_file(const xmlNode *disk); /* NULL: none, or not a file's or device's */
void kv_disk_set_source(xmlNode *disk, const char *file);
void kv_disk_set_file(xmlNode *disk, const char *file, const char *format);
/* (waits) The running definition's files and what they stand on, by the machine's word. */
bool kv_learn_chains(struct kv_machine *m, GError **error);

/* ---- hotplug.c ---- */
bool kv_attach(struct domain *d, xmlNode *node, GError **error);
bool kv_detach(struct domain *d, xmlNode *node, bool *ret_later, GError **error);
void kv_remove_backends(struct kv_machine *m, const char *alias); /* later, in a worker */
bool kv_update(struct domain *d, xmlNode *before, xmlNode *after, GError **error);
/* card.c: (waits) */
bool kv_update_card(struct kv_machine *m, const xmlNode *before, xmlNode *after, GError **error);
bool kv_set_memory(struct domain *d, guint64 kib, GError **error);
bool kv_set_vcpu(struct domain *d, unsigned index, bool on, GError **error); /* hotplug-vcpu.c */
bool kv_vcpu_left(struct kv_machine *m, JsonObject *data); /* DEVICE_DELETED: it was one */

/* ---- scope.c ---- */
/* (waits) Under systemd the process that has just started gets a unit of its own; what fails is told in the log. */
void kv_scope_start(const struct kv_machine *m);

/* ---- tune.c ---- */
struct kv_policy {
	int policy; /* MPOL_…; 0: the process's own */
	guint64 nodes[16];
};
bool kv_memory_policy(const xmlNode *domain, struct kv_policy *ret, GError **error); /* numatune */
void kv_set_policy(const struct kv_policy *p);					       /* in the child, before its program */
/* (waits) Limits of its live definition, before it runs; and what has to do with vCPUs' threads, which are there when it runs. */
bool kv_tune_start(struct kv_machine *m, GError **error);
bool kv_tune_run(struct kv_machine *m, GError **error);
/* As all: one that came has what the definition says of it; one that is gone has its group no longer. */
bool kv_tune_vcpu(struct kv_machine *m, unsigned vcpu, GError **error); /* (waits) */
void kv_tune_vcpu_left(struct kv_machine *m, unsigned vcpu);
void kv_tune_found(struct kv_machine *m); /* it was there before the daemon */
void kv_tune_end(struct kv_machine *m);
bool kv_vcpus(struct domain *d, struct hv_vcpu *ret, unsigned n, GError **error);
bool kv_pin(struct domain *d, int vcpu, const guint8 *map, gsize len, GError **error);
bool kv_tune(struct domain *d, const struct domain_def *def, GError **error);
bool kv_tuned(struct domain *d, const char *path, gint64 *ret);

/* ---- saved.c ---- */
bool kv_save(struct domain *d, const char *path, const char *xml, unsigned flags, GError **error);
char *kv_saved_xml(struct hv *hv, const char *path, GError **error);
bool kv_set_saved_xml(struct hv *hv, const char *path, const char *xml, GError **error);
/* (waits) Its state to a descriptor, as job says it is for. */
enum kv_job { KV_JOB_SAVE = 2, KV_JOB_SNAPSHOT = 6, KV_JOB_DUMP = 8 }; /* libvirt's VIR_DOMAIN_JOB_OPERATION_… */
bool kv_migrate_to(struct kv_machine *m, int fd, enum kv_job job, GError **error);
/* A descriptor behind the header, whether it ran, for --incoming; -1 on error. */
int kv_open_saved(const char *path, bool *ret_running, GError **error);
bool kv_saved_is_part(const char *path); /* it was cut short */
void kv_end_saved(struct kv_machine *m); /* (waits) all of it is saved */
/* Away with what a save or a dump that failed has begun; a device or a FIFO stays. */
void kv_remove_output(int fd, const char *path);

/* ---- snapshot*.c: see snapshot.h ---- */
bool kv_store_snapshots(struct domain *d, GError **error);
void kv_load_snapshots(struct hv *hv);
void kv_forget_snapshots(struct domain *d);
bool kv_snapshot_settle(struct domain *d, GError **error);
bool kv_snapshot_is_pending(const struct domain *d, const char *what, const char *name); /* name NULL: any */
bool kv_snapshot_create(struct domain *d, xmlDoc *doc, unsigned flags, GError **error);
bool kv_snapshot_revert(struct domain *d, xmlDoc *doc, unsigned flags, GError **error);
bool kv_snapshot_delete(struct domain *d, xmlDoc *doc, unsigned flags, GError **error);

/* ---- job.c ---- */
/* (waits) Until all is written; or, to_moment, until a background snapshot has its moment, and the machine may run. */
bool kv_migration_wait(struct kv_machine *m, enum kv_job job, bool to_moment, GError **error);
void kv_job_started(struct domain *d);
void kv_job_ended(struct domain *d, GVariant *stats); /* it has succeeded; those who listen are told */
bool kv_abort_job(struct domain *d, GError **error);
bool kv_dump(struct domain *d, const char *path, unsigned format, unsigned flags, GError **error);

/* ---- capabilities.c ---- */
char *kv_capabilities(struct hv *hv);
char *kv_domain_capabilities(struct hv *hv, const char *emulator, const char *arch, const char *machine, const char *virt_type,
			     GError **error);
