/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shapes of commands' arguments, as QEMU's QAPI has them, in `const` tables: a command's function sees only what was
 * checked here. Errors are in the words of QEMU's visitors. Used by session.c; the tables are the commands'.
 */
#pragma once
#include <stdbool.h>

#include <json-glib/json-glib.h>

enum qmp_kind {
	QMP_STRING,
	QMP_INTEGER,
	QMP_UINT32,
	QMP_UINT64, /* a function sees negative ones as QEMU does: as large ones */
	QMP_NUMBER,
	QMP_BOOLEAN,
	QMP_ENUM,
	QMP_OBJECT,
	QMP_LIST,
	QMP_ANY
};

struct qmp_member;

struct qmp_type {
	enum qmp_kind kind;
	const char *const *values;	  /* of an ENUM, NULL at the end */
	const struct qmp_member *members; /* of an OBJECT, as below */
	const struct qmp_type *item;	  /* of a LIST */
};

/* A member of an object; a table ends with a NULL name. */
struct qmp_member {
	const char *name;
	const struct qmp_type *type;
	bool optional;
	/* A union's: it is there only where the ENUM member `tag`, which stands further up, is `value`. NULL: always. */
	const char *tag, *value;
};

extern const struct qmp_type qmp_string, qmp_integer, qmp_uint32, qmp_uint64, qmp_number, qmp_boolean, qmp_any, qmp_strings;

/* members may be NULL: none at all. */
bool qmp_check_members(const struct qmp_member *members, JsonObject *object, GError **error);
