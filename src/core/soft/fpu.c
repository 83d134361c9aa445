/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the guest's vector state lives: the host's registers in KVM_RUN, an XSAVE area outside. Of the thread's own
 * state only the control words must survive a function call (System V ABI), so only they are kept. Called by run.c and
 * vcpu.c.
 *
 * XSAVE and XRSTOR are slow, above all for the x87, which hardly anything uses: when XGETBV tells that guest and thread
 * have it as FNINIT makes it, plain loads and stores move the rest.
 */
#include <stdlib.h>
#include <string.h>
#include "fpu.h"
#include "host-cpuid.h"

#define X87 1u
#define AVX 4u
#define XFEATURES 7u /* x87, SSE, AVX */
#define FCW_INIT 0x37f
#define ALL_IN_USE (~0ull)
#define MXCSR_MASK 28 /* offset */

struct control {
	u32 mxcsr;
	u16 fcw;
};

static u64 host_xcr0(void)
{
	u32 r[4], a, d;

	host_leaf(1, 0, r);
	if (!(r[2] & (1u << 27))) /* OSXSAVE */
		return 0;
	__asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return a | (u64)d << 32;
}

/* XGETBV of XINUSE: CPUID leaf 0xd, subleaf 1. */
static bool tells_in_use(void)
{
	u32 r[4];

	host_leaf(0xd, 1, r);
	return r[0] & 4;
}

/* Components that are not in their initial state. */
static u64 in_use(const struct fpu *f)
{
	u32 a, d;

	if (!f->tells_in_use)
		return ALL_IN_USE;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(1));
	return a;
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
	if (!(fpu_features() & 2))
		return false;
	f->area = aligned_alloc(64, (FPU_AREA_MAX + 63) & ~63ul);
	f->host_area = aligned_alloc(64, 64);
	if (!f->area || !f->host_area) {
		fpu_free(f);
		return false;
	}
	f->tells_in_use = tells_in_use();
	__asm__ volatile("fxsave64 (%0)" : : "r"(f->area) : "memory");
	memcpy(&f->mxcsr_mask, f->area + MXCSR_MASK, sizeof(f->mxcsr_mask));
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
	static const u16 fcw = FCW_INIT; /* as Linux KVM starts a vCPU, which is FNINIT's */
	static const u32 mxcsr = 0x1f80;
	static const u64 present = 3;

	memset(f->area, 0, FPU_AREA_MAX);
	memcpy(f->area, &fcw, sizeof(fcw));
	memcpy(f->area + FPU_MXCSR, &mxcsr, sizeof(mxcsr));
	memcpy(f->area + MXCSR_MASK, &f->mxcsr_mask, sizeof(f->mxcsr_mask));
	memcpy(f->area + FPU_XSTATE_BV, &present, sizeof(present));
	f->plain = true;
}

void fpu_written(struct fpu *f)
{
	f->plain = false;
}

static u64 *present(const struct fpu *f)
{
	return (u64 *)(f->area + FPU_XSTATE_BV);
}

#define ALL_16 ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"

static void load_plain(const struct fpu *f)
{
	const u8 *xmm = f->area + FPU_XMM;

	if (*present(f) & AVX)
		__asm__ volatile(ALL_16 "vmovups 16*\\n(%0), %%xmm\\n\n\tvinsertf128 $1, 16*\\n(%1), %%ymm\\n, %%ymm\\n\n\t.endr"
				 : : "r"(xmm), "r"(f->area + FPU_AVX_OFFSET) : "memory");
	else if (fpu_features() & AVX)
		__asm__ volatile("vzeroupper\n\t" ALL_16 "movups 16*\\n(%0), %%xmm\\n\n\t.endr" : : "r"(xmm) : "memory");
	else
		__asm__ volatile(ALL_16 "movups 16*\\n(%0), %%xmm\\n\n\t.endr" : : "r"(xmm) : "memory");
	__asm__ volatile("ldmxcsr %0" : : "m"(f->area[FPU_MXCSR]) : "memory");
}

/* The x87 is as after FNINIT, and so the area is to say. */
static void save_plain(struct fpu *f, bool avx)
{
	const u64 fcw = FCW_INIT;

	if (!f->plain) {
		memset(f->area, 0, FPU_MXCSR);
		memcpy(f->area, &fcw, sizeof(fcw));
		memcpy(f->area + MXCSR_MASK, &f->mxcsr_mask, sizeof(f->mxcsr_mask));
		memset(f->area + FPU_ST, 0, FPU_XMM - FPU_ST);
	}
	if (!avx && (!f->plain || (*present(f) & AVX)))
		memset(f->area + FPU_AVX_OFFSET, 0, FPU_AREA_MAX - FPU_AVX_OFFSET);
	__asm__ volatile(ALL_16 "movups %%xmm\\n, 16*\\n(%0)\n\t.endr" : : "r"(f->area + FPU_XMM) : "memory");
	if (avx)
		__asm__ volatile(ALL_16 "vextractf128 $1, %%ymm\\n, 16*\\n(%0)\n\t.endr"
				 : : "r"(f->area + FPU_AVX_OFFSET) : "memory");
	__asm__ volatile("stmxcsr %0" : "=m"(f->area[FPU_MXCSR]) : : "memory");
	*present(f) = avx ? 7 : 3;
	f->plain = true;
}

static void save_all(struct fpu *f)
{
	u64 *legacy = (u64 *)f->area;

	__asm__ volatile("xsave64 (%0)" : : "r"(f->area), "a"(XFEATURES), "d"(0) : "memory");
	/* the last x87 instruction's addresses are the host's: 0 as after FNINIT */
	legacy[0] &= 0x0000ffffffffffffull;
	legacy[1] = legacy[2] = 0;
	*present(f) |= 3; /* readers look at the legacy part without asking */
	f->plain = false;
}

void fpu_enter(struct fpu *f)
{
	struct control *own = (struct control *)f->host_area;

	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(own->mxcsr), "=m"(own->fcw));
	if (f->plain && !(in_use(f) & X87))
		load_plain(f);
	else
		__asm__ volatile("xrstor64 (%0)" : : "r"(f->area), "a"(XFEATURES), "d"(0) : "memory");
	f->live = true;
}

void fpu_leave(struct fpu *f)
{
	struct control *own = (struct control *)f->host_area;
	u64 used = in_use(f);

	if (used & X87) {
		save_all(f);
		__asm__ volatile("fninit");
	} else {
		save_plain(f, used & AVX);
	}
	if ((used & X87) || own->fcw != FCW_INIT)
		__asm__ volatile("fldcw %0" : : "m"(own->fcw));
	__asm__ volatile("ldmxcsr %0" : : "m"(own->mxcsr));
	if (used & fpu_features() & AVX)
		__asm__ volatile("vzeroupper");
	f->live = false;
}
