/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * RCPPS, RSQRTPS and their kin. The architecture only bounds their error (SDM vol. 2): which bits a processor gives is its
 * own, and a guest has to find those that it finds in its other threads. So the host is asked, with a register of the
 * guest's put aside; the legacy forms leave the upper half of YMM0 alone. No exceptions. Called through the table in floats.c.
 */
#include "sse.h"

static NOINLINE void host_rcp(u32 (*x)[4])
{
	u64 saved[2];

	__asm__ volatile("movups %%xmm0, %1\n\t"
			 "movups %0, %%xmm0\n\t"
			 "rcpps %%xmm0, %%xmm0\n\t"
			 "movups %%xmm0, %0\n\t"
			 "movups %1, %%xmm0"
			 : "+m"(*x), "=&m"(saved));
}

static NOINLINE void host_rsqrt(u32 (*x)[4])
{
	u64 saved[2];

	__asm__ volatile("movups %%xmm0, %1\n\t"
			 "movups %0, %%xmm0\n\t"
			 "rsqrtps %%xmm0, %%xmm0\n\t"
			 "movups %%xmm0, %0\n\t"
			 "movups %1, %%xmm0"
			 : "+m"(*x), "=&m"(saved));
}

static void approximate(struct vec_insn *v, void (*host)(u32 (*x)[4]))
{
	const union vec *src = &v->s[v->arg & SSE_SCALAR ? 1 : 0];
	unsigned count = sse_count(v);

	for (unsigned n = 0; n < count; n += 4) {
		u32 x[4] = {src->d[n], src->d[n + 1], src->d[n + 2], src->d[n + 3]};

		host(&x);
		for (unsigned k = 0; k < 4 && n + k < count; k++)
			v->r.d[n + k] = x[k];
	}
}

void sse_rcp(struct vec_insn *v)
{
	approximate(v, host_rcp);
}

void sse_rsqrt(struct vec_insn *v)
{
	approximate(v, host_rsqrt);
}
