/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads for handlers that may wait: max_workers (kvd.conf) for anything, and prio_workers more that take only calls that
 * look, so that one can look while everything hangs. Made when there is work, ended when there was none for a while. State
 * lock held.
 */
#pragma once
#include "call.h"

/* Takes call and args (a reference). looks: also for the priority workers. */
void workers_push(struct call *call, GVariant *args, bool looks);
/* func in a thread of the pool, with the lock held; the daemon's own work: autostart, what a machine's end brings. */
void workers_run(void (*func)(void *data), void *data);
bool workers_are_idle(void);
