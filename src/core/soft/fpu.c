/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the guest's vector state lives: the host's registers in KVM_RUN, an XSAVE area outside. Of the thread's own
 * state only the control words must survive a function call (System V ABI), so only they are kept. Called by run.c and
 * vcpu.c.
 */
#include <stdlib.h>
#include <string.h>
#include "cpu/vector.h"
#include "fpu.h"

#define XFEATURES 7u /* x87, SSE, AVX */

struct control {
	u32 mxcsr;
	u16 fcw;
};

static u64 host_xcr0(void)
{
	u32 a = 1, b, c = 0, d;

	__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	if (!(c & (1u << 27))) /* OSXSAVE */
		return 0;
	__asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return a | (u64)d << 32;
}

u64 fpu_features(void)
{
	static u64 cached;
	u64 f = __atomic_load_n(&cached, __ATOMIC_RELAXED);

	if (!f) {
		f = host_xcr0() & XFEATURES;
		__atomic_store_n(&cached, f, __ATOMIC_RELAXED);
	}
	return f;
}

u32 fpu_size(void)
{
	return fpu_features() & 4 ? FPU_AVX_OFFSET + 256 : FPU_AVX_OFFSET;
}

bool fpu_init(struct fpu *f)
{
	*f = (struct fpu){0};
	if (!(fpu_features() & 2) || !vector_init())
		return false;
	f->area = aligned_alloc(64, (FPU_AREA_MAX + 63) & ~63ul);
	f->host_area = aligned_alloc(64, 64);
	if (!f->area || !f->host_area) {
		fpu_free(f);
		return false;
	}
	memset(f->area, 0, FPU_AREA_MAX);
	fpu_reset(f);
	return true;
}

void fpu_free(struct fpu *f)
{
	free(f->area);
	free(f->host_area);
	*f = (struct fpu){0};
}

void fpu_reset(struct fpu *f)
{
	static const u16 fcw = 0x37f; /* as Linux KVM starts a vCPU, which is FNINIT's */
	static const u32 mxcsr = 0x1f80;
	static const u64 present = 3;

	memset(f->area, 0, FPU_AREA_MAX);
	memcpy(f->area, &fcw, sizeof(fcw));
	memcpy(f->area + FPU_MXCSR, &mxcsr, sizeof(mxcsr));
	memcpy(f->area + FPU_XSTATE_BV, &present, sizeof(present));
}

void fpu_enter(struct fpu *f)
{
	struct control *own = (struct control *)f->host_area;

	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(own->mxcsr), "=m"(own->fcw));
	__asm__ volatile("xrstor64 (%0)" : : "r"(f->area), "a"(XFEATURES), "d"(0) : "memory");
	f->live = true;
}

void fpu_leave(struct fpu *f)
{
	struct control *own = (struct control *)f->host_area;
	u64 *legacy = (u64 *)f->area;

	__asm__ volatile("xsave64 (%0)" : : "r"(f->area), "a"(XFEATURES), "d"(0) : "memory");
	/* the last x87 instruction's addresses are the host's: 0 as after FNINIT */
	legacy[0] &= 0x0000ffffffffffffull;
	legacy[1] = legacy[2] = 0;
	*(u64 *)(f->area + FPU_XSTATE_BV) |= 3; /* readers look at the legacy part without asking */
	__asm__ volatile("fninit\n\tfldcw %1\n\tldmxcsr %0" : : "m"(own->mxcsr), "m"(own->fcw));
	if (fpu_features() & 4)
		__asm__ volatile("vzeroupper");
	f->live = false;
}
