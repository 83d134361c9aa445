/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Model-specific registers: everything Linux and SeaBIOS touch, with KVM's rule that an unknown one is #GP. Those of the
 * LAPIC and of kvmclock are handed on; the rest is a table of places and writable bits (SDM vol. 4; APM vol. 2, A).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chip/chip.h"
#include "cpu/host.h"
#include "cpuid.h"
#include "kvmclock.h"
#include "mmu.h"
#include "msr.h"
#include "sys.h"

#define MSR_TSC 0x10
#define MSR_APIC_BASE 0x1b
#define MSR_TSC_ADJUST 0x3b
#define MSR_UCODE_REV 0x8b
#define MSR_ARCH_CAPABILITIES 0x10a
#define MSR_PAT 0x277
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_EFER 0xc0000080
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_DE_CFG 0xc0011029

/*
 * The guest's branches are predicted by hardware that knows no guest privilege levels, so the mitigations Linux has would
 * cost time and protect nothing: RDCL_NO, IBRS_ALL, SKIP_L1DFL, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO,
 * FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO.
 */
#define ARCH_CAPABILITIES 0x0d10e17bull

#define CPU(field) offsetof(struct vcpu, cpu.field)
#define OWN(field) offsetof(struct vcpu, msr.field)

enum msr_check { ANY, CANONICAL, NOTHING /* writes are ignored */, HOST_ONLY, READ_ONLY };

static const struct msr_place {
	u32 index;
	u32 offset;
	u64 mask; /* bits that may be set */
	enum msr_check check;
} places[] = {
	{ MSR_FS_BASE, CPU(seg[SEG_FS].base), ~0ull, CANONICAL },
	{ MSR_GS_BASE, CPU(seg[SEG_GS].base), ~0ull, CANONICAL },
	{ MSR_KERNEL_GS_BASE, CPU(kernel_gs_base), ~0ull, CANONICAL },
	{ 0x48, OWN(spec_ctrl), 0x7, ANY },
	{ 0xc0000103, CPU(tsc_aux), 0xffffffff, ANY },
	{ 0xc0000081, CPU(star), ~0ull, ANY },
	{ 0xc0000082, CPU(lstar), ~0ull, CANONICAL },
	{ 0xc0000083, CPU(cstar), ~0ull, CANONICAL },
	{ 0xc0000084, CPU(sfmask), 0xffffffff, ANY },
	{ 0x174, CPU(sysenter_cs), 0xffffffff, ANY },
	{ 0x175, CPU(sysenter_esp), ~0ull, CANONICAL },
	{ 0x176, CPU(sysenter_eip), ~0ull, CANONICAL },
	{ 0x1a0, CPU(misc_enable), ~0ull, ANY },
	{ 0x2ff, CPU(mtrr_def), 0xcff, ANY },
	{ 0x250, OWN(mtrr_fixed[0]), ~0ull, ANY },
	{ 0x258, OWN(mtrr_fixed[1]), ~0ull, ANY },
	{ 0x259, OWN(mtrr_fixed[2]), ~0ull, ANY },
	{ 0x268, OWN(mtrr_fixed[3]), ~0ull, ANY },
	{ 0x269, OWN(mtrr_fixed[4]), ~0ull, ANY },
	{ 0x26a, OWN(mtrr_fixed[5]), ~0ull, ANY },
	{ 0x26b, OWN(mtrr_fixed[6]), ~0ull, ANY },
	{ 0x26c, OWN(mtrr_fixed[7]), ~0ull, ANY },
	{ 0x26d, OWN(mtrr_fixed[8]), ~0ull, ANY },
	{ 0x26e, OWN(mtrr_fixed[9]), ~0ull, ANY },
	{ 0x26f, OWN(mtrr_fixed[10]), ~0ull, ANY },
	{ 0x17a, OWN(mcg_status), 0x7, ANY },
	{ 0x17b, OWN(mcg_ctl), ~0ull, ANY },
	{ 0x179, OWN(mcg_cap), ~0ull, READ_ONLY }, /* KVM_X86_SETUP_MCE says what it is */
	{ 0x3a, OWN(feature_control), 0x20005, ANY },
	{ 0x1d9, OWN(debugctl), 0x3, ANY },
	{ MSR_UCODE_REV, OWN(ucode_rev), ~0ull, NOTHING },
	{ MSR_ARCH_CAPABILITIES, OWN(arch_capabilities), ~0ull, HOST_ONLY },
	{ 0xce, OWN(platform_info), ~0ull, HOST_ONLY },
	{ 0x140, OWN(misc_features), 0, ANY },
	{ 0x34, OWN(smi_count), ~0ull, HOST_ONLY },
	{ 0xda0, OWN(xss), 0, ANY },
	{ 0xc0010015, OWN(hwcr), 0x1040178, ANY },
	{ 0xc0010010, OWN(syscfg), ~0ull, ANY },
	{ MSR_DE_CFG, OWN(de_cfg), 0x2, ANY },
	{ 0xc0010140, OWN(osvw[0]), ~0ull, HOST_ONLY },
	{ 0xc0010141, OWN(osvw[1]), ~0ull, HOST_ONLY },
	{ 0xc001011f, OWN(virt_spec_ctrl), 0x4, ANY },
};

