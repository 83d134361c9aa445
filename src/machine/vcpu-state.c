/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a vCPU and KVM's chips are made of, read and written as a whole through KVM's state
 * ioctls: for the power-on state that a reset brings back, and for saved machines. Called by
 * vcpu.c and machine.c while the vCPUs stand still.
 */
#include <errno.h>

#include "error.h"
#include "internal.h"
#include "log.h"

enum {
	MSR_TSC = 0x10,
	MSR_TSC_ADJUST = 0x3b,
	MSRS_MAX = 1024,
	MSRS_AT_ONCE = 64,
};

static bool call(struct vcpu *v, unsigned long request, void *arg, const char *what,
		 GError **error)
{
	if (kvcore_ioctl(v->fd, request, arg) < 0)
		return kv_fail_errno(error, errno, "vCPU %u: %s", v->index, what);
	return true;
}

/* ---- model specific registers ---- */

bool vcpu_msr_list(int kvm_fd, struct kvm_msr_list **ret_list, GError **error)
{
	g_autofree struct kvm_msr_list *list =
		g_malloc0(sizeof(*list) + MSRS_MAX * sizeof(list->indices[0]));

	list->nmsrs = MSRS_MAX;
	if (kvcore_ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, list) < 0)
		return kv_fail_errno(error, errno, "KVM_GET_MSR_INDEX_LIST");
	*ret_list = g_steal_pointer(&list);
	return true;
}

struct msr_batch {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[MSRS_AT_ONCE];
};

/* Reads or writes all entries; one that KVM refuses is left alone (its `reserved` is set). */
static void transfer_msrs(struct vcpu *v, unsigned long request, struct kvm_msr_entry *e,
			  uint32_t n)
{
	struct msr_batch b;
	uint32_t at = 0;

	while (at < n) {
		uint32_t part = MIN(n - at, MSRS_AT_ONCE);
		int done;

		b.head = (struct kvm_msrs){ .nmsrs = part };
		for (uint32_t i = 0; i < part; i++)
			b.entries[i] = (struct kvm_msr_entry){ .index = e[at + i].index,
							       .data = e[at + i].data };
		done = kvcore_ioctl(v->fd, request, &b);
		done = MAX(done, 0);
		for (int i = 0; i < done; i++)
			e[at + i].data = b.entries[i].data;
		at += done;
		if ((uint32_t)done < part) {
			kv_log_debug("vCPU %u: MSR 0x%x is not for transfer", v->index, e[at].index);
			e[at++].reserved = 1;
		}
	}
}

static void get_msrs(struct vcpu *v, struct vcpu_state *s)
{
	const struct kvm_msr_list *list = v->m->msr_list;

	if (!s->msrs)
		s->msrs = g_new0(struct kvm_msr_entry, list->nmsrs);
	s->n_msrs = list->nmsrs;
	for (uint32_t i = 0; i < s->n_msrs; i++)
		s->msrs[i] = (struct kvm_msr_entry){ .index = list->indices[i] };
	transfer_msrs(v, KVM_GET_MSRS, s->msrs, s->n_msrs);
}

void vcpu_set_msr(struct vcpu *v, uint32_t index, uint64_t data)
{
	struct kvm_msr_entry e = { .index = index, .data = data };

	transfer_msrs(v, KVM_SET_MSRS, &e, 1);
}

/* A reset leaves the time stamp counter running: guests' clocks are made of it. */
static void set_msrs(struct vcpu *v, const struct vcpu_state *s, bool with_time)
{
	g_autofree struct kvm_msr_entry *e = g_new(struct kvm_msr_entry, s->n_msrs);
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->n_msrs; i++) {
		uint32_t index = s->msrs[i].index;

		if (s->msrs[i].reserved ||
		    (!with_time && (index == MSR_TSC || index == MSR_TSC_ADJUST)))
			continue;
		e[n++] = s->msrs[i];
	}
	transfer_msrs(v, KVM_SET_MSRS, e, n);
}

/* ---- a vCPU ---- */

struct part {
	const char *name;
	unsigned long get, set;
	size_t offset;
	int capability; /* 0: every KVM has it */
};

/* In the order of setting: the LAPIC's place and mode are in sregs, its timer mode before MSRs. */
static const struct part parts[] = {
	{ "special registers", KVM_GET_SREGS, KVM_SET_SREGS, offsetof(struct vcpu_state, sregs), 0 },
	{ "registers", KVM_GET_REGS, KVM_SET_REGS, offsetof(struct vcpu_state, regs), 0 },
	{ "LAPIC", KVM_GET_LAPIC, KVM_SET_LAPIC, offsetof(struct vcpu_state, lapic), 0 },
	{ "XCRs", KVM_GET_XCRS, KVM_SET_XCRS, offsetof(struct vcpu_state, xcrs), KVM_CAP_XCRS },
	{ "FPU", KVM_GET_XSAVE, KVM_SET_XSAVE, offsetof(struct vcpu_state, xsave), KVM_CAP_XSAVE },
	{ "debug registers", KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS,
	  offsetof(struct vcpu_state, debugregs), KVM_CAP_DEBUGREGS },
	{ "events", KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, offsetof(struct vcpu_state, events),
	  0 },
};

