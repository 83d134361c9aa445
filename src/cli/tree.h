/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tree of names, as text. */
#pragma once
#include "shell.h"

/* Each name under its parent's; parents NULL: a root. */
void say_tree(struct shell *sh, char *const *names, char *const *parents, unsigned n);
