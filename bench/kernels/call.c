/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call: Fibonacci numbers by recursion. The barriers keep the compiler from turning half of the calls into a loop. */
#include "kernels.h"

static __attribute__((noipa)) u64 fib(unsigned n)
{
	u64 a, b;

	if (n < 2)
		return n;
	a = fib(n - 1);
	__asm__ volatile("" : "+r"(a));
	b = fib(n - 2);
	__asm__ volatile("" : "+r"(b));
	return a + b;
}

u64 kernel_call(void *arena)
{
	return fib(34);
}
