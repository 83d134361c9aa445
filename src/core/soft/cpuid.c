/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPUID. Supported = what the processor model of cpu/ does; where an instruction runs on the host itself (vector code),
 * only if the host has it. cpuid_gates[] (made from schema/x86.tab) names the instructions' bits, the tables below the
 * rest. Read once from the host: there the instruction may be slow. Sources: SDM vol. 2 CPUID, APM vol. 3 E.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "cpu/host.h"
#include "cpuid.h"
#include "fpu.h"
#include "host-cpuid.h"
#include "x86-ops.h"

enum { EAX, EBX, ECX, EDX };
#define BIT(n) (1u << (n))

/* Features that are no instruction group, or that the processor model does without the host's help. */
static const struct {
	u32 leaf, sub;
	u8 reg;
	u32 bits;
} model[] = {
	{ 0x1, 0, ECX, BIT(13) | BIT(17) | BIT(21) | BIT(31) }, /* CX16 PCID X2APIC hypervisor; TSC_DEADLINE: see api.rst */
	{ 0x1, 0, EDX, 0x078bfbff }, /* FPU..PSE36 without PSN, CLFSH, MMX FXSR SSE SSE2 */
	{ 0x6, 0, EAX, BIT(2) },     /* ARAT */
	/* FSGSBASE TSC_ADJUST SMEP ERMS INVPCID SMAP */
	{ 0x7, 0, EBX, BIT(0) | BIT(1) | BIT(7) | BIT(9) | BIT(10) | BIT(20) },
	{ 0x7, 0, ECX, BIT(2) },			    /* UMIP */
	{ 0x7, 0, EDX, BIT(4) | BIT(26) | BIT(29) },	    /* FSRM SPEC_CTRL ARCH_CAPABILITIES */
	{ 0x80000001, 0, ECX, BIT(0) | BIT(8) },	    /* LAHF PREFETCHW */
	{ 0x80000001, 0, EDX, BIT(11) | BIT(20) | BIT(26) | BIT(27) | BIT(29) }, /* SYSCALL NX 1GB RDTSCP LM */
	{ 0x80000007, 0, EDX, BIT(8) },			    /* invariant TSC */
};

/* Instruction groups without a gate of their own. */
static const struct {
	u32 leaf, sub;
	u8 reg;
	u32 bits;
} ungated[] = {
	{ 0x80000001, 0, ECX, BIT(5) }, /* LZCNT */
};

/* Instruction groups that need nothing of the host although they have a gate: the interpreter does them in C. */
static const struct {
	u32 leaf, sub;
	u8 reg;
	u32 bits;
} software[] = {
	{ 0x7, 0, EBX, BIT(0) | BIT(10) | BIT(20) },
	{ 0x7, 0, ECX, BIT(22) },			/* RDPID */
	{ 0x7, 0, EDX, BIT(14) },			/* SERIALIZE: Linux patches its code by it, else by IRET */
	{ 0x80000001, 0, EDX, BIT(11) | BIT(27) },
};

/* Never: no room in the state, or not modelled (MONITOR VMX DCA; MPX, AVX-512, PKU, CET, AMX...; SVM, XOP, FMA4, LWP). */
static const struct {
	u32 leaf, sub;
	u8 reg;
	u32 bits;
} never[] = {
	{ 0x1, 0, ECX, BIT(2) | BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(15) | BIT(18) | BIT(27) },
	{ 0x7, 0, EBX, BIT(2) | BIT(4) | BIT(11) | BIT(12) | BIT(14) | BIT(16) | BIT(17) | BIT(21) | BIT(25) | BIT(26) |
		       BIT(27) | BIT(28) | BIT(30) | BIT(31) },
	{ 0x7, 0, ECX, BIT(1) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(11) | BIT(12) | BIT(14) | BIT(16) },
	{ 0xd, 1, EAX, BIT(3) },
	{ 0x80000001, 0, ECX, BIT(2) | BIT(7) | BIT(10) | BIT(11) | BIT(12) | BIT(15) | BIT(16) | BIT(29) },
};

#define KVM_LEAF 0x40000000u
#define LEAVES_MAX 80

static struct {
	pthread_once_t once;
	u32 count;
	bool amd;
	struct kvm_cpuid_entry2 entry[LEAVES_MAX];
	u32 gates[8]; /* bitmap: of these instructions the host has what they need */
} supported = { .once = PTHREAD_ONCE_INIT };

