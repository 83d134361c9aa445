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
#define DATA	   0x3c000000ull /* unmapped page, two writable, one read-only, unmapped */
#define DATA_PAGES 3
#define DATA_BYTES (DATA_PAGES * 4096)
#define DATA_FIRST (DATA + 4096)
#define SYS	   0xffffffffc0000000ull /* guest only: IDT, GDT, TSS, handlers, kernel stack */

struct regs {
	u64 gpr[16], rip, rflags;
};

/* One instruction (gen.c), or a sequence that is entered at its first and left behind its last (sequence.c). */
#define SEQ_MAX	   62
#define CODE_BYTES 900
struct test_case {
	const struct insn_row *row; /* NULL: a sequence */
	struct insn insn; /* the only one; in a sequence the one that is being generated, later the one that faulted */
	u8 bytes[16];
	unsigned count, size; /* instructions, bytes of code */
	u8 code[CODE_BYTES];
	struct insn seq[SEQ_MAX];
	u16 off[SEQ_MAX + 1];
	u64 at; /* address of the instruction */
	struct regs in;
	u64 base[2]; /* of FS and GS; not used in 32-bit cases */
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

extern enum cpu_mode test_mode; /* MODE_LONG64, or MODE_COMPAT32 */

#define EXIT_BYTES 24u /* room behind the code for the native engine's way out */
bool native_open(void);
void native_leave_out(void); /* instead: no case runs on it, so all that an engine can do may be in them */
bool native_has_bases(void); /* cases may choose those of FS and GS, else they are none of theirs */
/* False: the case wrote over the way out behind it, which engines do not have there; *o is void. */
bool native_run_case(const struct test_case *t, struct outcome *o);

/* guest.c: "interp", "jit", or "jit:" and what KVCORE_JIT is to say. NULL: no translator on this host, or bad options. */
struct engine;
struct engine *engine_open(const char *name);
const char *engine_name(const struct engine *e);
bool engine_translates(const struct engine *e);
void engine_run_case(struct engine *e, const struct test_case *t, struct outcome *o);
bool engine_has(const struct engine *e, const struct insn_desc *d); /* the guest's CPUID allows it */

u64 rng(void);
void rng_seed(u64 seed);
void gen_init(void);						/* pristine data */
void gen_start(struct test_case *t);				/* before a case's first use: pristine data */
bool gen_case(struct test_case *t, const struct insn_row *row); /* false: no luck, come again */
bool gen_row_usable(const struct insn_row *row);
void gen_restore(struct test_case *t);	 /* data as they were before the last case */
void gen_registers(struct test_case *t); /* registers, flags, RIP = t->at */
void gen_vector(struct test_case *t);
u64 gen_data_address(unsigned size, bool aligned); /* in or around the data pages */
unsigned gen_encoding(u8 *p, const struct insn_row *row); /* noise, but for prefixes and opcode; their bytes, with ModRM */
static inline bool one_in(unsigned n)
{
	return (u32)rng() % n == 0;
}

/* jobs.c: work() in as many processes; shows how far they are, and where one was killed. The highest of their results. */
#define JOBS_MAX 64
struct job {
	u64 done, number; /* cases; the one at hand */
	const char *row;  /* its row, or NULL */
	int pid;
};
int jobs_run(unsigned jobs, u64 total, int (*work)(unsigned n, struct job *j), u64 *ret_done);
void jobs_tick(void); /* now and then, by work */

/* sequence.c */
void seq_init(const struct engine *e);
bool seq_case(struct test_case *t); /* false: no luck */
/* The instruction at code offset `off`; t->count behind the last; -1: none begins there. */
int seq_index(const struct test_case *t, unsigned off);
u16 seq_undefined(const struct test_case *t, unsigned index); /* arithmetic flags that may be undefined before it */
u16 seq_dead(const struct test_case *t, unsigned index); /* those that no path from it reads before writing them */
