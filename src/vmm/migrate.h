/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine to a file, a socket or a pipe, and from there: QEMU's migration as QMP has it (qapi/migration.json of 7.2, file: as
 * in 8.2). One at a time; memory is moved by a thread of its own, all that stops and starts the machine happens in the main
 * thread. Main thread only. migrate.c sends, incoming.c receives, migrate-uri.c opens, qmp-migrate.c has the commands.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "saved.h"

struct vmm;

enum migrate_status {
	MIGRATE_NONE,
	MIGRATE_SETUP,
	MIGRATE_ACTIVE,
	MIGRATE_CANCELLING,
	MIGRATE_CANCELLED,
	MIGRATE_FAILED,
	MIGRATE_COMPLETED,
};

struct migrate_settings {
	uint64_t max_bandwidth;	 /* bytes a second, 0: none; not for file: unless it was set */
	bool bandwidth_set;
	uint64_t downtime_limit; /* ms */
	bool events;
	bool background; /* background-snapshot: the machine goes on */
};

struct migrate;
struct incoming;

/* What a URI is: a descriptor to be closed by who has it. */
struct migrate_target {
	int fd;
	enum saved_form form;
	char *path, *made; /* FILE: where it has to be at the end, and where it is until then; NULL */
	char *tcp;	   /* HOST:PORT, which the thread that sends connects to; fd is -1 till then; NULL */
};
bool migrate_open_target(struct vmm *vmm, const char *uri, struct migrate_target *ret, GError **error);
/* complete: to its name; else there is no file. */
bool migrate_close_target(struct migrate_target *t, bool complete, GError **error);
/* unix, tcp: a listening socket, *ret_listens; else what can be read. */
int migrate_open_source(struct vmm *vmm, const char *uri, bool *ret_listens, GError **error);
/* migrate-tcp.c; HOST:PORT. A socket, or -1; connecting takes time, and ends when cancelled() says so: any thread. */
int migrate_tcp_listen(const char *where, GError **error);
bool migrate_tcp_check(const char *where, GError **error);
int migrate_tcp_connect(const char *where, bool (*cancelled)(void *opaque), void *opaque, GError **error);
/* migrate-exec.c. prepare: before the sandbox. A pipe to the command or from it, or -1. */
bool migrate_exec_prepare(struct vmm *vmm, GError **error);
int migrate_exec(struct vmm *vmm, const char *command, bool to_it, GError **error);
/* getfd, closefd */
bool migrate_add_fd(struct vmm *vmm, const char *name, int fd);
bool migrate_close_fd(struct vmm *vmm, const char *name);
int migrate_take_fd(struct vmm *vmm, const char *name, GError **error); /* it is the caller's then; -1: there is none */

void migrate_init(struct vmm *vmm); /* settings */
bool migrate_start(struct vmm *vmm, const char *uri, GError **error);
void migrate_cancel(struct vmm *vmm);
bool migrate_is_active(const struct vmm *vmm);
enum migrate_status migrate_status(const struct vmm *vmm);
/* Milliseconds; -1: not yet. error: NULL when there was none. */
struct migrate_info {
	enum migrate_status status;
	int64_t total, setup, downtime, expected;
	const char *error;
	bool has_counts;
	struct saved_counts counts;
};
void migrate_info(struct vmm *vmm, struct migrate_info *ret);
void migrate_apply_settings(struct vmm *vmm); /* to what is under way */
void migrate_set_status(struct vmm *vmm, enum migrate_status status); /* and its event */
const char *migrate_status_name(enum migrate_status status);
/* Before the memory is cleared: a snapshot that is being written has to have it all. */
void migrate_settle(struct vmm *vmm);
/* cont: true when the machine may run. False without an error: it will, by itself. */
bool migrate_may_run(struct vmm *vmm, GError **error);
void migrate_close(struct vmm *vmm);

/* --incoming, migrate-incoming */
bool incoming_start(struct vmm *vmm, const char *uri, GError **error);
void incoming_close(struct vmm *vmm);
