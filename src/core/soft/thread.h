/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads of a VM's own, beside those in KVM_RUN: timers (timer.c), irqfds (irqfd.c), pages of code memory (jit/code.c). */
#pragma once
#include <pthread.h>

/* One that takes no signals: those are meant for the program's threads. 0 or a negative errno. */
int thread_start(pthread_t *ret, const char *name, void *(*run)(void *arg), void *arg);
