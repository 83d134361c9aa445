/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the first bytes of a file say of the image in it, as libvirt reads them: format, capacity, what it stands on. Nothing is
 * opened and nothing believed: it is for lists of volumes, while machines and tools are told formats (src/image). Pure.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

enum { HEADER_BYTES = 33 * 1024 }; /* an ISO's name is at 32 KiB */

struct header {
	const char *format; /* libvirt's name; "raw" when it looks like none */
	guint64 capacity;   /* bytes; of raw 0 */
	bool compat_11;	    /* qcow2 of version 3 */
	bool lazy_refcounts;
	guint64 cluster;      /* bytes */
	char *backing;	      /* as it stands there; g_free() */
	char *backing_format; /* NULL: not said */
};

/* bytes: at most HEADER_BYTES of it matter. */
void header_read(const guint8 *bytes, size_t len, struct header *ret);
void header_clear(struct header *h);
