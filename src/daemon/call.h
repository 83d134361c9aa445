/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A call of a client, as its handler sees it, and the table rows by which handlers are found.
 *
 * Threads: all state of the daemon is under one lock, state_lock. Handlers run with it held: those with HANDLER_FAST in the main
 * thread, and they never wait; all others in a worker, and whatever waits (for a VMM's answer, a job, a file) lets go of the lock
 * meanwhile: state_wait() on a condition, or state_release() and state_acquire() around a system call. So no lock is ever held
 * across a call to a VMM, and after each wait others may have changed everything that the job of this handler does not protect
 * (domain.h).
 */
#pragma once
#include <gio/gio.h>
#include <stdbool.h>

#include "message.h"
#include "procs.h"

struct client;
struct hv;

/* ---- the lock ---- */

void state_acquire(void);
void state_release(void);
/* g_cond_wait() with the state lock; until: monotonic time in us, or 0 for ever; false: it is that late. */
bool state_wait(GCond *cond, gint64 until);
/* g_cond_signal() when the lock is let go of: who is woken finds it free. For conditions that live as long as the daemon. */
void state_signal(GCond *cond);

/* ---- a call ---- */

struct call {
	struct client *client; /* NULL: the daemon itself (autostart) */
	struct hv *hv;	       /* what connect_open opened; NULL before */
	const struct rpc_proc *proc;
	const struct handler *handler;
	uint32_t serial;
	bool read_only;
	GArray *fds;	     /* int, received; closed after the call unless taken (set to -1) */
	GArray *reply_fds;   /* int, to be sent with the answer, then closed; NULL: none */
	GByteArray *encoded;   /* the answer as it goes out, of a handler that leaves *ret alone: a list that is long */
	struct stream *stream; /* set by a handler that opened one (stream.h): it begins when the answer is out */
};

/*
 * args: a tuple of proc->args. On success *ret is a tuple of proc->ret (floating or not; NULL where it is "()"). On failure false
 * and *error: rpc_fail() for what libvirt's clients know by code, kv_fail() for the rest.
 */
typedef bool handler_func(struct call *call, GVariant *args, GVariant **ret, GError **error);

enum handler_flags {
	HANDLER_FAST = 1 << 0,	   /* never waits: the main thread */
	HANDLER_READ_ONLY = 1 << 1, /* changes nothing: also over the read-only socket */
	HANDLER_UNOPENED = 1 << 2, /* also before connect_open */
	HANDLER_UNKNOWN = 1 << 3, /* also before the client has authenticated itself; waits, if so, in a thread of its own */
};

/* Who is asked before it is in schema/rpc.procs, not here (access.h). */
struct handler {
	uint16_t number; /* RPC_… of the program that the table is for */
	handler_func *func;
	unsigned flags;
};

/* Flags that are not in supported are refused, as libvirt's: true, or false and *error. */
bool call_check_flags(const struct call *call, unsigned flags, unsigned supported, GError **error);
/* A text as an array of char with its end, as security labels are (type ac). */
GVariant *chars_variant(const char *text);
/* A handler for what a driver has not, where others have: VIR_ERR_NO_SUPPORT. */
handler_func handler_unsupported;

/* One a subsystem, ended by a func of NULL; dispatch.c has the list of tables. */
extern const struct handler connect_handlers[], node_handlers[], event_handlers[], domain_list_handlers[], domain_life_handlers[],
	domain_save_handlers[], domain_info_handlers[], domain_text_handlers[], domain_size_handlers[], domain_device_handlers[],
	domain_snapshot_handlers[], domain_stats_handlers[], domain_job_handlers[], domain_people_handlers[],
	domain_interface_handlers[],
	network_handlers[], pool_list_handlers[], pool_handlers[], volume_list_handlers[], volume_handlers[],
	storage_host_handlers[], secret_handlers[], nodedev_handlers[], interface_handlers[], nwfilter_handlers[],
	domain_pin_handlers[], domain_tune_handlers[];
/* Of the program RPC_QEMU. */
extern const struct handler qemu_handlers[], monitor_event_handlers[];