/* Registers that read as a constant and ignore what is written, as in KVM. */
static const struct {
	u32 first, last;
	u64 value;
} constants[] = {
	{ 0x0, 0x1, 0 },	       /* P5 machine check */
	{ 0x17, 0x17, 0 },	       /* PLATFORM_ID */
	{ 0x2a, 0x2a, 0 },	       /* EBL_CR_POWERON */
	{ 0x2c, 0x2c, 1 << 24 },       /* EBC_FREQUENCY_ID */
	{ 0x49, 0x49, 0 },	       /* PRED_CMD */
	{ 0x79, 0x79, 0 },	       /* UCODE_WRITE */
	{ 0xcd, 0xcd, 3 },	       /* FSB_FREQ */
	{ 0x10b, 0x10b, 0 },	       /* FLUSH_CMD */
	{ 0x11e, 0x11e, 0xbe702111 },  /* BBL_CR_CTL3 */
	{ 0x198, 0x198, 1000 | 4ull << 40 }, /* PERF_STATUS */
	{ 0x199, 0x199, 0 },	       /* PERF_CTL */
	{ 0x1db, 0x1de, 0 },	       /* LASTBRANCH* */
	{ 0x606, 0x606, 0 },	       /* RAPL: unit, energy status */
	{ 0x611, 0x611, 0 }, { 0x619, 0x619, 0 }, { 0x639, 0x639, 0 }, { 0x641, 0x641, 0 },
	{ 0xc0010000, 0xc0010007, 0 }, /* K7 event selects and counters */
	{ 0xc001001b, 0xc001001b, 0x20000000 }, /* CLK_CTL */
	{ 0xc001001f, 0xc001001f, 0 }, /* NB_CFG */
	{ 0xc0010020, 0xc0010020, 0 }, /* PATCH_LOADER */
	{ 0xc0010055, 0xc0010055, 0 }, /* INT_PENDING_MSG */
	{ 0xc0010058, 0xc0010058, 0 }, /* MMIO_CONF_BASE */
	{ 0xc0010112, 0xc0010113, 0 }, /* TSEG */
	{ 0xc0010117, 0xc0010117, 0 }, /* VM_HSAVE_PA */
	{ 0xc0011022, 0xc0011022, 0 }, /* DC_CFG */
	{ 0xc001102a, 0xc001102a, 0 }, /* BU_CFG2 */
	{ 0xc001102c, 0xc001102c, 0 }, /* EX_CFG */
};

