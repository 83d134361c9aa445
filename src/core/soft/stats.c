/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* kvcore_stats(): counters of a VM as `name value` lines. Reads while vCPUs run; a value may be a moment old. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include "cpu/insn.h"
#include "fd.h"
#include "jit/jit.h"
#include "provider.h"

#define TOP_OPS 10

struct out {
	char *buf;
	size_t size, len;
};

static void __attribute__((format(printf, 2, 3))) line(struct out *o, const char *format, ...)
{
	va_list ap;
	size_t room = o->len < o->size ? o->size - o->len : 0;
	int n;

	va_start(ap, format);
	n = vsnprintf(room ? o->buf + o->len : NULL, room, format, ap);
	va_end(ap);
	o->len += n > 0 ? (size_t)n : 0;
}

static void vcpu_lines(struct out *o, const struct vcpu *v)
{
	static const struct {
		u32 reason;
		const char *name;
	} reasons[] = { { KVM_EXIT_IO, "io" }, { KVM_EXIT_MMIO, "mmio" }, { KVM_EXIT_INTR, "intr" }, { KVM_EXIT_HLT, "hlt" },
			{ KVM_EXIT_IRQ_WINDOW_OPEN, "irq_window" }, { KVM_EXIT_SHUTDOWN, "shutdown" },
			{ KVM_EXIT_INTERNAL_ERROR, "internal_error" }, { KVM_EXIT_DEBUG, "debug" } };

	line(o, "vcpu%u.runs %llu\n", v->id, (unsigned long long)v->stat.run_exits);
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (v->exits[reasons[i].reason])
			line(o, "vcpu%u.exits.%s %u\n", v->id, reasons[i].name, v->exits[reasons[i].reason]);
	line(o, "vcpu%u.halts %llu\n", v->id, (unsigned long long)v->stat.halts);
	line(o, "vcpu%u.sleeps %llu\n", v->id, (unsigned long long)v->stat.sleeps);
	line(o, "vcpu%u.injections %llu\n", v->id, (unsigned long long)v->stat.injections);
	line(o, "vcpu%u.interpreted %llu\n", v->id, (unsigned long long)v->cpu.insns);
	line(o, "vcpu%u.tlb_fills %llu\n", v->id, (unsigned long long)v->mmu.fills);
	line(o, "vcpu%u.tlb_flushes %llu\n", v->id, (unsigned long long)v->mmu.flushes);
	line(o, "vcpu%u.tlb_full_flushes %llu\n", v->id, (unsigned long long)v->mmu.full_flushes);
	line(o, "vcpu%u.fetch_flushes %llu\n", v->id, (unsigned long long)v->mmu.fetch_flushes);
	line(o, "vcpu%u.set_switches %llu\n", v->id, (unsigned long long)v->mmu.switches);
	line(o, "vcpu%u.set_recycles %llu\n", v->id, (unsigned long long)v->mmu.recycles);
	line(o, "vcpu%u.walk_hits %llu\n", v->id, (unsigned long long)v->mmu.walk_hits);
}

static void jit_lines(struct out *o, const struct vm *vm)
{
	struct jit_stats j;
	struct jit_counts sum = { 0 };

	jit_get_stats(vm->jit, &j);
	for (u32 n = 0; n < vm->vcpu_count; n++)
		for (size_t k = 0; k < sizeof(sum) / sizeof(u64); k++)
			((u64 *)&sum)[k] += ((const u64 *)&vm->vcpu[n]->stat.jit)[k];
	const struct {
		const char *name;
		u64 value;
	} counters[] = {
		{ "blocks", j.blocks }, { "pages", j.pages }, { "code_bytes", j.code_bytes }, { "paths", j.paths },
		{ "links", j.links },
		{ "jump_misses", sum.jump_misses }, { "lookups", sum.lookups }, { "tlb_misses", sum.tlb_misses },
		{ "group_misses", sum.group_misses }, { "slow.page_crossing", sum.page_crossings },
		{ "slow.page_fault", sum.page_faults }, { "slow.not_plain", sum.not_plain },
		{ "slow.host_fault", sum.host_faults }, { "interp_exits", sum.interp_exits }, { "unfit", sum.unfit },
		{ "invalidations", j.invalidations }, { "flushes", j.flushes }, { "world_stops", j.world_stops },
	};

	for (size_t n = 0; n < ARRAY_SIZE(counters); n++)
		line(o, "jit.%s %llu\n", counters[n].name, (unsigned long long)counters[n].value);
}

/* The instructions that were interpreted most often. */
static void op_lines(struct out *o, const struct vm *vm)
{
	u64 count[OPS_MAX] = { 0 };

	for (u32 v = 0; v < vm->vcpu_count; v++)
		for (u32 op = 0; op < INSN_COUNT; op++)
			count[op] += vm->vcpu[v]->cpu.op_count[op];
	for (unsigned n = 0; n < TOP_OPS; n++) {
		u32 most = 0;

		for (u32 op = 1; op < INSN_COUNT; op++)
			if (count[op] > count[most])
				most = op;
		if (!count[most])
			break;
		line(o, "interp.%s %llu\n", insn_op_names[most], (unsigned long long)count[most]);
		count[most] = 0;
	}
}

ssize_t soft_stats(int vm_fd, char *buf, size_t size)
{
	struct handle *h = handle_get(vm_fd);
	struct out o = { .buf = buf, .size = size };

	if (!h || h->kind != HANDLE_VM) {
		if (h)
			handle_put(h);
		return -ENOTTY;
	}
	if (size)
		*buf = 0;
	for (u32 i = 0; i < h->vm->vcpu_count; i++)
		vcpu_lines(&o, h->vm->vcpu[i]);
	if (h->vm->jit)
		jit_lines(&o, h->vm);
	op_lines(&o, h->vm);
	handle_put(h);
	return (ssize_t)o.len;
}
