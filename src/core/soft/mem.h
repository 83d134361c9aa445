/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest-physical memory: memslots (KVM_SET_USER_MEMORY_REGION) over the caller's own host memory, dirty logs, and which
 * pages hold translated code. Readers are vCPU threads; a change stops the world (vm_stop_world() in soft.h) and bumps
 * `generation`, so that a looked-up slot stays valid until the vCPU next reaches a safe point.
 */
#pragma once
#include <linux/kvm.h>
#include "types.h"

struct memslot {
	u32 id, flags; /* KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY */
	u64 gpa, size; /* bytes, page multiples */
	u8 *hva;
	u8 *code_pages; /* one byte a page: non-zero while translated code was made from it (atomic) */
	u64 *dirty;	/* bitmap, a bit a page, or NULL when not logged (atomic) */
	int watch;	/* an eventfd, + 1, for the next page that becomes dirty; 0: none (atomic) */
};

struct memory {
	struct memslot *slot; /* sorted by gpa, not overlapping */
	u32 count;
	u32 generation;
};

/* The slot of a guest-physical address, or NULL (then it is MMIO). `hint` (may be NULL) keeps the last index. */
struct memslot *mem_slot_search(const struct memory *m, u64 gpa, u32 *hint);
static inline struct memslot *mem_slot(const struct memory *m, u64 gpa, u32 *hint)
{
	if (hint && *hint < m->count && gpa - m->slot[*hint].gpa < m->slot[*hint].size)
		return &m->slot[*hint];
	return mem_slot_search(m, gpa, hint);
}

/* Host address of the byte at gpa, or NULL when there is no memory; valid to the end of its 4 KiB page. */
static inline u8 *mem_slot_host(const struct memslot *s, u64 gpa)
{
	return s->hva + (gpa - s->gpa);
}

/* Must be called (or have been called since the last dirty-log read) before a guest write to the page. */
void mem_mark_dirty(struct memslot *s, u64 gpa);

/* True while the page at gpa holds translated code. */
static inline bool mem_has_code(const struct memslot *s, u64 gpa)
{
	return __atomic_load_n(&s->code_pages[(gpa - s->gpa) >> 12], __ATOMIC_SEQ_CST);
}

/* True when a write TLB entry for this page may be opened: dirty logged already (or not logged), no code, not read-only. */
static inline bool mem_write_is_plain(const struct memslot *s, u64 gpa)
{
	u64 page = (gpa - s->gpa) >> 12;

	if ((s->flags & KVM_MEM_READONLY) || mem_has_code(s, gpa))
		return false;
	return !s->dirty || (__atomic_load_n(&s->dirty[page / 64], __ATOMIC_RELAXED) >> (page & 63) & 1);
}

/* ioctls, in mem.c. 0 or negative errno. */
struct vm;
int mem_set_region(struct vm *vm, const struct kvm_userspace_memory_region *r);
int mem_get_dirty_log(struct vm *vm, const struct kvm_dirty_log *log);
int mem_clear_dirty_log(struct vm *vm, const struct kvm_clear_dirty_log *log);
int mem_watch_dirty(struct vm *vm, u32 slot, int eventfd); /* kvcore_watch_dirty() */
void mem_free(struct memory *m);
#define MEM_SLOTS_MAX 509u
