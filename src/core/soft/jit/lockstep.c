/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lock-step (lockstep.h): the shadow's overlay and run, and the comparison. The report of a difference is lockstep-report.c.
 *
 * The shadow looks addresses up in the real processor's TLB first, because that may rightly be older than the page tables.
 * It stops before what must not be done twice or is not the same twice (devices, time, system instructions); the block
 * comes out of translated code there too, or what follows is not compared. A load that gives something else when a
 * difference is met was written by a device meanwhile: no difference.
 *
 * Flags that are undefined (x86.tab) are the host's in translated code, or what was in its registers; in the shadow those of
 * flags.h. At the block's end they are left out. States that differ after an instruction of the block read one prove nothing:
 * they are counted apart.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "../cpu/exec-list.h"
#include "../cpu/fault.h"
#include "../cpu/host.h"
#include "../cpu/interp.h"
#include "host-string.h"
#include "lockstep-state.h"
#include "tx.h"
#include "x86-ops.h"

/* ---- overlay and log ---- */

/* Powers of two as the processor would, in one piece. */
static u64 load_raw(u64 host, unsigned n)
{
	u64 v = 0;

	switch (n) {
	case 8:
		__builtin_memcpy(&v, (const void *)host, 8);
		break;
	case 4:
		__builtin_memcpy(&v, (const void *)host, 4);
		break;
	default:
		for (unsigned k = 0; k < n; k++)
			v |= (u64)((const volatile u8 *)host)[k] << 8 * k;
	}
	return v;
}

static struct word *word_at(struct lockstep *l, u64 host, bool make)
{
	u64 key = host >> 3;
	u32 i = (u32)(key ^ key >> 15) % WORDS; /* neighbours in one line of the cache */

	while (l->word[i].stamp == l->stamp && l->word[i].key != key)
		i = (i + 1) % WORDS;
	if (l->word[i].stamp == l->stamp)
		return &l->word[i];
	if (!make)
		return NULL;
	l->word[i] = (struct word){ .key = key, .orig = load_raw(key << 3, 8), .stamp = l->stamp };
	l->used[l->words++] = (u16)i;
	return &l->word[i];
}

static void overlay_put(struct lockstep *l, u64 host, u64 v, unsigned n)
{
	while (n) {
		unsigned at = host & 7, here = 8 - at < n ? 8 - at : n;
		u64 mask = (here == 8 ? ~0ull : (1ull << 8 * here) - 1) << 8 * at;
		struct word *w = word_at(l, host, true);

		w->value = (w->value & ~mask) | (v << 8 * at & mask);
		w->mask |= mask;
		v = here == 8 ? 0 : v >> 8 * here;
		host += here;
		n -= here;
	}
}

static u64 overlay_get(struct lockstep *l, u64 host, unsigned n)
{
	u64 v = load_raw(host, n);
	unsigned done = 0;

	while (l->words && done < n) {
		unsigned at = (host + done) & 7, here = 8 - at < n - done ? 8 - at : n - done;
		struct word *w = word_at(l, host + done, false);
		u64 mask = here == 8 ? ~0ull : (1ull << 8 * here) - 1;

		if (w) {
			mask &= w->mask >> 8 * at;
			v = (v & ~(mask << 8 * done)) | (w->value >> 8 * at & mask) << 8 * done;
		}
		done += here;
	}
	return v;
}

static void overlay_clear(struct lockstep *l)
{
	l->stamp++;
	l->words = 0;
}

void lockstep_replay(struct lockstep *l, u32 stores)
{
	overlay_clear(l);
	for (u32 n = 0; n < stores; n++)
		overlay_put(l, l->store[n].host, l->store[n].value, l->store[n].size);
}

/* ---- the shadow's memory ---- */

