/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The processor a guest sees: what KVM_GET_SUPPORTED_CPUID offers, with this machine's topology (every vCPU a core of one
 * package) and the bits that only a VMM can promise. Called by vcpu.c. Sources: SDM vol. 2 CPUID, APM vol. 3 appendix E.
 */
#include <errno.h>
#include <stdlib.h>

#include "error.h"
#include "internal.h"

#define ENTRIES_MAX 256

static unsigned id_bits(unsigned cpus)
{
	unsigned bits = 0;

	while (1u << bits < cpus)
		bits++;
	return bits;
}

static void set_leaf_1(struct kvm_cpuid_entry2 *e, const struct vcpu *v, bool deadline)
{
	unsigned cpus = v->m->cpus;

	e->ebx = (e->ebx & 0xffff) | (cpus > 255 ? 255 : cpus) << 16 | v->index << 24;
	e->ecx |= 1u << 31; /* under a hypervisor */
	if (deadline)
		e->ecx |= 1u << 24; /* TSC deadline timer: in the LAPIC, so KVM leaves it to us */
	e->ecx |= 1u << 21;	    /* x2APIC, likewise */
	if (cpus > 1)
		e->edx |= 1u << 28;
}

/* Extended topology: threads, then cores. */
static void set_topology(struct kvm_cpuid_entry2 *e, const struct vcpu *v)
{
	e->eax = e->ebx = 0;
	e->ecx = e->index;
	e->edx = v->index;
	if (e->index == 0) {
		e->ebx = 1;
		e->ecx |= 1 << 8;
	} else if (e->index == 1) {
		e->eax = id_bits(v->m->cpus);
		e->ebx = v->m->cpus;
		e->ecx |= 2 << 8;
	}
}

static void adjust(struct kvm_cpuid_entry2 *e, const struct vcpu *v, bool deadline)
{
	unsigned cpus = v->m->cpus;

	switch (e->function) {
	case 1:
		set_leaf_1(e, v, deadline);
		break;
	case 4:
		e->eax = (e->eax & 0x3ffc3fff) | ((e->eax >> 5 & 7) >= 3 ? cpus - 1 : 0) << 14 | (cpus - 1) << 26;
		break;
	case 0xb:
	case 0x1f:
		set_topology(e, v);
		break;
	case 0x80000008:
		e->ecx = (e->ecx & ~0xf0ffu) | id_bits(cpus) << 12 | (cpus - 1);
		break;
	case 0x8000001e:
		e->eax = v->index;
		e->ebx = v->index;
		e->ecx = 0;
		break;
	default:
		break;
	}
}

static void add_second_topology_leaf(struct kvm_cpuid2 *c)
{
	bool second = false;

	for (unsigned i = 0; i < c->nent; i++)
		second |= c->entries[i].function == 0xb && c->entries[i].index == 1;
	for (unsigned i = 0; !second && i < c->nent; i++) {
		if (c->entries[i].function != 0xb || c->nent == ENTRIES_MAX)
			continue;
		c->entries[c->nent] = c->entries[i];
		c->entries[c->nent++].index = 1;
		return;
	}
}

bool cpuid_set(struct vcpu *v, GError **error)
{
	g_autofree struct kvm_cpuid2 *c = g_malloc0(sizeof(*c) + ENTRIES_MAX * sizeof(c->entries[0]));
	bool deadline = kvcore_ioctl(v->m->kvm_fd, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_TSC_DEADLINE_TIMER) > 0;

	c->nent = ENTRIES_MAX;
	if (kvcore_ioctl(v->m->kvm_fd, KVM_GET_SUPPORTED_CPUID, c) < 0)
		return kv_fail_errno(error, errno, "KVM_GET_SUPPORTED_CPUID");
	add_second_topology_leaf(c);
	for (unsigned i = 0; i < c->nent; i++)
		adjust(&c->entries[i], v, deadline);
	if (kvcore_ioctl(v->fd, KVM_SET_CPUID2, c) < 0)
		return kv_fail_errno(error, errno, "vCPU %u: KVM_SET_CPUID2", v->index);
	return true;
}
