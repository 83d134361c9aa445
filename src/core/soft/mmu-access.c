/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Data accesses of the interpreter (mmu.h): through the TLB when they can, else page by page with every check. Pieces of
 * up to eight bytes are moved by one host instruction, so that aligned guest accesses stay atomic.
 */
#include <string.h>
#include "cpu/fault.h"
#include "cpu/host.h"
#include "jit/jit.h"
#include "jit/lockstep.h"
#include "mmu.h"
#include "soft.h"

#define UNALIGNED __attribute__((packed, may_alias))
struct UNALIGNED un16 { u16 v; };
struct UNALIGNED un32 { u32 v; };
struct UNALIGNED un64 { u64 v; };

static inline void copy_piece(void *dst, const void *src, unsigned n)
{
	switch (n) {
	case 1:
		*(volatile u8 *)dst = *(const volatile u8 *)src;
		return;
	case 2:
		((volatile struct un16 *)dst)->v = ((const volatile struct un16 *)src)->v;
		return;
	case 4:
		((volatile struct un32 *)dst)->v = ((const volatile struct un32 *)src)->v;
		return;
	case 8:
		((volatile struct un64 *)dst)->v = ((const volatile struct un64 *)src)->v;
		return;
	}
	if (n < 128)
		for (; n >= 8; n -= 8, dst = (u8 *)dst + 8, src = (const u8 *)src + 8)
			((struct un64 *)dst)->v = ((const struct un64 *)src)->v;
	memcpy(dst, src, n);
}

/* The second page of an access; those of 32-bit code wrap at 4 GiB, not those to its 64-bit kernel's tables and stack. */
static inline u64 la_add(const struct cpu *c, u64 la, u64 n)
{
	return c->mode == MODE_LONG64 || la > UINT32_MAX ? la + n : (u32)(la + n);
}

static void mmio_pieces(struct cpu *c, u64 gpa, u8 *data, unsigned n, bool write)
{
	while (n) {
		unsigned piece = n < 8 ? n : 8;

		host_mmio(c, gpa, data, piece, write);
		gpa += piece;
		data += piece;
		n -= piece;
	}
}

/* True: entry e serves the access. Else *r says where the page is. Raises #PF. */
static bool page_hits(struct cpu *c, const struct tlb_entry *e, u64 la, enum mmu_access acc, enum tlb_view view,
		      struct mmu_result *r)
{
	enum mmu_try how;

	if (likely((acc == MMU_WRITE ? e->wtag : e->rtag) == (la & PAGE_MASK)))
		return true;
	how = mmu_try(c, la, acc, view, r);
	if (how == MMU_FAULT)
		cpu_raise_pf(c, la, r->error);
	return how == MMU_FILLED;
}

static void read_page(struct cpu *c, u64 la, void *data, unsigned n, enum tlb_view view)
{
	struct tlb_entry *e = &c->set->tlb[view][tlb_index(la)];
	struct mmu_result r;

	if (unlikely(c->shadow))
		shadow_read(c, la, data, n, view);
	else if (page_hits(c, e, la, MMU_READ, view, &r))
		copy_piece(data, (u8 *)(uintptr_t)(la + e->addend), n);
	else if (r.host)
		copy_piece(data, r.host, n);
	else
		mmio_pieces(c, r.gpa, data, n, false);
}

static bool takes_writes(const struct mmu_result *r)
{
	return r->host && !(r->slot->flags & KVM_MEM_READONLY);
}

static bool holds_code(struct cpu *c, const struct memslot *s, u64 gpa)
{
	return c->vcpu->vm->jit && mem_has_code(s, gpa);
}

static void after_write(struct cpu *c, const struct memslot *s, u64 gpa, unsigned len)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* try_code_page() in jit/run.c says why */
	if (holds_code(c, s, gpa))
		jit_invalidate(c->vcpu->vm, c, gpa, len);
}

static void write_walked(struct cpu *c, const struct mmu_result *r, const void *data, unsigned n)
{
	copy_piece(r->host, data, n);
	mem_mark_dirty(r->slot, r->gpa);
	after_write(c, r->slot, r->gpa, n);
}