static bool has(const struct vcpu *v, const struct part *p)
{
	return !p->capability ||
	       kvcore_ioctl(v->m->kvm_fd, KVM_CHECK_EXTENSION, (unsigned long)p->capability) > 0;
}

/* The MP state first: KVM takes an INIT or SIPI that waits, which changes registers. */
bool vcpu_state_get(struct vcpu *v, struct vcpu_state *s, GError **error)
{
	if (!call(v, KVM_GET_MP_STATE, &s->mp_state, "MP state", error))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++)
		if (has(v, &parts[i]) &&
		    !call(v, parts[i].get, (char *)s + parts[i].offset, parts[i].name, error))
			return false;
	get_msrs(v, s);
	return true;
}

bool vcpu_state_set(struct vcpu *v, const struct vcpu_state *s, bool with_time, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
		if (parts[i].set == KVM_SET_DEBUGREGS)
			set_msrs(v, s, with_time);
		if (has(v, &parts[i]) &&
		    !call(v, parts[i].set, (char *)s + parts[i].offset, parts[i].name, error))
			return false;
	}
	return call(v, KVM_SET_MP_STATE, (void *)&s->mp_state, "MP state", error);
}

static const struct state_field msr_fields[] = {
	STATE_INT(struct kvm_msr_entry, index, STATE_U32),
	STATE_INT(struct kvm_msr_entry, data, STATE_U64),
	STATE_INT(struct kvm_msr_entry, reserved, STATE_U32),
	STATE_END
};

/* KVM's own structures, which never change, as bytes. */
static const struct state_field vcpu_fields[] = {
	STATE_RAW(struct vcpu_state, regs),
	STATE_RAW(struct vcpu_state, sregs),
	STATE_RAW(struct vcpu_state, lapic),
	STATE_RAW(struct vcpu_state, xcrs),
	STATE_RAW(struct vcpu_state, xsave),
	STATE_RAW(struct vcpu_state, debugregs),
	STATE_RAW(struct vcpu_state, events),
	STATE_RAW(struct vcpu_state, mp_state),
	{ .name = "msrs", .offset = offsetof(struct vcpu_state, msrs), .type = STATE_POINTER_STRUCT,
	  .since = 1, .size = sizeof(struct kvm_msr_entry), .count = MSRS_MAX,
	  .count_at = offsetof(struct vcpu_state, n_msrs), .fields = msr_fields },
	STATE_END
};

const struct state_desc vcpu_state_desc = { .name = "vcpu", .version = 1, .oldest = 1,
					    .fields = vcpu_fields };

/* ---- the chips ---- */

bool chips_state_get(struct machine *m, struct chips_state *s, bool with_time, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(s->irqchip); i++) {
		s->irqchip[i].chip_id = i;
		if (kvcore_ioctl(m->core.vm_fd, KVM_GET_IRQCHIP, &s->irqchip[i]) < 0)
			return kv_fail_errno(error, errno, "KVM_GET_IRQCHIP");
	}
	if (kvcore_ioctl(m->core.vm_fd, KVM_GET_PIT2, &s->pit) < 0)
		return kv_fail_errno(error, errno, "KVM_GET_PIT2");
	if (with_time && kvcore_ioctl(m->core.vm_fd, KVM_GET_CLOCK, &s->clock) < 0)
		return kv_fail_errno(error, errno, "KVM_GET_CLOCK");
	return true;
}

bool chips_state_set(struct machine *m, struct chips_state *s, bool with_time, GError **error)
{
	struct kvm_clock_data clock = { .clock = s->clock.clock };

	for (unsigned i = 0; i < G_N_ELEMENTS(s->irqchip); i++) {
		s->irqchip[i].chip_id = i;
		if (kvcore_ioctl(m->core.vm_fd, KVM_SET_IRQCHIP, &s->irqchip[i]) < 0)
			return kv_fail_errno(error, errno, "KVM_SET_IRQCHIP");
	}
	if (kvcore_ioctl(m->core.vm_fd, KVM_SET_PIT2, &s->pit) < 0)
		return kv_fail_errno(error, errno, "KVM_SET_PIT2");
	if (with_time && kvcore_ioctl(m->core.vm_fd, KVM_SET_CLOCK, &clock) < 0)
		return kv_fail_errno(error, errno, "KVM_SET_CLOCK");
	return true;
}

static const struct state_field chips_fields[] = {
	STATE_RAW(struct chips_state, irqchip),
	STATE_RAW(struct chips_state, pit),
	STATE_RAW(struct chips_state, clock),
	STATE_END
};

const struct state_desc chips_state_desc = { .name = "chips", .version = 1, .oldest = 1,
					     .fields = chips_fields };
