/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The processor a guest sees: what KVM_GET_SUPPORTED_CPUID offers, or of that what a model has (cpu.h), with the machine's
 * topology and the bits that only a VMM can promise. Called by vcpu.c. Sources: SDM vol. 2 CPUID, APM vol. 3 appendix E.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "internal.h"
#include "log.h"

#define ENTRIES_MAX 256

enum { XSAVE = 1 << 26 }; /* leaf 1, ECX */
enum { XSAVE_AVX = 1 << 2, XSAVE_MPX = 3 << 3, XSAVE_AVX512 = 7 << 5, XSAVE_PKU = 1 << 9, XSAVE_AMX = 3 << 17 };

static void set_leaf_1(struct kvm_cpuid_entry2 *e, const struct vcpu *v, bool deadline)
{
	const struct cpu_topology *t = &v->m->topology;
	unsigned ids = 1u << (cpu_bits(t->cores) + cpu_bits(t->threads)); /* of a package */

	e->ebx = (e->ebx & 0xffff) | MIN(ids, 255u) << 16 | cpu_apic_id(t, v->index) << 24;
	e->ecx |= 1u << 31; /* under a hypervisor */
	if (deadline)
		e->ecx |= 1u << 24; /* TSC deadline timer: in the LAPIC, so KVM leaves it to us */
	e->ecx |= 1u << 21;	    /* x2APIC, likewise */
	if (ids > 1)
		e->edx |= 1u << 28;
}

/* Extended topology: threads, then cores. */
static void set_topology(struct kvm_cpuid_entry2 *e, const struct vcpu *v)
{
	const struct cpu_topology *t = &v->m->topology;

	e->eax = e->ebx = 0;
	e->ecx = e->index;
	e->edx = cpu_apic_id(t, v->index);
	if (e->index == 0) {
		e->eax = cpu_bits(t->threads);
		e->ebx = t->threads;
		e->ecx |= 1 << 8;
	} else if (e->index == 1) {
		e->eax = cpu_bits(t->cores) + cpu_bits(t->threads);
		e->ebx = t->cores * t->threads;
		e->ecx |= 2 << 8;
	}
}

/*
 * Firmware may map all that the processor can address: with 48 bits OVMF's builds with a 32-bit PEI make 512 MiB of page tables,
 * and need more memory than that. So a PC has 40 bits, as in QEMU, unless its memory and the windows behind it want more.
 */
#define PC_PHYSICAL_BITS 40u
static uint32_t physical_bits(const struct machine *m, uint32_t host)
{
	return m->kind == MACHINE_PC && m->memory <= 1ull << (PC_PHYSICAL_BITS - 1) ? MIN(host, PC_PHYSICAL_BITS) : host;
}

static void adjust(struct kvm_cpuid_entry2 *e, const struct vcpu *v, bool deadline)
{
	const struct cpu_topology *t = &v->m->topology;
	unsigned bits = cpu_bits(t->cores) + cpu_bits(t->threads), of_core = 1u << cpu_bits(t->threads);
	uint32_t id = cpu_apic_id(t, v->index);

	switch (e->function) {
	case 1:
		set_leaf_1(e, v, deadline);
		break;
	case 4:
		/* who shares the cache: the package, or the core; and how many cores there are */
		e->eax = (e->eax & 0x3fff) | ((e->eax >> 5 & 7) >= 3 ? (1u << bits) - 1 : of_core - 1) << 14 |
			 MIN((1u << cpu_bits(t->cores)) - 1, 63u) << 26;
		break;
	case 0xb:
	case 0x1f:
		set_topology(e, v);
		break;
	case 0x80000008:
		e->eax = (e->eax & ~0xffu) | physical_bits(v->m, e->eax & 0xff);
		e->ecx = (e->ecx & ~0xf0ffu) | bits << 12 | (t->cores * t->threads - 1);
		break;
	case 0x8000001e:
		e->eax = id;
		e->ebx = (t->threads - 1) << 8 | id >> cpu_bits(t->threads);
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

/* ---- models ---- */

static uint32_t *register_of(struct kvm_cpuid_entry2 *e, enum cpu_register reg)
{
	uint32_t *const all[] = {&e->eax, &e->ebx, &e->ecx, &e->edx};

	return all[reg];
}

static struct kvm_cpuid_entry2 *find_leaf(struct kvm_cpuid2 *c, uint32_t leaf, uint32_t subleaf)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entries[i].function == leaf && c->entries[i].index == subleaf)
			return &c->entries[i];
	return NULL;
}

/* What is no feature of a processor but of who runs it: never missed, and there with every model. */
static bool is_ours(const struct cpu_flags *f, unsigned bit)
{
	static const char *const ours[] = {"hypervisor", "x2apic",  "tsc-deadline", "svm", "vmx",
					   "monitor",	 "topoext", "ht",	    NULL};

	return f->leaf == 0x40000001 || (f->name[bit][0] && g_strv_contains(ours, f->name[bit]));
}

