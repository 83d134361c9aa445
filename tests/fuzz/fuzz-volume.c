/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzz target: the first bytes of a file in a pool. What is read of them are texts that fit into a message, whatever they are. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t size)
{
	if (text && (!*text || strlen(text) > size || !g_utf8_validate(text, -1, NULL)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Of its exact size, so that a byte too many is seen. */
	g_autofree guint8 *copy = g_memdup2(data, size);
	struct header h;

	header_read(copy, size, &h);
	if (!h.format || (h.backing_format && !h.backing) || (h.compat_11 && strcmp(h.format, "qcow2") != 0))
		abort();
	check_text(h.backing, size);
	check_text(h.backing_format, size);
	header_clear(&h);
	return 0;
}
