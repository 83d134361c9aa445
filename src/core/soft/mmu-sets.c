/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The address spaces whose translations a vCPU keeps, one set of tables for a PCID, and every flush of them (mmu.h; SDM
 * vol. 3, 4.10). A set that is not current is not touched by a flush: what has to go is noted and goes when the set is
 * entered. Only two things cannot wait: INVPCID of one address, and write tags of a page that becomes code.
 */
#include <sys/mman.h>
#include "host-gs.h"
#include "mmu.h"
#include "soft.h"

enum { PENDING_JUMP = 1, PENDING_LOCAL = 2 };

static inline struct mmu_cache *cache_of(struct cpu *c)
{
	return &c->vcpu->mmu;
}

/* ---- one set ---- */

static inline struct tlb_entry *entry_at(struct cpu *s, u32 where)
{
	return &s->tlb[where >> TLB_BITS][where & (TLB_SIZE - 1)];
}

static inline u64 *gpa_at(struct cpu *s, u32 where)
{
	return &s->tlb_gpa[where >> TLB_BITS][where & (TLB_SIZE - 1)];
}

static inline void entry_drop(struct cpu *s, u32 where)
{
	entry_at(s, where)->rtag = entry_at(s, where)->wtag = tlb_no_tag(where & (TLB_SIZE - 1));
	*gpa_at(s, where) = 0;
}

static void jump_drop(struct cpu *s, u32 table)
{
	struct filled *f = &s->notes.filled;
	u32 i;

	for (struct filled_walk w = filled_begin(f, FILLED_JUMP + table); filled_next(f, &w, &i);)
		s->jump[table][i].rip = jump_no_rip(i);
	filled_clear(f, FILLED_JUMP + table);
}

static void jump_drop_all(struct cpu *s)
{
	for (u32 n = 0; n < JUMP_TABLES; n++)
		jump_drop(s, n);
}

/* Code that was reached at these addresses. A block that goes on in the next page looks at the ITLB itself. */
static void jump_drop_range(struct cpu *s, u32 table, u64 lo, u64 size)
{
	const struct filled *f = &s->notes.filled;
	u32 i;

	for (struct filled_walk w = filled_begin(f, FILLED_JUMP + table); filled_next(f, &w, &i);)
		if (s->jump[table][i].rip - lo < size)
			s->jump[table][i].rip = jump_no_rip(i);
}

static void itlb_drop(struct cpu *s, bool user)
{
	struct filled *f = &s->notes.filled;
	u32 i;

	for (struct filled_walk w = filled_begin(f, FILLED_ITLB + user); filled_next(f, &w, &i);)
		s->itlb[user][i].tag = tlb_no_tag(i);
	filled_clear(f, FILLED_ITLB + user);
}

static void itlb_drop_range(struct cpu *s, bool user, u64 lo, u64 size)
{
	const struct filled *f = &s->notes.filled;
	u32 i;

	for (struct filled_walk w = filled_begin(f, FILLED_ITLB + user); filled_next(f, &w, &i);)
		if (s->itlb[user][i].tag - lo < size)
			s->itlb[user][i].tag = tlb_no_tag(i);
}

/* All fetches start anew, so the notes about them do too. */
static void fetch_drop(struct cpu *s)
{
	cache_of(s)->fetch_flushes++;
	itlb_drop(s, false);
	itlb_drop(s, true);
	jump_drop_all(s);
	__builtin_memset(s->notes.fetched, 0, sizeof(s->notes.fetched));
	s->notes.kernel_local = false;
}

static void fetch_drop_local(struct cpu *s)
{
	if (s->notes.kernel_local) {
		fetch_drop(s);
		return;
	}
	itlb_drop(s, true); /* all supervisor code is global */
	jump_drop(s, VIEW_USER);
	jump_drop(s, VIEW_COUNT + VIEW_USER);
}

static inline void walks_drop(struct cpu *s)
{
	s->notes.walk_stamp++;
}

/* The tags went before: seen in this order by mmu_may_write() on other threads. */
static void writes_forget(u64 notes[64])
{
	for (u32 n = 0; n < 64; n++)
		__atomic_store_n(&notes[n], 0, __ATOMIC_RELEASE);
}

