/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mm: products of double matrices in SSE2, by the compiler's vectorizer. */
#include "kernels.h"

#define SIZE 128
#define ROUNDS 30

typedef double matrix[SIZE][SIZE];

static void multiply(matrix *restrict c, const matrix *restrict a, const matrix *restrict b)
{
	for (unsigned i = 0; i < SIZE; i++) {
		for (unsigned j = 0; j < SIZE; j++)
			(*c)[i][j] = 0;
		for (unsigned k = 0; k < SIZE; k++)
			for (unsigned j = 0; j < SIZE; j++)
				(*c)[i][j] += (*a)[i][k] * (*b)[k][j];
	}
}

u64 kernel_mm(void *arena)
{
	matrix *m = arena;
	u64 seed = 7, sum = 0;

	for (unsigned i = 0; i < SIZE; i++)
		for (unsigned j = 0; j < SIZE; j++) {
			m[0][i][j] = (double)(next_random(&seed) % 2001) / 1000 / SIZE;
			m[1][i][j] = (double)(next_random(&seed) % 2001) / 1000;
		}
	for (unsigned n = 0; n < ROUNDS; n++)
		multiply(&m[n % 2 ? 1 : 2], &m[0], &m[n % 2 ? 2 : 1]);
	for (unsigned i = 0; i < SIZE; i++)
		for (unsigned j = 0; j < SIZE; j++)
			sum = mix(sum, (u64)(m[1][i][j] * 1e9));
	return sum;
}