static void write_page(struct cpu *c, u64 la, const void *data, unsigned n, enum tlb_view view)
{
	struct tlb_entry *e = &c->set->tlb[view][tlb_index(la)];
	struct mmu_result r;

	if (unlikely(c->shadow)) {
		shadow_write(c, la, data, n, view);
		return;
	}
	if (page_hits(c, e, la, MMU_WRITE, view, &r)) {
		copy_piece((u8 *)(uintptr_t)(la + e->addend), data, n);
		return;
	}
	if (!takes_writes(&r)) {
		u8 copy[256];

		for (unsigned done = 0; done < n; done += sizeof(copy)) {
			unsigned piece = n - done < sizeof(copy) ? n - done : (unsigned)sizeof(copy);

			memcpy(copy, (const u8 *)data + done, piece);
			mmio_pieces(c, r.gpa + done, copy, piece, true);
		}
		return;
	}
	write_walked(c, &r, data, n);
}

/* Is the page memory that can be written? Raises #PF unless it may be accessed. */
static bool check_page(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view)
{
	const struct tlb_entry *e = &c->set->tlb[view][tlb_index(la)];
	struct mmu_result r;

	if (unlikely(c->shadow)) {
		shadow_check(c, la, acc, view);
		return true;
	}
	if (e->wtag == (la & PAGE_MASK))
		return true;
	if (!mmu_walk(c, la, acc, view, false, &r))
		cpu_raise_pf(c, la, r.error);
	return takes_writes(&r);
}

/* All pages from the second on must be there before the first is touched. Whether all are memory that can be written. */
static bool check_rest(struct cpu *c, u64 la, unsigned len, enum mmu_access acc, enum tlb_view view)
{
	bool memory = check_page(c, la, acc, view);

	for (u64 off = PAGE_SIZE - (la & ~PAGE_MASK); off < len; off += PAGE_SIZE)
		memory &= check_page(c, la_add(c, la, off), acc, view);
	return memory;
}

void mmu_read(struct cpu *c, u64 la, void *data, unsigned len, enum tlb_view view)
{
	unsigned room = (unsigned)(PAGE_SIZE - (la & ~PAGE_MASK));

	if (likely(len <= room)) {
		read_page(c, la, data, len, view);
		return;
	}
	check_rest(c, la, len, MMU_READ, view);
	for (unsigned done = 0; done < len;) {
		unsigned n = len - done < room ? len - done : room;

		read_page(c, la_add(c, la, done), (u8 *)data + done, n, view);
		done += n;
		room = PAGE_SIZE;
	}
}

enum pages { PAGES_ALL, PAGES_DEVICES, PAGES_MEMORY };

static void write_pages(struct cpu *c, u64 la, const void *data, unsigned len, enum tlb_view view, enum pages which)
{
	unsigned room = (unsigned)(PAGE_SIZE - (la & ~PAGE_MASK));
	struct mmu_result r;

	for (unsigned done = 0; done < len; room = PAGE_SIZE) {
		unsigned n = len - done < room ? len - done : room;
		u64 page = la_add(c, la, done);

		if (which == PAGES_ALL || (mmu_walk(c, page, MMU_WRITE, view, false, &r) &&
					   takes_writes(&r) == (which == PAGES_MEMORY)))
			write_page(c, page, (const u8 *)data + done, n, view);
		done += n;
	}
}

void mmu_write(struct cpu *c, u64 la, const void *data, unsigned len, enum tlb_view view)
{
	unsigned room = (unsigned)(PAGE_SIZE - (la & ~PAGE_MASK));

	if (likely(len <= room)) {
		write_page(c, la, data, len, view);
		return;
	}
	if (check_rest(c, la, len, MMU_WRITE, view)) {
		write_pages(c, la, data, len, view, PAGES_ALL);
		return;
	}
	/* Devices leave to user space and the instruction starts again: memory has to be as it was if it reads that too. */
	write_pages(c, la, data, len, view, PAGES_DEVICES);
	write_pages(c, la, data, len, view, PAGES_MEMORY);
}

