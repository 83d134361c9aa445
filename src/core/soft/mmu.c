/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paging and the software TLB (mmu.h; SDM vol. 3, chapter 4). The walk is done on every miss without caches of upper
 * levels: those entries are in the host's L1 cache. Data accesses of the interpreter are in mmu-access.c.
 */
#include <string.h>
#include "cpu/fault.h"
#include "jit/jit.h"
#include "mmu.h"
#include "soft.h"

#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_U 4ull
#define PTE_A 0x20ull
#define PTE_D 0x40ull
#define PTE_PS 0x80ull
#define PTE_G 0x100ull
#define PTE_NX (1ull << 63)
#define ADDR_MASK 0x000ffffffffff000ull

struct walk_step {
	u8 *host;
	struct memslot *slot;
	u64 gpa, pte;
};

struct walk {
	struct walk_step step[4];
	unsigned steps;
	bool wide; /* 8-byte entries */
	u64 writable, user, nx;
};

static inline bool is_canonical(u64 la)
{
	return (u64)((s64)(la << 16) >> 16) == la;
}

static inline struct memory *memory_of(struct cpu *c)
{
	return &c->vcpu->vm->memory;
}

static inline struct memslot *slot_of(struct cpu *c, u64 gpa)
{
	return mem_slot(memory_of(c), gpa, &c->vcpu->mmu.hint);
}

u64 mmu_reserved_mask(const struct cpu *c)
{
	return (~c->phys_mask & ADDR_MASK) | (c->efer & EFER_NX ? 0 : PTE_NX);
}

static u64 level_reserved(const struct cpu *c, unsigned level, u64 pte, bool wide)
{
	u64 mask;

	if (!wide)
		return level == 2 && (pte & PTE_PS) && (c->cr4 & CR4_PSE) ? pte & 0x200000 : 0;
	mask = mmu_reserved_mask(c);
	if (!cpu_long(c))
		mask |= 0x7ff0000000000000ull;
	if (level == 4)
		mask |= PTE_PS;
	if (level == 3 && (pte & PTE_PS))
		mask |= 0x3fffe000;
	if (level == 2 && (pte & PTE_PS))
		mask |= 0x1fe000;
	return pte & mask;
}

static u32 error_bits(const struct cpu *c, enum mmu_access acc, enum tlb_view view)
{
	u32 e = 0;

	if (acc == MMU_WRITE)
		e |= PF_W;
	if (view == VIEW_USER)
		e |= PF_U;
	if (acc == MMU_EXEC && ((c->cr4 & CR4_SMEP) || ((c->cr4 & CR4_PAE) && (c->efer & EFER_NX))))
		e |= PF_I;
	return e;
}

/* Reads entries from the root to the leaf. Returns the leaf's page shift, or 0 and the error bits P and RSVD. */
static unsigned walk_tables(struct cpu *c, u64 la, struct walk *w, u32 *ret_error)
{
	bool wide = c->cr4 & CR4_PAE, is_long = cpu_long(c);
	unsigned level = is_long ? 4 : 2, bits = wide ? 9 : 10;
	u64 table = c->cr3 & (is_long ? ADDR_MASK & c->phys_mask : 0xfffff000);

	w->wide = wide;
	w->steps = 0;
	w->writable = w->user = ~0ull;
	w->nx = 0;
	*ret_error = 0;
	if (wide && !is_long) {
		table = c->pdpte[la >> 30 & 3];
		if (!(table & PTE_P))
			return 0;
		table &= ADDR_MASK;
	}
	for (;; level--) {
		unsigned shift = 12 + (level - 1) * bits;
		u64 gpa = table + (la >> shift & ((1u << bits) - 1)) * (wide ? 8 : 4), pte;
		struct memslot *s = slot_of(c, gpa);
		u8 *host;

		if (unlikely(!s))
			return 0;
		host = mem_slot_host(s, gpa);
		pte = wide ? __atomic_load_n((u64 *)host, __ATOMIC_RELAXED) : __atomic_load_n((u32 *)host, __ATOMIC_RELAXED);
		if (!(pte & PTE_P))
			return 0;
		if (unlikely(level_reserved(c, level, pte, wide))) {
			*ret_error = PF_P | PF_RSVD;
			return 0;
		}
		w->writable &= pte;
		w->user &= pte;
		w->nx |= pte;
		w->step[w->steps++] = (struct walk_step){ host, s, gpa, pte };
		if (level == 1)
			return 12;
		if ((pte & PTE_PS) && (wide || (c->cr4 & CR4_PSE)) && level <= 3)
			return shift;
		table = pte & (wide ? ADDR_MASK : 0xfffff000);
	}
}

