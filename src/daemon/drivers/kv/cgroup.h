/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control groups, version 2: a group of its own for a machine that has limits. It is below the machine's scope where systemd has
 * made one (scope.c); else beside the daemon's, in the group that the daemon was given, or in the root of the hierarchy when it
 * runs there. The kernel wants groups with processes or with controllers for groups below, not both: what is in a scope moves
 * into the machine's group, and a daemon that is alone in its group goes into one below, "kvd", at its start, where machines
 * without limits and scopes stay with it. Pure but for the cgroup file system; any thread. Source: the kernel's
 * Documentation/admin-guide/cgroup-v2.rst
 */
#pragma once
#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>
#include <sys/types.h>

/* root: before /proc and what is mounted; "" but in tests. */
void cgroup_settle(const char *root);
/* The folder of the group that a process is in, if that is a machine's, to be freed; NULL. */
char *cgroup_of(const char *root, pid_t pid);
/* That of the scope that systemd has made for it, to be freed; NULL: it is in none, or in a group below. */
char *cgroup_scope(const char *root, pid_t pid);
/* Has a <domain> an element that asks for a limit? The first one's path, "cputune/shares"; NULL: none. */
const char *cgroup_wanted(const xmlNode *domain);

struct cgroup_threads {
	pid_t pid;
	const pid_t *vcpus; /* threads; 0: that one is not there */
	unsigned n_vcpus;
};

/*
 * Limits become those of the definition. *group: where the machine is, made (named name) and set when there is none yet and
 * one is needed. false and *error when something is not kept, with what is missing.
 */
bool cgroup_apply(const char *root, char **group, const char *name, const xmlNode *domain,
		  const struct cgroup_threads *threads, GError **error);
/* What the kernel has for an element, in its unit; false: nothing. */
bool cgroup_get(const char *group, const char *path, gint64 *ret);
/* The vCPU's thread has ended. */
void cgroup_remove_vcpu(const char *group, unsigned vcpu);
void cgroup_remove(const char *group); /* with those below, when nobody is in it */
