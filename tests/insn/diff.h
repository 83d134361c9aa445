/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One generated case of the differential instruction test, and what an engine made of it. The same linear addresses
 * hold the same bytes in this process (native engine) and in a small guest (interpreter, translator).
 */
#pragma once
#include "fpu.h"
#include "insn-rows.h"

#define CODE	   0x10000000ull /* three pages, instruction in the middle one, the rest INT3 */
#define CODE_PAGES 3
#define CODE_EXIT  0x08000000ull /* native only: back to 64-bit mode */
#define DATA	   0x3c000000ull /* unmapped page, two writable, one read-only, unmapped */
#define DATA_PAGES 3
#define DATA_BYTES (DATA_PAGES * 4096)
#define DATA_FIRST (DATA + 4096)
#define SYS	   0xffffffffc0000000ull /* guest only: IDT, GDT, TSS, handlers, kernel stack */

struct regs {
	u64 gpr[16], rip, rflags;
};

struct test_case {
	const struct insn_row *row;
	struct insn insn;
	u8 bytes[16];
	u64 at; /* address of the instruction */
	struct regs in;
	u8 vec[FPU_AREA_MAX] __attribute__((aligned(64)));
	bool patched; /* data differs from the pristine pages */
	u8 data[DATA_BYTES] __attribute__((aligned(64)));
};

#define DONE   (-1)
#define BROKEN (-2)
struct outcome {
	struct regs out;
	int vector; /* exception, DONE, or BROKEN (the engine failed) */
	u32 error;
	u64 cr2;
	u8 vec[FPU_AREA_MAX] __attribute__((aligned(64)));
	const u8 *data; /* the engine's data pages afterwards */
};

typedef bool engine_fn(const struct test_case *t, struct outcome *o);

extern enum cpu_mode test_mode; /* MODE_LONG64, or MODE_COMPAT32 */

bool native_open(void);
engine_fn native_run_case;
bool guest_open(bool translator); /* false: no translator on this host */
engine_fn interp_run_case, jit_run_case;
bool guest_has(const struct insn_desc *d); /* the guest's CPUID allows it */

u64 rng(void);
void rng_seed(u64 seed);
void gen_init(void);						/* pristine data */
void gen_start(struct test_case *t);				/* before a case's first use: pristine data */
bool gen_case(struct test_case *t, const struct insn_row *row); /* false: no luck, come again */
bool gen_row_usable(const struct insn_row *row);