static void note_missing(GString *s, const struct cpu_flags *f, uint32_t bits)
{
	for (unsigned bit = 0; bit < 32; bit++)
		if (bits >> bit & 1)
			g_string_append_printf(s, "%s%s", s->len ? ", " : "", f->name[bit]);
}

/* One register of features; missed: what was asked for and is not there. */
static void choose_flags(struct kvm_cpuid2 *c, const struct cpu_choice *choice, unsigned n, GString *missed,
			 GString *missed_asked)
{
	const struct cpu_flags *f = &cpu_flags[n];
	struct kvm_cpuid_entry2 *e = find_leaf(c, f->leaf, f->subleaf);
	uint32_t there = e ? *register_of(e, f->reg) : 0, want = choice->model ? choice->flags[n] : there, ours = 0;

	for (unsigned bit = 0; bit < 32; bit++)
		ours |= is_ours(f, bit) ? 1u << bit : 0;
	want = (want | (there & ours) | choice->more[n]) & ~choice->less[n];
	note_missing(missed, f, want & ~choice->more[n] & ~there & ~ours);
	note_missing(missed_asked, f, choice->more[n] & ~there);
	/* AMD's second copy of leaf 1's flags; bits without a name in leaf 6 and 0x80000008 are none of a model's */
	if (f->leaf == 0x80000001 && f->reg == CPU_EDX)
		want |= there & 0x0183f3ff;
	if (e)
		*register_of(e, f->reg) = want & there;
}

static void set_text(struct kvm_cpuid2 *c, const struct cpu_model *m)
{
	struct kvm_cpuid_entry2 *e = find_leaf(c, 0, 0);
	uint8_t id[48] = {0};

	if (e) {
		e->ebx = get_le32(m->vendor);
		e->edx = get_le32(m->vendor + 4);
		e->ecx = get_le32(m->vendor + 8);
	}
	memcpy(id, m->id, MIN(strlen(m->id), sizeof(id) - 1));
	for (unsigned i = 0; i < 3; i++) {
		e = find_leaf(c, 0x80000002 + i, 0);
		for (unsigned r = 0; e && *m->id && r < 4; r++)
			*register_of(e, (enum cpu_register)r) = get_le32(id + 16 * i + 4 * r);
	}
}

static uint32_t signature(const struct cpu_model *m)
{
	unsigned family = MIN(m->family, 15u), more = m->family - family;

	return more << 20 | (m->model >> 4) << 16 | family << 8 | (m->model & 15) << 4 | m->stepping;
}

static uint32_t *word_of(struct kvm_cpuid2 *c, const char *flag, uint32_t *ret_bit)
{
	struct kvm_cpuid_entry2 *e;
	unsigned n;

	if (!cpu_find_flag(flag, &n, ret_bit))
		return NULL;
	e = find_leaf(c, cpu_flags[n].leaf, cpu_flags[n].subleaf);
	return e ? register_of(e, cpu_flags[n].reg) : NULL;
}

static bool has_flag(struct kvm_cpuid2 *c, const char *flag)
{
	uint32_t bit, *word = word_of(c, flag, &bit);

	return word && (*word & bit);
}

static void drop_dependents(struct kvm_cpuid2 *c)
{
	for (const struct cpu_need *n = cpu_needs; n->flag; n++) {
		g_auto(GStrv) flags = has_flag(c, n->flag) ? NULL : g_strsplit(n->dependents, " ", -1);

		for (char **f = flags; f && *f; f++) {
			uint32_t bit, *word = word_of(c, *f, &bit);

			if (word)
				*word &= ~bit;
		}
	}
}

/* The state that features have is there with them alone (leaf 0xd). */
static void choose_state(struct kvm_cpuid2 *c)
{
	static const struct {
		const char *flag;
		uint32_t state;
	} needs[] = {
		{"avx", XSAVE_AVX}, {"mpx", XSAVE_MPX}, {"avx512f", XSAVE_AVX512}, {"pku", XSAVE_PKU}, {"amx-tile", XSAVE_AMX}};
	struct kvm_cpuid_entry2 *d = find_leaf(c, 0xd, 0);
	uint32_t none = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(needs); i++)
		if (!has_flag(c, needs[i].flag))
			none |= needs[i].state;
	if (d)
		d->eax &= ~none;
	for (unsigned i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function == 0xd && e->index >= 2 && e->index < 32 && (none >> e->index & 1))
			e->eax = e->ebx = e->ecx = e->edx = 0;
	}
}