const u32 msr_save_list[] = {
	0x174, 0x175, 0x176, 0xc0000081, 0xc0000083, 0xc0000102, 0xc0000084, 0xc0000082, MSR_TSC, MSR_PAT, 0xc0000103, 0x48,
	MSR_TSC_ADJUST, MSR_TSC_DEADLINE, MSR_ARCH_CAPABILITIES, 0x1a0, 0x17a, 0x17b, 0xce, 0x140, MSR_KVM_SYSTEM_TIME_OLD,
	MSR_KVM_WALL_CLOCK_OLD, MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_STEAL, MSR_KVM_PV_EOI, MSR_KVM_POLL,
};
const u32 msr_save_count = ARRAY_SIZE(msr_save_list);
const u32 msr_feature_list[] = { MSR_DE_CFG, MSR_UCODE_REV, MSR_ARCH_CAPABILITIES };
const u32 msr_feature_count = ARRAY_SIZE(msr_feature_list);

bool msr_feature(u32 index, u64 *ret_value)
{
	switch (index) {
	case MSR_DE_CFG:
		*ret_value = 2;
		return true;
	case MSR_UCODE_REV:
		*ret_value = cpuid_is_amd() ? 0x01000065 : 0x100000000ull;
		return true;
	case MSR_ARCH_CAPABILITIES:
		*ret_value = ARCH_CAPABILITIES;
		return true;
	}
	return false;
}

void msr_reset(struct vcpu *v)
{
	u64 mcg_cap = v->msr.mcg_cap;

	memset(&v->msr, 0, sizeof(v->msr));
	v->msr.mcg_cap = mcg_cap;
	msr_feature(MSR_UCODE_REV, &v->msr.ucode_rev);
	v->msr.arch_capabilities = ARCH_CAPABILITIES;
	v->msr.de_cfg = 2;
	v->msr.hwcr = 1u << 24; /* TscFreqSel: the TSC counts at P0 frequency, Linux warns otherwise */
	v->cpu.misc_enable = 1; /* fast strings */
	v->cpu.pat = 0x0007040600070406ull;
	for (u32 i = 0; i < MCE_BANKS; i++)
		v->msr.mce[4 * i] = ~0ull;
}

