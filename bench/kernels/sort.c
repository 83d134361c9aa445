/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sort: quicksort of random words, insertion sort below 12: branches that no predictor knows. */
#include "kernels.h"

#define WORDS (384u << 10)

static void sort_small(u32 *a, long n)
{
	for (long i = 1; i < n; i++) {
		u32 v = a[i];
		long k = i;

		for (; k && a[k - 1] > v; k--)
			a[k] = a[k - 1];
		a[k] = v;
	}
}

static void sort(u32 *a, long n)
{
	while (n > 12) {
		u32 pivot = a[n / 2];
		long i = 0, k = n - 1;

		while (i <= k) {
			while (a[i] < pivot)
				i++;
			while (a[k] > pivot)
				k--;
			if (i <= k) {
				u32 v = a[i];

				a[i++] = a[k];
				a[k--] = v;
			}
		}
		sort(a, k + 1);
		a += i;
		n -= i;
	}
	sort_small(a, n);
}

u64 kernel_sort(void *arena)
{
	u32 *a = arena;
	u64 seed = 1, sum = 0;

	for (unsigned i = 0; i < WORDS; i++)
		a[i] = (u32)next_random(&seed);
	sort(a, WORDS);
	for (unsigned i = 0; i < WORDS; i++)
		sum = mix(sum, a[i]);
	return sum;
}
