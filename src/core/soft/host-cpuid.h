/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host's CPUID. Where the host is a virtual machine each takes 6 microseconds, so what glibc's start has asked anyway is
 * taken from there (<sys/platform/x86.h>, 2.33: as the processor said it). When a VM or the table of CPUID is made: not while
 * vector state is the guest's. Used by cpuid.c and fpu.c.
 */
#pragma once
#include "sys.h"

#if __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>

static inline void host_leaf(u32 leaf, u32 sub, u32 out[4])
{
	static const struct {
		u32 leaf, sub, index;
	} known[] = {
		{ 1, 0, CPUID_INDEX_1 },
		{ 7, 0, CPUID_INDEX_7 },
		{ 7, 1, CPUID_INDEX_7_ECX_1 },
		{ 0xd, 1, CPUID_INDEX_D_ECX_1 },
		{ 0x80000001, 0, CPUID_INDEX_80000001 },
		{ 0x80000007, 0, CPUID_INDEX_80000007 },
		{ 0x80000008, 0, CPUID_INDEX_80000008 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
		const struct cpuid_feature *f;

		if (known[i].leaf != leaf || known[i].sub != sub)
			continue;
		f = __x86_get_cpuid_feature_leaf(known[i].index);
		for (unsigned r = 0; r < 4; r++)
			out[r] = f->cpuid_array[r];
		return;
	}
	sys_cpuid(leaf, sub, out);
}
#else
static inline void host_leaf(u32 leaf, u32 sub, u32 out[4])
{
	sys_cpuid(leaf, sub, out);
}
#endif
