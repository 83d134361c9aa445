/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A LAPIC's registers as the guest reads and writes them: the xAPIC page and the x2APIC MSRs (SDM vol. 3, 11.4 and
 * 11.12). On the vCPU's own thread.
 */
#include <string.h>
#include "lapic.h"

#define MSR_APIC_BASE 0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC 0x800
#define ICR_BUSY (1u << 12)
#define ICR_ASSERT (1u << 14)
#define ICR_LEVEL (1u << 15)

/* What an access to a register may do; bits of `mode`. */
enum { RD = 1, WR = 2, XRD = 4, XWR = 8, ALL = RD | WR | XRD | XWR, RO = RD | XRD };
static const u8 mode[64] = {
	[0x02] = RD | WR | XRD, [0x03] = RO, [0x08] = ALL, [0x09] = RD, [0x0a] = RO, [0x0b] = WR | XWR,
	[0x0d] = RD | WR | XRD, [0x0e] = RD | WR, [0x0f] = ALL,
	[0x10 ... 0x27] = RO, [0x28] = ALL, [0x30] = ALL, [0x31] = RD | WR,
	[0x32 ... 0x37] = ALL, [0x38] = ALL, [0x39] = RO, [0x3e] = ALL, [0x3f] = XWR,
};

/* Writable bits of the LVT entries (SDM vol. 3, figure 11-8); masked, delivery status and vector are common. */
#define LVT_BASE (LVT_MASKED | 1u << 12 | 0xff)
static const u32 lvt_mask[] = {
	LVT_BASE | LVT_TIMER_MODE, LVT_BASE | 0x700, LVT_BASE | 0x700, LVT_BASE | 0xe700, LVT_BASE | 0xe700, LVT_BASE,
};

static u32 reg_read(struct lapic *l, u32 reg)
{
	return reg == REG_TMCCT ? lapic_timer_current(l) : reg == REG_APR ? 0 : lapic_get(l, reg);
}

static void send_ipi(struct lapic *l, u32 low, u32 dest)
{
	struct apic_message m = {
		.dest = dest, .vector = (u8)low, .delivery = low >> 8 & 7, .shorthand = low >> 18 & 3,
		.logical = low >> 11 & 1, .level_trigger = low & ICR_LEVEL, .assert = low & ICR_ASSERT,
	};

	apic_send(l->vcpu->vm, l, &m);
}

static void write_svr(struct lapic *l, u32 value)
{
	lapic_put(l, REG_SVR, value & 0x3ff);
	if (value & SVR_ENABLE)
		return;
	for (u32 lvt = REG_LVTT; lvt <= REG_LVT_ERROR; lvt += 16)
		lapic_put(l, lvt, lapic_get(l, lvt) | LVT_MASKED);
}

static void write_lvt(struct lapic *l, u32 reg, u32 value)
{
	value &= lvt_mask[(reg - REG_LVTT) / 16];
	if (!(lapic_get(l, REG_SVR) & SVR_ENABLE))
		value |= LVT_MASKED;
	if (reg == REG_LVTT)
		lapic_timer_write(l, reg, value);
	else
		lapic_put(l, reg, value);
}

/* A register of xAPIC or x2APIC, ICR and the mode's own checks apart. */
static void reg_write(struct lapic *l, u32 reg, u32 value)
{
	switch (reg) {
	case REG_ID:
		lapic_put(l, reg, value & 0xff000000);
		break;
	case REG_TPR:
		lapic_put(l, reg, value & 0xff);
		lapic_update_ppr(l);
		break;
	case REG_EOI:
		lapic_eoi(l);
		break;
	case REG_LDR:
		lapic_put(l, reg, value & 0xff000000);
		break;
	case REG_DFR:
		lapic_put(l, reg, value | 0x0fffffff);
		break;
	case REG_SVR:
		write_svr(l, value);
		break;
	case REG_ICR2:
		lapic_put(l, reg, value & 0xff000000);
		break;
	case REG_ICR:
		lapic_put(l, reg, value & ~ICR_BUSY);
		send_ipi(l, value, lapic_get(l, REG_ICR2) >> 24);
		break;
	case REG_LVTT ... REG_LVT_ERROR:
		write_lvt(l, reg, value);
		break;
	case REG_TMICT:
	case REG_TDCR:
		lapic_timer_write(l, reg, value);
		break;
	case REG_SELF:
		lapic_raise(l, (u8)value, false);
		break;
	}
}

