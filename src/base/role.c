/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See role.h. */
#include "role.h"

#include <stdbool.h>
#include <stddef.h>

static void (*enter_func)(const char *role);
static __thread bool entered;

void kv_role_set_func(void (*enter)(const char *role))
{
	enter_func = enter;
}

void kv_role_enter(const char *role)
{
	if (entered || !enter_func)
		return;
	entered = true;
	enter_func(role);
}
