/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What formats' snapshots() return, and their callers free. */
#include "format.h"

static void clear(void *p)
{
	struct image_snapshot *s = p;

	g_free(s->id);
	g_free(s->name);
}

void image_snapshots_free(GArray *snapshots)
{
	if (!snapshots)
		return;
	for (unsigned i = 0; i < snapshots->len; i++)
		clear(&g_array_index(snapshots, struct image_snapshot, i));
	g_array_free(snapshots, TRUE);
}
