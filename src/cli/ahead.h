/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See ahead.c. */
#pragma once
#include "shell.h"

/*
 * Asks procedure of each of the objects, all at once; the calls of ask() that follow in this command find their answers here.
 * procedure: a constant. rest: a tuple of the arguments behind the object, sunk if floating; NULL: none.
 */
void ask_ahead(struct shell *sh, GPtrArray *objects, const char *procedure, GVariant *rest);
/* An answer that is known otherwise. Both are sunk if floating. */
void ahead_put(struct shell *sh, const char *procedure, GVariant *args, GVariant *answer);
/* A full reference; NULL: it was not asked ahead. */
GVariant *ahead_take(struct shell *sh, const char *procedure, GVariant *args);
/* At a command's end. */
void ahead_forget(struct shell *sh);
