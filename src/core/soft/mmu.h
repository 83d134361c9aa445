/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paging: linear to guest-physical to host addresses for every mode (none, 32-bit with PSE, PAE, 4-level), with accessed
 * and dirty bits, WP, NX, SMEP, SMAP, U/S, reserved bits, global pages and PCID (SDM vol. 3, chapter 4). Fills the TLB of
 * struct cpu. All of it runs on the vCPU's own thread.
 */
#pragma once
#include "cpu/state.h"
#include "mem.h"

enum mmu_access { MMU_READ = 0, MMU_WRITE = 1, MMU_EXEC = 2 };

struct mmu_result {
	u64 gpa;
	u8 *host;	      /* NULL: no memory there (MMIO) */
	struct memslot *slot; /* NULL with host */
	bool global, writable_now;
	u8 shift; /* page size: 12, 21, 22 or 30 */
	u32 error; /* page-fault error code, when the walk failed */
};

/*
 * Walks the page tables for an access to linear address la from `view` (explicit supervisor access without AC, with AC,
 * or user). Sets A/D bits. Returns false and the #PF error code in r->error when the access faults; never raises.
 * probe: no A/D updates, no faults recorded (KVM_TRANSLATE, debuggers).
 */
bool mmu_walk(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view, bool probe, struct mmu_result *r);

/*
 * TLB miss: walks, and fills c->tlb[view] if the page is plain memory (for a write only when mem_write_is_plain()).
 * Returns true when a retry of the same access will hit; false when the access must go the slow way (fault, MMIO,
 * code page, dirty logging, page crossing): the interpreter then does it. Never raises.
 */
bool mmu_fill(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view);

/* The same for an access inside a page that is known to have missed; *r is what the walk found. */
enum mmu_try { MMU_FILLED, MMU_SLOW, MMU_FAULT };
enum mmu_try mmu_try(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view, struct mmu_result *r);

/*
 * Fetch: guest-physical address of la, and host address of the first byte of its page, through the ITLB. False:
 * *ret_error has the #PF error code (or the page is not memory: *ret_mmio). Checks NX, SMEP and U/S. On an ITLB miss of a
 * page that holds translated code, jit_verify_page() is called first, so that code written by a device behind our back is
 * noticed, unless user space reports its writes.
 */
bool mmu_fetch(struct cpu *c, u64 la, u64 *ret_gpa, u8 **ret_host, u32 *ret_error, bool *ret_mmio);

/*
 * Data access by the interpreter. They split at page boundaries (both pages checked before anything is written), raise
 * #PF, do MMIO through cpu/host.h, log dirty pages and invalidate translated code that a write hits. `view` as in
 * state.h: c->view for ordinary accesses, VIEW_KERNEL for implicit system accesses (descriptor tables, TSS, IDT), which
 * fault on user pages under SMAP whatever AC says.
 */
void mmu_read(struct cpu *c, u64 la, void *data, unsigned len, enum tlb_view view);
void mmu_write(struct cpu *c, u64 la, const void *data, unsigned len, enum tlb_view view);

/*
 * Host pointer for an atomic or in-place access that lies in one page and is plain RAM (dirty marked if acc is MMU_WRITE);
 * raises #PF; NULL when it crosses a page or is MMIO (the caller then uses read + write). Behind its write the caller calls
 * mmu_wrote(), which drops code translated from what was there. Not before: another vCPU could translate the old bytes
 * again in between. Afterwards it cannot have: who translates holds the translator's lock, so either the invalidation
 * finds the new translation or that one has read the new bytes. A page with no code does not get any before the
 * instruction ends: it is noted as one that this vCPU writes, and for such a page the first translation stops the world.
 */
void *mmu_ptr(struct cpu *c, u64 la, unsigned len, enum mmu_access acc, enum tlb_view view);
void mmu_wrote(struct cpu *c);

/*
 * A LOCKed access to memory that crosses a page boundary, as two pieces that need not be neighbours. While it is open no
 * other vCPU runs: the caller reads, computes and writes, and does nothing that raises. mmu_split_begin() is false, and
 * nothing is stopped, when a piece faults or is no memory.
 */
struct mmu_split {
	struct mmu_result piece[2];
	unsigned first, len; /* bytes of the first piece, of both */
};
bool mmu_split_begin(struct cpu *c, u64 la, unsigned len, enum tlb_view view, struct mmu_split *s);
void mmu_split_read(const struct mmu_split *s, void *data);
void mmu_split_write(struct cpu *c, const struct mmu_split *s, const void *data);
void mmu_split_end(struct cpu *c);

/* Raises #PF unless [la, la+len) can be written; for instructions that must fault before they change anything. */
void mmu_check_write(struct cpu *c, u64 la, unsigned len, enum tlb_view view);

/* Guest-physical access for page tables, kvmclock, chips; false when it is not memory. Marks dirty. */
bool mmu_phys_read(struct cpu *c, u64 gpa, void *data, unsigned len);
bool mmu_phys_write(struct cpu *c, u64 gpa, const void *data, unsigned len);

/*
 * Flushes (mmu-sets.c) and the change of address space. "All" means every PCID. They drop at least what the SDM says, from
 * TLB, ITLB, jump cache and the cache of upper levels. On the vCPU's thread, or with its lock held.
 */
void mmu_init(struct cpu *c);			  /* once, before any other */
void mmu_flush_all(struct cpu *c);		  /* everything, global entries too; CR3 or PCIDE may just have changed */
void mmu_flush_nonglobal(struct cpu *c);	  /* the current PCID's */
void mmu_flush_nonglobal_all(struct cpu *c);
void mmu_flush_pcid(struct cpu *c, u16 pcid);	  /* those of one PCID that are not global */
void mmu_flush_page(struct cpu *c, u64 la);	  /* INVLPG: of the current PCID, and global ones of all */
void mmu_flush_page_of(struct cpu *c, u64 la, u16 pcid);
/* MOV CR3: loads PDPTEs, goes on with the tables of the new PCID, and flushes them unless noflush. */
/* All translations go, and the host has their memory back. For a vCPU that will not run for a while, in its own thread. */
void mmu_give_back(struct cpu *c);
void mmu_set_cr3(struct cpu *c, u64 value, bool noflush);
/* The page now holds code: no write tag for it in any address space. Own thread, or the world is stopped. */
void mmu_close_page(struct cpu *c, u64 gpa);
/*
 * Notes that the page is about to get a write tag, or to be written through a pointer. Whether it holds code must be asked
 * after this, or, when it returns false since that was noted before, may have been asked just before.
 */
static inline bool mmu_note_write(struct cpu *c, u64 gpa, bool global)
{
	u32 bit = note_write(gpa);
	u64 *word = &(global ? c->set->notes.global_writes : c->set->notes.local_writes)[bit / 64], mask = 1ull << (bit & 63);

	if (*word & mask)
		return false;
	__atomic_store_n(word, *word | mask, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* try_code_page() in jit/run.c says why */
	return true;
}
/* False: no address space of c has a write tag for the page. Any thread, after code_pages was set and a full fence. */
bool mmu_may_write(struct cpu *c, u64 gpa);
/* True if the four PAE page-directory pointers at CR3 are valid; loads them into c->pdpte. */
bool mmu_load_pdptes(struct cpu *c, u64 cr3);
u64 mmu_reserved_mask(const struct cpu *c);
