/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The interpreter as the translator's shadow (KVCORE_JIT=lockstep). Before a block runs, its instructions are interpreted on
 * a copy of the processor whose stores go to an overlay; then the block runs for real, and what it left is compared with
 * the state that the shadow had at the same instruction. The first difference is printed and ends KVM_RUN with an internal
 * error.
 */
#pragma once
#include "internal.h"
#include "../mmu.h"

struct lockstep;
bool lockstep_create(struct jit *j); /* j->lockstep; a message and false when there is no memory */
void lockstep_destroy(struct jit *j); /* says what was compared */

/* As run_code(): runs the block at c->rip, and its shadow. */
unsigned lockstep_run(struct jit *j, struct cpu *c, const u8 *code);
#define EXIT_DIVERGED 100u

/* mmu-access.c, when c is a shadow: every data access that has no other checks than these. */
void shadow_read(struct cpu *c, u64 la, void *data, unsigned n, enum tlb_view view);
void shadow_write(struct cpu *c, u64 la, const void *data, unsigned n, enum tlb_view view);
void shadow_check(struct cpu *c, u64 la, enum mmu_access acc, enum tlb_view view); /* raises #PF */
