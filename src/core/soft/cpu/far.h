/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the far transfers: far.c, iret.c, deliver.c, task.c. */
#pragma once
#include "exec.h"

/* A code segment that passed its checks and is loaded by far_commit(). */
struct far_cs {
	struct segment seg;
	u64 raw;
};

/* Reads and checks the code descriptor of a jump, call or gate target for privilege cpl; raises `vector`. */
void far_code(struct cpu *c, u16 sel, unsigned vector, struct far_cs *ret);
/* The same for a return to the privilege in sel's RPL. */
void far_return_code(struct cpu *c, u16 sel, unsigned vector, struct far_cs *ret);
/* Sets the accessed bit: the last thing that can fault, to be called before anything changes. */
void far_touch(struct cpu *c, struct far_cs *cs);
/* Loads CS and privilege cpl, after SS was loaded. */
void far_commit(struct cpu *c, struct far_cs *cs, unsigned cpl);
/* The same for what seg_plain() gave. */
void far_commit_plain(struct cpu *c, const struct segment *cs);
/* SS of a return to an outer level, or of 64-bit mode: may be null there. Raises #GP, #SS. */
void far_return_ss(struct cpu *c, u16 sel, unsigned cpl, bool long64, struct segment *ret);
/* A null SS for privilege cpl, as 64-bit code gets on a switch to an inner level. */
struct segment ss_null(unsigned cpl);
