/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raising exceptions inside an instruction: recorded in c->exc, then longjmp to c->fault_jmp (value 1; cpu_leave() uses
 * 2 + reason). The instruction must not have changed anything visible. interp.c catches and delivers.
 */
#pragma once
#include "state.h"

void cpu_raise(struct cpu *c, unsigned vector) __attribute__((noreturn));
void cpu_raise_err(struct cpu *c, unsigned vector, u32 error) __attribute__((noreturn));
void cpu_raise_pf(struct cpu *c, u64 la, u32 error) __attribute__((noreturn));
void cpu_raise_db(struct cpu *c, u64 dr6_bits) __attribute__((noreturn));
#define FAULT_JMP_EXC 1
#define FAULT_JMP_LEAVE 2 /* + enum cpu_leave_reason */
