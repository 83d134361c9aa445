/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ways to run the translator that tests need and guests never do: small caches, so that their overflow is reached at once,
 * events at random moments, and the interpreter in lock-step. From the environment variable KVCORE_JIT, a comma-separated
 * list of key=value, read when a VM is created. A normal run pays one test of `testing` a return to the dispatcher.
 */
#pragma once
#include "../cpu/state.h"

struct jit;

struct jit_options {
	u32 block;    /* instructions in a block, at most */
	u32 code;     /* bytes of code memory */
	u32 tlb;      /* usable entries of the software TLB, a power of two; 0: all */
	u32 jumps;    /* 0: no jump cache, every computed branch comes to the dispatcher */
	u32 links;    /* 0: every direct branch comes to the dispatcher too */
	u32 flags;    /* 0: a fault need not find arithmetic flags that no path reads (invariant 4 of internal.h) */
	u32 paths;    /* a computed jump is hot after so many times; 0: none is */
	u32 events;   /* a random event every so many chances on average; 0: none */
	u32 seed;     /* of their sequence */
	u32 lockstep; /* 1: the interpreter shadows every block (lockstep.c); N: of blocks that run often one in N */
};

/* False: one line on standard error says what is wrong with the variable. */
bool jit_options_read(struct jit_options *ret);

/* A chance for a random event: TLB, jump cache, code cache or page flushed, or a request raised. The vCPU's own thread. */
void jit_inject(struct jit *j, struct cpu *c, bool in_block);

/* la is about to be filled in: makes room as a TLB of options.tlb entries would have to. */
void jit_limit_tlb(struct jit *j, struct cpu *c, u64 la);
