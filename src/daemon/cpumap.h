/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of the host's processors, as the wire has them (a bit each, the lowest first) and as XML has them ("0-3,5"). Pure. */
#pragma once
#include <glib.h>
#include <stdbool.h>

enum { CPUMAP_BYTES_MAX = 512 };

char *cpumap_text(const guint8 *map, gsize len);		       /* "" for none */
bool cpumap_bits(const char *text, guint8 *ret, gsize len); /* what does not fit is left out; false: no such list */
unsigned cpumap_host(void);				       /* how many processors the host may have */
void cpumap_all(guint8 *ret, gsize len);		       /* those of the host */
