/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See mem-lost.c. Internal: mem.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is mapped from a file there, until the process ends: who touches it when it is lost is told. Main thread. */
void mem_lost_watch(const void *at, size_t len);
