/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87, MMX, SSE and AVX in the interpreter. Guest vector registers are in the host's (fpu.h): an instruction takes its
 * operands from there, computes in C, and puts the result back. insn_desc.exec points here.
 */
#pragma once
#include "../cpu/insn.h"

void vector_exec(struct cpu *c, const struct insn *i); /* raises #NM/#UD/#GP/#MF/#XM as the instruction would */
/* CR0.TS/EM, CR4.OSFXSR/OSXSAVE, XCR0 checks alone: raises or returns (the translator asks before it copies). */
void vector_check(struct cpu *c, const struct insn *i);
