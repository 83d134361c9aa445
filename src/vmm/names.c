/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See names.h. */
#include "names.h"

#include "error.h"

enum { NAMES_MAX = 256 };

GPtrArray *names_new(void (*thing_free)(void *thing))
{
	return g_ptr_array_new_with_free_func(thing_free);
}

void *names_find(const GPtrArray *list, const char *name)
{
	for (unsigned i = 0; i < list->len; i++)
		if (!g_strcmp0(*(char **)list->pdata[i], name))
			return list->pdata[i];
	return NULL;
}

bool names_room(const GPtrArray *list, const char *what, GError **error)
{
	return list->len < NAMES_MAX || kv_fail(error, KV_ERROR_UNSUPPORTED, "more than %d %s", NAMES_MAX, what);
}

void *names_add(GPtrArray *list, size_t size, const char *name)
{
	void *thing = g_malloc0(size);

	*(char **)thing = g_strdup(name);
	g_ptr_array_add(list, thing);
	return thing;
}
