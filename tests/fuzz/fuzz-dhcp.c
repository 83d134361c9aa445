/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzz target: a frame that may be DHCP. No byte outside of it is read, and what is found has an end. */
#include <stdlib.h>
#include <string.h>

#include "dhcp-look.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *frame = malloc(size ? size : 1); /* its end is where a sanitizer sees it */
	struct dhcp_seen seen;

	memcpy(frame, data, size);
	if (dhcp_look(frame, size, &seen) && (!seen.type || strlen(seen.name) > DHCP_NAME_MAX))
		abort();
	free(frame);
	return 0;
}