static u64 shadow_host(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view)
{
	struct cpu *real = c->shadow->real;
	const struct tlb_entry *e = &real->set->tlb[view][tlb_index(la)];
	struct mmu_result r;

	if ((acc == MMU_WRITE ? e->wtag : e->rtag) == (la & PAGE_MASK))
		return la + e->addend;
	if (!mmu_walk(real, la, acc, view, true, &r))
		cpu_raise_pf(c, la, r.error);
	if (!r.host || (acc == MMU_WRITE && (r.slot->flags & KVM_MEM_READONLY)))
		cpu_leave(c, LEAVE_MMIO);
	return (u64)(uintptr_t)r.host;
}

void shadow_check(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view)
{
	shadow_host(c, la, acc, view);
}

void shadow_read(struct cpu *c, u64 la, void *data, unsigned n, enum tlb_view view)
{
	struct lockstep *l = c->shadow;
	u64 host = shadow_host(c, la, MMU_READ, view);

	for (unsigned done = 0, here; done < n; done += here) {
		struct access_log *a = &l->load[l->loads];
		u64 v;

		here = n - done < 8 ? n - done : 8;
		if (l->loads == LOG)
			cpu_leave(c, LEAVE_ERROR);
		v = overlay_get(l, host + done, here);
		*a = (struct access_log){ host + done, v, (u8)here };
		l->loads += !l->words || !word_at(l, host + done, false);
		__builtin_memcpy((u8 *)data + done, &v, here);
	}
}

void shadow_write(struct cpu *c, u64 la, const void *data, unsigned n, enum tlb_view view)
{
	struct lockstep *l = c->shadow;
	u64 host = shadow_host(c, la, MMU_WRITE, view);

	for (unsigned done = 0, here; done < n; done += here) {
		u64 v = 0;

		here = n - done < 8 ? n - done : 8;
		if (l->stores == LOG || l->words + 2 > WORDS / 2)
			cpu_leave(c, LEAVE_ERROR);
		__builtin_memcpy(&v, (const u8 *)data + done, here);
		l->store[l->stores++] = (struct access_log){ host + done, v, (u8)here };
		overlay_put(l, host + done, v, here);
	}
}

/* ---- the shadow's run ---- */

/* May it be done twice, with the same result? */
static bool repeatable(const struct insn *i)
{
	if (insn_result_varies(i))
		return false;
	switch (i->d->kind) {
	case KIND_COPY:
		return insn_exec(i->d) != exec_rdrand;
	case KIND_LEA:
	case KIND_PUSH:
	case KIND_POP:
	case KIND_CALL:
	case KIND_RET:
	case KIND_JMP:
	case KIND_JCC:
	case KIND_LOOP:
	case KIND_STRING:
	case KIND_LEAVE:
	case KIND_NOP:
		return true;
	default:
		break;
	}
	if (bits_possible(i))
		return true;
	switch (i->d->op) {
	case INSN_MOV:
		return i->d->opnd[1].kind == OP_S || i->d->opnd[1].kind == OP_C;
	case INSN_CLI:
	case INSN_STI:
	case INSN_PUSHF:
	case INSN_POPF:
	case INSN_SWAPGS:
	case INSN_CLAC:
	case INSN_STAC:
	case INSN_CLD:
	case INSN_STD:
	case INSN_SERIALIZE:
	case INSN_RDFSBASE:
	case INSN_RDGSBASE:
	case INSN_WRFSBASE:
	case INSN_WRGSBASE:
		return true;
	default:
		return false;
	}
}

/* The page of la as the real processor would fetch it now; NULL: it would have to look. */
static const u8 *fetchable(const struct cpu *c, u64 la)
{
	const struct itlb_entry *e = &c->set->itlb[c->cpl == 3][la >> 12 & (ITLB_SIZE - 1)];

	return e->tag == (la & PAGE_MASK) ? e->host : NULL;
}

static bool plan_holds(const struct plan *p, u64 rip, u64 bytes, enum cpu_mode mode)
{
	return p->i.d && p->rip == rip && p->i.mode == mode && !((load_raw(bytes, 8) ^ p->bytes[0]) & p->mask[0]) &&
	       !((load_raw(bytes + 8, 8) ^ p->bytes[1]) & p->mask[1]);
}

