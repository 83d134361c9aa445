/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paging and the software TLB (mmu.h; SDM vol. 3, chapter 4): the walk, and what fills the tables. Data accesses of the
 * interpreter are in mmu-access.c, flushes in mmu-sets.c.
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

/* The rights in walk_entry.key */
#define WALK_W 1u
#define WALK_U 2u
#define WALK_NX 4u
#define WALK_KEY_SHIFT 8

struct walk_step {
	u8 *host;
	struct memslot *slot;
	u64 pte;
};

struct walk {
	struct walk_step step[4];
	unsigned steps;
	bool wide;   /* 8-byte entries */
	bool cached; /* begun below the root */
	u64 writable, user, nx;
	struct walk_entry learned[2]; /* for walk_pt and walk_pd, where stamp is set */
};

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

/* ---- caches of the last levels' tables, for 4-level paging ---- */

static inline struct walk_entry *walk_entry_at(struct cpu *c, u64 la, unsigned level)
{
	struct set_notes *n = &c->set->notes;

	return level == 1 ? &n->walk_pt[la >> 21 & (WALK_PT - 1)] : &n->walk_pd[la >> 30 & (WALK_PD - 1)];
}

static inline u64 walk_page(u64 la, unsigned level)
{
	return la >> (level == 1 ? 21 : 30);
}

/* The lowest table that is known for la; *ret_level is that of its entries. */
static inline const struct walk_entry *walk_known(struct cpu *c, u64 la, unsigned *ret_level)
{
	u64 stamp = c->set->notes.walk_stamp;

	for (unsigned level = 1; level <= 2; level++) {
		const struct walk_entry *e = walk_entry_at(c, la, level);

		if (e->stamp == stamp && e->key >> WALK_KEY_SHIFT == walk_page(la, level)) {
			*ret_level = level;
			return e;
		}
	}
	return NULL;
}

static void walk_learn(struct cpu *c, u64 la, const struct walk *w)
{
	for (unsigned level = 1; level <= 2; level++)
		if (w->learned[level - 1].stamp)
			*walk_entry_at(c, la, level) = w->learned[level - 1];
}

static void walk_forget(struct cpu *c, u64 la)
{
	for (unsigned level = 1; level <= 2; level++)
		walk_entry_at(c, la, level)->stamp = 0;
}

static struct walk_entry walk_entry_for(struct cpu *c, u64 la, unsigned level, const struct walk *w, u8 *table,
					struct memslot *slot)
{
	u64 rights = (w->writable & PTE_W ? WALK_W : 0) | (w->user & PTE_U ? WALK_U : 0) | (w->nx & PTE_NX ? WALK_NX : 0);

	return (struct walk_entry){ walk_page(la, level) << WALK_KEY_SHIFT | rights, c->set->notes.walk_stamp, table, slot };
}

static inline void walk_rights(struct walk *w, const struct walk_entry *e)
{
	w->writable = e->key & WALK_W ? ~0ull : 0;
	w->user = e->key & WALK_U ? ~0ull : 0;
	w->nx = e->key & WALK_NX ? PTE_NX : 0;
}

/* ---- the walk ---- */

/* The root, or where a cached entry leads to. Returns the level of the table's entries; 0: not present. */
static unsigned walk_begin(struct cpu *c, u64 la, struct walk *w, bool use_cache, u8 **ret_table, struct memslot **ret_slot)
{
	const struct walk_entry *e = NULL;
	bool is_long = cpu_long(c);
	unsigned level;
	u64 gpa;

	w->wide = c->cr4 & CR4_PAE;
	w->steps = 0;
	w->writable = w->user = ~0ull;
	w->nx = 0;
	w->learned[0].stamp = w->learned[1].stamp = 0;
	if (use_cache && is_long)
		e = walk_known(c, la, &level);
	w->cached = e;
	if (e) {
		walk_rights(w, e);
		*ret_table = e->table;
		*ret_slot = e->slot;
		return level;
	}
	gpa = c->cr3 & (is_long ? ADDR_MASK & c->phys_mask : w->wide ? 0xffffffe0 : 0xfffff000);
	if (w->wide && !is_long) {
		gpa = c->pdpte[la >> 30 & 3];
		if (!(gpa & PTE_P))
			return 0;
		gpa &= ADDR_MASK;
	}
	*ret_slot = slot_of(c, gpa);
	if (unlikely(!*ret_slot))
		return 0;
	*ret_table = mem_slot_host(*ret_slot, gpa);
	return is_long ? 4 : 2;
}

