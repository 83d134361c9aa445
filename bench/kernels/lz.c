/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lz: greedy matching of bytes through a hash of three, as the LZ77 family compresses; its tokens are only summed. */
#include "kernels.h"

#define BYTES (2u << 20)
#define HASH_BITS 14
#define MATCH_MAX 258
#define ROUNDS 3

/* Text with repeats: a random byte of a small alphabet, or a piece of what was before. */
static void fill(u8 *text)
{
	u64 seed = 3;

	for (unsigned i = 0; i < BYTES;) {
		u64 r = next_random(&seed);
		unsigned len = (r >> 8) % 20 + 3, back = (r >> 16) % 8192 + 1;

		if (r % 3 || back > i) {
			text[i++] = (u8)('a' + (r >> 32) % 20);
			continue;
		}
		for (; len && i < BYTES; len--, i++)
			text[i] = text[i - back];
	}
}

static u64 compress(const u8 *text, u32 *head, u64 sum)
{
	for (unsigned i = 0; i < 1u << HASH_BITS; i++)
		head[i] = 0;
	for (u32 at = 0; at + 3 < BYTES;) {
		u32 word = text[at] | text[at + 1] << 8 | text[at + 2] << 16;
		u32 *slot = &head[word * 0x9e3779b1u >> (32 - HASH_BITS)];
		u32 from = *slot, len = 0;

		*slot = at;
		if (from < at)
			while (len < MATCH_MAX && at + len < BYTES && text[from + len] == text[at + len])
				len++;
		sum = mix(sum, len >= 3 ? len << 16 | (at - from) : text[at]);
		at += len >= 3 ? len : 1;
	}
	return sum;
}

u64 kernel_lz(void *arena)
{
	u8 *text = arena;
	u64 sum = 0;

	fill(text);
	for (unsigned n = 0; n < ROUNDS; n++)
		sum = compress(text, (u32 *)(text + BYTES), sum);
	return sum;
}
