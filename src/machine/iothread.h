/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A thread with a GMainContext of its own, in which disks that say so (virtio-blk's iothread=) have their queues: rings are read,
 * requests sent and ended there, beside the main loop. Whoever changes such a device holds the thread: it stands outside of its
 * loop then, and the context is the main thread's, which may run it. A paused machine holds all of them.
 *
 * Threads: all functions are the main thread's.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

struct iothread;

struct iothread *iothread_new(const char *id);
void iothread_free(struct iothread *t); /* ends the thread; nobody uses it. NULL is fine */
bool iothread_start(struct iothread *t, GError **error); /* again: no-op */
GMainContext *iothread_context(struct iothread *t);
pid_t iothread_tid(struct iothread *t); /* 0: it was not started */
/* Nested. NULL is fine: the main context is the main thread's anyway. */
void iothread_hold(struct iothread *t);
void iothread_let_go(struct iothread *t);
/* How many devices have it. */
void iothread_take(struct iothread *t);
void iothread_give_back(struct iothread *t);
unsigned iothread_users(const struct iothread *t);
