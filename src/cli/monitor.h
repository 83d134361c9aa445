/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about what domains do, by file; their rows are in monitor.c. */
#pragma once
#include <stdbool.h>

struct shell;
struct args;

bool cmd_top(struct shell *sh, const struct args *a);  /* top.c */
bool cmd_list(struct shell *sh, const struct args *a); /* domain-list.c */
bool cmd_domstats(struct shell *sh, const struct args *a);
bool cmd_domblkinfo(struct shell *sh, const struct args *a); /* domain-block.c */
bool cmd_domblklist(struct shell *sh, const struct args *a);
bool cmd_domblkstat(struct shell *sh, const struct args *a);
bool cmd_domblkerror(struct shell *sh, const struct args *a);
