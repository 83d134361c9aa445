/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a frame and its virtio header from a guest through software checksums and
 * segmentation. No byte outside the frame is touched, and what comes out is no longer in sum
 * than headers and payload can make it.
 */
#include <stdlib.h>
#include <string.h>

#include <glib.h>

#include "offload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADERS_MAX = 14 + 4 + 60 + 60 };

struct sum {
	size_t frames, bytes;
	uint8_t last;
};

static void on_frame(void *opaque, const uint8_t *frame, size_t len)
{
	struct sum *sum = opaque;

	for (size_t i = 0; i < len; i++)
		sum->last ^= frame[i];
	sum->frames++;
	sum->bytes += len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_net_hdr hdr;
	struct sum sum = {};
	uint8_t *frame;
	bool ok;

	if (size <= sizeof(hdr))
		return 0;
	memcpy(&hdr, data, sizeof(hdr));
	size -= sizeof(hdr);
	frame = g_malloc(size);
	memcpy(frame, data + sizeof(hdr), size);
	ok = net_offload_finish(frame, size, &hdr, 0, on_frame, &sum);
	g_free(frame);
	if (!ok && sum.frames)
		abort();
	if (ok && (!sum.frames || sum.bytes > size + sum.frames * HEADERS_MAX))
		abort();
	return 0;
}
