/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How kernels and primitives are repeated (report.h). In ticks of the TSC, which guests share with the host. */
#include "report.h"

#define KERNEL_TICKS (1ull << 30) /* a kernel is run again until this has passed, */
#define KERNEL_RUNS 6		  /* or so often; at least twice: the first run finds nothing translated */
#define PRIMITIVE_TICKS (2u << 20) /* how long a sample takes at least, */
#define PRIMITIVE_SAMPLES 5	   /* and how many there are: the smallest one counts */

void report_kernels(kernel_timer *timer, const char *unit)
{
	for (const struct kernel *k = bench_kernels; k->name; k++) {
		u64 sum, first = timer(k, &sum), best = ~0ull, total = first;

		report_sum(k->name, sum);
		for (unsigned n = 1; n < KERNEL_RUNS && (n == 1 || total < KERNEL_TICKS); n++) {
			u64 again, ticks = timer(k, &again);

			if (again != sum)
				report_sum(k->name, again);
			best = ticks < best ? ticks : best;
			total += ticks;
		}
		report_line(k->name, first * 1000, "first-ticks");
		report_line(k->name, best * 1000, unit);
	}
}

/* Thousandths of a tick for one operation. */
static u64 measure(const struct primitive *p, primitive_timer *timer)
{
	u64 count = 16, best;

	while ((best = timer(p, count)) < PRIMITIVE_TICKS)
		count *= 2;
	for (unsigned n = 1; n < PRIMITIVE_SAMPLES; n++) {
		u64 ticks = timer(p, count);

		best = ticks < best ? ticks : best;
	}
	return best * 1000 / (count * p->unroll);
}

void report_primitives(const struct primitive *list, primitive_timer *timer)
{
	for (const struct primitive *p = list; p->name; p++)
		report_line(p->name, measure(p, timer), "ticks");
}
