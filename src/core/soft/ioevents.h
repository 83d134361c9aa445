/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What irqfd.c and ioeventfd.c keep for a VM: created with the first of either. */
#pragma once
#include "chip/chip.h"

struct ioevent_table;
struct irqfds;

struct ioevents {
	pthread_mutex_t lock; /* changes of the tables */
	struct {
		struct ioevent_table *table; /* atomic; NULL: empty */
		u32 readers;		     /* atomic */
	} bus[2];			     /* MMIO, ports */
	struct irqfds *irqfds;		     /* atomic */
};

/* vm->ioevents, created if need be; NULL when there is no memory. Takes vm->lock. */
struct ioevents *ioevents_get(struct vm *vm);
void irqfds_destroy(struct irqfds *f);

/* The VM's own descriptor of an eventfd: user space may close its own. Negative errno: EBADF, EINVAL (no eventfd). */
int eventfd_hold(int fd);
/* Do the two mean one eventfd? number: what user space called `held` when it gave it. */
bool eventfd_same(int fd, int held, int number);
void eventfd_signal(int fd);