static bool plan_make(struct plan *p, u64 rip, const u8 *bytes, unsigned avail, enum cpu_mode mode)
{
	p->rip = NO_PLAN;
	if (insn_decode(&p->i, bytes, avail, mode) != DECODE_OK)
		return false;
	p->rip = rip;
	for (unsigned n = 0; n < 2; n++) {
		unsigned len = p->i.len > 8 * n ? p->i.len - 8 * n : 0;

		p->mask[n] = len >= 8 ? ~0ull : (1ull << 8 * len) - 1;
		p->bytes[n] = load_raw((u64)(uintptr_t)bytes + 8 * n, 8);
	}
	return true;
}

/* The instruction at rip, decoded; NULL when it cannot be fetched without effects, or is none. */
const struct insn *lockstep_decode(struct lockstep *l, const struct cpu *c, u64 rip)
{
	unsigned off = rip & ~PAGE_MASK, here = PAGE_SIZE - off < INSN_MAX ? (unsigned)PAGE_SIZE - off : INSN_MAX;
	const u8 *page = fetchable(c, rip), *next = here < INSN_MAX ? fetchable(c, rip + here) : NULL;
	struct plan *p = &l->plan[(rip ^ rip >> 12) % PLANS];
	u8 bytes[INSN_MAX + 1] = { 0 };

	if (!page)
		return NULL;
	if (off <= PAGE_SIZE - sizeof(bytes) && plan_holds(p, rip, (u64)(uintptr_t)page + off, c->mode))
		return &p->i;
	for (unsigned n = 0; n < here; n++)
		bytes[n] = page[off + n];
	for (unsigned n = here; next && n < INSN_MAX; n++)
		bytes[n] = next[n - here];
	return plan_make(p, rip, bytes, next ? INSN_MAX : here, c->mode) ? &p->i : NULL;
}

static void vector_save(u8 *area)
{
	__asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(7), "d"(0) : "memory");
}

static void vector_load(const u8 *area)
{
	__asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(7), "d"(0) : "memory");
}

/* Not memcpy(): that may use the guest's vector registers. */
static inline void copy_gprs(u64 *to, const volatile u64 *from)
{
#pragma GCC unroll 16
	for (unsigned n = 0; n < 16; n++)
		to[n] = from[n];
}

static void record(struct lockstep *l, u16 undefined)
{
	struct cpu *s = &l->shadow->cpu;
	struct record *r = &l->record[l->records++];

	copy_gprs(r->gpr, s->gpr);
	r->rip = s->rip;
	r->rflags = s->rflags;
	r->base[0] = s->seg[SEG_FS].base;
	r->base[1] = s->seg[SEG_GS].base;
	r->base[2] = s->kernel_gs_base;
	r->view = s->view;
	r->stores = l->stores;
	r->vectors = l->vectors;
	r->undefined = undefined;
}

static void copy_state(struct lockstep *l, const struct cpu *c)
{
	struct cpu *s = &l->shadow->cpu;

	copy_gprs(s->gpr, c->gpr);
	s->rip = c->rip;
	s->rflags = c->rflags;
	s->cpl = c->cpl;
	s->mode = c->mode;
	s->view = c->view;
	s->decode_mode = c->decode_mode;
	s->intr_shadow = 0;
	host_movs(s->seg, c->seg, sizeof(s->seg), 1);
	host_movs(&s->gdtr, &c->gdtr, offsetof(struct cpu, exc) - offsetof(struct cpu, gdtr), 1);
	l->real = (struct cpu *)c;
	l->loads = l->stores = l->records = l->vectors = 0;
	l->undefined_read = false;
	overlay_clear(l);
}

