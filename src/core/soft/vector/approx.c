/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * RCPPS, RSQRTPS and their kin. The architecture only bounds their error (SDM vol. 2): which bits a processor gives is its
 * own, and a guest has to find those that it finds in its other threads. So the host is asked, with a register of the
 * guest's put aside; the legacy forms leave the upper half of YMM0 alone. No exceptions. Called through the table in floats.c.
 */
#include "sse.h"

#define APPROXIMATION(name, insn)                                                                                                \
	static void name(u32 *x)                                                                                                 \
	{                                                                                                                        \
		u64 saved[2];                                                                                                    \
                                                                                                                                 \
		__asm__ volatile("movups %%xmm0, %1\n\t"                                                                         \
				 "movups %0, %%xmm0\n\t" insn " %%xmm0, %%xmm0\n\t"                                              \
				 "movups %%xmm0, %0\n\t"                                                                         \
				 "movups %1, %%xmm0"                                                                             \
				 : "+m"(*(u32(*)[4])x), "=&m"(saved));                                                           \
	}

APPROXIMATION(host_rcp, "rcpps")
APPROXIMATION(host_rsqrt, "rsqrtps")

static void approximate(struct vec_insn *v, void (*host)(u32 *x))
{
	union vec x = v->s[v->arg & SSE_SCALAR ? 1 : 0];
	unsigned count = sse_count(v);

	host(x.d);
	host(x.d + 4);
	for (unsigned n = 0; n < count; n++)
		v->r.d[n] = x.d[n];
}

void sse_rcp(struct vec_insn *v)
{
	approximate(v, host_rcp);
}

void sse_rsqrt(struct vec_insn *v)
{
	approximate(v, host_rsqrt);
}
