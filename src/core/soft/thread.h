/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads of a VM's own, beside those in KVM_RUN: timers (timer.c), irqfds (irqfd.c), pages of code memory (jit/code.c). They
 * take no signals: those are meant for the program's threads. A program may have them held back until it wants threads
 * (kvcore_hold_threads() of core.h): such a one starts later, or is joined without having run.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>

struct thread {
	const char *name;
	void *(*run)(void *arg);
	void *arg;
	pthread_t id;
	bool held; /* not started; in the list of those */
	struct thread *next;
};

/* t stays where it is until thread_join(). 0 or a negative errno. */
int thread_start(struct thread *t, const char *name, void *(*run)(void *arg), void *arg);
void thread_join(struct thread *t);