/* Reads entries down to the leaf. Returns the leaf's page shift, or 0 and the error bits P and RSVD. */
static unsigned walk_tables(struct cpu *c, u64 la, struct walk *w, bool use_cache, u32 *ret_error)
{
	struct memslot *slot;
	u8 *table;
	unsigned level = walk_begin(c, la, w, use_cache, &table, &slot), bits = w->wide ? 9 : 10;

	*ret_error = 0;
	for (; level; level--) {
		unsigned shift = 12 + (level - 1) * bits;
		u8 *host = table + (la >> shift & ((1u << bits) - 1)) * (w->wide ? 8 : 4);
		u64 pte = w->wide ? __atomic_load_n((u64 *)host, __ATOMIC_RELAXED) :
				    __atomic_load_n((u32 *)host, __ATOMIC_RELAXED);
		u64 gpa;

		if (!(pte & PTE_P))
			return 0;
		if (unlikely(level_reserved(c, level, pte, w->wide))) {
			*ret_error = PF_P | PF_RSVD;
			return 0;
		}
		w->writable &= pte;
		w->user &= pte;
		w->nx |= pte;
		w->step[w->steps++] = (struct walk_step){ host, slot, pte };
		if (level == 1)
			return 12;
		if ((pte & PTE_PS) && (w->wide || (c->cr4 & CR4_PSE)) && level <= 3)
			return shift;
		gpa = pte & (w->wide ? ADDR_MASK : 0xfffff000);
		slot = slot_of(c, gpa);
		if (unlikely(!slot))
			return 0;
		table = mem_slot_host(slot, gpa);
		if (level <= 3 && bits == 9)
			w->learned[level - 2] = walk_entry_for(c, la, level - 1, w, table, slot);
	}
	return 0;
}

