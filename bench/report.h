/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs kernels and primitives and writes `@bench NAME NUMBER UNIT` lines; the guest and the native program say how. */
#pragma once
#include "kernels.h"
#include "primitives.h"

/* Ticks of one run. */
typedef u64 kernel_timer(const struct kernel *k, u64 *ret_sum);

/* The first run has the unit first-ticks, the best of the others `unit`. */
void report_kernels(kernel_timer *timer, const char *unit);
void report_primitives(const struct primitive *list, primitive_timer *timer);

/* Theirs to define. */
void report_line(const char *name, u64 thousandths, const char *unit);
void report_sum(const char *name, u64 sum);

static inline u64 read_tsc(void)
{
	u32 lo, hi;

	__asm__ volatile("lfence\n\trdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (u64)hi << 32 | lo;
}
