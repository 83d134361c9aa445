/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A LAPIC's state, for lapic*.c. The register page is in the format of KVM_GET_LAPIC: a u32 every 16 bytes. IRR and TMR
 * are changed by any thread, atomically; the other registers by the vCPU's own thread (or under its lock outside
 * KVM_RUN), others only read them. `lock` guards the timer.
 */
#pragma once
#include "internal.h"

enum {
	REG_ID = 0x20, REG_VERSION = 0x30, REG_TPR = 0x80, REG_APR = 0x90, REG_PPR = 0xa0, REG_EOI = 0xb0,
	REG_LDR = 0xd0, REG_DFR = 0xe0, REG_SVR = 0xf0, REG_ISR = 0x100, REG_TMR = 0x180, REG_IRR = 0x200,
	REG_ESR = 0x280, REG_ICR = 0x300, REG_ICR2 = 0x310, REG_LVTT = 0x320, REG_LVT_THERMAL = 0x330,
	REG_LVT_PMC = 0x340, REG_LVT0 = 0x350, REG_LVT1 = 0x360, REG_LVT_ERROR = 0x370, REG_TMICT = 0x380,
	REG_TMCCT = 0x390, REG_TDCR = 0x3e0, REG_SELF = 0x3f0,
};
#define LVT_MASKED (1u << 16)
#define LVT_LEVEL (1u << 15)
#define LVT_TIMER_MODE (3u << 17)
enum { TIMER_ONESHOT = 0, TIMER_PERIODIC = 1u << 17, TIMER_TSC_DEADLINE = 2u << 17 };
#define SVR_ENABLE (1u << 8)
#define BASE_BSP (1ull << 8)
#define BASE_X2APIC (1ull << 10)
#define BASE_ENABLE (1ull << 11)
#define BASE_DEFAULT 0xfee00000ull

struct lapic {
	u32 reg[KVM_APIC_REG_SIZE / 4];
	struct vcpu *vcpu;
	u64 base;
	s32 isr_top;	  /* highest vector in service, or -1 */
	bool irr_pending; /* atomic: IRR may be non-zero */
	bool eoi_offered; /* the guest may have ended the highest one in service without telling */

	pthread_mutex_t lock;
	struct kv_timer timer;
	u64 deadline; /* atomic: host_now_ns() of the next expiry, UINT64_MAX off */
	u64 period;   /* ns, of TMICT */
	bool rang;    /* atomic: its moment has come outside of KVM_RUN */
	u64 tsc_deadline;
	u32 divide;
};

static inline u32 *lapic_reg(struct lapic *l, u32 offset)
{
	return &l->reg[offset / 4];
}

static inline u32 lapic_get(const struct lapic *l, u32 offset)
{
	return __atomic_load_n(&l->reg[offset / 4], __ATOMIC_RELAXED);
}

static inline void lapic_put(struct lapic *l, u32 offset, u32 value)
{
	__atomic_store_n(&l->reg[offset / 4], value, __ATOMIC_RELAXED);
}

static inline bool lapic_x2(const struct lapic *l)
{
	return (l->base & (BASE_X2APIC | BASE_ENABLE)) == (BASE_X2APIC | BASE_ENABLE);
}

static inline bool lapic_on(const struct lapic *l)
{
	return (l->base & BASE_ENABLE) && (lapic_get(l, REG_SVR) & SVR_ENABLE);
}

/* Sets IRR (any thread) and wakes the vCPU. */
void lapic_raise(struct lapic *l, u8 vector, bool level_trigger);
/* Delivers a local interrupt by its LVT entry: true if it was not masked. */
bool lapic_local(struct lapic *l, u32 lvt);
/* Takes one message that is addressed to this LAPIC: 1 taken, 0 not. */
int lapic_take(struct lapic *l, const struct apic_message *m);
void lapic_init_vectors(struct lapic *l); /* irr_pending, isr_top and PPR after the registers were replaced */

u32 lapic_update_ppr(struct lapic *l); /* after TPR or ISR has changed; own thread */
void lapic_eoi(struct lapic *l);
bool lapic_eoi_heard(struct lapic *l, u8 vector); /* somebody waits for its end: the IOAPIC, user space */

/* ---- pv-eoi.c ---- */
void pv_eoi_offer(struct lapic *l, u8 vector);
void pv_eoi_take_back(struct lapic *l);
bool pv_eoi_enable(struct lapic *l, u64 msr); /* MSR_KVM_PV_EOI_EN; false: #GP */

/* isr_top, ISR and PPR are to be what the guest thinks. */
static inline void pv_eoi_settle(struct lapic *l)
{
	if (unlikely(l->eoi_offered))
		pv_eoi_take_back(l);
}

/* ---- lapic-timer.c ---- */
int lapic_timer_create(struct lapic *l);
void lapic_timer_destroy(struct lapic *l);
void lapic_timer_reset(struct lapic *l);
void lapic_timer_write(struct lapic *l, u32 reg, u32 value); /* REG_LVTT (mask applied), REG_TMICT, REG_TDCR */
u32 lapic_timer_current(struct lapic *l);
/* For KVM_GET_LAPIC: TMCCT; what is over is in IRR then. A TSC deadline is left to its MSR, though it be in the past. */
u32 lapic_timer_save(struct lapic *l);
/* After KVM_SET_LAPIC: goes on from TMCCT; a TSC deadline stands if that was the mode before. */
void lapic_timer_restore(struct lapic *l, u32 old_lvtt);
u64 lapic_timer_tsc_deadline(struct lapic *l);
void lapic_timer_set_tsc_deadline(struct lapic *l, u64 tsc);
