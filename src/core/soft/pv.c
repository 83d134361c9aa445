/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM's hypercalls (Documentation/virt/kvm/x86/hypercalls.rst): kicks, IPIs and yields of a paravirtual guest. */
#include "chip/chip.h"
#include "cpu/host.h"
#include "soft.h"
#include "sys.h"

enum { HC_VAPIC_POLL_IRQ = 1, HC_KICK_CPU = 5, HC_SEND_IPI = 10, HC_SCHED_YIELD = 11 };
#define HC_ENOSYS ((u64)-1000)
#define HC_EPERM ((u64)-1)

void host_hypercall(struct cpu *c)
{
	struct vcpu *v = c->vcpu, *to;
	u64 mask = c->mode == MODE_LONG64 ? ~0ull : 0xffffffff;
	u64 nr = c->gpr[RAX] & mask, a0 = c->gpr[RBX] & mask, a1 = c->gpr[RCX] & mask, a2 = c->gpr[RDX] & mask,
	    a3 = c->gpr[RSI] & mask, ret = HC_ENOSYS;

	if (c->cpl != 0) {
		ret = HC_EPERM;
	} else if (nr == HC_VAPIC_POLL_IRQ) {
		ret = 0;
	} else if (nr == HC_KICK_CPU) {
		to = vm_vcpu_by_id(v->vm, (u32)a1);
		if (to) {
			__atomic_store_n(&to->kicked, true, __ATOMIC_SEQ_CST);
			vcpu_kick(to);
		}
		ret = 0;
	} else if (nr == HC_SEND_IPI && v->lapic) {
		ret = lapic_pv_ipi(v->vm, a0, a1, (u32)a2, a3, mask == ~0ull);
	} else if (nr == HC_SCHED_YIELD) {
		to = vm_vcpu_by_id(v->vm, (u32)a0);
		if (to && to != v)
			sys_yield();
		ret = 0;
	}
	c->gpr[RAX] = ret & mask;
}
