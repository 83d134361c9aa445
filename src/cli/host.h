/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the host, by file; their rows are in host.c. */
#pragma once
#include "shell.h"

/* host-cpu.c */
bool cmd_cpu_compare(struct shell *sh, const struct args *a);
bool cmd_cpu_baseline(struct shell *sh, const struct args *a);
bool cmd_hypervisor_cpu_compare(struct shell *sh, const struct args *a);
bool cmd_hypervisor_cpu_baseline(struct shell *sh, const struct args *a);

/* host-memory.c */
bool cmd_freepages(struct shell *sh, const struct args *a);
bool cmd_allocpages(struct shell *sh, const struct args *a);
bool cmd_node_memory_tune(struct shell *sh, const struct args *a);
