/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The translator as the rest of the soft core sees it: it runs 64-bit guest code, and is told when memory or state it
 * relied on changes. One struct jit a VM, shared by its vCPUs; jit_run() runs on the vCPU's thread.
 */
#pragma once
#include "../cpu/state.h"
#include "../mem.h"
#include "options.h"

struct jit;

struct jit *jit_create(const struct jit_options *o); /* NULL: this host cannot (it needs FSGSBASE): interpret */
void jit_destroy(struct jit *j);

/* Runs c until a request is polled (returns 0) or the interpreter, called inside, leaves (returns the cpu_leave_reason). */
unsigned jit_run(struct jit *j, struct cpu *c);

/* The guest wrote len bytes at gpa of a page with code_pages set: drop what was made from them. Any vCPU thread. */
void jit_invalidate(struct jit *j, struct cpu *c, struct memslot *s, u64 gpa, unsigned len);

/* The page is about to be executed through a fresh ITLB entry: drop its code if the bytes are not those translated. Looks
 * only when vm_device_event() was called since the last time, or some time has passed. */
void jit_verify_page(struct jit *j, struct cpu *c, struct memslot *s, u64 gpa);

/* Memslots changed; called with the world stopped. */
void jit_flush(struct jit *j);

/* A host signal (SIGFPE, SIGSEGV, SIGBUS, SIGILL) hit translated code: repairs ucontext so that the guest instruction is
 * interpreted instead; false when it was not ours. */
bool jit_signal(int sig, void *siginfo, void *ucontext);

/* Written by vCPU threads without a lock: with several of them some events are not counted. */
struct jit_stats {
	u64 blocks, code_bytes;		   /* made; in use now */
	u64 links;			   /* direct jumps between blocks that were joined at their first use */
	u64 jump_misses, lookups;	   /* targets that the jump cache did not have; nor the code cache */
	u64 tlb_misses, group_misses;	   /* of single accesses; of groups that lie in two pages */
	u64 page_crossings, page_faults, not_plain; /* ends of such: two pages, #PF, devices and pages that are watched */
	u64 host_faults;		   /* signals: divide errors, alignment, vector exceptions */
	u64 interp_exits, unfit;	   /* instructions given to the interpreter; those for the processor's state */
	u64 invalidations, flushes;	   /* pages whose code was dropped; times that all was */
};
void jit_get_stats(struct jit *j, struct jit_stats *ret);
