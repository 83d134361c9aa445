/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What takes long: a call with the progress of the domain's job beside it, a job of one of its disks that goes on after the call,
 * a transfer of bytes. With --verbose progress is told as virsh tells it; without, a terminal has a bar once a second has gone
 * by. Ctrl-C asks the server to abort. Called by the commands about saving, migration, disks and volumes.
 */
#pragma once
#include "shell.h"

/* ---- progress on standard error ---- */

struct progress {
	const char *label;
	bool verbose; /* as virsh: "\rLABEL: [ 45 %]" */
	gint64 start; /* 0: not begun */
	bool shown;
	int percent; /* that is shown */
};
void progress_show(struct progress *p, guint64 left, guint64 total);
/* Takes away a bar that was only for the person at the terminal. */
void progress_end(struct progress *p, bool ok);

/* ---- a call that is a job of the domain ---- */

struct job_watch {
	GVariant *dom;
	const char *label;
	bool verbose;
	unsigned timeout_ms; /* 0: none */
	void (*on_timeout)(struct shell *sh, GVariant *dom);
};
/* The answer, or NULL with sh->error. */
GVariant *job_call(struct shell *sh, const struct job_watch *w, const char *procedure, GVariant *args);

/* ---- a job of a disk ---- */

/* VIR_DOMAIN_BLOCK_JOB_… of an event. */
enum block_job_end { BLOCK_JOB_LOST = -1, BLOCK_JOB_COMPLETED, BLOCK_JOB_FAILED, BLOCK_JOB_CANCELED, BLOCK_JOB_READY };

typedef struct block_watch block_watch;
/* Before the call that begins the job, so that no event of it is missed. */
struct block_watch *block_watch_new(struct shell *sh, GVariant *dom, const char *disk, const char *label, bool verbose,
				    unsigned timeout_ms, unsigned abort_flags);
enum block_job_end block_watch_wait(struct block_watch *w);
void block_watch_free(struct block_watch *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(block_watch, block_watch_free)