static u32 *reg_of(struct kvm_cpuid_entry2 *e, u8 reg)
{
	return reg == EAX ? &e->eax : reg == EBX ? &e->ebx : reg == ECX ? &e->ecx : &e->edx;
}

/* The bits that decoder, interpreter and translator implement in one register of one leaf, given the host's. */
static u32 features(u32 leaf, u32 sub, u8 reg, u32 host)
{
	u32 implemented = 0, without_host = 0, drop = 0;

	for (size_t i = 0; i < ARRAY_SIZE(model); i++)
		if (model[i].leaf == leaf && model[i].sub == sub && model[i].reg == reg)
			implemented |= model[i].bits, without_host |= model[i].bits;
	for (size_t i = 0; i < ARRAY_SIZE(software); i++)
		if (software[i].leaf == leaf && software[i].sub == sub && software[i].reg == reg)
			without_host |= software[i].bits;
	for (size_t i = 0; i < ARRAY_SIZE(ungated); i++)
		if (ungated[i].leaf == leaf && ungated[i].sub == sub && ungated[i].reg == reg)
			implemented |= ungated[i].bits;
	for (u32 g = 1; g < GATE_COUNT; g++)
		if (cpuid_gates[g].leaf == leaf && cpuid_gates[g].subleaf == sub && cpuid_gates[g].reg == reg)
			implemented |= BIT(cpuid_gates[g].bit);
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (never[i].leaf == leaf && never[i].sub == sub && never[i].reg == reg)
			drop |= never[i].bits;
	return implemented & (host | without_host) & ~drop;
}

/* Zeroes: nothing of the host, which is not asked for it. */
static struct kvm_cpuid_entry2 *add_own(u32 leaf, u32 sub, bool indexed)
{
	struct kvm_cpuid_entry2 *e = &supported.entry[supported.count < LEAVES_MAX ? supported.count++ : LEAVES_MAX - 1];

	*e = (struct kvm_cpuid_entry2){ .function = leaf, .index = sub,
					.flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0 };
	return e;
}

static struct kvm_cpuid_entry2 *add(u32 leaf, u32 sub, bool indexed)
{
	struct kvm_cpuid_entry2 *e = add_own(leaf, sub, indexed);
	u32 r[4];

	host_leaf(leaf, sub, r);
	e->eax = r[EAX];
	e->ebx = r[EBX];
	e->ecx = r[ECX];
	e->edx = r[EDX];
	return e;
}

static void add_vendor(u32 leaf, u32 max, const u32 vendor[4])
{
	struct kvm_cpuid_entry2 *e = add_own(leaf, 0, false);

	e->eax = max;
	e->ebx = vendor[EBX];
	e->ecx = vendor[ECX];
	e->edx = vendor[EDX];
}

static void add_basic(const u32 first[4])
{
	struct kvm_cpuid_entry2 *e;

	add_vendor(0, first[EAX] < 0xd ? first[EAX] : 0xd, first);
	e = add(1, 0, false);
	e->ecx = features(1, 0, ECX, e->ecx);
	e->edx = features(1, 0, EDX, e->edx);
	e->ebx = (e->ebx & 0xff00) | 1u << 16;
	if (!supported.amd) {
		add(2, 0, false);
		for (u32 i = 0; i < 8; i++)
			if (!(add(4, i, true)->eax & 0x1f))
				break;
	}
	e = add(6, 0, false);
	e->eax = features(6, 0, EAX, e->eax);
	e->ebx = e->ecx = e->edx = 0;
	e = add(7, 0, true);
	e->ebx = features(7, 0, EBX, e->ebx) | (e->ebx & BIT(13)); /* FPU CS and DS: as the host's FXSAVE does */
	e->ecx = features(7, 0, ECX, e->ecx);
	e->edx = features(7, 0, EDX, e->edx);
	e->eax = 1;
	e = add(7, 1, true);
	e->eax = features(7, 1, EAX, e->eax);
	e->ebx = e->ecx = e->edx = 0;
	add_own(0xb, 0, true);
}

