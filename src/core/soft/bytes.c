/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memcpy and friends for this library alone: hidden, so that calls which the compiler makes up never reach libc's vector
 * versions, which would overwrite the guest's registers (fpu.h).
 */
#include <string.h>
#include "types.h"

#define HIDDEN __attribute__((visibility("hidden"), optimize("no-tree-loop-distribute-patterns")))

HIDDEN void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n) : : "memory");
	return dst;
}

HIDDEN void *memmove(void *dst, const void *src, size_t n)
{
	u8 *d = dst;
	const u8 *s = src;

	if ((uintptr_t)d - (uintptr_t)s >= n) {
		__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
		return dst;
	}
	while (n--)
		d[n] = s[n];
	return dst;
}

HIDDEN void *memset(void *dst, int value, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(value) : "memory");
	return dst;
}

HIDDEN int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (size_t i = 0; i < n; i++)
		if (x[i] != y[i])
			return x[i] - y[i];
	return 0;
}
