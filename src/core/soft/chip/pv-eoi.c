/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paravirtual EOI (Documentation/virt/kvm/x86/msr.rst, MSR_KVM_PV_EOI_EN): a guest that finds a bit of its own memory set
 * clears it, and has ended the interrupt without a write to the LAPIC, which only the interpreter does. The bit is offered
 * when an interrupt is taken that nobody waits for the end of: no other one is requested, no line is level triggered. It is
 * taken back before the LAPIC looks at what is in service. lapic*.c call this, on the vCPU's own thread.
 */
#include "lapic.h"

static bool write_byte(struct lapic *l, u64 msr, u8 value)
{
	return vm_write_phys(l->vcpu->vm, msr & ~3ull, &value, 1);
}

void pv_eoi_offer(struct lapic *l, u8 vector)
{
	u64 msr = l->vcpu->pv_eoi_msr;

	l->eoi_offered = (msr & 1) && !lapic_eoi_heard(l, vector) && write_byte(l, msr, 1);
}

void pv_eoi_take_back(struct lapic *l)
{
	u64 msr = l->vcpu->pv_eoi_msr;
	u8 offered;

	l->eoi_offered = false;
	if (vm_read_phys(l->vcpu->vm, msr & ~3ull, &offered, 1) && write_byte(l, msr, 0) && !(offered & 1))
		lapic_eoi(l);
}

bool pv_eoi_enable(struct lapic *l, u64 msr)
{
	pv_eoi_settle(l); /* before the byte is written: it may be the same one */
	if ((msr & 2) || ((msr & 1) && !write_byte(l, msr, 0)))
		return false;
	l->vcpu->pv_eoi_msr = msr;
	return true;
}
