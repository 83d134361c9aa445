/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* kvcore_stats(): counters of a VM as `name value` lines. Reads while vCPUs run; a value may be a moment old. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include "fd.h"
#include "jit/jit.h"
#include "provider.h"

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
	line(o, "vcpu%u.lookups %llu\n", v->id, (unsigned long long)v->stat.lookups);
	line(o, "vcpu%u.tlb_misses %llu\n", v->id, (unsigned long long)v->stat.tlb_misses);
	line(o, "vcpu%u.group_misses %llu\n", v->id, (unsigned long long)v->stat.group_misses);
	line(o, "vcpu%u.interp_exits %llu\n", v->id, (unsigned long long)v->stat.interp_exits);
	line(o, "vcpu%u.tlb_fills %llu\n", v->id, (unsigned long long)v->mmu.fills);
	line(o, "vcpu%u.tlb_flushes %llu\n", v->id, (unsigned long long)v->mmu.flushes);
	line(o, "vcpu%u.tlb_full_flushes %llu\n", v->id, (unsigned long long)v->mmu.full_flushes);
	line(o, "vcpu%u.fetch_flushes %llu\n", v->id, (unsigned long long)v->mmu.fetch_flushes);
	line(o, "vcpu%u.set_switches %llu\n", v->id, (unsigned long long)v->mmu.switches);
	line(o, "vcpu%u.set_recycles %llu\n", v->id, (unsigned long long)v->mmu.recycles);
	line(o, "vcpu%u.walk_hits %llu\n", v->id, (unsigned long long)v->mmu.walk_hits);
}

ssize_t soft_stats(int vm_fd, char *buf, size_t size)
{
	struct handle *h = handle_get(vm_fd);
	struct out o = { .buf = buf, .size = size };
	struct jit_stats j;

	if (!h || h->kind != HANDLE_VM) {
		if (h)
			handle_put(h);
		return -ENOTTY;
	}
	if (size)
		*buf = 0;
	for (u32 i = 0; i < h->vm->vcpu_count; i++)
		vcpu_lines(&o, h->vm->vcpu[i]);
	if (h->vm->jit) {
		jit_get_stats(h->vm->jit, &j);
		line(&o, "jit.blocks %llu\njit.code_bytes %llu\njit.invalidations %llu\njit.flushes %llu\n",
		     (unsigned long long)j.blocks, (unsigned long long)j.code_bytes, (unsigned long long)j.invalidations,
		     (unsigned long long)j.flushes);
		line(&o, "jit.pages %llu\njit.world_stops %llu\n", (unsigned long long)j.pages,
		     (unsigned long long)j.world_stops);
	}
	handle_put(h);
	return (ssize_t)o.len;
}