/* Flags that it makes something of. A shift's may also stay as they are: they are among flags_read for that. */
static u16 flags_used(const struct insn *i)
{
	if (insn_exec(i->d) == exec_shift || insn_exec(i->d) == exec_shld)
		return i->d->op == INSN_RCL || i->d->op == INSN_RCR ? FL_CF : 0;
	return i->d->flags_read & FL_ARITH;
}

/* One instruction, if it is for the shadow; else why not. */
static enum shadow_stop shadow_step(struct lockstep *l, u16 *undefined)
{
	struct cpu *s = &l->shadow->cpu;
	const struct insn *i = lockstep_decode(l, l->real, s->rip);

	if (!i)
		return STOP_FETCH;
	if (!repeatable(i))
		return STOP_ONCE;
	l->undefined_read |= (flags_used(i) & *undefined) != 0;
	if ((i->d->attr & ATTR_VEC) && !l->vectors)
		vector_save(l->vector[l->vectors++]);
	interp_decoded(s, i);
	if (i->d->attr & ATTR_VEC)
		vector_save(l->vector[l->vectors++]);
	*undefined = (u16)((*undefined & ~(i->d->flags_written & ~i->d->flags_read)) | i->d->flags_undef);
	return STOP_NOT;
}

static void shadow_run(struct lockstep *l, const struct cpu *c, u32 limit)
{
	struct cpu *s = &l->shadow->cpu;
	jmp_buf jump;
	volatile u16 undefined = 0;
	int why;

	copy_state(l, c);
	s->fault_jmp = &jump;
	l->stop = STOP_NOT;
	record(l, 0);
	why = setjmp(jump);
	if (why) {
		if (l->vectors) { /* a vector exception leaves its bits in MXCSR, on the host too */
			vector_save(l->vector[l->vectors++]);
			l->record[l->records - 1].vectors = l->vectors;
		}
		l->stop = why != FAULT_JMP_EXC		 ? STOP_DEVICE :
			  s->exc.vector == EXC_PF && l->stores ? STOP_PAGING :
							   STOP_FAULT;
		s->exc.pending = false;
		s->trap_bits = 0;
	}
	while (!l->stop && l->records <= limit) {
		u16 u = undefined;

		l->stop = shadow_step(l, &u);
		undefined = u;
		if (!l->stop)
			record(l, undefined);
	}
	if (l->vectors)
		vector_load(l->vector[0]);
}

/* ---- the comparison ---- */

static bool vectors_agree(const u8 *a, const u8 *b)
{
	static const struct {
		u16 at, size, step, count;
	} part[] = { { 0, 5, 0, 1 }, { FPU_MXCSR, 4, 0, 1 }, { FPU_ST, 10, 16, 8 }, { FPU_XMM, 256, 0, 1 },
		     { FPU_AVX_OFFSET, 256, 0, 1 } };

	for (size_t p = 0; p < ARRAY_SIZE(part); p++)
		for (unsigned n = 0; n < part[p].count; n++)
			for (unsigned k = 0; k < part[p].size; k++) {
				unsigned at = part[p].at + n * part[p].step + k;

				if (a[at] != b[at])
					return false;
			}
	return true;
}

bool lockstep_word_differs(const struct word *w)
{
	return load_raw(w->key << 3, 8) != ((w->orig & ~w->mask) | (w->value & w->mask));
}

static bool memory_agrees(struct lockstep *l, const struct record *r)
{
	if (r->stores != l->overlaid)
		lockstep_replay(l, r->stores);
	l->overlaid = r->stores;
	for (u32 n = 0; n < l->words; n++)
		if (lockstep_word_differs(&l->word[l->used[n]]))
			return false;
	return true;
}

/* The flags of `open` that have not been followed from rip on yet; all when there is no room left, through *ret_live. */
static u16 flags_unseen(struct lockstep *l, u64 rip, u16 open, u16 *ret_live)
{
	for (u32 n = 0; n < l->seens; n++)
		if (l->seen[n].rip == rip) {
			open &= (u16)~l->seen[n].flags;
			l->seen[n].flags |= open;
			return open;
		}
	if (l->seens == SEEN) {
		*ret_live |= open;
		return 0;
	}
	l->seen[l->seens].rip = rip;
	l->seen[l->seens++].flags = open;
	return open;
}

