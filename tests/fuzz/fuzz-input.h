/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz-input.h - a fuzz target's input as a stream of little-endian numbers, 0 where it is over: the fuzz targets of devices
 * read their steps from one. And what has to hold, also where assertions are off.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static inline void check(bool ok)
{
	if (!ok)
		abort();
}

struct fuzz_input {
	const uint8_t *data;
	size_t left;
};

/* The next `bytes`, at most 8. */
static inline uint64_t fuzz_take(struct fuzz_input *in, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
		v |= (uint64_t)*in->data++ << 8 * i;
	return v;
}
