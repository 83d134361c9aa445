/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See cpumap.h. Called by domain-pin.c and drivers. */
#include "cpumap.h"

#include <string.h>
#include <unistd.h>

#include "field-values.h"

static bool has(const guint8 *map, unsigned i)
{
	return map[i / 8] & 1 << i % 8;
}

char *cpumap_text(const guint8 *map, gsize len)
{
	GString *out = g_string_new(NULL);

	for (unsigned i = 0; i < len * 8; i++) {
		unsigned to = i;

		if (!has(map, i))
			continue;
		while (to + 1 < len * 8 && has(map, to + 1))
			to++;
		g_string_append_printf(out, to == i ? "%s%u" : "%s%u-%u", out->len ? "," : "", i, to);
		i = to;
	}
	return g_string_free(out, FALSE);
}

bool cpumap_bits(const char *text, guint8 *ret, gsize len)
{
	g_autoptr(GByteArray) cpus = field_cpus(text);

	memset(ret, 0, len);
	for (unsigned i = 0; cpus && i < cpus->len && i < len * 8; i++)
		if (cpus->data[i])
			ret[i / 8] |= (guint8)(1 << i % 8);
	return cpus;
}

unsigned cpumap_host(void)
{
	return (unsigned)CLAMP(sysconf(_SC_NPROCESSORS_CONF), 1, CPUMAP_BYTES_MAX * 8);
}

void cpumap_all(guint8 *ret, gsize len)
{
	memset(ret, 0, len);
	for (unsigned i = 0; i < cpumap_host() && i < len * 8; i++)
		ret[i / 8] |= (guint8)(1 << i % 8);
}
