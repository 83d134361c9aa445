/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A list of things with names: character devices, networks, objects. A thing is a struct whose first member is its name, a
 * char * of its own, NULL: it has none any more. The list owns its things. Main thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

GPtrArray *names_new(void (*thing_free)(void *thing));
void *names_find(const GPtrArray *list, const char *name); /* NULL: there is none */
/* May there be one more? what: "networks", for the message. */
bool names_room(const GPtrArray *list, const char *what, GError **error);
/* size bytes, zeroed but for the name, a copy, which may be NULL. */
void *names_add(GPtrArray *list, size_t size, const char *name);
