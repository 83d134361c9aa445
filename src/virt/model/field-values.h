/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The values that rows describe (fields.h): checked, and spelled as libvirt spells them. fields.c calls it; pure. */
#pragma once
#include "fields.h"

/* attribute: its name, or NULL for the element's own text. */
bool field_check_value(const struct field *row, xmlNode *node, const char *attribute, unsigned flags, GError **error);

/* The unit's bytes: "KiB", "k", "GB"; NULL: as given. 0: no such unit. */
guint64 field_unit(const char *unit, guint64 without);
/* "0-3,^2" as bits; NULL: it is none. At most 4096 of them. */
GByteArray *field_cpus(const char *text);
