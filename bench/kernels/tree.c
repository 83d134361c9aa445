/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tree: an unbalanced binary tree, built and then searched: one dependent load after the other. */
#include "kernels.h"

#define NODES (16u << 10)
#define SEARCHES (192u << 10)

struct node {
	u64 key, hits;
	struct node *child[2];
};

u64 kernel_tree(void *arena)
{
	struct node *node = arena, *root = NULL;
	u64 seed = 4, sum = 0;

	for (unsigned i = 0; i < NODES; i++) {
		struct node **at = &root;

		node[i] = (struct node){ .key = next_random(&seed) };
		while (*at)
			at = &(*at)->child[node[i].key > (*at)->key];
		*at = &node[i];
	}
	for (unsigned i = 0; i < SEARCHES; i++) {
		u64 key = i & 1 ? node[next_random(&seed) % NODES].key : next_random(&seed);
		struct node *n = root;

		while (n && n->key != key)
			n = key > n->key ? n->child[1] : n->child[0];
		if (n)
			n->hits++;
	}
	for (unsigned i = 0; i < NODES; i++)
		sum = mix(sum, node[i].key + node[i].hits);
	return sum;
}
