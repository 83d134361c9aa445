/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A LAPIC's vectors and priorities (SDM vol. 3, 11.8): IRR, ISR, TPR and PPR, its life, and KVM_{GET,SET}_LAPIC. Its
 * registers as the guest sees them are in lapic-regs.c, messages between LAPICs in apic-bus.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "lapic.h"

/* ---- vectors: eight u32, 16 bytes apart ---- */

static u32 *vector_word(struct lapic *l, u32 base, u8 vector)
{
	return lapic_reg(l, base + (u32)(vector >> 5) * 16);
}

static bool vector_test(struct lapic *l, u32 base, u8 vector)
{
	return __atomic_load_n(vector_word(l, base, vector), __ATOMIC_SEQ_CST) >> (vector & 31) & 1;
}

static void vector_set(struct lapic *l, u32 base, u8 vector)
{
	__atomic_fetch_or(vector_word(l, base, vector), 1u << (vector & 31), __ATOMIC_SEQ_CST);
}

static void vector_clear(struct lapic *l, u32 base, u8 vector)
{
	__atomic_fetch_and(vector_word(l, base, vector), ~(1u << (vector & 31)), __ATOMIC_SEQ_CST);
}

static int vector_highest(struct lapic *l, u32 base)
{
	for (int i = 7; i >= 0; i--) {
		u32 word = __atomic_load_n(lapic_reg(l, base + (u32)i * 16), __ATOMIC_SEQ_CST);

		if (word)
			return i * 32 + 31 - __builtin_clz(word);
	}
	return -1;
}

void lapic_raise(struct lapic *l, u8 vector, bool level_trigger)
{
	if (vector_test(l, REG_TMR, vector) != level_trigger)
		(level_trigger ? vector_set : vector_clear)(l, REG_TMR, vector);
	vector_set(l, REG_IRR, vector);
	__atomic_store_n(&l->irr_pending, true, __ATOMIC_SEQ_CST);
	vcpu_kick(l->vcpu);
}

/* Highest request, or -1; the flag spares the scan when there is none. Own thread. */
static int irr_highest(struct lapic *l)
{
	int top;

	if (likely(!__atomic_load_n(&l->irr_pending, __ATOMIC_SEQ_CST)))
		return -1;
	top = vector_highest(l, REG_IRR);
	if (top >= 0)
		return top;
	__atomic_store_n(&l->irr_pending, false, __ATOMIC_SEQ_CST);
	top = vector_highest(l, REG_IRR); /* one may have come in between */
	if (top >= 0)
		__atomic_store_n(&l->irr_pending, true, __ATOMIC_SEQ_CST);
	return top;
}

u32 lapic_update_ppr(struct lapic *l)
{
	u32 tpr = lapic_get(l, REG_TPR) & 0xff, isr = l->isr_top >= 0 ? (u32)l->isr_top & 0xf0 : 0;
	u32 ppr = (tpr & 0xf0) >= isr ? tpr : isr;

	lapic_put(l, REG_PPR, ppr);
	return ppr;
}

static int deliverable(struct lapic *l)
{
	int vector;

	if (!(l->base & BASE_ENABLE))
		return -1;
	vector = irr_highest(l);
	if (vector >= 0)
		pv_eoi_settle(l);
	return vector >= 0 && (u32)(vector & 0xf0) > (lapic_update_ppr(l) & 0xf0) ? vector : -1;
}

/* ---- what run.c asks ---- */

bool lapic_takes_pic(const struct lapic *l)
{
	u32 lvt0 = lapic_get(l, REG_LVT0);

	return !(l->base & BASE_ENABLE) || (!(lvt0 & LVT_MASKED) && (lvt0 >> 8 & 7) == APIC_EXTINT);
}

static bool pic_pending(struct vcpu *v)
{
	struct irqchips *c = v->vm->chips;

	return unlikely(__atomic_load_n(&c->pic.output, __ATOMIC_SEQ_CST)) && !c->split && lapic_takes_pic(v->lapic);
}

int lapic_pending(struct vcpu *v)
{
	if (pic_pending(v)) {
		int vector;

		pthread_mutex_lock(&v->vm->chips->lock);
		vector = pic_peek(v->vm->chips);
		pthread_mutex_unlock(&v->vm->chips->lock);
		if (vector >= 0)
			return vector;
	}
	return deliverable(v->lapic);
}

int lapic_accept(struct vcpu *v)
{
	struct lapic *l = v->lapic;
	int vector = -1;

	if (pic_pending(v)) {
		pthread_mutex_lock(&v->vm->chips->lock);
		if (v->vm->chips->pic.output)
			vector = pic_intack(v->vm->chips);
		pthread_mutex_unlock(&v->vm->chips->lock);
		if (vector >= 0)
			return vector;
	}
	vector = deliverable(l);
	if (vector < 0)
		return -1;
	vector_clear(l, REG_IRR, (u8)vector);
	*vector_word(l, REG_ISR, (u8)vector) |= 1u << (vector & 31);
	l->isr_top = vector;
	lapic_update_ppr(l);
	if (irr_highest(l) < 0)
		pv_eoi_offer(l, (u8)vector);
	return vector;
}