static void add_xsave(void)
{
	u64 xcr0 = fpu_features();
	struct kvm_cpuid_entry2 *e = add_own(0xd, 0, true);

	e->eax = (u32)xcr0;
	e->edx = (u32)(xcr0 >> 32);
	e->ebx = e->ecx = xcr0 & 4 ? 832 : 576;
	e = add(0xd, 1, true);
	e->eax = features(0xd, 1, EAX, e->eax);
	e->ebx = e->ecx = e->edx = 0;
	if (xcr0 & 4) {
		e = add_own(0xd, 2, true);
		e->eax = 256;
		e->ebx = 576;
	}
}

static void add_kvm(void)
{
	struct kvm_cpuid_entry2 *e = add_own(KVM_LEAF, 0, false);

	e->eax = KVM_LEAF + 1;
	e->ebx = 0x4b4d564b;
	e->ecx = 0x564b4d56;
	e->edx = 0x4d;
	e = add_own(KVM_LEAF + 1, 0, false);
	/*
	 * CLOCKSOURCE NOP_IO_DELAY CLOCKSOURCE2 STEAL_TIME PV_EOI PV_UNHALT PV_TLB_FLUSH PV_SEND_IPI POLL_CONTROL SCHED_YIELD
	 * STABLE
	 */
	e->eax = BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(9) | BIT(11) | BIT(12) | BIT(13) | BIT(24);
}

static void add_extended(const u32 first[4])
{
	static const u32 nobody[4]; /* Intel's has no vendor */
	struct kvm_cpuid_entry2 *e;
	u32 phys;

	add_vendor(0x80000000, supported.amd ? 0x80000021 : 0x80000008, supported.amd ? first : nobody);
	e = add(0x80000001, 0, false);
	e->ecx = features(0x80000001, 0, ECX, e->ecx);
	e->edx = features(0x80000001, 0, EDX, e->edx);
	if (supported.amd) /* repeats leaf 1 */
		e->edx |= 0x0183f3ff & supported.entry[1].edx;
	for (u32 i = 0x80000002; i <= 0x80000006; i++)
		add(i, 0, false);
	e = add(0x80000007, 0, false);
	e->eax = e->ebx = e->ecx = 0;
	e->edx = features(0x80000007, 0, EDX, e->edx);
	e = add(0x80000008, 0, false);
	phys = e->eax & 0xff;
	e->eax = (phys >= 36 && phys <= 52 ? phys : 40) | 48 << 8;
	e->ebx = supported.amd ? BIT(26) | BIT(29) : 0; /* SSB_NO BTC_NO: see ARCH_CAPABILITIES in msr.c */
	e->ecx = e->edx = 0;
	if (!supported.amd)
		return;
	e = add_own(0x80000021, 0, false);
	e->eax = BIT(2) | BIT(6) | BIT(29); /* LFENCE serializes, null selectors clear the base, SRSO_NO */
	e->ecx = BIT(1) | BIT(2);	    /* TSA_SQ_NO, TSA_L1_NO: a VERW of ours would clear nothing */
}

static struct kvm_cpuid_entry2 *find_in(struct kvm_cpuid_entry2 *entry, u32 count, u32 leaf, u32 sub)
{
	for (struct kvm_cpuid_entry2 *e = entry; e < entry + count; e++)
		if (e->function == leaf && (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == sub))
			return e;
	return NULL;
}

/* What the table says that instructions are there for, as far as `allowed` has them. */
static void gates_of(struct kvm_cpuid_entry2 *entry, u32 count, const u32 *allowed, u32 *ret_gates)
{
	memset(ret_gates, 0, sizeof(supported.gates));
	ret_gates[0] = 1;
	for (u32 g = 1; g < GATE_COUNT && g < 256; g++) {
		struct kvm_cpuid_entry2 *e = find_in(entry, count, cpuid_gates[g].leaf, cpuid_gates[g].subleaf);

		if (e && (*reg_of(e, cpuid_gates[g].reg) >> cpuid_gates[g].bit & 1))
			ret_gates[g / 32] |= BIT(g & 31) & allowed[g / 32];
	}
}

static void build(void)
{
	static const u32 all[8] = { ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u };
	u32 r[4];

	host_leaf(0, 0, r);
	supported.amd = r[1] == 0x68747541 || r[1] == 0x6f677948; /* AuthenticAMD, HygonGenuine */
	add_basic(r);
	add_xsave();
	add_kvm();
	add_extended(r);
	gates_of(supported.entry, supported.count, all, supported.gates);
	supported.gates[GATE_MONITOR / 32] |= BIT(GATE_MONITOR & 31); /* not offered, but done for who insists */
}