/* An entry that was filled anew may be noted as the other kind, too. */
static void entries_drop(struct cpu *s, enum filled_table table, u64 global)
{
	struct filled *f = &s->notes.filled;
	u32 i;

	for (struct filled_walk w = filled_begin(f, table); filled_next(f, &w, &i);)
		if ((*gpa_at(s, i) & TLB_GLOBAL) == global)
			entry_drop(s, i);
	filled_clear(f, table);
}

static void local_drop(struct cpu *s)
{
	entries_drop(s, FILLED_LOCAL, 0);
	cpu_drop_stack(s);
	writes_forget(s->notes.local_writes);
	fetch_drop_local(s);
	walks_drop(s);
}

static void global_drop(struct cpu *s)
{
	entries_drop(s, FILLED_GLOBAL, TLB_GLOBAL);
	cpu_drop_stack(s);
	writes_forget(s->notes.global_writes);
	fetch_drop(s);
	walks_drop(s);
}

static void set_drop(struct cpu *s)
{
	global_drop(s);
	local_drop(s);
	__builtin_memset(s->notes.large, 0, sizeof(s->notes.large));
	s->notes.huge = 0;
}

static void range_drop_in(struct cpu *s, enum filled_table table, u64 lo, u64 size)
{
	const struct filled *f = &s->notes.filled;
	u32 i;

	for (struct filled_walk w = filled_begin(f, table); filled_next(f, &w, &i);)
		if (entry_at(s, i)->rtag - lo < size)
			entry_drop(s, i);
}

static void range_drop(struct cpu *s, u64 la, u64 size)
{
	u64 lo = la & ~(size - 1);

	range_drop_in(s, FILLED_GLOBAL, lo, size);
	range_drop_in(s, FILLED_LOCAL, lo, size);
	for (u32 n = 0; n < JUMP_TABLES; n++)
		jump_drop_range(s, n, lo, size);
	itlb_drop_range(s, false, lo, size);
	itlb_drop_range(s, true, lo, size);
	cache_of(s)->fetch_flushes++;
}

/* One address, global or not; every walk is done anew (4.10.4.1: INVLPG drops all upper levels of the PCID). */
static void page_drop(struct cpu *s, u64 la)
{
	const struct set_notes *n = &s->notes;
	u32 i = tlb_index(la), f = la >> 12 & (ITLB_SIZE - 1);

	cpu_drop_stack(s);
	walks_drop(s);
	if (unlikely(note_has(&n->huge, note_huge(la)))) {
		range_drop(s, la, 1ull << 30);
	} else if (unlikely(note_has(n->large, note_large(la)))) {
		range_drop(s, la, s->cr4 & CR4_PAE ? 1ull << 21 : 1ull << 22);
	} else {
		s->itlb[0][f].tag = s->itlb[1][f].tag = tlb_no_tag(f);
		for (u32 v = 0; v < VIEW_COUNT; v++) {
			if (s->tlb[v][i].rtag == (la & PAGE_MASK))
				entry_drop(s, v << TLB_BITS | i);
			if (!note_has(n->fetched[v == VIEW_USER], note_fetched(la)))
				continue;
			jump_drop_range(s, v, la & PAGE_MASK, PAGE_SIZE);
			jump_drop_range(s, VIEW_COUNT + v, la & PAGE_MASK, PAGE_SIZE);
			cache_of(s)->fetch_flushes++; /* it may be the page that is being executed */
		}
	}
}

static bool may_write(const struct set_notes *n, u64 gpa)
{
	u32 bit = note_write(gpa);

	return (__atomic_load_n(&n->global_writes[bit / 64], __ATOMIC_RELAXED) |
		__atomic_load_n(&n->local_writes[bit / 64], __ATOMIC_RELAXED)) >> (bit & 63) & 1;
}

static void wtag_drop_in(struct cpu *s, enum filled_table table, u64 gpa)
{
	const struct filled *f = &s->notes.filled;
	u32 i;

	for (struct filled_walk w = filled_begin(f, table); filled_next(f, &w, &i);)
		if ((*gpa_at(s, i) & PAGE_MASK) == gpa)
			entry_at(s, i)->wtag = tlb_no_tag(i & (TLB_SIZE - 1));
}

