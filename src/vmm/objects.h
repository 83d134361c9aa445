/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects with ids: of --object and of QMP's object-add, for options and commands that name them. A type is a row of objects.c's
 * table, or one that only object-add makes (qmp-object.c). Main thread only.
 */
#pragma once
#include <stdbool.h>

#include <glib.h>

struct option;
struct vmm;
struct object_type;

/* Each type's struct begins with it. */
struct vmm_object {
	char *id; /* first: names.h */
	const struct object_type *type;
	struct vmm *vmm;
};

struct object_type {
	const char *name; /* QEMU's */
	size_t size;	  /* of its struct */
	const struct option *keys; /* of --object; object-add's members have the same names; NULL: object-add alone makes it */
	/* keys: a{sv} by `keys`; NULL for types that have none. */
	bool (*create)(struct vmm_object *o, GVariant *keys, GError **error);
	bool (*in_use)(const struct vmm_object *o); /* it may not go; NULL: it always may */
	void (*free)(struct vmm_object *o); /* what is its own; also after create() failed */
	const char *const *properties; /* that qom-get and qom-set know; NULL: none */
	GVariant *(*get)(const struct vmm_object *o, const char *property); /* floating */
	/* NULL: none can be set. */
	bool (*set)(struct vmm_object *o, const char *property, GVariant *value, GError **error);
};

/* Those of --object; closing is due after a failure, too. */
bool vmm_open_objects(struct vmm *vmm, GError **error);
void vmm_close_objects(struct vmm *vmm);

/* NULL: there is no such type that --object makes. */
const struct object_type *vmm_object_type(const char *name);
/* QEMU's words. The id has been looked at. */
struct vmm_object *vmm_add_object(struct vmm *vmm, const struct object_type *type, const char *id, GVariant *keys,
				  GError **error);
bool vmm_remove_object(struct vmm *vmm, const char *id, GError **error);
struct vmm_object *vmm_find_object(const struct vmm *vmm, const char *id);
/* The same if it is of that type; else NULL with an error that begins with what: "--disk: iothread". */
struct vmm_object *vmm_need_object(const struct vmm *vmm, const struct object_type *type, const char *id, const char *what,
				   GError **error);
void vmm_each_object(const struct vmm *vmm, void (*f)(void *opaque, struct vmm_object *o), void *opaque);

/* object-iothread.c: threads that serve disks. They run from vmm_start_iothreads() on: the sandbox is taken by one thread. */
extern const struct object_type object_iothread;
struct iothread *vmm_iothread(struct vmm_object *o);
bool vmm_start_iothreads(struct vmm *vmm, GError **error);

/* object-memory.c: host memory; the machine takes one for good. */
struct mem_backing;
extern const struct object_type object_memory_backends[3];
bool vmm_is_memory(const struct vmm_object *o);
bool vmm_find_memory(struct vmm *vmm, const char *id, struct mem_backing **ret, GError **error);

extern const struct object_type object_throttle_group; /* object-throttle.c: limits that drives share */
