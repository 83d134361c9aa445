/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The translator as the rest of the soft core sees it: it runs 64-bit and flat 32-bit guest code, and is told when
 * memory or state it relied on changes. One struct jit a VM, shared by its vCPUs; jit_run() runs on the vCPU's thread.
 */
#pragma once
#include "../cpu/state.h"
#include "../mem.h"
#include "options.h"

struct jit;
struct vm;

struct jit *jit_create(const struct jit_options *o); /* NULL: there is no memory: interpret */
void jit_destroy(struct jit *j);

/* Runs c until a request is polled (returns 0) or the interpreter, called inside, leaves (returns the cpu_leave_reason). */
unsigned jit_run(struct jit *j, struct cpu *c);

/* All counters of computed jumps (cpu.heat) that have run out begin anew; for a new vCPU, those are all. */
void jit_reset_heat(struct jit *j, struct cpu *c);

/* len bytes at gpa, inside one page with code_pages set, were or are about to be written: drop what was made from them. Any
 * thread; self is the vCPU whose KVM_RUN it is in, else NULL, and then memory_lock is held. */
void jit_invalidate(struct vm *vm, struct cpu *self, u64 gpa, unsigned len);

/* The page is about to be executed through a fresh ITLB entry: drop its code if the bytes are not those translated. Looks
 * only when vm_device_event() was called since the last time, or some time has passed. Not for a VM whose user space reports
 * its writes. */
void jit_verify_page(struct jit *j, struct cpu *c, struct memslot *s, u64 gpa);

/* Memslots changed; called with the world stopped. False: nothing was translated since the last time, and nothing is done. */
bool jit_flush(struct jit *j);

/* A host signal (SIGFPE, SIGSEGV, SIGBUS, SIGILL) hit translated code: repairs ucontext so that the guest instruction is
 * interpreted instead; false when it was not ours. */
bool jit_signal(int sig, void *siginfo, void *ucontext);

/* Of the VM; what counts often is in struct vcpu, so that vCPUs do not write to one cache line. */
struct jit_stats {
	u64 blocks, pages, code_bytes; /* made; pages that ever had some; bytes in use now */
	u64 paths;		       /* of the blocks, those that go on through computed jumps */
	u64 links;		       /* direct jumps between blocks that were joined at their first use */
	u64 invalidations, flushes;    /* pages whose code was dropped; times that all was */
	u64 world_stops;	       /* for new pages */
};
void jit_get_stats(struct jit *j, struct jit_stats *ret);
