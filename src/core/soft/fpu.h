/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's vector state. Between fpu_enter() and fpu_leave() (KVM_RUN's entry and return) it is in the host's x87,
 * SSE and AVX registers with the guest's MXCSR and control word; otherwise in `area` (XSAVE format, standard, not
 * compacted). Everything that runs in between is compiled with general registers only and calls no foreign code that is
 * not.
 */
#pragma once
#include "types.h"

struct fpu {
	u8 *area;      /* 64-byte aligned, fpu_size() bytes: guest */
	u8 *host_area; /* the thread's own control words meanwhile */
	bool live;
	bool plain;	   /* the area's x87 part is FNINIT's, its SSE part and header are valid */
	u32 mxcsr_mask;
	bool tells_in_use; /* the host has XGETBV of XINUSE */
};
/* Offsets in the area (SDM vol. 1, 13.4) */
#define FPU_MXCSR      24
#define FPU_ST	       32
#define FPU_XMM	       160
#define FPU_XSTATE_BV  512
#define FPU_AVX_OFFSET 576u
#define FPU_AREA_MAX   (FPU_AVX_OFFSET + 256)

bool fpu_init(struct fpu *f); /* false: no memory */
void fpu_free(struct fpu *f);
void fpu_reset(struct fpu *f); /* what Linux KVM gives a new vCPU: FCW 0x37f, MXCSR 0x1f80, the rest 0 */
void fpu_written(struct fpu *f); /* somebody else wrote to the area */
NOINLINE void fpu_enter(struct fpu *f);
NOINLINE void fpu_leave(struct fpu *f);
u32 fpu_size(void);	/* bytes of an XSAVE area with every component a guest may enable */
u64 fpu_features(void); /* XCR0 bits a guest may set: x87, SSE, and AVX if the host has it */