/* The xAPIC page; switched off or in x2APIC mode it reads as ones, as in KVM. */
bool lapic_mmio(struct vcpu *v, u64 gpa, void *data, unsigned len, bool write)
{
	struct lapic *l = v->lapic;
	u32 reg = (u32)(gpa & 0xff0), at = (u32)(gpa & 15), value;

	if ((gpa ^ l->base) & PAGE_MASK)
		return false;
	pv_eoi_settle(l);
	if (!(l->base & BASE_ENABLE) || lapic_x2(l)) {
		if (!write)
			memset(data, 0xff, len);
		return true;
	}
	if ((gpa & ~PAGE_MASK) >= KVM_APIC_REG_SIZE || at + len > 4 || !(mode[reg >> 4] & (write ? WR : RD))) {
		if (!write)
			memset(data, 0, len);
	} else if (write) {
		if (len == 4 && !at) {
			memcpy(&value, data, 4);
			reg_write(l, reg, value);
		}
	} else {
		value = reg_read(l, reg);
		memcpy(data, (u8 *)&value + at, len);
	}
	return true;
}

/* ---- MSRs ---- */

static u32 msr_reg(u32 index)
{
	return (index - MSR_X2APIC) << 4;
}

bool lapic_msr_read(struct vcpu *v, u32 index, u64 *value)
{
	struct lapic *l = v->lapic;
	u32 reg;

	if (index == MSR_APIC_BASE) {
		*value = l->base;
		return true;
	}
	if (index == MSR_TSC_DEADLINE) {
		*value = lapic_timer_tsc_deadline(l);
		return true;
	}
	if (index == MSR_KVM_PV_EOI) {
		*value = v->pv_eoi_msr;
		return true;
	}
	pv_eoi_settle(l);
	if (!lapic_x2(l) || index - MSR_X2APIC >= 64 || !(mode[index - MSR_X2APIC] & XRD))
		return false;
	reg = msr_reg(index);
	*value = reg_read(l, reg);
	if (reg == REG_ICR)
		*value |= (u64)lapic_get(l, REG_ICR2) << 32;
	return true;
}

/* The guest cannot go from x2APIC to xAPIC or from off to x2APIC (SDM vol. 3, 11.12.5). */
static bool guest_set_base(struct vcpu *v, u64 value)
{
	u64 old = v->lapic->base & (BASE_X2APIC | BASE_ENABLE), now = value & (BASE_X2APIC | BASE_ENABLE);

	if ((old == (BASE_X2APIC | BASE_ENABLE) && now == BASE_ENABLE) || (!old && now == (BASE_X2APIC | BASE_ENABLE)))
		return false;
	return lapic_set_base(v, value);
}

bool lapic_msr_write(struct vcpu *v, u32 index, u64 value)
{
	struct lapic *l = v->lapic;
	u32 reg;

	if (index == MSR_TSC_DEADLINE) {
		lapic_timer_set_tsc_deadline(l, value);
		return true;
	}
	if (index == MSR_KVM_PV_EOI)
		return pv_eoi_enable(l, value);
	pv_eoi_settle(l);
	if (index == MSR_APIC_BASE)
		return guest_set_base(v, value);
	if (!lapic_x2(l) || index - MSR_X2APIC >= 64 || !(mode[index - MSR_X2APIC] & XWR))
		return false;
	reg = msr_reg(index);
	if (reg == REG_ICR) {
		if (value & 0xfff32000u)
			return false;
		lapic_put(l, REG_ICR, (u32)value & ~ICR_BUSY);
		lapic_put(l, REG_ICR2, (u32)(value >> 32));
		send_ipi(l, (u32)value, (u32)(value >> 32));
		return true;
	}
	if (value >> 32 || ((reg == REG_ESR || reg == REG_EOI) && value) || (reg == REG_SELF && value > 0xff))
		return false;
	reg_write(l, reg, (u32)value);
	return true;
}
