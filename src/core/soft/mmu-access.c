/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Data accesses of the interpreter (mmu.h): through the TLB when they can, else page by page with every check. Pieces of
 * up to eight bytes are moved by one host instruction, so that aligned guest accesses stay atomic.
 */
#include <string.h>
#include "cpu/fault.h"
#include "cpu/host.h"
#include "jit/jit.h"
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

/* The second page of an access; linear addresses wrap at 4 GiB outside long mode. */
static inline u64 la_add(const struct cpu *c, u64 la, u64 n)
{
	return c->mode == MODE_LONG64 ? la + n : (u32)(la + n);
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

	if (page_hits(c, e, la, MMU_READ, view, &r))
		copy_piece(data, (u8 *)(uintptr_t)(la + e->addend), n);
	else if (r.host)
		copy_piece(data, r.host, n);
	else
		mmio_pieces(c, r.gpa, data, n, false);
}

static void write_page(struct cpu *c, u64 la, const void *data, unsigned n, enum tlb_view view)
{
	struct tlb_entry *e = &c->set->tlb[view][tlb_index(la)];
	struct mmu_result r;

	if (page_hits(c, e, la, MMU_WRITE, view, &r)) {
		copy_piece((u8 *)(uintptr_t)(la + e->addend), data, n);
		return;
	}
	if (!r.host || (r.slot->flags & KVM_MEM_READONLY)) {
		u8 copy[256];

		for (unsigned done = 0; done < n; done += sizeof(copy)) {
			unsigned piece = n - done < sizeof(copy) ? n - done : (unsigned)sizeof(copy);

			memcpy(copy, (const u8 *)data + done, piece);
			mmio_pieces(c, r.gpa + done, copy, piece, true);
		}
		return;
	}
	copy_piece(r.host, data, n);
	mem_mark_dirty(r.slot, r.gpa);
	if (c->vcpu->vm->jit && r.slot->code_pages[(r.gpa - r.slot->gpa) / PAGE_SIZE])
		jit_invalidate(c->vcpu->vm->jit, c, r.slot, r.gpa, n);
}

static void check_page(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view)
{
	const struct tlb_entry *e = &c->tlb[view][tlb_index(la)];
	struct mmu_result r;

	if ((acc == MMU_WRITE ? e->wtag : e->rtag) != (la & PAGE_MASK) && !mmu_walk(c, la, acc, view, false, &r))
		cpu_raise_pf(c, la, r.error);
}

/* All pages from the second on must be there before the first is touched. */
static void check_rest(struct cpu *c, u64 la, unsigned len, enum mmu_access acc, enum tlb_view view)
{
	check_page(c, la, acc, view);
	for (u64 off = PAGE_SIZE - (la & ~PAGE_MASK); off < len; off += PAGE_SIZE)
		check_page(c, la_add(c, la, off), acc, view);
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

void mmu_write(struct cpu *c, u64 la, const void *data, unsigned len, enum tlb_view view)
{
	unsigned room = (unsigned)(PAGE_SIZE - (la & ~PAGE_MASK));

	if (likely(len <= room)) {
		write_page(c, la, data, len, view);
		return;
	}
	check_rest(c, la, len, MMU_WRITE, view);
	for (unsigned done = 0; done < len;) {
		unsigned n = len - done < room ? len - done : room;

		write_page(c, la_add(c, la, done), (const u8 *)data + done, n, view);
		done += n;
		room = PAGE_SIZE;
	}
}

void *mmu_ptr(struct cpu *c, u64 la, unsigned len, enum mmu_access acc, enum tlb_view view)
{
	struct tlb_entry *e = &c->set->tlb[view][tlb_index(la)];
	u64 off = la & ~PAGE_MASK;
	struct mmu_result r;

	if (off + len > PAGE_SIZE)
		return NULL;
	if (page_hits(c, e, la, acc, view, &r))
		return (u8 *)(uintptr_t)(la + e->addend);
	if (!r.host || (acc == MMU_WRITE && (r.slot->flags & KVM_MEM_READONLY)))
		return NULL;
	if (acc == MMU_WRITE) {
		mem_mark_dirty(r.slot, r.gpa);
		if (c->vcpu->vm->jit && r.slot->code_pages[(r.gpa - r.slot->gpa) / PAGE_SIZE])
			jit_invalidate(c->vcpu->vm->jit, c, r.slot, r.gpa, len);
	}
	return r.host;
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
		if (v->vm->jit && s->code_pages[(gpa - s->gpa) / PAGE_SIZE])
			jit_invalidate(v->vm->jit, c, s, gpa, n);
		gpa += n;
		data = (const u8 *)data + n;
		len -= n;
	}
	return true;
}