/* ---- which set is current ---- */

static inline u16 pcid_now(const struct cpu *c)
{
	return c->cr4 & CR4_PCIDE ? c->cr3 & 0xfff : 0;
}

static inline u64 root_now(const struct cpu *c)
{
	return c->cr3 & ~0xfffull;
}

static struct mmu_set *set_find(struct mmu_cache *m, u16 pcid)
{
	for (struct mmu_set *set = m->set; set < m->set + MMU_SETS; set++)
		if (set->used && set->pcid == pcid)
			return set;
	return NULL;
}

/* mmu_may_write() reads it on other threads. */
static inline void set_used(struct mmu_set *set, bool used)
{
	__atomic_store_n(&set->used, used, __ATOMIC_RELEASE);
}

/* Where nothing was written but zeroes. */
static void set_prepare(struct mmu_set *set)
{
	for (u32 v = 0; v < VIEW_COUNT; v++)
		set->face->tlb[v][0].rtag = set->face->tlb[v][0].wtag = tlb_no_tag(0);
	for (u32 n = 0; n < JUMP_TABLES; n++)
		set->face->jump[n][0].rip = jump_no_rip(0);
	set->face->itlb[0][0].tag = set->face->itlb[1][0].tag = tlb_no_tag(0);
	set->face->notes.walk_stamp = 1;
	set->ready = true;
}

/* A free set, or the one that was left longest ago. */
static struct mmu_set *set_best(struct mmu_cache *m)
{
	struct mmu_set *best = NULL;

	for (struct mmu_set *set = m->set; set < m->set + MMU_SETS; set++)
		if (set != &m->set[m->current] && !set->refused &&
		    (!best || (best->used && (!set->used || set->used_at < best->used_at))))
			best = set;
	return best;
}

/* An empty one. Two are always mapped, so there is one. */
static struct mmu_set *set_take(struct cpu *c, u16 pcid)
{
	struct mmu_cache *m = cache_of(c);
	struct mmu_set *best = set_best(m);

	while (!best->mapped) {
		best->mapped = vcpu_map_face(c->vcpu, best->face);
		best->refused = !best->mapped;
		best = best->mapped ? best : set_best(m);
	}
	if (!best->ready) {
		set_prepare(best);
	} else {
		m->recycles += best->used;
		set_drop(best->face);
	}
	set_used(best, true);
	best->pcid = pcid;
	best->pending = 0;
	best->log_seen = m->log_head;
	return best;
}

/* What happened while the set was not current. */
static void set_catch_up(struct mmu_cache *m, struct mmu_set *set)
{
	if (m->log_head - set->log_seen > MMU_LOG)
		global_drop(set->face);
	else
		while (set->log_seen != m->log_head)
			page_drop(set->face, m->log[set->log_seen++ % MMU_LOG]);
	set->log_seen = m->log_head;
	if (set->pending & PENDING_LOCAL)
		local_drop(set->face);
	if (set->pending & PENDING_JUMP)
		jump_drop_all(set->face);
	set->pending = 0;
}

static void set_enter(struct cpu *c, struct mmu_set *set)
{
	struct mmu_cache *m = cache_of(c);

	m->set[m->current].used_at = ++m->clock;
	m->set[m->current].log_seen = m->log_head;
	m->current = (u32)(set - m->set);
	c->set = set->face;
	cpu_drop_stack(c);
	if (c->gs_is_set)
		host_gs_write((u64)(uintptr_t)c->set);
}

void mmu_init(struct cpu *c)
{
	struct mmu_cache *m = cache_of(c);

	m->current = MMU_SETS - 1; /* set_take() takes another one: the first */
	m->current = (u32)(set_take(c, 0) - m->set);
	c->set = m->set[m->current].face;
}

void mmu_set_cr3(struct cpu *c, u64 value, bool noflush)
{
	struct mmu_cache *m = cache_of(c);
	u16 pcid;

	c->cr3 = value;
	if ((c->cr4 & CR4_PAE) && (c->cr0 & CR0_PG) && !cpu_long(c))
		mmu_load_pdptes(c, value);
	pcid = pcid_now(c);
	if (m->set[m->current].pcid != pcid) {
		struct mmu_set *set = set_find(m, pcid);

		if (set)
			set_catch_up(m, set);
		else
			set = set_take(c, pcid);
		set_enter(c, set);
		m->switches++;
	}
	/* With other tables for the same PCID old entries could stay, says the architecture, but nobody wants them. */
	if (!noflush || c->set->notes.root != root_now(c))
		mmu_flush_nonglobal(c);
}

