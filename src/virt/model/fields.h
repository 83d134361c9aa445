/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is known of an XML document, as tables: parse, check, order of output and documentation come from the same rows. A row
 * is a path below the table's element, "driver/@name", in libvirt's order of output; rows with the same beginning are together,
 * and an element that only carries others needs no row of its own. Pure; no locks: a tree belongs to one thread.
 */
#pragma once
#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

enum field_type {
	FIELD_NODE,  /* an element without a text: its presence, attributes, children */
	FIELD_TEXT,  /* any */
	FIELD_NAME,  /* not empty */
	FIELD_WORD,  /* one of values; "!word": libvirt knows it, our machine does not do it */
	FIELD_COUNT, /* a decimal number, from and to in values, "1 255" */
	FIELD_INT,   /* with a sign */
	FIELD_HEX,   /* decimal or hexadecimal; written with as many digits as values says */
	FIELD_KIB,   /* an amount of memory with @unit; KiB afterwards */
	FIELD_BYTES, /* the same in bytes */
	FIELD_UUID,
	FIELD_MAC,
	FIELD_PATH, /* absolute */
	FIELD_CPUS, /* "0-3,^2" */
	FIELD_BUS,  /* of an address: two hexadecimal digits where @type is pci, else a number */
};
enum field_flags {
	FIELD_NO = 1 << 0,	 /* known to libvirt; refused by name, as our machine does not do it */
	FIELD_MANY = 1 << 1,	 /* an element that repeats */
	FIELD_LIVE = 1 << 2,	 /* of a running machine alone: dropped from a definition that is stored */
	FIELD_SECRET = 1 << 3,	 /* given to those alone who may see secrets */
	FIELD_VERBATIM = 1 << 4, /* what is in it is not ours */
	FIELD_HINT = 1 << 5,	 /* kept, and without an effect on what the guest may rely on: fields_hints() */
	FIELD_MUST = 1 << 6,	 /* has to be there when its parent is */
};

struct field {
	const char *path; /* NULL ends a table */
	enum field_type type;
	const char *values;
	unsigned flags;
	const struct field *sub; /* the rows of what is in it; then there are none here */
};

/*
 * As enum def_flags and enum format_flags (domain-def.h): DEF_TEST takes all that is refused otherwise, and what nobody knows;
 * DEF_LOOSE does without FIELD_MUST.
 */
bool fields_check(xmlNode *node, const struct field *rows, unsigned flags, GError **error);
/* An element that stands at a path of the table. */
bool fields_check_below(xmlNode *node, const struct field *rows, const char *path, unsigned flags, GError **error);
/* Attributes and children come into the order of the rows; those of one row stay as they are. */
void fields_sort(xmlNode *node, const struct field *rows);
void fields_strip(xmlNode *node, const struct field *rows, unsigned format_flags);
/* Appends a text for each row with FIELD_HINT that the tree has: "features/hyperv/relaxed". */
void fields_hints(const xmlNode *node, const struct field *rows, GPtrArray *ret);

/* The row of an element or attribute by its path, also through tables in tables; NULL: none. */
const struct field *fields_row(const struct field *rows, const char *path);
