/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87, MMX, SSE, AVX in the interpreter. Guest vector registers are in the host's (see fpu.h), and host and guest speak
 * the same instruction set, so an instruction is executed by the host itself: a one-instruction stub with the memory
 * operand replaced by a buffer. Every bit, flag and MXCSR effect is then the hardware's. insn_desc.exec points here.
 */
#pragma once
#include "insn.h"

void vector_exec(struct cpu *c, const struct insn *i); /* raises #NM/#UD/#GP/#MF/#XM as the instruction would */
/* CR0.TS/EM, CR4.OSFXSR/OSXSAVE, XCR0 checks alone: raises or returns (the translator asks before it copies). */
void vector_check(struct cpu *c, const struct insn *i);
/* SIGFPE etc. inside a stub: called from the core's signal handler; true if the fault was ours. */
bool vector_signal(int sig, void *siginfo, void *ucontext);
/* Makes the memory that stubs are written to; once a process, before any guest runs. False: the host refuses. */
bool vector_init(void);