/* Flags of `open` that may be read from rip on, as far as can be seen. */
static u16 flags_read_from(struct lockstep *l, const struct cpu *c, u64 rip, u16 open)
{
	u16 live = 0;

	for (;;) {
		const struct insn *i = lockstep_decode(l, c, rip);
		u16 reads;

		if (!i)
			return live | open;
		open = flags_unseen(l, rip, open, &live);
		reads = insn_reads_flags(i);
		live |= reads & open;
		open &= (u16) ~(reads | i->d->flags_written);
		if (!open)
			return live;
		rip += i->len;
		switch (i->d->kind) {
		case KIND_JCC:
		case KIND_LOOP:
			live |= flags_read_from(l, c, rip + i->imm, open);
			continue;
		case KIND_JMP:
		case KIND_CALL:
			if (i->d->opnd[0].kind != OP_J)
				return live | open;
			rip += i->imm;
			continue;
		case KIND_RET:
			return live | open;
		case KIND_INTERP:
		case KIND_SYSTEM: /* a block may go on behind it */
			if (inplace_ends_block(i) && !repeatable(i))
				return live | open;
			continue;
		default:
			continue;
		}
	}
}

u64 lockstep_flag_difference(struct lockstep *l, const struct cpu *c, const struct record *r)
{
	u64 diff = (r->rflags ^ c->rflags) & ~(u64)(r->undefined | FL_RF);

	l->seens = 0;
	if (diff & FL_ARITH)
		diff &= ~(u64)FL_ARITH | flags_read_from(l, c, c->rip, diff & FL_ARITH);
	return diff;
}

static bool agrees(struct lockstep *l, const struct cpu *c, const struct record *r)
{
	for (unsigned n = 0; n < 16; n++)
		if (r->gpr[n] != c->gpr[n])
			return false;
	if (r->rip != c->rip || r->view != c->view || r->base[0] != c->seg[SEG_FS].base || r->base[1] != c->seg[SEG_GS].base ||
	    r->base[2] != c->kernel_gs_base)
		return false;
	if (lockstep_flag_difference(l, c, r))
		return false;
	if (r->vectors && !vectors_agree(l->vector[r->vectors - 1], l->vector_real))
		return false;
	return memory_agrees(l, r);
}

/* Something that the shadow read is different now, although no instruction of the block wrote it. */
static bool raced(struct lockstep *l)
{
	for (u32 n = 0; n < l->loads; n++)
		if (load_raw(l->load[n].host, l->load[n].size) != l->load[n].value && !word_at(l, l->load[n].host, false) &&
		    !word_at(l, l->load[n].host + l->load[n].size - 1, false))
			return true;
	return false;
}

/* The translator left a REP instruction between elements: the interpreter goes on. */
static bool in_string(struct lockstep *l, const struct cpu *c, unsigned reason)
{
	const struct insn *i = lockstep_decode(l, c, c->rip);

	return reason == EXIT_INTERP && i && (i->d->attr & ATTR_STRING) && i->rep;
}

static enum lockstep_count judge(struct lockstep *l, const struct cpu *c, unsigned reason)
{
	bool met = false;

	l->overlaid = l->stores;
	for (u32 n = l->records; n-- > 0;) {
		if (l->record[n].rip != c->rip)
			continue;
		met = true;
		if (agrees(l, c, &l->record[n]))
			return COUNT_COMPARED;
	}
	if (in_string(l, c, reason))
		return COUNT_STRING;
	if (l->stop == STOP_ONCE && (!met || reason != EXIT_INTERP)) /* it went on, and may have come round */
		return COUNT_ONCE;
	if (l->stop == STOP_DEVICE && !met)
		return COUNT_ONCE;
	if (!met && l->stop == STOP_PAGING)
		return COUNT_PAGING;
	if (l->stop == STOP_FETCH && (!met || c->rip == l->record[0].rip)) /* a path looks for its pages, and may come round */
		return COUNT_PAGING;
	lockstep_replay(l, l->stores);
	return raced(l) ? COUNT_RACED : l->undefined_read ? COUNT_UNDEFINED : COUNT_DIVERGED;
}

