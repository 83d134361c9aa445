/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between run.c (the loop of KVM_RUN), run-exit.c (filling kvm_run and completing what user space answered) and halt.c. */
#pragma once
#include "soft.h"

/* Fills kvm_run for an enum cpu_leave_reason other than HLT; remembers what is to be completed. */
void exit_to_user(struct vcpu *v, unsigned reason);
void exit_simple(struct vcpu *v, u32 exit_reason);
/* kvm_run's fields that describe the vCPU at any exit. */
void exit_state(struct vcpu *v);
/* Takes user space's answer; executes the instruction that asked. Returns the reason it leaves with again, or 0. */
unsigned exit_complete(struct vcpu *v);

/* halt.c: the vCPU does not run (HLT, waiting for INIT or SIPI) until it has to. 0, or -EINTR. */
int halt_wait(struct vcpu *v);
bool vcpu_runnable(struct vcpu *v);
/* Requests (cpu.req) and signals, at a safe point. 0, or -EINTR. */
int run_requests(struct vcpu *v);

/* INIT and SIPI that came. On the vCPU's thread, or with its lock held. */
void take_init_sipi(struct vcpu *v);

static inline u32 vcpu_poll_word(const struct vcpu *v)
{
	u32 word;

	__builtin_memcpy(&word, (const u8 *)v->run + 1, 4);
	__asm__ volatile("" ::: "memory");
	return word;
}