static bool ioapic_names(const struct irqchips *c, u8 vector)
{
	return __atomic_load_n(&c->ioapic.vectors[vector >> 5], __ATOMIC_RELAXED) >> (vector & 31) & 1;
}

bool lapic_eoi_heard(struct lapic *l, u8 vector)
{
	const struct irqchips *c = l->vcpu->vm->chips;

	return vector_test(l, REG_TMR, vector) || (!c->split && ioapic_names(c, vector));
}

/* End of interrupt: the highest one in service (SDM vol. 3, 11.8.5). */
void lapic_eoi(struct lapic *l)
{
	struct irqchips *c = l->vcpu->vm->chips;
	int vector = l->isr_top;

	if (vector < 0)
		return;
	*vector_word(l, REG_ISR, (u8)vector) &= ~(1u << (vector & 31));
	l->isr_top = vector_highest(l, REG_ISR);
	lapic_update_ppr(l);
	if (!lapic_eoi_heard(l, (u8)vector))
		return;
	if (c->split) {
		l->vcpu->eoi_exits[vector >> 6] |= 1ull << (vector & 63);
		l->vcpu->eoi_exit = true;
		vcpu_kick(l->vcpu); /* run.c looks at eoi_exit when execution stops */
	} else {
		pthread_mutex_lock(&c->lock);
		ioapic_eoi(c, (u8)vector);
		pthread_mutex_unlock(&c->lock);
	}
}

void lapic_init_vectors(struct lapic *l)
{
	l->isr_top = vector_highest(l, REG_ISR);
	__atomic_store_n(&l->irr_pending, true, __ATOMIC_SEQ_CST);
	lapic_update_ppr(l);
}

u64 lapic_get_tpr(struct vcpu *v)
{
	return lapic_get(v->lapic, REG_TPR) >> 4 & 15;
}

void lapic_set_tpr(struct vcpu *v, u64 cr8)
{
	lapic_put(v->lapic, REG_TPR, (u32)(cr8 & 15) << 4);
	lapic_update_ppr(v->lapic);
}

/* ---- local interrupts and messages ---- */

static void raise_nmi(struct vcpu *v)
{
	__atomic_store_n(&v->nmi_pending, true, __ATOMIC_SEQ_CST);
	vcpu_kick(v);
}

bool lapic_local(struct lapic *l, u32 lvt)
{
	u32 entry = lapic_get(l, lvt);

	if (!(l->base & BASE_ENABLE) || (entry & LVT_MASKED))
		return false;
	switch (lvt == REG_LVTT ? APIC_FIXED : entry >> 8 & 7) {
	case APIC_FIXED:
		if (lapic_on(l))
			lapic_raise(l, (u8)entry, (lvt == REG_LVT0 || lvt == REG_LVT1) && (entry & LVT_LEVEL));
		break;
	case APIC_NMI:
		raise_nmi(l->vcpu);
		break;
	}
	return true;
}

void lapic_lint0_nmi(struct lapic *l)
{
	if ((lapic_get(l, REG_LVT0) >> 8 & 7) == APIC_NMI)
		lapic_local(l, REG_LVT0);
}

int lapic_take(struct lapic *l, const struct apic_message *m)
{
	struct vcpu *v = l->vcpu;

	switch (m->delivery) {
	case APIC_FIXED:
	case APIC_LOWEST:
		if ((m->level_trigger && !m->assert) || !lapic_on(l))
			return 0;
		lapic_raise(l, m->vector, m->level_trigger);
		return 1;
	case APIC_REMOTE_READ: /* KVM's paravirtual kick */
		__atomic_store_n(&v->kicked, true, __ATOMIC_SEQ_CST);
		vcpu_kick(v);
		return 1;
	case APIC_NMI:
		raise_nmi(v);
		return 1;
	case APIC_INIT:
		if (m->level_trigger && !m->assert)
			return 0; /* INIT level de-assert */
		__atomic_store_n(&v->sipi_pending, false, __ATOMIC_SEQ_CST);
		__atomic_store_n(&v->init_pending, true, __ATOMIC_SEQ_CST);
		vcpu_kick(v);
		return 1;
	case APIC_STARTUP:
		v->sipi_vector = m->vector;
		__atomic_store_n(&v->sipi_pending, true, __ATOMIC_SEQ_CST);
		vcpu_kick(v);
		return 1;
	}
	return 0; /* SMI: there is no SMM; ExtINT comes through LINT0 */
}

