/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text of --stats: one `name value` a line, for people and for benchmarks that parse it.
 * See vmm.h.
 */
#include <sys/resource.h>

#include "char.h"
#include "machine.h"
#include "vmm.h"

static void put(GString *s, const char *name, uint64_t value)
{
	g_string_append_printf(s, "%s %" G_GUINT64_FORMAT "\n", name, value);
}

static void put_seconds(GString *s, const char *name, double seconds)
{
	g_string_append_printf(s, "%s %.3f\n", name, seconds);
}

static double seconds(const struct timeval *t)
{
	return t->tv_sec + t->tv_usec / 1e6;
}

char *vmm_stats(struct vmm *vmm)
{
	GString *s = g_string_new(NULL);
	g_autofree char *machine = machine_stats(vmm->machine);
	struct rusage usage;

	g_string_append_printf(s, "time.start_us %" G_GINT64_FORMAT "\n", vmm->running - vmm->started);
	put_seconds(s, "time.wall", (g_get_monotonic_time() - vmm->started) / 1e6);
	if (getrusage(RUSAGE_SELF, &usage) == 0) {
		put_seconds(s, "time.user", seconds(&usage.ru_utime));
		put_seconds(s, "time.system", seconds(&usage.ru_stime));
		put(s, "memory.peak_kib", usage.ru_maxrss);
	}
	if (machine)
		g_string_append(s, machine);
	put(s, "console.dropped", vmm->console->dropped);
	return g_string_free(s, FALSE);
}