static bool pat_valid(u64 pat)
{
	for (int i = 0; i < 64; i += 8) {
		u32 type = pat >> i & 0xff;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

static bool set_efer(struct vcpu *v, u64 value, bool host)
{
	struct cpu *c = &v->cpu;
	u64 old = c->efer;

	if (value & ~(u64)(EFER_SCE | EFER_LME | EFER_LMA | EFER_NX))
		return false;
	if (!host) {
		if ((c->cr0 & CR0_PG) && ((value ^ old) & EFER_LME))
			return false;
		value = (value & ~(u64)EFER_LMA) | (old & EFER_LMA);
	}
	c->efer = value;
	if (value != old) {
		cpu_update_mode(c);
		mmu_flush_all(c);
	}
	return true;
}

/* User space setting vCPU after vCPU to about the same TSC means: the same TSC. */
static void set_tsc_host(struct vcpu *v, u64 value)
{
	s64 offset = (s64)(value - sys_rdtsc()), apart = offset - v->vm->tsc_offset;

	if (!value || (apart < (s64)host_tsc_hz() && -apart < (s64)host_tsc_hz()))
		offset = v->vm->tsc_offset;
	v->vm->tsc_offset = offset;
	v->cpu.tsc_offset = offset;
	kvmclock_update(v);
}

static bool tsc_access(struct vcpu *v, u32 index, u64 *value, bool write, bool host)
{
	struct cpu *c = &v->cpu;

	if (index == MSR_TSC) {
		if (!write) {
			*value = sys_rdtsc() + (u64)c->tsc_offset;
		} else if (host) {
			set_tsc_host(v, *value);
		} else {
			s64 change = (s64)(*value - (sys_rdtsc() + (u64)c->tsc_offset));

			c->tsc_offset += change;
			v->msr.tsc_adjust += (u64)change;
		}
	} else if (!write) {
		*value = v->msr.tsc_adjust;
	} else {
		if (!host)
			c->tsc_offset += (s64)(*value - v->msr.tsc_adjust);
		v->msr.tsc_adjust = *value;
	}
	if (write && !host)
		kvmclock_update(v); /* its page says which TSC was when: it is not to jump */
	return true;
}

static bool place_access(struct vcpu *v, const struct msr_place *p, u64 *value, bool write, bool host)
{
	u64 *at = (u64 *)((u8 *)v + p->offset);

	if (!write) {
		*value = *at;
		return true;
	}
	if (p->check == READ_ONLY || (p->check == HOST_ONLY && !host))
		return false;
	if (p->check == NOTHING && !host)
		return true;
	if ((*value & ~p->mask) || (p->check == CANONICAL && !is_canonical(*value)))
		return false;
	*at = *value;
	return true;
}

/* Registers in groups: variable MTRRs, machine-check banks. */
static bool group_access(struct vcpu *v, u32 index, u64 *value, bool write, bool host)
{
	u64 *at = NULL;

	if (index >= 0x200 && index < 0x200 + 2 * MTRR_VARIABLE)
		at = index & 1 ? &v->msr.mtrr_mask[(index - 0x200) / 2] : &v->msr.mtrr_base[(index - 0x200) / 2];
	else if (index >= 0x400 && index < 0x400 + 4 * (v->msr.mcg_cap & 0xff) && index < 0x400 + 4 * MCE_BANKS)
		at = &v->msr.mce[index - 0x400];
	if (!at)
		return false;
	if (!write) {
		*value = *at;
		return true;
	}
	if (index >= 0x400 && !host) {
		if ((index & 3) == 0 && *value && *value != ~0ull)
			return false;
		if ((index & 3) == 1 && *value)
			return false;
	}
	if (index < 0x400 && !(index & 1) && (*value & 0xff) > 6)
		return false;
	*at = *value;
	return true;
}

/* Those that a running guest writes all the time come before the table. */
static bool is_lapic_msr(u32 index)
{
	return index - 0x800 < 0x100 || index == MSR_TSC_DEADLINE || index == MSR_APIC_BASE ||
	       index == MSR_KVM_PV_EOI;
}

static bool msr_access(struct vcpu *v, u32 index, u64 *value, bool write, bool host)
{
	if (v->lapic && index == MSR_APIC_BASE && write && host)
		return lapic_set_base(v, *value);
	if (v->lapic && is_lapic_msr(index))
		return write ? lapic_msr_write(v, index, *value) : lapic_msr_read(v, index, value);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (places[i].index == index)
			return place_access(v, &places[i], value, write, host);
	switch (index) {
	case MSR_TSC:
	case MSR_TSC_ADJUST:
		return tsc_access(v, index, value, write, host);
	case MSR_EFER:
		if (write)
			return set_efer(v, *value, host);
		*value = v->cpu.efer;
		return true;
	case MSR_PAT:
		if (write && !pat_valid(*value))
			return false;
		*(write ? &v->cpu.pat : value) = write ? *value : v->cpu.pat;
		return true;
	case 0xfe: /* MTRRcap: write-combining, fixed, eight variable ones */
		*value = 0x500 | MTRR_VARIABLE;
		return !write;
	case MSR_TSC_DEADLINE:
		*value = write ? *value : 0;
		return true;
	case MSR_APIC_BASE:
		*(write ? &v->apic_base : value) = write ? *value : v->apic_base;
		return true;
	}
	if (is_lapic_msr(index))
		return false;
	if (kvmclock_msr(v, index, value, write))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(constants); i++)
		if (index >= constants[i].first && index <= constants[i].last) {
			if (!write)
				*value = constants[i].value;
			return true;
		}
	return group_access(v, index, value, write, host);
}

bool msr_host_access(struct vcpu *v, u32 index, u64 *value, bool write)
{
	return msr_access(v, index, value, write, true);
}

/* ---- filters and exits ---- */

struct msr_filter {
	bool deny;
	u32 count;
	struct {
		u32 flags, base, nmsrs;
		const u8 *bitmap; /* behind the struct */
	} range[KVM_MSR_FILTER_MAX_RANGES];
	u8 bits[];
};

int msr_filter_set(struct vm *vm, const struct kvm_msr_filter *f)
{
	struct msr_filter *fresh = NULL, *old;
	size_t bytes = 0;
	bool any = false;

	if (f->flags & ~(u32)KVM_MSR_FILTER_DEFAULT_DENY)
		return -EINVAL;
	for (u32 i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++) {
		const struct kvm_msr_filter_range *r = &f->ranges[i];

		if (r->flags & ~(u32)(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE) || r->nmsrs > 0x600 * 8 ||
		    (r->nmsrs && !r->flags))
			return -EINVAL;
		any |= r->nmsrs != 0;
		bytes += (r->nmsrs + 7) / 8;
	}
	if (!any && (f->flags & KVM_MSR_FILTER_DEFAULT_DENY))
		return -EINVAL;
	if (any) {
		u8 *bits;

		fresh = calloc(1, sizeof(*fresh) + bytes);
		if (!fresh)
			return -ENOMEM;
		fresh->deny = f->flags & KVM_MSR_FILTER_DEFAULT_DENY;
		bits = fresh->bits;
		for (u32 i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++) {
			const struct kvm_msr_filter_range *r = &f->ranges[i];

			if (!r->nmsrs)
				continue;
			memcpy(bits, r->bitmap, (r->nmsrs + 7) / 8);
			fresh->range[fresh->count].flags = r->flags;
			fresh->range[fresh->count].base = r->base;
			fresh->range[fresh->count].nmsrs = r->nmsrs;
			fresh->range[fresh->count++].bitmap = bits;
			bits += (r->nmsrs + 7) / 8;
		}
	}
	pthread_mutex_lock(&vm->lock);
	vm_stop_world(vm, NULL);
	old = vm->msr_filter;
	vm->msr_filter = fresh;
	vm_resume_world(vm);
	pthread_mutex_unlock(&vm->lock);
	free(old);
	return 0;
}

void msr_filter_free(struct msr_filter *f)
{
	free(f);
}

static bool filter_allows(const struct vm *vm, u32 index, bool write)
{
	const struct msr_filter *f = vm->msr_filter;
	u32 need = write ? KVM_MSR_FILTER_WRITE : KVM_MSR_FILTER_READ;

	if (likely(!f) || (index >= 0x800 && index < 0x900))
		return true;
	for (u32 i = 0; i < f->count; i++) {
		u32 at = index - f->range[i].base;

		if (at < f->range[i].nmsrs && (f->range[i].flags & need))
			return f->range[i].bitmap[at / 8] >> (at & 7) & 1;
	}
	return !f->deny;
}

bool msr_guest_access(struct vcpu *v, u32 index, u64 *value, bool write)
{
	u32 reason;

	if (unlikely(v->msr_exit.done)) {
		v->msr_exit.done = false;
		if (v->msr_exit.index == index && v->msr_exit.write == write) {
			if (!v->msr_exit.error && !write)
				*value = v->msr_exit.data;
			return !v->msr_exit.error;
		}
	}
	if (!filter_allows(v->vm, index, write))
		reason = KVM_MSR_EXIT_REASON_FILTER;
	else if (likely(msr_access(v, index, value, write, false)))
		return true;
	else
		reason = KVM_MSR_EXIT_REASON_UNKNOWN; /* or not that value: KVM tells INVAL apart, few clients do */
	if (!(v->vm->user_space_msr & reason))
		return false;
	v->msr_exit.index = index;
	v->msr_exit.reason = reason;
	v->msr_exit.write = write;
	v->msr_exit.data = write ? *value : 0;
	cpu_leave(&v->cpu, LEAVE_MSR);
}

u32 msr_exit_fill(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	memset(&run->msr, 0, sizeof(run->msr));
	run->msr.reason = v->msr_exit.reason;
	run->msr.index = v->msr_exit.index;
	run->msr.data = v->msr_exit.data;
	return v->msr_exit.write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR;
}

void msr_exit_complete(struct vcpu *v)
{
	v->msr_exit.done = true;
	v->msr_exit.error = v->run->msr.error;
	v->msr_exit.data = v->run->msr.data;
}