void *mmu_ptr(struct cpu *c, u64 la, unsigned len, enum mmu_access acc, enum tlb_view view)
{
	struct tlb_entry *e = &c->set->tlb[view][tlb_index(la)];
	u64 off = la & ~PAGE_MASK;
	struct mmu_result r;

	if (off + len > PAGE_SIZE || unlikely(c->shadow))
		return NULL;
	if (page_hits(c, e, la, acc, view, &r))
		return (u8 *)(uintptr_t)(la + e->addend);
	if (!r.host || (acc == MMU_WRITE && (r.slot->flags & KVM_MEM_READONLY)))
		return NULL;
	if (acc == MMU_WRITE) {
		mem_mark_dirty(r.slot, r.gpa);
		mmu_note_write(c, r.gpa, false);
		c->vcpu->mmu.code_gpa = r.gpa;
		c->vcpu->mmu.code_len = holds_code(c, r.slot, r.gpa) ? len : 0;
	}
	return r.host;
}

void mmu_wrote(struct cpu *c)
{
	struct vcpu *v = c->vcpu;
	unsigned len = v->mmu.code_len;

	if (likely(!len))
		return;
	v->mmu.code_len = 0;
	jit_invalidate(v->vm, c, v->mmu.code_gpa, len);
}

/* The walks come with the world stopped: while we wait for that, slots may change, of which the TLB then knows nothing yet. */
bool mmu_split_begin(struct cpu *c, u64 la, unsigned len, enum tlb_view view, struct mmu_split *s)
{
	s->len = len;
	s->first = (unsigned)(PAGE_SIZE - (la & ~PAGE_MASK));
	if (s->first >= len || c->shadow)
		return false;
	vm_stop_world(c->vcpu->vm, c->vcpu);
	if (__atomic_load_n(&c->req, __ATOMIC_ACQUIRE) & REQ_TLB_FLUSH)
		mmu_flush_all(c);
	for (unsigned n = 0; n < 2; n++) {
		struct mmu_result *r = &s->piece[n];

		if (!mmu_walk(c, n ? la_add(c, la, s->first) : la, MMU_WRITE, view, false, r) || !takes_writes(r)) {
			vm_resume_world(c->vcpu->vm);
			return false;
		}
	}
	return true;
}

void mmu_split_read(const struct mmu_split *s, void *data)
{
	memcpy(data, s->piece[0].host, s->first);
	memcpy((u8 *)data + s->first, s->piece[1].host, s->len - s->first);
}

void mmu_split_write(struct cpu *c, const struct mmu_split *s, const void *data)
{
	write_walked(c, &s->piece[0], data, s->first);
	write_walked(c, &s->piece[1], (const u8 *)data + s->first, s->len - s->first);
}

void mmu_split_end(struct cpu *c)
{
	vm_resume_world(c->vcpu->vm);
}

void mmu_check_write(struct cpu *c, u64 la, unsigned len, enum tlb_view view)
{
	u64 off = la & ~PAGE_MASK;

	if (off + len <= PAGE_SIZE && c->set->tlb[view][tlb_index(la)].wtag == (la & PAGE_MASK))
		return;
	check_rest(c, la, len, MMU_WRITE, view);
}

bool mmu_phys_read(struct cpu *c, u64 gpa, void *data, unsigned len)
{
	struct vcpu *v = c->vcpu;

	while (len) {
		unsigned room = (unsigned)(PAGE_SIZE - (gpa & ~PAGE_MASK)), n = len < room ? len : room;
		struct memslot *s = mem_slot(&v->vm->memory, gpa, &v->mmu.hint);

		if (!s)
			return false;
		copy_piece(data, mem_slot_host(s, gpa), n);
		gpa += n;
		data = (u8 *)data + n;
		len -= n;
	}
	return true;
}

bool mmu_phys_write(struct cpu *c, u64 gpa, const void *data, unsigned len)
{
	struct vcpu *v = c->vcpu;

	while (len) {
		unsigned room = (unsigned)(PAGE_SIZE - (gpa & ~PAGE_MASK)), n = len < room ? len : room;
		struct memslot *s = mem_slot(&v->vm->memory, gpa, &v->mmu.hint);

		if (!s || (s->flags & KVM_MEM_READONLY))
			return false;
		copy_piece(mem_slot_host(s, gpa), data, n);
		mem_mark_dirty(s, gpa);
		after_write(c, s, gpa, n);
		gpa += n;
		data = (const u8 *)data + n;
		len -= n;
	}
	return true;
}
