/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How an instruction ends early: an exception (fault.h), or a reason for KVM_RUN (host.h). Both longjmp to c->fault_jmp. */
#include "fault.h"
#include "host.h"

static void __attribute__((noreturn)) raise(struct cpu *c, unsigned vector, bool has_error, u32 error)
{
	c->exc.vector = (u8)vector;
	c->exc.has_error = has_error;
	c->exc.error = error;
	c->exc.pending = true;
	longjmp(*c->fault_jmp, FAULT_JMP_EXC);
}

void cpu_raise(struct cpu *c, unsigned vector)
{
	raise(c, vector, false, 0);
}

void cpu_raise_err(struct cpu *c, unsigned vector, u32 error)
{
	raise(c, vector, true, error | (c->exc.in_delivery && vector != EXC_PF && vector != EXC_AC));
}

void cpu_raise_pf(struct cpu *c, u64 la, u32 error)
{
	c->exc.cr2 = la;
	raise(c, EXC_PF, true, error);
}

void cpu_raise_db(struct cpu *c, u64 dr6_bits)
{
	c->exc.dr6 = dr6_bits;
	raise(c, EXC_DB, false, 0);
}

void cpu_leave(struct cpu *c, enum cpu_leave_reason reason)
{
	longjmp(*c->fault_jmp, FAULT_JMP_LEAVE + (int)reason);
}
