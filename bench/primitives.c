/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of ring 3's primitives that need no kernel of their own: for the guest and the native program. */
#include "primitives.h"

#define USER(name) void user_##name(uint64_t count, void *scratch)
USER(loop);
USER(call);
USER(call_far);
USER(call_two);
USER(cpuid);
USER(rdtsc);
USER(movs);
USER(stos);
USER(smc);
USER(fadd);
USER(addpd);
USER(paddd);
USER(xadd);
USER(div);

const struct primitive user_primitives[] = {
	{ "loop", user_loop, 1 },
	{ "call", user_call, 8 },
	{ "call-far", user_call_far, 8 },
	{ "call-two", user_call_two, 8 },
	{ "cpuid", user_cpuid, 1 },
	{ "rdtsc", user_rdtsc, 4 },
	{ "movsb-4k", user_movs, 1 },
	{ "stosb-4k", user_stos, 1 },
	{ "smc", user_smc, 1 },
	{ "fadd", user_fadd, 8 },
	{ "addpd", user_addpd, 8 },
	{ "paddd", user_paddd, 8 },
	{ "xadd", user_xadd, 4 },
	{ "div", user_div, 4 },
	{ 0 },
};
