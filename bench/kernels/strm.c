/* SPDX-License-Identifier: GPL-2.0-or-later */
/* strm: copies and sums of arrays in SSE2, by the compiler's vectorizer; they fit a level-2 cache. */
#include "kernels.h"

#define WORDS (32u << 10)
#define ROUNDS 4000

u64 kernel_strm(void *arena)
{
	u32 *restrict from = arena, *restrict to = from + WORDS;
	u64 seed = 6, sum = 0;

	for (unsigned i = 0; i < WORDS; i++)
		from[i] = (u32)next_random(&seed);
	for (unsigned n = 0; n < ROUNDS; n++) {
		u32 part = 0;

		from[n] += n;
		for (unsigned i = 0; i < WORDS; i++)
			to[i] = from[i];
		for (unsigned i = 0; i < WORDS; i++)
			part += to[i];
		sum = mix(sum, part);
	}
	return sum;
}
