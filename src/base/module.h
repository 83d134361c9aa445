/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parts of a program that are loaded when they are needed, because they bring libraries with them that take longer to start
 * than a whole command of kv-img. They lie in LIBDIR/kvasir, found from where the program is, or in the build tree.
 */
#pragma once
#include <glib.h>

/* A symbol of the module "NAME.so", which stays loaded; NULL with the error set. Any thread. */
void *kv_module_symbol(const char *name, const char *symbol, GError **error);
