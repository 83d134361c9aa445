/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Domains, networks, pools and volumes as the protocol has them (GVariants, see kv-connection.h), found by what a user types. All
 * "find" functions return a full reference, or NULL with the error said.
 */
#pragma once
#include "node.h"
#include "shell.h"

/* Of the types of objects in ask(): "(@" DOMAIN "u)". */
#define DOMAIN	 "(sayi)"
#define NETWORK	 "(say)"
#define POOL	 "(say)"
#define VOLUME	 "(sss)"
#define SNAPSHOT "(s(sayi))"

/* Switches that are bits of a call's flags; ends with {}. */
struct flag {
	const char *option;
	unsigned value;
};
unsigned flags_of(const struct args *a, const struct flag *flags);

/* Which of a domain's two configurations (enum virDomainModificationImpact). */
enum { AFFECT_CURRENT = 0, AFFECT_LIVE = 1, AFFECT_CONFIG = 2 };
/* By --config, --live and --current; -1: they exclude each other, which was said. */
int affect_of(struct shell *sh, const struct args *a);

enum domain_state {
	STATE_NONE,
	STATE_RUNNING,
	STATE_BLOCKED,
	STATE_PAUSED,
	STATE_SHUTDOWN,
	STATE_SHUTOFF,
	STATE_CRASHED,
	STATE_SUSPENDED
};
const char *domain_state_name(int state);

/* By ID, UUID or name in option. */
GVariant *find_domain(struct shell *sh, const struct args *a, const char *option);
GVariant *find_unnamed_domain(struct shell *sh, const struct args *a, const char *option); /* by ID or UUID alone */
GVariant *find_domain_text(struct shell *sh, const char *text);
const char *domain_name(GVariant *dom);
int domain_id(GVariant *dom);
/* state and reason; false with the error */
bool domain_state(struct shell *sh, GVariant *dom, int *ret_state, int *ret_reason);
/* -1 on error */
int domain_is_active(struct shell *sh, GVariant *dom);
/* Its description as a tree; NULL with the error. */
struct node *domain_xml(struct shell *sh, GVariant *dom, unsigned flags);

GVariant *find_network(struct shell *sh, const struct args *a, const char *option);
bool is_uuid(const char *text); /* where a name is not taken: 36 characters */
GVariant *find_pool(struct shell *sh, const struct args *a, const char *option);
/* By name in the pool of pool_option, or by key or path. pool_option NULL: a volume without a pool. */
GVariant *find_volume(struct shell *sh, const struct args *a, const char *option, const char *pool_option);
/* Name of any object; its UUID as text, where it has one. */
const char *object_name(GVariant *object);
char *object_uuid(GVariant *object);
GVariant *uuid_value(const char *text); /* "ay"; NULL: it is none */

/* An answer's list by name; unref it. */
GPtrArray *sorted_objects(GVariant *answer);
/* ... by what compare says of two struct sort_key: taken out once, since a GVariant gives nothing for free. */
struct sort_key {
	GVariant *object;
	const char *name;
	int id; /* of a domain; -1: of one that does not run, and of other things */
};
GPtrArray *sorted_by(GVariant *answer, int (*compare)(const void *a, const void *b));
/* What a network or pool answers; unknown: it does not. */
const char *yes_no(struct shell *sh, const char *procedure, GVariant *object, const char *unknown);
/* The description of a network or pool that is kept: of servers that tell no such from the running one, what they have. */
char *stored_xml(struct shell *sh, const char *procedure, GVariant *object);

/* GVariant of an answer's first value. */
GVariant *first_of(GVariant *answer);
/* A typed parameter's value as virsh prints it. */
char *param_text(GVariant *value);
/* Lines of "name    : value", of a(sv); in JSON an object. */
void say_params(struct shell *sh, GVariant *params, int width);
/*
 * The list of parameters by the two calls that older procedures want, one for how many, one for them: the number of those is the
 * last argument but one, given as 0, and comes back behind the list.
 */
GVariant *ask_params(struct shell *sh, const char *procedure, const char *types, ...);

/* Prints a description, or what of it --xpath finds; false with the error said, or when there is none. */
bool say_xml(struct shell *sh, const struct args *a, const char *xml);
/* ... that procedure tells of an object. object NULL, here and below: was not found, which was said; false. */
bool say_description(struct shell *sh, const struct args *a, const char *procedure, GVariant *object, unsigned flags);
bool say_object_name(struct shell *sh, GVariant *object);
bool say_object_uuid(struct shell *sh, GVariant *object);
/* 1536.0 and "MiB" */
double scaled(guint64 bytes, const char **ret_unit);
/* ok: says done with name; otherwise the error. Gives ok. */
bool finish(struct shell *sh, bool ok, const char *done, const char *failed, const char *name);
/* An editor over text until it is saved. NULL: with the error said, or nothing was changed, then *ret_same. */
char *edit_text(struct shell *sh, const char *text, bool *ret_same);
/* A description in an editor and back to the server; at a terminal again and again until it is taken. */
struct edit {
	char *(*get)(struct shell *sh, const struct edit *e); /* the description as it is now */
	/* The server's answer; NULL with sh->error. relaxed: without the check against the schema. */
	GVariant *(*define)(struct shell *sh, const struct edit *e, const char *xml, bool relaxed);
	GVariant *object;
	bool can_relax;
	const char *same, *done; /* said with the object's name */
	const char *path;	 /* of a file on the server that is described */
	unsigned flags;		 /* of the call that defines it */
};
bool edit_object(struct shell *sh, const struct edit *e, const char *name);
/* How many processors the host has; -1 on error. */
int host_cpus(struct shell *sh);
/* "0-3,^2,5", or "r" for all, as a floating "ay"; NULL: said. */
GVariant *cpu_map(struct shell *sh, const char *text, int cpus);
/* "0-3,5" of a bitmap of n bits. */
char *cpu_list(const guint8 *map, gsize len, unsigned n);
