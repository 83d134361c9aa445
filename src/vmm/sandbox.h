/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What kv-vmm gives up before the guest runs its first instruction, so that a guest that breaks out finds nothing: files and
 * networks that it was not given, privileges, system calls. sandbox.c has the order; a mechanism a file does the rest. What
 * the kernel refuses is left out, or with `strict` an error. Main thread, while it is the only one. docs/threat-model.md.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include <glib.h>

/* Sanitizers read /proc and trace the process at its end. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED
#endif

struct vmm;

struct sandbox {
	bool strict;
	bool names;   /* files and sockets are named later, by a QMP client; or by a guest's port (virtio-vsock) */
	bool network; /* libslirp needs the host's */
	const char *user;  /* NULL: nobody, when started by root and files are not named later */
	const char *const *files; /* places that may be named; NULL: all but the system's. NULL-terminated */
	const char *const *sockets; /* files that are removed at the end; NULL-terminated */
	char **folders; /* whose files libslirp reads, without links in their names; NULL-terminated */
	/* of sandbox.c */
	uid_t uid; /* who it becomes, or is */
	gid_t gid;
	GString *left_out;
	int proc; /* /proc/self, or -1 */
	int landlock; /* rules, or -1 */
	bool root_closed; /* the file system is empty */
};

/*
 * sandbox-processes.c, first of all: -1, go on. Else this process has waited for one in a namespace of processes, which went on
 * in its place, or @error is set: the exit status.
 */
int sandbox_split(GVariant *options, GError **error);
/* The descriptor of what the waiting process was sent: each byte a signal. -1: there is none. */
int sandbox_signals(void);
/* To be called before the machine is made: holds back threads until kvcore_start_threads(). Nothing with --sandbox off. */
void sandbox_prepare(GVariant *options);
bool sandbox_is_wanted(GVariant *options); /* not --sandbox off */
bool sandbox_wants_processes(GVariant *options, bool *ret_strict); /* pid=on */
/* Everything is open. False with @error set: `strict`, or a mistake of the user's. */
bool sandbox_enter(const struct vmm *vmm, GError **error);

/* A mechanism is not there: noted. err: errno, or 0 when `why` says it all. */
void sandbox_left_out(struct sandbox *s, const char *what, int err);

/*
 * sandbox-namespaces.c: a thread makes the namespaces, which takes longer than half a millisecond, with the empty file system in
 * them, for sandbox_unshare(). Of s, which is the thread's until then: what is needed of networks, and left_out.
 */
void sandbox_make_spaces(struct sandbox *s);
/* Own namespaces; an empty file system when no files are named later. */
void sandbox_unshare(struct sandbox *s);
void sandbox_close_root(struct sandbox *s);
/* One of its own for users, when root has become somebody else; see sandbox_unshare() for others. */
void sandbox_unshare_users(struct sandbox *s);
/* sandbox-processes.c: from here on the end of the waiting process is this one's. */
void sandbox_end_with_waiter(void);
/* sandbox-user.c; find: while there are files to look into. */
bool sandbox_find_user(struct sandbox *s, GError **error);
bool sandbox_change_user(struct sandbox *s, GError **error);
void sandbox_drop_capabilities(struct sandbox *s);
/* sandbox-landlock.c: rules are made while files still have names, and hold once mounts are done. */
void sandbox_landlock_rules(struct sandbox *s);
void sandbox_landlock(struct sandbox *s);
/* sandbox-seccomp.c: the main thread's filter, and those of threads that come later (role.h). */
void sandbox_seccomp(struct sandbox *s);
/* The same for this thread alone; 0 or errno. For sandbox_seccomp() and tests. */
int sandbox_take_filter(const char *role, unsigned flags);