static bool step_set_bits(struct cpu *c, const struct walk *w, const struct walk_step *p, u64 set)
{
	u64 old = p->pte, gpa;

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
	gpa = p->slot->gpa + (u64)(p->host - p->slot->hva);
	mem_mark_dirty(p->slot, gpa);
	if (unlikely(mem_has_code(p->slot, gpa)) && c->vcpu->vm->jit) /* the exchange was a fence */
		jit_invalidate(c->vcpu->vm, c, gpa, w->wide ? 8 : 4);
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

static inline void walk_result(struct cpu *c, const struct walk *w, u64 la, u64 leaf, unsigned shift, enum tlb_view view,
			       struct mmu_result *r)
{
	u64 mask = (1ull << shift) - 1, base = leaf & (w->wide ? ADDR_MASK : 0xfffff000) & ~mask;

	if (shift == 22)
		base |= (leaf & 0x1fe000) << 19; /* PSE-36 */
	r->gpa = (base | (la & mask)) & (w->wide || shift == 22 ? ~0ull : 0xffffffff);
	r->shift = (u8)shift;
	r->error = 0;
	r->global = (leaf & PTE_G) && (c->cr4 & CR4_PGE);
	r->writable_now = (leaf & PTE_D) && ((w->writable & PTE_W) || (view != VIEW_USER && !(c->cr0 & CR0_WP)));
	r->slot = slot_of(c, r->gpa);
	r->host = r->slot ? mem_slot_host(r->slot, r->gpa) : NULL;
}

/* The usual miss: the last table is known, and its entry permits the access as it stands. False: walk_all() has to look. */
static inline bool walk_last(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view, struct mmu_result *r)
{
	const struct walk_entry *e = walk_entry_at(c, la, 1);
	u64 need = PTE_P | PTE_A | (acc == MMU_WRITE ? PTE_D : 0), pte;
	struct walk w;

	if (!cpu_long(c) || e->stamp != c->set->notes.walk_stamp || e->key >> WALK_KEY_SHIFT != walk_page(la, 1))
		return false;
	pte = __atomic_load_n((u64 *)e->table + (la >> 12 & 511), __ATOMIC_RELAXED);
	if (unlikely((pte & need) != need || (pte & mmu_reserved_mask(c))))
		return false;
	w.wide = true;
	walk_rights(&w, e);
	w.writable &= pte;
	w.user &= pte;
	w.nx |= pte;
	if (unlikely(!walk_allowed(c, &w, acc, view)))
		return false;
	walk_result(c, &w, la, pte, 12, view, r);
	c->vcpu->mmu.walk_hits++;
	return true;
}

static __attribute__((noinline)) bool walk_all(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view, bool probe,
					       struct mmu_result *r)
{
	struct walk w;
	unsigned shift;

	if (!(c->cr0 & CR0_PG))
		return walk_unpaged(c, la, r);
	if (cpu_long(c) && !is_canonical(la)) {
		r->error = error_bits(c, acc, view);
		return false;
	}
	for (bool use_cache = !probe;;) {
		shift = walk_tables(c, la, &w, use_cache, &r->error);
		if (shift && walk_allowed(c, &w, acc, view)) {
			if (probe || walk_set_accessed(c, &w, acc == MMU_WRITE))
				break;
		} else if (w.cached) { /* a fault forgets upper levels (SDM vol. 3, 4.10.4.1): is it one without them? */
			walk_forget(c, la);
			use_cache = false;
		} else {
			r->error = (shift ? PF_P : r->error) | error_bits(c, acc, view);
			return false;
		}
	}
	if (w.cached)
		c->vcpu->mmu.walk_hits++;
	if (!probe && cpu_long(c))
		walk_learn(c, la, &w);
	walk_result(c, &w, la, w.step[w.steps - 1].pte, shift, view, r);
	return true;
}

bool mmu_walk(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view, bool probe, struct mmu_result *r)
{
	return (!probe && likely(walk_last(c, la, acc, view, r))) || walk_all(c, la, acc, view, probe, r);
}

static void note_page_size(struct set_notes *n, u64 la, u8 shift)
{
	if (shift == 30)
		note_add(&n->huge, note_huge(la));
	else if (shift > 12)
		note_add(n->large, note_large(la));
	if (shift == 22) /* two 2 MiB halves */
		note_add(n->large, note_large(la ^ 0x200000));
}

static void note_fill(struct cpu *c, u64 la, enum tlb_view view, const struct mmu_result *r)
{
	struct set_notes *n = &c->set->notes;

	filled_add(&n->filled, r->global ? FILLED_GLOBAL : FILLED_LOCAL, (u32)view << TLB_BITS | tlb_index(la));
	if (r->global)
		c->vcpu->mmu.globals |= 1ull << (la >> 42 & 63);
	if (unlikely(r->shift != 12))
		note_page_size(n, la, r->shift);
	c->vcpu->mmu.fills++;
}

enum mmu_try mmu_try(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view, struct mmu_result *r)
{
	u32 index = tlb_index(la);
	struct tlb_entry *e = &c->set->tlb[view][index];
	bool plain;

	if (unlikely(!walk_last(c, la, acc, view, r)) && !walk_all(c, la, acc, view, false, r))
		return MMU_FAULT;
	if (!r->host)
		return MMU_SLOW;
	if (acc == MMU_WRITE && !(r->slot->flags & KVM_MEM_READONLY))
		mem_mark_dirty(r->slot, r->gpa);
	plain = r->writable_now && mem_write_is_plain(r->slot, r->gpa);
	if (plain && mmu_note_write(c, r->gpa, r->global))
		plain = mem_write_is_plain(r->slot, r->gpa);
	e->rtag = la & PAGE_MASK;
	e->wtag = plain ? la & PAGE_MASK : tlb_no_tag(index);
	e->addend = (u64)(uintptr_t)r->host - la;
	e->page = r->host - (la & ~PAGE_MASK);
	c->set->tlb_gpa[view][index] = (r->gpa & PAGE_MASK) | (r->global ? TLB_GLOBAL : 0);
	note_fill(c, la, view, r);
	return acc != MMU_WRITE || plain ? MMU_FILLED : MMU_SLOW;
}

bool mmu_fill(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view)
{
	const struct tlb_entry *e = &c->set->tlb[view][tlb_index(la)];
	struct mmu_result r;

	/* Here already: then the access missed because it reaches into the next page. */
	if (unlikely((acc == MMU_WRITE ? e->wtag : e->rtag) == (la & PAGE_MASK)))
		return false;
	return mmu_try(c, la, acc, view, &r) == MMU_FILLED;
}

bool mmu_fetch(struct cpu *c, u64 la, u64 *ret_gpa, u8 **ret_host, u32 *ret_error, bool *ret_mmio)
{
	bool user = c->cpl == 3;
	u64 page = la & PAGE_MASK;
	u32 index = la >> 12 & (ITLB_SIZE - 1);
	struct itlb_entry *e = &c->set->itlb[user][index];
	struct set_notes *n = &c->set->notes;
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
	if (c->vcpu->vm->jit && !__atomic_load_n(&c->vcpu->vm->writes_reported, __ATOMIC_RELAXED) && mem_has_code(r.slot, r.gpa))
		jit_verify_page(c->vcpu->vm->jit, c, r.slot, r.gpa);
	if (unlikely(r.shift != 12))
		note_page_size(n, la, r.shift);
	note_add(n->fetched[user], note_fetched(la));
	n->kernel_local |= !user && !r.global;
	if (r.global)
		c->vcpu->mmu.globals |= 1ull << (la >> 42 & 63);
	filled_add(&n->filled, FILLED_ITLB + user, index);
	e->tag = page;
	e->gpa = r.gpa;
	e->host = r.host;
	*ret_gpa = r.gpa | (la & ~PAGE_MASK);
	*ret_host = r.host;
	return true;
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