/* The model's last leaf, or a later one that features need which were asked for. */
static uint32_t last_leaf(struct kvm_cpuid2 *c, const struct cpu_model *m)
{
	const struct kvm_cpuid_entry2 *one = find_leaf(c, 1, 0);
	uint32_t last = MAX(m->level, 1u);

	for (unsigned n = 0; cpu_flags[n].leaf; n++) {
		struct kvm_cpuid_entry2 *e = find_leaf(c, cpu_flags[n].leaf, cpu_flags[n].subleaf);

		if (e && cpu_flags[n].leaf < 0x40000000 && *register_of(e, cpu_flags[n].reg))
			last = MAX(last, cpu_flags[n].leaf);
	}
	return one && (one->ecx & XSAVE) ? MAX(last, 0xdu) : last;
}

/* Leaves that a model does not have, or that tell of the host: performance counters, cache and tracing of another processor. */
static void drop_leaves(struct kvm_cpuid2 *c, const struct cpu_model *m)
{
	uint32_t last = last_leaf(c, m);
	struct kvm_cpuid_entry2 *e;
	unsigned n = 0;

	for (unsigned i = 0; i < c->nent; i++) {
		uint32_t f = c->entries[i].function;
		bool far = f < 0x40000000 ? f > last && f != 0xb : f >= 0x80000000 && f > m->xlevel;

		if (!far && f != 0xa && f != 0x14 && f != 0x1f)
			c->entries[n++] = c->entries[i];
	}
	c->nent = n;
	e = find_leaf(c, 0, 0);
	if (e)
		e->eax = MIN(e->eax, MAX(last, 0xbu));
	e = find_leaf(c, 0x80000000, 0);
	if (e)
		e->eax = MIN(e->eax, m->xlevel);
}

static bool choose(struct kvm_cpuid2 *c, const struct vcpu *v, GError **error)
{
	const struct cpu_choice *choice = &v->m->cpu;
	g_autoptr(GString) missed = g_string_new(NULL), missed_asked = g_string_new(NULL);
	struct kvm_cpuid_entry2 *e;

	for (unsigned n = 0; n < CPU_FLAG_REGISTERS; n++)
		choose_flags(c, choice, n, missed, missed_asked);
	if (missed_asked->len || (choice->enforce && missed->len))
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "--cpu: this host, or its CPU engine, has no %s",
			       missed_asked->len ? missed_asked->str : missed->str);
	if (missed->len && v->index == 0)
		kv_log_warn("--cpu %s: left out what this host, or its CPU engine, does not have: %s", choice->model->name,
			    missed->str);
	drop_dependents(c);
	choose_state(c);
	if (!choice->model)
		return true;
	e = find_leaf(c, 1, 0);
	if (e)
		e->eax = signature(choice->model);
	set_text(c, choice->model);
	drop_leaves(c, choice->model);
	return true;
}

/* AMD's drivers ask leaf 0x8000001e alone which threads share a core (APM vol. 3, E.4.17), if the flag says it is there. */
static void add_amd_topology(struct kvm_cpuid2 *c, const struct vcpu *v)
{
	struct kvm_cpuid_entry2 *first = find_leaf(c, 0, 0), *flags = find_leaf(c, 0x80000001, 0),
				*last = find_leaf(c, 0x80000000, 0);

	if (v->m->topology.threads == 1 || !first || !flags || !last || first->ebx != get_le32("Auth"))
		return;
	if (!find_leaf(c, 0x8000001e, 0) && c->nent < ENTRIES_MAX)
		c->entries[c->nent++] = (struct kvm_cpuid_entry2){.function = 0x8000001e};
	flags->ecx |= 1u << 22;
	last->eax = MAX(last->eax, 0x8000001eu);
}

struct kvm_cpuid2 *cpuid_supported(int kvm_fd, GError **error)
{
	struct kvm_cpuid2 *c = g_malloc(sizeof(*c) + ENTRIES_MAX * sizeof(c->entries[0]));

	*c = (struct kvm_cpuid2){.nent = ENTRIES_MAX};
	if (kvcore_ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, c) == 0)
		return c;
	kv_fail_errno(error, errno, "KVM_GET_SUPPORTED_CPUID");
	g_free(c);
	return NULL;
}

bool cpuid_set(struct vcpu *v, GError **error)
{
	g_autofree struct kvm_cpuid2 *c = cpuid_supported(v->m->kvm_fd, error);
	bool deadline = kvcore_ioctl(v->m->kvm_fd, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_TSC_DEADLINE_TIMER) > 0;

	if (!c)
		return false;
	add_second_topology_leaf(c);
	if (v->m->cpu_chosen && !choose(c, v, error))
		return false;
	add_amd_topology(c, v);
	for (unsigned i = 0; i < c->nent; i++)
		adjust(&c->entries[i], v, deadline);
	if (kvcore_ioctl(v->fd, KVM_SET_CPUID2, c) < 0)
		return kv_fail_errno(error, errno, "vCPU %u: KVM_SET_CPUID2", v->index);
	return true;
}