bool cpuid_is_amd(void)
{
	pthread_once(&supported.once, build);
	return supported.amd;
}

int cpuid_supported(struct kvm_cpuid_entry2 *entries, u32 max)
{
	pthread_once(&supported.once, build);
	if (max < supported.count)
		return -E2BIG;
	memcpy(entries, supported.entry, supported.count * sizeof(*entries));
	return (int)supported.count;
}

/* ---- a vCPU ---- */

static struct kvm_cpuid_entry2 *find(const struct vcpu *v, u32 leaf, u32 sub)
{
	return find_in(v->cpuid, v->cpuid_count, leaf, sub);
}

void cpuid_init(struct vcpu *v)
{
	struct kvm_cpuid_entry2 *e;

	pthread_once(&supported.once, build);
	memcpy(v->cpuid_gates, supported.gates, sizeof(v->cpuid_gates));
	v->cpu.phys_mask = (1ull << 40) - 1;
	for (e = supported.entry; e < supported.entry + supported.count; e++)
		if (e->function == 0x80000008)
			v->cpu.phys_mask = (1ull << (e->eax & 0xff)) - 1;
}

int cpuid_set(struct vcpu *v, const struct kvm_cpuid_entry2 *entries, u32 count)
{
	struct kvm_cpuid_entry2 *copy, *e;
	u32 phys;

	if (count > 256)
		return -E2BIG;
	copy = malloc(sizeof(*copy) * (count ? count : 1));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, entries, sizeof(*copy) * count);
	free(v->cpuid);
	v->cpuid = copy;
	v->cpuid_count = count;
	/* What user space left out must fault; what it added without support stays off too. */
	gates_of(v->cpuid, v->cpuid_count, supported.gates, v->cpuid_gates);
	e = find(v, 0x80000008, 0);
	phys = e ? e->eax & 0xff : 36;
	v->cpu.phys_mask = (1ull << (phys >= 32 && phys <= 52 ? phys : 36)) - 1;
	vcpu_request(v, REQ_TLB_FLUSH);
	return 0;
}

bool host_cpuid_gate(struct cpu *c, unsigned gate)
{
	return c->vcpu->cpuid_gates[gate / 32 & 7] >> (gate & 31) & 1;
}

/* A leaf above the highest: Intel answers with the highest basic leaf, AMD with zeros. */
static struct kvm_cpuid_entry2 *out_of_range(struct vcpu *v, u32 leaf, u32 sub)
{
	struct kvm_cpuid_entry2 *basic = find(v, 0, 0), *range = find(v, leaf & 0xffff0000, 0);

	if (!basic || basic->ebx == 0x68747541 || basic->ebx == 0x6f677948)
		return NULL;
	if (leaf >= KVM_LEAF && range && leaf <= range->eax)
		return NULL;
	if (leaf < KVM_LEAF && leaf <= basic->eax)
		return NULL;
	return find(v, basic->eax, sub);
}

static u32 xsave_size(u64 xcr0)
{
	return xcr0 & 4 ? 832 : 576;
}

void host_cpuid(struct cpu *c, u32 leaf, u32 sub, u32 out[4])
{
	struct vcpu *v = c->vcpu;
	struct kvm_cpuid_entry2 *e = find(v, leaf, sub);

	if (!e)
		e = out_of_range(v, leaf, sub);
	memset(out, 0, 4 * sizeof(*out));
	if (!e) {
		e = leaf == 0xb || leaf == 0x1f ? find(v, leaf, 1) : NULL;
		if (e) {
			out[ECX] = sub & 0xff;
			out[EDX] = e->edx;
		}
		return;
	}
	out[EAX] = e->eax;
	out[EBX] = e->ebx;
	out[ECX] = e->ecx;
	out[EDX] = e->edx;
	if (leaf == 1) {
		out[ECX] &= ~BIT(27);
		if ((c->cr4 & CR4_OSXSAVE) && (out[ECX] & BIT(26)))
			out[ECX] |= BIT(27);
		if (!(host_apic_base(c) & 0x800))
			out[EDX] &= ~BIT(9);
	} else if (leaf == 0xd && sub == 0) {
		out[EBX] = xsave_size(c->xcr0);
	} else if (leaf == 0xd && sub == 1) {
		out[EBX] = out[EAX] & (BIT(1) | BIT(3)) ? xsave_size(c->xcr0) : 0;
	}
}
