/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hash: counting words in an open-addressed table of 512 KiB, half full. */
#include "kernels.h"

#define SLOTS (32u << 10)
#define KEYS (SLOTS / 2)
#define UPDATES (10u << 20)

struct slot {
	u64 key, count;
};

static struct slot *find(struct slot *table, u64 key)
{
	for (u64 at = key * 0x9e3779b97f4a7c15ull >> 49;; at = (at + 1) % SLOTS)
		if (table[at].key == key || !table[at].key)
			return &table[at];
}

u64 kernel_hash(void *arena)
{
	struct slot *table = arena;
	u64 seed = 2, sum = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		table[i] = (struct slot){ 0, 0 };
	for (unsigned i = 0; i < UPDATES; i++) {
		u64 key = next_random(&seed) % KEYS + 1;
		struct slot *s = find(table, key);

		s->key = key;
		s->count += i;
	}
	for (unsigned i = 0; i < SLOTS; i++)
		sum = mix(sum, table[i].key + table[i].count);
	return sum;
}
