/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Interrupt messages to LAPICs: physical, logical and shorthand destinations, lowest priority (SDM vol. 3, 11.6 and
 * 11.11). Callers: ICR writes, IOAPIC, MSI, paravirtual IPIs; from any thread, without a lock.
 */
#include <errno.h>
#include "lapic.h"

static u32 lapic_id(const struct lapic *l)
{
	return lapic_x2(l) ? l->vcpu->id : lapic_get(l, REG_ID) >> 24;
}

static bool match_logical(const struct lapic *l, u32 dest)
{
	u32 ldr = lapic_get(l, REG_LDR);

	if (lapic_x2(l))
		return ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff);
	ldr >>= 24;
	switch (lapic_get(l, REG_DFR) >> 28) {
	case 15: /* flat */
		return ldr & dest;
	case 0: /* cluster */
		return ldr >> 4 == dest >> 4 && (ldr & dest & 15);
	}
	return false;
}

static bool broadcast(const struct lapic *l, const struct lapic *source, u32 dest)
{
	if (!lapic_x2(l))
		return dest == 0xff;
	if (dest == 0xffffffff)
		return true;
	/* Devices know 8-bit destinations only, unless user space says otherwise (KVM_CAP_X2APIC_API). */
	return dest == 0xff && !source &&
	       !(l->vcpu->vm->caps_enabled & KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
}

static bool match(const struct lapic *l, const struct lapic *source, const struct apic_message *m)
{
	switch (m->shorthand) {
	case APIC_TO_SELF:
		return l == source;
	case APIC_TO_ALL:
		return true;
	case APIC_TO_OTHERS:
		return l != source;
	}
	if (broadcast(l, source, m->dest))
		return true;
	return m->logical ? match_logical(l, m->dest) : lapic_id(l) == m->dest;
}

/* The LAPIC a plain physical destination almost always means; then nobody else can match. */
static struct lapic *fast_target(struct vm *vm, const struct lapic *source, const struct apic_message *m)
{
	struct vcpu *v;

	if (m->shorthand == APIC_TO_SELF)
		return (struct lapic *)source;
	if (m->shorthand != APIC_TO_DEST || m->logical || m->dest >= 0xff)
		return NULL;
	v = vm_vcpu_by_id(vm, m->dest);
	return v && lapic_x2(v->lapic) ? v->lapic : NULL;
}

/* Lowest priority: as KVM does, the vector chooses among those addressed that are enabled. */
static int send_lowest(struct vm *vm, struct lapic *source, const struct apic_message *m, u32 count)
{
	u32 candidates = 0, chosen;

	for (u32 i = 0; i < count; i++)
		candidates += lapic_on(vm->vcpu[i]->lapic) && match(vm->vcpu[i]->lapic, source, m);
	if (!candidates)
		return -1;
	chosen = m->vector % candidates;
	for (u32 i = 0; i < count; i++) {
		struct lapic *l = vm->vcpu[i]->lapic;

		if (lapic_on(l) && match(l, source, m) && chosen-- == 0)
			return lapic_take(l, m);
	}
	return -1; /* one was switched off meanwhile */
}

int apic_send(struct vm *vm, struct lapic *source, const struct apic_message *m)
{
	u32 count = __atomic_load_n(&vm->vcpu_count, __ATOMIC_ACQUIRE);
	bool lowest = m->delivery == APIC_LOWEST || m->redirect;
	struct lapic *l = fast_target(vm, source, m);
	int taken = -1;

	if (l && (l->base & BASE_ENABLE))
		return lapic_take(l, m);
	if (lowest && !(!m->logical && m->dest == 0xff))
		return send_lowest(vm, source, m, count);
	for (u32 i = 0; i < count; i++) {
		l = vm->vcpu[i]->lapic;
		if (!(l->base & BASE_ENABLE) || !match(l, source, m))
			continue;
		taken = (taken < 0 ? 0 : taken) + lapic_take(l, m);
	}
	return taken;
}

struct apic_message apic_msi_message(const struct vm *vm, u32 low, u32 high, u32 data)
{
	struct apic_message m = {
		.dest = low >> 12 & 0xff, .logical = low >> 2 & 1, .redirect = low >> 3 & 1,
		.vector = (u8)data, .delivery = data >> 8 & 7, .level_trigger = data >> 15 & 1, .assert = true,
	};

	if (vm->caps_enabled & KVM_X2APIC_API_USE_32BIT_IDS)
		m.dest |= high & 0xffffff00;
	return m;
}

int irq_send_msi(struct vm *vm, const struct kvm_msi *msi)
{
	struct apic_message m;

	if ((msi->flags & ~KVM_MSI_VALID_DEVID) ||
	    ((vm->caps_enabled & KVM_X2APIC_API_USE_32BIT_IDS) && (msi->address_hi & 0xff)))
		return -EINVAL;
	m = apic_msi_message(vm, msi->address_lo, msi->address_hi, msi->data);
	vm_device_event(vm);
	return apic_send(vm, NULL, &m);
}

u64 lapic_pv_ipi(struct vm *vm, u64 low, u64 high, u32 min, u64 icr, bool long_mode)
{
	struct apic_message m = { .vector = (u8)icr, .delivery = icr >> 8 & 7, .level_trigger = icr >> 15 & 1 };
	u64 taken = 0, bits[2] = { low, high };
	u32 width = long_mode ? 64 : 32;

	if (icr & 0xc0800) /* logical destination or shorthand */
		return (u64)-EINVAL;
	for (u32 w = 0; w < 2; w++)
		for (u32 i = 0; i < width; i++) {
			struct vcpu *v = bits[w] >> i & 1 ? vm_vcpu_by_id(vm, min + w * width + i) : NULL;

			if (v && v->lapic)
				taken += (u64)lapic_take(v->lapic, &m);
		}
	return taken;
}
