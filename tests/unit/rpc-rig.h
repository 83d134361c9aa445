/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of any type of the protocol's (src/virt/rpc/xdr.h), made from a seed; for tests of src/virt. */
#pragma once
#include <glib.h>

struct rpc_rig {
	guint32 seed;
	/* What a letter stands for (D, N, …) in place of a made-up one; NULL or its answer: make one up. Floating, or a
	 * reference. */
	GVariant *(*object)(void *opaque, char letter);
	void *opaque;
	unsigned list_max; /* elements of an array */
};

/* Of the one type that type begins with; floating. */
GVariant *rpc_rig_value(struct rpc_rig *rig, const char *type);
