/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a table of commands takes, as QEMU's introspection tells it (its docs/devel/qapi-code-gen: SchemaInfo). For session.c. */
#pragma once
#include "session.h"

/*
 * The answer of query-qmp-schema: types in the order in which they are first needed, named by numbers. What a command answers and
 * what an event says is told as `any`, and so are arguments that a command checks itself: the tables do not have those shapes.
 */
JsonNode *qmp_introspect(const struct qmp_command *const *tables, unsigned n_tables, const char *const *events);