/* As block_of_code(), for those that run again and again. */
static struct known_block *known_block(struct jit *j, struct lockstep *l, u32 offset)
{
	struct known_block *k = &l->known[offset / 16 % KNOWN];

	if (k->offset != offset || k->flushes != j->stats.flushes)
		*k = (struct known_block){ block_of_code(j, offset), j->stats.flushes, offset, 0 };
	return k;
}

/* With lockstep=N: a block that has run often is shadowed once in N. */
static bool left_out(struct jit *j, struct lockstep *l, struct known_block *k)
{
	if (k->runs < ALWAYS) {
		k->runs++;
		return false;
	}
	return l->count[COUNT_BLOCKS] * 0x9e3779b97f4a7c15ull >> 33 >= (1ull << 31) / j->options.lockstep;
}

unsigned lockstep_run(struct jit *j, struct cpu *c, const u8 *code)
{
	static u32_unaligned quiet;
	struct lockstep *l = j->lockstep;
	u32_unaligned *poll = c->poll;
	struct known_block *k = known_block(j, l, (u32)(code - j->code_x));
	enum lockstep_count what;
	unsigned reason;

	l->count[COUNT_BLOCKS]++;
	if (j->options.lockstep > 1 && left_out(j, l, k)) {
		l->count[COUNT_LEFT_OUT]++;
		return run_code(j, c, code);
	}
	if (c->vcpu->vm->vcpu_count > 1 || !k->block) {
		l->count[COUNT_SMP]++;
		return run_code(j, c, code);
	}
	if (!l->shadow->vm) {
		l->shadow->vm = c->vcpu->vm;
		__builtin_memcpy(l->shadow->cpuid_gates, c->vcpu->cpuid_gates, sizeof(l->shadow->cpuid_gates));
	}
	l->start[l->count[COUNT_BLOCKS] % STARTS] = c->rip;
	shadow_run(l, c, k->block->insns);
	c->poll = &quiet; /* a string instruction shall not stop for requests */
	reason = run_code(j, c, code);
	c->poll = poll;
	if (l->vectors)
		vector_save(l->vector_real);
	what = judge(l, c, reason);
	l->count[what]++;
	if (what != COUNT_DIVERGED)
		return reason;
	lockstep_report(l, c, reason);
	return EXIT_DIVERGED;
}

/* ---- life ---- */

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

bool lockstep_create(struct jit *j)
{
	static u32_unaligned quiet;
	struct lockstep *l = map(sizeof(*l));
	struct cpu *s;

	j->lockstep = l;
	if (!l)
		return false;
	l->shadow = map(sizeof(*l->shadow));
	if (!l->shadow)
		return false;
	s = &l->shadow->cpu;
	l->shadow->run = (struct kvm_run *)l->run_page;
	l->shadow->user_irq = -1;
	s->vcpu = l->shadow;
	s->set = s;
	s->self = (u64)(uintptr_t)s;
	s->poll = &quiet;
	s->shadow = l;
	for (u32 v = 0; v < VIEW_COUNT; v++)
		s->tlb[v][0].rtag = s->tlb[v][0].wtag = tlb_no_tag(0);
	return true;
}

void lockstep_destroy(struct jit *j)
{
	struct lockstep *l = j->lockstep;

	if (!l)
		return;
	lockstep_summary(l);
	if (l->shadow)
		munmap(l->shadow, sizeof(*l->shadow));
	munmap(l, sizeof(*l));
}
