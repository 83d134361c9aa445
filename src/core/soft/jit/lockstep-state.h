/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What lockstep.c keeps of the block at hand, shared with lockstep-report.c. */
#pragma once
#include "lockstep.h"

#define WORDS 32768u
#define LOG 8192u
#define PLANS 16384u
#define STARTS 16u
#define SEEN 256u
#define KNOWN 65536u
#define ALWAYS 256u /* runs of a block that are shadowed whatever lockstep=N says */

/* Eight bytes of host memory that the shadow wrote to. */
struct word {
	u64 key, value, mask, orig; /* address / 8; mask: bits of `value` that were written; orig: what was there */
	u64 stamp;
};

struct access_log {
	u64 host, value;
	u8 size;
};

/* The shadow's state before an instruction, or behind the last. */
struct record {
	u64 gpr[16], rip, rflags, base[3];
	u32 stores, vectors; /* so many were made */
	u16 undefined;	     /* flags, at this place */
	u8 view;
};

/* A decoded instruction, found by address and bytes. */
#define NO_PLAN (1ull << 63)
struct plan {
	u64 rip, bytes[2], mask[2];
	struct insn i;
};

struct known_block {
	const struct block *block;
	u64 flushes;
	u32 offset, runs;
};

/* Why the shadow stopped before the block's end */
enum shadow_stop { STOP_NOT, STOP_ONCE, STOP_DEVICE, STOP_FAULT, STOP_PAGING, STOP_FETCH };

/* What became of a block */
enum lockstep_count { COUNT_BLOCKS, COUNT_LEFT_OUT, COUNT_COMPARED, COUNT_ONCE, COUNT_STRING, COUNT_PAGING, COUNT_RACED,
		      COUNT_UNDEFINED, COUNT_SMP, COUNT_DIVERGED, COUNTS };

struct lockstep {
	struct vcpu *shadow;
	struct cpu *real;
	u64 count[COUNTS], stamp;
	u64 start[STARTS]; /* blocks that ran last */
	enum shadow_stop stop;
	u32 words, stores, loads, records, vectors;
	u32 overlaid; /* stores that the overlay has */
	bool undefined_read; /* an instruction read a flag that an earlier one had left undefined */
	u32 seens;
	struct {
		u64 rip;
		u16 flags;
	} seen[SEEN]; /* of flags_read_from() */
	u16 used[WORDS];
	struct word word[WORDS];
	struct access_log load[LOG], store[LOG];
	struct record record[BLOCK_INSNS + 2];
	struct plan plan[PLANS];
	struct known_block known[KNOWN];
	u8 run_page[4096];
	u8 vector[BLOCK_INSNS + 2][FPU_AREA_MAX] __attribute__((aligned(64)));
	u8 vector_real[FPU_AREA_MAX] __attribute__((aligned(64)));
};
_Static_assert(FPU_AREA_MAX % 64 == 0, "XSAVE areas are aligned");

const struct insn *lockstep_decode(struct lockstep *l, const struct cpu *c, u64 rip);
void lockstep_replay(struct lockstep *l, u32 stores);
bool lockstep_word_differs(const struct word *w);
u64 lockstep_flag_difference(struct lockstep *l, const struct cpu *c, const struct record *r);

/* lockstep-report.c */
void lockstep_report(struct lockstep *l, const struct cpu *c, unsigned reason);
void lockstep_summary(const struct lockstep *l);