/* ---- life ---- */

struct lapic *lapic_create(struct vcpu *v)
{
	struct lapic *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->vcpu = v;
	l->isr_top = -1;
	if (lapic_timer_create(l) < 0) {
		free(l);
		return NULL;
	}
	lapic_reset(l, false);
	return l;
}

void lapic_destroy(struct lapic *l)
{
	lapic_timer_destroy(l);
	free(l);
}

u64 lapic_base(struct vcpu *v)
{
	return v->lapic->base;
}

static void set_x2_id(struct lapic *l)
{
	u32 id = l->vcpu->id;

	lapic_put(l, REG_ID, id);
	lapic_put(l, REG_LDR, id >> 4 << 16 | 1u << (id & 15));
}

void lapic_reset(struct lapic *l, bool init_only)
{
	struct vcpu *v = l->vcpu;
	bool bsp = v->id == v->vm->bsp_id;

	lapic_timer_reset(l);
	l->eoi_offered = false;
	v->pv_eoi_msr = 0;
	if (!init_only) {
		l->base = BASE_DEFAULT | BASE_ENABLE | (bsp ? BASE_BSP : 0);
		lapic_put(l, REG_ID, v->id << 24);
	}
	lapic_put(l, REG_VERSION, 0x14 | 5u << 16);
	for (u32 lvt = REG_LVTT; lvt <= REG_LVT_ERROR; lvt += 16)
		lapic_put(l, lvt, LVT_MASKED);
	if (bsp)
		lapic_put(l, REG_LVT0, APIC_EXTINT << 8); /* virtual wire, so that firmware need not know of LAPICs */
	lapic_put(l, REG_DFR, 0xffffffff);
	lapic_put(l, REG_SVR, 0xff);
	lapic_put(l, REG_TPR, 0);
	if (lapic_x2(l))
		set_x2_id(l);
	else
		lapic_put(l, REG_LDR, 0);
	lapic_put(l, REG_ESR, 0);
	lapic_put(l, REG_ICR, 0);
	lapic_put(l, REG_ICR2, 0);
	lapic_put(l, REG_TDCR, 0);
	lapic_put(l, REG_TMICT, 0);
	for (u32 i = 0; i < 8 * 16; i += 16) {
		lapic_put(l, REG_IRR + i, 0);
		lapic_put(l, REG_ISR + i, 0);
		lapic_put(l, REG_TMR + i, 0);
	}
	lapic_init_vectors(l);
}

bool lapic_set_base(struct vcpu *v, u64 value)
{
	struct lapic *l = v->lapic;
	const u64 both = BASE_X2APIC | BASE_ENABLE;
	u64 old = l->base, known = BASE_BSP | BASE_X2APIC | BASE_ENABLE | (v->cpu.phys_mask & PAGE_MASK);

	if ((value & ~known) || (value & both) == BASE_X2APIC)
		return false;
	l->base = value;
	if ((value & both) == BASE_ENABLE && (old & both) != BASE_ENABLE)
		lapic_put(l, REG_ID, v->id << 24);
	else if (lapic_x2(l) && (old & both) != both)
		set_x2_id(l);
	vcpu_kick(v);
	return true;
}

/* ---- KVM_{GET,SET}_LAPIC: in x2APIC mode the ID is in bits 31..24 unless KVM_CAP_X2APIC_API asked for 32 bits ---- */

static bool wide_ids(const struct vcpu *v)
{
	return v->vm->caps_enabled & KVM_X2APIC_API_USE_32BIT_IDS;
}

int lapic_get_state(struct vcpu *v, struct kvm_lapic_state *s)
{
	struct lapic *l = v->lapic;
	u32 *regs = (u32 *)s->regs, left = lapic_timer_save(l);

	pv_eoi_settle(l);
	memcpy(s, l->reg, sizeof(l->reg));
	regs[REG_TMCCT / 4] = left;
	if (lapic_x2(l) && !wide_ids(v))
		regs[REG_ID / 4] <<= 24;
	return 0;
}

int lapic_set_state(struct vcpu *v, const struct kvm_lapic_state *s)
{
	struct lapic *l = v->lapic;
	const u32 *regs = (const u32 *)s->regs;
	u32 old_lvtt = lapic_get(l, REG_LVTT);

	if (lapic_x2(l) && (wide_ids(v) ? regs[REG_ID / 4] : regs[REG_ID / 4] >> 24) != v->id)
		return -EINVAL;
	pv_eoi_settle(l);
	memcpy(l->reg, s, sizeof(l->reg));
	if (lapic_x2(l))
		set_x2_id(l);
	lapic_put(l, REG_VERSION, 0x14 | 5u << 16);
	lapic_init_vectors(l);
	lapic_timer_restore(l, old_lvtt);
	vcpu_kick(v);
	return 0;
}