/* ---- flushes ---- */

void mmu_flush_all(struct cpu *c)
{
	struct mmu_cache *m = cache_of(c);

	for (struct mmu_set *set = m->set; set < m->set + MMU_SETS; set++)
		set_used(set, false);
	set_drop(c->set);
	c->set->notes.root = root_now(c);
	set_used(&m->set[m->current], true);
	m->set[m->current].pcid = pcid_now(c);
	m->globals = 0;
	m->full_flushes++;
}

void mmu_give_back(struct cpu *c)
{
	const size_t size = offsetof(struct cpu, code) - offsetof(struct cpu, tlb);
	struct mmu_cache *m = cache_of(c);
	struct mmu_set *now = &m->set[m->current];

	for (struct mmu_set *set = m->set; set < m->set + MMU_SETS; set++) {
		set_used(set, false);
		if (set->ready && madvise((u8 *)set->face + offsetof(struct cpu, tlb), size, MADV_DONTNEED))
			set_drop(set->face);
		else
			set->ready = false;
	}
	if (!now->ready)
		set_prepare(now);
	cpu_drop_stack(c);
	now->face->notes.root = root_now(c);
	now->pcid = pcid_now(c);
	now->pending = 0;
	m->globals = 0;
	cache_of(c)->fetch_flushes++;
	set_used(now, true);
}

void mmu_flush_nonglobal(struct cpu *c)
{
	local_drop(c->set);
	c->set->notes.root = root_now(c);
	cache_of(c)->flushes++;
}

static void others_pending(struct cpu *c, u8 what)
{
	struct mmu_cache *m = cache_of(c);

	for (u32 k = 0; k < MMU_SETS; k++)
		if (k != m->current)
			m->set[k].pending |= what;
}

void mmu_flush_nonglobal_all(struct cpu *c)
{
	mmu_flush_nonglobal(c);
	others_pending(c, PENDING_LOCAL);
}

void mmu_flush_pcid(struct cpu *c, u16 pcid)
{
	struct mmu_cache *m = cache_of(c);
	struct mmu_set *set = set_find(m, pcid);

	if (set == &m->set[m->current])
		mmu_flush_nonglobal(c);
	else if (set)
		set->pending |= PENDING_LOCAL;
}

void mmu_flush_page(struct cpu *c, u64 la)
{
	struct mmu_cache *m = cache_of(c);

	page_drop(c->set, la);
	if (unlikely(m->globals >> (la >> 42 & 63) & 1))
		m->log[m->log_head++ % MMU_LOG] = la;
}

void mmu_flush_page_of(struct cpu *c, u64 la, u16 pcid)
{
	struct mmu_set *set = set_find(cache_of(c), pcid);

	if (set)
		page_drop(set->face, la);
}

bool mmu_may_write(struct cpu *c, u64 gpa)
{
	const struct mmu_cache *m = cache_of(c);

	for (const struct mmu_set *set = m->set; set < m->set + MMU_SETS; set++)
		if (__atomic_load_n(&set->used, __ATOMIC_ACQUIRE) && may_write(&set->face->notes, gpa))
			return true;
	return false;
}

void mmu_close_page(struct cpu *c, u64 gpa)
{
	struct mmu_cache *m = cache_of(c);

	cpu_drop_stack(c);
	for (struct mmu_set *set = m->set; set < m->set + MMU_SETS; set++) {
		const struct set_notes *n = &set->face->notes;

		if (!set->used)
			continue;
		if (note_has(n->global_writes, note_write(gpa)))
			wtag_drop_in(set->face, FILLED_GLOBAL, gpa);
		if (note_has(n->local_writes, note_write(gpa)))
			wtag_drop_in(set->face, FILLED_LOCAL, gpa);
	}
}

void cpu_flush_jump(struct cpu *c)
{
	jump_drop_all(c->set);
	others_pending(c, PENDING_JUMP);
}