static bool step_set_bits(struct cpu *c, const struct walk *w, const struct walk_step *p, u64 set)
{
	u64 old = p->pte;

	if ((old & set) == set)
		return true;
	if (p->slot->flags & KVM_MEM_READONLY)
		return true;
	if (w->wide) {
		if (!__atomic_compare_exchange_n((u64 *)p->host, &old, old | set, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return false;
	} else {
		u32 old32 = (u32)old;

		if (!__atomic_compare_exchange_n((u32 *)p->host, &old32, old32 | (u32)set, false, __ATOMIC_SEQ_CST,
						 __ATOMIC_SEQ_CST))
			return false;
	}
	mem_mark_dirty(p->slot, p->gpa);
	if (unlikely(p->slot->code_pages[(p->gpa - p->slot->gpa) / PAGE_SIZE]) && c->vcpu->vm->jit)
		jit_invalidate(c->vcpu->vm->jit, c, p->slot, p->gpa, w->wide ? 8 : 4);
	return true;
}

/* False: somebody changed an entry meanwhile, walk again. */
static bool walk_set_accessed(struct cpu *c, struct walk *w, bool write)
{
	for (unsigned i = 0; i < w->steps; i++) {
		bool leaf = i + 1 == w->steps;

		if (!step_set_bits(c, w, &w->step[i], leaf && write ? PTE_A | PTE_D : PTE_A))
			return false;
		if (leaf && write)
			w->step[i].pte |= PTE_D;
	}
	return true;
}

static bool walk_allowed(const struct cpu *c, const struct walk *w, enum mmu_access acc, enum tlb_view view)
{
	bool user_page = w->user & PTE_U;

	if (view == VIEW_USER && !user_page)
		return false;
	if (acc == MMU_EXEC) {
		if ((w->nx & PTE_NX) && w->wide && (c->efer & EFER_NX))
			return false;
		return !(view != VIEW_USER && user_page && (c->cr4 & CR4_SMEP));
	}
	if (view == VIEW_KERNEL && user_page && (c->cr4 & CR4_SMAP))
		return false;
	return acc != MMU_WRITE || (w->writable & PTE_W) || (view != VIEW_USER && !(c->cr0 & CR0_WP));
}

static bool walk_unpaged(struct cpu *c, u64 la, struct mmu_result *r)
{
	r->gpa = (u32)la;
	r->global = false;
	r->writable_now = true;
	r->shift = 12;
	r->error = 0;
	r->slot = slot_of(c, r->gpa);
	r->host = r->slot ? mem_slot_host(r->slot, r->gpa) : NULL;
	return true;
}

bool mmu_walk(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view, bool probe, struct mmu_result *r)
{
	struct walk w;
	unsigned shift;
	u64 leaf, mask, base;

	if (!(c->cr0 & CR0_PG))
		return walk_unpaged(c, la, r);
	if (cpu_long(c) && !is_canonical(la)) {
		r->error = error_bits(c, acc, view);
		return false;
	}
	do {
		shift = walk_tables(c, la, &w, &r->error);
		if (!shift) {
			r->error |= error_bits(c, acc, view);
			return false;
		}
		if (!walk_allowed(c, &w, acc, view)) {
			r->error = PF_P | error_bits(c, acc, view);
			return false;
		}
	} while (!probe && !walk_set_accessed(c, &w, acc == MMU_WRITE));
	leaf = w.step[w.steps - 1].pte;
	mask = (1ull << shift) - 1;
	base = leaf & (w.wide ? ADDR_MASK : 0xfffff000) & ~mask;
	if (shift == 22)
		base |= (leaf & 0x1fe000) << 19; /* PSE-36 */
	r->gpa = (base | (la & mask)) & (w.wide || shift == 22 ? ~0ull : 0xffffffff);
	r->shift = (u8)shift;
	r->error = 0;
	r->global = (leaf & PTE_G) && (c->cr4 & CR4_PGE);
	r->writable_now = (leaf & PTE_D) && ((w.writable & PTE_W) || (view != VIEW_USER && !(c->cr0 & CR0_WP)));
	r->slot = slot_of(c, r->gpa);
	r->host = r->slot ? mem_slot_host(r->slot, r->gpa) : NULL;
	return true;
}

static void note_page_size(struct mmu_cache *m, u64 la, u8 shift)
{
	if (shift == 30)
		m->huge |= 1ull << (la >> 30 & 63);
	else if (shift > 12)
		m->large[la >> 27 & 15] |= 1ull << (la >> 21 & 63);
	if (shift == 22) /* two 2 MiB halves */
		m->large[(la ^ 0x200000) >> 27 & 15] |= 1ull << ((la ^ 0x200000) >> 21 & 63);
}

bool mmu_fill(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view)
{
	struct mmu_cache *m = &c->vcpu->mmu;
	struct mmu_result r;
	struct tlb_entry *e;
	u32 index = tlb_index(la);
	u64 page = la & PAGE_MASK;
	bool plain;

	m->fault = 0;
	/* Here already: then the access missed because it reaches into the next page. */
	if (unlikely((acc == MMU_WRITE ? c->tlb[view][index].wtag : c->tlb[view][index].rtag) == page))
		return false;
	if (!mmu_walk(c, la, acc, view, false, &r)) {
		if (is_canonical(la))
			m->fault = r.error | MMU_FAULT;
		return false;
	}
	if (!r.host)
		return false;
	if (acc == MMU_WRITE && !(r.slot->flags & KVM_MEM_READONLY))
		mem_mark_dirty(r.slot, r.gpa);
	plain = r.writable_now && mem_write_is_plain(r.slot, r.gpa);
	e = &c->tlb[view][index];
	e->rtag = page;
	e->wtag = plain ? page : tlb_no_tag(index);
	e->addend = (u64)(uintptr_t)r.host - la;
	e->gpa = (r.gpa & PAGE_MASK) | (r.global ? TLB_GLOBAL : 0);
	m->fills++;
	if (!r.global) {
		if (m->fill_count < MMU_FILLS)
			m->fill[m->fill_count] = (u16)(view << TLB_BITS | index);
		m->fill_count += m->fill_count <= MMU_FILLS;
	}
	if (unlikely(r.shift != 12))
		note_page_size(m, la, r.shift);
	return acc != MMU_WRITE || plain;
}

bool mmu_fetch(struct cpu *c, u64 la, u64 *ret_gpa, u8 **ret_host, u32 *ret_error, bool *ret_mmio)
{
	bool user = c->cpl == 3;
	u64 page = la & PAGE_MASK;
	struct itlb_entry *e = &c->itlb[user][la >> 12 & (ITLB_SIZE - 1)];
	struct mmu_cache *m = &c->vcpu->mmu;
	struct mmu_result r;

	*ret_mmio = false;
	if (likely(e->tag == page)) {
		*ret_gpa = e->gpa | (la & ~PAGE_MASK);
		*ret_host = e->host;
		return true;
	}
	if (!mmu_walk(c, page, MMU_EXEC, user ? VIEW_USER : VIEW_KERNEL, false, &r)) {
		*ret_error = r.error;
		return false;
	}
	if (!r.host) {
		*ret_gpa = r.gpa;
		*ret_mmio = true;
		return false;
	}
	if (c->vcpu->vm->jit && r.slot->code_pages[(r.gpa - r.slot->gpa) / PAGE_SIZE])
		jit_verify_page(c->vcpu->vm->jit, c, r.slot, r.gpa);
	if (unlikely(r.shift != 12))
		note_page_size(m, la, r.shift);
	m->fetched[la >> 18 & 63] |= 1ull << (la >> 12 & 63);
	m->kernel_local |= !user && !r.global;
	e->tag = page;
	e->gpa = r.gpa;
	e->host = r.host;
	*ret_gpa = r.gpa | (la & ~PAGE_MASK);
	*ret_host = r.host;
	return true;
}

/* ---- flushes ---- */

/* All fetches start anew, so the notes about them do too. */
static void fetch_flush(struct cpu *c)
{
	c->vcpu->mmu.fetch_flushes++;
	for (u32 u = 0; u < 2; u++)
		for (u32 i = 0; i < ITLB_SIZE; i++)
			c->itlb[u][i].tag = tlb_no_tag(i);
	cpu_flush_jump(c);
	memset(c->vcpu->mmu.fetched, 0, sizeof(c->vcpu->mmu.fetched));
	c->vcpu->mmu.kernel_local = false;
}

static void fetch_flush_user(struct cpu *c)
{
	for (u32 i = 0; i < ITLB_SIZE; i++)
		c->itlb[1][i].tag = tlb_no_tag(i);
	for (u32 i = 0; i < JUMP_SIZE; i++)
		c->jump[VIEW_USER][i] = (struct jump_entry){ 1ull << 63, c->jump_miss };
}

static inline void entry_drop(struct tlb_entry *e, u32 index)
{
	e->rtag = e->wtag = tlb_no_tag(index);
	e->gpa = 0;
}

void mmu_flush_all(struct cpu *c)
{
	struct mmu_cache *m = &c->vcpu->mmu;

	for (u32 v = 0; v < VIEW_COUNT; v++)
		for (u32 i = 0; i < TLB_SIZE; i++)
			entry_drop(&c->tlb[v][i], i);
	cpu_drop_stack(c);
	fetch_flush(c);
	memset(m->large, 0, sizeof(m->large));
	m->huge = 0;
	m->fill_count = 0;
	m->full_flushes++;
}

void mmu_flush_nonglobal(struct cpu *c)
{
	struct mmu_cache *m = &c->vcpu->mmu;

	if (m->fill_count <= MMU_FILLS) {
		for (u32 i = 0; i < m->fill_count; i++) {
			struct tlb_entry *e = &c->tlb[m->fill[i] >> TLB_BITS][m->fill[i] & (TLB_SIZE - 1)];

			if (!(e->gpa & TLB_GLOBAL))
				entry_drop(e, m->fill[i] & (TLB_SIZE - 1));
		}
	} else {
		for (u32 v = 0; v < VIEW_COUNT; v++)
			for (u32 i = 0; i < TLB_SIZE; i++)
				if (!(c->tlb[v][i].gpa & TLB_GLOBAL))
					entry_drop(&c->tlb[v][i], i);
	}
	cpu_drop_stack(c);
	m->fill_count = 0;
	m->flushes++;
	if (m->kernel_local)
		fetch_flush(c);
	else /* all supervisor code is global */
		fetch_flush_user(c);
}

static void flush_index(struct cpu *c, u64 la)
{
	u32 i = tlb_index(la);

	for (u32 v = 0; v < VIEW_COUNT; v++)
		if (c->tlb[v][i].rtag == (la & PAGE_MASK))
			entry_drop(&c->tlb[v][i], i);
}

static void flush_large(struct cpu *c, u64 la, u64 size)
{
	u64 lo = la & ~(size - 1);

	for (u32 v = 0; v < VIEW_COUNT; v++)
		for (u32 i = 0; i < TLB_SIZE; i++)
			if (c->tlb[v][i].rtag - lo < size)
				entry_drop(&c->tlb[v][i], i);
	fetch_flush(c);
}

void mmu_flush_page(struct cpu *c, u64 la)
{
	struct mmu_cache *m = &c->vcpu->mmu;
	u32 i = la >> 12 & (ITLB_SIZE - 1);

	cpu_drop_stack(c);
	if (unlikely(m->huge >> (la >> 30 & 63) & 1)) {
		flush_large(c, la, 1ull << 30);
	} else if (unlikely(m->large[la >> 27 & 15] >> (la >> 21 & 63) & 1)) {
		flush_large(c, la, c->cr4 & CR4_PAE ? 1ull << 21 : 1ull << 22);
	} else {
		flush_index(c, la);
		c->itlb[0][i].tag = c->itlb[1][i].tag = tlb_no_tag(i);
		if (m->fetched[la >> 18 & 63] >> (la >> 12 & 63) & 1)
			cpu_flush_jump(c);
	}
}

bool mmu_load_pdptes(struct cpu *c, u64 cr3)
{
	u64 table = cr3 & 0xffffffe0, pdpte[4], reserved = (~c->phys_mask & ADDR_MASK) | 0xfff00000000001e6ull;

	if (!mmu_phys_read(c, table, pdpte, sizeof(pdpte)))
		return false;
	for (int i = 0; i < 4; i++)
		if ((pdpte[i] & PTE_P) && (pdpte[i] & reserved))
			return false;
	memcpy(c->pdpte, pdpte, sizeof(pdpte));
	return true;
}

void mmu_set_cr3(struct cpu *c, u64 value, bool noflush)
{
	bool same = c->cr3 == value;

	c->cr3 = value;
	if ((c->cr4 & CR4_PAE) && (c->cr0 & CR0_PG) && !cpu_long(c))
		mmu_load_pdptes(c, value);
	if (!(same && noflush))
		mmu_flush_nonglobal(c);
}
