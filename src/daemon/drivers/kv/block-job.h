/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs on a running machine's disks: libvirt's pull, commit, active commit and copy are QMP's block-stream, block-commit and
 * blockdev-mirror. A job is known by the name that it has in the machine, and kept in the status file: a daemon that is started
 * anew finds it. It is dismissed by us (auto-dismiss off), so that none ends unseen. With the state lock held; (waits): with the
 * domain's job. Inside of this folder's block-*.c, and what kv.h names.
 */
#pragma once
#include "kv.h"

/* libvirt's VIR_DOMAIN_BLOCK_JOB_TYPE_…, and what is told of their end. */
enum block_job_type { BLOCK_JOB_NONE, BLOCK_JOB_PULL, BLOCK_JOB_COPY, BLOCK_JOB_COMMIT, BLOCK_JOB_ACTIVE_COMMIT };
enum block_job_status { BLOCK_JOB_COMPLETED, BLOCK_JOB_FAILED, BLOCK_JOB_CANCELED, BLOCK_JOB_READY };

struct block_job {
	char *id;     /* "copy-vda" */
	char *target; /* "vda" */
	enum block_job_type type;
	char *node;	  /* a copy's destination in the machine; NULL */
	GPtrArray *files; /* to be removed when it has succeeded; NULL: none */
	bool ready, pivoting, aborted;
	bool concluded; /* the machine is done with it */
	bool awaited;	/* who waits ends it */
};

/* ---- block-job.c: those that there are ---- */
struct block_job *block_job_of(struct kv_machine *m, const char *target); /* NULL: none */
/* Before it is begun, so that its events find it. id is made. */
struct block_job *block_job_add(struct kv_machine *m, enum block_job_type type, const char *target);
void block_job_drop(struct kv_machine *m, struct block_job *job); /* it has not begun, or has ended */
bool block_job_wait(struct kv_machine *m, const char *target, char **ret_error, GError **error); /* (waits) until it has ended */
xmlNode *block_job_disk(const struct domain_def *def, const char *target);
/* <mirror>, which says where a copy or an active commit goes. */
void block_job_set_mirror(xmlNode *disk, const struct block_job *job, const char *file, const char *format);

/* ---- block-chain.c: what a disk stands on ---- */
struct block_chain {
	JsonNode *answer;
	JsonObject *image; /* the first, as query-block has it */
};
bool block_chain_read(struct kv_machine *m, const xmlNode *disk, struct block_chain *ret, GError **error); /* (waits) */
void block_chain_clear(struct block_chain *c);
/* The image below; NULL: there is none. */
JsonObject *block_chain_below(JsonObject *image);
/*
 * The one that a user means by a path or by "vda[2]" (1: the first), at or, beneath, below `from`; NULL and VIR_ERR_INVALID_ARG.
 */
JsonObject *block_chain_find(const struct block_chain *c, const xmlNode *disk, JsonObject *from, bool beneath, const char *text,
			     GError **error);
/* What overlay's header is to say of base when all names in between are relative; NULL and an error. */
char *block_chain_relative(JsonObject *overlay, JsonObject *base, GError **error);

/* ---- block-copy.c, block-start.c; all (waits) ---- */
bool block_copy_start(struct kv_machine *m, xmlNode *disk, GVariant *args, GError **error);
bool block_copy_rebase(struct kv_machine *m, xmlNode *disk, GVariant *args, GError **error);
bool block_pull_start(struct kv_machine *m, xmlNode *disk, GVariant *args, GError **error);
bool block_commit_start(struct kv_machine *m, xmlNode *disk, GVariant *args, GError **error);
/* MiB/s or, with bytes, bytes/s as bytes. */
bool block_speed(guint64 bandwidth, bool bytes, guint64 *ret, GError **error);
/* Adds what all jobs are told, and begins; the job is dropped when it does not. args are taken over. */
bool block_job_begin(struct kv_machine *m, struct block_job *job, const char *command, JsonObject *args, guint64 speed,
		     GError **error);
